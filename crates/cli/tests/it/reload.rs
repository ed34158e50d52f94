//! Reloads in place (SIGUSR2, `reload` on the sockets, `tidegate reload`): what both configurations have in
//! common lives on, what is new is there at once, what is gone finishes what it has, and a file that cannot
//! be used changes nothing.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use testkit::websocket::Target;
use testkit::{
    Balancer, Client, LogSink, Node, PATIENCE, Port, Swarm, WebSocket, http, wait_until,
};

use crate::runtime_api::ask;
use crate::support::{is_haproxy, program, setup};

pub(crate) const CONFIG: &str = "
global
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http>
    stats enable
    stats uri /stats
    http-request use-service prometheus-exporter if { path /metrics }
    http-response set-header x-rules first
    default_backend be
backend be
    balance roundrobin
    option httpchk GET /health
    timeout check 3s
    server n1 <n1> check inter 100ms
    server n2 <n2> check inter 100ms
";

/// A balancer in front of two nodes that are up.
pub(crate) struct Lab {
    pub(crate) log: LogSink,
    pub(crate) nodes: Vec<Node>,
    pub(crate) balancer: Balancer,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(CONFIG, &[]).await
    }

    pub(crate) async fn with(config: &str, arguments: &[&str]) -> Self {
        let log = LogSink::start().await;
        let nodes = Node::start_many(3).await;
        let mut setup = setup(&log, config);
        for (at, node) in nodes.iter().enumerate() {
            setup = setup.set(&format!("n{}", at + 1), node.address());
        }
        for argument in arguments {
            setup = setup.argument(*argument);
        }
        let balancer = setup.start().await;
        let lab = Self {
            log,
            nodes,
            balancer,
        };
        for server in ["n1", "n2"] {
            lab.balancer.wait_status("http", "be", server, "UP").await;
        }
        lab
    }

    fn file(&self) -> PathBuf {
        self.balancer.folder().join("haproxy.cfg")
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// Changes the file; `from` must be in it.
    pub(crate) fn change(&self, from: &str, to: &str) {
        let text = self.text();
        assert!(text.contains(from), "{from:?} is not in the file");
        self.write(&text.replace(from, to));
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// What a stats socket answers to `reload`.
    pub(crate) async fn try_reload(&self) -> String {
        ask(&self.balancer.folder().join("admin.sock"), "reload\n").await
    }

    /// Reloads, which must work.
    pub(crate) async fn reload(&self) -> String {
        let answer = self.try_reload().await;
        assert!(answer.starts_with("Success=1\n--\n"), "{answer}");
        answer
    }

    pub(crate) fn target(&self) -> Target {
        Target::plain(self.balancer.address("http"))
    }

    /// One fact of a server on the stats page.
    async fn fact(&self, server: &str, column: &str) -> String {
        let table = self.balancer.stats("http").await;
        table
            .try_get("be", server, column)
            .unwrap_or("gone")
            .to_owned()
    }

    async fn wait_fact(&self, server: &str, column: &str, wanted: &str) {
        wait_until(&format!("{server} {column}"), PATIENCE, async || {
            let seen = self.fact(server, column).await;
            testkit::wait::or_seen(seen == wanted, seen)
        })
        .await;
    }
}

#[tokio::test]
async fn rules_of_the_new_file_hold_from_the_next_request_on() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let mut kept = Client::plain(lab.balancer.address("http")).await;
    let rules = |response: &http::Response| response.head.get("x-rules").map(str::to_owned);
    assert_eq!(rules(&kept.get("/").await.unwrap()).unwrap(), "first");
    lab.change("x-rules first", "x-rules second");
    lab.reload().await;
    let again = kept.get("/").await.unwrap();
    assert_eq!(
        rules(&again).unwrap(),
        "second",
        "on the connection that was open"
    );
    let fresh = http::get(lab.balancer.address("http"), "/").await.unwrap();
    assert_eq!(rules(&fresh).unwrap(), "second");
    lab.log
        .wait_for(&["Reload: frontend fe has changed."])
        .await;
}

#[tokio::test]
async fn sigusr2_and_the_masters_socket_reload_as_well() {
    if is_haproxy() {
        return;
    }
    let port = Port::claim();
    let master = format!("127.0.0.1:{}", port.number());
    let lab = Lab::with(CONFIG, &["-S", &master]).await;
    lab.change("x-rules first", "x-rules second");
    lab.balancer.signal(Signal::SIGUSR2);
    lab.log.wait_for(&["asked by SIGUSR2"]).await;
    lab.log.wait_for(&["Reloaded in"]).await;
    let response = http::get(lab.balancer.address("http"), "/").await.unwrap();
    assert_eq!(response.head.get("x-rules"), Some("second"));

    lab.change("x-rules second", "x-rules third");
    let mut client = Client::plain(port.address()).await;
    client.send("reload\n").await;
    let answer = client.until_closed().await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("Success=1\n--\n"), "{answer}");
    let response = http::get(lab.balancer.address("http"), "/").await.unwrap();
    assert_eq!(response.head.get("x-rules"), Some("third"));

    let mut client = Client::plain(port.address()).await;
    client.send("user;reload\n").await;
    client.half_close().await;
    let refused = client.until_closed().await.unwrap();
    let refused = String::from_utf8_lossy(&refused).into_owned();
    assert!(refused.contains("Permission denied"), "{refused}");

    let mut client = Client::plain(port.address()).await;
    client.send("show proc\n").await;
    client.half_close().await;
    let shown = client.until_closed().await.unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains(" 2 [failed: 0]"), "{shown}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let mut swarm = Swarm::open(&lab.target(), 50).await;
    // Until then the lifecycle has other things to tell.
    lab.log.wait_for(&["Lifecycle: Ready -> Routing"]).await;
    let good = lab.text();
    let taken = Port::claim();
    let _taken = std::net::TcpListener::bind(taken.address()).unwrap();
    let busy = format!("bind {}\n    stats enable", taken.address());
    for (from, to, why) in [
        ("balance roundrobin", "balance roundrobbin", "roundrobbin"),
        ("default_backend be", "default_backend nowhere", "nowhere"),
        ("stats enable", &busy, "another process listens there"),
        (
            "stats enable",
            "bind 127.0.0.1:1 ssl crt /nowhere/none.pem\n    stats enable",
            "none.pem",
        ),
    ] {
        lab.write(&good.replace(from, to));
        let answer = lab.try_reload().await;
        assert!(answer.starts_with("Success=0\n--\n"), "{answer}");
        assert!(answer.contains(why), "{why}: {answer}");
        lab.log
            .wait_for(&["Reload refused, everything is as before", why])
            .await;
        swarm.echo_all().await;
        swarm.assert_whole();
        let response = http::get(lab.balancer.address("http"), "/").await.unwrap();
        assert_eq!(
            (response.status, response.head.get("x-rules")),
            (200, Some("first"))
        );
    }
    lab.log
        .wait_for(&["Lifecycle: Reloading -> Error: the configuration cannot be used"])
        .await;
    let metrics = lab.balancer.metrics("http").await;
    assert_eq!(
        metrics.sum("tidegate_reload_failures_total", &[]),
        Some(4.0)
    );
    lab.write(&good);
    lab.reload().await;
    wait_until("the lifecycle to go on", PATIENCE, async || {
        let metrics = lab.balancer.metrics("http").await;
        let routing = metrics.sum("tidegate_lifecycle_state", &["state=\"Routing\""]);
        testkit::wait::or_seen(routing == Some(1.0), format!("{routing:?}"))
    })
    .await;
    swarm.echo_all().await;
    swarm.assert_whole();
}

#[tokio::test]
async fn a_bind_that_moves_is_open_at_its_new_place_before_it_closes() {
    if is_haproxy() {
        return;
    }
    let old = Port::claim();
    let new = Port::claim();
    let line = |port: &Port| format!("bind {}", port.address());
    let both = format!("{}\n    stats enable", line(&old));
    let lab = Lab::with(&CONFIG.replace("stats enable", &both), &[]).await;
    let mut swarm = Swarm::open(&Target::plain(old.address()), 20).await;
    let mut kept = Client::plain(old.address()).await;
    kept.get("/").await.unwrap();
    lab.change(&line(&old), &line(&new));
    lab.reload().await;
    // As soon as it is said to be done.
    let moved = http::get(new.address(), "/").await.unwrap();
    assert_eq!(moved.status, 200);
    wait_until("the old address to be closed", PATIENCE, async || {
        let open = tokio::net::TcpStream::connect(old.address()).await.is_ok();
        testkit::wait::or_seen(!open, "open")
    })
    .await;
    // It waits for a request that its frontend would not take any more.
    assert_eq!(kept.until_closed().await.unwrap(), b"");
    swarm.echo_all().await;
    swarm.assert_whole();
    assert_eq!(
        http::get(lab.balancer.address("http"), "/")
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn an_address_that_stays_refuses_nobody() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let address = lab.balancer.address("http");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let connecting = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut served = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let response = http::get(address, "/").await.expect("nobody is refused");
                assert_eq!(response.status, 200);
                served += 1;
            }
            served
        }
    });
    for round in 0..20 {
        let (from, to) = match round % 2 {
            0 => ("x-rules first", "x-rules second"),
            _ => ("x-rules second", "x-rules first"),
        };
        lab.change(from, to);
        lab.reload().await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(connecting.await.unwrap() > 0);
}

#[tokio::test]
async fn a_server_that_is_gone_from_the_file_finishes_what_it_has() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let mut swarm = Swarm::open(&lab.target(), 40).await;
    let on_n2 = swarm.on(lab.nodes[1].id());
    assert!(on_n2 > 0);
    let line = format!(
        "    server n2 {} check inter 100ms\n",
        lab.nodes[1].address()
    );
    lab.change(&line, "");
    lab.reload().await;
    swarm.echo_all().await;
    swarm.assert_whole();
    assert_eq!(lab.fact("n2", "scur").await, on_n2.to_string());
    assert!(lab.fact("n2", "status").await.starts_with("DRAIN"));
    let mut newer = Swarm::open(&lab.target(), 10).await;
    assert_eq!(newer.on(lab.nodes[1].id()), 0, "{:?}", newer.by_node());
    // Back in the file it is the same server.
    lab.change("\nbackend be\n", &format!("\nbackend be\n{line}"));
    lab.reload().await;
    lab.wait_fact("n2", "status", "UP").await;
    assert_eq!(lab.fact("n2", "scur").await, on_n2.to_string());
    lab.change(&line, "");
    lab.reload().await;
    swarm.echo_all().await;
    swarm.assert_whole();
    drop(swarm);
    lab.wait_fact("n2", "status", "gone").await;
    lab.log
        .wait_for(&["Server be/n2 is drained and removed"])
        .await;
    newer.echo_all().await;
    newer.assert_whole();
}

#[tokio::test]
async fn a_server_that_has_changed_keeps_its_sessions() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let mut swarm = Swarm::open(&lab.target(), 20).await;
    let on_n1 = swarm.on(lab.nodes[0].id());
    let before = lab.fact("n1", "stot").await;
    let from = format!("server n1 {} check", lab.nodes[0].address());
    // It is somewhere else now, under the same name.
    let to = format!("server n1 {} weight 7 check", lab.nodes[2].address());
    lab.change(&from, &to);
    lab.reload().await;
    swarm.echo_all().await;
    swarm.assert_whole();
    assert_eq!(lab.fact("n1", "weight").await, "7");
    assert_eq!(lab.fact("n1", "scur").await, on_n1.to_string());
    assert_eq!(lab.fact("n1", "stot").await, before);
    let newer = Swarm::open(&lab.target(), 20).await;
    assert_eq!(newer.on(lab.nodes[0].id()), 0, "{:?}", newer.by_node());
    assert!(newer.on(lab.nodes[2].id()) > 0, "{:?}", newer.by_node());
}

#[tokio::test]
async fn what_operators_and_clients_have_made_lives_on() {
    if is_haproxy() {
        return;
    }
    let table = "
backend seen
    stick-table type string size 1k expire 1h store http_req_cnt
";
    let config = CONFIG.replace(
        "    http-response set-header",
        "    http-request track-sc0 hdr(x-name) table seen\n    http-response set-header",
    ) + table;
    let lab = Lab::with(&config, &[]).await;
    let socket = lab.balancer.folder().join("admin.sock");
    let mut client = Client::plain(lab.balancer.address("http")).await;
    let named = "GET / HTTP/1.1\r\nHost: a\r\nx-name: ann\r\n\r\n";
    for _ in 0..3 {
        client.send(named).await;
        client.response().await.unwrap();
    }
    ask(&socket, "set server be/n1 weight 13\n").await;
    ask(&socket, "set server be/n2 state drain\n").await;
    let added = format!(
        "add server be/extra {};set server be/extra state ready\n",
        lab.nodes[2].address()
    );
    ask(&socket, &added).await;
    let before = lab.balancer.stats("http").await;
    lab.change("x-rules first", "x-rules second");
    let checked = lab.nodes[0].health_checks();
    lab.reload().await;
    let shown = ask(&socket, "show table seen\n").await;
    assert!(
        shown.contains("key=ann") && shown.contains("http_req_cnt=3"),
        "{shown}"
    );
    assert_eq!(lab.fact("n1", "weight").await, "13");
    assert!(lab.fact("n2", "status").await.starts_with("DRAIN"));
    assert_eq!(lab.fact("extra", "status").await, "no check");
    let after = lab.balancer.stats("http").await;
    for (proxy, server, column) in [
        ("fe", "FRONTEND", "req_tot"),
        ("fe", "FRONTEND", "stot"),
        ("be", "BACKEND", "stot"),
        ("be", "n1", "stot"),
        ("be", "n1", "bout"),
        ("be", "BACKEND", "hrsp_2xx"),
    ] {
        let (was, is) = (
            before.number(proxy, server, column),
            after.number(proxy, server, column),
        );
        assert!(is >= was, "{proxy}/{server} {column}: {was} → {is}");
    }
    wait_until("checks to go on", PATIENCE, async || {
        let now = lab.nodes[0].health_checks();
        testkit::wait::or_seen(now > checked + 2, format!("{now} after {checked}"))
    })
    .await;
    // What the file changes counts again.
    let from = format!("server n1 {} check", lab.nodes[0].address());
    lab.change(&from, &format!("{from} weight 5"));
    lab.reload().await;
    assert_eq!(lab.fact("n1", "weight").await, "5");
}

#[tokio::test]
async fn logs_go_where_the_new_file_says() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let other = LogSink::start().await;
    http::get(lab.balancer.address("http"), "/old")
        .await
        .unwrap();
    lab.log.wait_for(&["GET /old"]).await;
    lab.change(
        "\nbackend be\n",
        &format!("\nbackend be\n    log {} local0\n", other.address()),
    );
    lab.change(
        "frontend fe\n",
        &format!(
            "frontend fe\n    no log\n    log {} local0\n",
            other.address()
        ),
    );
    lab.reload().await;
    http::get(lab.balancer.address("http"), "/new")
        .await
        .unwrap();
    other.wait_for(&["GET /new"]).await;
    assert!(!lab.log.lines().iter().any(|line| line.contains("GET /new")));
}

#[tokio::test]
async fn what_cannot_change_while_running_is_said() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    lab.change("nbthread 2", "nbthread 3");
    let answer = lab.reload().await;
    let said = "'nbthread' has changed: that takes effect at the next start";
    assert!(answer.contains(said), "{answer}");
    lab.log.wait_for(&[said]).await;
}

#[tokio::test]
async fn a_node_that_dies_during_reloads_takes_nobody_along() {
    if is_haproxy() {
        return;
    }
    let mut lab = Lab::new().await;
    let mut swarm = Swarm::open(&lab.target(), 60).await;
    let dead = lab.nodes[1].id().to_owned();
    for round in 0..20 {
        let (from, to) = match round % 2 {
            0 => ("x-rules first", "x-rules second"),
            _ => ("x-rules second", "x-rules first"),
        };
        lab.change(from, to);
        lab.reload().await;
        if round == 7 {
            lab.nodes[1].crash().await;
        }
    }
    lab.balancer.wait_status("http", "be", "n2", "DOWN").await;
    swarm.echo_all().await;
    let lost = swarm.lost_elsewhere(&dead);
    assert!(lost.is_empty(), "{:?}", lost.first());
    let newer = Swarm::open(&lab.target(), 10).await;
    assert_eq!(newer.on(&dead), 0);
}

/// What `tidegate reload` says, and its exit code.
fn subcommand(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(program());
    let output = command.arg("reload").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

#[tokio::test]
async fn the_subcommand_tells_what_came_of_it() {
    if is_haproxy() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pidfile = folder.path().join("pid").display().to_string();
    let lab = Lab::with(CONFIG, &["-p", &pidfile]).await;
    let socket = lab
        .balancer
        .folder()
        .join("admin.sock")
        .display()
        .to_string();
    let (code, said) = subcommand(&["-p", &pidfile]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Reloaded in"), "{said}");
    assert_eq!(subcommand(&[&socket]).0, 0);
    assert_eq!(subcommand(&[&lab.balancer.pid().to_string()]).0, 0);
    let good = lab.text();
    lab.write(&good.replace("balance roundrobin", "balance roundrobbin"));
    for arguments in [&["-p", &pidfile][..], &[&socket]] {
        let (code, said) = subcommand(arguments);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("roundrobbin"), "{said}");
    }
    lab.write(&good);
    assert_eq!(subcommand(&["-p", "/nowhere/pid"]).0, 2);
    assert_eq!(subcommand(&["/nowhere/socket"]).0, 2);
    assert_eq!(subcommand(&[]).0, 2);
    let (mut websocket, _) = WebSocket::open_greeted(&lab.target()).await.unwrap();
    websocket.echo("still here").await.unwrap();
}
