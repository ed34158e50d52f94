//! Names to what is known of them (manual 7.3.1).

use config::expr::{BackendFigure, FrontendFigure, ServerFigure, StateConverter};

use crate::process::Asked;
use crate::sample::Facts;
use crate::value::Value;

/// What is known of the section or server of that name.
pub(super) fn apply(
    what: StateConverter,
    name: &[u8],
    facts: &Facts<'_>,
) -> Option<Value<'static>> {
    let name = std::str::from_utf8(name).ok()?;
    let server = |figure| {
        let (backend, server) = match name.split_once('/') {
            Some((backend, server)) => (Some(backend), server),
            None => (None, name),
        };
        Asked::Server(figure, backend, server)
    };
    let asked = match what {
        StateConverter::UsableServers => Asked::Backend(BackendFigure::UsableServers, Some(name)),
        StateConverter::FrontendExists => {
            let asked = Asked::Frontend(FrontendFigure::Id, Some(name));
            return Some(Value::Bool(facts.process.tell(asked).is_some()));
        }
        StateConverter::ServerIsUp => server(ServerFigure::IsUp),
        StateConverter::ServerQueue => server(ServerFigure::Queued),
    };
    facts.process.tell(asked)
}
