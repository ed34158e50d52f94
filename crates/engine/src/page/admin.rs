//! Changes of servers that are posted from the page (manual 4.2, "stats admin"): the fields are
//! HAProxy's, and so are the answers, which lead back to the page with a word about what became of it.

use std::rc::Rc;
use std::sync::Arc;

use routing::rules::Answer;
use wire::head::Fields;

use super::post::{self, NoBody};
use crate::client::{Client, Request};
use crate::command::{Admin, Command, Forced, Refused};
use crate::export::Selection;
use crate::export::page::Outcome;
use crate::handle::Handle;
use crate::worker::Worker;

/// Whether the request does not come from a page of somebody else. Scripts that say nothing of where
/// they come from are believed: no browser lets a page forge these fields, and none leaves out all of
/// them when it posts.
pub(super) fn is_of_same_origin(request: &Request) -> bool {
    let fields = &request.head.fields;
    if let Some(site) = fields.get("sec-fetch-site")
        && site != b"same-origin"
        && site != b"none"
    {
        return false;
    }
    let from = fields.get("origin").or(fields.get("referer"));
    let Some(from) = from else { return true };
    let host = request.head.host();
    host.is_some_and(|host| authority(from).is_some_and(|it| it.eq_ignore_ascii_case(host)))
}

/// `host:port` of a URL.
fn authority(url: &[u8]) -> Option<&[u8]> {
    let rest = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme))?;
    let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// What is posted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Form {
    backend: Option<String>,
    action: Option<String>,
    servers: Vec<String>,
}

impl Form {
    fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        for pair in body.split(|byte| *byte == b'&') {
            let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let value = decode(pair.get(at + 1..).unwrap_or_default());
            match &pair[..at] {
                b"b" => form.backend = Some(value),
                b"action" => form.action = Some(value),
                b"s" => form.servers.push(value),
                _ => {}
            }
        }
        form
    }
}

/// `application/x-www-form-urlencoded`. What is no text becomes a name that nobody has.
fn decode(value: &[u8]) -> String {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        let digits = (
            value.get(at + 1).and_then(digit),
            value.get(at + 2).and_then(digit),
        );
        match (byte, digits) {
            (b'%', (Some(high), Some(low))) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            (byte, _) => {
                out.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads the form and carries it out.
pub(super) async fn change(
    client: &mut Client,
    request: &mut Request,
    selection: &Selection,
    worker: &Rc<Worker>,
) -> Outcome {
    let tune = &worker.shared.site.load().config.global.tune;
    let most = tune.bufsize.saturating_sub(tune.maxrewrite);
    let body = match post::read(client, request, most).await {
        Ok(body) => body,
        Err(NoBody::Gone) => return Outcome::Failed,
        Err(NoBody::Unread) => return Outcome::TooLong,
    };
    carry_out(
        &Form::read(&body),
        selection,
        &Handle::new(worker.shared.clone()),
    )
}

fn carry_out(form: &Form, selection: &Selection, handle: &Handle) -> Outcome {
    let (Some(backend), Some(action)) = (&form.backend, &form.action) else {
        return Outcome::None;
    };
    if form.servers.is_empty() || action.is_empty() {
        return Outcome::None;
    }
    let Some(action) = Action::named(action) else {
        return Outcome::Failed;
    };
    let Some(backend) = handle.backend_called(backend) else {
        return Outcome::Failed;
    };
    if !selection.may_change(&backend) {
        return Outcome::Denied;
    }
    let (mut done, mut failed) = (0, 0);
    for server in &form.servers {
        match action.carry_out(handle, &backend, server) {
            Ok(true) => done += 1,
            Ok(false) => {}
            Err(_) => failed += 1,
        }
    }
    match (done, failed) {
        (0, 0) => Outcome::None,
        (_, 0) => Outcome::Done,
        (0, _) => Outcome::Failed,
        _ => Outcome::Partly,
    }
}

/// What HAProxy's words ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Admin(Admin),
    Forced(Forced),
    Checks(bool),
    Shutdown,
    /// There are no agents.
    Agent,
}

const ACTIONS: [(&str, Action); 17] = [
    ("ready", Action::Admin(Admin::Ready)),
    ("drain", Action::Admin(Admin::Drain)),
    ("maint", Action::Admin(Admin::Maint)),
    // Before there was a difference between drain and maintenance.
    ("enable", Action::Admin(Admin::Ready)),
    ("disable", Action::Admin(Admin::Maint)),
    ("start", Action::Admin(Admin::Ready)),
    ("stop", Action::Admin(Admin::Drain)),
    ("hrunn", Action::Forced(Forced::Up)),
    ("hnolb", Action::Forced(Forced::Stopping)),
    ("hdown", Action::Forced(Forced::Down)),
    ("dhlth", Action::Checks(false)),
    ("ehlth", Action::Checks(true)),
    ("shutdown", Action::Shutdown),
    ("dagent", Action::Agent),
    ("eagent", Action::Agent),
    ("arunn", Action::Agent),
    ("adown", Action::Agent),
];

impl Action {
    fn named(word: &str) -> Option<Self> {
        let row = ACTIONS.iter().find(|(known, _)| *known == word);
        row.map(|(_, action)| *action)
    }

    /// `Ok(false)`: it means nothing for this server.
    fn carry_out(self, handle: &Handle, backend: &Arc<str>, server: &str) -> Result<bool, Refused> {
        let (backend, server) = (backend.clone(), Arc::from(server));
        let command = match self {
            Self::Admin(admin) => Command::SetAdmin {
                backend,
                server,
                admin,
            },
            Self::Forced(health) => Command::ForceHealth {
                backend,
                server,
                health,
            },
            Self::Checks(enabled) => {
                if !handle.is_checked(&backend, &server)? {
                    return Ok(false);
                }
                Command::SetChecks {
                    backend,
                    server,
                    enabled,
                }
            }
            Self::Shutdown => Command::ShutdownSessions { backend, server },
            Self::Agent => {
                handle.is_checked(&backend, &server)?;
                return Ok(false);
            }
        };
        handle.apply(command).map(|()| true)
    }
}

/// Leads back to the page, and says there what became of it.
pub(super) fn back(uri: &str, rest: &str, selection: &Selection, outcome: Outcome) -> Answer {
    let mut location = format!("{uri};st={}", outcome.word());
    if selection.only_up {
        location.push_str(";up");
    }
    if crate::export::has_word(rest, "norefresh") {
        location.push_str(";norefresh");
    }
    if let Some(part) = &selection.part {
        location.push_str("?scope=");
        location.push_str(part);
    }
    let mut fields = Fields::new();
    fields.append("cache-control", b"no-cache");
    fields.append("content-type", b"text/plain");
    fields.append("location", location.as_bytes());
    Answer {
        fields,
        ..Answer::empty(303)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_in_any_order() {
        let form = Form::read(b"s=a%20b&x=y&action=ready&s=c+d&b=%234&s=%zz%4");
        let servers = ["a b", "c d", "%zz%4"];
        assert_eq!(form.servers, servers);
        assert_eq!(form.backend.as_deref(), Some("#4"));
        assert_eq!(form.action.as_deref(), Some("ready"));
        assert_eq!(Form::read(b""), Form::default());
        assert_eq!(Form::read(b"b&action").backend.as_deref(), Some(""));
    }

    #[test]
    fn the_way_back_holds_nothing_of_the_request_but_what_was_understood() {
        let to = |rest: &str| {
            let selection = Selection::new(&[], rest);
            let answer = back("/stats", rest, &selection, Outcome::Done);
            let location = answer.fields.get("location").expect("it leads back");
            String::from_utf8_lossy(location).into_owned()
        };
        for (rest, expected) in [
            ("", "/stats;st=DONE"),
            (";norefresh", "/stats;st=DONE;norefresh"),
            (";csv", "/stats;st=DONE"),
            (
                ";up;norefresh;scope=be",
                "/stats;st=DONE;up;norefresh?scope=be",
            ),
            ("?scope=b%20", "/stats;st=DONE"),
            (";st=X\r\nSet-Cookie: a", "/stats;st=DONE"),
        ] {
            assert_eq!(to(rest), expected);
        }
    }

    /// What arrives may be anything.
    #[test]
    fn no_form_is_too_odd() {
        for _ in 0..2000 {
            let alphabet = b"s=ba&%+0fF\xff\n;action";
            let length = fastrand::usize(..40);
            let body: Vec<u8> = (0..length)
                .map(|_| alphabet[fastrand::usize(..alphabet.len())])
                .collect();
            let form = Form::read(&body);
            assert!(form.servers.len() <= body.len());
        }
    }
}
