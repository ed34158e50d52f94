//! `blue-green.cfg`.

use testkit::{Balancer, Node, PATIENCE, WebSocket, wait_until};

use super::{GOOD, command, example, hold, no_place_left, status, upgrade};

async fn start(blue: &Node, green: &Node) -> Balancer {
    let pairs = [
        ("192.0.2.21:8000", "<green>"),
        ("src 192.0.2.0/24", "src 127.0.0.200"),
    ];
    let setup = example("blue-green.cfg", &pairs);
    let setup = setup.set("n1", blue.address());
    setup.set("green", green.address()).start().await
}

#[tokio::test]
async fn one_command_changes_over_and_open_websockets_stay() {
    let (blue, green) = (Node::start("blue").await, Node::start("green").await);
    let balancer = start(&blue, &green).await;
    let (client, given) = upgrade(&balancer, GOOD, "/", "").await;
    assert_eq!(given, 101);
    let mut socket = WebSocket::over(client).await;
    assert!(socket.text().await.unwrap().contains("blue"));
    // A tester sees green beforehand; who only says so does not.
    assert_eq!(
        status(&balancer, 200, "/tester", "X-Version: next\r\n").await,
        200
    );
    assert_eq!(green.requests().last().unwrap().word(1), "/tester");
    assert_eq!(
        status(&balancer, 9, "/forged", "X-Version: next\r\n").await,
        200
    );
    assert_eq!(blue.requests().last().unwrap().word(1), "/forged");
    assert_eq!(blue.requests().last().unwrap().get("x-version"), None);
    let said = command(
        balancer.folder(),
        "experimental-mode on; set var proc.live str(green)",
    )
    .await;
    assert!(
        !said.contains("Permission") && !said.contains("nknown"),
        "{said}"
    );
    assert_eq!(status(&balancer, GOOD, "/after", "").await, 200);
    assert_eq!(green.requests().last().unwrap().word(1), "/after");
    socket.echo("still here").await.unwrap();
    // Green falls over: blue is better than nothing, and the socket is where it was.
    drop(green);
    wait_until("blue again", PATIENCE, async || {
        let given = status(&balancer, GOOD, "/back", "").await;
        let seen = blue.requests();
        let back = seen
            .last()
            .is_some_and(|request| request.word(1) == "/back");
        testkit::wait::or_seen(given == 200 && back, given)
    })
    .await;
    socket.echo("still here").await.unwrap();
}

#[tokio::test]
async fn changing_over_is_for_operators_and_hoarding_for_nobody() {
    let (blue, green) = (Node::start("blue").await, Node::start("green").await);
    let balancer = start(&blue, &green).await;
    use std::os::unix::fs::PermissionsExt;
    let socket = std::fs::metadata(balancer.folder().join("admin.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let _held = hold(&balancer, 51, 130).await;
    let _more = no_place_left(&balancer, 51, "/").await;
    assert_eq!(status(&balancer, GOOD, "/", "").await, 200);
}
