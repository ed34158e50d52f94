//! Checks of many steps and many protocols, and agents: what is said to a node, what comes of its
//! answers, and how it is told.

use testkit::script::Cue::{self, Hear, HearHead, Listen};
use testkit::script::Scripted;
use testkit::{Balancer, LogSink, PATIENCE, wait_until};

use crate::support::setup;

/// A backend `be` in `mode tcp` with one server `s`; `<s>` is where it is.
fn backend(lines: &str, parameters: &str) -> String {
    let lines: String = lines
        .lines()
        .map(|line| format!("    {}\n", line.trim()))
        .collect();
    format!(
        "frontend fe\n    mode tcp\n    bind 127.0.0.1:<port:fe>\n    default_backend be\nbackend be\n    mode tcp\n    option log-health-checks\n{lines}    server s <s> {parameters}\n"
    )
}

struct Lab {
    log: LogSink,
    node: Scripted,
    _balancer: Balancer,
}

impl Lab {
    async fn start(config: &str, scripts: Vec<Vec<Cue>>) -> Self {
        let log = LogSink::start().await;
        let node = Scripted::start(scripts).await;
        let balancer = setup(&log, config)
            .set("s", node.address())
            .set("port", node.address().port())
            .start()
            .await;
        Self {
            log,
            node,
            _balancer: balancer,
        }
    }
}

const ONCE: &str = "check inter 10s rise 1 fall 1";

/// One check with `lines` in the backend, of a node that plays `script`: the log line ends like this,
/// from its reason to its duration.
async fn check(lines: &str, script: Vec<Cue>, expected: &str) {
    let lab = Lab::start(&backend(lines, ONCE), vec![script]).await;
    let line = lab.log.wait_for(&["Health check for server be/s"]).await;
    let told = line.split_once("be/s ").expect("who").1;
    let told = told.split(", check duration").next().unwrap_or_default();
    assert_eq!(told, expected, "{lines}");
}

#[tokio::test]
async fn each_protocol_is_spoken_and_its_answer_told() {
    const GREETING: &[u8] = b"\x13\0\0\0\x0a8.0.19\0..........\0";
    for (lines, script, expected) in [
        (
            "option redis-check",
            vec![Hear(14), Cue::say("+PONG\r\n")],
            "succeeded, reason: Layer7 check passed, code: 0, info: \"Redis server is ok\"",
        ),
        (
            "option redis-check",
            vec![Hear(14), Cue::say("-NOAUTH\r\n")],
            "failed, reason: Layer7 wrong status, code: 0, info: \"-NOAUTH\"",
        ),
        (
            "option smtpchk EHLO a.example",
            vec![
                Cue::say("220 hi\r\n"),
                Hear(16),
                Cue::say("250-a\r\n250 b\r\n"),
                Hear(6),
                Cue::say("221 bye\r\n"),
            ],
            "succeeded, reason: Layer7 check passed, code: 221, info: \"bye\"",
        ),
        (
            "option mysql-check user bob",
            vec![
                Hear(46),
                Cue::say(GREETING),
                Cue::say(b"\x07\0\0\x02\0\0\0\x02\0\0\0"),
            ],
            "succeeded, reason: Layer7 check passed, code: 0, info: \"8.0.19\"",
        ),
        (
            "option pgsql-check user bob",
            vec![Hear(18), Cue::say(b"E\0\0\0\x0bSFATAL\0")],
            "failed, reason: Layer7 invalid response, info: \"FATAL\"",
        ),
        (
            "option ldap-check",
            vec![
                Hear(14),
                Cue::say(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"),
            ],
            "succeeded, reason: Layer7 check passed, code: 0, info: \"Success\"",
        ),
        (
            "option ssl-hello-chk",
            vec![Hear(9), Cue::say(b"\x15\x03\0\0\x02\x02\x28"), Listen],
            "succeeded, reason: Layer6 check passed",
        ),
        (
            "option ssl-hello-chk",
            vec![Hear(9), Cue::say("what is it?"), Listen],
            "failed, reason: Layer6 invalid response",
        ),
    ] {
        check(lines, script, expected).await;
    }
}

#[tokio::test]
async fn steps_are_taken_in_turn_and_told_by_their_numbers() {
    for (lines, script, expected) in [
        (
            "option tcp-check
             tcp-check connect
             tcp-check set-var(check.word) str(PING)
             tcp-check send-lf %[var(check.word)]%[be_name]
             tcp-check expect string-lf +%[var(check.word)]",
            vec![Hear(6), Cue::say("+PING")],
            "succeeded, reason: Layer7 check passed, code: 0, info: \"(tcp-check)\"",
        ),
        (
            "option tcp-check
             tcp-check send PING
             tcp-check expect ! rstring ^- comment is\\ it\\ well",
            vec![Hear(4), Cue::say("-ERR")],
            "failed, reason: Layer7 invalid response, info: \"TCPCHK matched unwanted content \
             (regex) at step 2 comment: is it well\"",
        ),
        (
            "option tcp-check
             tcp-check expect binary 00ff",
            vec![Cue::say(b"\x01\xff")],
            "failed, reason: Layer7 invalid response, info: \"TCPCHK did not match content \
             (binary) at step 1\"",
        ),
        (
            "option tcp-check
             tcp-check connect
             tcp-check connect port 1",
            vec![Listen],
            "failed, reason: Layer4 connection problem, info: \"ECONNREFUSED returned by OS \
             (Connection refused) at step 2 of tcp-check (connect port 1)\"",
        ),
        (
            "option tcp-check
             timeout check 100ms
             tcp-check expect tout-status L6TOUT string hello",
            vec![Listen],
            "failed, reason: Layer6 timeout, info: \" at step 1 of tcp-check (expect string 'hello')\"",
        ),
        (
            "option httpchk
             http-check expect status-code int(77) error-status L7STS on-error got\\ %[res.hdr(a)] status 200",
            vec![HearHead, Cue::say("HTTP/1.1 500 No\r\na: b\r\ncontent-length: 0\r\n\r\n")],
            "failed, reason: Layer7 wrong status, code: 77, info: \"got b\"",
        ),
        (
            "option httpchk
             http-check expect hdr name -m beg x- value -m end b",
            vec![HearHead, Cue::say("HTTP/1.1 200 OK\r\nX-A: a, ab\r\ncontent-length: 0\r\n\r\n")],
            "succeeded, reason: Layer7 check passed, code: 200",
        ),
    ] {
        check(lines, script, expected).await;
    }
}

#[tokio::test]
async fn a_sequence_may_ask_several_times_and_says_how_the_server_stands() {
    let lines = "option httpchk
         http-check send-state
         http-check connect
         http-check send meth GET uri /one ver HTTP/1.1 hdr Host a.example
         http-check expect status 204
         http-check connect
         http-check set-var(check.path) str(/two)
         http-check send meth PUT uri-lf %[var(check.path)] body-lf on\\ %[be_name]";
    let answers = vec![
        vec![HearHead, Cue::status("204 No Content")],
        vec![HearHead, Cue::status("200 OK")],
    ];
    let lab = Lab::start(&backend(lines, ONCE), answers).await;
    lab.log
        .wait_for(&["succeeded", "code: 200", "status: 1/1 UP."])
        .await;
    let heard: Vec<String> = lab
        .node
        .heard()
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).to_lowercase())
        .collect();
    assert!(heard[0].starts_with("get /one http/1.1\r\n"), "{heard:?}");
    assert!(
        heard[0].contains("\r\nx-haproxy-server-state: up"),
        "{heard:?}"
    );
    assert!(heard[0].contains("name=be/s"), "{heard:?}");
    assert!(heard[1].starts_with("put /two http/1.0\r\n"), "{heard:?}");
    assert!(heard[1].contains("content-length: 5\r\n"), "{heard:?}");
}

#[tokio::test]
async fn a_server_that_answers_404_finishes_what_it_has() {
    let lines = "option httpchk\nhttp-check disable-on-404";
    let answers = ["200 OK", "404 Not Found", "200 OK"]
        .map(|status| vec![HearHead, Cue::status(status)])
        .to_vec();
    let config = backend(lines, "check inter 100ms rise 1 fall 1");
    let lab = Lab::start(&config, answers).await;
    lab.log.wait_for(&["Server be/s is stopping."]).await;
    lab.log.wait_for(&["Server be/s is UP."]).await;
}

#[tokio::test]
async fn an_agent_says_what_its_server_can_bear() {
    let words = [
        "up 75% maxconn:7\n",
        "drain\n",
        "ready\n",
        "down #too hot\n",
        "up\n",
        "maint\n",
    ];
    let scripts = words
        .map(|word| vec![Hear(3), Cue::say(word), Listen])
        .to_vec();
    let agent = "weight 100 agent-check agent-port <port> agent-inter 100ms agent-send ask";
    let lab = Lab::start(&backend("", agent), scripts).await;
    for told in [
        "Agent check for server be/s succeeded, reason: Layer7 check passed, code: 0, info: \"via agent : up\"",
        "Server be/s enters drain state.",
        "Server be/s is UP (leaving forced drain).",
        "info: \"via agent : down (too hot)\"",
        "Server be/s is DOWN.",
        "Server be/s is UP.",
        "Server be/s is going DOWN for maintenance.",
    ] {
        lab.log.wait_for(&[told]).await;
    }
    assert_eq!(lab.node.heard()[0], b"ask");
}

#[tokio::test]
async fn an_agent_that_cannot_be_asked_changes_nothing() {
    let agent = "agent-check agent-port 1 agent-inter 100ms";
    let lab = Lab::start(&backend("", agent), vec![vec![Listen]]).await;
    let line = lab
        .log
        .wait_for(&["Agent check for server be/s failed"])
        .await;
    assert!(line.contains("Layer4 connection problem"), "{line}");
    assert!(line.contains("status: 1/1 UP."), "{line}");
}

#[tokio::test]
async fn states_outlive_the_process() {
    let config = "
backend be
    load-server-state-from-file global
    server a 127.0.0.1:1 weight 10
    server b 127.0.0.1:2
    server c 127.0.0.1:3 weight 5
listen stats
    bind 127.0.0.1:<port:stats>
    stats enable
    stats uri /
";
    let line = |name: &str, admin: u32, weight: u32, initial: u32| {
        format!(
            "3 be 1 {name} 127.0.0.1 2 {admin} {weight} {initial} 7 1 0 0 0 0 0 0 - 1 - 0 0 - - 0\n"
        )
    };
    let states = format!(
        "1\n# be_id be_name …\n{}{}{}",
        line("a", 8, 70, 10),
        line("b", 1, 1, 1),
        // Somebody has changed the configuration since.
        line("c", 0, 99, 4),
    );
    let log = LogSink::start().await;
    let setup = setup(&log, "").file("states", &states);
    let path = setup.folder().join("states");
    let config = format!("global\n    server-state-file {}\n{config}", path.display());
    let balancer = crate::support::setup(&log, &config).start().await;
    wait_until("their states", PATIENCE, async || {
        let stats = balancer.stats("stats").await;
        let of = |server: &str, column: &str| stats.get("be", server, column).to_owned();
        let found = [
            of("a", "status"),
            of("a", "uweight"),
            of("b", "status"),
            of("c", "status"),
            of("c", "uweight"),
        ];
        match found.each_ref().map(String::as_str) {
            ["DRAIN", "70", "MAINT", "no check", "5"] => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    })
    .await;
}
