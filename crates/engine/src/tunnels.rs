//! A worker's open tunnels: who they are, when they were last active, and one timer for all.
//!
//! A message touches no timer: it only stores the time. Each tunnel stands once in a map ordered
//! by deadline; when a deadline comes, a tunnel that was active meanwhile is put back further on.
//! So an hour of `timeout tunnel` costs one look an hour, however many messages pass.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use routing::balance::ServerKey;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::end::Side;

/// Why a tunnel must end though neither peer ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing passed for too long.
    Idle,
    /// Its server's sessions are shut down, by whom.
    Killed(Side),
}

/// What the worker knows of one tunnel.
pub(crate) struct Watch {
    id: u64,
    backend: usize,
    server: ServerKey,
    /// Milliseconds since start; under this key it stands in the map.
    deadline: Cell<u64>,
    limit_ms: Cell<u64>,
    last_active: Cell<u64>,
    verdict: Cell<Option<Verdict>>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    /// Something passed.
    pub(crate) fn touch(&self, now_ms: u64) {
        self.last_active.set(now_ms);
    }

    /// Whether it must end.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict.get()
    }

    /// Whom to wake when it must.
    pub(crate) fn listen(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    fn end(&self, verdict: Verdict) {
        self.verdict.set(Some(verdict));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// All tunnels of a worker. Their number is bounded by the process's `maxconn`.
pub(crate) struct Tunnels {
    clock: Clock,
    by_deadline: RefCell<BTreeMap<(u64, u64), Rc<Watch>>>,
    next_id: Cell<u64>,
    sooner: Notify,
}

impl Tunnels {
    /// None yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            by_deadline: RefCell::default(),
            next_id: Cell::new(0),
            sooner: Notify::new(),
        }
    }

    /// A new one, which may be silent for `limit`; `None`: for ever.
    pub(crate) fn enter(
        &self,
        backend: usize,
        server: ServerKey,
        limit: Option<Duration>,
    ) -> Rc<Watch> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let watch = Rc::new(Watch {
            id,
            backend,
            server,
            deadline: Cell::new(u64::MAX),
            limit_ms: Cell::new(u64::MAX),
            last_active: Cell::new(self.clock.millis()),
            verdict: Cell::new(None),
            waker: RefCell::new(None),
        });
        self.by_deadline
            .borrow_mut()
            .insert((u64::MAX, id), watch.clone());
        self.set_limit(&watch, limit);
        watch
    }

    /// Changes how long it may be silent, counted from its last activity.
    pub(crate) fn set_limit(&self, watch: &Rc<Watch>, limit: Option<Duration>) {
        let limit = limit.map_or(u64::MAX, |l| {
            u64::try_from(l.as_millis()).unwrap_or(u64::MAX)
        });
        watch.limit_ms.set(limit);
        self.place(watch, watch.last_active.get().saturating_add(limit));
        let first = self.by_deadline.borrow().keys().next().copied();
        if limit != u64::MAX && first == Some((watch.deadline.get(), watch.id)) {
            self.sooner.notify_one();
        }
    }

    fn place(&self, watch: &Rc<Watch>, deadline: u64) {
        let mut map = self.by_deadline.borrow_mut();
        if map.remove(&(watch.deadline.get(), watch.id)).is_some() {
            watch.deadline.set(deadline);
            map.insert((deadline, watch.id), watch.clone());
        }
    }

    /// It has ended.
    pub(crate) fn leave(&self, watch: &Watch) {
        self.by_deadline
            .borrow_mut()
            .remove(&(watch.deadline.get(), watch.id));
    }

    /// Ends all tunnels of a server.
    pub(crate) fn close_server(&self, backend: usize, server: ServerKey, by: Side) {
        // Waking runs no code of the tunnel, so the map stays as it is meanwhile.
        for watch in self.by_deadline.borrow().values() {
            if watch.backend == backend && watch.server == server {
                watch.end(Verdict::Killed(by));
            }
        }
    }

    /// Runs for ever: ends tunnels whose time is up.
    pub(crate) async fn run(&self) {
        loop {
            let next = self
                .by_deadline
                .borrow()
                .keys()
                .next()
                .map(|(deadline, _)| *deadline);
            match next {
                None | Some(u64::MAX) => self.sooner.notified().await,
                Some(deadline) => {
                    let wait = deadline.saturating_sub(self.clock.millis());
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(wait)) => {}
                        () = self.sooner.notified() => {}
                    }
                }
            }
            self.expire(self.clock.millis());
        }
    }

    fn expire(&self, now: u64) {
        loop {
            let first = self
                .by_deadline
                .borrow()
                .first_key_value()
                .map(|(_, w)| w.clone());
            let Some(watch) = first.filter(|watch| watch.deadline.get() <= now) else {
                return;
            };
            let due = watch.last_active.get().saturating_add(watch.limit_ms.get());
            if due > now {
                self.place(&watch, due);
            } else {
                self.place(&watch, u64::MAX);
                watch.end(Verdict::Idle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silent_tunnels_end_and_active_ones_are_looked_at_again_later() {
        let tunnels = Tunnels::new(Clock::new());
        let limit = Some(Duration::from_secs(10));
        let silent = tunnels.enter(0, ServerKey(1), limit);
        let active = tunnels.enter(0, ServerKey(1), limit);
        let endless = tunnels.enter(0, ServerKey(2), None);
        active.touch(9_000);
        tunnels.expire(11_000);
        assert_eq!(silent.verdict(), Some(Verdict::Idle));
        assert_eq!(active.verdict(), None);
        assert_eq!(active.deadline.get(), 19_000);
        tunnels.expire(19_000);
        assert_eq!(active.verdict(), Some(Verdict::Idle));
        assert_eq!(endless.verdict(), None);
    }

    #[test]
    fn shutting_down_a_server_ends_its_tunnels_alone_and_those_that_left_are_forgotten() {
        let tunnels = Tunnels::new(Clock::new());
        let one = tunnels.enter(0, ServerKey(1), None);
        let other_backend = tunnels.enter(1, ServerKey(1), None);
        let gone = tunnels.enter(0, ServerKey(1), None);
        tunnels.leave(&gone);
        tunnels.close_server(0, ServerKey(1), Side::Down);
        assert_eq!(one.verdict(), Some(Verdict::Killed(Side::Down)));
        assert_eq!(other_backend.verdict(), None);
        assert_eq!(gone.verdict(), None);
        assert_eq!(tunnels.by_deadline.borrow().len(), 2);
    }
}
