//! Exchanges that do not run straight from a whole request to a whole response: answers that come
//! early, nodes that stop reading or leave between two requests, responses that are cut.

use std::io;

use testkit::node::pattern;
use testkit::{Balancer, Client, LogSink, Node, PATIENCE, Temper, wait_until};

use crate::support::{is_haproxy, one_backend, retries, setup, termination};

struct Lab {
    log: LogSink,
    node: Node,
    balancer: Balancer,
    client: Client,
}

async fn lab(settings: &str) -> Lab {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = one_backend(settings, &["n1 <n1>"]).replace(
        "    default_backend",
        "    stats uri /stats\n    default_backend",
    );
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let client = Client::plain(balancer.address("http")).await;
    Lab {
        log,
        node,
        balancer,
        client,
    }
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_does_not_cut_the_upload() {
    let mut lab = lab("").await;
    let body = pattern(800_000);
    let request = post("/eager", &body);
    let (first, rest) = request.split_at(100_000);
    lab.client.send(first).await;
    assert_eq!(lab.client.response().await.unwrap().text(), "eager");
    lab.client.send(rest).await;
    wait_until("the whole body at the node", PATIENCE, async || {
        let received = lab.node.received().concat();
        testkit::wait::or_seen(received.ends_with(&body), received.len())
    })
    .await;
    let next = lab.client.get("/next").await.unwrap();
    assert_eq!(next.text(), "n1 GET /next\n");
    let line = lab.log.wait_for(&["POST /eager", " 200 "]).await;
    assert_eq!(termination(&line), "----", "{line}");
}

#[tokio::test]
async fn a_node_that_stops_reading_a_large_request_holds_it_no_longer_than_timeout_server() {
    if is_haproxy() {
        return; // It closes with bytes unread, and its answer is often lost to the reset.
    }
    let mut lab = lab("    timeout server 500ms").await;
    lab.node.set_temper(Temper::Hang);
    // More than the kernel's buffers between client and node take in.
    let request = post("/", &pattern(64 << 20));
    let response = lab.client.response_while_sending(&request).await.unwrap();
    assert_eq!(response.status, 504);
    let line = lab.log.wait_for(&["be/n1", " 504 "]).await;
    assert!(["sH--", "sD--"].contains(&termination(&line)), "{line}");
    wait_until("the server's place to be free", PATIENCE, async || {
        let scur = lab.balancer.stats("http").await.number("be", "n1", "scur");
        testkit::wait::or_seen(scur == 0, scur)
    })
    .await;
}

/// A node that closes its kept connection just when the next request comes on it, and how often it
/// sees that request.
async fn check_kept_connection(request: &str, times: usize, repeated: &str) {
    let mut lab = lab("").await;
    lab.node.set_temper(Temper::OneAnswer);
    assert_eq!(lab.client.get("/first").await.unwrap().status, 200);
    lab.client.send(request).await;
    let response = lab.client.response().await;
    let seen = lab.node.requests().len() - 1;
    let method = request.split(' ').next().unwrap();
    assert_eq!(seen, times, "{method}: {response:?}");
    assert_eq!(response.unwrap().status, 200, "{method}");
    let line = lab.log.wait_for(&["be/n1", " /second "]).await;
    assert_eq!(termination(&line), "----", "{line}");
    assert_eq!(retries(&line), repeated, "{line}");
}

#[tokio::test]
async fn a_delete_is_sent_once_though_the_node_closes_its_idle_connections() {
    if is_haproxy() {
        return; // It sends it on the idle connection and leaves the client without an answer.
    }
    check_kept_connection("DELETE /second HTTP/1.1\r\nHost: a\r\n\r\n", 1, "0").await;
    let put = "PUT /second HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    check_kept_connection(put, 1, "0").await;
}

#[tokio::test]
async fn a_get_is_sent_again_when_the_node_closes_its_idle_connection() {
    if is_haproxy() {
        return;
    }
    check_kept_connection("GET /second HTTP/1.1\r\nHost: a\r\n\r\n", 2, "1").await;
}

#[tokio::test]
async fn a_truncated_response_does_not_end_as_a_whole_one() {
    if is_haproxy() {
        return; // It ends in order.
    }
    let lab = lab("").await;
    for (what, response) in [
        ("until close", "HTTP/1.1 200 OK\r\n\r\nhalf"),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
        ),
    ] {
        lab.node
            .set_temper(Temper::ExactlyThenReset(response.into()));
        let mut client = Client::plain(lab.balancer.address("http")).await;
        client.send("GET / HTTP/1.0\r\n\r\n").await;
        let error = client.response().await.expect_err(what);
        let error = error.downcast::<io::Error>().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{what}");
    }
    let line = lab.log.wait_for(&["be/n1", " 200 "]).await;
    assert_eq!(termination(&line), "SD--", "{line}");
}

#[tokio::test]
async fn a_refusal_instead_of_the_go_ahead_ends_the_connection() {
    if is_haproxy() {
        return; // It goes on.
    }
    let lab = lab("").await;
    for (count, status) in [417, 401].into_iter().enumerate() {
        let mut client = Client::plain(lab.balancer.address("http")).await;
        client
            .send(format!(
                "POST /refuse/{status} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\
                 Expect: 100-continue\r\n\r\n"
            ))
            .await;
        let response = client.response().await.unwrap();
        assert_eq!(response.status, status);
        assert_eq!(response.head.get("connection"), Some("close"), "{status}");
        assert!(client.until_closed().await.unwrap().is_empty(), "{status}");
        // Nor does anything else go where the node may still wait for the body.
        assert_eq!(lab.node.connections(), count + 1);
    }
}
