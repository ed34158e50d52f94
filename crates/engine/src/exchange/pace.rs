//! Whether the client keeps the pace it must (`client-min-rate`): of the time that we wait for it, and of nothing else,
//! so that a slow server is never held against it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use config::model::MinRate;

use crate::session::shorter;

/// How much has moved in one direction, and how long that was waited for.
pub(super) struct Pace {
    wanted: Option<MinRate>,
    bytes: Cell<u64>,
    waited: Cell<Duration>,
}

impl Pace {
    /// Nothing yet.
    pub(super) fn new(wanted: Option<MinRate>) -> Self {
        Self {
            wanted,
            bytes: Cell::default(),
            waited: Cell::default(),
        }
    }

    /// How long the next wait may be.
    pub(super) fn limit(&self, limit: Option<Duration>) -> Option<Duration> {
        let Some(wanted) = self.wanted else {
            return limit;
        };
        let left = wanted.allowed(self.bytes.get());
        shorter(limit, Some(left.saturating_sub(self.waited.get())))
    }

    /// The moment before a wait, where it is timed at all.
    pub(super) fn begins(&self) -> Option<Instant> {
        self.wanted.map(|_| Instant::now())
    }

    /// After that wait so many bytes have moved.
    pub(super) fn moved(&self, begun: Option<Instant>, bytes: usize) {
        if let Some(begun) = begun {
            self.waited.set(self.waited.get() + begun.elapsed());
            self.bytes.set(self.bytes.get() + bytes as u64);
        }
    }
}
