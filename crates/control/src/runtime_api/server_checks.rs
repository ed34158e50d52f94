//! `set server <bk>/<srv>` where it is about checks and the agent, and `disable|enable agent`
//! (management.txt 9.3).

use std::net::IpAddr;

use engine::CheckOverrides;

use super::answer::{Answer, Call};
use super::journal;
use super::table::{Row, changes};

pub(super) const ROWS: &[Row] = &[
    changes("disable agent", "", "disable agent checks", |call| {
        switch_agent(call, true)
    })
    .kept(journal::server_agent),
    changes("enable agent", "", "enable agent checks", |call| {
        switch_agent(call, false)
    })
    .kept(journal::server_agent),
];

const NO_AGENT: &str = "agent checks are not enabled on this server";
const NO_CHECKS: &str = "health checks are not enabled on this server";

/// What `set server` is asked to change, or `None`: nothing of this kind.
pub(super) fn set(call: &Call<'_>, backend: &str, server: &str) -> Option<Answer> {
    let what = call.arg(1);
    let outcome = match what {
        "agent" => agent(call, backend, server),
        "agent-addr" | "check-addr" => address(call, what, backend, server),
        "agent-port" | "check-port" => alone(call, what, backend, server),
        "agent-send" => send(call, backend, server),
        _ => return None,
    };
    Some(outcome.into())
}

fn has_agent(call: &Call<'_>, backend: &str, server: &str) -> bool {
    call.handle.has_agent(backend, server) == Ok(true)
}

fn apply(
    call: &Call<'_>,
    backend: &str,
    server: &str,
    news: &CheckOverrides,
) -> Result<Answer, Answer> {
    Ok(Answer::of(
        call.handle.override_checks(backend, server, news),
    ))
}

fn agent(call: &Call<'_>, backend: &str, server: &str) -> Result<Answer, Answer> {
    if !has_agent(call, backend, server) {
        return Err(Answer::error(format!("{NO_AGENT}.")));
    }
    let up = match call.arg(2) {
        "up" => true,
        "down" => false,
        _ => {
            return Err(Answer::error(
                "'set server <srv> agent' expects 'up' or 'down'.",
            ));
        }
    };
    Ok(Answer::of(call.handle.force_agent(backend, server, up)))
}

/// Whether what is to change is there at all.
fn is_had(call: &Call<'_>, what: &str, backend: &str, server: &str) -> Result<(), Answer> {
    let (had, otherwise) = match what.starts_with("agent") {
        true => (has_agent(call, backend, server), NO_AGENT),
        false => (
            call.handle.is_checked(backend, server) == Ok(true),
            NO_CHECKS,
        ),
    };
    match had {
        true => Ok(()),
        false => Err(Answer::error(otherwise)),
    }
}

fn overrides(what: &str, addr: Option<IpAddr>, port: Option<u16>) -> CheckOverrides {
    match what.starts_with("agent") {
        true => CheckOverrides {
            agent_addr: addr,
            agent_port: port,
            ..CheckOverrides::default()
        },
        false => CheckOverrides {
            check_addr: addr,
            check_port: port,
            ..CheckOverrides::default()
        },
    }
}

/// `<addr> [port <port>]`.
fn address(call: &Call<'_>, what: &str, backend: &str, server: &str) -> Result<Answer, Answer> {
    let text = call.arg(2);
    if text.is_empty() {
        let text = format!("set server <b>/<s> {what} requires an address and optionally a port.");
        return Err(Answer::error(text));
    }
    is_had(call, what, backend, server)?;
    let addr: Option<IpAddr> = text.parse().ok();
    let addr = addr.ok_or_else(|| Answer::error(format!("invalid addr '{text}'")))?;
    let port = match call.arg(3) {
        "port" => Some(port(call.arg(4))?),
        _ => None,
    };
    apply(call, backend, server, &overrides(what, Some(addr), port))
}

fn alone(call: &Call<'_>, what: &str, backend: &str, server: &str) -> Result<Answer, Answer> {
    if call.arg(2).is_empty() {
        let text = format!("set server <b>/<s> {what} requires a port.");
        return Err(Answer::error(text));
    }
    is_had(call, what, backend, server)?;
    let port = port(call.arg(2))?;
    apply(call, backend, server, &overrides(what, None, Some(port)))
}

fn port(text: &str) -> Result<u16, Answer> {
    let number: i64 = text
        .parse()
        .map_err(|_| Answer::error("provided port is not an integer"))?;
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Answer::error("provided port is invalid")),
    }
}

fn send(call: &Call<'_>, backend: &str, server: &str) -> Result<Answer, Answer> {
    if !has_agent(call, backend, server) {
        return Err(Answer::error(format!("{NO_AGENT}.")));
    }
    let news = CheckOverrides {
        agent_send: Some(call.arg(2).into()),
        ..CheckOverrides::default()
    };
    apply(call, backend, server, &news)
}

fn switch_agent(call: &mut Call<'_>, off: bool) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    match call.handle.has_agent(backend, server) {
        Err(refused) => Answer::refused(&refused),
        Ok(false) if !off => {
            Answer::error("Agent was not configured on this server, cannot enable.")
        }
        Ok(_) => {
            let news = CheckOverrides {
                agent_off: Some(off),
                ..CheckOverrides::default()
            };
            Answer::of(call.handle.override_checks(backend, server, &news))
        }
    }
}
