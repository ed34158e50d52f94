//! The stats page and its forms: what they show, to whom, and under which address.

use testkit::stats::Table;
use testkit::{Client, LogSink, Node, Response};

use testkit::wait::{or_seen, wait_until};

use crate::support::{SOON, is_haproxy, setup};

const CONFIG: &str = "
userlist staff
    user ann insecure-password secret
frontend fe
    bind 127.0.0.1:<port:http>
    bind 127.0.0.1:<port:second> name second
    option socket-stats
    http-request deny if { path /denied }
    http-request return status 204 if { path /returned }
    http-request auth if { path /asked }
    default_backend be
backend be
    balance leastconn
    option httpchk
    server n1 <n1> check inter 200ms maxconn 50 maxqueue 7 weight 10
    server gone <gone> check inter 200ms
    server off <n1> backup disabled
    server n2 <n1>
listen stats
    bind 127.0.0.1:<port:stats>
    stats uri /stats
    stats show-legends
    stats show-node edge-7
    stats refresh 10s
listen scoped
    bind 127.0.0.1:<port:scoped>
    stats uri /s
    stats scope .
    stats scope be
    stats http-request auth realm gate unless { http_auth(staff) }
    stats http-request deny if { path_end /no }
";

struct Lab {
    balancer: testkit::Balancer,
    log: LogSink,
    _node: Node,
}

async fn lab() -> Lab {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let gone = testkit::Port::claim();
    let balancer = setup(&log, CONFIG)
        .set("n1", node.address())
        .set("gone", gone.address())
        .start()
        .await;
    balancer.wait_status("stats", "be", "gone", "DOWN").await;
    wait_until("a check to pass", SOON, async || {
        let table = balancer.stats("stats").await;
        let seen = (
            table.get("be", "n1", "check_status"),
            table.get("be", "n1", "status"),
        );
        or_seen(seen == ("L7OK", "UP"), format!("{seen:?}"))
    })
    .await;
    Lab {
        balancer,
        log,
        _node: node,
    }
}

impl Lab {
    async fn get(&self, port: &str, path: &str) -> Response {
        testkit::http::get(self.balancer.address(port), path)
            .await
            .unwrap()
    }
}

impl Lab {
    /// On a connection of its own: HAProxy closes it behind a refusal.
    async fn send(&self, port: &str, line: &str, fields: &str) -> Response {
        let mut client = Client::plain(self.balancer.address(port)).await;
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        client.send(request).await;
        client.response().await.unwrap()
    }
}

#[tokio::test]
async fn every_column_is_filled_as_haproxy_fills_it() {
    let lab = lab().await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    for path in ["/1", "/2", "/denied", "/returned", "/asked"] {
        client.get(path).await.unwrap();
    }
    lab.get("second", "/3").await;
    let table = lab.balancer.stats("stats").await;
    for (proxy, server, columns) in [
        (
            "fe",
            "FRONTEND",
            "stot=2 dreq=1 ereq=0 hrsp_2xx=4 hrsp_4xx=2 req_tot=6 intercepted=2 status=OPEN type=0 qcur= weight= chkfail= econ= rate_lim=0 mode=http addr= dcon=0 dses=0 conn_tot=2 sid=0 lbtot= cookie= algo= agg_server_status=",
        ),
        (
            "fe",
            "sock-1",
            "stot=1 dreq=1 status=OPEN type=3 sid=1 req_tot= hrsp_2xx= rate= slim=0 mode=http conn_tot= dcon=0 eint=0 wrew=0",
        ),
        (
            "fe",
            "second",
            "stot=1 dreq=0 status=OPEN type=3 sid=2 smax=1",
        ),
        (
            "be",
            "n1",
            "slim=50 qlimit=7 weight=10 uweight=10 act=1 bck=0 chkfail=0 chkdown=0 type=2 sid=1  check_code=200 check_rise=2 check_fall=3 check_health=4 mode=http throttle= tracked= hanafail= agent_status= ereq= dreq= rate_lim= algo= check_desc=Layer7_check_passed",
        ),
        (
            "be",
            "gone",
            "stot=0 status=DOWN weight=1 act=1 lastsess=-1 last_chk=ECONNREFUSED_returned_by_OS_(Connection_refused) check_status=L4CON check_code= chkdown=1 check_health=0 hrsp_2xx=0 req_tot=0 used_conn_cur=0 need_conn_est=1 check_desc=Layer4_connection_problem",
        ),
        (
            "be",
            "off",
            "status=MAINT act=0 bck=1 chkfail= chkdown= downtime= check_status= check_rise= need_conn_est=0",
        ),
        (
            "be",
            "n2",
            "check_status= chkfail= chkdown= downtime= qlimit= slim=",
        ),
        (
            "be",
            "BACKEND",
            "stot=3 req_tot=3 hrsp_2xx=3 status=UP act=2 bck=0 weight=11 chkdown=0 downtime=0 type=1 algo=leastconn mode=http intercepted= lbtot=3 ereq= check_status= agg_server_status=0 comp_in=0 cache_hits=0",
        ),
        ("stats", "FRONTEND", "type=0 status=OPEN"),
        (
            "stats",
            "BACKEND",
            "status=UP chkdown=0 downtime= act=0 weight=0",
        ),
    ] {
        for (name, value) in columns.split(' ').filter_map(|it| it.split_once('=')) {
            let expected = value.replace('_', " ");
            let expected = if name == "check_desc" || name == "last_chk" {
                expected
            } else {
                value.to_owned()
            };
            assert_eq!(
                table.get(proxy, server, name),
                expected,
                "{proxy}/{server} {name}"
            );
        }
    }
    let address = lab.balancer.address("second").to_string();
    assert_eq!(table.get("fe", "second", "addr"), address);
}

#[tokio::test]
async fn words_behind_the_uri_choose_the_form_and_the_lines() {
    let lab = lab().await;
    for (path, kind, refresh, begins) in [
        ("/stats;csv", "text/plain", Some("10"), "# pxname,svname,"),
        (
            "/stats;csv;norefresh",
            "text/plain",
            None,
            "# pxname,svname,",
        ),
        (
            "/stats;json",
            "application/json",
            Some("10"),
            "[[{\"objType\":\"Frontend\",\"proxyId\":1,\"id\":0,\"field\":{\"pos\":0,\"name\":\"pxname\"},\"processNum\":1,\"tags\":{\"origin\":\"Key\",\"nature\":\"Name\",\"scope\":\"Service\"},\"value\":{\"type\":\"str\",\"value\":\"fe\"}},",
        ),
        (
            "/stats;typed",
            "text/plain",
            Some("10"),
            "F.1.0.0.pxname.1:KNS:str:fe\n",
        ),
        ("/stats;json-schema", "application/json", Some("10"), "{"),
        ("/stats", "text/html", None, "<!DOCTYPE"),
        ("/statsXYZ", "text/html", None, "<!DOCTYPE"),
    ] {
        let response = lab.get("stats", path).await;
        assert_eq!(response.status, 200, "{path}");
        let sent = response.head.get("content-type").unwrap_or_default();
        assert!(sent.starts_with(kind), "{path}: {sent}");
        if kind != "text/html" {
            assert_eq!(response.head.get("refresh"), refresh, "{path}");
        }
        let text = response.text();
        assert!(
            text.starts_with(begins),
            "{path}: {}",
            &text[..text.len().min(200)]
        );
    }
    for (rest, expected) in [
        (";csv;scope=be", "be/n1 be/gone be/off be/n2 be/BACKEND"),
        (";csv?scope=be", "be/n1 be/gone be/off be/n2 be/BACKEND"),
        (";csv;scope=be;no-maint", "be/n1 be/gone be/n2 be/BACKEND"),
        (";csv;scope=be;up", "be/n1 be/n2 be/BACKEND"),
        (";csv;scope=nobody", ""),
    ] {
        let text = lab.get("stats", &format!("/stats{rest}")).await.text();
        assert_eq!(lines(&text), expected, "{rest}");
    }
    let table = lab.get("stats", "/stats;csv;up").await.text();
    assert_eq!(
        Table::parse(&table).get("be", "BACKEND", "status"),
        "UP (2/4)"
    );
}

/// `proxy/server` of each line.
fn lines(csv: &str) -> String {
    let lines = csv.lines().filter(|line| !line.starts_with('#'));
    let names = lines.map(|line| line.splitn(3, ',').take(2).collect::<Vec<_>>().join("/"));
    names
        .filter(|name| !name.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn who_sees_the_page_and_what_of_it_is_configured() {
    let lab = lab().await;
    let asked = lab.send("scoped", "GET /s;csv", "").await;
    assert_eq!(asked.status, 401);
    let realm = asked.head.get("www-authenticate");
    assert_eq!(realm, Some("Basic realm=\"gate\""));
    let ann = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
    assert_eq!(lab.send("scoped", "GET /s/no", ann).await.status, 403);
    let response = lab.send("scoped", "GET /s;csv", ann).await;
    assert_eq!(
        lines(&response.text()),
        "be/n1 be/gone be/off be/n2 be/BACKEND scoped/FRONTEND scoped/BACKEND"
    );
    lab.log
        .wait_for(&[
            "scoped/<STATS>",
            " 200 ",
            " LR-- ",
            "\"GET /s;csv HTTP/1.1\"",
        ])
        .await;
    // Other methods are the site's.
    assert_eq!(lab.send("scoped", "DELETE /s", ann).await.status, 503);
}

#[tokio::test]
async fn the_page_runs_nothing_and_may_not_be_framed_or_kept() {
    if is_haproxy() {
        return; // It says nothing of the kind.
    }
    let lab = lab().await;
    let page = lab.get("stats", "/stats;norefresh").await;
    let policy = page.head.get("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"));
    assert_eq!(page.head.get("x-frame-options"), Some("DENY"));
    assert_eq!(page.head.get("cache-control"), Some("no-store"));
    let text = page.text();
    assert!(text.contains("edge-7") && !text.contains("http-equiv") && !text.contains("<script"));
    assert!(
        !text.contains("method=\"post\""),
        "nobody may change anything"
    );
    // An old client gets it without chunks, until the end.
    let mut old = Client::plain(lab.balancer.address("stats")).await;
    old.send("GET /stats;csv HTTP/1.0\r\n\r\n").await;
    let bytes = old.until_closed().await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("transfer-encoding") && text.contains("\r\n\r\n# pxname,"));
    assert!(text.ends_with('\n'));
}

/// What the server was asked and did not answer is none of its requests, and its times are of those
/// it did answer.
#[tokio::test]
async fn a_server_is_charged_with_what_it_answered() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let gone = testkit::Port::claim();
    let config = "
frontend fe
    bind 127.0.0.1:<port:http>
    http-request return status 200 content-type text/plain string ok if { path /mine }
    http-response deny if { res.hdr(content-length) 7 }
    use_backend gone if { path /gone }
    default_backend be
backend be
    server n1 <n1>
backend gone
    retries 0
    server n1 <gone>
listen stats
    bind 127.0.0.1:<port:stats>
    stats uri /stats
";
    let balancer = setup(&log, config)
        .set("n1", node.address())
        .set("gone", gone.address())
        .start()
        .await;
    for (path, status) in [
        ("/mine", 200),
        ("/bytes/5", 200),
        ("/bytes/7", 502),
        ("/status/404", 404),
        ("/gone", 503),
    ] {
        let response = testkit::http::get(balancer.address("http"), path).await;
        assert_eq!(response.unwrap().status, status, "{path}");
    }
    // HAProxy counts when it has done with a session, which may be after its answer.
    let expected = [
        (
            "fe",
            "FRONTEND",
            "req_tot=5 hrsp_2xx=2 hrsp_4xx=1 hrsp_5xx=2 intercepted=1 dresp=1",
        ),
        (
            "be",
            "n1",
            "req_tot=3 hrsp_2xx=2 hrsp_4xx=1 hrsp_5xx=0 lbtot=3 dresp=1",
        ),
        (
            "be",
            "BACKEND",
            "req_tot=3 hrsp_2xx=1 hrsp_4xx=1 hrsp_5xx=1 dresp=1",
        ),
        ("gone", "n1", "req_tot=0 hrsp_5xx=0 econ=1 ttime=0"),
        ("gone", "BACKEND", "req_tot=1 hrsp_5xx=1 econ=1"),
    ];
    wait_until("the counts", SOON, async || {
        let table = balancer.stats("stats").await;
        for (proxy, server, columns) in expected {
            for (name, value) in columns.split(' ').filter_map(|it| it.split_once('=')) {
                let seen = table.get(proxy, server, name);
                or_seen(seen == value, format!("{proxy}/{server} {name}={seen}"))?;
            }
        }
        Ok::<(), String>(())
    })
    .await;
}
