//! What the balancer tells of itself, and what it keeps to itself: log lines that are not wanted,
//! a stats page that is not for everybody.

use testkit::{Client, LogSink, Node};

use crate::support::{is_haproxy, one_backend, setup};

/// How many lines a connection without data and a silent client leave in the log.
async fn check_silent_clients(option: &str, lines: usize) {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let settings = format!("    {option}\n    timeout http-request 200ms\n    default_backend");
    let config = one_backend("", &["n1 <n1>"]).replace("    default_backend", &settings);
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;

    let mut without_data = Client::plain(balancer.address("http")).await;
    without_data.half_close().await;
    without_data.until_closed().await.unwrap();
    let mut silent = Client::plain(balancer.address("http")).await;
    assert_eq!(silent.response().await.unwrap().status, 408);
    silent.until_closed().await.unwrap();

    // Lines are written in order: when this one is there, so are those before it.
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/marker").await.unwrap().status, 200);
    log.wait_for(&["GET /marker"]).await;
    let seen = log.lines();
    let of_sessions = seen.iter().filter(|line| line.contains(" fe "));
    assert_eq!(of_sessions.count(), lines + 1, "{option}: {seen:#?}");
}

#[tokio::test]
async fn clients_that_say_nothing_are_not_logged_with_dontlognull() {
    check_silent_clients("no option dontlognull", 2).await;
    check_silent_clients("option dontlognull", 0).await;
}

#[tokio::test]
async fn the_default_stats_page_is_for_nobody_but_this_machine() {
    if is_haproxy() {
        return; // It has no page unless configured.
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &one_backend("", &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    for (fields, is_page) in [
        ("Host: localhost", true),
        ("Host: 127.0.0.1:8080", true),
        ("Host: [::1]:8080", true),
        ("Host: rebound.example.com", false),
        ("Host: localhost.example.com", false),
        ("Host: localhost\r\nX-Forwarded-For: 127.0.0.1", false),
        ("Host: localhost\r\nForwarded: for=127.0.0.1", false),
        ("Host: localhost\r\nVia: 1.1 proxy", false),
    ] {
        for path in ["/stats", "/stats;csv"] {
            let mut client = Client::plain(balancer.address("http")).await;
            client
                .send(format!("GET {path} HTTP/1.1\r\n{fields}\r\n\r\n"))
                .await;
            let response = client.response().await.unwrap();
            let from_node = response.text() == format!("n1 GET {path}\n");
            assert_eq!(from_node, !is_page, "{fields}: {}", response.text());
        }
    }
}
