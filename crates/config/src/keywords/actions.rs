//! What `http-request` and `http-response` rules may do (manual 4.3 and 4.4).

use std::sync::Arc;

use super::{Scope, Status};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::{self, Format, Stage};
use crate::lexer::Word;
use crate::model::{Redirect, RedirectTo, Reply, ReplyBody, RequestAction, ResponseAction};
use crate::values::{header_name, header_text, number};

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
    action("http-request add-header", |args, scope| {
        let (name, format) = header(args, scope, Stage::Request)?;
        Ok(RequestAction::AddHeader(name, format))
    }),
    action("http-request allow", |_, _| Ok(RequestAction::Allow)),
    action("http-request auth", |args, _| auth(args)),
    action("http-request del-header", |args, _| {
        Ok(RequestAction::DelHeader(deleted_header(args)?))
    }),
    action("http-request deny", |args, scope| {
        Ok(RequestAction::Deny(Box::new(reply(args, scope, DENY)?)))
    }),
    action("http-request disable-l7-retry", |_, _| {
        Ok(RequestAction::DisableRetries)
    }),
    action("http-request redirect", |args, scope| {
        Ok(RequestAction::Redirect(Box::new(redirect(args, scope)?)))
    }),
    action("http-request return", |args, scope| {
        Ok(RequestAction::Return(Box::new(reply(args, scope, RETURN)?)))
    }),
    action("http-request set-header", |args, scope| {
        let (name, format) = header(args, scope, Stage::Request)?;
        Ok(RequestAction::SetHeader(name, format))
    }),
    action("http-request use-service", use_service),
];

pub(crate) const RESPONSE: &[Action<ResponseParse>] = &[
    action("http-response add-header", |args, scope| {
        let (name, format) = header(args, scope, Stage::Response)?;
        Ok(ResponseAction::AddHeader(name, format))
    }),
    action("http-response allow", |_, _| Ok(ResponseAction::Allow)),
    action("http-response del-header", |args, _| {
        Ok(ResponseAction::DelHeader(deleted_header(args)?))
    }),
    action("http-response set-header", |args, scope| {
        let (name, format) = header(args, scope, Stage::Response)?;
        Ok(ResponseAction::SetHeader(name, format))
    }),
];

/// Actions HAProxy has for requests that are not implemented yet.
pub(crate) const OTHER_REQUEST: &[&str] = &[
    "add-acl",
    "add-headers-bin",
    "cache-use",
    "capture",
    "del-acl",
    "del-headers-bin",
    "del-map",
    "do-log",
    "do-resolve",
    "early-hint",
    "normalize-uri",
    "ot-group",
    "pause",
    "reject",
    "replace-header",
    "replace-path",
    "replace-pathq",
    "replace-uri",
    "replace-value",
    "sc-add-gpc",
    "sc-inc-gpc",
    "sc-inc-gpc0",
    "sc-inc-gpc1",
    "sc-set-gpt",
    "sc-set-gpt0",
    "send-spoe-group",
    "set-bandwidth-limit",
    "set-bc-mark",
    "set-bc-tos",
    "set-dst",
    "set-dst-port",
    "set-fc-mark",
    "set-fc-tos",
    "set-headers-bin",
    "set-log-level",
    "set-map",
    "set-mark",
    "set-method",
    "set-nice",
    "set-path",
    "set-pathq",
    "set-priority-class",
    "set-priority-offset",
    "set-query",
    "set-retries",
    "set-src",
    "set-src-port",
    "set-timeout",
    "set-tos",
    "set-uri",
    "set-var",
    "set-var-fmt",
    "silent-drop",
    "strict-mode",
    "tarpit",
    "track-sc0",
    "track-sc1",
    "track-sc2",
    "unset-var",
    "wait-for-body",
    "wait-for-handshake",
];

/// The same for responses.
pub(crate) const OTHER_RESPONSE: &[&str] = &[
    "add-acl",
    "add-headers-bin",
    "cache-store",
    "capture",
    "del-acl",
    "del-headers-bin",
    "del-map",
    "deny",
    "do-log",
    "ot-group",
    "pause",
    "redirect",
    "replace-header",
    "replace-value",
    "return",
    "sc-add-gpc",
    "sc-inc-gpc",
    "sc-inc-gpc0",
    "sc-inc-gpc1",
    "sc-set-gpt",
    "sc-set-gpt0",
    "send-spoe-group",
    "set-bandwidth-limit",
    "set-fc-mark",
    "set-fc-tos",
    "set-headers-bin",
    "set-log-level",
    "set-map",
    "set-mark",
    "set-nice",
    "set-status",
    "set-timeout",
    "set-tos",
    "set-var",
    "set-var-fmt",
    "silent-drop",
    "strict-mode",
    "track-sc0",
    "track-sc1",
    "track-sc2",
    "unset-var",
    "wait-for-body",
];

/// `NAME FORMAT`.
fn header(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<(Arc<str>, Format), Diagnostic> {
    let name = header_name(args.required("a header name and a value")?)?;
    let value = args.required("a value after the header name")?;
    Ok((name, format(value, scope, stage)?))
}

fn format(word: &Word, scope: &Scope<'_>, stage: Stage) -> Result<Format, Diagnostic> {
    expr::format::parse(word, &scope.expressions(stage))
}

/// `NAME [-m str]`.
fn deleted_header(args: &mut Args<'_>) -> Result<Arc<str>, Diagnostic> {
    let name = header_name(args.required("a header name")?)?;
    if args.take("-m") {
        let method = args.required("a matching method after '-m'")?;
        if !method.is("str") {
            return Err(Diagnostic::alert(
                method.span,
                format!(
                    "'{} -m {}' is not implemented yet",
                    args.keyword, method.text
                ),
            ));
        }
    }
    Ok(name)
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
        other if other.starts_with("lua.") => Err(Diagnostic::alert(
            word.span,
            format!("service '{other}' is not implemented yet: no Lua is run"),
        )),
        other => Err(
            Diagnostic::alert(word.span, format!("unknown service '{other}'"))
                .label("the only service is prometheus-exporter"),
        ),
    }
}

/// What `deny` and `return` differ in.
#[derive(Clone, Copy)]
struct ReplyRules {
    status_default: u16,
    deny: bool,
}

const DENY: ReplyRules = ReplyRules {
    status_default: 403,
    deny: true,
};
const RETURN: ReplyRules = ReplyRules {
    status_default: 200,
    deny: false,
};

/// Largest `file` of a reply: it is kept in memory and sent from there.
const FILE_LEN_MAX: usize = 1 << 20;

/// `[status N] [content-type T] [string|lf-string|file|lf-file …] [hdr N F]…` (manual 4.4,
/// "return"); `deny` takes `deny_status` as well.
fn reply(args: &mut Args<'_>, scope: &Scope<'_>, rules: ReplyRules) -> Result<Reply, Diagnostic> {
    let mut reply = Reply {
        status: rules.status_default,
        content_type: None,
        headers: Vec::new(),
        // A denied request gets the page of its status, `return` says what it sends.
        body: match rules.deny {
            true => ReplyBody::Default,
            false => ReplyBody::Bytes(Arc::default()),
        },
    };
    let mut content_type_place = None;
    let (mut default_page, mut says_status) = (false, false);
    while !args.at_condition() {
        let Some(word) = args.next() else { break };
        match word.text.as_str() {
            "status" | "deny_status" if word.is("status") || rules.deny => {
                says_status |= word.is("status");
                reply.status = status(args)?;
            }
            "content-type" => {
                reply.content_type = Some(header_text(args.required("a media type")?)?);
                content_type_place = Some(word.span);
            }
            "string" => {
                let text = args.required_text("a text after 'string'")?;
                reply.body = ReplyBody::Bytes(text.text.as_bytes().into());
            }
            "lf-string" => {
                let text = args.required_text("a format after 'lf-string'")?;
                reply.body = ReplyBody::Format(format(text, scope, Stage::Request)?);
            }
            "file" => reply.body = ReplyBody::Bytes(file(args, scope)?.as_bytes().into()),
            "lf-file" => {
                let place = args.peek().cloned();
                let text = file(args, scope)?;
                let word = Word {
                    text,
                    span: place.map_or(word.span, |word| word.span),
                    quoted: true,
                };
                reply.body = ReplyBody::Format(format(&word, scope, Stage::Request)?);
            }
            "hdr" => reply.headers.push(header(args, scope, Stage::Request)?),
            "default-errorfiles" => {
                default_page = true;
                reply.body = ReplyBody::Default;
            }
            "errorfile" | "errorfiles" => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'{} {}' is not implemented yet", args.keyword, word.text),
                )
                .help("use 'content-type text/html file PATH' for a page of your own"));
            }
            other => return Err(unknown_reply_word(args, word, other, rules)),
        }
    }
    // Whatever is said but 'deny_status' makes an answer of one's own, which is empty unless a body
    // is given (manual 4.2, "http-request deny").
    let own = says_status || !reply.headers.is_empty();
    if own && !default_page && matches!(reply.body, ReplyBody::Default) {
        reply.body = ReplyBody::Bytes(Arc::default());
    }
    check_reply(&mut reply, args, scope, content_type_place)?;
    Ok(reply)
}

/// A body needs a content type, and a content type a body.
fn check_reply(
    reply: &mut Reply,
    args: &Args<'_>,
    scope: &Scope<'_>,
    content_type: Option<crate::source::Span>,
) -> Result<(), Diagnostic> {
    let empty = matches!(&reply.body, ReplyBody::Bytes(bytes) if bytes.is_empty());
    let without_body = empty || matches!(reply.body, ReplyBody::Default);
    if let Some(place) = content_type
        && without_body
    {
        reply.content_type = None;
        scope.report(Diagnostic::warning(
            place,
            format!(
                "'{}' : 'content-type' is ignored without a body",
                args.keyword
            ),
        ));
    }
    if reply.content_type.is_none() && !without_body {
        return Err(Diagnostic::alert(
            args.place(),
            format!(
                "'{}' : a content type must be defined when there is a body",
                args.keyword
            ),
        )
        .help("add 'content-type text/plain' before it"));
    }
    Ok(())
}

fn unknown_reply_word(args: &Args<'_>, word: &Word, other: &str, rules: ReplyRules) -> Diagnostic {
    let mut known = vec![
        "status",
        "content-type",
        "string",
        "lf-string",
        "file",
        "lf-file",
        "hdr",
    ];
    if rules.deny {
        known.push("deny_status");
    }
    let alert = Diagnostic::alert(
        word.span,
        format!(
            "'{}' expects either 'if' or 'unless' followed by a condition but found '{other}'",
            args.keyword
        ),
    );
    match crate::nearest::did_you_mean(other, known.iter().copied()) {
        Some(hint) => alert.help(hint),
        None => alert.label(format!("or one of {}", crate::values::list(&known))),
    }
}

fn status(args: &mut Args<'_>) -> Result<u16, Diagnostic> {
    let word = args.required("a status code")?;
    Ok(number(word, args.keyword, 200..=599)? as u16)
}

fn file(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<String, Diagnostic> {
    use crate::Surroundings;
    let word = args.required("the path of a file")?;
    let text = scope.environment.read(&word.text).map_err(|why| {
        Diagnostic::alert(word.span, format!("cannot read '{}': {why}", word.text))
    })?;
    if text.len() > FILE_LEN_MAX {
        return Err(Diagnostic::alert(
            word.span,
            format!("'{}' is larger than {FILE_LEN_MAX} bytes", word.text),
        ));
    }
    Ok(text)
}

const REDIRECT_CODES: &[u64] = &[301, 302, 303, 307, 308];

/// `location|prefix|scheme TO [code N] [drop-query] [append-slash] [set-cookie N[=v]]
/// [clear-cookie N[=]]` (manual 4.2, "redirect").
pub(crate) fn redirect(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Redirect, Diagnostic> {
    let mut to = None;
    let mut redirect = Redirect {
        to: RedirectTo::Location(Format::default()),
        code: 302,
        drop_query: false,
        append_slash: false,
        cookie: None,
    };
    while !args.at_condition() {
        let Some(word) = args.next() else { break };
        match word.text.as_str() {
            "location" => to = Some(RedirectTo::Location(target(args, scope)?)),
            "prefix" => to = Some(RedirectTo::Prefix(target(args, scope)?)),
            "scheme" => to = Some(RedirectTo::Scheme(target(args, scope)?)),
            "code" => redirect.code = redirect_code(args)?,
            "drop-query" => redirect.drop_query = true,
            "append-slash" => redirect.append_slash = true,
            "set-cookie" => redirect.cookie = Some(set_cookie(args)?),
            "clear-cookie" => redirect.cookie = Some(clear_cookie(args)?),
            "ignore-empty" | "keep-query" => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'{} {}' is not implemented yet", args.keyword, word.text),
                ));
            }
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'{}' does not know '{other}'", args.keyword),
                )
                .label("expected location, prefix, scheme, code, drop-query, append-slash, set-cookie, clear-cookie, if or unless"));
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

fn target(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Format, Diagnostic> {
    let word = args.required_text("where to redirect to")?;
    format(word, scope, Stage::Request)
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
