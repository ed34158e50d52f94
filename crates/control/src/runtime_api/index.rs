//! All commands in one list, for the reference: those of the table, and those HAProxy has and we do not,
//! with the reason.

use config::model::CliLevel;

use super::table::{Needs, Row, rows};

/// One command, as the reference shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its own words: "show stat".
    pub words: &'static str,
    /// What follows them.
    pub arguments: &'static str,
    /// What it does; of one that is not had, why not.
    pub help: &'static str,
    /// Who may use it, and in which mode; `None`: it is not had.
    pub needs: Option<&'static str>,
}

/// All of them, by their words.
pub fn commands() -> Vec<Command> {
    let had = rows().filter(|row| !row.words.is_empty()).map(command);
    let mut all: Vec<Command> = had.collect();
    for (names, why) in ABSENT {
        for words in names.split(',').map(str::trim) {
            let is_had = all.iter().any(|command| command.words == words);
            if !is_had {
                all.push(Command {
                    words,
                    arguments: "",
                    help: why,
                    needs: None,
                });
            }
        }
    }
    all.sort_by_key(|command| command.words);
    all.dedup();
    all
}

fn command(row: &'static Row) -> Command {
    let needs = match (row.needs, row.level) {
        (Needs::Expert, _) => "admin, expert-mode",
        (Needs::Experimental, _) => "admin, experimental-mode",
        (_, CliLevel::Admin) => "admin",
        (_, CliLevel::Operator) => "operator",
        (_, CliLevel::User) => "user",
    };
    Command {
        words: row.words,
        arguments: row.arguments,
        help: row.help,
        needs: Some(needs),
    }
}

/// Commands of HAProxy that have no row, or none yet: which, and why.
const ABSENT: &[(&str, &str)] = &[
    (
        "debug counters, debug dev abort, debug dev bug, debug dev check, debug dev close, \
         debug dev deadlock, debug dev delay, debug dev exit, debug dev fd, debug dev hash, debug dev hex, \
         debug dev log, debug dev loop, debug dev panic, debug dev sched, debug dev stream, debug dev sym, \
         debug dev task, debug dev tkill, debug dev warn, debug dev write, mcli-debug-mode, set anon global-key, \
         set anon off, set anon on, set profiling, show anon, show dev, show fd, show libs, \
         show pools, show profiling, show tasks, show trace, trace",
        "it looks into HAProxy's own inside; use perf(1), ss(8) and the metrics",
    ),
    (
        "acme challenge_ready, acme renew, acme status",
        "certificates are not ordered here; an ACME client writes the files, and SIGHUP has them read",
    ),
    (
        "add backend, del backend, show defaults",
        "backends come with the configuration; what is in them changes with the fleet or by 'add server'",
    ),
    ("httpclient", "there is no HTTP client inside; use curl"),
    ("show cache", "nothing is cached"),
    (
        "show peers",
        "stick tables are not shared with other machines",
    ),
    (
        "set ssl ocsp-response, show ssl ocsp-response, show ssl ocsp-updates, update ssl ocsp-response",
        "responses to staple are read from their files, again with SIGHUP",
    ),
    (
        "add ssl jwt, del ssl jwt, show ssl jwt",
        "certificates for tokens are those the configuration names",
    ),
    (
        "add ssl ech, del ssl ech, set ssl ech, show ssl ech, show ssl providers",
        "the TLS library has no such thing",
    ),
    ("show quic", "HTTP/3 is not served"),
    (
        "_getsocks, _loadstatus, _send_status",
        "it is how HAProxy's processes speak with each other",
    ),
    (
        "disable dynamic-cookie backend, enable dynamic-cookie backend, set dynamic-cookie-key backend, \
         dump ssl cert, dump stats-file, hard-reload, show proc, @!<pid>, @<relative pid>, @master, \
         set ssl tls-key",
        "not yet",
    ),
];
