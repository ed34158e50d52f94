//! The Runtime API: text commands on `stats socket` (management.txt 9.3) and on the master's socket
//! (9.4).
//!
//! It belongs to the control plane: commands look at the engine and change it through its
//! [`Handle`] alone, on a thread of their own, so that neither traffic nor the control loop ever
//! waits for whoever types. `line` is the pure half (bytes to words), `connection` the protocol,
//! `table` every command once, one file a family below it.

mod answer;
mod backends;
mod connection;
mod crt_lists;
mod default_servers;
mod drains;
mod fleet;
mod frontends;
mod handing_over;
pub mod index;
mod info;
mod journal;
mod journal_commands;
mod limits;
pub mod line;
mod lists;
mod live_sessions;
mod master;
mod ocsp;
mod process;
mod server_checks;
mod server_edits;
mod servers;
mod session;
mod session_commands;
mod sockets;
mod stat;
mod table;
mod tables;
mod tls;
mod variables;

use std::cell::RefCell;
use std::rc::{Rc, Weak as RcWeak};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use config::Surroundings;
use config::model::{Config, RuntimeApi as Settings};
use engine::{Handle, Inheritance, ListeningSocket};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Semaphore;

use self::handing_over::Listens;
use self::sockets::Socket;
use crate::reload::Reloads;

/// The Runtime API of one program, its sockets open.
pub struct RuntimeApi {
    config: Arc<Config>,
    surroundings: &'static (dyn Surroundings + Sync),
    sockets: Vec<Socket>,
    journal: journal_commands::Journal,
    startup: String,
    reloads: Reloads,
    successor: Successor,
    answering: Arc<()>,
}

/// Answers that must be given before the process ends: what came of an upgrade.
pub struct Answering(Weak<()>);

/// How long the process waits for them: they are written already, or about to be.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

impl Answering {
    /// Waits until they are.
    pub fn wait(&self) {
        let until = Instant::now() + ANSWERED_WITHIN;
        // One is the Runtime API's own.
        while self.0.strong_count() > 1 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What came of an upgrade: a sentence for whoever has asked.
pub type Upgraded = Result<String, String>;

/// Starts a process that takes our place, and these sockets with it.
type Start = dyn Fn(Vec<ListeningSocket>) -> Result<Receiver<Upgraded>, String> + Send;

/// How another process takes our place.
pub struct Successor {
    /// Starts one; what comes of that is told later. The error says why it cannot be tried.
    pub start: Box<Start>,
    /// Told the process id of one that takes it: before anybody sees that we leave.
    pub leaving: Arc<dyn Fn(u32) + Send + Sync>,
}

impl Default for Successor {
    fn default() -> Self {
        Self {
            start: Box::new(|_| Err("this program cannot be started again from here".into())),
            leaving: Arc::new(|_| {}),
        }
    }
}

/// What connections share.
struct Api {
    handle: Handle,
    /// As it was at the start: the sockets' own settings.
    config: Arc<Config>,
    /// Where lines that are added find variables and accounts.
    surroundings: &'static (dyn Surroundings + Sync),
    /// What of changes is kept across restarts.
    journal: journal_commands::Journal,
    /// TLS files that are being changed.
    tls: RefCell<tls::Edits>,
    /// Sockets as `show cli sockets` tells them.
    listed: Vec<String>,
    /// The same sockets, for a process that takes over.
    listening: RefCell<Vec<RcWeak<Listens>>>,
    /// How another process takes our place.
    successor: Successor,
    /// Held by whoever must have its answer before the process ends.
    answering: Arc<()>,
    /// What was said while the program started.
    startup: String,
    /// Whom to ask for a reload.
    reloads: Reloads,
    /// Places for connections (`stats maxconn`).
    room: Arc<Semaphore>,
    /// Places for commands that wait: fewer, so that who waits keeps nobody from changing anything.
    waits: Semaphore,
}

impl Api {
    fn settings(&self) -> &Settings {
        &self.config.global.runtime_api
    }
}

impl RuntimeApi {
    /// Opens the sockets: before `chroot` and a change of user, and before any thread starts (an
    /// inherited descriptor is duplicated). Fails with a sentence for each that cannot be opened.
    pub fn open(
        config: &Arc<Config>,
        surroundings: &'static (dyn Surroundings + Sync),
        reloads: &Reloads,
        before: &Inheritance,
    ) -> Result<Self, Vec<String>> {
        let (sockets, problems) = sockets::open(&config.global.runtime_api, before);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            config: config.clone(),
            surroundings,
            sockets,
            journal: journal_commands::Journal::open(config.runtime.journal.as_deref()),
            startup: String::new(),
            reloads: reloads.clone(),
            successor: Successor::default(),
            answering: Arc::default(),
        })
    }

    /// What `show startup-logs` tells.
    pub fn set_startup_logs(&mut self, text: String) {
        self.startup = text;
    }

    /// How another process takes our place.
    pub fn set_successor(&mut self, successor: Successor) {
        self.successor = successor;
    }

    /// What is to be waited for when the process ends.
    pub fn answering(&self) -> Answering {
        Answering(Arc::downgrade(&self.answering))
    }

    /// Carries out what the journal has, and answers from then on, on a thread of its own that ends with the
    /// process. Without a socket and a journal there is none.
    pub fn start(self, handle: Handle) -> std::io::Result<()> {
        if self.sockets.is_empty() && !self.journal.is_on() {
            return Ok(());
        }
        let thread = std::thread::Builder::new().name("runtime-api".into());
        let (sockets, journal) = (self.sockets, self.journal);
        let settings = &self.config.global.runtime_api;
        let places = usize::try_from(settings.maxconn).unwrap_or(usize::MAX);
        let shared = (
            handle,
            self.config.clone(),
            self.startup,
            places,
            self.reloads,
            self.successor,
        );
        let answering = self.answering;
        let surroundings = self.surroundings;
        // Made elsewhere it could not be: it stays on its thread. Whoever starts us is told all the same.
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        thread.spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            // It is waited for.
            let _ = tell.send(Ok(()));
            let (handle, config, startup, places, reloads, successor) = shared;
            let api = Rc::new(Api {
                handle,
                config,
                surroundings,
                journal,
                tls: RefCell::default(),
                listed: sockets.iter().map(Socket::listed).collect(),
                listening: RefCell::default(),
                successor,
                answering,
                startup,
                reloads,
                room: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
                waits: Semaphore::new((places / 2).clamp(1, Semaphore::MAX_PERMITS)),
            });
            journal_commands::replay(&api);
            runtime.block_on(async {
                tokio::task::spawn_local(journal_commands::follow_reloads(api.clone()));
                sockets::accept_all(sockets, api).await;
                // No socket, and a journal.
                std::future::pending::<()>().await;
            });
        })?;
        told.recv().unwrap_or(Ok(()))
    }
}
