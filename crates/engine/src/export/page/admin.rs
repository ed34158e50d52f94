//! Changing servers from the page: checkboxes, a list of actions, and what became of the last one. The
//! names of the fields are HAProxy's, so that scripts which post them go on working.

use super::Look;
use super::html::Html;
use crate::snapshot::{BackendStats, ServerStats};

/// What became of a change, as `;st=` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// There was nothing to do.
    None,
    /// Some of it was done.
    Partly,
    /// None of it could be done.
    Failed,
    /// It was too long to be read.
    TooLong,
    /// It is not allowed here.
    Denied,
    /// Nobody knows.
    Unknown,
}

/// Words and what they mean.
const OUTCOMES: [(&str, Outcome, &str); 7] = [
    ("DONE", Outcome::Done, "Done."),
    ("NONE", Outcome::None, "Nothing was changed."),
    (
        "PART",
        Outcome::Partly,
        "Done in part: some servers could not be changed.",
    ),
    (
        "ERRP",
        Outcome::Failed,
        "Nothing was changed: no such action, backend or server.",
    ),
    (
        "EXCD",
        Outcome::TooLong,
        "Nothing was changed: too many servers at once.",
    ),
    (
        "DENY",
        Outcome::Denied,
        "Nothing was changed: it is not allowed here.",
    ),
    ("UNKN", Outcome::Unknown, "Something unexpected happened."),
];

impl Outcome {
    /// As it stands in `;st=`.
    pub fn word(self) -> &'static str {
        let row = OUTCOMES.iter().find(|(_, outcome, _)| *outcome == self);
        row.map_or("UNKN", |(word, ..)| word)
    }

    /// What `;st=` says in what follows the page's URI.
    pub fn of(rest: &str) -> Option<Self> {
        let mut words = rest.split([';', '?', '&']);
        let word = words.find_map(|word| word.strip_prefix("st="))?;
        let row = OUTCOMES.iter().find(|(known, ..)| *known == word);
        Some(row.map_or(Self::Unknown, |(_, outcome, _)| *outcome))
    }
}

/// Actions by HAProxy's words, and what people read.
const ACTIONS: [(&str, &str); 9] = [
    ("ready", "Ready: back to work"),
    ("drain", "Drain: nothing new, what is open goes on"),
    ("maint", "Maintenance: nothing new, no checks"),
    ("dhlth", "Health: stop checking"),
    ("ehlth", "Health: check again"),
    ("hrunn", "Health: up"),
    ("hnolb", "Health: up, but nothing new"),
    ("hdown", "Health: down"),
    ("shutdown", "Close its sessions"),
];

pub(super) fn changeable(backend: &BackendStats, look: &Look) -> bool {
    look.admin && !backend.servers.is_empty()
}

pub(super) fn outcome(html: &mut Html, look: &Look) {
    let Some(outcome) = look.outcome else { return };
    let row = OUTCOMES.iter().find(|(_, known, _)| *known == outcome);
    let class = match outcome {
        Outcome::Done => "done",
        Outcome::None => "none",
        _ => "failed",
    };
    html.raw("<p class=\"outcome ")
        .raw(class)
        .raw("\" role=\"status\">");
    html.raw(row.map_or("", |(.., text)| text));
    html.raw(" <a href=\"").text(&look.uri);
    if look.refresh_off {
        html.raw(";norefresh");
    }
    html.raw("\">Remove this message</a></p>\n");
}

pub(super) fn form_begin(html: &mut Html, look: &Look) {
    html.raw("<form method=\"post\" action=\"").text(&look.uri);
    if look.refresh_off {
        html.raw(";norefresh");
    }
    html.raw("\">\n");
}

pub(super) fn form_end(html: &mut Html, backend: &BackendStats) {
    html.raw("<p class=\"actions\"><label>With the chosen servers <select name=\"action\">");
    html.raw("<option value=\"\"></option>");
    for (word, text) in ACTIONS {
        html.raw("<option value=\"")
            .raw(word)
            .raw("\">")
            .raw(text)
            .raw("</option>");
    }
    html.raw("</select></label><input type=\"hidden\" name=\"b\" value=\"#")
        .text(backend.id)
        .raw("\"><input type=\"submit\" value=\"Apply\"></p>\n</form>\n");
}

pub(super) fn choice(html: &mut Html, server: &ServerStats) {
    html.raw("<input type=\"checkbox\" name=\"s\" value=\"")
        .text(&server.name)
        .raw("\" aria-label=\"choose ")
        .text(&server.name)
        .raw("\"> ");
}
