//! The PROXY protocol, versions 1 and 2, as a receiver.
//!
//! Follows `proxy-protocol.txt` of HAProxy. Strict: what does not match exactly ends the connection,
//! because whoever may write this header may name any address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::h1::Parsed;

/// The longest header of version 1, CRLF included, in bytes.
pub const V1_LEN_MAX: usize = 107;

/// The most that version 2 may announce behind its 16 bytes. Enough for addresses, names and a
/// client certificate of the usual size; the protocol itself would allow 65535.
pub const V2_LEN_MAX: usize = 4096;

const V1_SIGNATURE: &[u8] = b"PROXY ";
pub(crate) const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEADER_LEN: usize = 16;

/// Whom the connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxied {
    /// The sender itself, or somebody without an IP address (UNKNOWN, UNIX sockets, UDP): the
    /// addresses of the real connection stand.
    Local,
    /// Somebody else.
    Addresses {
        /// The client.
        src: SocketAddr,
        /// What the client connected to.
        dst: SocketAddr,
    },
}

/// Parses the header at the beginning of `buf`. Fails as soon as something is wrong.
pub fn parse(buf: &[u8]) -> Result<Parsed<Proxied>, ProxyError> {
    if begins(buf, V2_SIGNATURE) {
        parse_v2(buf)
    } else if begins(buf, V1_SIGNATURE) {
        parse_v1(buf)
    } else {
        Err(ProxyError::Signature)
    }
}

/// Whether `buf` begins with `signature`, or may yet turn out to.
fn begins(buf: &[u8], signature: &[u8]) -> bool {
    let len = buf.len().min(signature.len());
    buf[..len] == signature[..len]
}

fn parse_v1(buf: &[u8]) -> Result<Parsed<Proxied>, ProxyError> {
    let window = &buf[..buf.len().min(V1_LEN_MAX)];
    let Some(lf) = memchr::memchr(b'\n', window) else {
        let full = window.len() == V1_LEN_MAX;
        return if full {
            Err(ProxyError::TooLong)
        } else {
            Ok(Parsed::Partial)
        };
    };
    let line = window[..lf].strip_suffix(b"\r").ok_or(ProxyError::Line)?;
    let head = v1_line(line).ok_or(ProxyError::Line)?;
    Ok(Parsed::Complete {
        head,
        consumed: lf + 1,
    })
}

fn v1_line(line: &[u8]) -> Option<Proxied> {
    let line = line.strip_prefix(V1_SIGNATURE)?;
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        // The rest is to be ignored, but a CR in it would end the line for others.
        return (!line.contains(&b'\r')).then_some(Proxied::Local);
    }
    let words = std::str::from_utf8(line).ok()?;
    let mut words = words.split(' ');
    let family = words.next()?;
    let (src, dst) = (
        v1_address(family, words.next()?)?,
        v1_address(family, words.next()?)?,
    );
    let (src_port, dst_port) = (v1_port(words.next()?)?, v1_port(words.next()?)?);
    let (src, dst) = (
        SocketAddr::new(src, src_port),
        SocketAddr::new(dst, dst_port),
    );
    words
        .next()
        .is_none()
        .then_some(Proxied::Addresses { src, dst })
}

/// The standard library reads exactly the canonical forms: no leading zeros, no zone.
fn v1_address(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    }
}

fn v1_port(text: &str) -> Option<u16> {
    let plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if plain { text.parse().ok() } else { None }
}

fn parse_v2(buf: &[u8]) -> Result<Parsed<Proxied>, ProxyError> {
    let [.., version_command, family, len_high, len_low] =
        *buf.get(..V2_HEADER_LEN).unwrap_or_default()
    else {
        let version = buf.get(12).is_none_or(|byte| byte & 0xf0 == 0x20);
        return if version {
            Ok(Parsed::Partial)
        } else {
            Err(ProxyError::Version)
        };
    };
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        0x22..0x30 => return Err(ProxyError::Command),
        _ => return Err(ProxyError::Version),
    };
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    if len > V2_LEN_MAX {
        return Err(ProxyError::TooLong);
    }
    let consumed = V2_HEADER_LEN + len;
    let Some(header) = buf.get(..consumed) else {
        return Ok(Parsed::Partial);
    };
    // Of LOCAL everything behind the length is to be skipped unread.
    let head = if local {
        Proxied::Local
    } else {
        v2_proxied(family, header)?
    };
    Ok(Parsed::Complete { head, consumed })
}

/// What a whole header of version 2 holds behind its addresses: type-length-value vectors, which
/// [`parse`] has found to be in order. Empty where there are none that count.
pub fn extensions(header: &[u8]) -> &[u8] {
    let [.., version_command, family, _, _] = *header.get(..V2_HEADER_LEN).unwrap_or_default()
    else {
        return &[];
    };
    let known = V2_FAMILIES.into_iter().find(|(known, _)| *known == family);
    match known {
        Some((1.., len)) if header.starts_with(V2_SIGNATURE) && version_command == 0x21 => {
            header.get(V2_HEADER_LEN + len..).unwrap_or_default()
        }
        _ => &[],
    }
}

/// The values of that type among them, in their order; of what PP2_TYPE_SSL holds, too.
pub fn values_of(extensions: &[u8], kind: u8) -> impl Iterator<Item = &[u8]> {
    let inner = walk(extensions)
        .filter(|(outer, _)| *outer == TLV_SSL)
        .flat_map(|(_, value)| walk(value.get(SSL_PREFIX_LEN..).unwrap_or_default()));
    walk(extensions)
        .chain(inner)
        .filter(move |(found, _)| *found == kind)
        .map(|(_, value)| value)
}

fn walk(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, value, tail) = split_tlv(rest).ok()?;
        rest = tail;
        Some((kind, value))
    })
}

/// Length of the addresses of each family and transport.
const V2_FAMILIES: [(u8, usize); 7] = [
    (0x00, 0),
    (0x11, 12),
    (0x12, 12),
    (0x21, 36),
    (0x22, 36),
    (0x31, 216),
    (0x32, 216),
];

fn v2_proxied(family: u8, header: &[u8]) -> Result<Proxied, ProxyError> {
    let (_, addresses_len) = V2_FAMILIES
        .into_iter()
        .find(|(known, _)| *known == family)
        .ok_or(ProxyError::Family)?;
    let tail = &header[V2_HEADER_LEN..];
    let (addresses, tlvs) = tail
        .split_at_checked(addresses_len)
        .ok_or(ProxyError::Length)?;
    // AF_UNSPEC may carry anything behind its header, to be ignored.
    if family != 0x00 {
        check_tlvs(header, tlvs)?;
    }
    Ok(match family {
        0x11 => ipv4_pair(addresses),
        0x21 => ipv6_pair(addresses),
        _ => Proxied::Local,
    })
}

/// Addresses, then ports, in network byte order; 12 bytes.
fn ipv4_pair(bytes: &[u8]) -> Proxied {
    let address = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    pair(address(0).into(), address(4).into(), &bytes[8..])
}

/// The same in 36 bytes.
fn ipv6_pair(bytes: &[u8]) -> Proxied {
    let address = |at: usize| {
        let octets: [u8; 16] = std::array::from_fn(|index| bytes[at + index]);
        Ipv6Addr::from(octets)
    };
    pair(address(0).into(), address(16).into(), &bytes[32..])
}

fn pair(src: IpAddr, dst: IpAddr, ports: &[u8]) -> Proxied {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Proxied::Addresses {
        src: SocketAddr::new(src, port(0)),
        dst: SocketAddr::new(dst, port(2)),
    }
}

const TLV_CRC32C: u8 = 0x03;
const TLV_UNIQUE_ID: u8 = 0x05;
const TLV_SSL: u8 = 0x20;

/// Bytes of PP2_TYPE_UNIQUE_ID at most.
const UNIQUE_ID_LEN_MAX: usize = 128;

/// Client flags and verification result, before the inner vectors of PP2_TYPE_SSL.
const SSL_PREFIX_LEN: usize = 5;

/// Walks the type-length-value vectors behind the addresses: every one, also those within
/// PP2_TYPE_SSL, must end where its surroundings end. A checksum is verified.
fn check_tlvs(header: &[u8], tlvs: &[u8]) -> Result<(), ProxyError> {
    let mut rest = tlvs;
    while !rest.is_empty() {
        let (kind, value, tail) = split_tlv(rest)?;
        match kind {
            TLV_CRC32C => check_crc(header, value, tail.len())?,
            TLV_UNIQUE_ID if value.len() > UNIQUE_ID_LEN_MAX => return Err(ProxyError::Tlv),
            TLV_SSL => check_inner_tlvs(value)?,
            _ => {}
        }
        rest = tail;
    }
    Ok(())
}

fn check_inner_tlvs(value: &[u8]) -> Result<(), ProxyError> {
    let mut rest = value.get(SSL_PREFIX_LEN..).ok_or(ProxyError::Tlv)?;
    while !rest.is_empty() {
        (_, _, rest) = split_tlv(rest)?;
    }
    Ok(())
}

fn split_tlv(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), ProxyError> {
    let [kind, len_high, len_low, rest @ ..] = bytes else {
        return Err(ProxyError::Tlv);
    };
    let len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
    let (value, tail) = rest.split_at_checked(len).ok_or(ProxyError::Tlv)?;
    Ok((*kind, value, tail))
}

/// The checksum is taken over the whole header with its own four bytes as zeros.
fn check_crc(header: &[u8], value: &[u8], behind: usize) -> Result<(), ProxyError> {
    let sent: [u8; 4] = value.try_into().map_err(|_| ProxyError::Tlv)?;
    let end = header.len() - behind;
    let parts = [&header[..end - 4], &[0; 4], &header[end..]];
    if crc32c(parts.into_iter().flatten().copied()) == u32::from_be_bytes(sent) {
        Ok(())
    } else {
        Err(ProxyError::Checksum)
    }
}

/// CRC-32C, Castagnoli (RFC 4960 appendix B), bit by bit: a header has some hundred bytes.
pub(crate) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, crc32c_byte)
}

fn crc32c_byte(sum: u32, byte: u8) -> u32 {
    (0..8).fold(sum ^ u32::from(byte), |sum, _| {
        if sum & 1 == 1 {
            sum >> 1 ^ 0x82f6_3b78
        } else {
            sum >> 1
        }
    })
}

/// A connection does not begin with a valid PROXY header and is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// Neither version's first bytes.
    Signature,
    /// A line of version 1 that is not exactly as specified.
    Line,
    /// Longer than [`V1_LEN_MAX`] or [`V2_LEN_MAX`].
    TooLong,
    /// The binary signature with a version other than 2.
    Version,
    /// A command other than LOCAL and PROXY.
    Command,
    /// An unassigned address family or transport.
    Family,
    /// The announced length has no room for the addresses.
    Length,
    /// A type-length-value vector reaches beyond its end, or has an impossible length.
    Tlv,
    /// The checksum does not fit.
    Checksum,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::Signature => "the connection does not begin with a PROXY header",
            ProxyError::Line => "the PROXY header line is malformed",
            ProxyError::TooLong => "the PROXY header is too long",
            ProxyError::Version => "the PROXY header has an unknown version",
            ProxyError::Command => "the PROXY header has an unknown command",
            ProxyError::Family => "the PROXY header has an unknown address family",
            ProxyError::Length => "the PROXY header is too short for its addresses",
            ProxyError::Tlv => "an extension of the PROXY header has a wrong length",
            ProxyError::Checksum => "the checksum of the PROXY header does not fit",
        })
    }
}

impl std::error::Error for ProxyError {}
