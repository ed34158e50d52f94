//! Commands that change limits (management.txt 9.3): `set maxconn frontend|global`, `set rate-limit`.

use engine::RateLimit;

use super::answer::{Answer, Call};
use super::journal;
use super::table::{Row, changes};

pub(super) const ROWS: &[Row] = &[
    changes(
        "set maxconn frontend",
        "<frontend> <value>",
        "change a frontend's maxconn setting",
        set_frontend,
    )
    .kept(journal::frontend_maxconn),
    changes(
        "set maxconn global",
        "<value>",
        "change the per-process maxconn setting",
        |call| match number(call.arg(0)) {
            Err(refused) => refused,
            Ok(limit) if call.handle.set_maxconn(limit) => Answer::Done,
            Ok(_) => Answer::error("Value out of range."),
        },
    )
    .kept(journal::process_maxconn),
    changes(
        "set rate-limit",
        "<setting> <value>",
        "change a rate limiting value",
        set_rate,
    )
    .kept(journal::process_rate),
];

/// What HAProxy reads as the number it begins with, or 0, is refused.
fn number(text: &str) -> Result<u32, Answer> {
    match text.parse::<i64>() {
        Ok(value) => u32::try_from(value).map_err(|_| Answer::error("Value out of range.")),
        Err(_) => Err(Answer::error("Expects an integer value.")),
    }
}

fn set_frontend(call: &mut Call<'_>) -> Answer {
    let name = call.arg(0);
    if name.is_empty() {
        return Answer::error("A frontend name is expected.");
    }
    if !call.handle.has_frontend(name) {
        return Answer::error("No such frontend.");
    }
    match call.arg(1).parse::<i64>().map(u32::try_from) {
        Err(_) => Answer::error("Integer value expected."),
        Ok(Err(_)) => Answer::error("Value out of range."),
        Ok(Ok(limit)) => {
            call.handle.set_frontend_maxconn(name, limit);
            Answer::Done
        }
    }
}

const RATES: &str = "'set rate-limit' only supports :
   - 'connections global' to set the per-process maximum connection rate
   - 'sessions global' to set the per-process maximum session rate
   - 'ssl-sessions global' to set the per-process maximum SSL session rate
   - 'http-compression global' to set the per-process maximum compression speed in kB/s";

fn set_rate(call: &mut Call<'_>) -> Answer {
    let which = match (call.arg(0), call.arg(1)) {
        ("connections", "global") => RateLimit::Connections,
        ("sessions", "global") => RateLimit::Sessions,
        ("ssl-sessions", "global") => RateLimit::Tls,
        ("http-compression", "global") => {
            return Answer::error("Nothing limits the speed of compression here (maxcomprate).");
        }
        _ => return Answer::error(RATES),
    };
    match number(call.arg(2)) {
        Err(refused) => refused,
        Ok(limit) => {
            call.handle.set_rate_limit(which, limit);
            Answer::Done
        }
    }
}
