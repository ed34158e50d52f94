//! `ddos.cfg`.

use testkit::{Balancer, Node, PATIENCE, wait_until};

use super::{
    DISGUISED, GOOD, ask, ask_over, command, connect, example, hold, no_place_left, status,
};

/// Where the proxy in front is.
const PROXY: u8 = 250;

async fn start(node: &Node) -> Balancer {
    let pairs = [
        ("src 192.0.2.250", "src 127.0.0.250"),
        ("timeout tarpit 5s", "timeout tarpit 10ms"),
        (
            "maxconnrate 1000",
            "maxconnrate 1000\n    stats socket <dir>/admin.sock level admin",
        ),
    ];
    let setup = example("ddos.cfg", &pairs);
    let addresses = setup.set("n1", node.address()).set("n2", node.address());
    addresses.start().await
}

/// As the example has it, in milliseconds.
const BAN: u64 = 600_000;

/// How much of the ban is left.
async fn ban_left(balancer: &Balancer) -> u64 {
    let table = command(balancer.folder(), "show table public").await;
    let entry = table.lines().find(|line| line.contains("127.0.0.66"));
    let left = entry.and_then(|line| line.split_once("exp=")?.1.split(' ').next());
    left.unwrap_or_else(|| panic!("{table}")).parse().unwrap()
}

#[tokio::test]
async fn who_floods_with_connections_is_banned_and_nobody_else() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    // Each connection is let go before the next, so that no other limit is met.
    for _ in 0..150 {
        let mut client = connect(&balancer, 66).await;
        client.send("GET / HTTP/1.0\r\n\r\n").await;
        client.response().await.unwrap();
    }
    // From now on it is not answered, and nothing of it reaches a node.
    let mut banned = Vec::new();
    for _ in 0..5 {
        let mut client = connect(&balancer, 66).await;
        let _ = client
            .try_send("GET /banned HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        banned.push(client);
    }
    assert_eq!(status(&balancer, GOOD, "/good", "").await, 200);
    let seen = node.requests();
    assert!(seen.iter().all(|request| request.word(1) != "/banned"));
    assert_eq!(seen.last().unwrap().word(1), "/good");
    // The ban does not run out while it goes on: each attempt begins the ten minutes anew.
    let before = wait_until("time to pass", PATIENCE, async || {
        let left = ban_left(&balancer).await;
        if left < BAN - 100 {
            Ok(left)
        } else {
            Err(left)
        }
    })
    .await;
    drop(connect(&balancer, 66).await);
    wait_until("a longer ban", PATIENCE, async || {
        let left = ban_left(&balancer).await;
        testkit::wait::or_seen(left > before, left)
    })
    .await;
    // Who merely holds connections: thirty.
    let _held = hold(&balancer, 67, 50).await;
    let _more = no_place_left(&balancer, 67, "/").await;
    assert_eq!(status(&balancer, GOOD, "/good", "").await, 200);
}

#[tokio::test]
async fn a_client_is_who_the_trusted_proxy_says_and_nobody_elses_word_counts() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    let said = |client: &str| format!("X-Forwarded-For: 10.9.9.9, {client}\r\n");
    // One client behind the proxy floods; the others behind it are served.
    let mut client = connect(&balancer, PROXY).await;
    let mut last = 0;
    for _ in 0..105 {
        let answer = ask_over(&mut client, "/", &said("203.0.113.66")).await;
        last = answer.unwrap().status;
    }
    assert_eq!(last, 429);
    assert_eq!(
        status(&balancer, PROXY, "/", &said("203.0.113.67")).await,
        200
    );
    // With IPv6 a client has a whole network to come from, and is one client.
    let mut client = connect(&balancer, PROXY).await;
    let mut last = 0;
    for number in 0..105 {
        let answer = ask_over(&mut client, "/", &said(&format!("2001:db8::{number}"))).await;
        last = answer.unwrap().status;
    }
    assert_eq!(last, 429);
    assert_eq!(
        status(&balancer, PROXY, "/", &said("2001:db8:0:1::1")).await,
        200
    );
    // A stranger cannot have somebody else limited, nor escape by a new name each time.
    let mut client = connect(&balancer, 70).await;
    let mut last = None;
    for number in 0..105 {
        let answer = ask_over(&mut client, "/", &said(&format!("203.0.113.{number}"))).await;
        last = Some(answer.unwrap());
    }
    let last = last.unwrap();
    assert_eq!(
        (last.status, last.head.get("retry-after")),
        (429, Some("10"))
    );
    assert_eq!(
        status(&balancer, PROXY, "/", &said("203.0.113.1")).await,
        200
    );
    // And nodes hear what was seen.
    assert_eq!(
        status(&balancer, 71, "/who", &said("203.0.113.1")).await,
        200
    );
    let seen = node.requests();
    assert_eq!(
        seen.last().unwrap().get_all("x-forwarded-for"),
        ["127.0.0.71"]
    );
}

#[tokio::test]
async fn who_looks_for_holes_is_held_back() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    let probes = [
        "/.git/config",
        "//.env",
        "/x/../admin",
        "/%2egit/HEAD",
        "/./.env",
        "/Admin",
        "/x/.git/HEAD",
    ];
    let mut given = Vec::new();
    for number in 0..35 {
        given.push(status(&balancer, 80, probes[number % probes.len()], "").await);
    }
    assert!(
        given[..probes.len()].iter().all(|status| *status == 403),
        "{given:?}"
    );
    assert_eq!(given.last(), Some(&429), "{given:?}");
    assert!(node.requests().is_empty());
    for path in DISGUISED {
        assert_eq!(status(&balancer, 83, path, "").await, 400, "{path}");
    }
    let long = format!("/{}", "a".repeat(1500));
    assert_eq!(status(&balancer, 81, &long, "").await, 414);
    let many = "X-A: b\r\n".repeat(80);
    assert!(matches!(status(&balancer, 82, "/", &many).await, 400 | 431));
    assert_eq!(ask(&balancer, GOOD, "/", "").await.unwrap().status, 200);
}
