//! Requests hidden in the bodies of others: whatever answers a request before its body was read, what
//! is left of that body is never taken for a request. And no answer is begun twice.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use testkit::{Balancer, Client, LogSink, Node, PATIENCE, Temper, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::{is_haproxy, one_backend, setup, shut_down};

const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// A node by hand: of every connection it reads one head, not a byte more, and leaves it to `then`.
struct ByHand {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ByHand {
    async fn start<F>(then: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = heads.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                seen.lock().unwrap().push(head);
                tokio::spawn(then(stream));
            }
        });
        Self { address, heads }
    }

    fn seen(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let lines = heads.iter().map(|head| head.lines().next());
        lines.map(|line| line.unwrap_or("").to_owned()).collect()
    }

    async fn balancer(&self, log: &LogSink, settings: &str) -> Balancer {
        let config = one_backend(settings, &["n1 <n1>"]);
        setup(log, &config).set("n1", self.address).start().await
    }
}

/// Responses that begin in these bytes.
fn heads_in(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).matches("HTTP/1.1 ").count()
}

/// The client's connection ends, in order or with a reset, and no other response comes before.
async fn assert_ends(client: &mut Client) {
    match client.until_closed().await {
        Ok(after) => assert_eq!(heads_in(&after), 0, "{}", String::from_utf8_lossy(&after)),
        Err(error) => assert!(error.is::<std::io::Error>(), "{error:#}"),
    }
}

#[tokio::test]
async fn the_body_that_a_node_refused_and_reset_is_never_read_as_requests() {
    let go = Arc::new(Notify::new());
    let going = go.clone();
    let node = ByHand::start(move |mut stream| {
        let going = going.clone();
        async move {
            going.notified().await;
            let refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
            // Closed with bytes unread: the reset is there as soon as the answer.
            stream.write_all(refusal).await.ok();
        }
    })
    .await;
    let log = LogSink::start().await;
    let balancer = node.balancer(&log, "").await;
    let mut client = Client::plain(balancer.address("http")).await;
    client
        .send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n")
        .await;
    let body = HIDDEN.repeat(1_000_000);
    // Until nobody takes any more of it.
    let mut sent = 0;
    while let Some(piece) = body.as_bytes().get(sent..sent + HIDDEN.len() * 1000) {
        let sending = client.try_send(piece);
        match tokio::time::timeout(Duration::from_millis(300), sending).await {
            Ok(sending) => sending.unwrap(),
            Err(_) => break,
        }
        sent += piece.len();
    }
    assert!(sent < body.len(), "all of it was taken");
    go.notify_waiters();
    // Wherever the last piece was cut: what follows begins with the end of a line.
    let rest = format!("\r\n\r\n{}", HIDDEN.repeat(100_000));
    let answer = client.response_while_sending(rest.as_bytes()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 413);
    assert_ends(&mut client).await;
    assert_eq!(node.seen(), ["POST /upload HTTP/1.1"]);
    assert!(!log.lines().concat().contains("/smuggled"));
}

/// How a node breaks off after the client has part of its answer.
#[derive(Clone, Copy, PartialEq)]
enum Break {
    Reset,
    Silence,
}

/// The node sends `begun`, gets the end of the body, and breaks off: the client gets one head at most
/// behind an interim one, and the node the request once.
async fn check_begun_once(begun: &'static str, how: Break) {
    let node = ByHand::start(move |mut stream| async move {
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut body = [0; 10];
        stream.read_exact(&mut body).await.ok();
        match how {
            Break::Reset => stream.set_zero_linger().unwrap(),
            Break::Silence => {
                stream.read_to_end(&mut Vec::new()).await.ok();
            }
        }
    })
    .await;
    let log = LogSink::start().await;
    let settings = "    timeout server 300ms\n    retries 3
    retry-on all-retryable-errors response-timeout";
    let balancer = node.balancer(&log, settings).await;
    let mut client = Client::plain(balancer.address("http")).await;
    client
        .send("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        .await;
    client.expect_bytes(begun.as_bytes()).await;
    client.send("again").await;
    log.wait_for(&["POST /once"]).await;
    if begun.contains(" 103 ") {
        assert_eq!(client.response().await.unwrap().status, 502);
    } else {
        assert_ends(&mut client).await;
    }
    assert_eq!(node.seen(), ["POST /once HTTP/1.1"], "{begun:?}");
}

#[tokio::test]
async fn a_second_head_never_stands_in_the_body_of_the_first() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789";
    check_begun_once(half, Break::Reset).await;
    check_begun_once(half, Break::Silence).await;
    if !is_haproxy() {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
        check_begun_once(hints, Break::Reset).await;
    }
}

#[tokio::test]
async fn an_answer_that_an_operator_cuts_is_not_begun_anew() {
    let node = ByHand::start(|mut stream| async move {
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789";
        stream.write_all(half).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.ok();
    })
    .await;
    let log = LogSink::start().await;
    let settings = "    retries 3\n    retry-on all-retryable-errors
    stats uri /stats\n    stats admin if TRUE";
    let balancer = node.balancer(&log, settings).await;
    let mut client = Client::plain(balancer.address("http")).await;
    client
        .send("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        .await;
    client.expect_bytes(b"HTTP/1.1 200").await;
    client.send("aga").await;
    shut_down(balancer.address("http"), "n1").await;
    assert_ends(&mut client).await;
    assert_eq!(node.seen(), ["POST /once HTTP/1.1"]);
}

#[tokio::test]
async fn bytes_behind_an_upgrade_that_a_rule_forbids_are_no_request() {
    if is_haproxy() {
        return; // It reads on.
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let settings = "    http-request del-header Upgrade";
    let config = one_backend(settings, &["n1 <n1>"]);
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    client
        .send(format!(
            "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{HIDDEN}"
        ))
        .await;
    let response = client.response().await.unwrap();
    assert_eq!(response.text(), "n1 GET /plain\n");
    assert_eq!(response.head.get("connection"), Some("close"));
    assert!(client.until_closed().await.unwrap_or_default().is_empty());
    assert_eq!(node.requests().len(), 1);
}

#[tokio::test]
async fn the_rest_of_a_form_that_was_no_form_is_no_request() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let settings = "    stats uri /stats\n    stats admin if TRUE";
    let config = one_backend(settings, &["n1 <n1>"]);
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    client
        .send(
            "POST /stats HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
        )
        .await;
    client.expect_bytes(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    // The chunk's line end is missing; read anew from there, the body would end at once.
    client.send(format!("5\r\nhello0\r\n\r\n{HIDDEN}")).await;
    let response = client.response().await.unwrap();
    assert_eq!(response.head.get("connection"), Some("close"));
    client.until_closed().await.ok();
    assert!(node.requests().is_empty());
}

/// How a request with hidden ones in its body is put.
#[derive(Clone, Copy, Debug)]
struct Put {
    version: &'static str,
    /// Further fields.
    fields: &'static str,
    chunked: bool,
    /// Hidden requests in the body.
    count: usize,
}

impl Put {
    /// The head, and the body behind it.
    fn bytes(self, path: &str) -> (String, String) {
        let Self {
            version, fields, ..
        } = self;
        let body = HIDDEN.repeat(self.count);
        let framing = match self.chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {}", body.len()),
        };
        let head = format!("POST {path} {version}\r\nHost: a\r\n{fields}{framing}\r\n\r\n");
        if !self.chunked {
            return (head, body);
        }
        let chunk = format!("{:x}\r\n{HIDDEN}\r\n", HIDDEN.len());
        let chunks = chunk.repeat(self.count);
        (
            head,
            format!("{chunks}0\r\nX-Trailer: GET /smuggled\r\n\r\n"),
        )
    }
}

const PUTS: [Put; 6] = {
    let plain = Put {
        version: "HTTP/1.1",
        fields: "",
        chunked: false,
        count: 10,
    };
    let large = Put {
        count: 4000,
        ..plain
    };
    let expecting = Put {
        fields: "Expect: 100-continue\r\n",
        ..plain
    };
    [
        plain,
        large,
        Put {
            chunked: true,
            ..plain
        },
        Put {
            chunked: true,
            ..large
        },
        expecting,
        Put {
            version: "HTTP/1.0",
            fields: "Connection: keep-alive\r\n",
            ..plain
        },
    ]
};

/// Where the body is cut into what comes with the head and what comes after a while.
const CUTS: [usize; 4] = [0, HIDDEN.len(), HIDDEN.len() * 2 + 20, usize::MAX];

/// Sends such a request, another one behind it, and sees what comes back.
async fn put(to: SocketAddr, path: &str, put: Put, cut: usize) {
    let (head, body) = put.bytes(path);
    let (first, rest) = body.split_at(cut.min(body.len()));
    let mut client = Client::plain(to).await;
    client.try_send(format!("{head}{first}")).await.ok();
    let mut came = client.within(Duration::from_millis(100)).await;
    let rest = format!("{rest}GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let sending = client.try_send(&rest);
    tokio::time::timeout(Duration::from_secs(1), sending)
        .await
        .ok();
    came.extend(client.within(Duration::from_millis(400)).await);
    let text = String::from_utf8_lossy(&came);
    let heads = heads_in(&came) - text.matches(" 100 Continue").count();
    assert!(heads <= 2, "{path} {put:?} cut at {cut}: {text}");
}

/// Every way to hide requests, through one way to answer early.
async fn check_hidden(what: &str, settings: &str, path: &str, temper: Temper) {
    check_hidden_from("<n1>", what, settings, path, temper).await;
}

/// The same with the only server at that address.
async fn check_hidden_from(server: &str, what: &str, settings: &str, path: &str, temper: Temper) {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(temper);
    let settings = format!(
        "    timeout server 100ms\n    timeout queue 50ms\n    timeout tarpit 50ms\n    retries 2\n{settings}"
    );
    let config = one_backend(&settings, &[&format!("n1 {server}")]);
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let to = balancer.address("http");
    let all = PUTS.into_iter().flat_map(|it| CUTS.map(|cut| (it, cut)));
    join_all(all.map(|(it, cut)| put(to, path, it, cut))).await;
    let seen: Vec<_> = node.requests().into_iter().map(|it| it.start).collect();
    let smuggled = |line: &String| line.contains("/smuggled");
    assert!(!seen.iter().any(smuggled), "{what}: {seen:?}");
    assert!(!log.lines().iter().any(smuggled), "{what}");
}

#[tokio::test]
async fn no_answer_of_ours_leaves_the_body_to_be_read_as_requests() {
    if is_haproxy() {
        return;
    }
    for (rule, path) in [
        ("http-request deny if { path /x }", "/x"),
        ("http-request return status 200 if { path /x }", "/x"),
        ("http-request redirect location / if { path /x }", "/x"),
        ("http-request tarpit if { path /x }", "/x"),
        ("http-request auth if { path /x }", "/x"),
        ("http-response deny if TRUE", "/eager"),
        ("http-response return status 200 if TRUE", "/x"),
        ("http-request del-header Expect", "/early"),
        ("stats uri /x\n    stats admin if TRUE", "/x"),
    ] {
        check_hidden(rule, &format!("    {rule}"), path, Temper::Normal).await;
    }
}

#[tokio::test]
async fn no_answer_of_a_node_leaves_the_body_to_be_read_as_requests() {
    if is_haproxy() {
        return;
    }
    let retry = "    retry-on all-retryable-errors response-timeout";
    let abort = "    option abortonclose";
    for (settings, path, temper) in [
        ("", "/early", Temper::Normal),
        ("", "/eager", Temper::Normal),
        (abort, "/eager", Temper::Normal),
        ("", "/close", Temper::Normal),
        ("", "/chunked", Temper::Normal),
        ("", "/until-close", Temper::Normal),
        ("    option http-server-close", "/early", Temper::Normal),
        ("", "/x", Temper::CloseBeforeResponse),
        (retry, "/x", Temper::CloseBeforeResponse),
        (retry, "/x", Temper::ResetBeforeResponse),
        (retry, "/x", Temper::ResetMidMessage),
        (retry, "/x", Temper::Hang),
        ("", "/x", Temper::Hang),
        (abort, "/x", Temper::garbage()),
        (retry, "/x", Temper::status(503)),
    ] {
        let what = format!("{settings} {path} {temper:?}");
        check_hidden(&what, settings, path, temper).await;
    }
}

#[tokio::test]
async fn a_request_that_waits_in_vain_leaves_no_requests_behind() {
    if is_haproxy() {
        return;
    }
    let settings = "    timeout connect 50ms";
    for abort in ["", "\n    option abortonclose"] {
        let settings = format!("{settings}{abort}");
        check_hidden_from("127.0.0.1:1", "refused", &settings, "/x", Temper::Normal).await;
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(Temper::Hang);
    let settings = "    timeout queue 50ms";
    let config = one_backend(settings, &["n1 <n1> maxconn 1"]);
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let to = balancer.address("http");
    let mut first = Client::plain(to).await;
    first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait_until("the server to be full", PATIENCE, async || {
        testkit::wait::or_seen(node.requests().len() == 1, node.requests().len())
    })
    .await;
    let all = PUTS.into_iter().flat_map(|it| CUTS.map(|cut| (it, cut)));
    join_all(all.map(|(it, cut)| put(to, "/x", it, cut))).await;
    assert_eq!(node.requests().len(), 1);
    assert!(!log.lines().concat().contains("/smuggled"));
}
