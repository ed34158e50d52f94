//! Commands about servers (management.txt 9.3).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::model::{MappedHost, MappedPort, ServerAddress, Weight};
use engine::command::{Admin, Command, Drained, Forced, Refused};

use super::answer::{Answer, Call};
use super::drains;
use super::journal;
use super::table::{Row, changes, shows};
use super::{server_checks, server_edits};

pub(super) const ROWS: &[Row] = &[
    changes(
        "add server",
        "<bk>/<srv>",
        "create a new server",
        add_server,
    )
    .kept(journal::server_added),
    changes(
        "del server",
        "<bk>/<srv> [drain [over <time>] [code <status>]]",
        "remove a server: at once if it is in maintenance and idle, or by draining it",
        del_server,
    )
    .kept(journal::server_deleted)
    .telling(6),
    shows(
        "wait",
        "{-h|<delay_ms>} cond [args...]",
        "wait the specified delay or condition",
        wait,
    ),
    changes(
        "disable server",
        "(DEPRECATED)",
        "disable a server for maintenance (use 'set server' instead)",
        |call| admin(call, Admin::Maint),
    )
    .kept(journal::server_state),
    changes(
        "enable server",
        "(DEPRECATED)",
        "enable a disabled server (use 'set server' instead)",
        |call| admin(call, Admin::Ready),
    )
    .kept(journal::server_state),
    changes("disable health", "", "disable health checks", |call| {
        checks(call, false)
    })
    .kept(journal::server_checks),
    changes("enable health", "", "enable health checks", |call| {
        checks(call, true)
    })
    .kept(journal::server_checks),
    shows(
        "show servers state",
        "[<backend>]",
        "dump volatile server information (all or for a single backend)",
        |call| {
            let backend = Some(call.arg(0)).filter(|name| !name.is_empty());
            match call.handle.server_states(backend) {
                Some(text) => Answer::Text(text),
                None => Answer::error("Can't find backend."),
            }
        },
    ),
    shows(
        "show servers conn",
        "[<backend>]",
        "dump server connections status (all or for a single backend)",
        show_connections,
    ),
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
    )
    .kept(journal::server_weight)
    .telling(2),
    changes(
        "set server",
        "<bk>/<srv> [opts]",
        "change a server's state, weight, address or ssl",
        set_server,
    )
    .kept(journal::server_set)
    .telling(3),
    changes(
        "set maxconn server",
        "<bk>/<srv> <value>",
        "change a server's maxconn setting",
        set_maxconn,
    )
    .kept(journal::server_maxconn)
    .telling(2),
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
    match call.handle.is_checked(backend, server) {
        Err(refused) => Answer::refused(&refused),
        Ok(false) if enabled => {
            Answer::error("Health check was not configured on this server, cannot enable.")
        }
        Ok(_) => command(call, |backend, server| Command::SetChecks {
            backend,
            server,
            enabled,
        }),
    }
}

/// Idle connections are told for the process, not for each thread, and none is kept for one session alone.
fn show_connections(call: &mut Call<'_>) -> Answer {
    let snapshot = call.handle.snapshot();
    let wanted = Some(call.arg(0)).filter(|name| !name.is_empty());
    let is_wanted = |name: &str, id: u32| {
        let by_id =
            |wanted: &str| wanted.strip_prefix('#').map(str::to_owned) == Some(id.to_string());
        wanted.is_none_or(|wanted| wanted == name || by_id(wanted))
    };
    let mut text = String::from(
        "# bkname/svname bkid/svid addr port - purge_delay served used_cur used_max need_est \
         idle_sess unsafe_nb safe_nb idle_lim idle_cur idle_per_thr[0]\n",
    );
    let mut found = wanted.is_none();
    for backend in snapshot
        .backends
        .iter()
        .filter(|it| is_wanted(&it.name, it.id))
    {
        found = true;
        for it in &backend.servers {
            let purge = call.handle.purge_delay(&backend.name, &it.name);
            // One that has gone meanwhile is not told of.
            let Ok(purge) = purge else { continue };
            let (ip, port) = place(&it.address);
            let port = match port {
                MappedPort::Fixed(port) => port,
                MappedPort::Client(_) => 0,
            };
            let (now, max, idle) = (
                it.traffic.sessions,
                it.traffic.sessions_max,
                it.idle_connections,
            );
            let limit = it.idle_limit.map_or("-1".to_owned(), |it| it.to_string());
            text += &format!(
                "{}/{} {}/{} {} {port} - {} {now} {now} {max} {max} 0 0 {idle} {limit} {idle}\n",
                backend.name,
                it.name,
                backend.id,
                it.id,
                ip.map_or("-".to_owned(), |ip| ip.to_string()),
                purge.as_millis(),
            );
        }
    }
    match found {
        true => Answer::Text(text),
        false => Answer::error("Can't find backend."),
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
        "addr" => set_address(call),
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
        "fqdn" => server_edits::set_fqdn(call, backend, server),
        "name" => server_edits::set_name(call, backend, server),
        "ssl" => server_edits::set_ssl(call, backend, server),
        _ => server_checks::set(call, backend, server).unwrap_or_else(|| Answer::error(SET_SERVER)),
    }
}

/// `add server <bk>/<srv> <addr> [parameters of a server line]`: it begins in maintenance.
fn add_server(call: &mut Call<'_>) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    let config = call.config;
    let Some(conf) = config.backends.iter().find(|it| *it.proxy.name == *backend) else {
        return Answer::error("No such backend.");
    };
    let tracked = call.args.iter().position(|word| word == "track");
    if let Some(tracked) = tracked.and_then(|at| call.args.get(at + 1)) {
        let (of, leader) = tracked.split_once('/').unwrap_or((backend, tracked));
        if call.handle.server(of, leader).is_ok_and(|it| it.dynamic) {
            return Answer::error(format!(
                "unable to use {of}/{leader} for tracking as it is a dynamic server."
            ));
        }
    }
    let words: Vec<String> = std::iter::once(server.to_owned())
        .chain(call.args[1..].iter().cloned())
        .collect();
    let made = match config::dynamic_server(config, conf, &words, call.api.surroundings) {
        Ok(made) => made,
        Err(why) => return Answer::error(why),
    };
    let added = call.handle.apply(Command::AddServer {
        backend: backend.into(),
        server: Box::new(made),
    });
    match added {
        Ok(()) => Answer::info("New server registered."),
        Err(refused) => Answer::refused(&refused),
    }
}

/// Why a server cannot be removed now; `None`: it can.
fn unremovable(handle: &engine::Handle, backend: &str, server: &str) -> Option<Answer> {
    let it = match handle.server(backend, server) {
        Ok(it) => it,
        Err(refused) => return Some(Answer::refused(&refused)),
    };
    if handle.is_referenced(backend, server) == Ok(true) {
        return Some(Answer::refused(&Refused::Referenced));
    }
    // Be it by the server that it follows.
    if !it.status.starts_with("MAINT") {
        return Some(Answer::error(
            "Only servers in maintenance mode can be deleted.",
        ));
    }
    None
}

fn del_server(call: &mut Call<'_>) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    if call.arg(1) == "drain" {
        return drains::begin(call, 2, Drained::Removed);
    }
    if let Some(why) = unremovable(call.handle, backend, server) {
        return why;
    }
    let removed = call.handle.apply(Command::RemoveServer {
        backend: backend.into(),
        server: server.into(),
    });
    match removed {
        Ok(()) => Answer::info("Server deleted."),
        Err(refused) => Answer::refused(&refused),
    }
}

/// `wait <delay> [srv-removable <bk>/<srv>]`.
fn wait(call: &mut Call<'_>) -> Answer {
    if call.args.is_empty() {
        return Answer::error("Expects a duration in milliseconds.");
    }
    let Some(limit) = config::parse_duration(call.arg(0), Duration::from_millis(1)) else {
        return Answer::error("Invalid duration.");
    };
    if call.arg(1) != "srv-removable" {
        return Answer::Wait {
            limit,
            until: Box::new(|_| None),
            late: Box::new(Answer::info("Done.")),
        };
    }
    let Some((backend, server)) = call.arg(2).split_once('/') else {
        return Answer::error("Require 'backend/server'.");
    };
    let (backend, server) = (backend.to_owned(), server.to_owned());
    let until = move |handle: &engine::Handle| match unremovable(handle, &backend, &server) {
        Some(Answer::Message(gravity, text)) => {
            Some(Answer::Message(gravity, format!("Failed. {text}").into()))
        }
        Some(other) => Some(other),
        None => {
            let it = handle.server(&backend, &server).ok()?;
            (it.traffic.sessions == 0).then(|| Answer::info("Done."))
        }
    };
    Answer::Wait {
        limit,
        until: Box::new(until),
        late: Box::new(Answer::error("Wait delay expired.")),
    }
}

/// `set server b/s addr A [port P]`; the port may be relative (`+1`).
fn set_address(call: &Call<'_>) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    let text = call.arg(2);
    if text.is_empty() {
        return Answer::error("set server <b>/<s> addr requires an address and optionally a port.");
    }
    let Ok(ip) = text.parse::<IpAddr>() else {
        return Answer::error(format!("Invalid addr '{text}'"));
    };
    let it = match call.handle.server(backend, server) {
        Ok(it) => it,
        Err(refused) => return Answer::refused(&refused),
    };
    let (old_ip, old_port) = place(&it.address);
    let port = match (call.arg(3), call.arg(4)) {
        ("port", text) => match port(text) {
            Some(port) => port,
            None => return Answer::error("provided port is not an integer"),
        },
        _ => old_port,
    };
    let mut told = Vec::new();
    if old_ip != Some(ip) {
        let old = old_ip.map_or("(none)".to_owned(), |ip| ip.to_string());
        told.push(format!("IP changed from '{old}' to '{ip}'"));
    }
    if port != old_port {
        told.push(format!(
            "port changed from '{}' to '{}'",
            shown(old_port),
            shown(port)
        ));
    }
    if told.is_empty() {
        return Answer::info("nothing changed");
    }
    let address = match port {
        MappedPort::Fixed(port) => ServerAddress::Inet(SocketAddr::new(ip, port)),
        port => ServerAddress::Mapped(MappedHost::Ip(ip), port),
    };
    match call.handle.move_server(backend, server, address) {
        Ok(()) => Answer::notice(format!("{} by 'stats socket command'", told.join(", "))),
        Err(refused) => Answer::refused(&refused),
    }
}

fn place(address: &ServerAddress) -> (Option<IpAddr>, MappedPort) {
    match address {
        ServerAddress::Inet(at) => (Some(at.ip()), MappedPort::Fixed(at.port())),
        ServerAddress::Name(_, port) => (None, MappedPort::Fixed(*port)),
        ServerAddress::Mapped(MappedHost::Ip(ip), port) => (Some(*ip), *port),
        ServerAddress::Mapped(_, port) => (None, *port),
        ServerAddress::Unix(_) | ServerAddress::Abstract(_) => (None, MappedPort::Fixed(0)),
    }
}

/// A port, or how far it is from the client's.
fn port(text: &str) -> Option<MappedPort> {
    match text.starts_with(['+', '-']) {
        true => text.parse::<i32>().ok().map(MappedPort::Client),
        false => text.parse::<u16>().ok().map(MappedPort::Fixed),
    }
}

fn shown(port: MappedPort) -> String {
    match port {
        MappedPort::Fixed(port) => port.to_string(),
        MappedPort::Client(offset) => format!("{offset:+}"),
    }
}

fn set_maxconn(call: &mut Call<'_>) -> Answer {
    let (backend, server) = match call.server() {
        Ok(names) => names,
        Err(refused) => return refused,
    };
    if call.arg(1).is_empty() {
        return Answer::error("Require <maxconn>.");
    }
    match call.arg(1).parse() {
        Ok(limit) => Answer::of(call.handle.set_server_maxconn(backend, server, limit)),
        Err(_) => Answer::error("maxconn string empty or preceded by garbage"),
    }
}
