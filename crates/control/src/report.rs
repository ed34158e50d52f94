//! What the control loop tells: counters since the start, and lines that are said once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::snapshot::{ControlStatus, DiscoveryStatus, LastChange};
use engine::{Handle, Level};

use crate::discovery::Skipped;
use crate::discovery::wsupdates::FetchError;
use crate::news::{Origin, Outcome};

/// Where the loop's words go. The engine's handle is one; tests have another.
pub(crate) trait Outlet {
    /// One line for the log.
    fn log(&self, level: Level, line: &str);

    /// The status shown from now on.
    fn show(&self, status: ControlStatus);
}

impl Outlet for Handle {
    fn log(&self, level: Level, line: &str) {
        Handle::log(self, level, line);
    }

    fn show(&self, status: ControlStatus) {
        self.set_control(status);
    }
}

/// What becomes of news.
const NEWS_WORDS: [&str; 3] = ["changed", "same", "refused"];

/// Entries left out that are named in the log when the set of them changes.
const SKIPPED_LINES_MAX: usize = 5;

/// Reasons to wait that are shown; the rest is a number.
pub(crate) const WAITING_MAX: usize = 20;

/// Counters about discovery since the start, and what was said last.
#[derive(Debug, Default)]
pub(crate) struct Report {
    fetches: u64,
    failures: BTreeMap<&'static str, u64>,
    skipped: u64,
    changes: u64,
    apply_time: Option<Duration>,
    last_change: Option<(Origin, Duration)>,
    news: BTreeMap<(Origin, &'static str), u64>,
    state_file_failures: u64,
    last_error: Option<String>,
    last_good: Option<Duration>,
    /// Whether the list in force was read from the state file.
    pub(crate) from_state_file: bool,
    said_skipped: Vec<Skipped>,
    said_refused: BTreeSet<String>,
    said_state_file: Option<String>,
    said_unobserved: Option<String>,
    said_stream: Option<String>,
}

impl Report {
    /// A fetch brought a good list.
    pub(crate) fn fetched(&mut self, now: Duration) {
        self.fetches += 1;
        self.last_error = None;
        self.listed(now);
    }

    /// A whole list came by itself, and is good.
    pub(crate) fn listed(&mut self, now: Duration) {
        self.last_good = Some(now);
        self.from_state_file = false;
    }

    /// What a fetch brought was older than news that came meanwhile.
    pub(crate) fn overtaken(&mut self) {
        self.fetches += 1;
    }

    /// News were taken, or not; the fleet is another one for it, or not.
    pub(crate) fn news(&mut self, origin: Origin, outcome: Option<&Outcome>, now: Duration) {
        let word = match outcome {
            Some(outcome) if outcome.is_change() => "changed",
            Some(_) => "same",
            None => "refused",
        };
        if word == "changed" {
            self.last_change = Some((origin, now));
        }
        *self.news.entry((origin, word)).or_default() += 1;
    }

    /// A fetch brought none.
    pub(crate) fn failed(&mut self, error: &FetchError) {
        self.fetches += 1;
        *self.failures.entry(error.cause()).or_default() += 1;
        self.last_error = Some(error.line());
    }

    /// A step was carried out.
    pub(crate) fn changed(&mut self) {
        self.changes += 1;
    }

    /// Steps carried out so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// A list that changed something is in force that long after it came.
    pub(crate) fn applied(&mut self, time: Duration) {
        self.apply_time = Some(time);
    }

    /// Entries of a list were left out: counted each time, named when they are others than before.
    pub(crate) fn skipped(&mut self, skipped: Vec<Skipped>, count: u64, outlet: &impl Outlet) {
        self.skipped += count;
        if skipped == self.said_skipped {
            return;
        }
        for entry in skipped.iter().take(SKIPPED_LINES_MAX) {
            outlet.log(
                Level::Warning,
                &format!("Node list: entry left out: {entry}"),
            );
        }
        let more = count.saturating_sub(SKIPPED_LINES_MAX as u64);
        if more > 0 {
            outlet.log(
                Level::Warning,
                &format!("Node list: {more} more entries left out"),
            );
        }
        self.said_skipped = skipped;
    }

    /// Steps were refused: each is a warning when it was not refused in the turn before.
    pub(crate) fn refused(&mut self, refused: BTreeSet<String>, outlet: &impl Outlet) {
        for line in refused.difference(&self.said_refused) {
            outlet.log(Level::Warning, &format!("Fleet: cannot {line}"));
        }
        self.said_refused = refused;
    }

    /// An event could not be taken: a warning when the one before was refused for something else.
    pub(crate) fn stream_refused(&mut self, why: &str, outlet: &impl Outlet) {
        if self.said_stream.as_deref() != Some(why) {
            outlet.log(
                Level::Warning,
                &format!("Discovery: an event is of no use: {why}"),
            );
            self.said_stream = Some(why.to_owned());
        }
    }

    /// The state file could not be read or written; `None`: all is well again.
    pub(crate) fn state_file(&mut self, trouble: Option<String>, outlet: &impl Outlet) {
        self.state_file_failures += u64::from(trouble.is_some());
        if trouble != self.said_state_file {
            if let Some(trouble) = &trouble {
                outlet.log(Level::Warning, &format!("State file: {trouble}"));
            }
            self.said_state_file = trouble;
        }
    }

    /// Nothing can be seen of the servers; `None`: it can (again).
    pub(crate) fn unobserved(&mut self, trouble: Option<String>, outlet: &impl Outlet) {
        if trouble == self.said_unobserved {
            return;
        }
        match &trouble {
            Some(trouble) => outlet.log(
                Level::Warning,
                &format!("Fleet: {trouble}; nothing is changed meanwhile"),
            ),
            None => outlet.log(Level::Notice, "Fleet: its servers can be seen again"),
        }
        self.said_unobserved = trouble;
    }

    /// How old the list in force is; `None`: no list has come since the start.
    pub(crate) fn age(&self, now: Duration) -> Option<Duration> {
        self.last_good.map(|last| now.saturating_sub(last))
    }

    /// News by source and by what became of them, all of both.
    fn news_total(&self) -> Vec<(&'static str, &'static str, u64)> {
        let all = Origin::ALL.into_iter();
        let all = all.flat_map(|origin| NEWS_WORDS.map(|word| (origin, word)));
        all.map(|(origin, word)| {
            let count = self.news.get(&(origin, word)).copied().unwrap_or(0);
            (origin.word(), word, count)
        })
        .collect()
    }

    /// All of it for the page and the metrics.
    pub(crate) fn status(
        &self,
        url: String,
        backend: Arc<str>,
        nodes: u64,
        now: Duration,
    ) -> DiscoveryStatus {
        let failures = FetchError::CAUSES.into_iter();
        DiscoveryStatus {
            url,
            backend,
            nodes,
            age: self.age(now),
            from_state_file: self.from_state_file,
            fetches_total: self.fetches,
            failures_total: failures
                .map(|cause| (cause, self.failures.get(cause).copied().unwrap_or(0)))
                .collect(),
            entries_skipped_total: self.skipped,
            changes_total: self.changes,
            apply_time: self.apply_time,
            last_change: self.last_change.map(|(origin, at)| LastChange {
                source: origin.word(),
                age: now.saturating_sub(at),
            }),
            news_total: self.news_total(),
            stream: None,
            pushes_refused_total: Vec::new(),
            last_error: self.last_error.clone(),
            state_file_failures_total: self.state_file_failures,
        }
    }
}
