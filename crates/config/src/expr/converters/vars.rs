//! Converters that join or compare a sample with a variable (manual 7.3.1).

use std::sync::Arc;

use super::Build::With;
use super::{Row, row};
use crate::diagnostics::Diagnostic;
use crate::expr::Kind::{Bin, Bool, Int, Str};
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter, VarName};

/// What is done with a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithVariable {
    /// `concat(before,variable,behind)`.
    Append {
        /// Stands before what the variable has.
        before: Arc<str>,
        /// What is appended, if it has a value.
        name: Option<VarName>,
        /// Stands behind it.
        behind: Arc<str>,
        /// `add_item`: `before` is a delimiter, left out where nothing stands on one of its sides, and
        /// `behind` belongs to the variable.
        item: bool,
    },
    /// `strcmp(variable)`.
    Compare(VarName),
    /// `secure_memcmp(variable)`.
    SameBytes(VarName),
}

pub(super) static ROWS: &[Row] = &[
    row("concat", Str, Str, With(|it, _| append(it, false))),
    row("add_item", Str, Str, With(|it, _| append(it, true))),
    row(
        "strcmp",
        Str,
        Int,
        With(|it, _| Ok(Converter::WithVariable(WithVariable::Compare(name(it)?)))),
    ),
    row("secure_memcmp", Bin, Bool, With(same_bytes)),
];

fn name(arguments: &mut Arguments) -> Result<VarName, Diagnostic> {
    let (text, span) = arguments.text("a variable")?;
    VarName::parse(text, span)
}

fn same_bytes(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    Ok(Converter::WithVariable(WithVariable::SameBytes(name(
        arguments,
    )?)))
}

fn append(arguments: &mut Arguments, item: bool) -> Result<Converter, Diagnostic> {
    let span = arguments.span();
    let before: Arc<str> = match item {
        true => arguments.text("a delimiter")?.0.into(),
        false => arguments.optional().map_or("", |(text, _)| text).into(),
    };
    let name = match arguments.optional() {
        None | Some(("", _)) => None,
        Some((text, span)) => Some(VarName::parse(text, span)?),
    };
    let behind: Arc<str> = arguments.optional().map_or("", |(text, _)| text).into();
    if item && name.is_none() && behind.is_empty() {
        let alert = Diagnostic::alert(span, "'add_item' has nothing to add");
        return Err(alert.label("expected a variable, or a text as third argument"));
    }
    Ok(Converter::WithVariable(WithVariable::Append {
        before,
        name,
        behind,
        item,
    }))
}
