//! Heads and chunk framing to bytes.
//!
//! What is written has exactly one meaning, whatever rules have done to the head: the writer alone
//! decides about Host (one), Content-Length, Transfer-Encoding, Connection and Upgrade, and [`Fields`]
//! holds nothing that could end a line.

use super::body::may_be_trailer;
use super::framing::Framing;
use crate::head::{Fields, RequestHead, ResponseHead};

/// What to say about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// `connection: close`
    Close,
    /// `connection: keep-alive`, which only HTTP/1.0 clients need to be told.
    KeepAlive,
    /// `connection: Upgrade` and `upgrade: websocket`: the only way to send an Upgrade field. They
    /// stand where such fields stand in the head, else behind the others.
    Upgrade,
}

/// Fields that are written for what is so, not for what stands in the head.
fn is_owned(name: &[u8]) -> bool {
    // Most names are told apart by their lengths.
    matches!(name.len(), 7 | 10 | 14 | 16 | 17)
        && matches!(
            name,
            b"connection"
                | b"upgrade"
                | b"content-length"
                | b"transfer-encoding"
                | b"keep-alive"
                | b"proxy-connection"
        )
}

/// Writes the head of a request, always as HTTP/1.1 and to an origin server: an absolute target is
/// sent as its path (RFC 9112 §3.2.1). Host and framing stand where the head has them, as HAProxy
/// leaves them. Without a Host field the authority of the target is sent, or an empty Host, first.
/// [`Framing::UntilClose`] has no meaning for a request and is taken for [`Framing::None`].
pub fn write_request(
    head: &RequestHead,
    framing: Framing,
    connection: Option<Connection>,
    out: &mut Vec<u8>,
) {
    let whole = if head.method.is_connect() {
        head.target()
    } else {
        head.path_and_query()
    };
    for part in [head.method.as_bytes(), b" ", whole, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    let mut hosts = head.fields.get_all("host");
    let host = hosts.next();
    if host.is_none() {
        write_field(b"host", head.host().unwrap_or_default(), out);
    }
    let own = Own {
        host: host.filter(|_| hosts.next().is_some()),
        framing,
        connection,
    };
    write_with(own, &head.fields, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response, always as HTTP/1.1.
///
/// 1xx and 204 get no framing, 304 no chunks (RFC 9110 §8.6, RFC 9112 §6.1). A status outside
/// 100..=599 cannot be sent and becomes 500. For the response to HEAD give the framing that GET would
/// have had.
pub fn write_response(
    head: &ResponseHead,
    framing: Framing,
    connection: Option<Connection>,
    out: &mut Vec<u8>,
) {
    let status = if (100..=599).contains(&head.status) {
        head.status
    } else {
        500
    };
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    let framing = match (status, framing) {
        (100..200 | 204, _) | (304, Framing::None | Framing::Chunked) => Framing::None,
        (_, Framing::None) => Framing::Length(0),
        _ => framing,
    };
    let own = Own {
        host: None,
        framing,
        connection,
    };
    write_with(own, &head.fields, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes the line before `len` bytes of payload. Writes nothing for 0, which would end the body;
/// then leave the tail out too.
pub fn write_chunk_head(len: usize, out: &mut Vec<u8>) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for shift in (0..digits).rev() {
        let digit = len >> (4 * shift) & 0xf;
        out.push(b"0123456789abcdef"[digit]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes what follows the payload of a chunk.
pub fn write_chunk_tail(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body, with those of the trailers that may stand there.
pub fn write_last_chunk(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        write_fields(trailers, may_be_trailer, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// What the writer itself says.
struct Own<'a> {
    /// The only Host of a request, where its head has several.
    host: Option<&'a [u8]>,
    framing: Framing,
    connection: Option<Connection>,
}

/// Fields in their order, ours in the place of the first of their name, or else behind the others.
fn write_with(own: Own<'_>, fields: &Fields, out: &mut Vec<u8>) {
    let upgrades = own.connection == Some(Connection::Upgrade);
    let (mut host, mut framing) = (own.host, Some(own.framing));
    let (mut connection, mut upgrade) = (own.connection, upgrades);
    let is_repeated = host.is_some();
    let is_special = |name: &[u8]| is_owned(name) || (is_repeated && name == b"host");
    fields.write(out, is_special, |name, out| match name {
        b"content-length" | b"transfer-encoding" => {
            if let Some(framing) = framing.take() {
                write_framing(framing, out);
            }
        }
        b"host" => {
            if let Some(host) = host.take() {
                write_field(b"host", host, out);
            }
        }
        b"connection" if upgrades => write_connection(connection.take(), out),
        b"upgrade" if upgrade => {
            upgrade = false;
            write_field(b"upgrade", b"websocket", out);
        }
        _ => {}
    });
    if let Some(framing) = framing {
        write_framing(framing, out);
    }
    write_connection(connection, out);
    if upgrade {
        write_field(b"upgrade", b"websocket", out);
    }
}

fn write_fields(fields: &Fields, wanted: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
    for (name, value) in fields.iter() {
        if wanted(name) && !is_owned(name.as_bytes()) {
            write_field(name.as_bytes(), value, out);
        }
    }
}

fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn write_framing(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => write_field(b"transfer-encoding", b"chunked", out),
        Framing::Length(length) => {
            write_field(
                b"content-length",
                itoa::Buffer::new().format(length).as_bytes(),
                out,
            );
        }
    }
}

fn write_connection(connection: Option<Connection>, out: &mut Vec<u8>) {
    match connection {
        None => {}
        Some(Connection::Close) => write_field(b"connection", b"close", out),
        Some(Connection::KeepAlive) => write_field(b"connection", b"keep-alive", out),
        Some(Connection::Upgrade) => write_field(b"connection", b"Upgrade", out),
    }
}
