//! What is wrong with a configuration, where, and what to write instead.

use crate::source::Span;

/// How bad it is. An [`Severity::Alert`] makes the configuration invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing, shown with `-V`: a harmless keyword was read and has no effect here.
    Notice,
    /// The configuration works, but probably not as meant.
    Warning,
    /// The configuration cannot be used.
    Alert,
}

/// One problem: a sentence, a place, and help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The place it is about; `None` when it is about the whole configuration.
    pub span: Option<Span>,
    /// One sentence without a full stop: what is wrong.
    pub message: String,
    /// A few words under the caret: what was expected there.
    pub label: Option<String>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A problem that makes the configuration invalid.
    pub fn alert(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Alert, Some(span), message)
    }

    /// A problem that leaves the configuration usable.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(span), message)
    }

    /// Something worth knowing.
    pub fn notice(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Notice, Some(span), message)
    }

    /// Any problem, with or without a place.
    pub fn new(severity: Severity, span: Option<Span>, message: impl Into<String>) -> Self {
        Self {
            severity,
            span,
            message: message.into(),
            label: None,
            help: None,
        }
    }

    /// The same with a few words under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// File order, and each thing once: what two readers of a line both noticed is told by the first.
pub(crate) fn put_in_order(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by_key(|diagnostic| match diagnostic.span {
        Some(span) => (0, span.source, span.line, span.start),
        None => (1, Default::default(), 0, 0),
    });
    let mut seen = std::collections::HashSet::new();
    diagnostics.retain(|diagnostic| {
        let place = diagnostic
            .span
            .map(|span| (span.source, span.line, span.start));
        seen.insert((place, diagnostic.message.clone()))
    });
}
