//! Log lines of others: frames of syslog over a stream (RFC 6587), and what a line says of itself (RFC
//! 3164, RFC 5424). Nothing is refused: what has no header is a text, as in HAProxy.

/// What a line says of itself. Fields that are missing, or `-`, are empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received<'a> {
    /// Facility and severity, if it begins with them.
    pub priority: Option<(u8, u8)>,
    /// Its date, as it came: `Oct 11 22:14:15`, or by ISO 8601.
    pub time: &'a [u8],
    /// Where it is from.
    pub host: &'a [u8],
    /// Which program has written it.
    pub tag: &'a [u8],
    /// That program's process.
    pub process: &'a [u8],
    /// RFC 5424's MSGID.
    pub id: &'a [u8],
    /// RFC 5424's STRUCTURED-DATA, brackets included.
    pub structured: &'a [u8],
    /// The text.
    pub text: &'a [u8],
}

impl Received<'_> {
    /// Whether its date is written by ISO 8601, as RFC 5424 has it.
    pub fn has_iso_time(&self) -> bool {
        self.time.first().is_some_and(u8::is_ascii_digit)
    }
}

/// Takes a line apart; ends of line behind it are no part of it.
pub fn parse(line: &[u8]) -> Received<'_> {
    let ends = line.iter().rev();
    let ends = ends.take_while(|byte| matches!(byte, b'\n' | b'\r' | 0));
    let line = &line[..line.len() - ends.count()];
    let Some((priority, rest)) = priority(line) else {
        return Received {
            text: line,
            ..Received::default()
        };
    };
    let found = match rest.strip_prefix(b"1 ") {
        Some(rest) => rfc5424(rest),
        None => rfc3164(rest),
    };
    Received {
        priority: Some(priority),
        ..found.unwrap_or(Received {
            text: rest,
            ..Received::default()
        })
    }
}

/// `<134>`: at most three digits, at most 191 (RFC 5424 section 6.2.1).
fn priority(line: &[u8]) -> Option<((u8, u8), &[u8])> {
    let rest = line.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
    let digits = &rest[..end];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let number = u8::try_from(number).ok().filter(|number| *number <= 191)?;
    Some(((number / 8, number % 8), &rest[end + 1..]))
}

/// Up to the next space, and what stands behind that.
fn word(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = rest.iter().position(|byte| *byte == b' ')?;
    Some((&rest[..end], &rest[end + 1..]))
}

fn or_nothing(field: &[u8]) -> &[u8] {
    match field {
        b"-" => b"",
        field => field,
    }
}

/// `TIME HOST APP PROCID MSGID DATA [TEXT]`.
fn rfc5424(rest: &[u8]) -> Option<Received<'_>> {
    let (time, rest) = word(rest)?;
    let (host, rest) = word(rest)?;
    let (tag, rest) = word(rest)?;
    let (process, rest) = word(rest)?;
    let (id, rest) = word(rest)?;
    let end = structured_len(rest)?;
    let (structured, rest) = rest.split_at(end);
    let text = rest.strip_prefix(b" ").unwrap_or(rest);
    Some(Received {
        priority: None,
        time: or_nothing(time),
        host: or_nothing(host),
        tag: or_nothing(tag),
        process: or_nothing(process),
        id: or_nothing(id),
        structured: or_nothing(structured),
        // A byte order mark only says that it is UTF-8.
        text: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
    })
}

/// `-`, or elements in brackets; a bracket within a value has a backslash before it.
fn structured_len(rest: &[u8]) -> Option<usize> {
    if rest.first() == Some(&b'-') {
        return Some(1);
    }
    let mut at = 0;
    while rest.get(at) == Some(&b'[') {
        let (mut quoted, mut escaped) = (false, false);
        let inside = &rest[at + 1..];
        let end = inside.iter().position(|byte| {
            let ends = *byte == b']' && !quoted;
            if *byte == b'"' && !escaped {
                quoted = !quoted;
            }
            escaped = *byte == b'\\' && !escaped;
            ends
        })?;
        at += end + 2;
    }
    (at > 0).then_some(at)
}

/// Bytes of `Oct 11 22:14:15`.
const TIME_LEN: usize = 15;

/// `TIME HOST [TAG[PID]:] TEXT`.
fn rfc3164(rest: &[u8]) -> Option<Received<'_>> {
    let (time, behind) = rest.split_at_checked(TIME_LEN)?;
    let shape = b"Aaa .. ..:..:..";
    let fits = time.iter().zip(shape).all(|(byte, shape)| match shape {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'.' => byte.is_ascii_digit() || *byte == b' ',
        shape => byte == shape,
    });
    let behind = behind.strip_prefix(b" ").filter(|_| fits)?;
    let mut received = Received {
        time,
        text: behind,
        ..Received::default()
    };
    let Some((host, behind)) = word(behind) else {
        return Some(received);
    };
    (received.host, received.text) = (host, behind);
    // A word that ends with a colon is who has written it.
    let Some((tag, text)) = word(behind) else {
        return Some(received);
    };
    let Some(tag) = tag.strip_suffix(b":") else {
        return Some(received);
    };
    let open = tag.iter().position(|byte| *byte == b'[');
    (received.tag, received.process) = match (open, tag.strip_suffix(b"]")) {
        (Some(open), Some(closed)) => (&tag[..open], &closed[open + 1..]),
        _ => (tag, &[][..]),
    };
    received.text = text;
    Some(received)
}

/// The next frame in what came over a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line, and how many bytes it has used up.
    Line(&'a [u8], usize),
    /// It has not come whole.
    Partial,
    /// It is longer than may be, or its length is none: nobody knows where the next one begins.
    Broken,
}

/// Takes a frame off: by its length in front (RFC 6587 section 3.4.1), else up to the end of the line
/// (3.4.2). `plain`: none has its length in front.
pub fn frame(bytes: &[u8], plain: bool, len_max: usize) -> Frame<'_> {
    let counted = !plain && matches!(bytes.first(), Some(b'1'..=b'9'));
    if !counted {
        return match bytes.iter().take(len_max).position(|byte| *byte == b'\n') {
            Some(end) => Frame::Line(&bytes[..end], end + 1),
            None if bytes.len() >= len_max => Frame::Broken,
            None => Frame::Partial,
        };
    }
    /// As many digits as any length that is allowed has.
    const DIGITS_MAX: usize = 6;
    let head = bytes.iter().take(DIGITS_MAX + 1);
    let Some(space) = head.clone().position(|byte| *byte == b' ') else {
        return match bytes.len() > DIGITS_MAX || !head.clone().all(u8::is_ascii_digit) {
            true => Frame::Broken,
            false => Frame::Partial,
        };
    };
    let digits = std::str::from_utf8(&bytes[..space]).ok();
    let length = digits.and_then(|digits| digits.parse::<usize>().ok());
    match length.filter(|length| *length <= len_max) {
        None => Frame::Broken,
        Some(length) => match bytes.get(space + 1..space + 1 + length) {
            Some(line) => Frame::Line(line, space + 1 + length),
            None => Frame::Partial,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn check(line: &str, expected: &str) {
        let it = parse(line.as_bytes());
        let priority = it.priority.map_or("-".to_owned(), |(f, s)| format!("{f}.{s}"));
        let fields = [it.time, it.host, it.tag, it.process, it.id, it.structured, it.text];
        let fields = fields.map(shown).join("|");
        assert_eq!(format!("{priority}|{fields}"), expected, "{line}");
    }

    #[test]
    fn lines_are_taken_apart_as_haproxy_does() {
        check(
            "<134>Nov 22 20:11:01 haproxy[17210]: hello world",
            "16.6|Nov 22 20:11:01|haproxy[17210]:|||||hello world",
        );
        check(
            "<134>Nov  2 20:11:01 host app[12]: hello\n",
            "16.6|Nov  2 20:11:01|host|app|12|||hello",
        );
        check(
            "<165>1 2003-10-11T22:14:15.003Z h evntslog 77 ID47 [x a=\"b]\\\"\"][y] the text",
            "20.5|2003-10-11T22:14:15.003Z|h|evntslog|77|ID47|[x a=\"b]\\\"\"][y]|the text",
        );
        check(
            "<165>1 2003-10-11T22:14:15.003Z - app - - - text",
            "20.5|2003-10-11T22:14:15.003Z||app||||text",
        );
        check("no header at all", "-|||||||no header at all");
        check("<13>just prio", "1.5|||||||just prio");
        check("<192>x", "-|||||||<192>x");
        check("<>x", "-|||||||<>x");
        check("<13>1 cut", "1.5|||||||1 cut");
        check("", "-|||||||");
    }

    #[test]
    fn frames_have_a_length_or_an_end() {
        let check = |bytes: &str, plain, expected| {
            assert_eq!(frame(bytes.as_bytes(), plain, 20), expected, "{bytes}");
        };
        check("5 hello7 again", false, Frame::Line(b"hello", 7));
        check("hello\nagain", false, Frame::Line(b"hello", 6));
        check("5 hello\n", true, Frame::Line(b"5 hello", 8));
        check("5 hel", false, Frame::Partial);
        check("5", false, Frame::Partial);
        check("<13>hel", false, Frame::Partial);
        check("21 x", false, Frame::Broken);
        check("1234567 x", false, Frame::Broken);
        check("1x", false, Frame::Broken);
        check("a line without any end", false, Frame::Broken);
    }
}
