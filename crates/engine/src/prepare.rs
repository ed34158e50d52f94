//! From a checked configuration to a running engine, in three steps that can each fail in their own
//! way: load files ([`Prepared`]), open sockets ([`Bound`]), start threads ([`Engine`]).
//!
//! `-c` takes the first step alone; a daemon goes into the background between the second and the
//! third.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::diagnostics::Diagnostic;
use config::model::{Backend, Config, Server};
use routing::variables::ProcessVariables;
use tokio::sync::{Semaphore, broadcast, mpsc};

use crate::clock::Clock;
use crate::counters::{Counters, Gauge, Rate};
use crate::followers;
use crate::generation;
use crate::handle::Handle;
use crate::handover::{Inheritance, Listening, PredecessorSeen};
use crate::kept_tables::KeptTables;
use crate::listen::open::There;
use crate::listen::pace::{Pace, Paces};
use crate::listen::posting::{Post, Posting, PostingKey, Postings};
use crate::listen::{self, Listener};
use crate::log::{Level, Logger};
use crate::logins::Prover;
use crate::manager::{self, Order};
use crate::offload::Offload;
use crate::page;
use crate::reload::{AtStart, Reloads};
use crate::resolver::Resolver;
use crate::server_states::StateFiles;
use crate::shared::{Origins, Shared};
use crate::site::{
    FrontendLife, FrontendParts, FrontendState, Generation, Site, Wording, configured_limit,
};
use crate::snapshot::ControlStatus;
use crate::spread::Spread;
use crate::stick::StickTables;
use crate::tls::reload::Reloading;
use crate::tls::{Common, NodeTls, ServerTlsConfig, Shelf};
use crate::worker;

/// Events kept for a receiver that is slow; it is told when it missed some.
const EVENTS_MAX: usize = 1024;

/// How long the last log lines may take on their way out.
const LOG_FLUSH_MAX: Duration = Duration::from_secs(1);

/// Connections where neither `maxconn` nor the descriptor limit says otherwise.
const MAXCONN_DEFAULT: u64 = 2000;

/// Descriptors kept back for listeners, checks, logs, the state file and the control plane.
const DESCRIPTORS_KEPT: u64 = 100;

/// What a configuration needs from disk, loaded and checked. Opens no socket.
pub struct Prepared {
    pub(crate) config: Arc<Config>,
    pub(crate) bind_tls: Vec<Vec<Option<Arc<ServerTlsConfig>>>>,
    pub(crate) server_tls: Vec<Vec<NodeTls>>,
    pub(crate) common: Arc<Common>,
    pub(crate) shelf: Arc<Shelf>,
    warnings: Vec<Diagnostic>,
    /// What of it takes effect at the next start alone; sentences.
    pub(crate) notes: Vec<String>,
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
    /// Listening sockets of the process that this one takes over from.
    pub inheritance: Inheritance,
}

impl Prepared {
    /// Loads certificates and roots; every problem is reported, each at its line.
    pub fn new(config: Arc<Config>) -> Result<Self, Vec<Diagnostic>> {
        Self::load(config, None)
    }

    /// The same beside a running engine: sessions of TLS can be resumed over it.
    pub(crate) fn load(
        config: Arc<Config>,
        running: Option<&Site>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let global = &config.global.tls;
        let common = Arc::new(match running {
            Some(running) => running.common.succeed(global),
            None => Common::new(global),
        });
        let mut bind_tls = Vec::new();
        for frontend in &config.frontends {
            let mut of_frontend = Vec::new();
            for bind in &frontend.binds {
                let mut told = Vec::new();
                let mode = frontend.proxy.mode;
                let before = running.and_then(|running| running.tls_at(bind));
                let load = |tls| ServerTlsConfig::load(tls, mode, &common, before, &mut told);
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
                notes: Vec::new(),
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
        let clock = Clock::new();
        let workers = workers(&self.config);
        let maxconn = maxconn(&self.config, presence.descriptors);
        let writers = Shared::writers(workers);
        let [frontend_ids, backend_ids] = generation::numeric_ids(&self.config);
        let config = self.config;
        let backends = self.server_tls.into_iter().zip(backend_ids).enumerate();
        let backends = backends.map(|(index, (tls, id))| {
            generation::backend(&config, index, id, maxconn, writers, tls, Duration::ZERO)
        });
        let generation = Arc::new(Generation {
            has_followers: generation::has_followers(&config).into(),
            backends: backends.collect(),
            stick: StickTables::new(&config, clock),
            common: self.common,
            shelf: self.shelf,
            node: generation::node(&config),
            config: config.clone(),
        });
        let mut frontends = Vec::new();
        let mut listeners: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
        let mut problems = Vec::new();
        let mut addresses = Vec::new();
        let mut postings = Postings::default();
        for (index, tls) in self.bind_tls.into_iter().enumerate() {
            let conf = &config.frontends[index];
            let binds = if conf.proxy.disabled {
                &[]
            } else {
                &*conf.binds
            };
            let limit = configured_limit(conf, maxconn);
            let parts = FrontendParts {
                index,
                id: frontend_ids[index],
                postings: binds.iter().map(|_| PostingKey::fresh()).collect(),
                tls,
                life: Arc::new(FrontendLife::new(writers, limit)),
                wording: Wording::fresh(),
            };
            let state = Arc::new(FrontendState::new(&generation, parts, writers, None));
            for (at, bind) in binds.iter().enumerate() {
                let posting = Arc::new(Posting::new(state.postings[at], bind));
                posting.set(Post {
                    frontend: state.clone(),
                    bind: at,
                });
                match listen::open(
                    conf,
                    bind,
                    &posting,
                    workers,
                    &There::Before(&presence.inheritance),
                ) {
                    Ok(opened) => {
                        addresses.extend(opened.first().and_then(Listener::local_addr));
                        for (number, listener) in opened.into_iter().enumerate() {
                            // A process before this one may have had more workers.
                            listeners[number % workers].push(listener);
                        }
                    }
                    Err(problem) => {
                        problems.push(format!("Starting frontend {}: {problem}", state.name()));
                    }
                }
                postings.held.push(posting);
            }
            frontends.push(state);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // Before a `chroot` takes them out of reach.
        let states = StateFiles::load(&config);
        let (tables, problem) = KeptTables::open(&config.runtime);
        Ok(Bound {
            tables,
            tables_problem: problem,
            config,
            site: Site {
                generation,
                frontends,
            },
            clock,
            postings,
            listeners,
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
pub(crate) fn workers(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.global.nbthread.map_or(cores, usize::from).max(1)
}

/// `maxconn`, or what the descriptors allow: two for each proxied connection.
pub(crate) fn maxconn(config: &Config, descriptors: u64) -> u64 {
    match config.global.maxconn {
        Some(maxconn) if maxconn > 0 => u64::from(maxconn),
        _ => match descriptors.saturating_sub(DESCRIPTORS_KEPT) / 2 {
            0 => MAXCONN_DEFAULT,
            places => places,
        },
    }
}

/// Idle connections to servers, at most: what is left of the descriptors when as many clients are there as
/// may be, each with a server, and all servers are being checked, so that they never keep clients or checks
/// out; half of all at most. Where that leaves less, an eighth: not all clients have a connection to a server at
/// any moment.
fn idle_max(descriptors: u64, maxconn: u64, checked: u64) -> u64 {
    let taken = maxconn.saturating_mul(2).saturating_add(checked);
    let left = descriptors.saturating_sub(taken.saturating_add(DESCRIPTORS_KEPT));
    left.clamp(descriptors / 8, descriptors / 2)
}

/// Listening sockets are open; nothing runs yet.
pub struct Bound {
    config: Arc<Config>,
    site: Site,
    clock: Clock,
    postings: Postings,
    /// Per worker.
    listeners: Vec<Vec<Listener>>,
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
    pub fn run(self) -> std::io::Result<Engine> {
        let workers = self.listeners.len();
        let how = self.config.global.tune.multi_queue;
        let (spread, arrivals) = Spread::new(how, workers);
        let (config, states) = (self.config.clone(), self.states);
        let running = Running {
            config: self.config,
            clock: self.clock,
            presence: self.presence,
            maxconn: self.maxconn,
        };
        let mut tables = self.tables;
        let restored = tables.as_mut().and_then(|it| it.restore(&self.site.stick));
        let tables_problem = self.tables_problem.or(restored);
        let reloads = Reloads::new(&self.site, self.postings);
        let shared = running.share(self.site, reloads, tables, workers, spread)?;
        let shared = Arc::new(shared);
        let mut threads = Vec::new();
        for backend in &shared.site.load().backends {
            states.apply(&config, backend, Duration::ZERO);
        }
        for problem in states.problems.iter().chain(&tables_problem) {
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
}

/// What of a bound engine its shared parts are made of.
struct Running {
    config: Arc<Config>,
    clock: Clock,
    presence: Presence,
    maxconn: u64,
}

impl Running {
    /// What `global` sets. Nothing is known yet but the time.
    fn variables(&self) -> ProcessVariables {
        let process = ProcessVariables::default();
        let global = &self.config.global;
        if !global.variables.is_empty() {
            crate::variables::set_of_process(&process, &global.variables, &global.tune.vars);
        }
        process
    }

    fn share(
        &self,
        site: Site,
        reloads: Reloads,
        kept_tables: Option<KeptTables>,
        workers: usize,
        spread: Spread,
    ) -> std::io::Result<Shared> {
        let clock = self.clock;
        let global = &self.config.global;
        let backends = self.config.backends.iter();
        let checked = backends.map(|it| it.servers.len() as u64).sum();
        let places = usize::try_from(self.maxconn).unwrap_or(usize::MAX);
        Ok(Shared {
            site: ArcSwap::from_pointee(site),
            reloads: Mutex::new(reloads),
            reloads_done: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
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
            at_start: AtStart::of(&self.config),
            descriptors: self.presence.descriptors,
            idle: AtomicU64::new(0),
            idle_max: idle_max(self.presence.descriptors, self.maxconn, checked),
            numbered: AtomicU64::new(0),
            hostname: host_name(),
            workers,
            logger: Logger::start(&self.config, &self.presence.resolver)?,
            origins: ArcSwap::from_pointee(Origins::of_config(&self.config, &self.presence.tag)),
            tag: self.presence.tag.clone(),
            to_stderr: self.presence.to_stderr,
            snapshots: Offload::new(
                "snapshots",
                page::SNAPSHOT_THREADS,
                page::SNAPSHOTS_WAITING_MAX,
            ),
            prover: Prover::new(),
            reloading: Reloading::default(),
            nameservers: Arc::default(),
            resolver: self.presence.resolver.clone(),
            events: broadcast::channel(EVENTS_MAX).0,
            control: Mutex::new(ControlStatus::default()),
            listening: Listening::default(),
            predecessor: PredecessorSeen::default(),
            handing_over: AtomicBool::new(false),
            news_desk: Mutex::default(),
            stopping: AtomicBool::new(false),
            routed: AtomicBool::new(false),
            inboxes: OnceLock::new(),
            manager: OnceLock::new(),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_leave_clients_their_descriptors() {
        let check = |descriptors, maxconn, checked, expected| {
            let is = idle_max(descriptors, maxconn, checked);
            assert_eq!(is, expected, "{descriptors} {maxconn} {checked}");
        };
        check(20_000, 9_950, 0, 2_500);
        check(20_000, 8_000, 0, 3_900);
        check(20_000, 8_000, 1_000, 2_900);
        check(20_000, 2_000, 6_000, 9_900);
        check(20_000, 2_000, 3, 10_000);
        check(4_200, 2_000, 3, 525);
        check(u64::MAX, u64::MAX, u64::MAX, u64::MAX / 8);
    }
}
