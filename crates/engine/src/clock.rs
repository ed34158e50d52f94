//! Time for the engine: monotonic milliseconds for timers and statistics, wall time for logs only.
//!
//! Looking at the clock costs as much as a few dozen other instructions, and a request would do it ten times. So a
//! task may have its [`Turn`]: from one wait to the next its time stands still. That is some microseconds, which
//! nobody is told of; HAProxy looks once for all that it does between two waits.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

thread_local! {
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// What was seen of the clocks in the turn under way.
#[derive(Clone, Copy, Default)]
struct Turn {
    now: Option<Instant>,
    wall: Option<Duration>,
}

/// Ends the turn, however it ends.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        TURN.set(None);
    }
}

/// A task that does its work turn by turn. It is boxed, so that whoever moves it moves a pointer.
pub(crate) struct ByTurns<F>(Pin<Box<F>>);

impl<F: Future> ByTurns<F> {
    /// Work that waits for nothing but events and timers, and does little in between.
    pub(crate) fn new(work: F) -> Self {
        Self(Box::pin(work))
    }
}

impl<F: Future> Future for ByTurns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        TURN.set(Some(Turn::default()));
        let _ends = Ends;
        self.0.as_mut().poll(cx)
    }
}

/// Now: the first moment of the turn that was asked for, where one is under way.
pub(crate) fn now() -> Instant {
    let Some(turn) = TURN.get() else {
        return Instant::now();
    };
    turn.now.unwrap_or_else(|| {
        let now = Instant::now();
        TURN.set(Some(Turn {
            now: Some(now),
            ..turn
        }));
        now
    })
}

/// The moment the engine started; all monotonic times are counted from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Time since start.
    pub(crate) fn since_start(self) -> Duration {
        self.until(now())
    }

    /// Time from start to `moment`.
    pub(crate) fn until(self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.start)
    }

    /// Milliseconds since start; wraps after 584 million years.
    pub(crate) fn millis(self) -> u64 {
        u64::try_from(self.since_start().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Time since 1970, for dates in logs and rules: that of the turn, where one is under way. A clock set
/// before 1970 reads as 1970.
pub(crate) fn wall() -> Duration {
    let look = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default()
    };
    let Some(turn) = TURN.get() else {
        return look();
    };
    turn.wall.unwrap_or_else(|| {
        let wall = look();
        TURN.set(Some(Turn {
            wall: Some(wall),
            ..turn
        }));
        wall
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_stands_still_from_one_wait_to_the_next() {
        let turns = ByTurns::new(async {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let began = (now(), wall());
                while began.0 == Instant::now() {}
                assert_eq!((now(), wall()), began);
                seen.push(began.0);
                tokio::task::yield_now().await;
            }
            seen
        });
        let seen = turns.await;
        assert!(seen[0] < seen[1]);
        assert!(TURN.get().is_none());
        let before = now();
        while before == Instant::now() {}
        assert!(before < now());
    }

    #[test]
    fn a_turn_that_ends_in_a_panic_has_ended() {
        let mut panics = ByTurns::new(async { panic!("a fault") });
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let polled = crate::panics::guarded(|| Pin::new(&mut panics).poll(&mut cx).is_ready());
        assert_eq!(polled, None);
        assert!(TURN.get().is_none());
    }
}
