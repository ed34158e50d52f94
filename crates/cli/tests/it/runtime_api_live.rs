//! The Runtime API on what is under way: sessions shown and ended, limits changed, frontends closed, checks
//! sent elsewhere, while other connections go on.

use testkit::websocket::Target;
use testkit::{LogSink, Node, WebSocket};

use crate::runtime_api::{ask, lab};
use crate::support::{SOON, is_haproxy, setup};

/// The value of `key=` in a line of `show sess`.
fn field<'a>(line: &'a str, key: &str) -> &'a str {
    let mut words = line.split(' ').filter_map(|word| word.strip_prefix(key));
    words.next().unwrap_or_default()
}

#[tokio::test]
async fn an_open_websocket_is_shown_and_ended_by_its_name() {
    let (balancer, _node) = lab().await;
    let socket = balancer.folder().join("admin.sock");
    let target = Target::plain(balancer.address("http"));
    let (mut one, _) = WebSocket::open_greeted(&target).await.expect("a WebSocket");
    let (mut other, _) = WebSocket::open_greeted(&target).await.expect("a WebSocket");
    let (first, second) = (one.stream(), other.stream());
    let [first, second] =
        [first, second].map(|it| it.tcp().local_addr().expect("an address").to_string());
    let shown = ask(&socket, "show sess frontend fe\n").await;
    let line = |source: &str| {
        let mut lines = shown.lines().filter(|line| field(line, "src=") == source);
        lines
            .next()
            .unwrap_or_else(|| panic!("{source} in {shown}"))
            .to_owned()
    };
    let (line, stays) = (line(&first), line(&second));
    for (key, expected) in [
        ("proto=", "tcpv4"),
        ("fe=", "fe"),
        ("be=", "be"),
        ("srv=", "s1"),
    ] {
        assert_eq!(field(&line, key), expected, "{line}");
    }
    let name = line.split(':').next().expect("a name");
    let wide = ask(&socket, &format!("show sess {name}\n")).await;
    assert!(wide.contains("\n  server=s1 (id=1)"), "{wide}");
    // HAProxy 2.6 knows no filters.
    if !is_haproxy() {
        for none in ["server be/s2", "frontend fe older 1h", "all backend other"] {
            assert_eq!(ask(&socket, &format!("show sess {none}\n")).await, "\n");
        }
    }
    assert_eq!(
        ask(&socket, &format!("shutdown session {name}\n")).await,
        "\n"
    );
    assert!(one.message().await.is_err(), "it has ended");
    other
        .echo("still here")
        .await
        .expect("the other one goes on");
    if is_haproxy() {
        // It shows its own connections as well, and one that it has killed for a moment.
        return;
    }
    let gone = ask(&socket, &format!("shutdown session {name}\n")).await;
    assert_eq!(gone, "No such session (use 'show sess').\n\n");
    let left = ask(&socket, "show sess frontend fe\n").await;
    let stays = stays.split(':').next().expect("a name");
    assert!(left.contains(stays) && !left.contains(name), "{left}");
}

#[tokio::test]
async fn a_frontend_that_is_shut_down_keeps_its_websockets_and_gives_its_port_back() {
    let (balancer, _node) = lab().await;
    let socket = balancer.folder().join("admin.sock");
    let address = balancer.address("http");
    let target = Target::plain(address);
    let (mut open, _) = WebSocket::open_greeted(&target).await.expect("a WebSocket");
    assert_eq!(ask(&socket, "shutdown frontend fe\n").await, "\n");
    let again = ask(&socket, "shutdown frontend fe;enable frontend fe\n").await;
    assert_eq!(
        again,
        "Frontend was already shut down.\n\nFrontend was previously shut down, cannot enable.\n\n"
    );
    // Workers close it each in its turn.
    let closed = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let closed = tokio::time::timeout(SOON, closed).await;
    closed.expect("nobody listens there any more");
    open.echo("still here").await.expect("it goes on");
}

#[tokio::test]
async fn a_lower_maxconn_lets_those_in_who_are_in_and_nobody_else() {
    let (balancer, _node) = lab().await;
    let socket = balancer.folder().join("admin.sock");
    let target = Target::plain(balancer.address("http"));
    let (mut one, _) = WebSocket::open_greeted(&target).await.expect("a WebSocket");
    let (mut two, _) = WebSocket::open_greeted(&target).await.expect("a WebSocket");
    assert_eq!(ask(&socket, "set maxconn frontend fe 1\n").await, "\n");
    one.echo("one").await.expect("it goes on");
    two.echo("two").await.expect("it goes on");
    let waits = tokio::spawn(async move { WebSocket::open_greeted(&target).await });
    one.close().await.expect("an end");
    two.echo("two").await.expect("it goes on");
    assert!(!waits.is_finished());
    two.close().await.expect("an end");
    waits
        .await
        .expect("no panic")
        .expect("there is room for it");
}

#[tokio::test]
async fn checks_go_where_an_operator_sends_them() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = "
global
    stats socket <dir>/admin.sock mode 600 level admin
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    server s1 127.0.0.1:1 check inter 20ms rise 1 fall 1
";
    let balancer = setup(&log, config).start().await;
    let socket = balancer.folder().join("admin.sock");
    let state = |wanted: &'static str| {
        let socket = socket.clone();
        async move {
            while !ask(&socket, "show stat be 4 -1\n").await.contains(wanted) {
                tokio::task::yield_now().await;
            }
        }
    };
    let down = tokio::time::timeout(SOON, state(",DOWN,")).await;
    down.expect("nobody is there");
    let port = node.address().port();
    let sent = format!("set server be/s1 check-port {port}\n");
    assert_eq!(ask(&socket, &sent).await, "\n");
    let up = tokio::time::timeout(SOON, state(",UP,")).await;
    up.expect("somebody is there");
}

#[tokio::test]
async fn what_was_said_at_the_start_is_told_again() {
    let (balancer, _node) = lab().await;
    let socket = balancer.folder().join("admin.sock");
    let told = ask(&socket, "show startup-logs\n").await;
    if !is_haproxy() {
        assert!(
            told.contains("[WARNING]") || told.contains("[NOTICE]"),
            "{told}"
        );
    }
}
