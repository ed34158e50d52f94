//! JSON: writing texts, and finding a value in foreign ones (RFC 8259; manual 7.3.1).
//!
//! Nothing is built: a value is found by stepping over what stands before it, and only as much is
//! judged as is passed.

use config::expr::{JsonInput, JsonQuery, JsonStep};

use crate::value::{Value, leading_int};

/// How deep values are stepped into; foreign nesting must not cost more.
const DEPTH_MAX: usize = 40;

/// The largest number that every reader of JSON has exactly (RFC 8259 §6).
const INT_MAX: i64 = (1 << 53) - 1;

/// A value in a JSON text, as it is written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    /// What stands between the quotes.
    Text(&'t [u8]),
    Number(&'t [u8]),
    Bool(bool),
    Null,
    Array(&'t [u8]),
    Object(&'t [u8]),
}

/// What a query finds.
pub(super) fn query(query: &JsonQuery, text: &[u8]) -> Option<Value<'static>> {
    let at = find(text, skip_space(text, 0), &query.path)?;
    let (token, _) = token(text, at, 0)?;
    match token {
        Token::Text(raw) => Some(Value::made(unescaped(raw)?)),
        Token::Number(digits) if query.int => {
            let number = leading_int(digits);
            (-INT_MAX..=INT_MAX)
                .contains(&number)
                .then_some(Value::Int(number))
        }
        Token::Number(digits) => Some(Value::made(general(digits)?.into_bytes())),
        Token::Bool(value) => Some(Value::Bool(value)),
        Token::Array(raw) => Some(Value::made(raw.to_vec())),
        Token::Object(_) | Token::Null => None,
    }
}

/// Where the value at the end of a path begins.
fn find(text: &[u8], at: usize, path: &[JsonStep]) -> Option<usize> {
    let Some((step, rest)) = path.split_first() else {
        return Some(at);
    };
    let open = *text.get(at)?;
    let mut at = skip_space(text, at + 1);
    let mut index = 0;
    loop {
        match step {
            JsonStep::Member(wanted) => {
                if open != b'{' {
                    return None;
                }
                let (Token::Text(name), end) = token(text, at, 0)? else {
                    return None;
                };
                at = skip_space(text, end);
                at = skip_space(text, expect(text, at, b':')?);
                if name == wanted.as_bytes() {
                    return find(text, at, rest);
                }
            }
            JsonStep::Element(wanted) => {
                if open != b'[' {
                    return None;
                }
                if index == *wanted {
                    return find(text, at, rest);
                }
                index += 1;
            }
        }
        let (_, end) = token(text, at, 0)?;
        at = skip_space(text, expect(text, skip_space(text, end), b',')?);
    }
}

fn expect(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (text.get(at) == Some(&byte)).then_some(at + 1)
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let space = rest.iter().take_while(|byte| b" \t\r\n".contains(byte));
    at + space.count()
}

/// The value that begins there, and where it ends.
fn token(text: &[u8], at: usize, depth: usize) -> Option<(Token<'_>, usize)> {
    let rest = text.get(at..)?;
    let word = |word: &str, token| {
        let found = rest.starts_with(word.as_bytes());
        found.then_some((token, at + word.len()))
    };
    match rest.first()? {
        b'"' => {
            let end = end_of_text(text, at + 1)?;
            Some((Token::Text(&text[at + 1..end]), end + 1))
        }
        b'{' | b'[' if depth < DEPTH_MAX => {
            let end = end_of_list(text, at, depth)?;
            let raw = &text[at..end];
            let token = match rest[0] {
                b'{' => Token::Object(raw),
                _ => Token::Array(raw),
            };
            Some((token, end))
        }
        b't' => word("true", Token::Bool(true)),
        b'f' => word("false", Token::Bool(false)),
        b'n' => word("null", Token::Null),
        b'-' | b'0'..=b'9' => {
            let is_part = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
            let len = rest.iter().take_while(is_part).count();
            Some((Token::Number(&rest[..len]), at + len))
        }
        _ => None,
    }
}

/// Where the closing quote stands.
fn end_of_text(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Behind the closing bracket.
fn end_of_list(text: &[u8], open: usize, depth: usize) -> Option<usize> {
    let is_object = text.get(open) == Some(&b'{');
    let close = if is_object { b'}' } else { b']' };
    let mut at = skip_space(text, open + 1);
    if text.get(at) == Some(&close) {
        return Some(at + 1);
    }
    loop {
        if is_object {
            let (Token::Text(_), end) = token(text, at, depth + 1)? else {
                return None;
            };
            at = skip_space(text, expect(text, skip_space(text, end), b':')?);
        }
        let (_, end) = token(text, at, depth + 1)?;
        at = skip_space(text, end);
        if text.get(at) == Some(&close) {
            return Some(at + 1);
        }
        at = skip_space(text, expect(text, at, b',')?);
    }
}

/// A text without its escapes; characters beyond one byte become UTF-8.
fn unescaped(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let escaped = *raw.get(at)?;
        at += 1;
        out.push(match escaped {
            b'"' | b'\\' | b'/' => escaped,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = four_digits(raw, at)?;
                at += 4;
                if (0xd800..0xdc00).contains(&code) && raw.get(at..at + 2) == Some(b"\\u") {
                    let low = four_digits(raw, at + 2)?.checked_sub(0xdc00)?;
                    code = 0x1_0000 + ((code - 0xd800) << 10) + low;
                    at += 6;
                }
                let mut utf8 = [0; 4];
                let character = char::from_u32(code)?;
                out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                continue;
            }
            _ => return None,
        });
    }
    Some(out)
}

fn four_digits(raw: &[u8], at: usize) -> Option<u32> {
    let digits = raw.get(at..at + 4)?;
    let digit =
        |number: Option<u32>, byte: &u8| Some(number? * 16 + char::from(*byte).to_digit(16)?);
    digits.iter().fold(Some(0), digit)
}

/// A number as printf's `%g` writes it: six digits that count, an exponent where it is large.
fn general(digits: &[u8]) -> Option<String> {
    const PRECISION: i32 = 6;
    let number: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    if number == 0.0 {
        return Some("0".into());
    }
    let scientific = format!("{number:.*e}", PRECISION as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if !(-4..PRECISION).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let exponent = exponent.unsigned_abs();
        return Some(format!("{}e{sign}{exponent:02}", trimmed(mantissa)));
    }
    let decimals = usize::try_from(PRECISION - 1 - exponent).unwrap_or(0);
    Some(trimmed(&format!("{number:.decimals$}")))
}

/// A text as it stands between the quotes of a JSON string, in ASCII.
pub(super) fn escaped(input: JsonInput, text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&first) = rest.first() {
        let (code, len) = match input {
            JsonInput::Ascii => (Some(u32::from(first)), 1),
            JsonInput::Utf8 { permissive, .. } => character(rest, permissive),
        };
        rest = &rest[len..];
        // Four digits have no room for more.
        let Some(code) = code.filter(|code| *code <= 0xffff) else {
            match input {
                JsonInput::Utf8 { silent: true, .. } => continue,
                _ => return None,
            }
        };
        match u8::try_from(code) {
            Ok(byte @ (b'"' | b'\\' | b'/')) => out.extend_from_slice(&[b'\\', byte]),
            Ok(8) => out.extend_from_slice(b"\\b"),
            Ok(12) => out.extend_from_slice(b"\\f"),
            Ok(b'\n') => out.extend_from_slice(b"\\n"),
            Ok(b'\r') => out.extend_from_slice(b"\\r"),
            Ok(b'\t') => out.extend_from_slice(b"\\t"),
            Ok(byte @ 32..127) => out.push(byte),
            _ => out.extend_from_slice(format!("\\u{code:04x}").as_bytes()),
        }
    }
    Some(out)
}

/// A character of UTF-8 and how many bytes it takes; `None`: it is none.
fn character(text: &[u8], permissive: bool) -> (Option<u32>, usize) {
    let first = text[0];
    let (more, bits, least) = match first {
        0..0x80 => return (Some(first.into()), 1),
        0xc0..0xe0 => (1, first & 0x1f, 0x80),
        0xe0..0xf0 => (2, first & 0x0f, 0x800),
        0xf0..0xf8 => (3, first & 0x07, 0x1_0000),
        0xf8..0xfc => (4, first & 0x03, 0x20_0000),
        0xfc..0xfe => (5, first & 0x01, 0x400_0000),
        _ => return (None, 1),
    };
    let following = text[1..].iter().take(more);
    let following: Vec<u8> = following
        .copied()
        .take_while(|it| it & 0xc0 == 0x80)
        .collect();
    let len = 1 + following.len();
    if following.len() < more {
        return (None, len);
    }
    let step = |code: u32, byte: &u8| code << 6 | u32::from(byte & 0x3f);
    let code = following.iter().fold(bits.into(), step);
    let allowed = char::from_u32(code).is_some() && code & 0xfffe != 0xfffe;
    (
        (allowed && (permissive || code >= least)).then_some(code),
        len,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_printf_does() {
        let check = |digits: &str, expected: &str| {
            assert_eq!(
                general(digits.as_bytes()).as_deref(),
                Some(expected),
                "{digits}"
            );
        };
        check("4", "4");
        check("-4.5", "-4.5");
        check("1234567", "1.23457e+06");
        check("100000", "100000");
        check("0.0001", "0.0001");
        check("0.00001", "1e-05");
        check("1516239022", "1.51624e+09");
        check("0.1234567", "0.123457");
        check("1e2", "100");
    }

    #[test]
    fn deep_nesting_costs_nothing() {
        let text = "[".repeat(100_000);
        let path = vec![JsonStep::Member("a".into())];
        assert_eq!(
            query(&JsonQuery { path, int: false }, text.as_bytes()),
            None
        );
        let path = vec![JsonStep::Element(1)];
        assert_eq!(
            query(&JsonQuery { path, int: false }, text.as_bytes()),
            None
        );
    }
}
