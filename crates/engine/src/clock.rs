//! Time for the engine: monotonic milliseconds for timers and statistics, wall time for logs only.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The moment the engine started; all monotonic times are counted from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Time since start.
    pub(crate) fn since_start(self) -> Duration {
        self.start.elapsed()
    }

    /// Time from start to `moment`.
    pub(crate) fn until(self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.start)
    }

    /// Milliseconds since start; wraps after 584 million years.
    pub(crate) fn millis(self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Time since 1970, for dates in logs and rules. A clock set before 1970 reads as 1970.
pub(crate) fn wall() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
