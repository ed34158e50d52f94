//! Nothing ambiguous reaches a node, and no tunnel opens but after a good request and a good 101.

use testkit::websocket::{Target, upgrade_request};
use testkit::{Balancer, Client, LogSink, Node, Temper, WebSocket, wait_until};

use crate::support::{NEVER, is_haproxy, one_backend, setup, termination};

/// A key as clients make them, and the accept that belongs to it (RFC 6455 section 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

struct Lab {
    log: LogSink,
    node: Node,
    balancer: Balancer,
}

impl Lab {
    async fn new() -> Self {
        Self::with_rule("").await
    }

    /// With one rule in its frontend.
    async fn with_rule(rule: &str) -> Self {
        let log = LogSink::start().await;
        let node = Node::start("n1").await;
        let config = one_backend("", &["n1 <n1>"]).replace(
            "    default_backend",
            &format!("{rule}\n    default_backend"),
        );
        let balancer = setup(&log, &config).set("n1", node.address()).start().await;
        Self {
            log,
            node,
            balancer,
        }
    }

    async fn client(&self) -> Client {
        Client::plain(self.balancer.address("http")).await
    }

    async fn wait_for_request(&self) {
        wait_until("a request at the node", testkit::PATIENCE, async || {
            let count = self.node.requests().len();
            testkit::wait::or_seen(count > 0, count)
        })
        .await;
    }
}

/// What RFC 9112 forbids, or what two parsers would read in two ways.
const AMBIGUOUS: &[(&str, &str)] = &[
    (
        "both framings",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbodyx",
    ),
    (
        "lengths in a list",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nbodyx",
    ),
    (
        "length with a sign",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody",
    ),
    (
        "negative length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ),
    (
        "empty length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nbody",
    ),
    (
        "length of 2^64",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    ),
    (
        "hexadecimal length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nbody",
    ),
    (
        "coding not chunked last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "unknown coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding with a trailing comma",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding with a control character",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nbody",
    ),
    (
        "name with a space",
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
    ),
    ("empty name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
    (
        "line without a colon",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    ),
    (
        "folded line",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    ),
    (
        "first field line folded",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    ),
    ("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n"),
    (
        "one bare line feed",
        "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
    ),
    (
        "bare carriage return",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n",
    ),
    (
        "NUL in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n",
    ),
    ("NUL in the target", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    (
        "two spaces in the request line",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "tab in the request line",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "space in the target",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("unknown version", "GET / HTTP/1.2x\r\nHost: a\r\n\r\n"),
    ("HTTP/0.9", "GET /\r\n\r\n"),
    (
        "fragment in the target",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "target without a slash",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
];

/// The same in the body: the head is good, so it may have been passed on, the body may not.
const AMBIGUOUS_CHUNKS: &[(&str, &str)] = &[
    ("size with a sign", "+4\r\nbody\r\n0\r\n\r\n"),
    ("hexadecimal prefix", "0x4\r\nbody\r\n0\r\n\r\n"),
    (
        "size of 2^64 and more",
        "10000000000000004\r\nbody\r\n0\r\n\r\n",
    ),
    ("no size", "\r\nbody\r\n0\r\n\r\n"),
    ("space before the size", " 4\r\nbody\r\n0\r\n\r\n"),
    ("bare line feed behind the size", "4\nbody\r\n0\r\n\r\n"),
    (
        "bare line feed in an extension",
        "4;a\nb\r\nbody\r\n0\r\n\r\n",
    ),
    ("no line end behind the data", "4\r\nbodyX0\r\n\r\n"),
    ("bare line feed behind the data", "4\r\nbody\n0\r\n\r\n"),
    ("a name with a space in the trailers", "0\r\nX Y: 1\r\n\r\n"),
];

#[tokio::test]
async fn ambiguous_heads_are_refused_and_reach_no_node() {
    if is_haproxy() {
        return; // It forwards some of these.
    }
    let lab = Lab::new().await;
    let mut faults = Vec::new();
    for (what, request) in AMBIGUOUS {
        let mut client = lab.client().await;
        client.send(request).await;
        // Whatever is glued behind must not be taken for a request either.
        client
            .try_send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .ok();
        match client.response().await {
            Ok(response) if (400..600).contains(&response.status) => {
                if client
                    .until_closed()
                    .await
                    .is_ok_and(|rest| !rest.is_empty())
                {
                    faults.push(format!("{what}: answered again after the refusal"));
                }
            }
            Ok(response) => faults.push(format!("{what}: answered {}", response.status)),
            Err(error) => faults.push(format!("{what}: {error:#}")),
        }
        let received = lab.node.received().concat();
        if !received.is_empty() {
            let received = String::from_utf8_lossy(&received).into_owned();
            panic!("{what}: the node received {received:?}\nbefore: {faults:#?}");
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn ambiguous_chunks_end_the_exchange() {
    if is_haproxy() {
        return;
    }
    let mut faults = Vec::new();
    for (what, body) in AMBIGUOUS_CHUNKS {
        let lab = Lab::new().await;
        let mut client = lab.client().await;
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client
            .send(format!(
                "{head}{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            ))
            .await;
        let answer = client.response().await;
        if let Ok(response) = answer
            && response.status < 400
        {
            faults.push(format!("{what}: answered {}", response.status));
        }
        client.until_closed().await.ok();
        let received = String::from_utf8_lossy(&lab.node.received().concat()).into_owned();
        if received.contains("/smuggled") || received.ends_with("0\r\n\r\n") {
            faults.push(format!("{what}: the node received {received:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn a_bad_request_is_answered_400_and_logged() {
    let lab = Lab::new().await;
    let mut client = lab.client().await;
    client.send("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await;
    let response = client.response().await.unwrap();
    assert_eq!(response.status, 400);
    assert!(
        response.text().contains("<h1>400 Bad "),
        "{}",
        response.text()
    );
    let line = lab.log.wait_for(&["fe fe/<NOSRV>", "<BADREQ>"]).await;
    assert_eq!(termination(&line), "PR--", "{line}");
}

#[tokio::test]
async fn bytes_behind_an_upgrade_wait_for_the_101() {
    let lab = Lab::new().await;
    lab.node.set_temper(Temper::Hang);
    let mut client = lab.client().await;
    // A masked text frame "hi", in the same segment as the request.
    let frame = b"\x81\x82\x00\x00\x00\x00hi";
    client
        .send([upgrade_request("/", KEY).as_bytes(), frame].concat())
        .await;
    lab.wait_for_request().await;
    tokio::time::sleep(NEVER).await;
    let received = lab.node.received().concat();
    assert!(
        received.ends_with(b"\r\n\r\n"),
        "bytes before the 101: {received:?}"
    );
    lab.node.set_temper(Temper::Normal);
    let response = client.response().await.unwrap();
    assert_eq!(response.status, 101);
    assert_eq!(response.head.get("sec-websocket-accept"), Some(ACCEPT));
    let mut socket = WebSocket::over(client).await;
    assert!(socket.text().await.unwrap().contains("connected"));
    assert_eq!(
        socket.text().await.unwrap(),
        "hi",
        "the early frame was held, not lost"
    );
    socket.echo("and on").await.unwrap();
}

#[tokio::test]
async fn bytes_behind_a_refused_upgrade_reach_no_node() {
    let lab = Lab::new().await;
    for status in [200, 400, 426, 503] {
        lab.node.set_temper(Temper::status(status));
        let mut client = lab.client().await;
        let smuggled = "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length : 0\r\n\r\n";
        client
            .send(format!("{}{smuggled}", upgrade_request("/", KEY)))
            .await;
        assert_eq!(client.response().await.unwrap().status, status);
        // What follows is one more request, judged as such: this one is refused.
        client.until_closed().await.ok();
        let received = String::from_utf8_lossy(&lab.node.received().concat()).into_owned();
        assert!(
            !received.contains("/smuggled"),
            "after {status}: {received:?}"
        );
    }
}

#[tokio::test]
async fn bytes_behind_an_upgrade_that_a_rule_denies_reach_no_node() {
    if is_haproxy() {
        return; // It reads them as the next request.
    }
    let lab = Lab::with_rule("    http-request deny if { path /denied }").await;
    let mut client = lab.client().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    client
        .send(format!("{}{smuggled}", upgrade_request("/denied", KEY)))
        .await;
    let response = client.response().await.unwrap();
    assert_eq!(response.status, 403);
    assert_eq!(response.head.get("connection"), Some("close"));
    assert!(client.until_closed().await.unwrap().is_empty());
    assert!(lab.node.received().is_empty());
}

#[tokio::test]
async fn a_rule_that_deletes_the_upgrade_field_stops_the_upgrade() {
    let lab = Lab::with_rule("    http-request del-header Upgrade if { path /plain }").await;
    let mut client = lab.client().await;
    client.send(upgrade_request("/plain", KEY)).await;
    assert_eq!(client.response().await.unwrap().text(), "n1 GET /plain\n");
    let seen = lab.node.requests().pop().unwrap();
    assert_eq!(seen.get("upgrade"), None);
    if !is_haproxy() {
        // It leaves this one.
        assert_eq!(seen.get("connection"), None);
    }
    let target = Target::plain(lab.balancer.address("http"));
    let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    socket.echo("other paths upgrade").await.unwrap();
}

#[tokio::test]
async fn a_wrong_accept_is_a_502_and_no_tunnel() {
    if is_haproxy() {
        return; // It takes the node's word.
    }
    let lab = Lab::new().await;
    lab.node
        .set_temper(Temper::switches_with("AAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    let mut client = lab.client().await;
    client.send(upgrade_request("/", KEY)).await;
    assert_eq!(client.response().await.unwrap().status, 502);
    client.try_send("\x01\x02tunnelled").await.ok();
    client.until_closed().await.ok();
    let received = lab.node.received().concat();
    assert!(received.ends_with(b"\r\n\r\n"), "{received:?}");
    let line = lab.log.wait_for(&["be/n1", " 502 "]).await;
    assert_eq!(termination(&line), "PH--", "{line}");
}

/// A 101 that is not what was asked for.
const BAD_SWITCHES: &[(&str, &str)] = &[
    (
        "no upgrade field",
        "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    ),
    (
        "another protocol",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    ),
    (
        "no connection field",
        "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    ),
    ("no accept", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
];

#[tokio::test]
async fn a_101_that_is_not_exact_opens_no_tunnel() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let mut faults = Vec::new();
    for (what, fields) in BAD_SWITCHES {
        let switch = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
        lab.node.set_temper(Temper::Exactly(switch.into()));
        let mut client = lab.client().await;
        client.send(upgrade_request("/", KEY)).await;
        match client.response().await {
            Ok(response) if response.status == 502 => {}
            Ok(response) => faults.push(format!("{what}: {}", response.status)),
            Err(error) => faults.push(format!("{what}: {error:#}")),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn a_101_nobody_asked_for_is_a_502() {
    let lab = Lab::new().await;
    lab.node.set_temper(Temper::switches_with(ACCEPT));
    let mut client = lab.client().await;
    assert_eq!(client.get("/").await.unwrap().status, 502);
    client.try_send("\x01\x02tunnelled").await.ok();
    client.until_closed().await.ok();
    assert!(lab.node.received().concat().ends_with(b"\r\n\r\n"));
}

#[tokio::test]
async fn bytes_glued_behind_the_101_arrive() {
    let lab = Lab::new().await;
    lab.node.set_temper(Temper::EarlyBytes);
    let mut socket = WebSocket::open(&Target::plain(lab.balancer.address("http")))
        .await
        .unwrap();
    assert_eq!(socket.text().await.unwrap(), "early");
    assert!(socket.text().await.unwrap().contains("connected"));
    socket.echo("hello").await.unwrap();
}

/// Upgrade requests RFC 6455 section 4.2.1 does not allow.
const BAD_UPGRADES: &[(&str, &str)] = &[
    (
        "no key",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "two keys",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ),
    (
        "short key",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
    ),
    (
        "another version",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ),
    (
        "POST",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ),
    (
        "a body",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nbody",
    ),
];

#[tokio::test]
async fn a_bad_upgrade_request_opens_no_tunnel() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    for (what, request) in BAD_UPGRADES {
        let mut client = lab.client().await;
        client.send(request).await;
        let response = client.response().await.unwrap();
        assert_ne!(response.status, 101, "{what}");
        assert_eq!(lab.node.websockets(), 0, "{what}");
    }
}

#[tokio::test]
async fn other_protocols_are_not_tunnelled() {
    let lab = Lab::new().await;
    let mut client = lab.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        .await;
    if is_haproxy() {
        return; // It asks the node.
    }
    let response = client.response().await.unwrap();
    assert_eq!(response.status, 200);
    let seen = &lab.node.requests()[0];
    assert_eq!(seen.get("upgrade"), None);
    assert_eq!(seen.get("http2-settings"), None);
}

#[tokio::test]
async fn requests_with_too_much_head_are_refused() {
    let lab = Lab::new().await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: 1\r\n".repeat(500)
    );
    for request in [long, many] {
        let mut client = lab.client().await;
        client.try_send(request).await.ok();
        let response = client.response().await.unwrap();
        assert!((400..500).contains(&response.status), "{}", response.status);
    }
    assert!(lab.node.requests().is_empty());
}
