//! Texts and places in them.
//!
//! Reading files is the caller's; what is here is the text as it came and spans into it.

use std::sync::Arc;

/// One configuration text, as read from one `-f` file.
#[derive(Debug, Clone)]
pub struct Source {
    /// What messages call it: the path as the user gave it.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
}

impl Source {
    /// A text and what messages call it.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// Which of the given sources, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SourceId(pub u16);

/// A place in a source: bytes `start..end` of its text, on line `line` (counted from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The source it lies in.
    pub source: SourceId,
    /// Line, counted from 1, of its first byte.
    pub line: u32,
    /// First byte, counted from the start of the text.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// From the start of this one to the end of `last`, which lies on the same line.
    #[must_use]
    pub fn to(self, last: Span) -> Span {
        Span {
            end: last.end.max(self.end),
            ..self
        }
    }

    /// The empty place just behind this one: where a missing word was expected.
    #[must_use]
    pub fn after(self) -> Span {
        Span {
            start: self.end,
            ..self
        }
    }
}
