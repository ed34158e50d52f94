//! The PROXY protocol, versions 1 and 2, as a sender (`proxy-protocol.txt` of HAProxy). The receiver
//! is [`crate::proxy_protocol`].

use std::net::{IpAddr, SocketAddr};

use crate::proxy_protocol::{V2_SIGNATURE, crc32c};

/// What a header of version 2 tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Header<'a> {
    /// The client, and what it connected to; `None`: the connection is our own, or has no addresses.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The protocol that was agreed on in the client's TLS handshake.
    pub alpn: Option<&'a [u8]>,
    /// Whether a checksum goes with it.
    pub crc32c: bool,
    /// The name the client asked for.
    pub authority: Option<&'a [u8]>,
    /// The id of the request or connection.
    pub unique_id: Option<&'a [u8]>,
    /// How the client's TLS went; an inner `None`: it used none.
    pub ssl: Option<Option<Ssl<'a>>>,
    /// Other values and their types.
    pub others: &'a [(u8, Vec<u8>)],
}

/// How a client's TLS went.
#[derive(Debug, Clone, Copy)]
pub struct Ssl<'a> {
    /// `TLSv1.3`.
    pub version: &'a str,
    /// The cipher by OpenSSL's name, where it is to be told.
    pub cipher: Option<&'a str>,
    /// What key our own certificate is for: `RSA2048`.
    pub key: Option<&'a str>,
    /// How it is signed: `RSA-SHA256`.
    pub signature: Option<&'a str>,
    /// Whether the client showed a certificate.
    pub certificate: bool,
    /// The common name in it, where it is to be told.
    pub common_name: Option<&'a [u8]>,
}

/// Writes the line of version 1. `None`: nothing is known of who is behind the connection.
pub fn write_v1(addresses: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let line = match addresses.map(one_family) {
        Some((src, dst)) => {
            let family = if src.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (src.ip(), dst.ip());
            format!(
                "PROXY {family} {from} {to} {} {}\r\n",
                src.port(),
                dst.port()
            )
        }
        None => "PROXY UNKNOWN\r\n".to_owned(),
    };
    out.extend_from_slice(line.as_bytes());
}

/// An IPv4 address beside an IPv6 one is written as a mapped one.
fn one_family((src, dst): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let widened = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if src.is_ipv4() == dst.is_ipv4() {
        (src, dst)
    } else {
        (widened(src), widened(dst))
    }
}

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const SSL_SIGNATURE: u8 = 0x24;
const SSL_KEY: u8 = 0x25;

const CLIENT_SSL: u8 = 0x01;
/// A certificate over this connection, and in this session.
const CLIENT_CERTIFICATE: u8 = 0x02 | 0x04;

/// Bytes of a value at most: a longer one is left out, so that the whole fits in its 16 bits of
/// length and in what receivers look at.
const VALUE_LEN_MAX: usize = 1024;

/// Writes a header of version 2, vectors in HAProxy's order.
pub fn write_v2(header: &Header<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(V2_SIGNATURE);
    let family = match header.addresses.map(one_family) {
        None => {
            out.push(LOCAL);
            0x00
        }
        Some((src, _)) => {
            out.push(PROXY);
            if src.is_ipv4() { 0x11 } else { 0x21 }
        }
    };
    out.extend_from_slice(&[family, 0, 0]);
    let body = out.len();
    if let Some((src, dst)) = header.addresses.map(one_family) {
        for address in [src, dst] {
            match address.ip() {
                IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
            }
        }
        for address in [src, dst] {
            out.extend_from_slice(&address.port().to_be_bytes());
        }
    }
    vector(ALPN, header.alpn, out);
    let sum_at = header.crc32c.then(|| {
        vector(CRC32C, Some(&[0; 4]), out);
        out.len() - 4
    });
    vector(AUTHORITY, header.authority, out);
    vector(UNIQUE_ID, header.unique_id, out);
    if let Some(ssl) = &header.ssl {
        vector(SSL, Some(&ssl_value(ssl.as_ref())), out);
    }
    for (kind, value) in header.others {
        vector(*kind, Some(value), out);
    }
    // Every value is bounded, and so is their number: the length fits.
    let length = u16::try_from(out.len() - body).unwrap_or(u16::MAX);
    out[body - 2..body].copy_from_slice(&length.to_be_bytes());
    if let Some(at) = sum_at {
        let sum = crc32c(out[start..].iter().copied());
        out[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

fn vector(kind: u8, value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value.filter(|value| value.len() <= VALUE_LEN_MAX) else {
        return;
    };
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

/// Flags, the result of verification (0: it went well, or was not asked for), then what is known.
fn ssl_value(ssl: Option<&Ssl<'_>>) -> Vec<u8> {
    let Some(ssl) = ssl else { return vec![0; 5] };
    let certificate = if ssl.certificate {
        CLIENT_CERTIFICATE
    } else {
        0
    };
    let mut out = vec![CLIENT_SSL | certificate, 0, 0, 0, 0];
    vector(SSL_VERSION, Some(ssl.version.as_bytes()), &mut out);
    vector(SSL_CN, ssl.common_name, &mut out);
    vector(SSL_KEY, ssl.key.map(str::as_bytes), &mut out);
    vector(SSL_SIGNATURE, ssl.signature.map(str::as_bytes), &mut out);
    vector(SSL_CIPHER, ssl.cipher.map(str::as_bytes), &mut out);
    out
}
