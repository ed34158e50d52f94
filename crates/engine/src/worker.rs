//! One thread of the data path: its runtime, its buffers, its connections.

use std::cell::{Cell, Ref, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use routing::balance::ServerKey;
use routing::sample::ConnectionFacts;
use routing::stick::Counted;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::buffer::BufferPool;
use crate::changes::Removed;
use crate::clock::Clock;
use crate::counters::Count;
use crate::drain::{self, Drain};
use crate::end::Side;
use crate::exchanges::Exchanges;
use crate::handover::{LEAVING, Moving, Role};
use crate::listen::{self, Complaints, Listener};
use crate::listener::ListenerPlace;
use crate::panics::{endless, vital};
use crate::places::{Owed, Places};
use crate::session::{EarlyTables, Scratch};
use crate::sessions::{self, Asked};
use crate::shared::Shared;
use crate::site::{BackendKey, FrontendState, Heirs};
use crate::spread::Handed;
use crate::stick::{self, Both, Tracking};
use crate::tunnels::{self, Tunnels};
use crate::upstream::lend::Wish;
use crate::upstream::pool::IdlePool;

/// Bytes of a worker's scratch buffer. Large reads save system calls (16 KiB messages are the
/// largest that are common), and there is only one of it per worker.
const SCRATCH: usize = 64 * 1024;

/// How often idle pooled connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// How often a worker wakes up in any case. A timer that becomes the next one to go off interrupts the
/// runtime's wait, with a system call and an event for it; each new connection would set such a one. Next
/// to a tick that is always nearer than usual limits they are set for nothing. HAProxy wakes every second.
const TICK: Duration = Duration::from_millis(500);

/// What a worker can be told.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// End the sessions of a server.
    CloseServer {
        /// Its backend.
        backend: BackendKey,
        /// Server.
        server: ServerKey,
        /// Who ends them, for the log.
        by: Side,
    },
    /// Drop the idle connections to some servers.
    DropIdle {
        /// Its backend.
        backend: BackendKey,
        /// Which ones.
        servers: Removed,
    },
    /// Give back the ports that idle connections to a server hold (`source ADDR:PORT-PORT`).
    FreePorts {
        /// Its backend.
        backend: BackendKey,
        /// Server.
        server: ServerKey,
    },
    /// Tell of sessions, or end one (Runtime API).
    Sessions {
        /// What is asked.
        asked: Arc<Asked>,
        /// Where the answer goes; whoever has none drops it.
        pieces: mpsc::Sender<String>,
    },
    /// End the sessions of a server one after the other.
    Drain {
        /// Its backend.
        backend: BackendKey,
        /// Server.
        server: ServerKey,
        /// At which pace.
        drain: Arc<Drain>,
    },
    /// Accept on more sockets: those in there, which are this worker's alone.
    Listen(Arc<Mutex<Option<Vec<Listener>>>>),
    /// Let tunnels go over to the configuration in force, as far as it says the same of them.
    Renew,
    /// Look whether connections that wait for a request are still wanted.
    Outdated,
    /// Hand tunnels over to another process, or take them on from one.
    Moving(Moving),
    /// Give an idle connection to a server away, to the worker that wants one.
    Lend(Arc<Wish>),
    /// Close the listeners, end when the last connection has.
    SoftStop,
    /// End now.
    HardStop,
}

/// One thread of the data path.
pub(crate) struct Worker {
    /// Which one; also its writer index in counters.
    pub(crate) index: usize,
    /// What all threads share.
    pub(crate) shared: Arc<Shared>,
    /// Spare buffers.
    pub(crate) buffers: BufferPool,
    /// Borrowed for the time of one read and write.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Borrowed for the time of one log line.
    pub(crate) log_lines: RefCell<Scratch>,
    /// Open tunnels.
    pub(crate) tunnels: Tunnels,
    /// HTTP exchanges under way.
    pub(crate) exchanges: Exchanges,
    /// Idle connections to servers.
    pub(crate) idle: IdlePool,
    /// Told when no new requests should be waited for.
    pub(crate) stop_waiting: Notify,
    /// What is said of connections lost on their way between workers.
    pub(crate) lost: Complaints,
    /// Sockets that are closed but for the client's last bytes.
    pub(crate) lingering: Cell<usize>,
    drained: Notify,
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> std::io::Result<Self> {
        let bufsize = shared.site.load().config.global.tune.bufsize;
        Ok(Self {
            index,
            buffers: BufferPool::new(bufsize),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            log_lines: RefCell::default(),
            tunnels: Tunnels::new(shared.clock)?,
            exchanges: Exchanges::default(),
            idle: IdlePool::default(),
            stop_waiting: Notify::new(),
            lost: Complaints::default(),
            lingering: Cell::new(0),
            drained: Notify::new(),
            shared,
        })
    }

    /// Time since start.
    pub(crate) fn clock(&self) -> Clock {
        self.shared.clock
    }

    fn close_server(self: &Rc<Self>, backend: BackendKey, server: ServerKey, by: Side) {
        self.tunnels.close_server((backend, server), by);
        self.exchanges.close_server((backend, server), by);
        self.idle.drop_servers(backend, &[server]);
    }

    /// Answers beside its other work.
    fn answer(self: &Rc<Self>, asked: Arc<Asked>, pieces: mpsc::Sender<String>) {
        tokio::task::spawn_local(sessions::answer(self.clone(), asked, pieces));
    }

    /// Drains beside its other work.
    fn drain(self: &Rc<Self>, server: (BackendKey, ServerKey), drain: Arc<Drain>) {
        tokio::task::spawn_local(drain::pacing::run(self.clone(), server, drain));
    }

    /// Lets tunnels go over to the configuration in force, beside other work.
    fn renew_tunnels(self: &Rc<Self>) {
        let worker = self.clone();
        tokio::task::spawn_local(async move {
            let heirs = Heirs::of(&worker.shared.site.load());
            let mut next = Some(0);
            while let Some(from) = next {
                next = worker.tunnels.renew(from, &heirs);
                // Nobody waits for thousands of them.
                tokio::task::yield_now().await;
            }
        });
    }

    /// Whether the engine takes no new work.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Relaxed)
    }
}

/// A client's connection as long as it is open, tunnel included: its facts, and its places in the
/// limits and gauges.
pub(crate) struct Connection {
    /// The worker that has it.
    pub(crate) worker: Rc<Worker>,
    /// The frontend it came in by.
    pub(crate) frontend: Arc<FrontendState>,
    /// What rules may know of it.
    pub(crate) facts: ConnectionFacts,
    /// How long PROXY header and TLS took.
    pub(crate) handshake: Duration,
    /// Who really connected, whatever a PROXY header says; `None` on a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    room: Room,
}

impl Connection {
    /// Makes what belongs to a session alone as small as can be; `Err`: it belongs to another one, too.
    pub(crate) fn rest(self: Rc<Self>) -> Result<(ConnectionFacts, RestingConnection), Rc<Self>> {
        let it = Rc::try_unwrap(self)?;
        let (room, tracking) = it.room.rest();
        let resting = RestingConnection {
            frontend: it.frontend,
            handshake: it.handshake,
            peer: it.peer,
            room,
            tracking,
        };
        Ok((it.facts, resting))
    }

    /// The other way round.
    pub(crate) fn wake(
        facts: ConnectionFacts,
        resting: RestingConnection,
        worker: &Rc<Worker>,
    ) -> Rc<Self> {
        let room = Room::wake(resting.room, resting.tracking, worker, &resting.frontend);
        Rc::new(Self {
            worker: worker.clone(),
            frontend: resting.frontend,
            facts,
            handshake: resting.handshake,
            peer: resting.peer,
            room,
        })
    }

    /// It belongs to what its frontend is now, and to this `bind` of it.
    pub(crate) fn renew(&mut self, frontend: &Arc<FrontendState>, bind: usize) {
        self.frontend = frontend.clone();
        self.room.frontend = frontend.clone();
        self.room.bind = u16::try_from(bind).unwrap_or(u16::MAX);
    }

    /// What is tracked of it, whatever its requests do.
    pub(crate) fn tracking(&self) -> Ref<'_, Tracking> {
        self.room.tracking.borrow()
    }

    /// By which of its frontend's binds it came in.
    pub(crate) fn bind(&self) -> usize {
        self.room.bind.into()
    }

    /// Its place at its listener, where that is counted on its own.
    pub(crate) fn listener(&self) -> Option<&ListenerPlace> {
        self.room.listener.as_ref()
    }
}

/// What remains of a connection at rest beside its facts.
pub(crate) struct RestingConnection {
    /// The frontend it came in by.
    pub(crate) frontend: Arc<FrontendState>,
    /// How long PROXY header and TLS took.
    pub(crate) handshake: Duration,
    /// Who really connected.
    pub(crate) peer: Option<SocketAddr>,
    /// Its places.
    pub(crate) room: RestingRoom,
    /// What is tracked of it.
    pub(crate) tracking: Tracking,
}

/// Places in the limits of process and frontend, and the gauges that show them.
pub(crate) struct Room {
    worker: Rc<Worker>,
    frontend: Arc<FrontendState>,
    tls: bool,
    bind: u16,
    listener: Option<ListenerPlace>,
    /// What is tracked of it in stick tables.
    tracking: RefCell<Tracking>,
    /// None: all of it is left to who has made it rest.
    places: Option<Held>,
}

enum Held {
    Places(Places),
    Owed(Owed),
}

/// A room at rest: what is not known by who it belongs to. It must be woken to be given back.
#[must_use]
pub(crate) struct RestingRoom {
    /// Its place at its listener.
    pub(crate) listener: Option<ListenerPlace>,
    /// Its places below limits.
    pub(crate) owed: Owed,
    /// Whether the client's connection is TLS.
    pub(crate) tls: bool,
    /// By which of its frontend's binds it came in.
    pub(crate) bind: u16,
}

impl Room {
    /// Takes a new connection into the books, which came in by this bind of its frontend.
    pub(crate) fn enter(
        worker: &Rc<Worker>,
        frontend: &Arc<FrontendState>,
        bind: usize,
        places: Places,
    ) -> Self {
        let (shared, writer) = (&worker.shared, worker.index);
        shared.spread.enter(writer);
        shared.connections.enter();
        shared.counters.add(writer, Count::Sessions, 1);
        frontend.sessions.enter();
        frontend.counters.add(writer, Count::Connections, 1);
        let listener = frontend.listeners.get(bind);
        Self {
            worker: worker.clone(),
            frontend: frontend.clone(),
            tls: false,
            bind: u16::try_from(bind).unwrap_or(u16::MAX),
            listener: listener.map(|it| ListenerPlace::enter(it, writer)),
            tracking: RefCell::default(),
            places: Some(Held::Places(places)),
        }
    }

    /// Makes it as small as can be for a connection that has nothing to do.
    pub(crate) fn rest(mut self) -> (RestingRoom, Tracking) {
        let owed = match self.places.take() {
            Some(Held::Places(places)) => places.owe(),
            Some(Held::Owed(owed)) => owed,
            None => Owed::default(),
        };
        let resting = RestingRoom {
            listener: self.listener.take(),
            owed,
            tls: self.tls,
            bind: self.bind,
        };
        (resting, self.tracking.take())
    }

    /// The other way round.
    pub(crate) fn wake(
        resting: RestingRoom,
        tracking: Tracking,
        worker: &Rc<Worker>,
        frontend: &Arc<FrontendState>,
    ) -> Self {
        Self {
            worker: worker.clone(),
            frontend: frontend.clone(),
            tls: resting.tls,
            bind: resting.bind,
            listener: resting.listener,
            tracking: RefCell::new(tracking),
            places: Some(Held::Owed(resting.owed)),
        }
    }

    /// Counts an event before the first request.
    pub(crate) fn count(&self, what: Count) {
        let writer = self.worker.index;
        self.frontend.counters.add(writer, what, 1);
        if let Some(listener) = &self.listener {
            listener.count(writer, what, 1);
        }
    }

    /// Tables as rules see them before there is a session.
    pub(crate) fn tables(&self) -> EarlyTables<'_> {
        EarlyTables {
            stick: &self.frontend.generation.stick,
            tracking: &self.tracking,
            own: self.frontend.conf().proxy.stick_table,
        }
    }

    fn count_tracked(&self, what: Counted, count: u64) {
        let tracked = Both {
            connection: &self.tracking.borrow(),
            request: None,
        };
        tracked.count(what, count);
    }

    /// The connection is TLS.
    pub(crate) fn secured(&mut self) {
        self.tls = true;
        self.worker.shared.tls_connections.enter();
        self.worker
            .shared
            .counters
            .add(self.worker.index, Count::Handshakes, 1);
        self.count(Count::Handshakes);
    }

    /// The connection is ready for requests.
    pub(crate) fn into_connection(
        mut self,
        facts: ConnectionFacts,
        handshake: Duration,
        peer: Option<SocketAddr>,
    ) -> Rc<Connection> {
        let writer = self.worker.index;
        self.frontend.counters.add(writer, Count::Sessions, 1);
        if !self.tracking.get_mut().is_empty() {
            self.count_tracked(Counted::Sessions, 1);
        }
        self.into_unfit_connection(facts, handshake, peer)
    }

    /// The connection has failed before it became a session.
    pub(crate) fn into_unfit_connection(
        self,
        facts: ConnectionFacts,
        handshake: Duration,
        peer: Option<SocketAddr>,
    ) -> Rc<Connection> {
        Rc::new(Connection {
            worker: self.worker.clone(),
            frontend: self.frontend.clone(),
            facts,
            handshake,
            peer,
            room: self,
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(places) = self.places.take() else {
            return;
        };
        self.frontend.sessions.leave();
        self.worker.shared.connections.leave();
        if self.tls {
            self.worker.shared.tls_connections.leave();
        }
        if self.worker.shared.spread.leave(self.worker.index) == 0 {
            self.worker.drained.notify_one();
        }
        match places {
            Held::Places(places) => drop(places),
            Held::Owed(owed) => owed.give_back(&self.worker.shared, &self.frontend),
        }
    }
}

/// Runs a worker on this thread until it is told to stop.
pub(crate) fn run(
    index: usize,
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    inbox: mpsc::UnboundedReceiver<Message>,
    arrivals: Option<mpsc::Receiver<Handed>>,
) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(index, shared)?);
        let shared = worker.shared.clone();
        let work = work(worker, listeners, inbox, arrivals);
        vital("a worker", shared, work).await;
        Ok(())
    })
}

/// Accepts on more sockets.
fn accept_on(
    listeners: Vec<Listener>,
    accepting: &mut Vec<(Role, JoinHandle<()>)>,
    worker: &Rc<Worker>,
) {
    accepting.retain(|(_, task)| !task.is_finished());
    for listener in listeners {
        let role = listener.role();
        let accepts = listen::accept_all(listener, worker.clone());
        let accepts = vital("a listener", worker.shared.clone(), accepts);
        accepting.push((role, tokio::task::spawn_local(accepts)));
    }
}

async fn work(
    worker: Rc<Worker>,
    listeners: Vec<Listener>,
    mut inbox: mpsc::UnboundedReceiver<Message>,
    mut arrivals: Option<mpsc::Receiver<Handed>>,
) {
    let mut accepting = Vec::new();
    accept_on(listeners, &mut accepting, &worker);
    let housekeeping = {
        let (shared, worker) = (worker.shared.clone(), worker.clone());
        tokio::task::spawn_local(endless("a worker's timers", shared, async move {
            let tunnels = &worker.tunnels;
            tokio::join!(
                tunnels.expire_all(&worker),
                worker.idle.sweep_every(SWEEP),
                sweep_tables(&worker),
                tick()
            );
        }))
    };
    let relaying = tunnels::relay(worker.clone());
    let relaying = endless("a worker's tunnels", worker.shared.clone(), relaying);
    let relaying = tokio::task::spawn_local(relaying);
    loop {
        let message = tokio::select! {
            message = inbox.recv() => message,
            Some(handed) = next(&mut arrivals) => {
                listen::take_over(handed, &worker);
                continue;
            }
        };
        let Some(message) = message else { break };
        match message {
            Message::CloseServer {
                backend,
                server,
                by,
            } => worker.close_server(backend, server, by),
            Message::DropIdle { backend, servers } => worker.idle.drop_servers(backend, &servers),
            Message::FreePorts { backend, server } => worker.idle.free_ports(backend, server),
            Message::Sessions { asked, pieces } => worker.answer(asked, pieces),
            Message::Drain {
                backend,
                server,
                drain,
            } => worker.drain((backend, server), drain),
            Message::Listen(listeners) => {
                let listeners = listeners.lock().map(|mut it| it.take());
                let listeners = listeners.ok().flatten().unwrap_or_default();
                accept_on(listeners, &mut accepting, &worker);
            }
            Message::Outdated => worker.stop_waiting.notify_waiters(),
            Message::Moving(moving) => moving.carry_out(&worker),
            Message::Lend(wish) => worker.lend(&wish),
            Message::Renew => worker.renew_tunnels(),
            Message::SoftStop => {
                let until = leave(&mut accepting, &worker);
                take_the_last(&mut arrivals, &worker).await;
                worker.stop_waiting.notify_waiters();
                worker.idle.clear();
                drain(&worker, &mut inbox, until).await;
                break;
            }
            Message::HardStop => break,
        }
    }
    housekeeping.abort();
    relaying.abort();
    // A hard stop: they are still taken off the books.
    worker.tunnels.end_all(&worker);
}

/// Runs for ever. A reload may bring tables where there are none.
async fn sweep_tables(worker: &Worker) {
    loop {
        tokio::time::sleep(stick::SWEEP).await;
        let site = worker.shared.site.load();
        site.stick.sweep(worker.index, worker.shared.workers);
    }
}

/// Runs for ever: see [`TICK`].
async fn tick() {
    loop {
        tokio::time::sleep(TICK).await;
    }
}

/// What another worker hands over next; never, where nothing can come.
async fn next(arrivals: &mut Option<mpsc::Receiver<Handed>>) -> Option<Handed> {
    match arrivals {
        Some(arrivals) => arrivals.recv().await,
        None => std::future::pending().await,
    }
}

/// Serves what has been handed over already. Whoever tries it from now on keeps the connection, which
/// is so never lost between two workers.
async fn take_the_last(arrivals: &mut Option<mpsc::Receiver<Handed>>, worker: &Rc<Worker>) {
    let Some(arrivals) = arrivals else { return };
    arrivals.close();
    while let Some(handed) = arrivals.recv().await {
        listen::take_over(handed, worker);
    }
}

/// Accepts no more, but on sockets of this worker's own that are left to nobody: clients that were on their way to
/// one of them are still served. Until when.
fn leave(accepting: &mut Vec<(Role, JoinHandle<()>)>, worker: &Worker) -> Option<Instant> {
    let nobodys = worker.shared.listening.has_left_some();
    let stays = |role: Role| nobodys && role == Role::Other;
    let leaving: Vec<_> = std::mem::take(accepting);
    let (staying, leaving): (Vec<_>, Vec<_>) = leaving.into_iter().partition(|it| stays(it.0));
    leaving.into_iter().for_each(|(_, task)| task.abort());
    if staying.is_empty() {
        return None;
    }
    tokio::task::spawn_local(async move {
        tokio::time::sleep(LEAVING).await;
        staying.into_iter().for_each(|(_, task)| task.abort());
    });
    Some(Instant::now() + LEAVING)
}

/// Waits for the last connection to end, and in any case until then; or for a hard stop.
async fn drain(
    worker: &Rc<Worker>,
    inbox: &mut mpsc::UnboundedReceiver<Message>,
    until: Option<Instant>,
) {
    let until = until.unwrap_or_else(Instant::now);
    while worker.shared.spread.connections(worker.index) > 0 || Instant::now() < until {
        tokio::select! {
            () = worker.drained.notified() => {}
            () = tokio::time::sleep_until(until.into()), if Instant::now() < until => {}
            message = inbox.recv() => match message {
                Some(Message::CloseServer { backend, server, by }) => worker.close_server(backend, server, by),
                Some(Message::Sessions { asked, pieces }) => worker.answer(asked, pieces),
                Some(Message::Moving(moving)) => moving.carry_out(worker),
                Some(Message::Drain { backend, server, drain }) => worker.drain((backend, server), drain),
                Some(
                    Message::SoftStop
                    | Message::DropIdle { .. }
                    | Message::FreePorts { .. }
                    | Message::Listen(_)
                    | Message::Outdated
                    | Message::Lend(_)
                    | Message::Renew,
                ) => {}
                Some(Message::HardStop) | None => return,
            }
        }
    }
}
