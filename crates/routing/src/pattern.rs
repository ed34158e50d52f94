//! Whether a value matches a pattern (manual 7.1).

use std::sync::Arc;

use config::expr::{Patterns, TextMethod};
use config::lists::{Hit, Index, Matching, Probe};

use crate::value::Value;

/// Whether any of the patterns matches. A value that cannot be cast to what they compare does not.
pub fn matches(patterns: &Patterns, value: &Value<'_>) -> bool {
    match patterns {
        Patterns::Found => true,
        Patterns::Listed(index) => look(index, value, |_| ()).is_some(),
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
    method.holds_for_any(text, texts.iter().map(|pattern| pattern.as_bytes()))
}

/// Looks a value up in the entries of a file.
pub(crate) fn look<T>(
    index: &Index,
    value: &Value<'_>,
    then: impl FnOnce(Hit<'_>) -> T,
) -> Option<T> {
    match index.matching() {
        Matching::Int | Matching::Version => index.find(Probe::Int(value.to_int()?), then),
        Matching::Ip => index.find(Probe::Addr(value.to_addr()?), then),
        Matching::Length => {
            let length = value.to_text().len();
            index.find(Probe::Int(i64::try_from(length).ok()?), then)
        }
        Matching::Bin => index.find(Probe::Text(&value.clone().into_bytes()), then),
        _ => index.find(Probe::Text(&value.to_text()), then),
    }
}
