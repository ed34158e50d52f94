//! What may be asked of a running engine. The embedded driver, the page and (later) the Runtime
//! API socket all use these; nothing else changes an engine from outside.

use std::sync::Arc;
use std::time::Duration;

use config::model::{Runtime, Server, Weight};

/// One change to a running engine.
#[derive(Debug, Clone)]
pub enum Command {
    /// Adds a server to a backend. It takes no traffic before a check has passed (a server without
    /// `check` takes traffic at once). Fails when the name is taken or the backend is unknown.
    AddServer {
        /// Name of the backend.
        backend: Arc<str>,
        /// The whole server; `name` must be unique in the backend.
        server: Box<Server>,
    },
    /// Removes a server that has no session. [`Refused::Busy`] tells how many are left.
    RemoveServer {
        /// Name of the backend.
        backend: Arc<str>,
        /// Name of the server.
        server: Arc<str>,
    },
    /// Sets the administrative state; open sessions are left alone.
    SetAdmin {
        /// Name of the backend.
        backend: Arc<str>,
        /// Name of the server.
        server: Arc<str>,
        /// The state.
        admin: Admin,
    },
    /// Sets the weight.
    SetWeight {
        /// Name of the backend.
        backend: Arc<str>,
        /// Name of the server.
        server: Arc<str>,
        /// The weight.
        weight: Weight,
    },
    /// Sets what checks would say, until they say otherwise. In maintenance nothing changes.
    ForceHealth {
        /// Name of the backend.
        backend: Arc<str>,
        /// Name of the server.
        server: Arc<str>,
        /// What it is to be.
        health: Forced,
    },
    /// Stops or resumes the checks of a server; its state stays as it is.
    SetChecks {
        /// Name of the backend.
        backend: Arc<str>,
        /// Name of the server.
        server: Arc<str>,
        /// Whether it is checked.
        enabled: bool,
    },
    /// Empties a server without cutting anybody off: nobody new comes, and those who are there end one after
    /// the other. [`Admin::Ready`] calls it off.
    Drain {
        /// Name of the backend.
        backend: Arc<str>,
        /// Name of the server.
        server: Arc<str>,
        /// How.
        order: DrainOrder,
    },
    /// Ends all sessions of a server: tunnels, TCP sessions and HTTP exchanges under way. Its idle
    /// connections are closed.
    ShutdownSessions {
        /// Name of the backend.
        backend: Arc<str>,
        /// Name of the server.
        server: Arc<str>,
    },
    /// Stops listening; sessions go on until they end or `within` has passed.
    SoftStop {
        /// How long sessions may last; `None`: for ever.
        within: Option<Duration>,
    },
    /// Closes everything.
    HardStop,
}

/// How a server is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOrder {
    /// Its tunnels are told to end one after the other, evenly over this period; what is left then (HTTP
    /// requests under way) ends with it. `None`: sessions last until they end by themselves.
    pub over: Option<Duration>,
    /// The status that WebSockets are told (RFC 6455 section 7.4).
    pub code: u16,
    /// What becomes of it.
    pub then: Drained,
}

impl DrainOrder {
    /// As the configuration has it where nobody says otherwise; the server stays.
    pub fn of(settings: &Runtime) -> Self {
        Self {
            over: Some(settings.drain_period),
            code: settings.drain_code,
            then: Drained::Stays,
        }
    }
}

/// What becomes of a server that is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// It stays, and takes nothing new.
    Stays,
    /// It goes.
    Removed,
}

/// Administrative state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// Checks decide.
    Ready,
    /// No new sessions; open ones go on.
    Drain,
    /// No new sessions, no checks.
    Maint,
}

/// What an operator says instead of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// Up.
    Up,
    /// Up, but nothing new (`NOLB`).
    Stopping,
    /// Down.
    Down,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No backend of that name.
    NoSuchBackend(Arc<str>),
    /// No server of that name in that backend.
    NoSuchServer(Arc<str>, Arc<str>),
    /// A server of that name is there already.
    NameTaken(Arc<str>, Arc<str>),
    /// It still has that many sessions.
    Busy(u64),
    /// Other parts of the configuration need it.
    Referenced,
    /// The server cannot be built: its TLS files, say.
    Invalid(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchBackend(backend) => write!(f, "no backend is called {backend}"),
            Self::NoSuchServer(backend, server) => {
                write!(f, "backend {backend} has no server called {server}")
            }
            Self::NameTaken(backend, server) => {
                write!(f, "backend {backend} already has a server called {server}")
            }
            Self::Busy(sessions) => write!(f, "the server still has {sessions} sessions"),
            Self::Referenced => f.write_str("other parts of the configuration need the server"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refused {}
