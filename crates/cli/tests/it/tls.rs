//! TLS towards nodes: whose certificate is believed, and for which name.

use testkit::{Authority, Client, LogSink, Node, PATIENCE, wait_until};

use crate::support::{is_haproxy, one_backend, setup};

/// A node with a certificate for `node.example`, a `server` line with these settings, and what
/// comes of it: the status of a request and of the check.
async fn check(settings: &str, status: u16, check_status: &str) {
    let authority = Authority::new();
    let log = LogSink::start().await;
    let node = Node::start_tls_as("n1", &authority, &["node.example"]).await;
    // The server stays UP whatever its check finds, so that requests try it.
    let server = format!("n1 <n1> ssl {settings} check inter 500ms fall 10000");
    let config = one_backend("    retries 0\n    stats uri /stats", &[&server]);
    let balancer = setup(&log, &config)
        .file("ca.pem", &authority.pem())
        .file("other.pem", &Authority::new().pem())
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    let response = client.get("/").await.unwrap();
    assert_eq!(response.status, status, "{settings}");
    wait_until("the check's finding", PATIENCE, async || {
        let table = balancer.stats("http").await;
        let seen = table.get("be", "n1", "check_status").to_owned();
        // HAProxy marks a check that is under way with a star.
        match seen.trim_start_matches("* ") {
            // A busy machine may be too slow for the first one.
            "" | "INI" | "L4TOUT" | "L6TOUT" => Err(seen),
            seen => {
                assert_eq!(seen, check_status, "{settings}");
                Ok(())
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_name_to_check_a_trusted_signature_is_enough() {
    check("verify required ca-file <dir>/ca.pem", 200, "L6OK").await;
    check("verify required ca-file <dir>/other.pem", 503, "L6RSP").await;
    check("verify none", 200, "L6OK").await;
}

#[tokio::test]
async fn verifyhost_is_the_name_where_none_is_sent() {
    let trusted = "verify required ca-file <dir>/ca.pem";
    check(&format!("{trusted} verifyhost node.example"), 200, "L6OK").await;
    check(&format!("{trusted} verifyhost other"), 503, "L6RSP").await;
}

#[tokio::test]
async fn the_name_that_is_sent_is_the_name_that_is_checked() {
    let trusted = "verify required ca-file <dir>/ca.pem";
    let right = "sni str(node.example)";
    check(&format!("{trusted} {right}"), 200, "L6OK").await;
    let wrong = "sni str(other.example)";
    // HAProxy's checks send no name unless check-sni says one; ours send a fixed one.
    let finding = if is_haproxy() { "L6OK" } else { "L6RSP" };
    check(&format!("{trusted} {wrong}"), 503, finding).await;
}
