//! Actions of rules that few need: who is next in a queue, what servers are told, which backends are public, and
//! what rules over bytes and pauses do to HTTP.

use std::time::{Duration, Instant};

use testkit::{Client, LogSink, Node, PATIENCE, Temper, wait_until};

use crate::support::{Lab, is_haproxy, one_backend, setup};

#[tokio::test]
async fn classes_and_offsets_decide_who_is_next() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    node.set_temper(Temper::Hang);
    let settings = "    timeout queue 30s
    stats uri /stats
    http-request set-priority-class req.hdr(x-class),add(0)
    http-request set-priority-offset req.hdr(x-offset),add(0)";
    let servers = ["n1 <n1> maxconn 1"];
    let balancer = setup(&log, &one_backend(settings, &servers))
        .set("n1", node.address())
        .start()
        .await;
    let arrivals = [
        ("/first", ""),
        ("/plain", ""),
        ("/later", "X-Offset: 60000\r\n"),
        ("/sooner", "X-Offset: -60000\r\n"),
        ("/low", "X-Class: 7\r\n"),
        ("/high", "X-Class: -7\r\n"),
    ];
    let mut clients = Vec::new();
    for (count, (path, fields)) in arrivals.into_iter().enumerate() {
        let mut client = Client::plain(balancer.address("http")).await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
        client.send(request).await;
        clients.push(client);
        if count == 0 {
            wait_until("the first request at the node", PATIENCE, async || {
                testkit::wait::or_seen(node.requests().len() == 1, "none")
            })
            .await;
        } else {
            wait_until("one more in the queue", PATIENCE, async || {
                let queued = balancer.stats("http").await.number("be", "BACKEND", "qcur");
                testkit::wait::or_seen(queued == count as u64, queued)
            })
            .await;
        }
    }
    node.set_temper(Temper::Normal);
    for client in &mut clients {
        assert_eq!(client.response().await.unwrap().status, 200);
    }
    let paths: Vec<String> = node
        .requests()
        .iter()
        .map(|it| it.word(1).to_owned())
        .collect();
    assert_eq!(
        paths,
        ["/first", "/high", "/sooner", "/plain", "/later", "/low"]
    );
}

#[tokio::test]
async fn the_forwarded_header_says_what_was_asked_for() {
    if is_haproxy() {
        return; // HAProxy has it since 2.8
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    http-request set-src req.hdr(x-src) if { req.hdr(x-src) -m found }
    use_backend %[path,field(2,/)]
backend plain
    option forwarded
    server n1 <n1>
backend whole
    option forwarded proto host by by_port-expr int(10) for for_port-expr str(id)
    server n1 <n1>
backend odd
    option forwarded for-expr str(a\\ b) by-expr str(me) host-expr req.hdr(x-none)
    server n1 <n1>
";
    let balancer = setup(&log, config).set("n1", node.address()).start().await;
    let cases = [
        ("/plain", "127.0.0.1", "proto=http;for=127.0.0.1"),
        ("/plain", "2001:db8::1", "proto=http;for=\"[2001:db8::1]\""),
        (
            "/whole",
            "192.0.2.9",
            "proto=http;host=\"h.example\";by=\"127.0.0.1:10\";for=\"192.0.2.9:_id\"",
        ),
        ("/odd", "192.0.2.9", "host=\"\";by=_me;for=unknown"),
    ];
    for (path, src, expected) in cases {
        let mut client = Client::plain(balancer.address("http")).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: h.example\r\nX-Src: {src}\r\n\r\n");
        client.send(request).await;
        assert_eq!(client.response().await.unwrap().status, 200);
        let requests = node.requests();
        let told = requests.last().and_then(|it| it.get("forwarded"));
        assert_eq!(told, Some(expected), "{path} {src}");
    }
}

#[tokio::test]
async fn rules_pass_over_backends_that_are_not_public() {
    if is_haproxy() {
        return; // HAProxy has it since 3.3
    }
    let log = LogSink::start().await;
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    force-be-switch if { req.hdr(x-force) 1 }
    use_backend hidden if { path /hidden }
    use_backend off if { path /off }
    use_backend open
    default_backend last
backend hidden
    be-unpublished
    http-request return status 200 hdr X-Be %[be_name]
backend off
    disabled
    http-request return status 200 hdr X-Be %[be_name]
backend open
    http-request return status 200 hdr X-Be %[be_name]
backend last
    http-request return status 200 hdr X-Be %[be_name]
";
    let balancer = setup(&log, config).start().await;
    let cases = [
        ("/hidden", "", "open"),
        ("/off", "", "open"),
        ("/hidden", "X-Force: 1\r\n", "hidden"),
        ("/x", "", "open"),
    ];
    for (path, field, expected) in cases {
        let mut client = Client::plain(balancer.address("http")).await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n"))
            .await;
        let response = client.response().await.unwrap();
        assert_eq!(response.head.get("x-be"), Some(expected), "{path} {field}");
    }
}

#[tokio::test]
async fn what_rules_over_bytes_reject_is_a_502() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let settings = "    tcp-response content reject if { res.hdr(x-node) -m found } { status 200 }";
    let balancer = setup(&log, &one_backend(settings, &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    let mut client = Client::plain(balancer.address("http")).await;
    let status = client.get("/").await.unwrap().status;
    assert!([200, 502].contains(&status), "{status}");
}

#[tokio::test]
async fn a_paused_response_comes_later_and_whole() {
    if is_haproxy() {
        return; // HAProxy has it since 3.2
    }
    let lab = Lab::start(&format!(
        "{}{}",
        crate::support::DEFAULTS,
        one_backend(
            "    http-response pause 200 if { status 200 }\n    http-response set-header X-After 1",
            &["n1 <n1>"]
        )
    ))
    .await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    let begun = Instant::now();
    let response = client.get("/").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(
        (response.status, response.head.get("x-after")),
        (200, Some("1"))
    );
}

#[tokio::test]
async fn nobody_holds_a_place_by_sending_next_to_nothing() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    client-min-rate 1k after 300ms
    default_backend be
backend be
    server n1 <n1>
";
    let balancer = setup(&log, config).set("n1", node.address()).start().await;
    let mut slow = Client::plain(balancer.address("http")).await;
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
        .await;
    assert_eq!(slow.response().await.unwrap().status, 408);
    let mut quick = Client::plain(balancer.address("http")).await;
    let body = "x".repeat(1000);
    quick
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{body}"
        ))
        .await;
    assert_eq!(quick.response().await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_unsafe_and_has_one_meaning_can_be_asked_for() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    option accept-unsafe-violations-in-http-request
    http-request normalize-uri fragment-strip if { path_beg /strip }
    default_backend be
backend be
    server n1 <n1>
";
    let balancer = setup(&log, config).set("n1", node.address()).start().await;
    let cases: [(&[u8], u16); 6] = [
        (b"GET / HTTP/1.1\r\n\r\n", 200),
        (b"GET /strip#x HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /a#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xc3\xb6 HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
    ];
    for (request, expected) in cases {
        let mut client = Client::plain(balancer.address("http")).await;
        client.send(request).await;
        let status = client.response().await.unwrap().status;
        assert_eq!(status, expected, "{}", request.escape_ascii());
    }
    assert!(node.requests().iter().all(|it| !it.word(1).contains('#')));
}

#[tokio::test]
async fn a_list_that_changes_on_disk_is_in_force_without_a_restart() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    http-request deny if { path -f <dir>/closed.lst }
    http-request return status 200
";
    let setup = setup(&log, config).file("closed.lst", "/one\n");
    let file = setup.folder().join("closed.lst");
    let balancer = setup.start().await;
    let ask = async |path: &str| {
        let mut client = Client::plain(balancer.address("http")).await;
        client.get(path).await.unwrap().status
    };
    assert_eq!((ask("/one").await, ask("/two").await), (403, 200));
    std::fs::write(&file, "/two\n/three\n").unwrap();
    wait_until("the new list", PATIENCE, async || {
        let seen = (ask("/one").await, ask("/two").await, ask("/three").await);
        testkit::wait::or_seen(seen == (200, 403, 403), format!("{seen:?}"))
    })
    .await;
}
