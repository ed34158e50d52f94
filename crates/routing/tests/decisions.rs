//! What samples, conditions and formats make of one odd request, against what HAProxy 2.6 made of
//! it (`tests/haproxy/*.tsv`). Where we answer otherwise on purpose, the exception says why; one
//! that no longer holds fails the test.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use config::Surroundings;
use config::diagnostics::Diagnostic;
use config::expr::acl::AclTable;
use config::expr::{Context, Stage, condition, format};
use config::lexer::{self, Word};
use config::model::{ErrorAnswer, ErrorPage, ErrorPages, Frontend, Secret};
use config::source::{Source, Span};
use proptest::prelude::*;
use routing::condition::holds;
use routing::content::Content;
use routing::format::NoVariables;
use routing::process::{Asked, Process};
use routing::rules::{self, Outcome, Resume, Stopped};
use routing::sample::{ConnectionFacts, Facts, TlsFacts, Value};
use routing::{access, auth, decide, pages};
use wire::h1::{Limits, Parsed, parse_request};
use wire::head::{Fields, RequestHead, ResponseHead};

struct World;

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn read(&self, _: &str) -> Result<String, String> {
        Err("there are no files here".to_owned())
    }
}

const REQUEST: &[u8] = b"GET /images/png/logo/32x32.png?x=1&y=&w HTTP/1.1\r\n\
Host: www1.dc-eu.Example.com:8080\r\n\
X: one, two ,three\r\n\
X: four\r\n\
N: 12abc\r\n\
E:\r\n\
M: +5, 5,  7 ,99999999999999999999,-3\r\n\
Cookie: a=1; b=2; a=3\r\n\
Cookie: c=\"q\"; d; =v; e=\r\n\
X-IP: 10.0.0.1:80, junk, [fd00::1], fd00::2\r\n\
I1: 10.0.0.1:99999\r\n\
I2: [fd00::1]:80\r\n\
I3: 10.0.0.256\r\n\
I4: 10.1\r\n\
I5: ::ffff:10.0.0.9\r\n\
I6: 10.0.0.1:\r\n\
F: ,a,,b,\r\n\
Q: a=\"x,y\", z\r\n\
U: http://www1.dc-eu.example.com:80/blah\r\n\
B: not base64!, QWJj\r\n\r\n";

fn parsed(bytes: &[u8]) -> RequestHead {
    let limits = Limits {
        head_bytes_max: 15_360,
        fields_max: 101,
        lenient: false,
    };
    match parse_request(bytes, &limits).expect("the request is right") {
        Parsed::Complete { head, .. } => head,
        Parsed::Partial => unreachable!("the request is whole"),
    }
}

/// Runs a test with the facts of a plain connection from this machine.
fn with_facts<T>(head: &RequestHead, test: impl FnOnce(&Facts<'_>) -> T) -> T {
    let connection = ConnectionFacts {
        src: Some("127.0.0.1:40000".parse().expect("an address")),
        dst: Some("127.0.0.1:18090".parse().expect("an address")),
        ..ConnectionFacts::default()
    };
    test(&Facts {
        request: Some(head),
        response: None,
        content: Content::default(),
        connection: &connection,
        memory: &routing::sample::NoMemory,
        frontend: "fe",
        backend: None,
        server_tls: None,
        process: &Empty,
        now: Duration::from_secs(1_795_337_577),
        random: 7,
        logins: None,
    })
}

/// A process without servers and sessions.
struct Empty;

impl Process for Empty {
    fn tell(&self, _: Asked<'_>) -> Option<Value<'static>> {
        Some(Value::Int(0))
    }
}

fn with_context<T>(stage: Stage, test: impl FnOnce(&Context<'_>) -> T) -> T {
    test(&Context {
        surroundings: &World,
        stage,
        notices: &RefCell::new(Vec::new()),
        references: &RefCell::new(Vec::new()),
        userlists: &RefCell::new(Vec::new()),
        acls: &RefCell::default(),
        tables: &RefCell::default(),
        lists: &RefCell::default(),
        asked: &Cell::default(),
    })
}

fn rendered(text: &str, stage: Stage, facts: &Facts<'_>) -> Result<Vec<u8>, Diagnostic> {
    let word = Word {
        text: text.to_owned(),
        span: Span::default(),
        quoted: true,
    };
    let format = with_context(stage, |context| format::parse(&word, context))?;
    let mut out = Vec::new();
    routing::format::render(&format, facts, &NoVariables, &mut out);
    Ok(out)
}

fn held(text: &str, facts: &Facts<'_>) -> Result<bool, Diagnostic> {
    let line = format!("if {text}");
    let place = Span {
        end: line.len() as u32,
        ..Span::default()
    };
    let words = lexer::split(&line, place, &World)?;
    let condition = with_context(Stage::Request, |context| {
        condition::parse(&words, &AclTable::default(), context)
    })?;
    Ok(holds(Some(&condition), facts))
}

/// Compares a table with what `answer` says; `exceptions` are (case, our answer, reason).
fn compare(table: &str, exceptions: &[(&str, &str, &str)], answer: impl Fn(&str) -> String) {
    let mut wrong = Vec::new();
    let mut met = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (case, theirs) = line.split_once('\t').expect("two columns");
        let ours = answer(case);
        let exception = exceptions.iter().find(|(name, ..)| *name == case);
        met += usize::from(exception.is_some());
        let expected = exception.map_or(theirs, |(_, ours, _)| ours);
        if ours != expected || (exception.is_some() && ours == theirs) {
            wrong.push(format!(
                "{case}\n    ours {ours:?}, expected {expected:?}, HAProxy {theirs:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(met, exceptions.len(), "an exception names no case");
}

/// Undoes the table's escapes.
fn unescape(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(c) = chars.next() {
        plain.push(match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('t') => '\t',
                other => other.unwrap_or('\\'),
            },
            (c, false) => c,
        });
    }
    plain
}

#[test]
fn formats_say_what_haproxys_say() {
    let head = parsed(REQUEST);
    let exceptions = [];
    compare(include_str!("haproxy/formats.tsv"), &exceptions, |case| {
        let said = with_facts(&head, |facts| {
            rendered(&unescape(case), Stage::Request, facts)
        });
        let said = said.unwrap_or_else(|problem| panic!("{case}: {}", problem.message));
        String::from_utf8_lossy(&said)
            .replace('\\', "\\\\")
            .replace('\t', "\\t")
    });
}

#[test]
fn conditions_hold_where_haproxys_do() {
    let head = parsed(REQUEST);
    let exceptions = [
        ("{ src 127 }", "refused", "surely not meant as 0.0.0.127"),
        (
            "{ hdr_val(m,1) 5 }",
            "true",
            "a plus sign, as 'hdr(m,1) -m int' reads it",
        ),
        (
            "{ hdr_ip(x-ip) fd00::1 }",
            "true",
            "brackets, as RFC 7239 and newer manuals have it",
        ),
        ("{ method -i get }", "true", "'-i' ignores case everywhere"),
        (
            "{ str(a_b),word(9,_) -m found }",
            "false",
            "the manual: a word that is not there is not found",
        ),
    ];
    compare(
        include_str!("haproxy/conditions.tsv"),
        &exceptions,
        |case| match with_facts(&head, |facts| held(case, facts)) {
            Ok(held) => held.to_string(),
            Err(problem) => {
                assert_eq!(problem.message, "'127' is not an IP address or network");
                "refused".to_owned()
            }
        },
    );
}

/// The frontend of a small configuration with these lines in it.
fn frontend(lines: &str) -> Frontend {
    let text = format!(
        "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         frontend fe\n bind 127.0.0.1:18090\n {lines}\n default_backend be\n\
         backend be\nbackend other\n"
    );
    let source = Source {
        name: "test.cfg".into(),
        text: text.as_str().into(),
    };
    let outcome = config::load(&[source], &World);
    let problems = outcome.diagnostics;
    assert!(outcome.config.is_some(), "{lines}\n{problems:?}");
    let config = outcome.config.expect("asserted above");
    config.frontends[0].clone()
}

/// What the rules do to a request: the answer as one line, or the headers it goes on with.
fn ruled(lines: &str, request: &str) -> String {
    let bytes = format!("{}\r\n\r\n", request.replace('|', "\r\n"));
    let mut head = parsed(bytes.as_bytes());
    let seen = head.clone();
    let rules = frontend(lines).proxy.http_request;
    let outcome = with_facts(&seen, |facts| {
        rules::request(&rules, Resume::START, &mut head, facts, &NoVariables, &[])
    });
    match outcome {
        Outcome::Continue => listed(&head.fields),
        Outcome::Unproven(from) => format!("unproven at {}", from.position()),
        Outcome::Hold(from, what) => format!("{what:?} before {}", from.position()),
        Outcome::Stop(Stopped::PrometheusExporter) => "metrics".to_owned(),
        Outcome::Stop(Stopped::NodePush) => "push".to_owned(),
        Outcome::Stop(Stopped::Reject) => "reject".to_owned(),
        Outcome::Stop(Stopped::Drop) => "drop".to_owned(),
        Outcome::Stop(
            Stopped::Deny(answer)
            | Stopped::Tarpit(answer)
            | Stopped::Return(answer)
            | Stopped::Redirect(answer)
            | Stopped::Invalid(answer)
            | Stopped::Failed(answer)
            | Stopped::Auth(answer),
        ) => {
            let page = pages::page(answer.status).is_some_and(|(_, page)| page == answer.body);
            let body = String::from_utf8_lossy(&answer.body);
            let body = if page { "<page>" } else { &*body };
            let mut fields = answer.fields.clone();
            fields.remove("content-length");
            fields.remove("connection");
            let fields = listed(&fields);
            let separator = if fields.is_empty() { "" } else { " | " };
            format!("{}{separator}{fields}\t{body}", answer.status)
        }
    }
}

fn listed(fields: &Fields) -> String {
    let lines = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
    lines.collect::<Vec<_>>().join(" | ")
}

#[test]
fn rules_answer_as_haproxys_do() {
    let framing = "return status 200 content-type text/plain string abc hdr cache-control no-store \
        hdr content-type x/y hdr te x hdr connection upgrade hdr upgrade x hdr keep-alive x \
        hdr transfer-encoding chunked";
    let mut wrong = Vec::new();
    let table = include_str!("haproxy/answers.tsv");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.splitn(3, '\t');
        let mut column = || columns.next().expect("four columns");
        let (rule, request, theirs) = (column(), column(), column());
        let ours = ruled(&format!("http-request {rule}"), request);
        // HAProxy lets these headers pass; here nothing but the writer frames a message
        let expected = match rule == framing {
            true => theirs.replace(" | upgrade: x | keep-alive: x", ""),
            false => theirs.to_owned(),
        };
        if ours != expected {
            wrong.push(format!(
                "{rule} ({request})\n    ours   {ours:?}\n    theirs {theirs:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules_run_in_order_and_see_what_came_before() {
    let check = |lines: &str, expected: &str| {
        let lines = lines.replace("; ", "\n ");
        assert_eq!(
            ruled(&lines, "GET /a HTTP/1.1|Host: h"),
            expected,
            "{lines}"
        );
    };
    check("http-request set-header X 1", "host: h | x: 1");
    check(
        "http-request add-header X 1; http-request add-header x %[req.hdr(x)]2",
        "host: h | x: 1 | x: 12",
    );
    check(
        "http-request set-header X 1; http-request set-header X 2; http-request del-header Host",
        "x: 2",
    );
    check(
        "http-request set-header X 1; http-request allow if { req.hdr(x) 1 }; http-request deny",
        "host: h | x: 1",
    );
    check(
        "http-request deny if { path /b }; http-request return status 204",
        "204\t",
    );
    check(
        "http-request use-service prometheus-exporter if { path /a }",
        "metrics",
    );
    check(
        "redirect location /x; http-request set-header X 1",
        "302 | location: /x | cache-control: no-cache\t",
    );
}

#[test]
fn a_value_cannot_begin_a_new_header() {
    let line = "http-request set-header X '%[path,url_dec]'";
    let ruled = ruled(line, "GET /a%0d%0aEvil:%201 HTTP/1.1|Host: h");
    assert_eq!(ruled, "host: h | x: /a%0D%0AEvil: 1");
}

#[test]
fn the_first_use_backend_that_holds_decides() {
    let check = |lines: &str, expected: Option<usize>| {
        let head = parsed(REQUEST);
        let frontend = frontend(&lines.replace("; ", "\n "));
        let chosen = with_facts(&head, |facts| {
            decide::backend(&frontend, facts, &NoVariables, &|_| true)
        });
        assert_eq!(chosen.map(|id| id.0), expected, "{lines}");
    };
    check("use_backend other if { path_beg /images }", Some(1));
    check("use_backend %[str(other)]", Some(1));
    check("use_backend %[path,field(2,/)]; use_backend other", Some(0));
    check("use_backend other unless { path_beg /images }", Some(0));
    check("use_backend be if TRUE; use_backend other", Some(0));
    check(
        "acl ws hdr(Upgrade) -i WebSocket; use_backend other if ws",
        Some(0),
    );
    check(
        "acl img path_end .gif; acl img path_end .png; use_backend other if img",
        Some(1),
    );
}

#[test]
fn responses_are_seen_and_changed() {
    let head = parsed(REQUEST);
    let lines = "http-response set-header X-Status %[status] if { status 200:299 }\n \
                 http-response del-header Server\n \
                 http-response add-header X-Cookie %[res.cook(SID)]-%[hdr(x)]-%[method]";
    let rules = frontend(lines).proxy.http_response;
    let mut response = ResponseHead::new(204);
    response.fields.append("server", b"nginx");
    response
        .fields
        .append("set-cookie", b"SID=abc; Path=/; HttpOnly");
    response.fields.append("x", b"of the response");
    with_facts(&head, |facts| {
        let stopped = rules::response(&rules, &mut response, facts, &NoVariables, &[]);
        assert_eq!(stopped, None);
    });
    assert_eq!(
        listed(&response.fields),
        "set-cookie: SID=abc; Path=/; HttpOnly | x: of the response | x-status: 204 | \
         x-cookie: abc-of the response-GET"
    );
}

#[test]
fn tls_is_seen() {
    let head = parsed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let connection = ConnectionFacts {
        tls: Some(TlsFacts {
            suite: Some(config::model::Suite::Tls13Aes256GcmSha384),
            sni: Some("a.example.com".into()),
            ..TlsFacts::default()
        }),
        ..ConnectionFacts::default()
    };
    with_facts(&head, |facts| {
        let facts = Facts {
            connection: &connection,
            ..*facts
        };
        let text = "%[ssl_fc] %[ssl_fc_sni] %[ssl_fc_protocol] %[ssl_fc_cipher] %[ssl_fc_alpn] %ft \
                    %sslv %sslc";
        let said = rendered(text, Stage::Request, &facts).expect("the format is right");
        let expected = "1 a.example.com TLSv1.3 TLS_AES_256_GCM_SHA384  fe~ TLSv1.3 \
                        TLS_AES_256_GCM_SHA384";
        assert_eq!(String::from_utf8_lossy(&said), expected);
        assert_eq!(
            held("{ ssl_fc } { ssl_fc_sni_end .example.com }", &facts),
            Ok(true)
        );
        assert_eq!(held("{ src -m found }", &facts), Ok(false));
    });
}

#[test]
fn log_lines_merge_spaces_fill_gaps_and_encode_what_clients_sent() {
    let head = parsed(b"GET /a?x=\"{ HTTP/1.1\r\nHost: h\r\n\r\n");
    let check = |text: &str, expected: &str| {
        let said = with_facts(&head, |facts| rendered(text, Stage::Log, facts));
        let said = said.expect("the format is right");
        assert_eq!(String::from_utf8_lossy(&said), expected, "{text}");
    };
    check("a  b   %ci    c", "a b 127.0.0.1 c");
    check("%hr %hs  %{+Q}r", "\"GET /a?x=#22{ HTTP/1.1\"");
    check("[%ID] [%{+Q}ID] [%{-M}ID] %sslv", "[-] [\"\"] [] -");
    check(
        "%{+Q}o %ci %ST %{-Q}f %[src]",
        "\"127.0.0.1\" 0 fe \"127.0.0.1\"",
    );
    check("%{+E}[str('a\"]b')] %[bin(0a41)]", "a\\\"\\]b #0AA");
    check("%T %Ts %ms", "22/Nov/2026:08:52:57 +0000 1795337577 000");
}

#[test]
fn two_draws_of_one_request_are_two() {
    let head = parsed(REQUEST);
    let mut both = 0;
    for random in 0..1000 {
        with_facts(&head, |facts| {
            let facts = Facts { random, ..*facts };
            let held = held("{ rand(2) 0 } { rand(2) 0 }", &facts);
            both += i32::from(held == Ok(true));
        });
    }
    assert!(
        (200..300).contains(&both),
        "{both} of 1000 where 250 were expected"
    );
}

#[test]
fn only_known_users_with_their_password_are_allowed() {
    let known = [
        ("admin".into(), Secret("s3:cret".into())),
        ("b".into(), Secret("".into())),
    ];
    let check = |header: &str, expected: bool| {
        let fields: Fields = [("authorization", header.as_bytes())].into_iter().collect();
        assert_eq!(access::allowed(&fields, &known), expected, "{header}");
    };
    check("Basic YWRtaW46czM6Y3JldA==", true); // admin:s3:cret
    check("basic  YWRtaW46czM6Y3JldA==", true);
    check("Basic Yjo=", true); // b:
    check("Basic YWRtaW46", false); // admin:
    check("Basic YWRtaW46czM6Y3JldHQ=", false); // admin:s3:crett
    check("Basic YWRtaW46czM6Y3Jl", false); // admin:s3:cre
    check("Basic YWRtaW4=", false); // admin
    check("Basic !", false);
    check("Bearer YWRtaW46czM6Y3JldA==", false);
    check("Basi\u{e9}", false);
    assert!(access::allowed(&Fields::new(), &[]));
    assert!(!access::allowed(&Fields::new(), &known));
}

proptest! {
    // a failing case belongs into a test by name, not into a file beside it
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_an_evaluation_panic(
        value in proptest::collection::vec(any::<u8>(), 0..80),
        chain in proptest::sample::select(CHAINS),
    ) {
        let mut head = parsed(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        for name in ["x", "cookie", "authorization"] {
            head.fields.append(name, &value);
        }
        auth::basic(&head.fields);
        with_facts(&head, |facts| {
            for fetch in ["req.fhdr(x)", "hdr(x,-2)", "cook(a)", "hdr_ip(x)", "urlp(x)"] {
                let format = format!("%[{fetch},{chain}]");
                let _ = rendered(&format, Stage::Request, facts);
                let _ = held(&format!("{{ {fetch},{chain} -m dom -i a.b }}"), facts);
            }
        });
    }
}

/// Converters to try on foreign bytes.
const CHAINS: &[&str] = &[
    "lower,field(-2,/,0)",
    "word(-1,/,3),length",
    "b64dec,hex,hex2i,neg",
    "url_dec,url_enc,base64",
    "ltrim(a),rtrim(b),bytes(3,9)",
    "host_only,port_only",
    "regsub(.,xx,g),upper",
    "ipmask(8,8)",
    "add(9223372036854775807),div(-1),mod(-1),http_date",
    "hex,hex,hex,hex,hex,hex,hex,hex,hex,hex,hex,hex,hex,hex,hex",
];

/// What is sent for 503, as one line.
fn check_page(proxies: &[&ErrorPages], expected: &str) {
    let request = parsed(REQUEST);
    let answer = with_facts(&request, |facts| {
        rules::error(503, facts, &NoVariables, proxies)
    });
    assert_eq!(answer.status, 503, "what is logged stays what happened");
    let sent = answer.into_message().map(|(head, body)| {
        let body = String::from_utf8_lossy(&body).into_owned();
        format!("{head:?} {body}")
    });
    assert!(
        sent.as_deref().unwrap_or("nothing").contains(expected),
        "{sent:?}"
    );
}

#[test]
fn pages_of_ones_own_come_first_the_backends_before_the_frontends() {
    let page = |status, reason: &str| {
        ErrorPage::Answer(Arc::new(ErrorAnswer {
            status,
            reason: reason.as_bytes().into(),
            fields: vec![("x-page".into(), (*b"own").into())],
            body: (*b"gone").into(),
        }))
    };
    let none = ErrorPages::new();
    let front = ErrorPages::from([(503, page(503, "Front")), (500, ErrorPage::Silent)]);
    let back = ErrorPages::from([(503, page(404, "Back"))]);
    let silent = ErrorPages::from([(503, ErrorPage::Silent)]);
    check_page(&[], "503 Service Unavailable");
    check_page(&[&none, &none], "There is no server");
    check_page(&[&none, &front], "503 Front");
    check_page(&[&back, &front], "404 Back");
    check_page(&[&back, &front], "x-page");
    check_page(&[&back, &front], "gone");
    check_page(&[&silent, &front], "nothing");
}
