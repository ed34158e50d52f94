//! Idle connections that nobody but the client they served may use: with `http-reuse never`, and
//! behind a PROXY header, which names that client. They stand in the books of the worker's
//! [`IdlePool`](super::pool::IdlePool) and end with their client.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use super::pool::{Alike, Idle};
use crate::stream::Stream;

/// Idle connections that one client has to itself, at most: HAProxy's default of
/// `max-session-srv-conns`.
const OWN_MAX: usize = 5;

/// Those of one client, the one used last at the end.
#[derive(Default)]
pub(crate) struct Own {
    kept: RefCell<Vec<(Alike, Idle)>>,
    /// Whether the worker's pool knows of it.
    listed: Cell<bool>,
}

impl Own {
    /// One of that kind that is still usable, and how many requests it has carried.
    pub(super) fn take(&self, alike: &Alike, now: Instant) -> Option<(Stream, u32)> {
        let mut kept = self.kept.borrow_mut();
        while let Some(at) = kept.iter().rposition(|(known, _)| known == alike) {
            if let Some(usable) = kept.remove(at).1.into_usable(now) {
                return Some(usable);
            }
        }
        None
    }

    /// Keeps one; whether the pool must be told of it.
    pub(super) fn keep(&self, alike: Alike, idle: Idle) -> bool {
        let mut kept = self.kept.borrow_mut();
        if kept.len() == OWN_MAX {
            kept.remove(0);
        }
        kept.push((alike, idle));
        !self.listed.replace(true)
    }

    /// Drops what `keep` does not want; whether the pool must look again.
    pub(super) fn retain(&self, keep: &mut impl FnMut(&Alike, &mut Idle) -> bool) -> bool {
        let mut kept = self.kept.borrow_mut();
        kept.retain_mut(|(alike, idle)| keep(alike, idle));
        self.listed.set(!kept.is_empty());
        !kept.is_empty()
    }
}
