//! Which server gets a request, by every algorithm, with the real program. That the choice is
//! HAProxy's for hundreds of keys and weights is tested beside the algorithms
//! (`routing/tests/balance.rs`); here it is that requests get there.

use testkit::{Balancer, Client, LogSink, Node, Temper};

use crate::support::setup;

const NODES: usize = 4;

/// Three nodes of these weights in the file, and a backup, chosen from by `lines`.
async fn start(lines: &str, weights: [u16; NODES - 1]) -> (Balancer, Vec<Node>, LogSink) {
    let log = LogSink::start().await;
    let nodes = Node::start_many(NODES).await;
    let [a, b, c] = weights;
    let config = format!(
        "
frontend fe
    bind 127.0.0.1:<port:http>
    bind 127.0.0.1:<port:proxied> accept-proxy
    default_backend be
backend be
{lines}
    server n0 <n0> weight {a}
    server n1 <n1> weight {b}
    server n2 <n2> weight {c}
    server n3 <n3> backup
"
    );
    let mut setup = setup(&log, &config);
    for (number, node) in nodes.iter().enumerate() {
        setup = setup.set(&format!("n{number}"), node.address());
    }
    (setup.start().await, nodes, log)
}

/// Sends requests, each on a connection of its own, and tells the position of the node that answered.
async fn served(balancer: &Balancer, nodes: &[Node], requests: &[String]) -> String {
    let mut order = String::new();
    for request in requests {
        let mut client = Client::plain(balancer.address("http")).await;
        client.send(request).await;
        let text = client.response().await.unwrap().text();
        let at = nodes
            .iter()
            .position(|node| text.starts_with(&format!("{} ", node.id())));
        order.push_str(&at.unwrap().to_string());
    }
    order
}

fn request(target: &str, header: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n{header}\r\n")
}

async fn check(lines: &str, weights: [u16; NODES - 1], requests: &[String], expected: &str) {
    let (balancer, nodes, _log) = start(lines, weights).await;
    assert_eq!(
        served(&balancer, &nodes, requests).await,
        expected,
        "{lines}"
    );
}

#[tokio::test]
async fn turns_are_given_by_weight() {
    let requests = vec![request("/", ""); 12];
    check(
        "    balance roundrobin",
        [1, 2, 3],
        &requests,
        "212021212021",
    )
    .await;
    check(
        "    balance static-rr",
        [1, 2, 3],
        &requests,
        "021212021212",
    )
    .await;
}

#[tokio::test]
async fn a_key_leads_to_its_server() {
    let targets: Vec<String> = ["/a", "/b?x", "/c/d", "/e", "/a", "/b?y", "/c/d?z", "/e"]
        .map(|target| request(target, ""))
        .into();
    check("    balance uri", [1, 1, 1], &targets, "01110111").await;
    check(
        "    balance uri\n    hash-type consistent",
        [1, 1, 1],
        &targets,
        "11221122",
    )
    .await;
    let users: Vec<String> = ["ann", "bob", "cid", "dan"]
        .map(|user| request(&format!("/?user={user}"), &format!("X-User: {user}\r\n")))
        .into();
    let by_user = "2212";
    check("    balance url_param user", [1, 2, 3], &users, by_user).await;
    check("    balance hdr(x-user)", [1, 2, 3], &users, by_user).await;
    check(
        "    balance hash req.hdr(X-User)",
        [1, 2, 3],
        &users,
        by_user,
    )
    .await;
}

#[tokio::test]
async fn without_a_key_servers_take_turns() {
    let requests = vec![request("/", ""); 6];
    check("    balance hdr(x-user)", [1, 1, 1], &requests, "012012").await;
}

#[tokio::test]
async fn a_clients_address_leads_to_its_server() {
    let (balancer, nodes, _log) = start("    balance source", [1, 2, 3]).await;
    let mut order = String::new();
    for client in ["10.0.0.1", "10.0.0.2", "192.168.1.77", "203.0.113.9"] {
        let mut connection = Client::plain(balancer.address("proxied")).await;
        connection
            .send(format!("PROXY TCP4 {client} 127.0.0.1 1000 80\r\n"))
            .await;
        let text = connection.get("/").await.unwrap().text();
        let at = nodes
            .iter()
            .position(|node| text.starts_with(&format!("{} ", node.id())));
        order.push_str(&at.unwrap().to_string());
    }
    assert_eq!(order, "2022");
}

/// Only the first backup serves, or all of them.
#[tokio::test]
async fn backups_serve_when_nobody_else_can() {
    for (option, expected) in [("", "111111"), ("    option allbackups\n", "121212")] {
        let log = LogSink::start().await;
        let nodes = Node::start_many(3).await;
        let config = format!(
            "
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    balance roundrobin
{option}    server n0 <n0> disabled
    server n1 <n1> backup
    server n2 <n2> backup
"
        );
        let mut setup = setup(&log, &config);
        for (number, node) in nodes.iter().enumerate() {
            setup = setup.set(&format!("n{number}"), node.address());
        }
        let balancer = setup.start().await;
        let requests = vec![request("/", ""); 6];
        assert_eq!(
            served(&balancer, &nodes, &requests).await,
            expected,
            "{option}"
        );
    }
}

/// In `mode tcp`, from the first bytes of a Remote Desktop client.
#[tokio::test]
async fn an_rdp_cookie_leads_to_its_server() {
    let log = LogSink::start().await;
    let nodes = Node::start_many(3).await;
    let garbage = b"no HTTP\r\n".to_vec();
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    mode tcp
    option tcplog
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.rdp_cookie_cnt gt 0 }
    default_backend be
backend be
    mode tcp
    balance rdp-cookie
    server n0 <n0>
    server n1 <n1>
    server n2 <n2>
";
    let mut setup = setup(&log, config);
    for (number, node) in nodes.iter().enumerate() {
        node.set_temper(Temper::Exactly(garbage.clone()));
        setup = setup.set(&format!("n{number}"), node.address());
    }
    let balancer = setup.start().await;
    for (user, server) in [("ann", 1), ("dan", 0), ("bob", 2)] {
        let mut client = Client::plain(balancer.address("http")).await;
        let mut hello = b"\x03\x00\x00\x2b\x26\xe0\x00\x00\x00\x00\x00".to_vec();
        hello.extend_from_slice(format!("Cookie: mstshash={user}\r\n").as_bytes());
        client.send(hello).await;
        client.half_close().await;
        let _ = client.until_closed().await;
        log.wait_for(&[&format!("be/n{server} ")]).await;
    }
}
