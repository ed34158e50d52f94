//! `option httpchk`, `option tcp-check`, `http-check …`, `tcp-check …`, and the section `healthcheck`
//! (manual 4.2; 3.14, "healthcheck").

use std::sync::Arc;

use super::check_draft::{CheckDraft, CheckKind};
use super::own::OwnParse;
use super::refused;
use super::{
    BACK, Keyword, ProxyKeyword, Scope, check_expect, check_steps, implemented, known_checks,
};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::lexer::Word;
use crate::model::{CheckText, HttpSend};
use crate::values::{header_name, header_text};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("option httpchk", BACK, |d, a, s| {
        httpchk(&mut d.back.checks, a, s)
    }),
    implemented("option tcp-check", BACK, |d, a, s| {
        tcp_check(&mut d.back.checks, a, s)
    }),
    implemented("option ldap-check", BACK, |d, a, s| {
        known_checks::ldap(&mut d.back.checks, a, s)
    }),
    implemented("option mysql-check", BACK, |d, a, s| {
        known_checks::mysql(&mut d.back.checks, a, s)
    }),
    implemented("option pgsql-check", BACK, |d, a, s| {
        known_checks::pgsql(&mut d.back.checks, a, s)
    }),
    implemented("option redis-check", BACK, |d, a, s| {
        known_checks::redis(&mut d.back.checks, a, s)
    }),
    implemented("option smtpchk", BACK, |d, a, s| {
        known_checks::smtp(&mut d.back.checks, a, s)
    }),
    implemented("option spop-check", BACK, |d, a, s| {
        known_checks::spop(&mut d.back.checks, a, s)
    }),
    implemented("option ssl-hello-chk", BACK, |d, a, s| {
        known_checks::ssl_hello(&mut d.back.checks, a, s)
    }),
    implemented("http-check comment", BACK, |d, a, s| {
        check_steps::http_comment(&mut d.back.checks, a, s)
    }),
    implemented("http-check connect", BACK, |d, a, s| {
        check_steps::http_connect(&mut d.back.checks, a, s)
    }),
    implemented("http-check disable-on-404", BACK, |d, a, s| {
        disable_on_404(&mut d.back.checks, a, s)
    }),
    implemented("http-check expect", BACK, |d, a, s| {
        check_expect::http(&mut d.back.checks, a, s)
    }),
    implemented("http-check send", BACK, |d, a, s| {
        send(&mut d.back.checks, a, s)
    }),
    implemented("http-check send-state", BACK, |d, a, s| {
        send_state(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check comment", BACK, |d, a, s| {
        check_steps::tcp_comment(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check connect", BACK, |d, a, s| {
        check_steps::tcp_connect(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check expect", BACK, |d, a, s| {
        check_expect::tcp(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check send", BACK, |d, a, s| {
        check_steps::send(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check send-lf", BACK, |d, a, s| {
        check_steps::send(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check send-binary", BACK, |d, a, s| {
        check_steps::send(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check send-binary-lf", BACK, |d, a, s| {
        check_steps::send(&mut d.back.checks, a, s)
    }),
    implemented("http-check set-var", BACK, |d, a, s| {
        check_steps::http_memory(&mut d.back.checks, a, s)
    }),
    implemented("http-check set-var-fmt", BACK, |d, a, s| {
        check_steps::http_memory(&mut d.back.checks, a, s)
    }),
    implemented("http-check unset-var", BACK, |d, a, s| {
        check_steps::http_memory(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check set-var", BACK, |d, a, s| {
        check_steps::tcp_memory(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check set-var-fmt", BACK, |d, a, s| {
        check_steps::tcp_memory(&mut d.back.checks, a, s)
    }),
    implemented("tcp-check unset-var", BACK, |d, a, s| {
        check_steps::tcp_memory(&mut d.back.checks, a, s)
    }),
];

/// Section `healthcheck`: the same lines, and `type` in place of `option`.
pub(crate) const SECTION: &[Keyword<OwnParse<CheckDraft>, ()>] = &[
    implemented("type httpchk", (), httpchk),
    implemented("type tcp-check", (), tcp_check),
    implemented("type ldap-check", (), known_checks::ldap),
    implemented("type mysql-check", (), known_checks::mysql),
    implemented("type pgsql-check", (), known_checks::pgsql),
    implemented("type redis-check", (), known_checks::redis),
    implemented("type smtpchk", (), known_checks::smtp),
    implemented("type spop-check", (), known_checks::spop),
    implemented("type ssl-hello-chk", (), known_checks::ssl_hello),
    refused(
        "type external-check",
        (),
        "a section has no program of its own, in HAProxy either",
        "write 'option external-check' and 'external-check command' in the backend",
    ),
    implemented("http-check comment", (), check_steps::http_comment),
    implemented("http-check connect", (), check_steps::http_connect),
    implemented("http-check disable-on-404", (), disable_on_404),
    implemented("http-check expect", (), check_expect::http),
    implemented("http-check send", (), send),
    implemented("http-check send-state", (), send_state),
    implemented("tcp-check comment", (), check_steps::tcp_comment),
    implemented("tcp-check connect", (), check_steps::tcp_connect),
    implemented("tcp-check expect", (), check_expect::tcp),
    implemented("tcp-check send", (), check_steps::send),
    implemented("tcp-check send-lf", (), check_steps::send),
    implemented("tcp-check send-binary", (), check_steps::send),
    implemented("tcp-check send-binary-lf", (), check_steps::send),
    implemented("http-check set-var", (), check_steps::http_memory),
    implemented("http-check set-var-fmt", (), check_steps::http_memory),
    implemented("http-check unset-var", (), check_steps::http_memory),
    implemented("tcp-check set-var", (), check_steps::tcp_memory),
    implemented("tcp-check set-var-fmt", (), check_steps::tcp_memory),
    implemented("tcp-check unset-var", (), check_steps::tcp_memory),
];

fn tcp_check(draft: &mut CheckDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    args.end()?;
    draft.kind = Some(CheckKind::Tcp);
    Ok(())
}

fn disable_on_404(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    args.end()?;
    draft.disable_on_404 = true;
    draft.span = Some(args.place());
    Ok(())
}

fn send_state(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    args.end()?;
    draft.send_state = true;
    draft.span = Some(args.place());
    Ok(())
}

/// `[uri]`, `method uri` or `method uri version [host]`. Begins afresh, unless this very section has an
/// `http-check send` before it: that is kept but for what is said here.
fn httpchk(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let mut request = match draft.own_send {
        true => draft.request.clone(),
        false => HttpSend::default(),
    };
    match args.rest() {
        [] => {}
        [uri] => request.uri = fixed(uri)?,
        [method, uri] => {
            request.method = token(method)?;
            request.uri = fixed(uri)?;
        }
        [method, uri, version, more @ ..] => {
            request.method = token(method)?;
            request.uri = fixed(uri)?;
            version_and_headers(&mut request, version, scope)?;
            if let [host, ..] = more {
                request.headers.push(("host".into(), fixed(host)?));
            }
            if let Some(word) = more.get(1) {
                return Err(Diagnostic::alert(
                    word.span,
                    format!(
                        "'option httpchk' cannot handle unexpected argument '{}'",
                        word.text
                    ),
                )
                .help("give headers with 'http-check send hdr NAME VALUE'"));
            }
        }
    }
    draft.request = request;
    draft.own_request = true;
    draft.kind = Some(CheckKind::Http);
    Ok(())
}

fn fixed(word: &Word) -> Result<CheckText, Diagnostic> {
    header_text(word).map(CheckText::Fixed)
}

/// The version, behind which old configurations hide headers and a body: "HTTP/1.1\r\nHost:\ x".
fn version_and_headers(
    request: &mut HttpSend,
    word: &Word,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let text = word.text.replace("\r\n", "\n");
    let (version, hidden) = text.split_once('\n').unwrap_or((text.as_str(), ""));
    request.version = parse_version(word, version)?;
    if hidden.is_empty() {
        return Ok(());
    }
    scope.report(
        Diagnostic::warning(
            word.span,
            "'option httpchk' : hiding headers or body at the end of the version string is deprecated",
        )
        .help("use 'http-check send hdr NAME VALUE body TEXT'"),
    );
    let (head, body) = match hidden.split_once("\n\n") {
        Some((head, body)) => (head, Some(body)),
        None => (hidden, None),
    };
    for line in head.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| {
            Diagnostic::alert(
                word.span,
                format!("'{line}' is not a header: there is no colon"),
            )
        })?;
        let part = |text: &str| Word {
            text: text.trim().to_owned(),
            ..word.clone()
        };
        let header = (header_name(&part(name))?, fixed(&part(value))?);
        request.headers.push(header);
    }
    let body = body.filter(|body| !body.is_empty());
    request.body = body.map(|body| CheckText::Fixed(body.into()));
    Ok(())
}

fn parse_version(word: &Word, version: &str) -> Result<Arc<str>, Diagnostic> {
    match version {
        "HTTP/1.0" | "HTTP/1.1" => Ok(version.into()),
        _ => Err(Diagnostic::alert(
            word.span,
            format!("'{version}' is not a version checks can be sent in"),
        )
        .label("expected HTTP/1.0 or HTTP/1.1")),
    }
}

/// A method: an RFC 9110 token, as written.
fn token(word: &Word) -> Result<Arc<str>, Diagnostic> {
    header_name(word)
        .map_err(|_| Diagnostic::alert(word.span, format!("'{}' is not a method", word.text)))?;
    Ok(word.text.as_str().into())
}

/// `[meth M] [uri U] [ver V] [hdr N V]… [body B] [comment C]`. The first one changes what `option
/// httpchk` said; others are requests of their own.
fn send(draft: &mut CheckDraft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let first = draft.http.wants_request();
    let mut request = match first && draft.own_request {
        true => draft.request.clone(),
        false => HttpSend::default(),
    };
    request.headers.clear();
    request.body = None;
    let mut comment = None;
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "meth" => request.method = token(args.required("a method after 'meth'")?)?,
            "uri" => request.uri = fixed(args.required("a path after 'uri'")?)?,
            "uri-lf" => {
                request.uri = check_steps::text(args.required("a path after 'uri-lf'")?, scope)?
            }
            "ver" => {
                let version = args.required("a version after 'ver'")?;
                request.version = parse_version(version, &version.text)?;
            }
            "hdr" => {
                let name = header_name(args.required("a header name after 'hdr'")?)?;
                let value =
                    check_steps::text(args.required_text("a value after the header name")?, scope)?;
                // The length is that of the body, and it is never chunked.
                if !matches!(&*name, "content-length" | "transfer-encoding") {
                    request.headers.push((name, value));
                }
            }
            "body" => {
                let body = args.required_text("a text after 'body'")?;
                request.body = Some(CheckText::Fixed(body.text.as_str().into()));
            }
            "body-lf" => {
                let body = args.required_text("a text after 'body-lf'")?;
                request.body = Some(check_steps::format_or_text(body, scope)?);
            }
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
                    format!("'http-check send' does not know '{other}'"),
                )
                .label("expected meth, uri, uri-lf, ver, hdr, body, body-lf or comment"));
            }
        }
    }
    let what = Some(crate::model::sequence::Action::Request(request.clone()));
    check_steps::push_http(draft, args, comment, what, first);
    if first {
        draft.request = request;
        draft.own_request = true;
        draft.own_send = true;
    }
    Ok(())
}
