//! `api-tokens.cfg`.

use testkit::{Balancer, Node};

use super::{DISGUISED, GOOD, ask, ask_over, connect, example, status};

const KNOWN: &str = "Authorization: Bearer first-token\r\n";
const OTHER: &str = "Authorization: Bearer other-token\r\n";
const WRONG: &str = "Authorization: Bearer first-toke\r\n";

/// Tokens of one issuer begin alike.
fn long(number: u8) -> String {
    format!("{}{number}", "a".repeat(200))
}

async fn start(node: &Node) -> Balancer {
    let setup = example(
        "api-tokens.cfg",
        &[("timeout tarpit 2s", "timeout tarpit 10ms")],
    );
    let long = format!("first-token\nother-token\n{}\n{}\n", long(1), long(2));
    let setup = setup.file("tokens.lst", &long);
    let addresses = setup.set("n1", node.address()).set("n2", node.address());
    addresses.start().await
}

#[tokio::test]
async fn an_api_lets_tokens_in_and_makes_guessing_dear() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    assert_eq!(status(&balancer, GOOD, "/items", KNOWN).await, 200);
    let refused = ask(&balancer, 5, "/items", WRONG).await.unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.head.get("www-authenticate"), Some("Bearer"));
    // In a URL or twice it is none.
    assert_eq!(
        status(&balancer, 6, "/items?access_token=first-token", "").await,
        401
    );
    let mut last = 0;
    for _ in 0..15 {
        last = status(&balancer, 5, "/items", WRONG).await;
    }
    assert_eq!(last, 429, "who guesses on is held back");
    assert_eq!(status(&balancer, GOOD, "/items", KNOWN).await, 200);
    // Behind the same address a good token is a good token.
    assert_eq!(status(&balancer, 5, "/items", OTHER).await, 200);
}

#[tokio::test]
async fn an_api_limits_tokens_wherever_they_come_from() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    let mut given = Vec::new();
    for from in 0..12 {
        given.push(status(&balancer, 40 + from, "/search?q=a", KNOWN).await);
    }
    assert_eq!(
        given.iter().filter(|status| **status == 200).count(),
        10,
        "{given:?}"
    );
    assert_eq!(given.last(), Some(&429));
    // Another spelling of the path is no way around, another token is.
    for path in ["//search", "/x/../search", "/%73earch"] {
        assert_eq!(status(&balancer, GOOD, path, KNOWN).await, 429, "{path}");
    }
    assert_eq!(status(&balancer, GOOD, "/search", OTHER).await, 200);
    let bearer = |number| format!("Authorization: Bearer {}\r\n", long(number));
    let mut last = 0;
    for from in 0..12 {
        last = status(&balancer, 40 + from, "/search", &bearer(1)).await;
    }
    assert_eq!(last, 429);
    assert_eq!(status(&balancer, GOOD, "/search", &bearer(2)).await, 200);
    assert_eq!(status(&balancer, GOOD, "/items", KNOWN).await, 200);
    let mut client = connect(&balancer, 60).await;
    let mut refused = None;
    for _ in 0..110 {
        let answer = ask_over(&mut client, "/items", KNOWN).await.unwrap();
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    assert_eq!(refused.unwrap().head.get("retry-after"), Some("10"));
    assert_eq!(status(&balancer, GOOD, "/items", OTHER).await, 200);
}

#[tokio::test]
async fn an_api_has_places_for_operators_alone() {
    let node = Node::start("n1").await;
    let balancer = start(&node).await;
    assert_eq!(status(&balancer, GOOD, "/admin", KNOWN).await, 200);
    for path in [
        "/admin",
        "//admin/users",
        "/a/..//admin",
        "/%61dmin",
        "/./admin",
        "/Admin",
    ] {
        assert_eq!(status(&balancer, 77, path, KNOWN).await, 404, "{path}");
        // Nor by saying that it comes from here.
        let forged = format!("{KNOWN}X-Forwarded-For: 127.0.0.1\r\n");
        assert_eq!(status(&balancer, 77, path, &forged).await, 404, "{path}");
    }
    for path in DISGUISED {
        assert_eq!(status(&balancer, 77, path, KNOWN).await, 400, "{path}");
    }
    let long = format!("/items?{}", "a".repeat(2500));
    assert_eq!(status(&balancer, GOOD, &long, KNOWN).await, 414);
    let mut client = connect(&balancer, GOOD).await;
    client
        .send(format!("TRACE /items HTTP/1.1\r\nHost: a\r\n{KNOWN}\r\n"))
        .await;
    assert_eq!(client.response().await.unwrap().status, 405);
}
