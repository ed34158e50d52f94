//! Bodies, followed in passing: where the payload is in what was read, and where the body ends.
//!
//! Nothing is copied but trailers. The chunked coding (RFC 9112 §7.1) is read strictly: digits, no
//! white space, CRLF and nothing else at the end of a line.

use std::fmt;

use super::framing::BodyLength;
use super::{Reason, parse};
use crate::head::Fields;
use crate::syntax;

/// Digits of a chunk size: as many as 64 bits have.
const SIZE_DIGITS_MAX: u8 = 16;

/// The largest chunk, in bytes: signed readers agree up to here.
const SIZE_MAX: u64 = i64::MAX as u64;

/// Bytes of extensions on one chunk. They are never passed on, and nobody is known to use them.
const EXTENSION_LEN_MAX: u16 = 256;

/// Bytes of extensions by which a body may exceed its payload, so that a body cannot be made of
/// extensions alone (as in CVE-2023-39326).
const EXTENSION_EXCESS_MAX: u64 = 4096;

/// Bytes of trailers, with their line ends.
const TRAILER_BYTES_MAX: usize = 8192;

/// Trailer fields.
const TRAILER_FIELDS_MAX: usize = 32;

/// Where the reader is in a body.
///
/// ```text
/// Length ─┐
/// Size ─ Extension* ─ SizeLf ─┬─ Data ─ DataCr ─ DataLf ─ Size
///                             └─ Trailers ─ Done
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length { left: u64 },
    UntilClose,
    Size { digits: u8, size: u64 },
    Extension { part: Part, len: u16, size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers { line_start: usize },
    Done,
    Broken(BodyError),
}

/// Where the reader is in `;name=value` (RFC 9112 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    NameStart,
    Name,
    ValueStart,
    Token,
    Quoted,
    Escaped,
    QuotedEnd,
}

/// Follows one body through the bytes as they are read.
#[derive(Debug, Clone)]
pub struct BodyReader {
    state: State,
    /// Bytes of extensions beyond the bytes of payload so far.
    extension_excess: u64,
    trailers: Vec<u8>,
}

/// What the beginning of the input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyStep {
    /// `input[start..end]` is payload, never empty; before it is framing. `end` bytes are consumed.
    Data {
        /// First byte of payload.
        start: usize,
        /// One past the last byte of payload.
        end: usize,
    },
    /// That many bytes of framing are consumed, all that there was.
    Skip(usize),
    /// The body is complete.
    End {
        /// Bytes of framing that belonged to it; what follows them does not.
        consumed: usize,
        /// Trailer fields that may be passed on, if there are any.
        trailers: Option<Fields>,
    },
    /// The input is empty and the body is not complete.
    NeedMore,
}

impl BodyReader {
    /// For a body of this length.
    pub fn new(length: BodyLength) -> BodyReader {
        let state = match length {
            BodyLength::Empty | BodyLength::Length(0) => State::Done,
            BodyLength::Length(left) => State::Length { left },
            BodyLength::Chunked => State::Size { digits: 0, size: 0 },
            BodyLength::UntilClose => State::UntilClose,
        };
        BodyReader {
            state,
            extension_excess: 0,
            trailers: Vec::new(),
        }
    }

    /// Whether nothing of what follows belongs to this body.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at the next bytes, from where the last step ended. How the bytes were cut makes no
    /// difference. After an error every step gives the same error.
    pub fn next(&mut self, input: &[u8]) -> Result<BodyStep, BodyError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Broken(error) => return Err(error),
                State::Done => {
                    return Ok(BodyStep::End {
                        consumed: at,
                        trailers: None,
                    });
                }
                _ if at == input.len() && at == 0 => return Ok(BodyStep::NeedMore),
                _ if at == input.len() => return Ok(BodyStep::Skip(at)),
                State::UntilClose => {
                    return Ok(BodyStep::Data {
                        start: 0,
                        end: input.len(),
                    });
                }
                State::Length { left } | State::Data { left } => {
                    return Ok(self.take(left, at, input.len()));
                }
                State::Trailers { line_start } => {
                    let step = self.trailer_line(line_start, &input[at..]);
                    let (taken, end) = step.map_err(|error| self.broken(error))?;
                    at += taken;
                    if let Some(trailers) = end {
                        self.state = State::Done;
                        let trailers = (!trailers.is_empty()).then_some(trailers);
                        return Ok(BodyStep::End {
                            consumed: at,
                            trailers,
                        });
                    }
                }
                framing => {
                    let next = self.framing(framing, input[at]);
                    self.state = next.map_err(|error| self.broken(error))?;
                    at += 1;
                }
            }
        }
    }

    /// The connection has ended: was that the proper end of the body?
    pub fn finish_on_close(&self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => Ok(()),
            State::Broken(error) => Err(error),
            _ => Err(BodyError::Truncated),
        }
    }

    fn broken(&mut self, error: BodyError) -> BodyError {
        self.state = State::Broken(error);
        self.trailers = Vec::new();
        error
    }

    /// Takes what is there of `left` bytes of payload.
    fn take(&mut self, left: u64, start: usize, input_len: usize) -> BodyStep {
        let there = input_len - start;
        let len = usize::try_from(left).map_or(there, |left| left.min(there));
        let left = left - len as u64;
        self.extension_excess = self.extension_excess.saturating_sub(len as u64);
        self.state = match self.state {
            State::Length { .. } if left > 0 => State::Length { left },
            State::Length { .. } => State::Done,
            _ if left > 0 => State::Data { left },
            _ => State::DataCr,
        };
        BodyStep::Data {
            start,
            end: start + len,
        }
    }

    /// One byte of chunk framing.
    fn framing(&mut self, state: State, byte: u8) -> Result<State, BodyError> {
        match (state, byte) {
            (State::Size { digits, size }, _) => size_byte(digits, size, byte),
            (State::Extension { part, len, size }, _) => {
                self.extension_excess += 1;
                if len == EXTENSION_LEN_MAX || self.extension_excess > EXTENSION_EXCESS_MAX {
                    return Err(BodyError::ExtensionTooLong);
                }
                extension_byte(part, len + 1, size, byte)
            }
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::Trailers { line_start: 0 }),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { digits: 0, size: 0 }),
            (State::DataCr | State::DataLf, _) => Err(BodyError::DataEnd),
            _ => Err(BodyError::LineEnd),
        }
    }

    /// Takes the input up to the end of a trailer line; tells how much, and the trailers if that was
    /// the empty line behind them.
    fn trailer_line(
        &mut self,
        line_start: usize,
        input: &[u8],
    ) -> Result<(usize, Option<Fields>), BodyError> {
        let line_end = memchr::memchr(b'\n', input);
        let taken = line_end.map_or(input.len(), |at| at + 1);
        if self.trailers.len() + taken > TRAILER_BYTES_MAX {
            return Err(BodyError::TrailersTooLong);
        }
        self.trailers.extend_from_slice(&input[..taken]);
        if line_end.is_none() {
            return Ok((taken, None));
        }
        self.state = State::Trailers {
            line_start: self.trailers.len(),
        };
        if !self.trailers.ends_with(b"\r\n") {
            return Err(BodyError::Trailer(Reason::BareLf));
        }
        if &self.trailers[line_start..] != b"\r\n" {
            return Ok((taken, None));
        }
        let block = std::mem::take(&mut self.trailers);
        match parse::block(&block, TRAILER_FIELDS_MAX) {
            Ok(Some((mut fields, _))) => {
                fields.retain(|name, _| may_be_trailer(name));
                Ok((taken, Some(fields)))
            }
            Ok(None) => Err(BodyError::LineEnd),
            Err(rejected) => Err(BodyError::Trailer(rejected.reason)),
        }
    }
}

fn size_byte(digits: u8, size: u64, byte: u8) -> Result<State, BodyError> {
    match byte {
        b'\r' if digits > 0 => Ok(State::SizeLf { size }),
        b';' if digits > 0 => Ok(State::Extension {
            part: Part::NameStart,
            len: 0,
            size,
        }),
        b'\n' => Err(BodyError::LineEnd),
        _ => {
            let digit = (byte as char).to_digit(16).ok_or(BodyError::SizeInvalid)?;
            // 16 digits fit into 64 bits, so the shift drops nothing.
            let size = size << 4 | u64::from(digit);
            if digits == SIZE_DIGITS_MAX || size > SIZE_MAX {
                return Err(BodyError::SizeTooLarge);
            }
            Ok(State::Size {
                digits: digits + 1,
                size,
            })
        }
    }
}

fn extension_byte(part: Part, len: u16, size: u64, byte: u8) -> Result<State, BodyError> {
    let token = syntax::is_token_byte(byte);
    let quotable = byte != b'\r' && syntax::is_value_byte(byte);
    let part = match (part, byte) {
        (Part::Name | Part::Token | Part::QuotedEnd, b'\r') => return Ok(State::SizeLf { size }),
        (Part::Name | Part::Token | Part::QuotedEnd, b';') => Part::NameStart,
        (Part::Name, b'=') => Part::ValueStart,
        (Part::NameStart | Part::Name, _) if token => Part::Name,
        (Part::ValueStart, b'"') => Part::Quoted,
        (Part::ValueStart | Part::Token, _) if token => Part::Token,
        (Part::Quoted, b'"') => Part::QuotedEnd,
        (Part::Quoted, b'\\') => Part::Escaped,
        (Part::Quoted | Part::Escaped, _) if quotable => Part::Quoted,
        (_, b'\n') => return Err(BodyError::LineEnd),
        _ => return Err(BodyError::ExtensionInvalid),
    };
    Ok(State::Extension { part, len, size })
}

/// Fields that have no business behind a body, because they frame, route, authenticate or control
/// the message (RFC 9110 §6.5.1): dropped.
const NOT_TRAILERS: [&str; 30] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
];

/// Families of fields to which the same applies.
const NOT_TRAILER_FAMILIES: [&str; 6] = [
    "if-",
    "x-forwarded-",
    "x-real-",
    "sec-",
    "proxy-auth",
    "www-auth",
];

/// Whether a field may be passed on behind a body.
pub(super) fn may_be_trailer(name: &str) -> bool {
    !NOT_TRAILERS.contains(&name)
        && !NOT_TRAILER_FAMILIES
            .iter()
            .any(|family| name.starts_with(family))
}

/// A body cannot be followed: the connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// A chunk size is not made of hexadecimal digits.
    SizeInvalid,
    /// A chunk size has too many digits or is too large.
    SizeTooLarge,
    /// A chunk extension is malformed.
    ExtensionInvalid,
    /// Chunk extensions are too long, for one chunk or for the whole body.
    ExtensionTooLong,
    /// A line of the framing does not end in CRLF.
    LineEnd,
    /// The data of a chunk is not followed by CRLF.
    DataEnd,
    /// There are too many bytes of trailers.
    TrailersTooLong,
    /// A trailer field is malformed, or there are too many.
    Trailer(Reason),
    /// The connection ended before the body did.
    Truncated,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::SizeInvalid => f.write_str("a chunk size is not a hexadecimal number"),
            BodyError::SizeTooLarge => f.write_str("a chunk size is too large"),
            BodyError::ExtensionInvalid => f.write_str("a chunk extension is malformed"),
            BodyError::ExtensionTooLong => f.write_str("chunk extensions are too long"),
            BodyError::LineEnd => f.write_str("a line of chunk framing does not end in CRLF"),
            BodyError::DataEnd => f.write_str("a chunk is not followed by CRLF"),
            BodyError::TrailersTooLong => f.write_str("the trailers are too long"),
            BodyError::Trailer(reason) => write!(f, "in the trailers: {reason}"),
            BodyError::Truncated => f.write_str("the connection ended before the body did"),
        }
    }
}

impl std::error::Error for BodyError {}
