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
mod drains;
mod frontends;
pub mod index;
mod info;
mod journal;
mod journal_commands;
mod limits;
pub mod line;
mod lists;
mod live_sessions;
mod master;
mod process;
mod server_checks;
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
use std::rc::Rc;
use std::sync::Arc;

use config::Surroundings;
use config::model::{Config, RuntimeApi as Settings};
use engine::Handle;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Semaphore;

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
    ) -> Result<Self, Vec<String>> {
        let (sockets, problems) = sockets::open(&config.global.runtime_api);
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
        })
    }

    /// What `show startup-logs` tells.
    pub fn set_startup_logs(&mut self, text: String) {
        self.startup = text;
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
        );
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
            let (handle, config, startup, places, reloads) = shared;
            let api = Rc::new(Api {
                handle,
                config,
                surroundings,
                journal,
                tls: RefCell::default(),
                listed: sockets.iter().map(Socket::listed).collect(),
                startup,
                reloads,
                room: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
                waits: Semaphore::new((places / 2).clamp(1, Semaphore::MAX_PERMITS)),
            });
            journal_commands::replay(&api);
            runtime.block_on(sockets::accept_all(sockets, api));
        })?;
        told.recv().unwrap_or(Ok(()))
    }
}
