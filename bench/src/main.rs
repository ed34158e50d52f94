//! What tidegate costs beside its peers: processor time per message, connection and request, memory
//! per idle socket. Every proxy does the same job with the same things on; rounds are interleaved,
//! the order in each is drawn, and what is compared is the ratio to HAProxy in the same round.
//!
//! A run whose counts do not match is no result: it ends the bench with what went wrong.

mod client;
mod copy_loop;
mod frames;
mod node;
mod peers;
mod process;
mod report;
mod workload;

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;
use rustls::pki_types::CertificateDer;
use tokio::task::LocalSet;

use client::{Target, Tls};
use node::Node;
use peers::{Job, Peer, Setup};
use report::{Line, Rounds};
use workload::{Outcome, Plan, Scene, WORKLOADS, Work, Workload};

const HELP: &str = "\
Usage: bench [--short] [--only NAME,…] [--peers NAME,…] [--rounds N] [--seconds S]
             [--calls] [--tidegate PROGRAM] [--out FOLDER] [--list]

  --short     one short round: whether it works, not what it costs
  --only      workloads whose name begins so; --list says which there are
  --peers     haproxy, nginx, tidegate, copy-loop; ratios need haproxy
  --rounds    how often each is measured (default 3)
  --seconds   how long each measurement lasts (default 4)
  --calls     count system calls per unit with strace, in place of time
  --tidegate  the program (default: target/release/tidegate)
  --out       where table, JSON and plot go (default: nowhere, the table is printed)
";

struct Options {
    only: Vec<String>,
    peers: Vec<Peer>,
    rounds: usize,
    plan: Plan,
    tidegate: PathBuf,
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, listen, target] = arguments.as_slice()
        && command == "copy-loop"
    {
        return copy_loop::run(listen.parse()?, target.parse()?);
    }
    let Some(options) = parse()? else {
        return Ok(());
    };
    raise_descriptor_limit()?;
    process::pin_generator()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, measure(&options))
}

/// `None`: what was asked for has been printed.
fn parse() -> Result<Option<Options>> {
    let mut options = Options {
        only: Vec::new(),
        peers: Peer::ALL.to_vec(),
        rounds: 3,
        plan: plan(4.0),
        tidegate: "target/release/tidegate".into(),
        out: None,
    };
    let mut calls = false;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("short") => {
                options.rounds = 1;
                options.plan = plan(1.0);
            }
            Long("only") => {
                let names = arguments.value()?.string()?;
                options.only = names.split(',').map(str::to_owned).collect();
            }
            Long("peers") => {
                let names = arguments.value()?.string()?;
                options.peers = names.split(',').map(peer).collect::<Result<_>>()?;
            }
            Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Long("seconds") => options.plan = plan(arguments.value()?.parse()?),
            Long("calls") => calls = true,
            Long("tidegate") => options.tidegate = arguments.value()?.into(),
            Long("out") => options.out = Some(arguments.value()?.into()),
            Long("list") => {
                WORKLOADS
                    .iter()
                    .for_each(|workload| println!("{}", workload.name));
                return Ok(None);
            }
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => bail!("{}\n{HELP}", other.unexpected()),
        }
    }
    options.plan.counts_calls = calls;
    ensure!(options.rounds > 0, "--rounds 0 measures nothing");
    Ok(Some(options))
}

fn plan(seconds: f64) -> Plan {
    Plan {
        warm_up: Duration::from_secs_f64(seconds / 4.0),
        measured: Duration::from_secs_f64(seconds),
        held: Duration::from_secs_f64(seconds * 15.0),
        counts_calls: false,
    }
}

fn peer(name: &str) -> Result<Peer> {
    let found = Peer::ALL.into_iter().find(|peer| peer.name() == name);
    found.with_context(|| format!("no proxy is called '{name}'"))
}

/// 9,000 sockets are as many descriptors here, and twice as many in the proxy, which inherits the
/// limit.
fn raise_descriptor_limit() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    ensure!(
        hard >= 20_000,
        "a process may open {hard} descriptors here, 20000 are needed"
    );
    Ok(())
}

async fn measure(options: &Options) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("tidegate-bench-")
        .tempdir()?;
    // Kept bound and never read.
    let log = UdpSocket::bind("127.0.0.1:0")?;
    let (certificate, authority) = certificate(folder.path())?;
    let tidegate = fs::canonicalize(&options.tidegate);
    let setup = Setup {
        folder: folder.path().to_owned(),
        certificate,
        log: log.local_addr()?,
        tidegate: tidegate.with_context(|| {
            let program = options.tidegate.display();
            format!("{program} is missing; build it: cargo build --release --locked -p cli")
        })?,
    };
    let about = about(&setup.tidegate)?;
    about.iter().for_each(|line| println!("{line}"));
    print!("\n{}", report::HEAD);
    let mut table = report::HEAD.to_owned();
    let mut lines: Vec<Line> = Vec::new();
    for workload in WORKLOADS {
        let wanted = options.only.is_empty()
            || options
                .only
                .iter()
                .any(|name| workload.name.starts_with(name.as_str()));
        if !wanted {
            continue;
        }
        let mut rounds = Rounds::new();
        for _ in 0..options.rounds {
            rounds.push(round(options, &setup, *workload, &authority).await?);
        }
        for line in report::lines(*workload, &rounds) {
            let row = report::row(&line);
            print!("{row}");
            table.push_str(&row);
            lines.push(line);
        }
    }
    if let Some(out) = &options.out {
        fs::create_dir_all(out)?;
        let about_text = about
            .iter()
            .map(|line| format!("- {line}\n"))
            .collect::<String>();
        fs::write(out.join("table.md"), format!("{about_text}\n{table}"))?;
        let json = serde_json::to_string_pretty(&report::json(&lines, &about))?;
        fs::write(out.join("lines.json"), json + "\n")?;
        fs::write(out.join("ratios.svg"), report::plot(&lines))?;
    }
    Ok(())
}

/// Every peer once, in an order that is drawn anew each time.
async fn round(
    options: &Options,
    setup: &Setup,
    workload: Workload,
    authority: &CertificateDer<'static>,
) -> Result<BTreeMap<Peer, Outcome>> {
    let mut order: Vec<Peer> = options.peers.clone();
    order.retain(|peer| workload.suits(*peer));
    fastrand::shuffle(&mut order);
    let mut outcomes = BTreeMap::new();
    for peer in order {
        let outcome = one(options.plan, setup, workload, authority, peer).await;
        let outcome =
            outcome.with_context(|| format!("{} through {}", workload.name, peer.name()))?;
        outcomes.insert(peer, outcome);
    }
    Ok(outcomes)
}

async fn one(
    plan: Plan,
    setup: &Setup,
    workload: Workload,
    authority: &CertificateDer<'static>,
    peer: Peer,
) -> Result<Outcome> {
    let node = Node::start(workload.nodes).await?;
    let job = Job {
        workers: workload.workers,
        tls: workload.tls,
        rules: workload.rules,
        nodes: node.addresses.clone(),
    };
    let (proxy, address) = setup.start(peer, &job)?;
    // Its first checks have to be answered by us.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let resumed = matches!(workload.work, Work::Connect { resumed: true });
    let tls = workload
        .tls
        .then(|| Tls::new(authority, resumed))
        .transpose()?;
    let scene = Scene {
        target: Target { address, tls },
        proxy: &proxy,
        node: &node,
        plan,
        peer,
    };
    workload::run(workload.work, &scene).await
}

/// A certificate for [`client::NAME`] with its key in one file, and the authority that signed it.
fn certificate(folder: &Path) -> Result<(PathBuf, CertificateDer<'static>)> {
    let certified = rcgen::generate_simple_self_signed([client::NAME.to_owned()])?;
    let path = folder.join("cert.pem");
    let pem = certified.cert.pem() + &certified.signing_key.serialize_pem();
    fs::write(&path, pem)?;
    Ok((path, certified.cert.der().clone()))
}

/// When, where and what was measured.
fn about(tidegate: &Path) -> Result<Vec<String>> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name"));
    let model = models.clone().next().unwrap_or(": unknown processor");
    let mut about = vec![
        format!("{}", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC")),
        format!(
            "Linux {}, {} ×{}",
            kernel.trim(),
            model.trim_start_matches(['\t', ' ', ':']),
            models.count()
        ),
    ];
    about.extend(peers::versions(tidegate)?);
    Ok(about)
}
