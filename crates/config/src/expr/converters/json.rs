//! JSON: writing and looking into it (manual 7.3.1).

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter};

use super::Build::With;
use super::{Row, row};
use crate::expr::Kind::Str;

/// `json(code)`: what the bytes of a text are taken for before they are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonInput {
    /// Each byte is a character.
    Ascii,
    /// UTF-8.
    Utf8 {
        /// `p`: what is longer than it need be is taken all the same.
        permissive: bool,
        /// `s`: what is wrong is left out; else there is no result.
        silent: bool,
    },
}

/// What is looked for in a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonQuery {
    /// From the outermost value inwards.
    pub path: Vec<JsonStep>,
    /// `int`: only a number is a result.
    pub int: bool,
}

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonStep {
    /// A member of an object.
    Member(Arc<str>),
    /// An element of an array, from 0.
    Element(usize),
}

pub(super) static ROWS: &[Row] = &[
    row("json", Str, Str, With(json)),
    row(
        "json_query",
        Str,
        Str,
        With(|arguments, _| query(arguments).map(Converter::JsonQuery)),
    ),
];

fn json(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let utf8 = |permissive, silent| JsonInput::Utf8 { permissive, silent };
    Ok(Converter::Json(match arguments.optional() {
        None | Some(("" | "ascii", _)) => JsonInput::Ascii,
        Some(("utf8", _)) => utf8(false, false),
        Some(("utf8s", _)) => utf8(false, true),
        Some(("utf8p", _)) => utf8(true, false),
        Some(("utf8ps", _)) => utf8(true, true),
        Some((text, span)) => {
            return Err(
                Diagnostic::alert(span, format!("'{text}' is no input code of 'json'"))
                    .label("expected 'ascii', 'utf8', 'utf8s', 'utf8p' or 'utf8ps'"),
            );
        }
    }))
}

/// `(path[,int])`.
pub(super) fn query(arguments: &mut Arguments) -> Result<JsonQuery, Diagnostic> {
    let (text, span) = arguments.text("a JSON path")?;
    let path = steps(text).ok_or_else(|| {
        Diagnostic::alert(span, format!("'{text}' is no JSON path"))
            .label("expected something like '$.member' or '$.list[0]'")
    })?;
    let int = match arguments.optional() {
        None | Some(("", _)) => false,
        Some(("int", _)) => true,
        Some((text, span)) => {
            let message = format!("'{text}' is no output type of a query");
            return Err(Diagnostic::alert(span, message).label("expected 'int' or nothing"));
        }
    };
    Ok(JsonQuery { path, int })
}

fn steps(text: &str) -> Option<Vec<JsonStep>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, behind) = inner.split_once(']')?;
            steps.push(JsonStep::Element(index.parse().ok()?));
            rest = behind;
            continue;
        }
        let member = rest.strip_prefix('.')?;
        let mut name = String::new();
        let mut chars = member.char_indices();
        let mut end = member.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.push(chars.next()?.1),
                '.' | '[' => {
                    end = at;
                    break;
                }
                c => name.push(c),
            }
        }
        if name.is_empty() {
            return None;
        }
        steps.push(JsonStep::Member(name.into()));
        rest = &member[end..];
    }
    Some(steps)
}
