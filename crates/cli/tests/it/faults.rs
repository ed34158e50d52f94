//! Nodes that die, freeze, lie and reset: what clients see, what the log says, and that nobody else
//! is touched.

mod table;

use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::websocket::Target;
use testkit::{Balancer, Client, LogSink, Node, PATIENCE, Swarm, Temper, WebSocket, wait_until};

use crate::support::{NodeProcess, is_haproxy, one_backend, setup, termination};

/// Checks quick enough for a test: a dead node is DOWN after about 200 ms.
const CHECKS: &str = "    option httpchk GET /health
    timeout check 1s
    default-server inter 100ms fastinter 50ms downinter 100ms fall 2 rise 2";

/// Three node processes behind a balancer, with WebSockets open on all.
struct Fleet {
    log: LogSink,
    nodes: Vec<NodeProcess>,
    balancer: Balancer,
    swarm: Swarm,
}

impl Fleet {
    async fn with_sockets(count: usize) -> Self {
        let log = LogSink::start().await;
        let nodes = NodeProcess::start_many(3).await;
        let servers: Vec<String> = nodes.iter().map(|node| node.server("check")).collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let settings = format!("{CHECKS}\n    retries 3\n    option redispatch 1");
        let balancer = setup(&log, &one_backend(&settings, &servers)).start().await;
        let swarm = Swarm::open(&Target::plain(balancer.address("http")), count).await;
        for node in &nodes {
            assert!(swarm.on(&node.id) > 0, "{:?}", swarm.by_node());
        }
        Self {
            log,
            nodes,
            balancer,
            swarm,
        }
    }

    /// New requests succeed, all of them.
    async fn assert_serves(&self, requests: usize) {
        let mut client = Client::plain(self.balancer.address("http")).await;
        for number in 0..requests {
            let response = client.get("/health").await;
            let response = response.unwrap_or_else(|error| panic!("request {number}: {error:#}"));
            assert_eq!(response.status, 200, "request {number}");
        }
    }

    async fn wait_down(&self, node: &str) {
        self.log
            .wait_for(&[&format!("Server be/{node} is DOWN")])
            .await;
    }
}

#[tokio::test]
async fn a_killed_node_takes_its_own_websockets_alone() {
    let mut fleet = Fleet::with_sockets(60).await;
    fleet.nodes[1].process.signal(Signal::SIGKILL);
    fleet.swarm.echo_all().await;
    assert_eq!(fleet.swarm.lost_elsewhere("node2").len(), 0);
    assert_eq!(fleet.swarm.lost().len(), fleet.swarm.on("node2"));
    fleet.assert_serves(30).await;
    fleet.wait_down("node2").await;
    fleet.swarm.echo_all().await;
    assert_eq!(fleet.swarm.lost_elsewhere("node2").len(), 0);
    fleet.assert_serves(30).await;
    let port = fleet.nodes[1].address.port();
    fleet.nodes[1] = NodeProcess::start("node2", port).await;
    fleet.log.wait_for(&["Server be/node2 is UP"]).await;
    fleet.assert_serves(30).await;
}

#[tokio::test]
async fn a_frozen_node_is_taken_out_and_its_websockets_thaw_with_it() {
    let mut fleet = Fleet::with_sockets(60).await;
    fleet.nodes[1].process.signal(Signal::SIGSTOP);
    fleet.wait_down("node2").await;
    // No new one goes there.
    let target = Target::plain(fleet.balancer.address("http"));
    let more = Swarm::open(&target, 20).await;
    assert_eq!(more.on("node2"), 0, "{:?}", more.by_node());
    fleet.assert_serves(30).await;
    fleet.nodes[1].process.signal(Signal::SIGCONT);
    fleet.log.wait_for(&["Server be/node2 is UP"]).await;
    fleet.swarm.echo_all().await;
    fleet.swarm.assert_whole();
}

#[tokio::test]
async fn a_reset_in_mid_message_ends_that_websocket_alone() {
    let log = LogSink::start().await;
    let (good, bad) = (Node::start("good").await, Node::start("bad").await);
    bad.set_temper(Temper::ResetMidMessage);
    let balancer = setup(&log, &one_backend("", &["good <good>", "bad <bad>"]))
        .set("good", good.address())
        .set("bad", bad.address())
        .start()
        .await;
    let target = Target::plain(balancer.address("http"));
    let mut whole = Vec::new();
    let mut cut = 0;
    for _ in 0..10 {
        let mut socket = WebSocket::open(&target).await.unwrap();
        // The bad node greets nobody: it waits for the first message, then resets.
        socket
            .send(testkit::websocket::Message::text("x"))
            .await
            .unwrap();
        match socket.text().await {
            Ok(_) => whole.push(socket),
            Err(_) => cut += 1,
        }
    }
    assert_eq!((whole.len(), cut), (5, 5));
    for mut socket in whole {
        assert_eq!(socket.text().await.unwrap(), "x");
        socket.echo("still here").await.unwrap();
    }
    let line = log.wait_for(&["be/bad", " 101 "]).await;
    if is_haproxy() {
        return; // It says "----".
    }
    assert_eq!(termination(&line), "SD--", "{line}");
}

#[tokio::test]
async fn a_client_that_resets_frees_its_node() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &one_backend("", &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    let target = Target::plain(balancer.address("http"));
    // Listening comes first: with the first request every thread has what it needs.
    WebSocket::open_greeted(&target).await.unwrap();
    let before = balancer.descriptors();
    for _ in 0..20 {
        let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
        socket.echo("hello").await.unwrap();
        socket.reset();
    }
    wait_until("the node to be left", PATIENCE, async || {
        testkit::wait::or_seen(node.websockets() == 0, node.websockets())
    })
    .await;
    wait_until("descriptors to be given back", PATIENCE, async || {
        let now = balancer.descriptors();
        // A few more are the program's own: a pool, a timer. Twenty leaks would be forty.
        testkit::wait::or_seen(now <= before + 4, format!("{now}, before {before}"))
    })
    .await;
    log.wait_for(&["be/n1", " 101 ", " CD-- "]).await;
}

/// What a node does, what the client gets, and the termination state in the log (manual 8.5).
async fn check_fault(temper: Temper, settings: &str, status: u16, state: &str) {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(temper.clone());
    let balancer = setup(&log, &one_backend(settings, &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    let response = client.get("/").await.unwrap();
    assert_eq!(response.status, status, "{temper:?}");
    let line = log.wait_for(&["be/n1", &format!(" {status} ")]).await;
    assert_eq!(termination(&line), state, "{line}");
    // And the balancer is as good as before.
    node.set_temper(Temper::Normal);
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn garbage_is_a_502() {
    check_fault(Temper::garbage(), "", 502, "PH--").await;
}

#[tokio::test]
async fn a_header_of_100_kb_is_a_502() {
    check_fault(Temper::huge_header(), "", 502, "PH--").await;
}

#[tokio::test]
async fn a_close_before_the_response_is_a_502() {
    check_fault(Temper::CloseBeforeResponse, "", 502, "SH--").await;
}

#[tokio::test]
async fn a_reset_before_the_response_is_a_502() {
    check_fault(Temper::ResetBeforeResponse, "", 502, "SH--").await;
}

#[tokio::test]
async fn a_silent_node_is_a_504() {
    check_fault(Temper::Hang, "    timeout server 300ms", 504, "sH--").await;
}

#[tokio::test]
async fn a_reset_in_mid_body_is_seen_as_such() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(Temper::ResetMidMessage);
    let balancer = setup(&log, &one_backend("", &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    let error = client.get("/").await.unwrap_err();
    assert!(format!("{error:#}").contains("in the middle"), "{error:#}");
    let line = log.wait_for(&["be/n1", " 200 "]).await;
    assert_eq!(termination(&line), "SD--", "{line}");
}

#[tokio::test]
async fn a_client_that_leaves_is_logged_as_such() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(Temper::Hang);
    let balancer = setup(&log, &one_backend("", &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait_until("the request at the node", PATIENCE, async || {
        testkit::wait::or_seen(node.requests().len() == 1, "none")
    })
    .await;
    client.reset();
    // Without abortonclose the node may finish first (manual 4.2); it is the client who left.
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.set_temper(Temper::Normal);
    let line = log.wait_for(&["be/n1"]).await;
    assert!(termination(&line).starts_with('C'), "{line}");
}

#[tokio::test]
async fn a_refused_connection_is_retried_elsewhere() {
    let log = LogSink::start().await;
    let (good, mut dead) = (Node::start("good").await, Node::start("dead").await);
    dead.stop().await;
    let settings = "    retries 3\n    option redispatch 1";
    let balancer = setup(
        &log,
        &one_backend(settings, &["dead <dead>", "good <good>"]),
    )
    .set("good", good.address())
    .set("dead", dead.address())
    .start()
    .await;
    let mut client = Client::plain(balancer.address("http")).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().text(), "good GET /\n");
    }
    // "+" before the retries: the last one went to another server (manual 8.2.3).
    let line = log.wait_for(&["be/good", "/+1 "]).await;
    assert_eq!(termination(&line), "----", "{line}");
    let target = Target::plain(balancer.address("http"));
    let swarm = Swarm::open(&target, 10).await;
    assert_eq!(swarm.on("good"), 10);
}

#[tokio::test]
async fn with_every_server_refusing_it_is_a_503() {
    let log = LogSink::start().await;
    let mut dead = Node::start("dead").await;
    dead.stop().await;
    let balancer = setup(&log, &one_backend("    retries 0", &["dead <dead>"]))
        .set("dead", dead.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, 503);
    let line = log.wait_for(&["be/dead", " 503 "]).await;
    assert_eq!(termination(&line), "SC--", "{line}");
}

#[tokio::test]
async fn without_any_server_it_is_a_503_at_once() {
    let log = LogSink::start().await;
    let balancer = setup(&log, &one_backend("", &[])).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    let response = client.get("/").await.unwrap();
    assert_eq!(response.status, 503);
    assert!(
        response.text().contains("<h1>503 Service Unavailable</h1>"),
        "{}",
        response.text()
    );
    let line = log.wait_for(&["be/<NOSRV>", " 503 "]).await;
    assert_eq!(termination(&line), "SC--", "{line}");
}

#[tokio::test]
async fn flapping_nodes_cost_no_websocket_elsewhere() {
    let log = LogSink::start().await;
    let mut nodes = Node::start_many(3).await;
    let servers = [
        "node1 <node1> check",
        "node2 <node2> check",
        "node3 <node3> check",
    ];
    let settings = format!("{CHECKS}\n    retries 3\n    option redispatch 1");
    let mut making = setup(&log, &one_backend(&settings, &servers));
    for node in &nodes {
        making = making.set(node.id(), node.address());
    }
    let balancer = making.start().await;
    let target = Target::plain(balancer.address("http"));
    let mut swarm = Swarm::open(&target, 90).await;
    for _ in 0..3 {
        nodes[1].crash().await;
        swarm.echo_all().await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        nodes[1].restart().await;
        let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
        socket.echo("new ones open all the while").await.unwrap();
    }
    swarm.echo_all().await;
    assert_eq!(swarm.lost_elsewhere("node2").len(), 0);
}
