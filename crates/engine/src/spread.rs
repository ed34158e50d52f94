//! Which worker serves a connection that has just been accepted (manual 3.2,
//! "tune.listener.multi-queue").
//!
//! The kernel hands connections to the workers' sockets by a hash, and a WebSocket stays where it is:
//! chance, and whoever closes, would leave one worker with far more than another for days. So a worker
//! that has noticeably more than the one that has least hands the new one over to that, socket and
//! places in the limits together. Most connections stay where they were accepted and cost a look at
//! one number of each worker.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use config::model::MultiQueue;
use tokio::sync::mpsc;

use crate::listen::Newcomer;
use crate::site::FrontendState;
use crate::stream::Carrier;

/// So many connections more than the least loaded worker are no reason to hand one over: short
/// ones come and go by chance, and waking another thread costs more than it gains.
const TOLERANCE: u64 = 4;

/// And so large a part of what that worker has: one in 32.
const TOLERANCE_PART: u64 = 32;

/// Connections on their way to a worker, at most. One that is so far behind gets no more: they are
/// served where they were accepted.
const HANDED_MAX: usize = 256;

/// A connection that another worker has accepted.
pub(crate) struct Handed {
    /// Its socket, which no worker waits on yet.
    pub(crate) socket: Loose,
    /// What else is known of it.
    pub(crate) newcomer: Newcomer,
    /// The frontend it came in by.
    pub(crate) frontend: Arc<FrontendState>,
}

/// A socket that belongs to no worker.
#[derive(Debug)]
pub(crate) struct Loose(OwnedFd);

impl Loose {
    /// Takes a socket from the worker that waits on it.
    pub(crate) fn leave(carrier: Carrier) -> io::Result<Self> {
        carrier.leave().map(Self)
    }

    /// Lets this thread's worker wait on it.
    pub(crate) fn join(self) -> io::Result<Carrier> {
        Carrier::new(self.0)
    }
}

/// What all workers know of each other.
pub(crate) struct Spread {
    how: MultiQueue,
    loads: Box<[Load]>,
    /// Ways to them; none where there is one worker.
    doors: Box<[mpsc::Sender<Handed>]>,
    /// Whose turn it is, where they take turns.
    turn: AtomicUsize,
}

/// How much one worker has to do; aligned so that no two of them share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load {
    /// Its connections. Written by that worker alone.
    connections: AtomicU64,
    /// Those on their way to it. Without them a burst would all go to one.
    coming: AtomicU64,
}

impl Load {
    fn all(&self) -> u64 {
        self.connections.load(Relaxed) + self.coming.load(Relaxed)
    }
}

impl Spread {
    /// For so many workers, and where each of them finds what is handed to it.
    pub(crate) fn new(
        how: MultiQueue,
        workers: usize,
    ) -> (Self, Vec<Option<mpsc::Receiver<Handed>>>) {
        let alone = workers < 2 || how == MultiQueue::Off;
        let mut doors = Vec::new();
        let mut arrivals = Vec::new();
        for _ in 0..workers {
            arrivals.push((!alone).then(|| {
                let (door, arrivals) = mpsc::channel(HANDED_MAX);
                doors.push(door);
                arrivals
            }));
        }
        let spread = Self {
            how,
            loads: (0..workers).map(|_| Load::default()).collect(),
            doors: doors.into(),
            turn: AtomicUsize::new(0),
        };
        (spread, arrivals)
    }

    /// Connections that a worker has.
    pub(crate) fn connections(&self, worker: usize) -> u64 {
        self.loads[worker].connections.load(Relaxed)
    }

    /// The same of each.
    pub(crate) fn all_connections(&self) -> Vec<u64> {
        let of = |load: &Load| load.connections.load(Relaxed);
        self.loads.iter().map(of).collect()
    }

    /// One more; only the thread of this worker may call it.
    pub(crate) fn enter(&self, worker: usize) {
        let cell = &self.loads[worker].connections;
        cell.store(cell.load(Relaxed) + 1, Relaxed);
    }

    /// One less; only the thread of this worker may call it. How many are left.
    pub(crate) fn leave(&self, worker: usize) -> u64 {
        let cell = &self.loads[worker].connections;
        let left = cell.load(Relaxed) - 1;
        cell.store(left, Relaxed);
        left
    }

    /// What was handed to this worker has come.
    pub(crate) fn arrived(&self, worker: usize) {
        self.loads[worker].coming.fetch_sub(1, Relaxed);
    }

    /// The worker that serves what `accepted` has accepted; `None`: itself.
    pub(crate) fn elsewhere(&self, accepted: usize) -> Option<usize> {
        if self.doors.is_empty() {
            return None;
        }
        let chosen = match self.how {
            MultiQueue::Off => return None,
            MultiQueue::Fair => self.turn.fetch_add(1, Relaxed) % self.loads.len(),
            MultiQueue::On => {
                let loads = self.loads.iter().map(Load::all).enumerate();
                let (least, load) = loads.min_by_key(|(_, load)| *load)?;
                let tolerated = load + TOLERANCE + load / TOLERANCE_PART;
                if self.loads[accepted].all() <= tolerated {
                    return None;
                }
                least
            }
        };
        (chosen != accepted).then_some(chosen)
    }

    /// Hands a connection to a worker. It comes back when that one is too far behind, or ends.
    pub(crate) fn hand_over(&self, worker: usize, handed: Handed) -> Option<Handed> {
        let coming = &self.loads[worker].coming;
        coming.fetch_add(1, Relaxed);
        self.doors[worker].try_send(handed).err().map(|refused| {
            coming.fetch_sub(1, Relaxed);
            match refused {
                mpsc::error::TrySendError::Full(handed)
                | mpsc::error::TrySendError::Closed(handed) => handed,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who serves the next connection that worker 0 accepts, by what all have.
    fn chosen(how: MultiQueue, loads: &[u64]) -> usize {
        let (spread, _arrivals) = Spread::new(how, loads.len());
        for (load, connections) in spread.loads.iter().zip(loads) {
            load.connections.store(*connections, Relaxed);
        }
        spread.elsewhere(0).unwrap_or(0)
    }

    #[test]
    fn only_who_has_noticeably_more_hands_over_to_who_has_least() {
        let on = |loads: &[u64]| chosen(MultiQueue::On, loads);
        assert_eq!(on(&[0, 0, 0]), 0);
        assert_eq!(on(&[4, 0]), 0);
        assert_eq!(on(&[5, 0]), 1);
        assert_eq!(on(&[9, 1, 0, 1]), 2);
        // Of many, one more in 32 counts as equal.
        assert_eq!(on(&[1_654, 1_600]), 0);
        assert_eq!(on(&[1_655, 1_600]), 1);
        // Who has less than others keeps what it gets.
        assert_eq!(on(&[5, 1_000]), 0);
        assert_eq!(on(&[1_000]), 0);
        assert_eq!(chosen(MultiQueue::Off, &[1_000, 0]), 0);
    }

    #[test]
    fn what_is_on_its_way_counts() {
        let (spread, _arrivals) = Spread::new(MultiQueue::On, 3);
        spread.loads[0].connections.store(20, Relaxed);
        spread.loads[1].coming.store(2, Relaxed);
        assert_eq!(spread.elsewhere(0), Some(2));
        spread.loads[2].coming.store(3, Relaxed);
        assert_eq!(spread.elsewhere(0), Some(1));
    }

    #[test]
    fn fair_takes_turns_whatever_they_have() {
        let (spread, _arrivals) = Spread::new(MultiQueue::Fair, 3);
        spread.loads[1].connections.store(1_000, Relaxed);
        let turns: Vec<_> = (0..6).map(|_| spread.elsewhere(0).unwrap_or(0)).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_thousand_connections_that_one_worker_accepts_are_shared_by_eight() {
        let (spread, _arrivals) = Spread::new(MultiQueue::On, 8);
        for _ in 0..1_000 {
            spread.enter(spread.elsewhere(3).unwrap_or(3));
        }
        let all = spread.all_connections();
        let (least, most) = (all.iter().min(), all.iter().max());
        let (least, most) = (*least.expect("eight"), *most.expect("eight"));
        assert!(
            most <= least + TOLERANCE + least / TOLERANCE_PART + 1,
            "{all:?}"
        );
    }
}
