//! The current snapshot: configuration, frontends, backends, and the state that lives beside them.
//!
//! A [`Site`] is swapped whole, never edited in place; sessions under way finish on theirs. What
//! changes while it is in force (servers, queues, counters) hangs below it, each behind one lock or
//! in atomics.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use config::model::{Backend, Bind, BindAddress, Config, Frontend, Server};
use routing::balance::ServerKey;
use tokio::sync::{Notify, Semaphore};

use crate::assign::Pool;
use crate::command::Refused;
use crate::counters::{Counters, Gauge, Rate};
use crate::listen::pace::Pace;
use crate::listen::posting::{PostingKey, same_place};
use crate::listener;
pub(crate) use crate::listener::ListenerState;
use crate::server::{ServerOrigin, ServerState};
use crate::stick::StickTables;
use crate::tls::{Common, NodeTls, ServerTlsConfig, Shelf};

/// A configuration in force. A reload makes another one, which takes over what lives on.
pub(crate) struct Site {
    /// All but the frontends.
    pub(crate) generation: Arc<Generation>,
    /// Frontends, as in the configuration.
    pub(crate) frontends: Vec<Arc<FrontendState>>,
}

impl Deref for Site {
    type Target = Generation;

    fn deref(&self) -> &Generation {
        &self.generation
    }
}

/// What the positions in one configuration stand for. Who came in under it keeps it until they are taken
/// over by a newer one, between two requests, or end.
pub(crate) struct Generation {
    /// What was configured.
    pub(crate) config: Arc<Config>,
    /// Whether any server's state is another one's.
    pub(crate) has_followers: AtomicBool,
    /// Backends, as in the configuration.
    pub(crate) backends: Vec<Arc<BackendState>>,
    /// Stick tables, as in the configuration.
    pub(crate) stick: StickTables,
    /// What `bind` lines with TLS share.
    pub(crate) common: Arc<Common>,
    /// What servers with TLS share.
    pub(crate) shelf: Arc<Shelf>,
    /// What the stats page calls this machine.
    pub(crate) node: Arc<str>,
}

impl Generation {
    /// The backend of that key.
    pub(crate) fn backend(&self, key: BackendKey) -> Option<&Arc<BackendState>> {
        self.backends.iter().find(|backend| backend.key == key)
    }

    /// Whether any `stats` line was written.
    pub(crate) fn has_stats(&self) -> bool {
        let fronts = self.config.frontends.iter().map(|f| &f.proxy);
        let backs = self.config.backends.iter().map(|b| &b.proxy);
        fronts.chain(backs).any(|proxy| proxy.stats.is_some())
    }
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

    /// TLS of the `bind` at the same place.
    pub(crate) fn tls_at(&self, wanted: &Bind) -> Option<&ServerTlsConfig> {
        let binds = self.frontends.iter();
        let mut binds = binds.flat_map(|it| it.conf().binds.iter().zip(&it.tls));
        let (_, tls) = binds.find(|(bind, _)| same_place(bind, wanted))?;
        tls.as_deref()
    }

    /// What a connection that came in by this `bind` of a frontend belongs to now; `None`: its address, or
    /// its frontend, is there no more.
    pub(crate) fn successor(
        &self,
        frontend: &FrontendState,
        bind: usize,
    ) -> Option<(&Arc<FrontendState>, usize)> {
        let is_same = |it: &&Arc<FrontendState>| Arc::ptr_eq(&it.life, &frontend.life);
        let now = self.frontends.iter().find(is_same)?;
        let posting = frontend.postings.get(bind)?;
        let bind = now.postings.iter().position(|it| it == posting)?;
        (now.conf().proxy.mode == frontend.conf().proxy.mode).then_some((now, bind))
    }
}

/// Which wording of a configuration a part of it has: two that have the same one say the same, and mean
/// the same by what they name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wording(u64);

impl Wording {
    /// One that nothing else has.
    pub(crate) fn fresh() -> Self {
        Self(WORDINGS.fetch_add(1, Relaxed))
    }
}

/// Wordings so far.
static WORDINGS: AtomicU64 = AtomicU64::new(0);

/// A frontend in force: as it is configured now, and its life, which goes on when that changes.
pub(crate) struct FrontendState {
    config: Arc<Config>,
    /// How it is configured: to be compared.
    pub(crate) wording: Wording,
    /// What its rules and those of its backends mean by what they name.
    pub(crate) generation: Arc<Generation>,
    index: usize,
    /// Numeric id, as stats show it.
    pub(crate) id: u32,
    /// Places left below the `maxconn` of each `bind`, where it has one.
    pub(crate) bind_rooms: Vec<Option<Arc<Semaphore>>>,
    /// Which postings its `bind`s are; none where it is disabled.
    pub(crate) postings: Vec<PostingKey>,
    /// `rate-limit sessions`.
    pub(crate) pace: Option<Arc<Pace>>,
    /// Its listeners, by position of the `bind`; none without `option socket-stats`.
    pub(crate) listeners: Vec<Arc<ListenerState>>,
    /// TLS of each `bind`, by position.
    pub(crate) tls: Vec<Option<Arc<ServerTlsConfig>>>,
    pub(crate) life: Arc<FrontendLife>,
}

impl Deref for FrontendState {
    type Target = FrontendLife;

    fn deref(&self) -> &FrontendLife {
        &self.life
    }
}

/// What of a frontend outlives a change of its configuration.
pub(crate) struct FrontendLife {
    /// What it counts.
    pub(crate) counters: Counters,
    /// Lines that told their own number (`%lc`).
    pub(crate) log_lines: AtomicU64,
    /// Client connections now.
    pub(crate) sessions: Gauge,
    /// Tunnels now.
    pub(crate) tunnels: Gauge,
    /// Connections a second.
    pub(crate) connection_rate: Rate,
    /// Sessions a second.
    pub(crate) session_rate: Rate,
    /// Requests a second.
    pub(crate) request_rate: Rate,
    /// Places left below `maxconn`.
    pub(crate) room: Arc<Semaphore>,
    /// See [`FrontendState::sessions_limit`].
    sessions_limit: AtomicU64,
    /// The same as the files had it last, whatever an operator has set since.
    configured_limit: AtomicU64,
    /// Whether it takes connections.
    pub(crate) open: AtomicBool,
    /// Whether an operator has it wait (`disable frontend`).
    paused: AtomicBool,
    /// Told when it goes on.
    resumed: Notify,
    /// Whether an operator has given it up (`shutdown frontend`).
    shut: AtomicBool,
    /// Told when that is so.
    closing: Notify,
}

impl FrontendLife {
    /// Nothing counted yet; so many connections at once.
    pub(crate) fn new(writers: usize, limit: u64) -> Self {
        let places = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            sessions_limit: limit.into(),
            configured_limit: limit.into(),
            counters: Counters::new(writers),
            log_lines: AtomicU64::new(0),
            sessions: Gauge::default(),
            tunnels: Gauge::default(),
            connection_rate: Rate::default(),
            session_rate: Rate::default(),
            request_rate: Rate::default(),
            room: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            open: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            resumed: Notify::new(),
            shut: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }
}

/// Frontends and backends in force, for those who are on earlier ones.
pub(crate) struct Heirs {
    frontends: HashMap<*const FrontendLife, Arc<FrontendState>>,
    backends: HashMap<BackendKey, Arc<BackendState>>,
}

impl Heirs {
    /// Those of a site.
    pub(crate) fn of(site: &Site) -> Self {
        let frontends = site.frontends.iter();
        let backends = site.backends.iter();
        Self {
            frontends: frontends
                .map(|it| (Arc::as_ptr(&it.life), it.clone()))
                .collect(),
            backends: backends.map(|it| (it.key, it.clone())).collect(),
        }
    }

    /// The same frontend with the same words.
    pub(crate) fn frontend(&self, it: &FrontendState) -> Option<&Arc<FrontendState>> {
        let heir = self.frontends.get(&Arc::as_ptr(&it.life))?;
        (heir.wording == it.wording).then_some(heir)
    }

    /// The same backend with the same words.
    pub(crate) fn backend(&self, it: &BackendState) -> Option<&Arc<BackendState>> {
        let heir = self.backends.get(&it.key)?;
        (heir.wording == it.wording).then_some(heir)
    }
}

/// What [`FrontendState::new`] is made of.
pub(crate) struct FrontendParts {
    /// Its position in the configuration.
    pub(crate) index: usize,
    /// Numeric id, as stats show it.
    pub(crate) id: u32,
    /// Which postings its `bind`s are.
    pub(crate) postings: Vec<PostingKey>,
    /// TLS of each `bind`.
    pub(crate) tls: Vec<Option<Arc<ServerTlsConfig>>>,
    /// Its life, as long as it has one by that name.
    pub(crate) life: Arc<FrontendLife>,
    /// How it is configured.
    pub(crate) wording: Wording,
}

/// `maxconn` of a frontend as the file has it, below that of the process.
pub(crate) fn configured_limit(conf: &Frontend, maxconn: u64) -> u64 {
    conf.maxconn.map_or(maxconn, u64::from).min(maxconn)
}

impl FrontendState {
    /// As it is configured now; `before`: as it was, where it had the same life.
    pub(crate) fn new(
        generation: &Arc<Generation>,
        parts: FrontendParts,
        writers: usize,
        before: Option<&FrontendState>,
    ) -> Self {
        let conf = &generation.config.frontends[parts.index];
        // Made here, so that no request waits for it.
        conf.use_backend.index();
        conf.proxy.http_request.index();
        let former = |at: usize| {
            let before = before?;
            let posting = parts.postings.get(at)?;
            let was = before.postings.iter().position(|it| it == posting)?;
            Some((before, was))
        };
        let counted = if conf.socket_stats || conf.asked.listeners {
            &*conf.binds
        } else {
            &[]
        };
        let listeners = counted.iter().zip(listener::ids(counted)).enumerate();
        let listeners = listeners.map(|(at, (bind, id))| {
            let known = former(at).and_then(|(before, was)| before.listeners.get(was));
            match known.filter(|it| it.is_of(bind, id)) {
                Some(known) => known.clone(),
                None => Arc::new(ListenerState::new(bind, id, writers)),
            }
        });
        let room = |(at, bind): (usize, &Bind)| {
            let places = bind.maxconn?;
            let known =
                former(at).filter(|(it, was)| it.conf().binds[*was].maxconn == bind.maxconn);
            let known = known.and_then(|(before, was)| before.bind_rooms.get(was)?.clone());
            Some(known.unwrap_or_else(|| Arc::new(Semaphore::new(places as usize))))
        };
        let rate = conf.session_rate_max;
        let same_rate = before.filter(|it| it.conf().session_rate_max == rate);
        let pace = same_rate.and_then(|it| it.pace.clone());
        Self {
            config: generation.config.clone(),
            index: parts.index,
            id: parts.id,
            bind_rooms: conf.binds.iter().enumerate().map(room).collect(),
            pace: pace.or_else(|| Pace::new(rate).map(Arc::new)),
            listeners: listeners.collect(),
            tls: parts.tls,
            life: parts.life,
            wording: parts.wording,
            postings: parts.postings,
            generation: generation.clone(),
        }
    }

    /// What was configured.
    pub(crate) fn conf(&self) -> &Frontend {
        &self.config.frontends[self.index]
    }

    /// `maxconn` in force.
    pub(crate) fn sessions_limit(&self) -> u64 {
        self.sessions_limit.load(Relaxed)
    }

    /// Sets another `maxconn`; returns the places to take back from whoever has them.
    pub(crate) fn set_sessions_limit(&self, limit: u64) -> u64 {
        resize(&self.room, &self.sessions_limit, limit)
    }

    /// `maxconn` as another configuration has it. What an operator has set stays, unless that is another one than the
    /// configuration before had. Returns the places to take back.
    pub(crate) fn configure_limit(&self, limit: u64) -> u64 {
        match self.configured_limit.swap(limit, Relaxed) == limit {
            true => 0,
            false => self.set_sessions_limit(limit),
        }
    }

    /// A reload opens again what an operator has closed for ever.
    pub(crate) fn reopen(&self) {
        self.shut.store(false, Relaxed);
    }

    /// Has it close its addresses for ever; `false`: so it has already.
    pub(crate) fn shut(&self) -> bool {
        let news = !self.shut.swap(true, Relaxed);
        self.open.store(false, Relaxed);
        self.closing.notify_waiters();
        news
    }

    /// Whether it was.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Relaxed)
    }

    /// Waits until it is.
    pub(crate) async fn wait_shut(&self) {
        let closing = self.closing.notified();
        if !self.is_shut() {
            closing.await;
        }
    }

    /// Has it take no more connections, or go on; `false`: so it was already.
    pub(crate) fn pause(&self, wanted: bool) -> bool {
        if self.paused.swap(wanted, Relaxed) == wanted {
            return false;
        }
        self.open.store(!wanted, Relaxed);
        if !wanted {
            self.resumed.notify_waiters();
        }
        true
    }

    /// Waits while it is paused.
    pub(crate) async fn wait_resumed(&self) {
        while self.paused.load(Relaxed) {
            let resumed = self.resumed.notified();
            // It may have gone on before somebody waited for that.
            if !self.paused.load(Relaxed) {
                return;
            }
            resumed.await;
        }
    }

    /// One of its addresses takes connections, unless an operator has it wait.
    pub(crate) fn opened(&self) {
        self.open.store(!self.paused.load(Relaxed), Relaxed);
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.conf().proxy.name
    }
}

/// Changes how many places there are below a limit. Those that are in use cannot go at once: returns how
/// many to take back as they become free.
pub(crate) fn resize(room: &Semaphore, limit: &AtomicU64, wanted: u64) -> u64 {
    let before = limit.swap(wanted, Relaxed);
    let places = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    if wanted >= before {
        let space = Semaphore::MAX_PERMITS - room.available_permits();
        room.add_permits(places(wanted - before).min(space));
        return 0;
    }
    let excess = before - wanted;
    excess - room.forget_permits(places(excess)) as u64
}

/// Which backend, for as long as the process runs. A position in a configuration means nothing beside
/// another configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BackendKey(pub(crate) u32);

impl BackendKey {
    /// No backend.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// One that no other backend has.
    pub(crate) fn fresh() -> Self {
        Self(BACKENDS.fetch_add(1, Relaxed))
    }
}

/// Keys given to backends so far.
static BACKENDS: AtomicU32 = AtomicU32::new(0);

/// A backend in force: as it is configured now, and its life, which goes on when that changes.
pub(crate) struct BackendState {
    config: Arc<Config>,
    /// How it is configured: to be compared.
    pub(crate) wording: Wording,
    index: usize,
    /// Numeric id, as stats show it.
    pub(crate) id: u32,
    /// `fullconn` in force: so many sessions make the servers' limits whole (`minconn`).
    pub(crate) fullconn: u64,
    pub(crate) life: Arc<BackendLife>,
}

impl Deref for BackendState {
    type Target = BackendLife;

    fn deref(&self) -> &BackendLife {
        &self.life
    }
}

/// What of a backend outlives a change of its configuration.
pub(crate) struct BackendLife {
    /// Which one.
    pub(crate) key: BackendKey,
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
    /// `unpublish backend`.
    unpublished: AtomicBool,
    /// Keys given to servers so far.
    keys: AtomicU32,
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

/// How many servers are left, as HAProxy's log lines say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Usable active servers.
    pub(crate) active: usize,
    /// Usable backup servers.
    pub(crate) backup: usize,
}

impl BackendLife {
    /// Without servers; they are added one by one.
    pub(crate) fn new(key: BackendKey, conf: &Backend, writers: usize) -> Self {
        Self {
            key,
            counters: Counters::new(writers),
            sessions: Gauge::default(),
            tunnels: Gauge::default(),
            queued: Gauge::default(),
            session_rate: Rate::default(),
            history: Mutex::new(History {
                up: true,
                ..History::default()
            }),
            pool: Mutex::new(Pool::new(conf)),
            unpublished: AtomicBool::new(conf.unpublished),
            keys: AtomicU32::new(0),
        }
    }
}

impl BackendState {
    /// Whether rules of other sections lead to it.
    pub(crate) fn is_public(&self) -> bool {
        !self.unpublished.load(Relaxed) && !self.conf().proxy.disabled
    }

    /// Whether they do from now on (`publish backend`); `false`: it is switched off by its
    /// configuration.
    pub(crate) fn publish(&self, public: bool) -> bool {
        self.unpublished.store(!public, Relaxed);
        !self.conf().proxy.disabled
    }

    /// As it is configured now. Its servers are its life's.
    pub(crate) fn new(
        config: &Arc<Config>,
        index: usize,
        id: u32,
        fullconn: u64,
        (life, wording): (Arc<BackendLife>, Wording),
    ) -> Self {
        config.backends[index].proxy.http_request.index();
        Self {
            config: config.clone(),
            wording,
            index,
            id,
            fullconn,
            life,
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
    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
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
        self.pool().servers().cloned().collect()
    }

    /// Whether it never had one.
    pub(crate) fn never_had_servers(&self) -> bool {
        self.keys.load(Relaxed) == 0
    }

    /// The server of that name, or of that numeric id behind a `#`.
    pub(crate) fn server(&self, name: &str) -> Result<Arc<ServerState>, Refused> {
        let id = name.strip_prefix('#').and_then(|id| id.parse().ok());
        let found = match id {
            Some(id) => self.pool().servers().find(|it| it.id == id).cloned(),
            None => self.pool().server(name).cloned(),
        };
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
        tls: NodeTls,
        origin: ServerOrigin,
    ) -> Result<Arc<ServerState>, Refused> {
        let mut pool = self.pool();
        if pool.server(&server.name).is_some() {
            return Err(Refused::NameTaken(self.name().clone(), server.name));
        }
        let key = ServerKey(self.keys.fetch_add(1, Relaxed));
        let id = match origin.dynamic {
            false => pool.ids.of_file(server.id),
            true => pool.ids.of_newcomer(server.id),
        };
        let state = Arc::new(ServerState::new(key, id, server, tls, origin));
        pool.insert(&state);
        self.note_cookie_value(&mut pool, &state);
        Ok(state)
    }

    /// Sets the address of a server given by name; `None`: it has none.
    pub(crate) fn set_address(&self, server: &ServerState, address: Option<SocketAddr>) {
        let mut pool = self.pool();
        server.set_resolved(address);
        if !server.removed.load(Relaxed) {
            self.note_cookie_value(&mut pool, server);
        }
    }

    /// Removes a server that has no session.
    pub(crate) fn remove(&self, name: &str) -> Result<Arc<ServerState>, Refused> {
        let server = self.server(name)?;
        let mut pool = self.pool();
        let sessions = server.sessions.now();
        if sessions > 0 {
            return Err(Refused::Busy(sessions));
        }
        pool.remove(&server);
        server.removed.store(true, Relaxed);
        server.wake_all();
        Ok(server)
    }
}
