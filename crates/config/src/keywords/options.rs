//! `option …` (manual 4.2).

use super::{ALL, BACK, FRONT, ProxyKeyword, Scope, accepted, implemented, invertible, not_yet};
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
    not_yet("option checkcache", BACK),
    not_yet("option forwarded", BACK),
    not_yet("option h1-case-adjust-bogus-client", FRONT),
    not_yet("option h1-case-adjust-bogus-server", BACK),
    not_yet("option http-buffer-request", ALL),
    not_yet("option http-drop-request-trailers", BACK),
    not_yet("option http-drop-response-trailers", FRONT),
    not_yet("option http-restrict-req-hdr-names", ALL),
    not_yet("option idle-close-on-response", FRONT),
    not_yet("option independent-streams", ALL),
];

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
