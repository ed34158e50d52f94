//! The part of the [`Handle`] by which operators change limits by hand, close frontends, and send checks
//! elsewhere (Runtime API).

use std::sync::Arc;
use std::time::Duration;

use routing::health::{AgentWord, CheckCode, CheckResult};
use tokio::sync::Semaphore;

use crate::check_overrides::CheckOverrides;
use crate::command::Refused;
use crate::handle::Handle;
use crate::manager::{self, Order};
use crate::site::{FrontendState, resize};

/// Limits of how many come in a second, for the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimit {
    /// `maxconnrate`.
    Connections,
    /// `maxsessrate`.
    Sessions,
    /// `maxsslrate`.
    Tls,
}

impl Handle {
    /// By name, or `#` and the numeric id.
    pub(crate) fn frontend(&self, name: &str) -> Option<Arc<FrontendState>> {
        let site = self.shared().site.load();
        let id = name.strip_prefix('#').and_then(|id| id.parse().ok());
        let is_meant = |it: &&Arc<FrontendState>| match id {
            Some(id) => it.id == id,
            None => **it.name() == *name,
        };
        site.frontends.iter().find(is_meant).cloned()
    }

    /// Whether rules lead to a backend from now on. `None`: there is no such backend; `false`: it is
    /// switched off by its configuration.
    pub fn publish_backend(&self, name: &str, public: bool) -> Option<bool> {
        let site = self.shared().site.load();
        let backend = site.backends.iter().find(|it| **it.name() == *name)?;
        Some(backend.publish(public))
    }

    /// Whether there is such a frontend.
    pub fn has_frontend(&self, name: &str) -> bool {
        self.frontend(name).is_some()
    }

    /// Closes a frontend's addresses for ever; its sessions go on. `None`: there is no such frontend;
    /// `false`: they were closed already.
    pub fn shut_frontend(&self, name: &str) -> Option<bool> {
        Some(self.frontend(name)?.shut())
    }

    /// Whether a frontend's addresses were closed so.
    pub fn is_frontend_shut(&self, name: &str) -> bool {
        self.frontend(name).is_some_and(|it| it.is_shut())
    }

    /// Limits the connections of a frontend; whoever has one keeps it. `false`: there is no such frontend.
    pub fn set_frontend_maxconn(&self, name: &str, limit: u32) -> bool {
        let Some(frontend) = self.frontend(name) else {
            return false;
        };
        let owed = frontend.set_sessions_limit(limit.into());
        self.take_back(&frontend.room, owed);
        true
    }

    /// Limits the connections of the process, below what it was started with; 0: that much. `false`: it is
    /// more.
    pub fn set_maxconn(&self, limit: u32) -> bool {
        let shared = self.shared();
        let limit = match u64::from(limit) {
            0 => shared.maxconn_max,
            limit => limit,
        };
        if limit > shared.maxconn_max {
            return false;
        }
        let owed = resize(&shared.room, &shared.maxconn, limit);
        self.take_back(&shared.room, owed);
        true
    }

    /// Places in use that are to vanish as they become free. Nobody new gets one meanwhile: who waits for
    /// places gets them in turn.
    fn take_back(&self, room: &Arc<Semaphore>, count: u64) {
        if let (Ok(count), true) = (u32::try_from(count), count > 0) {
            self.mind(Order::TakeBack(room.clone(), count));
        }
    }

    /// Limits how many come a second; 0: no limit.
    pub fn set_rate_limit(&self, which: RateLimit, limit: u32) {
        let paces = &self.shared().paces;
        let pace = match which {
            RateLimit::Connections => &paces.connections,
            RateLimit::Sessions => &paces.sessions,
            RateLimit::Tls => &paces.tls,
        };
        pace.set(limit);
    }

    /// How long a server's idle connections are kept.
    pub fn purge_delay(&self, backend: &str, server: &str) -> Result<Duration, Refused> {
        let server = self.backend(backend)?.server(server)?;
        Ok(server.conf.pooling.purge_delay)
    }

    /// Whether a server has an agent to ask.
    pub fn has_agent(&self, backend: &str, server: &str) -> Result<bool, Refused> {
        let server = self.backend(backend)?.server(server)?;
        Ok(server.conf.agent.is_some())
    }

    /// Sends a server's checks, or questions to its agent, elsewhere from the next one on.
    pub fn override_checks(
        &self,
        backend: &str,
        server: &str,
        news: &CheckOverrides,
    ) -> Result<(), Refused> {
        let server = self.backend(backend)?.server(server)?;
        server.override_checks(news);
        Ok(())
    }

    /// Takes it that a server's agent has said it is up, or down; what it says next counts again.
    pub fn force_agent(&self, backend: &str, server: &str, up: bool) -> Result<(), Refused> {
        let backend = self.backend(backend)?;
        let server = backend.server(server)?;
        let (word, code) = match up {
            true => (AgentWord::Up, CheckCode::Layer7Ok),
            false => (AgentWord::Down, CheckCode::Layer7Status),
        };
        let result = CheckResult {
            code,
            status: Some(0),
            info: "set by an operator".to_owned(),
            duration: Duration::ZERO,
        };
        manager::settle_agent(self.shared(), &backend, &server, word, result);
        Ok(())
    }
}
