//! How often something happens: HAProxy's counters "over a period" (manual 11.1, `conn_rate(<period>)` and
//! its like).
//!
//! Two numbers are kept, those of the period under way and of the one before. What happened during the last
//! period is taken to be all of the first and as much of the second as still lies in the window, as if it had
//! come evenly. No clock: the time is an argument, in milliseconds of any clock that does not go backwards.

use std::time::Duration;

pub use config::model::Period;

/// A point in time, in milliseconds since any beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// So much later.
    pub fn after(self, duration: Duration) -> Millis {
        Millis(self.0.saturating_add(duration_millis(duration)))
    }

    /// How long ago `earlier` was; nothing if it is not over.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn duration_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How often something happened lately. The period is kept by whoever asks, since it is the same for all
/// entries of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    begun: Millis,
    current: u32,
    previous: u32,
}

impl Rate {
    /// It happened so many times more. Beyond 2^32 in a period it stays there.
    pub fn add(&mut self, count: u32, period: Period, now: Millis) {
        let length = u64::from(period.millis());
        let elapsed = now.0.saturating_sub(self.begun.0);
        if elapsed >= 2 * length {
            *self = Rate {
                begun: now,
                ..Rate::default()
            };
        } else if elapsed >= length {
            *self = Rate {
                begun: Millis(self.begun.0 + length),
                current: 0,
                previous: self.current,
            };
        }
        self.current = self.current.saturating_add(count);
    }

    /// How often it happened during the last period, by now. One single event does not fade: it counts until
    /// its period and the next one are over, as in HAProxy, where it would else flap.
    pub fn read(&self, period: Period, now: Millis) -> u32 {
        let length = u64::from(period.millis());
        let elapsed = now.0.saturating_sub(self.begun.0);
        let (current, previous, left) = match elapsed {
            _ if elapsed < length => (self.current, self.previous, length - elapsed),
            _ if elapsed < 2 * length => (0, self.current, 2 * length - elapsed),
            _ => return 0,
        };
        if current == 0 && previous <= 1 {
            return previous;
        }
        let faded = u64::from(previous) * left / length;
        u32::try_from(u64::from(current) + faded).unwrap_or(u32::MAX)
    }

    /// So often since just now, and never before (`set table`).
    pub fn starting_with(count: u32, now: Millis) -> Rate {
        Rate {
            begun: now,
            current: count,
            previous: 0,
        }
    }

    /// As it is kept in a table.
    pub(crate) fn from_words([begun, counts]: [u64; 2]) -> Rate {
        Rate {
            begun: Millis(begun),
            current: counts as u32,
            previous: (counts >> 32) as u32,
        }
    }

    /// As it is kept in a table.
    pub(crate) fn to_words(self) -> [u64; 2] {
        [
            self.begun.0,
            u64::from(self.current) | u64::from(self.previous) << 32,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(millis: u64) -> Period {
        Period::new(Duration::from_millis(millis)).unwrap()
    }

    /// Events at these times (how many at once), and what is read at those.
    #[track_caller]
    fn check(events: &[(u64, u32)], reads: &[(u64, u32)]) {
        let second = period(1000);
        let mut rate = Rate::default();
        for &(at, count) in events {
            rate.add(count, second, Millis(at));
        }
        let read: Vec<(u64, u32)> = reads
            .iter()
            .map(|&(at, _)| (at, rate.read(second, Millis(at))))
            .collect();
        assert_eq!(read, reads);
    }

    #[test]
    fn what_is_over_fades_through_the_next_period() {
        // What HAProxy 2.6 showed for ten requests at once.
        check(
            &[(50_000, 10)],
            &[
                (50_000, 10),
                (50_999, 10),
                (51_000, 10),
                (51_050, 9),
                (51_500, 5),
                (51_850, 1),
                (51_950, 0),
                (52_000, 0),
                (90_000, 0),
            ],
        );
    }

    #[test]
    fn a_single_event_does_not_flap() {
        check(
            &[(50_000, 1)],
            &[(50_000, 1), (51_500, 1), (51_999, 1), (52_000, 0)],
        );
    }

    #[test]
    fn a_period_follows_the_one_before_without_a_gap() {
        check(
            &[(50_000, 10), (51_400, 4)],
            &[(51_400, 10), (51_500, 9), (52_000, 4), (52_500, 2)],
        );
    }

    #[test]
    fn after_two_quiet_periods_it_begins_anew() {
        check(
            &[(50_000, 10), (52_300, 4)],
            &[(52_300, 4), (53_299, 4), (53_550, 3)],
        );
    }

    #[test]
    fn a_clock_that_goes_backwards_loses_nothing() {
        check(&[(50_000, 10), (49_000, 1)], &[(48_000, 11), (50_000, 11)]);
    }

    #[test]
    fn there_is_a_largest_rate() {
        check(&[(50_000, u32::MAX), (50_001, 5)], &[(50_001, u32::MAX)]);
        check(
            &[(50_000, u32::MAX), (51_000, u32::MAX)],
            &[(51_000, u32::MAX)],
        );
    }

    #[test]
    fn a_period_is_neither_nothing_nor_longer_than_it_can_count() {
        for (millis, there) in [
            (0, false),
            (1, true),
            (u64::from(u32::MAX), true),
            (1 << 32, false),
        ] {
            assert_eq!(
                Period::new(Duration::from_millis(millis)).is_some(),
                there,
                "{millis}"
            );
        }
    }

    proptest::proptest! {
        /// Never more than what happened during the two periods that a read looks at, nor less than what
        /// happened in the last one since it began.
        #[test]
        fn a_rate_lies_between_one_period_and_two(
            events in proptest::collection::vec((0u64..700, 1u32..5), 1..60),
            wait in 0u64..2500,
        ) {
            let second = period(1000);
            let (mut rate, mut now, mut log) = (Rate::default(), Millis(10_000), Vec::new());
            for (pause, count) in events {
                now.0 += pause;
                rate.add(count, second, now);
                log.push((now.0, count));
            }
            now.0 += wait;
            let within = |window: u64| -> u32 {
                log.iter().filter(|(at, _)| now.0 - at < window).map(|(_, count)| count).sum()
            };
            let read = rate.read(second, now);
            proptest::prop_assert!(read <= within(2000), "{read} of {}", within(2000));
            proptest::prop_assert_eq!(Rate::from_words(rate.to_words()), rate);
        }
    }
}
