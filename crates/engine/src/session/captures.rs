//! What is kept of a session beyond what every session has: captured headers and cookies, its
//! unique id and number, the level a rule gave it (manual 4.2, "capture", "unique-id-format"; 8.7, 8.8).
//!
//! A session that needs none of it has none of it: the notes are made when the first one is taken.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use config::expr::{Recalled, Timeout, VarName, VarScope};
use config::model::{CaptureSlot, Captures, CookieCapture, LogLevel, Mark, Priority};
use config::source::Span;
use routing::sample::{Memory, TcpFacts, Value};
use routing::stick::Tables;
use routing::variables::{Held, Store};
use wire::head::{Fields, RequestHead, ResponseHead, Version};

use super::{Login, Session};
use crate::counters::Count;
use crate::queue::Standing;
use crate::stick::Tracking;
use crate::stream::Stream;
use crate::tcp_facts;
use crate::variables;

/// The notes of one session.
#[derive(Default)]
pub(super) struct Notes {
    /// By slot; `None`: there was no such header.
    pub(super) request: Vec<Option<Box<[u8]>>>,
    /// The same of the response.
    pub(super) response: Vec<Option<Box<[u8]>>>,
    /// `%CC`.
    pub(super) request_cookie: Option<Box<[u8]>>,
    /// `%CS`.
    pub(super) response_cookie: Option<Box<[u8]>>,
    /// `%ID`, once it was made.
    pub(super) unique_id: Option<Box<[u8]>>,
    /// `%rt`, once it was asked for.
    pub(super) number: Option<u64>,
    /// `set-log-level`.
    pub(super) level: Option<LogLevel>,
    /// `%bi` and `%bp`.
    pub(super) source: Option<SocketAddr>,
    /// The connection to the server.
    pub(super) server_connection: Option<Box<ServerEnds>>,
    /// Where the last rule stands that has decided.
    pub(super) decided: Option<Span>,
    /// Where the rule stands that waits.
    pub(super) waiting: Option<Span>,
    /// `set-timeout`, one after the other.
    pub(super) timeouts: Option<Vec<(Timeout, Duration)>>,
    /// `set-retries`.
    pub(super) retries: Option<u32>,
    /// `set-fc-mark` and its like, one after the other, until they are set.
    pub(super) marks: Vec<(Mark, u32)>,
    /// `set-priority-class`, `set-priority-offset`.
    pub(super) priority: Option<Standing>,
    /// Variables of the request.
    pub(super) variables: Store,
    /// What is tracked of the request.
    pub(super) tracking: Tracking,
    /// Version of the response as the server sent it.
    pub(super) response_version: Option<Version>,
}

/// What is told of the connection to a server, where an expression asks for it.
#[derive(Clone, Copy)]
pub(super) struct ServerEnds {
    /// Ours, then the server's; `None`: a Unix socket.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    /// Whether it had served another request.
    pub(super) reused: bool,
    /// What the kernel has measured of it.
    pub(super) tcp: Option<TcpFacts>,
}

impl Session {
    /// What was set for the request alone is forgotten.
    pub(super) fn forget_request_variables(&self) {
        if let Some(notes) = &mut *self.notes.borrow_mut() {
            notes.variables.clear(VarScope::Req);
        }
    }

    /// What a rule of the frontend has said of timeouts and retries of a backend is not meant for another one
    /// (manual 4.4, "set-timeout").
    pub(super) fn forget_limits_of_backend(&self) {
        if let Some(notes) = &mut *self.notes.borrow_mut() {
            notes.retries = None;
            if let Some(all) = &mut notes.timeouts {
                all.retain(|(which, _)| matches!(which, Timeout::Client | Timeout::Tarpit));
            }
        }
    }

    /// What `set-retries` has said.
    pub(crate) fn own_retries(&self) -> Option<u32> {
        self.noted(|notes| notes.retries)
    }

    /// What `set-priority-class` and `set-priority-offset` have said.
    pub(crate) fn standing(&self) -> Standing {
        self.noted(|notes| notes.priority).unwrap_or_default()
    }

    /// What `set-fc-mark`, or `set-bc-mark`, and their like have said and nobody has taken yet.
    pub(crate) fn take_marks(&self, of_server: bool) -> Vec<(Mark, u32)> {
        let mut notes = self.notes.borrow_mut();
        let Some(notes) = notes.as_deref_mut().filter(|notes| !notes.marks.is_empty()) else {
            return Vec::new();
        };
        let is_servers = |mark: Mark| matches!(mark, Mark::Server | Mark::ServerTos);
        let all = std::mem::take(&mut notes.marks);
        let (taken, left) = all
            .into_iter()
            .partition(|(mark, _)| is_servers(*mark) == of_server);
        notes.marks = left;
        taken
    }

    /// What `set-timeout` has said of one.
    pub(crate) fn own_timeout(&self, which: Timeout) -> Option<Duration> {
        self.noted(|notes| {
            let mut all = notes.timeouts.iter().flatten();
            all.find(|(known, _)| *known == which)
                .map(|(_, time)| *time)
        })
    }

    /// Reads a note.
    pub(super) fn noted<T>(&self, read: impl FnOnce(&Notes) -> Option<T>) -> Option<T> {
        self.notes.borrow().as_deref().and_then(read)
    }

    /// Takes a note.
    pub(super) fn note<T>(&self, write: impl FnOnce(&mut Notes) -> T) -> T {
        write(self.notes.borrow_mut().get_or_insert_default())
    }

    /// Whether it is a session in HAProxy's eyes: a client that never sent a request has none.
    pub(crate) fn has_begun(&self) -> bool {
        !self.is_http() || !self.record.request_line.is_empty()
    }

    fn captures(&self) -> &Captures {
        &self.frontend().conf().captures
    }

    /// A request has come: captures its headers, and makes its unique id while they are at hand.
    pub(crate) fn note_request(&self, head: &RequestHead) {
        let slots = &self.captures().request;
        if !slots.is_empty() {
            self.note(|notes| capture_fields(slots, &head.fields, &mut notes.request));
        }
        if self.frontend().conf().unique_id.format.is_some() {
            self.make_unique_id(Some(head));
        }
    }

    /// A request goes to a server or is denied: captures its cookie.
    pub(crate) fn note_cookie(&self, head: &RequestHead) {
        if let Some(cookie) = &self.captures().cookie {
            let mut pairs = head.fields.get_all("cookie").flat_map(split);
            if let Some(pair) = pairs.find(|pair| is_wanted(pair, cookie)) {
                let pair = cut(pair, cookie.length_max);
                self.note(|notes| notes.request_cookie = Some(pair));
            }
        }
    }

    /// A request goes to a server, which is told the request's id.
    pub(crate) fn tell_unique_id(&self, head: &mut RequestHead) {
        if let Some(name) = &self.frontend().conf().unique_id.header
            && let Some(id) = self.noted(|notes| notes.unique_id.clone())
        {
            head.fields.append(name, &id);
        }
    }

    /// A server has answered.
    pub(crate) fn note_response(&self, head: &ResponseHead) {
        self.forget_request_variables();
        let captures = self.captures();
        if captures.is_empty() {
            return;
        }
        self.note(|notes| {
            notes.response_version = Some(head.version);
            capture_fields(&captures.response, &head.fields, &mut notes.response);
            let Some(cookie) = &captures.cookie else {
                return;
            };
            let mut pairs = head
                .fields
                .get_all("set-cookie")
                .filter_map(|line| split(line).next());
            if let Some(pair) = pairs.find(|pair| is_wanted(pair, cookie)) {
                notes.response_cookie = Some(cut(pair, cookie.length_max));
            }
        });
    }

    /// Whether more is kept of TLS than most ask for.
    pub(crate) fn asks_for_chains(&self) -> bool {
        self.frontend().conf().asked.chains
    }

    /// How a server was reached, as far as a log line or a rule tells it.
    pub(crate) fn note_server_connection(&self, stream: &Stream, reused: bool) {
        if self.frontend().conf().asked.server_connection {
            let noted = ServerEnds {
                ends: stream.ends(),
                reused,
                tcp: tcp_facts::of(&stream.socket()),
            };
            self.note(|notes| notes.server_connection = Some(Box::new(noted)));
        }
        if self.frontend().conf().proxy.log.tells_source {
            let source = stream.local_address();
            self.note(|notes| notes.source = source);
        }
    }

    /// Its number in the order of those that were asked for it.
    pub(super) fn number(&self) -> u64 {
        if let Some(number) = self.noted(|notes| notes.number) {
            return number;
        }
        let number = self.worker().shared.numbered.fetch_add(1, Relaxed);
        self.note(|notes| notes.number = Some(number));
        number
    }

    /// Its unique id, made now if it was not yet; `None`: there is no format for it.
    pub(super) fn unique_id(&self) -> Option<Box<[u8]>> {
        self.frontend().conf().unique_id.format.as_ref()?;
        if !self.has_begun() {
            return None;
        }
        if self
            .noted(|notes| notes.unique_id.as_ref().map(drop))
            .is_none()
        {
            self.make_unique_id(None);
        }
        self.noted(|notes| notes.unique_id.clone())
    }

    fn make_unique_id(&self, head: Option<&RequestHead>) {
        let Some(format) = &self.frontend().conf().unique_id.format else {
            return;
        };
        // An id that is to contain itself contains nothing there.
        self.note(|notes| notes.unique_id = Some(Box::default()));
        let facts = self.facts(head, None);
        let mut id = Vec::new();
        routing::format::render(format, &facts, self, &mut id);
        self.note(|notes| notes.unique_id = Some(id.into()));
    }
}

/// Fills the slots that have a header; the last field of its name counts.
fn capture_fields(slots: &[CaptureSlot], fields: &Fields, kept: &mut Vec<Option<Box<[u8]>>>) {
    kept.resize(slots.len(), None);
    for (slot, kept) in slots.iter().zip(kept) {
        let value = slot.header.as_ref().map(|name| fields.get_all(name));
        if let Some(value) = value.and_then(Iterator::last) {
            *kept = Some(cut(value, slot.length_max));
        }
    }
}

fn cut(value: &[u8], length_max: usize) -> Box<[u8]> {
    value[..value.len().min(length_max)].into()
}

/// The pairs of a `Cookie` line; of a `Set-Cookie` line the cookie, then its attributes.
fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn is_wanted(pair: &[u8], cookie: &CookieCapture) -> bool {
    pair.starts_with(cookie.prefix.as_bytes())
}

fn keep(slots: &[CaptureSlot], kept: &mut Vec<Option<Box<[u8]>>>, slot: usize, value: &[u8]) {
    let Some(declared) = slots.get(slot) else {
        return;
    };
    kept.resize(slots.len(), None);
    kept[slot] = Some(cut(value, declared.length_max));
}

impl Memory for Session {
    fn is_login_wanted(&self) -> bool {
        self.login.get() == Login::Wanted
    }

    fn want_login(&self) {
        if self.login.get() == Login::Unasked {
            self.login.set(Login::Wanted);
        }
    }

    fn recall(&self, what: Recalled) -> Option<Value<'static>> {
        let text = |text: &[u8]| Some(Value::made(text.to_vec()));
        let line = &self.record.request_line;
        let mut words = line.split(|byte| *byte == b' ');
        match what {
            _ if line.is_empty() && is_of_request_line(what) => None,
            Recalled::Method => text(words.next()?),
            Recalled::Uri => text(from_path(words.nth(1)?)),
            Recalled::RequestVersion => text(words.nth(2)?),
            Recalled::ResponseVersion => {
                let version = self.noted(|notes| notes.response_version);
                version.map(|version| Value::text(version.as_str().as_bytes()))
            }
            Recalled::RequestCapture(slot) => self.noted(|notes| {
                let kept = notes.request.get(slot)?.as_deref()?;
                text(kept)
            }),
            Recalled::ResponseCapture(slot) => self.noted(|notes| {
                let kept = notes.response.get(slot)?.as_deref()?;
                text(kept)
            }),
            Recalled::UniqueId => text(&self.unique_id()?),
        }
    }

    fn decided(&self, place: Span) {
        if self.frontend().conf().asked.rules {
            self.note(|notes| notes.decided = Some(place));
        }
    }

    fn waits(&self, place: Option<Span>) {
        if self.frontend().conf().asked.rules {
            self.note(|notes| notes.waiting = place);
        }
    }

    fn set_timeout(&self, which: Timeout, time: Duration) {
        self.note(|notes| {
            let all = notes.timeouts.get_or_insert_default();
            all.retain(|(known, _)| *known != which);
            all.push((which, time));
        });
    }

    fn set_retries(&self, count: u32) {
        self.note(|notes| notes.retries = Some(count));
    }

    fn set_mark(&self, mark: Mark, value: u32) {
        self.note(|notes| {
            notes.marks.retain(|(known, _)| *known != mark);
            notes.marks.push((mark, value));
        });
    }

    fn set_priority(&self, what: Priority, value: i64) {
        self.note(|notes| {
            let standing = notes.priority.get_or_insert_default();
            match what {
                Priority::Class => standing.class = value,
                Priority::Offset => standing.offset = value,
            }
        });
    }

    fn fields_len_max(&self) -> usize {
        let site = self.worker().shared.site.load();
        site.config.global.tune.bufsize
    }

    fn rewrite_failed(&self) {
        self.count_at_frontend(Count::FailedRewrites);
        self.count_at_both(Count::FailedRewrites);
    }

    fn variable(&self, name: &VarName) -> Held {
        let notes = self.notes.borrow();
        let store = notes.as_deref().map(|notes| &notes.variables);
        let connection = &self.connection.facts;
        variables::get(name, store, connection, &self.worker().shared)
    }

    fn set_variable(&self, name: &VarName, value: Option<Value<'static>>) -> bool {
        let connection = &self.connection.facts;
        let shared = &self.worker().shared;
        let mut notes = self.notes.borrow_mut();
        let own = !matches!(name.scope, VarScope::Proc | VarScope::Sess);
        let notes = match &mut *notes {
            Some(notes) => Some(notes),
            none if own && value.is_some() => Some(none.get_or_insert_default()),
            _ => None,
        };
        let store = notes.map(|notes| &mut notes.variables);
        variables::set(name, value, store, connection, shared)
    }

    fn status(&self) -> Option<u16> {
        self.record.status
    }

    fn tables(&self) -> &dyn Tables {
        self
    }

    fn keep_of_request(&self, slot: usize, value: &[u8]) {
        let slots = &self.captures().request;
        self.note(|notes| keep(slots, &mut notes.request, slot, value));
    }

    fn keep_of_response(&self, slot: usize, value: &[u8]) {
        let slots = &self.captures().response;
        self.note(|notes| keep(slots, &mut notes.response, slot, value));
    }

    fn set_log_level(&self, level: LogLevel) {
        self.note(|notes| notes.level = Some(level));
    }
}

fn is_of_request_line(what: Recalled) -> bool {
    matches!(
        what,
        Recalled::Method | Recalled::Uri | Recalled::RequestVersion
    )
}

/// A target from its path on: without scheme and host.
pub(super) fn from_path(target: &[u8]) -> &[u8] {
    let rest = match target.windows(3).position(|three| three == b"://") {
        Some(at) if target.first() != Some(&b'/') => &target[at + 3..],
        _ => target,
    };
    let slash = rest.iter().position(|byte| *byte == b'/');
    slash.map_or(&[], |at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_from_their_path_on() {
        let check = |target: &str, expected: &str| {
            let found = from_path(target.as_bytes());
            assert_eq!(String::from_utf8_lossy(found), expected, "{target}");
        };
        check("/a?b=c://d", "/a?b=c://d");
        check("http://h:80/p?q", "/p?q");
        check("http://h", "");
        check("*", "");
    }
}
