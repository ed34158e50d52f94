//! When the next fetch is due. Pure: moments are given, counted from the start of the loop, and
//! randomness is seeded.

use std::time::Duration;

/// How far an interval is moved at random, in percent: balancers that were started together do not
/// ask together.
const JITTER_PERCENT: u32 = 10;

/// The first pause after a failure; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// The longest pause after failures, in intervals: a service that is back is noticed soon.
const BACKOFF_MAX_INTERVALS: u32 = 2;

/// Least time from one fetch to the next, however many nodes fail: a flapping node must not make a
/// storm of fetches.
const HURRY_MIN: Duration = Duration::from_secs(1);

/// The same where the list is in this process: what nodes announce is in force at once, and many that
/// announce themselves together are looked at together.
const HURRY_AT_HAND_MIN: Duration = Duration::from_millis(20);

/// A list is confirmed by another one no sooner than half an interval later, and no sooner than
/// this: a service that restarts needs a moment until its nodes have announced themselves again.
const CONFIRM_MIN: Duration = Duration::from_secs(10);

/// The same where fetches follow one another fast, in intervals.
const CONFIRM_INTERVALS: u32 = 2;

/// When to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    interval: Duration,
    failures: u32,
    started: Option<Duration>,
    next: Duration,
    hurry_min: Duration,
    rng: fastrand::Rng,
}

impl Schedule {
    /// The first fetch is due at once.
    pub(crate) fn new(interval: Duration, seed: u64) -> Self {
        Self {
            interval,
            failures: 0,
            started: None,
            next: Duration::ZERO,
            hurry_min: HURRY_MIN,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// From one fetch to the next.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// The same for a list that is in this process: to look at it costs nobody else anything.
    pub(crate) fn at_hand(mut self) -> Self {
        self.hurry_min = HURRY_AT_HAND_MIN;
        self
    }

    /// When the next fetch is due.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// How much later than a list another one confirms it.
    pub(crate) fn confirm_after(&self) -> Duration {
        let least = CONFIRM_MIN.min(self.interval * CONFIRM_INTERVALS);
        least.max(self.interval / 2)
    }

    /// A fetch begins.
    pub(crate) fn begun(&mut self, now: Duration) {
        self.started = Some(now);
    }

    /// A fetch brought a good list.
    pub(crate) fn succeeded(&mut self, now: Duration) {
        self.failures = 0;
        self.next = now + self.jittered(self.interval);
    }

    /// A fetch failed; the pause after it.
    pub(crate) fn failed(&mut self, now: Duration) -> Duration {
        let first = BACKOFF_MIN.min(self.interval);
        let longest = self.interval * BACKOFF_MAX_INTERVALS;
        let doubled = first.saturating_mul(1 << self.failures.min(30));
        self.failures = self.failures.saturating_add(1);
        let pause = self.jittered(doubled.min(longest));
        self.next = now + pause;
        pause
    }

    /// Something calls for a fresh list: the next fetch is due at once, or a second after the last.
    pub(crate) fn hurry(&mut self, now: Duration) {
        self.next = self.next.min(self.earliest(now));
    }

    /// What a fetch brought is of no use, and it was no failure: the next one is due a second after it.
    pub(crate) fn again(&mut self, now: Duration) {
        self.next = self.earliest(now);
    }

    fn earliest(&self, now: Duration) -> Duration {
        let earliest = self.started.map_or(now, |started| started + self.hurry_min);
        earliest.max(now)
    }

    fn jittered(&mut self, pause: Duration) -> Duration {
        let percent = self.rng.u32(100 - JITTER_PERCENT..=100 + JITTER_PERCENT);
        pause * percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn good_lists_are_fetched_once_an_interval_give_or_take_a_tenth() {
        let mut schedule = Schedule::new(30 * SECOND, 7);
        assert_eq!(schedule.next(), Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut pauses = std::collections::BTreeSet::new();
        for _ in 0..100 {
            schedule.begun(now);
            schedule.succeeded(now);
            pauses.insert(schedule.next() - now);
            now = schedule.next();
        }
        assert!(pauses.first() >= Some(&(27 * SECOND)));
        assert!(pauses.last() <= Some(&(33 * SECOND)));
        assert!(pauses.len() > 10, "they differ");
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses_up_to_two_intervals() {
        #[track_caller]
        fn check(interval: Duration, expected_ms: &[u128]) {
            let mut schedule = Schedule::new(interval, 7);
            for expected in expected_ms {
                let pause = schedule.failed(Duration::ZERO).as_millis();
                assert!(pause * 10 >= expected * 9, "{pause} {expected}");
                assert!(pause * 10 <= expected * 11, "{pause} {expected}");
            }
            schedule.succeeded(Duration::ZERO);
            let again = schedule.failed(Duration::ZERO).as_millis();
            assert!(again * 10 <= expected_ms[0] * 11, "a success begins anew");
        }
        let thirty = [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000];
        check(30 * SECOND, &thirty);
        check(SECOND / 10, &[100, 200, 200]);
        check(86_400 * SECOND, &[1000, 2000]);
    }

    #[test]
    fn a_list_is_confirmed_after_half_an_interval_or_what_a_restart_takes() {
        for (interval_ms, expected_ms) in [
            (30_000, 15_000),
            (5_000, 10_000),
            (1_000, 2_000),
            (100, 200),
        ] {
            let schedule = Schedule::new(Duration::from_millis(interval_ms), 7);
            let expected = Duration::from_millis(expected_ms);
            assert_eq!(schedule.confirm_after(), expected, "{interval_ms}");
        }
    }

    #[test]
    fn a_call_for_a_fresh_list_is_heard_once_a_second() {
        let mut schedule = Schedule::new(30 * SECOND, 7);
        schedule.begun(100 * SECOND);
        schedule.succeeded(100 * SECOND);
        schedule.hurry(100 * SECOND + SECOND / 2);
        assert_eq!(schedule.next(), 101 * SECOND);
        schedule.begun(101 * SECOND);
        schedule.succeeded(101 * SECOND);
        schedule.hurry(110 * SECOND);
        assert_eq!(schedule.next(), 110 * SECOND);
    }
}
