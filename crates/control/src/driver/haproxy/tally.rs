//! What became of our dealings with HAProxy, for the page and the metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::snapshot::HaproxyStatus;

/// Counters that the driver adds to and the page reads.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<HaproxyStatus>);

impl Tally {
    /// About the HAProxy at that socket.
    pub(crate) fn new(socket: String) -> Self {
        let status = HaproxyStatus {
            socket,
            ..HaproxyStatus::default()
        };
        Self(Mutex::new(status))
    }

    /// All of it.
    pub(crate) fn status(&self) -> HaproxyStatus {
        self.lock().clone()
    }

    /// Plain counters are right at any moment, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, HaproxyStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reached(&self) {
        let mut status = self.lock();
        status.reachable = true;
        status.trouble = None;
    }

    pub(super) fn unreachable(&self, why: &str) {
        let mut status = self.lock();
        status.reachable = false;
        status.failures_total += 1;
        status.trouble = Some(why.to_owned());
    }

    pub(super) fn file(&self, outcome: &Result<(), String>) {
        let mut status = self.lock();
        match outcome {
            Ok(()) => status.file_writes_total += 1,
            Err(_) => status.file_failures_total += 1,
        }
        status.file_trouble = outcome.as_ref().err().cloned();
    }

    /// The file cannot even be read or understood; `None`: it can again.
    pub(super) fn file_unreadable(&self, why: Option<&str>) {
        let mut status = self.lock();
        if let Some(why) = why {
            status.file_failures_total += 1;
            status.file_trouble = Some(why.to_owned());
        } else {
            status.file_trouble = None;
        }
    }

    /// Nobody waits for a reload any more.
    pub(super) fn reload_trouble_is_over(&self) {
        self.lock().reload_trouble = None;
    }

    pub(super) fn reload(&self, outcome: &Result<(), String>) {
        let mut status = self.lock();
        match outcome {
            Ok(()) => status.reloads_total += 1,
            Err(_) => status.reload_failures_total += 1,
        }
        status.reload_trouble = outcome.as_ref().err().cloned();
    }
}
