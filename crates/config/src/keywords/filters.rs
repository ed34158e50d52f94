//! `filter …` lines (manual 9): what stands between a request and its server, of which nothing is had
//! here, and what becomes of each.

use super::{PROXIES, ProxyKeyword, Scope, Status, implemented, verdict};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::nearest::did_you_mean;
use crate::registry::Known;

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("filter", PROXIES, filter),
    super::accepted(
        "filter-sequence",
        PROXIES,
        "no filter changes what another one sees",
    ),
];

/// Nothing is compressed: what a client may miss, and who may do it.
pub(super) const COMPRESSION: &str =
    "responses are passed on as servers send them; let servers compress";
/// Nothing is cached, likewise.
pub(super) const CACHE: &str = "nothing is cached: every request goes to a server";
pub(super) const BANDWIDTH: &str = "bandwidth is not limited here";
pub(super) const BANDWIDTH_INSTEAD: &str =
    "bound requests with 'stick-table' rates, or shape traffic with tc(8)";
pub(crate) const SPOE: &str = "no agent is asked about requests";
pub(crate) const SPOE_INSTEAD: &str =
    "decide by ACLs, maps and stick tables, or put the agent in front as a proxy";
pub(crate) const FCGI: &str = "servers are spoken to in HTTP/1.1, not in FastCGI";
pub(crate) const FCGI_INSTEAD: &str =
    "put a web server that speaks it (nginx, Caddy) before the application";

/// Each with its status.
const FILTERS: &[(&str, Status<()>)] = &[
    ("bwlim-in", Status::Refused(BANDWIDTH, BANDWIDTH_INSTEAD)),
    ("bwlim-out", Status::Refused(BANDWIDTH, BANDWIDTH_INSTEAD)),
    ("cache", Status::NotInForce(CACHE)),
    ("comp-req", Status::NotInForce(COMPRESSION)),
    ("comp-res", Status::NotInForce(COMPRESSION)),
    ("compression", Status::NotInForce(COMPRESSION)),
    ("fcgi-app", Status::Refused(FCGI, FCGI_INSTEAD)),
    (
        "opentracing",
        Status::Refused(
            "no spans are written",
            "send 'unique-id-header' to servers and join their traces by it",
        ),
    ),
    ("spoe", Status::Refused(SPOE, SPOE_INSTEAD)),
    (
        "trace",
        Status::Accepted("it serves HAProxy's own developers"),
    ),
];

fn filter(_: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("the name of a filter")?;
    args.rest();
    let Some((name, status)) = FILTERS.iter().find(|(name, _)| word.is(name)) else {
        let alert = Diagnostic::alert(
            word.span,
            format!("'filter' : unknown filter '{}'", word.text),
        );
        let names = FILTERS.iter().map(|(name, _)| *name);
        return Err(match did_you_mean(&word.text, names) {
            Some(hint) => alert.help(hint),
            None => alert,
        });
    };
    let title = format!("filter {name}");
    if let Some(told) = verdict(&title, status, word.span) {
        scope.report_verdict(&title, status, told);
    }
    Ok(())
}

/// All of them, for the reference; and the actions of `quic-initial`, which are as little had.
pub(crate) fn known() -> impl Iterator<Item = Known> {
    let known = |(name, status): &(&str, Status<()>)| Known::new("filter", name, status);
    let quic = QUIC_INITIAL.iter().map(|name| {
        let status = Status::<()>::Accepted("HTTP/3 is not served");
        Known::new("quic-initial", name, &status)
    });
    FILTERS.iter().map(known).chain(quic)
}

const QUIC_INITIAL: [&str; 5] = ["accept", "dgram-drop", "do-log", "reject", "send-retry"];
