//! `public-websocket.cfg`.

use testkit::{Authority, Node};

use super::{DISGUISED, GOOD, ask, connect, example, hold, no_place_left, status, upgrade};

async fn start(node: &Node) -> testkit::Balancer {
    let setup = example(
        "public-websocket.cfg",
        &[("bind :8443", "bind 127.0.0.1:<port:https>")],
    );
    Authority::new().write_server_pem(setup.folder(), "cert.pem", &["localhost"]);
    let setup = setup.file("blocked.lst", "# who was\n127.0.0.66\n127.0.7.0/24\n");
    let mut balancer = setup
        .set("n1", node.address())
        .set("n2", node.address())
        .start()
        .await;
    balancer.wait_ready().await;
    balancer
}

/// Whoever is good is served, whatever others do.
async fn good_is_served(balancer: &testkit::Balancer) {
    let (client, given) = upgrade(balancer, GOOD, "/chat", "").await;
    assert_eq!(given, 101);
    drop(client);
    assert_eq!(status(balancer, GOOD, "/static/a", "").await, 200);
}

#[tokio::test]
async fn a_public_websocket_service_gives_nobody_more_than_a_share() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    good_is_served(&balancer).await;
    // Hoarding: twenty sockets of one address stay open, the next ones do not.
    let mut hoarded = Vec::new();
    for _ in 0..20 {
        let (client, given) = upgrade(&balancer, 9, "/chat", "").await;
        assert_eq!(given, 101);
        hoarded.push(client);
    }
    let (_, refused) = upgrade(&balancer, 9, "/chat", "").await;
    assert_eq!(refused, 429);
    good_is_served(&balancer).await;
    // Who lets go of one may have another one, once the balancer has noticed.
    drop(hoarded.pop());
    testkit::wait_until("a place again", testkit::PATIENCE, async || {
        let (client, given) = upgrade(&balancer, 9, "/chat", "").await;
        hoarded.push(client);
        testkit::wait::or_seen(given == 101, given)
    })
    .await;
    // Connections that are only held: forty of one address, and no more.
    let _held = hold(&balancer, 10, 60).await;
    let _more = no_place_left(&balancer, 10, "/static/a").await;
    good_is_served(&balancer).await;
    // On a list: no connection at all.
    assert_eq!(status(&balancer, 66, "/static/a", "").await, 0);
}

#[tokio::test]
async fn a_public_websocket_service_is_flooded_and_goes_on() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    // Three addresses ask as fast as they can, the good one meanwhile.
    for from in [21, 22, 23] {
        let mut client = connect(&balancer, from).await;
        let mut refused = 0;
        for _ in 0..130 {
            let answer = super::ask_over(&mut client, "/static/a", "").await;
            let Ok(answer) = answer else {
                client = connect(&balancer, from).await;
                continue;
            };
            if answer.status == 429 {
                assert_eq!(answer.head.get("retry-after"), Some("10"));
                refused += 1;
            }
        }
        assert!(refused > 0, "nothing was refused");
        good_is_served(&balancer).await;
    }
}

#[tokio::test]
async fn a_public_websocket_service_is_not_deceived() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    // Paths in disguise, heads without end, pages of others, names of others.
    for path in [
        "/admin",
        "/static/../admin",
        "/static/%2e%2e/admin",
        "/static/..//admin",
        "/%63hat/x",
    ] {
        assert_eq!(status(&balancer, GOOD, path, "").await, 404, "{path}");
    }
    for path in DISGUISED {
        let path = format!("/static{path}");
        assert_eq!(status(&balancer, GOOD, &path, "").await, 400, "{path}");
    }
    let disguised = "X_Forwarded_For: 10.1.2.3\r\n";
    assert_eq!(status(&balancer, GOOD, "/static/a", disguised).await, 403);
    assert_eq!(status(&balancer, GOOD, "/static//a/./b", "").await, 200);
    assert_eq!(node.requests().last().unwrap().word(1), "/static/a/b");
    let long = format!("X-Long: {}\r\n", "a".repeat(9000));
    assert!(matches!(
        status(&balancer, GOOD, "/static/a", &long).await,
        400 | 431
    ));
    let (_, given) = upgrade(&balancer, GOOD, "/chat", "Origin: https://evil.example\r\n").await;
    assert_eq!(given, 403);
    let (_, given) = upgrade(&balancer, GOOD, "/chat", "Origin: https://chat.example\r\n").await;
    assert_eq!(given, 101);
    let forged = "X-Forwarded-For: 10.1.2.3\r\n";
    assert_eq!(
        ask(&balancer, GOOD, "/static/f", forged)
            .await
            .unwrap()
            .status,
        200
    );
    let seen = node.requests();
    assert_eq!(
        seen.last().unwrap().get_all("x-forwarded-for"),
        ["127.0.0.1"]
    );
    // Slow-loris: heads that never end are answered in the end, and good ones meanwhile.
    let mut slow = Vec::new();
    for _ in 0..30 {
        let mut client = connect(&balancer, 30).await;
        client.send("GET /static/a HTTP/1.1\r\nHost: te").await;
        slow.push(client);
    }
    assert_eq!(status(&balancer, GOOD, "/static/a", "").await, 200);
    for client in &mut slow {
        assert_eq!(client.response().await.unwrap().status, 408);
    }
}
