//! Ten thousand sockets on one worker.

use testkit::websocket::Target;
use testkit::{Balancer, LogSink, Node, PATIENCE, Swarm, http, wait_until};

use crate::support::program;

/// Each tunnel is two sockets in the balancer, and two in this process.
const TUNNELS: usize = 5_000;

/// What a tunnel may cost in the balancer's memory, an unoptimised build included.
const TUNNEL_BYTES_MAX: u64 = 8_192;

/// Descriptors that come and go by themselves: pooled connections, checks, the last ones of a swarm.
const OWN_MAX: usize = 20;

const CONFIG: &str = "
global
    log <log> local0 notice
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend fe
    bind 127.0.0.1:<port:http> backlog 4096
    default_backend be
backend be
    server n1 <n1> check inter 1s
";

#[tokio::test]
async fn ten_thousand_sockets_on_one_worker() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = Balancer::setup(program(), CONFIG)
        .set("log", log.address())
        .set("n1", node.address())
        .start()
        .await;
    // Once through everything, so that what is allocated once is not counted.
    http::get(balancer.address("http"), "/").await.unwrap();
    let start = balancer.descriptors();
    Swarm::open(&Target::plain(balancer.address("http")), 100)
        .await
        .echo_all()
        .await;
    wait_given_back(&balancer, start).await;
    let (descriptors, memory) = (balancer.descriptors(), balancer.resident_bytes());

    let mut swarm = Swarm::open(&Target::plain(balancer.address("http")), TUNNELS).await;
    assert!(balancer.descriptors() >= descriptors + 2 * TUNNELS - OWN_MAX);
    for _ in 0..3 {
        swarm.echo_all().await;
        swarm.assert_whole();
    }
    let grown = balancer.resident_bytes().saturating_sub(memory);
    let each = grown / u64::try_from(TUNNELS).unwrap();
    assert!(each <= TUNNEL_BYTES_MAX, "{each} bytes for each tunnel");

    let used = balancer.processor_time();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let idle = balancer.processor_time() - used;
    assert!(idle.as_millis() < 300, "{idle:?} of CPU in 2 s while idle");

    drop(swarm);
    wait_given_back(&balancer, descriptors).await;
    assert_eq!(node.websockets(), 0);
    let mut again = Swarm::open(&Target::plain(balancer.address("http")), 100).await;
    again.echo_all().await;
    again.assert_whole();
}

/// Waits until the balancer has about as many descriptors as before.
async fn wait_given_back(balancer: &Balancer, before: usize) {
    wait_until("all descriptors to be given back", PATIENCE, async || {
        let now = balancer.descriptors();
        testkit::wait::or_seen(now <= before + OWN_MAX, format!("{now}, before {before}"))
    })
    .await;
}
