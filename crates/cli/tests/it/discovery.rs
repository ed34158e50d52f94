//! The fleet, live: nodes join and leave under open WebSockets, and whatever the discovery service
//! does, what works goes on working.

use std::time::Duration;

use testkit::balancer::Setup;
use testkit::discovery::{API_KEY, Answer};
use testkit::websocket::Target;
use testkit::{Balancer, Discovery, LogSink, Node, PATIENCE, Swarm, WebSocket, wait_until};

use crate::support::{is_haproxy, setup};

const CONFIG: &str = "
frontend fe
    bind 127.0.0.1:<port:http>
    stats enable
    stats uri /stats
    http-request use-service prometheus-exporter if { path /metrics }
    default_backend ws_backend
backend ws_backend
    balance roundrobin
    option httpchk GET /health
    retries 3
    option redispatch 1
    timeout check 3s
    default-server inter 100ms fall 2 rise 1
.if feature(TIDEGATE)
discovery
    state-file <dir>/state/nodes.json
<more>
.endif
";

fn prepare(log: &LogSink, discovery: &Discovery) -> Setup {
    let setup = setup(log, CONFIG)
        .set("more", "")
        .variables(discovery.environment());
    std::fs::create_dir(setup.folder().join("state")).unwrap();
    setup
}

struct Lab {
    log: LogSink,
    discovery: Discovery,
    nodes: Vec<Node>,
    balancer: Balancer,
}

impl Lab {
    /// `count` nodes, all found and UP.
    async fn new(count: usize) -> Self {
        Self::with(count, "").await
    }

    /// The same with more in section `discovery`.
    async fn with(count: usize, more: &str) -> Self {
        let log = LogSink::start().await;
        let nodes = Node::start_many(count).await;
        let listed: Vec<&Node> = nodes.iter().collect();
        let discovery = Discovery::start(&listed).await;
        let setup = prepare(&log, &discovery).set("more", more);
        let balancer = setup.start().await;
        let lab = Self {
            log,
            discovery,
            nodes,
            balancer,
        };
        for node in &lab.nodes {
            lab.wait_up(node.id()).await;
        }
        lab
    }

    async fn wait_up(&self, node: &str) {
        self.balancer
            .wait_status("http", "ws_backend", node, "UP")
            .await;
    }

    fn target(&self) -> Target {
        Target::plain(self.balancer.address("http"))
    }

    /// Waits until the service was asked that many times more.
    async fn wait_fetches(&self, more: usize) {
        let goal = self.discovery.fetches() + more;
        wait_until("more fetches", PATIENCE, async || {
            let fetches = self.discovery.fetches();
            testkit::wait::or_seen(fetches >= goal, format!("{fetches} of {goal}"))
        })
        .await;
    }

    fn list(&self, which: &[usize]) {
        let nodes: Vec<&Node> = which.iter().map(|index| &self.nodes[*index]).collect();
        self.discovery.list(&nodes);
    }

    /// Every listed node is still a server, UP, and new WebSockets open.
    async fn assert_serves(&self, what: &str) {
        // A busy machine may miss a check; that is no answer's doing, and passes.
        wait_until("every node to be UP", PATIENCE, async || {
            let table = self.balancer.stats("http").await;
            let status = |node: &Node| {
                let status = table.try_get("ws_backend", node.id(), "status");
                format!("{}: {}", node.id(), status.unwrap_or("gone"))
            };
            let seen: Vec<String> = self.nodes.iter().map(status).collect();
            assert!(
                !seen.iter().any(|node| node.ends_with("gone")),
                "{what}: {seen:?}"
            );
            testkit::wait::or_seen(
                seen.iter().all(|node| node.ends_with(": UP")),
                seen.join(", "),
            )
        })
        .await;
        let (mut socket, _) = WebSocket::open_greeted(&self.target())
            .await
            .unwrap_or_else(|error| panic!("{what}: {error:#}"));
        socket.echo("new ones open").await.unwrap();
    }
}

#[tokio::test]
async fn nodes_join_and_leave_under_a_thousand_websockets() {
    if is_haproxy() {
        return;
    }
    let mut lab = Lab::new(5).await;
    lab.list(&[0, 1, 2]);
    let mut swarm = Swarm::open(&lab.target(), 1000).await;
    swarm.echo_all().await;
    swarm.assert_whole();

    // Two join: new sockets reach them, nobody else notices.
    lab.list(&[0, 1, 2, 3, 4]);
    lab.wait_up("node4").await;
    lab.wait_up("node5").await;
    let mut late = Swarm::open(&lab.target(), 50).await;
    assert!(
        late.on("node4") > 0 && late.on("node5") > 0,
        "{:?}",
        late.by_node()
    );
    swarm.echo_all().await;
    swarm.assert_whole();

    // One leaves the list: it takes nothing new, and keeps what it has.
    lab.list(&[0, 1, 3, 4]);
    wait_until("node3 to take nothing new", PATIENCE, async || {
        let more = Swarm::open(&lab.target(), 10).await;
        testkit::wait::or_seen(more.on("node3") == 0, format!("{:?}", more.by_node()))
    })
    .await;
    swarm.echo_all().await;
    late.echo_all().await;
    swarm.assert_whole();
    late.assert_whole();

    // One dies: its own sockets end, no other.
    lab.nodes[1].crash().await;
    swarm.echo_all().await;
    late.echo_all().await;
    assert_eq!(swarm.lost_elsewhere("node2").len(), 0);
    assert_eq!(late.lost_elsewhere("node2").len(), 0);
    lab.log.wait_for(&["Server ws_backend/node2 is DOWN"]).await;

    // And all of it back and forth a few times.
    for which in [&[0, 2, 4][..], &[0, 1, 2, 3, 4], &[2, 3], &[0, 1, 2, 3, 4]] {
        lab.list(which);
        lab.wait_fetches(3).await;
        swarm.echo_all().await;
        assert_eq!(
            swarm.lost_elsewhere("node2").len(),
            0,
            "{:?}",
            swarm.lost_elsewhere("node2")[0]
        );
    }
}

#[tokio::test]
async fn a_node_that_left_is_removed_when_its_last_websocket_ends() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(3).await;
    let mut swarm = Swarm::open(&lab.target(), 9).await;
    lab.list(&[0, 1]);
    lab.wait_fetches(3).await;
    let servers = lab.balancer.stats("http").await;
    assert!(servers.servers("ws_backend").contains(&"node3"));
    swarm.echo_all().await;
    swarm.assert_whole();
    drop(swarm);
    wait_until("node3 to be gone", PATIENCE, async || {
        let table = lab.balancer.stats("http").await;
        let servers = table.servers("ws_backend");
        testkit::wait::or_seen(!servers.contains(&"node3"), format!("{servers:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_failed_node_triggers_a_fetch() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let mut nodes = Node::start_many(2).await;
    let discovery = Discovery::start(&[&nodes[0], &nodes[1]]).await;
    let balancer = prepare(&log, &discovery)
        .variable("UPDATE_INTERVAL", "60s")
        .start()
        .await;
    for node in ["node1", "node2"] {
        balancer.wait_status("http", "ws_backend", node, "UP").await;
    }
    let before = discovery.fetches();
    nodes[0].crash().await;
    log.wait_for(&["Server ws_backend/node1 is DOWN"]).await;
    wait_until("a fetch far before its time", PATIENCE, async || {
        let now = discovery.fetches();
        testkit::wait::or_seen(now > before, now)
    })
    .await;
}

/// One lie: everything is as before but for a warning, and the truth is believed again after.
async fn check_lie(lie: Answer) {
    if is_haproxy() {
        return;
    }
    let what = format!("{lie:?}");
    let lab = Lab::new(3).await;
    let mut swarm = Swarm::open(&lab.target(), 12).await;
    let before = lab.balancer.lines().len();
    lab.discovery.set_answer(lie);
    lab.wait_fetches(3).await;
    lab.assert_serves(&what).await;
    swarm.echo_all().await;
    swarm.assert_whole();
    lab.balancer
        .wait_for_line_after(before, &["[WARNING]"])
        .await;
    let failures = lab.balancer.metrics("http").await;
    let failures = failures.sum("tidegate_discovery_failures_total", &[]);
    assert!(failures > Some(0.0), "{what}: {failures:?}");

    lab.discovery.set_answer(Answer::List);
    let newcomer = Node::start("newcomer").await;
    let mut all: Vec<&Node> = lab.nodes.iter().collect();
    all.push(&newcomer);
    lab.discovery.list(&all);
    lab.wait_up("newcomer").await;
    swarm.echo_all().await;
    swarm.assert_whole();
}

#[tokio::test]
async fn an_empty_list_empties_nothing() {
    check_lie(Answer::Empty).await;
}

#[tokio::test]
async fn html_is_no_list() {
    check_lie(Answer::Html).await;
}

#[tokio::test]
async fn a_huge_answer_is_not_swallowed() {
    check_lie(Answer::Huge(8_000_000)).await;
}

#[tokio::test]
async fn an_unauthorized_answer_changes_nothing() {
    check_lie(Answer::Unauthorized).await;
}

#[tokio::test]
async fn a_server_error_changes_nothing() {
    check_lie(Answer::ServerError).await;
}

#[tokio::test]
async fn a_truncated_list_is_not_half_believed() {
    check_lie(Answer::Truncated).await;
}

#[tokio::test]
async fn an_object_is_no_list() {
    check_lie(Answer::NotAnArray).await;
}

#[tokio::test]
async fn a_nested_bomb_does_not_go_off() {
    check_lie(Answer::NestedBomb).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    check_lie(Answer::Redirect).await;
}

#[tokio::test]
async fn a_hung_up_connection_changes_nothing() {
    check_lie(Answer::HangUp).await;
}

#[tokio::test]
async fn a_list_of_nonsense_changes_nothing() {
    check_lie(Answer::Body("[1, null, \"x\", [], {}]".into())).await;
}

#[tokio::test]
async fn a_silent_service_is_given_up_on() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(2).await;
    lab.discovery.set_answer(Answer::Silence);
    let before = lab.balancer.lines().len();
    // The contract gives a fetch five seconds.
    lab.balancer
        .wait_for_line_after(before, &["[WARNING]"])
        .await;
    lab.assert_serves("silence").await;
    lab.discovery.set_answer(Answer::List);
    lab.wait_fetches(2).await;
}

#[tokio::test]
async fn a_dead_service_changes_nothing() {
    if is_haproxy() {
        return;
    }
    let mut lab = Lab::new(3).await;
    let mut swarm = Swarm::open(&lab.target(), 12).await;
    let before = lab.balancer.lines().len();
    lab.discovery.stop().await;
    lab.balancer
        .wait_for_line_after(before, &["[WARNING]"])
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    lab.assert_serves("dead").await;
    swarm.echo_all().await;
    swarm.assert_whole();
    lab.discovery.restart().await;
    lab.wait_fetches(2).await;
    lab.assert_serves("back again").await;
}

#[tokio::test]
async fn a_list_that_drops_most_nodes_must_be_told_twice() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(4).await;
    let mut swarm = Swarm::open(&lab.target(), 12).await;
    lab.list(&[0]);
    lab.wait_fetches(4).await;
    // Confirmed by now: the others are drained, and still nobody is cut.
    wait_until("new ones on node1 alone", PATIENCE, async || {
        let more = Swarm::open(&lab.target(), 5).await;
        testkit::wait::or_seen(more.on("node1") == 5, format!("{:?}", more.by_node()))
    })
    .await;
    swarm.echo_all().await;
    swarm.assert_whole();
}

#[tokio::test]
async fn websockets_of_a_node_that_leaves_are_told_so_within_the_drain_period() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::with(3, "    drain 300ms").await;
    let mut open = Vec::new();
    for _ in 0..12 {
        open.push(WebSocket::open_greeted(&lab.target()).await.unwrap());
    }
    lab.list(&[0, 1]);
    for (socket, node) in &mut open {
        if node == "node3" {
            assert_eq!(socket.ended().await.unwrap(), Some(1012));
        }
    }
    lab.balancer.wait_for_line(&["Fleet: remove node3"]).await;
    for (socket, _) in open.iter_mut().filter(|(_, node)| node != "node3") {
        socket.echo("still here").await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_that_is_the_balancer_itself_never_gets_a_request() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(2).await;
    let own = format!("http://{}", lab.balancer.address("http"));
    lab.discovery.add_entry("self", own.as_str());
    lab.balancer.wait_for_line(&["Fleet: add", "self"]).await;
    lab.wait_fetches(3).await;
    wait_until("a check of it to fail", PATIENCE, async || {
        let table = lab.balancer.stats("http").await;
        let code = table
            .try_get("ws_backend", "self", "check_status")
            .unwrap_or("-")
            .to_owned();
        testkit::wait::or_seen(code == "L4CON", code)
    })
    .await;
    lab.assert_serves("beside an entry that is ourselves").await;
}

#[tokio::test]
async fn hostile_entries_are_left_out_one_by_one() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(2).await;
    let good = lab.nodes[0].url();
    for id in [
        "evil\nserver x 1.2.3.4:80",
        "with space",
        "quo\"te",
        "<script>alert(1)</script>",
        "semi;colon",
        "",
        "comma,comma",
        "BACKEND",
        "\u{0}",
        "../../etc/passwd",
        &"x".repeat(10_000),
    ] {
        lab.discovery.add_entry(id, good.as_str());
    }
    for (id, url) in [
        ("ftp", "ftp://10.0.0.1:21"),
        ("port0", "http://10.0.0.1:0"),
        ("port99999", "http://10.0.0.1:99999"),
        ("newline", "http://10.0.0.1:80\r\nX: y"),
        ("nothing", ""),
        ("file", "file:///etc/passwd"),
        ("password", "http://user:secret@10.0.0.1:80"),
    ] {
        lab.discovery.add_entry(id, url);
    }
    lab.discovery.add_entry(7, good.as_str());
    lab.discovery.add_entry("nourl", serde_json::Value::Null);
    lab.discovery.add_entry("node1", "http://127.0.0.1:1");
    lab.wait_fetches(3).await;
    lab.assert_serves("hostile entries").await;
    let table = lab.balancer.stats("http").await;
    for server in table.servers("ws_backend") {
        let plain = server
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
        assert!(plain && server.len() <= 256, "{server:?}");
    }
    let page = testkit::http::get(lab.balancer.address("http"), "/stats").await;
    assert!(!page.unwrap().text().contains("<script>alert(1)"));
    let skipped = lab.balancer.metrics("http").await;
    let skipped = skipped.sum("tidegate_discovery_skipped_entries_total", &[]);
    assert!(skipped >= Some(15.0), "{skipped:?}");
    for line in lab.balancer.lines() {
        assert!(line.len() < 2_000, "a line of {} bytes", line.len());
    }
}

#[tokio::test]
async fn the_last_good_list_survives_a_restart_with_discovery_down() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let nodes = Node::start_many(2).await;
    let mut discovery = Discovery::start(&[&nodes[0], &nodes[1]]).await;
    let kept = tempfile::tempdir().unwrap();
    let state = kept.path().join("nodes.json");
    let prepare = |discovery: &Discovery| {
        let config = CONFIG.replace("<dir>/state/nodes.json", &state.display().to_string());
        setup(&log, &config)
            .set("more", "")
            .variables(discovery.environment())
    };
    let first = prepare(&discovery).start().await;
    first.wait_status("http", "ws_backend", "node2", "UP").await;
    wait_until("the state file", PATIENCE, async || {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        testkit::wait::or_seen(text.contains("node2"), text)
    })
    .await;
    drop(first);
    discovery.stop().await;
    let second = prepare(&discovery).start().await;
    for node in ["node1", "node2"] {
        second.wait_status("http", "ws_backend", node, "UP").await;
    }
    let swarm = Swarm::open(&Target::plain(second.address("http")), 4).await;
    assert_eq!((swarm.on("node1"), swarm.on("node2")), (2, 2));
    assert!(!std::fs::read_to_string(&state).unwrap().contains(API_KEY));
}

#[tokio::test]
async fn a_start_without_discovery_and_without_a_state_file_recovers_when_it_comes() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let node = Node::start("node1").await;
    let mut discovery = Discovery::stopped(&[&node]);
    let balancer = prepare(&log, &discovery).start().await;
    let address = balancer.address("http");
    let response = testkit::http::get(address, "/").await.unwrap();
    assert_eq!(response.status, 503);
    discovery.restart().await;
    balancer
        .wait_status("http", "ws_backend", "node1", "UP")
        .await;
    let response = testkit::http::get(address, "/").await.unwrap();
    assert_eq!(response.text(), "node1 GET /\n");
}

#[tokio::test]
async fn a_state_file_that_cannot_be_written_is_a_warning() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let node = Node::start("node1").await;
    let discovery = Discovery::start(&[&node]).await;
    let config = CONFIG.replace("<dir>/state/nodes.json", "<dir>/file/nodes.json");
    let balancer = setup(&log, &config)
        .set("more", "")
        .variables(discovery.environment())
        .file("file", "a folder cannot be where a file is")
        .start()
        .await;
    balancer.wait_for_line(&["[WARNING]", "nodes.json"]).await;
    balancer
        .wait_status("http", "ws_backend", "node1", "UP")
        .await;
    let response = testkit::http::get(balancer.address("http"), "/").await;
    assert_eq!(response.unwrap().text(), "node1 GET /\n");
}

#[tokio::test]
async fn the_key_is_shown_nowhere() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(1).await;
    let address = lab.balancer.address("http");
    lab.discovery.set_answer(Answer::Unauthorized);
    lab.wait_fetches(2).await;
    for path in ["/stats", "/stats;csv", "/metrics"] {
        let text = testkit::http::get(address, path).await.unwrap().text();
        assert!(!text.contains(API_KEY), "{path}");
    }
    assert!(!lab.balancer.output().contains(API_KEY));
    assert!(!lab.log.lines().join("\n").contains(API_KEY));
    let asked = &lab.discovery.requests()[0];
    assert_eq!(asked.get("x-api-key"), Some(API_KEY));
}

#[tokio::test]
async fn servers_of_the_file_stay_beside_discovered_ones() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let (own, found) = (Node::start("own").await, Node::start("found").await);
    let discovery = Discovery::start(&[&found]).await;
    let config = CONFIG.replace("    retries 3", "    server own <own> check\n    retries 3");
    let setup = setup(&log, &config)
        .set("more", "")
        .set("own", own.address())
        .variables(discovery.environment());
    std::fs::create_dir(setup.folder().join("state")).unwrap();
    let balancer = setup.start().await;
    for node in ["own", "found"] {
        balancer.wait_status("http", "ws_backend", node, "UP").await;
    }
    let swarm = Swarm::open(&Target::plain(balancer.address("http")), 4).await;
    assert_eq!((swarm.on("own"), swarm.on("found")), (2, 2));
}

#[tokio::test]
async fn the_lifecycle_is_told_in_log_and_metrics() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(1).await;
    testkit::http::get(lab.balancer.address("http"), "/")
        .await
        .unwrap();
    wait_until("Routing", PATIENCE, async || {
        let metrics = lab.balancer.metrics("http").await;
        let routing = metrics.sum("tidegate_lifecycle_state", &["state=\"Routing\""]);
        testkit::wait::or_seen(routing == Some(1.0), format!("{routing:?}"))
    })
    .await;
    for state in ["FetchingNodes", "HealthChecks", "Ready", "Routing"] {
        lab.log.wait_for(&[state]).await;
    }
}
