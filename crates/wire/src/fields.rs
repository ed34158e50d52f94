//! Header and trailer fields: an ordered list in one buffer.

use std::fmt;
use std::ops::Range;

use crate::syntax;

/// Header fields in the order they came, names in lower case.
///
/// One buffer of text and a list of places in it, so a field costs no allocation of its own. Every
/// name is a token and no value holds a control character but the tab (RFC 9110 §5.1, §5.5): what is
/// put in is made to fit, so what is written out can never split a message.
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    spans: Vec<Span>,
    lens: Lens,
}

/// Which lengths names have that are there, or were: most fields that are asked for are not there, and nearly
/// always that is all it takes to know it.
#[derive(Clone, Copy, Default)]
struct Lens(u64);

impl Lens {
    fn add(&mut self, len: usize) {
        self.0 |= Self::bit(len);
    }

    #[inline]
    fn has(self, len: usize) -> bool {
        self.0 & Self::bit(len) != 0
    }

    /// Long names share one.
    fn bit(len: usize) -> u64 {
        1 << len.min(63)
    }
}

/// Where one field stands in the text.
#[derive(Clone, Copy)]
struct Span {
    name_start: u32,
    name_len: u32,
    value_start: u32,
    value_len: u32,
}

/// Room kept behind a parsed block for the fields that a proxy usually adds (X-Forwarded-For and the
/// like), in bytes, so that adding them does not move the block.
const SPARE_TEXT: usize = 128;

/// Room for that many fields at first; a browser sends about 12.
const FIRST_SPANS: usize = 16;

/// What stands between a name and its value.
const BETWEEN: &[u8] = b": ";

/// What stands behind a value.
const BEHIND: &[u8] = b"\r\n";

impl Fields {
    /// No fields.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// The first value of the field `name`, in any case of letters.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// All values of the field `name`, one for each line, in order.
    #[inline]
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let spans: &[Span] = match self.lens.has(name.len()) {
            true => &self.spans,
            false => &[],
        };
        spans
            .iter()
            // Lengths differ nearly always, and stand in the list itself.
            .filter(move |span| span.name_len as usize == name.len())
            .filter(move |span| self.name(span).eq_ignore_ascii_case(name.as_bytes()))
            .map(|span| self.value(span))
    }

    /// Name and value of every field.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &[u8])> + ExactSizeIterator {
        self.spans
            .iter()
            .map(|span| (self.name_str(span), self.value(span)))
    }

    /// The same, names as bytes: for who looks at every field of every message.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.spans
            .iter()
            .map(|span| (self.name(span), self.value(span)))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Bytes that names and values take together.
    pub fn byte_len(&self) -> usize {
        let lengths = self.spans.iter();
        lengths
            .map(|span| span.name_len as usize + span.value_len as usize)
            .sum()
    }

    /// At least as many as [`Fields::byte_len`], without looking at each field.
    pub fn len_bound(&self) -> usize {
        self.text.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether there is a field `name`.
    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a field behind the others.
    ///
    /// Control characters in the value become spaces; those around it go, as white space does. A name that is
    /// not a token cannot be sent: then nothing is added and the answer is `false`.
    pub fn append(&mut self, name: &str, value: &[u8]) -> bool {
        self.push_text(name, syntax::trim_controls(value))
    }

    /// The same for a value that goes out as somebody has written it, blanks behind it included: nobody takes them
    /// for a part of it (RFC 9110 §5.5).
    pub fn append_written(&mut self, name: &str, value: &[u8]) -> bool {
        self.push_text(name, syntax::trim_start_controls(value))
    }

    fn push_text(&mut self, name: &str, value: &[u8]) -> bool {
        let len = name.len() + BETWEEN.len() + value.len() + BEHIND.len();
        if !syntax::is_token(name.as_bytes()) || self.text.len() + len > u32::MAX as usize {
            return false;
        }
        // As it is written, so that it is written together with its neighbours.
        self.text.reserve(len);
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        self.text[start..].make_ascii_lowercase();
        let name = start..self.text.len();
        self.text.extend_from_slice(BETWEEN);
        let start = self.text.len();
        self.text.extend_from_slice(value);
        let value = start..self.text.len();
        if !syntax::is_value(&self.text[value.clone()]) {
            for byte in &mut self.text[value.clone()] {
                if !syntax::is_value_byte(*byte) {
                    *byte = b' ';
                }
            }
        }
        self.text.extend_from_slice(BEHIND);
        self.push(name, value);
        true
    }

    /// Removes all fields `name`, then adds this one. Answers as [`Fields::append`].
    pub fn set(&mut self, name: &str, value: &[u8]) -> bool {
        self.remove(name);
        self.append(name, value)
    }

    /// Removes all fields `name`; tells how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        if !self.lens.has(name.len()) {
            return 0;
        }
        let before = self.len();
        self.retain_lines(|other, _| !other.eq_ignore_ascii_case(name.as_bytes()));
        before - self.len()
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) {
        let mut spans = std::mem::take(&mut self.spans);
        spans.retain(|span| keep(self.name_str(span), self.value(span)));
        self.spans = spans;
    }

    /// The same, names as bytes.
    pub(crate) fn retain_lines(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let mut spans = std::mem::take(&mut self.spans);
        spans.retain(|span| keep(self.name(span), self.value(span)));
        self.spans = spans;
    }

    /// The elements of a comma-separated list over all lines of the field `name`, trimmed; empty
    /// ones are left out. Quoted commas are not known.
    pub fn tokens<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).flat_map(syntax::list)
    }

    /// Whether the list in `name` has the element `token`, in any case of letters.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.lens.has(name.len())
            && self
                .tokens(name)
                .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Takes a copy of the block in which the parser has pointed out all fields by [`Fields::push`],
    /// and puts their names into lower case where they are not.
    pub(crate) fn adopt(&mut self, block: &[u8], is_lower: bool) {
        self.text = Vec::with_capacity(block.len() + SPARE_TEXT);
        self.text.extend_from_slice(block);
        if is_lower {
            return;
        }
        for span in &self.spans {
            let start = span.name_start as usize;
            self.text[start..start + span.name_len as usize].make_ascii_lowercase();
        }
    }

    /// Position of the first byte of each value in the parsed block, with name and value, of the fields
    /// with names of these lengths: hardly any but those that are looked for.
    pub(crate) fn places<const N: usize>(
        &self,
        lens: [usize; N],
    ) -> impl Iterator<Item = (&[u8], &[u8], usize)> {
        let place = |span: &Span| (self.name(span), self.value(span), span.value_start as usize);
        let fits = move |span: &&Span| lens.contains(&(span.name_len as usize));
        let spans = match lens.iter().any(|len| self.lens.has(*len)) {
            true => &self.spans[..],
            false => &[],
        };
        spans.iter().filter(fits).map(place)
    }

    /// Bytes of all names and values.
    pub fn text_len(&self) -> usize {
        let len = |span: &Span| (span.name_len + span.value_len) as usize;
        self.spans.iter().map(len).sum()
    }

    /// Writes each field as a line behind `out`, but for those that are `special`: of these `instead` is
    /// told the name, to write what stands in their place.
    ///
    /// Lines lie in the text as they are written, behind each other, unless their sender has written them
    /// in an unusual way or one between them is gone: they are copied together.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        special: impl Fn(&[u8]) -> bool,
        mut instead: impl FnMut(&[u8], &mut Vec<u8>),
    ) {
        let mut lines = 0..0;
        for span in &self.spans {
            let name = self.name(span);
            let line = match special(name) {
                true => None,
                false => Some(self.line(span)),
            };
            match line {
                Some(Some(line)) if line.start == lines.end => lines.end = line.end,
                line => {
                    out.extend_from_slice(&self.text[lines.clone()]);
                    lines = 0..0;
                    match line {
                        None => instead(name, out),
                        Some(Some(line)) => lines = line,
                        Some(None) => {
                            for part in [name, BETWEEN, self.value(span), BEHIND] {
                                out.extend_from_slice(part);
                            }
                        }
                    }
                }
            }
        }
        out.extend_from_slice(&self.text[lines]);
    }

    /// The line of a field in the text, where it stands there as it is written.
    fn line(&self, span: &Span) -> Option<Range<usize>> {
        let start = span.name_start as usize;
        let between = start + span.name_len as usize;
        let behind = (span.value_start + span.value_len) as usize;
        let usual = span.value_start as usize == between + BETWEEN.len()
            && self.text[between..].starts_with(BETWEEN)
            && self.text[behind..].starts_with(BEHIND);
        usual.then_some(start..behind + BEHIND.len())
    }

    /// Adds the field whose checked name and value stand at these places of the text, which is
    /// never longer than 4 GB: blocks are bounded by the parser, and `append` looks.
    pub(crate) fn push(&mut self, name: Range<usize>, value: Range<usize>) {
        if self.spans.capacity() == 0 {
            self.spans = Vec::with_capacity(FIRST_SPANS);
        }
        self.lens.add(name.len());
        self.spans.push(Span {
            name_start: name.start as u32,
            name_len: name.len() as u32,
            value_start: value.start as u32,
            value_len: value.len() as u32,
        });
    }

    fn name(&self, span: &Span) -> &[u8] {
        &self.text[span.name_start as usize..][..span.name_len as usize]
    }

    fn name_str(&self, span: &Span) -> &str {
        std::str::from_utf8(self.name(span)).expect("names are tokens, so ASCII")
    }

    fn value(&self, span: &Span) -> &[u8] {
        &self.text[span.value_start as usize..][..span.value_len as usize]
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
        f.debug_list().entries(shown).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(pairs: I) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in pairs {
            fields.append(name, value);
        }
        fields
    }
}
