//! The one door into a running engine.

use tokio::sync::broadcast;

use crate::command::{Command, Refused};
use crate::snapshot::{ControlStatus, Event, Snapshot};

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Somebody must act now (syslog 1).
    Alert,
    /// Somebody should act (syslog 4).
    Warning,
    /// A change of state worth keeping (syslog 5).
    Notice,
    /// Everything else (syslog 6).
    Info,
}

/// A cheap, cloneable reference to a running engine.
#[derive(Clone)]
pub struct Handle {
    events: broadcast::Sender<Event>,
}

impl Handle {
    /// What the engine looks like now.
    pub fn snapshot(&self) -> Snapshot {
        unreachable!("skeleton")
    }

    /// Carries out one command; quick, never waits for a peer.
    pub fn apply(&self, _command: Command) -> Result<(), Refused> {
        unreachable!("skeleton")
    }

    /// What the page and the metrics show of the control loop from now on.
    pub fn set_control(&self, _status: ControlStatus) {}

    /// Events from now on. A slow receiver loses the oldest and is told so.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Writes one line to the global log targets and, unless quiet, to stderr.
    pub fn log(&self, _level: Level, _message: &str) {}
}
