//! The words of a line, read one after the other by a keyword's parse function.

use crate::ast::{Line, Modifier};
use crate::diagnostics::Diagnostic;
use crate::keywords::Scope;
use crate::lexer::Word;
use crate::source::Span;

/// A line being read. The keyword's own words have been taken already.
pub(crate) struct Args<'a> {
    /// The keyword, as the registry spells it: what messages call it.
    pub(crate) keyword: &'static str,
    words: &'a [Word],
    /// How many words the keyword has.
    taken: usize,
    next: usize,
    modifier: Modifier,
}

impl<'a> Args<'a> {
    /// `taken` words of the line are the keyword.
    pub(crate) fn new(line: &'a Line, keyword: &'static str, taken: usize) -> Self {
        Self {
            keyword,
            words: &line.words,
            taken,
            next: taken.min(line.words.len()),
            modifier: line.modifier,
        }
    }

    /// The place of the keyword itself.
    pub(crate) fn place(&self) -> Span {
        let last = self.taken.checked_sub(1).and_then(|at| self.words.get(at));
        match (self.words.first(), last) {
            (Some(first), Some(last)) => first.span.to(last.span),
            (Some(first), None) => first.span,
            _ => Span::default(),
        }
    }

    /// The place just behind what was read last: where a missing word belongs.
    pub(crate) fn missing_place(&self) -> Span {
        self.last().map_or(self.place(), |word| word.span.after())
    }

    /// `no` stands before the keyword.
    pub(crate) fn negated(&self) -> bool {
        self.modifier == Modifier::No
    }

    /// `default` stands before the keyword.
    pub(crate) fn restores_default(&self) -> bool {
        self.modifier == Modifier::Default
    }

    /// The word read last.
    pub(crate) fn last(&self) -> Option<&'a Word> {
        self.next.checked_sub(1).and_then(|at| self.words.get(at))
    }

    pub(crate) fn peek(&self) -> Option<&'a Word> {
        self.words.get(self.next)
    }

    pub(crate) fn next(&mut self) -> Option<&'a Word> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// Takes the next word when it is exactly `text`.
    pub(crate) fn take(&mut self, text: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.is(text));
        if found {
            self.next += 1;
        }
        found
    }

    /// The next word, not empty. `what` says what it is: "an address".
    pub(crate) fn required(&mut self, what: &str) -> Result<&'a Word, Diagnostic> {
        let place = self.missing_place();
        match self.next() {
            Some(word) if !word.text.is_empty() => Ok(word),
            Some(word) => Err(self.expects(word.span, what).label("this is empty")),
            None => Err(self.expects(place, what).label("nothing follows")),
        }
    }

    /// The next word, which may be an empty quoted one.
    pub(crate) fn required_text(&mut self, what: &str) -> Result<&'a Word, Diagnostic> {
        let place = self.missing_place();
        self.next()
            .ok_or_else(|| self.expects(place, what).label("nothing follows"))
    }

    fn expects(&self, place: Span, what: &str) -> Diagnostic {
        Diagnostic::alert(place, format!("'{}' expects {what}", self.keyword))
    }

    /// All words not yet read.
    pub(crate) fn rest(&mut self) -> &'a [Word] {
        let rest = &self.words[self.next..];
        self.next = self.words.len();
        rest
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&self) -> Result<(), Diagnostic> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(Diagnostic::alert(
                word.span,
                format!(
                    "'{}' cannot handle unexpected argument '{}'",
                    self.keyword, word.text
                ),
            )
            .label("nothing was expected here")),
        }
    }

    /// Warns of what follows, where HAProxy looks past it.
    pub(crate) fn ignore_rest(&mut self, scope: &Scope<'_>) {
        if let Some(word) = self.peek() {
            scope.report(Diagnostic::warning(
                word.span,
                format!("'{}' : extra argument is ignored", self.keyword),
            ));
            self.next = self.words.len();
        }
    }

    /// Whether a condition comes next.
    pub(crate) fn at_condition(&self) -> bool {
        self.peek()
            .is_some_and(|word| !word.quoted && (word.is("if") || word.is("unless")))
    }
}
