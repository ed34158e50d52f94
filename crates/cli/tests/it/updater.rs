//! `tidegate updater` with a real HAProxy (`HAPROXY`, else Debian's) that has WebSockets open.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::discovery::Answer;
use testkit::stats::Metrics;
use testkit::wait::or_seen;
use testkit::websocket::Target;
use testkit::{
    Discovery, Health, Node, PATIENCE, Port, Process, Swarm, Table, WebSocket, http, wait_until,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What most backends have; nodes come beside it.
const BACKEND: &str = "    balance leastconn\n    option httpchk GET /health\n    timeout check 3s\n    \
                       default-server inter 100ms fall 2 rise 1\n";

/// A HAProxy, an updater, and where they are.
struct Lab {
    folder: TempDir,
    front: Port,
    admin: Port,
    discovery: Discovery,
    nodes: Vec<Node>,
    haproxy: Option<Process>,
    updater: Option<Process>,
    flags: Vec<String>,
    /// Time between fetches, where it is not the usual one.
    interval: Option<&'static str>,
}

fn haproxy() -> PathBuf {
    std::env::var_os("HAPROXY").map_or("/usr/sbin/haproxy".into(), PathBuf::from)
}

impl Lab {
    /// HAProxy runs with that backend, `count` nodes are listed, no updater runs yet.
    async fn new(count: usize, backend: &str) -> Self {
        let nodes = Node::start_many(count).await;
        let listed: Vec<&Node> = nodes.iter().collect();
        let mut lab = Self {
            folder: TempDir::with_prefix("tidegate-test-").unwrap(),
            front: Port::claim(),
            admin: Port::claim(),
            discovery: Discovery::start(&listed).await,
            nodes,
            haproxy: None,
            updater: None,
            flags: Vec::new(),
            interval: None,
        };
        let (folder, front) = (lab.folder.path().display(), lab.front.number());
        let text = format!(
            "global\n    stats socket {folder}/s level admin\n    maxconn 2000\n    nbthread 2\n\
             defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    \
             timeout server 30s\n    timeout tunnel 1h\nfrontend fe\n    bind 127.0.0.1:{front}\n    \
             default_backend ws_backend\nbackend ws_backend\n{backend}\n# the end\n"
        );
        std::fs::write(lab.config(), text).unwrap();
        lab.start_haproxy().await;
        lab
    }

    /// The same with an updater that has found all nodes.
    async fn updated(count: usize, backend: &str, flags: &[&str]) -> Self {
        let mut lab = Self::new(count, backend).await;
        lab.flags = flags.iter().map(|flag| lab.fill(flag)).collect();
        lab.start_updater();
        for node in 0..count {
            lab.wait_up(&format!("node{}", node + 1)).await;
        }
        lab
    }

    /// `<dir>` is the folder.
    fn fill(&self, flag: &str) -> String {
        flag.replace("<dir>", &self.folder.path().display().to_string())
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("haproxy.cfg")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.config()).unwrap()
    }

    async fn start_haproxy(&mut self) {
        let mut command = Command::new(haproxy());
        let master = self.folder.path().join("m");
        command
            .arg("-W")
            .arg("-S")
            .arg(master)
            .arg("-f")
            .arg(self.config());
        self.haproxy = Some(Process::start(&mut command));
        wait_until("HAProxy to answer", PATIENCE, async || {
            let answer = self.try_ask("show info").await;
            or_seen(answer.is_ok_and(|it| it.contains("Pid")), "no answer")
        })
        .await;
    }

    /// All its processes, at once.
    async fn kill_haproxy(&mut self) {
        // Dropping kills the group.
        self.haproxy = None;
        wait_until("HAProxy to be gone", PATIENCE, async || {
            or_seen(self.try_ask("show info").await.is_err(), "it answers")
        })
        .await;
    }

    fn start_updater(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.arg("updater");
        command
            .arg("--haproxy-socket")
            .arg(format!("unix:{}/s", self.folder.path().display()));
        command.arg("--haproxy-binary").arg(haproxy());
        command
            .arg("--listen")
            .arg(self.admin.address().to_string());
        command.args(&self.flags).envs(self.discovery.environment());
        if let Some(interval) = self.interval {
            command.env("UPDATE_INTERVAL", interval);
        }
        self.updater = Some(Process::start(&mut command));
    }

    fn updater(&self) -> &Process {
        self.updater.as_ref().unwrap()
    }

    async fn try_ask(&self, line: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.folder.path().join("s")).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn ask(&self, line: &str) -> String {
        self.try_ask(line).await.unwrap()
    }

    /// HAProxy's own words for its servers.
    async fn table(&self) -> Table {
        let stat = self.ask("show stat").await;
        Table::parse(&stat)
    }

    /// Waits until a server's status begins so; `gone`: until there is none of that name.
    async fn wait(&self, server: &str, status: &str) {
        wait_until(&format!("{server} to be {status}"), PATIENCE, async || {
            // A reload opens the socket anew.
            let stat = self
                .try_ask("show stat ws_backend 4 -1")
                .await
                .unwrap_or_default();
            let line = stat
                .lines()
                .find(|it| it.starts_with(&format!("ws_backend,{server},")));
            let seen = line.map_or("gone", |line| line.split(',').nth(17).unwrap_or_default());
            or_seen(
                seen.starts_with(status),
                format!("{seen}\n{}", self.updater().output()),
            )
        })
        .await;
    }

    async fn wait_up(&self, server: &str) {
        self.wait(server, "UP").await;
    }

    async fn metrics(&self) -> Metrics {
        self.try_metrics().await.unwrap()
    }

    async fn try_metrics(&self) -> anyhow::Result<Metrics> {
        let response = http::get(self.admin.address(), "/metrics").await?;
        Ok(Metrics::parse(&response.text()))
    }

    async fn wait_metric(&self, name: &str, least: f64) {
        wait_until(&format!("{name} to be {least}"), PATIENCE, async || {
            let seen = self.try_metrics().await;
            let seen = seen.ok().and_then(|metrics| metrics.sum(name, &[]));
            or_seen(
                seen >= Some(least),
                format!("{seen:?}\n{}", self.updater().output()),
            )
        })
        .await;
    }

    async fn wait_fetches(&self, more: usize) {
        let goal = self.discovery.fetches() + more;
        wait_until("more fetches", PATIENCE, async || {
            let fetches = self.discovery.fetches();
            or_seen(fetches >= goal, format!("{fetches} of {goal}"))
        })
        .await;
    }

    /// Until the file has exactly these servers in its block.
    async fn wait_block(&self, servers: &[&str]) {
        wait_until(&format!("{servers:?} in the file"), PATIENCE, async || {
            let kept = block(&self.text());
            or_seen(
                kept == servers,
                format!("{kept:?}\n{}", self.updater().output()),
            )
        })
        .await;
    }

    fn list(&self, which: &[usize]) {
        let nodes: Vec<&Node> = which.iter().map(|index| &self.nodes[*index]).collect();
        self.discovery.list(&nodes);
    }

    fn target(&self) -> Target {
        Target::plain(self.front.address())
    }

    /// Whether HAProxy would start with the file as it is.
    fn assert_valid(&self) {
        let checked = Command::new(haproxy())
            .arg("-c")
            .arg("-f")
            .arg(self.config())
            .output();
        let checked = checked.unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{said}\n{}", self.text());
        assert!(self.text().ends_with("# the end\n"), "{}", self.text());
    }
}

/// Names of the servers between the markers; empty without a block.
fn block(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let lines = lines.skip_while(|line| !line.starts_with("# BEGIN tidegate"));
    let lines = lines
        .take_while(|line| !line.starts_with("# END tidegate"))
        .skip(1);
    lines
        .map(|line| line.split(' ').nth(1).unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn nodes_join_and_leave_a_real_haproxy_under_open_websockets() {
    let mut lab = Lab::updated(3, BACKEND, &[]).await;
    lab.list(&[0, 1]);
    lab.wait("node3", "gone").await;
    let mut swarm = Swarm::open(&lab.target(), 60).await;
    assert!(
        swarm.on("node1") > 0 && swarm.on("node2") > 0,
        "{:?}",
        swarm.by_node()
    );

    // One joins, and takes sockets; nobody else notices.
    lab.list(&[0, 1, 2]);
    lab.wait_up("node3").await;
    let mut late = Swarm::open(&lab.target(), 12).await;
    assert!(late.on("node3") > 0, "{:?}", late.by_node());

    // One leaves: it is drained, keeps what it has, and goes with the last socket.
    lab.list(&[0, 1]);
    lab.wait("node3", "DRAIN").await;
    let more = Swarm::open(&lab.target(), 10).await;
    assert_eq!(more.on("node3"), 0);
    swarm.echo_all().await;
    late.echo_all().await;
    swarm.assert_whole();
    late.assert_whole();
    lab.list(&[0, 1, 2]);
    lab.wait_up("node3").await;
    lab.list(&[0, 1]);
    lab.wait("node3", "DRAIN").await;
    drop(late);
    lab.wait("node3", "gone").await;

    // One fails its checks and is back: its sockets stay open, as all others.
    lab.nodes[1].set_health(Health::Status(500));
    lab.wait("node2", "DOWN").await;
    swarm.echo_all().await;
    lab.nodes[1].set_health(Health::Status(200));
    lab.wait_up("node2").await;
    // One dies: its own end, no other.
    lab.nodes[1].crash().await;
    lab.wait("node2", "DOWN").await;
    swarm.echo_all().await;
    assert_eq!(swarm.lost_elsewhere("node2").len(), 0);
    // 2.6 says "New worker", later ones "new worker", if anything.
    let workers = lab.haproxy.as_ref().unwrap().count_lines("ew worker");
    assert!(workers <= 1, "nothing was reloaded: {workers}");

    // Page and metrics show HAProxy's figures and the control loop's.
    let metrics = lab.metrics().await;
    assert_eq!(metrics.sum("tidegate_haproxy_reachable", &[]), Some(1.0));
    assert_eq!(
        metrics.sum("tidegate_haproxy_reloads_total", &[]),
        Some(0.0)
    );
    let routing = metrics.sum("tidegate_lifecycle_state", &["state=\"Routing\""]);
    assert_eq!(routing, Some(1.0));
    let sessions = metrics.sum("haproxy_server_current_sessions", &["server=\"node1\""]);
    assert!(sessions > Some(0.0), "{sessions:?}");
    let page = http::get(lab.admin.address(), "/stats")
        .await
        .unwrap()
        .text();
    assert!(page.contains("node1") && page.contains("HAProxy"), "{page}");
    let csv = http::get(lab.admin.address(), "/stats;csv")
        .await
        .unwrap()
        .text();
    assert_eq!(
        Table::parse(&csv).get("ws_backend", "node2", "status"),
        "DOWN"
    );
    assert_eq!(
        http::get(lab.admin.address(), "/health")
            .await
            .unwrap()
            .status,
        200
    );

    // It ends on TERM, and leaves HAProxy alone.
    lab.updater().signal(Signal::SIGTERM);
    assert!(lab.updater.as_mut().unwrap().wait_exit().await.success());
    assert!(lab.table().await.servers("ws_backend").contains(&"node1"));
    swarm.echo_all().await;
    assert_eq!(swarm.lost_elsewhere("node2").len(), 0);
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_ended_by_haproxy() {
    let lab = Lab::updated(2, BACKEND, &["--drain", "1s"]).await;
    let mut swarm = Swarm::open(&lab.target(), 20).await;
    lab.list(&[0]);
    lab.wait("node2", "gone").await;
    swarm.echo_all().await;
    assert_eq!(swarm.lost_elsewhere("node2").len(), 0);
    assert_eq!(swarm.lost().len(), swarm.on("node2"));
}

#[tokio::test]
async fn lies_of_discovery_change_nothing_in_haproxy() {
    let hand = format!("{BACKEND}    server hand 127.0.0.1:1 check\n");
    let lab = Lab::updated(2, &hand, &["--haproxy-config", "<dir>/haproxy.cfg"]).await;
    lab.wait_block(&["node1", "node2"]).await;
    let mut swarm = Swarm::open(&lab.target(), 10).await;
    for lie in [
        Answer::Empty,
        Answer::Html,
        Answer::ServerError,
        Answer::Truncated,
        Answer::HangUp,
        Answer::Body("[1, null, \"x\", {}]".into()),
    ] {
        lab.discovery.set_answer(lie);
        lab.wait_fetches(2).await;
    }
    lab.discovery.set_answer(Answer::List);
    let text = lab.text();
    for (id, url) in [
        ("x\n    server evil 127.0.0.1:1", "http://127.0.0.1:9"),
        (
            "x; shutdown sessions server ws_backend/node1",
            "http://127.0.0.1:9",
        ),
        ("x y", "http://127.0.0.1:9"),
        ("<script>", "http://127.0.0.1:9"),
        ("evil", "http://127.0.0.1:9\n    server evil 127.0.0.1:1"),
        ("evil", "http://127.0.0.1:9;del server ws_backend/hand"),
        ("evil", "http://169.254.169.254/"),
        ("evil", "file:///etc/passwd"),
    ] {
        lab.discovery.add_entry(id, url);
    }
    lab.wait_fetches(3).await;
    swarm.echo_all().await;
    swarm.assert_whole();
    assert_eq!(lab.text(), text);
    assert_eq!(
        lab.table().await.servers("ws_backend"),
        ["hand", "node1", "node2"]
    );

    // A node that is called like a server somebody has written is another server.
    let newcomer = Node::start("hand").await;
    lab.discovery
        .list(&[&lab.nodes[0], &lab.nodes[1], &newcomer]);
    lab.wait_up("hand-2").await;
    lab.wait("hand", "DOWN").await;
    lab.wait_block(&["hand-2", "node1", "node2"]).await;
    lab.assert_valid();
}

#[tokio::test]
async fn a_haproxy_that_is_killed_comes_back_with_its_fleet() {
    let mut lab = Lab::updated(2, BACKEND, &["--haproxy-config", "<dir>/haproxy.cfg"]).await;
    lab.wait_block(&["node1", "node2"]).await;
    let before = lab.text();
    lab.assert_valid();
    let kept = std::fs::read_to_string(lab.folder.path().join("haproxy.cfg.before-tidegate"));
    assert!(block(&kept.unwrap()).is_empty());

    // While it is away nothing is forgotten.
    lab.kill_haproxy().await;
    lab.wait_metric("tidegate_haproxy_failures_total", 1.0)
        .await;
    lab.updater()
        .wait_for_line(&["WARNING", "nothing is changed meanwhile"])
        .await;
    assert_eq!(
        http::get(lab.admin.address(), "/health")
            .await
            .unwrap()
            .status,
        503
    );
    let page = http::get(lab.admin.address(), "/stats")
        .await
        .unwrap()
        .text();
    assert!(page.contains("does not answer"), "{page}");
    lab.wait_fetches(2).await;
    assert_eq!(lab.text(), before);

    // It comes back with the nodes, and the updater knows them again.
    lab.updater = None;
    lab.start_haproxy().await;
    let (mut socket, _) = WebSocket::open_greeted(&lab.target()).await.unwrap();
    socket.echo("served at once").await.unwrap();
    lab.start_updater();
    lab.wait_metric("tidegate_discovery_fetches_total", 3.0)
        .await;
    assert_eq!(
        lab.metrics()
            .await
            .sum("tidegate_discovery_changes_total", &[]),
        Some(0.0)
    );
    assert_eq!(lab.text(), before);

    // What the file brought in leaves like everything else.
    lab.list(&[0]);
    lab.wait_block(&["node1"]).await;
    socket.echo("still here").await.ok();
    drop(socket);
    lab.wait("node2", "gone").await;
    lab.assert_valid();
}

#[tokio::test]
async fn a_node_that_is_pushed_is_in_haproxy_when_the_answer_comes() {
    let mut lab = Lab::new(1, BACKEND).await;
    lab.interval = Some("1h");
    lab.start_updater();
    lab.wait_up("node1").await;
    let newcomer = Node::start("newcomer").await;
    let url = newcomer.url();
    let push = async |key: &str| {
        let body = format!(r#"{{"action":"add","id":"newcomer","url":"{url}"}}"#);
        let mut client = testkit::Client::plain(lab.admin.address()).await;
        let length = body.len();
        let head = format!("POST /nodes HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n");
        client
            .send(format!("{head}Content-Length: {length}\r\n\r\n{body}"))
            .await;
        client.response_to("POST").await.unwrap()
    };
    assert_eq!(push("wrong").await.status, 401);
    assert!(!lab.ask("show servers state").await.contains("newcomer"));
    let answer = push(testkit::discovery::API_KEY).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(lab.ask("show servers state").await.contains("newcomer"));
    lab.wait_up("newcomer").await;
    assert_eq!(lab.discovery.fetches(), 1);
}

#[tokio::test]
async fn a_node_that_nobody_can_stand_in_for_stays_in_haproxy_and_in_the_file() {
    let mut lab = Lab::updated(2, BACKEND, &["--haproxy-config", "<dir>/haproxy.cfg"]).await;
    lab.wait_block(&["node1", "node2"]).await;
    lab.nodes[0].crash().await;
    lab.wait("node1", "DOWN").await;
    lab.list(&[0]);
    lab.wait_fetches(3).await;
    lab.wait_up("node2").await;
    assert_eq!(block(&lab.text()), ["node1", "node2"]);
    lab.nodes[0].restart().await;
    lab.wait("node2", "gone").await;
    lab.wait_block(&["node1"]).await;
    lab.assert_valid();
}

#[tokio::test]
async fn an_updater_that_starts_without_discovery_takes_nobody_away() {
    let hand = Node::start("hand").await;
    let backend = format!("{BACKEND}    server hand {} check\n", hand.address());
    let mut lab = Lab::updated(2, &backend, &[]).await;
    let mut swarm = Swarm::open(&lab.target(), 9).await;
    lab.updater = None;
    lab.discovery.set_answer(Answer::ServerError);
    lab.start_updater();
    lab.wait_fetches(3).await;
    lab.wait_metric("tidegate_discovery_failures_total", 2.0)
        .await;
    let table = lab.table().await;
    for node in ["node1", "node2"] {
        assert_eq!(table.get("ws_backend", node, "status"), "UP");
    }
    swarm.echo_all().await;
    swarm.assert_whole();
}

#[tokio::test]
async fn a_haproxy_that_hangs_or_is_reloaded_by_somebody_else_is_waited_for() {
    let mut lab = Lab::updated(2, BACKEND, &["--haproxy-config", "<dir>/haproxy.cfg"]).await;
    lab.wait_block(&["node1", "node2"]).await;
    let mut swarm = Swarm::open(&lab.target(), 9).await;
    let pid = lab.ask("show info").await;
    let pid = pid
        .lines()
        .find_map(|line| line.strip_prefix("Pid: "))
        .unwrap();
    let worker = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(worker, Signal::SIGSTOP).unwrap();
    lab.updater().wait_for_line(&["no answer within 5 s"]).await;
    nix::sys::signal::kill(worker, Signal::SIGCONT).unwrap();
    lab.updater().wait_for_line(&["can be seen again"]).await;
    swarm.echo_all().await;
    swarm.assert_whole();

    // Reloaded, it has what the file has; a node that came just then is added again.
    lab.haproxy.as_ref().unwrap().signal(Signal::SIGUSR2);
    let newcomer = Node::start("newcomer").await;
    lab.discovery
        .list(&[&lab.nodes[0], &lab.nodes[1], &newcomer]);
    lab.wait_up("newcomer").await;
    lab.wait_block(&["newcomer", "node1", "node2"]).await;
    swarm.echo_all().await;
    swarm.assert_whole();
    lab.updater = None;
}

#[tokio::test]
async fn slots_of_a_server_template_are_filled_where_servers_cannot_be_added() {
    let backend = "    balance source\n    option httpchk GET /health\n    timeout check 3s\n    \
                   server-template slot 3 127.0.0.1:1 check inter 100ms fall 2 rise 1 disabled\n";
    let lab = Lab::new(2, backend).await;
    let mut lab = lab;
    lab.flags = vec![
        "--haproxy-config".into(),
        lab.config().display().to_string(),
    ];
    lab.start_updater();
    lab.wait_up("slot1").await;
    lab.wait_up("slot2").await;
    lab.wait("slot3", "MAINT").await;
    let mut swarm = Swarm::open(&lab.target(), 4).await;
    swarm.echo_all().await;
    swarm.assert_whole();
    // The one that the sockets are not on leaves, and another comes.
    let idle = usize::from(swarm.on("node1") > 0);
    lab.list(&[1 - idle]);
    wait_until("a slot to be free again", PATIENCE, async || {
        let table = lab.table().await;
        let free = |slot: &&str| table.get("ws_backend", slot, "status").starts_with("MAINT");
        or_seen(["slot1", "slot2"].iter().any(free), "none")
    })
    .await;
    let newcomer = Node::start("newcomer").await;
    lab.discovery.list(&[&lab.nodes[1 - idle], &newcomer]);
    wait_until("two slots to be UP", PATIENCE, async || {
        let table = lab.table().await;
        let up = |slot: &&&str| table.get("ws_backend", slot, "status") == "UP";
        let up = ["slot1", "slot2", "slot3"].iter().filter(up).count();
        or_seen(up == 2, up)
    })
    .await;
    swarm.echo_all().await;
    swarm.assert_whole();
    // The file has servers, which need no slot when HAProxy starts again.
    let kept = format!("node{}", 2 - idle);
    lab.wait_block(&["newcomer", &kept]).await;
    lab.assert_valid();
    lab.kill_haproxy().await;
    lab.start_haproxy().await;
    lab.wait_up("newcomer").await;
    lab.wait_up(&kept).await;
}

#[tokio::test]
async fn only_what_can_get_in_no_other_way_is_reloaded() {
    let backend = "    balance source\n    option httpchk GET /health\n    timeout check 3s\n    \
                   default-server inter 100ms fall 2 rise 1\n";
    let mut lab = Lab::new(2, backend).await;
    let config = lab.config().display().to_string();
    let master = lab.fill("unix:<dir>/m");
    lab.flags = vec![
        "--haproxy-config".into(),
        config,
        "--master-socket".into(),
        master,
    ];
    lab.start_updater();
    lab.wait_up("node1").await;
    lab.wait_up("node2").await;
    lab.wait_metric("tidegate_haproxy_reloads_total", 1.0).await;
    let mut swarm = Swarm::open(&lab.target(), 4).await;
    swarm.echo_all().await;
    // Who leaves needs no reload.
    let idle = usize::from(swarm.on("node1") > 0);
    lab.list(&[1 - idle]);
    lab.wait(&format!("node{}", idle + 1), "gone").await;
    swarm.echo_all().await;
    swarm.assert_whole();
    assert_eq!(
        lab.metrics()
            .await
            .sum("tidegate_haproxy_reloads_total", &[]),
        Some(1.0)
    );
    lab.assert_valid();
}

#[tokio::test]
async fn nodes_that_want_tls_are_spoken_to_by_tls() {
    let authority = testkit::Authority::new();
    let config = "<dir>/haproxy.cfg";
    let flags = [
        "--server-options",
        "verify none",
        "--haproxy-config",
        config,
    ];
    let lab = Lab::updated(1, BACKEND, &flags).await;
    let secure = Node::start_tls("secure", &authority).await;
    lab.discovery.list(&[&secure]);
    lab.wait_up("secure").await;
    lab.wait("node1", "gone").await;
    lab.wait_block(&["secure"]).await;
    lab.assert_valid();
    let (mut socket, greeting) = WebSocket::open_greeted(&lab.target()).await.unwrap();
    assert!(greeting.contains("secure"), "{greeting}");
    socket.echo("through TLS").await.unwrap();
}

/// A program that checks like HAProxy once the file `go` is there.
fn gate(folder: &Path) -> PathBuf {
    let path = folder.join("gate");
    let script = format!(
        "#!/bin/sh\ntouch {dir}/asked\nwhile [ ! -e {dir}/go ]; do sleep 0.02; done\nexec {} \"$@\"\n",
        haproxy().display(),
        dir = folder.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn an_updater_killed_while_it_writes_the_file_leaves_a_whole_one() {
    let mut lab = Lab::new(2, BACKEND).await;
    let before = lab.text();
    let gate = gate(lab.folder.path()).display().to_string();
    let config = lab.config().display().to_string();
    lab.flags = vec![
        "--haproxy-config".into(),
        config,
        "--haproxy-binary".into(),
        gate,
    ];
    lab.start_updater();
    let asked = lab.folder.path().join("asked");
    wait_until("a check of the candidate", PATIENCE, async || {
        or_seen(asked.exists(), lab.updater().output())
    })
    .await;
    lab.updater().signal(Signal::SIGKILL);
    lab.updater.as_mut().unwrap().wait_exit().await;
    assert_eq!(lab.text(), before);
    lab.assert_valid();
    std::fs::write(lab.folder.path().join("go"), "").unwrap();
    lab.updater = None;
    lab.start_updater();
    lab.wait_block(&["node1", "node2"]).await;
    // Killed again and again while nodes come and go: whatever the moment, the file is whole.
    for round in 0..12_u64 {
        let which: &[usize] = if round % 2 == 0 { &[0] } else { &[0, 1] };
        lab.list(which);
        let steps = lab.discovery.fetches();
        wait_until("some way into its work", PATIENCE, async || {
            let done = lab.discovery.fetches() as u64;
            or_seen(done > steps as u64 + round % 4, done)
        })
        .await;
        lab.updater().signal(Signal::SIGKILL);
        lab.updater.as_mut().unwrap().wait_exit().await;
        lab.assert_valid();
        lab.updater = None;
        lab.start_updater();
    }
    lab.list(&[0, 1]);
    lab.wait_block(&["node1", "node2"]).await;
    wait_until("no leftovers", PATIENCE, async || {
        let names = std::fs::read_dir(lab.folder.path()).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left = names.find(|name| name.contains(".tidegate-"));
        or_seen(left.is_none(), format!("{left:?}"))
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_is_done() {
    let run = |arguments: &[&str], url: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .arg("updater")
            .args(arguments)
            .env("WS_UPDATES_URL", url);
        let output = command.env_remove("API_KEY").output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&[], "");
    assert!(said.contains("--haproxy-socket is missing"), "{said}");
    let socket = ["--haproxy-socket", "unix:/nowhere", "--listen", "none"];
    let said = run(&socket, "");
    assert!(said.contains("WS_UPDATES_URL is not set"), "{said}");
    let said = run(&socket, "ftp://x");
    assert!(said.contains("WS_UPDATES_URL is \"ftp://x\""), "{said}");
    let mut all = socket.to_vec();
    all.extend([
        "--drain",
        "soon",
        "--haproxy-config",
        "/nowhere.cfg",
        "--master-socket",
        "x",
    ]);
    let said = run(&all, "http://127.0.0.1:1");
    for part in ["drain", "/nowhere.cfg", "--master-socket x"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
