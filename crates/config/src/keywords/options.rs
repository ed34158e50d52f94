//! `option …` (manual 4.2).

use super::{
    ALL, BACK, FRONT, ProxyKeyword, Scope, SectionKind, accepted, implemented, invertible, legacy,
    not_in_force, refused,
};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::model::{ConnectionMode, ForwardFor};
use crate::values::{header_name, network};

const NO_HTTP2: &str = "HTTP/2 is not served yet";
const SENT_AT_ONCE: &str = "data is always sent at once";
const COUNTED: &str = "counters are always up to date";
const SPLICE: &str = "how bytes are relayed is chosen by the engine";

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("option forwardfor", ALL, forwardfor),
    invertible("option http-keep-alive", ALL, |draft, args, _| {
        connection(draft, args, ConnectionMode::KeepAlive)
    }),
    invertible("option http-server-close", ALL, |draft, args, _| {
        connection(draft, args, ConnectionMode::ServerClose)
    }),
    invertible("option httpclose", ALL, |draft, args, _| {
        connection(draft, args, ConnectionMode::Close)
    }),
    accepted("option contstats", FRONT, COUNTED),
    accepted("option disable-h2-upgrade", FRONT, NO_HTTP2),
    accepted("option http-no-delay", ALL, SENT_AT_ONCE),
    invertible("option socket-stats", FRONT, |draft, args, _| {
        draft.front.socket_stats = !args.negated() && !args.restores_default();
        Ok(())
    }),
    accepted("option splice-auto", ALL, SPLICE),
    accepted("option splice-request", ALL, SPLICE),
    accepted("option splice-response", ALL, SPLICE),
    accepted(
        "option use-small-buffers",
        BACK,
        "buffers are given back when idle",
    ),
    refused(
        "option checkcache",
        BACK,
        "responses are not searched for cookies that caches could keep",
        "write: http-response deny if { res.hdr(set-cookie) -m found } !{ res.hdr(cache-control) -m sub private no-store no-cache }",
    ),
    refused(
        "option h1-case-adjust-bogus-client",
        FRONT,
        CASE,
        CASE_INSTEAD,
    ),
    refused(
        "option h1-case-adjust-bogus-server",
        BACK,
        CASE,
        CASE_INSTEAD,
    ),
    not_in_force("option http-drop-request-trailers", BACK, TRAILERS),
    not_in_force("option http-drop-response-trailers", FRONT, TRAILERS),
    implemented("option http-restrict-req-hdr-names", ALL, restrict_names),
    not_in_force(
        "option idle-close-on-response",
        FRONT,
        "a soft stop closes idle connections at once; clients open new ones",
    ),
    not_in_force(
        "option independent-streams",
        ALL,
        "what moves in either direction keeps both alive",
    ),
];

const CASE: &str = "names of header fields are sent as HTTP compares them, without regard to case";
const CASE_INSTEAD: &str =
    "have the other side mended: names in any case mean the same (RFC 9110 5.1)";
const TRAILERS: &str = "what follows a chunked body is passed on, stripped of what frames messages";

/// `option http-restrict-req-hdr-names preserve|delete|reject` (manual 4.2), by rules.
fn restrict_names(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("preserve, delete or reject")?;
    args.end()?;
    let rule = match word.text.as_str() {
        "preserve" => None,
        "delete" => Some("http-request del-header [^a-zA-Z0-9-] -m reg"),
        "reject" => {
            Some("http-request deny deny_status 403 if { req.hdr_names -m reg [^a-zA-Z0-9,-] }")
        }
        other => {
            let message = format!("'{}' does not know '{other}'", args.keyword);
            let alert = Diagnostic::alert(word.span, message);
            return Err(alert.label("expected preserve, delete or reject"));
        }
    };
    draft.restrict_names = rule.map(|rule| (rule, word.span));
    Ok(())
}

/// At a section's end: what `option http-restrict-req-hdr-names` says, here or in its `defaults`, goes before all
/// rules. Wherever the line stands, it is no rule that others are placed before or after.
pub(crate) fn settle_names(draft: &mut Draft, scope: &Scope<'_>) {
    if draft.kind == SectionKind::Defaults {
        return;
    }
    let Some((rule, place)) = draft.restrict_names.take() else {
        return;
    };
    let redirects = std::mem::take(&mut draft.redirects);
    let outcome = legacy::first(draft, |draft| legacy::rule(draft, rule, place, scope));
    draft.redirects = redirects;
    if let Err(wrong) = outcome {
        scope.report(wrong);
    }
}

/// Whether the line switches its option on.
pub(crate) fn switched_on(args: &Args<'_>) -> bool {
    !args.negated() && !args.restores_default()
}

/// The last of the three wins; `no` takes back only its own (manual 4, "connection modes").
fn connection(
    draft: &mut Draft,
    args: &mut Args<'_>,
    mode: ConnectionMode,
) -> Result<(), Diagnostic> {
    args.end()?;
    if switched_on(args) {
        draft.proxy.connection = mode;
        draft.http_only.insert(args.keyword, args.place());
    } else if draft.proxy.connection == mode {
        draft.proxy.connection = ConnectionMode::default();
        draft.http_only.remove(args.keyword);
    }
    Ok(())
}

fn forwardfor(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let mut forwardfor = ForwardFor {
        except: None,
        header: "x-forwarded-for".into(),
        if_none: false,
    };
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "except" => {
                let mask = args.required("an address or network after 'except'")?;
                forwardfor.except = Some(network(mask)?);
            }
            "header" => {
                forwardfor.header = header_name(args.required("a header name after 'header'")?)?;
            }
            "if-none" => forwardfor.if_none = true,
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'option forwardfor' does not know '{other}'"),
                )
                .label("expected except NETWORK, header NAME or if-none"));
            }
        }
    }
    draft.proxy.forwardfor = Some(forwardfor);
    draft.http_only.insert(args.keyword, args.place());
    Ok(())
}
