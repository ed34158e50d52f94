//! Fetches over the running process: its backends, frontends and servers (manual 7.3.2).

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Fetch, SessionFigure};
use crate::source::Span;

/// What is asked of the running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateFetch {
    /// Of a backend; `None`: of the one in use.
    Backend(BackendFigure, Option<Arc<str>>),
    /// Of a frontend; `None`: of the one the client came in by.
    Frontend(FrontendFigure, Option<Arc<str>>),
    /// Of a server.
    Server(ServerFigure, ServerPath),
    /// Of the process.
    Process(ProcessFigure),
    /// Of the session that asks.
    Session(SessionFigure),
}

/// What is told of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendFigure {
    /// `nbsrv`: servers that can be used.
    UsableServers,
    /// `be_conn`: sessions now.
    Sessions,
    /// `be_conn_free`: places left on usable servers; -1 where any of them has no limit.
    FreePlaces,
    /// `be_sess_rate`: sessions in the last second.
    SessionRate,
    /// `queue`: requests that wait for it or its servers.
    Queued,
    /// `avg_queue`: the same for each usable server.
    QueuedByServer,
    /// `connslots`: places left on its servers and in their queues; -1 where any has no limit.
    Slots,
    /// `be_id`.
    Id,
}

/// What is told of a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontendFigure {
    /// `fe_conn`: connections now.
    Sessions,
    /// `fe_req_rate`: requests in the last second.
    RequestRate,
    /// `fe_sess_rate`: sessions in the last second.
    SessionRate,
    /// `fe_id`.
    Id,
}

/// What is told of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFigure {
    /// `srv_is_up`.
    IsUp,
    /// `srv_conn`: sessions now.
    Sessions,
    /// `srv_conn_free`: places left; -1 without a limit.
    FreePlaces,
    /// `srv_queue`: requests that wait for it.
    Queued,
    /// `srv_sess_rate`: sessions in the last second.
    SessionRate,
    /// `srv_weight`: weight in force.
    Weight,
    /// `srv_uweight`: weight as set.
    WeightSet,
    /// `srv_iweight`: weight as configured.
    WeightConfigured,
}

/// What is told of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessFigure {
    /// `act_conn`: connections now.
    Connections,
    /// `hostname`.
    Hostname,
    /// `pid`.
    Pid,
    /// `stopping`: whether it ends as soon as its connections have.
    Stopping,
    /// `thread`: the position of the worker that asks.
    Thread,
    /// `uptime`: seconds.
    Uptime,
}

/// A server by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPath {
    /// Its backend; `None`: the one in use.
    pub backend: Option<Arc<str>>,
    /// Its name there.
    pub server: Arc<str>,
}

/// A section or server that an expression names: whether it exists is only known once all sections
/// are read.
#[derive(Debug, Clone)]
pub struct Reference {
    /// What is named.
    pub named: Referred,
    /// Where.
    pub span: Span,
}

/// What an expression may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Referred {
    /// A backend.
    Backend(Arc<str>),
    /// A frontend.
    Frontend(Arc<str>),
    /// A server of a backend.
    Server(Arc<str>, Arc<str>),
}

/// `(backend)` or nothing.
pub(super) fn backend(
    figure: BackendFigure,
    arguments: &mut Arguments,
    context: &Context<'_>,
) -> Fetch {
    let name = section(arguments, context, Referred::Backend);
    Fetch::State(StateFetch::Backend(figure, name))
}

/// `(frontend)` or nothing.
pub(super) fn frontend(
    figure: FrontendFigure,
    arguments: &mut Arguments,
    context: &Context<'_>,
) -> Fetch {
    let name = section(arguments, context, Referred::Frontend);
    Fetch::State(StateFetch::Frontend(figure, name))
}

fn section(
    arguments: &mut Arguments,
    context: &Context<'_>,
    referred: fn(Arc<str>) -> Referred,
) -> Option<Arc<str>> {
    let (name, span) = arguments.optional().filter(|(name, _)| !name.is_empty())?;
    let name: Arc<str> = name.into();
    let named = referred(Arc::clone(&name));
    context
        .references
        .borrow_mut()
        .push(Reference { named, span });
    Some(name)
}

/// `([backend/]server)`.
pub(super) fn server(
    figure: ServerFigure,
    arguments: &mut Arguments,
    context: &Context<'_>,
) -> Result<Fetch, Diagnostic> {
    let (text, span) = arguments.text("[backend/]server")?;
    let (backend, server) = match text.split_once('/') {
        Some((backend, server)) => (Some(backend.into()), server),
        None => (None, text),
    };
    if server.is_empty() {
        return Err(Diagnostic::alert(span, "a server's name is missing here")
            .label("expected 'backend/server', or a server of the backend in use"));
    }
    let path = ServerPath {
        backend,
        server: server.into(),
    };
    if let Some(backend) = &path.backend {
        let named = Referred::Server(Arc::clone(backend), Arc::clone(&path.server));
        context
            .references
            .borrow_mut()
            .push(Reference { named, span });
    }
    Ok(Fetch::State(StateFetch::Server(figure, path)))
}
