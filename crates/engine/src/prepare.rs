//! From a checked configuration to a running engine, in three steps that can each fail in their own
//! way: load files ([`Prepared`]), open sockets ([`Bound`]), start threads ([`Engine`]).
//!
//! `-c` takes the first step alone; a daemon goes into the background between the second and the
//! third.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use config::diagnostics::Diagnostic;
use config::model::{Backend, Config, Server};
use routing::variables::ProcessVariables;
use tokio::sync::{Semaphore, broadcast, mpsc};

use crate::clock::Clock;
use crate::counters::{Counters, Gauge, Rate};
use crate::followers;
use crate::handle::Handle;
use crate::kept_tables::KeptTables;
use crate::listen::pace::{Pace, Paces};
use crate::listen::{self, Listener};
use crate::log::{Level, Logger, Origin};
use crate::logins::Prover;
use crate::manager::{self, Order};
use crate::offload::Offload;
use crate::page;
use crate::resolver::Resolver;
use crate::server::ServerOrigin;
use crate::server_states::StateFiles;
use crate::shared::{Origins, Shared};
use crate::site::{BackendState, FrontendState, Site};
use crate::snapshot::ControlStatus;
use crate::spread::Spread;
use crate::stick::StickTables;
use crate::tls::reload::Reloading;
use crate::tls::{Common, NodeTls, ServerTlsConfig, Shelf};
use crate::worker;

/// Events kept for a receiver that is slow; it is told when it missed some.
const EVENTS_MAX: usize = 1024;

/// How long the last log lines may take on their way out.
const LOG_FLUSH_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// Connections where neither `maxconn` nor the descriptor limit says otherwise.
const MAXCONN_DEFAULT: u64 = 2000;

/// Descriptors kept back for listeners, checks, logs, the state file and the control plane.
const DESCRIPTORS_KEPT: u64 = 100;

/// What a configuration needs from disk, loaded and checked. Opens no socket.
pub struct Prepared {
    config: Arc<Config>,
    bind_tls: Vec<Vec<Option<Arc<ServerTlsConfig>>>>,
    server_tls: Vec<Vec<NodeTls>>,
    common: Arc<Common>,
    shelf: Arc<Shelf>,
    warnings: Vec<Diagnostic>,
}

/// How the process presents itself.
#[derive(Clone)]
pub struct Presence {
    /// `log-tag` where none is configured: the name the program was started as.
    pub tag: Arc<str>,
    /// Whether our own messages also go to stderr: in the foreground and without `-q`.
    pub to_stderr: bool,
    /// For servers known by name; started before a `chroot`.
    pub resolver: Resolver,
    /// Descriptors the process may hold, for the default `maxconn`.
    pub descriptors: u64,
}

impl Prepared {
    /// Loads certificates and roots; every problem is reported, each at its line.
    pub fn new(config: Arc<Config>) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let common = Arc::new(Common::new(&config.global.tls));
        let mut bind_tls = Vec::new();
        for frontend in &config.frontends {
            let mut of_frontend = Vec::new();
            for bind in &frontend.binds {
                let mut told = Vec::new();
                let mode = frontend.proxy.mode;
                let load = |tls| ServerTlsConfig::load(tls, mode, &common, &mut told);
                let tls = bind.tls.as_ref().map(load).transpose();
                let warning = |message| Diagnostic::warning(bind.span, message);
                warnings.extend(told.into_iter().map(warning));
                of_frontend.push(tls.map(|tls| tls.map(Arc::new)).unwrap_or_else(|message| {
                    problems.push(Diagnostic::alert(bind.span, message));
                    None
                }));
            }
            bind_tls.push(of_frontend);
        }
        let shelf = Arc::new(Shelf::new(&config.global.tls));
        preload(&config, &shelf);
        let mut server_tls = Vec::new();
        for backend in &config.backends {
            let load = |server: &Server| match client_tls(backend, server, &shelf) {
                Ok(tls) => tls,
                Err(message) => {
                    problems.push(Diagnostic::alert(server.span, message));
                    NodeTls::default()
                }
            };
            server_tls.push(backend.servers.iter().map(load).collect());
        }
        if problems.is_empty() {
            Ok(Self {
                config,
                bind_tls,
                server_tls,
                common,
                shelf,
                warnings,
            })
        } else {
            Err(problems)
        }
    }

    /// What is not as it was meant but no reason to stop.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Opens all listening sockets; every one that cannot be opened is reported.
    pub fn bind(self, presence: Presence) -> Result<Bound, Vec<String>> {
        let workers = workers(&self.config);
        let maxconn = maxconn(&self.config, presence.descriptors);
        let writers = Shared::writers(workers);
        let [frontend_ids, _] = numeric_ids(&self.config);
        let mut frontends = Vec::new();
        let mut listeners: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
        let mut problems = Vec::new();
        let mut addresses = Vec::new();
        for (index, tls) in self.bind_tls.into_iter().enumerate() {
            let id = frontend_ids[index];
            let state = FrontendState::new(&self.config, index, id, writers, maxconn, tls);
            let state = Arc::new(state);
            let disabled = state.conf().proxy.disabled;
            for bind in 0..if disabled {
                0
            } else {
                state.conf().binds.len()
            } {
                match listen::open(&state, bind, workers) {
                    Ok(opened) => {
                        addresses.extend(opened.first().and_then(Listener::local_addr));
                        for (worker, listener) in opened.into_iter().enumerate() {
                            listeners[worker].push(listener);
                        }
                    }
                    Err(problem) => {
                        problems.push(format!("Starting frontend {}: {problem}", state.name()));
                    }
                }
            }
            frontends.push(state);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let (server_tls, config) = (self.server_tls, self.config);
        // Before a `chroot` takes them out of reach.
        let states = StateFiles::load(&config);
        let (tables, problem) = KeptTables::open(&config.runtime);
        let reloading = Reloading::new(self.common, self.shelf);
        Ok(Bound {
            tables,
            tables_problem: problem,
            config,
            frontends,
            listeners,
            server_tls,
            reloading,
            presence,
            maxconn,
            addresses,
            states,
        })
    }
}

/// Reads the roots that servers added later may need, while their files are in reach. What cannot be
/// read now is reported when it is needed.
fn preload(config: &Config, shelf: &Shelf) {
    if config.global.chroot.is_some() {
        for backend in &config.backends {
            let _ = shelf
                .roots
                .roots(backend.default_server_tls.ca_file.as_deref());
        }
    }
}

/// TLS towards a server, where it has any; the sentence is for its line.
pub(crate) fn client_tls(
    backend: &Backend,
    server: &Server,
    shelf: &Shelf,
) -> Result<NodeTls, String> {
    let steps = server.checks.as_ref().unwrap_or(&backend.checks);
    NodeTls::load(server, steps, shelf)
        .map_err(|why| format!("server {}/{}: {why}", backend.proxy.name, server.name))
}

/// `nbthread`, or one worker per core this process may use.
fn workers(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.global.nbthread.map_or(cores, usize::from).max(1)
}

/// `maxconn`, or what the descriptors allow: two for each proxied connection.
fn maxconn(config: &Config, descriptors: u64) -> u64 {
    match config.global.maxconn {
        Some(maxconn) if maxconn > 0 => u64::from(maxconn),
        _ => match descriptors.saturating_sub(DESCRIPTORS_KEPT) / 2 {
            0 => MAXCONN_DEFAULT,
            places => places,
        },
    }
}

/// The numbers stats show, of frontends and of backends: `id`, else the next free one in file order,
/// as HAProxy counts, where both halves of a `listen` share one.
fn numeric_ids(config: &Config) -> [Vec<u32>; 2] {
    let proxies = || {
        let frontends = config.frontends.iter().map(|it| &it.proxy);
        frontends.chain(config.backends.iter().map(|it| &it.proxy))
    };
    let taken: BTreeSet<u32> = proxies().filter_map(|it| it.id).collect();
    let mut ids: BTreeMap<_, _> = proxies().map(|it| (it.span, it.id)).collect();
    // A `stats socket` has a frontend of its own in HAProxy, which comes first.
    let mut next = match config.global.runtime_api.sockets.is_empty() {
        true => 1,
        false => 2,
    };
    for id in ids.values_mut().filter(|id| id.is_none()) {
        while taken.contains(&next) {
            next += 1;
        }
        *id = Some(next);
        next += 1;
    }
    let id = |span| ids.get(&span).copied().flatten().unwrap_or(0);
    let frontends = config.frontends.iter().map(|it| id(it.proxy.span));
    let backends = config.backends.iter().map(|it| id(it.proxy.span));
    [frontends.collect(), backends.collect()]
}

/// Listening sockets are open; nothing runs yet.
pub struct Bound {
    config: Arc<Config>,
    frontends: Vec<Arc<FrontendState>>,
    /// Per worker.
    listeners: Vec<Vec<Listener>>,
    server_tls: Vec<Vec<NodeTls>>,
    reloading: Reloading,
    presence: Presence,
    maxconn: u64,
    addresses: Vec<std::net::SocketAddr>,
    states: StateFiles,
    tables: Option<KeptTables>,
    /// What is wrong with that file.
    tables_problem: Option<String>,
}

impl Bound {
    /// The addresses listened on, in file order; Unix sockets aside.
    pub fn addresses(&self) -> &[std::net::SocketAddr] {
        &self.addresses
    }

    /// Client connections that are allowed at once.
    pub fn maxconn(&self) -> u64 {
        self.maxconn
    }

    /// Starts all threads. Fails only when the system gives no threads or no event queues.
    pub fn run(mut self) -> std::io::Result<Engine> {
        let workers = self.listeners.len();
        let how = self.config.global.tune.multi_queue;
        let (spread, arrivals) = Spread::new(how, workers);
        let shared = Arc::new(self.share(workers, spread)?);
        let mut threads = Vec::new();
        for backend in &shared.site.load().backends {
            self.states
                .apply(&self.config, backend, std::time::Duration::ZERO);
        }
        for problem in self.states.problems.iter().chain(&self.tables_problem) {
            shared.say(Level::Warning, problem);
        }
        followers::settle_all(&shared);
        let (manager, manager_inbox) = mpsc::unbounded_channel();
        for backend in &shared.site.load().backends {
            for server in backend.servers() {
                // The receiver is in our hands still.
                let _ = manager.send(Order::Mind(backend.clone(), server));
            }
            manager::note_capacity(&shared, backend);
        }
        let _ = shared.manager.set(manager);
        threads.push(spawn("manager", {
            let shared = shared.clone();
            move || manager::run(shared, manager_inbox)
        })?);
        let mut inboxes = Vec::new();
        let places = self.listeners.into_iter().zip(arrivals).enumerate();
        for (index, (listeners, arrivals)) in places {
            let (sender, inbox) = mpsc::unbounded_channel();
            inboxes.push(sender);
            threads.push(spawn(&format!("worker-{index}"), {
                let shared = shared.clone();
                move || worker::run(index, shared, listeners, inbox, arrivals)
            })?);
        }
        let _ = shared.inboxes.set(inboxes);
        Ok(Engine {
            handle: Handle::new(shared),
            threads,
        })
    }

    /// What `global` sets. Nothing is known yet but the time.
    fn variables(&self) -> ProcessVariables {
        let process = ProcessVariables::default();
        let global = &self.config.global;
        if !global.variables.is_empty() {
            crate::variables::set_of_process(&process, &global.variables, &global.tune.vars);
        }
        process
    }

    fn share(&mut self, workers: usize, spread: Spread) -> std::io::Result<Shared> {
        let clock = Clock::new();
        let stick = StickTables::new(&self.config, clock);
        let mut kept_tables = self.tables.take();
        let restored = kept_tables.as_mut().and_then(|it| it.restore(&stick));
        self.tables_problem = self.tables_problem.take().or(restored);
        let backends = self.backends(workers);
        let global = &self.config.global;
        let places = usize::try_from(self.maxconn).unwrap_or(usize::MAX);
        Ok(Shared {
            site: ArcSwap::from_pointee(Site {
                config: self.config.clone(),
                frontends: self.frontends.clone(),
                has_followers: has_followers(&self.config).into(),
                backends,
            }),
            stick,
            kept_tables,
            started: crate::clock::wall(),
            clock,
            variables: self.variables(),
            counters: Counters::new(Shared::writers(workers)),
            connections: Gauge::default(),
            spread,
            connection_rate: Rate::default(),
            tls_connections: Gauge::default(),
            tunnels: Gauge::default(),
            room: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            tls_room: global
                .maxsslconn
                .map(|places| Arc::new(Semaphore::new(places as usize))),
            paces: Paces {
                connections: Pace::changeable(global.maxconnrate),
                sessions: Pace::changeable(global.maxsessrate),
                tls: Pace::changeable(global.maxsslrate),
            },
            maxconn: self.maxconn.into(),
            maxconn_max: self.maxconn,
            descriptors: self.presence.descriptors,
            // An eighth of the descriptors: idle connections must never keep clients out.
            idle: AtomicU64::new(0),
            idle_max: self.presence.descriptors / 8,
            numbered: AtomicU64::new(0),
            hostname: host_name(),
            workers,
            logger: Logger::start(&self.config, &self.presence.resolver)?,
            origins: self.origins(),
            to_stderr: self.presence.to_stderr,
            snapshots: Offload::new(
                "snapshots",
                page::SNAPSHOT_THREADS,
                page::SNAPSHOTS_WAITING_MAX,
            ),
            prover: Prover::new(),
            reloading: self.reloading.clone(),
            resolver: self.presence.resolver.clone(),
            node: global.node.clone().unwrap_or_else(host_name),
            events: broadcast::channel(EVENTS_MAX).0,
            control: Mutex::new(ControlStatus::default()),
            stopping: AtomicBool::new(false),
            routed: AtomicBool::new(false),
            inboxes: OnceLock::new(),
            manager: OnceLock::new(),
        })
    }

    /// What log lines say of us, by tag.
    fn origins(&self) -> Origins {
        let fronts = self.config.frontends.iter().map(|it| &it.proxy);
        let backs = self.config.backends.iter().map(|it| &it.proxy);
        let tags = fronts.chain(backs).filter_map(|it| it.log.tag.as_ref());
        let global = &self.config.global;
        let tag = global.log_tag.as_ref().unwrap_or(&self.presence.tag);
        let host = global.log_send_hostname.clone();
        let origin = Origin {
            tag: tag.clone(),
            host: host.map(|name| name.unwrap_or_else(host_name)),
            pid: std::process::id(),
        };
        Origins::new(origin, tags)
    }

    /// `fullconn`, or a tenth of what the frontends that may lead to the backend let in (manual 4.2).
    fn fullconn(&self, index: usize) -> u64 {
        if let Some(fullconn) = self.config.backends[index].fullconn {
            return u64::from(fullconn);
        }
        let feeding = self.frontends.iter().filter(|frontend| {
            let conf = frontend.conf();
            // Computed names do not count (manual 4.2, "fullconn").
            let ruled = conf
                .use_backend
                .iter()
                .filter_map(|rule| rule.target.known());
            let mut targets = ruled.chain(conf.default_backend);
            targets.any(|target| target.0 == index)
        });
        let sessions: u64 = feeding.map(|frontend| frontend.sessions_limit()).sum();
        sessions.div_ceil(10).max(1)
    }

    fn backends(&self, workers: usize) -> Vec<Arc<BackendState>> {
        let writers = Shared::writers(workers);
        let [_, ids] = numeric_ids(&self.config);
        let mut backends = Vec::new();
        for (index, conf) in self.config.backends.iter().enumerate() {
            let id = ids[index];
            let fullconn = self.fullconn(index);
            let state = BackendState::new(&self.config, index, id, writers, fullconn);
            for (position, server) in conf.servers.iter().enumerate() {
                let now = std::time::Duration::ZERO;
                let origin = ServerOrigin {
                    dynamic: false,
                    writers,
                    now,
                };
                let tls = self.server_tls[index][position].clone();
                // Names are unique in a checked configuration.
                let _ = state.add(server.clone(), tls, origin);
            }
            backends.push(Arc::new(state));
        }
        backends
    }
}

/// Whether any server's state is another one's.
fn has_followers(config: &Config) -> bool {
    let mut servers = config.backends.iter().flat_map(|it| &it.servers);
    servers.any(|server| server.track.is_some())
}

/// The machine's name, for logs and the stats page.
pub(crate) fn host_name() -> Arc<str> {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into()
}

fn spawn(
    name: &str,
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> std::io::Result<JoinHandle<std::io::Result<()>>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

/// A running engine.
pub struct Engine {
    handle: Handle,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Engine {
    /// The door into it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until it has stopped, after [`crate::command::Command::SoftStop`] or `HardStop`. The
    /// error says which thread ended by itself and why.
    pub fn wait_stopped(mut self) -> Result<(), String> {
        let manager = self.threads.remove(0);
        let mut wrong = Vec::new();
        for thread in self.threads {
            collect(thread, &mut wrong);
        }
        self.handle.shared().stopping.store(true, Relaxed);
        if let Some(inbox) = self.handle.shared().manager.get() {
            let _ = inbox.send(Order::Stop);
        }
        collect(manager, &mut wrong);
        // Unless that was done when it began to stop.
        if let Some(kept) = &self.handle.shared().kept_tables {
            kept.save(self.handle.shared(), true);
        }
        self.handle.shared().logger.flush(LOG_FLUSH_MAX);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }
}

fn collect(thread: JoinHandle<std::io::Result<()>>, wrong: &mut Vec<String>) {
    let name = thread.thread().name().unwrap_or("?").to_owned();
    match thread.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => wrong.push(format!("thread {name}: {error}")),
        Err(_) => wrong.push(format!("thread {name} panicked")),
    }
}
