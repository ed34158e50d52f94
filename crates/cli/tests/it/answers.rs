//! Answers of our own and what is done to those of nodes: pages, rules for responses, tarpit.

use std::time::{Duration, Instant};

use testkit::http::Response;
use testkit::node::Temper;
use testkit::{Balancer, Client, LogSink, Node};

use crate::support::{is_haproxy, one_backend, setup, termination};

struct Lab {
    log: LogSink,
    node: Node,
    balancer: Balancer,
}

/// A frontend `fe` and a backend `be` with these lines and one node, and some pages in files.
async fn lab(front: &str, back: &str) -> Lab {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = format!(
        "
http-errors site
    errorfile 403 <dir>/403.http
    errorfile 500 <dir>/500.http
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
{front}
backend be
{back}
    server n1 <n1>
"
    );
    let balancer = setup(&log, &config)
        .file(
            "403.http",
            "HTTP/1.1 403 Nope\r\nX-Page: site\r\nContent-Length: 4\r\n\r\nnope",
        )
        .file(
            "500.http",
            "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
        )
        .file("body.txt", "hello %[src]")
        .set("n1", node.address())
        .start()
        .await;
    Lab {
        log,
        node,
        balancer,
    }
}

impl Lab {
    /// The response to `GET path`, and the first two letters of its termination state.
    async fn get(&self, path: &str) -> (Response, String) {
        let mut client = Client::plain(self.balancer.address("http")).await;
        let response = client.get(path).await.unwrap();
        let place = format!(":{} ", client.local_address().port());
        let line = self.log.wait_for(&[&place]).await;
        (response, termination(&line)[..2].to_owned())
    }
}

/// Status, headers but those about framing, body.
fn shown(response: &Response) -> String {
    let mut fields: Vec<String> = Vec::new();
    for (name, value) in &response.head.fields {
        if !["content-length", "connection", "date"].contains(&name.as_str()) {
            fields.push(format!(" {name}={value}"));
        }
    }
    fields.sort();
    format!(
        "{}{} {:?}",
        response.status,
        fields.concat(),
        response.text()
    )
}

async fn check(front: &str, back: &str, expected: &str) {
    let indented = |lines: &str| lines.replace("; ", "\n    ");
    let lab = lab(
        &format!("    {}", indented(front)),
        &format!("    {}", indented(back)),
    )
    .await;
    let (response, state) = lab.get("/a/b?c=d").await;
    assert_eq!(
        format!("{state} {}", shown(&response)),
        expected,
        "{front} | {back}"
    );
}

#[tokio::test]
async fn pages_come_from_files_sections_and_formats() {
    let deny = "http-request deny";
    check(
        &format!("errorfiles site; {deny}"),
        "",
        "PR 403 x-page=site \"nope\"",
    )
    .await;
    check(
        &format!("errorfiles site 403; {deny} deny_status 403"),
        "",
        "PR 403 x-page=site \"nope\"",
    )
    .await;
    check(
        &format!("{deny} deny_status 500 errorfiles site"),
        "",
        "PR 500 \"oops\"",
    )
    .await;
    check(
        &format!("{deny} errorfile <dir>/403.http"),
        "",
        "PR 403 x-page=site \"nope\"",
    )
    .await;
    check(
        &format!("http-error status 403 content-type text/plain lf-string \"%[path] %ST\" hdr a %[src]; {deny}"),
        "",
        "PR 403 a=127.0.0.1 content-type=text/plain \"/a/b 403\"",
    )
    .await;
    check(
        &format!("http-error status 403 content-type text/plain lf-file <dir>/body.txt; {deny}"),
        "",
        "PR 403 content-type=text/plain \"hello 127.0.0.1\"",
    )
    .await;
    check(
        &format!("http-error status 403 errorfiles site; {deny}"),
        "",
        "PR 403 x-page=site \"nope\"",
    )
    .await;
    check(&format!("http-error status 403; {deny}"), "", "PR 403 \"\"").await;
}

#[tokio::test]
async fn the_backends_page_comes_before_the_frontends() {
    let page = |text: &str| format!("http-error status 403 content-type text/plain string {text}");
    let deny = "http-request deny";
    let (fe, be) = (page("fe"), page("be"));
    check(
        &fe,
        &format!("{be}; {deny}"),
        "PR 403 content-type=text/plain \"be\"",
    )
    .await;
    // Taken back, it makes room for the frontend's.
    let back = format!("{be}; http-error status 403 default-errorfiles; {deny}");
    check(&fe, &back, "PR 403 content-type=text/plain \"fe\"").await;
}

#[tokio::test]
async fn return_answers_with_whole_pages_too() {
    let give = "http-request return";
    check(
        &format!("{give} status 403 errorfiles site"),
        "",
        "LR 403 x-page=site \"nope\"",
    )
    .await;
    check(
        &format!("{give} status 404 errorfiles site"),
        "",
        "LR 404 \"\"",
    )
    .await;
    check(
        &format!("errorfiles site; {give} status 403 default-errorfiles"),
        "",
        "LR 403 x-page=site \"nope\"",
    )
    .await;
}

#[tokio::test]
async fn rules_for_responses_deny_return_and_redirect() {
    let (mut front, mut back) = ("", "http-response deny status 404");
    check(front, back, "PH 404 \"\"").await;
    back =
        "http-response deny if { status 200 }; http-error status 502 content-type a/b string bad";
    check(front, back, "PH 502 content-type=a/b \"bad\"").await;
    (front, back) = (
        "http-response return content-type a/b lf-string \"%ST %s\" hdr x y",
        "",
    );
    check(front, back, "LH 200 content-type=a/b x=y \"200 n1\"").await;
    front = "http-response redirect location /x%[status] code 303";
    check(
        front,
        back,
        "LH 303 cache-control=no-cache location=/x200 \"\"",
    )
    .await;
    front = "http-response redirect location %[res.hdr(none)] ignore-empty";
    check(front, back, "-- 200 \"n1 GET /a/b?c=d\\n\"").await;
    front = "http-response deny unless { res.hdr(be) 1 }; http-response set-header fe 1";
    check(
        front,
        "http-response set-header be 1",
        "-- 200 be=1 fe=1 \"n1 GET /a/b?c=d\\n\"",
    )
    .await;
}

#[tokio::test]
async fn a_denied_response_leaves_the_clients_connection_usable() {
    let lab = lab("", "    http-response deny if { res.hdr(x) 1 }").await;
    let bad = b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 5\r\n\r\nnever".to_vec();
    lab.node.set_temper(Temper::Exactly(bad));
    let mut client = Client::plain(lab.balancer.address("http")).await;
    assert_eq!(client.get("/").await.unwrap().status, 502);
    lab.node.set_temper(Temper::Normal);
    assert_eq!(client.get("/b").await.unwrap().text(), "n1 GET /b\n");
}

#[tokio::test]
async fn every_response_passes_the_rules_behind_all_others() {
    let after = "http-after-response set-header z %[status]";
    check(after, "", "-- 200 z=200 \"n1 GET /a/b?c=d\\n\"").await;
    check(
        &format!("{after}; http-request return status 201"),
        "",
        "LR 201 z=201 \"\"",
    )
    .await;
    check(
        &format!("{after}; errorfile 403 <dir>/403.http; http-request deny"),
        "",
        "PR 403 x-page=site z=403 \"nope\"",
    )
    .await;
    check(&format!("{after}; http-request redirect location /; http-after-response del-header cache-control"), "", "LR 302 location=/ z=302 \"\"").await;
    let back = "http-after-response set-header be 1; http-response return status 202";
    check(after, back, "LH 202 be=1 z=202 \"\"").await;
    let front = "http-response set-header a 5; http-after-response set-header z %[res.hdr(a)]; http-after-response allow; http-after-response del-header z";
    check(front, "", "-- 200 a=5 z=5 \"n1 GET /a/b?c=d\\n\"").await;
}

#[tokio::test]
async fn redirects_skip_empty_locations_and_keep_queries() {
    let to = "http-request redirect location";
    check(
        &format!("{to} %[req.hdr(none)] ignore-empty"),
        "",
        "-- 200 \"n1 GET /a/b?c=d\\n\"",
    )
    .await;
    if is_haproxy() {
        return; // 2.6 does not know keep-query.
    }
    check(
        &format!("{to} /x keep-query"),
        "",
        "LR 302 cache-control=no-cache location=/x?c=d \"\"",
    )
    .await;
    check(
        &format!("{to} /x?y keep-query"),
        "",
        "LR 302 cache-control=no-cache location=/x?y&c=d \"\"",
    )
    .await;
}

#[tokio::test]
async fn a_tarpit_holds_the_request_before_it_is_denied() {
    let lab = lab(
        "    timeout tarpit 200ms\n    http-request tarpit deny_status 429 if { path /slow }",
        "    timeout tarpit 50ms\n    http-request tarpit status 503",
    )
    .await;
    let started = Instant::now();
    let (response, state) = lab.get("/slow").await;
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!((response.status, &*state), (429, "PT"));
    let (response, state) = lab.get("/").await;
    assert_eq!((response.status, &*state), (503, "PT"));
    assert!(lab.node.requests().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_the_tarpit_costs_nothing_more() {
    if is_haproxy() {
        return; // 2.6 does not look.
    }
    let lab = lab("    timeout tarpit 1h\n    http-request tarpit", "").await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(client.within(Duration::from_millis(100)).await.is_empty());
    drop(client);
    let line = lab.log.wait_for(&["<NOSRV>"]).await;
    assert_eq!(termination(&line), "CT--", "{line}");
}

#[tokio::test]
async fn monitors_are_answered_before_any_rule_and_not_logged() {
    let lab = lab(
        "    monitor-uri /alive\n    monitor fail if { nbsrv(be) gt 1 }\n    http-request deny",
        "",
    )
    .await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    let alive = client.get("/alive").await.unwrap();
    assert_eq!(alive.status, 200);
    assert_eq!(client.get("/alive?x").await.unwrap().status, 403);
    lab.log.wait_for(&["/alive?x"]).await;
    assert!(
        lab.log
            .lines()
            .iter()
            .all(|line| !line.contains("/alive HTTP"))
    );
}

#[tokio::test]
async fn monitors_are_told_of_failure() {
    let lab = lab(
        "    monitor-uri /alive\n    monitor fail unless { nbsrv(be) gt 1 }",
        "",
    )
    .await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    assert_eq!(client.get("/alive").await.unwrap().status, 503);
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn nodes_learn_their_name_and_the_address_that_was_asked_for() {
    let lab = lab(
        "    option originalto header X-Front",
        "    option originalto header X-Dst\n    http-send-name-header X-Name",
    )
    .await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    client
        .send("GET / HTTP/1.1\r\nHost: h\r\nX-Name: forged\r\nX-Dst: 9.9.9.9\r\n\r\n")
        .await;
    assert_eq!(client.response().await.unwrap().status, 200);
    let head = &lab.node.requests()[0];
    assert_eq!(head.get_all("x-name"), ["n1"]);
    assert_eq!(head.get_all("x-dst"), ["9.9.9.9", "127.0.0.1"]);
    assert_eq!(head.get("x-front"), None);
}

#[tokio::test]
async fn pretended_keep_alive_is_closed_all_the_same() {
    let lab = lab(
        "",
        "    option http-server-close\n    option http-pretend-keepalive",
    )
    .await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    assert_eq!(lab.node.requests()[0].get("connection"), None);
    assert_eq!(lab.node.connections(), 2);
}

#[tokio::test]
async fn a_client_that_closes_is_waited_for_unless_told_otherwise() {
    let slow = Temper::Slow(Duration::from_millis(400));
    let patient = lab("", "").await;
    patient.node.set_temper(slow.clone());
    let mut client = Client::plain(patient.balancer.address("http")).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    client.half_close().await;
    assert_eq!(client.response().await.unwrap().status, 200);

    let config = "
defaults
    mode http
    log global
    option httplog
    option abortonclose
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    server n1 <n1> maxconn 1
";
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, config).set("n1", node.address()).start().await;
    node.set_temper(Temper::Hang);
    let mut first = Client::plain(balancer.address("http")).await;
    first.send("GET /first HTTP/1.1\r\nHost: h\r\n\r\n").await;
    testkit::wait_until("the first request", testkit::PATIENCE, async || {
        let seen = node.requests().len();
        testkit::wait::or_seen(seen == 1, seen)
    })
    .await;
    let mut second = Client::plain(balancer.address("http")).await;
    second.send("GET /second HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(second.within(Duration::from_millis(100)).await.is_empty());
    drop(second);
    let line = log.wait_for(&["GET /second"]).await;
    assert_eq!(termination(&line), "CQ--", "{line}");
    first.half_close().await;
    let line = log.wait_for(&["GET /first"]).await;
    assert_eq!(termination(&line), "CH--", "{line}");
    assert_eq!(first.response().await.unwrap().status, 400);
}

#[tokio::test]
async fn connections_without_a_word_are_answered_and_logged_unless_they_are_probes() {
    let told = lab("    timeout http-request 100ms", "").await;
    let mut client = Client::plain(told.balancer.address("http")).await;
    client.half_close().await;
    assert_eq!(client.response().await.unwrap().status, 400);
    let line = told.log.wait_for(&[" 400 "]).await;
    assert_eq!(termination(&line), "CR--", "{line}");

    let silent = lab(
        "    timeout http-request 100ms\n    option http-ignore-probes",
        "",
    )
    .await;
    let mut waits = Client::plain(silent.balancer.address("http")).await;
    assert_eq!(waits.until_closed().await.unwrap(), b"");
    let mut closes = Client::plain(silent.balancer.address("http")).await;
    closes.half_close().await;
    assert_eq!(closes.until_closed().await.unwrap(), b"");
    // Half a request is no probe.
    let mut half = Client::plain(silent.balancer.address("http")).await;
    half.send("GET /").await;
    assert_eq!(half.response().await.unwrap().status, 408);
    silent.log.wait_for(&[" 408 "]).await;
    let null = lab("    option dontlognull", "").await;
    let mut half = Client::plain(null.balancer.address("http")).await;
    half.send("GET /").await;
    drop(half);
    null.log.wait_for(&[" 400 "]).await;
    assert_eq!(
        silent
            .log
            .lines()
            .iter()
            .filter(|line| line.contains("BADREQ"))
            .count(),
        1
    );
}

#[tokio::test]
async fn clients_are_sent_to_a_server_that_says_redir() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let server = "n1 <n1> cookie a redir http://images.example:81/p";
    let config = one_backend("    cookie SRV insert", &[server]);
    let balancer = setup(&log, &config).set("n1", node.address()).start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    let away = client.get("/a/b?c=d").await.unwrap();
    assert_eq!(away.status, 302);
    let location = "http://images.example:81/p/a/b?c=d";
    assert_eq!(away.head.get("location"), Some(location));
    assert_eq!(away.head.get("set-cookie"), None);
    let line = log.wait_for(&["be/n1"]).await;
    assert_eq!(termination(&line), "LCNN", "{line}");
    let mut client = Client::plain(balancer.address("http")).await;
    client
        .send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        .await;
    let served = client.response().await.unwrap();
    assert_eq!(served.text(), "n1 POST /a\n");
}

#[tokio::test]
async fn interim_responses_are_not_for_http_1_0() {
    if is_haproxy() {
        return; // It sends them to all.
    }
    let lab = lab("", "").await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    client.send("GET /interim HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.message_to("GET").await.unwrap().status, 200);
}
