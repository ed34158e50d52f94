//! What is wrong with a configuration, where, and what to write instead; and how that is shown.
//!
//! The first line of each message is spelled as HAProxy spells it, for programs that read it; the
//! line with the caret below is for people. Secrets are masked before anything is drawn.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::mask;
use crate::source::{Source, Span};

/// How bad it is. An [`Severity::Alert`] makes the configuration invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing, shown with `-V`: a harmless keyword was read and has no effect here.
    Notice,
    /// It works as written, and we would write it otherwise; HAProxy says nothing of it. Always shown,
    /// and never fatal: `-dW` and `zero-warning` are about what HAProxy itself would warn of.
    Advice,
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

    /// Something that works, and that we would write otherwise.
    pub fn advice(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Advice, Some(span), message)
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

/// How diagnostics are shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// The process id in each header, as HAProxy shows it.
    pub pid: u32,
    /// Whether notices are shown, too.
    pub notices: bool,
    /// Whether terminal colours are used.
    pub color: bool,
}

/// Most diagnostics that are shown in full: the rest is counted. Nobody reads more, and a broken
/// file of a million lines must not fill a disk with messages.
pub const SHOWN_MAX: usize = 100;
/// Longest message, characters: it quotes words of the file.
const MESSAGE_LEN_MAX: usize = 500;

/// All diagnostics as text for stderr, each with its HAProxy-like header, the line it is about, a
/// caret and help. Ends with a line feed unless it is empty.
pub fn render(diagnostics: &[Diagnostic], sources: &[Source], style: Style) -> String {
    let shown = |diagnostic: &&Diagnostic| style.notices || diagnostic.severity > Severity::Notice;
    let mut out = String::new();
    for diagnostic in diagnostics.iter().filter(shown).take(SHOWN_MAX) {
        one(diagnostic, sources, style, &mut out);
    }
    let left = diagnostics.iter().filter(shown).skip(SHOWN_MAX);
    let worst = left.clone().map(|diagnostic| diagnostic.severity).max();
    if let Some(worst) = worst {
        let message = format!("{} more problems are not shown", left.count());
        header(worst, style, &message, &mut out);
    }
    out
}

/// One diagnostic, as in [`render`].
fn one(diagnostic: &Diagnostic, sources: &[Source], style: Style, out: &mut String) {
    let source = diagnostic
        .span
        .and_then(|span| Some((span, sources.get(usize::from(span.source.0))?)));
    let message = printable(&diagnostic.message);
    match source {
        Some((span, source)) => {
            let name = printable(&source.name);
            let text = format!("parsing [{name}:{}] : {message}", span.line);
            header(diagnostic.severity, style, &text, out);
        }
        None => header(diagnostic.severity, style, &message, out),
    }
    let snippet = snippet(diagnostic, source, style);
    for line in snippet.lines() {
        out.push_str("  ");
        out.push_str(line);
        out.push('\n');
    }
}

/// `[ALERT]    (PID) : config : …`
fn header(severity: Severity, style: Style, message: &str, out: &mut String) {
    let level = match severity {
        Severity::Alert => "[ALERT]   ",
        Severity::Warning => "[WARNING] ",
        // Programs that read this know no fourth level.
        Severity::Advice | Severity::Notice => "[NOTICE]  ",
    };
    out.push_str(&format!("{level} ({}) : config : {message}\n", style.pid));
}

/// The line, the caret and the help; only that one line, so that no neighbour gives away a secret.
fn snippet(diagnostic: &Diagnostic, source: Option<(Span, &Source)>, style: Style) -> String {
    let level = match diagnostic.severity {
        Severity::Alert => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Advice | Severity::Notice => Level::NOTE,
    };
    let mut group = Group::with_level(level);
    let mut line = String::new();
    if let Some((span, source)) = source {
        let (from, to) = line_around(&source.text, span);
        line = mask::line(&source.text[from..to]);
        let name = printable(&source.name);
        let start = boundary(&line, (span.start as usize).saturating_sub(from));
        let end = boundary(&line, (span.end as usize).saturating_sub(from)).max(start);
        let mut annotation = AnnotationKind::Primary.span(start..end);
        if let Some(label) = &diagnostic.label {
            annotation = annotation.label(printable(label));
        }
        group = group.element(
            Snippet::source(std::mem::take(&mut line))
                .line_start(span.line as usize)
                .path(name)
                .annotation(annotation),
        );
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(printable(help)));
    }
    if group.is_empty() {
        return line;
    }
    let renderer = match style.color {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    renderer.render(&[group])
}

/// Bytes of the line the span begins on, without its line end.
fn line_around(text: &str, span: Span) -> (usize, usize) {
    let start = boundary(text, span.start as usize);
    let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let to = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let to = text[from..to].trim_end_matches('\r').len() + from;
    (from, to)
}

/// The last character boundary at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Without control characters, which would draw on the reader's terminal, and not too long.
fn printable(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(MESSAGE_LEN_MAX)
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect();
    if text.chars().nth(MESSAGE_LEN_MAX).is_some() {
        out.push('…');
    }
    out
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
