//! Idle connections to servers, per worker: taken for the next request, dropped when old.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use routing::balance::ServerKey;

use crate::site::ServerState;
use crate::stream::Stream;

/// How long a connection may be idle: HAProxy's `pool-purge-delay` default, and shorter than the
/// keep-alive time of common servers, so that we close first.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Idle connections per server and worker, at most: enough for any steady load (each serves
/// hundreds of requests a second), and a bound for what a burst leaves behind.
const PER_SERVER_MAX: usize = 128;

/// Which connections are alike: same server, same name in the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Alike {
    /// Backend, by position.
    pub(crate) backend: usize,
    /// Server.
    pub(crate) server: ServerKey,
    /// The name sent by SNI.
    pub(crate) sni: Option<Rc<str>>,
}

struct Idle {
    stream: Stream,
    since: Instant,
    _counted: Counted,
}

/// One idle connection in the server's gauge.
struct Counted(Arc<ServerState>);

impl Counted {
    fn new(server: &Arc<ServerState>) -> Self {
        server.idle.fetch_add(1, Relaxed);
        Self(server.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Relaxed);
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
            if is_quiet(&mut idle.stream) {
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps a connection after a whole exchange.
    pub(crate) fn give(&self, alike: Alike, server: &Arc<ServerState>, stream: Stream) {
        if server.removed.load(Relaxed) {
            return;
        }
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.entry(alike).or_default();
        if pool.len() < PER_SERVER_MAX {
            pool.push(Idle {
                stream,
                since: Instant::now(),
                _counted: Counted::new(server),
            });
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
                pool.retain_mut(|idle| {
                    idle.since.elapsed() < IDLE_MAX && is_quiet(&mut idle.stream)
                });
                !pool.is_empty()
            });
        }
    }
}

/// Whether the server has neither closed it nor sent anything unasked: bytes that come before a
/// request would be taken for its answer.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0u8; 1];
    let mut context = Context::from_waker(Waker::noop());
    matches!(stream.poll_read(&mut context, &mut byte), Poll::Pending)
}
