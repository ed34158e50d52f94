//! The request target and the Host field: which forms there are, and that they agree.
//!
//! RFC 9112 §3.2 and §3.3, RFC 9110 §4.2 and §7.2.

use std::net::Ipv6Addr;

use super::{Reason, Rejected};
use crate::head::{self, Fields, Method, Version};
use crate::syntax;

/// What is wrong, and in which part of the head.
pub(super) enum Misfit {
    Target(Reason),
    /// With the position of the value in the block of fields.
    Host(Reason, usize),
}

impl Misfit {
    /// The same with its place in the head, of which these parts begin here.
    pub(super) fn place(self, target_start: usize, block_start: usize) -> Rejected {
        match self {
            Misfit::Target(reason) => Rejected::new(reason, target_start),
            Misfit::Host(reason, at) => Rejected::new(reason, block_start + at),
        }
    }
}

/// Checks target and Host on their own and against each other.
pub(super) fn check(
    method: &Method,
    target: &[u8],
    version: Version,
    fields: &Fields,
    lenient: bool,
) -> Result<(), Misfit> {
    let named = in_target(method, target).map_err(Misfit::Target)?;
    let hosts = fields.places(["host".len()]);
    let mut hosts = hosts.filter(|(name, ..)| *name == b"host");
    let Some((_, value, at)) = hosts.next() else {
        let needed = version == Version::Http11 && !lenient;
        return if needed {
            Err(Misfit::Host(Reason::HostMissing, 0))
        } else {
            Ok(())
        };
    };
    if let Some((.., second)) = hosts.next() {
        return Err(Misfit::Host(Reason::HostRepeated, second));
    }
    // A client that has no name for the server sends Host empty (RFC 9112 §3.2).
    let host = match value {
        b"" => None,
        value => Some(authority(value).ok_or(Misfit::Host(Reason::HostInvalid, at))?),
    };
    match (named, host) {
        (Some((named, port)), Some(host)) if named.is_same(&host, port) => Ok(()),
        (Some(_), _) => Err(Misfit::Host(Reason::HostMismatch, at)),
        (None, _) => Ok(()),
    }
}

/// The authority that the target names, if its form has one, and the port that its scheme stands for.
fn in_target<'a>(
    method: &Method,
    target: &'a [u8],
) -> Result<Option<(Authority<'a>, Option<u16>)>, Reason> {
    if method.is_connect() {
        let authority = authority(target).ok_or(Reason::TargetForm)?;
        // CONNECT has no port to fall back on (RFC 9112 §3.2.3); a Host without one means that of the web.
        return match authority.port {
            Some(port) => Ok(Some((authority, matches!(port, 80 | 443).then_some(port)))),
            None => Err(Reason::TargetForm),
        };
    }
    if target[0] == b'/' || (target == b"*" && *method == Method::OPTIONS) {
        return Ok(None);
    }
    let (_, port) = head::web_scheme(target).ok_or(Reason::TargetForm)?;
    let (text, _) = head::split_absolute(target).ok_or(Reason::TargetForm)?;
    let authority = authority(text).ok_or(Reason::AuthorityInvalid)?;
    Ok(Some((authority, Some(port))))
}

/// Host and port.
struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl Authority<'_> {
    /// Whether both name the same place if no port means `usual`. Names are compared as written
    /// but for the case of letters.
    fn is_same(&self, other: &Authority<'_>, usual: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.or(usual) == other.port.or(usual)
    }
}

/// Reads host and port (RFC 3986 §3.2). User names are refused (RFC 9110 §4.2.4), and so are three
/// things its grammar has room for: a colon without a port, a comma, which makes two hosts out of
/// one where lists are merged, and address literals other than IPv6.
fn authority(text: &[u8]) -> Option<Authority<'_>> {
    let host_len = match text {
        [b'[', rest @ ..] => 2 + memchr::memchr(b']', rest)?,
        _ => memchr::memchr(b':', text).unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_len);
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => Some(read_port(digits)?),
        _ => return None,
    };
    (is_ip_literal(host) || is_name(host)).then_some(Authority { host, port })
}

fn read_port(digits: &[u8]) -> Option<u16> {
    // Leading zeros and signs would be read differently elsewhere, or not at all.
    let plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
    let port = u16::try_from(syntax::number(digits)?).ok()?;
    plain.then_some(port)
}

fn is_ip_literal(host: &[u8]) -> bool {
    let [b'[', address @ .., b']'] = host else {
        return false;
    };
    std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn is_name(host: &[u8]) -> bool {
    let mut rest = host;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (&byte, tail) if NAME[usize::from(byte)] => tail,
            (b'%', [a, b, tail @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => tail,
            _ => return false,
        };
    }
    !host.is_empty()
}

/// Bytes that stand for themselves in a name: "unreserved" and "sub-delims" without the comma.
static NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || matches!(
                byte,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
            );
        byte += 1;
    }
    table
};
