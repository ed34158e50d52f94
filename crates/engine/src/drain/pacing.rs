//! A worker's share of a drain: its tunnels of the server, each with a moment of its own in the period.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use routing::balance::ServerKey;

use super::Drain;
use crate::end::Side;
use crate::site::BackendKey;
use crate::slab::Token;
use crate::worker::Worker;

/// Tunnels that are told to end before others get their turn: two writes each, so about half a
/// millisecond of work.
const PARTED_PER_TURN: usize = 32;

/// Those that are due so close together are told together: fewer timers, and nobody sees the difference.
const TOGETHER: Duration = Duration::from_millis(10);

/// How often it is looked after the period who is left: a handshake may have been under way.
const SWEEP: Duration = Duration::from_secs(1);

/// Ends the sessions that this worker has on a server, as a drain has it.
pub(crate) async fn run(worker: Rc<Worker>, server: (BackendKey, ServerKey), drain: Arc<Drain>) {
    // Nobody takes an idle connection to it any more.
    worker.idle.drop_servers(server.0, &[server.1]);
    let Some(over) = drain.over else { return };
    let mut tunnels = tunnels_of(&worker, Some(server)).await;
    // Their places tell who came first; those who came together need not leave together.
    fastrand::shuffle(&mut tunnels);
    let count = tunnels.len();
    let mut turn = 0;
    for (at, tunnel) in tunnels.into_iter().enumerate() {
        let due = drain.began + moment(over, at, count, fastrand::f64());
        let wait = due.saturating_sub(worker.clock().since_start());
        if wait > Duration::ZERO {
            if drain.ends_within(wait.max(TOGETHER)).await {
                return;
            }
            turn = 0;
        }
        part(&worker, tunnel, &drain, &mut turn).await;
        if drain.has_ended() {
            return;
        }
    }
    let end = drain.began + over;
    let mut wait = end.saturating_sub(worker.clock().since_start());
    while !drain.ends_within(wait).await {
        for tunnel in tunnels_of(&worker, Some(server)).await {
            part(&worker, tunnel, &drain, &mut turn).await;
        }
        // Requests and their answers had all the time there was.
        worker.exchanges.close_server(server, Side::Killed);
        wait = SWEEP;
    }
}

/// Ends all tunnels that this worker has left, evenly over a period: another process has its place.
pub(crate) async fn run_all(worker: Rc<Worker>, over: Duration, code: u16) {
    let mut tunnels = tunnels_of(&worker, None).await;
    fastrand::shuffle(&mut tunnels);
    let (count, began) = (tunnels.len(), worker.clock().since_start());
    for (at, tunnel) in tunnels.into_iter().enumerate() {
        let due = began + moment(over, at, count, fastrand::f64());
        let wait = due.saturating_sub(worker.clock().since_start());
        if wait > Duration::ZERO {
            tokio::time::sleep(wait.max(TOGETHER)).await;
        } else if at % PARTED_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
        // One that has moved or ended meanwhile is not there any more.
        worker.tunnels.part(tunnel, code, &worker);
    }
}

async fn part(worker: &Rc<Worker>, tunnel: Token, drain: &Drain, turn: &mut usize) {
    if worker.tunnels.part(tunnel, drain.code, worker) {
        drain.closed.fetch_add(1, Relaxed);
    }
    *turn += 1;
    if *turn >= PARTED_PER_TURN {
        *turn = 0;
        tokio::task::yield_now().await;
    }
}

/// When in the period one of so many is due: in its own share of it, somewhere. `dice` is 0 to 1.
fn moment(over: Duration, at: usize, count: usize, dice: f64) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a worker has fewer than 2^52 tunnels"
    )]
    let share = (at as f64 + dice) / count.max(1) as f64;
    over.mul_f64(share.clamp(0.0, 1.0))
}

/// Its tunnels on that server, or all, found a few at a time.
async fn tunnels_of(worker: &Worker, server: Option<(BackendKey, ServerKey)>) -> Vec<Token> {
    let mut tunnels = Vec::new();
    let mut from = Some(0);
    while let Some(place) = from {
        from = worker.tunnels.names(place, server, &mut tunnels);
        tokio::task::yield_now().await;
    }
    tunnels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_evenly_whoever_has_how_many() {
        let over = Duration::from_secs(60);
        let mut rng = fastrand::Rng::with_seed(7);
        // Three workers of which one has most.
        let mut moments: Vec<Duration> = Vec::new();
        for count in [700, 250, 50] {
            moments.extend((0..count).map(|at| moment(over, at, count, rng.f64())));
        }
        moments.sort();
        for (second, tenth) in (0..60).step_by(6).enumerate().map(|(at, from)| (from, at)) {
            let within = |it: &&Duration| (it.as_secs() / 6) as usize == tenth;
            let count = moments.iter().filter(within).count();
            assert!(
                (95..=105).contains(&count),
                "{count} from second {second} on"
            );
        }
        assert_eq!(moment(over, 0, 0, 1.0), over);
        assert_eq!(moment(Duration::ZERO, 3, 9, 0.5), Duration::ZERO);
    }
}
