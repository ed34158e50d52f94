//! Persistence by cookie (manual 4.2, "cookie"): who gets which request, what node and client see, and
//! what the log says of it.

use testkit::node::Temper;
use testkit::websocket::Target;
use testkit::{Balancer, Client, LogSink, Node, WebSocket};

use crate::support::{one_backend, setup, termination};

struct Lab {
    log: LogSink,
    nodes: Vec<Node>,
    balancer: Balancer,
}

/// Two nodes, `a` and `b` in cookies.
async fn lab(settings: &str) -> Lab {
    let servers = ["node1 <node1> cookie a", "node2 <node2> cookie b"];
    lab_of(settings, &servers).await
}

async fn lab_of(settings: &str, servers: &[&str]) -> Lab {
    let log = LogSink::start().await;
    let nodes = Node::start_many(2).await;
    let balancer = setup(&log, &one_backend(settings, servers))
        .set("node1", nodes[0].address())
        .set("node2", nodes[1].address())
        .start()
        .await;
    Lab {
        log,
        nodes,
        balancer,
    }
}

/// What a request came to: the node, the cookies it saw, those the client got, the last two letters
/// of the termination state.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    server: String,
    node: Vec<String>,
    client: Vec<String>,
    letters: String,
}

impl Lab {
    async fn request(&self, cookies: &str) -> Seen {
        self.request_to("GET /", cookies).await
    }

    async fn request_to(&self, line: &str, cookies: &str) -> Seen {
        let before: Vec<usize> = self.nodes.iter().map(|n| n.requests().len()).collect();
        let mut client = Client::plain(self.balancer.address("http")).await;
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\n{cookies}Connection: close\r\n\r\n");
        client.send(head).await;
        let response = client.response().await.unwrap();
        let place = format!(":{} ", client.local_address().port());
        let logged = self.log.wait_for(&[&place]).await;
        let mut words = logged.split_whitespace();
        let server = words.find_map(|word| word.strip_prefix("be/"));
        let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
        let mut node = Vec::new();
        for (seen, before) in self.nodes.iter().zip(before) {
            if let Some(head) = seen.requests().get(before) {
                node = owned(head.get_all("cookie"));
            }
        }
        Seen {
            server: server.unwrap_or_default().to_owned(),
            node,
            client: owned(response.head.get_all("set-cookie")),
            letters: termination(&logged)[2..].to_owned(),
        }
    }

    /// The nodes answer with these headers from now on.
    fn answer_with(&self, headers: &str) {
        let bytes = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n");
        for node in &self.nodes {
            node.set_temper(Temper::Exactly(bytes.clone().into_bytes()));
        }
    }
}

fn seen(server: &str, node: &[&str], client: &[&str], letters: &str) -> Seen {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Seen {
        server: server.to_owned(),
        node: owned(node),
        client: owned(client),
        letters: letters.to_owned(),
    }
}

#[tokio::test]
async fn an_inserted_cookie_keeps_clients_where_they_are_and_nodes_unaware() {
    let lab = lab("    cookie SRV insert indirect nocache").await;
    let first = seen("node1", &[], &["SRV=a; path=/"], "NI");
    assert_eq!(lab.request("").await, first);
    for _ in 0..3 {
        let again = lab.request("Cookie: x=1; SRV=a; y=2\r\n").await;
        assert_eq!(again, seen("node1", &["x=1; y=2"], &[], "VN"));
    }
    let other = lab.request("Cookie: SRV=b\r\n").await;
    assert_eq!(other, seen("node2", &[], &[], "VN"));
    let unknown = lab.request("Cookie: SRV=c\r\n").await;
    assert_eq!((&*unknown.letters, unknown.client.len()), ("II", 1));
}

#[tokio::test]
async fn a_websocket_is_given_the_cookie_with_its_101_and_comes_back_by_it() {
    let lab = lab("    cookie SRV insert indirect").await;
    let target = Target::plain(lab.balancer.address("http"));
    let mut client = Client::plain(lab.balancer.address("http")).await;
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client.send(format!("{upgrade}\r\n")).await;
    let switched = client.message_to("GET").await.unwrap();
    assert_eq!(switched.status, 101);
    assert_eq!(switched.head.get("set-cookie"), Some("SRV=a; path=/"));
    drop(client);
    for _ in 0..2 {
        let mut client = Client::plain(lab.balancer.address("http")).await;
        client.send(format!("{upgrade}Cookie: SRV=a\r\n\r\n")).await;
        let switched = client.message_to("GET").await.unwrap();
        assert_eq!(switched.head.get("set-cookie"), None);
    }
    assert_eq!(lab.nodes[0].requests().len(), 3);
    // And one without goes where balancing says.
    let (_, node) = WebSocket::open_greeted(&target).await.unwrap();
    assert_eq!(node, "node2");
}

#[tokio::test]
async fn cookies_that_nodes_set_are_removed_kept_rewritten_or_prefixed() {
    for (words, sent, set, node, client, letters) in [
        ("insert", "SRV=a", "SRV=x", "SRV=a", "", "VD"),
        ("insert", "", "SRV=x", "", "SRV=a; path=/", "NI"),
        ("insert preserve", "SRV=a", "SRV=x", "SRV=a", "SRV=x", "VP"),
        ("rewrite", "", "SRV=x; path=/y", "", "SRV=a; path=/y", "NR"),
        ("rewrite", "SRV=a", "y=1", "SRV=a", "y=1", "VN"),
        ("prefix", "SRV=a~x", "SRV=z", "SRV=x", "SRV=a~z", "VR"),
        ("prefix indirect", "SRV=a~x", "SRV=z", "SRV=x", "", "VD"),
        ("indirect", "", "SRV=x", "", "SRV=x", "NP"),
    ] {
        let lab = lab(&format!("    cookie SRV {words}")).await;
        lab.answer_with(&format!("Set-Cookie: {set}\r\n"));
        let cookies = match sent {
            "" => String::new(),
            sent => format!("Cookie: {sent}\r\n"),
        };
        let one = |value: &'static str| match value {
            "" => vec![],
            value => vec![value],
        };
        let expected = seen("node1", &one(node), &one(client), letters);
        assert_eq!(
            lab.request(&cookies).await,
            expected,
            "{words} {sent} {set}"
        );
    }
}

#[tokio::test]
async fn attributes_follow_and_only_posts_get_one_with_postonly() {
    let lab = lab(
        "    cookie SRV insert postonly httponly secure domain .a.b domain c.d attr SameSite=None",
    )
    .await;
    assert_eq!(lab.request("").await, seen("node1", &[], &[], "NN"));
    let post = lab.request_to("POST /", "Content-Length: 0\r\n").await;
    let cookie = "SRV=b; path=/; domain=.a.b; domain=c.d; HttpOnly; Secure; SameSite=None";
    assert_eq!(post, seen("node2", &[], &[cookie], "NI"));
}

#[tokio::test]
async fn a_response_that_caches_keep_is_marked_when_it_gets_a_cookie() {
    let lab = lab("    cookie SRV insert nocache").await;
    lab.answer_with("Cache-Control: max-age=60\r\n");
    let mut client = Client::plain(lab.balancer.address("http")).await;
    let response = client.get("/").await.unwrap();
    let marks = response.head.get_all("cache-control");
    assert_eq!(marks, ["max-age=60", "private"]);
    client
        .send("GET / HTTP/1.1\r\nHost: h\r\nCookie: SRV=a\r\n\r\n")
        .await;
    let response = client.response().await.unwrap();
    assert_eq!(response.head.get_all("cache-control"), ["max-age=60"]);
}

#[tokio::test]
async fn cookies_older_than_allowed_count_no_more() {
    let lab = lab("    cookie SRV insert indirect maxidle 30m maxlife 8h").await;
    let first = lab.request("").await;
    let dated = first.client[0].trim_end_matches("; path=/").to_owned();
    assert_eq!(dated.len(), "SRV=a|xxxxx|xxxxx".len(), "{dated}");
    let fresh = lab.request(&format!("Cookie: {dated}\r\n")).await;
    assert_eq!((&*fresh.server, &fresh.letters[..1]), ("node1", "V"));
    // 1974, and no date at all.
    let old = lab.request("Cookie: SRV=a|CAAAA|AAAAA\r\n").await;
    assert_eq!(&*old.letters, "EI");
    let old = lab.request("Cookie: SRV=a|AAAAA|CAAAA\r\n").await;
    assert_eq!(&*old.letters, "OI");
    let undated = lab.request("Cookie: SRV=a\r\n").await;
    assert_eq!((&*undated.server, &*undated.letters), ("node1", "VU"));
    assert!(undated.client[0].starts_with("SRV=a|"), "{undated:?}");
}

#[tokio::test]
async fn the_server_of_a_cookie_that_is_gone_is_replaced_where_redispatch_allows_it() {
    let settings = "    cookie SRV insert indirect\n    retries 1\n    timeout connect 200ms\n";
    let mut stays = lab(settings).await;
    stays.nodes[1].stop().await;
    let refused = stays.request("Cookie: SRV=b\r\n").await;
    assert_eq!(refused, seen("node2", &[], &[], "VN"));
    let mut moves = lab(&format!("{settings}    option redispatch\n")).await;
    moves.nodes[1].stop().await;
    let moved = moves.request("Cookie: SRV=b\r\n").await;
    assert_eq!(moved, seen("node1", &[], &["SRV=a; path=/"], "DI"));
}

#[tokio::test]
async fn a_server_in_maintenance_is_left_unless_persistence_is_forced() {
    let servers = ["node1 <node1> cookie a", "node2 <node2> cookie b disabled"];
    for (line, path, server, letters) in [
        ("", "/", "node1", "DI"),
        ("option persist", "/", "node2", "DN"),
        ("force-persist if { path /f }", "/", "node1", "DI"),
        ("force-persist if { path /f }", "/f", "node2", "DN"),
        ("ignore-persist if { path /i }", "/i", "node1", "UN"),
    ] {
        let settings = format!("    cookie SRV insert indirect\n    {line}\n");
        let lab = lab_of(&settings, &servers).await;
        let found = lab
            .request_to(&format!("GET {path}"), "Cookie: SRV=b\r\n")
            .await;
        assert_eq!(
            (&*found.server, &*found.letters),
            (server, letters),
            "{line} {path}"
        );
    }
}

#[tokio::test]
async fn a_draining_server_keeps_those_who_belong_to_it() {
    let servers = ["node1 <node1> cookie a weight 0", "node2 <node2> cookie b"];
    let lab = lab_of("    cookie SRV insert indirect", &servers).await;
    assert_eq!(lab.request("").await.server, "node2");
    let kept = lab.request("Cookie: SRV=a\r\n").await;
    assert_eq!(kept, seen("node1", &[], &[], "VN"));
}

#[tokio::test]
async fn dynamic_cookies_are_made_of_addresses() {
    let settings = "    cookie SRV insert indirect dynamic\n    dynamic-cookie-key secret\n";
    let servers = ["node1 <node1>", "node2 <node2> cookie own"];
    let lab = lab_of(settings, &servers).await;
    let first = lab.request("").await;
    let cookie = first.client[0].trim_end_matches("; path=/").to_owned();
    let value = cookie.strip_prefix("SRV=").unwrap_or_default();
    assert!(
        value.len() == 16 && value.bytes().all(|b| b.is_ascii_hexdigit()),
        "{cookie}"
    );
    let again = lab.request(&format!("Cookie: {cookie}\r\n")).await;
    assert_eq!(again, seen("node1", &[], &[], "VN"));
    let own = lab.request("Cookie: SRV=own\r\n").await;
    assert_eq!(own, seen("node2", &[], &[], "VN"));
}

#[tokio::test]
async fn malformed_cookies_pass_and_decide_nothing() {
    let lab = lab("    cookie SRV insert indirect").await;
    for line in [
        "\"",
        "=",
        ";;;,,,",
        "SRV",
        "x=\"SRV=b; SRV=b",
        "$SRV=b",
        "a;b;c",
        "\\\";SRV",
    ] {
        let found = lab.request(&format!("Cookie: {line}\r\n")).await;
        assert_eq!((&*found.node[0], &*found.letters), (line, "NI"), "{line}");
    }
}
