//! The work that is measured. Each kind connects to one proxy, warms up, works, and says how many
//! units were done; whatever is lost, late or wrong is an error and the run does not count.

mod catalogue;
mod connect;
mod fan_out;
mod greedy;
mod http;
mod idle;
mod list_changes;
mod pace;
mod relay;
mod span;
mod spread;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

pub(crate) use catalogue::{WORKLOADS, Workload};
use span::{Sample, Span};

use crate::client::{Client, Target};
use crate::node::Node;
use crate::peers::Kind;
use crate::process::Process;
use crate::results::{Figures, Void};
use crate::updates::Updates;

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
    /// Sockets at a rate, alone and then beside two that send all they can.
    Greedy(usize, u32),
    /// Sockets at a rate, while the list of nodes stays and while it changes.
    ListChanges(usize, u32),
    /// Sockets at a rate, and which worker does how much of it.
    Spread(usize, u32),
}

impl Work {
    /// Whether system calls are told: strace makes the turn of thousands of sockets longer than the span.
    pub(crate) fn has_calls(self) -> bool {
        self.has_units() && !matches!(self, Self::Relay(_, relay::MANY.., _))
    }

    /// Whether the figure is processor time of units.
    pub(crate) fn has_units(self) -> bool {
        matches!(
            self,
            Self::Relay(..) | Self::FanOut(..) | Self::Connect { .. } | Self::Http(..)
        )
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
    /// How long it may take until memory of closed sockets is back.
    pub(crate) back_max: Duration,
    /// How long a proxy is left alone before its memory is read.
    pub(crate) settle: Duration,
    /// Whether system calls are counted in place of time.
    pub(crate) counts_calls: bool,
}

/// What a run works with.
pub(crate) struct Scene<'a> {
    /// The proxy's address.
    pub(crate) target: Target,
    /// The proxy.
    pub(crate) proxy: &'a Process,
    /// The nodes: all of them are in this process.
    pub(crate) node: &'a Node,
    /// Who lists them, where the work is about lists.
    pub(crate) updates: Option<&'a Updates>,
    /// How long.
    pub(crate) plan: Plan,
    /// Who is measured.
    pub(crate) kind: Kind,
    /// Its threads or worker processes.
    pub(crate) workers: usize,
}

/// Sockets that are being opened at once.
const OPENING: usize = 16;

impl Scene<'_> {
    /// The same for several times as long.
    fn longer(&self, times: u32) -> Self {
        Scene {
            target: self.target.clone(),
            plan: Plan {
                warm_up: self.plan.warm_up * times,
                measured: self.plan.measured * times,
                ..self.plan
            },
            ..*self
        }
    }

    /// Opens so many WebSockets.
    async fn open(&self, path: &'static str, count: usize) -> Result<Vec<Client>> {
        let mut clients = Vec::with_capacity(count);
        let (mut opening, mut begun) = (JoinSet::new(), 0);
        loop {
            while opening.len() < OPENING && begun < count {
                let target = self.target.clone();
                opening.spawn_local(async move { Client::open(&target, path).await });
                begun += 1;
            }
            let Some(opened) = opening.join_next().await else {
                return Ok(clients);
            };
            let number = clients.len();
            clients.push(opened?.with_context(|| format!("open socket {number}"))?);
        }
    }
}

/// Sees that every log line was sent: who leaves some out does less than the others.
pub(crate) async fn logged(scene: &Scene<'_>) -> Result<()> {
    let lost = list_changes::known_metric(scene, "tidegate_log_lines_lost_total").await?;
    let lost = lost.context("nothing says how many log lines were lost")?;
    match lost > 0.0 {
        true => Err(Void(format!("{lost} log lines were lost")).into()),
        false => Ok(()),
    }
}

/// Does the work once.
pub(crate) async fn run(work: Work, scene: &Scene<'_>) -> Result<Figures> {
    match work {
        Work::Relay(length, sockets, rate) => relay::run(scene, length, sockets, rate).await,
        Work::FanOut(length, sockets) => fan_out::run(scene, length, sockets).await,
        Work::Connect { .. } => connect::run(scene).await,
        Work::Http(connections, rate) => http::run(scene, connections, rate).await,
        Work::Idle(sockets) => idle::run(scene, sockets).await,
        Work::Greedy(sockets, rate) => greedy::run(scene, sockets, rate).await,
        Work::ListChanges(sockets, rate) => list_changes::run(scene, sockets, rate).await,
        Work::Spread(sockets, rate) => spread::run(scene, sockets, rate).await,
    }
}
