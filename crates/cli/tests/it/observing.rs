//! What sessions tell of their servers, what the end of a server means for its sessions, and servers
//! that have another one's state: `observe`, `on-marked-down`, `on-marked-up`, `track`.

use testkit::node::Health;
use testkit::websocket::Target;
use testkit::{Balancer, Client, LogSink, Node, PATIENCE, Swarm, Temper, WebSocket, wait_until};
use tokio::net::TcpListener;

use crate::support::{is_haproxy, one_backend, setup, shut_down, termination};

/// One server that is observed, its first check passed, and the next one far away.
async fn observed(log: &LogSink, node: &Node, params: &str) -> Balancer {
    let settings = "    option httpchk GET /health
    timeout server 300ms
    retries 0
    stats uri /stats
    default-server inter 20s fall 3 rise 2";
    let server = format!("n1 <n1> check {params}");
    let balancer = setup(log, &one_backend(settings, &[&server]))
        .set("n1", node.address())
        .start()
        .await;
    wait_until("the first check", PATIENCE, async || {
        let table = balancer.stats("http").await;
        let seen = table.get("be", "n1", "check_status").to_owned();
        testkit::wait::or_seen(seen == "L7OK", seen)
    })
    .await;
    balancer
}

async fn ask(balancer: &Balancer, times: usize) -> Vec<u16> {
    let mut seen = Vec::new();
    for _ in 0..times {
        let mut client = Client::plain(balancer.address("http")).await;
        seen.push(client.get("/x").await.unwrap().status);
    }
    seen
}

#[tokio::test]
async fn errors_in_a_row_take_a_server_down() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let params = "observe layer7 error-limit 3 on-error mark-down";
    let balancer = observed(&log, &node, params).await;
    node.set_temper(Temper::status(500));
    assert_eq!(ask(&balancer, 2).await, [500, 500]);
    node.set_temper(Temper::status(404));
    // No error of the server's: the row is broken.
    assert_eq!(ask(&balancer, 1).await, [404]);
    node.set_temper(Temper::status(500));
    assert_eq!(ask(&balancer, 4).await, [500, 500, 500, 503]);
    log.wait_for(&[
        "Server be/n1 is DOWN, reason: Health analyze, info: \"Detected 3 consecutive errors, \
         last one was: Wrong http response\". 0 active and 0 backup servers left. ",
    ])
    .await;
    let table = balancer.stats("http").await;
    let of = |column| table.get("be", "n1", column);
    assert_eq!(
        (of("hanafail"), of("chkfail"), of("chkdown")),
        ("1", "1", "1")
    );
    assert_eq!((of("status"), of("check_status")), ("DOWN", "HANA"));
}

/// What the log says of the error, when there is one.
async fn check_words(temper: Temper, layer: &str, words: &str) {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let params = format!("observe {layer} error-limit 1 on-error mark-down");
    let balancer = observed(&log, &node, &params).await;
    node.set_temper(temper);
    ask(&balancer, 1).await;
    log.wait_for(&[&format!("consecutive errors, last one was: {words}\"")])
        .await;
}

#[tokio::test]
async fn each_error_has_its_name() {
    check_words(
        Temper::CloseBeforeResponse,
        "layer7",
        "Close from server (http)",
    )
    .await;
    check_words(Temper::ResetBeforeResponse, "layer7", "Read error (http)").await;
    check_words(Temper::Hang, "layer7", "Read timeout (http)").await;
    check_words(
        Temper::garbage(),
        "layer7",
        "Invalid http response (headers)",
    )
    .await;
}

#[tokio::test]
async fn a_refused_connection_is_an_error_on_both_layers() {
    for layer in ["layer4", "layer7"] {
        let log = LogSink::start().await;
        let (mut node, health) = (Node::start("n1").await, Node::start("health").await);
        let params = format!(
            "observe {layer} error-limit 2 on-error mark-down port {}",
            health.address().port()
        );
        let balancer = observed(&log, &node, &params).await;
        assert_eq!(ask(&balancer, 1).await, [200]);
        node.stop().await;
        assert_eq!(ask(&balancer, 2).await, [503, 503]);
        log.wait_for(&["errors, last one was: L4 unsuccessful connection\""])
            .await;
    }
}

#[tokio::test]
async fn layer4_does_not_look_at_answers() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let params = "observe layer4 error-limit 1 on-error mark-down";
    let balancer = observed(&log, &node, params).await;
    node.set_temper(Temper::status(500));
    assert_eq!(ask(&balancer, 3).await, [500, 500, 500]);
    let table = balancer.stats("http").await;
    assert_eq!(table.get("be", "n1", "hanafail"), "0");
}

/// How a server stands after one error too many.
async fn check_on_error(on_error: &str, status: &str) {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let params = format!("observe layer7 error-limit 2 on-error {on_error}");
    let balancer = observed(&log, &node, &params).await;
    node.set_temper(Temper::status(503));
    ask(&balancer, 2).await;
    let table = balancer.stats("http").await;
    assert_eq!(table.get("be", "n1", "status"), status, "{on_error}");
    assert_eq!(table.get("be", "n1", "hanafail"), "1", "{on_error}");
}

#[tokio::test]
async fn what_one_error_too_many_means_is_configured() {
    check_on_error("fastinter", "UP").await;
    check_on_error("fail-check", "UP 2/3").await;
    check_on_error("sudden-death", "UP 1/3").await;
    check_on_error("mark-down", "DOWN").await;
}

const QUICK: &str = "    option httpchk GET /health
    default-server inter 100ms fall 2 rise 2";

/// Two nodes; sessions end with the servers they are on where the settings say so.
struct Two {
    log: LogSink,
    nodes: Vec<Node>,
    balancer: Balancer,
}

impl Two {
    async fn start(settings: &str, params: [&str; 2]) -> Self {
        let log = LogSink::start().await;
        let nodes = Node::start_many(2).await;
        let servers = [
            format!("node1 <node1> check {}", params[0]),
            format!("node2 <node2> check {}", params[1]),
        ];
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let settings = format!("{QUICK}\n{settings}");
        let balancer = setup(&log, &one_backend(&settings, &servers))
            .set("node1", nodes[0].address())
            .set("node2", nodes[1].address())
            .start()
            .await;
        Self {
            log,
            nodes,
            balancer,
        }
    }

    async fn take_down(&self, node: usize) {
        self.nodes[node].set_health(Health::Status(503));
        let id = self.nodes[node].id();
        self.log
            .wait_for(&[&format!("Server be/{id} is DOWN")])
            .await;
    }

    /// A request of which nothing more comes, at the node that answers it like this.
    async fn stuck(&self, temper: Temper) -> (Client, usize) {
        for node in &self.nodes {
            node.set_temper(temper.clone());
        }
        let mut client = Client::plain(self.balancer.address("http")).await;
        client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let count = |node: &Node| node.requests().len();
        wait_until("the request at a node", PATIENCE, async || {
            let seen: usize = self.nodes.iter().map(count).sum();
            testkit::wait::or_seen(seen == 1, seen)
        })
        .await;
        let at = self.nodes.iter().position(|node| count(node) == 1);
        (client, at.unwrap())
    }
}

#[tokio::test]
async fn an_idle_connection_that_has_ended_is_no_error_of_its_server() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(Temper::OneAnswer);
    let settings = "    default-server check inter 60s observe layer7 error-limit 1 \
         on-error mark-down\n    stats uri /stats";
    let balancer = setup(&log, &one_backend(settings, &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.get(path).await.unwrap().status, 200, "{path}");
    }
    let requests = node.requests().len();
    assert!(requests > 3, "{requests}: no idle connection was used");
    assert!(!log.lines().concat().contains("is DOWN"));
}

const SHUTDOWN: &str = "    default-server on-marked-down shutdown-sessions";

#[tokio::test]
async fn the_websockets_of_a_server_that_goes_down_end_and_no_others() {
    let two = Two::start(SHUTDOWN, ["", ""]).await;
    let target = Target::plain(two.balancer.address("http"));
    let mut swarm = Swarm::open(&target, 20).await;
    assert_eq!(swarm.on("node2"), 10);
    two.take_down(1).await;
    wait_until("node2 to be left", PATIENCE, async || {
        let left = two.nodes[1].websockets();
        testkit::wait::or_seen(left == 0, left)
    })
    .await;
    swarm.echo_all().await;
    assert_eq!(swarm.lost().len(), 10);
    assert!(swarm.lost_elsewhere("node2").is_empty());
    let line = two.log.wait_for(&["be/node2", " 101 "]).await;
    // Of a tunnel HAProxy says "D---".
    assert!(termination(&line).starts_with('D'), "{line}");
}

#[tokio::test]
async fn without_it_they_go_on() {
    let two = Two::start("", ["", ""]).await;
    let target = Target::plain(two.balancer.address("http"));
    let mut swarm = Swarm::open(&target, 20).await;
    two.take_down(1).await;
    swarm.echo_all().await;
    swarm.assert_whole();
}

#[tokio::test]
async fn a_request_that_waits_for_such_a_server_gets_a_502() {
    let two = Two::start(SHUTDOWN, ["", ""]).await;
    let (mut client, at) = two.stuck(Temper::Hang).await;
    two.take_down(at).await;
    assert_eq!(client.response().await.unwrap().status, 502);
    let line = two.log.wait_for(&["fe be/node", " 502 "]).await;
    assert_eq!(termination(&line), "DH--", "{line}");
}

#[tokio::test]
async fn a_response_under_way_from_such_a_server_is_cut() {
    let two = Two::start(SHUTDOWN, ["", ""]).await;
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc".to_vec();
    let (mut client, at) = two.stuck(Temper::Exactly(half)).await;
    two.take_down(at).await;
    let error = client.response().await.unwrap_err();
    assert!(format!("{error:#}").contains("in the middle"), "{error:#}");
    let line = two.log.wait_for(&["fe be/node", " 200 "]).await;
    assert_eq!(termination(&line), "DD--", "{line}");
}

#[tokio::test]
async fn a_request_that_may_be_sent_again_is() {
    let settings = format!("{SHUTDOWN}\n    retry-on empty-response\n    option redispatch 1");
    let two = Two::start(&settings, ["", ""]).await;
    let (mut client, at) = two.stuck(Temper::Hang).await;
    two.nodes[1 - at].set_temper(Temper::Normal);
    two.take_down(at).await;
    assert_eq!(client.response().await.unwrap().status, 200);
    two.log.wait_for(&["fe be/node", " 200 ", "/+1 "]).await;
}

#[tokio::test]
async fn an_operator_ends_the_requests_and_websockets_of_a_server() {
    let settings = "    stats uri /stats\n    stats admin if TRUE";
    let two = Two::start(settings, ["", "disabled"]).await;
    let target = Target::plain(two.balancer.address("http"));
    let mut swarm = Swarm::open(&target, 3).await;
    two.nodes[0].set_temper(Temper::Hang);
    let mut client = Client::plain(two.balancer.address("http")).await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait_until("the request at the node", PATIENCE, async || {
        let requests = two.nodes[0].requests();
        testkit::wait::or_seen(requests.iter().any(|it| it.word(1) == "/x"), "none")
    })
    .await;
    shut_down(two.balancer.address("http"), "node1").await;
    assert_eq!(client.response().await.unwrap().status, 502);
    let line = two.log.wait_for(&["fe be/node1", " 502 "]).await;
    assert_eq!(termination(&line), "KH--", "{line}");
    swarm.echo_all().await;
    assert_eq!(swarm.lost().len(), 3);
}

const OPERATED: &str = "
listen stats
    bind 127.0.0.1:<port:stats>
    stats uri /stats
    stats admin if TRUE
frontend fe
    bind 127.0.0.1:<port:fe>
    default_backend be
";

#[tokio::test]
async fn a_session_on_its_way_to_a_server_outlived_the_end_of_its_sessions() {
    let log = LogSink::start().await;
    let config = format!("{OPERATED}backend be\n    retries 100\n    server n1 127.0.0.1:1\n");
    let balancer = setup(&log, &config).start().await;
    let mut client = Client::plain(balancer.address("fe")).await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait_until("a second try", PATIENCE, async || {
        let tries = balancer.stats("stats").await.number("be", "n1", "wretr");
        testkit::wait::or_seen(tries > 0, tries)
    })
    .await;
    shut_down(balancer.address("stats"), "n1").await;
    assert_eq!(client.response().await.unwrap().status, 503);
    let line = log.wait_for(&["fe be/n1", " 503 "]).await;
    assert_eq!(termination(&line), "KC--", "{line}");
}

#[tokio::test]
async fn a_session_whose_server_was_listened_to_outlived_the_end_of_its_sessions() {
    let log = LogSink::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "{OPERATED}    mode tcp
    option tcplog
backend be
    mode tcp
    tcp-response inspect-delay 60s
    tcp-response content reject if {{ res.len ge 1000 }}
    server n1 <n1>
"
    );
    let address = silent.local_addr().unwrap();
    let balancer = setup(&log, &config).set("n1", address).start().await;
    let mut client = Client::plain(balancer.address("fe")).await;
    let (_server, _) = silent.accept().await.unwrap();
    wait_until("the session at its server", PATIENCE, async || {
        let open = balancer.stats("stats").await.number("be", "n1", "scur");
        testkit::wait::or_seen(open == 1, open)
    })
    .await;
    shut_down(balancer.address("stats"), "n1").await;
    assert!(client.until_closed().await.unwrap().is_empty());
    log.wait_for(&["fe be/n1", " K"]).await;
}

#[tokio::test]
async fn sessions_on_a_backup_end_when_a_server_is_back() {
    let params = ["on-marked-up shutdown-backup-sessions", "backup"];
    let two = Two::start("", params).await;
    two.take_down(0).await;
    let target = Target::plain(two.balancer.address("http"));
    let (mut socket, node) = WebSocket::open_greeted(&target).await.unwrap();
    assert_eq!(node, "node2");
    two.nodes[0].set_health(Health::Status(200));
    let line = two.log.wait_for(&["be/node2", " 101 "]).await;
    assert!(termination(&line).starts_with('U'), "{line}");
    socket.echo("gone").await.unwrap_err();
}

#[tokio::test]
async fn a_server_that_tracks_another_has_its_state() {
    let two = Two::start(
        "    stats uri /stats
    server follower <node2> track be/node1
    server chained <node2> track follower",
        ["", ""],
    )
    .await;
    two.take_down(0).await;
    two.log
        .wait_for(&["Server be/follower is DOWN via be/node1. "])
        .await;
    two.log
        .wait_for(&["Server be/chained is DOWN via be/follower. "])
        .await;
    let table = two.balancer.stats("http").await;
    for (server, tracked) in [("follower", "be/node1"), ("chained", "be/follower")] {
        let of = |column| table.get("be", server, column);
        assert_eq!((of("status"), of("tracked")), ("DOWN", tracked));
        assert_eq!((of("check_status"), of("chkfail")), ("", ""));
    }
    two.nodes[0].set_health(Health::Status(200));
    two.log
        .wait_for(&["Server be/chained is UP via be/follower. "])
        .await;
    let table = two.balancer.stats("http").await;
    assert_eq!(table.get("be", "chained", "status"), "UP");
}
