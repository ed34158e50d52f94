//! What rules do to requests and responses (manual 4.2, "http-request" and "http-response").
//!
//! Rules run in order; headers are changed in place, and the first rule that answers ends it all.
//! What an answer holds was taken from HAProxy's own answers.

use config::expr::Format;
use config::model::{
    ErrorPages, Redirect, RedirectTo, Reply, ReplyBody, RequestAction, RequestRule, ResponseAction,
    ResponseRule,
};
use wire::head::{Fields, RequestHead, ResponseHead};

use crate::access;
use crate::condition;
use crate::format::{self, Variables};
use crate::pages::{self, StatusLine};
use crate::sample::Facts;

pub use crate::pages::Answer;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Continue,
    /// It is answered here.
    Stop(Stopped),
}

/// Why a request is answered here, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// `deny`: counted as denied.
    Deny(Answer),
    /// `return`.
    Return(Answer),
    /// `redirect`.
    Redirect(Answer),
    /// `auth`: the client is asked who it is.
    Auth(Answer),
    /// `use-service prometheus-exporter`: the caller writes the metrics.
    PrometheusExporter,
}

/// Runs `http-request` rules over a request. `facts.request` is ignored: rules see the head as the
/// rules before them left it. `proxies` may have pages for what is denied.
pub fn request(
    rules: &[RequestRule],
    head: &mut RequestHead,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    proxies: &[&ErrorPages],
) -> Outcome {
    for rule in rules {
        let seen = Facts {
            request: Some(head),
            ..*facts
        };
        if !condition::holds(rule.condition.as_ref(), &seen) {
            continue;
        }
        let stopped = match &rule.action {
            RequestAction::Allow => return Outcome::Continue,
            RequestAction::Deny(told) => Stopped::Deny(reply(told, &seen, variables, proxies)),
            RequestAction::Return(told) => Stopped::Return(reply(told, &seen, variables, proxies)),
            RequestAction::Auth(realm) => {
                let name = facts.backend.unwrap_or(facts.frontend);
                let realm = realm.as_deref().unwrap_or(name);
                Stopped::Auth(access::challenge(realm, proxies))
            }
            RequestAction::Redirect(to) => Stopped::Redirect(redirect(to, head, &seen, variables)),
            RequestAction::PrometheusExporter => Stopped::PrometheusExporter,
            RequestAction::SetHeader(name, value) => {
                let value = text(value, &seen, variables);
                head.fields.set(name, &value);
                continue;
            }
            RequestAction::AddHeader(name, value) => {
                let value = text(value, &seen, variables);
                head.fields.append(name, &value);
                continue;
            }
            RequestAction::DisableRetries => {
                variables.disable_retries();
                continue;
            }
            RequestAction::DelHeader(name) => {
                head.fields.remove(name);
                continue;
            }
        };
        return Outcome::Stop(stopped);
    }
    Outcome::Continue
}

/// Runs `http-response` rules over a response. `facts.response` is ignored, as above.
pub fn response(
    rules: &[ResponseRule],
    head: &mut ResponseHead,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) {
    for rule in rules {
        let seen = Facts {
            response: Some(head),
            ..*facts
        };
        if !condition::holds(rule.condition.as_ref(), &seen) {
            continue;
        }
        match &rule.action {
            ResponseAction::Allow => return,
            ResponseAction::SetHeader(name, value) => {
                let value = text(value, &seen, variables);
                head.fields.set(name, &value);
            }
            ResponseAction::AddHeader(name, value) => {
                let value = text(value, &seen, variables);
                head.fields.append(name, &value);
            }
            ResponseAction::DelHeader(name) => {
                head.fields.remove(name);
            }
        }
    }
}

fn text(format: &Format, facts: &Facts<'_>, variables: &dyn Variables) -> Vec<u8> {
    let mut out = Vec::new();
    format::render(format, facts, variables, &mut out);
    out
}

/// Headers that a rule cannot set: they are what the message's frame is made of.
const FRAMING: [&str; 6] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The answer of a `deny` or `return`.
pub fn reply(
    reply: &Reply,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    proxies: &[&ErrorPages],
) -> Answer {
    let mut answer = match &reply.body {
        ReplyBody::Default => pages::error(reply.status, proxies),
        ReplyBody::Bytes(bytes) => Answer {
            body: bytes.to_vec(),
            ..Answer::empty(reply.status)
        },
        ReplyBody::Format(format) => Answer {
            body: text(format, facts, variables),
            ..Answer::empty(reply.status)
        },
    };
    if matches!(answer.line, StatusLine::Own(..) | StatusLine::Silent) {
        // A page of the configuration is sent as it is, as HAProxy does.
        return answer;
    }
    for (name, value) in &reply.headers {
        if !FRAMING.contains(&&**name) && **name != *"content-type" {
            answer.fields.append(name, &text(value, facts, variables));
        }
    }
    // Its value is the writer's; here is its place.
    if !answer.fields.contains("content-length") {
        answer.fields.append("content-length", b"0");
    }
    if let Some(content_type) = &reply.content_type
        && !answer.body.is_empty()
    {
        answer.fields.set("content-type", content_type.as_bytes());
    }
    answer
}

/// The answer of a `redirect`. Permanent ones may be kept by caches.
fn redirect(
    redirect: &Redirect,
    head: &RequestHead,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Answer {
    let mut fields = Fields::new();
    // Its value is the writer's; here is its place.
    fields.append("content-length", b"0");
    fields.append("location", &location(redirect, head, facts, variables));
    if !matches!(redirect.code, 301 | 308) {
        fields.append("cache-control", b"no-cache");
    }
    if let Some(cookie) = &redirect.cookie {
        fields.append("set-cookie", cookie.as_bytes());
    }
    Answer {
        fields,
        ..Answer::empty(redirect.code)
    }
}

fn location(
    redirect: &Redirect,
    head: &RequestHead,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Vec<u8> {
    let mut location = match &redirect.to {
        RedirectTo::Location(format) => return text(format, facts, variables),
        RedirectTo::Prefix(format) => {
            let prefix = text(format, facts, variables);
            // "prefix /" means the same place without its query: not "//path", which is a host
            if prefix == b"/" { Vec::new() } else { prefix }
        }
        RedirectTo::Scheme(format) => {
            let mut whole = text(format, facts, variables);
            whole.extend_from_slice(b"://");
            whole.extend_from_slice(head.host().unwrap_or_default());
            whole
        }
    };
    let path = match head.path() {
        path if path.first() != Some(&b'/') => b"/",
        path if redirect.drop_query => path,
        _ => head.path_and_query(),
    };
    location.extend_from_slice(path);
    if redirect.append_slash && location.last() != Some(&b'/') {
        location.push(b'/');
    }
    location
}
