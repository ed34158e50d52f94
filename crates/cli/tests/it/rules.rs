//! Rules and routing over real requests: who answers, and with what.

use testkit::{Client, LogSink, Node};

use crate::support::setup;

const CONFIG: &str = "
frontend fe
    bind 127.0.0.1:<port:http>
    http-request deny if { path /secret }
    http-request deny deny_status 429 if { path /much }
    http-request redirect location https://example.com/ code 301 if { path /moved }
    http-request return status 200 content-type text/plain string \"all is well\" if { path /ping }
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Twice new
    http-request del-header X-Drop
    http-response set-header X-Served yes
    http-response del-header ETag
    acl api path_beg /api/ /v2/
    acl writes method POST PUT
    use_backend two if api writes
    use_backend two if { hdr(host) -i two.example.com }
    default_backend one
backend one
    server one <one>
backend two
    server two <two>
";

async fn request(client: &mut Client, head: &str) -> testkit::Response {
    let end = if head.contains("\r\nHost:") {
        ""
    } else {
        "Host: test\r\n"
    };
    client.send(format!("{head}\r\n{end}\r\n")).await;
    client.response().await.unwrap()
}

#[tokio::test]
async fn rules_decide_who_answers() {
    let log = LogSink::start().await;
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let balancer = setup(&log, CONFIG)
        .set("one", one.address())
        .set("two", two.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    for (head, status, body) in [
        ("GET /secret HTTP/1.1", 403, "403 Forbidden"),
        ("GET /much HTTP/1.1", 429, "429 Too Many Requests"),
        ("GET /moved HTTP/1.1", 301, ""),
        ("GET /ping HTTP/1.1", 200, "all is well"),
        ("GET / HTTP/1.1", 200, "one GET /\n"),
        ("GET /api/x HTTP/1.1", 200, "one GET /api/x\n"),
        (
            "PUT /api/x HTTP/1.1\r\nContent-Length: 0",
            200,
            "two PUT /api/x\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: TWO.example.com",
            200,
            "two GET /\n",
        ),
    ] {
        // Refusals may close the connection; every case gets its own.
        let mut fresh = Client::plain(balancer.address("http")).await;
        let response = request(&mut fresh, head).await;
        assert_eq!(response.status, status, "{head}");
        assert!(
            response.text().contains(body),
            "{head}: {}",
            response.text()
        );
    }
    let moved = request(&mut client, "GET /moved HTTP/1.1").await;
    assert_eq!(moved.head.get("location"), Some("https://example.com/"));
}

#[tokio::test]
async fn rules_change_headers_both_ways() {
    let log = LogSink::start().await;
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let balancer = setup(&log, CONFIG)
        .set("one", one.address())
        .set("two", two.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    let head = "GET /status/304 HTTP/1.1\r\nX-Twice: a\r\nX-Twice: b\r\nX-Drop: 1";
    let response = request(&mut client, head).await;
    assert_eq!(response.head.get("x-served"), Some("yes"));
    assert_eq!(response.head.get("etag"), None);
    let seen = &one.requests()[0];
    assert_eq!(seen.get("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.get_all("x-twice"), ["new"]);
    assert_eq!(seen.get("x-drop"), None);
}

/// `pause` holds the rules behind it, which go on where they were.
#[tokio::test]
async fn rules_go_on_behind_a_pause() {
    let log = LogSink::start().await;
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    http-request strict-mode off
    http-request set-var(txn.seen) str(before)
    http-request pause 20ms if { path /fixed }
    http-request pause int(20) if { path /sample }
    http-request pause str(never) if { path /none }
    http-request set-var-fmt(txn.seen) %[var(txn.seen)],after
    http-request return status 200 content-type text/plain lf-string %[var(txn.seen)]
";
    let balancer = setup(&log, config).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    for path in ["/", "/fixed", "/sample", "/none"] {
        let response = client.get(path).await.unwrap();
        assert_eq!(response.text(), "before,after", "{path}");
    }
}

/// A `tcp-request content` rule that asks who the client is leaves what those before it have done.
#[tokio::test]
async fn rules_before_a_login_count_once() {
    let log = LogSink::start().await;
    let config = "
userlist people
    user joe insecure-password secret
frontend fe
    bind 127.0.0.1:<port:http>
    tcp-request content track-sc0 src table counts
    tcp-request content sc-inc-gpc0(0)
    tcp-request content reject if !{ http_auth(people) }
    http-request return status 200 content-type text/plain lf-string %[sc0_get_gpc0(counts)]
backend counts
    stick-table type ip size 10 store gpc0
";
    let balancer = setup(&log, config).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    let head = "GET / HTTP/1.1\r\nAuthorization: Basic am9lOnNlY3JldA==";
    assert_eq!(request(&mut client, head).await.text(), "1");
    assert_eq!(request(&mut client, head).await.text(), "2");
}

/// As up to HAProxy 2.0: old lines have their turn after all `http-request` and `http-response` rules,
/// and those that add after those that delete and replace, wherever they stand.
const OLD_LINES: &str = "
frontend fe
    bind 127.0.0.1:<port:http>
    reqadd X-Trust:\\ no
    reqidel ^X-Role:.*
    reqidel ^X-Trust:.*
    reqirep ^X-Team:\\ *admin X-Team:\\ user
    http-request deny if { req.hdr(X-Trust) no }
    http-request set-header X-Had-Role yes if { req.hdr(X-Role) -m found }
    rspidel ^X-Node:.*
    http-response set-header X-Node one
    http-response set-header X-Node-Was %[res.hdr(X-Node)]
    default_backend one
backend one
    server one <one>
";

#[tokio::test]
async fn old_lines_have_their_turn_after_all_rules() {
    let log = LogSink::start().await;
    let one = Node::start("one").await;
    let balancer = setup(&log, OLD_LINES)
        .set("one", one.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    let head = "GET / HTTP/1.1\r\nX-Role: admin\r\nX-Team: admin";
    let response = request(&mut client, head).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.head.get("x-node"), None);
    assert_eq!(response.head.get("x-node-was"), Some("one"));
    request(&mut client, "GET / HTTP/1.1\r\nX-Team: notadmin").await;
    let seen = one.requests();
    assert_eq!(seen[0].get("x-role"), None);
    assert_eq!(seen[0].get("x-had-role"), Some("yes"));
    assert_eq!(seen[0].get_all("x-trust"), ["no"]);
    assert_eq!(seen[0].get("x-team"), Some("user"));
    assert_eq!(seen[1].get("x-team"), Some("notadmin"));
}

/// The lines that are advised above a rule that guards a path.
const GUARDED: &str = "
frontend fe
    bind 127.0.0.1:<port:http>
    http-request normalize-uri percent-decode-unreserved
    http-request normalize-uri path-strip-dot
    http-request normalize-uri path-strip-dotdot full
    http-request normalize-uri path-merge-slashes
    http-request deny if { path_beg /admin }
    default_backend one
backend one
    server one <one>
";

#[tokio::test]
async fn the_lines_advised_above_a_guard_make_it_hold() {
    let log = LogSink::start().await;
    let one = Node::start("one").await;
    let balancer = setup(&log, GUARDED).set("one", one.address()).start().await;
    for (path, status) in [
        ("/admin", 403),
        ("//admin", 403),
        ("/%61dmin", 403),
        ("/./admin", 403),
        ("/%2e/admin", 403),
        ("/../admin", 403),
        ("/%2e%2E/admin", 403),
        ("/x/../admin", 403),
        ("/.//..//%61dmin", 403),
        ("/x/admin", 200),
        // '..' takes the empty name before it: nodes get '/x/admin'.
        ("/x//../admin", 200),
    ] {
        let mut client = Client::plain(balancer.address("http")).await;
        let response = request(&mut client, &format!("GET {path} HTTP/1.1")).await;
        assert_eq!(response.status, status, "{path}");
    }
}
