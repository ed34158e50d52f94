//! Lines to words: quotes, escapes, comments, environment (manual 2.2 and 2.3).
//!
//! One line at a time, because `setenv` changes what the lines below it say.

use crate::Surroundings;
use crate::diagnostics::Diagnostic;
use crate::raw;
use crate::source::Span;

/// Longest line, bytes. HAProxy's own bound is 2048; generated lists are longer, attacks endless.
pub const LINE_LEN_MAX: usize = 65_536;
/// Most words on a line. HAProxy stops at 64; long `acl` pattern lists deserve more.
pub const WORDS_MAX: usize = 4_096;
/// Longest line after variables were put in: a variable may hold anything.
const EXPANDED_LEN_MAX: usize = 4 * LINE_LEN_MAX;

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

impl Word {
    /// A word that stands in no file: of the Runtime API, say.
    pub fn bare(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            span: Span::default(),
            quoted: false,
        }
    }

    /// Whether it is exactly this keyword.
    pub fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// Splits one line into words. `line` is the text at `place`, without its line end. `surroundings`
/// gives the variables; an unset one is empty. Fails at the first thing that cannot be read.
pub fn split(
    line: &str,
    place: Span,
    surroundings: &dyn Surroundings,
) -> Result<Vec<Word>, Diagnostic> {
    if line.len() > LINE_LEN_MAX {
        return Err(Diagnostic::alert(
            Span {
                end: place.start,
                ..place
            },
            format!("line too long: the limit is {LINE_LEN_MAX} bytes"),
        ));
    }
    if let Some(at) = line.find('\0') {
        let mut lexer = Lexer::new(line, place, surroundings);
        lexer.position = at;
        return Err(
            Diagnostic::alert(lexer.place(at, at + 1), "the line contains a NUL byte")
                .help("is this a text file?"),
        );
    }
    Lexer::new(line, place, surroundings).run()
}

/// Which quotes we are in, and where they opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Weak(usize),
    Strong(usize),
}

/// A word under way.
struct Pending {
    bytes: Vec<u8>,
    start: usize,
    quoted: bool,
}

struct Lexer<'a> {
    line: &'a str,
    base: Span,
    surroundings: &'a dyn Surroundings,
    position: usize,
    quote: Quote,
    word: Option<Pending>,
    words: Vec<Word>,
    expanded_len: usize,
}

impl<'a> Lexer<'a> {
    fn new(line: &'a str, base: Span, surroundings: &'a dyn Surroundings) -> Self {
        Self {
            line,
            base,
            surroundings,
            position: 0,
            quote: Quote::None,
            word: None,
            words: Vec::new(),
            expanded_len: 0,
        }
    }

    fn run(mut self) -> Result<Vec<Word>, Diagnostic> {
        while let Some(byte) = self.byte(self.position) {
            match (byte, self.quote) {
                (b'#', Quote::None) => break,
                (b' ' | b'\t', Quote::None) => {
                    self.finish_word(self.position)?;
                    self.position += 1;
                }
                (b'"', Quote::None) => self.open(Quote::Weak(self.position)),
                (b'\'', Quote::None) => self.open(Quote::Strong(self.position)),
                (b'"', Quote::Weak(_)) | (b'\'', Quote::Strong(_)) => self.open(Quote::None),
                (b'\\', Quote::None | Quote::Weak(_)) => self.escape()?,
                (b'$', Quote::Weak(_)) => self.variable()?,
                _ => {
                    self.push(byte);
                    self.position += 1;
                }
            }
        }
        if let Quote::Weak(at) | Quote::Strong(at) = self.quote {
            return Err(
                Diagnostic::alert(self.place(at, self.line.len()), "unmatched quote")
                    .label("opened here, never closed on this line")
                    .help("close it, or write \\\" or \\' for the character itself"),
            );
        }
        self.finish_word(self.position)?;
        Ok(self.words)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.line.as_bytes().get(at).copied()
    }

    fn place(&self, from: usize, to: usize) -> Span {
        Span {
            start: self.base.start + from as u32,
            end: self.base.start + to as u32,
            ..self.base
        }
    }

    fn pending(&mut self) -> &mut Pending {
        let start = self.position;
        self.word.get_or_insert(Pending {
            bytes: Vec::new(),
            start,
            quoted: false,
        })
    }

    fn push(&mut self, byte: u8) {
        self.pending().bytes.push(byte);
    }

    fn open(&mut self, quote: Quote) {
        self.quote = quote;
        self.pending().quoted = true;
        self.position += 1;
    }

    fn finish_word(&mut self, end: usize) -> Result<(), Diagnostic> {
        let Some(word) = self.word.take() else {
            return Ok(());
        };
        let span = self.place(word.start, end);
        let text = raw::spell(word.bytes).ok_or_else(|| {
            Diagnostic::alert(span, "this word is not UTF-8 once \\x is resolved")
        })?;
        if self.words.len() == WORDS_MAX {
            return Err(Diagnostic::alert(
                span,
                format!("too many words: the limit is {WORDS_MAX} on a line"),
            )
            .help("put long lists in a file and name it with -f"));
        }
        self.words.push(Word {
            text,
            span,
            quoted: word.quoted,
        });
        Ok(())
    }

    /// `\ ` and friends. What is no escape sequence keeps its backslash, so that regexes survive.
    fn escape(&mut self) -> Result<(), Diagnostic> {
        let weak = matches!(self.quote, Quote::Weak(_));
        let (byte, length) = match self.byte(self.position + 1) {
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'$') if weak => (b'$', 2),
            Some(byte @ (b' ' | b'\\' | b'#' | b'\'' | b'"')) => (byte, 2),
            Some(b'\t') => (b'\t', 2),
            Some(b'x') => (self.hexadecimal()?, 4),
            _ => (b'\\', 1),
        };
        self.push(byte);
        self.position += length;
        Ok(())
    }

    fn hexadecimal(&self) -> Result<u8, Diagnostic> {
        let digits = self.line.get(self.position + 2..self.position + 4);
        digits
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or_else(|| {
                let end = self.line.len().min(self.position + 4);
                Diagnostic::alert(
                    self.place(self.position, end),
                    "truncated or invalid hexadecimal sequence",
                )
                .help("write two hexadecimal digits after \\x, or \\\\x for the text itself")
            })
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`; we stand on the dollar.
    fn variable(&mut self) -> Result<(), Diagnostic> {
        let reference = self.reference()?;
        let value = self
            .surroundings
            .variable(reference.name)
            .unwrap_or_else(|| reference.default.to_string());
        self.expanded_len += value.len();
        if self.expanded_len > EXPANDED_LEN_MAX {
            return Err(Diagnostic::alert(
                self.place(self.position, reference.end),
                "the line is too long once its variables are put in",
            ));
        }
        if reference.list {
            self.push_list(&value, reference.end)?;
        } else {
            for byte in value.bytes() {
                self.push(byte);
            }
        }
        self.position = reference.end;
        Ok(())
    }

    /// Each space-separated part of the value becomes a word; the first and the last join what
    /// stands around the variable.
    fn push_list(&mut self, value: &str, end: usize) -> Result<(), Diagnostic> {
        let start = self.position;
        for (index, part) in value.split_ascii_whitespace().enumerate() {
            if index > 0 {
                self.finish_word(end)?;
                self.word = Some(Pending {
                    bytes: Vec::new(),
                    start,
                    quoted: true,
                });
            }
            for byte in part.bytes() {
                self.push(byte);
            }
        }
        Ok(())
    }

    fn reference(&self) -> Result<Reference<'a>, Diagnostic> {
        let braces = self.byte(self.position + 1) == Some(b'{');
        let start = self.position + 1 + usize::from(braces);
        let mut end = start;
        while self.byte(end).is_some_and(|byte| {
            byte.is_ascii_alphanumeric() || byte == b'_' || (end == start && byte == b'.')
        }) {
            end += 1;
        }
        let name = &self.line[start..end];
        if !name
            .starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == '.')
        {
            return Err(Diagnostic::alert(
                self.place(self.position, end.max(start).min(self.line.len())),
                "forbidden first char in environment variable name",
            )
            .help("a name begins with a letter or _; write \\$ for a dollar sign"));
        }
        if !braces {
            return Ok(Reference {
                name,
                default: "",
                list: false,
                end,
            });
        }
        self.braced(name, end)
    }

    fn braced(&self, name: &'a str, mut end: usize) -> Result<Reference<'a>, Diagnostic> {
        let list = self.line[end..].starts_with("[*]");
        if list {
            end += "[*]".len();
        }
        let close = self.line[end..].find('}').map(|length| end + length);
        let default = match (self.byte(end), close) {
            (Some(b'}'), _) => "",
            (Some(b'-'), Some(close)) => &self.line[end + 1..close],
            _ => {
                return Err(Diagnostic::alert(
                    self.place(self.position, end),
                    "unmatched brace in environment variable name",
                )
                .label("expected } or -default} after the name"));
            }
        };
        Ok(Reference {
            name,
            default,
            list,
            end: close.map_or(end, |close| close + 1),
        })
    }
}

/// A variable as written.
struct Reference<'a> {
    name: &'a str,
    default: &'a str,
    list: bool,
    end: usize,
}
