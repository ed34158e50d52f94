//! The `Forwarded` header that servers get by `option forwarded` (RFC 7239; manual 4.2).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use config::expr::Flags;
use config::model::{ForwardedHeader, ForwardedNode, ForwardedValue};

use crate::format;
use crate::sample::{self, Facts};
use crate::value::Value;

/// What the header says of a request; empty: nothing.
pub fn value(header: &ForwardedHeader, facts: &Facts<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    if header.proto {
        let is_secure = facts.connection.tls.is_some();
        out.extend_from_slice(if is_secure {
            b"proto=https"
        } else {
            b"proto=http"
        });
    }
    if let Some(host) = &header.host {
        begin(&mut out, b"host=");
        out.push(b'"');
        out.extend_from_slice(&host_of(host, facts).unwrap_or_default());
        out.push(b'"');
    }
    node(
        &header.by,
        b"by=",
        facts.connection.destination(),
        facts,
        &mut out,
    );
    node(
        &header.client,
        b"for=",
        facts.connection.source(),
        facts,
        &mut out,
    );
    out
}

fn begin(out: &mut Vec<u8>, name: &[u8]) {
    if !out.is_empty() {
        out.push(b';');
    }
    out.extend_from_slice(name);
}

/// `None`: there is none, or nothing that may stand between quotes.
fn host_of(from: &ForwardedValue, facts: &Facts<'_>) -> Option<Vec<u8>> {
    let host = match from {
        ForwardedValue::Usual => facts.request?.fields.get("host")?.to_vec(),
        ForwardedValue::Sample(sample) => sample::eval(sample, facts)?.into_text().into_owned(),
    };
    let is_plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\');
    (!host.is_empty() && host.iter().all(is_plain)).then_some(host)
}

/// A node's name, and its port where that is known. Quoted where the grammar wants it (RFC 7239 §6).
fn node(
    from: &ForwardedNode,
    name: &[u8],
    own: Option<SocketAddr>,
    facts: &Facts<'_>,
    out: &mut Vec<u8>,
) {
    let Some(from_name) = &from.name else { return };
    begin(out, name);
    let address = match from_name {
        ForwardedValue::Usual => own.map(|own| Value::Addr(own.ip())),
        ForwardedValue::Sample(sample) => sample::eval(sample, facts),
    };
    let mut text = Vec::with_capacity(48);
    let is_v6 = written_name(address, &mut text);
    let port = from
        .port
        .as_ref()
        .and_then(|port| port_of(port, own, facts));
    let is_quoted = is_v6 || port.is_some();
    if is_quoted {
        out.push(b'"');
    }
    out.extend_from_slice(&text);
    if let Some(port) = port {
        out.push(b':');
        out.extend_from_slice(&port);
    }
    if is_quoted {
        out.push(b'"');
    }
}

/// An address, `unknown`, or an identifier of the operator's own. Whether it is an IPv6 address.
fn written_name(value: Option<Value<'_>>, out: &mut Vec<u8>) -> bool {
    match value {
        Some(Value::Addr(IpAddr::V4(address))) => format::dotted(address, out),
        Some(Value::Addr(address)) => {
            out.push(b'[');
            format::address(address, Flags::default(), out);
            out.push(b']');
            return true;
        }
        other => {
            let text = other.map(|value| value.into_text().into_owned());
            let as_is = |text: &Vec<u8>| text == b"unknown" || read_as::<Ipv4Addr>(text).is_some();
            match text.and_then(|text| {
                if as_is(&text) {
                    Some(text)
                } else {
                    obfuscated(text)
                }
            }) {
                Some(text) => out.extend_from_slice(&text),
                None => out.extend_from_slice(b"unknown"),
            }
        }
    }
    false
}

fn port_of(from: &ForwardedValue, own: Option<SocketAddr>, facts: &Facts<'_>) -> Option<Vec<u8>> {
    let value = match from {
        ForwardedValue::Usual => Value::Int(own?.port().into()),
        ForwardedValue::Sample(sample) => sample::eval(sample, facts)?,
    };
    let text = value.into_text().into_owned();
    match read_as::<NonZeroU16>(&text) {
        Some(port) => Some(port.to_string().into_bytes()),
        None => obfuscated(text),
    }
}

fn read_as<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `_` and letters, digits, dots, dashes, underscores (RFC 7239 §6.3); `None` of what has anything else.
fn obfuscated(mut text: Vec<u8>) -> Option<Vec<u8>> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() || !text.iter().all(fits) {
        return None;
    }
    if text[0] != b'_' {
        text.insert(0, b'_');
    }
    Some(text)
}
