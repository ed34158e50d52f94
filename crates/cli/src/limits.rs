//! How many descriptors the process may hold.

use config::model::Config;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors beside those of connections: listeners, checks, logs, event queues.
const BESIDE: u64 = 200;

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
