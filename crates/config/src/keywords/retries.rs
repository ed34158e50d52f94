//! `retries`, `retry-on` and `option redispatch`: how often, for what and where else a request is
//! tried again (manual 4.2).

use super::options::switched_on;
use super::{BACK, ProxyKeyword, Scope, implemented, invertible};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::lexer::Word;
use crate::model::{RETRIED_STATUSES, RetryOn};
use crate::nearest::did_you_mean;
use crate::values::{next_number, number};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("retries", BACK, |draft, args, _| {
        draft.back.retries = next_number(args, 0..=i32::MAX as u64)?;
        args.end()
    }),
    implemented("retry-on", BACK, retry_on),
    invertible("option redispatch", BACK, redispatch),
];

const EVENTS: [&str; 7] = [
    "none",
    "conn-failure",
    "empty-response",
    "junk-response",
    "response-timeout",
    "0rtt-rejected",
    "all-retryable-errors",
];

/// Replaces what was said before: it is not cumulative.
fn retry_on(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let first = args.required("at least one keyword or status that says when to retry")?;
    let mut retry_on = RetryOn::NONE;
    let words: Vec<&Word> = std::iter::once(first).chain(args.rest()).collect();
    for word in &words {
        match word.text.as_str() {
            "none" if words.len() == 1 => {}
            "none" => {
                return Err(Diagnostic::alert(
                    word.span,
                    "'retry-on' : 'none' is only usable alone",
                ));
            }
            "conn-failure" => retry_on.no_connection = true,
            "empty-response" => retry_on.empty = true,
            "junk-response" => retry_on.junk = true,
            "response-timeout" => retry_on.timeout = true,
            // Nothing is ever sent to servers as early data, so none can reject it.
            "0rtt-rejected" => {}
            "all-retryable-errors" => {
                retry_on.no_connection = true;
                retry_on.empty = true;
                retry_on.junk = true;
                retry_on.timeout = true;
                retry_on.statuses.extend([500, 502, 503, 504]);
            }
            other => retry_on.statuses.push(status(word, other)?),
        }
    }
    retry_on.statuses.sort_unstable();
    retry_on.statuses.dedup();
    draft.back.retry_on = retry_on;
    Ok(())
}

fn status(word: &Word, text: &str) -> Result<u16, Diagnostic> {
    if let Some(status) = text.parse().ok().filter(|it| RETRIED_STATUSES.contains(it)) {
        return Ok(status);
    }
    let alert = Diagnostic::alert(word.span, format!("'retry-on' : unknown keyword '{text}'"));
    Err(match did_you_mean(text, EVENTS.iter().copied()) {
        Some(hint) => alert.help(hint),
        None => alert.label(format!(
            "expected {}, or a status of {}",
            crate::values::list(&EVENTS),
            RETRIED_STATUSES.map(|status| status.to_string()).join(", "),
        )),
    })
}

/// `option redispatch [N]`: every Nth retry goes elsewhere, counted from the end when negative.
fn redispatch(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    if !switched_on(args) {
        args.end()?;
        draft.back.redispatch = None;
        return Ok(());
    }
    draft.back.redispatch = Some(match args.peek() {
        None => -1,
        Some(word) => match word.text.strip_prefix('-') {
            Some(_) => {
                args.next();
                let digits = Word {
                    text: word.text[1..].to_owned(),
                    ..word.clone()
                };
                let number = number(&digits, args.keyword, 0..=i32::MAX as u64)?;
                -i32::try_from(number).unwrap_or(i32::MAX)
            }
            None => next_number::<i32>(args, 0..=i32::MAX as u64)?,
        },
    });
    args.end()
}
