//! Commands about frontends (management.txt 9.3).

use super::answer::{Answer, Call};
use super::journal;
use super::table::{Row, changes};

pub(super) const ROWS: &[Row] = &[
    changes(
        "disable frontend",
        "<frontend>",
        "temporarily disable specific frontend",
        |call| pause(call, true),
    )
    .kept(journal::frontend_state),
    changes(
        "enable frontend",
        "<frontend>",
        "re-enable specific frontend",
        |call| pause(call, false),
    )
    .kept(journal::frontend_state),
    changes(
        "shutdown frontend",
        "<frontend>",
        "stop a specific frontend",
        |call| match call.args.first() {
            None => Answer::error("A frontend name is expected."),
            Some(name) => match call.handle.shut_frontend(name) {
                None => Answer::error("No such frontend."),
                Some(false) => Answer::error("Frontend was already shut down."),
                Some(true) => Answer::Done,
            },
        },
    ),
];

fn pause(call: &mut Call<'_>, wanted: bool) -> Answer {
    let Some(name) = call.args.first() else {
        return Answer::error("A frontend name is expected.");
    };
    if call.handle.is_frontend_shut(name) {
        let verb = if wanted { "disable" } else { "enable" };
        let text = format!("Frontend was previously shut down, cannot {verb}.");
        return Answer::error(text);
    }
    let word = if wanted { "disabled" } else { "enabled" };
    match call.handle.pause_frontend(name, wanted) {
        None => Answer::error("No such frontend."),
        Some(false) => Answer::notice(format!("All sockets are already {word}.")),
        Some(true) => Answer::Done,
    }
}
