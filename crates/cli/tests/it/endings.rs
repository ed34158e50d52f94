//! How sessions end, as their log lines tell it: who ended them, at what, and which of their times
//! were reached (manual 8.4, 8.5). One row a case; all were compared with HAProxy 2.6.

use std::time::Duration;

use testkit::node::Temper;
use testkit::websocket::upgrade_request;
use testkit::{Balancer, Client, LogSink, Node};

use crate::support::{SOON, is_haproxy, program};

/// What a client does after it has sent its bytes.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Reads until the other side closes.
    Read,
    /// Ends its direction, then reads.
    HalfClose,
    /// Reads something, then resets the connection.
    ReadSomeAndReset,
    /// Reads something, then closes.
    ReadSomeAndClose,
    /// Reads a WebSocket's greeting, then closes: with it unread that would be a reset.
    HearAndClose,
    /// Closes at once.
    Close,
}

use Then::{Close, HalfClose, HearAndClose, Read, ReadSomeAndClose, ReadSomeAndReset};

const GET: &str = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
const GET_ONCE: &str = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const POST_HALF: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc";

/// Where the one server is.
#[derive(Clone, Copy)]
enum At {
    Node,
    Nowhere,
}

struct Bench {
    log: LogSink,
    node: Node,
}

impl Bench {
    async fn start() -> Self {
        Self {
            log: LogSink::start().await,
            node: Node::start("n1").await,
        }
    }

    async fn balancer(&self, mode: &str, format: &str, settings: &str, at: At) -> Balancer {
        let (front, back) = settings.split_once('|').unwrap_or((settings, ""));
        let config = format!(
            "
defaults
    mode {mode}
    retries 0
    timeout connect 2s
    timeout client 700ms
    timeout server 400ms
frontend fe
    bind 127.0.0.1:<port:a>
    log <log> format raw local0
    log-format \"{format} B=%B\"
    {front}
    default_backend be
backend be
    {back}
    server n1 <n1>
"
        );
        let server = match at {
            At::Node => self.node.address().to_string(),
            At::Nowhere => testkit::Port::claim().address().to_string(),
        };
        Balancer::setup(program(), &config)
            .set("log", self.log.address())
            .set("n1", server)
            .start()
            .await
    }

    /// Waits for the line of the session, and masks its times.
    async fn line(&self) -> String {
        let line = self.log.wait_for(&[" B="]).await;
        let line = line.split(" B=").next().unwrap_or_default();
        let time = |time: &str| if time == "-1" { "-" } else { "t" }.to_owned();
        let words = line.split(' ').map(|word| match word.contains('/') {
            true => word.split('/').map(time).collect::<Vec<_>>().join("/"),
            false => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

async fn act(client: &mut Client, bytes: &str, then: Then) {
    client.send(bytes).await;
    match then {
        Read => {
            let _ = client.until_closed().await;
        }
        HalfClose => {
            client.half_close().await;
            let _ = client.until_closed().await;
        }
        ReadSomeAndReset | ReadSomeAndClose => {
            client.expect_bytes(b"HTTP/1.1 ").await;
        }
        HearAndClose => {
            client.message_to("GET").await.unwrap();
            // The frame comes whole.
            client.expect_bytes(b"\x81").await;
        }
        Close => {}
    }
}

async fn check(mode: &str, format: &str, case: (&str, At, Temper, &str, Then), expected: &str) {
    let (settings, at, temper, bytes, then) = case;
    let bench = Bench::start().await;
    bench.node.set_temper(temper);
    let balancer = bench.balancer(mode, format, settings, at).await;
    let mut client = Client::plain(balancer.address("a")).await;
    let done = tokio::time::timeout(SOON, act(&mut client, bytes, then)).await;
    done.unwrap_or_else(|_| panic!("{bytes:?} {then:?} took too long"));
    match then {
        ReadSomeAndReset => client.reset(),
        _ => drop(client),
    }
    assert_eq!(
        bench.line().await,
        expected,
        "{settings:?} {bytes:?} {then:?}"
    );
}

/// Status, termination state, TR/Tw/Tc/Tr, server.
async fn http(settings: &str, at: At, temper: Temper, bytes: &str, then: Then, expected: &str) {
    let case = (settings, at, temper, bytes, then);
    check("http", "%ST %tsc %TR/%Tw/%Tc/%Tr %s", case, expected).await;
}

/// The same of one request to a node like that.
async fn http_get(temper: Temper, expected: &str) {
    http("", At::Node, temper, GET, Read, expected).await;
}

/// The same of a client like that, where all else is well.
async fn http_from(bytes: &str, then: Then, expected: &str) {
    http("", At::Node, Temper::Normal, bytes, then, expected).await;
}

/// Termination state, Tw/Tc, server.
async fn tcp(settings: &str, at: At, temper: Temper, bytes: &str, then: Then, expected: &str) {
    let case = (settings, at, temper, bytes, then);
    check("tcp", "%ts %Tw/%Tc %s", case, expected).await;
}

/// The same of one request to a node like that.
async fn tcp_get(temper: Temper, expected: &str) {
    tcp("", At::Node, temper, GET, Read, expected).await;
}

fn exactly(text: &str) -> Temper {
    Temper::Exactly(text.into())
}

fn then_close(text: &str) -> Temper {
    Temper::ExactlyThenClose(text.into())
}

const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi";
const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn exchanges_that_go_well() {
    http(
        "",
        At::Node,
        exactly(WHOLE),
        GET_ONCE,
        Read,
        "200 ---- t/t/t/t n1",
    )
    .await;
    http(
        "",
        At::Node,
        exactly(WHOLE),
        GET,
        ReadSomeAndClose,
        "200 ---- t/t/t/t n1",
    )
    .await;
    http(
        "",
        At::Node,
        exactly(WHOLE),
        "GET / HTTP/1.0\r\n\r\n",
        Read,
        "200 ---- t/t/t/t n1",
    )
    .await;
    let unframed = then_close("HTTP/1.0 200 OK\r\n\r\nhi");
    http_get(unframed, "200 ---- t/t/t/t n1").await;
    let slow = Temper::Slow(Duration::from_millis(100));
    http("", At::Node, slow, GET, HalfClose, "200 ---- t/t/t/t n1").await;
}

#[tokio::test]
async fn what_servers_do_wrong() {
    http_get(Temper::CloseBeforeResponse, "502 SH-- t/t/t/- n1").await;
    http_get(Temper::ResetBeforeResponse, "502 SH-- t/t/t/- n1").await;
    http_get(Temper::Hang, "504 sH-- t/t/t/- n1").await;
    http_get(then_close("HTTP/1.1 200 OK\r\ncont"), "502 SH-- t/t/t/- n1").await;
    http_get(exactly("HTTP/1.1 200 OK\r\ncont"), "504 sH-- t/t/t/- n1").await;
    http_get(Temper::garbage(), "502 PH-- t/t/t/- n1").await;
    http_get(then_close(HALF), "200 SD-- t/t/t/t n1").await;
    let reset = Temper::ExactlyThenReset(HALF.into());
    http_get(reset, "200 SD-- t/t/t/t n1").await;
    http_get(exactly(HALF), "200 sD-- t/t/t/t n1").await;
    http(
        "",
        At::Nowhere,
        Temper::Normal,
        GET,
        Read,
        "503 SC-- t/t/-/- n1",
    )
    .await;
}

#[tokio::test]
async fn what_clients_do_wrong() {
    http_from("BAD\r\n\r\n", Read, "400 PR-- -/-/-/- <NOSRV>").await;
    http_from("GET / HT", Close, "400 CR-- -/-/-/- <NOSRV>").await;
    http_from("GET / HT", HalfClose, "400 CR-- -/-/-/- <NOSRV>").await;
    http_from("GET / HT", Read, "408 cR-- -/-/-/- <NOSRV>").await;
    let short = "timeout http-request 200ms";
    http(
        short,
        At::Node,
        Temper::Normal,
        "GET / HT",
        Read,
        "408 cR-- -/-/-/- <NOSRV>",
    )
    .await;
    http(
        "",
        At::Node,
        exactly(HALF),
        GET,
        ReadSomeAndReset,
        "200 sD-- t/t/t/t n1",
    )
    .await;
    let chunk = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    http(
        "",
        At::Node,
        Temper::Hang,
        chunk,
        Read,
        "400 PR-- -/-/-/- <NOSRV>",
    )
    .await;
    if !is_haproxy() {
        // HAProxy waits for `timeout server` and answers 504.
        let waits = "|timeout server 5s";
        http(
            waits,
            At::Node,
            Temper::Hang,
            POST_HALF,
            Read,
            "408 cH-- t/t/t/- n1",
        )
        .await;
    }
}

#[tokio::test]
async fn what_rules_do() {
    let check = async |settings: &str, expected: &str| {
        http(settings, At::Node, exactly(WHOLE), GET_ONCE, Read, expected).await;
    };
    check("http-request deny", "403 PR-- t/-/-/- <NOSRV>").await;
    check("http-request return status 200", "200 LR-- t/-/-/- <NOSRV>").await;
    check(
        "http-request redirect location /y",
        "302 LR-- t/-/-/- <NOSRV>",
    )
    .await;
    check(
        "http-request tarpit\n    timeout tarpit 100ms",
        "500 PT-- -/t/-/- <NOSRV>",
    )
    .await;
    check("stats enable\n    stats uri /x", "200 LR-- t/t/t/t <STATS>").await;
    check("|http-response deny", "502 PH-- t/t/t/- n1").await;
    check("|http-response return status 201", "201 LH-- t/t/t/- n1").await;
}

#[tokio::test]
async fn websockets() {
    let upgrade = upgrade_request("/ws", "dGhlIHNhbXBsZSBub25jZQ==");
    let check = async |settings: &str, temper: Temper, then: Then, expected: &str| {
        http(settings, At::Node, temper, &upgrade, then, expected).await;
    };
    check("", Temper::Normal, HearAndClose, "101 ---- t/t/t/t n1").await;
    check("", Temper::Normal, HalfClose, "101 ---- t/t/t/t n1").await;
    check("", Temper::Normal, ReadSomeAndReset, "101 CD-- t/t/t/t n1").await;
    check("", Temper::Normal, Read, "101 sD-- t/t/t/t n1").await;
    check(
        "|timeout tunnel 200ms",
        Temper::Normal,
        Read,
        "101 cD-- t/t/t/t n1",
    )
    .await;
    if !is_haproxy() {
        // HAProxy ends the client's direction alone and waits for the server's end.
        check(
            "|timeout server 5s",
            Temper::Normal,
            Read,
            "101 cD-- t/t/t/t n1",
        )
        .await;
    }
    check("", Temper::Hang, Read, "504 sH-- t/t/t/- n1").await;
    check("", exactly(WHOLE), ReadSomeAndClose, "200 ---- t/t/t/t n1").await;
}

#[tokio::test]
async fn plain_tcp() {
    tcp(
        "",
        At::Node,
        exactly(WHOLE),
        GET,
        ReadSomeAndClose,
        "-- t/t n1",
    )
    .await;
    tcp(
        "",
        At::Node,
        exactly(WHOLE),
        GET,
        ReadSomeAndReset,
        "CD t/t n1",
    )
    .await;
    tcp_get(then_close(WHOLE), "-- t/t n1").await;
    tcp_get(Temper::ResetBeforeResponse, "SD t/t n1").await;
    tcp_get(Temper::Hang, "sD t/t n1").await;
    if !is_haproxy() {
        // HAProxy ends the client's direction alone and waits for the server's end.
        tcp(
            "|timeout server 5s",
            At::Node,
            Temper::Hang,
            GET,
            Read,
            "cD t/t n1",
        )
        .await;
    }
    tcp("", At::Nowhere, Temper::Normal, GET, Read, "SC t/- n1").await;
    tcp(
        "tcp-request inspect-delay 5s\n    tcp-request content reject if { req.len gt 3 }",
        At::Node,
        Temper::Normal,
        GET,
        Read,
        "PR -/- <NOSRV>",
    )
    .await;
}
