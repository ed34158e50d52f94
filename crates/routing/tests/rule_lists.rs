//! Long lists of rules are not judged one by one (`config::model::RuleList`): here they are, and both
//! must come to the same.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use config::Surroundings;
use config::model::{Frontend, RuleList};
use config::source::Source;
use proptest::prelude::*;
use proptest::sample::select;
use routing::condition::holds;
use routing::content::Content;
use routing::decide;
use routing::format::NoVariables;
use routing::process::NoProcess;
use routing::rules::{self, Outcome, Resume};
use routing::sample::{ConnectionFacts, Facts, Memory};
use wire::h1::{Limits, Parsed, parse_request};
use wire::head::RequestHead;

struct World;

impl Surroundings for World {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, _: &str) -> Result<String, String> {
        Err("there are no files here".to_owned())
    }
}

/// Remembers whether anybody asked who the client is.
#[derive(Default)]
struct Asked(Cell<bool>);

impl Memory for Asked {
    fn is_login_wanted(&self) -> bool {
        self.0.get()
    }

    fn want_login(&self) {
        self.0.set(true);
    }
}

fn frontend(lines: &[String]) -> Frontend {
    let text = format!(
        "userlist users\n user u insecure-password p\n\
         defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         frontend fe\n bind 127.0.0.1:18090\n {}\n default_backend b0\n\
         backend b0\nbackend b1\nbackend b2\n",
        lines.join("\n ")
    );
    let source = Source {
        name: "test.cfg".into(),
        text: text.as_str().into(),
    };
    let outcome = config::load(&[source], &World);
    let problems = outcome.diagnostics;
    assert!(outcome.config.is_some(), "{text}\n{problems:?}");
    outcome.config.expect("asserted above").frontends[0].clone()
}

fn parsed(request: &str) -> RequestHead {
    let limits = Limits {
        head_bytes_max: 15_360,
        fields_max: 101,
        lenient: false,
    };
    match parse_request(request.as_bytes(), &limits).expect("the request is right") {
        Parsed::Complete { head, .. } => head,
        Parsed::Partial => unreachable!("the request is whole"),
    }
}

fn with_facts<T>(head: Option<&RequestHead>, test: impl FnOnce(&Facts<'_>) -> T) -> T {
    let (connection, memory) = (ConnectionFacts::default(), Asked::default());
    test(&Facts {
        request: head,
        response: None,
        content: Content::default(),
        connection: &connection,
        memory: &memory,
        frontend: "fe",
        backend: None,
        server_tls: None,
        process: &NoProcess,
        now: Duration::from_secs(1_795_337_577),
        random: 7,
        logins: None,
    })
}

/// Few texts, so that rules hold now and then, and case that is and is not told apart.
fn texts() -> impl Strategy<Value = &'static str> {
    select(vec![
        "/a", "/b", "/a/b", "/A", "/ab", "b", "/b/a", "/c", "/d", "/e", "/f", "/g", "a", "B", "ab",
    ])
}

fn test() -> impl Strategy<Value = String> {
    let asked = select(vec![
        "path",
        "path",
        "path_beg",
        "path_end",
        "path_sub",
        "path_dir",
        "hdr(x)",
        "hdr(x)",
        "hdr_beg(x)",
        "req.fhdr(x)",
        "hdr(x,1)",
        "hdr(x),lower -m str",
        "path -m len",
        "hdr(y)",
        "req.cook(c)",
        "base",
    ]);
    let flag = select(vec!["", "", "-i"]);
    let compared =
        (asked, flag, prop::collection::vec(texts(), 1..3)).prop_map(|(asked, flag, texts)| {
            match asked {
                "path -m len" => "path -m len 2".to_owned(),
                _ => format!("{asked} {flag} {}", texts.join(" ")),
            }
        });
    prop_oneof![
        20 => compared,
        1 => Just("http_auth(users)".to_owned()),
        1 => Just("always_true".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let term = (select(vec!["", "", "", "", "!"]), test());
    let term = term.prop_map(|(not, test)| format!("{not}{{ {test} }}"));
    let all_of = prop::collection::vec(term, 1..3).prop_map(|terms| terms.join(" "));
    let any_of = prop::collection::vec(all_of, 1..3).prop_map(|all| all.join(" or "));
    (select(vec!["if", "if", "if", "if", "unless"]), any_of)
        .prop_map(|(word, any_of)| format!("{word} {any_of}"))
}

fn request() -> impl Strategy<Value = String> {
    let paths = select(vec![
        "/a", "/b", "/a/b", "/A", "/ab", "/b/a", "/c", "/x", "/g/a?a=b",
    ]);
    let values = prop::collection::vec(select(vec!["a", "b, a", "B", "/a", "x", "ab,/b"]), 0..3);
    (paths, values).prop_map(|(path, values)| {
        let lines: String = values.iter().map(|it| format!("x: {it}\r\n")).collect();
        format!("GET {path} HTTP/1.1\r\nhost: h\r\ncookie: c=a\r\n{lines}\r\n")
    })
}

fn rule() -> impl Strategy<Value = String> {
    let action = prop_oneof![
        3 => select(vec![400, 403, 404]).prop_map(|status| format!("deny deny_status {status}")),
        1 => Just("allow".to_owned()),
        3 => texts().prop_map(|text| format!("set-header x {text}")),
        1 => texts().prop_map(|text| format!("set-header Y {text}")),
        1 => texts().prop_map(|text| format!("set-header cookie c={text}")),
        1 => texts().prop_map(|text| format!("set-header Host {text}")),
        2 => texts().prop_map(|text| format!("add-header x {text}")),
        1 => Just("del-header x".to_owned()),
    ];
    (action, condition())
        .prop_map(|(action, condition)| format!("http-request {action} {condition}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_same_request_rules_act(
        lines in prop::collection::vec(rule(), 1..80),
        requests in prop::collection::vec(request(), 8),
    ) {
        let rules = frontend(&lines).proxy.http_request;
        for request in requests {
            let (mut by_index, mut one_by_one) = (parsed(&request), parsed(&request));
            let outcome = with_facts(None, |facts| {
                rules::request(&rules, Resume::START, &mut by_index, facts, &NoVariables, &[])
            });
            let expected = with_facts(None, |facts| {
                for (position, rule) in rules.iter().enumerate() {
                    // One alone is in no table.
                    let alone = RuleList::from(vec![rule.clone()]);
                    let head = &mut one_by_one;
                    match rules::request(&alone, Resume::START, head, facts, &NoVariables, &[]) {
                        // `allow` ends the list.
                        Outcome::Continue => {
                            let allows = matches!(rule.action, config::model::RequestAction::Allow);
                            let facts = Facts { request: Some(head), ..*facts };
                            if allows && holds(rule.condition.as_ref(), &facts) {
                                return Outcome::Continue;
                            }
                        }
                        Outcome::Unproven(_) => return Outcome::Unproven(Resume::at(position)),
                        stopped => return stopped,
                    }
                }
                Outcome::Continue
            });
            prop_assert_eq!(outcome, expected);
            prop_assert_eq!(by_index, one_by_one);
        }
    }

    #[test]
    fn the_same_backend_is_chosen(
        lines in prop::collection::vec((1..3, condition()), 1..80),
        requests in prop::collection::vec(request(), 8),
    ) {
        let lines: Vec<String> = lines
            .iter()
            .map(|(backend, condition)| format!("use_backend b{backend} {condition}"))
            .collect();
        let frontend = frontend(&lines);
        for request in requests {
            let head = parsed(&request);
            let chosen = with_facts(Some(&head), |facts| decide::backend(&frontend, facts, &NoVariables, &|_| true));
            let expected = with_facts(Some(&head), |facts| {
                let rule = frontend.use_backend.iter().find(|it| holds(it.condition.as_ref(), facts));
                rule.map_or(frontend.default_backend, |rule| rule.target.known())
            });
            prop_assert_eq!(chosen, expected);
        }
    }
}

#[test]
fn of_a_thousand_rules_only_those_are_judged_that_can_hold() {
    let mut lines: Vec<String> = (0..1_000)
        .map(|number| format!("http-request deny if {{ path /{number} }} {{ hdr(host) -i h }}"))
        .collect();
    lines.push("http-request set-header y 1".to_owned());
    let rules = frontend(&lines).proxy.http_request;
    // The path tells them apart, the host does not.
    let [table] = rules.index().tables() else {
        unreachable!("one table")
    };
    let mut lists = BTreeSet::new();
    table.find(b"/7", &mut lists);
    assert_eq!(rules.index().rules(&lists), BTreeSet::from([7]));
    assert_eq!(rules.index().next_open(0), Some(1_000));
    assert_eq!(rules.index().next_open(1_001), None);
}

/// A head of 15 KB holds seven thousand values, and each may be what every rule asks for.
#[test]
fn a_value_that_is_repeated_is_remembered_once() {
    let lines: Vec<String> = (0..500)
        .map(|n| format!("http-request deny if {{ hdr(x) a b{n} }} {{ path_sub /{n}/ }}"))
        .collect();
    let rules = frontend(&lines).proxy.http_request;
    let [table] = rules.index().tables() else {
        unreachable!("one table")
    };
    let mut lists = BTreeSet::new();
    for _ in 0..7_000 {
        table.find(b"a", &mut lists);
        table.find(b"A", &mut lists);
        table.find(b"b7", &mut lists);
    }
    assert_eq!(lists.len(), 2, "of a, and of b7");
    assert_eq!(rules.index().rules(&lists), (0..500).collect());
}

#[test]
fn what_was_looked_up_is_kept_where_another_header_changes() {
    let by = |criterion: &str| {
        let rule = |n| format!("http-request deny if {{ {criterion} /{n} }}");
        let lines: Vec<String> = (0..8).map(rule).collect();
        frontend(&lines).proxy.http_request
    };
    let check = |criterion: &str, seen: &[&str]| {
        let rules = by(criterion);
        assert_eq!(rules.index().tables().len(), 1, "{criterion}");
        for header in ["Host", "cookie", "X"] {
            let is_blind = !seen.contains(&header);
            assert_eq!(
                rules.index().is_blind_to(header),
                is_blind,
                "{criterion} {header}"
            );
        }
    };
    check("path", &[]);
    check("url_beg", &[]);
    check("urlp(a)", &[]);
    check("ssl_fc_sni", &[]);
    check("base", &["Host"]);
    check("hdr(host)", &["Host"]);
    check("hdr(x)", &["X"]);
    check("req.fhdr(x)", &["X"]);
    check("req.cook(c)", &["cookie"]);
}
