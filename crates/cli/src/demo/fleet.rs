//! The nodes of the demo: processes that are started, watched, restarted and reaped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::node::parse_listening;

/// How long a dead node stays dead: long enough to see the balancer react.
pub(super) const RESTART_AFTER: Duration = Duration::from_secs(5);

/// One node.
pub(super) struct Member {
    /// Its id, `node1` on.
    pub(super) id: String,
    /// Its address; the same after a restart.
    pub(super) address: SocketAddr,
    state: State,
}

enum State {
    Running(Child),
    Dead { since: Instant },
}

impl Member {
    /// Its process id while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Running(child) => Some(child.id()),
            State::Dead { .. } => None,
        }
    }
}

/// Something that happened to a node.
pub(super) enum Happened {
    /// It ended.
    Died {
        id: String,
        pid: u32,
        status: ExitStatus,
    },
    /// It runs again.
    Restarted { id: String, pid: u32 },
    /// It could not be started again; it is tried later.
    NotRestarted { id: String, why: String },
}

/// All nodes. Dropping it ends and reaps them.
pub(super) struct Fleet {
    members: Vec<Member>,
    registry: SocketAddr,
    key: String,
}

impl Fleet {
    /// Starts `count` nodes and waits until each has told its address.
    pub(super) fn start(count: usize, registry: SocketAddr, key: &str) -> Result<Self> {
        let mut fleet = Self {
            members: Vec::with_capacity(count),
            registry,
            key: key.to_owned(),
        };
        for number in 1..=count {
            let id = format!("node{number}");
            let (child, address) = fleet.spawn(&id, 0)?;
            fleet.members.push(Member {
                id,
                address,
                state: State::Running(child),
            });
        }
        Ok(fleet)
    }

    /// The nodes, dead or alive.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Looks what happened since the last look, and restarts nodes that were dead long enough.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Happened> {
        let mut happened = Vec::new();
        for index in 0..self.members.len() {
            happened.extend(self.look_at(index, now));
        }
        happened
    }

    fn look_at(&mut self, index: usize, now: Instant) -> Option<Happened> {
        let member = &mut self.members[index];
        let id = member.id.clone();
        match &mut member.state {
            State::Running(child) => {
                let status = child.try_wait().ok().flatten()?;
                let pid = child.id();
                member.state = State::Dead { since: now };
                Some(Happened::Died { id, pid, status })
            }
            State::Dead { since } => {
                if now.duration_since(*since) < RESTART_AFTER {
                    return None;
                }
                *since = now;
                let port = member.address.port();
                Some(self.restart(index, &id, port))
            }
        }
    }

    fn restart(&mut self, index: usize, id: &str, port: u16) -> Happened {
        let id = id.to_owned();
        match self.spawn(&id, port) {
            Ok((child, _)) => {
                let pid = child.id();
                self.members[index].state = State::Running(child);
                Happened::Restarted { id, pid }
            }
            Err(error) => Happened::NotRestarted {
                id,
                why: format!("{error:#}"),
            },
        }
    }

    /// The same program under another name; its address once it listens.
    fn spawn(&self, id: &str, port: u16) -> Result<(Child, SocketAddr)> {
        let program = std::env::current_exe().context("find our own program")?;
        let mut child = Command::new(program)
            .args(["demo-node", "--ends-with-stdin", "--id", id])
            .args(["--port", &port.to_string()])
            .args(["--registry", &format!("http://{}", self.registry)])
            .env("API_KEY", &self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal goes to a whole group; the nodes are the demo's to end.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {id}"))?;
        match listening_address(&mut child) {
            Ok(address) => Ok((child, address)),
            Err(error) => {
                end(&mut child);
                Err(error.context(format!("start {id}")))
            }
        }
    }
}

fn listening_address(child: &mut Child) -> Result<SocketAddr> {
    let stdout = child.stdout.take().context("its output is ours")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match parse_listening(&line) {
        Some(address) => Ok(address),
        None => bail!("it said {line:?} instead of where it listens"),
    }
}

fn end(child: &mut Child) {
    // Both fail only for a process that has ended and been waited for.
    child.kill().ok();
    child.wait().ok();
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let State::Running(child) = &mut member.state {
                end(child);
            }
        }
    }
}
