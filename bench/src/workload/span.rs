//! The span that is counted: processor time, memory and units are those of the same moments.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use super::Plan;
use crate::process::{Process, Trace, Usage, own_cpu_ns};
use crate::results::Figures;

/// At a fixed rate, the least part of the units due that must have been done: with less, the proxy
/// or the machine was not up to the rate, and the figure would be another workload's.
const KEPT_MIN: f64 = 0.9;

/// How long the last unit of a client may take when the span is over: what is not there then was lost.
const ANSWER_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    WarmUp,
    Counted,
    Over,
}

/// The span, shared by all tasks. It begins and ends at the moment the meters are read, not at a
/// planned one: a busy generator reads them late.
#[derive(Debug, Clone)]
pub(super) struct Span {
    phase: Rc<Cell<Phase>>,
    plan: Plan,
}

/// One unit that was counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// When it was due.
    pub(super) due: Instant,
    /// How long after that it was done.
    pub(super) micros: u32,
}

/// A client at work: what it has left at the end, and the units that it counted.
type Task<T> = JoinHandle<Result<(T, Vec<Sample>)>>;

impl Span {
    pub(super) fn of(plan: Plan) -> Self {
        Self {
            phase: Rc::new(Cell::new(Phase::WarmUp)),
            plan,
        }
    }

    /// Whether what is done now counts.
    pub(super) fn counts(&self) -> bool {
        self.phase.get() == Phase::Counted
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    /// Sleeps through it, and says what the proxy used meanwhile.
    pub(super) async fn watch(&self, proxy: &Process) -> Result<Meter> {
        tokio::time::sleep(self.plan.warm_up).await;
        let trace = self.plan.counts_calls.then(|| proxy.trace()).transpose()?;
        let (before, own, began) = (proxy.usage()?, own_cpu_ns()?, Instant::now());
        self.phase.set(Phase::Counted);
        tokio::time::sleep(self.plan.measured).await;
        self.phase.set(Phase::Over);
        let (after, own_after, ended) = (proxy.usage()?, own_cpu_ns()?, Instant::now());
        Ok(Meter {
            calls: trace.map(Trace::finish).transpose()?,
            before,
            after,
            own_ns: own_after.saturating_sub(own),
            took: ended - began,
        })
    }

    /// Sleeps through it while clients are at work; each gives the units that it counted.
    pub(super) async fn outcome<T: 'static>(
        &self,
        proxy: &Process,
        clients: Vec<Task<T>>,
    ) -> Result<(Vec<T>, Vec<Sample>, Meter)> {
        let meter = self.watch(proxy).await?;
        let (mut rest, mut samples) = (Vec::with_capacity(clients.len()), Vec::new());
        for client in clients {
            let ended = tokio::time::timeout(ANSWER_MAX, client).await;
            let (left, counted) = ended.context("a message or an answer was lost")???;
            rest.push(left);
            samples.extend(counted);
        }
        Ok((rest, samples, meter))
    }
}

/// What a proxy used in a span.
pub(super) struct Meter {
    before: Usage,
    after: Usage,
    own_ns: u64,
    took: Duration,
    calls: Option<u64>,
}

/// The run is another workload's and does not count; the next one may.
#[derive(Debug)]
pub(crate) struct RateNotKept {
    rate: u32,
    done: f64,
}

impl fmt::Display for RateNotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, done } = self;
        match rate {
            0 => write!(f, "nothing was done")?,
            _ => write!(f, "{done:.0} a second where {rate} were due")?,
        }
        write!(f, ": the machine is too busy, or the proxy too slow")
    }
}

impl std::error::Error for RateNotKept {}

impl Meter {
    /// Microseconds of processor time per unit.
    pub(super) fn cost(&self, units: usize) -> f64 {
        (self.after.cpu_ns - self.before.cpu_ns) as f64 / 1000.0 / units.max(1) as f64
    }

    /// Everything that is told of units; with `rate`, whether it was kept.
    pub(super) fn figures(&self, samples: &[Sample], rate: u32) -> Result<Figures> {
        let units = samples.len();
        if units == 0 {
            return Err(RateNotKept { rate, done: 0.0 }.into());
        }
        if let Some(calls) = self.calls {
            // Under strace everything else is another program's.
            return Ok([("calls", calls as f64 / units as f64)].into());
        }
        let seconds = self.took.as_secs_f64();
        let done = units as f64 / seconds;
        if done < f64::from(rate) * KEPT_MIN {
            return Err(RateNotKept { rate, done }.into());
        }
        let user = self.after.user_ticks - self.before.user_ticks;
        let kernel = self.after.kernel_ticks - self.before.kernel_ticks;
        let busy = |ns: u64| ns as f64 / 1e7 / seconds;
        let times = Times::of(samples);
        Ok([
            ("cost", self.cost(units)),
            ("rate", done),
            ("busy", busy(self.after.cpu_ns - self.before.cpu_ns)),
            ("generator", busy(self.own_ns)),
            (
                "kernel",
                100.0 * kernel as f64 / (user + kernel).max(1) as f64,
            ),
            ("p50", times.share(0.5)),
            ("p99", times.share(0.99)),
            ("max", times.share(1.0)),
        ]
        .into())
    }
}

/// Times of units, sorted.
pub(super) struct Times(Vec<u32>);

impl Times {
    pub(super) fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut times: Vec<u32> = samples.into_iter().map(|sample| sample.micros).collect();
        times.sort_unstable();
        Self(times)
    }

    /// The time that this share of all units stays below, milliseconds.
    pub(super) fn share(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.0.get(at).map_or(0.0, |us| f64::from(*us) / 1000.0)
    }
}
