//! Texts to sections and lines. Never fails: what cannot be read is reported and left out.

use std::collections::BTreeSet;

use crate::ast::{Line, Modifier, Section};
use crate::diagnostics::Diagnostic;
use crate::environment::Environment;
use crate::keywords::{self, SectionKind, sections};
use crate::lexer::{self, Word};
use crate::nearest::nearest;
use crate::preprocess::Preprocessor;
use crate::source::{Source, SourceId, Span};

/// Most sources and the largest text: a `Span` counts bytes with 32 bits, sources with 16.
const SOURCES_MAX: usize = u16::MAX as usize;
const TEXT_LEN_MAX: usize = 64 << 20;

/// Reads all sources, in order.
pub(crate) fn parse(
    sources: &[Source],
    environment: &Environment<'_>,
    report: &mut Vec<Diagnostic>,
) -> Vec<Section> {
    let mut sections = Vec::new();
    for (index, source) in sources.iter().take(SOURCES_MAX).enumerate() {
        let id = SourceId(index as u16);
        if source.text.len() > TEXT_LEN_MAX {
            let span = Span {
                source: id,
                line: 1,
                ..Span::default()
            };
            let message = format!("the file is larger than {} MB", TEXT_LEN_MAX >> 20);
            report.push(Diagnostic::alert(span, message));
            continue;
        }
        Parser {
            source,
            id,
            environment,
            report,
            sections: &mut sections,
            preprocessor: Preprocessor::default(),
            state: State::Outside,
        }
        .run();
    }
    sections
}

/// Where lines go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first section of a file.
    Outside,
    /// Before the first section, and that was said already.
    Lost,
    /// Into the last section.
    Inside,
}

struct Parser<'a> {
    source: &'a Source,
    id: SourceId,
    environment: &'a Environment<'a>,
    report: &'a mut Vec<Diagnostic>,
    sections: &'a mut Vec<Section>,
    preprocessor: Preprocessor,
    state: State,
}

impl Parser<'_> {
    fn run(mut self) {
        let text: &str = &self.source.text;
        let mut start = 0;
        let mut carriage_return = None;
        let mut number = 0;
        for line in text.split_inclusive('\n') {
            number += 1;
            let body = line.strip_suffix('\n').unwrap_or(line);
            let body = match body.strip_suffix('\r') {
                Some(body) => {
                    carriage_return.get_or_insert(self.place(number, start, body.len()));
                    body
                }
                None => body,
            };
            let place = self.place(number, start, body.len());
            self.line(body, place);
            start += line.len();
        }
        if !text.is_empty() && !text.ends_with('\n') {
            let end = self.place(number, text.len(), 0);
            self.report.push(
                Diagnostic::alert(
                    end,
                    "Missing LF on last line, file might have been truncated",
                )
                .label("the file ends here")
                .help("end the last line with a line feed, once you are sure that it is the last"),
            );
        }
        self.preprocessor.finish(self.report);
        if let Some(place) = carriage_return {
            self.report.push(Diagnostic::notice(
                place.after(),
                "the file has CRLF line ends, which HAProxy does not strip",
            ));
        }
    }

    fn place(&self, line: u32, start: usize, length: usize) -> Span {
        Span {
            source: self.id,
            line,
            start: start as u32,
            end: (start + length) as u32,
        }
    }

    fn line(&mut self, body: &str, place: Span) {
        if self.preprocessor.skips(body) {
            return;
        }
        let section = self.sections.last().map_or("", |section| {
            section
                .arguments
                .first()
                .map_or(section.kind.name(), |name| name.text.as_str())
        });
        let environment = self.environment;
        environment.stand_at(&self.source.name, place.line, section);
        let words = match lexer::split(body, place, environment) {
            Ok(words) => words,
            Err(problem) => {
                if self.preprocessor.reading() {
                    self.report.push(problem);
                }
                return;
            }
        };
        let directive = self
            .preprocessor
            .directive(&words, environment, self.report);
        if directive.is_none() && self.preprocessor.reading() && !words.is_empty() {
            self.statement(words);
        }
    }

    fn statement(&mut self, mut words: Vec<Word>) {
        let modifier = match words[0].text.as_str() {
            "no" if words.len() > 1 => Modifier::No,
            "default" if words.len() > 1 => Modifier::Default,
            _ => Modifier::None,
        };
        if modifier != Modifier::None {
            words.remove(0);
        }
        if modifier == Modifier::None
            && let Some(kind) = self.section_keyword(&words[0])
        {
            return self.open(kind, words);
        }
        match self.state {
            State::Inside => self.add(words, modifier),
            State::Outside => {
                self.state = State::Lost;
                self.report.push(out_of_section(&words[0]));
            }
            State::Lost => {}
        }
    }

    /// The section this word opens: also when it is misspelt, stands at the start of its line and
    /// is no keyword of the section we are in. Then what follows is read as was meant, so that one
    /// slip does not give twenty messages.
    fn section_keyword(&mut self, word: &Word) -> Option<SectionKind> {
        if let Some(kind) = sections::find(&word.text) {
            return Some(kind);
        }
        let unindented = self.source.text[..word.span.start as usize]
            .bytes()
            .next_back()
            .is_none_or(|byte| byte == b'\n');
        // Nearly all lines are indented: only of others it is asked which of hundreds of keywords they begin with.
        if !unindented {
            return None;
        }
        let known_here = self.state == State::Inside
            && self
                .sections
                .last()
                .is_some_and(|section| keywords::is_first_word(section.kind, &word.text));
        if known_here {
            return None;
        }
        let meant = nearest(&word.text, sections::names())?;
        self.report.push(
            Diagnostic::alert(word.span, format!("unknown section '{}'", word.text))
                .help(format!("did you mean '{meant}'?")),
        );
        sections::find(meant)
    }

    fn open(&mut self, kind: SectionKind, mut words: Vec<Word>) {
        let span = span_of(&words);
        words.remove(0);
        self.state = State::Inside;
        self.sections.push(Section {
            kind,
            arguments: words,
            span,
            lines: Vec::new(),
        });
    }

    fn add(&mut self, words: Vec<Word>, modifier: Modifier) {
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        if section.kind == SectionKind::Global {
            change_environment(&words, self.environment);
        }
        section.lines.push(Line {
            span: span_of(&words),
            words,
            modifier,
        });
    }
}

/// `setenv`, `presetenv`, `unsetenv` and `resetenv` act at once: they change what later lines say
/// (manual 3.1). Their arguments are checked with the other keywords.
fn change_environment(words: &[Word], environment: &Environment<'_>) {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    match texts.as_slice() {
        ["setenv", name, value] => environment.set(name, value),
        ["presetenv", name, value] => environment.preset(name, value),
        ["unsetenv", names @ ..] => names.iter().for_each(|name| environment.unset(name)),
        ["resetenv", names @ ..] => {
            let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
            environment.reset(names);
        }
        _ => {}
    }
}

fn span_of(words: &[Word]) -> Span {
    match (words.first(), words.last()) {
        (Some(first), Some(last)) => first.span.to(last.span),
        _ => Span::default(),
    }
}

fn out_of_section(word: &Word) -> Diagnostic {
    let alert = Diagnostic::alert(
        word.span,
        format!("unknown keyword '{}' out of section", word.text),
    );
    match nearest(&word.text, sections::names()) {
        Some(name) => alert.help(format!("did you mean '{name}'?")),
        None => alert.help("start with a section: global, defaults, frontend, backend or listen"),
    }
}
