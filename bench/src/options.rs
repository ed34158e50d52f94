//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

use crate::peers::{Kind, Peer};
use crate::workload::{Plan, WORKLOADS, Workload};

/// What `--help` says.
const HELP: &str = "\
Usage: bench [--short] [--only NAME,…] [--peers NAME,…] [--rounds N] [--seconds S] [--calls]
             [--tidegate PROGRAM] [--haproxy PROGRAM] [--nginx PROGRAM]
             [--also-haproxy NAME=PROGRAM]… [--out FOLDER] [--publish] [--list]

  --short         one short round: whether it works, not what it costs
  --only          workloads whose name begins so; --list says which there are
  --peers         haproxy, nginx, tidegate, copy-loop, and names given by --also-haproxy (default:
                  all); ratios need haproxy
  --rounds        how often each is measured (default 3; 0 with --calls: system calls alone)
  --seconds       how long each measurement lasts (default 2)
  --calls         then once more with strace: system calls per unit
  --tidegate      the program (default: target/release/tidegate)
  --haproxy       the reference of all ratios (default: haproxy)
  --nginx         the program (default: nginx)
  --also-haproxy  another HAProxy, measured beside the reference under that name
  --out           where tables, JSON and plot go (default: nowhere, the tables are printed)
  --publish       everything, with --calls, into bench/results/DATE and docs/performance.md
";

/// Seconds of a measurement, unless told otherwise: everything in three rounds takes less than
/// half an hour so.
const SECONDS: f64 = 2.0;

/// How long idle sockets are held: six scrapes of a monitor.
const HELD: Duration = Duration::from_secs(30);

/// How long it may take until memory is back.
const BACK_MAX: Duration = Duration::from_secs(15);

/// What to do.
pub(crate) struct Options {
    only: Vec<String>,
    /// Who is measured.
    pub(crate) peers: Vec<Peer>,
    /// How often.
    pub(crate) rounds: usize,
    /// How long.
    pub(crate) plan: Plan,
    /// Whether system calls are counted in a round of their own.
    pub(crate) calls: bool,
    /// Where results go.
    pub(crate) out: Option<PathBuf>,
    /// Whether the page of the documentation is written anew.
    pub(crate) publish: bool,
}

impl Options {
    /// Reads the arguments. `None`: what was asked for has been printed.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let mut options = Self {
            only: Vec::new(),
            peers: Vec::new(),
            rounds: 3,
            plan: plan(SECONDS),
            calls: false,
            out: None,
            publish: false,
        };
        let mut programs = Programs::default();
        let mut names: Option<Vec<String>> = None;
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("short") => {
                    options.rounds = 1;
                    options.plan = Plan {
                        held: Duration::from_secs(2),
                        back_max: Duration::from_secs(3),
                        settle: Duration::from_millis(300),
                        ..plan(0.6)
                    };
                }
                Long("only") => options.only = words(&arguments.value()?.string()?),
                Long("peers") => names = Some(words(&arguments.value()?.string()?)),
                Long("rounds") => options.rounds = arguments.value()?.parse()?,
                Long("seconds") => options.plan = plan(arguments.value()?.parse()?),
                Long("calls") => options.calls = true,
                Long("tidegate") => programs.tidegate = Some(arguments.value()?.into()),
                Long("haproxy") => programs.haproxy = Some(arguments.value()?.into()),
                Long("nginx") => programs.nginx = Some(arguments.value()?.into()),
                Long("also-haproxy") => {
                    let value = arguments.value()?.string()?;
                    let (name, program) = value.split_once('=').context("write NAME=PROGRAM")?;
                    programs.others.push((name.to_owned(), program.into()));
                }
                Long("out") => options.out = Some(arguments.value()?.into()),
                Long("publish") => (options.publish, options.calls) = (true, true),
                Long("list") => {
                    for workload in WORKLOADS {
                        println!("{:24} a unit is a {}", workload.name, workload.unit);
                    }
                    return Ok(None);
                }
                Long("help") | Short('h') => {
                    print!("{HELP}");
                    return Ok(None);
                }
                other => bail!("{}\n{HELP}", other.unexpected()),
            }
        }
        options.peers = programs.peers(names)?;
        ensure!(
            options.rounds > 0 || options.calls,
            "--rounds 0 measures nothing"
        );
        if options.publish {
            ensure!(
                options.only.is_empty() && options.rounds >= 3,
                "what is published is everything, in three rounds or more"
            );
            let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
            let out = PathBuf::from(format!("bench/results/{date}"));
            options.out.get_or_insert(out);
        }
        Ok(Some(options))
    }

    /// Whether a workload is wanted.
    pub(crate) fn wants(&self, workload: &Workload) -> bool {
        let begins = |name: &String| workload.name.starts_with(name.as_str());
        self.only.is_empty() || self.only.iter().any(begins)
    }
}

/// The programs that the command line names.
#[derive(Default)]
struct Programs {
    tidegate: Option<PathBuf>,
    haproxy: Option<PathBuf>,
    nginx: Option<PathBuf>,
    others: Vec<(String, PathBuf)>,
}

impl Programs {
    /// All peers, or those of these names.
    fn peers(self, names: Option<Vec<String>>) -> Result<Vec<Peer>> {
        let or = |given: Option<PathBuf>, usual: &str| given.unwrap_or_else(|| usual.into());
        let own = std::env::current_exe()?;
        let mut peers = vec![Peer::new(
            "haproxy",
            Kind::HaProxy,
            or(self.haproxy, "haproxy"),
        )];
        for (name, program) in self.others {
            peers.push(Peer::new(&name, Kind::HaProxy, program));
        }
        peers.extend([
            Peer::new("nginx", Kind::Nginx, or(self.nginx, "nginx")),
            Peer::new(
                "tidegate",
                Kind::Tidegate,
                or(self.tidegate, "target/release/tidegate"),
            ),
            Peer::new("copy-loop", Kind::CopyLoop, own),
        ]);
        let Some(names) = names else {
            return Ok(peers);
        };
        for name in &names {
            let known = peers.iter().any(|peer| &peer.name == name);
            ensure!(known, "no proxy is called '{name}'");
        }
        peers.retain(|peer| names.contains(&peer.name));
        Ok(peers)
    }
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

fn plan(seconds: f64) -> Plan {
    Plan {
        warm_up: Duration::from_secs_f64(seconds / 4.0),
        measured: Duration::from_secs_f64(seconds),
        held: HELD,
        back_max: BACK_MAX,
        settle: Duration::from_secs(2),
        counts_calls: false,
    }
}
