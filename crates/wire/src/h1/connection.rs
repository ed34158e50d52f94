//! Fields that concern one connection only, and what they ask of it (RFC 9110 §7.6.1, §10.1.1).

use super::{Reason, Rejected};
use crate::head::{Fields, RequestHead, Version};

/// Whether the sender is content with more messages on this connection (RFC 9112 §9.3).
pub fn wants_keep_alive(version: Version, fields: &Fields) -> bool {
    if fields.has_token("connection", "close") {
        return false;
    }
    version == Version::Http11 || fields.has_token("connection", "keep-alive")
}

/// Whether the client waits for `100 Continue` before it sends the body. In HTTP/1.0 it cannot.
pub fn expects_continue(head: &RequestHead) -> bool {
    head.version == Version::Http11 && head.fields.contains("expect")
}

/// Expect is one `100-continue` or is not there. Anything else is seen by some and not by others,
/// who then disagree on whether a body follows.
pub(super) fn check_expect(head: &RequestHead) -> Result<(), Rejected> {
    let mut seen = false;
    for (name, value, at) in head.fields.places(["expect".len()]) {
        if name == b"expect" {
            if seen || !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Rejected::new(Reason::ExpectInvalid, at));
            }
            seen = true;
        }
    }
    Ok(())
}

/// Fields that never go further than the next hop. Transfer-Encoding and Content-Length are the
/// writer's.
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    "http2-settings",
];

fn is_hop_by_hop(name: &[u8]) -> bool {
    HOP_BY_HOP.iter().any(|known| known.as_bytes() == name)
}

/// What usually stands in Connection and names no field that is not gone anyway.
const CONNECTION_OPTIONS: [&str; 4] = ["close", "keep-alive", "upgrade", "te"];

/// Fields that stay even if Connection names them: the message would change its meaning, or what
/// the proxies before us vouch for would be lost. No honest sender names them.
const END_TO_END: [&[u8]; 14] = [
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"content-encoding",
    b"content-range",
    b"authorization",
    b"cookie",
    b"set-cookie",
    b"cache-control",
    b"expect",
    b"origin",
    b"forwarded",
    b"via",
];

/// Families of fields to which the same applies.
const END_TO_END_FAMILIES: [&[u8]; 3] = [b"x-forwarded-", b"x-real-", b"sec-websocket-"];

/// Removes Connection, the fields it names, and those that are known to concern one hop only.
///
/// To be called before our own fields are added, and after [`wants_keep_alive`] and the decision
/// about an upgrade were taken: they read what is removed here.
pub fn strip_hop_by_hop(fields: &mut Fields) {
    strip(fields, |_| false);
}

/// The same for a request or a response that upgrades: Connection and Upgrade stay, not for what
/// they say, but to tell the writer where to put its own.
pub fn strip_around_upgrade(fields: &mut Fields) {
    strip(fields, |name| matches!(name, b"connection" | b"upgrade"));
}

fn strip(fields: &mut Fields, is_place: impl Fn(&[u8]) -> bool) {
    let names_field = |token: &&[u8]| {
        !CONNECTION_OPTIONS
            .iter()
            .any(|known| token.eq_ignore_ascii_case(known.as_bytes()))
    };
    let named: Vec<Vec<u8>> = fields
        .tokens("connection")
        .filter(names_field)
        .map(<[u8]>::to_vec)
        .collect();
    if named.is_empty() && !HOP_BY_HOP.iter().any(|name| fields.contains(name)) {
        return;
    }
    let is_named = |name: &[u8]| {
        !named.is_empty() && named.iter().any(|other| other.eq_ignore_ascii_case(name))
    };
    fields.retain_lines(|name, _| {
        let stays = !is_hop_by_hop(name) && (!is_named(name) || is_end_to_end(name));
        stays || is_place(name)
    });
}

fn is_end_to_end(name: &[u8]) -> bool {
    END_TO_END.contains(&name)
        || END_TO_END_FAMILIES
            .iter()
            .any(|family| name.starts_with(family))
}
