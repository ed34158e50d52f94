//! Rules for what goes to the client: `http-response`, which may put an answer of ours in the place of
//! the node's, and `http-after-response`, which every response passes, ours included (manual 4.2).

use std::time::Duration;

use config::model::{BodyWait, Proxy, ResponseAction, ResponseRule, TcpAction};
use routing::body::Body;
use routing::content::{self, Ruling};
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
pub(crate) fn respond(
    head: &mut ResponseHead,
    session: &Session,
    body: Body<'_>,
) -> Option<Instead> {
    if let Some(instead) = judged_as_bytes(head, session, body) {
        return Some(instead);
    }
    let stopped = run(Rules::Response, head, session, Some(body))?;
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
        Stopped::PrometheusExporter | Stopped::NodePush | Stopped::Reject => return None,
    };
    Some(Instead {
        answer,
        end: End::by(side, Stage::Headers),
    })
}

/// `tcp-response content` rules of the backend, where the response is understood already: nothing is waited for.
fn judged_as_bytes(head: &ResponseHead, session: &Session, body: Body<'_>) -> Option<Instead> {
    let backend = session.backend()?;
    let rules = &backend.conf().proxy.tcp.response;
    if rules.is_empty() {
        return None;
    }
    let mut facts = session.facts(None, Some(head));
    facts.content.response_body = Some(body);
    let Ruling::Act(action) = content::rule(rules, 0, &facts, session) else {
        return None;
    };
    let answer = match action {
        TcpAction::Reject => Some(session.error_page(502, None)),
        TcpAction::SilentDrop => None,
        TcpAction::Close => {
            session.record.server_closes.set(true);
            return None;
        }
        _ => return None,
    };
    session.count_at_frontend(Count::DeniedResponses);
    session.count_at_both(Count::DeniedResponses);
    Some(Instead {
        answer,
        end: End::by(Side::Proxy, Stage::Headers),
    })
}

/// Runs the `http-after-response` rules of the backend, then of the frontend.
pub(crate) fn after(head: &mut ResponseHead, session: &Session) {
    // None of these rules answers.
    let _ = run(Rules::AfterResponse, head, session, None);
}

/// What `http-response` rules want to have of a body before they look at its head.
pub(crate) fn wanted_body(head: &ResponseHead, session: &Session) -> Option<BodyWait> {
    let mut wanted = None;
    for proxy in proxies(session) {
        let waits = |rule: &ResponseRule| matches!(rule.action, ResponseAction::WaitForBody(_));
        if !proxy.http_response.iter().any(waits) {
            continue;
        }
        let facts = session.facts(None, None);
        let here = routing::rules::wanted_body(&proxy.http_response, head, &facts);
        wanted = match (wanted, here) {
            (Some(wait), Some(other)) => Some(BodyWait::and(wait, other)),
            (wanted, here) => wanted.or(here),
        };
    }
    wanted
}

/// How long `http-response` rules want it to wait before they look at it.
pub(crate) fn wanted_pause(head: &ResponseHead, session: &Session) -> Option<Duration> {
    let waits = |rule: &ResponseRule| matches!(rule.action, ResponseAction::Pause(_));
    let wanted = proxies(session).filter(|proxy| proxy.http_response.iter().any(waits));
    let times = wanted.filter_map(|proxy| {
        let facts = session.facts(None, None);
        routing::rules::wanted_pause(&proxy.http_response, head, &facts)
    });
    times.reduce(Duration::saturating_add)
}

/// Whose rules a response passes: the backend's, then the frontend's, and once where both are one.
fn proxies(session: &Session) -> impl Iterator<Item = &Proxy> {
    let frontend = session.frontend();
    let backend = session.backend();
    let own_half = backend.is_some_and(|backend| serve::is_own_half(frontend, backend));
    let backend = backend.filter(|_| !own_half);
    let backend = backend.map(|backend| &backend.conf().proxy);
    backend.into_iter().chain([&frontend.conf().proxy])
}

fn run(
    rules: Rules,
    head: &mut ResponseHead,
    session: &Session,
    body: Option<Body<'_>>,
) -> Option<Stopped> {
    for proxy in proxies(session) {
        let rules = match rules {
            Rules::Response => &proxy.http_response,
            Rules::AfterResponse => &proxy.http_after_response,
        };
        if rules.is_empty() {
            continue;
        }
        let mut facts = session.facts(None, None);
        facts.content.response_body = body;
        let pages = session.error_pages();
        let stopped = routing::rules::response(rules, head, &facts, session, &pages);
        if stopped.is_some() {
            return stopped;
        }
    }
    None
}
