//! What decisions may ask of the running process, answered from the site in force (manual 7.3.2).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::expr::{BackendFigure, FrontendFigure, ProcessFigure, ServerFigure, SessionFigure};
use routing::health::Admin;
use routing::process::{Asked, Process};
use routing::sample::Value;

use crate::counters::Count;
use crate::server::ServerState;
use crate::shared::Shared;
use crate::site::{BackendState, FrontendState, Site};
use crate::worker::Worker;

/// Who asks: a worker for a connection that came in by a frontend.
pub(crate) struct Asker<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) frontend: &'a FrontendState,
    /// The backend in use, once there is one.
    pub(crate) backend: Option<&'a Arc<BackendState>>,
}

impl Process for Asker<'_> {
    fn tell(&self, asked: Asked<'_>) -> Option<Value<'static>> {
        let site = self.worker.shared.site.load();
        let now = self.worker.shared.clock.millis();
        match asked {
            Asked::Backend(figure, name) => {
                of_backend(figure, self.backend(&site, name)?, now).map(Value::Int)
            }
            Asked::Frontend(figure, None) => of_frontend(figure, self.frontend, now),
            Asked::Frontend(figure, Some(name)) => {
                let mut frontends = site.frontends.iter();
                of_frontend(figure, frontends.find(|it| **it.name() == *name)?, now)
            }
            Asked::Server(figure, backend, name) => {
                let backend = self.backend(&site, backend)?;
                Some(of_server(figure, &*backend.server(name).ok()?, now))
            }
            Asked::Process(figure) => Some(self.of_process(figure)),
            // There is none yet.
            Asked::Session(_) => None,
        }
    }
}

/// Who asks for a backend beside the data path: a check of one of its servers.
pub(crate) struct BackendAsker<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) backend: &'a Arc<BackendState>,
    pub(crate) server: &'a ServerState,
}

impl Process for BackendAsker<'_> {
    fn tell(&self, asked: Asked<'_>) -> Option<Value<'static>> {
        let site = self.shared.site.load();
        let named = |name: Option<&str>| match name {
            Some(name) => site.backends.iter().find(|it| **it.name() == *name),
            None => Some(self.backend),
        };
        let now = self.shared.clock.millis();
        match asked {
            Asked::Backend(figure, name) => of_backend(figure, named(name)?, now).map(Value::Int),
            Asked::Server(figure, backend, name) => {
                Some(of_server(figure, &*named(backend)?.server(name).ok()?, now))
            }
            Asked::Session(SessionFigure::ServerName) => {
                Some(Value::made(self.server.conf.name.as_bytes().to_vec()))
            }
            Asked::Session(SessionFigure::ServerId) => Some(Value::Int(self.server.id.into())),
            // Nobody came in by a frontend.
            Asked::Frontend(..) | Asked::Process(_) | Asked::Session(_) => None,
        }
    }
}

impl<'a> Asker<'a> {
    fn backend<'b>(&self, site: &'b Site, name: Option<&str>) -> Option<&'b Arc<BackendState>>
    where
        'a: 'b,
    {
        match name {
            Some(name) => site.backends.iter().find(|it| **it.name() == *name),
            None => self.backend,
        }
    }

    fn of_process(&self, figure: ProcessFigure) -> Value<'static> {
        let shared = &self.worker.shared;
        match figure {
            ProcessFigure::Connections => Value::Int(number(shared.connections.now())),
            ProcessFigure::Hostname => Value::made(shared.hostname.as_bytes().to_vec()),
            ProcessFigure::Pid => Value::Int(std::process::id().into()),
            ProcessFigure::Stopping => Value::Bool(self.worker.is_stopping()),
            ProcessFigure::Thread => Value::Int(self.worker.index as i64),
            ProcessFigure::Uptime => Value::Int(number(shared.clock.since_start().as_secs())),
        }
    }
}

fn number(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

fn of_frontend(
    figure: FrontendFigure,
    frontend: &FrontendState,
    now: u64,
) -> Option<Value<'static>> {
    Some(Value::Int(number(match figure {
        FrontendFigure::Sessions => frontend.sessions.now(),
        FrontendFigure::RequestRate => frontend
            .request_rate
            .sliding(frontend.counters.sum(Count::Requests), now),
        FrontendFigure::SessionRate => frontend
            .session_rate
            .sliding(frontend.counters.sum(Count::Sessions), now),
        FrontendFigure::Id => frontend.id.into(),
    })))
}

fn of_backend(figure: BackendFigure, backend: &BackendState, now: u64) -> Option<i64> {
    Some(match figure {
        BackendFigure::UsableServers => number(backend.usable_count()),
        BackendFigure::Sessions => number(backend.sessions.now()),
        BackendFigure::SessionRate => number(
            backend
                .session_rate
                .sliding(backend.counters.sum(Count::Sessions), now),
        ),
        BackendFigure::Queued => number(queued(backend)),
        BackendFigure::QueuedByServer => match backend.usable_count() {
            // One will be back soon; others may be better off meanwhile.
            0 => number(2 * queued(backend)),
            servers => number(queued(backend).div_ceil(servers)),
        },
        BackendFigure::Slots => places(backend, true).unwrap_or(-1),
        BackendFigure::FreePlaces => places(backend, false).unwrap_or(-1),
        BackendFigure::Id => backend.id.into(),
    })
}

/// Requests that wait for the backend or one of its servers.
fn queued(backend: &BackendState) -> u64 {
    let pool = backend.pool();
    let of_servers: u64 = pool.servers().map(|server| server.queued.now()).sum();
    backend.queued.now() + of_servers
}

/// Places left on the servers that are up, with those in their queues where they are wanted; `None`:
/// one of them has no limit. Backup servers count for `connslots`, and for `be_conn_free` while there
/// is no other.
fn places(backend: &BackendState, with_queues: bool) -> Option<i64> {
    let servers = backend.servers();
    let count = |backups: bool| {
        let wanted = |server: &&Arc<ServerState>| {
            is_up(server) && (with_queues || server.conf.backup == backups)
        };
        let mut all = 0i64;
        for server in servers.iter().filter(wanted) {
            let maxconn = server.maxconn()?;
            all += i64::from(maxconn) - number(server.sessions.now());
            if with_queues {
                let maxqueue = server.conf.maxqueue?;
                all += i64::from(maxqueue) - number(server.queued.now());
            }
        }
        Some(all.max(0))
    };
    let active = servers
        .iter()
        .any(|server| is_up(server) && !server.conf.backup);
    count(!active)
}

fn is_up(server: &ServerState) -> bool {
    let health = server.health();
    health.is_up() && health.admin() != Admin::Maint
}

fn of_server(figure: ServerFigure, server: &ServerState, now: u64) -> Value<'static> {
    Value::Int(match figure {
        ServerFigure::IsUp => return Value::Bool(is_up(server)),
        ServerFigure::Sessions => number(server.sessions.now()),
        ServerFigure::FreePlaces => match server.maxconn() {
            Some(limit) => (i64::from(limit) - number(server.sessions.now())).max(0),
            None => -1,
        },
        ServerFigure::Queued => number(server.queued.now()),
        ServerFigure::SessionRate => number(
            server
                .session_rate
                .sliding(server.counters.sum(Count::Sessions), now),
        ),
        ServerFigure::Weight => number(server.weight_at(server.warmth.ramp())),
        ServerFigure::WeightSet => number(server.weight.load(Relaxed)),
        ServerFigure::WeightConfigured => server.conf.weight.value().into(),
    })
}
