//! `persist rdp-cookie`: Remote Desktop clients go back to the server that their cookie names.

use std::net::SocketAddr;

use testkit::node::Temper;
use testkit::{Client, LogSink, Node, Port};

use crate::support::setup;

/// How a terminal server writes its own address: the bytes stand the other way round.
fn token(server: SocketAddr) -> String {
    let SocketAddr::V4(server) = server else {
        panic!("nodes are at IPv4 addresses");
    };
    let (ip, port) = (u32::from(*server.ip()), server.port());
    format!("msts={}.{}.0000", ip.swap_bytes(), port.swap_bytes())
}

#[tokio::test]
async fn a_client_goes_where_its_cookie_says() {
    let (log, nodes, nowhere) = (
        LogSink::start().await,
        Node::start_many(2).await,
        Port::claim(),
    );
    for node in &nodes {
        node.set_temper(Temper::ExactlyThenClose(b"no HTTP\r\n".to_vec()));
    }
    let (n0, n1) = (nodes[0].address(), nodes[1].address());
    let config = |options: &str| {
        format!(
            "
listen fe
    mode tcp
    option tcplog
    bind 127.0.0.1:<port:http>
    tcp-request inspect-delay 5s
    tcp-request content accept if RDP_COOKIE
    balance first
    persist rdp-cookie
    {options}
    server n0 {n0}
    server n1 {n1}
    server off {} disabled
",
            nowhere.address()
        )
    };
    // Unknown values, and servers that are not up, are as good as none.
    let unknown = SocketAddr::from(([127, 0, 0, 1], 1));
    for (options, cookie, server) in [
        ("", token(n1), "n1"),
        ("", token(n0), "n0"),
        ("", token(unknown), "n0"),
        ("", token(n1).replace("msts", "mstshash"), "n0"),
        ("", token(nowhere.address()), "n0"),
        (
            "option persist\n    no option redispatch\n    retries 0",
            token(nowhere.address()),
            "off",
        ),
    ] {
        let balancer = setup(&log, &config(options)).start().await;
        let mut client = Client::plain(balancer.address("http")).await;
        let mut hello = b"\x03\x00\x00\x2b\x26\xe0\x00\x00\x00\x00\x00".to_vec();
        hello.extend_from_slice(format!("Cookie: {cookie}\r\n").as_bytes());
        client.send(hello).await;
        client.half_close().await;
        let _ = client.until_closed().await;
        let address = client.local_address().to_string();
        log.wait_for(&[&address, &format!(" fe fe/{server} ")])
            .await;
    }
}
