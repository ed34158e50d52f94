//! What a decision may ask of the running process: how full, how busy, how well its backends,
//! frontends and servers are (manual 7.3.2). Who runs it answers.

use config::expr::{
    BackendFigure, FrontendFigure, ProcessFigure, ServerFigure, SessionFigure, StateFetch,
};

use crate::value::Value;

/// A question about the running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Of a backend; `None`: of the one in use.
    Backend(BackendFigure, Option<&'a str>),
    /// Of a frontend; `None`: of the one the client came in by.
    Frontend(FrontendFigure, Option<&'a str>),
    /// Of a server: its backend, or `None` for the one in use, and its name.
    Server(ServerFigure, Option<&'a str>, &'a str),
    /// Of the process itself.
    Process(ProcessFigure),
    /// Of the session that asks.
    Session(SessionFigure),
}

/// Who answers: the engine, for each session.
pub trait Process {
    /// The answer; `None`: there is no such thing.
    fn tell(&self, asked: Asked<'_>) -> Option<Value<'static>>;
}

/// Knows nothing: tests, and decisions beside the data path.
#[derive(Debug, Clone, Copy)]
pub struct NoProcess;

impl Process for NoProcess {
    fn tell(&self, _: Asked<'_>) -> Option<Value<'static>> {
        None
    }
}

/// What a fetch sees.
pub(crate) fn value(fetch: &StateFetch, process: &dyn Process) -> Option<Value<'static>> {
    process.tell(match fetch {
        StateFetch::Backend(figure, name) => Asked::Backend(*figure, name.as_deref()),
        StateFetch::Frontend(figure, name) => Asked::Frontend(*figure, name.as_deref()),
        StateFetch::Server(figure, path) => {
            Asked::Server(*figure, path.backend.as_deref(), &path.server)
        }
        StateFetch::Process(figure) => Asked::Process(*figure),
        StateFetch::Session(figure) => Asked::Session(*figure),
    })
}
