//! The process after this one, where it is ours, too: it gets our listening sockets when it begins, and our tunnels when
//! it runs. Until it has them this process goes on as if nothing was; what it does not take stays here.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::channel::{Channel, Described, Left, Message, Received, VERSION, Welcome};
use super::listening::{ListeningSocket, Role};
use super::moving::Moving;
use super::passing::DESCRIPTORS_MAX;
use super::predecessor::{DYING_MAX, NoNodes, has_nodes};
use crate::command::Command;
use crate::handle::Handle;
use crate::log::Level;
use crate::slab::Token;
use crate::tunnel::PARTING_TIME_MAX;
use crate::worker::Message as ToWorker;

/// How long the new process may take to be ready: it reads its files, looks names up, asks for its nodes.
const START_MAX: Duration = Duration::from_secs(300);

/// How long it may look at what it is offered.
const VERDICT_MAX: Duration = Duration::from_secs(10);

/// How long a worker may take to offer something: it does so between two other things.
const OFFER_MAX: Duration = Duration::from_secs(10);

/// How often the new process is told what is still here.
const TELL: Duration = Duration::from_secs(1);

/// Time between two attempts to hand over what was not taken, at most; the first ones come sooner. The nodes of a
/// tunnel may not be known there yet.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// How long tunnels have to move, or to end by themselves, before those that cannot are closed one after the other.
const PARTING_AFTER: Duration = Duration::from_secs(5);

/// What is done when the new process serves clients: whoever looks after us learns its process id.
pub type Leaving = Box<dyn FnOnce(u32) + Send>;

/// Gives the process at the other end of `stream` our listening sockets, those in `own` included, and our place once it
/// says that it is ready. Returns when it has gone, or at once when another one is being served. Blocks.
pub(super) fn serve(
    handle: &Handle,
    stream: UnixStream,
    own: Vec<ListeningSocket>,
    leaving: Leaving,
) -> io::Result<()> {
    let channel = Channel::answer(stream)?;
    let welcome = Welcome {
        version: VERSION,
        pid: std::process::id(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: handle.shared().clock.millis(),
        has_nodes: has_nodes(&handle.shared().control()),
    };
    channel.send(Message::Welcome(welcome), &[])?;
    let mut sockets = handle.shared().listening.whole();
    sockets.extend(own);
    give(&channel, &sockets)?;
    drop(sockets);
    let pid = match channel.receive(START_MAX)? {
        Received::Message(Message::Ready { pid }, _) => pid,
        // It has only looked, or could not begin.
        Received::End => return Ok(()),
        Received::Message(Message::Abort, _) => return Err(io::Error::other(NoNodes)),
        Received::Nothing => return Err(io::ErrorKind::TimedOut.into()),
        Received::Message(..) => return Err(unexpected()),
    };
    let mut giving = Giving {
        handle,
        channel: &channel,
        batches: 0,
        moved: 0,
    };
    let given = giving.round();
    let moved = giving.moved;
    if let Err(error) = &given
        && (moved == 0 || ends_soon(pid))
    {
        return Err(match moved {
            0 => given.err().unwrap_or_else(unexpected),
            moved => io::Error::other(format!(
                "{moved} tunnels had moved to it and have ended with it: {error}"
            )),
        });
    }
    let line = match &given {
        Ok(()) => format!(
            "Another process ({pid}) takes over, {moved} tunnels with it; what is left here goes on."
        ),
        // It lives, and tunnels are its own: there is no way back.
        Err(error) => format!(
            "Another process ({pid}) takes over, {moved} tunnels with it; no more could be given: {error}. What is left here goes on."
        ),
    };
    handle.log(Level::Notice, &line);
    leaving(pid);
    let site = handle.shared().site.load();
    let within = site.config.global.hard_stop_after;
    drop(site);
    if let Err(refused) = handle.apply(Command::SoftStop { within }) {
        handle.log(Level::Alert, &format!("Cannot stop: {refused}"));
    }
    given?;
    channel.send(Message::GoOn, &[])?;
    giving.rest()
}

/// Whether that process ends within [`DYING_MAX`], or has ended.
fn ends_soon(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(Ok(life)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return true;
    };
    let mut asked = [PollFd::new(&life, PollFlags::IN)];
    matches!(poll(&mut asked, Some(&DYING_MAX)), Ok(1..))
}

fn give(channel: &Channel, sockets: &[ListeningSocket]) -> io::Result<()> {
    let mut batches = sockets.chunks(DESCRIPTORS_MAX).peekable();
    if batches.peek().is_none() {
        let (described, last) = (Vec::new(), true);
        return channel.send(Message::Listeners { described, last }, &[]);
    }
    while let Some(batch) = batches.next() {
        let described = batch.iter().map(|socket| Described {
            interface: socket.interface().unwrap_or_default().into(),
            role: match socket.role() {
                Role::First => 1,
                Role::Other => 2,
                Role::Alone | Role::Copy => 0,
            },
        });
        let message = Message::Listeners {
            described: described.collect(),
            last: batches.peek().is_none(),
        };
        let descriptors: Vec<BorrowedFd<'_>> = batch.iter().map(|it| it.as_fd()).collect();
        channel.send(message, &descriptors)?;
    }
    Ok(())
}

/// Giving tunnels away.
struct Giving<'a> {
    handle: &'a Handle,
    channel: &'a Channel,
    batches: u64,
    moved: u64,
}

impl Giving<'_> {
    /// Offers everything once.
    fn round(&mut self) -> io::Result<()> {
        for worker in 0..self.handle.shared().workers {
            let mut from = Some(0);
            while let Some(place) = from {
                from = self.batch(worker, place)?;
            }
        }
        Ok(())
    }

    /// Offers a batch of a worker's tunnels; says where to go on.
    fn batch(&mut self, worker: usize, from: u32) -> io::Result<Option<u32>> {
        let (reply, offers) = mpsc::channel();
        self.tell(worker, Moving::Offer { from, reply });
        // A worker that is no more has none.
        let Ok((offered, next)) = offers.recv_timeout(OFFER_MAX) else {
            return Ok(None);
        };
        if offered.is_empty() {
            return Ok(next);
        }
        let mut tokens = Vec::new();
        let mut states = Vec::new();
        let mut sockets: Vec<OwnedFd> = Vec::new();
        for it in offered {
            tokens.push(it.token);
            states.push(it.state);
            sockets.extend(it.sockets);
        }
        let decided = self.decide(states, &sockets);
        let taken = match &decided {
            Ok(taken) if taken.len() == tokens.len() => taken.as_slice(),
            _ => &[],
        };
        let is_taken = |at: usize| taken.get(at).copied().unwrap_or(false);
        let of = |wanted: bool| -> Vec<Token> {
            let tokens = tokens.iter().enumerate();
            let meant = tokens.filter(|(at, _)| is_taken(*at) == wanted);
            meant.map(|(_, token)| *token).collect()
        };
        let (gone, stay) = (of(true), of(false));
        self.moved += gone.len() as u64;
        let (gone, stay) = (gone.into(), stay.into());
        self.tell(worker, Moving::Settle { gone, stay });
        decided.map(|_| next)
    }

    /// What the new process takes: what this returns is its own from then on. An error: it takes nothing.
    fn decide(&mut self, states: Vec<Vec<u8>>, sockets: &[OwnedFd]) -> io::Result<Vec<bool>> {
        self.batches += 1;
        let (number, count) = (self.batches, states.len());
        let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|it| it.as_fd()).collect();
        self.channel
            .send(Message::Batch { number, states }, &descriptors)?;
        let taken = match self.channel.receive(VERDICT_MAX)? {
            Received::Message(
                Message::Verdict {
                    number: named,
                    taken,
                },
                _,
            ) if named == number && taken.len() == count => taken,
            Received::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            Received::Message(..) | Received::Nothing => {
                // Not told, it would wait for what we decide; should we be killed then, it would take them.
                let _ = self.channel.send(Message::Abort, &[]);
                return Err(unexpected());
            }
        };
        // Once this is said nothing is ours any more; and where it cannot be said, nobody has heard it.
        self.channel.send(Message::Commit { number }, &[])?;
        Ok(taken)
    }

    /// What was not taken at first is offered again, and it is told what is still here, until all of it has ended.
    fn rest(&mut self) -> io::Result<()> {
        let (mut pause, mut last) = (TELL, Instant::now());
        let site = self.handle.shared().site.load();
        // What has not come to its end then is cut.
        let mut parts_over = site.config.global.hard_stop_after;
        drop(site);
        let began = Instant::now();
        loop {
            let shared = self.handle.shared();
            let left = Left {
                connections: shared.connections.now(),
                tunnels: shared.tunnels.now(),
                moved: self.moved,
            };
            self.channel.send(Message::Left(left), &[])?;
            match self.channel.receive(TELL)? {
                Received::Nothing => {}
                Received::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                Received::Message(..) => return Err(unexpected()),
            }
            if began.elapsed() >= PARTING_AFTER
                && let Some(all) = parts_over.take()
            {
                let over = all.saturating_sub(PARTING_AFTER + PARTING_TIME_MAX);
                for worker in 0..self.handle.shared().workers {
                    self.tell(worker, Moving::Part(over));
                }
            }
            if left.tunnels > 0 && last.elapsed() >= pause {
                self.round()?;
                (pause, last) = ((pause * 2).min(AGAIN_MAX), Instant::now());
            }
        }
    }

    fn tell(&self, worker: usize, moving: Moving) {
        let inboxes = self.handle.shared().inboxes.get();
        if let Some(inbox) = inboxes.and_then(|inboxes| inboxes.get(worker)) {
            let _ = inbox.send(ToWorker::Moving(moving));
        }
    }
}

impl Handle {
    /// Gives another process that is like this one our place: see the module. One at a time. Blocks until that
    /// process or this one has ended.
    pub fn hand_over(
        &self,
        stream: UnixStream,
        own: Vec<ListeningSocket>,
        leaving: Leaving,
    ) -> io::Result<()> {
        let busy = &self.shared().handing_over;
        if busy.swap(true, Relaxed) {
            return Err(io::Error::other("another process is taking over already"));
        }
        let served = serve(self, stream, own, leaving);
        busy.store(false, Relaxed);
        if let Err(error) = &served {
            let line = format!(
                "Lost touch with the process that was to take over: {error}. What it did not take goes on here."
            );
            self.log(Level::Warning, &line);
        }
        served
    }
}

fn unexpected() -> io::Error {
    io::Error::other(format!(
        "the new process says what nobody expects (we speak version {VERSION})"
    ))
}
