//! Which bytes may stand where in HTTP: tables, and the few questions asked of them.
//!
//! The character classes of RFC 9110 §5.5 and §5.6.2. Nothing here knows about messages.

/// For each byte its lower-case form if it may stand in a token, else 0 (RFC 9110 §5.6.2).
pub(crate) const TOKEN_LOWER: [u8; 256] = token_lower();

const fn token_lower() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        let symbol = matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.'
        ) || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~');
        if symbol || byte.is_ascii_alphanumeric() {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
}

/// Whether `byte` may stand in a token.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN_LOWER[byte as usize] != 0
}

/// Whether `text` is a token: not empty, and nothing but token bytes.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` may stand in a field value or a reason phrase: everything but control characters,
/// of which only the tab is allowed (RFC 9110 §5.5).
pub(crate) fn is_value_byte(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7f) || byte == b'\t'
}

/// Whether all of `text` may stand in a field value. Free of branches, so that it is done 16 bytes
/// at a time.
pub(crate) fn is_value(text: &[u8]) -> bool {
    text.iter()
        .fold(true, |fine, &byte| fine & is_value_byte(byte))
}

/// How many bytes at the beginning of `text` may stand in a field value, eight at a time.
pub(crate) fn value_len(text: &[u8]) -> usize {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = EACH << 7;
    let (eights, _) = text.as_chunks();
    let mut at = 0;
    for eight in eights {
        let bytes = u64::from_le_bytes(*eight);
        // Borrows go upwards, so that the lowest byte that is marked is one that is meant.
        let below_space = bytes.wrapping_sub(EACH * 0x20) & !bytes;
        let delete = bytes ^ (EACH * 0x7f);
        let delete = delete.wrapping_sub(EACH) & !delete;
        let found = (below_space | delete) & HIGHEST;
        if found != 0 {
            at += found.trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    // It may have been a tab.
    let rest = text[at..].iter();
    at + rest.take_while(|byte| is_value_byte(**byte)).count()
}

/// Whether all of `text` may stand in a request target: visible ASCII and no `#`, which HAProxy
/// refuses too, because a fragment that one side cuts off and the other does not beats path rules.
pub(crate) fn is_target(text: &[u8]) -> bool {
    text.iter()
        .fold(true, |fine, &byte| fine & is_target_byte(byte))
}

/// The same with `#` and bytes above 126, which nobody may send and nobody can take for the end of it.
pub(crate) fn is_lenient_target(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte > 0x20 && byte != 0x7f)
}

/// Whether `byte` may stand in a request target.
pub(crate) fn is_target_byte(byte: u8) -> bool {
    byte > 0x20 && byte < 0x7f && byte != b'#'
}

/// Whether `byte` is optional white space (RFC 9110 §5.6.3).
pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// `text` without optional white space around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_if(text, is_blank)
}

/// `text` without white space and control characters around it.
pub(crate) fn trim_controls(text: &[u8]) -> &[u8] {
    trim_if(text, |byte| is_blank(byte) || !is_value_byte(byte))
}

/// The same, with the blanks behind it.
pub(crate) fn trim_start_controls(text: &[u8]) -> &[u8] {
    let goes = |byte: &u8| is_blank(*byte) || !is_value_byte(*byte);
    let start = text.iter().position(|byte| !goes(byte));
    let text = &text[start.unwrap_or(text.len())..];
    let end = text.iter().rposition(|byte| is_value_byte(*byte));
    &text[..end.map_or(0, |at| at + 1)]
}

fn trim_if(mut text: &[u8], goes: impl Fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = text
        && goes(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && goes(*last)
    {
        text = rest;
    }
    text
}

/// The number written in `digits`: one or more decimal digits, no sign, no white space.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |sum: u64, byte: &u8| sum.checked_mul(10)?.checked_add(digit(byte)?);
    if digits.is_empty() {
        None
    } else {
        digits.iter().try_fold(0, add)
    }
}

/// The elements of one comma-separated line, trimmed; empty ones are left out (RFC 9110 §5.6.1).
///
/// Quotes are not looked at: the lists that matter here (Connection, Upgrade, Transfer-Encoding,
/// Sec-WebSocket-*) hold tokens, and a quoted comma in one of them makes elements that match nothing.
pub(crate) fn list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_their_bytes_do_however_many_are_looked_at_at_once() {
        for byte in 0..=255 {
            for at in 0..20 {
                for tab in 0..20 {
                    let mut text = [b'v'; 20];
                    text[tab] = b'\t';
                    text[at] = byte;
                    let expected = text.iter().take_while(|&&byte| is_value_byte(byte));
                    assert_eq!(value_len(&text), expected.count(), "{text:?}");
                }
            }
        }
    }
}
