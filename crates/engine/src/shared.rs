//! What all threads of an engine share: the site, process-wide counters and limits, the logger.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::model::{Config, LogTarget, Logging};
use tokio::sync::{Semaphore, broadcast, mpsc};

use crate::clock::{self, Clock};
use crate::counters::{Counters, Gauge, Rate};
use crate::dns::counts::AllCounts;
use crate::handover::{Listening, PredecessorSeen};
use crate::kept_tables::KeptTables;
use crate::listen::pace::Paces;
use crate::log::{Level, Logger, Message, Origin};
use crate::logins::Prover;
use crate::news_desk::NewsDesk;
use crate::offload::Offload;
use crate::prepare::host_name;
use crate::reload::{AtStart, Reloads};
use crate::resolver::Resolver;
use crate::site::Site;
use crate::snapshot::{ControlStatus, Event};
use crate::spread::Spread;
use crate::tls::reload::Reloading;
use crate::worker;

/// Shared by all threads.
pub(crate) struct Shared {
    /// The site in force.
    pub(crate) site: ArcSwap<Site>,
    /// What reloads need to know of what was before; held by the one under way.
    pub(crate) reloads: Mutex<Reloads>,
    /// What reloads cannot change.
    pub(crate) at_start: AtStart,
    /// How many were carried out, and how many failed.
    pub(crate) reloads_done: AtomicU64,
    /// See `reloads_done`.
    pub(crate) reloads_failed: AtomicU64,
    /// When the engine started, since 1970.
    pub(crate) started: Duration,
    /// Time since start.
    pub(crate) clock: Clock,
    /// Variables of the process.
    pub(crate) variables: routing::variables::ProcessVariables,
    /// Where stick tables are kept.
    pub(crate) kept_tables: Option<KeptTables>,
    /// Process-wide counts.
    pub(crate) counters: Counters,
    /// Client connections now.
    pub(crate) connections: Gauge,
    /// Who of the workers has how many of them, and who gets the next one.
    pub(crate) spread: Spread,
    /// Connections a second.
    pub(crate) connection_rate: Rate,
    /// TLS connections of clients now.
    pub(crate) tls_connections: Gauge,
    /// Tunnels now.
    pub(crate) tunnels: Gauge,
    /// Places left below the process's `maxconn`.
    pub(crate) room: Arc<Semaphore>,
    /// Places left below `maxsslconn`, where it is given.
    pub(crate) tls_room: Option<Arc<Semaphore>>,
    /// How many a second.
    pub(crate) paces: Paces,
    /// Descriptors the process may hold.
    pub(crate) descriptors: u64,
    /// The process's `maxconn` in force.
    pub(crate) maxconn: AtomicU64,
    /// What it was started with, which descriptors and memory were found to be enough for.
    pub(crate) maxconn_max: u64,
    /// Idle connections to servers now, and how many are kept at most.
    pub(crate) idle: AtomicU64,
    /// See `idle`.
    pub(crate) idle_max: u64,
    /// Sessions that were given a number (`%rt`).
    pub(crate) numbered: AtomicU64,
    /// This machine's name.
    pub(crate) hostname: Arc<str>,
    /// How many workers there are.
    pub(crate) workers: usize,
    /// Where log lines go.
    pub(crate) logger: Logger,
    /// Who log lines come from, by `log-tag`.
    pub(crate) origins: ArcSwap<Origins>,
    /// `log-tag` where none is configured.
    pub(crate) tag: Arc<str>,
    /// Whether our own messages go to stderr as well (not with `-q`, not in the background).
    pub(crate) to_stderr: bool,
    /// What nameservers have answered.
    pub(crate) nameservers: Arc<AllCounts>,
    /// Names to addresses.
    pub(crate) resolver: Resolver,
    /// Who looks at everything at once, for pages and metrics.
    pub(crate) snapshots: Offload,
    /// Who checks passwords.
    pub(crate) prover: Prover,
    /// Taking over certificates, CAs and keys that have changed on disk.
    pub(crate) reloading: Reloading,
    /// What the control loop wants to know.
    pub(crate) events: broadcast::Sender<Event>,
    /// What the control loop said of itself.
    pub(crate) control: Mutex<ControlStatus>,
    /// What clients are accepted on.
    pub(crate) listening: Listening,
    /// The process before this one.
    pub(crate) predecessor: PredecessorSeen,
    /// Whether another process is about to take this one's place.
    pub(crate) handing_over: AtomicBool,
    /// Who takes news of the fleet; `None`: there is no fleet, or nobody looks after it yet.
    pub(crate) news_desk: Mutex<Option<Arc<dyn NewsDesk>>>,
    /// Whether no new connections are taken any more.
    pub(crate) stopping: AtomicBool,
    /// Whether anything was routed yet.
    pub(crate) routed: AtomicBool,
    /// The workers' inboxes; set once they run.
    pub(crate) inboxes: OnceLock<Vec<mpsc::UnboundedSender<worker::Message>>>,
    /// The manager's inbox; set once it runs.
    pub(crate) manager: OnceLock<mpsc::UnboundedSender<crate::manager::Order>>,
}

impl Shared {
    /// The writer index of the manager thread in [`Counters`].
    pub(crate) fn writers(workers: usize) -> usize {
        workers + 1
    }

    /// Sends a line of a proxy to its targets.
    pub(crate) fn send_line(
        &self,
        logging: &Logging,
        level: Level,
        now: Duration,
        message: Message<'_>,
    ) {
        let origins = self.origins.load();
        let origin = origins.of(logging.tag.as_ref());
        self.logger
            .send(&logging.targets, origin, level, now, message);
    }

    /// Writes a line about the process itself.
    pub(crate) fn say(&self, level: Level, message: &str) {
        let site = self.site.load();
        self.write_to(&site.config.global.log, None, level, message);
    }

    /// Writes a line about a proxy: to its log targets, and to stderr like HAProxy in the foreground.
    pub(crate) fn say_to(&self, logging: &Logging, level: Level, message: &str) {
        self.write_to(&logging.targets, logging.tag.as_ref(), level, message);
    }

    fn write_to(&self, targets: &[LogTarget], tag: Option<&Arc<str>>, level: Level, message: &str) {
        let now = clock::wall();
        let origins = self.origins.load();
        let origin = origins.of(tag);
        let line = message.as_bytes().into();
        self.logger.send(targets, origin, level, now, line);
        if self.to_stderr {
            let word = match level {
                Level::Emergency | Level::Alert | Level::Critical | Level::Error => "ALERT",
                Level::Warning => "WARNING",
                Level::Notice | Level::Info | Level::Debug => "NOTICE",
            };
            let pad = " ".repeat(9 - word.len());
            self.logger.send_stderr(&format!(
                "[{word}]{pad}({}) : {message}",
                std::process::id()
            ));
        }
    }

    /// Tells every worker. An engine that is not running yet, or not any more, has none.
    pub(crate) fn tell_workers(&self, message: &worker::Message) {
        for inbox in self.inboxes.get().into_iter().flatten() {
            // A worker that has ended needs no telling.
            let _ = inbox.send(message.clone());
        }
    }

    /// The same without this one.
    pub(crate) fn tell_other_workers(&self, but: usize, message: &worker::Message) {
        let inboxes = self.inboxes.get().into_iter().flatten().enumerate();
        for (_, inbox) in inboxes.filter(|(index, _)| *index != but) {
            let _ = inbox.send(message.clone());
        }
    }

    /// Tells one of them.
    pub(crate) fn tell_worker(&self, worker: usize, message: worker::Message) {
        if let Some(inbox) = self.inboxes.get().and_then(|all| all.get(worker)) {
            // A worker that has ended needs no telling.
            let _ = inbox.send(message);
        }
    }

    /// Tells the control loop; nobody may be listening.
    pub(crate) fn report(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// The first session that was routed is an event.
    pub(crate) fn note_routed(&self) {
        if !self.routed.load(Relaxed) && !self.routed.swap(true, Relaxed) {
            self.report(Event::FirstRouted);
        }
    }

    /// A lock whose holder only copies.
    pub(crate) fn control(&self) -> MutexGuard<'_, ControlStatus> {
        self.control
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A lock whose holder only copies.
    pub(crate) fn news_desk(&self) -> MutexGuard<'_, Option<Arc<dyn NewsDesk>>> {
        self.news_desk
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Log origins by tag, made once.
pub(crate) struct Origins {
    default: Origin,
    by_tag: HashMap<Arc<str>, Origin>,
}

impl Origins {
    /// What log lines say of us; `program`: the tag where none is configured.
    pub(crate) fn of_config(config: &Config, program: &Arc<str>) -> Self {
        let fronts = config.frontends.iter().map(|it| &it.proxy);
        let backs = config.backends.iter().map(|it| &it.proxy);
        let tags = fronts.chain(backs).filter_map(|it| it.log.tag.as_ref());
        let global = &config.global;
        let tag = global.log_tag.as_ref().unwrap_or(program);
        let host = global.log_send_hostname.clone();
        let default = Origin {
            tag: tag.clone(),
            host: host.map(|name| name.unwrap_or_else(host_name)),
            pid: std::process::id(),
        };
        let tagged = |tag: &Arc<str>| Origin {
            tag: tag.clone(),
            ..default.clone()
        };
        Self {
            by_tag: tags.map(|tag| (tag.clone(), tagged(tag))).collect(),
            default,
        }
    }

    fn of(&self, tag: Option<&Arc<str>>) -> &Origin {
        tag.and_then(|tag| self.by_tag.get(tag))
            .unwrap_or(&self.default)
    }
}
