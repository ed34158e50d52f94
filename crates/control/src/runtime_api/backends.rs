//! Commands about backends (management.txt 9.3).

use super::answer::{Answer, Call};
use super::table::{Row, changes};

pub(super) const ROWS: &[Row] = &[
    changes(
        "publish backend",
        "<backend>",
        "let content switching rules lead to a backend",
        |call| publish(call, true),
    ),
    changes(
        "unpublish backend",
        "<backend>",
        "have content switching rules pass over a backend",
        |call| publish(call, false),
    ),
];

fn publish(call: &mut Call<'_>, public: bool) -> Answer {
    let Some(name) = call.args.first() else {
        return Answer::error("A backend name is expected.");
    };
    match call.handle.publish_backend(name, public) {
        None => Answer::error("No such backend."),
        Some(false) => Answer::error("No effect on a disabled backend."),
        Some(true) if public => Answer::notice("Backend published."),
        Some(true) => Answer::notice("Backend unpublished."),
    }
}
