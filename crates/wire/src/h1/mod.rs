//! HTTP/1.0 and HTTP/1.1 as RFC 9112 has them, strictly: a message has one meaning or is refused.
//!
//! Heads are parsed whole, out of the buffer they were read into; bodies are followed in passing,
//! without copying. Nothing received is ever forwarded as it came: heads and chunk framing are
//! always written anew, and the writer owns Content-Length, Transfer-Encoding, Connection, Upgrade.
//!
//! ```text
//! request:  HeadScanner → parse_request → request_body → BodyReader → write_request …
//! response: HeadScanner → parse_response → response_body → BodyReader → write_response …
//! ```

mod body;
mod connection;
mod framing;
mod parse;
mod rejected;
mod scan;
mod target;
mod write;

pub use body::{BodyError, BodyReader, BodyStep};
pub use connection::{expects_continue, strip_around_upgrade, strip_hop_by_hop, wants_keep_alive};
pub use framing::{BodyLength, Framing, request_body, response_body};
pub use parse::{parse_request, parse_response};
pub use rejected::{Reason, Rejected};
pub use scan::HeadScanner;
pub use write::{
    Connection, write_chunk_head, write_chunk_tail, write_last_chunk, write_request, write_response,
};

/// How much head a peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, from its first byte to the end of the empty line behind it, including empty
    /// lines before it. HAProxy's `tune.bufsize` less `tune.maxrewrite`.
    pub head_bytes_max: usize,
    /// Fields of a head. HAProxy's `tune.http.maxhdr`.
    pub fields_max: usize,
    /// Whether a request is taken that breaks rules without having two meanings for that: `#` and bytes above
    /// 126 in its target, and none of the hosts of HTTP/1.1. What frames messages is never lenient.
    pub lenient: bool,
}

impl Default for Limits {
    /// HAProxy's defaults: 16384 - 1024 bytes, 101 fields.
    fn default() -> Limits {
        Limits {
            head_bytes_max: 15 * 1024,
            fields_max: 101,
            lenient: false,
        }
    }
}

/// What came of looking at the beginning of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<T> {
    /// All of it is there.
    Complete {
        /// What it says.
        head: T,
        /// Bytes it took; what follows them belongs to the body or to the next message.
        consumed: usize,
    },
    /// So far it is right, and more is needed.
    Partial,
}
