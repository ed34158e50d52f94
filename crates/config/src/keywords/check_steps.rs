//! `connect`, `send` and `comment` of `http-check` and `tcp-check` (manual 4.2).

use std::sync::Arc;

use super::check_draft::{CheckDraft, CheckLine};
use super::{Scope, common};
use crate::address::{self, Address, Host, Port, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::{self, Part, Stage};
use crate::lexer::Word;
use crate::model::CheckText;
use crate::model::sequence::{Action, Connect, ConnectPort};
use crate::values::header_text;

/// Checks look at answers: what expressions may see.
pub(crate) const STAGE: Stage = Stage::Response;

/// A text of a header or request line, with log-format fields.
pub(crate) fn text(word: &Word, scope: &Scope<'_>) -> Result<CheckText, Diagnostic> {
    header_text(word)?;
    format_or_text(word, scope)
}

/// The same where anything may stand.
pub(crate) fn format_or_text(word: &Word, scope: &Scope<'_>) -> Result<CheckText, Diagnostic> {
    let format = format(word, scope)?;
    Ok(match &format.parts[..] {
        [] => CheckText::Fixed("".into()),
        [Part::Text(text)] => CheckText::Fixed(text.clone()),
        _ => CheckText::Format(format),
    })
}

pub(crate) fn format(word: &Word, scope: &Scope<'_>) -> Result<expr::Format, Diagnostic> {
    expr::format::parse(word, &scope.expressions(STAGE))
}

pub(crate) fn push_http(
    draft: &mut CheckDraft,
    args: &Args<'_>,
    comment: Option<Arc<str>>,
    what: Option<Action>,
    sends_request: bool,
) {
    draft.span = Some(args.place());
    draft.http.push(CheckLine {
        span: args.place(),
        comment,
        what,
        sends_request,
    });
}

pub(crate) fn push_tcp(
    draft: &mut CheckDraft,
    args: &Args<'_>,
    comment: Option<Arc<str>>,
    what: Option<Action>,
) {
    draft.tcp.push(CheckLine {
        span: args.place(),
        comment,
        what,
        sends_request: false,
    });
}

fn comment(args: &mut Args<'_>) -> Result<Arc<str>, Diagnostic> {
    let text = args.required("a text")?.text.as_str().into();
    args.end()?;
    Ok(text)
}

pub(crate) fn http_comment(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let text = comment(args)?;
    push_http(draft, args, Some(text), None, false);
    Ok(())
}

pub(crate) fn tcp_comment(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let text = comment(args)?;
    push_tcp(draft, args, Some(text), None);
    Ok(())
}

pub(crate) fn http_connect(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let (connect, comment) = connect(args, scope)?;
    push_http(draft, args, comment, Some(Action::Connect(connect)), false);
    Ok(())
}

pub(crate) fn tcp_connect(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let (connect, comment) = connect(args, scope)?;
    push_tcp(draft, args, comment, Some(Action::Connect(connect)));
    Ok(())
}

fn connect(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(Connect, Option<Arc<str>>), Diagnostic> {
    let (mut connect, mut comment) = (Connect::default(), None);
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "default" => connect.inherits = true,
            "port" => connect.port = Some(port(args.required("a port, or a sample")?, scope)?),
            "addr" => addr(&mut connect, args.required("an IP address")?)?,
            "send-proxy" => connect.send_proxy = true,
            "via-socks4" => connect.via_socks4 = true,
            "ssl" => connect.tls = true,
            "sni" => connect.sni = Some(args.required("a host name")?.text.as_str().into()),
            "alpn" => {
                let told = "HTTP/2 is not spoken to servers yet: 'h2' is not offered";
                let names = super::tls::alpn(args, scope, told, "servers fall back to http/1.1")?;
                connect.alpn = Some(names);
            }
            "proto" => super::params::proto("connect", args)?,
            "linger" => connect.linger = true,
            "comment" => {
                comment = Some(
                    args.required("a text after 'comment'")?
                        .text
                        .as_str()
                        .into(),
                )
            }
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'{}' does not know '{other}'", args.keyword),
                )
                .label("expected default, port, addr, send-proxy, via-socks4, ssl, sni, alpn, proto, linger or comment"));
            }
        }
    }
    Ok((connect, comment))
}

fn port(word: &Word, scope: &Scope<'_>) -> Result<ConnectPort, Diagnostic> {
    if word.text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match word.text.parse() {
            Ok(port @ 1..) => Ok(ConnectPort::Fixed(port)),
            _ => Err(
                Diagnostic::alert(word.span, format!("'{}' is not a port", word.text))
                    .label("expected 1 to 65535"),
            ),
        };
    }
    let sample = expr::sample::parse(word, &scope.expressions(STAGE))?;
    Ok(ConnectPort::Computed(Box::new(sample)))
}

fn addr(connect: &mut Connect, word: &Word) -> Result<(), Diagnostic> {
    let Address::Inet {
        host: Host::Ip(ip),
        port,
    } = address::parse(&word.text, word, "addr", Transport::Stream)?
    else {
        return Err(
            Diagnostic::alert(word.span, format!("invalid address '{}'", word.text))
                .label("expected an IPv4 or IPv6 address"),
        );
    };
    connect.addr = match port {
        Port::One(port @ 1..) => Some((ip, Some(port))),
        Port::None | Port::One(_) => Some((ip, None)),
        Port::Range(..) | Port::Offset(_) => {
            return Err(Diagnostic::alert(
                word.span,
                format!("'{}' has more than one port", word.text),
            ));
        }
    };
    Ok(())
}

/// `set-var`, `set-var-fmt` and `unset-var`, whose word has the name in parentheses.
fn memory(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Action, Diagnostic> {
    let base = args.keyword.rsplit(' ').next().unwrap_or(args.keyword);
    let row = common::find(base, common::CHECK);
    match (row, args.last()) {
        (Some(row), Some(word)) => {
            let action = common::read(row, word, common::CHECK, args, scope)?;
            args.end()?;
            Ok(Action::Remember(action))
        }
        _ => Err(Diagnostic::alert(args.place(), "unknown action")),
    }
}

pub(crate) fn http_memory(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let what = memory(args, scope)?;
    push_http(draft, args, None, Some(what), false);
    Ok(())
}

pub(crate) fn tcp_memory(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let what = memory(args, scope)?;
    push_tcp(draft, args, None, Some(what));
    Ok(())
}

/// `send`, `send-lf`, `send-binary` and `send-binary-lf` of `tcp-check`: `DATA [comment TEXT]`.
pub(crate) fn send(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("what to send")?;
    let what = match args.keyword {
        "tcp-check send-lf" => Action::SendFormat(format(word, scope)?),
        "tcp-check send-binary" => Action::Send(digits(word)?),
        "tcp-check send-binary-lf" => Action::SendHexFormat(format(word, scope)?),
        _ => Action::Send(word.text.as_bytes().into()),
    };
    let comment = match args.take("comment") {
        true => Some(
            args.required("a text after 'comment'")?
                .text
                .as_str()
                .into(),
        ),
        false => None,
    };
    args.end()?;
    push_tcp(draft, args, comment, Some(what));
    Ok(())
}

/// Hexadecimal digits, two a byte.
pub(crate) fn digits(word: &Word) -> Result<Arc<[u8]>, Diagnostic> {
    crate::model::sequence::unhex(word.text.as_bytes())
        .map(Arc::from)
        .ok_or_else(|| {
            Diagnostic::alert(
                word.span,
                format!(
                    "'{}' is not an even number of hexadecimal digits",
                    word.text
                ),
            )
        })
}
