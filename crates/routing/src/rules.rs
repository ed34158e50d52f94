//! What rules do to requests and responses (manual 4.2, "http-request" and "http-response").
//!
//! Rules run in order; headers are changed in place, and the first rule that answers ends it all.
//! What an answer holds was taken from HAProxy's own answers.

use std::time::Duration;

use config::expr::{Flags, Format, Variable};
use config::model::{
    BodyWait, ErrorPage, ErrorPages, Redirect, RedirectTo, Reply, ReplyBody, RequestAction,
    RequestRule, ResponseAction, ResponseRule, RuleList,
};
use wire::head::{Fields, RequestHead, ResponseHead};

use crate::access;
use crate::actions;
use crate::candidates::Candidates;
use crate::condition;
use crate::edits::{self, FieldChange, TargetChange};
use crate::format::{self, Variables};
use crate::normalize::Broken;
use crate::pages::{self, StatusLine};
use crate::sample::{self, Facts};

pub use crate::pages::Answer;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Continue,
    /// It is answered here.
    Stop(Stopped),
    /// A rule asks who the client is, which is not proven yet. Rules before it have done their work, and
    /// it has not: go on from here after the proof.
    Unproven(Resume),
    /// A rule wants something done before those behind it, which go on from here.
    Hold(Resume, Hold),
}

/// From which rule on, and what those before it have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    position: usize,
    strict: bool,
}

impl Resume {
    /// From the first one.
    pub const START: Self = Self::at(0);

    /// From this one, where none before it has said how strict to be.
    pub const fn at(position: usize) -> Self {
        Self {
            position,
            strict: true,
        }
    }

    /// Which rule is next.
    pub const fn position(self) -> usize {
        self.position
    }
}

/// What is to be done before the rules go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// `wait-for-body`.
    Body(BodyWait),
    /// `pause`.
    Pause(Duration),
    /// `early-hint`: the client gets these with a 103.
    Hints(Fields),
}

/// Why a request is answered here, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// `deny`: counted as denied.
    Deny(Answer),
    /// `tarpit`: the same after a wait.
    Tarpit(Answer),
    /// `return`.
    Return(Answer),
    /// `redirect`.
    Redirect(Answer),
    /// `auth`: the client is asked who it is.
    Auth(Answer),
    /// `normalize-uri … strict`: the request is none.
    Invalid(Answer),
    /// A rule's change could not be made.
    Failed(Answer),
    /// `reject`: nothing is said, and counted as denied.
    Reject,
    /// `silent-drop`: the same, and the client is not told.
    Drop,
    /// `use-service prometheus-exporter`: the caller writes the metrics.
    PrometheusExporter,
    /// `use-service node-push`: the caller takes the news.
    NodePush,
}

/// Runs `http-request` rules over a request, from the one at `from` on. `facts.request` is ignored:
/// rules see the head as the rules before them left it. `proxies` may have pages for what is denied.
pub fn request(
    rules: &RuleList<RequestRule>,
    from: Resume,
    head: &mut RequestHead,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    proxies: &[&ErrorPages],
) -> Outcome {
    let mut candidates = None;
    let Resume {
        position: mut next,
        mut strict,
    } = from;
    loop {
        let seen = Facts {
            request: Some(head),
            ..*facts
        };
        let look = || Candidates::new(rules.index(), &seen);
        let Some(position) = candidates.get_or_insert_with(look).next(next) else {
            return Outcome::Continue;
        };
        let rule = &rules[position];
        next = position + 1;
        let unproven = || facts.memory.is_login_wanted();
        let holds = condition::holds(rule.condition.as_ref(), &seen);
        if unproven() {
            return Outcome::Unproven(Resume { position, strict });
        }
        if !holds {
            continue;
        }
        let act = weigh(&rule.action, &seen, variables, proxies);
        if unproven() {
            return Outcome::Unproven(Resume { position, strict });
        }
        if matches!(act, Act::Allow | Act::Stop(_)) {
            facts.memory.decided(rule.span);
        }
        let made = match act {
            Act::Allow => return Outcome::Continue,
            Act::Stop(stopped) => return Outcome::Stop(stopped),
            Act::Nothing => continue,
            Act::Hold(hold) => {
                let from = Resume {
                    position: next,
                    strict,
                };
                return Outcome::Hold(from, hold);
            }
            Act::Hint => {
                let (next, fields) = hints(rules, position, &seen, variables);
                if unproven() {
                    return Outcome::Unproven(Resume { position, strict });
                }
                let from = Resume {
                    position: next,
                    strict,
                };
                return Outcome::Hold(from, Hold::Hints(fields));
            }
            Act::Strict(on) => {
                strict = on;
                continue;
            }
            Act::Keep(slot, value) => {
                facts.memory.keep_of_request(slot, &value);
                continue;
            }
            // What rules depend on may be another text from here on.
            Act::Fields(change) => {
                let is_blind = |name| rules.index().is_blind_to(name);
                let stays = change.name().is_some_and(is_blind);
                candidates = candidates.filter(|_| stays);
                change.make(&mut head.fields, facts.memory.fields_len_max())
            }
            Act::Target(change) => {
                candidates = None;
                change.make(head, facts.memory.fields_len_max())
            }
        };
        if !made {
            facts.memory.rewrite_failed();
            if strict {
                return Outcome::Stop(failed(facts, variables, proxies));
            }
        }
    }
}

/// Whether a response of one status can be one of another: what says by itself that there is no body, or
/// that another protocol follows, cannot stand for what does not, nor the other way round.
fn may_become(old: u16, new: u16) -> bool {
    let is_bare = |status| matches!(status, 204 | 304);
    old != 101 && is_bare(old) == is_bare(new)
}

/// The fields of an `early-hint` rule and of those right behind it that have no condition: as in HAProxy
/// they go out in one 103. And where the rules go on.
fn hints(
    rules: &[RequestRule],
    from: usize,
    seen: &Facts<'_>,
    variables: &dyn Variables,
) -> (usize, Fields) {
    let mut fields = Fields::new();
    let mut position = from;
    while let Some(rule) = rules.get(position)
        && let RequestAction::EarlyHint(name, value) = &rule.action
        && (position == from || rule.condition.is_none())
    {
        fields.append(name, &text(value, seen, variables));
        position += 1;
    }
    (position, fields)
}

/// A change that cannot be made is an error of ours (manual 4.4, "strict-mode").
fn failed(facts: &Facts<'_>, variables: &dyn Variables, proxies: &[&ErrorPages]) -> Stopped {
    Stopped::Failed(error(500, facts, variables, proxies))
}

/// What a rule that holds does to a request.
enum Act<'a> {
    Allow,
    Stop(Stopped),
    Nothing,
    Hold(Hold),
    /// The first of some fields that go out together.
    Hint,
    Strict(bool),
    /// Keeps a text in a slot.
    Keep(usize, Vec<u8>),
    Fields(FieldChange<'a>),
    Target(TargetChange),
}

/// What an action comes to. The request itself stays as it is.
fn weigh<'a>(
    action: &'a RequestAction,
    seen: &Facts<'_>,
    variables: &dyn Variables,
    proxies: &[&ErrorPages],
) -> Act<'a> {
    let reply = |told| reply(told, seen, variables, proxies);
    match action {
        RequestAction::Allow => Act::Allow,
        RequestAction::Deny(told) => Act::Stop(Stopped::Deny(reply(told))),
        RequestAction::Tarpit(told) => Act::Stop(Stopped::Tarpit(reply(told))),
        RequestAction::Return(told) => Act::Stop(Stopped::Return(reply(told))),
        RequestAction::Auth(realm) => {
            let name = seen.backend.unwrap_or(seen.frontend);
            let page = error(401, seen, variables, proxies);
            let challenge = access::challenge(realm.as_deref().unwrap_or(name), page);
            Act::Stop(Stopped::Auth(challenge))
        }
        RequestAction::Redirect(to) => {
            let answer = redirect(to, seen.request, seen, variables);
            answer.map_or(Act::Nothing, |it| Act::Stop(Stopped::Redirect(it)))
        }
        RequestAction::PrometheusExporter => Act::Stop(Stopped::PrometheusExporter),
        RequestAction::NodePush => Act::Stop(Stopped::NodePush),
        RequestAction::Fields(edit) => Act::Fields(edits::fields(edit, seen, variables)),
        RequestAction::Target(edit) => {
            let Some(head) = seen.request else {
                return Act::Nothing;
            };
            match edits::target(edit, head, seen, variables) {
                // Then rules depend on the same texts as before.
                Ok(TargetChange::None) => Act::Nothing,
                Ok(change) => Act::Target(change),
                Err(Broken) => Act::Stop(Stopped::Invalid(error(400, seen, variables, proxies))),
            }
        }
        RequestAction::Reject => Act::Stop(Stopped::Reject),
        RequestAction::SilentDrop => Act::Stop(Stopped::Drop),
        RequestAction::StrictMode(on) => Act::Strict(*on),
        RequestAction::Capture(capture) => match sample::eval(&capture.sample, seen) {
            Some(value) => Act::Keep(capture.slot, value.into_text().into_owned()),
            None => Act::Nothing,
        },
        RequestAction::Common(action) => {
            actions::carry_out(action, seen, variables);
            Act::Nothing
        }
        RequestAction::WaitForBody(wait) => Act::Hold(Hold::Body(*wait)),
        RequestAction::Pause(time) => match actions::time(time, seen) {
            Some(time) => Act::Hold(Hold::Pause(time)),
            None => Act::Nothing,
        },
        RequestAction::EarlyHint(..) => Act::Hint,
        RequestAction::DisableRetries => {
            variables.disable_retries();
            Act::Nothing
        }
    }
}

/// Runs `http-response` or `http-after-response` rules over a response. `facts.response` is ignored, as
/// above. An answer takes the response's place.
pub fn response(
    rules: &[ResponseRule],
    head: &mut ResponseHead,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    proxies: &[&ErrorPages],
) -> Option<Stopped> {
    let mut strict = true;
    for rule in rules {
        let seen = Facts {
            response: Some(head),
            ..*facts
        };
        if !condition::holds(rule.condition.as_ref(), &seen) {
            continue;
        }
        match &rule.action {
            ResponseAction::Allow => {
                facts.memory.decided(rule.span);
                return None;
            }
            // Formats of answers see nothing of the response, as in HAProxy.
            ResponseAction::Deny(told) => {
                facts.memory.decided(rule.span);
                return Some(Stopped::Deny(reply(told, facts, variables, proxies)));
            }
            ResponseAction::Return(told) => {
                facts.memory.decided(rule.span);
                return Some(Stopped::Return(reply(told, facts, variables, proxies)));
            }
            ResponseAction::Redirect(to) => {
                if let Some(answer) = redirect(to, None, &seen, variables) {
                    facts.memory.decided(rule.span);
                    return Some(Stopped::Redirect(answer));
                }
            }
            ResponseAction::Fields(edit) => {
                let change = edits::fields(edit, &seen, variables);
                if !change.make(&mut head.fields, facts.memory.fields_len_max()) {
                    facts.memory.rewrite_failed();
                    if strict {
                        return Some(failed(facts, variables, proxies));
                    }
                }
            }
            ResponseAction::SetStatus(status, reason) => {
                if may_become(head.status, *status) {
                    head.set_status(*status, reason.as_deref().map(str::as_bytes));
                } else {
                    facts.memory.rewrite_failed();
                    if strict {
                        return Some(failed(facts, variables, proxies));
                    }
                }
            }
            // It was waited for before the first of them.
            ResponseAction::WaitForBody(_) | ResponseAction::Pause(_) => {}
            ResponseAction::StrictMode(on) => strict = *on,
            ResponseAction::SilentDrop => {
                facts.memory.decided(rule.span);
                return Some(Stopped::Drop);
            }
            ResponseAction::Capture(capture) => {
                if let Some(value) = sample::eval(&capture.sample, &seen) {
                    facts
                        .memory
                        .keep_of_response(capture.slot, &value.into_text());
                }
            }
            ResponseAction::Common(action) => actions::carry_out(action, &seen, variables),
        }
    }
    None
}

/// What these rules want to have of the response's body before any of them looks at it: the longest wait for
/// the most of it. Their conditions are those of the response as it came.
pub fn wanted_body(
    rules: &[ResponseRule],
    head: &ResponseHead,
    facts: &Facts<'_>,
) -> Option<BodyWait> {
    let seen = Facts {
        response: Some(head),
        ..*facts
    };
    let mut wanted: Option<BodyWait> = None;
    for rule in rules {
        let ResponseAction::WaitForBody(wait) = rule.action else {
            continue;
        };
        if condition::holds(rule.condition.as_ref(), &seen) {
            wanted = Some(wanted.map_or(wait, |other| other.and(wait)));
        }
    }
    wanted
}

/// How long these rules want a response to wait before any of them looks at it: all their times together. Their
/// conditions are those of the response as it came.
pub fn wanted_pause(
    rules: &[ResponseRule],
    head: &ResponseHead,
    facts: &Facts<'_>,
) -> Option<Duration> {
    let seen = Facts {
        response: Some(head),
        ..*facts
    };
    let times = rules.iter().filter_map(|rule| match &rule.action {
        ResponseAction::Pause(time) if condition::holds(rule.condition.as_ref(), &seen) => {
            actions::time(time, &seen)
        }
        _ => None,
    });
    times.reduce(Duration::saturating_add)
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
    let variables = &WithStatus(reply.status, variables);
    let mut answer = match &reply.body {
        // Only a body of its own takes headers of its own.
        ReplyBody::Default => return error(reply.status, facts, variables, proxies),
        ReplyBody::Page(page) => return whole(reply.status, page, facts, variables, proxies),
        ReplyBody::Bytes(bytes) => Answer {
            body: bytes.to_vec(),
            ..Answer::empty(reply.status)
        },
        ReplyBody::Format(format) => Answer {
            body: text(format, facts, variables),
            ..Answer::empty(reply.status)
        },
    };
    answer.line = bare_line(reply.status);
    for (name, value) in &reply.headers {
        if !FRAMING.contains(&&**name) && **name != *"content-type" {
            let value = text(value, facts, variables);
            // What has no value is not sent.
            if !value.is_empty() {
                answer.fields.append(name, &value);
            }
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

/// The status line of an answer that is no page. HAProxy has other phrases for it than in redirects and
/// pages.
fn bare_line(status: u16) -> StatusLine {
    match status {
        302 => StatusLine::Titled("Moved Temporarily"),
        502 => StatusLine::Titled("Bad Gateway or Proxy Error"),
        _ => StatusLine::Usual,
    }
}

/// Where the answer's own formats ask for the status, it is the one they are written for.
struct WithStatus<'a>(u16, &'a dyn Variables);

impl Variables for WithStatus<'_> {
    fn write(&self, variable: Variable, flags: Flags, out: &mut Vec<u8>) -> bool {
        if variable != Variable::ST {
            return self.1.write(variable, flags, out);
        }
        format::number(i64::from(self.0), flags, out);
        true
    }
}

/// What clients are told of a status on behalf of proxies: by the first one that has a page of its own
/// for it, else by us. HAProxy asks the backend, then the frontend.
pub fn error(
    status: u16,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    proxies: &[&ErrorPages],
) -> Answer {
    match proxies.iter().find_map(|pages| pages.get(&status)) {
        Some(page) => whole(status, page, facts, variables, proxies),
        None => pages::answer(status),
    }
}

fn whole(
    status: u16,
    page: &ErrorPage,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    proxies: &[&ErrorPages],
) -> Answer {
    match page {
        ErrorPage::Silent => Answer {
            line: StatusLine::Silent,
            ..Answer::empty(status)
        },
        ErrorPage::Answer(own) => pages::own(status, own),
        // What stands in `http-error` is never a page again.
        ErrorPage::Reply(told) => Answer {
            status,
            ..reply(told, facts, variables, proxies)
        },
    }
}

/// The answer of a `redirect`. Permanent ones may be kept by caches.
fn redirect(
    redirect: &Redirect,
    head: Option<&RequestHead>,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Option<Answer> {
    let location = location(redirect, head, facts, variables);
    if redirect.ignore_empty && location.is_empty() {
        return None;
    }
    let mut fields = Fields::new();
    // Its value is the writer's; here is its place.
    fields.append("content-length", b"0");
    fields.append("location", &location);
    if !matches!(redirect.code, 301 | 308) {
        fields.append("cache-control", b"no-cache");
    }
    if let Some(cookie) = &redirect.cookie {
        fields.append("set-cookie", cookie.as_bytes());
    }
    Some(Answer {
        fields,
        ..Answer::empty(redirect.code)
    })
}

fn location(
    redirect: &Redirect,
    head: Option<&RequestHead>,
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Vec<u8> {
    let mut location = match &redirect.to {
        RedirectTo::Location(format) => {
            let mut location = text(format, facts, variables);
            let query = head
                .filter(|_| redirect.keep_query)
                .and_then(RequestHead::query);
            if let Some(query) = query.filter(|_| !location.is_empty()) {
                location.push(match location.contains(&b'?') {
                    true => b'&',
                    false => b'?',
                });
                location.extend_from_slice(query);
            }
            return location;
        }
        RedirectTo::Prefix(format) => {
            let prefix = text(format, facts, variables);
            // "prefix /" means the same place without its query: not "//path", which is a host
            if prefix == b"/" { Vec::new() } else { prefix }
        }
        RedirectTo::Scheme(format) => {
            let mut whole = text(format, facts, variables);
            whole.extend_from_slice(b"://");
            whole.extend_from_slice(head.and_then(RequestHead::host).unwrap_or_default());
            whole
        }
    };
    // Only a location can be given once the request is gone.
    let Some(head) = head else { return location };
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
