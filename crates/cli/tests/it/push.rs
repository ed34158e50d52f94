//! News of the fleet beside the polled list: pushed, streamed, and fetched when an operator says so.

use serde_json::{Value, json};
use testkit::discovery::API_KEY;
use testkit::websocket::Target;
use testkit::{Balancer, Client, Discovery, LogSink, Node, PATIENCE, Swarm, WebSocket, wait_until};

use crate::runtime_api::ask;
use crate::support::{is_haproxy, setup};

/// A list is fetched once, and then not for an hour: what changes meanwhile was not polled.
const CONFIG: &str = "
global
    stats socket <dir>/admin.sock level admin
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend ws_backend
frontend admin
    bind 127.0.0.1:<port:admin>
    stats enable
    stats uri /stats
    http-request use-service prometheus-exporter if { path /metrics }
.if feature(TIDEGATE)
    http-request use-service node-push if { path /fleet }
.endif
backend ws_backend
    balance roundrobin
    option httpchk GET /health
    default-server inter 100ms fall 2 rise 1
.if feature(TIDEGATE)
discovery
    interval <interval>
    stream <stream>
.endif
";

struct Lab {
    discovery: Discovery,
    nodes: Vec<Node>,
    balancer: Balancer,
    _log: LogSink,
}

impl Lab {
    /// `count` nodes, of which the first two are listed.
    async fn new(count: usize) -> Self {
        Self::with(count, "1h", "off", false).await
    }

    async fn with(count: usize, interval: &str, stream: &str, offers: bool) -> Self {
        let log = LogSink::start().await;
        let nodes = Node::start_many(count).await;
        let discovery = Discovery::start(&[&nodes[0], &nodes[1]]).await;
        if offers {
            discovery.offer_events();
        }
        let balancer = setup(&log, CONFIG)
            .set("interval", interval)
            .set("stream", stream)
            .variables(discovery.environment())
            .start()
            .await;
        let lab = Self {
            discovery,
            nodes,
            balancer,
            _log: log,
        };
        lab.wait_up("node1").await;
        lab.wait_up("node2").await;
        lab
    }

    async fn wait_up(&self, node: &str) {
        self.balancer
            .wait_status("admin", "ws_backend", node, "UP")
            .await;
    }

    /// Waits until these are all the servers there are.
    async fn wait_servers(&self, expected: &[&str]) {
        wait_until("the servers", PATIENCE, async || {
            let table = self.balancer.stats("admin").await;
            let mut servers = table.servers("ws_backend");
            servers.sort_unstable();
            testkit::wait::or_seen(servers == expected, format!("{servers:?}"))
        })
        .await;
    }

    async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let metrics = self.balancer.metrics("admin").await;
        metrics.sum(name, labels).unwrap_or_default()
    }

    /// Posts to the place for news, with these fields and the key.
    async fn push(&self, body: &str) -> (u16, Value) {
        self.post("/fleet", &format!("X-API-Key: {API_KEY}\r\n"), body)
            .await
    }

    async fn post(&self, path: &str, fields: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        );
        self.send(&request).await
    }

    async fn send(&self, request: &str) -> (u16, Value) {
        let mut client = Client::plain(self.balancer.address("admin")).await;
        client.send(request).await;
        let response = client.response().await.unwrap();
        let status = response.status;
        if response.head.get("content-type") != Some("application/json; charset=utf-8") {
            return (status, Value::Null);
        }
        (status, serde_json::from_str(&response.text()).unwrap())
    }

    fn target(&self) -> Target {
        Target::plain(self.balancer.address("http"))
    }

    fn change(&self, action: &str, node: usize) -> String {
        let node = &self.nodes[node];
        json!({"action": action, "id": node.id(), "url": node.url()}).to_string()
    }

    fn list(&self, which: &[usize]) -> String {
        let nodes = which.iter().map(|at| &self.nodes[*at]);
        let nodes = nodes.map(|node| json!({"id": node.id(), "url": node.url()}));
        Value::Array(nodes.collect()).to_string()
    }
}

#[tokio::test]
async fn what_is_pushed_is_in_force_under_open_websockets() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(4).await;
    let mut swarm = Swarm::open(&lab.target(), 200).await;
    let (status, told) = lab.push(&lab.change("add", 2)).await;
    assert_eq!(
        (status, &told["joined"]),
        (200, &json!(["node3"])),
        "{told}"
    );
    // It is a server when the answer is here, and gets sockets when it is up.
    assert!(
        lab.balancer
            .stats("admin")
            .await
            .servers("ws_backend")
            .contains(&"node3")
    );
    lab.wait_up("node3").await;
    let (status, told) = lab.push(&lab.list(&[0, 1, 2, 3])).await;
    assert_eq!(
        (status, &told["joined"]),
        (200, &json!(["node4"])),
        "{told}"
    );
    lab.wait_up("node4").await;
    let more = Swarm::open(&lab.target(), 40).await;
    assert!(
        more.on("node3") > 0 && more.on("node4") > 0,
        "{:?}",
        more.by_node()
    );
    drop(more);

    // One leaves: it drains, and nobody notices.
    let (status, told) = lab.push(r#"{"action":"remove","id":"node2"}"#).await;
    assert_eq!((status, &told["left"]), (200, &json!(["node2"])), "{told}");
    let late = Swarm::open(&lab.target(), 20).await;
    assert_eq!(late.on("node2"), 0);
    swarm.echo_all().await;
    swarm.assert_whole();
    assert!(swarm.on("node2") > 0);
    drop((swarm, late));
    lab.wait_servers(&["node1", "node3", "node4"]).await;

    let source = |word: &str| format!("source=\"{word}\"");
    assert_eq!(
        lab.metric("tidegate_discovery_last_change", &[&source("push")])
            .await,
        1.0
    );
    assert_eq!(
        lab.metric("tidegate_discovery_last_change", &[&source("poll")])
            .await,
        0.0
    );
    let changed = [&*source("push"), "result=\"changed\""];
    assert_eq!(
        lab.metric("tidegate_discovery_news_total", &changed).await,
        3.0
    );
    let page = testkit::http::get(lab.balancer.address("admin"), "/stats")
        .await
        .unwrap();
    assert!(
        page.text().contains(" ago, by push, in force after "),
        "{}",
        page.text()
    );
    assert_eq!(lab.discovery.fetches(), 1);
}

#[tokio::test]
async fn most_nodes_are_held_whether_they_go_at_once_or_one_by_one() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(4).await;
    assert_eq!(lab.push(&lab.list(&[0, 1, 2, 3])).await.0, 200);
    let (status, told) = lab.push(&lab.list(&[0])).await;
    assert_eq!((status, &told["changed"]), (202, &json!(false)), "{told}");
    let held = told["held"].as_str().unwrap();
    assert!(
        held.contains("misses 3 of 4 nodes (node2, node3, node4)"),
        "{held}"
    );
    // All four are there, and that is news, too.
    assert_eq!(lab.push(&lab.list(&[0, 1, 2, 3])).await.0, 200);
    for (node, expected) in [
        ("node1", 200),
        ("node2", 200),
        ("node3", 202),
        ("node4", 202),
    ] {
        let (status, told) = lab
            .push(&format!(r#"{{"action":"remove","id":"{node}"}}"#))
            .await;
        assert_eq!(status, expected, "{node}: {told}");
    }
    let (mut socket, _) = WebSocket::open_greeted(&lab.target()).await.unwrap();
    socket.echo("somebody is there").await.unwrap();
}

#[tokio::test]
async fn who_may_not_push_and_what_cannot_be_pushed_is_told() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(3).await;
    let good = lab.change("add", 2);
    let key = format!("X-API-Key: {API_KEY}\r\n");
    for (fields, body, status, word) in [
        ("", &*good, 401, "missing"),
        ("X-API-Key: wrong\r\n", &good, 401, "wrong"),
        ("X-API-Key:\r\n", &good, 401, "wrong"),
        (&format!("{key}{key}"), &good, 401, "more than once"),
        (&key, "", 400, "empty"),
        (&key, "[", 400, "cut off"),
        (&key, "nodes", 400, "neither a JSON array"),
        (&key, "<html>", 400, "HTML"),
        (&key, "{}", 400, "action"),
        (
            &key,
            r#"{"action":"add","id":"a\nb","url":"h"}"#,
            400,
            "the id has characters",
        ),
        (
            &key,
            r#"{"action":"add","id":"a","url":"ftp://h"}"#,
            400,
            "scheme",
        ),
        (
            &key,
            r#"{"action":"add","id":"node1","url":"h:1"}"#,
            409,
            "update",
        ),
        (
            &key,
            r#"{"action":"remove","id":"nobody"}"#,
            404,
            "no node is called nobody",
        ),
        (&key, "[]", 422, "no usable node"),
    ] {
        let (got, told) = lab.post("/fleet", fields, body).await;
        assert_eq!(got, status, "{fields}{body}: {told}");
        let why = told["error"].as_str().unwrap_or_default();
        assert!(why.contains(word), "{why}");
        assert!(!why.contains(API_KEY), "{why}");
    }
    let (status, told) = lab
        .send(&format!("GET /fleet HTTP/1.1\r\nHost: a\r\n{key}\r\n"))
        .await;
    assert_eq!(status, 405, "{told}");
    let huge = format!("POST /fleet HTTP/1.1\r\nHost: a\r\n{key}Content-Length: 99999999\r\n\r\n[");
    assert_eq!(lab.send(&huge).await.0, 413);
    // Nowhere but where the operator says.
    for path in ["/", "/nodes", "/fleet2", "/stats", "/metrics"] {
        let (_, told) = lab.post(path, &key, &good).await;
        assert!(told["joined"].is_null(), "{path}: {told}");
    }
    lab.wait_servers(&["node1", "node2"]).await;
    let refused = lab
        .metric(
            "tidegate_discovery_pushes_refused_total",
            &["cause=\"key\""],
        )
        .await;
    assert_eq!(refused, 4.0);
    // A body in chunks is one, and one that is asked for first.
    let chunked = format!(
        "POST /fleet HTTP/1.1\r\nHost: a\r\n{key}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n0\r\n\r\n",
        good.len()
    );
    let (status, told) = lab.send(&chunked).await;
    assert_eq!((status, &told["changed"]), (200, &json!(true)), "{told}");
}

#[tokio::test]
async fn a_flood_of_pushes_is_slowed_down_and_disturbs_nobody() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(3).await;
    let mut swarm = Swarm::open(&lab.target(), 50).await;
    let (add, remove) = (lab.change("add", 2), lab.change("remove", 2));
    let mut client = Client::plain(lab.balancer.address("admin")).await;
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for turn in 0..300 {
        let body = if turn % 2 == 0 { &add } else { &remove };
        let length = body.len();
        client
            .send(format!(
                "POST /fleet HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ))
            .await;
        let response = client.response().await.unwrap();
        if response.status == 429 {
            assert!(response.head.get("retry-after").is_some());
        }
        *statuses.entry(response.status).or_default() += 1;
    }
    assert!(
        statuses.get(&429).is_some_and(|count| *count > 50),
        "{statuses:?}"
    );
    swarm.echo_all().await;
    swarm.assert_whole();
}

#[tokio::test]
async fn an_operator_has_the_list_fetched_and_hears_what_changed() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new(3).await;
    let socket = lab.balancer.folder().join("admin.sock");
    assert_eq!(
        ask(&socket, "fetch nodes\n").await,
        "2 nodes; nothing changed\n\n"
    );
    let nodes: Vec<&Node> = lab.nodes.iter().collect();
    lab.discovery.list(&nodes);
    assert_eq!(
        ask(&socket, "fetch nodes\n").await,
        "3 nodes; joined: node3\n\n"
    );
    lab.wait_up("node3").await;
    lab.discovery.set_answer(testkit::discovery::Answer::Empty);
    let told = ask(&socket, "fetch nodes\n").await;
    assert_eq!(
        told,
        "Nothing was changed: the list names no usable node.\n\n"
    );
    assert_eq!(
        ask(&socket, "user;fetch nodes\n").await,
        "\nPermission denied\n\n"
    );
}

#[tokio::test]
async fn events_of_the_service_are_followed() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::with(4, "1h", "on", true).await;
    wait_until("the stream", PATIENCE, async || {
        let streams = lab.discovery.streams();
        testkit::wait::or_seen(streams == 1, streams)
    })
    .await;
    let head = &lab.discovery.stream_requests()[0];
    assert_eq!(head.get("x-api-key"), Some(API_KEY));
    let mut swarm = Swarm::open(&lab.target(), 50).await;
    let add = lab.change("add", 2);
    lab.discovery
        .send_events(&format!(": hello\n\nid: 7\ndata: {add}\n\n"));
    lab.wait_up("node3").await;
    let bare = json!({"id": "node4", "url": lab.nodes[3].url()});
    lab.discovery
        .send_events(&format!("event: add\nid: 8\ndata: {bare}\n\n"));
    lab.wait_up("node4").await;
    assert_eq!(lab.discovery.fetches(), 1, "nothing was polled");
    let stream = ["source=\"stream\""];
    assert_eq!(
        lab.metric("tidegate_discovery_last_change", &stream).await,
        1.0
    );
    assert_eq!(lab.metric("tidegate_discovery_stream_open", &[]).await, 1.0);

    // Cut off, it is opened again from where it was, and the list is fetched beside it.
    let nodes: Vec<&Node> = lab.nodes.iter().collect();
    lab.discovery.list(&nodes);
    lab.discovery.cut_streams();
    wait_until("another stream", PATIENCE, async || {
        let requests = lab.discovery.stream_requests();
        let last = requests
            .last()
            .and_then(|head| head.get("last-event-id"))
            .map(str::to_owned);
        let fetches = lab.discovery.fetches();
        testkit::wait::or_seen(
            last.as_deref() == Some("8") && fetches == 2,
            format!("{last:?} {fetches}"),
        )
    })
    .await;

    // What no list may do, no event may.
    lab.discovery
        .send_events("data: []\n\ndata: [{\"id\":\"x\"\n\ndata: {}\n\nevent: y\ndata: z\n\n");
    let one = lab.list(&[0]);
    lab.discovery.send_events(&format!("data: {one}\n\n"));
    wait_until("the list to be held", PATIENCE, async || {
        let waiting = lab.metric("tidegate_waiting", &[]).await;
        testkit::wait::or_seen(waiting > 0.0, waiting)
    })
    .await;
    swarm.echo_all().await;
    swarm.assert_whole();
    lab.wait_servers(&["node1", "node2", "node3", "node4"])
        .await;
}

#[tokio::test]
async fn whatever_a_stream_does_polling_goes_on() {
    if is_haproxy() {
        return;
    }
    for (hostile, comes_back) in [
        (String::new(), true),
        ("x".repeat(6 << 20), true),
        ("\0\r\n".repeat(10_000), true),
        ("id: 1\nretry: 0\n\n".to_owned(), true),
        // It is still being read.
        ("data: []\n\n".repeat(5_000), false),
    ] {
        let lab = Lab::with(3, "200ms", "on silence 300ms", true).await;
        wait_until("the stream", PATIENCE, async || {
            let requests = lab.discovery.stream_requests().len();
            testkit::wait::or_seen(requests > 0, requests)
        })
        .await;
        let mut swarm = Swarm::open(&lab.target(), 10).await;
        lab.discovery.send_events(&hostile);
        // Silent or not: it comes back for another one.
        wait_until("another stream", PATIENCE, async || {
            let requests = lab.discovery.stream_requests().len();
            testkit::wait::or_seen(requests > 1 || !comes_back, requests)
        })
        .await;
        let nodes: Vec<&Node> = lab.nodes.iter().collect();
        lab.discovery.list(&nodes);
        lab.wait_up("node3").await;
        swarm.echo_all().await;
        swarm.assert_whole();
    }
}

#[tokio::test]
async fn a_reload_decides_who_may_push_and_what_is_followed() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::with(3, "1h", "on", true).await;
    let streams = async |expected: usize| {
        wait_until("the streams", PATIENCE, async || {
            let streams = lab.discovery.streams();
            testkit::wait::or_seen(streams == expected, streams)
        })
        .await;
    };
    streams(1).await;
    let folder = lab.balancer.folder();
    let (file, socket) = (folder.join("haproxy.cfg"), folder.join("admin.sock"));
    let reload = async |from: &str, to: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let told = ask(&socket, "reload\n").await;
        assert!(told.starts_with("Success=1\n"), "{told}");
    };
    // What has nothing to do with it leaves the stream as it is.
    reload("interval 1h", "interval 2h").await;
    let add = lab.change("add", 2);
    lab.discovery.send_events(&format!("data: {add}\n\n"));
    lab.wait_up("node3").await;
    assert_eq!(lab.discovery.stream_requests().len(), 1);
    reload("stream on", "stream off").await;
    streams(0).await;
    reload(
        "defaults\n",
        "global\n    setenv API_KEY another\ndefaults\n",
    )
    .await;
    assert_eq!(lab.push(&lab.change("remove", 2)).await.0, 401);
    let (status, told) = lab
        .post("/fleet", "X-API-Key: another\r\n", &lab.change("remove", 2))
        .await;
    assert_eq!((status, &told["left"]), (200, &json!(["node3"])), "{told}");
}
