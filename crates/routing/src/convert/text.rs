//! Texts in, texts out (manual 7.3.1).

use std::borrow::Cow;

use config::expr::TextConverter;

use super::part;
use crate::sample::Facts;
use crate::value::Value;

/// What is done to a text.
pub(super) fn apply<'a>(
    converter: &'a TextConverter,
    text: Cow<'a, [u8]>,
    facts: &Facts<'_>,
) -> Option<Value<'a>> {
    Some(Value::Str(match converter {
        TextConverter::FirstLine => {
            let end = memchr::memchr2(b'\r', b'\n', &text).unwrap_or(text.len());
            part(text, 0..end)
        }
        TextConverter::Reverse if text.is_empty() => return None,
        TextConverter::Reverse => {
            let mut text = text.into_owned();
            text.reverse();
            text.into()
        }
        TextConverter::ReverseDomain => reversed_domain(&text)?.into(),
        TextConverter::Parameter(name, delimiter) => {
            let range = parameter(&text, name.as_bytes(), *delimiter)?;
            part(text, range)
        }
        TextConverter::Language(known, default) => {
            let found = language(&text, known).or(default.as_deref());
            Cow::Borrowed(found?.as_bytes())
        }
        TextConverter::CaptureRequest(slot) => {
            facts.memory.keep_of_request(*slot, &text);
            text
        }
        TextConverter::CaptureResponse(slot) => {
            facts.memory.keep_of_response(*slot, &text);
            text
        }
    }))
}

/// The labels of a host name, last one first; the dot of the root is left out. `None`: one is empty.
fn reversed_domain(name: &[u8]) -> Option<Vec<u8>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let labels: Vec<&[u8]> = name.split(|byte| *byte == b'.').rev().collect();
    let whole = labels.iter().all(|label| !label.is_empty());
    whole.then(|| labels.join(&b'.'))
}

/// Where the value of a parameter stands; empty without a `=`.
fn parameter(text: &[u8], name: &[u8], delimiter: u8) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for pair in text.split(|byte| *byte == delimiter) {
        let end = start + pair.len();
        match pair.strip_prefix(name) {
            Some([b'=', ..]) => return Some(start + name.len() + 1..end),
            Some([]) => return Some(end..end),
            _ => start = end + 1,
        }
    }
    None
}

/// The language most liked of those known, by `Accept-Language` (RFC 9110 §12.5.4).
fn language<'k>(header: &[u8], known: &'k [std::sync::Arc<str>]) -> Option<&'k str> {
    let mut best: Option<(u32, &str)> = None;
    for item in header.split(|byte| *byte == b',') {
        let mut words = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let tag = words.next().unwrap_or_default();
        let quality = words.find_map(|word| word.strip_prefix(b"q="));
        let quality = quality.map_or(1000, thousandths);
        let base = tag.split(|byte| *byte == b'-').next().unwrap_or_default();
        let is = |tag: &[u8]| known.iter().find(|name| name.as_bytes() == tag);
        let found = is(tag).or_else(|| is(base));
        if let Some(name) = found
            && quality > best.map_or(0, |(most, _)| most)
        {
            best = Some((quality, name));
        }
    }
    best.map(|(_, name)| name)
}

/// `0.8` is 800.
fn thousandths(text: &[u8]) -> u32 {
    let mut digits = text.iter().copied().filter(u8::is_ascii_digit);
    let digits: Vec<u8> = digits.by_ref().chain(*b"000").take(4).collect();
    let step = |number: u32, digit: &u8| number * 10 + u32::from(digit - b'0');
    digits.iter().fold(0, step).min(1000)
}
