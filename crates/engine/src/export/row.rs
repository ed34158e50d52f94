//! A line of the statistics: a frontend, one of its listeners, a server or a backend, and what every
//! form asks of it.

use config::model::Mode;

use super::columns::{Cell, number};
use crate::command::Admin;
use crate::snapshot::{BackendStats, FrontendStats, ListenerStats, ServerStats, Traffic};

/// One line of the statistics, in HAProxy's order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row<'a> {
    Frontend(&'a FrontendStats),
    Listener(&'a FrontendStats, &'a ListenerStats),
    Server(&'a BackendStats, &'a ServerStats),
    Backend(&'a BackendStats),
}

impl<'a> Row<'a> {
    /// Whether a column of these kinds has a value here; small letters need legends.
    pub(super) fn fills(&self, kinds: &str, legends: bool) -> bool {
        let (plain, legend) = match self {
            Self::Frontend(_) => ('F', 'f'),
            Self::Listener(..) => ('L', 'l'),
            Self::Server(..) => ('S', 's'),
            Self::Backend(_) => ('B', 'b'),
        };
        kinds.contains(plain) || legends && kinds.contains(legend)
    }

    pub(super) fn kind_number(&self) -> u64 {
        match self {
            Self::Frontend(_) => 0,
            Self::Backend(_) => 1,
            Self::Server(..) => 2,
            Self::Listener(..) => 3,
        }
    }

    /// Number of a server in its backend, or of a listener in its frontend.
    pub(super) fn service_id(&self) -> u64 {
        match self {
            Self::Server(_, it) => it.id.into(),
            Self::Listener(_, it) => it.id.into(),
            Self::Frontend(_) | Self::Backend(_) => 0,
        }
    }

    /// What the type is called in JSON.
    pub(super) fn kind_name(&self) -> &'static str {
        match self {
            Self::Frontend(_) => "Frontend",
            Self::Backend(_) => "Backend",
            Self::Server(..) => "Server",
            Self::Listener(..) => "Listener",
        }
    }

    /// Connections of HTTP/1 open now.
    pub(super) fn open_connections(&self) -> u64 {
        match self {
            Self::Backend(it) => {
                let servers = it.servers.iter();
                servers
                    .map(|it| it.idle_connections + it.traffic.sessions)
                    .sum()
            }
            row => row.traffic().sessions,
        }
    }

    /// A counter of HTTP/1: there is nothing of it in TCP.
    pub(super) fn of_h1(&self, value: fn(&Self) -> u64) -> Cell<'a> {
        match self.mode() {
            Mode::Http => number(value(self)),
            Mode::Tcp => number(0),
        }
    }

    pub(super) fn traffic(&self) -> &'a Traffic {
        match self {
            Self::Frontend(it) => &it.traffic,
            Self::Listener(_, it) => &it.traffic,
            Self::Server(_, it) => &it.traffic,
            Self::Backend(it) => &it.traffic,
        }
    }

    pub(super) fn proxy_name(&self) -> &'a str {
        match self {
            Self::Frontend(it) | Self::Listener(it, _) => &it.name,
            Self::Server(it, _) | Self::Backend(it) => &it.name,
        }
    }

    pub(super) fn service_name(&self) -> &'a str {
        match self {
            Self::Frontend(_) => "FRONTEND",
            Self::Listener(_, it) => &it.name,
            Self::Server(_, it) => &it.name,
            Self::Backend(_) => "BACKEND",
        }
    }

    pub(super) fn proxy_id(&self) -> u64 {
        match self {
            Self::Frontend(it) | Self::Listener(it, _) => it.id.into(),
            Self::Server(it, _) | Self::Backend(it) => it.id.into(),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Frontend(it) | Self::Listener(it, _) => it.mode,
            Self::Server(it, _) | Self::Backend(it) => it.mode,
        }
    }

    pub(super) fn status(&self) -> &'a str {
        match self {
            Self::Frontend(it) => frontend_status(it),
            Self::Listener(_, it) => listener_status(it),
            Self::Server(_, it) => &it.status,
            Self::Backend(it) => backend_status(it),
        }
    }

    pub(super) fn sessions_limit(&self) -> Option<u64> {
        match self {
            Self::Frontend(it) => Some(it.sessions_limit),
            Self::Listener(_, it) => Some(it.sessions_limit),
            Self::Server(_, it) => it.sessions_limit,
            Self::Backend(it) => Some(it.sessions_limit),
        }
    }

    pub(super) fn if_http(&self, value: u64) -> Cell<'a> {
        match self.mode() {
            Mode::Http => number(value),
            Mode::Tcp => Cell::Empty,
        }
    }

    pub(super) fn of_server(&self, cell: fn(&'a ServerStats) -> Cell<'a>) -> Cell<'a> {
        match self {
            Self::Server(_, it) => cell(it),
            _ => Cell::Empty,
        }
    }

    pub(super) fn of_checked(&self, cell: fn(&'a ServerStats) -> Cell<'a>) -> Cell<'a> {
        match self {
            Self::Server(_, it) if it.checked => cell(it),
            _ => Cell::Empty,
        }
    }

    /// In maintenance there are no checks to tell of.
    pub(super) fn of_running_checks(&self, cell: fn(&'a ServerStats) -> Cell<'a>) -> Cell<'a> {
        match self {
            Self::Server(_, it) if it.checked && it.admin != Admin::Maint => cell(it),
            _ => Cell::Empty,
        }
    }

    /// For columns that only backends and servers fill: frontends never get here.
    pub(super) fn of_backend_or_server<T: Default>(
        &self,
        backend: fn(&'a BackendStats) -> T,
        server: fn(&'a ServerStats) -> T,
    ) -> T {
        match self {
            Self::Backend(it) => backend(it),
            Self::Server(_, it) => server(it),
            Self::Frontend(_) | Self::Listener(..) => T::default(),
        }
    }
}

/// HAProxy's status of a frontend.
pub(super) fn frontend_status(frontend: &FrontendStats) -> &'static str {
    if !frontend.open {
        "STOP"
    } else if frontend.traffic.sessions >= frontend.sessions_limit {
        "FULL"
    } else {
        "OPEN"
    }
}

/// The same of a listener; 0 is no limit of its own.
pub(super) fn listener_status(listener: &ListenerStats) -> &'static str {
    let limit = listener.sessions_limit;
    if !listener.open {
        "STOP"
    } else if limit > 0 && listener.traffic.sessions >= limit {
        "FULL"
    } else {
        "OPEN"
    }
}

fn backend_status(backend: &BackendStats) -> &'static str {
    if backend.up { "UP" } else { "DOWN" }
}
