//! `http-check expect` and `tcp-check expect` (manual 4.2).

use std::sync::Arc;

use super::Scope;
use super::check_draft::CheckDraft;
use super::check_steps::{self, STAGE, digits, format};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr;
use crate::lexer::Word;
use crate::model::sequence::{
    Action, CheckStatus, Expect, Expected, HeaderPattern, HeaderTest, Pattern, TextMethod,
};
use crate::values::list;

const OK: &[(&str, CheckStatus)] = &[
    ("L7OK", CheckStatus::L7Ok),
    ("L7OKC", CheckStatus::L7OkConditional),
    ("L6OK", CheckStatus::L6Ok),
    ("L4OK", CheckStatus::L4Ok),
];
const ERROR: &[(&str, CheckStatus)] = &[
    ("L7OKC", CheckStatus::L7OkConditional),
    ("L7RSP", CheckStatus::L7Rsp),
    ("L7STS", CheckStatus::L7Sts),
    ("L6RSP", CheckStatus::L6Rsp),
    ("L4CON", CheckStatus::L4Con),
];
const TIMEOUT: &[(&str, CheckStatus)] = &[
    ("L7TOUT", CheckStatus::L7Timeout),
    ("L6TOUT", CheckStatus::L6Timeout),
    ("L4TOUT", CheckStatus::L4Timeout),
];

/// What can be compared in HTTP, and what in bytes.
const HTTP: &[&str] = &[
    "status",
    "rstatus",
    "hdr",
    "fhdr",
    "string",
    "rstring",
    "string-lf",
];
const TCP: &[&str] = &[
    "string",
    "rstring",
    "string-lf",
    "binary",
    "rbinary",
    "binary-lf",
];

pub(crate) fn http(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let (expect, comment) = read(args, HTTP, scope)?;
    check_steps::push_http(draft, args, comment, Some(Action::Expect(expect)), false);
    Ok(())
}

pub(crate) fn tcp(
    draft: &mut CheckDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let (expect, comment) = read(args, TCP, scope)?;
    check_steps::push_tcp(draft, args, comment, Some(Action::Expect(expect)));
    Ok(())
}

/// `[options] [!] MATCH PATTERN`.
fn read(
    args: &mut Args<'_>,
    known: &[&str],
    scope: &Scope<'_>,
) -> Result<(Box<Expect>, Option<Arc<str>>), Diagnostic> {
    // What it compares is read last.
    let mut expect = Expect::new(Expected::Status(Vec::new()));
    let mut comment = None;
    let mut compared = false;
    loop {
        // Options may stand behind the pattern as well.
        let word = match args.peek() {
            None if compared => return Ok((Box::new(expect), comment)),
            _ => args.required(&format!("what to compare: {}", list(known)))?,
        };
        match word.text.as_str() {
            "!" => expect.negated = true,
            "comment" => {
                comment = Some(
                    args.required("a text after 'comment'")?
                        .text
                        .as_str()
                        .into(),
                )
            }
            "min-recv" => expect.min_recv = min_recv(args.required("a number of bytes, or -1")?)?,
            "ok-status" => expect.ok = status(args, OK)?,
            "error-status" => expect.error = Some(status(args, ERROR)?),
            "tout-status" => expect.timeout = status(args, TIMEOUT)?,
            "on-success" => expect.on_success = Some(format(args.required("a text")?, scope)?),
            "on-error" => expect.on_error = Some(format(args.required("a text")?, scope)?),
            "status-code" => {
                let word = args.required("a sample")?;
                let sample = expr::sample::parse(word, &scope.expressions(STAGE))?;
                expect.status_code = Some(sample);
            }
            text => {
                let name = text.strip_prefix('!');
                expect.negated |= name.is_some();
                let name = name.unwrap_or(text);
                if compared {
                    let message = format!(
                        "'{}' cannot handle unexpected argument '{text}'",
                        args.keyword
                    );
                    return Err(Diagnostic::alert(word.span, message)
                        .label("what to compare was said already"));
                }
                if !known.contains(&name) {
                    let message = format!("'{}' does not know '{name}'", args.keyword);
                    return Err(Diagnostic::alert(word.span, message).label(format!(
                        "expected {}, after ! to turn it round",
                        list(known)
                    )));
                }
                expect.what = expected(name, args, scope)?;
                compared = true;
            }
        }
    }
}

fn expected(name: &str, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Expected, Diagnostic> {
    let pattern = match name {
        "status" => return Ok(Expected::Status(statuses(args.required("status codes")?)?)),
        "rstatus" => return Ok(Expected::StatusRegex(regex(args)?)),
        "hdr" | "fhdr" => return header(name == "fhdr", args, scope),
        "rstring" => Pattern::Regex(regex(args)?),
        "string-lf" => Pattern::Format(format(args.required("a text")?, scope)?),
        "binary" => Pattern::Bytes(digits(args.required("hexadecimal digits")?)?),
        "rbinary" => Pattern::HexRegex(regex(args)?),
        "binary-lf" => Pattern::HexFormat(format(args.required("hexadecimal digits")?, scope)?),
        _ => Pattern::Text(args.required("a text")?.text.as_str().into()),
    };
    Ok(Expected::Content(pattern))
}

fn min_recv(word: &Word) -> Result<Option<usize>, Diagnostic> {
    /// More than a buffer never comes.
    const MIN_RECV_MAX: i32 = 1 << 30;
    match word.text.parse::<i32>() {
        Ok(-1) => Ok(None),
        Ok(bytes @ 0..=MIN_RECV_MAX) => Ok(Some(bytes.unsigned_abs() as usize)),
        _ => Err(Diagnostic::alert(
            word.span,
            format!("'min-recv' does not accept '{}'", word.text),
        )
        .label("expected a number of bytes, or -1")),
    }
}

fn status(args: &mut Args<'_>, known: &[(&str, CheckStatus)]) -> Result<CheckStatus, Diagnostic> {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let word = args.required(&list(&names))?;
    let found = known
        .iter()
        .find(|(name, _)| word.text.eq_ignore_ascii_case(name));
    found.map(|(_, status)| *status).ok_or_else(|| {
        Diagnostic::alert(word.span, format!("'{}' is not a status here", word.text))
            .label(format!("expected {}", list(&names)))
    })
}

/// `{name|name-lf} [-m METHOD] PATTERN [{value|value-lf} [-m METHOD] PATTERN]`.
fn header(whole: bool, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Expected, Diagnostic> {
    let word = args.required("'name' or 'name-lf'")?;
    let name = match word.text.as_str() {
        "name" => side(false, args, scope)?,
        "name-lf" => side(true, args, scope)?,
        other => {
            return Err(
                Diagnostic::alert(word.span, format!("'hdr' does not know '{other}'"))
                    .label("expected 'name' or 'name-lf'"),
            );
        }
    };
    // Names are the same in whatever case.
    let name = match name {
        HeaderPattern::Text(method, text) => {
            HeaderPattern::Text(method, text.to_ascii_lowercase().into())
        }
        HeaderPattern::Regex(regex) => {
            let mut anycase = regex::bytes::RegexBuilder::new(regex.as_str());
            HeaderPattern::Regex(anycase.case_insensitive(true).build().unwrap_or(regex))
        }
        format => format,
    };
    let value = if args.take("value") {
        Some(side(false, args, scope)?)
    } else if args.take("value-lf") {
        Some(side(true, args, scope)?)
    } else {
        None
    };
    Ok(Expected::Header(Box::new(HeaderTest {
        whole,
        name,
        value,
    })))
}

fn side(
    computed: bool,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<HeaderPattern, Diagnostic> {
    let mut method = Some(TextMethod::Whole);
    if args.take("-m") {
        let word = args.required("str, beg, end, sub or reg")?;
        method = match word.text.as_str() {
            "str" => Some(TextMethod::Whole),
            "beg" => Some(TextMethod::Beginning),
            "end" => Some(TextMethod::End),
            "sub" => Some(TextMethod::Within),
            "reg" if computed => {
                return Err(Diagnostic::alert(
                    word.span,
                    "a regular expression cannot be made of log-format fields",
                ));
            }
            "reg" => None,
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'-m {other}' is not a way to compare headers"),
                )
                .label("expected str, beg, end, sub or reg"));
            }
        };
    }
    Ok(match method {
        None => HeaderPattern::Regex(regex(args)?),
        Some(method) if computed => {
            HeaderPattern::Format(method, format(args.required("a text")?, scope)?)
        }
        Some(method) => HeaderPattern::Text(method, args.required("a text")?.text.as_str().into()),
    })
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
