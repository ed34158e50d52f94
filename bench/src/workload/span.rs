//! The span that is counted: processor time, memory and units are those of the same moments.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;

use super::Plan;
use crate::process::{Process, Spent, Trace, own_cpu_ns};
use crate::results::{Figures, Void};

/// At a fixed rate, the least part of the units due that must have been done: with less, the proxy
/// or the machine was not up to the rate, and the figure would be another workload's.
const KEPT_MIN: f64 = 0.9;

/// How long the last unit of a client may take when the span is over: what is not there then was lost.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How often is looked whether something was done, where nothing was when the span should have ended.
const USED_LOOK: Duration = Duration::from_millis(10);

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
    shared: Rc<Shared>,
    plan: Plan,
}

#[derive(Debug)]
struct Shared {
    phase: Cell<Phase>,
    began: Cell<Option<Instant>>,
    ended: Cell<Option<Instant>>,
    /// Whether anything was done within it.
    is_used: Cell<bool>,
}

/// One unit that the span has to do with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// When it was due.
    pub(super) due: Instant,
    /// How long after that it was done.
    micros: u32,
    /// Whether it was due within the span: then its time is told, whenever it was done. The slowest
    /// ones are those that the end of the span overtakes.
    due_within: bool,
    /// Whether it was done within the span: then it is a unit of the processor time.
    done_within: bool,
}

/// A client at work: what it has left at the end, and the units that it counted.
type Task<T> = JoinHandle<Result<(T, Vec<Sample>)>>;

impl Span {
    pub(super) fn of(plan: Plan) -> Self {
        Self {
            shared: Rc::new(Shared {
                phase: Cell::new(Phase::WarmUp),
                began: Cell::new(None),
                ended: Cell::new(None),
                is_used: Cell::new(false),
            }),
            plan,
        }
    }

    /// A unit that was due then is done now; `None`: the span has nothing to do with it.
    pub(super) fn done(&self, due: Instant) -> Option<Sample> {
        let began = self.shared.began.get()?;
        let due_within = due >= began && self.shared.ended.get().is_none_or(|ended| due < ended);
        let done_within = self.shared.phase.get() == Phase::Counted;
        if done_within {
            self.shared.is_used.set(true);
        }
        let micros = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
        (due_within || done_within).then_some(Sample {
            due,
            micros,
            due_within,
            done_within,
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.shared.phase.get() == Phase::Over
    }

    /// Whether a unit that is due then comes after the span. A proxy that is late still has to do what
    /// came due within it, but for rounds in which only calls are counted.
    pub(super) fn is_before(&self, due: Instant) -> bool {
        let ended = self.shared.ended.get();
        ended.is_some_and(|ended| self.plan.counts_calls || due >= ended)
    }

    /// Sleeps through it, and says what the proxy used meanwhile.
    pub(super) async fn watch(&self, proxy: &Process) -> Result<Meter> {
        tokio::time::sleep(self.plan.warm_up).await;
        let trace = self.plan.counts_calls.then(|| proxy.trace()).transpose()?;
        let (before, own, began) = (proxy.usage()?, own_cpu_ns()?, Instant::now());
        self.shared.began.set(Some(began));
        self.shared.phase.set(Phase::Counted);
        tokio::time::sleep(self.plan.measured).await;
        // On a busy machine a short span may pass without a single turn.
        while !self.shared.is_used.get() {
            ensure!(
                began.elapsed() < ANSWER_MAX,
                "nothing at all was done in {ANSWER_MAX:?}"
            );
            tokio::time::sleep(USED_LOOK).await;
        }
        self.shared.phase.set(Phase::Over);
        let (after, own_after, ended) = (proxy.usage()?, own_cpu_ns()?, Instant::now());
        self.shared.ended.set(Some(ended));
        Ok(Meter {
            calls: trace.map(Trace::finish).transpose()?,
            spent: after.since(&before)?,
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
    spent: Spent,
    own_ns: u64,
    took: Duration,
    calls: Option<u64>,
}

impl Meter {
    /// Microseconds of processor time per unit.
    pub(super) fn cost(&self, samples: &[Sample]) -> f64 {
        self.spent.cpu_ns as f64 / 1000.0 / units(samples).max(1) as f64
    }

    /// Everything that is told of units; with `rate`, whether it was kept.
    pub(super) fn figures(&self, samples: &[Sample], rate: u32) -> Result<Figures> {
        let units = units(samples);
        if let Some(calls) = self.calls {
            // Under strace everything else is another program's.
            return Ok([("calls", calls as f64 / units.max(1) as f64)].into());
        }
        let seconds = self.took.as_secs_f64();
        let done = units as f64 / seconds;
        if done < f64::from(rate) * KEPT_MIN {
            return Err(Void(format!(
                "{done:.0} a second where {rate} were due: the machine is too busy, or the proxy too slow"
            ))
            .into());
        }
        let Spent {
            user_ticks: user,
            kernel_ticks: kernel,
            ..
        } = self.spent;
        let busy = |ns: u64| ns as f64 / 1e7 / seconds;
        let times = Times::of(samples);
        Ok([
            ("cost", self.cost(samples)),
            ("rate", done),
            ("busy", busy(self.spent.cpu_ns)),
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

/// How many units were done within the span.
fn units(samples: &[Sample]) -> usize {
    samples.iter().filter(|sample| sample.done_within).count()
}

/// Times of units that were due within the span, sorted.
pub(super) struct Times(Vec<u32>);

impl Times {
    pub(super) fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut times: Vec<u32> = samples
            .into_iter()
            .filter(|sample| sample.due_within)
            .map(|sample| sample.micros)
            .collect();
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
