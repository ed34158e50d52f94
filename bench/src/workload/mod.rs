//! The work that is measured. Each kind connects to one proxy, warms up, works, and says how many
//! units were done; whatever is lost, late or wrong is an error and the run does not count.

mod connect;
mod fan_out;
mod http;
mod idle;
mod relay;

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinHandle;

use crate::client::Target;
use crate::node::Node;
use crate::peers::Peer;
use crate::process::{Process, Trace, Usage};

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Messages there and back: length, sockets, messages a second (0: as fast as it goes).
    Relay(usize, usize, u32),
    /// Messages from the node to many: length, sockets.
    FanOut(usize, usize),
    /// Connections with an upgrade, one message and a close: TLS sessions resumed or not.
    Connect { resumed: bool },
    /// Requests over connections that stay open: connections, requests a second (0: as fast …).
    Http(usize, u32),
    /// Sockets that do nothing.
    Idle(usize),
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// As the command line calls it.
    pub(crate) name: &'static str,
    /// What a unit is.
    pub(crate) unit: &'static str,
    /// What is done.
    pub(crate) work: Work,
    /// Whether clients speak TLS.
    pub(crate) tls: bool,
    /// Threads or worker processes of the proxy.
    pub(crate) workers: usize,
    /// Nodes behind it.
    pub(crate) nodes: usize,
    /// Rules nobody meets.
    pub(crate) rules: usize,
}

const fn plain(name: &'static str, unit: &'static str, work: Work) -> Workload {
    Workload {
        name,
        unit,
        work,
        tls: false,
        workers: 1,
        nodes: 3,
        rules: 0,
    }
}

const fn tls(name: &'static str, unit: &'static str, work: Work) -> Workload {
    Workload {
        tls: true,
        ..plain(name, unit, work)
    }
}

/// Everything that is measured.
pub(crate) const WORKLOADS: &[Workload] = &[
    plain("relay-64", "message and echo", Work::Relay(64, 1000, 0)),
    plain("relay-1k", "message and echo", Work::Relay(1024, 1000, 0)),
    plain(
        "relay-16k",
        "message and echo",
        Work::Relay(16 * 1024, 1000, 0),
    ),
    plain(
        "relay-64-20000/s",
        "message and echo",
        Work::Relay(64, 1000, 20_000),
    ),
    plain(
        "relay-64-5000/s",
        "message and echo",
        Work::Relay(64, 1000, 5_000),
    ),
    plain("fan-out-256", "message", Work::FanOut(256, 1000)),
    tls(
        "tls-relay-1k-10000/s",
        "message and echo",
        Work::Relay(1024, 1000, 10_000),
    ),
    plain("connect", "WebSocket", Work::Connect { resumed: false }),
    tls(
        "tls-connect-full",
        "WebSocket",
        Work::Connect { resumed: false },
    ),
    tls(
        "tls-connect-resumed",
        "WebSocket",
        Work::Connect { resumed: true },
    ),
    plain("http", "request", Work::Http(64, 0)),
    plain("http-10000/s", "request", Work::Http(64, 10_000)),
    plain("idle", "socket", Work::Idle(9_000)),
    tls("tls-idle", "socket", Work::Idle(9_000)),
    // What must not cost more as it grows.
    plain(
        "relay-64-100-sockets",
        "message and echo",
        Work::Relay(64, 100, 0),
    ),
    plain(
        "relay-64-9000-sockets",
        "message and echo",
        Work::Relay(64, 9000, 0),
    ),
    Workload {
        nodes: 3_000,
        ..plain("http-3000-servers", "request", Work::Http(64, 0))
    },
    Workload {
        nodes: 3_000,
        ..plain(
            "connect-3000-servers",
            "WebSocket",
            Work::Connect { resumed: false },
        )
    },
    Workload {
        rules: 10,
        ..plain("http-10-rules", "request", Work::Http(64, 0))
    },
    Workload {
        rules: 1_000,
        ..plain("http-1000-rules", "request", Work::Http(64, 0))
    },
    Workload {
        workers: 2,
        ..plain(
            "relay-64-2-workers",
            "message and echo",
            Work::Relay(64, 1000, 0),
        )
    },
];

impl Workload {
    /// Whether a peer can do it.
    pub(crate) fn suits(&self, peer: Peer) -> bool {
        let floor = !self.tls && self.workers == 1 && self.rules == 0 && self.nodes <= 3;
        let http = matches!(self.work, Work::Http(..));
        // nginx checks nothing by itself, and its rules are another language: the cost of many
        // servers and rules is compared with HAProxy's alone.
        match peer {
            Peer::CopyLoop => floor && !http,
            Peer::Nginx => self.rules == 0,
            Peer::HaProxy | Peer::Tidegate => true,
        }
    }
}

/// How long a run lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Before anything is counted.
    pub(crate) warm_up: Duration,
    /// While it is counted.
    pub(crate) measured: Duration,
    /// How long idle sockets are held.
    pub(crate) held: Duration,
    /// Whether system calls are counted in place of time.
    pub(crate) counts_calls: bool,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Units done while it was counted.
    pub(crate) units: u64,
    /// How long that was.
    pub(crate) took: Duration,
    /// Processor time of the proxy meanwhile, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Of a hundred, how much in the kernel.
    pub(crate) kernel_percent: f64,
    /// Microseconds from when a unit was due until it was done; sorted.
    pub(crate) latencies: Vec<u32>,
    /// System calls of the proxy meanwhile, where they were counted in place of all else.
    pub(crate) calls: Option<u64>,
    /// Bytes of memory per socket.
    pub(crate) bytes_per_socket: Option<f64>,
    /// Bytes that did not come back per socket when all were closed.
    pub(crate) bytes_left: Option<f64>,
}

impl Outcome {
    /// Microseconds of processor time per unit.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / self.units.max(1) as f64
    }

    /// The latency that this share of all units stays below, milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies
            .get(at)
            .map_or(0.0, |us| f64::from(*us) / 1000.0)
    }
}

/// What a run works with.
pub(crate) struct Scene<'a> {
    /// The proxy's address.
    pub(crate) target: Target,
    /// The proxy.
    pub(crate) proxy: &'a Process,
    /// The first node: all of them are in this process.
    pub(crate) node: &'a Node,
    /// How long.
    pub(crate) plan: Plan,
    /// Who is measured.
    pub(crate) peer: Peer,
}

/// Does the work once.
pub(crate) async fn run(work: Work, scene: &Scene<'_>) -> Result<Outcome> {
    match work {
        Work::Relay(length, sockets, rate) => relay::run(scene, length, sockets, rate).await,
        Work::FanOut(length, sockets) => fan_out::run(scene, length, sockets).await,
        Work::Connect { .. } => connect::run(scene).await,
        Work::Http(connections, rate) => http::run(scene, connections, rate).await,
        Work::Idle(sockets) => idle::run(scene, sockets).await,
    }
}

/// The span that is counted, told to all tasks before they start.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: Instant,
    end: Instant,
    counts_calls: bool,
}

impl Span {
    fn of(plan: Plan) -> Self {
        let start = Instant::now() + plan.warm_up;
        Self {
            start,
            end: start + plan.measured,
            counts_calls: plan.counts_calls,
        }
    }

    fn counts(&self, done: Instant) -> bool {
        (self.start..self.end).contains(&done)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Sleeps through it, and says what the proxy used meanwhile.
    async fn watch(&self, proxy: &Process) -> Result<Meter> {
        tokio::time::sleep_until(self.start.into()).await;
        let trace = self.counts_calls.then(|| proxy.trace()).transpose()?;
        let (before, began) = (proxy.usage()?, Instant::now());
        tokio::time::sleep_until(self.end.into()).await;
        let (after, ended) = (proxy.usage()?, Instant::now());
        Ok(Meter {
            calls: trace.map(Trace::finish).transpose()?,
            before,
            after,
            took: ended - began,
        })
    }

    /// Sleeps through it while clients are at work; each gives the times that it counted.
    async fn outcome(
        &self,
        proxy: &Process,
        clients: Vec<JoinHandle<Result<Vec<u32>>>>,
    ) -> Result<Outcome> {
        let meter = self.watch(proxy).await?;
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await??);
        }
        Ok(meter.outcome(latencies))
    }
}

/// What a proxy used in a span.
struct Meter {
    before: Usage,
    after: Usage,
    took: Duration,
    calls: Option<u64>,
}

impl Meter {
    fn outcome(&self, mut latencies: Vec<u32>) -> Outcome {
        latencies.sort_unstable();
        let user = self.after.user_ticks - self.before.user_ticks;
        let kernel = self.after.kernel_ticks - self.before.kernel_ticks;
        Outcome {
            units: latencies.len() as u64,
            took: self.took,
            cpu_ns: self.after.cpu_ns - self.before.cpu_ns,
            kernel_percent: 100.0 * kernel as f64 / (user + kernel).max(1) as f64,
            latencies,
            calls: self.calls,
            ..Outcome::default()
        }
    }
}

fn micros(from: Instant, to: Instant) -> u32 {
    u32::try_from((to - from).as_micros()).unwrap_or(u32::MAX)
}

/// When a task of several that share a rate does its next unit; at once without a rate.
struct Pace {
    next: Option<Instant>,
    period: Duration,
}

impl Pace {
    /// The pace of task `index` of `tasks`, which together do `rate` units a second.
    fn new(index: usize, tasks: usize, rate: u32) -> Self {
        if rate == 0 {
            return Self {
                next: None,
                period: Duration::ZERO,
            };
        }
        let period = Duration::from_secs_f64(tasks as f64 / f64::from(rate));
        Self {
            next: Some(Instant::now() + period.mul_f64(index as f64 / tasks as f64)),
            period,
        }
    }

    /// Waits until the next unit is due, and says when that was: a proxy that is late is not
    /// excused from what came due meanwhile.
    async fn due(&mut self) -> Instant {
        match &mut self.next {
            None => Instant::now(),
            Some(next) => {
                let due = *next;
                tokio::time::sleep_until(due.into()).await;
                *next = due + self.period;
                due
            }
        }
    }
}
