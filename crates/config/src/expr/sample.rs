//! Sample expressions: a fetch and its converters (manual 7.3).

use crate::diagnostics::Diagnostic;
use crate::expr::{Context, Sample};
use crate::lexer::Word;

/// Reads a whole word as a sample expression.
pub fn parse(word: &Word, context: &Context<'_>) -> Result<Sample, Diagnostic> {
    let _ = context;
    Err(Diagnostic::alert(
        word.span,
        "sample expressions cannot be read yet",
    ))
}
