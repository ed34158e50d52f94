//! Texts and places in them.

use std::sync::Arc;

/// One configuration text, as read from one `-f` file.
#[derive(Debug, Clone)]
pub struct Source {
    /// What messages call it: the path as the user gave it.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
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
