//! `tcp-request` and `tcp-response` rules (manual 4.2).

use std::time::Duration;

use super::{Action, RuleCapture};
use crate::expr::Condition;
use crate::source::Span;

/// The rules of a proxy about connections and their first bytes.
#[derive(Debug, Clone, Default)]
pub struct TcpRules {
    /// `tcp-request connection`: as soon as a connection is accepted.
    pub connection: Vec<TcpRule>,
    /// `tcp-request session`: once its handshakes are done.
    pub session: Vec<TcpRule>,
    /// `tcp-request content`: over what the client sends first.
    pub request: Vec<TcpRule>,
    /// `tcp-request inspect-delay`; `None`: what has arrived must do.
    pub request_delay: Option<Duration>,
    /// `tcp-response content`: over what the server sends first.
    pub response: Vec<TcpRule>,
    /// `tcp-response inspect-delay`.
    pub response_delay: Option<Duration>,
}

impl TcpRules {
    /// Whether there is any rule.
    pub fn has_any(&self) -> bool {
        let sets = [
            &self.connection,
            &self.session,
            &self.request,
            &self.response,
        ];
        sets.into_iter().any(|rules| !rules.is_empty())
    }

    /// Whether a rule may make HTTP of it.
    pub fn switches_to_http(&self) -> bool {
        let mut rules = self.request.iter();
        rules.any(|rule| matches!(rule.action, TcpAction::SwitchToHttp))
    }
}

/// One of them.
#[derive(Debug, Clone)]
pub struct TcpRule {
    /// What to do.
    pub action: TcpAction,
    /// When; `None`: always.
    pub condition: Option<Condition>,
    /// Where.
    pub span: Span,
}

/// What such a rule does.
#[derive(Debug, Clone)]
pub enum TcpAction {
    /// `accept`: no further rule of this set and section is looked at.
    Accept,
    /// `reject`: the connection is closed.
    Reject,
    /// `silent-drop`: it is forgotten, as far as possible without the peer being told.
    SilentDrop,
    /// `close`, of responses: the server's connection is closed, what it said is delivered.
    Close,
    /// `expect-proxy layer4`, of connections: a PROXY header comes first.
    ExpectProxy,
    /// `switch-mode http`: what follows is HTTP.
    SwitchToHttp,
    /// `capture`, of requests: keeps a sample for the log line, and waits for it as long as it may.
    Capture(Box<RuleCapture>),
    /// What other rule sets can do, too.
    Common(Action),
}
