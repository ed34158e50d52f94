//! Several workers: each gets its share of the connections, and none is lost between two of them.

use nix::sys::signal::Signal;
use testkit::websocket::Target;
use testkit::{Balancer, LogSink, Node, WebSocket};

use crate::support::{is_haproxy, program};

const WORKERS: usize = 4;

fn config(settings: &str) -> String {
    format!(
        "
global
    log <log> local0 notice
    nbthread {WORKERS}
    maxconn 2000
    {settings}
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    server n1 <n1>
frontend metrics
    bind 127.0.0.1:<port:metrics>
    http-request use-service prometheus-exporter if {{ path /metrics }}
"
    )
}

async fn start(settings: &str) -> (Balancer, Target, Node) {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = Balancer::setup(program(), &config(settings))
        .set("log", log.address())
        .set("n1", node.address())
        .start()
        .await;
    let target = Target::plain(balancer.address("http"));
    (balancer, target, node)
}

/// How many connections each worker has; the one that asks is among them.
async fn shares(balancer: &Balancer) -> Vec<u64> {
    let metrics = balancer.metrics("metrics").await;
    let of = |worker: usize| {
        let label = format!("worker=\"{worker}\"");
        metrics.sum("tidegate_worker_connections", &[&label])
    };
    (0..WORKERS).map(|it| of(it).unwrap() as u64).collect()
}

async fn open(target: &Target, count: usize) -> Vec<WebSocket> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(WebSocket::open_greeted(target).await.unwrap().0);
    }
    sockets
}

#[tokio::test]
async fn each_worker_has_its_share_of_the_sockets() {
    if is_haproxy() {
        return;
    }
    let (balancer, target, _node) = start("").await;
    let mut sockets = open(&target, 400).await;
    let shares = shares(&balancer).await;
    let (most, least) = (*shares.iter().max().unwrap(), *shares.iter().min().unwrap());
    assert!(shares.iter().sum::<u64>() >= 400, "{shares:?}");
    // Four, and one in 32, more are as good as equal; and there is who asks.
    assert!(most <= least + 4 + least / 32 + 2, "{shares:?}");
    for socket in &mut sockets {
        socket.echo("served where it belongs").await.unwrap();
    }
}

#[tokio::test]
async fn sockets_that_were_handed_over_survive_a_soft_stop() {
    if is_haproxy() {
        return;
    }
    // In turns, three of four are served by another worker than the one that accepted them.
    let (mut balancer, target, _node) = start("tune.listener.multi-queue fair").await;
    let mut sockets = open(&target, 100).await;
    let shares = shares(&balancer).await;
    assert!(
        shares.iter().all(|share| (24..=27).contains(share)),
        "{shares:?}"
    );
    balancer.signal(Signal::SIGUSR1);
    for socket in &mut sockets {
        socket.echo("still here").await.unwrap();
    }
    for socket in sockets {
        socket.close().await.unwrap();
    }
    assert!(balancer.wait_exit().await.success());
}

#[tokio::test]
async fn who_connects_while_the_workers_stop_is_served_or_refused() {
    if is_haproxy() {
        return;
    }
    let (mut balancer, target, _node) = start("tune.listener.multi-queue fair").await;
    let first = open(&target, 1).await;
    let connecting = tokio::spawn(async move {
        let mut served = Vec::new();
        // Until the listeners are closed.
        while let Ok((socket, _)) = WebSocket::open_greeted(&target).await {
            served.push(socket);
        }
        served
    });
    balancer.signal(Signal::SIGUSR1);
    for mut socket in connecting.await.unwrap().into_iter().chain(first) {
        socket.echo("whole").await.unwrap();
        socket.close().await.unwrap();
    }
    assert!(balancer.wait_exit().await.success());
}
