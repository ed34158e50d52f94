//! The process before this one, where it is ours, too: its listening sockets when we begin, its tunnels when we run.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use socket2::SockRef;

use super::OldProcess;
use super::channel::{Channel, Left, Message, Received, VERSION, Welcome};
use super::inheritance::Inherited;
use super::listening::Role;
use super::moving::{Moving, Parcel};
use super::state::TunnelState;
use crate::handle::Handle;
use crate::log::Level;
use crate::session::Known;
use crate::snapshot::ControlStatus;
use crate::tunnels::Adopted;
use crate::worker::Message as ToWorker;

/// How long the old process may take to say something: it tells every second what it still has.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long this process may take to know its nodes and to have checked them. Without any it takes no place then: a
/// discovery service may be down. With some it does: checks may be slow.
const READY_MAX: Duration = Duration::from_secs(10);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How long what it offers may stay undecided between the two.
const DECISION_MAX: Duration = Duration::from_secs(10);

/// How long a process may take from closing its end of the channel, which comes first, to being known as dead.
pub(super) const DYING_MAX: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Listening sockets it may have, at most.
const LISTENERS_MAX: usize = 16 * 1024;

/// Why a process takes nobody's place: it would serve nobody. The one before it goes on.
#[derive(Debug)]
pub struct NoNodes;

impl std::error::Error for NoNodes {}

impl fmt::Display for NoNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "discovery has given the new process no nodes within {READY_MAX:?}, and the old one has some"
        )
    }
}

/// Who is told that the old process takes no more clients, or that it could not be asked.
pub(super) type Went = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The process before this one.
pub(super) struct Predecessor {
    channel: Channel,
    welcome: Welcome,
    /// Tells whether it still runs.
    life: OwnedFd,
}

impl Predecessor {
    /// Hears who it is, and gets its listening sockets.
    pub(super) fn meet(channel: Channel) -> io::Result<(Self, Vec<Inherited>)> {
        let Received::Message(Message::Welcome(welcome), _) = channel.receive(DECISION_MAX)? else {
            return Err(unexpected());
        };
        let pid = i32::try_from(welcome.pid).ok().and_then(Pid::from_raw);
        let life = pidfd_open(pid.ok_or_else(unexpected)?, PidfdFlags::empty())?;
        let mut sockets = Vec::new();
        loop {
            let Received::Message(Message::Listeners { described, last }, descriptors) =
                channel.receive(DECISION_MAX)?
            else {
                return Err(unexpected());
            };
            if described.len() != descriptors.len() || sockets.len() > LISTENERS_MAX {
                return Err(unexpected());
            }
            for (described, socket) in described.into_iter().zip(descriptors) {
                let role = match described.role {
                    1 => Role::First,
                    2 => Role::Other,
                    _ => Role::Alone,
                };
                sockets.push(Inherited::with_role(socket, described.interface, role));
            }
            if last {
                break;
            }
        }
        let it = Self {
            channel,
            welcome,
            life,
        };
        Ok((it, sockets))
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.welcome.pid
    }

    /// Has it leave, on a thread of its own.
    pub(super) fn take_over(self, handle: Handle, went: Went) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("handover".into());
        thread.spawn(move || {
            let mut taking = Taking {
                pid: self.welcome.pid,
                handle,
                went: Some(went),
                adopted: 0,
                refused: 0,
            };
            taking.note(Some(&self), Left::default());
            let ended = taking.run(&self);
            taking.over(&self, ended);
        })?;
        Ok(())
    }

    /// Whether it ends within that time, or has ended.
    fn ends_within(&self, time: Timespec) -> bool {
        let mut asked = [PollFd::new(&self.life, PollFlags::IN)];
        matches!(poll(&mut asked, Some(&time)), Ok(1..))
    }
}

/// Taking over, as far as it has come.
struct Taking {
    pid: u32,
    handle: Handle,
    went: Option<Went>,
    adopted: u64,
    refused: u64,
}

impl Taking {
    /// Until the old process is gone.
    fn run(&mut self, old: &Predecessor) -> io::Result<()> {
        if !self.wait_ready() && old.welcome.has_nodes {
            old.channel.send(Message::Abort, &[])?;
            return Err(io::Error::other(NoNodes));
        }
        let pid = std::process::id();
        old.channel.send(Message::Ready { pid }, &[])?;
        loop {
            match old.channel.receive(SILENCE_MAX)? {
                Received::Message(Message::Batch { number, states }, sockets) => {
                    self.take(old, number, states, sockets)?;
                }
                Received::Message(Message::GoOn, _) => {
                    if let Some(went) = self.went.take() {
                        went(Ok(()));
                    }
                }
                Received::Message(Message::Left(left), _) => self.note(Some(old), left),
                Received::Message(..) => return Err(unexpected()),
                Received::Nothing => return Err(io::ErrorKind::TimedOut.into()),
                Received::End => return Ok(()),
            }
        }
    }

    /// Waits a while until the control loop knows its nodes: their tunnels can come at once then. Whether it does.
    fn wait_ready(&self) -> bool {
        let until = Instant::now() + READY_MAX;
        loop {
            let (is_ready, knows_nodes) = readiness(&self.handle.shared().control());
            if is_ready || Instant::now() >= until {
                return knows_nodes;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// It has ended, or is to be let alone from now on.
    fn over(&mut self, old: &Predecessor, ended: io::Result<()>) {
        // Else it could still give us what nobody here takes any more.
        old.channel.close();
        let (adopted, pid) = (self.adopted, self.pid);
        let (level, line) = match &ended {
            Ok(()) if self.went.is_none() => (
                Level::Notice,
                format!(
                    "The process before this one ({pid}) has ended; {adopted} tunnels are here now."
                ),
            ),
            Ok(()) => (
                Level::Warning,
                format!("The process before this one ({pid}) has kept its place."),
            ),
            Err(error) => (
                Level::Warning,
                format!(
                    "Lost touch with the process before this one ({pid}): {error}. {adopted} tunnels are here now."
                ),
            ),
        };
        self.handle.log(level, &line);
        if let Some(went) = self.went.take() {
            let why = ended
                .err()
                .unwrap_or_else(|| io::Error::other("it has kept its place"));
            // Whose tunnels are here has begun to leave, and does so as soon as it sees that we live.
            went(if adopted > 0 { Ok(()) } else { Err(why) });
        }
        if old.ends_within(DYING_MAX) {
            self.note(None, Left::default());
        }
    }

    fn note(&self, old: Option<&Predecessor>, left: Left) {
        let it = old.map(|old| OldProcess {
            pid: old.welcome.pid,
            release: old.welcome.release.as_str().into(),
            uptime_then: Duration::from_millis(old.welcome.uptime_ms),
            since: Instant::now(),
            connections: left.connections,
            tunnels: left.tunnels,
        });
        self.handle.shared().predecessor.set(it);
    }

    /// Takes a batch, or what of it can be taken: in two steps, so that nobody and both never have a tunnel.
    fn take(
        &mut self,
        old: &Predecessor,
        number: u64,
        states: Vec<Vec<u8>>,
        sockets: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mut sockets = sockets.into_iter();
        let mut tunnels = Vec::new();
        let mut taken = Vec::new();
        for state in states {
            let (Some(client), Some(server)) = (sockets.next(), sockets.next()) else {
                return Err(unexpected());
            };
            let tunnel = self.judge(&state, [client, server]);
            taken.push(tunnel.is_some());
            tunnels.extend(tunnel);
        }
        self.refused += (taken.len() - tunnels.len()) as u64;
        old.channel.send(Message::Verdict { number, taken }, &[])?;
        let mut said = old.channel.receive(DECISION_MAX);
        if matches!(said, Ok(Received::Nothing)) {
            // What it says later cannot be heard by anybody: it keeps them. It may just have said it.
            old.channel.close();
            said = old.channel.receive(Duration::ZERO);
        }
        let is_ours = match said {
            Ok(Received::Message(Message::Commit { number: named }, _)) => named == number,
            Ok(Received::Message(..)) => false,
            // Whoever was killed has given up its sockets, and nobody else has them.
            Ok(Received::Nothing | Received::End) | Err(_) => old.ends_within(DYING_MAX),
        };
        if !is_ours {
            return Err(unexpected());
        }
        self.adopted += tunnels.len() as u64;
        self.spread(tunnels);
        Ok(())
    }

    /// `None`: it cannot go on here, or not yet.
    fn judge(&self, state: &[u8], sockets: [OwnedFd; 2]) -> Option<Adopted> {
        let state = TunnelState::read(state).ok()?;
        // One that has broken meanwhile is seen off by who has its story.
        let connected = |socket: &OwnedFd| {
            let socket = SockRef::from(socket);
            socket.peer_addr().is_ok() && socket.set_nonblocking(true).is_ok()
        };
        sockets.iter().all(connected).then_some(())?;
        Some(Adopted {
            known: Known::find(&state.session, self.handle.shared())?,
            state,
            sockets,
        })
    }

    /// Who of the workers has least gets the next one.
    fn spread(&self, tunnels: Vec<Adopted>) {
        let shared = self.handle.shared();
        let mut loads = shared.spread.all_connections();
        let mut parcels: Vec<Vec<Adopted>> = loads.iter().map(|_| Vec::new()).collect();
        for tunnel in tunnels {
            let least = loads.iter().enumerate().min_by_key(|(_, load)| **load);
            let least = least.map_or(0, |(worker, _)| worker);
            loads[least] += 1;
            parcels[least].push(tunnel);
        }
        let inboxes = shared.inboxes.get().into_iter().flatten();
        for (inbox, parcel) in inboxes.zip(parcels) {
            if !parcel.is_empty() {
                // A worker that has ended takes nothing: then all connections end.
                let _ = inbox.send(ToWorker::Moving(Moving::Adopt(Parcel::new(parcel))));
            }
        }
    }
}

/// Whether the control loop has come as far as it will soon, and whether it knows the nodes of this configuration.
fn readiness(control: &ControlStatus) -> (bool, bool) {
    let has_nodes = has_nodes(control);
    match control.lifecycle {
        "Ready" | "Routing" => (true, true),
        "HealthChecks" | "Reloading" => (false, true),
        // With a list of the state file it goes on with that one.
        "Error" => (has_nodes, has_nodes),
        // Nobody has said anything yet, or it is on its way.
        _ => (false, has_nodes),
    }
}

/// Whether discovery has given any.
pub(super) fn has_nodes(control: &ControlStatus) -> bool {
    let discovery = control.discovery.as_ref();
    discovery.is_some_and(|it| it.nodes > 0)
}

/// Greets the process behind a stats socket.
pub(super) fn greet(stream: &mut std::os::unix::net::UnixStream) -> io::Result<()> {
    Channel::greet(stream)
}

fn unexpected() -> io::Error {
    io::Error::other(format!(
        "the process before this one says what nobody expects (we speak version {VERSION})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::DiscoveryStatus;

    #[test]
    fn an_error_without_nodes_is_nothing_to_take_over_with() {
        let check = |lifecycle, nodes: Option<u64>, expected| {
            let control = ControlStatus {
                lifecycle,
                discovery: nodes.map(|nodes| DiscoveryStatus {
                    nodes,
                    ..DiscoveryStatus::default()
                }),
                ..ControlStatus::default()
            };
            assert_eq!(readiness(&control), expected, "{lifecycle} {nodes:?}");
        };
        check("", None, (false, false));
        check("FetchingNodes", Some(0), (false, false));
        check("FetchingNodes", Some(1), (false, true));
        check("Error", Some(0), (false, false));
        check("Error", Some(1), (true, true));
        check("HealthChecks", None, (false, true));
        check("Ready", None, (true, true));
        check("Routing", Some(1), (true, true));
    }
}
