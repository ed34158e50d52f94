//! A [`crate::snapshot::Snapshot`] as text: HAProxy's CSV, Prometheus metrics, the stats page. Pure
//! functions; who may see them and how they are sent is decided elsewhere.

pub mod csv;
pub mod page;
pub mod prometheus;
#[cfg(test)]
mod sample;

use crate::command::Admin;
use crate::snapshot::{BackendStats, FrontendStats, ServerStats, Snapshot};

/// One line of the statistics, in HAProxy's order.
#[derive(Debug, Clone, Copy)]
enum Row<'a> {
    Frontend(&'a FrontendStats),
    Server(&'a BackendStats, &'a ServerStats),
    Backend(&'a BackendStats),
}

/// All lines: proxies in the order of their ids, that is of the file, a `listen` being one proxy with
/// two halves; servers stand before their backend.
fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut backends = snapshot.backends.iter().peekable();
    for frontend in &snapshot.frontends {
        while let Some(backend) = backends.next_if(|backend| backend.id < frontend.id) {
            push_backend(&mut rows, backend);
        }
        rows.push(Row::Frontend(frontend));
    }
    for backend in backends {
        push_backend(&mut rows, backend);
    }
    rows
}

fn push_backend<'a>(rows: &mut Vec<Row<'a>>, backend: &'a BackendStats) {
    let servers = backend.servers.iter();
    rows.extend(servers.map(|server| Row::Server(backend, server)));
    rows.push(Row::Backend(backend));
}

/// What a server's status comes down to, for metrics and colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Up,
    /// Up, but its last check failed.
    GoingDown,
    Down,
    /// Down, but its last check passed.
    GoingUp,
    Maint,
    Drain,
    NoLoad,
    NoCheck,
}

fn condition(server: &ServerStats) -> Condition {
    let status = server.status.as_str();
    match server.admin {
        Admin::Maint => Condition::Maint,
        _ if status.starts_with("DOWN ") => Condition::GoingUp,
        _ if status.starts_with("DOWN") => Condition::Down,
        Admin::Drain => Condition::Drain,
        Admin::Ready if status.starts_with("NOLB") => Condition::NoLoad,
        Admin::Ready if status.starts_with("MAINT") => Condition::Maint,
        Admin::Ready if status.starts_with("UP ") => Condition::GoingDown,
        Admin::Ready if !server.checked => Condition::NoCheck,
        Admin::Ready => Condition::Up,
    }
}

/// HAProxy's status of a frontend.
fn frontend_status(frontend: &FrontendStats) -> &'static str {
    if !frontend.open {
        "STOP"
    } else if frontend.traffic.sessions >= frontend.sessions_limit {
        "FULL"
    } else {
        "OPEN"
    }
}
