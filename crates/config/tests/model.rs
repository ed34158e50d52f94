//! What a configuration means: the model it becomes. First the reference configuration, which every
//! user starts with, then what is handed down, put together or spread out on the way.

use std::net::SocketAddr;
use std::time::Duration;

use config::diagnostics::Severity;
use config::model::sequence::{Action, CheckProtocol, Expected};
use config::model::{
    Backend, Balance, BindAddress, BindTls, CertificateSource, Config, ConnectionMode, ErrorPage,
    FieldEdit, FieldName, Frontend, HttpSend, LogFormat, LogSink, Mode, RedirectTo, RequestAction,
    ResponseAction, ServerAddress, TlsVersions, Weight,
};
use config::source::Source;

struct Nothing;

impl config::Surroundings for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn read(&self, path: &str) -> Result<String, String> {
        Err(format!("{path}: no such file"))
    }
    fn user_id(&self, name: &str) -> Option<u32> {
        ["haproxy", "www-data"].contains(&name).then_some(33)
    }
    fn group_id(&self, name: &str) -> Option<u32> {
        self.user_id(name)
    }
}

fn load(text: &str) -> Config {
    let outcome = config::load(&[Source::new("haproxy.cfg", text)], &Nothing);
    let alerts: Vec<_> = outcome
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Alert)
        .collect();
    assert!(alerts.is_empty(), "{alerts:#?}");
    outcome.config.expect("no alert, so there is a model")
}

const REFERENCE: &str = include_str!("cfg/reference.cfg");

#[test]
fn the_reference_configuration_means_what_it_says() {
    let config = load(REFERENCE);
    let [frontend] = &config.frontends[..] else {
        panic!("one frontend expected");
    };
    assert_eq!(&*frontend.proxy.name, "http-in");
    assert_eq!(frontend.proxy.mode, Mode::Http);
    let any: SocketAddr = "0.0.0.0:8080".parse().unwrap();
    assert_eq!(frontend.binds[0].address, BindAddress::Inet(any));
    assert!(frontend.binds[0].tls.is_none());
    let tls = frontend.binds[1].tls.as_ref().expect("8443 is TLS");
    assert_eq!(
        tls.certificates,
        [CertificateSource::Crt("/certs/cert.pem".into())]
    );
    assert_eq!(frontend.use_backend.len(), 1);
    let to = |id: config::model::BackendId| &*config.backends[id.0].proxy.name;
    assert_eq!(
        to(frontend.use_backend[0].target.known().unwrap()),
        "ws_backend"
    );
    assert_eq!(frontend.default_backend.map(to), Some("http_backend"));
    assert!(matches!(frontend.proxy.log.format, LogFormat::Custom(_)));
    assert_eq!(frontend.proxy.log.targets[0].sink, LogSink::Stdout);
    assert!(frontend.proxy.log.dontlognull);

    let ws = &config.backends[0];
    assert!(matches!(ws.balancing.algorithm, Balance::RoundRobin));
    assert_eq!(ws.proxy.connection, ConnectionMode::ServerClose);
    assert!(ws.proxy.forwardfor.is_some());
    let check = request(ws);
    assert_eq!((&*check.method, uri(&check)), ("GET", "/health"));
    assert_eq!(&*check.version, "HTTP/1.0");
    assert_eq!(&*ws.servers[0].name, "wsnode1");
    let node: SocketAddr = "127.0.0.1:8081".parse().unwrap();
    assert_eq!(ws.servers[0].address, ServerAddress::Inet(node));
    let check = ws.servers[0].check.as_ref().expect("it is checked");
    assert_eq!(
        (check.inter, check.rise, check.fall),
        (Duration::from_secs(2), 2, 3)
    );

    let http = &config.backends[1];
    assert_eq!(http.checks.protocol, CheckProtocol::Connect);
    assert_eq!(http.proxy.connection, ConnectionMode::KeepAlive);
    assert_eq!(http.proxy.timeouts.connect, Some(Duration::from_secs(5)));
}

/// A configuration with the usual timeouts, to which `sections` are added.
fn usual(sections: &str) -> Config {
    load(&format!(
        "defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n{sections}"
    ))
}

fn frontend<'c>(config: &'c Config, name: &str) -> &'c Frontend {
    let mut all = config.frontends.iter();
    all.find(|it| &*it.proxy.name == name)
        .expect("that frontend")
}

fn backend<'c>(config: &'c Config, name: &str) -> &'c Backend {
    let mut all = config.backends.iter();
    all.find(|it| &*it.proxy.name == name)
        .expect("that backend")
}

#[test]
fn default_server_adds_up_and_server_has_the_last_word() {
    let config = usual(
        "global\n ssl-server-verify none\n ca-base /ca\n\
         backend b\n\
         default-server inter 5s rise 3 check\n\
         default-server fall 4 weight 10 ssl\n\
         server a 127.0.0.1:1\n\
         server b 127.0.0.1:2 no-check no-ssl weight 0 backup\n\
         server c 127.0.0.1:3 inter 1s verify required ca-file x.pem port 80\n\
         default-server disabled\n\
         server d 127.0.0.1:4\n",
    );
    let backend = backend(&config, "b");
    let [a, b, c, d] = &backend.servers[..] else {
        panic!("four servers expected");
    };
    let check = a.check.as_ref().expect("default-server says check");
    assert_eq!(
        (check.inter, check.rise, check.fall),
        (Duration::from_secs(5), 3, 4)
    );
    assert!(check.tls, "checks go over TLS where traffic does");
    assert!(
        !a.tls.as_ref().expect("TLS").verify,
        "ssl-server-verify none"
    );
    assert_eq!(a.weight, Weight::new(10).unwrap());
    assert!(!a.disabled);
    assert!(b.check.is_none() && b.tls.is_none() && b.backup);
    assert_eq!(
        b.check_parameters.rise, 3,
        "kept for when it is checked after all"
    );
    let tls = c.tls.as_ref().expect("TLS");
    assert!(tls.verify);
    assert_eq!(
        tls.ca_file.as_deref(),
        Some(std::path::Path::new("/ca/x.pem"))
    );
    let check = c.check.as_ref().expect("it is checked");
    assert_eq!(
        (check.inter, check.port),
        (Duration::from_secs(1), Some(80))
    );
    assert!(
        !check.tls,
        "checks that go elsewhere are plain unless check-ssl"
    );
    assert!(d.disabled, "a default-server holds for what follows it");
    assert!(
        backend.default_server.disabled,
        "and for nodes that are discovered"
    );
    assert_eq!(backend.default_server.check_parameters.fall, 4);
}

#[test]
fn bind_addresses_are_spread_out_with_their_own_texts() {
    let config =
        usual("listen l\n bind :8000-8002,[::1]:9000 name n v6only\n server s 127.0.0.1:1\n");
    let binds = &frontend(&config, "l").binds;
    let texts: Vec<&str> = binds.iter().map(|bind| &*bind.text).collect();
    assert_eq!(
        texts,
        ["0.0.0.0:8000", "0.0.0.0:8001", "0.0.0.0:8002", "[::1]:9000"]
    );
    assert!(binds.iter().all(|bind| bind.v6only == Some(true)));
}

#[test]
fn tls_of_bind_starts_from_global() {
    let config = usual(
        "global\n ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets\n crt-base /c\n\
         listen l\n server s 127.0.0.1:1\n\
         bind :1 ssl crt a.pem crt /b.pem\n\
         bind :2 ssl crt a.pem ssl-min-ver TLSv1.2 tls-tickets\n",
    );
    let binds = &frontend(&config, "l").binds;
    let [strict, open] = [&binds[0], &binds[1]].map(|bind| bind.tls.as_ref().expect("TLS"));
    assert_eq!(
        strict.certificates,
        ["/c/a.pem", "/b.pem"].map(|path| CertificateSource::Crt(path.into()))
    );
    let versions = |tls: &BindTls| {
        let TlsVersions { tls12, tls13 } = tls.policy.choice.versions;
        (tls12, tls13)
    };
    assert_eq!((versions(strict), strict.no_tickets), ((false, true), true));
    assert_eq!((versions(open), open.no_tickets), ((true, true), false));
}

#[test]
fn error_pages_are_handed_down_and_later_lines_win() {
    let config = usual(
        "defaults d\n mode http\n timeout client 5s\n errorloc 503 /first\n\
         errorloc303 503 /second\n errorloc 403 /denied\n\
         frontend f from d\n bind :1\n errorloc 403 /own\n http-request return\n",
    );
    let told = |pages: &config::model::ErrorPages, status| match pages.get(&status) {
        Some(ErrorPage::Answer(answer)) => {
            let (name, value) = answer.fields.last().expect("a location");
            let value = String::from_utf8_lossy(value);
            format!("{} {name}: {value}", answer.status)
        }
        other => format!("{other:?}"),
    };
    let pages = &frontend(&config, "f").proxy.error_pages;
    assert_eq!(told(pages, 503), "303 location: /second");
    assert_eq!(told(pages, 403), "302 location: /own");
    assert_eq!(told(pages, 500), "None");
}

#[test]
fn rules_of_defaults_come_first_and_redirects_last() {
    let config = load(
        "defaults d\n mode http\n timeout client 5s\n http-request set-header a 1\n\
         http-response set-header b 1\n\
         frontend f from d\n bind :1\n\
         redirect location /r if FALSE\n\
         http-request return status 200 if FALSE\n\
         http-response del-header C\n",
    );
    let rules = &frontend(&config, "f").proxy;
    let [set, give, redirect] = &rules.http_request[..] else {
        panic!("three rules expected");
    };
    assert!(
        matches!(&set.action, RequestAction::Fields(FieldEdit::Set(name, _)) if &**name == "a")
    );
    assert!(matches!(give.action, RequestAction::Return(_)));
    let RequestAction::Redirect(redirect) = &redirect.action else {
        panic!("the redirect comes last");
    };
    assert_eq!(redirect.code, 302);
    assert!(matches!(redirect.to, RedirectTo::Location(_)));
    assert!(matches!(
        &rules.http_response[1].action,
        ResponseAction::Fields(FieldEdit::Delete(FieldName::Is(name))) if &**name == "c"
    ));
}

#[test]
fn a_listen_runs_its_rules_once() {
    let config = usual(
        "listen own\n bind :1\n http-request deny if FALSE\n server s 127.0.0.1:1\n\
         listen shared\n bind :2\n http-request deny if FALSE\n server s 127.0.0.1:1\n\
         frontend f\n bind :3\n default_backend shared\n",
    );
    assert_eq!(frontend(&config, "own").proxy.http_request.len(), 1);
    assert!(backend(&config, "own").proxy.http_request.is_empty());
    assert_eq!(backend(&config, "shared").proxy.http_request.len(), 1);
    let own = frontend(&config, "own")
        .default_backend
        .expect("its own half");
    assert_eq!(&*config.backends[own.0].proxy.name, "own");
}

#[test]
fn log_global_stands_for_the_targets_of_global() {
    let config = usual(
        "global\n log stdout local0\n log 127.0.0.1 local1 info notice\n\
         frontend f\n bind :1\n log stderr format raw local2\n log global\n option tcplog\n\
         http-request return\n\
         frontend g\n bind :2\n log global\n no log\n http-request return\n",
    );
    let log = &frontend(&config, "f").proxy.log;
    let sinks: Vec<_> = log.targets.iter().map(|target| &target.sink).collect();
    let syslog = LogSink::Udp("127.0.0.1:514".parse().unwrap());
    assert_eq!(sinks, [&LogSink::Stderr, &LogSink::Stdout, &syslog]);
    assert_eq!((log.targets[2].level, log.targets[2].level_min), (6, 5));
    assert!(frontend(&config, "g").proxy.log.targets.is_empty());
    assert!(matches!(
        frontend(&config, "g").proxy.log.format,
        LogFormat::Default
    ));
}

#[test]
fn checks_are_put_together_from_their_lines() {
    let config = usual(
        "defaults two\n timeout connect 5s\n timeout server 5s\n\
         option httpchk GET /inherited\n http-check expect status 200\n\
         backend a from two\n server s 127.0.0.1:1\n\
         http-check send ver HTTP/1.1 hdr Host example.com\n\
         backend b from two\n server s 127.0.0.1:1\n\
         option httpchk HEAD / HTTP/1.1\\r\\nHost:\\ example.org\n\
         http-check expect ! status 500-599\n http-check expect string up\n",
    );
    let check = request(backend(&config, "a"));
    assert_eq!(
        (&*check.method, uri(&check), &*check.version),
        ("OPTIONS", "/", "HTTP/1.1"),
        "its own lines replace inherited ones"
    );
    assert_eq!(header(&check), ("host", "example.com"));
    let expected = expects(backend(&config, "a"));
    let [Expected::Status(ranges)] = &expected[..] else {
        panic!("what is well where nothing is said: {expected:?}");
    };
    assert_eq!(ranges[..], [(200, 399)]);
    let check = request(backend(&config, "b"));
    assert_eq!((&*check.method, &*check.version), ("HEAD", "HTTP/1.1"));
    assert_eq!(header(&check), ("host", "example.org"));
    assert_eq!(
        expects(backend(&config, "b")).len(),
        2,
        "its own lines replace inherited ones"
    );
}

/// The first request of a backend's checks.
fn request(backend: &Backend) -> HttpSend {
    let requests = backend
        .checks
        .steps
        .iter()
        .find_map(|step| match &step.what {
            Action::Request(request) => Some(request.clone()),
            _ => None,
        });
    requests.expect("option httpchk")
}

fn uri(request: &HttpSend) -> &str {
    request.uri.fixed().expect("no fields")
}

fn header(request: &HttpSend) -> (&str, &str) {
    let (name, value) = &request.headers[0];
    (name, value.fixed().expect("no fields"))
}

fn expects(backend: &Backend) -> Vec<Expected> {
    let steps = backend.checks.steps.iter();
    let expects = steps.filter_map(|step| match &step.what {
        Action::Expect(expect) => Some(expect.what.clone()),
        _ => None,
    });
    expects.collect()
}

/// What HAProxy 2.6 sends with these lines.
#[test]
fn option_httpchk_keeps_what_http_check_send_of_its_section_says() {
    const SEND: &str = " http-check send meth GET uri /health hdr X y body b\n";
    for (lines, method, uri, version, kept) in [
        ("SEND option httpchk\n", "GET", "/health", "1.0", true),
        ("SEND option httpchk /x\n", "GET", "/x", "1.0", true),
        (
            "SEND option httpchk HEAD /x HTTP/1.1\n",
            "HEAD",
            "/x",
            "1.1",
            true,
        ),
        (
            " option httpchk /a\nSEND option httpchk\n",
            "GET",
            "/health",
            "1.0",
            true,
        ),
        (
            " option httpchk GET /a HTTP/1.1\n option httpchk\n",
            "OPTIONS",
            "/",
            "1.0",
            false,
        ),
    ] {
        for inherited in [
            "",
            " option httpchk HEAD /inherited\n http-check send hdr A b\n",
        ] {
            let lines = lines.replace("SEND", SEND);
            let config = usual(&format!(
                "defaults two\n timeout connect 5s\n timeout server 5s\n{inherited}\
                 backend a from two\n server s 127.0.0.1:1\n{lines}"
            ));
            let check = request(backend(&config, "a"));
            assert_eq!(
                (&*check.method, self::uri(&check)),
                (method, uri),
                "{lines}"
            );
            assert_eq!(&*check.version, format!("HTTP/{version}"), "{lines}");
            assert_eq!(check.headers.len(), usize::from(kept), "{lines}");
            assert_eq!(check.body.is_some(), kept, "{lines}");
        }
    }
}

#[test]
fn times_have_units_and_zero_is_no_limit() {
    let config = load(
        "defaults\n mode http\n timeout client 1500us\n timeout connect 7\n timeout server 2m\n\
         timeout tunnel 0\n timeout queue 1d\n\
         listen l\n bind :1\n server s 127.0.0.1:1\n stats uri /s\n stats refresh 5\n",
    );
    let timeouts = backend(&config, "l").proxy.timeouts;
    assert_eq!(timeouts.client, Some(Duration::from_millis(2)));
    assert_eq!(timeouts.connect, Some(Duration::from_millis(7)));
    assert_eq!(timeouts.server, Some(Duration::from_secs(120)));
    assert_eq!(timeouts.tunnel, None);
    assert_eq!(timeouts.queue, Some(Duration::from_secs(86_400)));
    let page = frontend(&config, "l").proxy.stats.as_ref().expect("a page");
    assert_eq!(page.refresh, Some(Duration::from_secs(5)));
}

#[test]
fn several_sources_are_one_configuration() {
    let sources = [
        Source::new("a", "global\n setenv TO 127.0.0.1:1\n maxconn 5\n"),
        Source::new("b", "listen l\n bind :1\n server s \"$TO\"\n"),
        Source::new("c", " lost\n"),
    ];
    let outcome = config::load(&sources[..2], &Nothing);
    let config = outcome.config.expect("valid");
    assert_eq!(config.global.maxconn, Some(5));
    let to = config.global.environment.get("TO", || None);
    assert_eq!(to, Some("127.0.0.1:1".into()));
    let outcome = config::load(&sources, &Nothing);
    let alert = outcome.diagnostics.last().expect("an alert");
    assert_eq!(alert.message, "unknown keyword 'lost' out of section");
}

/// What the program itself sees: an `API_KEY` that was unset must not come back from outside.
#[test]
fn unset_variables_stay_unset_for_the_program() {
    let check = |lines: &str, expected: &[(&str, Option<&str>)]| {
        let sources = [Source::new("x", format!("global\n{lines}"))];
        let config = config::load(&sources, &Nothing).config.expect("valid");
        let environment = &config.global.environment;
        for (name, value) in expected {
            let seen = environment.get(name, || Some("outside".into()));
            assert_eq!(seen, value.map(Into::into), "{name} after {lines}");
        }
        assert!(!format!("{config:?}").contains("geheim"));
    };
    check("", &[("A", Some("outside"))]);
    check(
        " setenv A geheim\n",
        &[("A", Some("geheim")), ("B", Some("outside"))],
    );
    check(" unsetenv A\n", &[("A", None), ("B", Some("outside"))]);
    check(" setenv A x\n unsetenv A\n", &[("A", None)]);
    check(
        " setenv A x\n resetenv B\n setenv C y\n",
        &[
            ("A", None),
            ("B", Some("outside")),
            ("C", Some("y")),
            ("D", None),
        ],
    );
    check(" unsetenv B\n resetenv B\n", &[("B", None)]);
}

#[test]
fn conditions_for_cc_know_the_environment_and_fail_with_a_reason() {
    let evaluate = |text: &str| config::evaluate_condition(text, &Nothing);
    assert_eq!(evaluate("feature(TIDEGATE) && !defined(NOPE)"), Ok(true));
    assert_eq!(evaluate("streq(\"$NOPE\",x)"), Ok(false));
    assert_eq!(evaluate(""), Ok(false));
    assert!(evaluate("nope(1)").is_err());
    assert!(evaluate("\"").is_err());
}
