//! HTTP/1.1 through the balancer: framing, persistence, and the special cases of RFC 9110 and 9112.

use testkit::node::pattern;
use testkit::{Balancer, Client, LogSink, Node};

use crate::support::{is_haproxy, one_backend, setup};

struct Lab {
    _log: LogSink,
    node: Node,
    balancer: Balancer,
    client: Client,
}

async fn lab(settings: &str) -> Lab {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &one_backend(settings, &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    let client = Client::plain(balancer.address("http")).await;
    Lab {
        _log: log,
        node,
        balancer,
        client,
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let mut lab = lab("").await;
    for number in 0..20 {
        let path = format!("/{number}");
        let response = lab.client.get(&path).await.unwrap();
        assert_eq!(response.text(), format!("n1 GET {path}\n"));
        assert_eq!(response.head.get("connection"), None);
    }
    assert_eq!(
        lab.node.connections(),
        1,
        "the node's connection is kept too"
    );
}

#[tokio::test]
async fn http_server_close_closes_the_nodes_side_alone() {
    let mut lab = lab("    option http-server-close").await;
    for _ in 0..3 {
        assert_eq!(lab.client.get("/").await.unwrap().status, 200);
    }
    assert_eq!(lab.node.connections(), 3);
    assert_eq!(lab.node.requests()[0].get("connection"), Some("close"));
}

#[tokio::test]
async fn close_is_honoured_from_either_side() {
    let mut lab = lab("").await;
    lab.client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let response = lab.client.response().await.unwrap();
    assert_eq!(response.head.get("connection"), Some("close"));
    assert!(lab.client.until_closed().await.unwrap().is_empty());

    let mut client = Client::plain(lab.balancer.address("http")).await;
    let response = client.get("/close").await.unwrap();
    assert_eq!(response.text(), "closing");
    // The node's close is the node's business: the client's connection lives on.
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn http_1_0_clients_get_what_they_understand() {
    if is_haproxy() {
        return; // It sends chunks to HTTP/1.0 too.
    }
    let mut lab = lab("").await;
    lab.client.send("GET /chunked HTTP/1.0\r\n\r\n").await;
    let response = lab.client.response().await.unwrap();
    assert_eq!(response.text(), "onetwothree");
    assert_eq!(response.head.get("transfer-encoding"), None);
    assert_eq!(lab.node.requests()[0].word(2), "HTTP/1.1");
}

#[tokio::test]
async fn bodies_pass_in_every_framing() {
    let mut lab = lab("").await;
    let big = pattern(1_000_000);
    for (path, expected) in [
        ("/bytes/0", Vec::new()),
        ("/bytes/1000000", big.clone()),
        ("/chunked", b"onetwothree".to_vec()),
        ("/status/404", b"scripted".to_vec()),
    ] {
        let response = lab.client.get(path).await.unwrap();
        assert!(
            response.body == expected,
            "{path}: {} bytes",
            response.body.len()
        );
    }
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        big.len()
    );
    lab.client.send([head.as_bytes(), &big].concat()).await;
    assert!(lab.client.response().await.unwrap().body == big);
}

#[tokio::test]
async fn a_body_that_the_close_ends_is_not_mistaken_for_a_whole_one() {
    let mut lab = lab("").await;
    let response = lab.client.get("/until-close").await.unwrap();
    assert_eq!(response.text(), "to the end");
}

#[tokio::test]
async fn chunked_requests_and_their_trailers_arrive() {
    let mut lab = lab("").await;
    lab.client
        .send(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             5;name=value\r\nhello\r\n7\r\n, world\r\n0\r\nX-Sum: 12\r\n\r\n",
        )
        .await;
    let response = lab.client.response().await.unwrap();
    assert_eq!(response.text(), "hello, world");
    assert_eq!(response.trailers, [("x-sum".into(), "12".into())]);
    let received = String::from_utf8(lab.node.received().concat()).unwrap();
    assert!(!received.contains("name=value"), "{received}");
}

#[tokio::test]
async fn trailers_cannot_bring_framing() {
    if is_haproxy() {
        return;
    }
    let mut lab = lab("").await;
    let response = lab.client.get("/chunked").await.unwrap();
    assert_eq!(response.trailers, [("x-sum".into(), "11".into())]);
}

#[tokio::test]
async fn responses_without_a_body_do_not_shift_the_next() {
    let mut lab = lab("").await;
    for (method, path, status, length) in [
        ("HEAD", "/bytes/50", 200, Some("50")),
        ("HEAD", "/chunked", 200, None),
        ("GET", "/status/204", 204, None),
        ("GET", "/status/304", 304, None),
        ("GET", "/bytes/3", 200, Some("3")),
    ] {
        lab.client
            .send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let response = lab.client.response_to(method).await.unwrap();
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(
            response.head.get("content-length"),
            length,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn expect_100_continue_waits_for_the_nodes_word() {
    let mut lab = lab("").await;
    lab.client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(lab.client.message_to("POST").await.unwrap().status, 100);
    lab.client.send("body").await;
    assert_eq!(lab.client.response().await.unwrap().text(), "body");
    // And the connection is in step for the next one.
    assert_eq!(lab.client.get("/bytes/1").await.unwrap().body, pattern(1));
}

#[tokio::test]
async fn interim_responses_pass() {
    let mut lab = lab("").await;
    lab.client
        .send("GET /interim HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let interim = lab.client.message_to("GET").await.unwrap();
    assert_eq!(interim.status, 103);
    assert_eq!(interim.head.get("link"), Some("</a.css>"));
    assert_eq!(lab.client.response().await.unwrap().text(), "final");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut lab = lab("").await;
    let mut requests = String::new();
    for number in 0..10 {
        requests += &format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    requests += "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /last HTTP/1.1\r\nHost: a\r\n\r\n";
    lab.client.send(requests).await;
    for number in 0..10 {
        let response = lab.client.response().await.unwrap();
        assert_eq!(response.text(), format!("n1 GET /{number}\n"));
    }
    assert_eq!(lab.client.response().await.unwrap().text(), "hi");
    assert_eq!(
        lab.client.response().await.unwrap().text(),
        "n1 GET /last\n"
    );
}

#[tokio::test]
async fn an_early_response_reaches_a_client_that_still_sends() {
    let mut lab = lab("").await;
    lab.client
        .send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        .await;
    lab.client.send(pattern(100_000)).await;
    assert_eq!(lab.client.response().await.unwrap().status, 413);
    // What follows belongs to the body, until the connection is closed or the body is over.
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000);
    lab.client.try_send(&hidden).await.ok();
    lab.client.half_close().await;
    let after = lab.client.until_closed().await.unwrap_or_default();
    assert!(after.is_empty(), "{}", String::from_utf8_lossy(&after));
    assert_eq!(lab.node.requests().len(), 1);
}

#[tokio::test]
async fn hop_by_hop_fields_stop_here() {
    let mut lab = lab("").await;
    lab.client
        .send(
            "GET /hop HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n\
             Keep-Alive: timeout=1\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nX-Yours: 2\r\n\r\n",
        )
        .await;
    let response = lab.client.response().await.unwrap();
    let seen = &lab.node.requests()[0];
    assert_eq!(seen.get("x-yours"), Some("2"));
    assert_eq!(response.head.get("x-public"), Some("2"));
    if is_haproxy() {
        return; // It passes on some of these.
    }
    for name in ["x-mine", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.get(name), None, "{name}");
    }
    for name in ["x-private", "keep-alive", "proxy-connection"] {
        assert_eq!(response.head.get(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_response_nobody_asked_for_is_given_to_nobody() {
    let mut lab = lab("").await;
    assert_eq!(lab.client.get("/two").await.unwrap().text(), "asked");
    for _ in 0..3 {
        assert_eq!(lab.client.get("/").await.unwrap().text(), "n1 GET /\n");
    }
}

#[tokio::test]
async fn an_idle_node_connection_that_the_node_closed_costs_no_request() {
    let mut lab = lab("").await;
    assert_eq!(lab.client.get("/").await.unwrap().status, 200);
    lab.node.stop().await;
    lab.node.restart().await;
    assert_eq!(lab.client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn forwarded_for_is_added_or_left_as_configured() {
    for (option, sent, expected) in [
        ("option forwardfor", "", vec!["127.0.0.1"]),
        (
            "option forwardfor",
            "X-Forwarded-For: 9.9.9.9\r\n",
            vec!["9.9.9.9", "127.0.0.1"],
        ),
        (
            "option forwardfor if-none",
            "X-Forwarded-For: 9.9.9.9\r\n",
            vec!["9.9.9.9"],
        ),
        ("option forwardfor except 127.0.0.0/8", "", vec![]),
    ] {
        let mut lab = lab(&format!("    {option}")).await;
        lab.client
            .send(format!("GET / HTTP/1.1\r\nHost: a\r\n{sent}\r\n"))
            .await;
        lab.client.response().await.unwrap();
        let requests = lab.node.requests();
        assert_eq!(requests[0].get_all("x-forwarded-for"), expected, "{option}");
    }
}

#[tokio::test]
async fn an_exception_of_the_frontend_counts_beside_the_backends_forwardfor() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = one_backend("    option forwardfor", &["n1 <n1>"]).replace(
        "    default_backend",
        "    option forwardfor except 127.0.0.0/8\n    default_backend",
    );
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    assert_eq!(node.requests()[0].get("x-forwarded-for"), None);
}
