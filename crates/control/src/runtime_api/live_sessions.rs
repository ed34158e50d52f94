//! Commands on sessions of clients under way (management.txt 9.3): `show sess`, `shutdown session`.

use std::time::Duration;

use engine::{SessionId, SessionsWanted};

use super::answer::{Answer, Call};
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    shows(
        "show sess",
        "[help|<id>|all] [<options>]*",
        "report the list of current streams or dump this exact stream",
        |call| show(call).into(),
    )
    .operator(),
    changes("shutdown session", "[id]", "kill a specific session", shut),
];

const HELP: &str = "Usage: show sess [<id> | all | help] [<options>*]
Sessions that have a server: WebSockets and other tunnels, requests under way. Which:
   <id>         the one of this name (0x...)
   all          all, with several lines each
   help         this text
   susp         none: nothing is suspected here
Options:
   show-uri     the first line of the request as well, of tunnels
   older <age>  those that have lasted so long (seconds, or with a unit)
   server <b/s> those on this server
   backend <b>  those of this backend
   frontend <f> those that came in by this frontend
";

fn show(call: &mut Call<'_>) -> Result<Answer, Answer> {
    let mut wanted = SessionsWanted::default();
    let mut nobody = Answer::Done;
    let mut words = call.args;
    match words.first().map(String::as_str) {
        Some("help") => return Ok(Answer::Text(HELP.to_owned())),
        Some("susp") => return Ok(Answer::Done),
        Some("all") => {
            wanted.wide = true;
            words = &words[1..];
        }
        Some(id) if id.starts_with("0x") => {
            nobody = Answer::error("Session not found.");
            wanted.wide = true;
            wanted.id = match SessionId::parse(id) {
                None => return Err(nobody),
                id => id,
            };
            words = &words[1..];
        }
        _ => {}
    }
    options(call, words, &mut wanted)?;
    Ok(Answer::Pieces {
        pieces: call.handle.sessions(wanted),
        none: Box::new(nobody),
    })
}

fn options(call: &Call<'_>, words: &[String], wanted: &mut SessionsWanted) -> Result<(), Answer> {
    let mut words = words.iter().map(String::as_str);
    let error = |text: &'static str| Answer::error(text);
    while let Some(word) = words.next() {
        match word {
            "show-uri" => wanted.uri = true,
            "older" => {
                let age = words.next();
                let age =
                    age.ok_or_else(|| error("Expects a minimum age (in seconds by default)."))?;
                let age = config::parse_duration(age, Duration::from_secs(1));
                wanted.older = age.ok_or_else(|| error("Invalid age."))?;
            }
            "frontend" => {
                let name = words
                    .next()
                    .ok_or_else(|| error("Missing frontend name."))?;
                if !call.handle.has_frontend(name) {
                    return Err(error("No such frontend."));
                }
                wanted.frontend = Some(name.to_owned());
            }
            "backend" => {
                let name = words.next().ok_or_else(|| error("Missing backend name."))?;
                if !call.handle.glance().iter().any(|it| *it.name == *name) {
                    return Err(error("No such backend."));
                }
                wanted.backend = Some(name.to_owned());
            }
            "server" => {
                let missing = || error("Missing server name (<backend>/<server>).");
                let name = words.next().ok_or_else(missing)?;
                let (backend, server) = name.split_once('/').ok_or_else(missing)?;
                let found = call.handle.server(backend, server);
                found.map_err(|refused| Answer::refused(&refused))?;
                wanted.backend = Some(backend.to_owned());
                wanted.server = Some(server.to_owned());
            }
            _ => {
                let text = format!("Unsupported option '{word}', try 'help' for more info.");
                return Err(Answer::error(text));
            }
        }
    }
    Ok(())
}

fn shut(call: &mut Call<'_>) -> Answer {
    match SessionId::parse(call.arg(0)) {
        None => Answer::error("Session pointer expected (use 'show sess')."),
        Some(id) => Answer::Pieces {
            pieces: call.handle.shut_session(id),
            none: Box::new(Answer::error("No such session (use 'show sess').")),
        },
    }
}
