//! How many descriptors the process may hold.

use config::model::Config;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors beside those of connections: listeners, checks, logs, event queues.
const BESIDE: u64 = 200;

/// What a connection may take at most, bytes, beside two buffers of `tune.bufsize`: HAProxy's figures, since `-m`
/// values have been found with them. Here most take far less.
const CONNECTION: u64 = 4096;

/// And with TLS on one side of it.
const TLS_ONE_SIDE: u64 = 104_000;

/// And on both.
const TLS_BOTH_SIDES: u64 = 120_000;

/// Connections that fit in so many megabytes (management.txt 3, "-m"), and in the descriptors there may be; rounded
/// to two digits, as HAProxy says it.
pub(crate) fn by_memory(megabytes: u64, config: &Config) -> u32 {
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard);
    let in_front = config
        .frontends
        .iter()
        .any(|it| it.binds.iter().any(|bind| bind.tls.is_some()));
    let behind = config
        .backends
        .iter()
        .any(|it| it.servers.iter().any(|server| server.tls.is_some()));
    let tls = match (in_front, behind) {
        (false, false) => 0,
        (true, true) => TLS_BOTH_SIDES,
        _ => TLS_ONE_SIDE,
    };
    let buffers = 2 * config.global.tune.bufsize as u64;
    let fit = rounded(megabytes.saturating_mul(1 << 20) / (CONNECTION + buffers + tls));
    let reachable = hard.saturating_sub(BESIDE) / 2;
    u32::try_from(fit.min(reachable).max(1)).unwrap_or(u32::MAX)
}

/// The nearest number with no more than two digits that are not zero.
fn rounded(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    (number + unit / 2) / unit * unit
}

/// Raises the limit as far as the configuration needs (`ulimit-n`, `maxconn`) or, when it says
/// nothing, as far as the system allows. Returns the limit in force, and a warning when it is too
/// low for what was configured.
pub(crate) fn raise(config: &Config) -> (u64, Option<String>) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return (1024, None);
    };
    let global = &config.global;
    let for_connections = global
        .maxconn
        .map(|maxconn| u64::from(maxconn) * 2 + BESIDE);
    let wanted = global
        .ulimit_n
        .or(for_connections)
        .unwrap_or(hard)
        .max(soft);
    let tries = [(wanted, hard.max(wanted)), (wanted.min(hard), hard)];
    let limit = tries
        .into_iter()
        .find(|(soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, *soft, *hard).is_ok())
        .map_or(soft, |(soft, _)| soft);
    let warning = for_connections.filter(|needed| *needed > limit).map(|needed| {
        format!(
            "maxconn {} needs {needed} descriptors, the system allows {limit}: clients beyond that \
             will wait; raise `ulimit -Hn` (systemd: LimitNOFILE=) or lower maxconn",
            global.maxconn.unwrap_or_default(),
        )
    });
    (limit, warning)
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn two_digits_are_enough() {
        let check = |number, expected| assert_eq!(rounded(number), expected);
        check(0, 0);
        check(7, 7);
        check(99, 99);
        check(104, 100);
        check(7281, 7300);
        check(29_127, 29_000);
    }
}
