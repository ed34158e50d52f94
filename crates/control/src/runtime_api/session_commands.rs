//! Commands about the connection itself (management.txt 9.3): level, modes, prompt, time.

use std::time::Duration;

use config::model::{CliLevel, SeverityOutput};

use super::answer::{Answer, Call};
use super::session::Mode;
use super::table::{self, Row, shows};

pub(super) const ROWS: &[Row] = &[
    shows(
        "help",
        "[<command>]",
        "list matching or all commands",
        |call| Answer::Text(table::help(call.args, call.session)),
    ),
    shows(
        "prompt",
        "[help | n | i | p | timed ]*",
        "toggle interactive mode with prompt",
        prompt,
    ),
    shows("quit", "", "disconnect", |call| {
        call.session.ended = true;
        Answer::Done
    }),
    shows(
        "operator",
        "",
        "lower the level of the current CLI session to operator",
        |call| lower(call, CliLevel::Operator),
    ),
    shows(
        "user",
        "",
        "lower the level of the current CLI session to user",
        |call| lower(call, CliLevel::User),
    ),
    Row {
        level: CliLevel::Admin,
        ..shows(
            "expert-mode",
            "[on|off]",
            "enable or disable expert mode",
            |call| switch("expert-mode", call.args, &mut call.session.expert),
        )
    },
    Row {
        level: CliLevel::Admin,
        ..shows(
            "experimental-mode",
            "[on|off]",
            "enable or disable experimental mode",
            |call| {
                switch(
                    "experimental-mode",
                    call.args,
                    &mut call.session.experimental,
                )
            },
        )
    },
    shows(
        "show cli level",
        "",
        "display the level of the current CLI session",
        |call| super::process::level(call.session.level),
    ),
    shows(
        "set severity-output",
        "[none|number|string]",
        "set presence of severity level in feedback information",
        severity,
    ),
    shows(
        "set timeout",
        "[cli] <delay>",
        "change a timeout setting",
        timeout,
    ),
    shows("echo", "<text>", "print text to the output", |call| {
        Answer::Text(format!("{}\n", call.args.join(" ")))
    }),
];

fn prompt(call: &mut Call<'_>) -> Answer {
    let session = &mut *call.session;
    if call.args.is_empty() {
        session.mode = match session.mode {
            Mode::Once | Mode::Interactive => Mode::Prompt,
            Mode::Prompt => Mode::Once,
        };
    }
    for word in call.args {
        match word.as_str() {
            "n" => session.mode = Mode::Once,
            "i" => session.mode = Mode::Interactive,
            "p" => session.mode = Mode::Prompt,
            "timed" => {
                session.timed = !session.timed;
                session.mode = Mode::Prompt;
            }
            _ => {
                return Answer::info(
                    "Accepted words: n (one line), i (interactive), p (with prompt), timed.",
                );
            }
        }
    }
    Answer::Done
}

fn lower(call: &mut Call<'_>, level: CliLevel) -> Answer {
    if call.session.level < level {
        return Answer::error("Permission denied");
    }
    call.session.level = level;
    call.session.expert = false;
    call.session.experimental = false;
    Answer::Done
}

fn switch(name: &str, args: &[String], mode: &mut bool) -> Answer {
    match args.first().map(String::as_str) {
        None => {
            let word = if *mode { "ON" } else { "OFF" };
            Answer::info(format!("{name} is {word}"))
        }
        Some(word) => {
            *mode = word == "on";
            Answer::Done
        }
    }
}

fn severity(call: &mut Call<'_>) -> Answer {
    call.session.severity = match call.arg(0) {
        "none" => SeverityOutput::None,
        "number" => SeverityOutput::Number,
        "string" => SeverityOutput::String,
        _ => {
            return Answer::error("one of 'none', 'number', 'string' is a required argument");
        }
    };
    Answer::Done
}

fn timeout(call: &mut Call<'_>) -> Answer {
    if call.arg(0) != "cli" {
        return Answer::error("'set timeout' only supports 'cli'.");
    }
    let given = config::parse_duration(call.arg(1), Duration::from_secs(1));
    match given.filter(|given| !given.is_zero()) {
        Some(given) => {
            call.session.timeout = given;
            Answer::Done
        }
        None => Answer::error("Invalid timeout value."),
    }
}
