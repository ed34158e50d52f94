//! The one door into a running engine.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use config::model::{Config, Server, Weight};
use routing::health::Verdict;
use tokio::sync::broadcast;

use crate::changes::Removed;
use crate::command::{Admin, Command, Forced, Refused};
use crate::drain;
use crate::end::Side;
use crate::glance::{self, BackendGlance};
use crate::log::Level;
use crate::manager::{self, Order};
use crate::news_desk::NewsDesk;
use crate::prepare::client_tls;
use crate::server::{ServerOrigin, admin_of};
use crate::shared::Shared;
use crate::site::BackendState;
use crate::snapshot::{ControlStatus, Event, Snapshot};
use crate::worker::Message;

/// A cheap, cloneable reference to a running engine.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// Commands that belong together: see [`Handle::changing`].
pub struct Changing {
    shared: Arc<Shared>,
    backend: Arc<BackendState>,
}

impl Drop for Changing {
    fn drop(&mut self) {
        let draft = self.backend.pool().balancer.draft();
        // No lock is held meanwhile: sessions go on with what was there before.
        let made = draft.make();
        let mut pool = self.backend.pool();
        pool.balancer.release(made);
        let removed = pool.changes.end();
        drop(pool);
        drop_idle(&self.shared, &self.backend, removed);
    }
}

/// Has workers drop what they keep of servers that were removed.
pub(crate) fn drop_idle(shared: &Shared, backend: &BackendState, removed: Option<Removed>) {
    if let Some(servers) = removed {
        let backend = backend.key;
        shared.tell_workers(&Message::DropIdle { backend, servers });
    }
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn shared_arc(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What the engine looks like now.
    pub fn snapshot(&self) -> Snapshot {
        crate::stats::snapshot(&self.shared)
    }

    /// The few words of each server that decide what to do next.
    pub fn glance(&self) -> Vec<BackendGlance> {
        glance::glance(&self.shared)
    }

    /// Many commands about a backend are coming: what takes long to make anew is made once, when the
    /// value is dropped. `None`: there is no such backend.
    pub fn changing(&self, backend: &str) -> Option<Changing> {
        let backend = self.backend(backend).ok()?;
        let mut pool = backend.pool();
        pool.balancer.hold();
        pool.changes.begin();
        drop(pool);
        let shared = self.shared.clone();
        Some(Changing { shared, backend })
    }

    /// Carries out one command; quick, never waits for a peer.
    pub fn apply(&self, command: Command) -> Result<(), Refused> {
        match command {
            Command::AddServer { backend, server } => self.add_server(&backend, *server),
            Command::RemoveServer { backend, server } => self.remove_server(&backend, &server),
            Command::SetAdmin {
                backend,
                server,
                admin,
            } => self.set_admin(&backend, &server, admin),
            Command::SetWeight {
                backend,
                server,
                weight,
            } => self.set_weight(&backend, &server, weight),
            Command::ForceHealth {
                backend,
                server,
                health,
            } => self.force_health(&backend, &server, health),
            Command::SetChecks {
                backend,
                server,
                enabled,
            } => self.set_checks(&backend, &server, enabled),
            Command::Drain {
                backend,
                server,
                order,
            } => self.begin_drain(&backend, &server, order),
            Command::ShutdownSessions { backend, server } => self.shutdown(&backend, &server),
            Command::SoftStop { within } => {
                self.soft_stop(within);
                Ok(())
            }
            Command::HardStop => {
                self.shared.stopping.store(true, Relaxed);
                self.shared.tell_workers(&Message::HardStop);
                Ok(())
            }
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.site.load().config.clone()
    }

    /// What the page and the metrics show of the control loop from now on.
    pub fn set_control(&self, status: ControlStatus) {
        *self.shared.control() = status;
    }

    /// Who takes news of the fleet from now on.
    pub fn set_news_desk(&self, desk: Arc<dyn NewsDesk>) {
        *self.shared.news_desk() = Some(desk);
    }

    /// Who takes news of the fleet; `None`: nobody.
    pub fn news_desk(&self) -> Option<Arc<dyn NewsDesk>> {
        self.shared.news_desk().clone()
    }

    /// Events from now on. A slow receiver loses the oldest and is told so.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Writes one line to the global log targets and, unless quiet, to stderr.
    pub fn log(&self, level: Level, message: &str) {
        self.shared.say(level, message);
    }

    /// Looks at once whether certificates and the like have changed on disk, without waiting for the
    /// next regular look.
    pub fn reload_certificates(&self) {
        self.shared.reloading.now.notify_one();
    }

    /// By name, or `#` and the numeric id.
    pub(crate) fn backend(&self, name: &str) -> Result<Arc<BackendState>, Refused> {
        let site = self.shared.site.load();
        let id = name.strip_prefix('#').and_then(|id| id.parse().ok());
        let is_meant = |it: &&Arc<BackendState>| match id {
            Some(id) => it.id == id,
            None => **it.name() == *name,
        };
        let found = site.backends.iter().find(is_meant).cloned();
        found.ok_or_else(|| Refused::NoSuchBackend(name.into()))
    }

    fn add_server(&self, backend: &str, server: Server) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let tls = client_tls(backend.conf(), &server, &self.shared.site.load().shelf)
            .map_err(Refused::Invalid)?;
        let writers = Shared::writers(self.shared.workers);
        let now = self.shared.clock.since_start();
        let origin = ServerOrigin {
            dynamic: true,
            writers,
            now,
        };
        let follows = server.track.is_some();
        let state = backend.add(server, tls, origin)?;
        if follows {
            let site = self.shared.site.load();
            site.has_followers.store(true, Relaxed);
        }
        backend.refresh(&state);
        manager::note_capacity(&self.shared, &backend);
        self.mind(Order::Mind(backend, state));
        Ok(())
    }

    fn remove_server(&self, backend: &str, server: &str) -> Result<(), Refused> {
        drain::remove(&self.shared, &self.backend(backend)?, server)
    }

    fn set_admin(&self, backend: &str, server: &str, admin: Admin) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        manager::set_admin(&self.shared, &backend, &server, admin_of(admin));
        Ok(())
    }

    fn force_health(&self, backend: &str, server: &str, health: Forced) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        let now = self.shared.clock.since_start();
        let verdict = match health {
            Forced::Up => Verdict::Passed,
            Forced::Stopping => Verdict::Conditional,
            Forced::Down => Verdict::Failed,
        };
        let change = server.health().force(verdict, now);
        if let Some(change) = change {
            manager::follow(&self.shared, &backend, &server, &change, None);
            server.recheck.notify_one();
        }
        Ok(())
    }

    fn set_checks(&self, backend: &str, server: &str, enabled: bool) -> Result<(), Refused> {
        let server = self.backend(backend)?.server(server)?;
        server.health().set_checks(enabled);
        server.recheck.notify_one();
        Ok(())
    }

    /// Whether a server was configured to be checked.
    pub fn is_checked(&self, backend: &str, server: &str) -> Result<bool, Refused> {
        let server = self.backend(backend)?.server(server)?;
        Ok(server.conf.check.is_some())
    }

    /// The name of the backend that a form means: by name, or `#` and its numeric id.
    pub(crate) fn backend_called(&self, text: &str) -> Option<Arc<str>> {
        self.backend(text).ok().map(|it| it.name().clone())
    }

    fn set_weight(&self, backend: &str, server: &str, weight: Weight) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        manager::set_weight(&self.shared, &backend, &server, u64::from(weight.value()));
        Ok(())
    }

    fn shutdown(&self, backend: &str, server: &str) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        let message = Message::CloseServer {
            backend: backend.key,
            server: server.key,
            by: Side::Killed,
        };
        self.shared.tell_workers(&message);
        Ok(())
    }

    fn soft_stop(&self, within: Option<Duration>) {
        let left_to_others = self.shared.listening.leave();
        self.shared.stopping.store(true, Relaxed);
        for frontend in &self.shared.site.load().frontends {
            frontend.open.store(false, Relaxed);
        }
        if left_to_others {
            self.mind(Order::LetGo(self.shared.listening.leaders()));
        }
        self.shared.tell_workers(&Message::SoftStop);
        self.shared.report(Event::Stopping);
        self.mind(Order::KeepTables);
        if let Some(limit) = within {
            self.mind(Order::HardStopAfter(limit));
        }
    }

    pub(crate) fn mind(&self, order: Order) {
        if let Some(inbox) = self.shared.manager.get() {
            // A manager that has ended minds nothing any more: the engine is stopping.
            let _ = inbox.send(order);
        }
    }
}
