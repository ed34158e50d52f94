//! Running the checks `routing::health` asks for, off the data path (manual 5.2 "check", 4.2
//! "option httpchk").
//!
//! One task per checked server, on the manager thread, whatever the number of workers. What a
//! result means is decided by [`routing::health`]; what follows from a change is in `manager`.

pub(crate) mod agent;
mod command;
mod expect;
mod facts;
mod http;
mod replies;
mod sequence;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use config::model::Check;

use crate::manager;
use crate::server::ServerState;
use crate::shared::Shared;
use crate::site::BackendState;

/// A checked server's first check comes within this time, at random, so that not all are asked in
/// the same moment.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// The same for a server that was added while running: somebody waits for it.
const FIRST_WITHIN_DYNAMIC: Duration = Duration::from_millis(50);

/// Checks one server until it leaves its backend.
pub(crate) async fn run(shared: &Shared, backend: &Arc<BackendState>, server: &ServerState) {
    let Some(check) = server.conf.check.clone() else {
        return;
    };
    // Whoever looked after it before may have been ended in the middle of a check.
    server.checking.store(false, Relaxed);
    let first = if server.dynamic {
        FIRST_WITHIN_DYNAMIC
    } else {
        FIRST_WITHIN.min(check.inter)
    };
    begin(shared, &server.check_due, first).await;
    while !server.removed.load(Relaxed) && !shared.stopping.load(Relaxed) {
        let started = Instant::now();
        let wanted = server.health().wants_checks();
        if wanted && server.is_resolved() {
            // Whoever wanted it at once until now has it.
            let _ = std::pin::pin!(server.recheck.notified()).enable();
            server.checking.store(true, Relaxed);
            // Boxed: what a check needs is only there while it runs.
            let result = Box::pin(sequence::probe(shared, backend, server, &check)).await;
            server.checking.store(false, Relaxed);
            // An operator may have come in between: then it tells of nobody any more.
            if !server.removed.load(Relaxed) && server.health().wants_checks() {
                manager::settle(shared, backend, server, result);
            }
        }
        let interval = server.health().next_interval(&check);
        let pause = spread(interval, shared.site.load().config.global.spread_checks);
        note_due(shared, &server.check_due, started + pause);
        wait_for_next(server, &check, started + pause).await;
    }
}

/// Waits for the first check: some time within `first`, or, after a reload, when it was due anyway.
async fn begin(shared: &Shared, due: &AtomicU64, first: Duration) {
    let wait = match due.load(Relaxed) {
        0 => first.mul_f64(fastrand::f64()),
        due => Duration::from_millis(due.saturating_sub(shared.clock.millis())),
    };
    tokio::time::sleep(wait).await;
}

/// Keeps in mind when the next check is due.
fn note_due(shared: &Shared, due: &AtomicU64, at: Instant) {
    let left = at.saturating_duration_since(Instant::now()).as_millis();
    let left = u64::try_from(left).unwrap_or(u64::MAX);
    due.store(shared.clock.millis().saturating_add(left).max(1), Relaxed);
}

/// Until the next check is due, or is wanted sooner.
async fn wait_for_next(server: &ServerState, check: &Check, mut due: Instant) {
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => return,
            () = server.recheck.notified() => return,
            () = server.hurry.notified() => {
                // Sessions see errors: "forces fastinter", where there is one (manual 5.2, "on-error").
                if let Some(fastinter) = check.fastinter {
                    due = due.min(Instant::now() + fastinter);
                }
            }
        }
    }
}

/// `spread-checks`: plus or minus that many percent.
fn spread(interval: Duration, percent: u8) -> Duration {
    let swing = f64::from(percent.min(50)) / 100.0;
    interval.mul_f64(1.0 - swing + 2.0 * swing * fastrand::f64())
}
