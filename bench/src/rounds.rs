//! Which run comes when: related workloads share rounds, so that what is compared was measured
//! within the same minute, and the order within a round is drawn anew each time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustls::pki_types::CertificateDer;

use crate::client::{Target, Tls};
use crate::node::Node;
use crate::options::Options;
use crate::peers::{Job, Kind, Peer, Setup};
use crate::process::Process;
use crate::results::{Figures, Results, Void};
use crate::updates::Updates;
use crate::workload::{self, Plan, Scene, WORKLOADS, Work, Workload};

/// How a proxy comes to rest before it is measured: its first checks, of thousands of servers perhaps,
/// have to be answered by us. It is looked at so often, rests when it uses less than that part of a core,
/// and has that long to.
const LOOK: Duration = Duration::from_millis(250);
const RESTS: f64 = 0.03;
const REST_MAX: Duration = Duration::from_secs(60);

/// A bench about to run.
pub(crate) struct Bench<'a> {
    /// What was asked for.
    pub(crate) options: &'a Options,
    /// Programs and files.
    pub(crate) setup: &'a Setup,
    /// Who signed the certificate.
    pub(crate) authority: &'a CertificateDer<'static>,
}

/// One run that is to be made.
struct Run<'a> {
    workload: &'a Workload,
    peer: &'a Peer,
    round: usize,
    counts_calls: bool,
}

impl Bench<'_> {
    /// Makes all runs; what is measured before one fails stays in `results`.
    pub(crate) async fn run(&self, results: &mut Results) -> Result<()> {
        let runs = self.runs();
        let (began, count) = (Instant::now(), runs.len());
        for (number, run) in runs.iter().enumerate() {
            let (workload, peer) = (run.workload, run.peer);
            let what = if run.counts_calls {
                "counting calls".to_owned()
            } else {
                format!("round {}", run.round + 1)
            };
            eprintln!(
                "[{}/{count}, {} s] {} through {}, {what}",
                number + 1,
                began.elapsed().as_secs(),
                workload.name,
                peer.name
            );
            let plan = self.plan(run);
            let figures = self.one(plan, workload, peer).await;
            match figures {
                Ok(figures) => results.add(workload.name, &peer.name, run.round, figures),
                Err(error) if error.is::<Void>() => {
                    let (name, proxy) = (workload.name, &peer.name);
                    if !run.counts_calls {
                        results.not_kept(name, proxy);
                    }
                    results.void(format!("{name} through {proxy}, {what}: {error}"));
                }
                Err(error) => {
                    let run = format!("{} through {}", workload.name, peer.name);
                    return Err(error.context(run));
                }
            }
        }
        Ok(())
    }

    fn plan(&self, run: &Run<'_>) -> Plan {
        let plan = self.options.plan;
        match run.counts_calls {
            true => Plan {
                measured: plan.measured.min(Duration::from_secs(1)),
                counts_calls: true,
                ..plan
            },
            false => plan,
        }
    }

    fn runs(&self) -> Vec<Run<'_>> {
        let mut runs = Vec::new();
        let wanted: Vec<&Workload> = WORKLOADS
            .iter()
            .filter(|workload| self.options.wants(workload))
            .collect();
        for group in wanted.chunk_by(|one, other| one.group == other.group) {
            for round in 0..self.options.rounds + usize::from(self.options.calls) {
                let counts_calls = round == self.options.rounds;
                let mut order = Vec::new();
                for workload in group {
                    let suited = self.options.peers.iter().filter(|it| workload.suits(it));
                    let wanted = match counts_calls {
                        true => workload.work.has_calls(),
                        false => round < workload.rounds_max,
                    };
                    order.extend(suited.filter(|_| wanted).map(|peer| Run {
                        workload,
                        peer,
                        round,
                        counts_calls,
                    }));
                }
                fastrand::shuffle(&mut order);
                runs.extend(order);
            }
        }
        runs
    }

    async fn one(&self, plan: Plan, workload: &Workload, peer: &Peer) -> Result<Figures> {
        let node = Node::start(workload.nodes).await?;
        let updates = match workload.work {
            Work::ListChanges(..) => Some(Updates::start(&node).await?),
            _ => None,
        };
        let job = Job {
            workers: workload.workers,
            tls: workload.tls,
            rules: workload.rules,
            nodes: &node.addresses,
            updates: updates.as_ref().map(|updates| updates.address),
        };
        let (proxy, address) = self.setup.start(peer, &job)?;
        rest(&proxy).await?;
        let resumed = matches!(workload.work, Work::Connect { resumed: true });
        let tls = workload
            .tls
            .then(|| Tls::new(self.authority, resumed, workload.post_quantum))
            .transpose()?;
        let scene = Scene {
            target: Target { address, tls },
            proxy: &proxy,
            node: &node,
            updates: updates.as_ref(),
            plan,
            kind: peer.kind,
            workers: workload.workers,
        };
        let figures = workload::run(workload.work, &scene).await?;
        if peer.kind == Kind::Tidegate {
            workload::logged(&scene).await?;
        }
        Ok(figures)
    }
}

/// Waits until a proxy that has just started has nothing to do.
async fn rest(proxy: &Process) -> Result<()> {
    let began = Instant::now();
    tokio::time::sleep(LOOK).await;
    loop {
        let (before, looked) = (proxy.usage()?, Instant::now());
        tokio::time::sleep(LOOK).await;
        let spent = proxy.usage()?.since(&before)?.cpu_ns;
        let part = spent as f64 / 1e9 / looked.elapsed().as_secs_f64();
        if part < RESTS {
            return Ok(());
        }
        ensure!(
            began.elapsed() < REST_MAX,
            "{:.0} % of a core {REST_MAX:?} after the start, with nothing to do",
            part * 100.0
        );
    }
}
