//! Those who wait: one queue a server for sessions bound to it, one a backend for all others.
//!
//! A [`Queue`] is plain data behind its backend's lock; what stands in front of it, a [`Ticket`],
//! belongs to the session that waits and takes itself out of the queue when that gives up. Who gets
//! which place is decided in [`crate::assign`].

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::assign::Slot;
use crate::counters::Gauge;
use crate::server::ServerState;
use crate::site::BackendState;

/// What a session that waits is told.
pub(crate) enum Turn {
    /// Here is the place.
    Slot(Slot),
    /// The server it waited for has left: a server must be chosen anew.
    Again,
}

/// What rules have said of a session's turn; of most, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// `set-priority-class`: lower ones are first.
    pub(crate) class: i64,
    /// `set-priority-offset`: it is as though it had come so many milliseconds later.
    pub(crate) offset: i64,
}

/// Whose turn it is: by class, then by when it came or is taken to have come, then by arrival. Arrivals are numbered
/// over all queues of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    class: i64,
    due: i64,
    number: u64,
}

impl Place {
    /// Of the session that has come so many milliseconds after its backend was made.
    pub(crate) fn new(standing: Standing, came: i64, number: u64) -> Self {
        Self {
            class: standing.class,
            due: came.saturating_add(standing.offset),
            number,
        }
    }
}

/// Sessions that wait, in the order of their turns. Bounded by `maxqueue` for a server and by the
/// process's `maxconn` otherwise: each is a client connection.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Place, oneshot::Sender<Turn>>,
    /// How many got their turn.
    served: u64,
}

impl Queue {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The place of the first of them.
    pub(crate) fn first(&self) -> Option<Place> {
        self.waiting.first_key_value().map(|(place, _)| *place)
    }

    fn join(&mut self, place: Place, gauge: &Gauge) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(place, sender);
        gauge.enter();
        receiver
    }

    /// Takes out the first, whose turn it is.
    pub(crate) fn pop(&mut self, gauge: &Gauge) -> Option<oneshot::Sender<Turn>> {
        let sender = self.pop_unserved(gauge)?;
        self.served += 1;
        Some(sender)
    }

    /// Takes out the first, who must go elsewhere.
    pub(crate) fn pop_unserved(&mut self, gauge: &Gauge) -> Option<oneshot::Sender<Turn>> {
        let (_, sender) = self.waiting.pop_first()?;
        gauge.leave();
        Some(sender)
    }

    fn give_up(&mut self, place: Place, gauge: &Gauge) {
        if self.waiting.remove(&place).is_some() {
            gauge.leave();
        }
    }
}

/// A place in a queue. Dropping it is leaving the queue.
pub(crate) struct Ticket {
    backend: Arc<BackendState>,
    /// Whose queue; `None`: the backend's.
    server: Option<Arc<ServerState>>,
    place: Place,
    /// How many had got their turn before this one joined.
    served_before: u64,
    turn: oneshot::Receiver<Turn>,
    /// Whether it came.
    served: bool,
}

/// How many got their turn while a session waited, itself included even if it gave up: what HAProxy's
/// log lines call `%sq` and `%bq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// From a server's queue.
    Server(u64),
    /// From the backend's queue.
    Backend(u64),
}

impl Ticket {
    /// Joins the queue of `server`, or the backend's one.
    pub(crate) fn join(
        queue: &mut Queue,
        place: Place,
        backend: &Arc<BackendState>,
        server: Option<&Arc<ServerState>>,
    ) -> Self {
        let turn = queue.join(place, gauge(backend, server));
        Self {
            backend: backend.clone(),
            server: server.cloned(),
            place,
            served_before: queue.served,
            turn,
            served: false,
        }
    }

    /// Waits for its turn. `None` is the end of the engine.
    pub(crate) async fn turn(&mut self) -> Option<Turn> {
        let turn = (&mut self.turn).await.ok();
        self.served = matches!(turn, Some(Turn::Slot(_)));
        turn
    }

    /// Whose queue it is, if a server's.
    pub(crate) fn server(&self) -> Option<&Arc<ServerState>> {
        self.server.as_ref()
    }

    /// See [`Passed`].
    pub(crate) fn passed(&self) -> Passed {
        let pool = self.backend.pool();
        let server = self.server.as_ref();
        let queue = match server {
            Some(server) => pool.queue_of(server.key),
            None => Some(pool.queue()),
        };
        let passed = queue.map_or(0, |queue| queue.served - self.served_before);
        let passed = passed + u64::from(!self.served);
        match server {
            Some(_) => Passed::Server(passed),
            None => Passed::Backend(passed),
        }
    }
}

fn gauge<'a>(backend: &'a BackendState, server: Option<&'a Arc<ServerState>>) -> &'a Gauge {
    server.map_or(&backend.queued, |server| &server.queued)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut pool = self.backend.pool();
        let gauge = gauge(&self.backend, self.server.as_ref());
        let queue = match &self.server {
            Some(server) => pool.queue_of_mut(server.key),
            None => Some(pool.queue_mut()),
        };
        if let Some(queue) = queue {
            queue.give_up(self.place, gauge);
        }
        if let Some(server) = &self.server {
            pool.freed(server.key);
        }
        // A place that was just handed over falls with the receiver, when the lock is free again.
    }
}
