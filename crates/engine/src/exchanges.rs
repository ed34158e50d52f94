//! A worker's HTTP exchanges under way, so that those of one server can be ended from outside
//! (`on-marked-down shutdown-sessions`, an operator, discovery).
//!
//! An exchange takes an entry of a table that is kept, and gives it back: no memory is asked for, no
//! timer is set, and a message that passes touches nothing. Their number is bounded by the process's
//! `maxconn`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use routing::balance::ServerKey;

use crate::end::Side;

/// All exchanges of a worker.
#[derive(Default)]
pub(crate) struct Exchanges {
    table: RefCell<Table>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    free: Vec<usize>,
}

struct Entry {
    /// Backend, by position, and server; `None`: nobody's.
    target: Option<(usize, ServerKey)>,
    ended_by: Option<Side>,
    waker: Option<Waker>,
}

impl Exchanges {
    /// One more with that server of that backend, until the guard is dropped.
    pub(crate) fn enter(&self, target: (usize, ServerKey)) -> Underway<'_> {
        let mut table = self.table.borrow_mut();
        let entry = Entry {
            target: Some(target),
            ended_by: None,
            waker: None,
        };
        let at = match table.free.pop() {
            Some(at) => {
                table.entries[at] = entry;
                at
            }
            None => {
                table.entries.push(entry);
                table.entries.len() - 1
            }
        };
        Underway { all: self, at }
    }

    /// Ends all of a server.
    pub(crate) fn close_server(&self, target: (usize, ServerKey), by: Side) {
        // Waking runs no code of the exchange, so the table stays as it is meanwhile.
        for entry in &mut self.table.borrow_mut().entries {
            if entry.target == Some(target) {
                entry.ended_by = Some(by);
                if let Some(waker) = entry.waker.take() {
                    waker.wake();
                }
            }
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
        let mut table = self.all.table.borrow_mut();
        table.entries[self.at].target = None;
        table.entries[self.at].waker = None;
        table.free.push(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_of_a_server_end_and_entries_are_used_again() {
        let all = Exchanges::default();
        let (one, other) = ((0, ServerKey(1)), (1, ServerKey(1)));
        let gone = all.enter(one);
        drop(gone);
        let (mine, theirs) = (all.enter(one), all.enter(other));
        assert_eq!(all.table.borrow().entries.len(), 2);
        all.close_server(one, Side::Down);
        assert_eq!(mine.ended().await, Side::Down);
        let waits = poll_fn(|cx| {
            let mut ended = std::pin::pin!(theirs.ended());
            Poll::Ready(ended.as_mut().poll(cx).is_pending())
        });
        assert!(waits.await);
        drop(mine);
        drop(theirs);
        let again = all.enter(one);
        assert_eq!(all.table.borrow().entries.len(), 2);
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
