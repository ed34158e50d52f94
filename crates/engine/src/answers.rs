//! Rules for what goes to the client: `http-response`, which may put an answer of ours in the place of
//! the node's, and `http-after-response`, which every response passes, ours included (manual 4.2).

use routing::rules::{Answer, Stopped};
use wire::head::ResponseHead;

use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::serve;
use crate::session::Session;

/// What the client gets in place of the node's response.
pub(crate) struct Instead {
    /// This; `None`: nothing, and its connection is forgotten.
    pub(crate) answer: Option<Answer>,
    /// And the session ends like this.
    pub(crate) end: End,
}

/// Which rules.
#[derive(Clone, Copy)]
enum Rules {
    Response,
    AfterResponse,
}

/// Runs the `http-response` rules of the backend, then of the frontend.
pub(crate) fn respond(head: &mut ResponseHead, session: &Session) -> Option<Instead> {
    let stopped = run(Rules::Response, head, session)?;
    let (answer, side) = match stopped {
        Stopped::Deny(answer) => {
            session.count_at_frontend(Count::DeniedResponses);
            session.count_at_both(Count::DeniedResponses);
            (Some(answer), Side::Proxy)
        }
        Stopped::Drop => {
            session.count_at_frontend(Count::DeniedResponses);
            session.count_at_both(Count::DeniedResponses);
            (None, Side::Proxy)
        }
        Stopped::Failed(answer) => {
            session.count_at_frontend(Count::InternalErrors);
            session.count_at_both(Count::InternalErrors);
            (Some(answer), Side::Internal)
        }
        Stopped::Return(answer)
        | Stopped::Redirect(answer)
        | Stopped::Tarpit(answer)
        | Stopped::Invalid(answer)
        | Stopped::Auth(answer) => (Some(answer), Side::Local),
        // No rule for responses leads here.
        Stopped::PrometheusExporter | Stopped::Reject => return None,
    };
    Some(Instead {
        answer,
        end: End::by(side, Stage::Headers),
    })
}

/// Runs the `http-after-response` rules of the backend, then of the frontend.
pub(crate) fn after(head: &mut ResponseHead, session: &Session) {
    // None of these rules answers.
    let _ = run(Rules::AfterResponse, head, session);
}

fn run(rules: Rules, head: &mut ResponseHead, session: &Session) -> Option<Stopped> {
    let frontend = session.frontend();
    let backend = session.backend();
    let own_half = backend.is_some_and(|backend| serve::is_own_half(frontend, backend));
    let proxies = [
        backend
            .filter(|_| !own_half)
            .map(|backend| &backend.conf().proxy),
        Some(&frontend.conf().proxy),
    ];
    for proxy in proxies.into_iter().flatten() {
        let rules = match rules {
            Rules::Response => &proxy.http_response,
            Rules::AfterResponse => &proxy.http_after_response,
        };
        if rules.is_empty() {
            continue;
        }
        let facts = session.facts(None, None);
        let pages = session.error_pages();
        let stopped = routing::rules::response(rules, head, &facts, session, &pages);
        if stopped.is_some() {
            return stopped;
        }
    }
    None
}
