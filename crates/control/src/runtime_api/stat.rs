//! `show stat` and its kin (management.txt 9.3): the counters, as the page's CSV has them.

use engine::export::table::{Form, Table};
use engine::export::{Pick, Selection};

use super::answer::{Answer, Call};
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    shows(
        "show stat",
        "[desc|json|no-maint|typed|up]*",
        "report counters for each proxy and server",
        stat,
    ),
    shows(
        "show schema json",
        "",
        "report schema used for stats",
        |_| Answer::Text(format!("{}\n", engine::export::SCHEMA)),
    ),
    changes(
        "clear counters",
        "[all | server <bk>/<srv> [force]]",
        "clear max statistics counters (or all, or those of a server)",
        clear,
    )
    .operator(),
];

/// `show stat [domain proxy] [{<iid>|<proxy>} <type> <sid>] [typed|json] [desc] [up|no-maint]`.
fn stat(call: &mut Call<'_>) -> Answer {
    let mut args = call.args;
    if call.arg(0) == "domain" {
        match call.arg(1) {
            "proxy" => args = &args[2..],
            "resolvers" => return Answer::Done,
            _ => return Answer::error("Invalid statistics domain."),
        }
    }
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let form = match () {
        () if has("typed") => Form::Typed,
        () if has("json") => Form::Json,
        () => Form::Csv,
    };
    let number = |at: usize| args.get(at).and_then(|arg| arg.parse::<i64>().ok());
    let pick = number(1).zip(number(2)).map(|(kinds, service)| Pick {
        proxy: args[0].clone(),
        kinds,
        service,
    });
    let selection = Selection {
        only_up: has("up"),
        no_maint: has("no-maint"),
        pick,
        ..Selection::default()
    };
    let table = Table::new(call.handle.snapshot(), form, &selection, true);
    let table = match has("desc") {
        true => table.described(),
        false => table,
    };
    Answer::Report(Box::new(table.on_a_line_of_its_own()))
}

fn clear(call: &mut Call<'_>) -> Answer {
    match call.arg(0) {
        "all" if call.session.level < config::model::CliLevel::Admin => {
            Answer::error("Permission denied")
        }
        "all" => {
            call.handle.clear_counters(true);
            Answer::Done
        }
        "server" => {
            if call.session.level < config::model::CliLevel::Admin {
                return Answer::error("Permission denied");
            }
            let Some((backend, server)) = call.arg(1).split_once('/') else {
                return Answer::error("Require 'backend/server'.");
            };
            match call.handle.clear_server_counters(backend, server) {
                Ok(()) => Answer::info("Server counters cleared."),
                Err(refused) => Answer::refused(&refused),
            }
        }
        _ => {
            call.handle.clear_counters(false);
            Answer::Done
        }
    }
}
