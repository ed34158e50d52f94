//! The current snapshot: configuration, frontends, backends, and the state that lives beside them.
//!
//! A [`Site`] is swapped whole, never edited in place; sessions under way finish on theirs. What
//! changes while it is in force (servers, queues, counters) hangs below it, each behind one lock or
//! in atomics.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use config::model::{Backend, BindAddress, Config, Frontend, Server};
use routing::balance::{Ask, Balancer, ServerKey};
use tokio::sync::{Semaphore, oneshot};

use crate::command::Refused;
use crate::counters::{Counters, Gauge, Rate};
use crate::server::{ServerOrigin, ServerState};
use crate::tls::{ClientTls, ServerTlsConfig};

/// A configuration in force.
pub(crate) struct Site {
    /// What was configured.
    pub(crate) config: Arc<Config>,
    /// Frontends, as in the configuration.
    pub(crate) frontends: Vec<Arc<FrontendState>>,
    /// Backends, as in the configuration.
    pub(crate) backends: Vec<Arc<BackendState>>,
}

impl Site {
    /// Whether one of its listeners is at this address of this machine.
    pub(crate) fn listens_at(&self, address: SocketAddr) -> bool {
        let binds = self
            .config
            .frontends
            .iter()
            .flat_map(|frontend| &frontend.binds);
        binds
            .filter_map(|bind| match bind.address {
                BindAddress::Inet(bound) => Some(bound),
                _ => None,
            })
            .any(|bound| {
                let here = bound.ip().is_unspecified() || bound.ip() == address.ip();
                here && bound.port() == address.port()
            })
    }

    /// Whether any `stats` line was written.
    pub(crate) fn has_stats(&self) -> bool {
        let fronts = self.config.frontends.iter().map(|f| &f.proxy);
        let backs = self.config.backends.iter().map(|b| &b.proxy);
        fronts.chain(backs).any(|proxy| proxy.stats.is_some())
    }
}

/// A frontend in force.
pub(crate) struct FrontendState {
    config: Arc<Config>,
    index: usize,
    /// Numeric id, as stats show it.
    pub(crate) id: u32,
    /// What it counts.
    pub(crate) counters: Counters,
    /// Client connections now.
    pub(crate) sessions: Gauge,
    /// Tunnels now.
    pub(crate) tunnels: Gauge,
    /// Connections a second.
    pub(crate) session_rate: Rate,
    /// Requests a second.
    pub(crate) request_rate: Rate,
    /// Places left below `maxconn`.
    pub(crate) room: Arc<Semaphore>,
    /// `maxconn` in force.
    pub(crate) sessions_limit: u64,
    /// Whether it takes connections.
    pub(crate) open: AtomicBool,
    /// TLS of each `bind`, by position.
    pub(crate) tls: Vec<Option<Arc<ServerTlsConfig>>>,
}

impl FrontendState {
    /// Built by `prepare`, with the TLS it loaded.
    pub(crate) fn new(
        config: &Arc<Config>,
        index: usize,
        id: u32,
        writers: usize,
        maxconn: u64,
        tls: Vec<Option<Arc<ServerTlsConfig>>>,
    ) -> Self {
        let limit = config.frontends[index]
            .maxconn
            .map_or(maxconn, u64::from)
            .min(maxconn);
        let places = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        Self {
            config: config.clone(),
            index,
            id,
            counters: Counters::new(writers),
            sessions: Gauge::default(),
            tunnels: Gauge::default(),
            session_rate: Rate::default(),
            request_rate: Rate::default(),
            room: Arc::new(Semaphore::new(places)),
            sessions_limit: limit,
            open: AtomicBool::new(false),
            tls,
        }
    }

    /// What was configured.
    pub(crate) fn conf(&self) -> &Frontend {
        &self.config.frontends[self.index]
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.conf().proxy.name
    }
}

/// A backend in force.
pub(crate) struct BackendState {
    config: Arc<Config>,
    index: usize,
    /// Numeric id, as stats show it.
    pub(crate) id: u32,
    /// What it counts.
    pub(crate) counters: Counters,
    /// Sessions now.
    pub(crate) sessions: Gauge,
    /// Tunnels now.
    pub(crate) tunnels: Gauge,
    /// Requests waiting for a server now.
    pub(crate) queued: Gauge,
    /// Sessions a second.
    pub(crate) session_rate: Rate,
    /// Up or down, and since when.
    history: Mutex<History>,
    pool: Mutex<Pool>,
}

/// Whether a backend can serve, and what became of it over time. Times are since start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct History {
    /// Whether any server can be used.
    pub(crate) up: bool,
    /// When that last changed.
    pub(crate) last_change: Duration,
    /// How often it went down.
    pub(crate) downs: u64,
    /// Time spent down before the last change.
    pub(crate) downtime: Duration,
}

/// A queue shorter than this is not looked through for those who gave up.
const PRUNE_MIN: usize = 64;

/// The servers of a backend and those who wait for one.
struct Pool {
    balancer: Balancer,
    servers: BTreeMap<ServerKey, Arc<ServerState>>,
    by_name: HashMap<Arc<str>, ServerKey>,
    /// First come, first served. Bounded by the process's `maxconn`: each is a client connection.
    waiting: VecDeque<oneshot::Sender<Slot>>,
    /// Length of `waiting` at which those who gave up are looked for next.
    prune_at: usize,
    next_key: u32,
}

/// What became of a wish for a server.
pub(crate) enum Assigned {
    /// Here it is.
    Slot(Slot),
    /// All are full: wait here, at this position (1: the next).
    Wait(oneshot::Receiver<Slot>, usize),
    /// No server can be used.
    NoServer,
}

/// How many servers are left, as HAProxy's log lines say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Usable active servers.
    pub(crate) active: usize,
    /// Usable backup servers.
    pub(crate) backup: usize,
}

impl BackendState {
    /// Without servers; they are added one by one.
    pub(crate) fn new(config: &Arc<Config>, index: usize, id: u32, writers: usize) -> Self {
        Self {
            config: config.clone(),
            index,
            id,
            counters: Counters::new(writers),
            sessions: Gauge::default(),
            tunnels: Gauge::default(),
            queued: Gauge::default(),
            session_rate: Rate::default(),
            history: Mutex::new(History {
                up: true,
                ..History::default()
            }),
            pool: Mutex::new(Pool {
                balancer: Balancer::new(config.backends[index].balance),
                servers: BTreeMap::new(),
                by_name: HashMap::new(),
                waiting: VecDeque::new(),
                prune_at: PRUNE_MIN,
                next_key: 0,
            }),
        }
    }

    /// What was configured.
    pub(crate) fn conf(&self) -> &Backend {
        &self.config.backends[self.index]
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.conf().proxy.name
    }

    /// Its position in the configuration.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// A lock whose holder never panics: plain data moves and arithmetic alone.
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A lock whose holder never panics.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Its servers, in the order they were added.
    pub(crate) fn servers(&self) -> Vec<Arc<ServerState>> {
        self.pool().servers.values().cloned().collect()
    }

    /// The server of that name.
    pub(crate) fn server(&self, name: &str) -> Result<Arc<ServerState>, Refused> {
        let pool = self.pool();
        let key = pool.by_name.get(name);
        let found = key.and_then(|key| pool.servers.get(key)).cloned();
        found.ok_or_else(|| Refused::NoSuchServer(self.name().clone(), name.into()))
    }

    /// Usable servers and their weight.
    pub(crate) fn capacity(&self) -> (Left, u64) {
        let pool = self.pool();
        let left = Left {
            active: pool.balancer.active_count(),
            backup: pool.balancer.backup_count(),
        };
        (left, pool.balancer.total_weight())
    }

    /// How many servers share the load now (`nbsrv`).
    pub(crate) fn usable_count(&self) -> u64 {
        self.pool().balancer.usable_count() as u64
    }

    /// Adds a server, and says under which key.
    pub(crate) fn add(
        &self,
        server: Server,
        tls: Option<ClientTls>,
        origin: ServerOrigin,
    ) -> Result<Arc<ServerState>, Refused> {
        let mut pool = self.pool();
        if pool.by_name.contains_key(&server.name) {
            return Err(Refused::NameTaken(self.name().clone(), server.name));
        }
        let key = ServerKey(pool.next_key);
        pool.next_key += 1;
        // As HAProxy counts them: from 1, in the order they were added.
        let id = server.id.unwrap_or(pool.next_key);
        let state = Arc::new(ServerState::new(key, id, server, tls, origin));
        pool.servers.insert(key, state.clone());
        pool.by_name.insert(state.conf.name.clone(), key);
        pool.balancer.upsert(state.candidate());
        Ok(state)
    }

    /// Removes a server that has no session.
    pub(crate) fn remove(&self, name: &str) -> Result<Arc<ServerState>, Refused> {
        let server = self.server(name)?;
        let mut pool = self.pool();
        let sessions = server.sessions.now();
        if sessions > 0 {
            return Err(Refused::Busy(sessions));
        }
        pool.balancer.remove(server.key);
        pool.servers.remove(&server.key);
        pool.by_name.remove(&server.conf.name);
        server.removed.store(true, Relaxed);
        server.recheck.notify_one();
        server.went_down.notify_one();
        Ok(server)
    }

    /// To be called after anything that decides whether a server takes sessions has changed: tells
    /// the balancer, and serves those who wait if there is room now.
    pub(crate) fn refresh(self: &Arc<Self>, server: &ServerState) {
        let mut pool = self.pool();
        if pool.servers.contains_key(&server.key) {
            pool.balancer.upsert(server.candidate());
        }
        self.serve_waiting(&mut pool);
    }

    /// Gives what has room to those who wait, by the same choice as for anybody.
    fn serve_waiting(self: &Arc<Self>, pool: &mut Pool) {
        while !pool.waiting.is_empty() {
            let Some(server) = pool.pick(&Ask::default()) else {
                return;
            };
            if !self.hand_over(pool, server) {
                return;
            }
        }
    }

    /// Finds a server for a session, or a place in the queue.
    pub(crate) fn assign(self: &Arc<Self>, ask: &Ask) -> Assigned {
        let mut pool = self.pool();
        // Who comes later does not overtake those who wait.
        if pool.waiting.is_empty()
            && let Some(server) = pool.pick(ask)
        {
            return Assigned::Slot(self.occupy(&mut pool, server));
        }
        if pool.balancer.usable_count() == 0 {
            return Assigned::NoServer;
        }
        let (sender, receiver) = oneshot::channel();
        pool.forget_gone();
        pool.waiting.push_back(sender);
        Assigned::Wait(receiver, pool.waiting.len())
    }

    fn occupy(self: &Arc<Self>, pool: &mut Pool, server: Arc<ServerState>) -> Slot {
        let sessions = server.sessions.enter();
        pool.balancer.sessions_changed(server.key, sessions);
        Slot {
            backend: self.clone(),
            server,
            occupied: true,
        }
    }

    /// Gives `server` to the first who still waits; `false` when nobody does.
    fn hand_over(self: &Arc<Self>, pool: &mut Pool, server: Arc<ServerState>) -> bool {
        while let Some(waiter) = pool.waiting.pop_front() {
            if waiter.is_closed() {
                continue;
            }
            let slot = self.occupy(pool, server.clone());
            match waiter.send(slot) {
                Ok(()) => return true,
                Err(slot) => slot.vacate(pool),
            }
        }
        false
    }
}

impl Pool {
    /// Drops those who gave up. Looking is put off until the queue has doubled since the last look,
    /// so that joining a long queue stays cheap.
    fn forget_gone(&mut self) {
        if self.waiting.len() >= self.prune_at {
            self.waiting.retain(|waiter| !waiter.is_closed());
            self.prune_at = PRUNE_MIN.max(self.waiting.len() * 2);
        }
    }

    fn pick(&mut self, ask: &Ask) -> Option<Arc<ServerState>> {
        let servers = &self.servers;
        let has_room = |key: ServerKey| servers.get(&key).is_some_and(|s| s.has_room());
        let key = self.balancer.pick(ask, &has_room)?;
        self.servers.get(&key).cloned()
    }
}

/// A session's place on a server. Dropping it frees the place, or passes it on to who waits.
pub(crate) struct Slot {
    backend: Arc<BackendState>,
    server: Arc<ServerState>,
    occupied: bool,
}

impl Slot {
    /// The server.
    pub(crate) fn server(&self) -> &Arc<ServerState> {
        &self.server
    }

    /// Frees the place while the pool is locked already.
    fn vacate(mut self, pool: &mut Pool) {
        self.occupied = false;
        let sessions = self.server.sessions.leave();
        pool.balancer.sessions_changed(self.server.key, sessions);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.occupied {
            return;
        }
        let mut pool = self.backend.pool();
        let sessions = self.server.sessions.leave();
        pool.balancer.sessions_changed(self.server.key, sessions);
        self.backend.serve_waiting(&mut pool);
    }
}
