//! Bytes to heads.
//!
//! One pass finds and checks the lines where they lie; only when the head is complete is its block
//! of fields copied, once, and the names put into lower case in the copy.

use std::ops::Range;

use super::framing::{self, Declared};
use super::{Limits, Parsed, Reason, Rejected, connection, target};
use crate::head::{Fields, METHOD_LEN_MAX, Method, RequestHead, ResponseHead, Version};
use crate::syntax;

/// Empty lines skipped before a request (RFC 9112 §2.2: at least one, because old clients send one
/// too many behind a POST). A few, so that nobody keeps a connection busy with nothing.
const EMPTY_LINES_MAX: usize = 4;

/// The largest head whatever the configuration says, in bytes: places in it are kept in 32 bits.
const HEAD_BYTES_CEILING: usize = 1 << 30;

/// The first line of HTTP/2 with prior knowledge (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Parses the head of a request at the beginning of `buf`.
///
/// Fails as soon as something is wrong, even if the head is not complete yet, and with the same
/// reason however the bytes were cut on their way. A complete head has passed [`request_body`]
/// too. To be asked again when more has come; [`HeadScanner`] tells when that is worth it.
///
/// [`request_body`]: super::request_body
/// [`HeadScanner`]: super::HeadScanner
pub fn parse_request(buf: &[u8], limits: &Limits) -> Result<Parsed<RequestHead>, Rejected> {
    bounded(buf, limits, request)
}

/// Parses the head of a response at the beginning of `buf`, as strictly as a request: nodes are not
/// trusted. No empty lines are skipped here.
pub fn parse_response(buf: &[u8], limits: &Limits) -> Result<Parsed<ResponseHead>, Rejected> {
    bounded(buf, limits, response)
}

/// A head of `consumed` bytes; none if it is not complete.
type Found<T> = Option<(T, usize)>;

/// Shows `parse` no more than a head may have, and refuses what is not complete by then.
fn bounded<T>(
    buf: &[u8],
    limits: &Limits,
    parse: fn(&[u8], &Limits) -> Result<Found<T>, Rejected>,
) -> Result<Parsed<T>, Rejected> {
    let max = limits.head_bytes_max.min(HEAD_BYTES_CEILING);
    let window = &buf[..buf.len().min(max)];
    match parse(window, limits)? {
        Some((head, consumed)) => Ok(Parsed::Complete { head, consumed }),
        None if buf.len() >= max => Err(Rejected::new(Reason::TooLarge, max)),
        None => Ok(Parsed::Partial),
    }
}

fn request(buf: &[u8], limits: &Limits) -> Result<Found<RequestHead>, Rejected> {
    let Some(start) = skip_empty_lines(buf)? else {
        return Ok(None);
    };
    let rest = &buf[start..];
    let method_len = check_method(rest).map_err(|rejected| rejected.shifted(start))?;
    let Some(line_len) = line(rest).map_err(|rejected| rejected.shifted(start))? else {
        return Ok(None);
    };
    let first = request_line(&rest[..line_len], method_len, limits.lenient)
        .map_err(|rejected| rejected.shifted(start))?;
    let block_start = start + line_len + 2;
    let Some((fields, block_len)) = block(&buf[block_start..], limits.fields_max)
        .map_err(|rejected| rejected.shifted(block_start))?
    else {
        return Ok(None);
    };
    let (target_start, version) = (start + method_len + 1, first.version);
    target::check(
        &first.method,
        first.target,
        version,
        &fields,
        limits.lenient,
    )
    .map_err(|misfit| misfit.place(target_start, block_start))?;
    let head = RequestHead::parsed(first.method, first.target, version, fields);
    framing::request_body(&head)
        .and_then(|_| connection::check_expect(&head))
        .map_err(|rejected| rejected.shifted(block_start))?;
    Ok(Some((head, block_start + block_len)))
}

fn response(buf: &[u8], limits: &Limits) -> Result<Found<ResponseHead>, Rejected> {
    // Something that is not HTTP at all need not wait for the end of its line.
    if !buf.starts_with(&b"HTTP/"[..buf.len().min(5)]) {
        return Err(Rejected::new(Reason::VersionInvalid, 0));
    }
    let Some(line_len) = line(buf)? else {
        return Ok(None);
    };
    let (version, status, reason) = status_line(&buf[..line_len])?;
    let block_start = line_len + 2;
    let Some((fields, block_len)) = block(&buf[block_start..], limits.fields_max)
        .map_err(|rejected| rejected.shifted(block_start))?
    else {
        return Ok(None);
    };
    Declared::read(&fields, version).map_err(|rejected| rejected.shifted(block_start))?;
    let head = ResponseHead::parsed(version, status, reason, fields);
    Ok(Some((head, block_start + block_len)))
}

/// Where the first line that is not empty begins; none if it has not.
fn skip_empty_lines(buf: &[u8]) -> Result<Option<usize>, Rejected> {
    let mut at = 0;
    loop {
        match &buf[at..] {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] if at == 2 * EMPTY_LINES_MAX => {
                return Err(Rejected::new(Reason::EmptyLines, at));
            }
            [b'\r', b'\n', ..] => at += 2,
            [b'\r', ..] => return Err(Rejected::new(Reason::BareCr, at)),
            [b'\n', ..] => return Err(Rejected::new(Reason::BareLf, at)),
            _ => return Ok(Some(at)),
        }
    }
}

/// Length of the line at the beginning of `buf`, without its CRLF; none if it does not end yet.
fn line(buf: &[u8]) -> Result<Option<usize>, Rejected> {
    match memchr::memchr(b'\n', buf) {
        None => Ok(None),
        Some(at) if at > 0 && buf[at - 1] == b'\r' => Ok(Some(at - 1)),
        Some(at) => Err(Rejected::new(Reason::BareLf, at)),
    }
}

/// Length of the method at the beginning of `buf`, as far as it is there. Done before the line is
/// complete, so that TLS or garbage on a plain port is refused at its first byte.
fn check_method(buf: &[u8]) -> Result<usize, Rejected> {
    let len = buf
        .iter()
        .take_while(|&&byte| syntax::is_token_byte(byte))
        .count();
    let ends_well = matches!(buf.get(len), None | Some(b' ' | b'\r' | b'\n'));
    if !ends_well || len == 0 || len > METHOD_LEN_MAX {
        return Err(Rejected::new(
            Reason::MethodInvalid,
            len.min(METHOD_LEN_MAX),
        ));
    }
    Ok(len)
}

struct RequestLine<'a> {
    method: Method,
    target: &'a [u8],
    version: Version,
}

fn request_line(
    line: &[u8],
    method_len: usize,
    lenient: bool,
) -> Result<RequestLine<'_>, Rejected> {
    if line == HTTP2_PREFACE {
        return Err(Rejected::new(Reason::Http2Preface, 0));
    }
    let (method, rest) = line.split_at(method_len);
    let method = Method::new(method).ok_or(Rejected::new(Reason::MethodInvalid, 0))?;
    let [b' ', rest @ ..] = rest else {
        let reason = if rest.is_empty() {
            Reason::VersionMissing
        } else {
            Reason::BareCr
        };
        return Err(Rejected::new(reason, method_len));
    };
    let target_start = method_len + 1;
    let target_len = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let target = &rest[..target_len];
    let fits = syntax::is_target(target) || (lenient && syntax::is_lenient_target(target));
    if target.is_empty() || !fits {
        let bad = target
            .iter()
            .position(|&byte| !syntax::is_target_byte(byte))
            .unwrap_or(0);
        return Err(Rejected::new(Reason::TargetInvalid, target_start + bad));
    }
    let version_start = target_start + target_len + 1;
    let version = match rest.get(target_len + 1..) {
        None | Some([]) => Err(Reason::VersionMissing),
        Some(version) => read_version(version),
    }
    .map_err(|reason| Rejected::new(reason, version_start))?;
    Ok(RequestLine {
        method,
        target,
        version,
    })
}

fn read_version(text: &[u8]) -> Result<Version, Reason> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Reason::VersionUnsupported)
        }
        _ => Err(Reason::VersionInvalid),
    }
}

/// Version, status, reason phrase. The space behind the status may be missing if the phrase is: many
/// servers leave it out, and it makes no second meaning.
fn status_line(line: &[u8]) -> Result<(Version, u16, &[u8]), Rejected> {
    let version_len = memchr::memchr(b' ', line).unwrap_or(line.len());
    let version = read_version(&line[..version_len]).map_err(|reason| Rejected::new(reason, 0))?;
    let at = version_len + 1;
    let (digits, reason) = match line.get(at..).unwrap_or_default() {
        digits if digits.len() == 3 => (digits, &b""[..]),
        [a, b, c, b' ', reason @ ..] => (&[*a, *b, *c][..], reason),
        _ => return Err(Rejected::new(Reason::StatusInvalid, at)),
    };
    let status = syntax::number(digits)
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (100..=599).contains(status))
        .ok_or(Rejected::new(Reason::StatusInvalid, at))?;
    match reason.iter().position(|&byte| !syntax::is_value_byte(byte)) {
        None => Ok((version, status, reason)),
        Some(bad) => Err(Rejected::new(Reason::ReasonInvalid, at + 4 + bad)),
    }
}

/// The fields at the beginning of `buf` up to the empty line, and the length of all that.
pub(super) fn block(buf: &[u8], fields_max: usize) -> Result<Found<Fields>, Rejected> {
    let mut places = Fields::new();
    let (mut at, mut is_lower) = (0, true);
    loop {
        let rest = &buf[at..];
        let (name, value, len) = match plain_field(rest) {
            Some(plain) if places.len() < fields_max => {
                is_lower &= plain.is_lower;
                (0..plain.name_len, plain.value, plain.len)
            }
            _ => {
                let Some(len) = line(rest).map_err(|rejected| rejected.shifted(at))? else {
                    return Ok(None);
                };
                if len == 0 {
                    places.adopt(&buf[..at], is_lower);
                    return Ok(Some((places, at + 2)));
                }
                if places.len() == fields_max {
                    return Err(Rejected::new(Reason::TooManyFields, at));
                }
                let (name, value) = field(&rest[..len]).map_err(|rejected| rejected.shifted(at))?;
                is_lower = false;
                (name, value, len)
            }
        };
        places.push(
            name.start + at..name.end + at,
            value.start + at..value.end + at,
        );
        at += len + 2;
    }
}

/// A field line that is whole, and right.
struct Plain {
    name_len: usize,
    /// Whether its name has no upper-case letter.
    is_lower: bool,
    value: Range<usize>,
    /// Without its CRLF.
    len: usize,
}

/// The field line at the beginning of `buf` in one pass, as nearly all can be read. `None` says no more than that it
/// wants a closer look: [`line`] and [`field`] tell whether it is incomplete or wrong, and how.
fn plain_field(buf: &[u8]) -> Option<Plain> {
    let (mut name_len, mut changed) = (0, 0);
    while let Some(&byte) = buf.get(name_len)
        && let lower @ 1.. = syntax::TOKEN_LOWER[usize::from(byte)]
    {
        changed |= byte ^ lower;
        name_len += 1;
    }
    if name_len == 0 || buf.get(name_len) != Some(&b':') {
        return None;
    }
    let mut start = name_len + 1;
    while syntax::is_blank(*buf.get(start)?) {
        start += 1;
    }
    let len = start + syntax::value_len(&buf[start..]);
    if !buf[len..].starts_with(b"\r\n") {
        return None;
    }
    let mut end = len;
    while end > start && syntax::is_blank(buf[end - 1]) {
        end -= 1;
    }
    Some(Plain {
        name_len,
        is_lower: changed == 0,
        value: start..end,
        len,
    })
}

/// Where name and value of a field line are in it (RFC 9112 §5).
fn field(line: &[u8]) -> Result<(Range<usize>, Range<usize>), Rejected> {
    let colon = line
        .iter()
        .take_while(|&&byte| syntax::is_token_byte(byte))
        .count();
    match line.get(colon) {
        Some(b':') if colon > 0 => {}
        Some(b':') => return Err(Rejected::new(Reason::NameEmpty, 0)),
        Some(b' ' | b'\t') if colon == 0 => return Err(Rejected::new(Reason::Folded, 0)),
        Some(b' ' | b'\t') => return Err(Rejected::new(Reason::SpaceBeforeColon, colon)),
        Some(_) => return Err(Rejected::new(Reason::NameInvalid, colon)),
        None => return Err(Rejected::new(Reason::ColonMissing, colon)),
    }
    let mut value = colon + 1..line.len();
    while value.start < value.end && syntax::is_blank(line[value.start]) {
        value.start += 1;
    }
    while value.start < value.end && syntax::is_blank(line[value.end - 1]) {
        value.end -= 1;
    }
    if !syntax::is_value(&line[value.clone()]) {
        return Err(bad_value(line, value.start));
    }
    Ok((0..colon, value))
}

#[cold]
fn bad_value(line: &[u8], from: usize) -> Rejected {
    let bad = line[from..]
        .iter()
        .position(|&byte| !syntax::is_value_byte(byte))
        .unwrap_or(0);
    let reason = if line[from + bad] == b'\r' {
        Reason::BareCr
    } else {
        Reason::ValueInvalid
    };
    Rejected::new(reason, from + bad)
}
