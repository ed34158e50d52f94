//! Samples of whole heads (manual 7.3.6).

use std::borrow::Cow;
use std::net::IpAddr;

use config::expr::{HeadFetch, Parameter, Side};
use wire::head::{Fields, RequestHead};

use crate::balance::{avalanche, sdbm};
use crate::body::Body;
use crate::fields::{self, Pairs};
use crate::sample::{Facts, base, path};
use crate::value::Value;

/// What is told of the head.
pub(crate) fn value<'a>(fetch: &HeadFetch, facts: &Facts<'a>) -> Option<Value<'a>> {
    match fetch {
        HeadFetch::Body(side) => match body(*side, facts)?.payload() {
            Cow::Borrowed(bytes) => Some(Value::Bin(bytes.into())),
            Cow::Owned(bytes) => Some(Value::Bin(bytes.into())),
        },
        HeadFetch::BodyLen(side) => {
            let len = body(*side, facts)?.payload().len();
            Some(Value::Int(len as i64))
        }
        HeadFetch::BodySize(side) => {
            let size = body(*side, facts)?.size();
            Some(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
        }
        HeadFetch::BodyParam(_) => None,
        HeadFetch::BaseHash { with_source } => {
            let request = facts.request?;
            let text = base(request, path(request).unwrap_or(b""));
            hashed(&text.to_text(), *with_source, facts)
        }
        HeadFetch::UrlHash { with_source } => {
            let request = facts.request?;
            let host = request.fields.get("host").unwrap_or_default();
            let text = [host, from_path(request)].concat();
            hashed(&text, *with_source, facts)
        }
        HeadFetch::Lines(side) => {
            let mut out = Vec::new();
            for (name, value) in told(head(*side, facts)?) {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(&value);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"\r\n");
            Some(Value::made(out))
        }
        HeadFetch::Binary(side) => {
            let mut out = Vec::new();
            for (name, value) in told(head(*side, facts)?) {
                counted(name.as_bytes(), &mut out);
                counted(&value, &mut out);
            }
            counted(b"", &mut out);
            counted(b"", &mut out);
            Some(Value::Bin(out.into()))
        }
        HeadFetch::CookieNames(side, delimiter) => {
            let names = fields::cookie_names(Some(head(*side, facts)?), *side);
            let mut out = Vec::new();
            for name in names {
                if !out.is_empty() {
                    out.extend_from_slice(delimiter.as_bytes());
                }
                out.extend_from_slice(name);
            }
            Some(Value::made(out))
        }
    }
}

fn body<'a>(side: Side, facts: &Facts<'a>) -> Option<Body<'a>> {
    match side {
        Side::Response => facts.content.response_body,
        _ => facts.content.request_body,
    }
}

/// Every value of a parameter of the form in a request's body, until the visitor has seen enough.
pub(crate) fn each_parameter(
    parameter: &Parameter,
    facts: &Facts<'_>,
    visit: &mut dyn FnMut(Value<'static>) -> bool,
) {
    let Some(body) = facts.content.request_body else {
        return;
    };
    // As if it stood in a URL.
    let form = [b"?", &*body.payload()].concat();
    Pairs::new(&form, parameter).any(|text| visit(Value::made(text.to_vec())));
}

fn head<'f>(side: Side, facts: &Facts<'f>) -> Option<&'f Fields> {
    match side {
        Side::Response => facts.response.map(|head| &head.fields),
        _ => facts.request.map(|head| &head.fields),
    }
}

/// The fields as HAProxy knows them: without what `Connection` says of the connection itself.
fn told(fields: &Fields) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
    fields.iter().filter_map(|(name, value)| match name {
        "connection" => Some((name, without_options(value)?)),
        _ => Some((name, Cow::Borrowed(value))),
    })
}

/// What is left of a `Connection` line; `None`: nothing is.
fn without_options(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let is_option = |word: &&[u8]| {
        word.eq_ignore_ascii_case(b"close") || word.eq_ignore_ascii_case(b"keep-alive")
    };
    let words = || value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if !words().any(|word| is_option(&word)) {
        return Some(Cow::Borrowed(value));
    }
    let left: Vec<&[u8]> = words().filter(|word| !is_option(word)).collect();
    (!left.is_empty()).then(|| Cow::Owned(left.join(&b", "[..])))
}

/// What is asked for, from the path on.
fn from_path(request: &RequestHead) -> &[u8] {
    match path(request) {
        Some(_) => request.path_and_query(),
        None => b"",
    }
}

fn hashed(text: &[u8], with_source: bool, facts: &Facts<'_>) -> Option<Value<'static>> {
    let hash = avalanche(sdbm(text));
    if !with_source {
        return Some(Value::Int(hash.into()));
    }
    let mut bytes = hash.to_be_bytes().to_vec();
    match facts.connection.source()?.ip() {
        IpAddr::V4(v4) => bytes.extend(v4.octets()),
        IpAddr::V6(v6) => bytes.extend(v6.octets()),
    }
    Some(Value::Bin(bytes.into()))
}

/// A text behind its length, as SPOE writes it: below 240 in one byte, else four bits in the first one
/// and seven in each that follows.
fn counted(text: &[u8], out: &mut Vec<u8>) {
    const ONE_BYTE: usize = 240;
    let mut len = text.len();
    if len < ONE_BYTE {
        out.push(len as u8);
    } else {
        out.push(len as u8 | 0xf0);
        len = (len - ONE_BYTE) >> 4;
        while len >= 128 {
            out.push(len as u8 | 0x80);
            len = (len - 128) >> 7;
        }
        out.push(len as u8);
    }
    out.extend_from_slice(text);
}
