//! Commands about frontends (management.txt 9.3).

use super::answer::{Answer, Call};
use super::table::{Row, changes};

pub(super) const ROWS: &[Row] = &[
    changes(
        "disable frontend",
        "<frontend>",
        "temporarily disable specific frontend",
        |call| pause(call, true),
    ),
    changes(
        "enable frontend",
        "<frontend>",
        "re-enable specific frontend",
        |call| pause(call, false),
    ),
];

fn pause(call: &mut Call<'_>, wanted: bool) -> Answer {
    let Some(name) = call.args.first() else {
        return Answer::error("A frontend name is expected.");
    };
    let word = if wanted { "disabled" } else { "enabled" };
    match call.handle.pause_frontend(name, wanted) {
        None => Answer::error("No such frontend."),
        Some(false) => Answer::notice(format!("All sockets are already {word}.")),
        Some(true) => Answer::Done,
    }
}
