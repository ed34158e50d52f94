//! What sessions see of their servers, where a server is observed (manual 5.2, "observe").
//!
//! A good sight costs one look at an atomic; only one error too many takes a lock. A server that is
//! not observed costs one comparison. What the errors mean is decided by [`routing::health`].

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use routing::health::Sight;

use crate::manager;
use crate::server::ServerState;
use crate::session::Session;
use crate::shared::Shared;
use crate::site::BackendState;

/// A session saw this of the server it is on.
pub(crate) fn saw(session: &Session, sight: Sight) {
    let (Some(server), Some(backend)) = (session.server(), session.backend()) else {
        return;
    };
    if let Some(layer) = server.conf.observe.layer {
        let shared = &session.worker().shared;
        match sight.is_error(layer) {
            None => {}
            // A lost race forgets an error too many or too few: it is about runs of them.
            Some(false) if server.errors_in_a_row.load(Relaxed) == 0 => {}
            Some(false) => server.errors_in_a_row.store(0, Relaxed),
            Some(true) => count(shared, backend, server, sight),
        }
    }
}

fn count(shared: &Shared, backend: &Arc<BackendState>, server: &Arc<ServerState>, sight: Sight) {
    let observe = server.conf.observe;
    let errors = server.errors_in_a_row.fetch_add(1, Relaxed) + 1;
    if errors < observe.error_limit {
        return;
    }
    server.errors_in_a_row.store(0, Relaxed);
    let now = shared.clock.since_start();
    let observed = server
        .health()
        .observed(errors, sight, observe.on_error, now);
    if let Some((change, result)) = observed {
        manager::follow(shared, backend, server, &change, Some(&result));
    }
    server.hurry.notify_one();
}
