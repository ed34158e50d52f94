//! How long a body is: RFC 9112 §6, without any of the leniency it allows.

use super::{Reason, Rejected};
use crate::head::{Fields, Method, RequestHead, ResponseHead, Version};
use crate::syntax;

/// How the end of a received body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body, and nothing in the head speaks of one.
    Empty,
    /// That many bytes; may be 0.
    Length(u64),
    /// Chunks, up to one of size 0.
    Chunked,
    /// Everything up to the end of the connection. Responses only.
    UntilClose,
}

/// How the writer is to mark the end of a body that will be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body. A response to which a body would belong says `Content-Length: 0`.
    None,
    /// `Content-Length`. In the response to HEAD this is what GET would have had.
    Length(u64),
    /// `Transfer-Encoding: chunked`; only for recipients of HTTP/1.1.
    Chunked,
    /// The connection is closed behind the body. Responses only.
    UntilClose,
}

impl From<BodyLength> for Framing {
    /// The framing that passes a received body on as it is.
    fn from(length: BodyLength) -> Framing {
        match length {
            BodyLength::Empty => Framing::None,
            BodyLength::Length(bytes) => Framing::Length(bytes),
            BodyLength::Chunked => Framing::Chunked,
            BodyLength::UntilClose => Framing::UntilClose,
        }
    }
}

/// How long the body of a request is. Never [`BodyLength::UntilClose`].
///
/// Fails if the head allows for two answers. `parse_request` has asked already; to be asked before
/// rules change the head.
pub fn request_body(head: &RequestHead) -> Result<BodyLength, Rejected> {
    let declared = Declared::read(&head.fields, head.version)?;
    let at = declared.at;
    let Some(length) = declared.body else {
        return Ok(BodyLength::Empty);
    };
    let without = [Method::GET, Method::HEAD, Method::DELETE];
    if length == BodyLength::Length(0) {
        Ok(length)
    } else if head.method.is_connect() {
        Err(Rejected::new(Reason::BodyNotAllowed, at))
    } else if head.version == Version::Http10 && without.contains(&head.method) {
        Err(Rejected::new(Reason::BodyInHttp10, at))
    } else {
        Ok(length)
    }
}

/// How long the body of a response to a `request_method` request is (RFC 9112 §6.3).
///
/// The response to HEAD has none; ask with GET to learn what its head announces, which is the
/// framing to write. Fails if the head allows for two answers, or announces a body with 1xx or 204.
pub fn response_body(head: &ResponseHead, request_method: &Method) -> Result<BodyLength, Rejected> {
    let declared = Declared::read(&head.fields, head.version)?;
    let announced = !matches!(declared.body, None | Some(BodyLength::Length(0)));
    let successful = (200..300).contains(&head.status);
    match head.status {
        100..200 | 204 if announced => Err(Rejected::new(Reason::BodyNotAllowed, declared.at)),
        100..200 | 204 | 304 => Ok(BodyLength::Empty),
        _ if request_method.is_head() => Ok(BodyLength::Empty),
        _ if request_method.is_connect() && successful => Ok(BodyLength::Empty),
        _ => Ok(declared.body.unwrap_or(BodyLength::UntilClose)),
    }
}

/// What Content-Length and Transfer-Encoding say.
pub(super) struct Declared {
    body: Option<BodyLength>,
    /// Position of the value in the block of fields.
    at: usize,
}

impl Declared {
    pub(super) fn read(fields: &Fields, version: Version) -> Result<Declared, Rejected> {
        let mut declared = Declared { body: None, at: 0 };
        let lens = ["content-length".len(), "transfer-encoding".len()];
        for (name, value, at) in fields.places(lens) {
            let body = match name {
                b"content-length" => BodyLength::Length(
                    read_length(value).map_err(|reason| Rejected::new(reason, at))?,
                ),
                b"transfer-encoding" if version == Version::Http10 => {
                    return Err(Rejected::new(Reason::EncodingInHttp10, at));
                }
                b"transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => {
                    BodyLength::Chunked
                }
                b"transfer-encoding" => {
                    return Err(Rejected::new(Reason::EncodingInvalid, at));
                }
                _ => continue,
            };
            if let Some(before) = declared.body {
                return Err(Rejected::new(contradiction(before, body), at));
            }
            declared = Declared {
                body: Some(body),
                at,
            };
        }
        Ok(declared)
    }
}

/// Two fields that speak of the length: even if they mean the same, somebody behind us may read
/// them otherwise, and no honest sender needs them.
fn contradiction(first: BodyLength, second: BodyLength) -> Reason {
    match (first, second) {
        (BodyLength::Length(_), BodyLength::Length(_)) => Reason::LengthRepeated,
        (BodyLength::Chunked, BodyLength::Chunked) => Reason::EncodingInvalid,
        _ => Reason::LengthAndEncoding,
    }
}

/// Digits and nothing else, below 2^63 so that signed readers agree.
fn read_length(value: &[u8]) -> Result<u64, Reason> {
    if value.contains(&b',') {
        return Err(Reason::LengthRepeated);
    }
    syntax::number(value)
        .filter(|&length| length <= i64::MAX as u64)
        .ok_or(Reason::LengthInvalid)
}
