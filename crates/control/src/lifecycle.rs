//! The balancer's own life, from start to routing, and how it recovers. Pure: no clock of its own,
//! no sockets. The data plane never asks it anything: in `Error`, sessions go on as before.
//!
//! ```text
//!  Starting → LoadingConfig → FetchingNodes → HealthChecks → Ready → Routing
//!                 ↑                 │ failed                   │↑        │
//!                 │ retry           ↓         failed           ↓│applied ↓
//!                 └────────────── Error ←────────────────── Reloading ←──┘
//! ```
//! `Reloading` is a changed node list being applied, or a fetch that failed after everything was
//! ready (it passes through to `Error`); or a configuration that is read again: one that cannot be used
//! leads to `Error`, and the retry goes on with the one in force. `Ready` becomes `Routing` with the first session that is
//! routed; once that has happened, `Ready` is passed through.

use std::time::Duration;

use engine::Level;

/// The names of all states, in the order of the diagram, for the metric with one line a state.
pub const STATES: &[&str] = &[
    "Starting",
    "LoadingConfig",
    "FetchingNodes",
    "HealthChecks",
    "Ready",
    "Routing",
    "Reloading",
    "Error",
];

/// How long `HealthChecks` may wait for the first result of every server. A server that nobody
/// answers for has one after `timeout check`; this is for checks with very long intervals.
pub(crate) const HEALTH_CHECKS_MAX: Duration = Duration::from_secs(10);

/// Where the balancer is in its life. `routed`: a session has been routed since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle(State);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Starting,
    LoadingConfig { past: Past },
    FetchingNodes { past: Past },
    HealthChecks { until: Duration, routed: bool },
    Ready,
    Routing,
    Reloading { routed: bool },
    Error { past: Past },
}

/// What a state on the way of a retry remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Past {
    /// Why it went to `Error`, if this is a retry.
    reason: Option<String>,
    routed: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// The program begins to read its configuration.
    Begin,
    /// The configuration is good.
    ConfigLoaded,
    /// A good list came, or there is nothing to fetch.
    NodesFetched,
    /// No good list came; the reason for people.
    FetchFailed(String),
    /// The fleet to work towards has changed; what changed, for people.
    ListChanged(String),
    /// The backend has the servers the fleet asks for, as far as that can be done now.
    ChangesApplied,
    /// Every checked server has had a result.
    ServersChecked,
    /// A session has been routed.
    Routed,
    /// The back-off after a failure is over.
    Retry,
    /// The configuration is about to be read again.
    ReloadBegun,
    /// It was taken over; what has changed, for people.
    ReloadApplied(String),
    /// It cannot be used, and everything is as before; the reason for people.
    ReloadRefused(String),
    /// Time has passed.
    Tick,
}

/// What to do after a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Actions {
    /// Lines for the log. A retry that fails for the same reason says nothing.
    pub(crate) log: Vec<(Level, String)>,
    /// Check the configuration again, then say [`Input::ConfigLoaded`].
    pub(crate) load_config: bool,
    /// Fetch the list, then say [`Input::NodesFetched`] or [`Input::FetchFailed`].
    pub(crate) fetch: bool,
}

impl Lifecycle {
    /// The first two states, before there is an engine: returns the lifecycle in `LoadingConfig`
    /// and the lines to log for having come there.
    pub fn begin() -> (Self, Vec<String>) {
        let (lifecycle, actions) = Self(State::Starting).step(Input::Begin, Duration::ZERO);
        let first = "Lifecycle: Starting".to_owned();
        let lines = actions.log.into_iter().map(|(_, line)| line);
        (lifecycle, std::iter::once(first).chain(lines).collect())
    }

    /// The name of the state, one of [`STATES`].
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Why it is in `Error`, or was before the retry under way.
    pub(crate) fn trouble(&self) -> Option<&str> {
        match &self.0 {
            State::Error { past }
            | State::LoadingConfig { past }
            | State::FetchingNodes { past } => past.reason.as_deref(),
            _ => None,
        }
    }

    /// Whether the next thing to do is to wait for the end of the back-off.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self.0, State::Error { .. })
    }

    /// Whether it waits for first results of checks.
    pub(crate) fn waits_for_checks(&self) -> bool {
        matches!(self.0, State::HealthChecks { .. })
    }

    /// Whether it has come to `Routing` and nothing is under way.
    pub(crate) fn is_routing(&self) -> bool {
        self.0 == State::Routing
    }

    /// The next state, and what to do about it. What has no arrow in the diagram changes nothing.
    pub(crate) fn step(self, input: Input, now: Duration) -> (Self, Actions) {
        let mut path = Path::from(self.0);
        path.take(input, now);
        (Self(path.state), path.actions)
    }
}

/// A state on its way to another one, and what has to be done for the states it passed.
struct Path {
    state: State,
    actions: Actions,
}

impl From<State> for Path {
    fn from(state: State) -> Self {
        Self {
            state,
            actions: Actions::default(),
        }
    }
}

impl Path {
    fn take(&mut self, input: Input, now: Duration) {
        use State::{
            Error, FetchingNodes, HealthChecks, LoadingConfig, Ready, Reloading, Routing, Starting,
        };
        match (self.state.clone(), input) {
            (Starting, Input::Begin) => {
                let past = Past::default();
                self.enter(LoadingConfig { past }, "");
            }
            (LoadingConfig { past }, Input::ConfigLoaded) => {
                self.enter(FetchingNodes { past }, "");
                self.actions.fetch = true;
            }
            (FetchingNodes { past }, Input::NodesFetched) => {
                let until = now + HEALTH_CHECKS_MAX;
                let routed = past.routed;
                let why = past
                    .reason
                    .map(|reason| format!("recovered from: {reason}"));
                self.enter(HealthChecks { until, routed }, &why.unwrap_or_default());
            }
            (FetchingNodes { past }, Input::FetchFailed(reason)) => self.fail(reason, past),
            (HealthChecks { routed, .. }, Input::ServersChecked) => self.ready(routed, ""),
            (HealthChecks { until, routed }, Input::Tick) if now >= until => {
                self.ready(routed, "some servers have had no check yet");
            }
            (Ready, Input::Routed) => self.enter(Routing, ""),
            (Ready, Input::ListChanged(what)) => self.enter(Reloading { routed: false }, &what),
            (Routing, Input::ListChanged(what)) => self.enter(Reloading { routed: true }, &what),
            (Reloading { routed }, Input::ChangesApplied) => self.ready(routed, ""),
            (state @ (Ready | Routing), Input::FetchFailed(reason)) => {
                let routed = state == Routing;
                self.enter(Reloading { routed }, "the node list cannot be renewed");
                self.fail(
                    reason,
                    Past {
                        reason: None,
                        routed,
                    },
                );
            }
            (Reloading { routed }, Input::FetchFailed(reason)) => {
                self.fail(
                    reason,
                    Past {
                        reason: None,
                        routed,
                    },
                );
            }
            (Ready, Input::ReloadBegun) => {
                self.enter(
                    Reloading { routed: false },
                    "the configuration is read again",
                );
            }
            (Routing, Input::ReloadBegun) => {
                self.enter(
                    Reloading { routed: true },
                    "the configuration is read again",
                );
            }
            (state @ (Ready | Routing), Input::ReloadRefused(reason)) => {
                let routed = state == Routing;
                self.enter(Reloading { routed }, "the configuration is read again");
                let past = Past {
                    reason: None,
                    routed,
                };
                self.fail(reason, past);
            }
            (Reloading { routed }, Input::ReloadRefused(reason)) => {
                let past = Past {
                    reason: None,
                    routed,
                };
                self.fail(reason, past);
            }
            (Error { past }, Input::Retry | Input::ReloadApplied(_)) => {
                self.enter(LoadingConfig { past }, "");
                self.actions.load_config = true;
            }
            (mut state, Input::Routed) => {
                state.remember_routed();
                self.state = state;
            }
            // A failure during HealthChecks is shown by the fetch after it: no arrow leads from
            // there to Error, and the servers under check are worth waiting for.
            _ => {}
        }
    }

    /// To `Ready`, and through it when sessions are routed already.
    fn ready(&mut self, routed: bool, why: &str) {
        self.enter(State::Ready, why);
        if routed {
            self.enter(State::Routing, "");
        }
    }

    /// To `Error`; a warning unless it was there for the same reason before the retry.
    fn fail(&mut self, reason: String, past: Past) {
        let known = past.reason.as_ref() == Some(&reason);
        let from = self.state.name();
        let routed = past.routed;
        let line = format!("Lifecycle: {from} -> Error: {reason}");
        let reason = Some(reason);
        self.state = State::Error {
            past: Past { reason, routed },
        };
        if !known {
            self.actions.log.push((Level::Warning, line));
        }
    }

    /// To the next state, with a line in the log unless it is one of the steps of a retry.
    fn enter(&mut self, next: State, why: &str) {
        let (from, to) = (self.state.name(), next.name());
        let line = match why {
            "" => format!("Lifecycle: {from} -> {to}"),
            why => format!("Lifecycle: {from} -> {to} ({why})"),
        };
        if !next.is_retry() {
            self.actions.log.push((Level::Notice, line));
        }
        self.state = next;
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::LoadingConfig { .. } => "LoadingConfig",
            Self::FetchingNodes { .. } => "FetchingNodes",
            Self::HealthChecks { .. } => "HealthChecks",
            Self::Ready => "Ready",
            Self::Routing => "Routing",
            Self::Reloading { .. } => "Reloading",
            Self::Error { .. } => "Error",
        }
    }

    fn is_retry(&self) -> bool {
        match self {
            Self::LoadingConfig { past } | Self::FetchingNodes { past } => past.reason.is_some(),
            _ => false,
        }
    }

    fn remember_routed(&mut self) {
        match self {
            Self::LoadingConfig { past } | Self::FetchingNodes { past } | Self::Error { past } => {
                past.routed = true;
            }
            Self::HealthChecks { routed, .. } | Self::Reloading { routed } => *routed = true,
            Self::Starting | Self::Ready | Self::Routing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    /// Each state, not routed and routed where that makes a difference.
    fn states() -> Vec<(&'static str, State)> {
        let past = |reason: Option<&str>, routed| Past {
            reason: reason.map(str::to_owned),
            routed,
        };
        let until = NOW + Duration::from_secs(1);
        vec![
            ("Starting", State::Starting),
            (
                "LoadingConfig",
                State::LoadingConfig {
                    past: past(None, false),
                },
            ),
            (
                "LoadingConfig retry",
                State::LoadingConfig {
                    past: past(Some("x"), true),
                },
            ),
            (
                "FetchingNodes",
                State::FetchingNodes {
                    past: past(None, false),
                },
            ),
            (
                "FetchingNodes retry",
                State::FetchingNodes {
                    past: past(Some("x"), true),
                },
            ),
            (
                "HealthChecks",
                State::HealthChecks {
                    until,
                    routed: false,
                },
            ),
            (
                "HealthChecks over",
                State::HealthChecks {
                    until: NOW,
                    routed: false,
                },
            ),
            (
                "HealthChecks routed",
                State::HealthChecks {
                    until,
                    routed: true,
                },
            ),
            ("Ready", State::Ready),
            ("Routing", State::Routing),
            ("Reloading", State::Reloading { routed: false }),
            ("Reloading routed", State::Reloading { routed: true }),
            (
                "Error",
                State::Error {
                    past: past(Some("x"), false),
                },
            ),
            (
                "Error routed",
                State::Error {
                    past: past(Some("x"), true),
                },
            ),
        ]
    }

    fn inputs() -> Vec<(&'static str, Input)> {
        vec![
            ("Begin", Input::Begin),
            ("ConfigLoaded", Input::ConfigLoaded),
            ("NodesFetched", Input::NodesFetched),
            ("FetchFailed x", Input::FetchFailed("x".into())),
            ("FetchFailed y", Input::FetchFailed("y".into())),
            ("ListChanged", Input::ListChanged("1 joins".into())),
            ("ChangesApplied", Input::ChangesApplied),
            ("ServersChecked", Input::ServersChecked),
            ("Routed", Input::Routed),
            ("Retry", Input::Retry),
            ("ReloadBegun", Input::ReloadBegun),
            ("ReloadApplied", Input::ReloadApplied("1 server".into())),
            ("ReloadRefused x", Input::ReloadRefused("x".into())),
            ("Tick", Input::Tick),
        ]
    }

    /// Every state and every input that changes something; what is not in the table changes nothing.
    const ARROWS: &[(&str, &str, &str)] = &[
        ("Starting", "Begin", "LoadingConfig"),
        ("LoadingConfig", "ConfigLoaded", "FetchingNodes, fetch"),
        ("LoadingConfig", "Routed", "LoadingConfig routed"),
        (
            "LoadingConfig retry",
            "ConfigLoaded",
            "FetchingNodes x routed, fetch, silent",
        ),
        ("FetchingNodes", "NodesFetched", "HealthChecks"),
        ("FetchingNodes", "FetchFailed x", "Error x"),
        ("FetchingNodes", "FetchFailed y", "Error y"),
        ("FetchingNodes", "Routed", "FetchingNodes routed"),
        ("FetchingNodes retry", "NodesFetched", "HealthChecks routed"),
        (
            "FetchingNodes retry",
            "FetchFailed x",
            "Error x routed, silent",
        ),
        ("FetchingNodes retry", "FetchFailed y", "Error y routed"),
        ("HealthChecks", "ServersChecked", "Ready"),
        ("HealthChecks", "Routed", "HealthChecks routed"),
        ("HealthChecks over", "ServersChecked", "Ready"),
        ("HealthChecks over", "Routed", "HealthChecks routed"),
        ("HealthChecks over", "Tick", "Ready"),
        ("HealthChecks routed", "ServersChecked", "Ready, Routing"),
        ("Ready", "FetchFailed x", "Reloading, Error x"),
        ("Ready", "FetchFailed y", "Reloading, Error y"),
        ("Ready", "ListChanged", "Reloading"),
        ("Ready", "ReloadBegun", "Reloading"),
        ("Ready", "ReloadRefused x", "Reloading, Error x"),
        ("Routing", "ReloadRefused x", "Reloading, Error x routed"),
        ("Routing", "ReloadBegun", "Reloading routed"),
        ("Reloading", "ReloadRefused x", "Error x"),
        ("Reloading routed", "ReloadRefused x", "Error x routed"),
        ("Error", "ReloadApplied", "LoadingConfig x, load, silent"),
        (
            "Error routed",
            "ReloadApplied",
            "LoadingConfig x routed, load, silent",
        ),
        ("Ready", "Routed", "Routing"),
        ("Routing", "FetchFailed x", "Reloading, Error x routed"),
        ("Routing", "FetchFailed y", "Reloading, Error y routed"),
        ("Routing", "ListChanged", "Reloading routed"),
        ("Reloading", "FetchFailed x", "Error x"),
        ("Reloading", "FetchFailed y", "Error y"),
        ("Reloading", "ChangesApplied", "Ready"),
        ("Reloading", "Routed", "Reloading routed"),
        ("Reloading routed", "FetchFailed x", "Error x routed"),
        ("Reloading routed", "FetchFailed y", "Error y routed"),
        ("Reloading routed", "ChangesApplied", "Ready, Routing"),
        ("Error", "Retry", "LoadingConfig x, load, silent"),
        ("Error", "Routed", "Error x routed"),
        (
            "Error routed",
            "Retry",
            "LoadingConfig x routed, load, silent",
        ),
    ];

    /// The states passed (as logged), the last one with its data, and the actions.
    fn printed(before: &State, after: &State, actions: &Actions) -> String {
        let mut words = Vec::new();
        let passed = actions.log.len().saturating_sub(1);
        for (_, line) in &actions.log[..passed] {
            let (_, to) = line.split_once("-> ").unwrap();
            words.push(to.split([' ', ':']).next().unwrap().to_owned());
        }
        let mut last = after.name().to_owned();
        let (reason, routed) = match after {
            State::LoadingConfig { past }
            | State::FetchingNodes { past }
            | State::Error { past } => (past.reason.clone(), past.routed),
            State::HealthChecks { routed, .. } | State::Reloading { routed } => (None, *routed),
            _ => (None, false),
        };
        last.extend(reason.map(|reason| format!(" {reason}")));
        last.push_str(if routed { " routed" } else { "" });
        words.push(last);
        words.extend(actions.load_config.then(|| "load".to_owned()));
        words.extend(actions.fetch.then(|| "fetch".to_owned()));
        if actions.log.is_empty() && after.name() != before.name() {
            words.push("silent".to_owned());
        }
        words.join(", ")
    }

    #[test]
    fn every_state_and_every_input() {
        for (state_name, state) in states() {
            for (input_name, input) in inputs() {
                let (after, actions) = Lifecycle(state.clone()).step(input, NOW);
                let arrow = ARROWS
                    .iter()
                    .find(|(from, on, _)| (*from, *on) == (state_name, input_name));
                match arrow {
                    Some((_, _, expected)) => {
                        let got = printed(&state, &after.0, &actions);
                        assert_eq!(&got, expected, "{state_name} + {input_name}");
                    }
                    None => {
                        assert_eq!(after.0, state, "{state_name} + {input_name}");
                        assert_eq!(actions, Actions::default(), "{state_name} + {input_name}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_names_are_those_of_the_metric() {
        for (_, state) in states() {
            assert!(STATES.contains(&state.name()));
        }
    }

    #[test]
    fn what_the_log_says_of_a_life() {
        let (mut life, lines) = Lifecycle::begin();
        let mut log = lines;
        for input in [
            Input::ConfigLoaded,
            Input::FetchFailed("no answer".into()),
            Input::Retry,
            Input::ConfigLoaded,
            Input::FetchFailed("no answer".into()),
            Input::Retry,
            Input::ConfigLoaded,
            Input::NodesFetched,
            Input::ServersChecked,
            Input::Routed,
            Input::ListChanged("1 joins".into()),
            Input::ChangesApplied,
            Input::FetchFailed("no answer".into()),
        ] {
            let (next, actions) = life.step(input, NOW);
            log.extend(actions.log.into_iter().map(|(_, line)| line));
            life = next;
        }
        let log = log
            .iter()
            .map(|line| line.strip_prefix("Lifecycle: ").unwrap());
        assert_eq!(
            log.collect::<Vec<_>>(),
            [
                "Starting",
                "Starting -> LoadingConfig",
                "LoadingConfig -> FetchingNodes",
                "FetchingNodes -> Error: no answer",
                "FetchingNodes -> HealthChecks (recovered from: no answer)",
                "HealthChecks -> Ready",
                "Ready -> Routing",
                "Routing -> Reloading (1 joins)",
                "Reloading -> Ready",
                "Ready -> Routing",
                "Routing -> Reloading (the node list cannot be renewed)",
                "Reloading -> Error: no answer",
            ]
        );
    }
}
