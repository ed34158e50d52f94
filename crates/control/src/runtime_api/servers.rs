//! Commands about servers (management.txt 9.3).

use config::model::Weight;
use engine::command::{Admin, Command, Forced};

use super::answer::{Answer, Call};
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    changes(
        "disable server",
        "(DEPRECATED)",
        "disable a server for maintenance (use 'set server' instead)",
        |call| admin(call, Admin::Maint),
    ),
    changes(
        "enable server",
        "(DEPRECATED)",
        "enable a disabled server (use 'set server' instead)",
        |call| admin(call, Admin::Ready),
    ),
    changes("disable health", "", "disable health checks", |call| {
        checks(call, false)
    }),
    changes("enable health", "", "enable health checks", |call| {
        checks(call, true)
    }),
    shows(
        "get weight",
        "<bk>/<srv>",
        "report a server's current weight",
        get_weight,
    ),
    changes(
        "set weight",
        "<bk>/<srv> (DEPRECATED)",
        "change a server's weight (use 'set server' instead)",
        |call| {
            let weight = call.arg(1).to_owned();
            set_weight(call, &weight)
        },
    ),
    changes(
        "set server",
        "<bk>/<srv> [opts]",
        "change a server's state, weight, address or ssl",
        set_server,
    ),
    changes(
        "shutdown sessions server",
        "<bk>/<srv>",
        "kill sessions on a server",
        |call| {
            command(call, |backend, server| Command::ShutdownSessions {
                backend,
                server,
            })
        },
    ),
];

type Name = std::sync::Arc<str>;

/// Carries out a command about the server that the first word names.
fn command(call: &Call<'_>, make: impl FnOnce(Name, Name) -> Command) -> Answer {
    match call.server() {
        Ok((backend, server)) => {
            let made = make(backend.into(), server.into());
            Answer::of(call.handle.apply(made))
        }
        Err(refused) => refused,
    }
}

fn admin(call: &Call<'_>, admin: Admin) -> Answer {
    command(call, |backend, server| Command::SetAdmin {
        backend,
        server,
        admin,
    })
}

fn checks(call: &Call<'_>, enabled: bool) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    match call.handle.server(backend, server) {
        Err(refused) => Answer::refused(&refused),
        Ok(it) if enabled && !it.checked => {
            Answer::error("Health check was not configured on this server, cannot enable.")
        }
        Ok(_) => command(call, |backend, server| Command::SetChecks {
            backend,
            server,
            enabled,
        }),
    }
}

fn get_weight(call: &mut Call<'_>) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    match call.handle.server(backend, server) {
        Ok(it) => Answer::info(format!("{} (initial {})", it.weight_set, it.weight_initial)),
        Err(refused) => Answer::refused(&refused),
    }
}

/// A number, or a part of what the configuration says (`50%`).
fn set_weight(call: &Call<'_>, text: &str) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    let initial = match call.handle.server(backend, server) {
        Ok(it) => it.weight_initial,
        Err(refused) => return Answer::refused(&refused),
    };
    if text.is_empty() {
        return Answer::error("Require <weight> or <weight%>.");
    }
    let percent = text.strip_suffix('%');
    let Ok(number) = percent.unwrap_or(text).parse::<u64>() else {
        return Answer::error("Empty weight string empty or preceded by garbage");
    };
    let weight = match percent {
        Some(_) if number > 25_600 => {
            return Answer::error("Relative weight must be positive.");
        }
        Some(_) => (initial * number / 100).min(256),
        None if number > 256 => {
            return Answer::error("Absolute weight can only be between 0 and 256 inclusive.");
        }
        None => number,
    };
    let Some(weight) = u16::try_from(weight).ok().and_then(Weight::new) else {
        return Answer::error("Absolute weight can only be between 0 and 256 inclusive.");
    };
    command(call, |backend, server| Command::SetWeight {
        backend,
        server,
        weight,
    })
}

const SET_SERVER: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | \
     agent-port | agent-send | check-addr | check-port | fqdn | health | name | ssl | state | weight";

fn set_server(call: &mut Call<'_>) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    if let Err(refused) = call.handle.server(backend, server) {
        return Answer::refused(&refused);
    }
    let value = call.arg(2);
    match call.arg(1) {
        "weight" => set_weight(call, value),
        "state" => match value {
            "ready" => admin(call, Admin::Ready),
            "drain" => admin(call, Admin::Drain),
            "maint" => admin(call, Admin::Maint),
            _ => Answer::error("'set server <srv> state' expects 'ready', 'drain' and 'maint'."),
        },
        "health" => {
            let health = match value {
                "up" => Forced::Up,
                "stopping" => Forced::Stopping,
                "down" => Forced::Down,
                _ => {
                    return Answer::error(
                        "'set server <srv> health' expects 'up', 'stopping', or 'down'.",
                    );
                }
            };
            command(call, |backend, server| Command::ForceHealth {
                backend,
                server,
                health,
            })
        }
        _ => Answer::error(SET_SERVER),
    }
}
