//! `set server <bk>/<srv> fqdn|name|ssl`: what a server is, changed by hand (management.txt 9.3).

use engine::command::Refused;

use super::answer::{Answer, Call};

/// Names are resolved by the server's `resolvers`.
pub(super) fn set_fqdn(call: &Call<'_>, backend: &str, server: &str) -> Answer {
    let name = call.arg(2);
    if name.is_empty() {
        return Answer::error("set server <b>/<s> fqdn requires a FQDN.");
    }
    if !is_host_name(name) {
        return Answer::error(format!("invalid fqdn '{name}' by 'stats socket command'"));
    }
    match call.handle.set_server_fqdn(backend, server, name) {
        Err(refused) => Answer::refused(&refused),
        Ok(Some(before)) if *before == *name => {
            Answer::warning("no need to change the FDQN by 'stats socket command'")
        }
        Ok(before) => {
            let before = before.as_deref().unwrap_or("(null)");
            Answer::warning(format!(
                "{backend}/{server} changed its FQDN from {before} to {name} by 'stats socket command'"
            ))
        }
    }
}

/// As names are in DNS, and those of SRV records.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let letters = |it: char| it.is_ascii_alphanumeric() || "-_".contains(it);
        (1..=63).contains(&label.len()) && label.chars().all(letters)
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(is_label)
}

pub(super) fn set_name(call: &Call<'_>, backend: &str, server: &str) -> Answer {
    let name = call.arg(2);
    let state = match call.handle.server(backend, server) {
        Ok(it) => it,
        Err(refused) => return Answer::refused(&refused),
    };
    let allowed = |it: char| it.is_ascii_alphanumeric() || "_:.-".contains(it);
    if name.is_empty() {
        return Answer::error("set server <b>/<s> name requires a new name.");
    }
    if !state.status.starts_with("MAINT") {
        return Answer::error(
            "Server must be in maintenance mode to be renamed (set server <b>/<s> state maint).",
        );
    }
    if !name.chars().all(allowed) {
        return Answer::error("Server name contains invalid characters.");
    }
    let same = *state.name == *name;
    if !same && call.handle.is_referenced(backend, server) == Ok(true) {
        return Answer::error(
            "Cannot rename: server's name is statically referenced (use-server, track, or sample argument).",
        );
    }
    match call.handle.rename_server(backend, server, name) {
        Ok(()) => Answer::notice("Server name updated."),
        Err(Refused::NameTaken(..)) => {
            Answer::error("A server with the same name already exists in this backend.")
        }
        Err(refused) => Answer::refused(&refused),
    }
}

pub(super) fn set_ssl(call: &Call<'_>, backend: &str, server: &str) -> Answer {
    let wanted = match call.arg(2) {
        "on" => true,
        "off" => false,
        _ => return Answer::error("'set server <srv> ssl' expects 'on' or 'off'."),
    };
    match call.handle.set_server_tls(backend, server, wanted) {
        Ok(true) => Answer::notice("server ssl setting updated."),
        Ok(false) => Answer::error(
            "'set server <srv> ssl' cannot be set.  default-server should define ssl settings",
        ),
        Err(refused) => Answer::refused(&refused),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_hosts_are_told_from_others() {
        let check = super::is_host_name;
        for good in ["localhost", "a.b", "_http._tcp.nodes.example.", "x-1.y"] {
            assert!(check(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["", ".", "a..b", "bad!name", "a b", &long, "-\n"] {
            assert!(!check(bad), "{bad}");
        }
    }
}
