//! `errorfile`: a raw HTTP/1 response from a file, read into what the proxy may answer with.
//!
//! Strict, because it is sent as it is: one status line, well-formed fields, a length that is true.
//! Lines may end with CR LF or LF alone, as HAProxy reads them. Framing and connection fields are
//! dropped: they are the writer's (RFC 9112 section 6), to which a Content-Length says its place.

use std::sync::Arc;

use crate::model::{ErrorAnswer, ErrorPage};

/// Fields that say how a message is framed and what becomes of its connection.
const OWNED: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Reads a whole file. An empty one is a page that says nothing: the connection ends without an
/// answer. The error says what is wrong, for a message that names the file.
pub(crate) fn parse(bytes: &[u8]) -> Result<ErrorPage, String> {
    if bytes.is_empty() {
        return Ok(ErrorPage::Silent);
    }
    let mut lines = Lines { rest: bytes, at: 0 };
    let (status, reason) = status_line(&mut lines)?;
    let fields = fields(&mut lines)?;
    let body = lines.rest;
    check_length(status, &fields, body)?;
    let sent = fields
        .into_iter()
        .filter(|(name, _)| !OWNED.contains(&&**name))
        .map(|(name, value)| (name, value.into()));
    Ok(ErrorPage::Answer(Arc::new(ErrorAnswer {
        status,
        reason: reason.into(),
        fields: sent.collect(),
        body: body.into(),
    })))
}

/// The lines of a head.
struct Lines<'a> {
    rest: &'a [u8],
    /// How many were read: the number of the last one.
    at: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its end.
    fn next(&mut self) -> Result<&'a [u8], String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or("unable to parse headers (no empty line ends them)")?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        self.at += 1;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn wrong(&self, why: &str) -> String {
        format!("unable to parse headers (line {}: {why})", self.at)
    }
}

/// `HTTP/1.0 503 Service Unavailable`, after any empty lines.
fn status_line<'a>(lines: &mut Lines<'a>) -> Result<(u16, &'a [u8]), String> {
    let mut line = lines.next()?;
    while line.is_empty() {
        line = lines.next()?;
    }
    let wrong = || lines.wrong("expected a status line such as 'HTTP/1.0 503 Service Unavailable'");
    let rest = line.strip_prefix(b"HTTP/").ok_or_else(wrong)?;
    let [major, b'.', minor, b' ', rest @ ..] = rest else {
        return Err(wrong());
    };
    let (code, reason) = match rest.iter().position(|byte| *byte == b' ') {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (rest, &b""[..]),
    };
    let digits = [&[*major, *minor], code].concat();
    let three: Result<[u8; 3], _> = code.try_into();
    let (Ok(three), true) = (three, digits.iter().all(u8::is_ascii_digit)) else {
        return Err(wrong());
    };
    if !reason.iter().all(is_text) {
        return Err(lines.wrong("control characters"));
    }
    let status = three
        .iter()
        .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    if !(200..=599).contains(&status) {
        return Err(format!(
            "invalid http status code for an error message ({status})"
        ));
    }
    Ok((status, reason))
}

type Field = (Arc<str>, Vec<u8>);

/// All fields up to the empty line, names in lower case.
fn fields(lines: &mut Lines<'_>) -> Result<Vec<Field>, String> {
    let mut fields: Vec<Field> = Vec::new();
    loop {
        let line = lines.next()?;
        if line.is_empty() {
            return Ok(fields);
        }
        if !line.iter().all(is_text) {
            return Err(lines.wrong("control characters"));
        }
        if let (b' ' | b'\t', Some((_, value))) = (line[0], fields.last_mut()) {
            // A folded line goes on with the value before it (RFC 9112 section 5.2).
            value.push(b' ');
            value.extend_from_slice(line.trim_ascii());
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => return Err(lines.wrong("expected 'name: value'")),
        };
        let name = std::str::from_utf8(name).ok().filter(|name| is_token(name));
        let name = name.ok_or_else(|| lines.wrong("this is not a header name"))?;
        let name = name.to_ascii_lowercase().into();
        fields.push((name, value.trim_ascii().to_vec()));
    }
}

/// What a file says of its length must be so, or its author meant something else.
fn check_length(status: u16, fields: &[Field], body: &[u8]) -> Result<(), String> {
    for (name, value) in fields {
        match &**name {
            "transfer-encoding" => return Err("chunk-encoded payload not supported".to_owned()),
            "content-length" => {
                let text = String::from_utf8_lossy(value);
                if text.parse() != Ok(body.len()) {
                    return Err(format!(
                        "payload size does not match the announced content-length ({} != {text})",
                        body.len()
                    ));
                }
            }
            _ => {}
        }
    }
    if matches!(status, 204 | 304) && !body.is_empty() {
        return Err("message payload not expected".to_owned());
    }
    Ok(())
}

fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || !byte.is_ascii_control()
}

fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page as one line, or what is wrong with it.
    fn check(file: &str, expected: &str) {
        let found = match parse(file.as_bytes()) {
            Ok(ErrorPage::Silent) => "silent".to_owned(),
            Ok(ErrorPage::Answer(answer)) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let fields = answer.fields.iter();
                let fields = fields.map(|(name, value)| format!(" | {name}: {}", text(value)));
                let fields: String = fields.collect();
                let reason = text(&answer.reason);
                format!(
                    "{} {reason}{fields} | {:?}",
                    answer.status,
                    text(&answer.body)
                )
            }
            Ok(ErrorPage::Reply(_)) => "not from a file".to_owned(),
            Err(why) => format!("! {why}"),
        };
        assert_eq!(found, expected, "{file:?}");
    }

    #[test]
    fn a_raw_response_is_read() {
        check("", "silent");
        check(
            "HTTP/1.0 503 Gone Fishing\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\nx\n",
            "503 Gone Fishing | cache-control: no-cache | \"x\\n\"",
        );
        // What HAProxy reads too: bare line feeds, empty lines before, no phrase, folded values.
        check("HTTP/1.1 404 No\nA:  b \n\nx", "404 No | a: b | \"x\"");
        check("\r\nHTTP/1.0 503\r\n\r\n", "503  | \"\"");
        check(
            "HTTP/1.0 503 X\r\nA: b\n\r\nbody",
            "503 X | a: b | \"body\"",
        );
        check("HTTP/1.0 503 X\nA: b\n  c\n\n", "503 X | a: b c | \"\"");
        check("HTTP/1.0 204 X\n\n", "204 X | \"\"");
        check(
            "HTTP/1.0 503 X\nContent-Length: 1\nUpgrade: x\n\nb",
            "503 X | content-length: 1 | \"b\"",
        );
    }

    #[test]
    fn what_cannot_be_sent_as_it_is_is_refused() {
        const START: &str = "expected a status line such as 'HTTP/1.0 503 Service Unavailable'";
        let cases = [
            ("hello\n", format!("line 1: {START}")),
            ("http/1.0 503 X\n\n", format!("line 1: {START}")),
            ("HTTP/1.0 50 X\n\n", format!("line 1: {START}")),
            ("HTTP/1.0 +50 X\n\n", format!("line 1: {START}")),
            ("HTTP/1.0 503 X", "no empty line ends them".to_owned()),
            (
                "HTTP/1.0 503 X\nA: b\n",
                "no empty line ends them".to_owned(),
            ),
            (
                "HTTP/1.0 503 X\nA b: c\n\n",
                "line 2: this is not a header name".to_owned(),
            ),
            (
                "HTTP/1.0 503 X\nAb\n\n",
                "line 2: expected 'name: value'".to_owned(),
            ),
            (
                "HTTP/1.0 503 X\nA: b\0\n\n",
                "line 2: control characters".to_owned(),
            ),
            (
                "HTTP/1.0 503 X\n b\n\n",
                "line 2: expected 'name: value'".to_owned(),
            ),
        ];
        for (file, why) in cases {
            check(file, &format!("! unable to parse headers ({why})"));
        }
        check(
            "HTTP/1.0 100 X\n\n",
            "! invalid http status code for an error message (100)",
        );
        check(
            "HTTP/1.0 503 X\nContent-Length: 2\n\nbody\n",
            "! payload size does not match the announced content-length (5 != 2)",
        );
        check(
            "HTTP/1.0 503 X\nTransfer-Encoding: chunked\n\n0\n\n",
            "! chunk-encoded payload not supported",
        );
        check("HTTP/1.0 304 X\n\nbody", "! message payload not expected");
    }
}
