//! What log lines tell of a session: variables and their flags, captured headers and cookies, unique
//! ids; and the levels that rules give them.

use testkit::Client;
use testkit::node::Temper;

use crate::support::{Lab, is_haproxy};

const REQUEST: &str = "GET /a/b?x=1&y=%22\"{ HTTP/1.1\r\nHost: h\r\nCookie: A=1; SIDX=xyz; SID=2\r\n\
    User-Agent: first\r\nUser-Agent: a\"b|c{d}e\\f]g\r\nX-List: one, two\r\nConnection: close\r\n\r\n";

const CAPTURES: &str = "
    capture request header User-Agent len 13
    capture request header X-None len 5
    capture request header x-list len 30
    capture response header Server len 3
    capture response header X-None len 3
    capture cookie SID len 6
    unique-id-format id-%{+X}o%ci-%fi
    unique-id-header X-Id
";

/// `settings` of a frontend in front of a node; each session has a line in this format.
async fn start(settings: &str, format: &str) -> Lab {
    let quoted = format.replace('"', "\\\"");
    let config = format!(
        "
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen fe
    bind 127.0.0.1:<port:http>
    option dontlognull
    log <log> len 4000 format short local0
{settings}
    log-format \"{quoted} ts=%ts B=%B\"
    server n1 <n1>
"
    );
    let answer = "HTTP/1.1 200 OK\r\nserver: py|x\r\ncontent-length: 2\r\n\r\nhi";
    let lab = Lab::start(&config).await;
    lab.node.set_temper(Temper::Exactly(answer.into()));
    lab
}

impl Lab {
    /// The line of one request, without what every line ends in.
    async fn line_of(&self, request: &str) -> String {
        let mut client = Client::plain(self.balancer.address("http")).await;
        client.send(request).await;
        client.until_closed().await.unwrap();
        let line = self.log.wait_for(&[" ts="]).await;
        line.split(" ts=").next().unwrap_or_default().to_owned()
    }
}

async fn check(settings: &str, request: &str, format: &str, expected: &str) {
    let running = start(settings, format).await;
    assert_eq!(
        running.line_of(request).await,
        format!("<6>{expected}"),
        "{format}"
    );
}

#[tokio::test]
async fn captured_headers_and_cookies_are_told_and_cut() {
    let all = "hr=%hr hs=%hs hrl=%hrl hsl=%hsl %CC %CS %ID";
    let id = "id-7F000001-7F000001";
    let (agent, lists) = ("a#22b#7Cc#7Bd#7De\\f]g", "one, two");
    check(
        CAPTURES,
        REQUEST,
        all,
        &format!(
            "hr={{{agent}||{lists}}} hs={{py#7C|}} hrl={agent} - {lists} hsl=py#7C - SIDX=x - {id}"
        ),
    )
    .await;
    check(
        CAPTURES,
        REQUEST,
        &format!("%{{+Q,+E}}o {all}"),
        "hr=\"{a#22b#7Cc#7Bd#7De\\\\f\\]g||one, two}\" hs=\"{py#7C|}\" \
         hrl=\"a#22b#7Cc#7Bd#7De\\\\f\\]g\" \"\" \"one, two\" hsl=\"py#7C\" \"\" \"SIDX=x\" \"\" \
         \"id-7F000001-7F000001\"",
    )
    .await;
    check("", REQUEST, all, "hr= hs= hrl= hsl= - - -").await;
    // What is no request has nothing to capture.
    check(CAPTURES, "BAD\r\n\r\n", all, "hr= hs= hrl= hsl= - - -").await;
    let denied = format!("{CAPTURES}    http-request deny");
    let expected =
        format!("hr={{{agent}||{lists}}} hs={{|}} hrl={agent} - {lists} hsl=- - SIDX=x - {id}");
    check(&denied, REQUEST, all, &expected).await;
}

#[tokio::test]
async fn what_a_server_sets_is_captured_and_it_is_told_the_id() {
    // The request is at hand when its id is made.
    let settings = CAPTURES.replace("%ci-%fi", "%ci-%fi_%[req.hdr(host)]");
    let running = start(&settings, "%CC %CS %ID %[unique-id]").await;
    let answer = "HTTP/1.1 200 OK\r\nset-cookie: other=1\r\nset-cookie: SID=new; path=/\r\n\
                  content-length: 0\r\n\r\n";
    running.node.set_temper(Temper::Exactly(answer.into()));
    let line = running.line_of(REQUEST).await;
    let id = "id-7F000001-7F000001_h";
    assert_eq!(line, format!("<6>SIDX=x SID=ne {id} {id}"));
    assert_eq!(running.node.requests()[0].get("x-id"), Some(id));
}

#[tokio::test]
async fn rules_capture_too_and_samples_recall_it() {
    let settings = "
    capture request header Host len 9
    declare capture request len 3
    declare capture response len 9
    http-request capture path id 1
    http-request capture req.hdr(x-list) len 20
    http-response capture status id 0
    http-response capture res.hdr(none) id 0
    http-request set-header X-Seen %[capture.req.hdr(1)]
";
    let running = start(
        settings,
        "%hr %hs %[capture.req.hdr(0)] %[capture.req.hdr(2),upper] %[capture.req.hdr(9)] \
         %[capture.req.method] %[capture.req.uri] %[capture.req.ver] %[capture.res.ver] %[method]",
    )
    .await;
    let line = running.line_of(REQUEST).await;
    assert_eq!(
        line,
        "<6>{h|/a/|two} {200} h TWO - GET /a/b?x=1&y=%22\"{ HTTP/1.1 HTTP/1.1 GET"
    );
    assert_eq!(running.node.requests()[0].get("x-seen"), Some("/a/"));
}

#[tokio::test]
async fn variables_and_their_flags_are_written_as_haproxy_writes_them() {
    let host = host_name();
    let plain = "%H %HM %HP %HPO %HQ %HU %HV %ci %fi %bi %si %f %ft %b %s %ST %rc %sq %bq %r";
    let told = format!(
        "{host} GET /a/b /a/b ?x=1&y=%22#22{{ /a/b?x=1&y=%22#22{{ HTTP/1.1 127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.1 \
         fe fe fe n1 200 0 0 0 GET /a/b?x=1&y=%22#22{{ HTTP/1.1"
    );
    check("", REQUEST, plain, &told).await;
    check(
        "",
        REQUEST,
        "%{+Q}ci %{+Q}s %{+Q}r %{+X}ci %{+Q,+X}fi %{+Q}sslv %{-M}sslv.",
        "\"127.0.0.1\" \"n1\" \"GET /a/b?x=1&y=%22#22{ HTTP/1.1\" 7F000001 7F000001 \"\" .",
    )
    .await;
    check(
        "",
        REQUEST,
        "%{+X}rt %rt %lc %{+X}lc %{+X,+Q}rt",
        "0000 0 0 0000 0000",
    )
    .await;
    if !is_haproxy() {
        // HAProxy 3.0 has names for items. They are for encodings that do not exist here.
        check("", REQUEST, "%(one)s %(two:str)[src]", "n1 127.0.0.1").await;
    }
    let deny = "    http-request deny";
    check(
        deny,
        REQUEST,
        "%s %bi %bp %si %sp %Tw/%Tc/%Tr/%Td",
        "<NOSRV> - - - - -1/-1/-1/-1",
    )
    .await;
    let bad = "BAD\r\n\r\n";
    check(
        "",
        bad,
        "%HM %HV %r %ST %TR/%Tq %U",
        "<BADREQ> <BADREQ> <BADREQ> 400 -1/-1 0",
    )
    .await;
    check(
        "",
        "GET http://h/p?q HTTP/1.0\r\n\r\n",
        "%HP %HPO %HQ %HV",
        "http://h/p /p ?q HTTP/1.0",
    )
    .await;
}

/// The machine's name.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .unwrap()
        .trim()
        .to_owned()
}

#[tokio::test]
async fn rules_set_the_level_of_a_line() {
    let settings = "
    option log-separate-errors
    http-request set-log-level debug if { path /debug }
    http-request set-log-level silent if { path /silent }
    http-request set-log-level alert if { path /denied }
    http-request deny if { path /denied }
    http-response set-log-level notice if { res.hdr(server) -m found }
";
    let running = start(settings, "%HU").await;
    let address = running.balancer.address("http");
    for path in ["/silent", "/denied", "/debug"] {
        testkit::http::get(address, path).await.unwrap();
    }
    // The response's rule is the last to speak.
    running.log.wait_for(&["<5>/debug"]).await;
    running.log.wait_for(&["<1>/denied"]).await;
    let silent = "
    http-request set-log-level silent if { path /silent }
";
    let running = start(silent, "%HU").await;
    let address = running.balancer.address("http");
    let mut client = Client::plain(address).await;
    client.get("/silent").await.unwrap();
    client.get("/told").await.unwrap();
    running.log.wait_for(&["<6>/told"]).await;
    assert_eq!(
        running
            .log
            .lines()
            .iter()
            .filter(|line| line.contains("/silent"))
            .count(),
        0
    );
}
