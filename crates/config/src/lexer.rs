//! Lines to words: quotes, escapes, comments, environment (manual 2.2 and 2.3).

use crate::source::Span;

/// One word of a line, after quotes, escapes and variables were resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its value.
    pub text: String,
    /// Where it was written.
    pub span: Span,
    /// Whether any part of it was quoted (an empty quoted word is still a word).
    pub quoted: bool,
}
