//! TLS towards clients: which certificate is shown, which versions, and what becomes of those that
//! do not speak it. And of discovered nodes that do. What servers are believed is in `tls`.

use std::time::Instant;

use testkit::http::Head;
use testkit::stream::Stream;
use testkit::websocket::Target;
use testkit::{Authority, Balancer, Client, Discovery, LogSink, Node, PATIENCE, Swarm, wait_until};

use crate::support::{SOON, is_haproxy, one_backend, setup};

/// A frontend that speaks TLS, with `bind` parameters, before one node.
fn tls_frontend(bind: &str) -> String {
    one_backend("    option forwardfor", &["n1 <n1>"])
        .replace("<port:http>", &format!("<port:https> ssl {bind}"))
}

struct Lab {
    log: LogSink,
    authority: Authority,
    node: Node,
    balancer: Balancer,
}

impl Lab {
    /// `files`: certificates by file name and names.
    async fn new(bind: &str, files: &[(&str, &[&str])]) -> Self {
        let log = LogSink::start().await;
        let authority = Authority::new();
        let node = Node::start("n1").await;
        let mut making = setup(&log, &tls_frontend(bind)).set("n1", node.address());
        std::fs::create_dir(making.folder().join("certs")).unwrap();
        for (name, names) in files {
            making = making.file(name, &authority.server_pem(names));
        }
        Self {
            log,
            balancer: making.start().await,
            authority,
            node,
        }
    }

    async fn shown_to(&self, name: &str) -> std::io::Result<Stream> {
        Stream::tls(self.balancer.address("https"), &self.authority, name).await
    }
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name() {
    let lab = Lab::new(
        "crt <dir>/default.pem crt <dir>/certs",
        &[
            ("default.pem", &["default.example.com"]),
            ("certs/a.pem", &["a.example.com"]),
            ("certs/wild.pem", &["*.wild.example.com"]),
        ],
    )
    .await;
    // Each of these fails unless the certificate is for that name.
    for name in [
        "default.example.com",
        "a.example.com",
        "x.wild.example.com",
        "A.Example.COM",
    ] {
        let stream = lab.shown_to(name).await;
        let mut client = Client::over(stream.unwrap_or_else(|error| panic!("{name}: {error}")));
        assert_eq!(client.get("/").await.unwrap().status, 200, "{name}");
    }
    // A name nobody has gets the default one, which is not for it.
    let error = lab.shown_to("other.example.com").await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn strict_sni_refuses_names_it_does_not_know() {
    let files: &[(&str, &[&str])] = &[("cert.pem", &["known.example.com"])];
    let lab = Lab::new("crt <dir>/cert.pem strict-sni", files).await;
    lab.shown_to("known.example.com").await.unwrap();
    let error = lab.shown_to("unknown.example.com").await.unwrap_err();
    assert!(!error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_version_below_the_minimum_is_refused() {
    let files: &[(&str, &[&str])] = &[("cert.pem", &["localhost"])];
    let lab = Lab::new("crt <dir>/cert.pem ssl-min-ver TLSv1.3", files).await;
    lab.shown_to("localhost").await.unwrap();
    let settings = lab.authority.client_config_for(&[&rustls::version::TLS12]);
    let address = lab.balancer.address("https");
    Stream::tls_with(address, settings, "localhost")
        .await
        .unwrap_err();
}

#[tokio::test]
async fn what_is_no_handshake_ends_and_harms_nobody() {
    let files: &[(&str, &[&str])] = &[("cert.pem", &["localhost"])];
    let lab = Lab::new("crt <dir>/cert.pem", files).await;
    let mut good = Client::over(lab.shown_to("localhost").await.unwrap());
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        &[0; 600],
        b"\x16\x03\x01\xff\xff\x01\x00\xff\xfb",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        b"",
    ] {
        let mut client = Client::plain(lab.balancer.address("https")).await;
        client.try_send(garbage).await.ok();
        if garbage.is_empty() || garbage[0] == 0x16 {
            client.half_close().await;
        }
        client.until_closed().await.ok();
        assert_eq!(good.get("/").await.unwrap().status, 200);
    }
    assert!(lab.node.requests().len() == 5);
}

#[tokio::test]
async fn a_stalled_handshake_does_not_live_for_ever() {
    let mut limits = vec!["client 400ms"];
    // A keyword of HAProxy 3.
    if !is_haproxy() {
        limits.push("client-hs 400ms");
    }
    for limit in limits {
        stall(limit).await;
    }
}

async fn stall(limit: &str) {
    let log = LogSink::start().await;
    let authority = Authority::new();
    let node = Node::start("n1").await;
    let config = tls_frontend("crt <dir>/cert.pem").replace(
        "    default_backend",
        &format!("    timeout {limit}\n    default_backend"),
    );
    let balancer = setup(&log, &config)
        .set("n1", node.address())
        .file("cert.pem", &authority.server_pem(&["localhost"]))
        .start()
        .await;
    let mut client = Client::plain(balancer.address("https")).await;
    let start = Instant::now();
    // The beginning of a ClientHello, and then nothing.
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01").await;
    client.until_closed().await.ok();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn large_messages_pass_through_tls_both_ways() {
    let files: &[(&str, &[&str])] = &[("cert.pem", &["localhost"])];
    let lab = Lab::new("crt <dir>/cert.pem", files).await;
    let target = Target::tls(lab.balancer.address("https"), &lab.authority);
    let (mut socket, _) = testkit::WebSocket::open_greeted(&target).await.unwrap();
    for length in [0, 1, 16_383, 16_384, 16_385, 3_000_000] {
        let bytes = testkit::node::pattern(length);
        socket.echo_bytes(bytes).await.unwrap();
    }
    assert_eq!(socket.close().await.unwrap(), Some(1000));
    let mut client = Client::over(lab.shown_to("localhost").await.unwrap());
    let body = client.get("/bytes/5000000").await.unwrap().body;
    assert!(body == testkit::node::pattern(5_000_000));
    lab.log.wait_for(&["be/n1", " 101 "]).await;
}

#[tokio::test]
async fn many_websockets_through_tls_survive_a_node_that_dies() {
    let log = LogSink::start().await;
    let authority = Authority::new();
    let mut nodes = Node::start_many(2).await;
    let config = one_backend("", &["node1 <node1>", "node2 <node2>"])
        .replace("<port:http>", "<port:https> ssl crt <dir>/cert.pem");
    let balancer = setup(&log, &config)
        .set("node1", nodes[0].address())
        .set("node2", nodes[1].address())
        .file("cert.pem", &authority.server_pem(&["localhost"]))
        .start()
        .await;
    let target = Target::tls(balancer.address("https"), &authority);
    let mut swarm = Swarm::open(&target, 200).await;
    swarm.echo_all().await;
    swarm.assert_whole();
    nodes[1].crash().await;
    swarm.echo_all().await;
    assert_eq!(swarm.lost().len(), 100);
    assert_eq!(swarm.lost_elsewhere("node2").len(), 0);
    swarm.echo_all().await;
    assert_eq!(swarm.lost_elsewhere("node2").len(), 0);
}

#[tokio::test]
async fn a_check_of_a_server_that_speaks_tls_speaks_tls() {
    let log = LogSink::start().await;
    let authority = Authority::new();
    let node = Node::start_tls("n1", &authority).await;
    let settings = "    option httpchk GET /health\n    timeout check 3s
    default-server inter 150ms fall 1 rise 1";
    let balancer = setup(
        &log,
        &one_backend(settings, &["n1 <n1> check ssl verify none"]),
    )
    .set("n1", node.address())
    .start()
    .await;
    wait_until("a health check", PATIENCE, async || {
        testkit::wait::or_seen(node.health_checks() > 2, node.health_checks())
    })
    .await;
    let mut client = Client::plain(balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_log_and_the_rules_know_of_tls() {
    let log = LogSink::start().await;
    let authority = Authority::new();
    let node = Node::start("n1").await;
    let rules = "    http-request set-header X-Proto https if { ssl_fc }
    http-request set-header X-Name %[ssl_fc_sni]
    default_backend";
    let config = tls_frontend("crt <dir>/cert.pem").replace("    default_backend", rules);
    let balancer = setup(&log, &config)
        .set("n1", node.address())
        .file("cert.pem", &authority.server_pem(&["localhost"]))
        .start()
        .await;
    let mut client = Client::tls(balancer.address("https"), &authority, "localhost").await;
    client.get("/").await.unwrap();
    let seen: Head = node.requests().remove(0);
    assert_eq!(seen.get("x-proto"), Some("https"));
    assert_eq!(seen.get("x-name"), Some("localhost"));
    // "~" behind the frontend's name: the connection was TLS (manual 8.2.3).
    log.wait_for(&[" fe~ be/n1 "]).await;
}

#[tokio::test]
async fn a_node_that_announces_https_is_spoken_to_in_tls() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let authority = Authority::new();
    let node = Node::start_tls("n1", &authority).await;
    let discovery = Discovery::start(&[&node]).await;
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    stats uri /stats
    default_backend ws_backend
backend ws_backend
    option httpchk GET /health
    default-server inter 150ms fall 1 rise 1 ca-file <dir>/ca.pem
";
    let balancer = setup(&log, config)
        .file("ca.pem", &authority.pem())
        .variables(discovery.environment())
        .start()
        .await;
    balancer.wait_status("http", "ws_backend", "n1", "UP").await;
    let target = Target::plain(balancer.address("http"));
    let (mut socket, _) = testkit::WebSocket::open_greeted(&target).await.unwrap();
    socket.echo("through TLS to a found node").await.unwrap();
}
