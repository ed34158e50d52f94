//! What the control loop must know of all servers: a few words each, where a
//! [`Snapshot`](crate::snapshot::Snapshot) has some sixty. It looks before and after each list, and at
//! thousands of servers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::Admin;
use crate::counters::Count;
use crate::server::{ServerState, admin_shown};
use crate::shared::Shared;

/// A backend at a glance.
#[derive(Debug, Clone)]
pub struct BackendGlance {
    /// Name.
    pub name: Arc<str>,
    /// Its servers.
    pub servers: Vec<ServerGlance>,
}

/// A server at a glance; each word as in [`ServerStats`](crate::snapshot::ServerStats).
#[derive(Debug, Clone)]
pub struct ServerGlance {
    /// Name.
    pub name: Arc<str>,
    /// Whether it takes new sessions.
    pub usable: bool,
    /// Administrative state.
    pub admin: Admin,
    /// Whether it is checked.
    pub checked: bool,
    /// Last check, HAProxy's short code; empty before the first.
    pub check_status: &'static str,
    /// Weight as set.
    pub weight: u64,
    /// `backup`.
    pub backup: bool,
    /// Whether it was added while running.
    pub dynamic: bool,
    /// Sessions now.
    pub sessions: u64,
    /// Sessions since it is there.
    pub sessions_total: u64,
}

/// All servers, by backend.
pub(crate) fn glance(shared: &Shared) -> Vec<BackendGlance> {
    let site = shared.site.load();
    let backends = site.backends.iter().map(|backend| BackendGlance {
        name: backend.name().clone(),
        servers: backend.servers().iter().map(|it| server(it)).collect(),
    });
    backends.collect()
}

fn server(state: &ServerState) -> ServerGlance {
    let resolved = state.is_resolved();
    let health = state.health();
    ServerGlance {
        name: state.conf.name.clone(),
        usable: resolved && health.accepts_new(),
        admin: admin_shown(health.admin()),
        checked: health.is_checked(),
        check_status: health
            .last_result()
            .map_or("", |result| result.code.short()),
        weight: state.weight.load(Relaxed),
        backup: state.conf.backup,
        dynamic: state.dynamic,
        sessions: state.sessions.now(),
        sessions_total: state.counters.sum(Count::Sessions),
    }
}
