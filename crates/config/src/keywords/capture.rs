//! `capture`, `declare capture` and the rules that fill what they declare; `unique-id-format` and
//! `unique-id-header`; `set-log-level` (manual 4.2, 4.4).

use super::log::{LEVELS, only_format};
use super::{ALL, FRONT, FRONT_ONLY, ProxyKeyword, Scope, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::{self, Stage};
use crate::model::{CaptureSlot, CookieCapture, LogLevel, RequestAction, RuleCapture};
use crate::source::Span;
use crate::values::{choice, header_name, next_number, number};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("capture cookie", FRONT_ONLY, cookie),
    implemented("capture request header", FRONT_ONLY, |draft, args, _| {
        let slot = header(args)?;
        draft.front.captures.request.push(slot);
        Ok(())
    }),
    implemented("capture response header", FRONT_ONLY, |draft, args, _| {
        let slot = header(args)?;
        draft.front.captures.response.push(slot);
        Ok(())
    }),
    implemented("declare capture", FRONT_ONLY, declare),
    implemented("unique-id-format", ALL, |draft, args, scope| {
        draft.front.unique_id.format = Some(only_format(args, scope, Stage::Request)?);
        Ok(())
    }),
    implemented("unique-id-header", FRONT, |draft, args, scope| {
        let name = header_name(args.required("the name of a header")?)?;
        args.ignore_rest(scope);
        draft.front.unique_id.header = Some(name);
        Ok(())
    }),
];

/// Longest value that is kept: a line has no more.
const LENGTH_MAX: u64 = 65_535;

/// `NAME len N`.
fn header(args: &mut Args<'_>) -> Result<CaptureSlot, Diagnostic> {
    let name = header_name(args.required("the name of a header")?)?;
    let length_max = length(args, 0)?;
    args.end()?;
    Ok(CaptureSlot {
        header: Some(name),
        length_max,
    })
}

fn length(args: &mut Args<'_>, least: u64) -> Result<usize, Diagnostic> {
    let word = args.required("'len' and a length in bytes")?;
    if !word.is("len") {
        let message = format!("'{}' expects 'len', found '{}'", args.keyword, word.text);
        return Err(Diagnostic::alert(word.span, message).label("expected len N"));
    }
    let word = args.required("a length in bytes after 'len'")?;
    let length = number(word, &format!("{} … len", args.keyword), least..=LENGTH_MAX)?;
    Ok(length as usize)
}

fn cookie(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let span = args.place();
    let word = args.required("the name of a cookie, or what it begins with")?;
    let length_max = length(args, 0)?;
    args.end()?;
    draft.front.captures.cookie = Some(CookieCapture {
        prefix: word.text.as_str().into(),
        length_max,
    });
    draft.http_only.insert("capture cookie", span);
    Ok(())
}

/// `request|response len N`.
fn declare(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("'request' or 'response'")?;
    let request = choice(
        word,
        args.keyword,
        &[("request", true), ("response", false)],
    )?;
    let slot = CaptureSlot {
        header: None,
        length_max: length(args, 1)?,
    };
    args.end()?;
    let captures = &mut draft.front.captures;
    match request {
        true => captures.request.push(slot),
        false => captures.response.push(slot),
    }
    Ok(())
}

/// `http-request capture EXPR len N|id N`; in responses only `id`.
pub(crate) fn rule(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<RuleCapture, Diagnostic> {
    let word = args.required("a sample such as req.hdr(name)")?;
    let sample = expr::sample::parse(word, &scope.expressions(stage))?;
    let may_declare = stage == Stage::Request;
    let expected = if may_declare { "'len' or 'id'" } else { "'id'" };
    let word = args.required(expected)?;
    let mut capture = RuleCapture {
        sample,
        slot: 0,
        declares: None,
    };
    match word.text.as_str() {
        "len" if may_declare => {
            let word = args.required("a length in bytes after 'len'")?;
            let length = number(word, &format!("{} … len", args.keyword), 1..=LENGTH_MAX)?;
            capture.declares = Some(length as usize);
        }
        "id" => capture.slot = next_number::<u32>(args, 0..=u64::from(u16::MAX))? as usize,
        other => {
            let message = format!("'{}' expects {expected}, found '{other}'", args.keyword);
            return Err(Diagnostic::alert(word.span, message).label(format!("expected {expected}")));
        }
    }
    Ok(capture)
}

/// Gives a rule that declares its slot the next one.
pub(crate) fn settle_rule(
    draft: &mut Draft,
    action: &mut RequestAction,
    span: Span,
) -> Result<(), Diagnostic> {
    match action {
        RequestAction::Capture(capture) => {
            declare_slot(draft, capture, span, "http-request capture")
        }
        _ => Ok(()),
    }
}

/// The same for the capture itself.
pub(crate) fn declare_slot(
    draft: &mut Draft,
    capture: &mut RuleCapture,
    span: Span,
    keyword: &str,
) -> Result<(), Diagnostic> {
    let Some(length_max) = capture.declares else {
        return Ok(());
    };
    if !draft.is_front() {
        let message = format!(
            "'{keyword} … len' needs a frontend, which {} is not",
            draft.title()
        );
        return Err(Diagnostic::alert(span, message)
            .help("write 'declare capture request len N' in the frontend, and 'id' here"));
    }
    let slots = &mut draft.front.captures.request;
    capture.slot = slots.len();
    slots.push(CaptureSlot {
        header: None,
        length_max,
    });
    Ok(())
}

/// Tells of rules of a frontend that name a slot which it does not have.
pub(crate) fn check_slots(draft: &Draft, report: &mut Vec<Diagnostic>) {
    use crate::model::ResponseAction;
    let captures = &draft.front.captures;
    let requests = draft.proxy.http_request.iter();
    let requests = requests.filter_map(|rule| match &rule.action {
        RequestAction::Capture(capture) => {
            let missing = capture.slot >= captures.request.len();
            missing.then_some(("http-request", "request", capture.slot, rule.span))
        }
        _ => None,
    });
    let responses = draft.proxy.http_response.iter();
    let responses = responses.filter_map(|rule| match &rule.action {
        ResponseAction::Capture(capture) => {
            let missing = capture.slot >= captures.response.len();
            missing.then_some(("http-response", "response", capture.slot, rule.span))
        }
        _ => None,
    });
    for (rules, direction, slot, span) in requests.chain(responses) {
        let message = format!(
            "{}: unable to find capture id '{slot}' referenced by {rules} capture rule",
            draft.title()
        );
        let help = format!("write 'declare capture {direction} len N' once for each id, from 0");
        report.push(Diagnostic::alert(span, message).help(help));
    }
}

/// `set-log-level LEVEL|silent`.
pub(crate) fn log_level(args: &mut Args<'_>) -> Result<LogLevel, Diagnostic> {
    let word = args.required("a level such as info, or silent")?;
    if word.is("silent") {
        return Ok(LogLevel::Silent);
    }
    choice(word, args.keyword, LEVELS).map(LogLevel::Severity)
}
