//! `mode tcp`, and the PROXY protocol in front of either mode.

use std::time::Duration;

use testkit::websocket::Target;
use testkit::{Client, LogSink, Node, Swarm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{is_haproxy, one_backend, setup};

fn tcp(settings: &str) -> String {
    format!(
        "
frontend fe
    mode tcp
    option tcplog
    bind 127.0.0.1:<port:tcp>{settings}
    default_backend be
backend be
    mode tcp
    server n1 <n1>
"
    )
}

#[tokio::test]
async fn bytes_are_relayed_as_they_come() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &tcp(""))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("tcp")).await;
    assert_eq!(client.get("/x").await.unwrap().text(), "n1 GET /x\n");
    let mut swarm = Swarm::open(&Target::plain(balancer.address("tcp")), 10).await;
    swarm.echo_all().await;
    swarm.assert_whole();
    drop(client);
    let line = log.wait_for(&["fe be/n1"]).await;
    assert!(line.contains(" -- "), "{line}");
}

/// A server that reads to the end, then answers with how much it read, after `thought`.
async fn counting_server(thought: Duration) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut all = Vec::new();
            tcp.read_to_end(&mut all).await.unwrap();
            tokio::time::sleep(thought).await;
            tcp.write_all(format!("{} bytes", all.len()).as_bytes())
                .await
                .unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_half_close_passes_and_the_answer_still_comes() {
    let no_linger = tcp("").replace("mode tcp", "mode tcp\n    option nolinger");
    for config in [tcp(""), no_linger] {
        let log = LogSink::start().await;
        let server = counting_server(Duration::ZERO).await;
        let balancer = setup(&log, &config).set("n1", server).start().await;
        let mut client = Client::plain(balancer.address("tcp")).await;
        client.send(testkit::node::pattern(200_000)).await;
        client.half_close().await;
        let answer = client.until_closed().await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), "200000 bytes");
    }
}

#[tokio::test]
async fn a_tunnel_idle_for_longer_than_the_fin_timeouts_still_brings_the_last_answer() {
    let log = LogSink::start().await;
    let fin = Duration::from_secs(1);
    let server = counting_server(fin / 5).await;
    let config = tcp("").replace("mode tcp", "mode tcp\n    timeout client-fin 1s");
    let config = config.replace("    server", "    timeout server-fin 1s\n    server");
    let balancer = setup(&log, &config).set("n1", server).start().await;
    let mut client = Client::plain(balancer.address("tcp")).await;
    client.send("four").await;
    let early = client.within(fin + fin / 2).await;
    assert!(early.is_empty(), "{}", String::from_utf8_lossy(&early));
    client.half_close().await;
    let answer = client.until_closed().await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "4 bytes");
    let line = log.wait_for(&["fe be/n1"]).await;
    assert!(line.contains(" -- "), "{line}");
}

#[tokio::test]
async fn who_stays_silent_after_a_half_close_has_the_fin_timeout_only() {
    let limits = |side: &str| format!("timeout {side} 1h\n    timeout {side}-fin 200ms\n    ");
    let config = tcp("").replace("default_backend", &(limits("client") + "default_backend"));
    let config = config.replace("server n1", &(limits("server") + "server n1"));
    for (client_ends, state) in [(true, " sD "), (false, " cD ")] {
        let log = LogSink::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let balancer = setup(&log, &config)
            .set("n1", listener.local_addr().unwrap())
            .start()
            .await;
        let mut client = TcpStream::connect(balancer.address("tcp")).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let (ends, silent) = match client_ends {
            true => (&mut client, &mut server),
            false => (&mut server, &mut client),
        };
        ends.write_all(b"bye").await.unwrap();
        ends.shutdown().await.unwrap();
        let mut heard = Vec::new();
        silent.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"bye");
        // It says nothing more, for as long as this takes.
        let line = log.wait_for(&["fe be/n1"]).await;
        assert!(line.contains(state), "{line}");
    }
}

const WATCHED: &str = "
frontend watch
    mode http
    bind 127.0.0.1:<port:watch>
    stats enable
    stats uri /stats
";

/// One end of a connection that takes next to nothing by itself.
async fn narrow(address: std::net::SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(address).await.unwrap()
}

#[tokio::test]
async fn what_a_server_said_before_its_reset_arrives() {
    const SAID: usize = 100_000;
    let log = LogSink::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let balancer = setup(&log, &(tcp("") + WATCHED))
        .set("n1", listener.local_addr().unwrap())
        .start()
        .await;
    let mut client = narrow(balancer.address("tcp")).await;
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(&vec![b'x'; SAID]).await.unwrap();
    let passed_on = async || {
        balancer
            .stats("watch")
            .await
            .number("fe", "FRONTEND", "bout")
    };
    while passed_on().await < SAID as u64 {}
    server.set_zero_linger().unwrap();
    drop(server);
    log.wait_for(&["fe be/n1", " SD "]).await;
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.len(), SAID);
}

#[tokio::test]
async fn who_takes_nothing_is_silent_whatever_it_says() {
    let log = LogSink::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = tcp("").replace("server n1", "timeout tunnel 300ms\n    server n1");
    let balancer = setup(&log, &config)
        .set("n1", listener.local_addr().unwrap())
        .start()
        .await;
    let client = narrow(balancer.address("tcp")).await;
    let (server, _) = listener.accept().await.unwrap();
    let (_kept_open, mut speaks) = client.into_split();
    let (mut hears, mut pushes) = server.into_split();
    let pushing =
        tokio::spawn(async move { while pushes.write_all(&[b'x'; 65536]).await.is_ok() {} });
    let hearing =
        tokio::spawn(async move { tokio::io::copy(&mut hears, &mut tokio::io::sink()).await });
    testkit::wait_until(
        "the client to be cut off",
        testkit::PATIENCE,
        async || match speaks.write_all(b"still here").await {
            Ok(()) => Err("it may still speak"),
            Err(_) => Ok(()),
        },
    )
    .await;
    log.wait_for(&["fe be/n1", " cD "]).await;
    pushing.await.unwrap();
    hearing.await.unwrap().ok();
}

#[tokio::test]
async fn the_servers_half_close_passes_too() {
    let log = LogSink::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let balancer = setup(&log, &tcp(""))
        .set("n1", listener.local_addr().unwrap())
        .start()
        .await;
    let mut client = TcpStream::connect(balancer.address("tcp")).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"bye").await.unwrap();
    server.shutdown().await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"bye");
    client.write_all(b"late word").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"late word");
}

#[tokio::test]
async fn a_dead_server_closes_the_client_and_is_logged() {
    let log = LogSink::start().await;
    let mut node = Node::start("n1").await;
    node.stop().await;
    let config = tcp("").replace("    server", "    retries 0\n    server");
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    // HAProxy closes, we reset: either may come before the connect has returned here.
    if let Ok(mut client) = TcpStream::connect(balancer.address("tcp")).await {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.ok();
        assert!(rest.is_empty());
    }
    log.wait_for(&["fe be/n1", " SC "]).await;
}

/// What stands behind the addresses of a PROXY header, and what the kernel knows of a connection.
#[tokio::test]
async fn a_rule_sees_what_was_kept_for_it() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let tell = "    http-response set-header x-told \"%[fc_pp_authority]|%[fc_pp_tlv(0xEA),bytes(1)]|%[fc_pp_unique_id]|%[fc_rtt(us),bool]|%[bc_rtt(us),bool]|%[bc_dst_port]|%[bc_reused]\"
    http-response set-header x-joe yes if { fc_pp_tlv(234) -m end joe }";
    let config = one_backend(tell, &["n1 <n1>"]).replace("<port:http>", "<port:http> accept-proxy");
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let extensions = b"\x02\0\x03a.b\xea\0\x04\x01vpc\xea\0\x03joe";
    let mut header = VERSION_2.to_vec();
    header[15] += extensions.len() as u8;
    header.extend(extensions);
    let mut client = Client::plain(balancer.address("http")).await;
    client.send(&header[..]).await;
    for reused in 0..2 {
        let told = client.get("/").await.unwrap();
        let port = node.address().port();
        let expected = format!("a.b|vpc||1|1|{port}|{reused}");
        assert_eq!(told.head.get("x-told"), Some(&*expected));
        assert_eq!(told.head.get("x-joe"), Some("yes"));
    }
}

fn http_behind_proxy() -> String {
    one_backend("    option forwardfor", &["n1 <n1>"])
        .replace("<port:http>", "<port:http> accept-proxy")
}

/// A version 2 header (proxy-protocol.txt 2.2) of 10.1.2.3:5555 to 10.9.9.9:80.
const VERSION_2: &[u8] =
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x09\x09\x09\x15\xb3\x00\x50";

#[tokio::test]
async fn the_proxy_header_tells_who_the_client_is() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &http_behind_proxy())
        .set("n1", node.address())
        .start()
        .await;
    let version_1 = b"PROXY TCP4 10.1.2.3 10.9.9.9 5555 80\r\n";
    for header in [&version_1[..], VERSION_2] {
        // A header may arrive in as many segments as it likes. HAProxy wants one.
        let pieces = if is_haproxy() {
            vec![header.len()]
        } else {
            vec![header.len(), 7, 1]
        };
        for piece in pieces {
            let mut client = Client::plain(balancer.address("http")).await;
            for bytes in header.chunks(piece) {
                client.send(bytes).await;
                // So that each is read for itself: nothing tells from outside that it was.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(client.get("/").await.unwrap().status, 200, "{piece}");
            let seen = node.requests().pop().unwrap();
            assert_eq!(seen.get("x-forwarded-for"), Some("10.1.2.3"));
        }
        log.wait_for(&["10.1.2.3:5555 "]).await;
    }
}

#[tokio::test]
async fn a_missing_or_broken_proxy_header_ends_the_connection() {
    if is_haproxy() {
        return; // It believes in port 99999.
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &http_behind_proxy())
        .set("n1", node.address())
        .start()
        .await;
    for start in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PROXY TCP4 10.1.2.3 10.9.9.9 99999 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 10.1.2.3\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c\x0a\x01\x02\x03\x0a\x09\x09\x09\x15\xb3\x00\x50GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = Client::plain(balancer.address("http")).await;
        let from = format!("{} [", client.local_address());
        client.try_send(start).await.ok();
        let rest = client.until_closed().await.unwrap_or_default();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        log.wait_for(&[&from, "does not look like a PROXY protocol header"])
            .await;
    }
    assert!(node.requests().is_empty());
}
