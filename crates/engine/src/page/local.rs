//! Who gets the page where no `stats` line is written: this machine alone.

use std::net::IpAddr;

use crate::client::Request;

/// What follows the page's URI; `None` when the target is another one that only begins alike.
pub(super) fn rest_of<'a>(target: &'a [u8], uri: &str) -> Option<&'a [u8]> {
    let rest = target.strip_prefix(uri.as_bytes())?;
    let ends = rest
        .first()
        .is_none_or(|next| matches!(next, b';' | b'?' | b'&' | b'/'));
    ends.then_some(rest)
}

/// Whether the client sits on this machine, speaks for itself, and means this machine: what another
/// proxy here passes on comes from anywhere, and so does what a page in a browser here asks for.
pub(super) fn is_local(request: &Request) -> bool {
    let connection = request.session.connection();
    let fields = &request.head.fields;
    let passed_on = ["x-forwarded-for", "forwarded", "via", "x-real-ip"];
    connection.peer.is_some_and(|peer| peer.ip().is_loopback())
        && connection
            .facts
            .src
            .is_some_and(|src| src.ip().is_loopback())
        && request.head.host().is_some_and(names_this_machine)
        && !passed_on.iter().any(|name| fields.contains(name))
}

/// `localhost` or a loopback address, with or without a port.
fn names_this_machine(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let is_loopback = |text: &str| text.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || is_loopback(name)
}
