//! Draining a server, the one way it is emptied without cutting anybody off: nobody new comes, not even who
//! belongs to it by a cookie; those who are there end one after the other, spread evenly over a period;
//! then it stays in drain, or is gone. An operator's `drain server`, `del server … drain` and a node that leaves
//! discovery are all this.
//!
//! A [`Drain`] is what all threads know of it. Each worker ends its own share at its own pace ([`pacing`]): as
//! many a second as it has, so that together they are even, and nobody counts for all. The manager sees when
//! nothing is left.

pub(crate) mod pacing;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use crate::command::{Admin, DrainOrder, Drained, Refused};
use crate::handle::{Handle, drop_idle};
use crate::log::Level;
use crate::manager::{self, Order};
use crate::server::{ServerState, admin_of, admin_shown};
use crate::shared::Shared;
use crate::site::BackendState;
use crate::snapshot::DrainStats;
use crate::worker::Message;

/// How often the manager looks whether a server is empty.
const LOOK: Duration = Duration::from_millis(100);

/// A drain of a server: under way, or how it ended.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Since start.
    began: Duration,
    /// `None`: sessions end by themselves.
    over: Option<Duration>,
    /// The status that WebSockets are told.
    code: u16,
    /// Whether the server goes when it is empty.
    removes: bool,
    /// Sessions that it had.
    sessions: u64,
    /// Those that were told to end.
    closed: AtomicU64,
    outcome: OnceLock<Outcome>,
    ended: Notify,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The server takes sessions again, or another drain was ordered.
    CalledOff,
    /// It has none left, so long after the beginning.
    Empty(Duration),
}

impl Drain {
    fn end(&self, outcome: Outcome) {
        // Whoever is first has the word.
        let _ = self.outcome.set(outcome);
        self.ended.notify_waiters();
    }

    fn has_ended(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Waits for that.
    async fn wait_ended(&self) {
        // Told from here on, whoever looks first.
        let ended = self.ended.notified();
        if !self.has_ended() {
            ended.await;
        }
    }

    /// Waits so long, or until it ends: `true`.
    async fn ends_within(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.wait_ended() => true,
            () = tokio::time::sleep(time) => false,
        }
    }
}

impl ServerState {
    /// Whether it is being emptied, or has been: then nobody new comes, whoever they belong to.
    pub(crate) fn is_leaving(&self) -> bool {
        self.drain.load().is_some()
    }

    /// It takes sessions again.
    pub(crate) fn stop_draining(&self) {
        if let Some(drain) = self.drain.swap(None) {
            drain.end(Outcome::CalledOff);
        }
    }

    /// What is shown of its drain.
    pub(crate) fn drain_stats(&self, now: Duration) -> Option<DrainStats> {
        let drain = self.drain.load_full()?;
        let lasted = match drain.outcome.get() {
            Some(Outcome::Empty(lasted)) => *lasted,
            _ => now.saturating_sub(drain.began),
        };
        Some(DrainStats {
            under_way: !drain.has_ended(),
            over: drain.over,
            lasted,
            code: drain.code,
            removes: drain.removes,
            sessions_before: drain.sessions,
            closed: drain.closed.load(Relaxed),
        })
    }
}

impl Handle {
    /// Begins to empty a server: see the module's text. One that drains already begins anew, with another
    /// period. In maintenance it stays there.
    pub(crate) fn begin_drain(
        &self,
        backend: &str,
        server: &str,
        order: DrainOrder,
    ) -> Result<(), Refused> {
        if order.then == Drained::Removed && self.is_referenced(backend, server)? {
            return Err(Refused::Referenced);
        }
        let shared = self.shared_arc();
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        server.stop_draining();
        let drain = Arc::new(Drain {
            began: shared.clock.since_start(),
            over: order.over,
            code: order.code,
            removes: order.then == Drained::Removed,
            sessions: server.sessions.now(),
            closed: AtomicU64::new(0),
            outcome: OnceLock::new(),
            ended: Notify::new(),
        });
        server.drain.store(Some(drain.clone()));
        let admin = admin_shown(server.health().admin());
        if admin == Admin::Ready {
            manager::set_admin(shared, &backend, &server, admin_of(Admin::Drain));
        }
        tell_begun(shared, &backend, &server, &drain);
        shared.tell_workers(&Message::Drain {
            backend: backend.key,
            server: server.key,
            drain: drain.clone(),
        });
        self.mind(Order::WatchDrain(backend, server, drain));
        Ok(())
    }
}

fn tell_begun(shared: &Shared, backend: &BackendState, server: &ServerState, drain: &Drain) {
    let (backend_name, name, sessions) = (backend.name(), &server.conf.name, drain.sessions);
    let how = match drain.over {
        None => "until they end by themselves".to_owned(),
        Some(over) => format!("closed over {} s", over.as_secs_f64()),
    };
    let then = if drain.removes {
        ", then it is removed"
    } else {
        ""
    };
    let line = format!("Server {backend_name}/{name} drains: {sessions} sessions, {how}{then}.");
    shared.say_to(&backend.conf().proxy.log, Level::Notice, &line);
}

/// Looks after a drain until the server is empty or takes sessions again.
pub(crate) async fn watch(
    shared: Arc<Shared>,
    backend: Arc<BackendState>,
    server: Arc<ServerState>,
    drain: Arc<Drain>,
) {
    while !drain.has_ended() {
        let empty = server.sessions.now() == 0;
        let gone = || {
            // It may be called otherwise by now.
            let known = backend.pool().by_key(server.key).cloned();
            // A session may have slipped in between: then it is not gone, and is looked at again.
            known.is_none_or(|it| remove(&shared, &backend, &it.conf.name).is_ok())
        };
        if empty && (!drain.removes || gone()) {
            let lasted = shared.clock.since_start().saturating_sub(drain.began);
            drain.end(Outcome::Empty(lasted));
            tell_ended(&shared, &backend, &server, &drain, lasted);
            return;
        }
        drain.ends_within(LOOK).await;
    }
}

fn tell_ended(
    shared: &Shared,
    backend: &BackendState,
    server: &ServerState,
    drain: &Drain,
    lasted: Duration,
) {
    let then = match server.removed.load(Relaxed) {
        true => " and removed",
        false => "",
    };
    let line = format!(
        "Server {}/{} is drained{then} after {:.1} s: {} of {} sessions were told to end.",
        backend.name(),
        server.conf.name,
        lasted.as_secs_f64(),
        drain.closed.load(Relaxed),
        drain.sessions,
    );
    shared.say_to(&backend.conf().proxy.log, Level::Notice, &line);
}

/// Takes a server that has no session out of its backend.
pub(crate) fn remove(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &str,
) -> Result<(), Refused> {
    let removed = backend.remove(server)?;
    // It has no session, or it would not have gone; its pooled connections go with it, and nobody
    // takes one meanwhile.
    let removed = backend.pool().changes.remove(removed.key);
    drop_idle(shared, backend, removed);
    manager::note_capacity(shared, backend);
    Ok(())
}
