//! Why a head was refused.

use std::fmt;

/// A head was refused: it breaks the rules, has two meanings, or is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// Where, counted in bytes from the start of what was parsed. Of a message whose parts do not go
    /// together, the place of one of them; 0 if there is no such place.
    pub at: usize,
}

impl Rejected {
    pub(crate) fn new(reason: Reason, at: usize) -> Rejected {
        Rejected { reason, at }
    }

    /// The same, counted from `by` bytes earlier.
    pub(crate) fn shifted(self, by: usize) -> Rejected {
        Rejected {
            at: self.at + by,
            ..self
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.reason, self.at)
    }
}

impl std::error::Error for Rejected {}

/// Why a head was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The head does not fit into [`super::Limits::head_bytes_max`].
    TooLarge,
    /// More fields than [`super::Limits::fields_max`].
    TooManyFields,
    /// More than a few empty lines before a request.
    EmptyLines,
    /// A line ends in LF without CR. RFC 9112 §2.2 lets one accept it, but not everybody does.
    BareLf,
    /// CR without LF behind it.
    BareCr,
    /// The method is not a token, or is too long.
    MethodInvalid,
    /// The target is empty or holds white space, a control character, `#` or a byte above 126.
    TargetInvalid,
    /// The target has none of the four forms of RFC 9112 §3.2, or not the one of its method.
    TargetForm,
    /// The authority in the target is not host and port; user names are refused too.
    AuthorityInvalid,
    /// HTTP/0.9, or a line cut short.
    VersionMissing,
    /// Something else stands where the version should be.
    VersionInvalid,
    /// A well-formed version other than 1.0 and 1.1.
    VersionUnsupported,
    /// HTTP/2 with prior knowledge.
    Http2Preface,
    /// Not three digits, or not in 100..=599.
    StatusInvalid,
    /// The reason phrase holds a control character.
    ReasonInvalid,
    /// A field line begins with white space: a folded line (RFC 9112 §5.2), or white space before the first field.
    Folded,
    /// A field line begins with its colon.
    NameEmpty,
    /// A field name is not a token.
    NameInvalid,
    /// White space between field name and colon (RFC 9112 §5.1).
    SpaceBeforeColon,
    /// A field line without a colon.
    ColonMissing,
    /// A field value holds NUL or another control character.
    ValueInvalid,
    /// HTTP/1.1 without Host.
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// Host is not host and port.
    HostInvalid,
    /// Host names another authority than the target.
    HostMismatch,
    /// Content-Length is not a plain decimal number below 2^63.
    LengthInvalid,
    /// More than one Content-Length, or a list in it, even of equal numbers.
    LengthRepeated,
    /// Both Content-Length and Transfer-Encoding (RFC 9112 §6.1).
    LengthAndEncoding,
    /// Transfer-Encoding is anything but one `chunked`.
    EncodingInvalid,
    /// Transfer-Encoding in HTTP/1.0, where it has no meaning (RFC 9112 §6.1).
    EncodingInHttp10,
    /// GET, HEAD or DELETE with a body in HTTP/1.0, as HAProxy refuses it.
    BodyInHttp10,
    /// A body where there can be none: CONNECT, responses 1xx and 204.
    BodyNotAllowed,
    /// Expect is anything but one `100-continue`: two sides would wait differently.
    ExpectInvalid,
}

impl Reason {
    /// The status that a client gets for it. HAProxy answers 400 to nearly everything, so do we. What
    /// a node sent is answered with 502 whatever the reason.
    pub fn status(self) -> u16 {
        match self {
            Reason::VersionUnsupported | Reason::Http2Preface => 505,
            Reason::BodyInHttp10 => 413,
            Reason::ExpectInvalid => 417,
            _ => 400,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::TooLarge => "the head is too large",
            Reason::TooManyFields => "there are too many header fields",
            Reason::EmptyLines => "there are too many empty lines before the request",
            Reason::BareLf => "a line ends in LF without CR",
            Reason::BareCr => "there is a CR without LF",
            Reason::MethodInvalid => "the method is not a token",
            Reason::TargetInvalid => "the request target holds a byte that may not stand there",
            Reason::TargetForm => "the request target does not have the form its method needs",
            Reason::AuthorityInvalid => {
                "the authority in the request target is not a host and port"
            }
            Reason::VersionMissing => "the request line has no HTTP version",
            Reason::VersionInvalid => "the HTTP version is malformed",
            Reason::VersionUnsupported => "the HTTP version is neither 1.0 nor 1.1",
            Reason::Http2Preface => "this is the HTTP/2 preface",
            Reason::StatusInvalid => "the status is not a number from 100 to 599",
            Reason::ReasonInvalid => "the reason phrase holds a control character",
            Reason::Folded => "a header line begins with white space",
            Reason::NameEmpty => "a header name is empty",
            Reason::NameInvalid => "a header name holds a byte that may not stand there",
            Reason::SpaceBeforeColon => "there is white space between a header name and its colon",
            Reason::ColonMissing => "a header line has no colon",
            Reason::ValueInvalid => "a header value holds a control character",
            Reason::HostMissing => "the Host header is missing",
            Reason::HostRepeated => "there is more than one Host header",
            Reason::HostInvalid => "the Host header is not a host and port",
            Reason::HostMismatch => "the Host header disagrees with the request target",
            Reason::LengthInvalid => "the Content-Length header is not a number",
            Reason::LengthRepeated => "there is more than one Content-Length",
            Reason::LengthAndEncoding => "there are both Content-Length and Transfer-Encoding",
            Reason::EncodingInvalid => "the Transfer-Encoding header is not exactly chunked",
            Reason::EncodingInHttp10 => "there is a Transfer-Encoding header in HTTP/1.0",
            Reason::BodyInHttp10 => "an HTTP/1.0 request of this method has a body",
            Reason::BodyNotAllowed => "there is a body where there can be none",
            Reason::ExpectInvalid => "the Expect header is not exactly 100-continue",
        })
    }
}
