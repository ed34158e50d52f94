//! Requests that are sent again: `retry-on`, `retries`, `option redispatch`, `disable-l7-retry`.

use testkit::websocket::Target;
use testkit::{Balancer, Client, LogSink, Node, Temper, WebSocket};

use crate::support::{is_haproxy, one_backend, setup, termination};

/// A node that misbehaves, one that does not, and a balancer that begins with the former.
struct Pair {
    log: LogSink,
    bad: Node,
    good: Node,
    balancer: Balancer,
}

impl Pair {
    async fn start(temper: Temper, settings: &str) -> Self {
        let log = LogSink::start().await;
        let (bad, good) = (Node::start("bad").await, Node::start("good").await);
        bad.set_temper(temper);
        let settings =
            format!("    timeout server 500ms\n    retries 3\n    stats uri /stats\n{settings}");
        let config = one_backend(&settings, &["bad <bad>", "good <good>"]);
        let balancer = setup(&log, &config)
            .set("bad", bad.address())
            .set("good", good.address())
            .start()
            .await;
        Self {
            log,
            bad,
            good,
            balancer,
        }
    }

    async fn client(&self) -> Client {
        Client::plain(self.balancer.address("http")).await
    }
}

/// With that `retry-on` a request that the bad node spoils succeeds on the good one.
async fn check_retried(temper: Temper, retry_on: &str) {
    let settings = format!("    option redispatch 1\n    retry-on {retry_on}");
    let pair = Pair::start(temper.clone(), &settings).await;
    let response = pair.client().await.get("/x").await.unwrap();
    assert_eq!(response.text(), "good GET /x\n", "{temper:?} {retry_on}");
    assert_eq!(pair.bad.requests().len(), 1, "{temper:?} {retry_on}");
    let line = pair.log.wait_for(&["be/good", " 200 ", "/+1 "]).await;
    assert_eq!(termination(&line), "----", "{line}");
}

/// With that `retry-on` it is told to the client.
async fn check_told(temper: Temper, retry_on: &str, status: u16) {
    let settings = format!("    option redispatch 1\n    retry-on {retry_on}");
    let pair = Pair::start(temper.clone(), &settings).await;
    let response = pair.client().await.get("/x").await.unwrap();
    assert_eq!(response.status, status, "{temper:?} {retry_on}");
    assert!(pair.good.requests().is_empty(), "{temper:?} {retry_on}");
    pair.log
        .wait_for(&["be/bad", &format!(" {status} "), "/0 0/0 "])
        .await;
}

#[tokio::test]
async fn a_failure_that_is_named_is_tried_elsewhere() {
    check_retried(Temper::CloseBeforeResponse, "empty-response").await;
    check_retried(Temper::ResetBeforeResponse, "empty-response").await;
    check_retried(Temper::garbage(), "junk-response").await;
    check_retried(Temper::huge_header(), "junk-response").await;
    check_retried(Temper::Hang, "response-timeout").await;
    check_retried(Temper::status(500), "500 503").await;
    check_retried(Temper::status(404), "404").await;
}

#[tokio::test]
async fn all_retryable_errors_are_what_the_manual_lists() {
    check_retried(Temper::CloseBeforeResponse, "all-retryable-errors").await;
    check_retried(Temper::garbage(), "all-retryable-errors").await;
    check_retried(Temper::Hang, "all-retryable-errors").await;
    check_retried(Temper::status(502), "all-retryable-errors").await;
    check_told(Temper::status(404), "all-retryable-errors", 404).await;
}

#[tokio::test]
async fn a_failure_that_is_not_named_is_told() {
    check_told(
        Temper::CloseBeforeResponse,
        "conn-failure junk-response",
        502,
    )
    .await;
    check_told(Temper::garbage(), "empty-response", 502).await;
    check_told(Temper::Hang, "conn-failure 504", 504).await;
    check_told(Temper::status(500), "503", 500).await;
    check_told(Temper::status(503), "none", 503).await;
}

#[tokio::test]
async fn without_redispatch_the_same_server_is_asked_again_and_its_last_answer_stands() {
    let pair = Pair::start(Temper::status(500), "    retry-on 500").await;
    let response = pair.client().await.get("/x").await.unwrap();
    assert_eq!(response.status, 500);
    assert_eq!(pair.bad.requests().len(), 4);
    let line = pair.log.wait_for(&["be/bad", " 500 ", "/3 0/0 "]).await;
    assert_eq!(termination(&line), "----", "{line}");
    let table = pair.balancer.stats("http").await;
    assert_eq!(table.get("be", "bad", "hrsp_5xx"), "1");
    assert_eq!(table.get("be", "bad", "stot"), "4");
    if !is_haproxy() {
        // It says 6: each is counted twice.
        assert_eq!(table.get("be", "bad", "wretr"), "3");
    }
}

#[tokio::test]
async fn a_body_that_fits_is_sent_again_whole() {
    let settings = "    option redispatch 1\n    retry-on empty-response";
    let pair = Pair::start(Temper::CloseBeforeResponse, settings).await;
    let body = "x".repeat(9000);
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = pair.client().await;
    client.send(&request).await;
    let response = client.response().await.unwrap();
    assert_eq!((response.status, response.text() == body), (200, true));
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    client.send(chunked).await;
    assert_eq!(client.response().await.unwrap().text(), "hello world");
    assert_eq!(pair.good.requests().len(), 2);
}

#[tokio::test]
async fn a_body_that_does_not_fit_in_a_buffer_is_not_sent_again() {
    let settings = "    option redispatch 1\n    retry-on all-retryable-errors";
    let pair = Pair::start(Temper::CloseBeforeResponse, settings).await;
    let body = "x".repeat(40_000);
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = pair.client().await;
    client.send(&request).await;
    assert_eq!(client.response().await.unwrap().status, 502);
    assert!(pair.good.requests().is_empty());
}

#[tokio::test]
async fn a_rule_may_forbid_it() {
    let settings = "    option redispatch 1
    retry-on all-retryable-errors
    http-request disable-l7-retry if { path /once }";
    let pair = Pair::start(Temper::CloseBeforeResponse, settings).await;
    let mut client = pair.client().await;
    assert_eq!(client.get("/once").await.unwrap().status, 502);
    assert!(pair.good.requests().is_empty());
    let mut client = pair.client().await;
    assert_eq!(client.get("/again").await.unwrap().status, 200);
    let mut client = pair.client().await;
    assert_eq!(client.get("/again").await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_sent_once_goes_out_on_no_connection_that_may_have_ended() {
    if is_haproxy() {
        return; // It sends it twice.
    }
    let settings = "    http-request disable-l7-retry if { path /once }";
    let pair = Pair::start(Temper::OneAnswer, settings).await;
    pair.good.set_temper(Temper::OneAnswer);
    let mut client = pair.client().await;
    for path in ["/1", "/2", "/once", "/once"] {
        assert_eq!(client.get(path).await.unwrap().status, 200, "{path}");
    }
    let seen = [&pair.bad, &pair.good].map(|node| node.requests());
    let once = seen.iter().flatten().filter(|it| it.word(1) == "/once");
    assert_eq!(once.count(), 2);
}

#[tokio::test]
async fn a_websocket_that_was_not_opened_is_opened_elsewhere() {
    for temper in [
        Temper::ResetBeforeResponse,
        Temper::garbage(),
        Temper::status(503),
        Temper::Hang,
    ] {
        let settings = "    option redispatch 1\n    retry-on all-retryable-errors";
        let pair = Pair::start(temper, settings).await;
        let target = Target::plain(pair.balancer.address("http"));
        let (mut socket, node) = WebSocket::open_greeted(&target).await.unwrap();
        assert_eq!(node, "good");
        socket.echo("through").await.unwrap();
    }
}

#[tokio::test]
async fn without_conn_failure_a_refused_connection_is_a_503_at_once() {
    let mut pair = Pair::start(Temper::Normal, "    option redispatch 1\n    retry-on 500").await;
    pair.bad.stop().await;
    let mut client = pair.client().await;
    assert_eq!(client.get("/").await.unwrap().status, 503);
    let line = pair.log.wait_for(&["be/bad", " 503 ", "/0 0/0 "]).await;
    assert_eq!(termination(&line), "SC--", "{line}");
}

#[tokio::test]
async fn a_try_that_moved_counts_as_a_redispatch_of_the_server_it_left() {
    let mut pair = Pair::start(Temper::Normal, "    option redispatch 1").await;
    pair.bad.stop().await;
    assert_eq!(pair.client().await.get("/").await.unwrap().status, 200);
    let table = pair.balancer.stats("http").await;
    let of = |server, column| table.get("be", server, column);
    assert_eq!((of("bad", "wretr"), of("bad", "wredis")), ("0", "1"));
    assert_eq!((of("good", "wretr"), of("good", "wredis")), ("0", "0"));
    assert_eq!((of("bad", "econ"), of("BACKEND", "econ")), ("0", "0"));
}

#[tokio::test]
async fn an_answer_of_our_own_is_no_servers() {
    let pair = Pair::start(Temper::CloseBeforeResponse, "").await;
    assert_eq!(pair.client().await.get("/").await.unwrap().status, 502);
    let table = pair.balancer.stats("http").await;
    let of = |server, column| table.get("be", server, column);
    assert_eq!((of("bad", "hrsp_5xx"), of("bad", "eresp")), ("0", "1"));
    assert_eq!(
        (of("BACKEND", "hrsp_5xx"), of("BACKEND", "eresp")),
        ("1", "1")
    );
}

/// With two servers that refuse and one that does not, in this order.
async fn check_redispatch(option: &str, retries: &str, status: u16) {
    let log = LogSink::start().await;
    let (mut dead, good) = (Node::start("dead").await, Node::start("good").await);
    dead.stop().await;
    let settings = format!("    retries 3\n    timeout connect 50ms\n{option}");
    let config = one_backend(&settings, &["one <dead>", "two <dead>", "good <good>"]);
    let balancer = setup(&log, &config)
        .set("dead", dead.address())
        .set("good", good.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, status, "{option}");
    let seen = format!("/{retries} 0/0 ");
    log.wait_for(&[&format!(" {status} "), &seen]).await;
}

#[tokio::test]
async fn what_has_its_server_by_load_alone_moves_with_every_retry() {
    for interval in ["", "0", "1", "2", "3", "-2"] {
        check_redispatch(&format!("    option redispatch {interval}"), "+2", 200).await;
    }
    check_redispatch("    balance first\n    option redispatch 2", "+3", 503).await;
    check_redispatch("", "3", 503).await;
    check_redispatch(
        "    option redispatch 1\n    no option redispatch",
        "3",
        503,
    )
    .await;
}

#[tokio::test]
async fn what_belongs_to_a_server_moves_when_its_time_has_come() {
    let log = LogSink::start().await;
    let (mut dead, good) = (Node::start("dead").await, Node::start("good").await);
    dead.stop().await;
    for (interval, retries) in [("1", "+1"), ("2", "+2"), ("-1", "+3"), ("-2", "+2")] {
        let settings = format!(
            "    retries 3\n    timeout connect 50ms\n    cookie S insert indirect
    option redispatch {interval}"
        );
        let servers = ["dead <dead> cookie dead", "good <good> cookie good"];
        let balancer = setup(&log, &one_backend(&settings, &servers))
            .set("dead", dead.address())
            .set("good", good.address())
            .start()
            .await;
        let mut client = Client::plain(balancer.address("http")).await;
        let request = format!("GET /{interval} HTTP/1.1\r\nHost: a\r\nCookie: S=dead\r\n\r\n");
        client.send(&request).await;
        assert_eq!(client.response().await.unwrap().status, 200);
        let path = format!("GET /{interval} ");
        log.wait_for(&[&format!("/{retries} 0/0 "), &path]).await;
    }
}
