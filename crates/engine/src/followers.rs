//! Servers whose state is another server's (manual 5.2, "track"): a change goes down the chain.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use routing::health::{Change, Health};

use crate::manager;
use crate::server::ServerState;
use crate::shared::Shared;
use crate::site::{BackendState, Site};

/// The backend and the server that `server` follows.
pub(crate) fn leader(
    site: &Site,
    server: &ServerState,
) -> Option<(Arc<BackendState>, Arc<ServerState>)> {
    let tracked = server.conf.track.as_ref()?;
    let backend = site.backends.get(tracked.backend.0)?;
    let leader = backend.server(&tracked.server).ok()?;
    Some((backend.clone(), leader))
}

/// The server at the end of the chain that `server` is part of: the one that is checked.
pub(crate) fn root(site: &Site, server: &ServerState) -> Option<Arc<ServerState>> {
    let (_, mut root) = leader(site, server)?;
    // A checked configuration has no circle.
    while let Some((_, next)) = leader(site, &root) {
        root = next;
    }
    Some(root)
}

/// Lets all who follow `server` know that it has changed.
pub(crate) fn tell(shared: &Shared, backend: &BackendState, server: &ServerState) {
    let site = shared.site.load();
    if !site.has_followers.load(Relaxed) {
        return;
    }
    // Who came last hears of it first, as in HAProxy.
    for other in site.backends.iter().rev() {
        for follower in other.servers().into_iter().rev() {
            let follows = follower.conf.track.as_ref().is_some_and(|tracked| {
                tracked.backend.0 == backend.index() && tracked.server == server.conf.name
            });
            if follows {
                catch_up(shared, other, &follower);
            }
        }
    }
}

/// Gives `server` the state of the one it follows, if it follows one.
pub(crate) fn catch_up(shared: &Shared, backend: &Arc<BackendState>, server: &Arc<ServerState>) {
    if let Some(change) = change(shared, server) {
        manager::follow(shared, backend, server, &change, None);
    }
}

/// At the start: everybody has the state of whom they follow, and nothing is told.
pub(crate) fn settle_all(shared: &Shared) {
    let site = shared.site.load();
    // Each round settles at least one more link of every chain.
    let mut moved = site.has_followers.load(Relaxed);
    while moved {
        moved = false;
        for backend in &site.backends {
            for server in backend.servers() {
                if change(shared, &server).is_some() {
                    moved = true;
                    backend.refresh(&server);
                }
            }
        }
    }
}

fn change(shared: &Shared, server: &ServerState) -> Option<Change> {
    let site = shared.site.load();
    let (_, leader) = leader(&site, server)?;
    let state = leader.health().clone();
    let now = shared.clock.since_start();
    server.health().follow(&state, now)
}

/// `backend/server`, as stats and log lines name the one that is followed.
pub(crate) fn leader_name(site: &Site, server: &ServerState) -> Option<String> {
    let (backend, leader) = leader(site, server)?;
    Some(format!("{}/{}", backend.name(), leader.conf.name))
}

/// The `status` of a server: that of a follower shows how far on its way the checked one is.
pub(crate) fn status_text(site: &Site, server: &ServerState, health: &Health) -> String {
    let Some(root) = root(site, server) else {
        return health.status_text();
    };
    let own = health.status_text();
    match (own.as_str(), leader_name(site, server)) {
        ("MAINT", Some(via)) if health.inherits_maint() => format!("MAINT (via {via})"),
        ("UP" | "DOWN", _) => root.health().status_text(),
        _ => own,
    }
}
