//! `socketio.cfg`.

use testkit::{Balancer, Node, Temper};

use super::{DISGUISED, GOOD, ask, example, hold, no_place_left, status, upgrade};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

async fn start(nodes: &[Node; 2]) -> Balancer {
    let setup = example("socketio.cfg", &[]);
    let setup = setup.set("n1", nodes[0].address());
    setup.set("n2", nodes[1].address()).start().await
}

/// How many requests the nodes have seen, health checks aside.
fn counts(nodes: &[Node; 2]) -> [usize; 2] {
    [nodes[0].requests().len(), nodes[1].requests().len()]
}

#[tokio::test]
async fn a_clients_requests_and_its_websocket_meet_one_node() {
    let nodes = [Node::start("n1").await, Node::start("n2").await];
    let balancer = start(&nodes).await;
    // By cookie, wherever it comes from.
    let first = ask(&balancer, GOOD, POLL, "").await.unwrap();
    let cookie = first
        .head
        .get("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let cookie = format!("Cookie: {cookie}\r\n");
    let before = counts(&nodes);
    let mine = usize::from(before[1] > before[0]);
    for from in 10..16 {
        assert_eq!(status(&balancer, from, POLL, &cookie).await, 200);
    }
    let (_socket, given) = upgrade(&balancer, 17, "/socket.io/?transport=websocket", &cookie).await;
    assert_eq!(given, 101);
    let after = counts(&nodes);
    assert_eq!(after[mine] - before[mine], 7);
    assert_eq!(after[1 - mine], before[1 - mine]);
    // Without a cookie by its address.
    let before = counts(&nodes);
    for _ in 0..6 {
        assert_eq!(status(&balancer, 30, POLL, "").await, 200);
    }
    let after = counts(&nodes);
    let most = (after[0] - before[0]).max(after[1] - before[1]);
    assert_eq!(most, 6, "{before:?} {after:?}");
}

#[tokio::test]
async fn a_session_that_a_node_has_named_stays_with_it() {
    let nodes = [Node::start("n1").await, Node::start("n2").await];
    let balancer = start(&nodes).await;
    let named = b"HTTP/1.1 200 OK\r\nX-Session-Id: abc123\r\nContent-Length: 0\r\n\r\n";
    nodes
        .iter()
        .for_each(|node| node.set_temper(Temper::Exactly(named.to_vec())));
    assert_eq!(status(&balancer, 40, POLL, "").await, 200);
    nodes
        .iter()
        .for_each(|node| node.set_temper(Temper::Normal));
    let before = counts(&nodes);
    for from in 41..47 {
        let path = format!("{POLL}&sid=abc123");
        assert_eq!(status(&balancer, from, &path, "").await, 200);
    }
    let after = counts(&nodes);
    let most = (after[0] - before[0]).max(after[1] - before[1]);
    assert_eq!(most, 6, "{before:?} {after:?}");
}

#[tokio::test]
async fn sticking_is_no_way_to_fill_memory_or_to_other_paths() {
    let nodes = [Node::start("n1").await, Node::start("n2").await];
    let balancer = start(&nodes).await;
    let long = format!("{POLL}&sid={}", "a".repeat(100));
    assert_eq!(status(&balancer, 50, &long, "").await, 400);
    for path in ["/admin", "/socket.io/../admin", "/socket.io/%2e%2e/admin"] {
        assert_eq!(status(&balancer, 50, path, "").await, 404, "{path}");
    }
    for path in DISGUISED {
        let path = format!("/socket.io{path}");
        assert_eq!(status(&balancer, 50, &path, "").await, 400, "{path}");
    }
    // A cookie that was made up leads somewhere all the same.
    assert_eq!(
        status(&balancer, 50, POLL, "Cookie: NODE=../../n9\r\n").await,
        200
    );
    let _held = hold(&balancer, 51, 130).await;
    let _more = no_place_left(&balancer, 51, POLL).await;
    assert_eq!(status(&balancer, GOOD, POLL, "").await, 200);
}
