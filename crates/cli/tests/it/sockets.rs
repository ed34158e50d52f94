//! Options of sockets that the other side can see: `option nolinger`, `tfo`, `source` without a port.

use std::io::ErrorKind;

use testkit::node::Temper;
use testkit::{Balancer, Client, LogSink, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{SOON, is_haproxy, one_backend, setup};

/// Whether the connection ended with a reset.
async fn is_reset(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap() {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        }
    }
}

async fn start(log: &LogSink, settings: &str, server: &str) -> Balancer {
    let config = one_backend(settings, &[server]);
    setup(log, &config).start().await
}

#[tokio::test]
async fn connections_to_servers_end_with_a_reset_where_told() {
    for (settings, reset) in [
        ("    option httpclose\n    option nolinger", true),
        (
            "    option httpclose\n    option nolinger\n    no option nolinger",
            false,
        ),
    ] {
        if is_haproxy() && !reset {
            // It resets them in more cases.
            continue;
        }
        let log = LogSink::start().await;
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("s {}", node.local_addr().unwrap());
        let balancer = start(&log, settings, &server).await;
        let mut client = Client::plain(balancer.address("http")).await;
        let answers = async {
            let (mut stream, _) = node.accept().await.unwrap();
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            is_reset(&mut stream).await
        };
        let (seen, response) = tokio::join!(answers, client.get("/"));
        assert_eq!(response.unwrap().status, 200);
        assert_eq!(seen, reset, "{settings}");
    }
}

#[tokio::test]
async fn connections_of_clients_end_with_a_reset_where_told() {
    for (option, reset) in [("", false), ("option nolinger", true)] {
        if is_haproxy() && reset {
            // It ends its direction first, and resets what comes then.
            continue;
        }
        let log = LogSink::start().await;
        let node = Node::start("n").await;
        node.set_temper(Temper::Hang);
        let config = format!(
            "
listen fe
    mode tcp
    timeout client 200ms
    timeout server 200ms
    bind 127.0.0.1:<port:http>
    {option}
    server s {}
",
            node.address()
        );
        let balancer = setup(&log, &config).start().await;
        let mut client = TcpStream::connect(balancer.address("http")).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(is_reset(&mut client).await, reset, "{option}");
    }
}

#[tokio::test]
async fn connections_come_about_with_the_first_bytes_and_without_them() {
    let log = LogSink::start().await;
    let node = Node::start("n").await;
    let server = format!(
        "s {} tfo source 127.0.0.2 check inter 100ms",
        node.address()
    );
    let settings = "    option tcp-smart-connect\n    option httpclose\n    stats uri /stats";
    let balancer = start(&log, settings, &server).await;
    balancer.wait_status("http", "be", "s", "UP").await;
    for _ in 0..5 {
        let mut client = Client::plain(balancer.address("http")).await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
}
