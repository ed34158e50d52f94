//! `slowstart`: a server that came up takes its share by and by (manual 5.2).
//!
//! How far it has got is a percentage that the data path only reads; a task of the manager's moves it
//! and tells the balancer. The limit of sessions follows it percent by percent, the weight in
//! sixteenths.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use routing::balance::SCALE;
use routing::health::{Change, What};

use crate::manager::Order;
use crate::server::ServerState;
use crate::shared::Shared;
use crate::site::BackendState;

const WARM: u32 = 100;

/// How often a ramp is looked at: often enough that each sixteenth is seen.
const STEPS: u32 = 32;

/// How warm a server is.
#[derive(Debug)]
pub(crate) struct Warmth {
    percent: AtomicU32,
    /// How often it began to warm up: an older task sees that it is over.
    begun: AtomicU32,
}

impl Default for Warmth {
    fn default() -> Self {
        Self {
            percent: AtomicU32::new(WARM),
            begun: AtomicU32::new(0),
        }
    }
}

impl Warmth {
    /// For [`routing::balance::Candidate::ramp`]: from 1 on.
    pub(crate) fn ramp(&self) -> u16 {
        let percent = self.percent.load(Relaxed).min(WARM);
        let sixteenths = percent * u32::from(SCALE) / WARM + 1;
        u16::try_from(sixteenths).unwrap_or(SCALE).min(SCALE)
    }

    /// In percent, while it warms up (CSV `throttle`).
    pub(crate) fn throttle(&self) -> Option<u64> {
        let percent = self.percent.load(Relaxed);
        (percent < WARM).then_some(u64::from(percent))
    }

    /// What of a limit of sessions holds now: at least 1.
    pub(crate) fn limit(&self, full: u64) -> u64 {
        match self.percent.load(Relaxed) {
            WARM.. => full,
            percent => (full * u64::from(percent) / u64::from(WARM)).max(1),
        }
    }
}

/// A server has come up, or out of maintenance: it begins to warm up, where that is configured.
/// Before the balancer hears that it is up.
pub(crate) fn begin(
    shared: &Shared,
    backend: &BackendState,
    server: &ServerState,
    change: &Change,
) {
    let came_up = matches!(change.what, What::Up | What::MaintLeft) && change.up;
    if server.conf.slowstart.is_none() || !came_up {
        return;
    }
    let (Ok(server), Some(manager)) = (backend.server(&server.conf.name), shared.manager.get())
    else {
        return;
    };
    server.warmth.percent.store(0, Relaxed);
    let begun = server.warmth.begun.fetch_add(1, Relaxed) + 1;
    // A manager that has ended minds nothing any more: the engine is stopping.
    let _ = manager.send(Order::WarmUp {
        backend: backend.key,
        server,
        begun,
    });
}

/// Moves the percentage until the server is warm, goes down, or begins anew.
pub(crate) async fn run(backend: Arc<BackendState>, server: Arc<ServerState>, begun: u32) {
    let Some(whole) = server.conf.slowstart else {
        return;
    };
    let started = Instant::now();
    let step = (whole / STEPS).max(Duration::from_millis(1));
    loop {
        tokio::time::sleep(step).await;
        if server.warmth.begun.load(Relaxed) != begun {
            return;
        }
        let over = started.elapsed() >= whole || !server.health().is_up();
        let percent = match over {
            true => WARM,
            false => (started.elapsed().as_millis() * 100 / whole.as_millis().max(1)) as u32,
        };
        server.warmth.percent.store(percent, Relaxed);
        backend.refresh(&server);
        if over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_shares_grow_from_one_to_all() {
        let warmth = Warmth::default();
        let at = |percent| {
            warmth.percent.store(percent, Relaxed);
            (warmth.ramp(), warmth.limit(200))
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(6), (1, 12));
        assert_eq!(at(50), (9, 100));
        assert_eq!(at(99), (16, 198));
        assert_eq!(at(100), (16, 200));
    }
}
