//! Two hundred reloads under thousands of open WebSockets: none is lost, and nothing is left behind.

use std::fmt::Write as _;

use testkit::websocket::Target;
use testkit::{LogSink, Node, PATIENCE, Swarm, wait_until};

use crate::runtime_api::ask;
use crate::support::{is_haproxy, setup};

/// WebSockets that are open meanwhile.
const SOCKETS: usize = 2_000;

/// Reloads.
const RELOADS: usize = 200;

/// What the process may have grown by in the end: it holds two configurations at most, and the allocator
/// some memory that was used while one was read.
const GROWN_MAX: u64 = 24 << 20;

const COMMON: &str = "
global
    maxconn 9000
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http> backlog 4096
    stats enable
    stats uri /stats
    default_backend be
";

/// The rest of the one file and of the other: servers, rules, tables, logs and addresses come and go.
fn others(nodes: &[Node], extra: u16) -> [String; 2] {
    let mut first = String::from("backend be\n    balance roundrobin\n");
    let mut second = String::from("backend be\n    balance leastconn\n");
    for (at, node) in nodes.iter().enumerate() {
        let (name, address) = (at + 1, node.address());
        if at != 2 {
            writeln!(first, "    server n{name} {address} check inter 200ms").unwrap();
        }
        if at != 1 {
            let weight = at + 10;
            writeln!(
                second,
                "    server n{name} {address} check inter 300ms weight {weight}"
            )
            .unwrap();
        }
    }
    write!(
        second,
        "    stick-table type ip size 1k expire 1m store conn_cur\n    stick on src\n\
         frontend other\n    bind 127.0.0.1:{extra}\n    http-request deny if {{ path /no }}\n    \
         default_backend apart\nbackend apart\n    server a 127.0.0.1:9\n"
    )
    .unwrap();
    [first, second]
}

#[tokio::test]
async fn two_hundred_reloads_under_open_websockets() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let nodes = Node::start_many(3).await;
    let extra = testkit::Port::claim();
    let others = others(&nodes, extra.number());
    let balancer = setup(&log, &format!("{COMMON}{}", others[0]));
    let balancer = balancer.start().await;
    for server in ["n1", "n2"] {
        balancer.wait_status("http", "be", server, "UP").await;
    }
    let file = balancer.folder().join("haproxy.cfg");
    let common = std::fs::read_to_string(&file)
        .unwrap()
        .replace(&others[0], "");
    let socket = balancer.folder().join("admin.sock");
    let count: usize =
        std::env::var("TIDEGATE_IT_SOCKETS").map_or(SOCKETS, |count| count.parse().unwrap());
    let mut swarm = Swarm::open(&Target::plain(balancer.address("http")), count).await;
    let reload = async |round: usize| {
        std::fs::write(&file, format!("{common}{}", others[round % 2])).unwrap();
        let answer = ask(&socket, "reload\n").await;
        assert!(
            answer.starts_with("Success=1\n"),
            "reload {round}: {answer}"
        );
    };
    // What is allocated once is not counted.
    for round in 1..=4 {
        reload(round).await;
    }
    let tasks = || {
        std::fs::read_dir(format!("/proc/{}/task", balancer.pid()))
            .unwrap()
            .count()
    };
    let (threads, memory) = (tasks(), balancer.resident_bytes());
    let descriptors = balancer.descriptors();
    for round in 5..=RELOADS {
        reload(round).await;
        if round % 10 == 0 {
            swarm.echo_all().await;
            swarm.assert_whole();
        }
    }
    swarm.echo_all().await;
    swarm.assert_whole();
    let children = format!("/proc/{0}/task/{0}/children", balancer.pid());
    assert_eq!(
        std::fs::read_to_string(children).unwrap(),
        "",
        "no process is left behind"
    );
    wait_until(
        "threads and descriptors to be given back",
        PATIENCE,
        async || {
            let seen = (tasks(), balancer.descriptors());
            let fine = seen.0 <= threads + 2 && seen.1 <= descriptors + 20;
            testkit::wait::or_seen(fine, format!("{seen:?}, first {threads} and {descriptors}"))
        },
    )
    .await;
    let grown = balancer.resident_bytes().saturating_sub(memory);
    assert!(grown < GROWN_MAX, "{grown} bytes more than before");
}
