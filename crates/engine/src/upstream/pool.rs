//! Idle connections to servers, per worker: taken for the next request, dropped when old.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use config::model::IdleMax;
use routing::balance::{KeyHasher, ServerKey};
use tokio::sync::Notify;

use crate::server::{ServerState, Target};
use crate::shared::Shared;
use crate::site::BackendKey;
use crate::stream::Stream;
use crate::upstream::own::Own;

/// Idle connections per server, at most, over all workers, where `pool-max-conn` says nothing: enough
/// for any steady load (each serves hundreds of requests a second), and a bound for what a burst
/// leaves behind.
const PER_SERVER_MAX: u64 = 256;

/// After so long a node may have had enough of a connection that nobody uses, and may say so (408) or close it:
/// the shortest keep-alive times are seconds. Thousands of servers that take turns are each met again within it.
const RESTED: Duration = Duration::from_millis(400);

/// Entries of a table whose memory is kept however few are in use: a few kilobytes per worker, and no
/// table is made anew for every handful of requests.
const SPARE_MAX: usize = 64;

/// Which connections are alike: where they go and as whom, with nothing in front that names another
/// client. `source` and everything else that decides it is the server's own and never changes.
#[derive(Debug, Clone, Eq)]
pub(crate) struct Alike {
    /// Backend, by position.
    pub(crate) backend: BackendKey,
    /// Server.
    pub(crate) server: ServerKey,
    /// Where it is for this client, now: a server may be where the client came to, and its name may
    /// get another address.
    pub(crate) target: Target,
    /// Which reading of its certificate files decides who it must be and who we are.
    pub(crate) tls_reading: u64,
    /// The name sent by SNI.
    pub(crate) sni: Option<Arc<str>>,
    /// `pool-conn-name`, which counts in its stead.
    pub(crate) name: Option<Arc<str>>,
    /// The PROXY header in front of it: it names one client, and nobody else may go by it.
    pub(crate) header: Option<Arc<[u8]>>,
    /// See [`Self::chosen`].
    pub(crate) chosen: u64,
}

impl Alike {
    /// What a hash must tell apart of what clients choose: their name for the server, and their idea of
    /// its address. Nobody may choose them so that they fall together, so their hash has a key that is
    /// nobody's. Where clients choose nothing, it costs nothing.
    pub(crate) fn chosen(sni: Option<&str>, target: Option<&Target>) -> u64 {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        match (sni, target) {
            (None, None) => 0,
            chosen => KEY.hash_one(chosen),
        }
    }
}

impl PartialEq for Alike {
    fn eq(&self, other: &Self) -> bool {
        self.chosen == other.chosen
            && self.backend == other.backend
            && self.server == other.server
            && self.target == other.target
            && self.tls_reading == other.tls_reading
            && self.name == other.name
            && (self.name.is_some() || self.sni == other.sni)
            && self.header == other.header
    }
}

/// What else decides is the same for all but a few connections of a server, and a server has few.
impl Hash for Alike {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.backend.0) << 32 ^ u64::from(self.server.0));
        if self.chosen != 0 {
            state.write_u64(self.chosen);
        }
    }
}

type Pools = HashMap<Alike, Vec<Idle>, BuildHasherDefault<KeyHasher>>;

/// A connection between two requests.
pub(super) struct Idle {
    stream: Stream,
    since: Instant,
    /// How many requests it has carried.
    uses: u32,
    counted: Counted,
}

/// A connection after a whole exchange.
pub(crate) struct Used {
    /// Its stream.
    pub(crate) stream: Stream,
    /// How many requests it has carried.
    pub(crate) uses: u32,
    /// When the last one was done.
    pub(crate) since: Instant,
}

/// Who may use a connection next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Whoever wants such a one.
    Anybody,
    /// The client it served.
    Client,
}

impl Idle {
    /// `None` where it is not to be kept.
    pub(super) fn new(
        server: &Arc<ServerState>,
        kept: Used,
        next: For,
        shared: &Arc<Shared>,
    ) -> Option<Self> {
        let pooling = &server.conf.pooling;
        let Used {
            stream,
            uses,
            since,
        } = kept;
        let worn_out = pooling.reuse_max.is_some_and(|max| uses > max);
        let unwanted = pooling.purge_delay.is_zero() || server.removed.load(Relaxed);
        if worn_out || unwanted || shared.stopping.load(Relaxed) {
            return None;
        }
        Some(Self {
            stream,
            since,
            uses,
            counted: Counted::new(server, next, shared)?,
        })
    }

    /// The connection and how many requests it has carried, if it is usable: the kernel is asked, for
    /// one system call, also on behalf of the client that it served. An answer that nobody waited for
    /// may have come in the very moment, and must be read by nobody. Of one that was in use just now it is
    /// enough that no event has told of anything so far: what a node adds to an answer comes with it, and
    /// is found when it is put back.
    pub(super) fn into_usable(mut self, now: Instant) -> Option<(Stream, u32)> {
        let usable = !self.counted.0.removed.load(Relaxed)
            && match now.saturating_duration_since(self.since) < RESTED {
                true => self.stream.seems_quiet(),
                false => self.stream.is_quiet_now(),
            };
        usable.then_some((self.stream, self.uses))
    }

    /// Whether it is neither old (`pool-purge-delay`) nor ended by the server.
    fn is_fresh(&mut self) -> bool {
        let age_max = self.counted.0.conf.pooling.purge_delay;
        self.since.elapsed() < age_max && self.stream.seems_quiet()
    }
}

/// One idle connection in the gauges of its server and of the process.
struct Counted(Arc<ServerState>, Arc<Shared>);

impl Counted {
    /// `None` where there are enough already.
    fn new(server: &Arc<ServerState>, next: For, shared: &Arc<Shared>) -> Option<Self> {
        let max = match (server.conf.pooling.idle_max, next) {
            (IdleMax::Default, For::Anybody) => PER_SERVER_MAX,
            // There are as many as clients, which have their own limits.
            (IdleMax::Default, For::Client) | (IdleMax::Unlimited, _) => u64::MAX,
            (IdleMax::Count(count), _) => u64::from(count),
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
    by_server: RefCell<Pools>,
    /// What clients have to themselves.
    owned: RefCell<Vec<Weak<Own>>>,
    /// Whether whoever sweeps waits for something to sweep, and how it is told.
    unswept: Cell<bool>,
    filled: Notify,
}

impl IdlePool {
    /// The connection used last that is still usable, and how many requests it has carried; `proven`
    /// ones have carried more than one.
    pub(crate) fn take(&self, alike: &Alike, proven: bool, now: Instant) -> Option<(Stream, u32)> {
        let mut pools = self.by_server.borrow_mut();
        let pool = pools.get_mut(alike)?;
        while let Some(at) = pool.iter().rposition(|idle| !proven || idle.uses > 1) {
            if let Some(usable) = pool.remove(at).into_usable(now) {
                return Some(usable);
            }
        }
        None
    }

    /// Keeps a connection after a whole exchange.
    pub(crate) fn give(
        &self,
        alike: Alike,
        server: &Arc<ServerState>,
        connection: Used,
        shared: &Arc<Shared>,
    ) {
        if let Some(idle) = Idle::new(server, connection, For::Anybody, shared) {
            let mut pools = self.by_server.borrow_mut();
            pools.entry(alike).or_default().push(idle);
            self.wake_sweeper();
        }
    }

    /// A set flag is all that most requests pay for it.
    fn wake_sweeper(&self) {
        if self.unswept.take() {
            self.filled.notify_one();
        }
    }

    /// Keeps a connection for its client alone.
    pub(crate) fn give_own(
        &self,
        own: &Rc<Own>,
        alike: Alike,
        server: &Arc<ServerState>,
        connection: Used,
        shared: &Arc<Shared>,
    ) {
        if let Some(idle) = Idle::new(server, connection, For::Client, shared)
            && own.keep(alike, idle)
        {
            self.owned.borrow_mut().push(Rc::downgrade(own));
            self.wake_sweeper();
        }
    }

    /// Drops all of some servers, which are given in ascending order.
    pub(crate) fn drop_servers(&self, backend: BackendKey, servers: &[ServerKey]) {
        let is_one = |server: &ServerKey| servers.binary_search(server).is_ok();
        self.retain(|alike, _| alike.backend != backend || !is_one(&alike.server));
    }

    /// Drops all of a server so that their ports are free at once: an end in good order would keep
    /// each for a minute. Nothing is on its way on them.
    pub(crate) fn free_ports(&self, backend: BackendKey, server: ServerKey) {
        self.retain(|alike, idle| {
            let keep = alike.backend != backend || alike.server != server;
            if !keep {
                idle.stream.reset_on_close();
            }
            keep
        });
    }

    /// Drops all.
    pub(crate) fn clear(&self) {
        self.retain(|_, _| false);
    }

    /// Runs for ever: drops what was idle too long. Sleeps through while there is nothing.
    pub(crate) async fn sweep_every(&self, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.retain(|_, idle| idle.is_fresh());
            if self.by_server.borrow().is_empty() && self.owned.borrow().is_empty() {
                self.unswept.set(true);
                self.filled.notified().await;
            }
        }
    }

    /// Drops what `keep` does not want, whoever might use it, and the memory of a burst.
    fn retain(&self, mut keep: impl FnMut(&Alike, &mut Idle) -> bool) {
        let mut pools = self.by_server.borrow_mut();
        pools.retain(|alike, pool| {
            pool.retain_mut(|idle| keep(alike, idle));
            !pool.is_empty()
        });
        if pools.capacity() > SPARE_MAX.max(4 * pools.len()) {
            pools.shrink_to_fit();
        }
        let mut owned = self.owned.borrow_mut();
        owned.retain(|own| own.upgrade().is_some_and(|own| own.retain(&mut keep)));
        if owned.capacity() > SPARE_MAX.max(4 * owned.len()) {
            owned.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_addresses_that_clients_choose_do_not_fall_together() {
        let hash = |sni: Option<String>, port: Option<u16>| {
            let target = Target::Inet(([127, 0, 0, 1], port.unwrap_or(1)).into());
            let alike = Alike {
                backend: BackendKey(1),
                server: ServerKey(2),
                chosen: Alike::chosen(sni.as_deref(), port.map(|_| &target)),
                target,
                tls_reading: 0,
                sni: sni.map(Into::into),
                name: None,
                header: None,
            };
            BuildHasherDefault::<KeyHasher>::default().hash_one(&alike)
        };
        let names = (0..1000).map(|it| hash(Some(format!("{it}.example")), None));
        let ports = (0..1000).map(|it| hash(None, Some(it)));
        let all: HashSet<u64> = names.chain(ports).collect();
        assert_eq!(all.len(), 2000);
        // A table looks at the lowest bits, and at the highest.
        let low: HashSet<u64> = all.iter().map(|hash| hash % 256).collect();
        let high: HashSet<u64> = all.iter().map(|hash| hash >> 57).collect();
        assert!(low.len() > 240 && high.len() > 120);
        assert_eq!(hash(None, None), hash(None, None));
    }

    #[test]
    fn backends_and_servers_do_not_fall_together() {
        let hash = |backend: u64, server: u64| {
            let mut hasher = KeyHasher::default();
            hasher.write_u64(backend << 32 ^ server);
            hasher.finish()
        };
        let all = (0..64).flat_map(|backend| (0..64).map(move |server| (backend, server)));
        let all: HashSet<u64> = all.map(|(backend, server)| hash(backend, server)).collect();
        assert_eq!(all.len(), 4096);
        let low: HashSet<u64> = all.iter().map(|hash| hash % 4096).collect();
        let high: HashSet<u64> = all.iter().map(|hash| hash >> 57).collect();
        assert!(
            low.len() > 2000 && high.len() == 128,
            "{} {}",
            low.len(),
            high.len()
        );
    }
}
