//! Settings of the whole process over a reload: what can change does, what cannot is said.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::model::Config;
use tokio::sync::Semaphore;

use super::{Reloaded, essence};
use crate::handle::Handle;
use crate::manager::Order;
use crate::operator_limits::RateLimit;
use crate::prepare::{maxconn, workers};
use crate::shared::Shared;

/// What settings say, to be compared.
type Shows = fn(&Config) -> String;

/// What is as it was started with, whatever the file says: by its name, and how it shows.
const FIXED: &[(&str, Shows)] = &[
    ("user, group", |it| {
        essence(&(&it.global.user, &it.global.group))
    }),
    ("chroot", |it| essence(&it.global.chroot)),
    ("daemon", |it| essence(&it.global.daemon)),
    ("pidfile", |it| essence(&it.global.pidfile)),
    ("ulimit-n", |it| essence(&it.global.ulimit_n)),
    ("maxsslconn", |it| essence(&it.global.maxsslconn)),
    ("tune.bufsize", |it| essence(&it.global.tune.bufsize)),
    ("tune.listener.multi-queue", |it| {
        essence(&it.global.tune.multi_queue)
    }),
    ("server-state-file", |it| {
        essence(&(&it.global.server_state_file, &it.global.server_state_base))
    }),
    ("stats socket, stats maxconn, -S", |it| {
        let api = &it.global.runtime_api;
        let sockets = api.sockets.iter().chain(&api.master);
        let sockets = sockets.map(|it| (&it.bind.text, &it.settings));
        essence(&(sockets.collect::<Vec<_>>(), api.maxconn))
    }),
    ("tables-file, journal", |it| {
        let runtime = &it.runtime;
        essence(&(
            &runtime.tables_file,
            &runtime.tables_interval,
            &runtime.journal,
        ))
    }),
    ("section registry", |it| essence(&it.registry)),
];

/// How [`FIXED`] showed when the process started. A configuration in force since may say otherwise without effect.
pub(crate) struct AtStart(Vec<String>);

impl AtStart {
    /// What this configuration says.
    pub(crate) fn of(config: &Config) -> Self {
        Self(FIXED.iter().map(|(_, shows)| shows(config)).collect())
    }
}

/// Takes back what cannot change while running, and says so, each time that it is not what the process was started
/// with.
pub(super) fn keep_what_stays(
    config: &mut Config,
    running: &Config,
    shared: &Shared,
) -> Vec<String> {
    let at_start = FIXED.iter().zip(&shared.at_start.0);
    let differ = at_start.filter(|((_, shows), at_start)| shows(config) != **at_start);
    let mut fixed: Vec<&str> = differ.map(|((name, _), _)| *name).collect();
    let (new, old) = (&mut config.global, &running.global);
    new.tune.bufsize = old.tune.bufsize;
    new.tune.multi_queue = old.tune.multi_queue;
    new.maxsslconn = old.maxsslconn;
    new.runtime_api.sockets.clone_from(&old.runtime_api.sockets);
    new.runtime_api.master.clone_from(&old.runtime_api.master);
    new.runtime_api.maxconn = old.runtime_api.maxconn;
    if workers(config) != shared.workers {
        fixed.push("nbthread");
    }
    if maxconn(config, shared.descriptors) > shared.maxconn_max {
        fixed.push("a higher maxconn in section global");
    }
    let told = |name: &&str| format!("'{name}' has changed: that takes effect at the next start");
    fixed.iter().map(told).collect()
}

/// Limits of the process: those that the file has changed. What an operator has set otherwise stays.
pub(super) fn apply(handle: &Handle, before: &Config, now: &Config, reloaded: &mut Reloaded) {
    let shared = handle.shared();
    let (old, new) = (&before.global, &now.global);
    if old.maxconn != new.maxconn {
        let limit = maxconn(now, shared.descriptors).min(shared.maxconn_max);
        handle.set_maxconn(u32::try_from(limit).unwrap_or(u32::MAX));
        let limit = shared.maxconn.load(Relaxed);
        reloaded
            .changes
            .push(format!("maxconn of the process is {limit}"));
    }
    let rates = [
        (RateLimit::Connections, old.maxconnrate, new.maxconnrate),
        (RateLimit::Sessions, old.maxsessrate, new.maxsessrate),
        (RateLimit::Tls, old.maxsslrate, new.maxsslrate),
    ];
    for (which, was, is) in rates {
        if was != is {
            handle.set_rate_limit(which, is.unwrap_or(0));
            reloaded
                .changes
                .push(format!("rate limit {which:?} has changed"));
        }
    }
    if essence(&old.variables) != essence(&new.variables) {
        crate::variables::set_of_process(&shared.variables, &new.variables, &new.tune.vars);
        reloaded
            .changes
            .push("variables of the process are set anew".into());
    }
}

/// Has places in use vanish as they become free.
pub(super) fn take_back(shared: &Shared, room: &Arc<Semaphore>, count: u64) {
    if let (Ok(count), Some(manager), true) =
        (u32::try_from(count), shared.manager.get(), count > 0)
    {
        // A manager that has ended minds nothing any more: the engine is stopping.
        let _ = manager.send(Order::TakeBack(room.clone(), count));
    }
}
