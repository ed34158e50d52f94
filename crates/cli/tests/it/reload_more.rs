//! Reloads beside what else changes while running: certificates, the fleet, queues, stick tables.

use std::time::Duration;

use rustls::HandshakeKind;
use testkit::certificates::Authority;
use testkit::stream::Stream;
use testkit::websocket::Target;
use testkit::{Client, Discovery, LogSink, Node, PATIENCE, Port, Swarm, http, wait_until};

use crate::reload::{CONFIG, Lab};
use crate::runtime_api::ask;
use crate::support::{is_haproxy, setup};

const TLS: &str = "
global
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http>
    bind 127.0.0.1:<port:tls> ssl crt <dir>/first.pem
    stats enable
    stats uri /stats
    default_backend be
backend be
    server n1 <n1>
";

/// One request over TLS; what the handshake was, and the certificate's serial and names in DER.
async fn handshake(
    lab: &testkit::Balancer,
    settings: &std::sync::Arc<rustls::ClientConfig>,
) -> (HandshakeKind, Vec<u8>) {
    let stream = Stream::tls_with(lab.address("tls"), settings.clone(), "localhost")
        .await
        .unwrap();
    let mut client = Client::over(stream);
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let (stream, _) = client.into_parts();
    let state = stream.tls_state().unwrap();
    let shown = state.peer_certificates().unwrap()[0].to_vec();
    (state.handshake_kind().unwrap(), shown)
}

#[tokio::test]
async fn certificates_are_exchanged_and_sessions_resumed() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let authority = Authority::new();
    let setup = setup(&log, TLS).set("n1", node.address());
    let first = authority.server_pem(&["localhost"]);
    let second = authority.server_pem(&["localhost"]);
    let balancer = setup
        .file("first.pem", &first)
        .file("second.pem", &second)
        .start()
        .await;
    let settings = authority.client_config();
    let (kind, before) = handshake(&balancer, &settings).await;
    assert_eq!(kind, HandshakeKind::Full);
    let mut swarm = Swarm::open(&Target::tls(balancer.address("tls"), &authority), 10).await;
    let (file, socket) = (
        balancer.folder().join("haproxy.cfg"),
        balancer.folder().join("admin.sock"),
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(ask(&socket, "reload\n").await.starts_with("Success=1\n"));
    assert_eq!(
        handshake(&balancer, &settings).await.0,
        HandshakeKind::Resumed
    );
    std::fs::write(&file, text.replace("first.pem", "second.pem")).unwrap();
    assert!(ask(&socket, "reload\n").await.starts_with("Success=1\n"));
    let (kind, after) = handshake(&balancer, &authority.client_config()).await;
    assert_eq!(kind, HandshakeKind::Full);
    assert_ne!(before, after, "the certificate of the new file");
    swarm.echo_all().await;
    swarm.assert_whole();
}

const FLEET: &str = "
global
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http>
    stats enable
    stats uri /stats
    default_backend ws_backend
backend ws_backend
    balance roundrobin
    option httpchk GET /health
    timeout check 3s
    default-server inter 100ms fall 2 rise 1
.if feature(TIDEGATE)
discovery
    interval 200ms
.endif
";

#[tokio::test]
async fn the_fleet_goes_on_as_it_was_found() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let nodes = Node::start_many(3).await;
    let discovery = Discovery::start(&[&nodes[0], &nodes[1]]).await;
    let setup = setup(&log, FLEET).variables(discovery.environment());
    let balancer = setup.start().await;
    for node in &nodes[..2] {
        balancer
            .wait_status("http", "ws_backend", node.id(), "UP")
            .await;
    }
    let mut swarm = Swarm::open(&Target::plain(balancer.address("http")), 40).await;
    let (file, socket) = (
        balancer.folder().join("haproxy.cfg"),
        balancer.folder().join("admin.sock"),
    );
    let text = std::fs::read_to_string(&file).unwrap();
    for round in 0..10 {
        let interval = if round % 2 == 0 {
            "interval 300ms"
        } else {
            "interval 200ms"
        };
        std::fs::write(&file, text.replace("interval 200ms", interval)).unwrap();
        assert!(ask(&socket, "reload\n").await.starts_with("Success=1\n"));
        let table = balancer.stats("http").await;
        for node in &nodes[..2] {
            assert_eq!(table.get("ws_backend", node.id(), "status"), "UP");
        }
    }
    // The loop goes on with the new settings: a node joins, another one leaves.
    discovery.list(&[&nodes[1], &nodes[2]]);
    balancer
        .wait_status("http", "ws_backend", nodes[2].id(), "UP")
        .await;
    swarm.echo_all().await;
    swarm.assert_whole();
    wait_until(
        "new sockets to keep off the one that left",
        PATIENCE,
        async || {
            let newer = Swarm::open(&Target::plain(balancer.address("http")), 6).await;
            let on = newer.on(nodes[0].id());
            testkit::wait::or_seen(on == 0, on)
        },
    )
    .await;
}

#[tokio::test]
async fn who_waits_in_a_queue_waits_on_and_is_served() {
    if is_haproxy() {
        return;
    }
    let config = "
global
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http>
    stats enable
    stats uri /stats
    default_backend be
backend be
    timeout queue 30s
    server n1 <n1> maxconn 1 check inter 100ms
    server n2 <n2> disabled check inter 100ms
";
    let log = LogSink::start().await;
    let nodes = Node::start_many(2).await;
    let setup = setup(&log, config)
        .set("n1", nodes[0].address())
        .set("n2", nodes[1].address());
    let balancer = setup.start().await;
    balancer.wait_status("http", "be", "n1", "UP").await;
    let swarm = Swarm::open(&Target::plain(balancer.address("http")), 1).await;
    let address = balancer.address("http");
    let waiting = tokio::spawn(async move { http::get(address, "/").await });
    wait_until("a request in the queue", PATIENCE, async || {
        let table = balancer.stats("http").await;
        let queued = table.number("be", "BACKEND", "qcur");
        testkit::wait::or_seen(queued == 1, queued)
    })
    .await;
    let (file, socket) = (
        balancer.folder().join("haproxy.cfg"),
        balancer.folder().join("admin.sock"),
    );
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("inter 100ms", "inter 200ms")).unwrap();
    assert!(ask(&socket, "reload\n").await.starts_with("Success=1\n"));
    let table = balancer.stats("http").await;
    assert_eq!(table.number("be", "BACKEND", "qcur"), 1);
    std::fs::write(&file, text.replace("maxconn 1", "maxconn 2")).unwrap();
    assert!(ask(&socket, "reload\n").await.starts_with("Success=1\n"));
    let response = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert_eq!(response.expect("served").unwrap().unwrap().status, 200);
    drop(swarm);
}

#[tokio::test]
async fn tunnels_keep_no_configuration_that_says_the_same_of_them() {
    if is_haproxy() {
        return;
    }
    let config = "
global
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http>
    stats enable
    stats uri /stats
    default_backend be
backend be
    server n1 <n1> check inter 100ms
    server n2 <n2> check inter 100ms
backend other
    server x 127.0.0.1:9 weight 1
";
    let lab = Lab::with(config, &[]).await;
    let mut swarms = Vec::new();
    for round in 1..=5 {
        swarms.push(Swarm::open(&lab.target(), 10).await);
        let (from, to) = (format!("weight {round}"), format!("weight {}", round + 1));
        lab.change(&from, &to);
        lab.reload().await;
    }
    // Each worker goes through its tunnels after a reload; what they have let go of is gone by one of the next.
    wait_until("earlier configurations to be gone", PATIENCE, async || {
        let answer = lab.reload().await;
        testkit::wait::or_seen(!answer.contains("earlier configurations"), answer)
    })
    .await;
    for swarm in &mut swarms {
        swarm.echo_all().await;
        swarm.assert_whole();
    }
}

#[tokio::test]
async fn a_table_that_is_declared_another_way_keeps_what_fits() {
    if is_haproxy() {
        return;
    }
    let config = "
global
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http>
    stats enable
    stats uri /stats
    http-request track-sc0 hdr(x-name) table seen
    default_backend be
backend be
    server n1 <n1> check inter 100ms
    server n2 <n2> check inter 100ms
backend seen
    stick-table type string size 1k expire 1h store http_req_cnt
";
    let lab = Lab::with(config, &[]).await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nx-name: ann\r\n\r\n")
            .await;
        client.response().await.unwrap();
    }
    lab.change(
        "size 1k expire 1h store http_req_cnt",
        "size 2k expire 2h store http_req_cnt,gpc0",
    );
    lab.reload().await;
    lab.log
        .wait_for(&["stick table seen is declared another way and keeps its entries"])
        .await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nx-name: ann\r\n\r\n")
        .await;
    client.response().await.unwrap();
    let shown = ask(
        &lab.balancer.folder().join("admin.sock"),
        "show table seen\n",
    )
    .await;
    assert!(shown.contains("http_req_cnt=3"), "{shown}");
}

/// The limit of the frontend as the statistics have it.
async fn limit(lab: &Lab) -> String {
    let table = lab.balancer.stats("http").await;
    let limit = table.try_get("fe", "FRONTEND", "slim");
    limit.unwrap_or("gone").to_owned()
}

#[tokio::test]
async fn a_frontend_follows_maxconn_down_and_up_again() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let admin = lab.balancer.folder().join("admin.sock");
    let start = lab.text();
    let with =
        |maxconn: u32| start.replace("\nglobal\n", &format!("\nglobal\n    maxconn {maxconn}\n"));
    let first = limit(&lab).await;
    lab.write(&with(50));
    lab.reload().await;
    assert_eq!(limit(&lab).await, "50");
    ask(&admin, "set maxconn frontend fe 40\n").await;
    lab.reload().await;
    assert_eq!(limit(&lab).await, "40", "an operator has set it");
    lab.write(&start);
    lab.reload().await;
    assert_eq!(limit(&lab).await, first);
}

#[tokio::test]
async fn what_waits_for_the_next_start_is_said_until_it_is_undone() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let start = lab.text();
    lab.write(&start.replace("\nglobal\n", "\nglobal\n    ulimit-n 4000\n"));
    let said = "'ulimit-n' has changed: that takes effect at the next start";
    for _ in 0..2 {
        let answer = lab.reload().await;
        assert!(answer.contains(said), "{answer}");
    }
    lab.write(&start);
    let answer = lab.reload().await;
    assert!(!answer.contains(said), "{answer}");
}

#[tokio::test]
async fn who_waits_for_a_disabled_frontend_is_served_by_the_next_one() {
    if is_haproxy() {
        return;
    }
    let port = Port::claim();
    let config = format!(
        "{CONFIG}frontend waiting\n    bind 127.0.0.1:{}\n    default_backend be\n",
        port.number()
    );
    let lab = Lab::with(&config, &[]).await;
    let admin = lab.balancer.folder().join("admin.sock");
    ask(&admin, "disable frontend waiting\n").await;
    // One of each worker is accepted and waits, the others are the kernel's.
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::plain(port.address()).await;
        client
            .send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await;
        clients.push(client);
    }
    lab.change("frontend waiting", "frontend other");
    lab.reload().await;
    for client in &mut clients {
        let answer = client.until_closed().await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
}
