//! The door to whatever balances: what is there, and one change at a time.
//!
//! Every driver behaves as `contract` says; nothing else in this crate knows which one is in use.

#[cfg(test)]
pub(crate) mod contract;
pub(crate) mod embedded;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod haproxy;

use std::fmt;
use std::sync::Arc;

use config::model::ServerAddress;

use crate::discovery::Fleet;
use crate::plan::{Observed, Step};

/// Something with servers that can be looked at and changed.
pub(crate) trait Driver {
    /// Which nodes there should be, told before each look: where a driver finds servers that it did
    /// not add itself, it knows them again by this.
    fn expect(&mut self, _fleet: &Fleet) {}

    /// What is there now.
    async fn observe(&mut self) -> Result<Observation, DriverError>;

    /// Carries out one step; done when it returns.
    async fn apply(&mut self, step: &Step) -> Result<(), DriverError>;

    /// No step follows at once: what several of them share is done now.
    async fn settle(&mut self) {}

    /// This backend is filled from now on; `None`: none is.
    fn aim(&mut self, _backend: Option<Arc<str>>) {}
}

/// What a driver saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observation {
    /// The backend the fleet fills.
    pub(crate) backend: Observed,
    /// Servers of any backend that are checked and have had no result yet.
    pub(crate) unchecked: usize,
    /// Whether any session has been routed to any server since the start.
    pub(crate) routed: bool,
    /// Servers that are not for nodes, where only the driver knows them.
    pub(crate) configured: Option<Vec<(Arc<str>, ServerAddress)>>,
}

/// Why a driver could not look or act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DriverError {
    /// The backend the fleet fills is not there.
    NoBackend(Arc<str>),
    /// The server has sessions: it cannot be removed yet.
    Busy(u64),
    /// The step was refused; the text says why.
    Refused(String),
    /// Nothing can be learnt or done for the time being; the text says why.
    Unreachable(String),
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackend(backend) => write!(f, "there is no backend {backend}"),
            Self::Busy(sessions) => write!(f, "it still has {sessions} sessions"),
            Self::Refused(why) | Self::Unreachable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DriverError {}
