//! What `http-request` and `http-response` rules may do (manual 4.3 and 4.4).

use std::sync::Arc;

use super::reply::{self, reply};
use super::tcp_rules::silent_drop;
use super::{Scope, Status, capture, edits, waits};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::{self, Format, Stage};
use crate::lexer::Word;
use crate::model::{
    Action as CommonAction, Redirect, RedirectTo, RequestAction, ResponseAction, TargetPart,
};
use crate::values::{choice, header_name, header_text, number};

/// One action of a rule set. `P` is its parse function.
pub(crate) struct Action<P> {
    /// "http-request deny": the rule set and the action's own name.
    pub(crate) title: &'static str,
    pub(crate) status: Status<P>,
}

impl<P> Action<P> {
    /// The action's own name.
    pub(crate) fn name(&self) -> &'static str {
        match self.title.split_once(' ') {
            Some((_, name)) => name,
            None => self.title,
        }
    }
}

/// The title of the action this word names.
pub(crate) fn title<P>(table: &[Action<P>], word: &Word) -> Option<&'static str> {
    table
        .iter()
        .find(|action| action.name() == word.text)
        .map(|action| action.title)
}

pub(crate) type RequestParse = fn(&mut Args<'_>, &Scope<'_>) -> Result<RequestAction, Diagnostic>;
pub(crate) type ResponseParse = fn(&mut Args<'_>, &Scope<'_>) -> Result<ResponseAction, Diagnostic>;

const fn action<P>(title: &'static str, parse: P) -> Action<P> {
    Action {
        title,
        status: Status::Implemented(parse),
    }
}

pub(crate) const REQUEST: &[Action<RequestParse>] = &[
    action("http-request allow", |_, _| Ok(RequestAction::Allow)),
    action("http-request auth", |args, _| auth(args)),
    action("http-request capture", |args, scope| {
        let capture = capture::rule(args, scope, Stage::Request)?;
        Ok(RequestAction::Capture(Box::new(capture)))
    }),
    action("http-request deny", |args, scope| {
        let reply = reply(args, scope, reply::DENY)?;
        Ok(RequestAction::Deny(Box::new(reply)))
    }),
    action("http-request disable-l7-retry", |_, _| {
        Ok(RequestAction::DisableRetries)
    }),
    action("http-request redirect", |args, scope| {
        let redirect = redirect(args, scope, Stage::Request)?;
        Ok(RequestAction::Redirect(Box::new(redirect)))
    }),
    action("http-request return", |args, scope| {
        let reply = reply(args, scope, reply::RETURN)?;
        Ok(RequestAction::Return(Box::new(reply)))
    }),
    action("http-request tarpit", |args, scope| {
        let reply = reply(args, scope, reply::TARPIT)?;
        Ok(RequestAction::Tarpit(Box::new(reply)))
    }),
    action("http-request add-header", |args, scope| {
        edits::add(args, scope, Stage::Request).map(RequestAction::Fields)
    }),
    action("http-request del-header", |args, scope| {
        edits::delete(args, scope, Stage::Request).map(RequestAction::Fields)
    }),
    action("http-request replace-header", |args, scope| {
        edits::replace_header(args, scope, Stage::Request).map(RequestAction::Fields)
    }),
    action("http-request replace-value", |args, scope| {
        edits::replace_value(args, scope, Stage::Request).map(RequestAction::Fields)
    }),
    action("http-request set-header", |args, scope| {
        edits::set(args, scope, Stage::Request).map(RequestAction::Fields)
    }),
    action("http-request replace-path", |args, scope| {
        edits::replace_target(TargetPart::Path, args, scope).map(RequestAction::Target)
    }),
    action("http-request replace-pathq", |args, scope| {
        edits::replace_target(TargetPart::PathQ, args, scope).map(RequestAction::Target)
    }),
    action("http-request replace-uri", |args, scope| {
        edits::replace_target(TargetPart::Uri, args, scope).map(RequestAction::Target)
    }),
    action("http-request set-path", |args, scope| {
        edits::set_target(TargetPart::Path, args, scope).map(RequestAction::Target)
    }),
    action("http-request set-pathq", |args, scope| {
        edits::set_target(TargetPart::PathQ, args, scope).map(RequestAction::Target)
    }),
    action("http-request set-query", |args, scope| {
        edits::set_target(TargetPart::Query, args, scope).map(RequestAction::Target)
    }),
    action("http-request set-uri", |args, scope| {
        edits::set_target(TargetPart::Uri, args, scope).map(RequestAction::Target)
    }),
    action("http-request strict-mode", |args, _| {
        strict_mode(args).map(RequestAction::StrictMode)
    }),
    action("http-request set-method", |args, scope| {
        edits::method(args, scope).map(RequestAction::Target)
    }),
    action("http-request normalize-uri", |args, _| {
        edits::normalize(args).map(RequestAction::Target)
    }),
    action("http-request wait-for-body", |args, _| {
        waits::body(args).map(RequestAction::WaitForBody)
    }),
    action("http-request pause", |args, scope| {
        waits::pause(args, scope, Stage::Request).map(RequestAction::Pause)
    }),
    action("http-request early-hint", |args, scope| {
        let (name, value) = header(args, scope, Stage::Request)?;
        Ok(RequestAction::EarlyHint(name, value))
    }),
    action("http-request reject", |_, _| Ok(RequestAction::Reject)),
    action("http-request silent-drop", |args, _| {
        silent_drop(args).map(|()| RequestAction::SilentDrop)
    }),
    action("http-request wait-for-handshake", |_, _| {
        Ok(RequestAction::Common(CommonAction::Nothing))
    }),
    action("http-request use-service", use_service),
];

pub(crate) const RESPONSE: &[Action<ResponseParse>] = &[
    action("http-response allow", |_, _| Ok(ResponseAction::Allow)),
    action("http-response capture", |args, scope| {
        let capture = capture::rule(args, scope, Stage::Response)?;
        Ok(ResponseAction::Capture(Box::new(capture)))
    }),
    action("http-response deny", |args, scope| {
        let reply = reply(args, scope, reply::RESPONSE_DENY)?;
        Ok(ResponseAction::Deny(Box::new(reply)))
    }),
    action("http-response redirect", |args, scope| {
        let redirect = redirect(args, scope, Stage::Response)?;
        Ok(ResponseAction::Redirect(Box::new(redirect)))
    }),
    action("http-response return", |args, scope| {
        let reply = reply(args, scope, reply::RESPONSE_RETURN)?;
        Ok(ResponseAction::Return(Box::new(reply)))
    }),
    action("http-response add-header", |args, scope| {
        edits::add(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-response del-header", |args, scope| {
        edits::delete(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-response replace-header", |args, scope| {
        edits::replace_header(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-response replace-value", |args, scope| {
        edits::replace_value(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-response set-header", |args, scope| {
        edits::set(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-response strict-mode", |args, _| {
        strict_mode(args).map(ResponseAction::StrictMode)
    }),
    action("http-response set-status", |args, _| {
        let (status, reason) = new_status(args)?;
        Ok(ResponseAction::SetStatus(status, reason))
    }),
    action("http-response wait-for-body", |args, _| {
        waits::body(args).map(ResponseAction::WaitForBody)
    }),
    action("http-response pause", |args, scope| {
        waits::pause(args, scope, Stage::Response).map(ResponseAction::Pause)
    }),
    action("http-response silent-drop", |args, _| {
        silent_drop(args).map(|()| ResponseAction::SilentDrop)
    }),
];

/// What may be done to every response, ours included.
pub(crate) const AFTER: &[Action<ResponseParse>] = &[
    action("http-after-response allow", |_, _| {
        Ok(ResponseAction::Allow)
    }),
    action("http-after-response add-header", |args, scope| {
        edits::add(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-after-response del-header", |args, scope| {
        edits::delete(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-after-response replace-header", |args, scope| {
        edits::replace_header(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-after-response replace-value", |args, scope| {
        edits::replace_value(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-after-response set-header", |args, scope| {
        edits::set(args, scope, Stage::Response).map(ResponseAction::Fields)
    }),
    action("http-after-response strict-mode", |args, _| {
        strict_mode(args).map(ResponseAction::StrictMode)
    }),
    action("http-after-response set-status", |args, _| {
        let (status, reason) = new_status(args)?;
        Ok(ResponseAction::SetStatus(status, reason))
    }),
    action("http-after-response capture", |args, scope| {
        let capture = capture::rule(args, scope, Stage::Response)?;
        Ok(ResponseAction::Capture(Box::new(capture)))
    }),
];

/// Actions HAProxy has for requests that are not implemented yet.
pub(crate) const OTHER_REQUEST: &[&str] = &[
    "add-headers-bin",
    "cache-use",
    "del-headers-bin",
    "do-log",
    "do-resolve",
    "ot-group",
    "send-spoe-group",
    "set-bandwidth-limit",
    "set-headers-bin",
];

/// The same for responses.
pub(crate) const OTHER_RESPONSE: &[&str] = &[
    "add-headers-bin",
    "cache-store",
    "del-headers-bin",
    "do-log",
    "ot-group",
    "send-spoe-group",
    "set-bandwidth-limit",
    "set-headers-bin",
];

/// The same for every response.
pub(crate) const OTHER_AFTER: &[&str] = &[
    "add-headers-bin",
    "del-headers-bin",
    "do-log",
    "ot-group",
    "set-headers-bin",
];

/// `NAME FORMAT`.
pub(super) fn header(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<(Arc<str>, Format), Diagnostic> {
    let name = header_name(args.required("a header name and a value")?)?;
    let value = args.required("a value after the header name")?;
    Ok((name, format(value, scope, stage)?))
}

pub(super) fn format(word: &Word, scope: &Scope<'_>, stage: Stage) -> Result<Format, Diagnostic> {
    expr::format::parse(word, &scope.expressions(stage))
}

/// `on|off`.
fn strict_mode(args: &mut Args<'_>) -> Result<bool, Diagnostic> {
    let word = args.required("on or off")?;
    choice(word, args.keyword, &[("on", true), ("off", false)])
}

/// `STATUS [reason TEXT]`.
fn new_status(args: &mut Args<'_>) -> Result<(u16, Option<Arc<str>>), Diagnostic> {
    let word = args.required("a status code")?;
    // Beyond 599 a status has no meaning, and below 200 it says that another response follows.
    let status = number(word, args.keyword, 200..=599)? as u16;
    let reason = match args.take("reason") {
        true => Some(header_text(args.required("a reason")?)?),
        false => None,
    };
    Ok((status, reason))
}

/// `[realm TEXT]`.
pub(crate) fn auth(args: &mut Args<'_>) -> Result<RequestAction, Diagnostic> {
    let realm = match args.take("realm") {
        true => Some(header_text(args.required("a realm")?)?),
        false => None,
    };
    Ok(RequestAction::Auth(realm))
}

fn use_service(args: &mut Args<'_>, _: &Scope<'_>) -> Result<RequestAction, Diagnostic> {
    let word = args.required("the name of a service")?;
    match word.text.as_str() {
        "prometheus-exporter" => Ok(RequestAction::PrometheusExporter),
        "node-push" => Ok(RequestAction::NodePush),
        other if other.starts_with("lua.") => Err(Diagnostic::alert(
            word.span,
            format!("service '{other}' is not implemented yet: no Lua is run"),
        )),
        other => Err(
            Diagnostic::alert(word.span, format!("unknown service '{other}'"))
                .label("the services are prometheus-exporter and node-push"),
        ),
    }
}

const REDIRECT_CODES: &[u64] = &[301, 302, 303, 307, 308];

/// `location|prefix|scheme TO [code N] [drop-query] [append-slash] [set-cookie N[=v]]
/// [clear-cookie N[=]]` (manual 4.2, "redirect").
pub(crate) fn redirect(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<Redirect, Diagnostic> {
    let mut to = None;
    let mut redirect = Redirect {
        to: RedirectTo::Location(Format::default()),
        code: 302,
        drop_query: false,
        append_slash: false,
        ignore_empty: false,
        keep_query: false,
        cookie: None,
    };
    while !args.at_condition() {
        let Some(word) = args.next() else { break };
        match word.text.as_str() {
            "location" => to = Some(RedirectTo::Location(target(args, scope, stage)?)),
            "prefix" | "scheme" if stage == Stage::Response => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'{}' can only send to a 'location'", args.keyword),
                )
                .label("the request is gone by then"));
            }
            "prefix" => to = Some(RedirectTo::Prefix(target(args, scope, stage)?)),
            "scheme" => to = Some(RedirectTo::Scheme(target(args, scope, stage)?)),
            "code" => redirect.code = redirect_code(args)?,
            "drop-query" => redirect.drop_query = true,
            "append-slash" => redirect.append_slash = true,
            "set-cookie" => redirect.cookie = Some(set_cookie(args)?),
            "clear-cookie" => redirect.cookie = Some(clear_cookie(args)?),
            "ignore-empty" => redirect.ignore_empty = true,
            "keep-query" => redirect.keep_query = true,
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'{}' does not know '{other}'", args.keyword),
                )
                .label("expected location, prefix, scheme, code, drop-query, append-slash, ignore-empty, keep-query, set-cookie, clear-cookie, if or unless"));
            }
        }
    }
    redirect.to = to.ok_or_else(|| {
        Diagnostic::alert(
            args.missing_place(),
            "redirection type expected ('prefix', 'location', or 'scheme')",
        )
    })?;
    Ok(redirect)
}

fn target(args: &mut Args<'_>, scope: &Scope<'_>, stage: Stage) -> Result<Format, Diagnostic> {
    let word = args.required_text("where to redirect to")?;
    format(word, scope, stage)
}

fn redirect_code(args: &mut Args<'_>) -> Result<u16, Diagnostic> {
    let word = args.required("a status code")?;
    let code = number(word, args.keyword, 0..=599).ok();
    match code.filter(|code| REDIRECT_CODES.contains(code)) {
        Some(code) => Ok(code as u16),
        None => Err(
            Diagnostic::alert(word.span, format!("unsupported HTTP code '{}'", word.text))
                .label("must be one of 301, 302, 303, 307 or 308"),
        ),
    }
}

/// As HAProxy writes it: for the whole site, until the browser closes.
fn set_cookie(args: &mut Args<'_>) -> Result<Arc<str>, Diagnostic> {
    let cookie = cookie(args)?;
    Ok(format!("{cookie}; path=/;").into())
}

fn clear_cookie(args: &mut Args<'_>) -> Result<Arc<str>, Diagnostic> {
    let cookie = cookie(args)?; // browsers tell "NAME" from "NAME=": as written
    Ok(format!("{cookie}; path=/; Max-Age=0;").into())
}

fn cookie(args: &mut Args<'_>) -> Result<Arc<str>, Diagnostic> {
    header_text(args.required("a cookie as NAME or NAME=VALUE")?)
}
