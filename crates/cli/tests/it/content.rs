//! TCP rules: who is let in before a word was said, and what the first words decide.

use std::time::{Duration, Instant};

use testkit::http::Response;
use testkit::stream::Stream;
use testkit::{Authority, Balancer, Client, LogSink, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{SOON, echo_server, setup};

/// Two frontends in mode tcp with these rules, before an echoing server.
struct Lab {
    log: LogSink,
    balancer: Balancer,
}

impl Lab {
    async fn new(frontend: &str, backend: &str) -> Self {
        let log = LogSink::start().await;
        let server = echo_server().await;
        let config = format!(
            "
frontend fe
    mode tcp
    option tcplog
    bind 127.0.0.1:<port:tcp>
{frontend}
    default_backend be
backend be
    mode tcp
{backend}
    server n1 <n1>
listen stats
    bind 127.0.0.1:<port:stats>
    stats uri /stats
"
        );
        let balancer = setup(&log, &config).set("n1", server).start().await;
        Self { log, balancer }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.balancer.address("tcp"))
            .await
            .unwrap()
    }

    /// Whether these words, sent one by one, are echoed.
    async fn passes(&self, words: &[&str]) -> bool {
        let mut client = self.connect().await;
        for word in words {
            client.write_all(word.as_bytes()).await.unwrap();
            // So that each arrives for itself: nothing tells from outside that it did.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.shutdown().await.ok();
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.ok();
        assert!(said.is_empty() || said == words.concat().as_bytes());
        !said.is_empty()
    }

    async fn count(&self, column: &str) -> String {
        let table = self.balancer.stats("stats").await;
        table.get("fe", "FRONTEND", column).to_owned()
    }
}

#[tokio::test]
async fn connections_are_refused_before_anything_is_read() {
    let lab = Lab::new(
        "    tcp-request connection accept if { src 127.0.0.1 } { always_false }
    tcp-request connection reject if LOCALHOST",
        "",
    )
    .await;
    let mut said = Vec::new();
    // The reset may come before the connect has returned here.
    if let Ok(mut client) = TcpStream::connect(lab.balancer.address("tcp")).await {
        let error = client.read_to_end(&mut said).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(lab.count("dcon").await, "1");
    assert_eq!(lab.count("conn_tot").await, "1");
    assert_eq!(lab.count("stot").await, "0");
}

#[tokio::test]
async fn sessions_are_refused_after_the_handshake() {
    let lab = Lab::new(
        "    tcp-request session reject unless { src 10.0.0.0/8 }",
        "",
    )
    .await;
    assert!(!lab.passes(&[]).await);
    assert_eq!(lab.count("dses").await, "1");
    assert_eq!(lab.count("stot").await, "0");
    assert_eq!(lab.count("conn_tot").await, "1");
}

#[tokio::test]
async fn a_rule_asks_for_a_proxy_header() {
    let lab = Lab::new(
        "    tcp-request connection expect-proxy layer4 if LOCALHOST
    tcp-request session reject unless { src 10.1.2.3 }",
        "",
    )
    .await;
    let mut client = lab.connect().await;
    let header = b"PROXY TCP4 10.1.2.3 10.9.9.9 5555 80\r\nhello";
    client.write_all(header).await.unwrap();
    let mut said = [0; 5];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
    drop(client);
    lab.log.wait_for(&["10.1.2.3:5555 ", " fe be/n1 "]).await;
}

#[tokio::test]
async fn the_first_bytes_decide_as_soon_as_they_can() {
    let lab = Lab::new(
        "    tcp-request inspect-delay 10s
    tcp-request content accept if { req.payload(0,3) -m str abc }
    tcp-request content reject if { req.len gt 2 }
    tcp-request content accept if WAIT_END",
        "",
    )
    .await;
    let start = Instant::now();
    assert!(lab.passes(&["a", "b", "c"]).await);
    assert!(!lab.passes(&["a", "b", "d"]).await);
    // A client that has ended says no more: nothing is waited for.
    assert!(lab.passes(&["a"]).await);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(lab.count("dreq").await, "1");
    let line = lab.log.wait_for(&["fe/<NOSRV>"]).await;
    assert!(
        line.contains(" -1/-1/") && line.contains(" 0 PR "),
        "{line}"
    );
}

#[tokio::test]
async fn when_the_delay_is_over_what_has_come_must_do() {
    let delay = Duration::from_millis(300);
    let lab = Lab::new(
        "    tcp-request inspect-delay 300ms
    tcp-request content accept if { req.payload(0,3) -m str abc }
    tcp-request content reject",
        "",
    )
    .await;
    let start = Instant::now();
    let mut client = lab.connect().await;
    client.write_all(b"ab").await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert!(said.is_empty());
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    lab.log.wait_for(&["fe/<NOSRV>", " PR "]).await;
}

#[tokio::test]
async fn a_full_buffer_is_not_waited_for() {
    let lab = Lab::new(
        "    tcp-request inspect-delay 10s
    tcp-request content reject if { req.len gt 100000 }",
        "",
    )
    .await;
    let start = Instant::now();
    let text = "x".repeat(60_000);
    assert!(lab.passes(&[&text]).await);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_backend_has_rules_of_its_own() {
    let lab = Lab::new(
        "",
        "    tcp-request inspect-delay 5s
    tcp-request content reject if { req.payload(0,2) -m str no }",
    )
    .await;
    assert!(!lab.passes(&["no"]).await);
    assert!(lab.passes(&["yes"]).await);
    lab.log.wait_for(&[" be/<NOSRV> ", " PR "]).await;
}

#[tokio::test]
async fn a_capture_waits_for_its_bytes() {
    let lab = Lab::new(
        "    tcp-request inspect-delay 10s
    tcp-request content capture req.payload(0,4) len 3
    tcp-request content set-log-level silent if { req.payload(0,1) -m str s }
    tcp-request content accept if { req.len gt 0 }
    log-format \"kept %hr %[capture.req.hdr(0)] %ts\"",
        "",
    )
    .await;
    assert!(lab.passes(&["silent"]).await);
    assert!(lab.passes(&["ab", "cd"]).await);
    assert!(lab.passes(&["ab"]).await);
    lab.log.wait_for(&["kept {abc} abc --"]).await;
    lab.log.wait_for(&["kept {} - --"]).await;
    let lines = lab.log.lines();
    assert!(
        !lines.iter().any(|line| line.contains("{sil}")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn the_servers_first_bytes_are_looked_at_too() {
    let lab = Lab::new(
        "",
        "    tcp-response inspect-delay 5s
    tcp-response content accept if { res.payload(0,4) -m str good }
    tcp-response content close if { res.payload(0,3) -m str bye }
    tcp-response content reject",
    )
    .await;
    assert!(lab.passes(&["go", "od"]).await);
    assert!(lab.passes(&["bye"]).await);
    assert!(!lab.passes(&["evil"]).await);
    lab.log.wait_for(&[" be/n1 ", " PD "]).await;
    assert_eq!(lab.count("dresp").await, "1");
}

const BY_NAME: &str = "
frontend fe
    mode tcp
    option tcplog
    bind 127.0.0.1:<port:tls>
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }
    tcp-request content reject
    use_backend a if { req.ssl_sni -i A.example.com } { req.ssl_ver 3.3 }
    use_backend b if { req_ssl_sni -m end .b.example.com }
backend a
    mode tcp
    server a <a>
backend b
    mode tcp
    server b <b>
";

#[tokio::test]
async fn tls_is_passed_through_by_name() {
    let log = LogSink::start().await;
    let authority = Authority::new();
    let a = Node::start_tls_as("a", &authority, &["a.example.com"]).await;
    let b = Node::start_tls_as("b", &authority, &["x.b.example.com"]).await;
    let balancer = setup(&log, BY_NAME)
        .set("a", a.address())
        .set("b", b.address())
        .start()
        .await;
    let to = balancer.address("tls");
    for (name, node) in [("a.example.com", "a"), ("x.b.example.com", "b")] {
        let stream = Stream::tls(to, &authority, name).await.unwrap();
        let answer: Response = Client::over(stream).get("/x").await.unwrap();
        assert_eq!(answer.text(), format!("{node} GET /x\n"));
    }
    let nobody = Stream::tls(to, &authority, "other.example.com").await;
    assert!(nobody.is_err());
    log.wait_for(&["fe/<NOSRV>", " SC "]).await;
    let mut client = Client::plain(to).await;
    client.try_send("GET / HTTP/1.1\r\n\r\n").await.ok();
    assert!(client.until_closed().await.unwrap_or_default().is_empty());
    log.wait_for(&["fe/<NOSRV>", " PR "]).await;
}

#[tokio::test]
async fn the_name_computes_its_backend() {
    let log = LogSink::start().await;
    let authority = Authority::new();
    let a = Node::start_tls_as("a", &authority, &["A.example.com"]).await;
    let b = Node::start_tls_as("b", &authority, &["other.example.com"]).await;
    let computed = "    use_backend %[req.ssl_sni,lower,field(1,.)] if TRUE
    use_backend a
    default_backend b\n";
    let config = BY_NAME.replace(
        "    use_backend a if",
        &format!("{computed}    use_backend a if"),
    );
    let balancer = setup(&log, &config)
        .set("a", a.address())
        .set("b", b.address())
        .start()
        .await;
    let to = balancer.address("tls");
    // The second is no backend's name.
    for (name, node) in [("A.example.com", "a"), ("other.example.com", "b")] {
        let stream = Stream::tls(to, &authority, name).await.unwrap();
        let answer: Response = Client::over(stream).get("/x").await.unwrap();
        assert_eq!(answer.text(), format!("{node} GET /x\n"));
    }
}

#[tokio::test]
async fn http_frontends_have_content_rules_too() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    tcp-request inspect-delay 5s
    tcp-request content reject if !HTTP
    tcp-request content reject if { path /no }
    tcp-request content accept if HTTP REQ_CONTENT WAIT_END
    tcp-request content reject
    default_backend be
backend be
    tcp-request content reject if { path /never }
    server n1 <n1>
";
    let balancer = setup(&log, config).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/yes").await.unwrap().status, 200);
    for path in ["/no", "/never"] {
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let rest = client.until_closed().await.unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        client = Client::plain(balancer.address("http")).await;
    }
    log.wait_for(&["fe fe/<NOSRV> -1/-1/-1/-1/", " -1 0 - - PR-- ", "<BADREQ>"])
        .await;
    log.wait_for(&["fe be/<NOSRV> -1/-1/-1/-1/", " PR-- ", "GET /never"])
        .await;
}

#[tokio::test]
async fn a_tcp_frontend_becomes_http() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = "
frontend switched
    mode tcp
    option tcplog
    bind 127.0.0.1:<port:switched>
    tcp-request inspect-delay 5s
    tcp-request content switch-mode http if HTTP
    tcp-request content reject
    http-request deny if { path /denied }
    default_backend be
frontend implicit
    mode tcp
    option tcplog
    bind 127.0.0.1:<port:implicit>
    default_backend be
backend be
    server n1 <n1>
";
    let balancer = setup(&log, config).set("n1", node.address()).start().await;
    for port in ["switched", "implicit"] {
        let mut client = Client::plain(balancer.address(port)).await;
        assert_eq!(client.get("/x").await.unwrap().text(), "n1 GET /x\n");
        assert_eq!(client.get("/y").await.unwrap().text(), "n1 GET /y\n");
    }
    let mut client = Client::plain(balancer.address("switched")).await;
    assert_eq!(client.get("/denied").await.unwrap().status, 403);
    let mut client = Client::plain(balancer.address("implicit")).await;
    client.send("no request\r\n\r\n").await;
    assert_eq!(client.response().await.unwrap().status, 400);
    let mut client = Client::plain(balancer.address("switched")).await;
    client.send("\x16\x03\x01").await;
    let rest = client.until_closed().await.unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 2"));
}

/// A frontend in mode tcp that speaks HTTP, and what its requests find behind it.
async fn http_over_tcp(rules: &str) -> (Balancer, [Node; 2], LogSink) {
    let log = LogSink::start().await;
    let nodes = [Node::start("n1").await, Node::start("n2").await];
    let config = format!(
        "
frontend fe
    mode tcp
    option tcplog
    bind 127.0.0.1:<port:tcp>
    tcp-request inspect-delay 5s
{rules}
backend web
    mode http
    server n1 <n1>
backend bytes
    mode tcp
    server n2 <n2>
"
    );
    let mut setup = setup(&log, &config);
    for node in &nodes {
        setup = setup.set(node.id(), node.address());
    }
    (setup.start().await, nodes, log)
}

/// What the client is told in answer to these requests, one after the other on one connection.
async fn statuses(balancer: &Balancer, paths: &[&str]) -> Vec<Option<u16>> {
    let mut client = Client::plain(balancer.address("tcp")).await;
    let mut statuses = Vec::new();
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.send(&request).await;
        let response = client.response().await;
        statuses.push(response.ok().map(|it| it.status));
    }
    statuses
}

#[tokio::test]
async fn the_second_request_of_a_tcp_frontend_went_past_its_rules() {
    let (balancer, [n1, _], _log) = http_over_tcp(
        "    tcp-request content reject if { path_beg /admin }
    tcp-request content switch-mode http if HTTP
    default_backend web",
    )
    .await;
    assert_eq!(statuses(&balancer, &["/admin"]).await, [None]);
    let seen = statuses(&balancer, &["/", "/more", "/admin"]).await;
    assert_eq!(seen, [Some(200), Some(200), None]);
    assert_eq!(n1.requests().len(), 2, "{:?}", n1.requests());
}

#[tokio::test]
async fn the_second_request_of_a_tcp_frontend_went_to_a_backend_of_bytes() {
    let (balancer, [n1, n2], log) = http_over_tcp(
        "    tcp-request content accept if HTTP
    use_backend web if { path_beg /a }
    default_backend bytes",
    )
    .await;
    assert_eq!(statuses(&balancer, &["/a", "/b"]).await, [Some(200), None]);
    assert_eq!((n1.requests().len(), n2.requests().len()), (1, 0));
    log.wait_for(&["fe bytes/<NOSRV> -1/-1/", " 0 IR "]).await;
}
