//! Settings of the whole process over a reload: what can change does, what cannot is said.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::model::{Config, Global};
use tokio::sync::Semaphore;

use super::{Reloaded, essence};
use crate::handle::Handle;
use crate::manager::Order;
use crate::operator_limits::RateLimit;
use crate::prepare::{maxconn, workers};
use crate::shared::Shared;

/// What settings say, to be compared.
type Shows = fn(&Global) -> String;

/// What is as it was started with, whatever the file says: by its name, and how it shows.
const FIXED: &[(&str, Shows)] = &[
    ("user, group", |it| essence(&(&it.user, &it.group))),
    ("chroot", |it| essence(&it.chroot)),
    ("daemon", |it| essence(&it.daemon)),
    ("pidfile", |it| essence(&it.pidfile)),
    ("ulimit-n", |it| essence(&it.ulimit_n)),
    ("maxsslconn", |it| essence(&it.maxsslconn)),
    ("tune.bufsize", |it| essence(&it.tune.bufsize)),
    ("tune.listener.multi-queue", |it| {
        essence(&it.tune.multi_queue)
    }),
    ("server-state-file", |it| {
        essence(&(&it.server_state_file, &it.server_state_base))
    }),
    ("stats socket, stats maxconn, -S", |it| {
        let api = &it.runtime_api;
        let sockets = api.sockets.iter().chain(&api.master);
        let sockets = sockets.map(|it| (&it.bind.text, &it.settings));
        essence(&(sockets.collect::<Vec<_>>(), api.maxconn))
    }),
];

/// Takes back what cannot change while running, and says so.
pub(super) fn keep_what_stays(
    config: &mut Config,
    running: &Config,
    shared: &Shared,
) -> Vec<String> {
    let mut fixed: Vec<&str> = Vec::new();
    let shown = FIXED.iter();
    let differ = shown.filter(|(_, shows)| shows(&config.global) != shows(&running.global));
    fixed.extend(differ.map(|(name, _)| *name));
    let (new, old) = (&mut config.global, &running.global);
    new.tune.bufsize = old.tune.bufsize;
    new.tune.multi_queue = old.tune.multi_queue;
    new.maxsslconn = old.maxsslconn;
    new.runtime_api.sockets.clone_from(&old.runtime_api.sockets);
    new.runtime_api.master.clone_from(&old.runtime_api.master);
    new.runtime_api.maxconn = old.runtime_api.maxconn;
    let keeps = |it: &Config| essence(&(&it.runtime.tables_file, &it.runtime.tables_interval));
    let journals = |it: &Config| essence(&it.runtime.journal);
    if keeps(config) != keeps(running) || journals(config) != journals(running) {
        fixed.push("tables-file, journal");
    }
    if essence(&config.registry) != essence(&running.registry) {
        fixed.push("section registry");
    }
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
