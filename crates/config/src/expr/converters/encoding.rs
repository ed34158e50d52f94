//! Other ways to write bytes (manual 7.3.1).

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter};

use super::Build::{Plain, With};
use super::{Row, row};
use crate::expr::Kind::{Bin, Bool, Str};

/// How bytes are written, or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// `base2`.
    Binary,
    /// `ub64enc`.
    Base64Url,
    /// `ub64dec`.
    Base64UrlDecode,
    /// `be2dec`, `le2dec`, `be2hex`.
    Chunks(Chunks),
    /// `has_ctl(mask)`: whether any of these control characters is there; bit 32 is DEL.
    HasControl(u64),
}

/// Pieces of the same length, each written as a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// Hexadecimal, else decimal.
    pub hex: bool,
    /// The lowest byte stands first.
    pub little_endian: bool,
    /// What stands between them.
    pub separator: Arc<str>,
    /// Bytes of one; 0: all.
    pub size: usize,
    /// Whether a shorter one at the end is left out.
    pub truncate: bool,
}

pub(super) static ROWS: &[Row] = &[
    row(
        "base2",
        Bin,
        Str,
        Plain(Converter::Encoding(Encoding::Binary)),
    ),
    row(
        "ub64enc",
        Bin,
        Str,
        Plain(Converter::Encoding(Encoding::Base64Url)),
    ),
    row(
        "ub64dec",
        Str,
        Bin,
        Plain(Converter::Encoding(Encoding::Base64UrlDecode)),
    ),
    row(
        "be2dec",
        Bin,
        Str,
        With(|arguments, _| decimal(arguments, false)),
    ),
    row(
        "le2dec",
        Bin,
        Str,
        With(|arguments, _| decimal(arguments, true)),
    ),
    row("be2hex", Bin, Str, With(hexadecimal)),
    row("has_ctl", Bin, Bool, With(has_control)),
];

/// Most bytes of a piece that is written in decimal digits.
const NUMBER_LEN_MAX: i64 = 8;

/// Most bytes of a piece that is written in hexadecimal digits: `tune.bufsize` goes no further.
const PIECE_LEN_MAX: i64 = 16 << 20;

fn decimal(arguments: &mut Arguments, little_endian: bool) -> Result<Converter, Diagnostic> {
    let separator = arguments.text("a separator")?.0.into();
    let span = arguments.span();
    let size = arguments.int("a number of bytes")?;
    if !(1..=NUMBER_LEN_MAX).contains(&size) {
        return Err(
            Diagnostic::alert(span, format!("{size} bytes are no number"))
                .label("expected 1 to 8 bytes"),
        );
    }
    Ok(Converter::Encoding(Encoding::Chunks(Chunks {
        hex: false,
        little_endian,
        separator,
        size: size as usize,
        truncate: truncate(arguments)?,
    })))
}

fn hexadecimal(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let separator: Arc<str> = arguments.optional().map_or("", |(text, _)| text).into();
    let span = arguments.span();
    let size = arguments.optional_int("a number of bytes")?;
    if let Some(size) = size
        && !(0..=PIECE_LEN_MAX).contains(&size)
    {
        let message = format!("{size} bytes are no piece");
        return Err(Diagnostic::alert(span, message).label("expected a number from 1"));
    }
    if size.unwrap_or(0) == 0 && !separator.is_empty() {
        return Err(
            Diagnostic::alert(span, "how many bytes are there between two separators?")
                .help("write the number of bytes behind it: 'be2hex(:,1)'"),
        );
    }
    Ok(Converter::Encoding(Encoding::Chunks(Chunks {
        hex: true,
        little_endian: false,
        separator,
        size: size.unwrap_or(0) as usize,
        truncate: truncate(arguments)?,
    })))
}

fn truncate(arguments: &mut Arguments) -> Result<bool, Diagnostic> {
    Ok(arguments
        .optional_int("0 or 1")?
        .is_some_and(|flag| flag != 0))
}

/// All but the tabulator (manual 7.3.1, "has_ctl").
const CONTROLS: u64 = 0x1_ffff_fdff;

fn has_control(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let mask = match arguments.optional() {
        None | Some(("", _)) => CONTROLS,
        Some(("any", _)) => 0x1_ffff_ffff,
        Some(("http", _)) => 0x2401,
        Some((text, span)) => {
            let number = match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => text.parse(),
            };
            let mask = number.ok().filter(|mask| *mask <= 0x1_ffff_ffff);
            mask.ok_or_else(|| {
                Diagnostic::alert(span, format!("'{text}' is no set of control characters"))
                    .label("expected 'any', 'http' or a mask of 33 bits")
            })?
        }
    };
    Ok(Converter::Encoding(Encoding::HasControl(mask)))
}
