//! A [`crate::snapshot::Snapshot`] as text: HAProxy's CSV and JSON, Prometheus metrics, the stats page.
//! Pure; who may see them and how they are sent is decided elsewhere. A fleet makes them long, so they
//! are written piece by piece ([`Report`]).

mod columns;
pub mod page;
pub mod prometheus;
mod row;
#[cfg(test)]
mod sample;
pub mod table;

use std::sync::Arc;

use routing::health::CheckCode;
use row::Row;

use crate::command::Admin;
pub(crate) use crate::snapshot::Snapshot;
use crate::snapshot::{BackendStats, ServerStats};

/// Bytes of a piece, about: small enough that a worker writes it between two connections' turns.
const PIECE: usize = 32 * 1024;

/// A text that is written piece by piece.
pub trait Report {
    /// Writes the next step; `false`: there is none.
    fn step(&mut self, out: &mut String) -> bool;

    /// Writes about one piece; `false`: that was all.
    fn piece(&mut self, out: &mut String) -> bool {
        while out.len() < PIECE {
            if !self.step(out) {
                return false;
            }
        }
        true
    }

    /// All of it at once.
    #[cfg(test)]
    fn whole(&mut self) -> String {
        let mut whole = String::new();
        loop {
            let mut piece = String::new();
            let more = self.piece(&mut piece);
            whole += &piece;
            if !more {
                return whole;
            }
        }
    }
}

/// A [`Row`] by positions, which outlive a borrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Frontend(usize),
    Listener(usize, usize),
    Server(usize, usize),
    Backend(usize),
}

impl Place {
    /// The line, of the snapshot that the place is from.
    fn row(self, snapshot: &Snapshot) -> Row<'_> {
        match self {
            Self::Frontend(at) => Row::Frontend(&snapshot.frontends[at]),
            Self::Listener(at, inner) => {
                let frontend = &snapshot.frontends[at];
                Row::Listener(frontend, &frontend.listeners[inner])
            }
            Self::Server(at, inner) => {
                let backend = &snapshot.backends[at];
                Row::Server(backend, &backend.servers[inner])
            }
            Self::Backend(at) => Row::Backend(&snapshot.backends[at]),
        }
    }
}

/// Longest part of a name that is looked for, as in HAProxy.
const SCOPE_LEN_MAX: usize = 20;

/// Which lines are shown.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `stats scope`: names of proxies; empty: all.
    pub names: Vec<Arc<str>>,
    /// `;scope=`: a part of a proxy's name.
    pub part: Option<String>,
    /// `;up`: no servers that are down.
    pub only_up: bool,
    /// `;no-maint`: no servers in maintenance.
    pub no_maint: bool,
    /// What `show stat` was asked for.
    pub pick: Option<Pick>,
}

/// Which lines `show stat` was asked for (management.txt 9.3).
#[derive(Debug, Clone)]
pub struct Pick {
    /// Name or numeric id of a proxy; a number below 1: all.
    pub proxy: String,
    /// Sum of 1 (frontends), 2 (backends), 4 (servers) and 8 (listeners); -1: all.
    pub kinds: i64,
    /// Numeric id of a server or listener; -1: all.
    pub service: i64,
}

impl Pick {
    fn shows(&self, row: &Row<'_>) -> bool {
        const FRONTENDS: i64 = 1;
        const BACKENDS: i64 = 2;
        const SERVERS: i64 = 4;
        const LISTENERS: i64 = 8;
        let kind = match row {
            Row::Frontend(_) => FRONTENDS,
            Row::Backend(_) => BACKENDS,
            Row::Server(..) => SERVERS,
            Row::Listener(..) => LISTENERS,
        };
        let proxy = match self.proxy.parse::<i64>() {
            Ok(id) => id < 1 || u64::try_from(id) == Ok(row.proxy_id()),
            Err(_) => self.proxy == row.proxy_name(),
        };
        let is_service = kind == SERVERS || kind == LISTENERS;
        let service =
            !is_service || self.service < 0 || u64::try_from(self.service) == Ok(row.service_id());
        proxy && service && self.kinds & kind != 0
    }
}

/// The short code of a check (`L7OK`), as [`crate::snapshot::ServerStats`] holds it; empty for an unknown one.
pub fn check_code(short: &str) -> &'static str {
    let code = CheckCode::all().find(|code| code.short() == short);
    code.map_or("", CheckCode::short)
}

/// The schema of `show stat json`.
pub const SCHEMA: &str = include_str!("schema.json");

pub use routing::described;
pub use table::{json_text, tag_words};

impl Selection {
    /// What follows the page's URI says.
    pub fn new(names: &[Arc<str>], rest: &str) -> Self {
        Self {
            names: names.to_vec(),
            part: part(rest),
            only_up: has_word(rest, "up"),
            no_maint: has_word(rest, "no-maint"),
            pick: None,
        }
    }

    /// Whether the servers of a proxy of that name may be changed from the page: what a request asks to see is no
    /// limit.
    pub(crate) fn may_change(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|it| **it == *name)
    }

    /// Whether a proxy of that name is shown.
    pub(crate) fn shows_proxy(&self, name: &str) -> bool {
        self.may_change(name)
            && self
                .part
                .as_ref()
                .is_none_or(|part| name.contains(part.as_str()))
    }

    fn shows_server(&self, server: &ServerStats) -> bool {
        let state = condition(server);
        let maint = state == Condition::Maint;
        let down = matches!(state, Condition::Down | Condition::GoingUp);
        !(self.only_up && (down || maint) || self.no_maint && maint)
    }

    /// Whether servers may be missing, so that backends say how many are left.
    fn hides_servers(&self) -> bool {
        self.only_up || self.no_maint
    }
}

/// `;word` in what follows a URI.
pub fn has_word(rest: &str, word: &str) -> bool {
    let mut words = rest.split([';', '?', '&']).skip(1);
    words.any(|it| it == word)
}

/// Whether a word begins so, as HAProxy looks for the form of a page.
pub fn word_begins(rest: &str, word: &str) -> bool {
    let mut words = rest.split([';', '?', '&']).skip(1);
    words.any(|it| it.starts_with(word))
}

/// The value of `scope=`. One that no name could hold is not looked for.
fn part(rest: &str) -> Option<String> {
    let mut words = rest.split([';', '?', '&']).skip(1);
    let part = words.find_map(|word| word.strip_prefix("scope="))?;
    let in_name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let fits = !part.is_empty() && part.chars().all(in_name);
    fits.then(|| part.chars().take(SCOPE_LEN_MAX).collect())
}

/// All lines that are shown: proxies in the order of their ids, that is of the file, a `listen` being
/// one proxy with two halves; servers stand before their backend.
fn places(snapshot: &Snapshot, selection: &Selection) -> Vec<Place> {
    let mut places = Vec::new();
    let mut backends = snapshot.backends.iter().enumerate().peekable();
    for (at, frontend) in snapshot.frontends.iter().enumerate() {
        while let Some((at, backend)) = backends.next_if(|(_, it)| it.id < frontend.id) {
            push_backend(&mut places, at, backend, selection);
        }
        if selection.shows_proxy(&frontend.name) {
            places.push(Place::Frontend(at));
            let listeners = 0..frontend.listeners.len();
            places.extend(listeners.map(|inner| Place::Listener(at, inner)));
        }
    }
    for (at, backend) in backends {
        push_backend(&mut places, at, backend, selection);
    }
    if let Some(pick) = &selection.pick {
        places.retain(|place| pick.shows(&place.row(snapshot)));
    }
    places
}

fn push_backend(places: &mut Vec<Place>, at: usize, backend: &BackendStats, selection: &Selection) {
    if !selection.shows_proxy(&backend.name) {
        return;
    }
    let servers = backend.servers.iter().enumerate();
    let shown = servers.filter(|(_, server)| selection.shows_server(server));
    places.extend(shown.map(|(inner, _)| Place::Server(at, inner)));
    places.push(Place::Backend(at));
}

/// What a server's status comes down to, for metrics and colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Up,
    /// Up, but its last check failed.
    GoingDown,
    Down,
    /// Down, but its last check passed.
    GoingUp,
    Maint,
    Drain,
    NoLoad,
    NoCheck,
}

fn condition(server: &ServerStats) -> Condition {
    let status = server.status.as_str();
    match server.admin {
        Admin::Maint => Condition::Maint,
        _ if status.starts_with("DOWN ") => Condition::GoingUp,
        _ if status.starts_with("DOWN") => Condition::Down,
        Admin::Drain => Condition::Drain,
        Admin::Ready if status.starts_with("NOLB") => Condition::NoLoad,
        Admin::Ready if status.starts_with("MAINT") => Condition::Maint,
        Admin::Ready if status.starts_with("UP ") => Condition::GoingDown,
        Admin::Ready if !server.checked => Condition::NoCheck,
        Admin::Ready => Condition::Up,
    }
}
