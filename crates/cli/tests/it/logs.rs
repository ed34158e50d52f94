//! Where log lines go, what stands before them, and which sessions have one.

use std::os::unix::net::UnixDatagram;

use testkit::websocket::Target;
use testkit::{Authority, Balancer, Client, LogSink, Node, WebSocket};

use crate::support::{Lab, NEVER, SOON, is_haproxy, program};

/// A frontend `fe` with these settings, a node behind it.
fn config(global: &str, settings: &str) -> String {
    format!(
        "
global
    log <log> format short local0
{global}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen fe
    bind 127.0.0.1:<port:http>
    option dontlognull
{settings}
    server n1 <n1>
"
    )
}

async fn start(global: &str, settings: &str) -> Lab {
    Lab::start(&config(global, settings)).await
}

impl Lab {
    async fn get(&self, path: &str) -> u16 {
        let address = self.balancer.address("http");
        testkit::http::get(address, path).await.unwrap().status
    }
}

/// A line with each number as 0 and each month as Mon: the rest is what a test can know.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if masked.ends_with('0') => {}
            '0'..='9' => masked.push('0'),
            c => masked.push(c),
        }
    }
    for month in "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(' ') {
        masked = masked.replace(&format!(">{month} "), ">Mon ");
        masked = masked.replace(&format!("/{month}/"), "/Mon/");
    }
    masked.replace(">Mon  ", ">Mon ")
}

/// The line of one request, sent to a target in this format.
async fn check_frame(global: &str, format: &str, expected: &str) {
    let settings = format!(
        "    log <log> {format} local1 info\n    log-format \"a  %HU\"\n    \
         log-format-sd \"%{{+Q,+E}}o [x@1 path=%HU]\""
    );
    let running = start(global, &settings).await;
    assert_eq!(running.get("/f").await, 200);
    let line = running.log.wait_for(&["a /f"]).await;
    let tag = if is_haproxy() { "haproxy" } else { "tidegate" };
    assert_eq!(
        masked(&line),
        masked(&expected.replace("TAG", tag)),
        "{line}"
    );
}

#[tokio::test]
async fn each_target_gets_its_own_header() {
    let iso = "2026-11-22T08:05:01.123456+00:00";
    let local = "<142>Nov 22 08:05:01 TAG[42]: a /f\n";
    let sd = "[x@1 path=\"/f\"]";
    let named = "    log-send-hostname lb";
    check_frame("", "", local).await;
    check_frame(named, "", "<142>Nov 22 08:05:01 lb TAG[42]: a /f\n").await;
    check_frame(named, "format local", local).await;
    check_frame(
        "",
        "format rfc3164",
        "<142>Nov 22 08:05:01 localhost TAG[42]: a /f\n",
    )
    .await;
    check_frame(
        "",
        "format rfc5424",
        &format!("<142>1 {iso} - TAG 42 - {sd} a /f\n"),
    )
    .await;
    check_frame(
        named,
        "format rfc5424",
        &format!("<142>1 {iso} lb TAG 42 - {sd} a /f\n"),
    )
    .await;
    check_frame("", "format priority", "<142>a /f\n").await;
    check_frame("", "format short", "<6>a /f\n").await;
    check_frame("", "format timed", &format!("<6>{iso} a /f\n")).await;
    check_frame("", "format iso", &format!("{iso} a /f\n")).await;
    check_frame("", "format raw", "a /f\n").await;
}

#[tokio::test]
async fn a_line_is_cut_at_the_length_of_its_target() {
    let running = start(
        "",
        "    log <log> len 100 format raw local0\n    log <log> len 80 format short local0\n    \
         log-format \"%HU\"",
    )
    .await;
    let path = format!("/{}", "x".repeat(200));
    running.get(&path).await;
    let short = running.log.wait_for(&["<6>/xx"]).await;
    assert_eq!(short.len(), 80 + "\n".len());
    let lines = running.log.lines();
    let raw = lines.iter().find(|line| line.starts_with("/xx")).unwrap();
    assert_eq!(raw.len(), 100 + "\n".len());
    assert!(raw.ends_with("x\n"), "{raw:?}");
}

#[tokio::test]
async fn a_target_gets_the_levels_it_asks_for_and_the_turns_of_its_sample() {
    let running = start(
        "",
        "    log <log> format short local0 err\n    log <log> format priority local1 info notice\n    \
         log <log> format raw sample 2,4-5:5 local0\n    log-format \"at %HU %ts %B\"",
    )
    .await;
    for turn in 1..=10 {
        running.get(&format!("/{turn}")).await;
        running
            .log
            .wait_for(&[&format!("<142>at /{turn} --")])
            .await;
    }
    let lines = running.log.lines();
    let of = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((of("<3>"), of("<6>"), of("<142>")), (0, 0, 10));
    let raw = lines.iter().filter(|line| line.starts_with("at"));
    let raw: Vec<&str> = raw.map(|line| line.split(" --").next().unwrap()).collect();
    assert_eq!(raw, ["at /2", "at /4", "at /5", "at /7", "at /9", "at /10"]);
}

#[tokio::test]
async fn lines_go_to_sockets_of_every_kind_and_to_descriptors() {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let settings = "    log unix@<dir>/log format raw local0\n    log stdout format raw local0\n    \
         log fd@2 format short local0\n    log udp4@<log> local0\n    log-format \"to %HU\"";
    let setup = Balancer::setup(program(), &config("", settings))
        .set("log", log.address())
        .set("n1", node.address());
    let path = setup.folder().join("log");
    let unix = UnixDatagram::bind(&path).unwrap();
    unix.set_read_timeout(Some(SOON)).unwrap();
    let balancer = setup.start().await;
    let address = balancer.address("http");
    testkit::http::get(address, "/all").await.unwrap();
    log.wait_for(&["<134>", "]: to /all\n"]).await;
    balancer.wait_for_line(&["<6>to /all"]).await;
    let mut bytes = [0; 100];
    let count = unix.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..count], b"to /all\n");
    assert!(balancer.lines().iter().any(|line| line == "to /all"));
    // A syslog server that was started anew has another socket under the same name.
    drop(unix);
    std::fs::remove_file(&path).unwrap();
    let unix = UnixDatagram::bind(&path).unwrap();
    unix.set_read_timeout(Some(SOON)).unwrap();
    testkit::http::get(address, "/again").await.unwrap();
    let count = unix.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..count], b"to /again\n");
}

#[tokio::test]
async fn a_tag_of_a_proxys_own_stands_in_its_lines() {
    let running = start(
        "    log-tag whole",
        "    log <log> local0\n    log-tag part\n    log-format x%HU",
    )
    .await;
    running.get("/t").await;
    let line = running.log.wait_for(&["x/t"]).await;
    assert!(line.contains(" part["), "{line}");
}

#[tokio::test]
async fn normal_traffic_may_be_left_out_and_errors_may_stand_out() {
    let rules = "    log <log> format short local0\n    http-request return status 500 if { path /e }\n    \
                 http-request deny if { path /d }\n    http-request return status 404 if { path /n }\n    \
                 log-format \"%HU %ST\"\n";
    let errors = format!("{rules}    option log-separate-errors");
    let running = start("", &errors).await;
    for path in ["/", "/e", "/d", "/n"] {
        running.get(path).await;
    }
    let all = ["<3>/d 403", "<3>/e 500", "<6>/ 200", "<6>/n 404"];
    wait_for_lines(&running, &all).await;

    let only_errors = format!("{rules}    option dontlog-normal");
    let running = start("", &only_errors).await;
    for path in ["/", "/n", "/d", "/e"] {
        running.get(path).await;
    }
    wait_for_lines(&running, &["<6>/d 403", "<6>/e 500"]).await;
}

/// Waits until these are the lines of all sessions, in whatever order.
async fn wait_for_lines(running: &Lab, expected: &[&str]) {
    testkit::wait_until("the lines of all sessions", SOON, async || {
        let lines = running.log.lines();
        let sessions = lines.iter().filter(|line| line.contains(">/"));
        let mut sessions: Vec<&str> = sessions.map(|line| line.trim_end()).collect();
        sessions.sort_unstable();
        match sessions == expected {
            true => Ok(()),
            false => Err(format!("{sessions:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn logasap_writes_the_line_when_the_response_begins_with_a_plus() {
    let running = start(
        "",
        "    log <log> format short local0\n    option logasap\n    \
         log-format \"%HU %ST %B %Ta %Tt %ts %Tr\"",
    )
    .await;
    let target = Target::plain(running.balancer.address("http"));
    let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    let line = running.log.wait_for(&[" 101 "]).await;
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(words[2].starts_with('+') && words[2] != "+0", "{line}");
    assert!(
        words[3].starts_with('+') && words[4].starts_with('+'),
        "{line}"
    );
    assert_eq!(words[5], "--");
    socket.echo("still open").await.unwrap();
    socket.close().await.unwrap();
    running.get("/after").await;
    let line = running.log.wait_for(&["/after"]).await;
    assert!(line.contains(" 200 +"), "{line}");
    // The tunnel is over, and has no second line.
    let of_tunnel = running.log.lines();
    let of_tunnel = of_tunnel.iter().filter(|line| line.contains(" 101 "));
    assert_eq!(of_tunnel.count(), 1);
    drop(running.node);
}

#[tokio::test]
async fn the_named_formats_are_haproxys() {
    let check = async |option: &str, expected: &str| {
        let settings = format!("    log <log> format raw local0\n    {option}");
        let running = start("", &settings).await;
        running.get("/x?y").await;
        let line = running.log.wait_for(&["n1"]).await;
        assert_eq!(
            masked(line.trim_end()),
            masked(expected),
            "{option}: {line}"
        );
    };
    let begin = "127.0.0.1:4711 [22/Nov/2026:08:05:01.123] fe fe/n1";
    let request = "\"GET /x?y HTTP/1.1\"";
    let http = format!("{begin} 0/0/0/0/0 200 99 - - ---- 1/1/0/0/0 0/0 {request}");
    check("option httplog", &http).await;
    let clf = format!(
        "127.0.0.1 - - [22/Nov/2026:08:05:01 +0000] {request} 200 99 \"\" \"\" 4711 123 \"fe\" \"fe\" \"n1\" \
         0 0 0 0 0 ---- 1 1 0 0 0 0 0 \"\" \"\" "
    );
    check("option httplog clf", clf.trim_end()).await;
    check(
        "option tcplog",
        &format!("{begin} 0/0/0 99 -- 1/1/0/0/0 0/0"),
    )
    .await;
    check("option httpslog", &format!("{http} 0/-/-/-/0 -/-/-")).await;
}

#[tokio::test]
async fn without_a_format_a_session_is_told_when_it_begins() {
    let running = start("", "    log <log> format raw local0").await;
    let target = Target::plain(running.balancer.address("http"));
    let (socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    let line = running.log.wait_for(&["Connect from 127.0.0.1:"]).await;
    let expected = "Connect from 127.0.0.1:4711 to 127.0.0.1:80 (fe/HTTP)\n";
    assert_eq!(masked(&line), masked(expected));
    drop(socket);
}

#[tokio::test]
async fn connections_that_never_became_sessions_are_told_in_haproxys_words() {
    let authority = Authority::new();
    let log = LogSink::start().await;
    let settings = "
listen tls
    bind 127.0.0.1:<port:tls> ssl crt <dir>/cert.pem
    timeout client 300ms
    log <log> format short local0
    option httplog
    option log-separate-errors
listen proxied
    bind 127.0.0.1:<port:proxied> accept-proxy name front
    timeout client 300ms
    log <log> format short local0
    option httplog
listen own
    bind 127.0.0.1:<port:own> accept-proxy
    log <log> format short local0
    option httplog
    option dontlognull
    error-log-format \"own %ci %f %[fc_err] %[fc_err_str] %ts %b/%s\"
";
    let node = Node::start("n1").await;
    let setup = Balancer::setup(program(), &format!("{}{settings}", config("", "")));
    let balancer = setup
        .file("cert.pem", &authority.server_pem(&["localhost"]))
        .set("log", log.address())
        .set("n1", node.address())
        .start()
        .await;
    let send = async |port: &str, bytes: &str| {
        let mut client = Client::plain(balancer.address(port)).await;
        client.send(bytes).await;
        client
    };
    let garbage = send("tls", "GET / HTTP/1.0\r\n\r\n").await;
    log.wait_for(&["<3>127.0.0.1:", "] tls/1: SSL handshake failure\n"])
        .await;
    let silent = send("tls", "").await;
    log.wait_for(&["<3>", "] tls/1: Timeout during SSL handshake\n"])
        .await;
    send("tls", "").await.half_close().await;
    log.wait_for(&["<3>", "] tls/1: Connection closed during SSL handshake\n"])
        .await;
    let no_header = send("proxied", "GET / HTTP/1.0\r\n\r\n").await;
    let not_one = "Received something which does not look like a PROXY protocol header\n";
    log.wait_for(&["<6>127.0.0.1:", &format!("] proxied/front: {not_one}")])
        .await;
    let mute = send("proxied", "").await;
    log.wait_for(&[
        "<6>",
        "] proxied/front: Timeout while waiting for PROXY protocol header\n",
    ])
    .await;
    drop(send("proxied", "").await);
    let closed = "] proxied/front: Connection closed while waiting for PROXY protocol header\n";
    log.wait_for(&["<6>", closed]).await;
    drop(send("own", "").await);
    let own = send("own", "GET / HTTP/1.0\r\n\r\n").await;
    let line = format!(
        "<6>own 127.0.0.1 own 15 {} PR own/<NOSRV>\n",
        not_one.trim_end()
    );
    log.wait_for(&[&line]).await;
    // Nothing was said on the other one, and `dontlognull` leaves it out.
    tokio::time::sleep(NEVER).await;
    assert_eq!(
        log.lines()
            .iter()
            .filter(|line| line.contains("<6>own"))
            .count(),
        1
    );
    drop((garbage, silent, no_header, mute, own));
}

#[tokio::test]
async fn each_check_is_told_where_that_is_asked_for() {
    let config = "
global
    log <log> format short local0
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen fe
    bind 127.0.0.1:<port:http>
    log global
    option httpchk GET /health
    option log-health-checks
    server n1 <n1> check inter 100ms rise 2 fall 2
";
    let Lab {
        log,
        node,
        balancer: _balancer,
    } = Lab::start(config).await;
    let passed = "Health check for server fe/n1 succeeded, reason: Layer7 check passed, code: 200, check duration: ";
    log.wait_for(&["<5>", passed, "ms, status: 2/2 UP.\n"])
        .await;
    node.set_health(testkit::Health::Status(500));
    let failed =
        "Health check for server fe/n1 failed, reason: Layer7 wrong status, code: 500, info: ";
    log.wait_for(&["<5>", failed, "ms, status: 1/2 UP.\n"])
        .await;
    log.wait_for(&["<5>", failed, "ms, status: 0/2 DOWN.\n"])
        .await;
    // The reason was told already.
    log.wait_for(&["<1>Server fe/n1 is DOWN. 0 active and 0 backup servers left."])
        .await;
    node.set_health(testkit::Health::Status(200));
    log.wait_for(&["<5>", passed, "ms, status: 1/2 DOWN.\n"])
        .await;
    log.wait_for(&["<5>Server fe/n1 is UP. 1 active"]).await;
}

#[tokio::test]
async fn a_target_that_takes_nothing_loses_lines_and_stops_nobody() {
    if is_haproxy() {
        return; // how many are lost, and how it is told, is ours
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let settings = "    log <dir>/full format raw local0\n    log-format \"%HU\"";
    let setup = Balancer::setup(program(), &config("", settings))
        .set("log", log.address())
        .set("n1", node.address());
    let unix = UnixDatagram::bind(setup.folder().join("full")).unwrap();
    let balancer = setup.start().await;
    let mut client = Client::plain(balancer.address("http")).await;
    for turn in 0..400 {
        assert_eq!(client.get(&format!("/{turn}")).await.unwrap().status, 200);
    }
    let told = "log lines were lost: a log target cannot be reached or does not keep up.";
    log.wait_for(&["<4>", told]).await;
    drop(unix);
}
