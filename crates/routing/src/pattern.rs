//! Whether a value matches a pattern (manual 7.1).

use std::sync::Arc;

use config::expr::{Patterns, TextMethod};

use crate::value::Value;

/// Whether any of the patterns matches. A value that cannot be cast to what they compare does not.
pub fn matches(patterns: &Patterns, value: &Value<'_>) -> bool {
    match patterns {
        Patterns::Found => true,
        Patterns::Bool => value.to_bool().unwrap_or(false),
        Patterns::Int(ranges) => value.to_int().is_some_and(|number| ranges.contains(number)),
        Patterns::Ip(networks) => value
            .to_addr()
            .is_some_and(|address| networks.contains(address)),
        Patterns::Length(ranges) => ranges.contains(value.to_text().len() as i64),
        Patterns::Equal(texts) => texts.contains(&value.to_text()),
        Patterns::Regex(regexes) => {
            let text = value.to_text();
            regexes.iter().any(|regex| regex.is_match(&text))
        }
        Patterns::Bin(blocks) => {
            let bytes = value.clone().into_bytes();
            blocks.iter().any(|block| **block == *bytes)
        }
        Patterns::Text {
            method,
            ignore_case,
            texts,
        } => any_text(*method, *ignore_case, texts, &value.to_text()),
    }
}

fn any_text(method: TextMethod, ignore_case: bool, texts: &[Arc<str>], text: &[u8]) -> bool {
    let folded;
    let text = if ignore_case && text.iter().any(u8::is_ascii_uppercase) {
        folded = text.to_ascii_lowercase();
        &folded
    } else {
        text
    };
    let mut patterns = texts.iter().map(|pattern| pattern.as_bytes());
    match method {
        TextMethod::Prefix => patterns.any(|pattern| text.starts_with(pattern)),
        TextMethod::Suffix => patterns.any(|pattern| text.ends_with(pattern)),
        TextMethod::Contains => patterns.any(|pattern| contains(text, pattern)),
        TextMethod::Directory => patterns.any(|pattern| has_part(text, pattern, b"/?")),
        TextMethod::Domain => patterns.any(|pattern| has_part(text, pattern, b"/?.:")),
    }
}

fn contains(text: &[u8], pattern: &[u8]) -> bool {
    memchr::memmem::find(text, pattern).is_some()
}

/// Whether the pattern stands between delimiters or the ends. Delimiters at its own ends do not
/// count; one that is nothing else matches nothing.
fn has_part(text: &[u8], pattern: &[u8], delimiters: &[u8]) -> bool {
    let is_inner = |byte: &u8| !delimiters.contains(byte);
    let Some(first) = pattern.iter().position(is_inner) else {
        return false;
    };
    let last = pattern.iter().rposition(is_inner).unwrap_or(first);
    let pattern = &pattern[first..=last];
    let is_delimiter = |byte: &u8| delimiters.contains(byte);
    let mut starts = (0..text.len()).filter(|at| *at == 0 || is_delimiter(&text[at - 1]));
    starts.any(|at| {
        let end = at + pattern.len();
        text[at..].starts_with(pattern) && text.get(end).is_none_or(is_delimiter)
    })
}
