//! How connections to servers are made: PROXY headers, source addresses, kinds of server addresses,
//! keep-alive probes.
//!
//! The server is another frontend of the same balancer, which tells who it thinks has come.

use testkit::websocket::Target;
use testkit::{Balancer, Client, LogSink, Node, PATIENCE, Port, WebSocket, wait_until};

use crate::support::{is_haproxy, one_backend, setup};

/// A frontend that answers with what it knows of the connection.
fn teller(bind: &str) -> String {
    format!(
        "
frontend teller
    bind {bind}
    http-request return status 200 content-type text/plain lf-string \"%[src]:%[src_port] %[dst]\"
"
    )
}

/// A balancer whose only server is such a frontend.
async fn start(log: &LogSink, bind: &str, server: &str) -> Balancer {
    let config = one_backend("    stats uri /stats", &[server]) + &teller(bind);
    setup(log, &config).start().await
}

async fn ask(balancer: &Balancer) -> (Client, String) {
    let mut client = Client::plain(balancer.address("http")).await;
    let response = client.get("/").await.unwrap();
    assert_eq!(response.status, 200);
    (client, response.text())
}

#[tokio::test]
async fn a_proxy_header_names_the_client() {
    for header in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2-ssl",
        "send-proxy-v2-ssl-cn",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl-cipher,cert-sig,cert-key",
        "send-proxy no-send-proxy send-proxy-v2",
    ] {
        let log = LogSink::start().await;
        let server = format!("s 127.0.0.1:<port:teller> {header}");
        let balancer = start(&log, "127.0.0.1:<port:teller> accept-proxy", &server).await;
        let (client, text) = ask(&balancer).await;
        let expected = format!("{} 127.0.0.1", client.local_address());
        assert_eq!(text, expected, "{header}");
    }
}

#[tokio::test]
async fn a_connection_with_such_a_header_serves_its_own_client_alone() {
    let log = LogSink::start().await;
    let bind = "127.0.0.1:<port:teller> accept-proxy";
    let balancer = start(&log, bind, "s 127.0.0.1:<port:teller> send-proxy").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::plain(balancer.address("http")).await);
    }
    for _ in 0..3 {
        for client in &mut clients {
            let text = client.get("/").await.unwrap().text();
            assert_eq!(text, format!("{} 127.0.0.1", client.local_address()));
        }
    }
}

/// Connections opened to the server and used again, and those that are idle now.
async fn connections(balancer: &Balancer) -> (u64, u64, u64) {
    let table = balancer.stats("http").await;
    let number = |column| table.number("be", "s", column);
    (number("connect"), number("reuse"), number("idle_conn_cur"))
}

#[tokio::test]
async fn a_connection_with_such_a_header_is_kept_no_longer_than_its_client() {
    if is_haproxy() {
        return; // It counts them elsewhere.
    }
    let named = "send-proxy-v2 proxy-v2-options unique-id";
    // One that names a request is of no use to the next one.
    for (header, expected) in [("send-proxy", (1, 1, 1)), (named, (2, 0, 0))] {
        let log = LogSink::start().await;
        let server = format!("s 127.0.0.1:<port:teller> {header} pool-purge-delay 1h");
        let bind = "127.0.0.1:<port:teller> accept-proxy";
        let balancer = start(&log, bind, &server).await;
        let (mut client, _) = ask(&balancer).await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
        let shows = async |expected: (u64, u64, u64)| {
            wait_until(header, PATIENCE, async || {
                let seen = connections(&balancer).await;
                testkit::wait::or_seen(seen == expected, format!("{seen:?}"))
            })
            .await;
        };
        shows(expected).await;
        drop(client);
        shows((expected.0, expected.1, 0)).await;
    }
}

#[tokio::test]
async fn checks_send_a_header_where_traffic_does_or_when_told() {
    let bind = "127.0.0.1:<port:teller> accept-proxy";
    let cases = [
        ("send-proxy", "UP"),
        ("send-proxy-v2", "UP"),
        ("check-send-proxy", "UP"),
        ("send-proxy port <port:teller>", "DOWN"),
        ("send-proxy port <port:teller> check-send-proxy", "UP"),
    ];
    for (params, status) in cases {
        let log = LogSink::start().await;
        let config = one_backend(
            "    option httpchk GET /\n    timeout check 500ms\n    stats uri /stats",
            &[&format!(
                "s 127.0.0.1:<port:teller> check inter 100ms fall 1 {params}"
            )],
        );
        let balancer = setup(&log, &(config + &teller(bind))).start().await;
        // UP is where it starts: what counts is a check.
        wait_until(params, PATIENCE, async || {
            let table = balancer.stats("http").await;
            let seen = table.get("be", "s", "check_status").to_owned();
            let checked = !matches!(&*seen, "" | "INI" | "* INI");
            testkit::wait::or_seen(checked, seen)
        })
        .await;
        balancer.wait_status("http", "be", "s", status).await;
    }
}

#[tokio::test]
async fn connections_come_from_where_source_says() {
    let cases = [
        ("", "source 127.0.0.2", "127.0.0.2:"),
        ("    source 127.0.0.3", "", "127.0.0.3:"),
        ("    source 127.0.0.3", "source 127.0.0.4", "127.0.0.4:"),
        ("", "source 127.0.0.5:21000-21009", "127.0.0.5:2100"),
        ("", "source 0.0.0.0", "127.0.0.1:"),
    ];
    for (of_backend, of_server, expected) in cases {
        let log = LogSink::start().await;
        let server = format!("s 127.0.0.1:<port:teller> {of_server}");
        let config = one_backend(of_backend, &[&server]) + &teller("127.0.0.1:<port:teller>");
        let balancer = setup(&log, &config).start().await;
        // More than the range has ports: idle connections give theirs back.
        for _ in 0..25 {
            let (_, text) = ask(&balancer).await;
            assert!(
                text.starts_with(expected),
                "{of_backend}{of_server}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn servers_may_be_sockets_with_names() {
    let name = format!("abns@tidegate-test-{}", std::process::id());
    let cases = [
        ("<dir>/teller.sock", "unix@<dir>/teller.sock"),
        ("unix@<dir>/teller.sock", "<dir>/teller.sock"),
        (&name, &name),
    ];
    for (bind, address) in cases {
        let log = LogSink::start().await;
        let server = format!("s {address} check inter 100ms");
        let balancer = start(&log, bind, &server).await;
        balancer.wait_status("http", "be", "s", "UP").await;
        let mut client = Client::plain(balancer.address("http")).await;
        assert_eq!(client.get("/").await.unwrap().status, 200, "{address}");
    }
}

#[tokio::test]
async fn checks_may_go_to_sockets_with_names() {
    let name = format!("abns@tidegate-check-{}", std::process::id());
    for (bind, addr) in [
        ("<dir>/check.sock", "unix@<dir>/check.sock"),
        (&*name, &*name),
    ] {
        let log = LogSink::start().await;
        let nobody = Port::claim();
        // Nobody is at its own address.
        let server = format!(
            "s {} check inter 100ms fall 1 addr {addr}",
            nobody.address()
        );
        let balancer = start(&log, bind, &server).await;
        wait_until(addr, PATIENCE, async || {
            let table = balancer.stats("http").await;
            let seen = table.get("be", "s", "check_status").to_owned();
            testkit::wait::or_seen(seen == "L4OK", seen)
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_may_be_where_the_client_came_to() {
    let (outer, inner) = (Port::claim(), Port::claim());
    let offset = i32::from(inner.number()) - i32::from(outer.number());
    let cases = [
        format!("127.0.0.1:{offset:+}"),
        format!("*:{}", inner.number()),
        format!("0.0.0.0:{offset:+}"),
        format!("ipv4@127.0.0.1:{offset:+}"),
    ];
    for address in cases {
        let log = LogSink::start().await;
        let config = format!(
            "
frontend fe
    bind 127.0.0.1:{}
    default_backend be
backend be
    server s {address}
{}",
            outer.number(),
            teller(&format!("127.0.0.1:{}", inner.number()))
        );
        let balancer = setup(&log, &config).start_unready();
        wait_until(&address, PATIENCE, async || {
            let response = testkit::http::get(outer.address(), "/").await;
            testkit::wait::or_seen(
                response
                    .as_ref()
                    .is_ok_and(|it| it.text().contains(" 127.0.0.1")),
                format!("{response:?}"),
            )
        })
        .await;
        drop(balancer);
    }
}

/// Two ports, and two others as far from each other.
fn pairs() -> ([Port; 2], [Port; 2]) {
    let mut pairs: Vec<[Port; 2]> = Vec::new();
    let apart = |[one, other]: &[Port; 2]| i32::from(other.number()) - i32::from(one.number());
    loop {
        let pair = [Port::claim(), Port::claim()];
        match pairs.iter().position(|known| apart(known) == apart(&pair)) {
            Some(at) => return (pairs.swap_remove(at), pair),
            None => pairs.push(pair),
        }
    }
}

#[tokio::test]
async fn a_connection_kept_for_one_port_never_serves_another() {
    let (outer, inner) = pairs();
    let offset = i32::from(inner[0].number()) - i32::from(outer[0].number());
    for host in ["127.0.0.1", "0.0.0.0", "*"] {
        let log = LogSink::start().await;
        let mut config = format!(
            "
global
    nbthread 1
frontend fe
    bind 127.0.0.1:{}
    bind 127.0.0.1:{}
    default_backend be
backend be
    http-reuse always
    server s {host}:{offset:+}
",
            outer[0].number(),
            outer[1].number()
        );
        for port in &inner {
            config += &format!(
                "
frontend teller{0}
    bind 127.0.0.1:{0}
    http-request return status 200 content-type text/plain string {0}
",
                port.number()
            );
        }
        let _balancer = setup(&log, &config).start_unready();
        for port in &outer {
            wait_until("an answer", PATIENCE, async || {
                testkit::http::get(port.address(), "/").await
            })
            .await;
        }
        for (outer, inner) in outer.iter().zip(&inner).cycle().take(6) {
            let response = testkit::http::get(outer.address(), "/").await.unwrap();
            assert_eq!(response.text(), inner.number().to_string(), "{host}");
        }
    }
}

#[tokio::test]
async fn a_server_without_a_port_gets_the_clients() {
    let log = LogSink::start().await;
    let port = Port::claim();
    let config = format!(
        "
frontend fe
    bind 127.0.0.1:{0}
    default_backend be
backend be
    server s 127.0.0.9
{1}",
        port.number(),
        teller(&format!("127.0.0.9:{}", port.number()))
    );
    let _balancer = setup(&log, &config).start_unready();
    wait_until("an answer", PATIENCE, async || {
        let response = testkit::http::get(port.address(), "/").await;
        testkit::wait::or_seen(
            response
                .as_ref()
                .is_ok_and(|it| it.text().ends_with(" 127.0.0.9")),
            format!("{response:?}"),
        )
    })
    .await;
}

/// Whether the kernel has a keep-alive timer on the connections to that port, as `/proc/net/tcp`
/// shows it.
fn probed(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let to = format!(":{port:04X}");
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() > 5 && words[2].ends_with(&to) && words[5].starts_with("02:")
    })
}

#[tokio::test]
async fn silent_connections_are_probed_where_told() {
    let cases = [
        ("", false, false),
        ("    option srvtcpka\n    srvtcpka-idle 100", true, false),
        (
            "    option clitcpka\n    clitcpka-idle 100s\n    clitcpka-cnt 3",
            false,
            true,
        ),
        ("    option tcpka\n    srvtcpka-intvl 5s", true, true),
    ];
    for (settings, to_server, to_client) in cases {
        let log = LogSink::start().await;
        let node = Node::start("n1").await;
        let config = format!(
            "
listen all
    bind 127.0.0.1:<port:http>
{settings}
    server n1 <n1>
"
        );
        let balancer = setup(&log, &config).set("n1", node.address()).start().await;
        let target = Target::plain(balancer.address("http"));
        let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
        socket.echo("hello").await.unwrap();
        // While something is on its way another timer runs, so both are waited for.
        let client = socket.stream().tcp().local_addr().unwrap().port();
        wait_until(settings, PATIENCE, async || {
            let seen = (probed(node.address().port()), probed(client));
            testkit::wait::or_seen(seen == (to_server, to_client), format!("{seen:?}"))
        })
        .await;
    }
}
