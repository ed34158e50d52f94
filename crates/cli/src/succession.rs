//! Taking the place of processes that run: `-sf`, `-st`, `-x` (management.txt 3 and 4). They may be HAProxy.
//!
//! We take their listening sockets, or open ours beside theirs; should that not be possible, they are asked to
//! make room for a moment (`SIGTTOU`), and to go on if that was no use (`SIGTTIN`). When we are ready they are
//! told that we are (`SIGUSR1`, `SIGTERM`).

use std::io;
use std::os::unix::net::UnixStream;

use engine::command::Command as EngineCommand;
use engine::{Handle, Inheritance, Level, NoNodes};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::flags::Options;
use crate::upgrade;

/// What turns listeners off that HAProxy's master would ask for.
const NOWHERE: &str = "/dev/null";

/// Processes whose place this one takes; there may be none.
pub(crate) struct Predecessors {
    pids: Vec<Pid>,
    dismissal: Signal,
    inheritance: Inheritance,
    /// Whether the one before this one has started it for that.
    is_upgrade: bool,
}

impl Predecessors {
    /// Those the arguments name, with the listening sockets of the one that `-x` names. The error is a sentence;
    /// the value with it can go on without them.
    pub(crate) fn find(options: &Options) -> (Self, Option<String>) {
        if let Some(parent) = upgrade::parent() {
            return Self::parent(parent);
        }
        let own = Pid::this();
        let pid = |pid: &u32| Pid::from_raw(i32::try_from(*pid).unwrap_or(i32::MAX));
        let pids: Vec<Pid> = options.predecessors.iter().map(pid).collect();
        let pids: Vec<Pid> = pids.into_iter().filter(|pid| *pid != own).collect();
        let inheritance = match pids.is_empty() {
            true => Inheritance::default(),
            false => {
                let asked = pids.clone();
                Inheritance::beside(move || tell(&asked, Signal::SIGTTOU))
            }
        };
        let from = options.listeners_from.as_deref();
        let taken = from.filter(|from| *from != NOWHERE).map(|from| {
            inheritance.fetch(from).map_err(|error| {
                format!("cannot get the listening sockets of the old process from {from}: {error}")
            })
        });
        let it = Self {
            pids,
            dismissal: match options.terminates {
                true => Signal::SIGTERM,
                false => Signal::SIGUSR1,
            },
            inheritance,
            is_upgrade: false,
        };
        (it, taken.and_then(Result::err))
    }

    /// The process that has started this one to take its place; what the arguments name was meant for that one.
    fn parent(socket: io::Result<UnixStream>) -> (Self, Option<String>) {
        // Its addresses are in use until it has gone; it makes no room, as it gives us all it has.
        let inheritance = Inheritance::beside(|| {});
        let met = socket.and_then(|socket| inheritance.fetch_from_parent(socket));
        let it = Self {
            pids: Vec::new(),
            dismissal: Signal::SIGUSR1,
            inheritance,
            is_upgrade: true,
        };
        let problem = |error| format!("cannot take over from the process before this one: {error}");
        (it, met.err().map(problem))
    }

    /// Whether the one before this one has started it to take its place: then it tells by itself when it is ready.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }

    /// The same for a process that was started for it: when the old one takes no more clients, `went` is told. If it
    /// keeps its place, this one ends.
    pub(crate) fn take_place(
        &self,
        handle: &Handle,
        went: impl FnOnce() + Send + 'static,
    ) -> Result<(), String> {
        let own = handle.clone();
        let went = move |gone: io::Result<()>| match gone {
            Ok(()) => went(),
            Err(error) => {
                let line = format!(
                    "Cannot take over from the process before this one: {error}. This one ends."
                );
                own.log(Level::Alert, &line);
                // It cannot be refused.
                let _ = own.apply(EngineCommand::HardStop);
            }
        };
        match self.inheritance.take_over(handle, went) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the process before this one is gone".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What they leave us.
    pub(crate) fn inheritance(&self) -> &Inheritance {
        &self.inheritance
    }

    /// We cannot run: they go on as before.
    pub(crate) fn stay(&self) {
        if self.inheritance.has_asked_for_room() {
            tell(&self.pids, Signal::SIGTTIN);
        }
    }

    /// We run: they leave. Whom that could not be told, and why. One that is like us hands its tunnels over first.
    pub(crate) fn leave(&self, handle: &Handle) -> Vec<String> {
        let mut problems = Vec::new();
        for pid in &self.pids {
            if self.is_handed_over(*pid, handle) {
                continue;
            }
            if let Err(problem) = dismiss(*pid, self.dismissal) {
                problems.push(problem);
            }
        }
        // Another one may give its listeners and not be asked to leave.
        self.inheritance.let_go();
        problems
    }

    fn is_handed_over(&self, pid: Pid, handle: &Handle) -> bool {
        let like_us = self.inheritance.predecessor_pid();
        let is_meant = like_us.and_then(|it| i32::try_from(it).ok()) == Some(pid.as_raw());
        if !is_meant || self.dismissal != Signal::SIGUSR1 {
            return false;
        }
        let own = handle.clone();
        let went = move |went: io::Result<()>| {
            let Err(error) = went else { return };
            if error.get_ref().is_some_and(|it| it.is::<NoNodes>()) {
                let line =
                    format!("Process {pid} keeps its place, and this one ends, since {error}.");
                own.log(Level::Alert, &line);
                // Whom it serves already is not cut. It cannot be refused.
                let _ = own.apply(EngineCommand::SoftStop { within: None });
            } else if let Err(problem) = dismiss(pid, Signal::SIGUSR1) {
                // It is told as any other would be.
                own.log(Level::Warning, &problem);
            }
        };
        self.inheritance.take_over(handle, went).unwrap_or(false)
    }
}

fn dismiss(pid: Pid, signal: Signal) -> Result<(), String> {
    match kill(pid, signal) {
        // It has gone already.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(format!("cannot tell process {pid} to leave: {error}")),
    }
}

fn tell(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // Who is gone, or belongs to somebody else, makes no room: then the address stays in use, which is said.
        let _ = kill(*pid, signal);
    }
}
