//! What is known and counted of one request, or of one TCP session, from its start to its log line.

mod captures;
mod figures;
mod httplog;
mod line;
mod logging;
mod resting;
mod tracking;

pub(crate) use line::Early;
pub(crate) use logging::Scratch;
pub(crate) use resting::{Known, Resting};
pub(crate) use tracking::Early as EarlyTables;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::expr::Timeout;
use config::model::{ErrorPages, Mode, Timeouts, Userlist};
use routing::auth::Logins;
use routing::balance::ServerKey;
use routing::content::Content;
use routing::rules::Answer;
use routing::sample::ServerTlsFacts;
use routing::stick::Counted;
use smallvec::SmallVec;
use wire::head::Fields;

use crate::assign::Slot;
use crate::buffer::Buffer;
use crate::clock;
use crate::counters::{Average, Count, Counters, Gauge, response_class};
use crate::end::{End, Side};
use crate::inspect::Inspected;
use crate::server::ServerState;
use crate::site::{BackendKey, BackendState, FrontendState};
use crate::timing::within;
use crate::worker::{Connection, Worker};
use resting::Entered;

/// What stands for a server where none and no service was used.
const NO_SERVICE: &str = "<NOSRV>";

/// One request, or one TCP session.
pub(crate) struct Session {
    connection: Rc<Connection>,
    backend: Option<Arc<BackendState>>,
    /// As long as it is counted there as open.
    entered: Option<Entered>,
    slot: Option<Slot>,
    /// The server last chosen, also after its slot was given back.
    server: Option<Arc<ServerState>>,
    /// What stands for a server in the log when none was used.
    service: &'static str,
    /// What was proven of the client's user and password.
    logins: Option<Box<Logins>>,
    /// Whether that was asked for.
    login: Cell<Login>,
    /// TLS towards the server in use.
    pub(crate) server_tls: Option<ServerTlsFacts>,
    /// What is kept for its log line beyond what every session has.
    notes: RefCell<Option<Box<captures::Notes>>>,
    /// Whether its line was written already.
    logged: Cell<bool>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    /// What a TCP client sent before its tunnel opened, where somebody looks at it.
    pub(crate) inspected: Option<Box<Inspected>>,
    /// Timeouts of its own, and of its backend, where a rule has changed any.
    own_timeouts: Option<Box<(Timeouts, Timeouts)>>,
    /// What the log line says.
    pub(crate) record: Record,
}

/// What is known of a session by plain numbers, which cost nothing to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glimpse {
    /// Its backend.
    pub(crate) backend: BackendKey,
    /// Its server.
    pub(crate) server: ServerKey,
    /// The id of the frontend it came in by.
    pub(crate) frontend: u32,
    /// The client; `None` on a Unix socket.
    pub(crate) src: Option<SocketAddr>,
    /// When it began.
    pub(crate) started: Instant,
}

#[cfg(test)]
impl Glimpse {
    /// One on this server.
    pub(crate) fn of((backend, server): (BackendKey, ServerKey)) -> Self {
        Self {
            backend,
            server,
            frontend: 0,
            src: None,
            started: Instant::now(),
        }
    }
}

/// Whether it was asked who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// Not yet.
    Unasked,
    /// By a rule, which waits for the answer.
    Wanted,
    /// It was, and is known as far as it can be.
    Asked,
}

/// Facts for the log line and the averages. A time of `None` was not reached: "-1".
pub(crate) struct Record {
    /// Date of the first byte of the request (or of the accept, for TCP).
    date: Duration,
    /// The same moment on the monotonic clock.
    started: Instant,
    /// `%Th`.
    pub(crate) handshake: Duration,
    /// `%Ti`.
    pub(crate) idle: Duration,
    /// Whether no request came before on its connection.
    pub(crate) is_first: bool,
    /// Whether the client sent anything of a request.
    pub(crate) heard: bool,
    /// `%TR`.
    pub(crate) request: Option<Duration>,
    /// `%Tw`.
    pub(crate) queue: Option<Duration>,
    /// `%Tc`.
    pub(crate) connect: Option<Duration>,
    /// `%Tr`.
    pub(crate) response: Option<Duration>,
    /// Method, target and version as received; empty: `<BADREQ>`.
    pub(crate) request_line: Box<[u8]>,
    /// Status sent to the client; `None`: none was.
    pub(crate) status: Option<u16>,
    /// Retries, and whether the last one went to another server.
    pub(crate) retries: u32,
    /// See `retries`.
    pub(crate) redispatched: bool,
    /// `%sq`: how many were let go from the server's queue while it waited there, itself included.
    pub(crate) server_queue: u64,
    /// `%bq`: the same of the backend's queue.
    pub(crate) backend_queue: u64,
    /// `http-request disable-l7-retry`: it is not sent a second time.
    pub(crate) sent_once: Cell<bool>,
    /// `tcp-response content close`: the server's connection carries nothing more.
    pub(crate) server_closes: Cell<bool>,
    /// What the persistence cookie came to, in the request and in the response (manual 8.5).
    pub(crate) cookies: Cell<[u8; 2]>,
}

impl Record {
    fn new(handshake: Duration, now: Instant) -> Self {
        Self {
            date: clock::wall(),
            started: now,
            handshake,
            idle: Duration::ZERO,
            is_first: false,
            heard: false,
            request: None,
            queue: None,
            connect: None,
            response: None,
            request_line: Box::default(),
            status: None,
            retries: 0,
            redispatched: false,
            server_queue: 0,
            backend_queue: 0,
            sent_once: Cell::new(false),
            server_closes: Cell::new(false),
            cookies: Cell::new(*b"NN"),
        }
    }

    /// The moment so long after the first byte.
    pub(crate) fn moment(&self, after: Duration) -> Instant {
        self.started + after
    }

    /// Time since the first byte.
    pub(crate) fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.started)
    }
}

impl Session {
    /// Starts now: at the first byte of a request, or at the accept of a TCP session.
    pub(crate) fn start(connection: &Rc<Connection>) -> Box<Self> {
        Self::start_at(connection, clock::now())
    }

    /// The same for who has just looked at the clock.
    pub(crate) fn start_at(connection: &Rc<Connection>, now: Instant) -> Box<Self> {
        connection.facts.forget_told();
        Box::new(Self {
            connection: connection.clone(),
            backend: None,
            entered: None,
            slot: None,
            server: None,
            service: NO_SERVICE,
            logins: None,
            login: Cell::new(Login::Unasked),
            server_tls: None,
            notes: RefCell::default(),
            logged: Cell::new(false),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            inspected: None,
            own_timeouts: None,
            record: Record::new(connection.handshake, now),
        })
    }

    /// The same for a session that began when the client was first waited for.
    pub(crate) fn started_at(mut self: Box<Self>, started: Instant) -> Box<Self> {
        self.record.date = self.record.date.saturating_sub(started.elapsed());
        self.record.started = started;
        self
    }

    /// The worker it runs on.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.connection.worker
    }

    /// Proves who the client is as a user of these lists, which a rule has asked for. `false`: too many
    /// ask at once.
    pub(crate) async fn prove(&mut self, fields: &Fields, lists: &[Arc<Userlist>]) -> bool {
        self.login.set(Login::Asked);
        let before = self.logins.take();
        let limits = self.frontend().conf().proxy.timeouts;
        let limit = limits.http_request.or(limits.client);
        let prover = &self.connection.worker.shared.prover;
        // Most requests have nothing to prove: what it takes is no part of them.
        let proving = Box::pin(within(limit, prover.prove(fields, lists, before)));
        let Ok(Ok(logins)) = proving.await else {
            return false;
        };
        self.logins = logins;
        true
    }

    /// Other lists count from now on.
    pub(crate) fn forget_login(&self) {
        self.login.set(Login::Unasked);
    }

    /// No rule will ask any more who the client is: a tunnel does not keep its password for days. Log
    /// lines cannot ask, since they are written without the request.
    pub(crate) fn forget_credentials(&mut self) {
        self.logins = None;
    }

    /// The client's connection.
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// The frontend it came in by.
    pub(crate) fn frontend(&self) -> &Arc<FrontendState> {
        &self.connection.frontend
    }

    /// Whether its frontend understands requests.
    pub(crate) fn is_http(&self) -> bool {
        self.frontend().conf().proxy.mode == Mode::Http
    }

    /// Pages of one's own: those of the backend, then those of the frontend, as HAProxy looks.
    pub(crate) fn error_pages(&self) -> SmallVec<[&ErrorPages; 2]> {
        let backend = self.backend.iter();
        let backend = backend.map(|backend| &backend.conf().proxy.error_pages);
        let frontend = &self.frontend().conf().proxy.error_pages;
        backend.chain([frontend]).collect()
    }

    /// What the client is told when something went wrong.
    pub(crate) fn error_page(
        &self,
        status: u16,
        request: Option<&wire::head::RequestHead>,
    ) -> Answer {
        let facts = self.facts(request, None);
        routing::rules::error(status, &facts, self, &self.error_pages())
    }

    /// The backend it goes to, once that is known.
    pub(crate) fn backend(&self) -> Option<&Arc<BackendState>> {
        self.backend.as_ref()
    }

    /// The server it has a place on.
    pub(crate) fn server(&self) -> Option<&Arc<ServerState>> {
        self.slot.as_ref().map(Slot::server)
    }

    /// It goes to `backend`.
    pub(crate) fn enter_backend(&mut self, backend: &Arc<BackendState>) {
        if !crate::serve::is_own_half(self.frontend(), backend) {
            self.forget_limits_of_backend();
        }
        self.entered = Some(Entered::new(backend));
        self.backend = Some(backend.clone());
        self.count_at_backend(Count::Sessions);
        // The head arrived before anybody knew where it belongs.
        let writer = self.worker().index;
        backend
            .counters
            .add(writer, Count::BytesIn, self.bytes_in.get());
    }

    /// It got a place on a server, so long after its start.
    pub(crate) fn occupy(&mut self, slot: Slot, after: Duration) {
        let server = slot.server().clone();
        let now = self.record.started + after;
        let seconds = self.worker().clock().until(now).as_secs();
        server.last_session.store(seconds + 1, Relaxed);
        let writer = self.worker().index;
        server.counters.add(writer, Count::Sessions, 1);
        self.server = Some(server);
        self.slot = Some(slot);
    }

    /// There is a connection to its server: what has arrived goes there.
    pub(crate) fn connected(&self) {
        let Some(server) = &self.server else { return };
        let writer = self.worker().index;
        server
            .counters
            .add(writer, Count::BytesIn, self.bytes_in.get());
    }

    /// Nothing is to be logged of it.
    pub(crate) fn keep_quiet(&self) {
        self.logged.set(true);
    }

    /// Whether it has a place on a server.
    pub(crate) fn has_place(&self) -> bool {
        self.slot.is_some()
    }

    /// It belongs to that server, and has no place there yet.
    pub(crate) fn belongs_to(&mut self, server: &Arc<ServerState>) {
        self.server = Some(server.clone());
    }

    /// It gives its place back, to try elsewhere.
    pub(crate) fn vacate(&mut self) {
        self.slot = None;
    }

    /// It is answered by a service of ours: `<STATS>`, `<PROMEX>`.
    pub(crate) fn serve_by(&mut self, service: &'static str) {
        self.service = service;
        let Record {
            queue,
            connect,
            response,
            ..
        } = &mut self.record;
        *queue = Some(Duration::ZERO);
        *connect = Some(Duration::ZERO);
        *response = Some(Duration::ZERO);
    }

    /// Counts one event at the frontend.
    pub(crate) fn count_at_frontend(&self, what: Count) {
        self.frontend().counters.add(self.worker().index, what, 1);
        if let Some(listener) = self.connection.listener() {
            listener.count(self.worker().index, what, 1);
        }
    }

    /// Counts one event at the backend.
    pub(crate) fn count_at_backend(&self, what: Count) {
        if let Some(backend) = &self.backend {
            backend.counters.add(self.worker().index, what, 1);
        }
    }

    /// Counts one event at the server last chosen.
    pub(crate) fn count_at_server(&self, what: Count) {
        if let Some(server) = &self.server {
            server.counters.add(self.worker().index, what, 1);
        }
    }

    /// Counts one event at the backend and at the server last chosen.
    pub(crate) fn count_at_both(&self, what: Count) {
        self.count_at_backend(what);
        self.count_at_server(what);
    }

    /// Counts bytes that came from the client.
    pub(crate) fn count_in(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
        self.count_bytes(Count::BytesIn, bytes as u64);
        self.count_tracked(Counted::BytesIn, bytes as u64);
    }

    /// Bytes that came from the client so far.
    pub(crate) fn received(&self) -> usize {
        usize::try_from(self.bytes_in.get()).unwrap_or(usize::MAX)
    }

    /// Counts bytes that go to the client.
    pub(crate) fn count_out(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
        self.count_bytes(Count::BytesOut, bytes as u64);
        self.count_tracked(Counted::BytesOut, bytes as u64);
    }

    fn count_bytes(&self, what: Count, bytes: u64) {
        let writer = self.worker().index;
        self.frontend().counters.add(writer, what, bytes);
        if let Some(listener) = self.connection.listener() {
            listener.count(writer, what, bytes);
        }
        if let Some(backend) = &self.backend {
            backend.counters.add(writer, what, bytes);
        }
        if let Some(server) = &self.server {
            server.counters.add(writer, what, bytes);
        }
    }

    /// Counts the status of a server's answer, at that server as well.
    pub(crate) fn count_response(&self, status: u16) {
        self.count_own_response(status);
        self.count_answer(status);
    }

    /// Counts the status of a server's answer for the server alone: a rule has another one sent.
    pub(crate) fn count_answer(&self, status: u16) {
        self.count_at_server(response_class(status));
        // As in HAProxy, a request that got no answer was none of the server's.
        self.count_at_server(Count::Requests);
    }

    /// Counts the status of an answer of our own: no server gave it.
    pub(crate) fn count_own_response(&self, status: u16) {
        let class = response_class(status);
        self.count_at_frontend(class);
        self.count_at_backend(class);
    }

    /// Calls `each` with the tunnel gauge and the counters of every level above this session.
    pub(crate) fn each_tunnel_gauge(&self, each: impl Fn(&Gauge, &Counters, usize)) {
        let writer = self.worker().index;
        let shared = &self.worker().shared;
        each(&shared.tunnels, &shared.counters, writer);
        each(&self.frontend().tunnels, &self.frontend().counters, writer);
        if let Some(backend) = &self.backend {
            each(&backend.tunnels, &backend.counters, writer);
        }
        if let Some(server) = &self.server {
            each(&server.tunnels, &server.counters, writer);
        }
    }

    /// Takes the timeouts that rules have given it (`set-timeout`) into force.
    pub(crate) fn settle_timeouts(&mut self) {
        let Some(new) = self.noted(|notes| notes.timeouts.clone()) else {
            return;
        };
        self.own_timeouts = None;
        let (front, back) = self.timeouts();
        let mut own = Box::new((*front, *back));
        for (which, time) in new {
            match which {
                Timeout::Client => own.0.client = Some(time),
                Timeout::Server => own.1.server = Some(time),
                Timeout::Connect => own.1.connect = Some(time),
                Timeout::Queue => own.1.queue = Some(time),
                Timeout::Tarpit => (own.0.tarpit, own.1.tarpit) = (Some(time), Some(time)),
                Timeout::Tunnel => own.1.tunnel = Some(time),
            }
        }
        self.own_timeouts = Some(own);
    }

    /// The timeouts of its frontend and, where it has one, of its backend.
    pub(crate) fn timeouts(&self) -> (&Timeouts, &Timeouts) {
        if let Some(own) = &self.own_timeouts {
            return (&own.0, &own.1);
        }
        let front = &self.frontend().conf().proxy.timeouts;
        (
            front,
            self.backend
                .as_ref()
                .map_or(front, |b| &b.conf().proxy.timeouts),
        )
    }

    /// What operators see of it while it is under way with a server.
    pub(crate) fn glimpse(&self) -> Glimpse {
        let (backend, server) = (self.backend.as_ref(), self.server.as_ref());
        Glimpse {
            backend: backend.map_or(BackendKey::NONE, |it| it.key),
            server: server.map_or(ServerKey(u32::MAX), |it| it.key),
            frontend: self.connection.frontend.id,
            src: self.connection.facts.source(),
            started: self.record.started,
        }
    }

    /// The session is over: statistics and the log line.
    pub(crate) fn finish(self: Box<Self>, end: End) {
        let total = self.record.elapsed();
        self.finish_after(total, end);
    }

    /// The same for who has just looked at the clock.
    pub(crate) fn finish_after(mut self: Box<Self>, total: Duration, end: End) {
        if self.record.connect.is_none() {
            // It never went anywhere, and is the server's that it was tried with last.
            self.connected();
        }
        self.count_end(end);
        self.count_times(total);
        // As in HAProxy, the counts of the log line are those after this session has left.
        self.slot = None;
        self.entered = None;
        self.forget_request_variables();
        self.log(end, total);
    }

    fn count_end(&self, end: End) {
        let what = match end.side {
            Side::Client | Side::ClientTimeout if self.backend.is_some() => Count::ClientAborts,
            Side::Server | Side::ServerTimeout | Side::Down | Side::Up | Side::Killed
                if end.stage == crate::end::Stage::Data =>
            {
                Count::ServerAborts
            }
            _ => return,
        };
        self.count_at_both(what);
    }

    fn count_times(&self, total: Duration) {
        let Some(backend) = &self.backend else { return };
        let record = &self.record;
        // As in HAProxy the averages are those of sessions that got what they came for.
        let served = match self.is_http() {
            true => record.response,
            false => record.connect,
        };
        if served.is_none() {
            return;
        }
        let mut times = [Duration::ZERO; Average::Len as usize];
        times[Average::Queue as usize] = record.queue.unwrap_or_default();
        times[Average::Connect as usize] = record.connect.unwrap_or_default();
        times[Average::Response as usize] = record.response.unwrap_or_default();
        times[Average::Total as usize] = total;
        let writer = self.worker().index;
        backend.counters.add_times(writer, times);
        if let Some(response) = record.response {
            backend.counters.add_latency(writer, response);
        }
        if let Some(server) = &self.server {
            server.counters.add_times(writer, times);
        }
    }

    /// What rules and log formats may look at.
    pub(crate) fn facts<'a>(
        &'a self,
        request: Option<&'a wire::head::RequestHead>,
        response: Option<&'a wire::head::ResponseHead>,
    ) -> routing::sample::Facts<'a> {
        self.facts_at(clock::wall(), request, response)
    }

    /// The same for who has just looked at the clock.
    fn facts_at<'a>(
        &'a self,
        now: Duration,
        request: Option<&'a wire::head::RequestHead>,
        response: Option<&'a wire::head::ResponseHead>,
    ) -> routing::sample::Facts<'a> {
        routing::sample::Facts {
            request: request.or_else(|| self.inspected.as_ref()?.request()),
            response,
            content: self
                .inspected
                .as_ref()
                .map_or_else(Content::default, |seen| seen.content()),
            connection: &self.connection.facts,
            frontend: self.frontend().name(),
            backend: self.backend.as_ref().map(|b| &**b.name()),
            server_tls: self.server_tls.as_ref(),
            memory: self,
            process: self,
            now,
            random: fastrand::u64(..),
            logins: self.logins.as_deref(),
        }
    }

    /// What the client sent and was looked at: it is the caller's to pass on.
    pub(crate) fn take_inspected(&mut self) -> Buffer {
        self.inspected
            .take()
            .map_or_else(Buffer::default, |seen| seen.into_buffer())
    }
}

/// The shorter of two limits.
pub(crate) fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
