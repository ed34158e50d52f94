//! What a message is made to wait for before its rules go on: `wait-for-body`, `pause` (manual 4.4).

use std::time::Duration;

use super::Scope;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::{self, Stage};
use crate::model::{BodyWait, NewTimeout};
use crate::values::{Unit, duration, size};

/// `time TIME [at-least BYTES]`.
pub(super) fn body(args: &mut Args<'_>) -> Result<BodyWait, Diagnostic> {
    let (mut limit, mut at_least) = (None, None);
    loop {
        if args.take("time") {
            let word = args.required("a time")?;
            limit = Some(duration(word, args.keyword, Unit::Milliseconds)?);
        } else if args.take("at-least") {
            let word = args.required("a number of bytes")?;
            let bytes = size(word, args.keyword, 0..=AT_LEAST_MAX)?;
            at_least = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        } else if args.take("use-large-buffer") {
            // A buffer has one size here, which `tune.bufsize` says.
        } else {
            break;
        }
    }
    let Some(limit) = limit else {
        let message = format!("'{}' needs 'time' and how long it may take", args.keyword);
        return Err(Diagnostic::alert(args.missing_place(), message));
    };
    Ok(BodyWait {
        limit: Some(limit),
        at_least,
    })
}

/// More than any buffer: it is full before.
const AT_LEAST_MAX: u64 = i32::MAX as u64;

/// `TIME|EXPR`.
pub(super) fn pause(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<NewTimeout, Diagnostic> {
    let word = args.required("a time, or a sample in milliseconds")?;
    if word.text.starts_with(|c: char| c.is_ascii_digit()) {
        let time: Duration = duration(word, args.keyword, Unit::Milliseconds)?;
        return Ok(NewTimeout::Fixed(time));
    }
    let sample = expr::sample::parse(word, &scope.expressions(stage))?;
    Ok(NewTimeout::Sample(Box::new(sample)))
}
