//! What was written: sections and lines, in order, with their places. Nothing is understood yet
//! but which keyword opens a section.

use crate::keywords::SectionKind;
use crate::lexer::Word;
use crate::source::Span;

/// One section, from its keyword to the next one.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) kind: SectionKind,
    /// The words after the section's keyword.
    pub(crate) arguments: Vec<Word>,
    /// Its first line.
    pub(crate) span: Span,
    pub(crate) lines: Vec<Line>,
}

/// One line of a section, without its `no` or `default`.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) words: Vec<Word>,
    pub(crate) modifier: Modifier,
    /// From the first word to the last.
    pub(crate) span: Span,
}

/// `no …` and `default …` before a keyword (manual 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modifier {
    None,
    /// `no`: switched off.
    No,
    /// `default`: as though no `defaults` section had said anything.
    Default,
}
