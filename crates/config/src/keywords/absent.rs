//! Actions of rules that will not be had, or that have nothing to act on here (manual 4.4).

use super::filters::{BANDWIDTH, BANDWIDTH_INSTEAD, CACHE, SPOE, SPOE_INSTEAD};
use super::global::{NO_LUA, NO_LUA_INSTEAD};
use super::{Scope, Status, verdict};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::registry::Known;

/// One action, and the rule sets that have it.
struct Absent {
    name: &'static str,
    sets: &'static [&'static str],
    status: Status<()>,
}

const fn absent(name: &'static str, sets: &'static [&'static str], status: Status<()>) -> Absent {
    Absent { name, sets, status }
}

const REQUESTS: &[&str] = &["http-request"];
const RESPONSES: &[&str] = &["http-response"];
const CONTENTS: &[&str] = &[
    "http-request",
    "http-response",
    "tcp-request content",
    "tcp-response content",
];
const TRACED: &[&str] = &[
    "http-request",
    "http-response",
    "http-after-response",
    "tcp-request content",
    "tcp-response content",
];
const CONNECTIONS: &[&str] = &["tcp-request connection"];
const SESSIONS: &[&str] = &["tcp-request session"];

const ACCEPTED: &[&str] = &["tcp-request connection", "tcp-request session"];
const MARKS: &str = "packets are marked once something was said on the connection";
const MARKS_INSTEAD: &str = "write it as a 'tcp-request content' or 'http-request' rule";
const LOGS: &str = "a session has one line, written at its end";
const LOGS_INSTEAD: &str =
    "put what you want to see into 'log-format', with variables set by rules";
const PACKED: &str = "fields in the packed form of an SPOE agent are not read";
const HTTP: &[&str] = &["http-request", "http-response", "http-after-response"];
const ALL: &[&str] = &[
    "http-request",
    "http-response",
    "http-after-response",
    "tcp-request connection",
    "tcp-request session",
    "tcp-request content",
    "tcp-response content",
];

const TABLE: &[Absent] = &[
    absent(
        "add-headers-bin",
        HTTP,
        Status::Refused(PACKED, SPOE_INSTEAD),
    ),
    absent(
        "del-headers-bin",
        HTTP,
        Status::Refused(PACKED, SPOE_INSTEAD),
    ),
    absent("do-log", ALL, Status::Refused(LOGS, LOGS_INSTEAD)),
    absent(
        "set-headers-bin",
        HTTP,
        Status::Refused(PACKED, SPOE_INSTEAD),
    ),
    absent(
        "set-fc-mark",
        ACCEPTED,
        Status::Refused(MARKS, MARKS_INSTEAD),
    ),
    absent(
        "set-fc-tos",
        ACCEPTED,
        Status::Refused(MARKS, MARKS_INSTEAD),
    ),
    absent("set-mark", ACCEPTED, Status::Refused(MARKS, MARKS_INSTEAD)),
    absent("set-tos", ACCEPTED, Status::Refused(MARKS, MARKS_INSTEAD)),
    absent(
        "attach-srv",
        SESSIONS,
        Status::Refused(
            "no server connects to us to be given requests",
            "list servers with 'server', or let discovery fill the backend",
        ),
    ),
    absent("cache-store", RESPONSES, Status::NotInForce(CACHE)),
    absent("cache-use", REQUESTS, Status::NotInForce(CACHE)),
    absent(
        "expect-netscaler-cip",
        CONNECTIONS,
        Status::Refused(
            "the NetScaler's own header is not read",
            "have it send the PROXY protocol and write 'tcp-request connection expect-proxy layer4'",
        ),
    ),
    absent(
        "ot-group",
        TRACED,
        Status::Refused(
            "no spans are written",
            "send 'unique-id-header' to servers and join their traces by it",
        ),
    ),
    absent(
        "do-resolve",
        &["http-request", "tcp-request content"],
        Status::Refused(
            "no request waits for a nameserver: who asks for many names would hold as many places",
            "list servers with 'server' and 'resolvers', or look names up in a map",
        ),
    ),
    absent(
        "use-service",
        &["tcp-request content"],
        Status::Refused(
            "services of bytes are Lua's, and no Lua is run",
            "put the service behind a 'server' line",
        ),
    ),
    absent(
        "send-spoe-group",
        CONTENTS,
        Status::Refused(SPOE, SPOE_INSTEAD),
    ),
    absent(
        "set-bandwidth-limit",
        CONTENTS,
        Status::Refused(BANDWIDTH, BANDWIDTH_INSTEAD),
    ),
    absent(
        "wait-for-handshake",
        REQUESTS,
        Status::Accepted("no early data is taken: the handshake is always over"),
    ),
];

/// Scripts have names of their own: any in any rule set.
const LUA: &str = "lua.";
const SCRIPT: Status<()> = Status::Refused(NO_LUA, NO_LUA_INSTEAD);

/// What is said of such an action; `None`: it is none of them. One that is read without an effect takes
/// its line with it.
pub(super) fn action(args: &mut Args<'_>, scope: &Scope<'_>) -> Option<Result<(), Diagnostic>> {
    let (keyword, word) = (args.keyword, args.peek()?);
    let base = word.text.split('(').next().unwrap_or_default();
    let known = |row: &&Absent| row.name == base && row.sets.contains(&keyword);
    let status = match TABLE.iter().find(known) {
        Some(row) => &row.status,
        None if base.starts_with(LUA) => &SCRIPT,
        None => return None,
    };
    args.rest();
    let title = format!("{keyword} {base}");
    let told = verdict(&title, status, word.span)?;
    if let Status::Refused(..) = status {
        return Some(Err(told));
    }
    scope.report_verdict(&title, status, told);
    Some(Ok(()))
}

/// All of them, for the reference.
pub(crate) fn known() -> impl Iterator<Item = Known> {
    let of_set = |row: &'static Absent| {
        let known = |set: &&str| Known::new(set, row.name, &row.status);
        row.sets.iter().map(known)
    };
    TABLE.iter().flat_map(of_set)
}
