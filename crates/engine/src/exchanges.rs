//! A worker's HTTP exchanges under way, so that those of one server can be ended from outside
//! (`on-marked-down shutdown-sessions`, an operator, discovery).
//!
//! An exchange takes an entry of a table that is kept, and gives it back: no memory is asked for, no
//! timer is set, and a message that passes touches nothing. Their number is bounded by the process's
//! `maxconn`; entries at the front are taken first, so that the table gets shorter after a burst.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use routing::balance::ServerKey;

use crate::end::Side;
use crate::session::Glimpse;
use crate::sessions::LOOKED_AT;
use crate::site::BackendKey;

/// All exchanges of a worker.
#[derive(Default)]
pub(crate) struct Exchanges {
    table: RefCell<Table>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    /// Entries that nobody has, and places that the table has no more: these are forgotten before it
    /// grows over them.
    free: BinaryHeap<Reverse<usize>>,
    /// How many there have been.
    generation: u32,
}

/// Entries whose memory is kept however few are in use: a few kilobytes per worker.
const SPARE_MAX: usize = 64;

impl Table {
    fn enter(&mut self, glimpse: Glimpse) -> usize {
        self.generation = self.generation.wrapping_add(1);
        let entry = Entry {
            glimpse: Some(glimpse),
            generation: self.generation,
            ended_by: None,
            waker: None,
        };
        match self.free.pop() {
            Some(Reverse(at)) if at < self.entries.len() => {
                self.entries[at] = entry;
                at
            }
            // Where the first one lies behind the end, all do.
            _ => {
                self.free.clear();
                self.entries.push(entry);
                self.entries.len() - 1
            }
        }
    }

    fn leave(&mut self, at: usize) {
        self.entries[at].glimpse = None;
        self.entries[at].waker = None;
        self.free.push(Reverse(at));
        while self.entries.last().is_some_and(|it| it.glimpse.is_none()) {
            self.entries.pop();
        }
        let len = self.entries.len();
        if self.entries.capacity() > SPARE_MAX.max(4 * len) {
            self.entries.shrink_to(SPARE_MAX.max(2 * len));
            self.free.retain(|Reverse(at)| *at < len);
            self.free.shrink_to(len);
        }
    }
}

struct Entry {
    /// Who it is; `None`: nobody's.
    glimpse: Option<Glimpse>,
    generation: u32,
    ended_by: Option<Side>,
    waker: Option<Waker>,
}

impl Entry {
    fn end(&mut self, by: Side) {
        self.ended_by = Some(by);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Exchanges {
    /// One more, until the guard is dropped.
    pub(crate) fn enter(&self, glimpse: Glimpse) -> Underway<'_> {
        let at = self.table.borrow_mut().enter(glimpse);
        Underway { all: self, at }
    }

    /// Ends all of a server.
    pub(crate) fn close_server(&self, target: (BackendKey, ServerKey), by: Side) {
        // Waking runs no code of the exchange, so the table stays as it is meanwhile.
        for entry in &mut self.table.borrow_mut().entries {
            let of = |it: &Glimpse| (it.backend, it.server) == target;
            if entry.glimpse.as_ref().is_some_and(of) {
                entry.end(by);
            }
        }
    }

    /// Shows those at some places from one on, and how each is called; says where to go on.
    pub(crate) fn look(&self, from: u32, mut see: impl FnMut((u32, u32), &Glimpse)) -> Option<u32> {
        let table = self.table.borrow();
        let to = from.saturating_add(LOOKED_AT);
        let entries = table.entries.iter().zip(0u32..);
        for (entry, place) in entries.skip(from as usize).take(LOOKED_AT as usize) {
            let glimpse = entry.glimpse.as_ref();
            if let Some(glimpse) = glimpse.filter(|_| entry.ended_by.is_none()) {
                see((place, entry.generation), glimpse);
            }
        }
        ((to as usize) < table.entries.len()).then_some(to)
    }

    /// How the one at a place is called.
    pub(crate) fn name_at(&self, place: u32) -> Option<(u32, u32)> {
        let table = self.table.borrow();
        let entry = table.entries.get(place as usize)?;
        let lives = entry.glimpse.is_some() && entry.ended_by.is_none();
        lives.then_some((place, entry.generation))
    }

    /// Ends the one at a place, for an operator.
    pub(crate) fn close_at(&self, place: u32) {
        if let Some(entry) = self.table.borrow_mut().entries.get_mut(place as usize) {
            entry.end(Side::Killed);
        }
    }
}

/// An exchange under way.
pub(crate) struct Underway<'a> {
    all: &'a Exchanges,
    at: usize,
}

impl Underway<'_> {
    /// Waits until it is to end, and says by whom.
    pub(crate) async fn ended(&self) -> Side {
        poll_fn(|cx| {
            let entry = &mut self.all.table.borrow_mut().entries[self.at];
            if let Some(by) = entry.ended_by {
                return Poll::Ready(by);
            }
            let known = entry.waker.as_ref();
            if !known.is_some_and(|known| known.will_wake(cx.waker())) {
                entry.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.all.table.borrow_mut().leave(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_gets_shorter_after_a_burst_and_no_entry_has_two_owners() {
        let all = Exchanges::default();
        let target = Glimpse::of((BackendKey(0), ServerKey(1)));
        let first = all.enter(target);
        let mut burst: Vec<_> = (0..10_000).map(|_| all.enter(target)).collect();
        // Every other one ends, some come, all end, some come.
        let mut turn = 0;
        burst.retain(|_| {
            turn += 1;
            turn % 2 == 0
        });
        burst.extend((0..100).map(|_| all.enter(target)));
        let mut places: Vec<_> = burst.iter().map(|it| it.at).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), burst.len());
        drop(burst);
        let table = |all: &Exchanges| {
            let table = all.table.borrow();
            (table.entries.len(), table.entries.capacity() <= SPARE_MAX)
        };
        assert_eq!(table(&all), (1, true));
        let again: Vec<_> = (0..100).map(|_| all.enter(target)).collect();
        let places: Vec<_> = again.iter().map(|it| it.at).collect();
        assert_eq!(places, (1..101).collect::<Vec<_>>());
        drop((first, again));
        assert_eq!(table(&all), (0, true));
    }

    #[tokio::test]
    async fn those_of_a_server_end_and_entries_are_used_again() {
        let all = Exchanges::default();
        let key = |backend| (BackendKey(backend), ServerKey(1));
        let server = |backend| Glimpse::of(key(backend));
        let (one, other) = (server(0), server(1));
        let gone = all.enter(one);
        drop(gone);
        let (mine, theirs) = (all.enter(one), all.enter(other));
        assert_eq!(all.table.borrow().entries.len(), 2);
        all.close_server(key(0), Side::Down);
        assert_eq!(mine.ended().await, Side::Down);
        let waits = poll_fn(|cx| {
            let mut ended = std::pin::pin!(theirs.ended());
            Poll::Ready(ended.as_mut().poll(cx).is_pending())
        });
        assert!(waits.await);
        drop(mine);
        drop(theirs);
        let again = all.enter(one);
        assert_eq!(all.table.borrow().entries.len(), 1);
        let waits = poll_fn(|cx| {
            let mut ended = std::pin::pin!(again.ended());
            Poll::Ready(ended.as_mut().poll(cx).is_pending())
        });
        assert!(
            waits.await,
            "the entry remembers nothing of who had it before"
        );
    }
}
