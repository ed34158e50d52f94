//! Messages of the Financial Information eXchange (manual 7.3.1, "fix_is_valid").

/// What stands behind each field.
const END: u8 = 1;

const BEGIN_STRING: u32 = 8;
const BODY_LENGTH: u32 = 9;
const MESSAGE_TYPE: u32 = 35;
const CHECK_SUM: u32 = 10;

/// The versions there are.
const VERSIONS: [&[u8]; 6] = [
    b"FIX.4.0",
    b"FIX.4.1",
    b"FIX.4.2",
    b"FIX.4.3",
    b"FIX.4.4",
    b"FIXT.1.1",
];

/// A field: its tag, its value, where it begins, and where the next one does.
struct Field<'m> {
    tag: u32,
    value: &'m [u8],
    start: usize,
    next: usize,
}

fn fields(message: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = message.get(start..).filter(|rest| !rest.is_empty())?;
        let read = || {
            let end = memchr::memchr(END, rest)?;
            let equals = memchr::memchr(b'=', &rest[..end])?;
            let digits = std::str::from_utf8(&rest[..equals]).ok()?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let tag = digits.parse().ok().filter(|tag| plain && *tag > 0)?;
            let value = &rest[equals + 1..end];
            (!value.is_empty()).then_some(Field {
                tag,
                value,
                start,
                next: start + end + 1,
            })
        };
        let field = read();
        start = field.as_ref().map_or(message.len(), |field| field.next);
        Some(field)
    })
}

/// Whether it begins with a message: its first three fields are what they must be, its length and sum
/// are right. `None`: more bytes would tell.
pub(super) fn is_valid(message: &[u8]) -> Option<bool> {
    let begin = b"8=FIX";
    let len = message.len().min(begin.len());
    if message[..len] != begin[..len] {
        return Some(false);
    }
    let mut body = None;
    for (at, field) in fields(message).enumerate() {
        let Some(field) = field else {
            // A field that has no end yet may get one.
            return message.ends_with(&[END]).then_some(false);
        };
        match (at, field.tag) {
            (0, BEGIN_STRING) if VERSIONS.contains(&field.value) => {}
            (1, BODY_LENGTH) => {
                let len = std::str::from_utf8(field.value).ok();
                let len: Option<usize> = len.and_then(|len| len.parse().ok());
                let Some(end) = len.and_then(|len| field.next.checked_add(len)) else {
                    return Some(false);
                };
                body = Some(end);
            }
            (2, MESSAGE_TYPE) => {}
            (0..=2, _) => return Some(false),
            (_, CHECK_SUM) => {
                let before = &message[..field.start];
                let sum: u32 = before.iter().map(|byte| u32::from(*byte)).sum();
                let expected = format!("{:03}", sum % 256);
                let right = body == Some(field.start) && field.value == expected.as_bytes();
                return Some(right);
            }
            _ => {}
        }
    }
    None
}

/// The value of a tag in a message that begins as one does.
pub(super) fn value(message: &[u8], tag: u32) -> Option<&[u8]> {
    let mut found = None;
    for (at, field) in fields(message).enumerate() {
        // What follows the first message is another one.
        let field = field?;
        match (at, field.tag) {
            (0, BEGIN_STRING) if !VERSIONS.contains(&field.value) => return None,
            (0, BEGIN_STRING) | (1, BODY_LENGTH) | (2, MESSAGE_TYPE) => {}
            (0..=2, _) => return None,
            _ => {}
        }
        if field.tag == tag {
            found = Some(field.value);
            break;
        }
        if field.tag == CHECK_SUM {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_measured() {
        let message = |text: &str| text.replace('|', "\u{1}").into_bytes();
        let whole = message("8=FIX.4.4|9=16|35=A|49=me|56=you|10=107|");
        let sum: u32 = whole[..whole.len() - 7]
            .iter()
            .map(|it| u32::from(*it))
            .sum();
        let text = format!("8=FIX.4.4|9=18|35=A|49=me|56=you|10={:03}|", sum % 256);
        assert_eq!(
            is_valid(&message(&text)),
            Some(false),
            "its length is wrong"
        );
        let right = message("8=FIX.4.0|9=5|35=A|10=176|");
        assert_eq!(is_valid(&right), Some(true));
        for len in 0..right.len() {
            assert_eq!(is_valid(&right[..len]), None, "{len}");
        }
        assert_eq!(value(&whole, 49), Some(&b"me"[..]));
        assert_eq!(value(&whole, 99), None);
        assert_eq!(value(b"GET / HTTP/1.1\r\n", 49), None);
        assert_eq!(is_valid(b"GET"), Some(false));
    }
}
