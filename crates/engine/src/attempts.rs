//! The tries of one session to reach a server: a place on one, a connection to it, and the decision
//! to try again, there or elsewhere (manual 4.2, "retries", "option redispatch").

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::model::{Balance, HttpReuse};
use routing::balance::{Ask, ServerKey, session_hash};
use routing::health::Sight;
use wire::head::RequestHead;

use crate::assign::{Assigned, Slot};
use crate::buffer::Buffer;
use crate::cookie::{self, Persisted};
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::exchange::{Failure, ServerConnection};
use crate::observe;
use crate::queue::{Passed, Ticket, Turn};
use crate::redir;
use crate::retry;
use crate::server::ServerState;
use crate::session::Session;
use crate::site::BackendState;
use crate::stream::Stream;
use crate::timing::{Expired, within};
use crate::upstream::connect::{ConnectError, Dial, HeaderOf, connect};
use crate::upstream::former::{Former, Wanted};
use crate::upstream::pool::{Alike, Used};
use crate::upstream::{lend, proxy_header, source};
use crate::worker::{Message, Worker};

/// Pause before a connection is tried again on the same server, so that one that restarts is not
/// asked three times in a millisecond (manual 4.2, "retries"); `timeout connect` may be shorter.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Why no server can be had.
pub(crate) struct NoServer {
    /// How the session ends.
    pub(crate) end: End,
    /// What the client is told.
    pub(crate) status: u16,
}

/// The tries of one session to reach a server.
pub(crate) struct Attempts<'a> {
    backend: &'a Arc<BackendState>,
    /// The server that the session belongs to, as long as it can be had.
    bound: Option<Arc<ServerState>>,
    /// Whether it has its place there.
    belongs: bool,
    /// Whether it is that one or none (`force-persist`).
    forced: bool,
    /// What a hash goes by, where more than the head had to be seen for it.
    hash: Option<Option<u32>>,
    /// The server of the client's last request, until it was asked for.
    preferred: Option<Arc<ServerState>>,
    retries_left: u32,
    avoid: Option<ServerKey>,
    /// The server that a try was taken from, until it is known where the next one goes.
    left: Option<Arc<ServerState>>,
    /// When a server was first looked for, since the session's start: `%Tw` counts from here.
    waiting_since: Option<Duration>,
    /// When the server at hand was first tried: `%Tc` counts from here.
    connecting_since: Option<Duration>,
    /// Idle connections have let this request down once.
    only_fresh: bool,
    /// A place is to be waited for.
    waiting: Option<Ticket>,
    /// Which connections would do for the request at hand, and that there is no idle one.
    missing: Option<Alike>,
    alike: Option<Alike>,
}

impl<'a> Attempts<'a> {
    /// None made yet.
    pub(crate) fn new(backend: &'a Arc<BackendState>) -> Self {
        Self {
            backend,
            bound: None,
            hash: None,
            preferred: None,
            belongs: false,
            forced: false,
            retries_left: backend.conf().retries,
            avoid: None,
            left: None,
            waiting_since: None,
            connecting_since: None,
            only_fresh: false,
            waiting: None,
            missing: None,
            alike: None,
        }
    }

    /// So many retries, where a rule has said how many.
    pub(crate) fn retry_at_most(&mut self, retries: Option<u32>) {
        self.retries_left = retries.unwrap_or(self.retries_left);
    }

    /// What a hash goes by, where that is known already.
    pub(crate) fn hash_is(&mut self, hash: Option<Option<u32>>) {
        self.hash = hash;
    }

    /// The client has left: its time in a queue is over.
    pub(crate) fn stop_waiting(&self, session: &mut Session) {
        if let Some(since) = self.waiting_since.filter(|_| !session.has_place()) {
            session.record.queue = Some(session.record.elapsed().saturating_sub(since));
        }
    }

    /// The client's last request went to that server, and this one should as well, if it has no
    /// other place to go.
    pub(crate) fn prefer(&mut self, server: Option<Arc<ServerState>>) {
        self.preferred = server;
    }

    /// The session belongs to a server, by a stick table.
    pub(crate) fn stick_to(&mut self, server: Arc<ServerState>) {
        // One that is down is looked past, as with cookies, unless `option persist` says otherwise.
        let usable = server.health().is_up() || self.backend.conf().persist;
        if usable && !server.is_leaving() {
            self.bound = Some(server);
        }
    }

    /// The session belongs to a server, by its cookie.
    pub(crate) fn follow(&mut self, persisted: &Persisted) {
        self.bound = persisted.server.clone();
        self.forced = persisted.forced;
    }

    /// An idle connection to a server that has a place for the session, if all that can be had without
    /// waiting: most requests need no more. `None`: [`Self::connect`] goes on from here.
    pub(crate) fn reuse(
        &mut self,
        session: &mut Session,
        head: Option<&RequestHead>,
        idle: (Wanted, &mut Former),
        worker: &Worker,
    ) -> Result<Option<ServerConnection>, NoServer> {
        let now = session.record.elapsed();
        if session.server().is_none() {
            self.waiting = self.assign_now(session, head, now)?;
            if self.waiting.is_some() {
                return Ok(None);
            }
            self.count_redispatch(session);
        }
        let Some(server) = session.server().cloned() else {
            return Err(no_server());
        };
        if head.is_some_and(|head| redir::answer(&server, head).is_some()) {
            return Err(NoServer {
                end: End::by(Side::Local, Stage::Connect),
                status: 302,
            });
        }
        let Some(alike) = self.kind_of(session, &server, head, idle.1) else {
            return Err(no_server());
        };
        let moment = session.record.moment(now);
        let own = match idle.0 {
            _ if self.only_fresh => None,
            Wanted::Fresh => None,
            _ => idle.1.take(&alike, moment),
        };
        let is_private = own.is_some();
        let found = match idle.0 {
            _ if is_private || self.only_fresh => own,
            Wanted::Fresh | Wanted::Own => None,
            _ if alike.header.is_some() && !shares_header(self.backend) => None,
            Wanted::Proven => worker.idle.take(&alike, true, moment),
            Wanted::Any => worker.idle.take(&alike, false, moment),
        };
        let Some((stream, uses)) = found else {
            self.missing = Some(alike);
            return Ok(None);
        };
        session.record.connect = Some(Duration::ZERO);
        session.server_tls = stream.server_tls(&server, session.asks_for_chains());
        session.connected();
        session.count_at_both(Count::Reuses);
        self.alike = Some(alike);
        Ok(Some(ServerConnection {
            stream,
            buffer: Buffer::default(),
            uses,
            is_private,
            since: now,
        }))
    }

    /// A connection to a server that has a place for the session: an idle one of the wanted
    /// kind, else a new one.
    pub(crate) async fn connect(
        &mut self,
        session: &mut Session,
        head: Option<&RequestHead>,
        idle: (Wanted, &mut Former),
        worker: &Rc<Worker>,
    ) -> Result<ServerConnection, NoServer> {
        let (wanted, former) = idle;
        loop {
            if let Some(ticket) = self.waiting.take() {
                self.assign_later(session, head, ticket).await?;
                self.count_redispatch(session);
            }
            if self.missing.is_none()
                && let Some(found) = self.reuse(session, head, (wanted, &mut *former), worker)?
            {
                return Ok(found);
            }
            let (Some(alike), Some(server)) = (self.missing.take(), session.server().cloned())
            else {
                // There is no place yet: it is waited for.
                continue;
            };
            if let Some(found) = self.borrow(session, &server, &alike, wanted, worker).await {
                self.alike = Some(alike);
                return Ok(found);
            }
            // Who ends the sessions of a server ends those that are on their way to it as well.
            let underway = worker.exchanges.enter(session.glimpse());
            // What it takes to open one is large, and most requests need none of it.
            let opened = tokio::select! {
                biased;
                by = underway.ended() => Err(by),
                opened = Box::pin(self.open(session, &server, &alike, head.is_some())) => Ok(opened?),
            };
            let opened = match opened {
                Ok(opened) => opened,
                Err(by) => {
                    self.after_shutdown(session, by)?;
                    None
                }
            };
            match opened {
                Some(stream) => {
                    self.alike = Some(alike);
                    return Ok(ServerConnection {
                        stream,
                        buffer: Buffer::default(),
                        uses: 0,
                        is_private: false,
                        since: session.record.elapsed(),
                    });
                }
                None => continue,
            }
        }
    }

    /// An idle connection of another worker, where any worker's would do.
    async fn borrow(
        &self,
        session: &mut Session,
        server: &ServerState,
        alike: &Alike,
        wanted: Wanted,
        worker: &Worker,
    ) -> Option<ServerConnection> {
        let proven = match wanted {
            _ if self.only_fresh => return None,
            Wanted::Fresh | Wanted::Own => return None,
            _ if alike.header.is_some() && !shares_header(self.backend) => return None,
            Wanted::Proven => true,
            Wanted::Any => false,
        };
        let found = Box::pin(lend::borrow(alike, proven, server, worker));
        let (stream, uses) = found.await?;
        session.record.connect = Some(Duration::ZERO);
        session.connected();
        session.count_at_both(Count::Reuses);
        Some(ServerConnection {
            stream,
            buffer: Buffer::default(),
            uses,
            is_private: false,
            since: session.record.elapsed(),
        })
    }

    /// Which connections to a server would do; `None` where nobody knows where it is.
    fn kind_of(
        &self,
        session: &Session,
        server: &ServerState,
        head: Option<&RequestHead>,
        former: &mut Former,
    ) -> Option<Alike> {
        let target = server.target(session.connection().facts.destination())?;
        let sni = server_name(session, head);
        let name = pool_name(session, head, server);
        Some(Alike {
            backend: self.backend.key,
            server: server.key,
            chosen: Alike::chosen(
                name.as_deref().or(sni.as_deref()),
                server.is_where_clients_say().then_some(&target),
            ),
            target,
            // Without TLS it is none.
            tls_reading: server.tls().map_or(0, |tls| tls.reading() + 1),
            sni,
            name,
            header: proxy_header::of_session(session, head, &server.conf, &mut former.certificates),
        })
    }

    /// A new connection; `None` when it failed and another try is due.
    async fn open(
        &mut self,
        session: &mut Session,
        server: &ServerState,
        alike: &Alike,
        is_http: bool,
    ) -> Result<Option<Stream>, NoServer> {
        let now = session.record.elapsed();
        let started = *self.connecting_since.get_or_insert(now);
        let limit = session.timeouts().1.connect;
        session.count_at_both(Count::Connects);
        let header = alike.header.as_deref().unwrap_or_default();
        let write: HeaderOf<'_> = &|_| header.to_vec();
        let dial = Dial {
            target: &alike.target,
            socks4: server.conf.outgoing.socks4,
            outgoing: &server.conf.outgoing,
            next_port: &server.next_port,
            speak_first: is_http || !header.is_empty() || server.tls().is_some(),
            header: (!header.is_empty()).then_some(write),
            tls: server.tls(),
            sni: alike.sni.as_deref(),
        };
        let mut connected = connect(&dial, limit).await;
        if server.conf.outgoing.ports_are_scarce() && connected.as_ref().is_err_and(is_portless) {
            // Idle connections must not keep new ones out.
            let (backend, key) = (self.backend.key, server.key);
            let worker = session.worker();
            worker.idle.free_ports(backend, key);
            worker.shared.tell_workers(&Message::FreePorts {
                backend,
                server: key,
            });
            connected = connect(&dial, limit).await;
        }
        match connected {
            Ok(stream) => {
                observe::saw(session, Sight::Connected);
                let took = session.record.elapsed().saturating_sub(started);
                session.record.connect = Some(took);
                session.server_tls = stream.server_tls(server, session.asks_for_chains());
                session.connected();
                if let Some(tls) = &session.server_tls {
                    session.count_at_both(Count::Handshakes);
                    if tls.resumed {
                        session.count_at_both(Count::ResumedHandshakes);
                    }
                }
                Ok(Some(stream))
            }
            Err(error) => {
                observe::saw(session, Sight::Refused);
                self.after_failure(session, &error, limit).await?;
                Ok(None)
            }
        }
    }

    /// An idle connection let the request down: once more, on a new one to the same server. Counts as
    /// a retry; `false` when none is left.
    pub(crate) fn retry_fresh(&mut self, session: &mut Session) -> bool {
        if self.retries_left == 0 {
            return false;
        }
        self.retries_left -= 1;
        self.only_fresh = true;
        session.record.retries += 1;
        session.count_at_both(Count::Retries);
        true
    }

    /// Takes a place on a server, or a ticket where it must be waited for.
    fn assign_now(
        &mut self,
        session: &mut Session,
        head: Option<&RequestHead>,
        now: Duration,
    ) -> Result<Option<Ticket>, NoServer> {
        self.waiting_since.get_or_insert(now);
        match self.place(session, head)? {
            Ok(slot) => self.settle(session, Ok(slot), now).map(|()| None),
            Err(ticket) => Ok(Some(ticket)),
        }
    }

    /// Waits for a place in a queue.
    async fn assign_later(
        &mut self,
        session: &mut Session,
        head: Option<&RequestHead>,
        ticket: Ticket,
    ) -> Result<(), NoServer> {
        let timeouts = session.timeouts().1;
        let limit = timeouts.queue.or(timeouts.connect);
        // Without either of them nobody but a place that falls free, or the client's leaving
        // (`option abortonclose`), ends the wait, as in HAProxy; `maxconn` bounds how many wait.
        // However often the server that is waited for leaves, the wait is one.
        let waited = within(limit, Box::pin(self.wait(session, head, ticket))).await;
        let placed = waited.unwrap_or_else(|Expired| Err(stuck_in_queue()));
        let now = session.record.elapsed();
        self.settle(session, placed, now)
    }

    /// The session has its place, or will have none, so long after its start.
    fn settle(
        &mut self,
        session: &mut Session,
        placed: Result<Slot, NoServer>,
        now: Duration,
    ) -> Result<(), NoServer> {
        let waited = now.saturating_sub(self.waiting_since.unwrap_or(now));
        // The time of tries elsewhere is time spent waiting for this server, as in HAProxy.
        session.record.queue = Some(waited);
        self.connecting_since = None;
        session.occupy(placed?, now);
        if !self.belongs {
            session.count_at_both(Count::Balanced);
        }
        Ok(())
    }

    /// A place on a server, or in a queue.
    fn place(
        &mut self,
        session: &mut Session,
        head: Option<&RequestHead>,
    ) -> Result<Result<Slot, Ticket>, NoServer> {
        if let Some(server) = self.bound.take() {
            let assigned = self.backend.assign_to(&server, session.standing());
            let elsewhere = match assigned {
                Assigned::NoServer => true,
                Assigned::QueueFull(_) => self.may_move(),
                _ => false,
            };
            if !elsewhere {
                self.belongs = true;
                session.belongs_to(&server);
                return placed(assigned, session);
            }
            cookie::went_elsewhere(session);
        }
        self.belongs = false;
        if let Some(server) = self.preferred.take() {
            let assigned = self.backend.assign_to(&server, session.standing());
            if matches!(assigned, Assigned::Slot(_) | Assigned::Wait(_)) {
                return placed(assigned, session);
            }
        }
        let balancing = &self.backend.conf().balancing;
        let hash = match balancing.algorithm {
            _ if self.hash.is_some() => self.hash.flatten(),
            Balance::Hash(_) => session_hash(balancing, &session.facts(head, None)),
            _ => None,
        };
        let ask = Ask {
            hash,
            random: fastrand::u64(..),
            avoid: self.avoid,
        };
        placed(self.backend.assign(&ask, session.standing()), session)
    }

    /// `option redispatch`, unless a rule has bound the session for good.
    fn may_move(&self) -> bool {
        self.backend.conf().redispatch.is_some() && !self.forced
    }

    async fn wait(
        &mut self,
        session: &mut Session,
        head: Option<&RequestHead>,
        mut ticket: Ticket,
    ) -> Result<Slot, NoServer> {
        loop {
            if let Some(server) = ticket.server() {
                session.belongs_to(server);
            }
            let mut waiting = Waiting { ticket, session };
            match waiting.ticket.turn().await {
                Some(Turn::Slot(slot)) => return Ok(slot),
                Some(Turn::Again) => {
                    let left = waiting.ticket.server().cloned();
                    // A rule has bound the session to it for good (`force-persist`).
                    match self.forced && self.belongs {
                        true => self.bound = left,
                        false => self.left = left,
                    }
                }
                None => return Err(no_server()),
            }
            drop(waiting);
            match self.place(session, head)? {
                Ok(slot) => return Ok(slot),
                Err(another) => ticket = another,
            }
        }
    }

    /// Decides whether and where to try again after a failed connect.
    async fn after_failure(
        &mut self,
        session: &mut Session,
        error: &ConnectError,
        limit: Option<Duration>,
    ) -> Result<(), NoServer> {
        if self.retries_left == 0 || !self.backend.conf().retry_on.no_connection {
            session.count_at_both(Count::ConnectErrors);
            let side = match error {
                ConnectError::Expired | ConnectError::HandshakeExpired => Side::ServerTimeout,
                ConnectError::Failed(_) | ConnectError::HandshakeFailed(_) => Side::Server,
            };
            return Err(NoServer {
                end: End::by(side, Stage::Connect),
                status: 503,
            });
        }
        self.retry(session);
        let elsewhere = session.server().is_none() && self.backend.usable_count() > 1;
        if !elsewhere
            && matches!(
                error,
                ConnectError::Failed(_) | ConnectError::HandshakeFailed(_)
            )
        {
            tokio::time::sleep(limit.map_or(RETRY_PAUSE, |limit| limit.min(RETRY_PAUSE))).await;
        }
        Ok(())
    }

    /// The sessions of the server were ended before there was a connection to it: elsewhere, if a
    /// failed connection would go there.
    fn after_shutdown(&mut self, session: &mut Session, by: Side) -> Result<(), NoServer> {
        if self.retries_left > 0 && self.backend.conf().retry_on.no_connection {
            self.retry(session);
            if session.server().is_none() {
                return Ok(());
            }
        }
        session.count_at_both(Count::ConnectErrors);
        Err(NoServer {
            end: End::by(by, Stage::Connect),
            status: 503,
        })
    }

    /// Answers that are not passed on as long as there are tries left.
    pub(crate) fn retried_statuses(&self) -> &'a [u16] {
        match self.retries_left {
            0 => &[],
            _ => &self.backend.conf().retry_on.statuses,
        }
    }

    /// The request was sent and met with `failure`: whether it is to be sent again.
    pub(crate) fn retry_after(&mut self, failure: &Failure, session: &mut Session) -> bool {
        let retry_on = &self.backend.conf().retry_on;
        let covered = failure.cause.is_some_and(|it| retry::covers(retry_on, it));
        if !covered || self.retries_left == 0 || session.record.sent_once.get() {
            return false;
        }
        self.only_fresh = true;
        self.retry(session);
        true
    }

    /// One more try, on the same server or elsewhere.
    fn retry(&mut self, session: &mut Session) {
        self.retries_left -= 1;
        session.record.retries += 1;
        // One that takes nothing new may still be the one that the session belongs to.
        let gone = session.server().is_none_or(|server| !server.accepts_new());
        if (self.redispatches() || (gone && !self.belongs)) && !self.forced {
            if std::mem::take(&mut self.belongs) {
                cookie::went_elsewhere(session);
            }
            self.avoid = session.server().map(|server| server.key);
            self.left = session.server().cloned();
            session.vacate();
        } else {
            session.count_at_both(Count::Retries);
            session.count_at_server(Count::Sessions);
        }
    }

    /// A try that was taken from a server has found its next one. As in HAProxy it counts, at the
    /// server left, as a redispatch if that is another one, else as a retry.
    fn count_redispatch(&mut self, session: &mut Session) {
        let Some(left) = self.left.take() else { return };
        let moved = session.server().is_some_and(|now| now.key != left.key);
        let what = match moved {
            true => Count::Redispatches,
            false => Count::Retries,
        };
        session.record.redispatched |= moved;
        left.counters.add(session.worker().index, what, 1);
        session.count_at_backend(what);
    }

    /// Whether this retry goes elsewhere (manual 4.2, "option redispatch"). Where nothing but the load
    /// led to the server, every retry does, as in HAProxy.
    fn redispatches(&self) -> bool {
        let conf = self.backend.conf();
        let Some(interval) = conf.redispatch else {
            return false;
        };
        let by_load = !matches!(conf.balancing.algorithm, Balance::Hash(_));
        retry::is_due(interval, conf.retries, self.retries_left)
            || (by_load && !self.belongs && self.backend.usable_count() > 1)
    }

    /// Keeps a connection for the next request, from so long after the session's start.
    pub(crate) fn keep(
        &mut self,
        server: ServerConnection,
        session: &Session,
        after: Duration,
        former: &mut Former,
        worker: &Worker,
    ) {
        former.remember(self.backend, session.server());
        let is_private = server.is_private;
        if let (Some(alike), Some(state)) = (self.alike.take(), session.server()) {
            let kept = Used {
                stream: server.stream,
                uses: server.uses.saturating_add(1),
                since: session.record.moment(after),
            };
            let send = &state.conf.outgoing.send_proxy;
            match self.backend.conf().http_reuse {
                // It names this very request: not even the next one of its client may go by it.
                _ if alike.header.is_some() && send.unique_id => {}
                _ if is_private || is_of_one(&alike, self.backend) => {
                    let (own, shared) = (former.own(), &worker.shared);
                    worker.idle.give_own(own, alike, state, kept, shared);
                }
                _ => worker.idle.give(alike, state, kept, &worker.shared),
            }
        }
    }
}

/// Whether a connection of that kind serves one client alone: by `http-reuse never`, or because its PROXY header
/// names that client.
fn is_of_one(alike: &Alike, backend: &BackendState) -> bool {
    backend.conf().http_reuse == HttpReuse::Never
        || (alike.header.is_some() && !shares_header(backend))
}

/// Whether whoever would write the very same PROXY header may go by it: `http-reuse always` says so.
fn shares_header(backend: &BackendState) -> bool {
    backend.conf().http_reuse == HttpReuse::Always
}

fn placed(assigned: Assigned, session: &mut Session) -> Result<Result<Slot, Ticket>, NoServer> {
    match assigned {
        Assigned::Slot(slot) => Ok(Ok(slot)),
        Assigned::Wait(ticket) => Ok(Err(ticket)),
        Assigned::NoServer => {
            session.count_at_backend(Count::ConnectErrors);
            Err(no_server())
        }
        Assigned::QueueFull(server) => {
            session.belongs_to(&server);
            session.count_at_both(Count::ConnectErrors);
            Err(NoServer {
                end: End::by(Side::Server, Stage::Queue),
                status: 503,
            })
        }
    }
}

/// Whether every port to come from was taken.
fn is_portless(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Failed(error) if source::is_taken(error))
}

fn no_server() -> NoServer {
    NoServer {
        end: End::by(Side::Server, Stage::Connect),
        status: 503,
    }
}

/// `timeout queue` was reached.
fn stuck_in_queue() -> NoServer {
    NoServer {
        end: End::by(Side::ServerTimeout, Stage::Queue),
        status: 503,
    }
}

/// The name for the TLS handshake with the server: `sni EXPR` (manual 5.2).
fn server_name(session: &Session, head: Option<&RequestHead>) -> Option<Arc<str>> {
    let sample = session.server()?.tls_settings()?.sni.as_ref()?;
    let facts = session.facts(head, None);
    let name = routing::sample::eval(sample, &facts)?.into_text();
    Some(String::from_utf8_lossy(&name).into())
}

/// What connections to the server are kept by: `pool-conn-name` (manual 5.2).
fn pool_name(
    session: &Session,
    head: Option<&RequestHead>,
    server: &ServerState,
) -> Option<Arc<str>> {
    let sample = server.conf.pool_name.as_ref()?;
    let name = routing::sample::eval(sample, &session.facts(head, None))?.into_text();
    Some(String::from_utf8_lossy(&name).into())
}

/// A place in a queue; however the wait ends, the log tells how many went before.
struct Waiting<'a> {
    ticket: Ticket,
    session: &'a mut Session,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let record = &mut self.session.record;
        match self.ticket.passed() {
            Passed::Server(count) => record.server_queue += count,
            Passed::Backend(count) => record.backend_queue += count,
        }
    }
}
