//! Answers of our own: the stats page in its three forms, and the metrics.
//!
//! Where a configuration names no `stats` at all, the page answers at [`DEFAULT_URI`] to this machine
//! alone: operators expect it there. As soon as one `stats` line is written, only those count.

use std::net::IpAddr;

use config::model::Proxy;
use routing::access;
use routing::rules::Answer;
use wire::head::Fields;

use crate::client::Request;
use crate::export::page::Look;
use crate::export::{csv, page, prometheus};
use crate::site::Site;
use crate::worker::Worker;

/// Where the page answers when nothing is configured.
const DEFAULT_URI: &str = "/stats";

/// The stats page, when the request is for it.
pub(crate) fn stats(proxy: &Proxy, site: &Site, request: &Request) -> Option<Answer> {
    let target = request.head.path_and_query();
    let Some(conf) = &proxy.stats else {
        let rest = rest_of(target, DEFAULT_URI)?;
        let below = rest.starts_with(b"/");
        let wanted = !below && !site.has_stats() && is_local(request);
        let node = &request.session.worker().shared.node;
        let look = Look {
            uri: DEFAULT_URI,
            show_legends: true,
            node: Some(node),
            ..Look::default()
        };
        return wanted.then(|| answer(request, rest, &look));
    };
    let rest = rest_of(target, &conf.uri)?;
    if !access::allowed(&request.head.fields, &conf.auth) {
        return Some(access::challenge(
            &conf.realm,
            request.session.error_page(401, Some(&request.head)),
        ));
    }
    let look = Look {
        // Without a text here or in `global`: the machine's own name, and no description.
        node: conf.node.as_deref().map(|node| match node {
            "" => &request.session.worker().shared.node,
            node => node,
        }),
        description: conf.description.as_deref().filter(|text| !text.is_empty()),
        refresh: conf.refresh.filter(|_| !rest.ends_with(b";norefresh")),
        ..Look::from(conf)
    };
    Some(answer(request, rest, &look))
}

/// What follows the page's URI; `None` when the target is another one that only begins alike.
fn rest_of<'a>(target: &'a [u8], uri: &str) -> Option<&'a [u8]> {
    let rest = target.strip_prefix(uri.as_bytes())?;
    let ends = rest
        .first()
        .is_none_or(|next| matches!(next, b';' | b'?' | b'&' | b'/'));
    ends.then_some(rest)
}

/// Whether the client sits on this machine, speaks for itself, and means this machine: what another
/// proxy here passes on comes from anywhere, and so does what a page in a browser here asks for.
fn is_local(request: &Request) -> bool {
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

fn answer(request: &Request, rest: &[u8], look: &Look<'_>) -> Answer {
    let method = &request.head.method;
    if method.as_bytes() != b"GET" && !method.is_head() {
        return request.session.error_page(405, Some(&request.head));
    }
    let snapshot = crate::stats::snapshot(&request.session.worker().shared);
    if rest.starts_with(b";csv") {
        return text(
            csv::render(&snapshot, look.show_legends),
            "text/plain; charset=utf-8",
        );
    }
    let mut answer = text(page::render(&snapshot, look), page::CONTENT_TYPE);
    // Names of nodes come from elsewhere: even if one slipped through, nothing may run.
    let policy = page::CONTENT_SECURITY_POLICY.as_bytes();
    answer.fields.append("content-security-policy", policy);
    answer
}

/// The metrics of the whole process (`use-service prometheus-exporter`).
pub(crate) fn metrics(worker: &Worker) -> Answer {
    let snapshot = crate::stats::snapshot(&worker.shared);
    text(prometheus::render(&snapshot), prometheus::CONTENT_TYPE)
}

fn text(body: String, content_type: &str) -> Answer {
    let mut fields = Fields::new();
    fields.append("cache-control", b"no-cache");
    fields.append("content-type", content_type.as_bytes());
    fields.append("x-content-type-options", b"nosniff");
    Answer {
        fields,
        body: body.into_bytes(),
        ..Answer::empty(200)
    }
}
