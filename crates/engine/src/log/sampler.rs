//! `log … sample <ranges>:<size>`: of each `size` lines only those whose turn is within the ranges
//! (manual 4.2, "log").

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use config::model::LogSample;

/// Counts the lines of one `log` line.
pub(super) struct Sampler {
    sample: LogSample,
    seen: AtomicU64,
}

impl Sampler {
    pub(super) fn new(sample: &LogSample) -> Self {
        Self {
            sample: sample.clone(),
            seen: AtomicU64::new(0),
        }
    }

    /// Counts one more line, and says whether it is to be sent.
    pub(super) fn takes_next(&self) -> bool {
        let turn = self.seen.fetch_add(1, Relaxed) % u64::from(self.sample.size) + 1;
        let mut ranges = self.sample.ranges.iter();
        ranges.any(|(low, high)| (u64::from(*low)..=u64::from(*high)).contains(&turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_round_the_turns_in_the_ranges_are_taken() {
        let sampler = Sampler::new(&LogSample {
            ranges: [(1, 1), (3, 4)].into(),
            size: 5,
        });
        let taken: Vec<bool> = (0..10).map(|_| sampler.takes_next()).collect();
        let round = [true, false, true, true, false];
        assert_eq!(taken, [round, round].concat());
    }
}
