//! Limits, queues and timeouts: what waits, what is refused, and what the log says of it.

use std::time::{Duration, Instant};

use testkit::websocket::Target;
use testkit::{Client, Health, LogSink, Node, PATIENCE, Temper, WebSocket, wait_until};

use crate::support::{NEVER, SOON, is_haproxy, one_backend, setup, termination};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_servers_maxconn_queues_what_is_too_much() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(Temper::Hang);
    let balancer = setup(&log, &one_backend("", &["n1 <n1> maxconn 2"]))
        .set("n1", node.address())
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = Client::plain(balancer.address("http")).await;
        client.send(REQUEST).await;
        clients.push(client);
    }
    wait_until("two requests at the node", PATIENCE, async || {
        let count = node.requests().len();
        testkit::wait::or_seen(count == 2, count)
    })
    .await;
    node.set_temper(Temper::Normal);
    for client in &mut clients {
        assert_eq!(client.response().await.unwrap().status, 200);
    }
    assert_eq!(node.in_flight_max(), 2);
}

#[tokio::test]
async fn a_request_that_waits_too_long_in_the_queue_is_a_503() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(Temper::Hang);
    let settings = "    timeout queue 200ms";
    let balancer = setup(&log, &one_backend(settings, &["n1 <n1> maxconn 1"]))
        .set("n1", node.address())
        .start()
        .await;
    let mut first = Client::plain(balancer.address("http")).await;
    first.send(REQUEST).await;
    wait_until("the first request at the node", PATIENCE, async || {
        testkit::wait::or_seen(node.requests().len() == 1, "none")
    })
    .await;
    let mut second = Client::plain(balancer.address("http")).await;
    assert_eq!(second.get("/").await.unwrap().status, 503);
    let line = log.wait_for(&["be/<NOSRV>", " 503 "]).await;
    assert_eq!(termination(&line), "sQ--", "{line}");
    node.set_temper(Temper::Normal);
    assert_eq!(first.response().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_full_queue_refuses_no_websocket_that_is_open() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let settings = "    timeout queue 100ms";
    let balancer = setup(&log, &one_backend(settings, &["n1 <n1> maxconn 3"]))
        .set("n1", node.address())
        .start()
        .await;
    let target = Target::plain(balancer.address("http"));
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(WebSocket::open_greeted(&target).await.unwrap().0);
    }
    let error = WebSocket::open(&target).await.unwrap_err();
    assert!(error.to_string().contains(" 503 "), "{error:#}");
    for socket in &mut sockets {
        socket.echo("untouched").await.unwrap();
    }
    sockets.pop().unwrap().close().await.unwrap();
    // Its slot is free as soon as the balancer has seen the end.
    wait_until("the freed slot", PATIENCE, async || {
        WebSocket::open_greeted(&target).await.map(|_| ())
    })
    .await;
}

/// Waits until the node has seen that many requests.
async fn wait_for_requests(node: &Node, count: usize) {
    let what = format!("{count} requests at {}", node.id());
    wait_until(&what, PATIENCE, async || {
        let seen = node.requests().len();
        testkit::wait::or_seen(seen == count, seen)
    })
    .await;
}

#[tokio::test]
async fn a_place_on_a_backup_is_for_nobody_while_an_active_server_is_up() {
    let log = LogSink::start().await;
    let (active, backup) = (Node::start("active").await, Node::start("backup").await);
    let settings = "    option httpchk GET /health
    timeout check 5s
    default-server inter 500ms fastinter 50ms downinter 50ms fall 3 rise 1
    stats uri /stats";
    let servers = [
        "active <active> check maxconn 1",
        "backup <backup> backup maxconn 1",
    ];
    let balancer = setup(&log, &one_backend(settings, &servers))
        .set("active", active.address())
        .set("backup", backup.address())
        .start()
        .await;
    // One request gets to the backup while the active server is down, and stays there.
    backup.set_temper(Temper::Hang);
    active.set_health(Health::Status(503));
    log.wait_for(&["Server be/active is DOWN"]).await;
    let mut on_backup = Client::plain(balancer.address("http")).await;
    on_backup.send(REQUEST).await;
    wait_for_requests(&backup, 1).await;
    // The active server is back and full; one more waits.
    active.set_temper(Temper::Hang);
    active.set_health(Health::Status(200));
    log.wait_for(&["Server be/active is UP"]).await;
    let mut on_active = Client::plain(balancer.address("http")).await;
    on_active.send(REQUEST).await;
    wait_for_requests(&active, 1).await;
    let mut waiting = Client::plain(balancer.address("http")).await;
    waiting.send(REQUEST).await;
    wait_until("a request in the queue", PATIENCE, async || {
        let queued = balancer.stats("http").await.number("be", "BACKEND", "qcur");
        testkit::wait::or_seen(queued == 1, queued)
    })
    .await;
    // The backup's place falls free, and is not for the one who waits.
    backup.set_temper(Temper::Normal);
    assert_eq!(on_backup.response().await.unwrap().text(), "backup GET /\n");
    let early = waiting.within(NEVER).await;
    assert!(early.is_empty(), "{}", String::from_utf8_lossy(&early));
    active.set_temper(Temper::Normal);
    for client in [&mut on_active, &mut waiting] {
        assert_eq!(client.response().await.unwrap().text(), "active GET /\n");
    }
}

#[tokio::test]
async fn a_refused_client_that_stays_takes_no_place_from_the_next() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &with_frontend("    maxconn 1"))
        .set("n1", node.address())
        .start()
        .await;
    let start = Instant::now();
    let mut staying = Vec::new();
    // Several, so that a short wait for each of them would add up to a long one.
    for _ in 0..5 {
        let mut refused = Client::plain(balancer.address("http")).await;
        refused.send("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await;
        assert_eq!(refused.response().await.unwrap().status, 400);
        staying.push(refused);
        let next = testkit::http::get(balancer.address("http"), "/").await;
        assert_eq!(next.unwrap().status, 200);
    }
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_frontends_maxconn_lets_clients_wait_outside() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = one_backend("", &["n1 <n1>"])
        .replace("    default_backend", "    maxconn 2\n    default_backend");
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut client = Client::plain(balancer.address("http")).await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
        inside.push(client);
    }
    let mut outside = Client::plain(balancer.address("http")).await;
    outside.send(REQUEST).await;
    let early = outside.within(Duration::from_millis(300)).await;
    assert!(early.is_empty(), "{}", String::from_utf8_lossy(&early));
    drop(inside.pop());
    assert_eq!(outside.response().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_idle_tunnel_ends_at_timeout_tunnel() {
    check_idle_tunnel("    timeout tunnel 1500ms", "").await;
}

#[tokio::test]
async fn without_timeout_tunnel_the_clients_counts() {
    check_idle_tunnel("", "    timeout client 1500ms").await;
}

async fn check_idle_tunnel(backend: &str, frontend: &str) {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = one_backend(backend, &["n1 <n1>"]).replace(
        "    default_backend",
        &format!("{frontend}\n    default_backend"),
    );
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let target = Target::plain(balancer.address("http"));
    let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    // Traffic keeps it open for longer than the timeout.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        socket.echo("not idle").await.unwrap();
    }
    let idle = Instant::now();
    socket.ended().await.ok();
    let idle = idle.elapsed();
    assert!(idle >= Duration::from_millis(1450), "cut after {idle:?}");
    assert!(idle < SOON, "cut only after {idle:?}");
    let line = log.wait_for(&["be/n1", " 101 "]).await;
    let state = termination(&line);
    assert!(["cD--", "sD--"].contains(&state), "{line}");
    wait_until("the node to be left", PATIENCE, async || {
        testkit::wait::or_seen(node.websockets() == 0, node.websockets())
    })
    .await;
}

#[tokio::test]
async fn timeout_tunnel_outlasts_the_others() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let settings = "    timeout tunnel 1h\n    timeout server 200ms";
    let config = one_backend(settings, &["n1 <n1>"]).replace(
        "    default_backend",
        "    timeout client 200ms\n    default_backend",
    );
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let target = Target::plain(balancer.address("http"));
    let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    socket
        .echo("quiet for four times the timeout")
        .await
        .unwrap();
}

fn with_frontend(settings: &str) -> String {
    one_backend("", &["n1 <n1>"]).replace(
        "    default_backend",
        &format!("{settings}\n    default_backend"),
    )
}

#[tokio::test]
async fn a_request_that_trickles_in_is_a_408() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &with_frontend("    timeout http-request 500ms"))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    let start = Instant::now();
    for byte in "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ".bytes() {
        if client.try_send([byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.response().await.unwrap().status, 408);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let line = log.wait_for(&["fe/<NOSRV>", " 408 "]).await;
    assert_eq!(termination(&line), "cR--", "{line}");
    assert!(node.requests().is_empty());
}

#[tokio::test]
async fn an_idle_kept_connection_closes_without_a_word() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &with_frontend("    timeout http-keep-alive 300ms"))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let rest = client.until_closed().await.unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(
        log.lines()
            .iter()
            .filter(|line| line.contains("GET /"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_client_that_stops_in_mid_body_is_a_408() {
    if is_haproxy() {
        return; // It waits for the server.
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &with_frontend("    timeout client 300ms"))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    assert_eq!(client.response().await.unwrap().status, 408);
    let line = log.wait_for(&["be/n1", " 408 "]).await;
    assert_eq!(termination(&line), "cH--", "{line}");
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_back_the_node_and_not_memory() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &one_backend("", &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let before = balancer.resident_bytes();
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = Client::plain(balancer.address("http")).await;
        reader
            .send("GET /bytes/30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        readers.push(reader);
    }
    assert_eq!(client.get("/").await.unwrap().status, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grown = balancer.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more for unread responses");
    let whole = readers[0].response().await.unwrap();
    assert_eq!(whole.body.len(), 30_000_000);
}
