//! How many a second: `rate-limit sessions`, `maxconnrate`, `maxsessrate`, `maxsslrate`.
//!
//! Who comes too early is not accepted before it is time: it waits in the kernel's backlog. What is
//! counted is a second that slides: of the last whole one, the part that lies in it, and all of the
//! one under way, and the first burst passes at once. It is an estimate: it takes what came in the whole
//! second for evenly spread, so a burst at its end may be followed by another one after half a second,
//! but twice the limit never comes in less than that.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::site::FrontendState;
use crate::worker::Worker;

/// One limit, shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// 0: none.
    limit: AtomicU64,
    window: Mutex<Window>,
}

/// What has come in the second under way and in the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// When it began, milliseconds since start.
    began: u64,
    now: u64,
    before: u64,
}

/// The limits of the process.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    /// `maxconnrate`.
    pub(crate) connections: Pace,
    /// `maxsessrate`.
    pub(crate) sessions: Pace,
    /// `maxsslrate`.
    pub(crate) tls: Pace,
}

const SECOND_MS: u64 = 1_000;

impl Window {
    /// Moves on to the second that `now_ms` lies in.
    fn roll(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.began) / SECOND_MS;
        if passed > 0 {
            self.before = if passed == 1 { self.now } else { 0 };
            self.now = 0;
            self.began += passed * SECOND_MS;
        }
    }

    /// How long until there is room for one more; zero: now.
    fn wait_ms(&self, limit: u64, now_ms: u64) -> u64 {
        if limit == 0 {
            return 0;
        }
        let into = now_ms.saturating_sub(self.began).min(SECOND_MS - 1);
        if self.now >= limit {
            return SECOND_MS - into;
        }
        let room = limit - self.now;
        // Of the second before, so much still counts: before * (1000 - into) / 1000 < room.
        match self.before * (SECOND_MS - into) < room * SECOND_MS {
            true => 0,
            false => {
                let counting = (room * SECOND_MS - 1) / self.before.max(1);
                (SECOND_MS - into).saturating_sub(counting).max(1)
            }
        }
    }
}

impl Pace {
    /// A limit, where one is given.
    pub(crate) fn new(limit: Option<u32>) -> Option<Self> {
        limit.map(|_| Self::changeable(limit))
    }

    /// The same where one may be given later.
    pub(crate) fn changeable(limit: Option<u32>) -> Self {
        Self {
            limit: limit.map_or(0, u64::from).into(),
            window: Mutex::default(),
        }
    }

    /// How many a second; 0: no limit.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Sets another limit; 0: none.
    pub(crate) fn set(&self, limit: u32) {
        self.limit.store(limit.into(), Relaxed);
    }

    fn with<T>(&self, now_ms: u64, use_it: impl FnOnce(&mut Window) -> T) -> T {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.roll(now_ms);
        use_it(&mut window)
    }

    /// How long to wait before one more may come; `None`: not at all.
    fn wait(&self, now_ms: u64) -> Option<Duration> {
        let limit = self.limit();
        let wait = self.with(now_ms, |window| window.wait_ms(limit, now_ms));
        (wait > 0).then(|| Duration::from_millis(wait))
    }

    /// One has come, if there is room for it; else how long to wait.
    fn take(&self, now_ms: u64) -> Option<Duration> {
        let limit = self.limit();
        let wait = self.with(now_ms, |window| {
            let wait = window.wait_ms(limit, now_ms);
            window.now += u64::from(wait == 0);
            wait
        });
        (wait > 0).then(|| Duration::from_millis(wait))
    }

    fn give_back(&self, now_ms: u64) {
        self.with(now_ms, |window| window.now = window.now.saturating_sub(1));
    }
}

/// The limits that a connection on this frontend is under.
fn limits<'a>(
    frontend: &'a FrontendState,
    worker: &'a Worker,
    secure: bool,
) -> impl Iterator<Item = &'a Pace> {
    let paces = &worker.shared.paces;
    let all = [
        frontend.pace.as_deref(),
        Some(&paces.connections),
        Some(&paces.sessions),
        Some(&paces.tls).filter(|_| secure),
    ];
    // A limit of 0 is none: an operator may set another one (`set rate-limit`).
    all.into_iter().flatten().filter(|pace| pace.limit() > 0)
}

/// Waits until no limit speaks against accepting.
pub(super) async fn wait(frontend: &FrontendState, worker: &Worker, secure: bool) {
    loop {
        let now = worker.clock().millis();
        let longest = limits(frontend, worker, secure).filter_map(|pace| pace.wait(now));
        match longest.max() {
            Some(longest) => tokio::time::sleep(longest).await,
            None => return,
        }
    }
}

/// Counts a connection just accepted. Where other workers were quicker, it waits its turn.
pub(super) async fn take(frontend: &FrontendState, worker: &Worker, secure: bool) {
    for pace in limits(frontend, worker, secure) {
        while let Some(wait) = pace.take(worker.clock().millis()) {
            tokio::time::sleep(wait).await;
        }
    }
}

/// A rule refused the connection: it becomes no session.
pub(crate) fn give_back_session(frontend: &FrontendState, worker: &Worker) {
    let now = worker.clock().millis();
    let sessions = Some(&worker.shared.paces.sessions).filter(|pace| pace.limit() > 0);
    for pace in [frontend.pace.as_deref(), sessions].into_iter().flatten() {
        pace.give_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everybody comes at once; when are they let in?
    fn let_in(limit: u32, count: usize) -> Vec<u64> {
        let pace = Pace::new(Some(limit)).expect("a limit");
        let mut now = 5_300;
        let mut times = Vec::new();
        for _ in 0..count {
            while let Some(wait) = pace.take(now) {
                now += wait.as_millis() as u64;
            }
            times.push(now - 5_300);
        }
        times
    }

    #[test]
    fn a_burst_passes_and_then_no_second_sees_more_than_the_limit() {
        for limit in [1, 2, 5, 100] {
            let times = let_in(limit, 4 * limit as usize);
            assert!(times[..limit as usize].iter().all(|time| *time == 0));
            // The estimate takes the second before for even: a burst at its end may be seen later.
            for pair in times.windows(2 * limit as usize) {
                let span = pair[pair.len() - 1] - pair[0];
                assert!(span >= SECOND_MS / 2, "{limit}: {times:?}");
            }
            let last = times.last().expect("some came");
            assert!(*last <= 4 * SECOND_MS, "{limit}: {times:?}");
        }
    }

    #[test]
    fn after_a_quiet_time_all_is_forgotten() {
        let pace = Pace::new(Some(2)).expect("a limit");
        assert!(pace.take(10).is_none() && pace.take(10).is_none());
        assert!(pace.take(10).is_some());
        pace.give_back(10);
        assert!(pace.take(10).is_none());
        assert!(pace.wait(2_900).is_none());
        assert!(Pace::new(None).is_none());
    }
}
