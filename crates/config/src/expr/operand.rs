//! Arguments that are written down, or that a variable has when they are needed.

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::VarName;
use crate::source::Span;

/// A text, or the variable that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextOperand {
    /// As written.
    Text(Arc<str>),
    /// What the variable has.
    Variable(VarName),
}

impl TextOperand {
    /// A text that looks like the name of a variable is one, as in HAProxy.
    pub(super) fn read(text: &str, span: Span) -> Self {
        match VarName::parse(text, span) {
            Ok(name) => Self::Variable(name),
            Err(_) => Self::Text(text.into()),
        }
    }
}

/// A number, or the variable that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntOperand {
    /// As written.
    Int(i64),
    /// What the variable has.
    Variable(VarName),
}

impl IntOperand {
    pub(super) fn read(text: &str, span: Span) -> Result<Self, Diagnostic> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Int(number));
        }
        if text.contains('.') {
            return VarName::parse(text, span).map(Self::Variable);
        }
        let message = format!("'{text}' is not a whole number");
        Err(Diagnostic::alert(span, message).label("expected a number or a variable"))
    }
}
