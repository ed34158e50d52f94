//! The words inside a word: names, parentheses, commas, and the second level of quotes (manual
//! 2.2, "keyword argument parser").

use std::ops::Range;

use crate::diagnostics::Diagnostic;
use crate::lexer::Word;
use crate::source::Span;

/// Most arguments a keyword may be given; HAProxy's parser stops at 15.
const ARGUMENTS_MAX: usize = 15;

/// A place in a word that is being read.
pub(super) struct Cursor<'a> {
    word: &'a Word,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Begins at a byte of the word.
    pub(super) fn new(word: &'a Word, at: usize) -> Self {
        Self { word, at }
    }

    /// The byte it stands at.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a str {
        self.word.text.get(self.at..).unwrap_or("")
    }

    /// What was read since a byte.
    pub(super) fn text_from(&self, start: usize) -> &'a str {
        self.word.text.get(start..self.at).unwrap_or("")
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.word.text.as_bytes().get(self.at).copied()
    }

    /// Steps over so many bytes, which must end between characters.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Steps over a byte if it is this one.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Reads letters, digits and the signs that keywords are made of.
    pub(super) fn name(&mut self) -> &'a str {
        let is_sign = |c: char| c.is_ascii_alphanumeric() || "_.-+".contains(c);
        let rest = self.rest();
        let end = rest.find(|c| !is_sign(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Where some bytes of the word were written.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        span_in(self.word, range)
    }

    /// From a byte to where it stands now.
    pub(super) fn span_from(&self, start: usize) -> Span {
        self.span(start..self.at)
    }

    /// Reads `(a,b,…)` if it is there.
    pub(super) fn arguments(&mut self, owner: &str) -> Result<Arguments, Diagnostic> {
        let mut arguments = Arguments {
            owner: owner.into(),
            span: self.span(self.at.saturating_sub(owner.len())..self.at),
            list: Vec::new(),
            next: 0,
        };
        let open = self.at;
        if !self.eat(b'(') || self.eat(b')') {
            return Ok(arguments);
        }
        loop {
            let start = self.at;
            let text = self.argument();
            let span = self.span_from(start);
            if arguments.list.len() == ARGUMENTS_MAX {
                return Err(arguments.too_many(span));
            }
            arguments.list.push((text, span));
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(_) => break,
                None => {
                    return Err(Diagnostic::alert(
                        self.span_from(open),
                        format!("the arguments of '{owner}' are not closed"),
                    )
                    .label("expected ')'")
                    .help("spaces, quotes and '#' end or change a word: quote the whole word"));
                }
            }
        }
        self.at += 1; // the closing parenthesis
        Ok(arguments)
    }

    /// One argument, up to a comma or closing parenthesis that is not quoted.
    fn argument(&mut self) -> String {
        let mut text = String::new();
        let mut quote = None;
        let mut chars = self.rest().char_indices().peekable();
        let mut length = self.rest().len();
        while let Some((at, c)) = chars.next() {
            match (c, quote) {
                (',' | ')', None) => {
                    length = at;
                    break;
                }
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                ('\\', None | Some('"')) => match chars.next_if(|(_, c)| unescaped(*c).is_some()) {
                    Some((_, escaped)) => text.push(unescaped(escaped).unwrap_or(escaped)),
                    None => text.push('\\'),
                },
                (c, _) => text.push(c),
            }
        }
        self.at += length;
        text
    }
}

/// What a character stands for behind a backslash; `None`: the backslash is a plain character.
fn unescaped(escaped: char) -> Option<char> {
    match escaped {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        ' ' | '\\' | '\'' | '"' | ',' | '(' | ')' => Some(escaped),
        _ => None,
    }
}

/// Where some bytes of a word were written: exact where no quote or escape was resolved, else the
/// whole word.
pub(super) fn span_in(word: &Word, range: Range<usize>) -> Span {
    let written = (word.span.end - word.span.start) as usize;
    let opening = match written.checked_sub(word.text.len()) {
        Some(0) => 0,
        Some(2) if word.quoted => 1,
        _ => return word.span,
    };
    let offset = |at: usize| word.span.start + (opening + at.min(word.text.len())) as u32;
    Span {
        start: offset(range.start),
        end: offset(range.end.max(range.start + 1)).max(offset(range.start)),
        ..word.span
    }
}

/// The arguments of one keyword, taken one by one.
pub(super) struct Arguments {
    owner: String,
    span: Span,
    list: Vec<(String, Span)>,
    next: usize,
}

impl Arguments {
    /// The keyword they belong to, as it is written.
    pub(super) fn owner(&self) -> String {
        self.owner.clone()
    }

    /// Where that stands.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// The next one, if there is one.
    pub(super) fn optional(&mut self) -> Option<(&str, Span)> {
        let (text, span) = self.list.get(self.next)?;
        self.next += 1;
        Some((text, *span))
    }

    /// The next one, which must be there.
    pub(super) fn text(&mut self, what: &str) -> Result<(&str, Span), Diagnostic> {
        if self.next >= self.list.len() {
            let message = format!("'{}' needs an argument: {what}", self.owner);
            return Err(Diagnostic::alert(self.span, message)
                .label(format!("expected '{}({what})'", self.owner)));
        }
        let (text, span) = &self.list[self.next];
        self.next += 1;
        Ok((text, *span))
    }

    /// The next one as a number, if there is one and it is not empty.
    pub(super) fn optional_int(&mut self, what: &str) -> Result<Option<i64>, Diagnostic> {
        match self.optional() {
            None | Some(("", _)) => Ok(None),
            Some((text, span)) => number(text, span, what).map(Some),
        }
    }

    /// The next one as a number.
    pub(super) fn int(&mut self, what: &str) -> Result<i64, Diagnostic> {
        let (text, span) = self.text(what)?;
        number(text, span, what)
    }

    /// Whether there are none, or none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.next >= self.list.len()
    }

    /// Nothing may be left.
    pub(super) fn finish(&self) -> Result<(), Diagnostic> {
        match self.list.get(self.next) {
            Some((_, span)) => Err(self.too_many(*span)),
            None => Ok(()),
        }
    }

    fn too_many(&self, span: Span) -> Diagnostic {
        let message = match self.next {
            0 => format!("'{}' takes no argument", self.owner),
            taken => format!("'{}' takes no more than {taken} arguments", self.owner),
        };
        Diagnostic::alert(span, message).label("this one is too many")
    }
}

fn number(text: &str, span: Span, what: &str) -> Result<i64, Diagnostic> {
    text.parse().map_err(|_| {
        Diagnostic::alert(span, format!("'{text}' is not a whole number"))
            .label(format!("expected {what}"))
    })
}
