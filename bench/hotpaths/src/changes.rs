//! Rules that remember something, and rules that tidy what is asked for.

use std::cell::RefCell;
use std::hint::black_box;

use config::expr::{Recalled, VarName};
use config::model::LogLevel;
use routing::format::NoVariables;
use routing::rules::{self, Outcome};
use routing::sample::{Facts, Memory, Value};
use routing::variables::{Held, Store};

use crate::scene::{BROWSER, configuration, connection, facts, parsed};
use crate::{HotPath, Step, path};

pub(crate) const PATHS: &[HotPath] = &[
    path("set-var-and-var", 200, || {
        run(
            " http-request set-var(txn.host) hdr(host),lower\n \
             http-request deny if { var(txn.host) -m beg nobody. }\n",
            BROWSER.to_owned(),
        )
    }),
    path("normalize-uri-tidy", 200, || {
        normalize("/rooms/17/messages")
    }),
    path("normalize-uri-untidy", 200, || {
        normalize("/rooms//17/%2e%2e/./messages")
    }),
    path("copy-of-a-head", 200, || run("", BROWSER.to_owned())),
];

fn normalize(target: &str) -> Step {
    run(
        " http-request normalize-uri path-merge-slashes\n \
         http-request normalize-uri path-strip-dot\n \
         http-request normalize-uri percent-to-uppercase\n",
        BROWSER.replacen("/socket", target, 1),
    )
}

/// What a session has of variables: nothing, until the first one is set.
#[derive(Default)]
struct Notes(RefCell<Option<Box<Store>>>);

impl Memory for Notes {
    fn recall(&self, _: Recalled) -> Option<Value<'static>> {
        None
    }

    fn status(&self) -> Option<u16> {
        None
    }

    fn keep_of_request(&self, _: usize, _: &[u8]) {}

    fn keep_of_response(&self, _: usize, _: &[u8]) {}

    fn set_log_level(&self, _: LogLevel) {}

    fn is_login_wanted(&self) -> bool {
        false
    }

    fn want_login(&self) {}

    fn variable(&self, name: &VarName) -> Held {
        let notes = self.0.borrow();
        notes.as_ref().map_or(Held::Absent, |notes| notes.get(name))
    }

    fn set_variable(&self, name: &VarName, value: Option<Value<'static>>) -> bool {
        let mut notes = self.0.borrow_mut();
        notes.get_or_insert_default().set(name, value);
        true
    }
}

/// Rules over a copy of a request, which they may change, with nothing remembered of it yet. What the copy
/// costs is told by `copy-of-a-head`.
fn run(lines: &str, request: String) -> Step {
    let text =
        format!("global\n expose-experimental-directives\nfrontend www\n mode http\n{lines}");
    let config = configuration(&text);
    let (head, connection) = (parsed(&request), connection());
    Box::new(move || {
        let rules = &config.frontends[0].proxy.http_request;
        let notes = Notes::default();
        let facts = Facts {
            memory: &notes,
            ..facts(&connection, None)
        };
        let mut head = black_box(&head).clone();
        let outcome = rules::request(
            rules,
            rules::Resume::START,
            &mut head,
            &facts,
            &NoVariables,
            &[],
        );
        assert!(matches!(outcome, Outcome::Continue), "nothing is denied");
        black_box(head);
    })
}
