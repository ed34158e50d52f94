//! Addresses as `bind`, `server`, `log` and checks write them (manual 2.9).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::Surroundings;
use crate::diagnostics::Diagnostic;
use crate::lexer::Word;
use crate::model::AbstractName;

/// An address as written, its prefixes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host and what follows its colon.
    Inet { host: Host, port: Port },
    /// `unix@PATH`, `uxst@PATH`, or a text that starts with a slash.
    Unix(PathBuf),
    /// `abns@NAME`, `abnsz@NAME`.
    Abstract(AbstractName),
    /// `fd@N`.
    Fd(i32),
}

/// The host of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// `*` or nothing.
    Any,
    /// An address.
    Ip(IpAddr),
    /// A name to be resolved.
    Name(Arc<str>),
}

/// What follows the last colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// No port was written.
    None,
    /// One port.
    One(u16),
    /// `8000-8010`.
    Range(u16, u16),
    /// `+N` or `-N`: relative to the port the client connected to.
    Offset(i32),
}

/// What a socket type prefix may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Stream,
    Datagram,
}

/// Which family a prefix forces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Guess,
    Ip,
    V4,
    V6,
    Unix,
    Abstract { padded: bool },
    Fd,
}

/// Prefixes this program has no transport for.
const FOREIGN: &[&str] = &[
    "quic4", "quic6", "mptcp", "mptcp4", "mptcp6", "sockpair", "rhttp", "rev",
];

/// `$NAME` and `${NAME}` outside of quotes: addresses know them too. An unset one is empty.
pub(crate) fn expand(text: &str, surroundings: &dyn Surroundings) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braces = after.starts_with('{');
        let body = after.strip_prefix('{').unwrap_or(after);
        let length = body
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(body.len());
        let (name, mut tail) = body.split_at(length);
        if braces {
            tail = tail.strip_prefix('}').unwrap_or(tail);
        }
        out.push_str(&surroundings.variable(name).unwrap_or_default());
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Reads one address. `transport` is what the statement uses by default and allows.
pub(crate) fn parse(
    text: &str,
    word: &Word,
    keyword: &str,
    transport: Transport,
) -> Result<Address, Diagnostic> {
    let (family, rest) = prefixes(text, word, keyword, transport)?;
    match family {
        Family::Unix => unix(rest, word, keyword),
        Family::Guess if rest.starts_with('/') => unix(rest, word, keyword),
        Family::Abstract { padded } => abstract_name(rest, padded, word, keyword, text),
        Family::Fd => rest
            .parse::<i32>()
            .ok()
            .filter(|number| *number >= 0)
            .map(Address::Fd)
            .ok_or_else(|| {
                Diagnostic::alert(
                    word.span,
                    format!(
                        "'{keyword}' : file descriptor '{rest}' is not a valid integer in '{text}'"
                    ),
                )
            }),
        Family::Guess | Family::Ip | Family::V4 | Family::V6 => {
            inet(rest, family, word, keyword, text)
        }
    }
}

fn prefixes<'t>(
    text: &'t str,
    word: &Word,
    keyword: &str,
    transport: Transport,
) -> Result<(Family, &'t str), Diagnostic> {
    let (asked, rest) = match text.split_once('+') {
        Some(("stream", rest)) => (Some(Transport::Stream), rest),
        Some(("dgram", rest)) => (Some(Transport::Datagram), rest),
        Some(("quic", _)) => return Err(foreign(word, keyword, "quic+")),
        _ => (None, text),
    };
    let (family, implied, rest) = match rest.split_once('@') {
        None => (Family::Guess, None, rest),
        Some((prefix, after)) => match prefix {
            "ip" => (Family::Ip, None, after),
            "ipv4" => (Family::V4, None, after),
            "ipv6" => (Family::V6, None, after),
            "tcp" => (Family::Ip, Some(Transport::Stream), after),
            "tcp4" => (Family::V4, Some(Transport::Stream), after),
            "tcp6" => (Family::V6, Some(Transport::Stream), after),
            "udp" => (Family::Ip, Some(Transport::Datagram), after),
            "udp4" => (Family::V4, Some(Transport::Datagram), after),
            "udp6" => (Family::V6, Some(Transport::Datagram), after),
            "unix" => (Family::Unix, None, after),
            "uxst" => (Family::Unix, Some(Transport::Stream), after),
            "uxdg" => (Family::Unix, Some(Transport::Datagram), after),
            "abns" => (Family::Abstract { padded: true }, None, after),
            "abnsz" => (Family::Abstract { padded: false }, None, after),
            "fd" => (Family::Fd, None, after),
            other if FOREIGN.contains(&other) => return Err(foreign(word, keyword, other)),
            _ => (Family::Guess, None, rest),
        },
    };
    match asked.or(implied) {
        Some(asked) if asked != transport => {
            let expected = match transport {
                Transport::Stream => "a stream (TCP)",
                Transport::Datagram => "a datagram (UDP)",
            };
            Err(bad(
                word,
                keyword,
                text,
                &format!("expected {expected} address"),
            ))
        }
        _ => Ok((family, rest)),
    }
}

fn abstract_name(
    name: &str,
    padded: bool,
    word: &Word,
    keyword: &str,
    text: &str,
) -> Result<Address, Diagnostic> {
    /// What `sockaddr_un.sun_path` has room for on Linux, behind the zero byte before the name.
    const NAME_LEN_MAX: usize = 107;
    match name.len() {
        0 => Err(bad(word, keyword, text, "a name is missing")),
        length if length > NAME_LEN_MAX => Err(bad(
            word,
            keyword,
            text,
            &format!("names of abstract sockets have at most {NAME_LEN_MAX} bytes"),
        )),
        _ => Ok(Address::Abstract(AbstractName {
            name: name.into(),
            padded,
        })),
    }
}

fn unix(path: &str, word: &Word, keyword: &str) -> Result<Address, Diagnostic> {
    /// `sockaddr_un.sun_path` on Linux, with its final zero byte.
    const PATH_LEN_MAX: usize = 107;
    match path.len() {
        0 => Err(bad(word, keyword, &word.text, "a path is missing")),
        length if length > PATH_LEN_MAX => Err(bad(
            word,
            keyword,
            path,
            &format!("socket paths have at most {PATH_LEN_MAX} bytes"),
        )),
        _ => Ok(Address::Unix(path.into())),
    }
}

fn inet(
    rest: &str,
    family: Family,
    word: &Word,
    keyword: &str,
    text: &str,
) -> Result<Address, Diagnostic> {
    let (host, port) = match (rest.strip_prefix('['), rest.rfind(':')) {
        (Some(inside), _) => match inside.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, after)) => match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return Err(bad(word, keyword, text, "expected a colon after ]")),
            },
            None => return Err(bad(word, keyword, text, "expected ] after [")),
        },
        (None, Some(colon)) => (&rest[..colon], Some(&rest[colon + 1..])),
        (None, None) => (rest, None),
    };
    let port = match port {
        None | Some("") => Port::None,
        Some(port) => parse_port(port, word, keyword, text)?,
    };
    let host = parse_host(host, family, word, keyword, text)?;
    Ok(Address::Inet { host, port })
}

fn parse_host(
    host: &str,
    family: Family,
    word: &Word,
    keyword: &str,
    text: &str,
) -> Result<Host, Diagnostic> {
    if host.is_empty() || host == "*" {
        return Ok(match family {
            Family::V6 => Host::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            _ => Host::Any,
        });
    }
    let ip = match host.parse::<IpAddr>() {
        Ok(ip) => ip,
        // RFC 6761 §6.3: always the loopback address, no need to ask.
        Err(_) if host == "localhost" => match family {
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        },
        Err(_) => return host_name(host, word, keyword, text),
    };
    match (family, ip) {
        (Family::V4, IpAddr::V6(_)) => Err(bad(word, keyword, text, "expected an IPv4 address")),
        (Family::V6, IpAddr::V4(_)) => Err(bad(word, keyword, text, "expected an IPv6 address")),
        _ => Ok(Host::Ip(ip)),
    }
}

/// A DNS name: labels of letters, digits, hyphens and underscores, 253 bytes at most. A text of
/// digits and dots only is an address that went wrong.
fn host_name(host: &str, word: &Word, keyword: &str, text: &str) -> Result<Host, Diagnostic> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let trimmed = host.strip_suffix('.').unwrap_or(host);
    let numeric = host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if host.len() > 253 || numeric || !trimmed.split('.').all(label) {
        return Err(Diagnostic::alert(
            word.span,
            format!("'{keyword}' : invalid address: '{host}' in '{text}'"),
        )
        .label("expected an IPv4 or IPv6 address or a host name"));
    }
    Ok(Host::Name(host.into()))
}

fn parse_port(port: &str, word: &Word, keyword: &str, text: &str) -> Result<Port, Diagnostic> {
    let invalid = |port: &str| {
        Diagnostic::alert(
            word.span,
            format!("'{keyword}' : invalid port '{port}' in '{text}'"),
        )
        .label("ports go from 1 to 65535")
    };
    let one = |port: &str| match port.bytes().all(|byte| byte.is_ascii_digit()) {
        true => port.parse::<u16>().map_err(|_| invalid(port)),
        false => Err(invalid(port)),
    };
    if let Some(offset) = port.strip_prefix('+') {
        return Ok(Port::Offset(i32::from(one(offset)?)));
    }
    if let Some(offset) = port.strip_prefix('-') {
        return Ok(Port::Offset(-i32::from(one(offset)?)));
    }
    match port.split_once('-') {
        None => Ok(Port::One(one(port)?)),
        Some((from, to)) => {
            let (from, to) = (one(from)?, one(to)?);
            if from == 0 || from > to {
                return Err(bad(
                    word,
                    keyword,
                    text,
                    "a port range goes up, from 1 at least",
                ));
            }
            Ok(Port::Range(from, to))
        }
    }
}

fn bad(word: &Word, keyword: &str, text: &str, why: &str) -> Diagnostic {
    Diagnostic::alert(word.span, format!("'{keyword}' : invalid address '{text}'")).label(why)
}

fn foreign(word: &Word, keyword: &str, prefix: &str) -> Diagnostic {
    let refused = |why: &str, instead: &str| {
        let message = format!("'{keyword}' : address type '{prefix}' is refused: {why}");
        Diagnostic::alert(word.span, message).help(instead)
    };
    if prefix == "sockpair" {
        return refused(
            "no connections are taken from, or handed to, another process of the same machine",
            "write unix@ or abns@, and a 'send-proxy' on the side that connects",
        );
    }
    if prefix.starts_with("mptcp") {
        return refused(
            "no Multipath TCP is spoken",
            "write an address without it: both ends then use plain TCP",
        );
    }
    Diagnostic::alert(
        word.span,
        format!("'{keyword}' : address type '{prefix}' is not implemented yet"),
    )
    .help("use an IPv4 or IPv6 address, unix@, abns@ or fd@")
}

impl Host {
    /// The address to listen on: `*` is all of IPv4.
    pub(crate) fn listening(&self) -> Option<IpAddr> {
        match self {
            Self::Any => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }
}

/// `ip[:port]` with a default port; for `log`.
pub(crate) fn with_port(host: &Host, port: Port, default: u16) -> Option<SocketAddr> {
    let port = match port {
        Port::None | Port::One(0) => default,
        Port::One(port) => port,
        Port::Range(..) | Port::Offset(_) => return None,
    };
    Some(SocketAddr::new(host.listening()?, port))
}
