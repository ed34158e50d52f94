//! Emptying a server: those it has are told to end one after the other, nobody is cut inside a message, and
//! then it is gone, or stays without anybody.

use std::path::Path;

use testkit::http::Client;
use testkit::wait::or_seen;
use testkit::websocket::{Target, upgrade_request};
use testkit::{Balancer, LogSink, Node, PATIENCE, WebSocket, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::runtime_api::ask;
use crate::support::{is_haproxy, setup};

const CONFIG: &str = "
global
    nbthread 2
    stats socket <dir>/admin.sock mode 600 level admin
frontend fe
    bind 127.0.0.1:<port:http>
    stats enable
    stats uri /stats
    http-request use-service prometheus-exporter if { path /metrics }
    default_backend be
frontend plain
    mode tcp
    bind 127.0.0.1:<port:tcp>
    default_backend raw
backend be
    cookie SRV insert indirect nocache
    server s1 <n1> cookie one
    server s2 <n2> cookie two weight 0 check inter 1h
backend raw
    mode tcp
    server s1 <n1>
    server s2 <n2> track be/s2 weight 0
.if feature(TIDEGATE)
runtime
    drain-code 1001
.endif
";

async fn lab(one: std::net::SocketAddr, two: &Node) -> Balancer {
    let log = LogSink::start().await;
    let setup = setup(&log, CONFIG).set("n1", one).set("n2", two.address());
    setup.start().await
}

/// Waits for a line of `show drain` with all of these words.
async fn drained(socket: &Path, words: &[&str]) {
    wait_until("the drain", PATIENCE, async || {
        let shown = ask(socket, "show drain\n").await;
        let found = shown.lines().any(|line| {
            words
                .iter()
                .all(|word| line.split(' ').any(|it| it == *word))
        });
        or_seen(found, shown)
    })
    .await;
}

#[tokio::test]
async fn websockets_of_a_drained_server_are_told_one_after_the_other() {
    if is_haproxy() {
        return;
    }
    let (one, two) = (Node::start("n1").await, Node::start("n2").await);
    let balancer = lab(one.address(), &two).await;
    let socket = balancer.folder().join("admin.sock");
    let target = Target::plain(balancer.address("http"));
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(
            WebSocket::open_greeted(&target)
                .await
                .expect("a WebSocket")
                .0,
        );
    }
    let answer = ask(&socket, "drain server be/s1 over 500ms code 1012\n").await;
    assert_eq!(answer, "\n");
    for socket in &mut open {
        let code = socket.ended().await.expect("an orderly end");
        assert_eq!(code, Some(1012));
    }
    let line = "be/s1 drained 0 20 20 0 0s".split(' ').collect::<Vec<_>>();
    drained(&socket, &line).await;
    wait_until("the node's ends", PATIENCE, async || {
        or_seen(one.websockets() == 0, one.websockets())
    })
    .await;
    let metrics = balancer.metrics("http").await;
    let closed = "tidegate_server_drain_sessions_closed";
    assert_eq!(metrics.sum(closed, &["server=\"s1\""]), Some(20.0));
    // Nobody new comes, not even who belongs there, until it is taken back.
    let refused = status_with_cookie(&balancer).await;
    assert_eq!(refused, 503);
    assert_eq!(ask(&socket, "undrain server be/s1\n").await, "\n");
    assert_eq!(status_with_cookie(&balancer).await, 200);
    let (mut back, node) = WebSocket::open_greeted(&target).await.expect("a WebSocket");
    assert_eq!(node, "n1");
    back.echo("again").await.expect("it goes on");
}

async fn status_with_cookie(balancer: &Balancer) -> u16 {
    let mut client = Client::plain(balancer.address("http")).await;
    client
        .send("GET / HTTP/1.1\r\nHost: h\r\nCookie: SRV=one\r\n\r\n")
        .await;
    client.response().await.expect("an answer").status
}

#[tokio::test]
async fn a_drain_that_is_called_off_leaves_the_others() {
    if is_haproxy() {
        return;
    }
    let (one, two) = (Node::start("n1").await, Node::start("n2").await);
    let balancer = lab(one.address(), &two).await;
    let socket = balancer.folder().join("admin.sock");
    let target = Target::plain(balancer.address("http"));
    let (mut open, _) = WebSocket::open_greeted(&target).await.expect("a WebSocket");
    assert_eq!(ask(&socket, "drain server be/s1 over 20d\n").await, "\n");
    drained(&socket, &["be/s1", "draining", "1001", "stays", "1728000s"]).await;
    assert_eq!(ask(&socket, "set server be/s1 state ready\n").await, "\n");
    let shown = ask(&socket, "show drain\n").await;
    assert!(!shown.contains("be/s1"), "{shown}");
    open.echo("still here").await.expect("it goes on");
    for (command, answer) in [
        ("drain server be/none", "No such server.\n\n"),
        ("drain server none/s1", "No such backend.\n\n"),
        ("drain server be", "Require 'backend/server'.\n\n"),
        ("show drain none", "No such backend or server.\n\n"),
        (
            "del server be/s2 drain",
            "This server cannot be removed at runtime due to other configuration elements pointing to it.\n\n",
        ),
        ("operator;drain server be/s1", "\nPermission denied\n\n"),
    ] {
        assert_eq!(
            ask(&socket, &format!("{command}\n")).await,
            answer,
            "{command}"
        );
    }
}

#[tokio::test]
async fn a_server_is_deleted_by_draining_it_first() {
    if is_haproxy() {
        return;
    }
    let (one, two) = (Node::start("n1").await, Node::start("n2").await);
    let balancer = lab(one.address(), &two).await;
    let socket = balancer.folder().join("admin.sock");
    let target = Target::plain(balancer.address("http"));
    let added = format!(
        "add server be/new {} weight 100;enable server be/new\n",
        two.address()
    );
    assert_eq!(ask(&socket, &added).await, "New server registered.\n\n\n");
    assert_eq!(ask(&socket, "set server be/s1 weight 0\n").await, "\n");
    let (mut open, node) = WebSocket::open_greeted(&target).await.expect("a WebSocket");
    assert_eq!(node, "n2");
    let busy = ask(&socket, "disable server be/new;del server be/new\n").await;
    assert!(busy.contains("still has connections"), "{busy}");
    assert_eq!(ask(&socket, "enable server be/new\n").await, "\n");
    open.echo("still here").await.expect("it goes on");
    assert_eq!(
        ask(&socket, "del server be/new drain over 100ms\n").await,
        "\n"
    );
    assert_eq!(open.ended().await.expect("an orderly end"), Some(1001));
    wait_until("it is gone", PATIENCE, async || {
        let state = ask(&socket, "show servers state be\n").await;
        or_seen(!state.contains(" new "), state)
    })
    .await;
    balancer
        .wait_for_line(&["be/new is drained and removed"])
        .await;
}

/// A node that is the test itself.
async fn raw_node() -> (TcpListener, Node) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    (listener, Node::start("n2").await)
}

/// Both ends of a new WebSocket, byte by byte.
async fn raw_websocket(balancer: &Balancer, node: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(balancer.address("http"))
        .await
        .expect("it listens");
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let request = upgrade_request("/", key);
    client.write_all(request.as_bytes()).await.expect("open");
    let (mut server, _) = node.accept().await.expect("it connects");
    head(&mut server).await;
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    server.write_all(answer.as_bytes()).await.expect("open");
    head(&mut client).await;
    (client, server)
}

async fn head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("more of the head"));
    }
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest));
    read.await.expect("an end").expect("no reset");
    rest
}

#[tokio::test]
async fn no_close_frame_comes_inside_a_message() {
    if is_haproxy() {
        return;
    }
    let (node, two) = raw_node().await;
    let balancer = lab(node.local_addr().expect("an address"), &two).await;
    let socket = balancer.folder().join("admin.sock");
    let (mut client, mut server) = raw_websocket(&balancer, &node).await;
    // "hello", masked with zeros, in two parts; then another one.
    client.write_all(b"\x81\x85\0\0\0\0he").await.expect("open");
    let mut first = [0; 8];
    server.read_exact(&mut first).await.expect("the first part");
    assert_eq!(
        ask(&socket, "drain server be/s1 over 0 code 1012\n").await,
        "\n"
    );
    // Nothing is under way towards the client, which is told at once.
    assert_eq!(rest(&mut client).await, b"\x88\x02\x03\xf4");
    client
        .write_all(b"llo\x81\x81\0\0\0\0x")
        .await
        .expect("open");
    let end = rest(&mut server).await;
    let [b'l', b'l', b'o', 0x88, 0x82, a, b, _, _, c, d] = end[..] else {
        panic!("the rest of the frame and a masked Close: {end:x?}");
    };
    assert_eq!([a ^ c, b ^ d], [0x03, 0xf4]);
    drop((client, server));
    drained(&socket, &["be/s1", "drained"]).await;
}

#[tokio::test]
async fn who_has_closed_already_is_told_nothing_and_what_is_no_websocket_ends_as_a_stream() {
    if is_haproxy() {
        return;
    }
    let (node, two) = raw_node().await;
    let balancer = lab(node.local_addr().expect("an address"), &two).await;
    let socket = balancer.folder().join("admin.sock");
    let (mut client, mut server) = raw_websocket(&balancer, &node).await;
    server.write_all(b"\x88\x02\x03\xe8").await.expect("open");
    let mut close = [0; 4];
    client
        .read_exact(&mut close)
        .await
        .expect("the node's own Close");
    let mut plain = TcpStream::connect(balancer.address("tcp"))
        .await
        .expect("it listens");
    plain.write_all(b"\x81\x01").await.expect("open");
    let (mut behind, _) = node.accept().await.expect("it connects");
    let mut two = [0; 2];
    behind.read_exact(&mut two).await.expect("what was sent");
    let order = "drain server be/s1 over 0;drain server raw/s1 over 0\n";
    assert_eq!(ask(&socket, order).await, "\n\n");
    assert_eq!(rest(&mut client).await, b"");
    let told = rest(&mut server).await;
    assert_eq!(told[..2], [0x88, 0x82], "{told:x?}");
    assert_eq!(rest(&mut plain).await, b"");
    assert_eq!(rest(&mut behind).await, b"");
}
