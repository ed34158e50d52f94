//! Texts in, texts out (manual 7.3.1).

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter};

use super::Build::{Plain, With};
use super::{Row, row};
use crate::expr::Kind::Str;

/// What is done to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextConverter {
    /// `cut_crlf`: only its first line.
    FirstLine,
    /// `reverse`: its last byte first.
    Reverse,
    /// `reverse_dom`: its last label first.
    ReverseDomain,
    /// `param(name[,delimiter])`.
    Parameter(Arc<str>, u8),
    /// `language(a;b[,default])`.
    Language(Vec<Arc<str>>, Option<Arc<str>>),
    /// `capture-req(slot)`: passes it on.
    CaptureRequest(usize),
    /// `capture-res(slot)`.
    CaptureResponse(usize),
}

const fn plain(converter: TextConverter) -> super::Build {
    Plain(Converter::Text(converter))
}

pub(super) static ROWS: &[Row] = &[
    row("cut_crlf", Str, Str, plain(TextConverter::FirstLine)),
    row("reverse", Str, Str, plain(TextConverter::Reverse)),
    row("reverse_dom", Str, Str, plain(TextConverter::ReverseDomain)),
    row("param", Str, Str, With(parameter)),
    row("language", Str, Str, With(language)),
    row(
        "capture-req",
        Str,
        Str,
        With(|it, _| Ok(Converter::Text(TextConverter::CaptureRequest(slot(it)?)))),
    ),
    row(
        "capture-res",
        Str,
        Str,
        With(|it, _| Ok(Converter::Text(TextConverter::CaptureResponse(slot(it)?)))),
    ),
];

fn slot(arguments: &mut Arguments) -> Result<usize, Diagnostic> {
    let span = arguments.span();
    let number = arguments.int("the number of a capture")?;
    usize::try_from(number).map_err(|_| {
        Diagnostic::alert(span, format!("there is no capture {number}"))
            .label("expected a number from 0")
    })
}

fn parameter(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let name = arguments.text("the name of a parameter")?.0.into();
    let delimiter = match arguments.optional() {
        None | Some(("", _)) => b'&',
        Some((text, span)) => {
            let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
            let byte = match (digits, text.as_bytes()) {
                (_, [byte]) => Some(*byte),
                (Some(digits), _) => u8::from_str_radix(digits, 16).ok(),
                _ => None,
            };
            byte.ok_or_else(|| {
                Diagnostic::alert(span, format!("'{text}' is no delimiter"))
                    .label("expected one character, or its code such as 0x26")
            })?
        }
    };
    Ok(Converter::Text(TextConverter::Parameter(name, delimiter)))
}

fn language(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (text, _) = arguments.text("languages such as en;fr")?;
    let known = text.split(';').filter(|name| !name.is_empty());
    let known = known.map(Into::into).collect();
    let default = arguments.optional().map(|(text, _)| text.into());
    Ok(Converter::Text(TextConverter::Language(known, default)))
}
