//! `Forwarded` headers (RFC 7239; manual 7.3.1).

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter};

use super::Build::{Plain, With};
use super::{Row, row};
use crate::expr::Kind::{Any, Bool, Str};

/// What is read from, or written for, a `Forwarded` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// `rfc7239_is_valid`.
    IsValid,
    /// `rfc7239_field(name)`.
    Field(ForwardedField),
    /// `rfc7239_n2nn`: the name in a node.
    NodeName,
    /// `rfc7239_n2np`: the port in a node.
    NodePort,
    /// `rfc7239_nn`: a name as nodes have it.
    MakeName,
    /// `rfc7239_np`: a port as nodes have it.
    MakePort,
}

/// A parameter of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedField {
    /// `for`.
    For,
    /// `by`.
    By,
    /// `host`.
    Host,
    /// `proto`.
    Proto,
}

const fn plain(what: Forwarded) -> super::Build {
    Plain(Converter::Forwarded(what))
}

pub(super) static ROWS: &[Row] = &[
    row("rfc7239_is_valid", Str, Bool, plain(Forwarded::IsValid)),
    row("rfc7239_field", Str, Str, With(field)),
    row("rfc7239_n2nn", Str, Any, plain(Forwarded::NodeName)),
    row("rfc7239_n2np", Str, Any, plain(Forwarded::NodePort)),
    row("rfc7239_nn", Any, Str, plain(Forwarded::MakeName)),
    row("rfc7239_np", Any, Str, plain(Forwarded::MakePort)),
];

fn field(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("a field")?;
    let field = match text {
        "for" => ForwardedField::For,
        "by" => ForwardedField::By,
        "host" => ForwardedField::Host,
        "proto" => ForwardedField::Proto,
        _ => {
            return Err(
                Diagnostic::alert(span, format!("'{text}' is no field of 'Forwarded'"))
                    .label("expected 'for', 'by', 'host' or 'proto'"),
            );
        }
    };
    Ok(Converter::Forwarded(Forwarded::Field(field)))
}
