//! How a generation is made of a configuration: its backends with their numbers and limits. Used at the
//! start and by each reload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::model::{Config, Server};

use crate::server::ServerOrigin;
use crate::site::{BackendKey, BackendLife, BackendState, Wording, configured_limit};
use crate::tls::NodeTls;

/// The numbers stats show, of frontends and of backends: `id`, else the next free one in file order,
/// as HAProxy counts, where both halves of a `listen` share one.
pub(crate) fn numeric_ids(config: &Config) -> [Vec<u32>; 2] {
    let proxies = || {
        let frontends = config.frontends.iter().map(|it| &it.proxy);
        frontends.chain(config.backends.iter().map(|it| &it.proxy))
    };
    let taken: BTreeSet<u32> = proxies().filter_map(|it| it.id).collect();
    let mut ids: BTreeMap<_, _> = proxies().map(|it| (it.span, it.id)).collect();
    // A `stats socket` has a frontend of its own in HAProxy, which comes first.
    let mut next = match config.global.runtime_api.sockets.is_empty() {
        true => 1,
        false => 2,
    };
    for id in ids.values_mut().filter(|id| id.is_none()) {
        while taken.contains(&next) {
            next += 1;
        }
        *id = Some(next);
        next += 1;
    }
    let id = |span| ids.get(&span).copied().flatten().unwrap_or(0);
    let frontends = config.frontends.iter().map(|it| id(it.proxy.span));
    let backends = config.backends.iter().map(|it| id(it.proxy.span));
    [frontends.collect(), backends.collect()]
}

/// `fullconn`, or a tenth of what the frontends that may lead to the backend let in (manual 4.2).
pub(crate) fn fullconn(config: &Config, index: usize, maxconn: u64) -> u64 {
    if let Some(fullconn) = config.backends[index].fullconn {
        return u64::from(fullconn);
    }
    let feeding = config.frontends.iter().filter(|conf| {
        // Computed names do not count (manual 4.2, "fullconn").
        let ruled = conf.use_backend.iter();
        let ruled = ruled.filter_map(|rule| rule.target.known());
        let mut targets = ruled.chain(conf.default_backend);
        targets.any(|target| target.0 == index)
    });
    let sessions: u64 = feeding.map(|conf| configured_limit(conf, maxconn)).sum();
    sessions.div_ceil(10).max(1)
}

/// Whether any server's state is another one's.
pub(crate) fn has_followers(config: &Config) -> bool {
    let mut servers = config.backends.iter().flat_map(|it| &it.servers);
    servers.any(|server| server.track.is_some())
}

/// What the stats page calls this machine.
pub(crate) fn node(config: &Config) -> Arc<str> {
    let given = config.global.node.clone();
    given.unwrap_or_else(crate::prepare::host_name)
}

/// A backend that nobody knew before, with the servers of the file.
pub(crate) fn backend(
    config: &Arc<Config>,
    index: usize,
    id: u32,
    maxconn: u64,
    writers: usize,
    tls: Vec<NodeTls>,
    now: Duration,
) -> Arc<BackendState> {
    let conf = &config.backends[index];
    let life = BackendLife::new(BackendKey::fresh(), conf, writers);
    let limit = fullconn(config, index, maxconn);
    let state = BackendState::new(config, index, id, limit, (Arc::new(life), Wording::fresh()));
    for (server, tls) in conf.servers.iter().zip(tls) {
        add_of_file(&state, server, tls, writers, now);
    }
    Arc::new(state)
}

/// Adds a server of the file.
pub(crate) fn add_of_file(
    backend: &BackendState,
    server: &Server,
    tls: NodeTls,
    writers: usize,
    now: Duration,
) {
    let origin = ServerOrigin {
        dynamic: false,
        writers,
        now,
    };
    // Names are unique in a checked configuration.
    let _ = backend.add(server.clone(), tls, origin);
}
