//! Connections to nodes between requests: who may use which again, and how often.

use nix::sys::signal::Signal;
use testkit::{Balancer, Client, LogSink, Node, PATIENCE, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{is_haproxy, one_backend, setup};

/// One worker, so that which idle connection is found does not depend on the kernel.
async fn start(lines: &str, servers: &[&str]) -> (Balancer, Vec<Node>, LogSink) {
    let log = LogSink::start().await;
    let nodes = Node::start_many(servers.len()).await;
    let config = one_backend(lines, servers);
    let config = config.replacen("frontend fe", "global\n    nbthread 1\nfrontend fe", 1);
    let mut setup = setup(&log, &config);
    for (number, node) in nodes.iter().enumerate() {
        setup = setup.set(&format!("n{number}"), node.address());
    }
    (setup.start().await, nodes, log)
}

/// Lets clients make requests in the order of their letters, each on a connection of its own, and
/// tells how many connections the node has seen.
async fn check(lines: &str, parameters: &str, clients: &str, connections: usize) {
    let server = format!("n0 <n0> {parameters}");
    let (balancer, nodes, _log) = start(lines, &[&server]).await;
    let mut open: Vec<(char, Client)> = Vec::new();
    for letter in clients.chars() {
        if !open.iter().any(|(known, _)| *known == letter) {
            open.push((letter, Client::plain(balancer.address("http")).await));
        }
        let (_, client) = open.iter_mut().find(|(known, _)| *known == letter).unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    let opened = nodes[0].connections();
    assert_eq!(opened, connections, "{lines} {parameters} {clients}");
}

#[tokio::test]
async fn safe_reuse_is_not_for_first_requests() {
    check("", "", "aaa", 1).await;
    check("    http-reuse safe", "", "aab", 2).await;
    check("    http-reuse safe", "", "aabba", 2).await;
}

#[tokio::test]
async fn always_is_for_all() {
    check("    http-reuse always", "", "abcab", 1).await;
}

#[tokio::test]
async fn aggressive_reuse_wants_proof() {
    check("    http-reuse aggressive", "", "ab", 2).await;
    check("    http-reuse aggressive", "", "aab", 1).await;
}

#[tokio::test]
async fn a_client_has_its_connection_to_itself_with_never() {
    check("    http-reuse never", "", "aabbab", 2).await;
}

#[tokio::test]
async fn max_reuse_wears_a_connection_out() {
    if is_haproxy() {
        // HAProxy 2.6 does not count those of HTTP/1.
        return;
    }
    check("", "max-reuse 1", "aaaa", 2).await;
    check("", "max-reuse 0", "aaa", 3).await;
}

#[tokio::test]
async fn pools_may_be_forbidden() {
    if is_haproxy() {
        // There the connection stays with its client until another one's is wanted.
        return;
    }
    check("", "pool-max-conn 0", "aa", 2).await;
    check("", "pool-purge-delay 0", "aa", 2).await;
    // Not for the client that had it either.
    let never = "    http-reuse never";
    check(never, "pool-max-conn 0", "aaa", 3).await;
    check(never, "pool-purge-delay 0", "aaa", 3).await;
}

#[tokio::test]
async fn a_connection_that_one_client_has_to_itself_is_counted_and_purged() {
    if is_haproxy() {
        return; // There it lives as long as its client.
    }
    let lines = "    http-reuse never\n    stats uri /stats";
    let (balancer, nodes, _log) = start(lines, &["n0 <n0> pool-purge-delay 1s"]).await;
    let mut client = Client::plain(balancer.address("http")).await;
    for round in 1..3 {
        assert_eq!(client.get("/").await.unwrap().status, 200);
        for expected in [1, 0] {
            wait_until("the gauge", PATIENCE, async || {
                let seen = balancer.stats("http").await;
                let seen = seen.number("be", "n0", "idle_conn_cur");
                testkit::wait::or_seen(seen == expected, seen.to_string())
            })
            .await;
        }
        assert_eq!(nodes[0].connections(), round);
    }
}

#[tokio::test]
async fn a_client_stays_with_its_last_server_where_that_is_preferred() {
    let never = "    option prefer-last-server\n    http-reuse never";
    let mut cases = vec![("", "0101"), (never, "0000")];
    if !is_haproxy() {
        // HAProxy 2.6 keeps the promise only where the connection is the client's own.
        cases.push(("    option prefer-last-server", "0000"));
    }
    for (lines, expected) in cases {
        let (balancer, nodes, _log) = start(lines, &["n0 <n0>", "n1 <n1>"]).await;
        let mut client = Client::plain(balancer.address("http")).await;
        let mut seen = String::new();
        for _ in 0..4 {
            let text = client.get("/").await.unwrap().text();
            let at = nodes
                .iter()
                .position(|node| text.starts_with(&format!("{} ", node.id())));
            seen.push_str(&at.unwrap().to_string());
        }
        assert_eq!(seen, expected, "{lines}");
    }
}

/// Accepts a connection and reads a request from it.
async fn asked(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream
}

#[tokio::test]
async fn an_exchange_that_outlives_a_soft_stop_leaves_no_connection_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let log = LogSink::start().await;
    let server = "n0 <n0> pool-purge-delay 1h";
    let config = one_backend("    http-reuse always", &[server]);
    let config = config.replacen("frontend fe", "global\n    nbthread 1\nfrontend fe", 1);
    let node = listener.local_addr().unwrap();
    let mut balancer = setup(&log, &config).set("n0", node).start().await;
    let address = balancer.address("http");
    let mut clients = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut client = Client::plain(address).await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        connections.push(asked(&listener).await);
        clients.push(client);
    }
    balancer.signal(Signal::SIGUSR1);
    wait_until(
        "the port to refuse",
        PATIENCE,
        async || match TcpStream::connect(address).await {
            Ok(_) => Err("it still accepts"),
            Err(_) => Ok(()),
        },
    )
    .await;
    // The other exchange goes on, and the process with it.
    for (client, connection) in clients.iter_mut().zip(&mut connections) {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        connection.write_all(answer).await.unwrap();
        assert_eq!(client.response().await.unwrap().text(), "ok");
        let end = tokio::time::timeout(PATIENCE, connection.read_u8()).await;
        assert!(end.expect("an end").is_err(), "more than a request");
    }
    assert_eq!(balancer.wait_exit().await.code(), Some(0));
}
