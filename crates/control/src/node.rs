//! A node's own life, as the control loop sees it: when it joined, when it began to drain. Pure.
//!
//! ```text
//!   (added) → Joining → Ready → Draining → Gone
//!                ↑        ↑________│  taken back
//!                │_________________│  taken back, not up any more
//! ```
//! Whether a Ready node works at the moment is not told here: its checks make it Active or
//! Disabled, and it stays a Ready member of the fleet meanwhile.

use std::time::Duration;

use engine::command::Admin;

use crate::plan::{Health, Seen};

/// Where a node is in its life; `since` counts from the start of the control loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Added, and no check has passed yet.
    Joining {
        /// Since when.
        since: Duration,
    },
    /// Checks have passed: it takes sessions.
    Ready {
        /// Since when.
        since: Duration,
    },
    /// It takes no new sessions; those it has go on.
    Draining {
        /// Since when.
        since: Duration,
    },
    /// Its server was removed.
    Gone,
}

impl Stage {
    /// A server was first seen.
    pub(crate) fn begin(now: Duration) -> Self {
        Self::Joining { since: now }
    }

    /// The next stage, given the server as seen now; `None`: it is not there any more.
    pub(crate) fn step(self, seen: Option<&Seen>, now: Duration) -> Self {
        let Some(seen) = seen else {
            return Self::Gone;
        };
        let drains = seen.admin != Admin::Ready;
        let up = seen.health == Health::Up;
        match self {
            Self::Gone | Self::Draining { .. } if !drains && up => Self::Ready { since: now },
            Self::Gone | Self::Draining { .. } if !drains => Self::Joining { since: now },
            Self::Joining { .. } | Self::Ready { .. } | Self::Gone if drains => {
                Self::Draining { since: now }
            }
            Self::Joining { .. } if up => Self::Ready { since: now },
            stays => stays,
        }
    }

    /// Since when it has been waited for to come up.
    pub(crate) fn joining_since(self) -> Option<Duration> {
        match self {
            Self::Joining { since } => Some(since),
            Self::Draining { .. } | Self::Ready { .. } | Self::Gone => None,
        }
    }

    /// Since when it drains.
    pub(crate) fn draining_since(self) -> Option<Duration> {
        match self {
            Self::Draining { since } => Some(since),
            Self::Joining { .. } | Self::Ready { .. } | Self::Gone => None,
        }
    }

    /// Its name, for logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Joining { .. } => "Joining",
            Self::Ready { .. } => "Ready",
            Self::Draining { .. } => "Draining",
            Self::Gone => "Gone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::observed;

    #[test]
    fn every_stage_and_every_sight() {
        let at = Duration::from_secs;
        let stages = [
            Stage::Joining { since: at(1) },
            Stage::Ready { since: at(1) },
            Stage::Draining { since: at(1) },
            Stage::Gone,
        ];
        for (seen, expected) in [
            ("new", ["Joining 1", "Ready 1", "Joining 2", "Joining 2"]),
            ("down", ["Joining 1", "Ready 1", "Joining 2", "Joining 2"]),
            ("up", ["Ready 2", "Ready 1", "Ready 2", "Ready 2"]),
            (
                "drain",
                ["Draining 2", "Draining 2", "Draining 1", "Draining 2"],
            ),
            (
                "maint",
                ["Draining 2", "Draining 2", "Draining 1", "Draining 2"],
            ),
            ("nothing", ["Gone", "Gone", "Gone", "Gone"]),
        ] {
            let there = match seen {
                "nothing" => String::new(),
                state => format!("a=h:1 {state}"),
            };
            let there = observed(&there);
            for (stage, expected) in stages.into_iter().zip(expected) {
                let next = stage.step(there.servers.first(), at(2));
                let printed = match next {
                    Stage::Joining { since }
                    | Stage::Ready { since }
                    | Stage::Draining { since } => {
                        format!("{} {}", next.name(), since.as_secs())
                    }
                    Stage::Gone => next.name().to_owned(),
                };
                assert_eq!(printed, expected, "{stage:?} sees {seen}");
            }
        }
    }
}
