//! Rules over a request: those that do not concern it, and the one that does.

use std::fmt::Write as _;
use std::hint::black_box;

use routing::format::NoVariables;
use routing::rules::{self, Outcome};
use routing::{decide, sample::Facts};

use crate::scene::{BROWSER, configuration, connection, facts, parsed};
use crate::{HotPath, Step, path};

pub(crate) const PATHS: &[HotPath] = &[
    path("rules-10-header", 200, || {
        request_rules(10, |n| format!("hdr(x-tenant) tenant-{n}"))
    }),
    path("rules-1000-header", 10, || {
        request_rules(1000, |n| format!("hdr(x-tenant) tenant-{n}"))
    }),
    path("rules-10-path", 200, || request_rules(10, by_path)),
    path("rules-1000-path", 10, || request_rules(1000, by_path)),
    path("rules-1000-sub", 10, || {
        request_rules(1000, |n| format!("path_sub /static/{n}/"))
    }),
    path("rules-500-of-7000-values", 5, of_one_value),
    path("rules-10-regex", 200, || {
        request_rules(10, |n| format!("path_reg ^/api/v[0-9]+/rooms/{n}/[a-z]+$"))
    }),
    path("rule-list-1000-paths", 20, || {
        let paths: String = (0..1000).map(|n| format!(" /static/{n}/")).collect();
        request_rules(1, |_| format!("path_beg{paths}"))
    }),
    path("rule-list-1000-networks", 20, || {
        let network = |n| format!(" 10.{}.{}.0/24", n / 250, n % 250);
        let networks: String = (0..1000).map(network).collect();
        request_rules(1, |_| format!("src{networks}"))
    }),
    path("backend-of-websocket", 200, || backend(0)),
    path("backend-last-of-100", 100, || backend(99)),
    path("set-header", 200, set_header),
];

fn by_path(n: usize) -> String {
    format!("path_beg /static/{n}/ /assets/{n}/ /img/{n}/")
}

/// So many rules that do not hold, each by an ACL of its own.
fn request_rules(count: usize, criterion: impl Fn(usize) -> String) -> Step {
    let mut text = "frontend www\n mode http\n".to_owned();
    for n in 0..count {
        write_line(&mut text, &format!("acl is_{n} {}", criterion(n)));
        write_line(&mut text, &format!("http-request deny if is_{n}"));
    }
    run_rules(&text)
}

fn write_line(text: &mut String, line: &str) {
    writeln!(text, " {line}").expect("a String takes all that is written");
}

/// One rule that holds, and makes a header of what it sees.
fn set_header() -> Step {
    run_rules(
        "frontend www\n mode http\n acl is_ws hdr(upgrade) -i websocket\n \
         http-request set-header x-client %[src]:%[src_port] if is_ws\n",
    )
}

/// Rules that all concern one tenant, whom the client names as often as a head of 15 KB allows.
fn of_one_value() -> Step {
    let mut text = "frontend www\n mode http\n".to_owned();
    for n in 0..500 {
        let condition = format!("{{ hdr(x-tenant) a b{n} }} {{ path_sub /{n}/ }}");
        write_line(&mut text, &format!("http-request deny if {condition}"));
    }
    let fields = BROWSER.strip_suffix("\r\n").expect("an empty line ends it");
    let request = format!("{fields}X-Tenant: {}a\r\n\r\n", "a,".repeat(6_999));
    run_rules_over(&text, &request)
}

fn run_rules(text: &str) -> Step {
    run_rules_over(text, BROWSER)
}

fn run_rules_over(text: &str, request: &str) -> Step {
    let config = configuration(text);
    let (mut head, connection) = (parsed(request), connection());
    Box::new(move || {
        let rules = &config.frontends[0].proxy.http_request;
        let facts: Facts<'_> = facts(&connection, None);
        let outcome = rules::request(
            rules,
            rules::Resume::START,
            black_box(&mut head),
            &facts,
            &NoVariables,
            &[],
        );
        assert!(matches!(outcome, Outcome::Continue), "nothing is denied");
    })
}

/// `use_backend` as the reference configuration has it, behind `before` rules for other hosts.
fn backend(before: usize) -> Step {
    let mut text = "frontend www\n mode http\n acl is_ws hdr(Upgrade) -i WebSocket\n".to_owned();
    for n in 0..before {
        write_line(
            &mut text,
            &format!("use_backend http if {{ hdr(host) -i www{n}.example.com }}"),
        );
    }
    text += " use_backend nodes if is_ws\n default_backend http\nbackend http\n mode http\nbackend nodes\n mode http\n";
    let config = configuration(&text);
    let (head, connection) = (parsed(BROWSER), connection());
    Box::new(move || {
        let facts = facts(&connection, Some(black_box(&head)));
        let chosen = decide::backend(&config.frontends[0], &facts, &NoVariables, &|_| true);
        assert_eq!(chosen.map(|id| id.0), Some(1), "it is a WebSocket");
    })
}
