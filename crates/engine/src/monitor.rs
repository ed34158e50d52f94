//! `monitor-uri`: whoever asks for it learns that we are here, before any rule and without a log line
//! (manual 4.2).

use routing::condition;
use routing::rules::Answer;

use crate::client::Request;

/// The answer to a monitor's request; `None` for all others.
pub(crate) fn answer(request: &Request) -> Option<Answer> {
    let conduct = &request.session.frontend().conf().proxy.conduct;
    let uri = conduct.monitor_uri.as_deref()?.as_bytes();
    // One that begins with a slash is a path with its query, also of absolute targets.
    let asked = match uri.first() {
        Some(b'/') => request.head.path_and_query(),
        _ => request.head.target(),
    };
    if asked != uri {
        return None;
    }
    let session = &request.session;
    let facts = session.facts(Some(&request.head), None);
    let fails = conduct.monitor_fail.iter();
    let failed = { fails }.any(|fails| condition::holds(Some(fails), &facts));
    let status = if failed { 503 } else { 200 };
    Some(session.error_page(status, Some(&request.head)))
}
