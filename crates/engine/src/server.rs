//! A server in force: what was configured, and the state that lives beside it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use config::model::{
    AbstractName, InitState, MappedHost, MappedPort, RingKey, Server, ServerAddress, ServerTls,
};
use routing::balance::{Candidate, SCALE, ServerKey, crc32, ring_point};
use routing::health::{Health, Initial};
use tokio::sync::Notify;

use crate::check_overrides::CheckOverrides;
use crate::command::Admin;
use crate::counters::{Counters, Gauge, Rate};
use crate::drain::Drain;
use crate::tls::{ClientTls, NodeTls};
use crate::warmup::Warmth;

/// Where a server comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerOrigin {
    /// Whether it was added while running.
    pub(crate) dynamic: bool,
    /// How many threads count.
    pub(crate) writers: usize,
    /// Time since start.
    pub(crate) now: Duration,
}

/// A server in force: as it is configured now, and its life, which goes on when that changes.
pub(crate) struct ServerState {
    /// What was configured.
    pub(crate) conf: Server,
    /// Numeric id, as stats show it.
    pub(crate) id: u32,
    /// Whether it was added while running.
    pub(crate) dynamic: bool,
    /// TLS towards it, where anything is known of that.
    tls: Option<ClientTls>,
    /// TLS of its checks.
    pub(crate) check_tls: Option<ClientTls>,
    life: Arc<ServerLife>,
}

impl Deref for ServerState {
    type Target = ServerLife;

    fn deref(&self) -> &ServerLife {
        &self.life
    }
}

/// What of a server outlives a change of its configuration.
pub(crate) struct ServerLife {
    /// Which one, unique in its backend for ever.
    pub(crate) key: ServerKey,
    /// What it counts.
    pub(crate) counters: Counters,
    /// Sessions now, tunnels included. Changed under the pool's lock alone.
    pub(crate) sessions: Gauge,
    /// Requests waiting for it now, and for no other.
    pub(crate) queued: Gauge,
    /// Tunnels now.
    pub(crate) tunnels: Gauge,
    /// Pooled connections now, over all workers.
    pub(crate) idle: AtomicU64,
    /// Sessions a second.
    pub(crate) session_rate: Rate,
    /// Its state by checks and operator.
    pub(crate) health: Mutex<Health>,
    /// How warm it is (`slowstart`).
    pub(crate) warmth: Warmth,
    /// `weight` set by configuration or operator, 0 to 256.
    pub(crate) weight: AtomicU64,
    /// `maxconn` set by configuration, operator or agent; 0: no limit.
    maxconn: AtomicU32,
    /// Seconds since start of its last session, plus one; 0: none yet.
    pub(crate) last_session: AtomicU64,
    /// How it is being emptied, or was.
    pub(crate) drain: ArcSwapOption<Drain>,
    /// Whether it left its backend: its checks stop.
    pub(crate) removed: AtomicBool,
    /// Told when its checks take it down: its name may have another address by now.
    pub(crate) went_down: Notify,
    /// Errors in a row that sessions have seen, where it is observed.
    pub(crate) errors_in_a_row: AtomicU32,
    /// Told when its next check should come as soon as `fastinter` has it.
    pub(crate) hurry: Notify,
    /// Whether a check of it is under way.
    pub(crate) checking: AtomicBool,
    /// When its next check is due, in milliseconds since start; 0: not known yet. Who looks after it from
    /// a reload on keeps to that.
    pub(crate) check_due: AtomicU64,
    /// The same of the next question to its agent.
    pub(crate) agent_due: AtomicU64,
    /// Told when it should be checked at once, or not any more.
    pub(crate) recheck: Notify,
    /// The next port of `source` to come from.
    pub(crate) next_port: AtomicU32,
    /// The certificate it has shown last, in DER: shared by all connections that were shown the same.
    shown: ArcSwapOption<Vec<u8>>,
    /// What an operator has changed of its checks and its agent.
    overrides: ArcSwapOption<CheckOverrides>,
    /// Whether traffic goes over TLS, where an operator has said so.
    tls_wish: AtomicU8,
    /// Whether an operator has given it a name to resolve, `fqdn`.
    has_fqdn: AtomicBool,
    fqdn: ArcSwapOption<(Arc<str>, u16)>,
    /// Told when its name is another one, or nobody's any more.
    pub(crate) renamed: Notify,
    /// Whether an operator has moved it to `moved`.
    is_moved: AtomicBool,
    /// Where an operator has moved it.
    moved: ArcSwapOption<ServerAddress>,
    /// Whether its name had no address any more, which was said.
    pub(crate) was_lost: AtomicBool,
    /// Address of a server given by name, once it resolved.
    resolved: ArcSwapOption<SocketAddr>,
    /// While it is gone from the file and its last sessions have not ended: what an operator had wanted
    /// of it before.
    unlisted: Mutex<Option<routing::health::Admin>>,
}

/// What an operator has said of TLS to a server.
mod tls_wish {
    /// Nothing: the configuration counts.
    pub(super) const NONE: u8 = 0;
    pub(super) const ON: u8 = 1;
    pub(super) const OFF: u8 = 2;
}

/// The health of a server that begins as its configuration says.
fn begin(conf: &Server, origin: ServerOrigin) -> Health {
    let initial = match &conf.check {
        None => Initial::Unchecked,
        Some(_) if origin.dynamic && !conf.disabled => Initial::Down,
        Some(check) => match check.init {
            InitState::Up => Initial::Up,
            InitState::FullyUp => Initial::FullyUp,
            InitState::Down => Initial::Down,
            InitState::FullyDown => Initial::FullyDown,
        },
    };
    let check = conf.check.as_ref().unwrap_or(&conf.check_parameters);
    let mut health = Health::new(check, initial, origin.now);
    if conf.disabled {
        health = health.start_in_maint(origin.now);
        if origin.dynamic {
            // An operator's: checks begin when they say so (`enable health`).
            health.set_checks(false);
        }
    }
    health
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// TCP.
    Inet(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// An abstract one: the whole address.
    Abstract(Vec<u8>),
}

impl ServerState {
    /// Starts as its configuration says: UP until a check fails, or DOWN until one passes if it was
    /// added while running.
    pub(crate) fn new(
        key: ServerKey,
        id: u32,
        conf: Server,
        tls: NodeTls,
        origin: ServerOrigin,
    ) -> Self {
        let health = begin(&conf, origin);
        let life = ServerLife {
            key,
            counters: Counters::new(origin.writers),
            sessions: Gauge::default(),
            queued: Gauge::default(),
            tunnels: Gauge::default(),
            idle: AtomicU64::new(0),
            session_rate: Rate::default(),
            health: Mutex::new(health),
            warmth: Warmth::default(),
            weight: AtomicU64::new(u64::from(conf.weight.value())),
            maxconn: AtomicU32::new(conf.maxconn.unwrap_or(0)),
            last_session: AtomicU64::new(0),
            drain: ArcSwapOption::empty(),
            removed: AtomicBool::new(false),
            checking: AtomicBool::new(false),
            check_due: AtomicU64::new(0),
            agent_due: AtomicU64::new(0),
            went_down: Notify::new(),
            errors_in_a_row: AtomicU32::new(0),
            hurry: Notify::new(),
            recheck: Notify::new(),
            next_port: AtomicU32::new(0),
            shown: ArcSwapOption::empty(),
            overrides: ArcSwapOption::empty(),
            tls_wish: AtomicU8::new(tls_wish::NONE),
            has_fqdn: AtomicBool::new(false),
            fqdn: ArcSwapOption::empty(),
            renamed: Notify::new(),
            is_moved: AtomicBool::new(false),
            moved: ArcSwapOption::empty(),
            was_lost: AtomicBool::new(false),
            resolved: ArcSwapOption::empty(),
            unlisted: Mutex::new(None),
        };
        Self {
            id,
            dynamic: origin.dynamic,
            tls: tls.traffic,
            check_tls: tls.checks,
            life: Arc::new(life),
            conf,
        }
    }

    /// The same server as the file has it from now on. What the file says anew holds at once; what an
    /// operator, an agent or a check has changed of the rest stays as it is.
    pub(crate) fn succeed(&self, conf: Server, id: u32, tls: NodeTls, now: Duration) -> Self {
        let before = &self.conf;
        if conf.weight != before.weight || self.dynamic {
            self.weight.store(u64::from(conf.weight.value()), Relaxed);
        }
        if conf.maxconn != before.maxconn || self.dynamic {
            self.set_maxconn(conf.maxconn.unwrap_or(0));
        }
        if conf.tls.is_some() != before.tls.is_some() {
            self.tls_wish.store(tls_wish::NONE, Relaxed);
        }
        let moves = conf.address != before.address;
        if moves {
            self.has_fqdn.store(false, Relaxed);
            self.is_moved.store(false, Relaxed);
            self.moved.store(None);
            self.resolved.store(None);
        }
        let origin = ServerOrigin {
            dynamic: false,
            writers: 0,
            now,
        };
        {
            let mut health = self.health();
            if moves || conf.check.is_some() != before.check.is_some() {
                // What was known was known of another place, or not from checks.
                let admin = health.admin();
                *health = begin(&conf, origin);
                if !conf.disabled {
                    health.set_admin(admin, now);
                }
                self.check_due.store(0, Relaxed);
            } else if let Some(check) = &conf.check {
                health.set_thresholds(check);
            }
        }
        Self {
            id,
            dynamic: false,
            tls: tls.traffic,
            check_tls: tls.checks,
            life: self.life.clone(),
            conf,
        }
    }

    /// It is gone from the file, and finishes what it has; what an operator had wanted of it is kept.
    pub(crate) fn unlist(&self) {
        let admin = self.health().admin();
        self.unlisted_lock().get_or_insert(admin);
    }

    /// It is in the file again: what an operator had wanted of it before.
    pub(crate) fn relist(&self) -> Option<routing::health::Admin> {
        self.unlisted_lock().take()
    }

    /// Whether it is gone from the file.
    pub(crate) fn is_unlisted(&self) -> bool {
        self.unlisted_lock().is_some()
    }

    fn unlisted_lock(&self) -> MutexGuard<'_, Option<routing::health::Admin>> {
        // Its holder only copies.
        self.unlisted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What an operator has changed of its checks and its agent.
    pub(crate) fn check_overrides(&self) -> CheckOverrides {
        self.overrides
            .load()
            .as_deref()
            .cloned()
            .unwrap_or_default()
    }

    /// Changes more of it.
    pub(crate) fn override_checks(&self, news: &CheckOverrides) {
        self.overrides.rcu(|known| match known {
            Some(known) => Some(Arc::new(known.and(news))),
            None => Some(Arc::new(news.clone())),
        });
    }

    /// A lock whose holder never panics: the state machine is total.
    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether checks, operator and name resolution let it take new sessions.
    pub(crate) fn accepts_new(&self) -> bool {
        self.is_resolved() && self.health().accepts_new()
    }

    /// The limit of sessions that was set; `None`: none.
    pub(crate) fn maxconn(&self) -> Option<u32> {
        match self.maxconn.load(Relaxed) {
            0 => None,
            limit => Some(limit),
        }
    }

    /// Sets another limit; 0 is none.
    pub(crate) fn set_maxconn(&self, limit: u32) {
        self.maxconn.store(limit, Relaxed);
    }

    /// Whether it is below the limit of sessions that holds now: `maxconn`, or less while the backend
    /// has few (`minconn`, of `backend_sessions` and `fullconn`) or it warms up (`slowstart`).
    pub(crate) fn has_room(&self, backend_sessions: u64, fullconn: u64) -> bool {
        let Some(maxconn) = self.maxconn().map(u64::from) else {
            return true;
        };
        let limit = match self.conf.minconn.map(u64::from) {
            Some(minconn) if backend_sessions < fullconn => {
                minconn.max(backend_sessions * maxconn / fullconn)
            }
            _ => maxconn,
        };
        self.sessions.now() < self.warmth.limit(limit)
    }

    /// Its weight when it is that warm (`slowstart`).
    pub(crate) fn weight_at(&self, ramp: u16) -> u64 {
        (self.weight.load(Relaxed) * u64::from(ramp)).div_ceil(u64::from(SCALE))
    }

    /// What balancing must know of it.
    pub(crate) fn candidate(&self) -> Candidate {
        Candidate {
            key: self.key,
            id: self.id,
            point: self.ring_point(),
            ramp: self.warmth.ramp(),
            weight: u16::try_from(self.weight.load(Relaxed)).unwrap_or(256),
            usable: self.accepts_new(),
            backup: self.conf.backup,
            sessions: self.sessions.now(),
        }
    }

    /// Where its points on the ring of consistent hashing begin (`hash-key`): by its address or its
    /// `guid` where that is wanted and known, else by its id.
    fn ring_point(&self) -> u32 {
        let (with_port, address) = match self.conf.ring_key {
            RingKey::Id => return ring_point(self.id),
            RingKey::Id32 => return self.id,
            RingKey::Addr => (false, self.target(None)),
            RingKey::AddrPort => (true, self.target(None)),
            RingKey::Guid => match &self.conf.guid {
                Some(guid) => return crc32(guid.as_bytes()),
                None => return ring_point(self.id),
            },
        };
        let Some(Target::Inet(address)) = address else {
            return ring_point(self.id);
        };
        let mut key = match address.ip() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        if with_port {
            key.extend_from_slice(&address.port().to_be_bytes());
        }
        crc32(&key)
    }

    /// Whether its address is known.
    pub(crate) fn is_resolved(&self) -> bool {
        !self.has_name() || self.resolved.load().is_some() || self.is_moved.load(Relaxed)
    }

    /// The certificate that a connection was shown, kept once for all that are shown the same.
    pub(crate) fn certificate_shown(&self, der: &[u8]) -> Arc<Vec<u8>> {
        if let Some(known) = self.shown.load_full()
            && **known == *der
        {
            return known;
        }
        let new = Arc::new(der.to_vec());
        self.shown.store(Some(new.clone()));
        new
    }

    /// Its address: of the configuration, or where an operator has moved it.
    pub(crate) fn address(&self) -> Cow<'_, ServerAddress> {
        if self.is_moved.load(Relaxed)
            && let Some(moved) = self.moved.load_full()
        {
            return Cow::Owned(ServerAddress::clone(&moved));
        }
        Cow::Borrowed(&self.conf.address)
    }

    /// Moves it. Its backend must have new places for it, and its idle connections must go.
    pub(crate) fn move_to(&self, address: ServerAddress) {
        self.moved.store(Some(Arc::new(address)));
        self.is_moved.store(true, Relaxed);
    }

    /// The name it was given by, and the port that goes with it.
    pub(crate) fn name_to_resolve(&self) -> Option<(Arc<str>, u16)> {
        if let Some(fqdn) = self.fqdn() {
            return Some((fqdn.0.clone(), fqdn.1));
        }
        match &self.conf.address {
            ServerAddress::Name(name, port) => Some((name.clone(), *port)),
            // Its port is another matter.
            ServerAddress::Mapped(MappedHost::Name(name), _) => Some((name.clone(), 0)),
            _ => None,
        }
    }

    /// Whether it was given by name.
    fn has_name(&self) -> bool {
        let by_configuration = matches!(
            self.conf.address,
            ServerAddress::Name(..) | ServerAddress::Mapped(MappedHost::Name(_), _)
        );
        by_configuration || self.has_fqdn.load(Relaxed)
    }

    fn fqdn(&self) -> Option<Arc<(Arc<str>, u16)>> {
        match self.has_fqdn.load(Relaxed) {
            true => self.fqdn.load_full(),
            false => None,
        }
    }

    /// An operator gives it a name, of which `current` is the address until somebody says another one.
    pub(crate) fn set_name_to_resolve(&self, name: Arc<str>, current: Option<SocketAddr>) {
        let port = current.map_or(0, |current| current.port());
        self.fqdn.store(Some(Arc::new((name, port))));
        self.has_fqdn.store(true, Relaxed);
        self.is_moved.store(false, Relaxed);
        self.renamed.notify_waiters();
    }

    /// TLS to it, where traffic goes over that.
    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref().filter(|_| self.uses_tls())
    }

    fn uses_tls(&self) -> bool {
        match self.tls_wish.load(Relaxed) {
            tls_wish::NONE => self.conf.tls.is_some(),
            wish => wish == tls_wish::ON,
        }
    }

    /// TLS to it, whether traffic goes over that or not.
    pub(crate) fn tls_known(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// What was said of TLS to it, where traffic goes over that.
    pub(crate) fn tls_settings(&self) -> Option<&ServerTls> {
        let known = self.conf.tls.as_ref().unwrap_or(&self.conf.tls_parameters);
        self.tls().map(|_| known)
    }

    /// Switches it; `false`: nothing is known of it.
    pub(crate) fn set_tls(&self, wanted: bool) -> bool {
        if self.tls.is_none() {
            return false;
        }
        let wish = if wanted { tls_wish::ON } else { tls_wish::OFF };
        self.tls_wish.store(wish, Relaxed);
        true
    }

    /// `srv_use_ssl` of a state file: 1, 0, or -1 where the configuration has said `no-ssl`.
    pub(crate) fn use_tls_shown(&self) -> i8 {
        let said = self.tls_wish.load(Relaxed) != tls_wish::NONE;
        match self.tls().is_some() {
            true => 1,
            false if self.conf.no_tls && !said => -1,
            false => 0,
        }
    }

    /// The same server under another name: sessions, counters and states go on.
    pub(crate) fn renamed(&self, name: &str) -> Self {
        let mut conf = self.conf.clone();
        conf.name = name.into();
        Self {
            id: self.id,
            dynamic: self.dynamic,
            tls: self.tls.clone(),
            check_tls: self.check_tls.clone(),
            life: self.life.clone(),
            conf,
        }
    }

    /// It has left its backend: whoever waits for anything of it looks.
    pub(crate) fn wake_all(&self) {
        self.recheck.notify_one();
        self.went_down.notify_one();
        self.renamed.notify_waiters();
    }

    /// Sets the address of a server given by name. Its backend's
    /// [`set_address`](crate::site::BackendState::set_address) does, which knows what depends on it.
    pub(crate) fn set_resolved(&self, address: Option<SocketAddr>) {
        self.resolved.store(address.map(Arc::new));
    }

    /// The address that its name has, once it resolved.
    pub(crate) fn resolved_to(&self) -> Option<Target> {
        self.resolved.load().as_deref().copied().map(Target::Inet)
    }

    /// Whether where to connect depends on the client.
    pub(crate) fn is_where_clients_say(&self) -> bool {
        matches!(
            self.conf.address,
            ServerAddress::Mapped(MappedHost::Client, _)
                | ServerAddress::Mapped(_, MappedPort::Client(_))
        )
    }

    /// Where to connect for a client that came to `client`. `None` while its name does not resolve,
    /// and where a client came to no address of which a part is needed.
    pub(crate) fn target(&self, client: Option<SocketAddr>) -> Option<Target> {
        let resolved = || self.resolved.load().as_deref().copied();
        if self.has_fqdn.load(Relaxed) && !self.is_moved.load(Relaxed) {
            return resolved().map(Target::Inet);
        }
        match &*self.address() {
            ServerAddress::Inet(address) => Some(Target::Inet(*address)),
            ServerAddress::Name(..) => resolved().map(Target::Inet),
            ServerAddress::Mapped(host, port) => {
                let ip = match host {
                    MappedHost::Ip(ip) => *ip,
                    MappedHost::Name(_) => resolved()?.ip(),
                    MappedHost::Client => client?.ip(),
                };
                let port = match port {
                    MappedPort::Fixed(port) => *port,
                    MappedPort::Client(offset) => {
                        let port = i32::from(client?.port()) + offset;
                        u16::try_from(port).ok()?
                    }
                };
                Some(Target::Inet(SocketAddr::new(ip, port)))
            }
            ServerAddress::Unix(path) => Some(Target::Unix(path.clone())),
            ServerAddress::Abstract(name) => Some(Target::Abstract(abstract_name(name))),
        }
    }
}

/// Bytes of the address of a Unix socket on Linux.
const SUN_PATH_LEN: usize = 108;

/// The address of an abstract socket: it begins with a zero byte, and fills the whole address with more
/// of them where it is padded, as HAProxy's.
pub(crate) fn abstract_name(name: &AbstractName) -> Vec<u8> {
    let mut address = vec![0];
    address.extend_from_slice(name.name.as_bytes());
    if name.padded {
        address.resize(SUN_PATH_LEN, 0);
    }
    address
}

/// The same, the other way.
pub(crate) fn admin_shown(admin: routing::health::Admin) -> Admin {
    match admin {
        routing::health::Admin::Ready => Admin::Ready,
        routing::health::Admin::Drain => Admin::Drain,
        routing::health::Admin::Maint => Admin::Maint,
    }
}

/// The same word on both sides of the crate border.
pub(crate) fn admin_of(admin: Admin) -> routing::health::Admin {
    match admin {
        Admin::Ready => routing::health::Admin::Ready,
        Admin::Drain => routing::health::Admin::Drain,
        Admin::Maint => routing::health::Admin::Maint,
    }
}
