//! `http-request` and `http-response` rules and the answers they give (manual 4.2).

use std::sync::Arc;
use std::time::Duration;

use super::{ErrorPage, FieldEdit, TargetEdit};
use crate::expr::{Condition, Format};
use crate::model::{Action, NewTimeout, RuleCapture};
use crate::source::Span;

/// An `http-request` rule.
#[derive(Debug, Clone)]
pub struct RequestRule {
    /// What to do.
    pub action: RequestAction,
    /// When; `None`: always.
    pub condition: Option<Condition>,
    /// Where.
    pub span: Span,
}

/// What an `http-request` rule does (manual 4.2, "http-request").
#[derive(Debug, Clone)]
pub enum RequestAction {
    /// `allow`: no further rule of this section is looked at.
    Allow,
    /// `deny`: counted as denied.
    Deny(Box<Reply>),
    /// `tarpit`: denied, after a wait of `timeout tarpit`.
    Tarpit(Box<Reply>),
    /// `return`.
    Return(Box<Reply>),
    /// `auth [realm TEXT]`: asks for a user and password. Without a text: the proxy's name.
    Auth(Option<Arc<str>>),
    /// `redirect`.
    Redirect(Box<Redirect>),
    /// A change to its fields.
    Fields(FieldEdit),
    /// A change to its method or target.
    Target(TargetEdit),
    /// `reject`: the connection is closed.
    Reject,
    /// `silent-drop`: the connection is forgotten.
    SilentDrop,
    /// `strict-mode`: whether a change that cannot be made is an error.
    StrictMode(bool),
    /// `capture`.
    Capture(Box<RuleCapture>),
    /// What other rule sets can do, too.
    Common(Action),
    /// `wait-for-body`.
    WaitForBody(BodyWait),
    /// `pause`.
    Pause(NewTimeout),
    /// `early-hint`: a field of a 103 that goes out ahead of the answer.
    EarlyHint(Arc<str>, Format),
    /// `disable-l7-retry`: once it was sent, it is not sent again, whatever `retry-on` says.
    DisableRetries,
    /// `use-service prometheus-exporter`.
    PrometheusExporter,
    /// `use-service node-push` (our own).
    NodePush,
}

/// How long a message waits for its body, and for how much of it (manual 4.4, "wait-for-body").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyWait {
    /// Longest; `None`: as long as it takes.
    pub limit: Option<Duration>,
    /// That many bytes will do; `None`: all of it, or a buffer full.
    pub at_least: Option<usize>,
}

impl BodyWait {
    /// What does for both.
    pub fn and(self, other: Self) -> Self {
        Self {
            limit: self.limit.zip(other.limit).map(|(a, b)| a.max(b)),
            at_least: self.at_least.zip(other.at_least).map(|(a, b)| a.max(b)),
        }
    }
}

/// An `http-response` rule.
#[derive(Debug, Clone)]
pub struct ResponseRule {
    /// What to do.
    pub action: ResponseAction,
    /// When; `None`: always.
    pub condition: Option<Condition>,
    /// Where.
    pub span: Span,
}

/// What an `http-response` rule does.
#[derive(Debug, Clone)]
pub enum ResponseAction {
    /// `allow`.
    Allow,
    /// `deny`: counted as denied.
    Deny(Box<Reply>),
    /// `return`.
    Return(Box<Reply>),
    /// `redirect`, to a `location`.
    Redirect(Box<Redirect>),
    /// A change to its fields.
    Fields(FieldEdit),
    /// `wait-for-body`.
    WaitForBody(BodyWait),
    /// `pause`.
    Pause(NewTimeout),
    /// `set-status`, and its reason; `None`: the usual one.
    SetStatus(u16, Option<Arc<str>>),
    /// `silent-drop`: the client's connection is forgotten.
    SilentDrop,
    /// `strict-mode`: whether a change that cannot be made is an error.
    StrictMode(bool),
    /// `capture`.
    Capture(Box<RuleCapture>),
    /// What other rule sets can do, too.
    Common(Action),
}

/// An answer of our own.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// `content-type`; the body's default without it.
    pub content_type: Option<Arc<str>>,
    /// `hdr NAME FMT`, in order.
    pub headers: Vec<(Arc<str>, Format)>,
    /// The body.
    pub body: ReplyBody,
}

/// The body of an answer of our own.
#[derive(Debug, Clone)]
pub enum ReplyBody {
    /// The page HAProxy shows for this status; nothing where it has none.
    Default,
    /// `errorfile` or `errorfiles`: a whole answer.
    Page(ErrorPage),
    /// `string` or `file`.
    Bytes(Arc<[u8]>),
    /// `lf-string` or `lf-file`.
    Format(Format),
}

/// `redirect location|prefix|scheme` (manual 4.2).
#[derive(Debug, Clone)]
pub struct Redirect {
    /// What the new place is made of.
    pub to: RedirectTo,
    /// 301, 302 (the default), 303, 307, 308.
    pub code: u16,
    /// `drop-query`.
    pub drop_query: bool,
    /// `append-slash`.
    pub append_slash: bool,
    /// `ignore-empty`: a `location` that comes out empty is no redirect.
    pub ignore_empty: bool,
    /// `keep-query`: the query is added to a `location`.
    pub keep_query: bool,
    /// `set-cookie NAME[=value]`, or `clear-cookie NAME[=]`, as a complete Set-Cookie value.
    pub cookie: Option<Arc<str>>,
}

/// What the new place is made of.
#[derive(Debug, Clone)]
pub enum RedirectTo {
    /// `location`: all of it.
    Location(Format),
    /// `prefix`: before the path.
    Prefix(Format),
    /// `scheme`: before `://host/path`.
    Scheme(Format),
}
