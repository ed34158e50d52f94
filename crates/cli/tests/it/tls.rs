//! TLS towards nodes: whose certificate is believed, and for which name; what is shown to them, and
//! what is known of them.

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use testkit::{Authority, Balancer, Client, Leaf, LogSink, Node, PATIENCE, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

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

/// `sni req.hdr(host)` and a request by address: the client does not choose whether the node is
/// verified.
#[tokio::test]
async fn an_address_for_a_name_does_not_turn_the_look_at_the_name_off() {
    let trusted = "verify required ca-file <dir>/ca.pem";
    for address in ["10.1.2.3", "0.0.0.0", "127.0.0.1"] {
        let sent = format!("sni str({address})");
        let finding = if is_haproxy() { "L6OK" } else { "L6RSP" };
        check(&format!("{trusted} {sent}"), 503, finding).await;
    }
}

/// A balancer before this node with these `server` parameters.
async fn before(node: &Node, settings: &str, files: &[(&str, &str)]) -> (Balancer, LogSink) {
    let log = LogSink::start().await;
    let config = one_backend(
        "    retries 0\n    stats uri /stats\n    option http-server-close\n    \
         http-response set-header X-Tls \"%[ssl_bc] %[ssl_bc_protocol] %[ssl_bc_cipher] %[ssl_bc_is_resumed]\"",
        &[&format!("n1 <n1> {settings}")],
    );
    let mut making = setup(&log, &config).set("n1", node.address());
    for (name, content) in files {
        making = making.file(name, content);
    }
    (making.start().await, log)
}

async fn get(balancer: &Balancer) -> (u16, String) {
    let mut client = Client::plain(balancer.address("http")).await;
    let response = client.get("/").await.unwrap();
    let tls = response.head.get("x-tls").unwrap_or_default().to_owned();
    (response.status, tls)
}

#[tokio::test]
async fn a_node_that_asks_for_a_certificate_is_shown_one() {
    let authority = Authority::new();
    let settings = authority.demanding_server_config(&["node.example"]);
    let node = Node::start_tls_with("n1", settings).await;
    let ours = authority.pem_of(&Leaf::client("balancer"));
    let line = "ssl verify none crt <dir>/ours.pem";
    let (balancer, _log) = before(&node, line, &[("ours.pem", &ours)]).await;
    assert_eq!(get(&balancer).await.0, 200);
    let (balancer, _log) = before(&node, "ssl verify none", &[]).await;
    assert!([502, 503].contains(&get(&balancer).await.0));
}

#[tokio::test]
async fn a_node_whose_certificate_was_taken_back_gets_no_traffic() {
    let authority = Authority::new();
    let node = |serial| {
        let leaf = Leaf {
            serial: Some(serial),
            ..Leaf::server(&["node.example"])
        };
        authority.server_config_showing(&authority.pem_of(&leaf))
    };
    let (good, bad) = (node(5), node(6));
    let files = [
        ("ca.pem", authority.pem()),
        ("crl.pem", authority.revocation_list(&[6])),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let line = "ssl verify required ca-file <dir>/ca.pem crl-file <dir>/crl.pem";
    for (settings, expected) in [(good, 200), (bad, 503)] {
        let node = Node::start_tls_with("n1", settings).await;
        for name in ["", " verifyhost node.example", " sni str(node.example)"] {
            let (balancer, _log) = before(&node, &format!("{line}{name}"), &files).await;
            assert_eq!(get(&balancer).await.0, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn what_was_agreed_on_with_a_node_is_known_and_sessions_are_resumed() {
    let authority = Authority::new();
    let node = Node::start_tls("n1", &authority).await;
    let line = "ssl verify none ssl-max-ver TLSv1.2 ciphers ECDHE-ECDSA-AES128-GCM-SHA256";
    for (extra, resumes) in [("", true), (" no-ssl-reuse", false)] {
        let (balancer, _log) = before(&node, &format!("{line}{extra}"), &[]).await;
        let agreed = "1 TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256";
        assert_eq!(
            get(&balancer).await,
            (200, format!("{agreed} 0")),
            "{extra}"
        );
        // HAProxy keeps sessions by thread: the second connection may be another one's first.
        let mut resumed = Vec::new();
        for _ in 0..8 {
            resumed.push(get(&balancer).await.1 == format!("{agreed} 1"));
        }
        assert_eq!(resumed.contains(&true), resumes, "{extra}");
    }
    let plain = Node::start("n1").await;
    let (balancer, _log) = before(&plain, "", &[]).await;
    assert_eq!(get(&balancer).await.1.trim_end(), "0   0");
}

/// Something that answers in plain HTTP before it is asked, until its task is aborted.
async fn babbler() -> (SocketAddr, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninjected";
            stream.write_all(answer).await.ok();
            let mut rest = [0; 4096];
            while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        }
    });
    (address, task)
}

/// CVE-2026-1642: what a node, or who is in between, says before TLS is nobody's answer.
#[tokio::test]
async fn plain_words_ahead_of_tls_never_reach_a_client() {
    let (address, babbling) = babbler().await;
    let log = LogSink::start().await;
    let config = one_backend("    retries 0", &["n1 <n1> ssl verify none"]);
    let balancer = setup(&log, &config).set("n1", address).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    let response = client.get("/").await.unwrap();
    assert_eq!(response.status, 503);
    assert!(!response.text().contains("injected"));
    babbling.abort();
}

#[tokio::test]
async fn a_check_that_fails_in_the_handshake_says_so() {
    // It takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let log = LogSink::start().await;
    let (address, babbling) = babbler().await;
    let config = one_backend(
        "    stats uri /stats",
        &[
            "silent <silent> ssl verify none check inter 300ms fall 1",
            "plain <plain> check check-ssl verify none inter 300ms fall 1",
        ],
    );
    let balancer = setup(&log, &config)
        .set("silent", silent.local_addr().unwrap())
        .set("plain", address)
        .start()
        .await;
    for (server, expected) in [("silent", "L6TOUT"), ("plain", "L6RSP")] {
        wait_until("the check's finding", PATIENCE, async || {
            let table = balancer.stats("http").await;
            let seen = table.get("be", server, "check_status").to_owned();
            testkit::wait::or_seen(seen.trim_start_matches("* ") == expected, seen)
        })
        .await;
    }
    babbling.abort();
}

#[tokio::test]
async fn a_check_asks_for_the_name_that_check_sni_says() {
    let authority = Authority::new();
    let node = Node::start_tls_as("n1", &authority, &["check.example"]).await;
    let ca = authority.pem();
    for (name, expected) in [("check.example", "L6OK"), ("other.example", "L6RSP")] {
        let line = format!(
            "ssl verify required ca-file <dir>/ca.pem check check-sni {name} inter 300ms fall 10000"
        );
        let (balancer, _log) = before(&node, &line, &[("ca.pem", &ca)]).await;
        wait_until("the check's finding", PATIENCE, async || {
            let table = balancer.stats("http").await;
            let seen = table.get("be", "n1", "check_status").to_owned();
            testkit::wait::or_seen(seen.trim_start_matches("* ") == expected, seen)
        })
        .await;
    }
}

#[tokio::test]
async fn a_new_ca_file_is_taken_over() {
    if is_haproxy() {
        return;
    }
    let authority = Authority::new();
    let node = Node::start_tls_as("n1", &authority, &["node.example"]).await;
    let other = Authority::new().pem();
    let line = "ssl verify required ca-file <dir>/ca.pem";
    let (balancer, _log) = before(&node, line, &[("ca.pem", &other)]).await;
    assert_eq!(get(&balancer).await.0, 503);
    std::fs::write(balancer.folder().join("ca.pem"), authority.pem()).unwrap();
    balancer.signal(Signal::SIGHUP);
    wait_until("the new authority", PATIENCE, async || {
        let (status, _) = get(&balancer).await;
        testkit::wait::or_seen(status == 200, status)
    })
    .await;
}
