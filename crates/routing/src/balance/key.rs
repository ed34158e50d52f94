//! What of a session the hashing algorithms look at (manual 4.2, "balance").

use std::net::IpAddr;

use config::model::{Balance, Balancing, HashKey, UriKey};
use wire::head::RequestHead;

use super::hash;
use crate::fields;
use crate::sample::{self, Facts, Value};

/// The hash a session is balanced by. `None` where the algorithm does not hash, and where the session
/// has no such key: then servers take turns.
pub fn session_hash(balancing: &Balancing, facts: &Facts<'_>) -> Option<u32> {
    let Balance::Hash(key) = &balancing.algorithm else {
        return None;
    };
    let hashing = &balancing.hashing;
    match key {
        HashKey::Source => {
            let address = facts.connection.source()?.ip();
            Some(hash::finish(hashing, address_words(address)))
        }
        HashKey::Uri(uri) => Some(hash::hash(hashing, part_of_target(uri, facts.request?))),
        HashKey::UrlParam { name, in_body } => {
            let head = facts.request?;
            if let Some(value) = parameter(head, name.as_bytes()) {
                return Some(hash::hash(hashing, value));
            }
            let body = facts.content.request_body.filter(|_| *in_body)?;
            let form = body.payload();
            let value = parameter_of(&form, name.as_bytes())?;
            Some(hash::hash(hashing, value))
        }
        HashKey::Header { name, domain_only } => {
            let value = fields::values(Some(&facts.request?.fields), name).next()?;
            let value = match domain_only {
                true => domain(value),
                false => value,
            };
            (!value.is_empty()).then(|| hash::hash(hashing, value))
        }
        HashKey::RdpCookie(sample) | HashKey::Sample(sample) => {
            let value = sample::eval(sample, facts)?;
            Some(hash_value(hashing, value))
        }
    }
}

/// The exclusive or of the 32-bit words of an address.
fn address_words(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => u32::from_be_bytes(v4.octets()),
        IpAddr::V6(v6) => {
            let bits = u128::from_be_bytes(v6.octets());
            let words = [96, 64, 32, 0].map(|shift| (bits >> shift) as u32);
            words.iter().fold(0, |hash, word| hash ^ word)
        }
    }
}

/// The bytes of the target that `balance uri` hashes: all up to the `?`, or the whole, up to `len`
/// bytes, and up to the slash behind `depth` slashes.
fn part_of_target<'a>(key: &UriKey, head: &'a RequestHead) -> &'a [u8] {
    let target = match key.path_only {
        true if head.target() == b"*" => b"",
        true => head.path_and_query(),
        false => head.target(),
    };
    let mut end = target.len();
    if !key.whole {
        end = memchr::memchr(b'?', target).unwrap_or(end);
    }
    if let Some(depth) = key.depth_max {
        let behind = memchr::memchr_iter(b'/', &target[..end]).nth(depth);
        end = behind.unwrap_or(end);
    }
    &target[..key.len_max.map_or(end, |len| len.min(end))]
}

/// The value of the first parameter of that name in the query. It may be empty; without a `=` it is
/// none.
fn parameter<'a>(head: &'a RequestHead, name: &[u8]) -> Option<&'a [u8]> {
    parameter_of(head.query()?, name)
}

fn parameter_of<'a>(form: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut parameters = form.split(|byte| *byte == b'&');
    parameters.find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix(b"="))
}

/// The word before the last dot: "1wt" of "haproxy.1wt.eu". A text without one is taken whole.
fn domain(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b'.', host) {
        None | Some(0) => host,
        Some(end) => {
            // The byte right before the dot belongs to the word whatever it is.
            let start = memchr::memrchr(b'.', &host[..end - 1]).map_or(0, |dot| dot + 1);
            &host[start..end]
        }
    }
}

/// A sample is hashed as bytes: an address by its octets, a number by the eight of a 64-bit one.
/// `none` reads any of them as a number.
fn hash_value(hashing: &config::model::Hashing, value: Value<'_>) -> u32 {
    if hashing.function == config::model::HashFunction::None {
        return hash::hash(hashing, &value.into_text());
    }
    match value {
        Value::Addr(IpAddr::V4(v4)) => hash::hash(hashing, &v4.octets()),
        Value::Addr(IpAddr::V6(v6)) => hash::hash(hashing, &v6.octets()),
        Value::Int(number) => hash::hash(hashing, &number.to_be_bytes()),
        Value::Bool(value) => hash::hash(hashing, &i64::from(value).to_be_bytes()),
        Value::Str(bytes) | Value::Bin(bytes) | Value::Method(bytes) => hash::hash(hashing, &bytes),
    }
}
