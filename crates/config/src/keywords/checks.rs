//! `option httpchk` and `http-check …` (manual 4.2).

use std::sync::Arc;

use super::{BACK, ProxyKeyword, Scope, implemented, not_yet};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::lexer::Word;
use crate::model::{Expect, Expected, HttpCheck};
use crate::values::{header_name, header_text};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("option httpchk", BACK, httpchk),
    implemented("http-check comment", BACK, |_, args, _| {
        args.required("a text")?;
        args.end()
    }),
    implemented("http-check expect", BACK, expect),
    implemented("http-check send", BACK, send),
    not_yet("http-check connect", BACK),
    not_yet("http-check disable-on-404", BACK),
    not_yet("http-check send-state", BACK),
    not_yet("http-check set-var", BACK),
    not_yet("http-check set-var-fmt", BACK),
    not_yet("http-check unset-var", BACK),
];

/// `[uri]`, `method uri` or `method uri version [host]`. Begins afresh, unless this very section has an
/// `http-check send` before it: that is kept but for what is said here.
fn httpchk(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let mut check = match draft.back.own_send {
        true => draft.back.check.clone(),
        false => HttpCheck::default(),
    };
    match args.rest() {
        [] => {}
        [uri] => check.uri = header_text(uri)?,
        [method, uri] => {
            check.method = token(method)?;
            check.uri = header_text(uri)?;
        }
        [method, uri, version, more @ ..] => {
            check.method = token(method)?;
            check.uri = header_text(uri)?;
            version_and_headers(&mut check, version, scope)?;
            if let [host, ..] = more {
                check.headers.push(("host".into(), header_text(host)?));
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
    if let Some(previous) = draft.back.own_expects.then_some(&draft.back.check.expect) {
        check.expect = previous.clone();
    }
    draft.back.check = check;
    draft.back.own_request = true;
    draft.back.httpchk = true;
    Ok(())
}

/// The version, behind which old configurations hide headers and a body: "HTTP/1.1\r\nHost:\ x".
fn version_and_headers(
    check: &mut HttpCheck,
    word: &Word,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let text = word.text.replace("\r\n", "\n");
    let (version, hidden) = text.split_once('\n').unwrap_or((text.as_str(), ""));
    check.version = parse_version(word, version)?;
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
        let header = (header_name(&part(name))?, header_text(&part(value))?);
        check.headers.push(header);
    }
    check.body = body.filter(|body| !body.is_empty()).map(Arc::from);
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

/// `[meth M] [uri U] [ver V] [hdr N V]… [body B] [comment C]`. The first line of a section about its
/// checks replaces what was inherited, as in HAProxy.
fn send(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let mut check = match draft.back.own_request {
        true => draft.back.check.clone(),
        false => HttpCheck::default(),
    };
    if draft.back.own_expects {
        check.expect.clone_from(&draft.back.check.expect);
    }
    check.headers.clear();
    check.body = None;
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "meth" => check.method = token(args.required("a method after 'meth'")?)?,
            "uri" => check.uri = header_text(args.required("a path after 'uri'")?)?,
            "ver" => {
                let version = args.required("a version after 'ver'")?;
                check.version = parse_version(version, &version.text)?;
            }
            "hdr" => {
                let name = header_name(args.required("a header name after 'hdr'")?)?;
                let value = args.required_text("a value after the header name")?;
                check.headers.push((name, plain(value)?));
            }
            "body" => {
                let body = args.required_text("a text after 'body'")?;
                check.body = Some(body.text.as_str().into());
            }
            "comment" => {
                args.required("a text after 'comment'")?;
            }
            "uri-lf" | "body-lf" => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'http-check send {}' is not implemented yet", word.text),
                ));
            }
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'http-check send' does not know '{other}'"),
                )
                .label("expected meth, uri, ver, hdr, body or comment"));
            }
        }
    }
    draft.back.check = check;
    draft.back.own_request = true;
    draft.back.own_send = true;
    draft.back.check_span = Some(args.place());
    Ok(())
}

/// A header value without log-format fields: checks have no session to fill them from.
fn plain(word: &Word) -> Result<Arc<str>, Diagnostic> {
    if word.text.replace("%%", "").contains('%') {
        return Err(Diagnostic::alert(
            word.span,
            "log-format fields in 'http-check send' are not implemented yet",
        ));
    }
    let text = Word {
        text: word.text.replace("%%", "%"),
        ..word.clone()
    };
    header_text(&text)
}

/// `[comment C] [!] status|rstatus|string|rstring PATTERN`. All lines of a section must hold; they
/// replace inherited ones.
fn expect(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let mut negated = false;
    let what = loop {
        let word = args.required("what to compare: status, rstatus, string or rstring")?;
        match word.text.as_str() {
            "!" => negated = true,
            "comment" => {
                args.required("a text after 'comment'")?;
            }
            "min-recv" | "ok-status" | "error-status" | "tout-status" | "on-success"
            | "on-error" | "status-code" => return Err(expect_not_yet(word)),
            other => break expected(word, other.strip_prefix('!'), args, &mut negated)?,
        }
    };
    args.end()?;
    draft.back.check_span = Some(args.place());
    if !draft.back.own_expects {
        draft.back.own_expects = true;
        draft.back.check.expect.clear();
    }
    draft.back.check.expect.push(Expect { negated, what });
    Ok(())
}

fn expect_not_yet(word: &Word) -> Diagnostic {
    Diagnostic::alert(
        word.span,
        format!("'http-check expect {}' is not implemented yet", word.text),
    )
}

/// The match and its pattern; `!` may be glued to the match.
fn expected(
    word: &Word,
    glued: Option<&str>,
    args: &mut Args<'_>,
    negated: &mut bool,
) -> Result<Expected, Diagnostic> {
    *negated |= glued.is_some();
    match glued.unwrap_or(&word.text) {
        "status" => Ok(Expected::Status(statuses(args.required("status codes")?)?)),
        "rstatus" => Ok(Expected::StatusRegex(regex(args)?)),
        "string" => {
            let text = args.required("a text")?;
            Ok(Expected::Body(text.text.as_str().into()))
        }
        "rstring" => Ok(Expected::BodyRegex(regex(args)?)),
        "string-lf" | "hdr" | "fhdr" => Err(expect_not_yet(word)),
        other => Err(Diagnostic::alert(
            word.span,
            format!("'http-check expect' does not know '{other}'"),
        )
        .label("expected status, rstatus, string or rstring, after ! to turn it round")),
    }
}

/// `200,204,300-399`.
fn statuses(word: &Word) -> Result<Vec<(u16, u16)>, Diagnostic> {
    let bad = || {
        Diagnostic::alert(
            word.span,
            format!("'http-check expect status' does not accept '{}'", word.text),
        )
        .label("expected codes or ranges such as 200,204,300-399")
    };
    let code = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|code| (100..=999).contains(code))
            .ok_or_else(bad)
    };
    word.text
        .split(',')
        .map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (code(from)?, code(to)?);
            (from <= to).then_some((from, to)).ok_or_else(bad)
        })
        .collect()
}

fn regex(args: &mut Args<'_>) -> Result<regex::bytes::Regex, Diagnostic> {
    let word = args.required("a regular expression")?;
    regex::bytes::Regex::new(&word.text).map_err(|why| {
        let why = why.to_string();
        let last = why.lines().last().unwrap_or_default().to_owned();
        Diagnostic::alert(
            word.span,
            format!("'{}' is not a regular expression here", word.text),
        )
        .label(last)
    })
}
