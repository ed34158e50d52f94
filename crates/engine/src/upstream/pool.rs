//! Idle connections to servers, per worker: taken for the next request, dropped when old.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::model::IdleMax;
use routing::balance::ServerKey;

use crate::server::ServerState;
use crate::shared::Shared;
use crate::stream::Stream;

/// Idle connections per server, at most, over all workers, where `pool-max-conn` says nothing: enough
/// for any steady load (each serves hundreds of requests a second), and a bound for what a burst
/// leaves behind.
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
    /// How long it may be idle (`pool-purge-delay`).
    idle_max: Duration,
    /// How many requests it has carried.
    uses: u32,
    _counted: Counted,
}

/// One idle connection in the gauges of its server and of the process.
struct Counted(Arc<ServerState>, Arc<Shared>);

impl Counted {
    /// `None` where there are enough already.
    fn new(server: &Arc<ServerState>, shared: &Arc<Shared>) -> Option<Self> {
        let max = match server.conf.pooling.idle_max {
            IdleMax::Default => PER_SERVER_MAX,
            IdleMax::Unlimited => u64::MAX,
            IdleMax::Count(count) => u64::from(count),
        };
        let full = server.idle.load(Relaxed) >= max || shared.idle.load(Relaxed) >= shared.idle_max;
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
    /// The connection used last that is still usable, and how many requests it has carried; `proven`
    /// ones have carried more than one.
    pub(crate) fn take(&self, alike: &Alike, proven: bool) -> Option<(Stream, u32)> {
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(alike)?;
        while let Some(at) = pool.iter().rposition(|idle| !proven || idle.uses > 1) {
            let mut idle = pool.remove(at);
            if idle.stream.is_quiet() {
                return Some((idle.stream, idle.uses));
            }
        }
        None
    }

    /// Keeps a connection after a whole exchange, when it has carried `uses` requests.
    pub(crate) fn give(
        &self,
        alike: Alike,
        server: &Arc<ServerState>,
        (stream, uses): (Stream, u32),
        shared: &Arc<Shared>,
    ) {
        let pooling = &server.conf.pooling;
        let worn_out = pooling.reuse_max.is_some_and(|max| uses > max);
        if worn_out || pooling.purge_delay.is_zero() || server.removed.load(Relaxed) {
            return;
        }
        if let Some(counted) = Counted::new(server, shared) {
            let idle = Idle {
                stream,
                since: Instant::now(),
                idle_max: pooling.purge_delay,
                uses,
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

    /// Drops all of a server so that their ports are free at once: an end in good order would keep
    /// each for a minute. Nothing is on its way on them.
    pub(crate) fn free_ports(&self, backend: usize, server: ServerKey) {
        self.by_server.borrow_mut().retain(|alike, pool| {
            let keep = alike.backend != backend || alike.server != server;
            if !keep {
                pool.iter().for_each(|idle| idle.stream.reset_on_close());
            }
            keep
        });
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
                pool.retain_mut(|idle| {
                    idle.since.elapsed() < idle.idle_max && idle.stream.is_quiet()
                });
                !pool.is_empty()
            });
        }
    }
}
