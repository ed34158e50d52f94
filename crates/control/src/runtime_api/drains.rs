//! Commands that empty a server without cutting anybody off: `drain server`, its end, and what is seen of it.
//! HAProxy has none of them; its `set server … state drain` gives a server nothing new and leaves what it has.

use std::time::Duration;

use engine::Handle;
use engine::command::{Admin, Command, DrainOrder, Drained};
use engine::snapshot::{DrainStats, ServerStats};

use super::answer::{Answer, Call};
use super::journal;
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    changes(
        "drain server",
        "<bk>/<srv> [over <time>] [code <status>]",
        "give it nothing new and close what it has, evenly over a period",
        |call| begin(call, 1, Drained::Stays),
    )
    .kept(journal::server_state)
    .telling(5),
    changes(
        "undrain server",
        "<bk>/<srv>",
        "have it take sessions again; those not told to end yet go on",
        undrain,
    )
    .kept(journal::server_state),
    shows(
        "show drain",
        "[<bk>[/<srv>]]",
        "tell which servers are being emptied, and how far they are",
        show,
    ),
];

/// `<bk>/<srv>`, and from the word at a position on how it is drained.
pub(super) fn begin(call: &mut Call<'_>, from: usize, then: Drained) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    let as_set = DrainOrder::of(&call.config.runtime);
    let order = match order(&call.args[from.min(call.args.len())..], then, as_set) {
        Ok(order) => order,
        Err(why) => return Answer::error(why),
    };
    let (backend, server) = (backend.into(), server.into());
    let begun = call.handle.apply(Command::Drain {
        backend,
        server,
        order,
    });
    Answer::of(begun)
}

/// `[over T] [code N]`, in any order; the rest as it is set.
fn order(words: &[String], then: Drained, as_set: DrainOrder) -> Result<DrainOrder, String> {
    let mut order = DrainOrder { then, ..as_set };
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word {
            "over" => order.over = Some(period(value)?),
            "code" => order.code = code(value)?,
            _ => {
                return Err(format!(
                    "unknown word '{word}': 'over <time>' and 'code <status>' are known."
                ));
            }
        }
    }
    Ok(order)
}

/// Seconds, unless a unit is said.
fn period(text: &str) -> Result<Duration, String> {
    let period = config::parse_duration(text, Duration::from_secs(1));
    period.ok_or_else(|| format!("'over' expects a time such as 60s, not '{text}'."))
}

fn code(text: &str) -> Result<u16, String> {
    let code = text
        .parse()
        .ok()
        .filter(|code| config::may_close_with(*code));
    code.ok_or_else(|| {
        format!("'code' expects a status that a Close frame may have, such as 1012, not '{text}'.")
    })
}

fn undrain(call: &mut Call<'_>) -> Answer {
    match call.server() {
        Ok((backend, server)) => Answer::of(call.handle.apply(Command::SetAdmin {
            backend: backend.into(),
            server: server.into(),
            admin: Admin::Ready,
        })),
        Err(refused) => refused,
    }
}

const HEADER: &str =
    "# server state sessions before told_to_end by_themselves over elapsed left code then\n";

fn show(call: &mut Call<'_>) -> Answer {
    let (backend, server) = match call.arg(0).split_once('/') {
        Some((backend, server)) => (backend, server),
        None => (call.arg(0), ""),
    };
    let known = |handle: &Handle| match (backend, server) {
        ("", _) => true,
        (_, "") => handle
            .snapshot()
            .backends
            .iter()
            .any(|it| *it.name == *backend),
        _ => handle.server(backend, server).is_ok(),
    };
    if !known(call.handle) {
        return Answer::error("No such backend or server.");
    }
    let mut text = HEADER.to_owned();
    for it in &call.handle.snapshot().backends {
        if !backend.is_empty() && *it.name != *backend {
            continue;
        }
        let wanted = |name: &str| server.is_empty() || name == server;
        for server in it.servers.iter().filter(|server| wanted(&server.name)) {
            if let Some(drain) = &server.drain {
                text += &line(&it.name, server, drain);
            }
        }
    }
    Answer::Text(text)
}

/// `be/s1 draining 34 120 80 6 60s 17s 43s 1012 stays`.
fn line(backend: &str, server: &ServerStats, drain: &DrainStats) -> String {
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    let state = if drain.under_way {
        "draining"
    } else {
        "drained"
    };
    let sessions = server.traffic.sessions;
    let ended = drain.sessions_before.saturating_sub(sessions);
    format!(
        "{backend}/{} {state} {sessions} {} {} {} {} {} {} {} {}\n",
        server.name,
        drain.sessions_before,
        drain.closed,
        ended.saturating_sub(drain.closed),
        drain.over.map_or("-".to_owned(), seconds),
        seconds(drain.lasted),
        drain.left().map_or("-".to_owned(), seconds),
        drain.code,
        if drain.removes { "removed" } else { "stays" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_ordered_in_words() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let as_set = DrainOrder::of(&config::model::Runtime::default());
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let shown = match order(&words, Drained::Stays, as_set) {
                Ok(order) => format!("{:?} {}", order.over.unwrap_or_default(), order.code),
                Err(why) => why,
            };
            assert_eq!(shown, expected, "{text}");
        }
        check("", "60s 1012");
        check("over 90", "90s 1012");
        check("over 5m code 1001", "300s 1001");
        check("code 4000 over 0", "0ns 4000");
        check("over 250ms", "250ms 1012");
        let time = |text| format!("'over' expects a time such as 60s, not '{text}'.");
        check("over", &time(""));
        check("over soon", &time("soon"));
        check("over 32d", &time("32d"));
        for text in ["1005", "1006", "1015", "999", "2000", "5000", "x", ""] {
            let why = format!(
                "'code' expects a status that a Close frame may have, such as 1012, not '{text}'."
            );
            check(&format!("code {text}"), &why);
        }
        check(
            "within 3s",
            "unknown word 'within': 'over <time>' and 'code <status>' are known.",
        );
    }
}
