//! Counters and gauges, declared once.
//!
//! A counter has one cell per worker, written by that worker alone and summed when read, so that
//! counting costs a plain addition and no cache line travels between cores. A gauge is shared,
//! because limits are decided by it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::snapshot::Histogram;

/// What is counted for a frontend, a backend or a server. Names follow HAProxy's CSV columns.
/// What most requests count comes first, so that it lies together: see [`Shard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Count {
    /// `stot`.
    Sessions,
    /// `req_tot`.
    Requests,
    /// `bin`.
    BytesIn,
    /// `bout`.
    BytesOut,
    /// See [`Count::Responses1xx`].
    Responses2xx,
    /// `reuse`.
    Reuses,
    /// `lbtot`.
    Balanced,
    /// `dreq`.
    DeniedRequests,
    /// `dresp`.
    DeniedResponses,
    /// `ereq`.
    RequestErrors,
    /// `econ`.
    ConnectErrors,
    /// `eresp`.
    ResponseErrors,
    /// `wretr`.
    Retries,
    /// `wredis`.
    Redispatches,
    /// `hrsp_1xx` and the five after it: 2xx, 3xx, 4xx, 5xx, other.
    Responses1xx,
    /// See [`Count::Responses1xx`].
    Responses3xx,
    /// See [`Count::Responses1xx`].
    Responses4xx,
    /// See [`Count::Responses1xx`].
    Responses5xx,
    /// See [`Count::Responses1xx`].
    ResponsesOther,
    /// `cli_abrt`.
    ClientAborts,
    /// `srv_abrt`.
    ServerAborts,
    /// `wrew`: changes of rules that could not be made.
    FailedRewrites,
    /// `eint`: faults of ours.
    InternalErrors,
    /// Tunnels opened.
    Tunnels,
    /// `connect`.
    Connects,
    /// `intercepted`.
    Intercepted,
    /// `conn_tot`: connections accepted, whatever became of them.
    Connections,
    /// `dcon`.
    DeniedConnections,
    /// `dses`.
    DeniedSessions,
    /// TLS handshakes that succeeded.
    Handshakes,
    /// Those that resumed a session.
    ResumedHandshakes,
    /// TLS handshakes that failed.
    FailedHandshakes,
    /// How many there are.
    Len,
}

/// Averages over the last [`AVERAGE_WINDOW`] sessions. Names follow HAProxy's CSV columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Average {
    /// `qtime`.
    Queue,
    /// `ctime`.
    Connect,
    /// `rtime`.
    Response,
    /// `ttime`.
    Total,
    /// How many there are.
    Len,
}

/// `management.txt` 9.1: the time averages are taken over the last 1024 requests.
const AVERAGE_WINDOW: u64 = 1024;

/// Upper bounds of the latency histogram, microseconds. Prometheus's usual ones, from half a
/// millisecond to ten seconds; what is slower falls into the last, infinite one.
const LATENCY_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// The counters of one frontend, backend, server or of the process.
#[derive(Debug)]
pub(crate) struct Counters {
    shards: Box<[Shard]>,
    /// What an operator has had forgotten (`clear counters`): cells belong to their writers, so it is
    /// taken off when they are read.
    forgotten: OnceLock<Box<[AtomicU64; Count::Len as usize]>>,
}

/// What one worker counts; aligned so that no two workers share a cache line.
///
/// Of thousands of servers each is met too seldom to stay in the processor's caches: what a usual request
/// counts lies in the first two lines, which are fetched together.
#[derive(Debug)]
#[repr(C, align(128))]
struct Shard {
    averages: [AtomicU64; Average::Len as usize],
    longest: [AtomicU64; Average::Len as usize],
    averaged: AtomicU64,
    counts: [AtomicU64; Count::Len as usize],
    latency: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    latency_sum_us: AtomicU64,
}

impl Shard {
    fn new() -> Self {
        Self {
            averages: [const { AtomicU64::new(0) }; Average::Len as usize],
            longest: [const { AtomicU64::new(0) }; Average::Len as usize],
            averaged: AtomicU64::new(0),
            counts: [const { AtomicU64::new(0) }; Count::Len as usize],
            latency: [const { AtomicU64::new(0) }; LATENCY_BOUNDS_US.len() + 1],
            latency_sum_us: AtomicU64::new(0),
        }
    }
}

/// Adds to a cell that only this thread writes: no locked instruction is needed.
fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

impl Counters {
    /// All zero, for that many writers.
    pub(crate) fn new(writers: usize) -> Self {
        Self {
            shards: (0..writers.max(1)).map(|_| Shard::new()).collect(),
            forgotten: OnceLock::new(),
        }
    }

    /// Adds `by`, as writer `writer`; only the thread that is this writer may call it.
    pub(crate) fn add(&self, writer: usize, what: Count, by: u64) {
        bump(&self.shards[writer].counts[what as usize], by);
    }

    /// The sum over all writers, less what was forgotten.
    pub(crate) fn sum(&self, what: Count) -> u64 {
        let forgotten = self.forgotten.get();
        let forgotten = forgotten.map_or(0, |it| it[what as usize].load(Relaxed));
        self.total(what as usize).saturating_sub(forgotten)
    }

    fn total(&self, at: usize) -> u64 {
        self.shards.iter().map(|s| s.counts[at].load(Relaxed)).sum()
    }

    /// Counts from zero again.
    pub(crate) fn forget(&self) {
        let zeros = || Box::new([const { AtomicU64::new(0) }; Count::Len as usize]);
        for (at, cell) in self.forgotten.get_or_init(zeros).iter().enumerate() {
            cell.store(self.total(at), Relaxed);
        }
    }

    /// Forgets the longest times. A session that ends at this moment may bring its own back.
    pub(crate) fn forget_longest(&self) {
        for cell in self.shards.iter().flat_map(|shard| &shard.longest) {
            cell.store(0, Relaxed);
        }
    }

    /// Adds the four times of a finished session to the sliding averages, in milliseconds.
    pub(crate) fn add_times(&self, writer: usize, times: [Duration; Average::Len as usize]) {
        let shard = &self.shards[writer];
        bump(&shard.averaged, 1);
        for ((cell, longest), time) in shard.averages.iter().zip(&shard.longest).zip(times) {
            let (sum, time) = (cell.load(Relaxed), micros(time));
            cell.store(sum - sum / AVERAGE_WINDOW + time, Relaxed);
            longest.store(longest.load(Relaxed).max(time), Relaxed);
        }
    }

    /// The longest since start.
    pub(crate) fn longest(&self, what: Average) -> Duration {
        let longest = self
            .shards
            .iter()
            .map(|s| s.longest[what as usize].load(Relaxed))
            .max();
        Duration::from_micros(longest.unwrap_or(0))
    }

    /// The average over about the last 1024 sessions of each writer.
    pub(crate) fn average(&self, what: Average) -> Duration {
        let (mut sum, mut weight) = (0u64, 0u64);
        for shard in &self.shards {
            let seen = shard.averaged.load(Relaxed).min(AVERAGE_WINDOW);
            sum += shard.averages[what as usize].load(Relaxed);
            weight += seen;
        }
        Duration::from_micros(sum / weight.max(1))
    }

    /// Adds one latency to the histogram.
    pub(crate) fn add_latency(&self, writer: usize, latency: Duration) {
        let shard = &self.shards[writer];
        let us = micros(latency);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        bump(&shard.latency[bucket], 1);
        bump(&shard.latency_sum_us, us);
    }

    /// The histogram, cumulative.
    pub(crate) fn latency(&self) -> Histogram {
        let mut cumulative = 0;
        let bounds = LATENCY_BOUNDS_US
            .iter()
            .map(|us| Some(Duration::from_micros(*us)));
        let buckets = bounds
            .chain([None])
            .enumerate()
            .map(|(i, bound)| {
                cumulative += self
                    .shards
                    .iter()
                    .map(|s| s.latency[i].load(Relaxed))
                    .sum::<u64>();
                (bound, cumulative)
            })
            .collect();
        let sum = self
            .shards
            .iter()
            .map(|s| s.latency_sum_us.load(Relaxed))
            .sum();
        Histogram {
            buckets,
            sum: Duration::from_micros(sum),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The counter a response of this status belongs to.
pub(crate) fn response_class(status: u16) -> Count {
    match status / 100 {
        1 => Count::Responses1xx,
        2 => Count::Responses2xx,
        3 => Count::Responses3xx,
        4 => Count::Responses4xx,
        5 => Count::Responses5xx,
        _ => Count::ResponsesOther,
    }
}

/// How many there are now, and how many there were at most.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    now: AtomicU64,
    max: AtomicU64,
}

impl Gauge {
    /// One more; returns the new value.
    pub(crate) fn enter(&self) -> u64 {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        if now > self.max.load(Relaxed) {
            self.max.fetch_max(now, Relaxed);
        }
        now
    }

    /// One less; returns the new value.
    pub(crate) fn leave(&self) -> u64 {
        self.now.fetch_sub(1, Relaxed) - 1
    }

    /// Now.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// The most there ever were.
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// The most is what there is now.
    pub(crate) fn forget_max(&self) {
        self.max.store(self.now(), Relaxed);
    }
}

/// Events a second, from a growing total read once a second.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    seen: AtomicU64,
    /// When that was, milliseconds of the engine's clock.
    at: AtomicU64,
    last: AtomicU64,
    max: AtomicU64,
}

impl Rate {
    /// To be called once a second with the total.
    pub(crate) fn tick(&self, total: u64, now_ms: u64) {
        self.at.store(now_ms, Relaxed);
        let rate = total.saturating_sub(self.seen.swap(total, Relaxed));
        self.last.store(rate, Relaxed);
        self.max.fetch_max(rate, Relaxed);
    }

    /// In the last 1000 milliseconds, as if those of the last whole second had come evenly. A single one does
    /// not fade before its second is over, where it would else flap.
    pub(crate) fn sliding(&self, total: u64, now_ms: u64) -> u64 {
        const SECOND: u64 = 1000;
        let current = total.saturating_sub(self.seen.load(Relaxed));
        let last = self.last();
        if current == 0 && last <= 1 {
            return last;
        }
        let elapsed = now_ms.saturating_sub(self.at.load(Relaxed)).min(SECOND);
        current + last.saturating_mul(SECOND - elapsed) / SECOND
    }

    /// In the last whole second.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    /// The most in any second.
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// The most is that of the last second.
    pub(crate) fn forget_max(&self) {
        self.max.store(self.last(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_writers_are_summed() {
        let counters = Counters::new(3);
        counters.add(0, Count::Requests, 2);
        counters.add(2, Count::Requests, 5);
        counters.add(1, Count::BytesIn, 7);
        assert_eq!(counters.sum(Count::Requests), 7);
        assert_eq!(counters.sum(Count::BytesIn), 7);
    }

    #[test]
    fn a_rate_slides_over_the_last_second() {
        let check = |ticks: &[u64], total: u64, later: u64, expected: u64| {
            let rate = Rate::default();
            let mut now = 7000;
            for total in ticks {
                now += 1000;
                rate.tick(*total, now);
            }
            assert_eq!(
                rate.sliding(total, now + later),
                expected,
                "{ticks:?} {total}"
            );
        };
        check(&[], 5, 0, 5);
        check(&[10], 10, 0, 10);
        check(&[10], 10, 250, 7);
        check(&[10], 14, 500, 9);
        check(&[10], 14, 2500, 4);
        check(&[10, 10], 10, 0, 0);
        check(&[1], 1, 900, 1);
    }

    #[test]
    fn what_a_usual_request_counts_lies_in_two_cache_lines() {
        let behind = |what: Count| {
            std::mem::offset_of!(Shard, counts) + (what as usize + 1) * size_of::<AtomicU64>()
        };
        for what in [
            Count::Sessions,
            Count::Requests,
            Count::BytesIn,
            Count::BytesOut,
            Count::Responses2xx,
            Count::Reuses,
            Count::Balanced,
        ] {
            assert!(behind(what) <= 128, "{what:?}");
        }
    }

    #[test]
    fn the_histogram_is_cumulative_and_ends_with_everything() {
        let counters = Counters::new(2);
        for ms in [0, 1, 3, 40, 60_000] {
            counters.add_latency(0, Duration::from_millis(ms));
        }
        let histogram = counters.latency();
        assert_eq!(histogram.buckets.last(), Some(&(None, 5)));
        let at = |ms| {
            let bound = Some(Duration::from_millis(ms));
            histogram
                .buckets
                .iter()
                .find(|b| b.0 == bound)
                .expect("a bound of the table")
                .1
        };
        assert_eq!((at(1), at(5), at(50), at(10_000)), (2, 3, 4, 4));
    }

    #[test]
    fn an_average_of_equal_times_is_that_time() {
        let counters = Counters::new(2);
        for _ in 0..10_000 {
            counters.add_times(1, [Duration::from_millis(8); 4]);
        }
        let average = counters.average(Average::Total);
        assert!(average.abs_diff(Duration::from_millis(8)) < Duration::from_micros(100));
    }
}
