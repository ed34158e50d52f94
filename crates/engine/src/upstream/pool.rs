//! Idle connections to servers, per worker: taken for the next request, dropped when old.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use routing::balance::ServerKey;

use crate::server::ServerState;
use crate::shared::Shared;
use crate::stream::Stream;

/// How long a connection may be idle: HAProxy's `pool-purge-delay` default, and shorter than the
/// keep-alive time of common servers, so that we close first.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Idle connections per server, at most, over all workers: enough for any steady load (each serves
/// hundreds of requests a second), and a bound for what a burst leaves behind.
const PER_SERVER_MAX: u64 = 256;

/// Which connections are alike: same server, same name in the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Alike {
    /// Backend, by position.
    pub(crate) backend: usize,
    /// Server.
    pub(crate) server: ServerKey,
    /// The name sent by SNI.
    pub(crate) sni: Option<Rc<str>>,
    /// The PROXY header in front of it: it names one client, and nobody else may go by it.
    pub(crate) header: Option<Rc<[u8]>>,
}

struct Idle {
    stream: Stream,
    since: Instant,
    _counted: Counted,
}

/// One idle connection in the gauges of its server and of the process.
struct Counted(Arc<ServerState>, Arc<Shared>);

impl Counted {
    /// `None` where there are enough already.
    fn new(server: &Arc<ServerState>, shared: &Arc<Shared>) -> Option<Self> {
        let full = server.idle.load(Relaxed) >= PER_SERVER_MAX
            || shared.idle.load(Relaxed) >= shared.idle_max;
        if full {
            return None;
        }
        server.idle.fetch_add(1, Relaxed);
        shared.idle.fetch_add(1, Relaxed);
        Some(Self(server.clone(), shared.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Relaxed);
        self.1.idle.fetch_sub(1, Relaxed);
    }
}

/// A worker's idle connections.
#[derive(Default)]
pub(crate) struct IdlePool {
    by_server: RefCell<HashMap<Alike, Vec<Idle>>>,
}

impl IdlePool {
    /// The connection used last that is still usable.
    pub(crate) fn take(&self, alike: &Alike) -> Option<Stream> {
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(alike)?;
        while let Some(mut idle) = pool.pop() {
            if idle.stream.is_quiet() {
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps a connection after a whole exchange.
    pub(crate) fn give(
        &self,
        alike: Alike,
        server: &Arc<ServerState>,
        stream: Stream,
        shared: &Arc<Shared>,
    ) {
        if server.removed.load(Relaxed) {
            return;
        }
        if let Some(counted) = Counted::new(server, shared) {
            let idle = Idle {
                stream,
                since: Instant::now(),
                _counted: counted,
            };
            self.by_server
                .borrow_mut()
                .entry(alike)
                .or_default()
                .push(idle);
        }
    }

    /// Drops all of a server.
    pub(crate) fn drop_server(&self, backend: usize, server: ServerKey) {
        self.by_server
            .borrow_mut()
            .retain(|alike, _| alike.backend != backend || alike.server != server);
    }

    /// Drops all.
    pub(crate) fn clear(&self) {
        self.by_server.borrow_mut().clear();
    }

    /// Runs for ever: drops what was idle too long. Sleeps through while there is nothing.
    pub(crate) async fn sweep_every(&self, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut pools = self.by_server.borrow_mut();
            pools.retain(|_, pool| {
                pool.retain_mut(|idle| idle.since.elapsed() < IDLE_MAX && idle.stream.is_quiet());
                !pool.is_empty()
            });
        }
    }
}
