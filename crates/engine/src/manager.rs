//! The manager thread: starts checks and name resolution, ticks rates once a second, and draws the
//! consequences when a server's state changes.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use routing::health::words::{self, Severity, Standing, Who};
use routing::health::{Admin, AgentWord, Change, CheckResult, Verdict, What};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::addresses;
use crate::checks;
use crate::counters::Count;
use crate::dns::names::Names;
use crate::drain::{self, Drain};
use crate::end::Side;
use crate::followers;
use crate::handover::{LEAVING, Leaders};
use crate::log::Level;
use crate::minding::Minding;
use crate::panics;
use crate::reactor;
use crate::server::ServerState;
use crate::shared::Shared;
use crate::site::{BackendKey, BackendState};
use crate::snapshot::Event;
use crate::warmup;
use crate::worker::Message;

/// What the manager can be told.
pub(crate) enum Order {
    /// Look after a new server: resolve and check it.
    Mind(Arc<BackendState>, Arc<ServerState>),
    /// Look after all servers as they are configured now, and after none as they were.
    MindAnew,
    /// Let a server warm up (`slowstart`).
    WarmUp {
        /// Its backend.
        backend: BackendKey,
        /// Its server.
        server: Arc<ServerState>,
        /// Which time it warms up.
        begun: u32,
    },
    /// Take places back below a limit that has become lower, as they become free.
    TakeBack(Arc<Semaphore>, u32),
    /// See when a server that is being emptied is empty.
    WatchDrain(Arc<BackendState>, Arc<ServerState>, Arc<Drain>),
    /// Write stick tables for the last time, where they are kept: what stops has nothing to say any more.
    KeepTables,
    /// Have the kernel spread clients again once sockets that are left are closed.
    LetGo(Leaders),
    /// End whatever is left after this time.
    HardStopAfter(Duration),
    /// End.
    Stop,
}

/// Runs the manager on this thread until it is told to stop.
pub(crate) fn run(
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Order>,
) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(reactor::alongside(manage(shared, inbox)))?;
    // A name resolution may hang in the system's resolver; nobody waits for it.
    runtime.shutdown_background();
    Ok(())
}

async fn manage(shared: Arc<Shared>, mut inbox: mpsc::UnboundedReceiver<Order>) {
    let mut minding = JoinSet::new();
    let mut minded = Minding::new(shared.nameservers.clone());
    let mut losses = Losses::default();
    minding.spawn_local(crate::tls::reload::run(shared.clone()));
    minding.spawn_local(crate::list_files::run(shared.clone()));
    if let Some(kept) = &shared.kept_tables {
        let (shared, interval) = (shared.clone(), kept.interval);
        minding.spawn_local(async move {
            loop {
                tokio::time::sleep(interval).await;
                keep_tables(shared.clone(), false).await;
            }
        });
    }
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(Order::Mind(backend, server)) => {
                    minded.begin(&shared, backend, server, &mut minding);
                }
                Some(Order::MindAnew) => minded.begin_anew(&shared, &mut minding),
                Some(Order::WarmUp { backend, server, begun }) => {
                    if let Some(backend) = shared.site.load().backend(backend).cloned() {
                        minding.spawn_local(warmup::run(backend, server, begun));
                    }
                }
                Some(Order::TakeBack(room, count)) => {
                    minding.spawn_local(async move {
                        // A room that nobody closes has them some time.
                        if let Ok(places) = room.acquire_many(count).await {
                            places.forget();
                        }
                    });
                }
                Some(Order::WatchDrain(backend, server, drain)) => {
                    minding.spawn_local(drain::watch(shared.clone(), backend, server, drain));
                }
                Some(Order::KeepTables) => {
                    minding.spawn_local(keep_tables(shared.clone(), true));
                }
                Some(Order::LetGo(leaders)) => {
                    minding.spawn_local(let_go(leaders));
                }
                Some(Order::HardStopAfter(limit)) => {
                    let shared = shared.clone();
                    minding.spawn_local(async move {
                        tokio::time::sleep(limit).await;
                        shared.tell_workers(&Message::HardStop);
                    });
                }
                Some(Order::Stop) | None => return,
            },
            Some(_) = minding.join_next() => {}
            _ = seconds.tick() => {
                minded.tick(&shared, &mut minding);
                tick(&shared);
                losses.tick(&shared);
            }
        }
    }
}

/// Writes stick tables where they are kept.
async fn keep_tables(shared: Arc<Shared>, last: bool) {
    let saving = tokio::task::spawn_blocking(move || {
        if let Some(kept) = &shared.kept_tables {
            kept.save(&shared, last);
        }
    });
    // What went wrong was said.
    let _ = saving.await;
}

/// How often it is looked whether sockets are closed that wait for their last clients.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until they are, at most twice as long as that takes.
async fn let_go(leaders: Leaders) {
    let closed = async {
        while !leaders.are_alone() {
            tokio::time::sleep(LOOK).await;
        }
    };
    // Whoever hangs is not worth waiting for: the kernel chooses well without us.
    let _ = tokio::time::timeout(LEAVING * 2, closed).await;
    leaders.let_go();
}

/// How long a server goes without checks and look-ups after a fault of ours has ended them.
const MIND_AGAIN: Duration = Duration::from_secs(1);

/// Looks after a server until it leaves its backend. A fault of ours is told, and costs it one check: a
/// server that nobody looks after any more would stay up for ever.
pub(crate) async fn mind(
    shared: Arc<Shared>,
    names: Rc<Names>,
    backend: Arc<BackendState>,
    server: Arc<ServerState>,
) {
    loop {
        let minding = async {
            tokio::join!(
                addresses::keep(&shared, &names, &backend, &server),
                checks::run(&shared, &backend, &server),
                async {
                    // Boxed: hardly any server has one.
                    if let Some(agent) = &server.conf.agent {
                        Box::pin(checks::agent::run(&shared, &backend, &server, agent)).await;
                    }
                },
            );
        };
        if panics::guarded_task(minding).await.is_some() {
            return;
        }
        let (backend_name, server_name) = (backend.name(), &server.conf.name);
        let message = format!(
            "A fault of ours has ended the checks of {backend_name}/{server_name}. They begin anew."
        );
        shared.say_to(&backend.conf().proxy.log, Level::Alert, &message);
        tokio::time::sleep(MIND_AGAIN).await;
    }
}

/// Takes the result of a check.
pub(crate) fn settle(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &ServerState,
    result: CheckResult,
) {
    let now = shared.clock.since_start();
    if result.code.verdict() == Verdict::Passed {
        server.errors_in_a_row.store(0, Relaxed);
    }
    let logging = &backend.conf().proxy.log;
    let (change, line) = {
        let mut health = server.health();
        let worth_telling = logging.health_checks && words::tells_check(&health, &result);
        let change = health.step(result.clone(), now);
        let who = who(backend, server, None);
        let line = worth_telling.then(|| words::check_line(&who, &result, &health));
        (change, line)
    };
    if let Some(line) = line {
        shared.say_to(logging, level(line.severity), &line.text);
    }
    if let Some(change) = change {
        // Where each check is told the reason was said already, as in HAProxy.
        let cause = (!logging.health_checks).then_some(&result);
        follow(shared, backend, server, &change, cause);
    }
}

/// Takes what a server's agent said of its state.
pub(crate) fn settle_agent(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &ServerState,
    word: AgentWord,
    result: CheckResult,
) {
    if result.code.verdict() == Verdict::Unknown {
        return;
    }
    let now = shared.clock.since_start();
    let logging = &backend.conf().proxy.log;
    let (change, line) = {
        let mut health = server.health();
        let news = health.agent_result().map(|last| last.code) != Some(result.code);
        let change = health.agent_said(word, result.clone(), now);
        let told = logging.health_checks && (news || change.is_some());
        let who = who(backend, server, None);
        (
            change,
            told.then(|| words::agent_line(&who, &result, &health)),
        )
    };
    if let Some(line) = line {
        shared.say_to(logging, level(line.severity), &line.text);
    }
    if let Some(change) = change {
        let cause = (!logging.health_checks).then_some(&result);
        follow(shared, backend, server, &change, cause);
    }
}

/// Carries the wish of an operator or an agent.
pub(crate) fn set_admin(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &Arc<ServerState>,
    admin: Admin,
) {
    let now = shared.clock.since_start();
    if admin == Admin::Ready {
        server.stop_draining();
    }
    let change = server.health().set_admin(admin, now);
    if let Some(change) = change {
        follow(shared, backend, server, &change, None);
        followers::catch_up(shared, backend, server);
        server.recheck.notify_one();
    }
}

/// Gives a server another weight.
pub(crate) fn set_weight(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &ServerState,
    weight: u64,
) {
    if server.weight.swap(weight, Relaxed) != weight {
        backend.refresh(server);
        note_capacity(shared, backend);
    }
}

/// Draws the consequences of a change of a server: balancing, log, events.
pub(crate) fn follow(
    shared: &Shared,
    backend: &Arc<BackendState>,
    server: &ServerState,
    change: &Change,
    cause: Option<&CheckResult>,
) {
    warmup::begin(shared, backend, server, change);
    let requeued = backend.refresh(server);
    let (left, _) = backend.capacity();
    let via = via(shared, server, cause);
    let who = who(backend, server, via.as_deref());
    let standing = Standing {
        active: left.active,
        backup: left.backup,
        sessions: server.sessions.now(),
        requeued: requeued as u64,
        queued: server.queued.now(),
    };
    let logging = &backend.conf().proxy.log;
    for line in words::change_lines(&who, change, cause, &standing) {
        shared.say_to(logging, level(line.severity), &line.text);
    }
    note_capacity(shared, backend);
    shut_sessions(shared, backend, server, change);
    followers::tell(shared, backend, server);
    let (backend_name, server_name) = (backend.name().clone(), server.conf.name.clone());
    match change.what {
        What::Up => {
            shared.report(Event::ServerUp {
                backend: backend_name,
                server: server_name,
            });
        }
        What::Down => {
            server.went_down.notify_one();
            shared.report(Event::ServerDown {
                backend: backend_name,
                server: server_name,
            });
        }
        _ => {}
    }
}

/// The server that this one follows, where the change is that server's.
fn via(shared: &Shared, server: &ServerState, cause: Option<&CheckResult>) -> Option<String> {
    if server.conf.track.is_none() || cause.is_some() {
        return None;
    }
    let (backend, leader) = followers::leader(&shared.site.load(), server)?;
    // One lock after the other.
    let leads = leader.health().accepts_new();
    let health = server.health().clone();
    let inherited = health.admin() == Admin::Ready && health.accepts_new() == leads;
    inherited.then(|| format!("{}/{}", backend.name(), leader.conf.name))
}

/// `on-marked-down shutdown-sessions`, `on-marked-up shutdown-backup-sessions` (manual 5.2).
fn shut_sessions(shared: &Shared, backend: &BackendState, server: &ServerState, change: &Change) {
    let on_marked = server.conf.on_marked;
    let shut = |server: &ServerState, by: Side| {
        shared.tell_workers(&Message::CloseServer {
            backend: backend.key,
            server: server.key,
            by,
        });
    };
    let went_down = matches!(
        change.what,
        What::Down | What::MaintEntered { was_up: true }
    );
    if went_down && on_marked.down_shuts_sessions {
        shut(server, Side::Down);
    }
    let came_up = change.accepts && !change.accepted_before;
    let counts = !server.conf.backup && server.weight.load(Relaxed) > 0;
    if came_up && counts && on_marked.up_shuts_backups {
        for backup in backend.servers().iter().filter(|it| it.conf.backup) {
            shut(backup, Side::Up);
        }
    }
}

/// What lines call a server.
pub(crate) fn who<'a>(
    backend: &'a BackendState,
    server: &'a ServerState,
    via: Option<&'a str>,
) -> Who<'a> {
    Who {
        backend: backend.name(),
        server: &server.conf.name,
        backup: server.conf.backup,
        via,
    }
}

/// How important a line is, for the log.
pub(crate) fn level(severity: Severity) -> Level {
    match severity {
        Severity::Emergency => Level::Emergency,
        Severity::Alert => Level::Alert,
        Severity::Notice => Level::Notice,
    }
}

/// Keeps the backend's history, and says so when its last server has gone.
pub(crate) fn note_capacity(shared: &Shared, backend: &BackendState) {
    let now = shared.clock.since_start();
    let up = {
        let mut history = backend.history();
        // Read under the lock: of two threads that come here the later one must not know less.
        let up = backend.usable_count() > 0;
        if history.up == up {
            return;
        }
        if up {
            let lasted = now.saturating_sub(history.last_change);
            history.downtime += lasted;
        } else {
            history.downs += 1;
        }
        history.up = up;
        history.last_change = now;
        up
    };
    // Without a `server` line a backend was never meant to have one, unless discovery fills it.
    let filled = |it: &crate::snapshot::DiscoveryStatus| it.backend == *backend.name();
    let filled = shared.control().discovery.as_ref().is_some_and(filled);
    let meant = filled || !backend.never_had_servers();
    if !up && meant {
        let conf = backend.conf();
        let line = words::no_server_line(backend.name(), conf.listen);
        shared.say_to(&conf.proxy.log, level(line.severity), &line.text);
    }
}

/// How often it is said that log lines are lost.
const LOSSES_TOLD: Duration = Duration::from_secs(60);

/// Log lines that were lost, and what was said of them.
#[derive(Default)]
struct Losses {
    told: u64,
    told_at: Option<Duration>,
}

impl Losses {
    /// Says it at once when lines begin to be lost, and then once in a while.
    fn tick(&mut self, shared: &Shared) {
        let (lost, now) = (shared.logger.lost(), shared.clock.since_start());
        let recently = self.told_at.is_some_and(|at| now < at + LOSSES_TOLD);
        if lost == self.told || recently {
            return;
        }
        let message = format!(
            "{} log lines were lost: a log target cannot be reached or does not keep up.",
            lost - self.told
        );
        // What this line itself may lose is not worth another one.
        (self.told, self.told_at) = (lost, Some(now));
        shared.say(Level::Warning, &message);
    }
}

/// Once a second: rates from totals.
fn tick(shared: &Shared) {
    let site = shared.site.load();
    let now = shared.clock.millis();
    shared
        .connection_rate
        .tick(shared.counters.sum(Count::Sessions), now);
    for frontend in &site.frontends {
        frontend
            .connection_rate
            .tick(frontend.counters.sum(Count::Connections), now);
        frontend
            .session_rate
            .tick(frontend.counters.sum(Count::Sessions), now);
        frontend
            .request_rate
            .tick(frontend.counters.sum(Count::Requests), now);
    }
    for backend in &site.backends {
        backend
            .session_rate
            .tick(backend.counters.sum(Count::Sessions), now);
        for server in backend.servers() {
            server
                .session_rate
                .tick(server.counters.sum(Count::Sessions), now);
        }
    }
}
