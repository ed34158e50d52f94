//! `Forwarded` headers (RFC 7239; manual 7.3.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::expr::{Forwarded, ForwardedField};

use crate::value::Value;

/// What is read from, or written for, such a header.
pub(super) fn apply(what: Forwarded, value: &Value<'_>) -> Option<Value<'static>> {
    let text = value.to_text();
    match what {
        Forwarded::IsValid => Some(Value::Bool(Element::read(&text).is_some())),
        Forwarded::Field(field) => {
            let element = Element::read(&text)?;
            let found = match field {
                ForwardedField::For => element.for_,
                ForwardedField::By => element.by,
                ForwardedField::Host => element.host,
                ForwardedField::Proto => element.proto,
            };
            Some(Value::made(found?))
        }
        Forwarded::NodeName => match Node::read(&text)?.name {
            Name::Addr(address) => Some(Value::Addr(address)),
            Name::Text(text) => Some(Value::made(text.to_vec())),
        },
        Forwarded::NodePort => match Node::read(&text)?.port? {
            Port::Number(number) => Some(Value::Int(number.into())),
            Port::Text(text) => Some(Value::made(text.to_vec())),
        },
        Forwarded::MakeName => match value {
            Value::Addr(IpAddr::V4(address)) => Some(Value::made(address.to_string().into())),
            Value::Addr(IpAddr::V6(address)) => Some(Value::made(format!("[{address}]").into())),
            _ if text.is_empty() => Some(Value::text(b"unknown")),
            _ => obfuscated(&text),
        },
        Forwarded::MakePort => match value {
            Value::Int(number) => {
                let port = u32::try_from(*number).ok()?;
                Some(Value::made(port.to_string().into()))
            }
            _ if text.is_empty() => None,
            _ => obfuscated(&text),
        },
    }
}

fn obfuscated(text: &[u8]) -> Option<Value<'static>> {
    let identifier = [b"_", text].concat();
    is_obfuscated(&identifier).then(|| Value::made(identifier))
}

/// `_` and letters, digits, `.`, `_`, `-` (RFC 7239 §6.3).
fn is_obfuscated(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    match text {
        [b'_', rest @ ..] => !rest.is_empty() && rest.iter().all(allowed),
        _ => false,
    }
}

/// One element of the header: its parameters, without their quotes.
#[derive(Default)]
struct Element {
    for_: Option<Vec<u8>>,
    by: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
    proto: Option<Vec<u8>>,
}

impl Element {
    /// Each parameter is there once at most, and is what it must be.
    fn read(text: &[u8]) -> Option<Self> {
        let mut element = Self::default();
        let mut rest = text;
        loop {
            let equals = memchr::memchr(b'=', rest)?;
            let name = rest[..equals].to_ascii_lowercase();
            let (value, quoted, behind) = parameter(&rest[equals + 1..])?;
            let node = |value: &[u8]| {
                // A colon is no part of a token (RFC 7239 §4).
                Node::read(value).is_some() && (quoted || !value.contains(&b':'))
            };
            let (place, valid) = match name.as_slice() {
                b"for" => (&mut element.for_, node(&value)),
                b"by" => (&mut element.by, node(&value)),
                b"host" => (
                    &mut element.host,
                    is_host(&value) && (quoted || !value.contains(&b':')),
                ),
                b"proto" => {
                    let known = matches!(value.as_slice(), b"http" | b"https");
                    (&mut element.proto, known)
                }
                _ => return None,
            };
            if !valid || place.replace(value).is_some() {
                return None;
            }
            match behind {
                [] => return Some(element),
                [b';', next @ ..] if !next.is_empty() => rest = next,
                _ => return None,
            }
        }
    }
}

/// A token or a quoted text, whether it was quoted, and what follows.
fn parameter(text: &[u8]) -> Option<(Vec<u8>, bool, &[u8])> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        let token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/<>?@[\\]{}".contains(byte);
        return (!value.is_empty() && value.iter().all(token))
            .then(|| (value.to_vec(), false, behind));
    };
    let mut value = Vec::new();
    let mut bytes = inner.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, true, &inner[at + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(byte),
        }
    }
    None
}

fn is_host(text: &[u8]) -> bool {
    let (host, port) = match memchr::memrchr(b':', text) {
        Some(at) if !text.ends_with(b"]") => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    let number = |port: &[u8]| {
        let text = std::str::from_utf8(port);
        text.is_ok_and(|text| text.parse::<u16>().is_ok())
    };
    if port.is_some_and(|port| !number(port)) {
        return false;
    }
    if let Some(inner) = host
        .strip_prefix(b"[")
        .and_then(|host| host.strip_suffix(b"]"))
    {
        return address::<Ipv6Addr>(inner).is_some();
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.~%!$&'()*+,;=".contains(byte);
    !host.is_empty() && host.iter().all(allowed)
}

/// Who is named by `for` or `by` (RFC 7239 §6).
struct Node<'t> {
    name: Name<'t>,
    port: Option<Port<'t>>,
}

enum Name<'t> {
    Addr(IpAddr),
    Text(&'t [u8]),
}

enum Port<'t> {
    Number(u16),
    Text(&'t [u8]),
}

fn address<A: std::str::FromStr>(text: &[u8]) -> Option<A> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl<'t> Node<'t> {
    fn read(text: &'t [u8]) -> Option<Self> {
        let (name, rest) = match text.strip_prefix(b"[") {
            Some(inner) => {
                let end = memchr::memchr(b']', inner)?;
                let v6: Ipv6Addr = address(&inner[..end])?;
                (Name::Addr(v6.into()), &inner[end + 1..])
            }
            None => {
                let end = memchr::memchr(b':', text).unwrap_or(text.len());
                let (name, rest) = text.split_at(end);
                let name = match address::<Ipv4Addr>(name) {
                    Some(v4) => Name::Addr(v4.into()),
                    None if name == b"unknown" || is_obfuscated(name) => Name::Text(name),
                    None => return None,
                };
                (name, rest)
            }
        };
        let port = match rest {
            [] => None,
            [b':', port @ ..] if is_obfuscated(port) => Some(Port::Text(port)),
            [b':', port @ ..] => Some(Port::Number(address(port)?)),
            _ => return None,
        };
        Some(Self { name, port })
    }
}
