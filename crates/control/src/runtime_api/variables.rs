//! `get var` and `set var`: variables of the process (management.txt 9.3).

use super::answer::{Answer, Call};
use super::journal;
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    shows(
        "get var",
        "<name>",
        "retrieve contents of a process-wide variable",
        get,
    )
    .operator(),
    changes(
        "set var",
        "<name> [fmt <fmt>|{<expr>}]",
        "set variable from an expression/format",
        set,
    )
    .kept(journal::variable)
    .experimental(),
];

fn get(call: &mut Call<'_>) -> Answer {
    let Some(name) = call.args.first() else {
        return Answer::error("Missing process-wide variable identifier.");
    };
    match call.handle.process_variable(name) {
        Some(shown) => Answer::info(format!("{name}: {shown}")),
        None => Answer::error("Variable not found."),
    }
}

fn set(call: &mut Call<'_>) -> Answer {
    if call.args.len() < 2 {
        return Answer::error("Missing process-wide variable identifier or expression.");
    }
    match config::process_variable(call.config, call.args, call.api.surroundings) {
        Ok(begin) => {
            call.handle.set_process_variable(&begin);
            Answer::Done
        }
        Err(why) => Answer::error(why),
    }
}
