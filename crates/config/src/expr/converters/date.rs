//! Dates (manual 7.3.1).

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Converter, TimeUnit};

use super::Build::{Plain, With};
use super::{Row, row};
use crate::expr::Kind::{Int, Str};

/// `ltime`, `utime` and their like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat {
    /// What strftime(3) knows; of what is finer than a second also `%N`.
    pub format: Arc<str>,
    /// Local time, else UTC.
    pub local: bool,
    /// What the sample counts.
    pub unit: TimeUnit,
    /// Added to it.
    pub offset: i64,
}

pub(super) static ROWS: &[Row] = &[
    row(
        "ltime",
        Int,
        Str,
        With(|it, _| time(it, true, TimeUnit::Seconds)),
    ),
    row(
        "utime",
        Int,
        Str,
        With(|it, _| time(it, false, TimeUnit::Seconds)),
    ),
    row(
        "ms_ltime",
        Int,
        Str,
        With(|it, _| time(it, true, TimeUnit::Milliseconds)),
    ),
    row(
        "ms_utime",
        Int,
        Str,
        With(|it, _| time(it, false, TimeUnit::Milliseconds)),
    ),
    row(
        "us_ltime",
        Int,
        Str,
        With(|it, _| time(it, true, TimeUnit::Microseconds)),
    ),
    row(
        "us_utime",
        Int,
        Str,
        With(|it, _| time(it, false, TimeUnit::Microseconds)),
    ),
    row("date", Str, Int, Plain(Converter::ReadDate)),
];

fn time(arguments: &mut Arguments, local: bool, unit: TimeUnit) -> Result<Converter, Diagnostic> {
    let format = arguments.text("a format such as %Y-%m-%d")?.0.into();
    let offset = arguments.optional_int("an offset")?.unwrap_or(0);
    Ok(Converter::Time(TimeFormat {
        format,
        local,
        unit,
        offset,
    }))
}
