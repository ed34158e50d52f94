//! Bytes in a word that are no UTF-8 (`str(\\xE0)`), carried through texts by stand-ins.
//!
//! Words are texts everywhere, because nearly all of them are names. Only the argument of `str(…)` may be any
//! bytes: there, and nowhere else, each byte that is no part of a character becomes a character of a private
//! plane, and [`bytes`] turns it back.

use std::borrow::Cow;

/// The stand-in of byte 0; byte 255 has the last one before the two that mean nothing by themselves.
const FIRST: u32 = 0x10_FE00;

/// The word as a text; `None`: it has bytes that are no UTF-8 where none may be.
pub(crate) fn spell(word: Vec<u8>) -> Option<String> {
    let word = match String::from_utf8(word) {
        Ok(text) if !text.chars().any(is_stand_in) => return Some(text),
        Ok(_) => return None,
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(word.len() + 8);
    for chunk in word.utf8_chunks() {
        if chunk.valid().chars().any(is_stand_in) {
            return None;
        }
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() && !is_in_constant(&text) {
            return None;
        }
        text.extend(chunk.invalid().iter().map(|byte| stand_in(*byte)));
    }
    Some(text)
}

/// What a text was spelled from.
pub(crate) fn bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.chars().any(is_stand_in) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match is_stand_in(c) {
            true => bytes.push((c as u32 - FIRST) as u8),
            false => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

fn stand_in(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn is_stand_in(c: char) -> bool {
    (FIRST..FIRST + 256).contains(&(c as u32))
}

/// Whether what follows belongs to the argument of a `str(`.
fn is_in_constant(before: &str) -> bool {
    let open = before.rfind("str(");
    open.is_some_and(|at| !before[at..].contains(')'))
}

#[cfg(test)]
mod tests {
    use super::{bytes, spell};

    #[test]
    fn bytes_that_are_no_text_stand_in_constants_alone() {
        let check = |word: &[u8], expected: bool| {
            let text = spell(word.to_vec());
            assert_eq!(text.is_some(), expected, "{word:?}");
            if let Some(text) = text {
                assert_eq!(*bytes(&text), *word);
            }
        };
        check(b"plain", true);
        check("\u{f6}".as_bytes(), true);
        check(b"%[str(-\xe0-),json(utf8s)]", true);
        check(b"str(\xff\xfe)", true);
        check(b"\xe0", false);
        check(b"%[str(a),regsub(\xe0,b)]", false);
        check("str(\u{10fe41})".as_bytes(), false);
    }
}
