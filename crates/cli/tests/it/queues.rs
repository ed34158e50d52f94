//! Queues of servers and of backends: where a request waits, who goes first, what is too much.

use testkit::{Balancer, Client, Health, LogSink, Node, PATIENCE, Temper, wait_until};

use crate::support::{NEVER, is_haproxy, setup, termination};

const REQUEST: &str = "GET /kez HTTP/1.1\r\nHost: a\r\n\r\n";

/// Two nodes that let requests hang, `server` lines with `parameters`, and a stats page.
async fn start(lines: &str, parameters: &str) -> (Balancer, [Node; 2], LogSink) {
    let log = LogSink::start().await;
    let nodes = [Node::start("n1").await, Node::start("n2").await];
    let config = format!(
        "
frontend fe
    bind 127.0.0.1:<port:http>
    stats uri /stats
    default_backend be
backend be
{lines}
    server n1 <n1> {parameters}
    server n2 <n2> {parameters}
"
    );
    let mut setup = setup(&log, &config);
    for node in &nodes {
        node.set_temper(Temper::Hang);
        setup = setup.set(node.id(), node.address());
    }
    (setup.start().await, nodes, log)
}

/// Sends one request more.
async fn ask(balancer: &Balancer) -> Client {
    let mut client = Client::plain(balancer.address("http")).await;
    client.send(REQUEST).await;
    client
}

async fn wait_for_requests(node: &Node, count: usize) {
    let what = format!("{count} requests at {}", node.id());
    wait_until(&what, PATIENCE, async || {
        let seen = node.requests().len();
        testkit::wait::or_seen(seen == count, seen)
    })
    .await;
}

async fn wait_for_queue(balancer: &Balancer, of: &str, count: u64) {
    let what = format!("{count} in the queue of {of}");
    wait_until(&what, PATIENCE, async || {
        let seen = balancer.stats("http").await.number("be", of, "qcur");
        testkit::wait::or_seen(seen == count, seen)
    })
    .await;
}

/// A hash leads to one of the two: the other one stays idle however long the queue is.
#[tokio::test]
async fn a_hashed_request_waits_for_its_own_server() {
    let (balancer, [n1, n2], log) = start("    balance uri", "maxconn 1").await;
    let mut first = ask(&balancer).await;
    wait_for_requests(&n2, 1).await;
    let mut second = ask(&balancer).await;
    wait_for_queue(&balancer, "n2", 1).await;
    let early = second.within(NEVER).await;
    assert!(early.is_empty(), "{}", String::from_utf8_lossy(&early));
    assert_eq!(n1.requests().len(), 0);
    assert_eq!(
        balancer.stats("http").await.number("be", "BACKEND", "qcur"),
        0
    );
    n2.set_temper(Temper::Normal);
    for client in [&mut first, &mut second] {
        assert_eq!(client.response().await.unwrap().text(), "n2 GET /kez\n");
    }
    // It was the first in the queue of a server.
    log.wait_for(&["be/n2", " 1/0 "]).await;
}

#[tokio::test]
async fn more_than_maxqueue_is_a_503() {
    let (balancer, [_, n2], log) = start("    balance uri", "maxconn 1 maxqueue 1").await;
    let mut first = ask(&balancer).await;
    wait_for_requests(&n2, 1).await;
    let mut second = ask(&balancer).await;
    wait_for_queue(&balancer, "n2", 1).await;
    let mut third = ask(&balancer).await;
    assert_eq!(third.response().await.unwrap().status, 503);
    let line = log.wait_for(&["be/n2", " 503 "]).await;
    assert_eq!(termination(&line), "SQ--", "{line}");
    assert!(line.contains(" 0/-1/-1/-1/"), "{line}");
    let stats = balancer.stats("http").await;
    assert_eq!(stats.number("be", "n2", "econ"), 1);
    assert_eq!(stats.number("be", "n2", "qlimit"), 1);
    assert_eq!(stats.number("be", "n2", "qmax"), 1);
    n2.set_temper(Temper::Normal);
    for client in [&mut first, &mut second] {
        assert_eq!(client.response().await.unwrap().status, 200);
    }
}

/// With a `maxqueue` to fill, `leastconn` lets requests wait at servers; what is more waits at the
/// backend.
#[tokio::test]
async fn leastconn_fills_short_queues() {
    let (balancer, [n1, n2], _log) = start("    balance leastconn", "maxconn 1 maxqueue 1").await;
    let mut clients = vec![ask(&balancer).await];
    wait_for_requests(&n1, 1).await;
    clients.push(ask(&balancer).await);
    wait_for_requests(&n2, 1).await;
    clients.push(ask(&balancer).await);
    wait_for_queue(&balancer, "n1", 1).await;
    clients.push(ask(&balancer).await);
    wait_for_queue(&balancer, "n2", 1).await;
    clients.push(ask(&balancer).await);
    wait_for_queue(&balancer, "BACKEND", 1).await;
    for node in [&n1, &n2] {
        node.set_temper(Temper::Normal);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_its_server_is_logged_with_it() {
    let lines = "    balance uri\n    timeout queue 200ms";
    let (balancer, [_, n2], log) = start(lines, "maxconn 1").await;
    let _first = ask(&balancer).await;
    wait_for_requests(&n2, 1).await;
    let mut second = ask(&balancer).await;
    assert_eq!(second.response().await.unwrap().status, 503);
    let line = log.wait_for(&["be/n2", " 503 "]).await;
    assert_eq!(termination(&line), "sQ--", "{line}");
    assert!(line.contains(" 1/0 "), "{line}");
}

const CHECKED: &str = "maxconn 1 check inter 50ms fastinter 50ms downinter 50ms fall 1 rise 1";

/// Who waits for a server that goes down is sent elsewhere, if `option redispatch` allows it.
#[tokio::test]
async fn redispatch_empties_the_queue_of_a_server_that_goes_down() {
    let lines = "    balance uri\n    option redispatch\n    option httpchk GET /health";
    let (balancer, [n1, n2], log) = start(lines, CHECKED).await;
    let _first = ask(&balancer).await;
    wait_for_requests(&n2, 1).await;
    let mut second = ask(&balancer).await;
    wait_for_queue(&balancer, "n2", 1).await;
    n1.set_temper(Temper::Normal);
    n2.set_health(Health::Status(503));
    assert_eq!(second.response().await.unwrap().text(), "n1 GET /kez\n");
    log.wait_for(&["Server be/n2 is DOWN", "1 requeued, 0 remaining in queue"])
        .await;
    let line = log.wait_for(&["be/n1", " 200 "]).await;
    assert!(line.contains("/+0 1/0 "), "{line}");
    let stats = balancer.stats("http").await;
    assert_eq!(stats.number("be", "n2", "wredis"), 1);
}

#[tokio::test]
async fn without_redispatch_the_queue_of_a_server_that_goes_down_stays() {
    let lines = "    balance uri\n    option httpchk GET /health";
    let (balancer, [n1, n2], log) = start(lines, CHECKED).await;
    let mut first = ask(&balancer).await;
    wait_for_requests(&n2, 1).await;
    let mut second = ask(&balancer).await;
    wait_for_queue(&balancer, "n2", 1).await;
    n2.set_health(Health::Status(503));
    log.wait_for(&["Server be/n2 is DOWN", "0 requeued, 1 remaining in queue"])
        .await;
    let early = second.within(NEVER).await;
    assert!(early.is_empty(), "{}", String::from_utf8_lossy(&early));
    n2.set_temper(Temper::Normal);
    for client in [&mut first, &mut second] {
        assert_eq!(client.response().await.unwrap().text(), "n2 GET /kez\n");
    }
    assert_eq!(n1.requests().len(), 0);
}

/// `minconn`: with few sessions in the backend a server takes few of them; `fullconn` is where all of
/// `maxconn` is open.
#[tokio::test]
async fn a_dynamic_limit_follows_the_load_of_the_backend() {
    if is_haproxy() {
        // There the limit is looked at when a session ends, and rises then.
        return;
    }
    let lines = "    balance uri\n    fullconn 6";
    let (balancer, [_, n2], _log) = start(lines, "minconn 1 maxconn 3").await;
    assert_eq!(
        balancer.stats("http").await.number("be", "BACKEND", "slim"),
        6
    );
    let mut clients = Vec::new();
    // Of 3 sessions 1 is at the server, of 4 there are 2, of 6 all 3.
    for (sessions, at_server) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)] {
        clients.push(ask(&balancer).await);
        wait_for_queue(&balancer, "n2", sessions - at_server).await;
        wait_for_requests(&n2, at_server as usize).await;
    }
    n2.set_temper(Temper::Normal);
    for client in &mut clients {
        assert_eq!(client.response().await.unwrap().status, 200);
    }
    assert_eq!(n2.in_flight_max(), 3);
}

#[tokio::test]
async fn fullconn_is_a_tenth_of_what_the_frontends_let_in() {
    let (balancer, _nodes, _log) = start("", "maxconn 1").await;
    assert_eq!(
        balancer.stats("http").await.number("be", "BACKEND", "slim"),
        400
    );
}

/// `slowstart`: a server that was down takes one session at first, and shows the weight it has.
#[tokio::test]
async fn a_server_that_came_up_takes_its_share_by_and_by() {
    let lines = "    balance leastconn\n    option httpchk GET /health";
    let parameters = format!(
        "weight 100 slowstart 2s {}",
        CHECKED.replace("maxconn 1", "maxconn 4")
    );
    let (balancer, [n1, n2], log) = start(lines, &parameters).await;
    let weight = |stats: testkit::stats::Table| stats.number("be", "n2", "weight");
    assert_eq!(weight(balancer.stats("http").await), 100);
    for node in [&n1, &n2] {
        node.set_health(Health::Status(503));
    }
    log.wait_for(&["backend be has no server available"]).await;
    n2.set_health(Health::Status(200));
    log.wait_for(&["Server be/n2 is UP"]).await;
    assert!(weight(balancer.stats("http").await) < 100);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(ask(&balancer).await);
    }
    wait_for_queue(&balancer, "BACKEND", 3).await;
    wait_for_requests(&n2, 1).await;
    // Warm, it takes all, and nobody had to ask again.
    wait_for_queue(&balancer, "BACKEND", 0).await;
    wait_for_requests(&n2, 4).await;
    wait_until("the whole weight", PATIENCE, async || {
        let seen = weight(balancer.stats("http").await);
        testkit::wait::or_seen(seen == 100, seen)
    })
    .await;
}
