//! A session while its tunnel is open: what counts and limits need, and what its log line will tell, in
//! the smallest form. It stays so for days, a hundred thousand times; a [`Session`] is made of it again
//! when the tunnel ends.

mod moving;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::model::Timeouts;
use routing::balance::ServerKey;
use routing::sample::{self, ConnectionError, ConnectionFacts, ServerTlsFacts, TlsFacts};
use routing::stick::Counted;
use routing::variables::Store;

pub(crate) use moving::Known;

use super::captures::Notes;
use super::{Login, Record, Session};
use crate::assign::Slot;
use crate::counters::{Count, Counters};
use crate::end::Side;
use crate::server::ServerState;
use crate::site::{BackendKey, BackendState, FrontendState, Heirs};
use crate::stick::{Both, Tracking};
use crate::worker::{Connection, RestingConnection, RestingRoom, Worker};

/// A session at rest. It must be woken to end: what it occupies is given back by nobody else.
#[must_use]
pub(crate) struct Resting {
    frontend: Arc<FrontendState>,
    backend: Option<Arc<BackendState>>,
    server: Option<Arc<ServerState>>,
    room: RestingRoom,
    rare: Option<Box<Rare>>,
    bytes_in: u64,
    bytes_out: u64,
    /// Microseconds since 1970.
    date: u64,
    started: Instant,
    request_line: Box<[u8]>,
    src: Address,
    dst: Address,
    handshake: Span,
    idle: Span,
    request: Span,
    queue: Span,
    connect: Span,
    response: Span,
    retries: u32,
    status: Option<u16>,
    cookies: [u8; 2],
    /// Whether somebody connected that has an address.
    has_peer: bool,
    /// Whether it is counted in its backend as open.
    entered: bool,
    /// Whether it has a place on its server.
    placed: bool,
    logged: bool,
    heard: bool,
    is_first: bool,
    received_proxy: bool,
    redispatched: bool,
    sent_once: bool,
}

/// What few sessions have, or only those over TLS.
#[derive(Default)]
struct Rare {
    peer: Option<SocketAddr>,
    tls: Option<TlsFacts>,
    error: ConnectionError,
    server_tls: Option<ServerTlsFacts>,
    variables: Option<Box<Store>>,
    /// What few connections have.
    connection: Option<Box<sample::Rare>>,
    timeouts: Option<Box<(Timeouts, Timeouts)>>,
    notes: Option<Box<Notes>>,
    /// What is tracked of the connection.
    tracking: Tracking,
    /// A place on another server than the last one tried.
    slot: Option<Slot>,
    server_queue: u64,
    backend_queue: u64,
}

/// An address, of which most are IPv4.
enum Address {
    None,
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl Address {
    fn new(address: Option<SocketAddr>) -> Self {
        match address {
            None => Self::None,
            Some(SocketAddr::V4(v4)) => Self::V4(v4),
            Some(SocketAddr::V6(v6)) => Self::V6(Box::new(v6)),
        }
    }

    fn wake(&self) -> Option<SocketAddr> {
        match self {
            Self::None => None,
            Self::V4(v4) => Some(SocketAddr::V4(*v4)),
            Self::V6(v6) => Some(SocketAddr::V6(**v6)),
        }
    }
}

/// A duration that may not have been reached: microseconds up to half an hour, milliseconds beyond,
/// which is more than a log line tells.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span(u32);

impl Span {
    const NONE: Self = Self(u32::MAX);
    /// Set: what follows are milliseconds.
    const COARSE: u32 = 1 << 31;

    fn new(time: Option<Duration>) -> Self {
        let Some(time) = time else { return Self::NONE };
        match u32::try_from(time.as_micros()) {
            Ok(micros) if micros < Self::COARSE => Self(micros),
            _ => {
                let longest = Self::COARSE - 2;
                let millis = u32::try_from(time.as_millis()).unwrap_or(longest);
                Self(Self::COARSE | millis.min(longest))
            }
        }
    }

    fn wake(self) -> Option<Duration> {
        match self {
            Self::NONE => None,
            Self(fine) if fine < Self::COARSE => Some(Duration::from_micros(fine.into())),
            Self(coarse) => Some(Duration::from_millis((coarse & !Self::COARSE).into())),
        }
    }
}

impl Session {
    /// Makes it as small as can be; `Err`: its connection is in use elsewhere.
    pub(crate) fn rest(mut self: Box<Self>) -> Result<Resting, Box<Self>> {
        // A rule over the response may have said something new.
        self.settle_timeouts();
        if Rc::strong_count(&self.connection) != 1 {
            return Err(self);
        }
        let Self {
            connection,
            backend,
            entered,
            slot,
            server,
            server_tls,
            notes,
            logged,
            bytes_in,
            bytes_out,
            own_timeouts,
            record,
            ..
        } = *self;
        let connection = connection.rest().ok();
        let (facts, connection) = connection.expect("nobody else had it a moment ago");
        let ours = |slot: &Slot| {
            let place = backend.as_ref().zip(server.as_ref());
            place.is_some_and(|(backend, server)| slot.is_on(backend, server))
        };
        let (own, other) = match slot {
            Some(slot) if ours(&slot) => (Some(slot), None),
            slot => (None, slot),
        };
        let (src, dst) = (facts.source(), facts.destination());
        let rare = Rare {
            peer: connection.peer.filter(|_| connection.peer != src),
            tls: facts.tls,
            error: facts.error,
            server_tls,
            variables: facts.variables.into_inner(),
            connection: facts.rare.into_inner().filter(|rare| rare.keeps()),
            timeouts: own_timeouts,
            notes: notes.into_inner(),
            tracking: connection.tracking,
            slot: other,
            server_queue: record.server_queue,
            backend_queue: record.backend_queue,
        };
        Ok(Resting {
            frontend: connection.frontend,
            backend,
            server,
            room: connection.room,
            has_peer: connection.peer.is_some(),
            rare: rare.boxed(),
            bytes_in: bytes_in.get(),
            bytes_out: bytes_out.get(),
            date: u64::try_from(record.date.as_micros()).unwrap_or(u64::MAX),
            started: record.started,
            request_line: record.request_line,
            src: Address::new(src),
            dst: Address::new(dst),
            handshake: Span::new(Some(record.handshake)),
            idle: Span::new(Some(record.idle)),
            request: Span::new(record.request),
            queue: Span::new(record.queue),
            connect: Span::new(record.connect),
            response: Span::new(record.response),
            retries: record.retries,
            status: record.status,
            cookies: record.cookies.get(),
            entered: entered.is_some_and(Entered::rest),
            placed: own.map(Slot::rest).is_some(),
            logged: logged.get(),
            heard: record.heard,
            is_first: record.is_first,
            received_proxy: facts.received_proxy,
            redispatched: record.redispatched,
            sent_once: record.sent_once.get(),
        })
    }
}

impl Rare {
    /// Nothing is kept of nothing.
    fn boxed(self) -> Option<Box<Self>> {
        let queued = self.server_queue != 0 || self.backend_queue != 0;
        let tls = self.tls.is_some() || self.server_tls.is_some();
        let failed = self.error != ConnectionError::None;
        let kept =
            self.variables.is_some() || self.connection.is_some() || !self.tracking.is_empty();
        let some = kept || self.peer.is_some() || self.notes.is_some() || self.slot.is_some();
        (queued || tls || failed || some).then(|| Box::new(self))
    }
}

impl Resting {
    /// The session, to end it.
    pub(crate) fn wake(self, worker: &Rc<Worker>) -> Box<Session> {
        let rare = self.rare.map_or_else(Rare::default, |rare| *rare);
        let src = self.src.wake();
        let facts = ConnectionFacts {
            received_proxy: self.received_proxy,
            src,
            dst: self.dst.wake(),
            tls: rare.tls,
            error: rare.error,
            variables: rare.variables.into(),
            rare: rare.connection.into(),
        };
        let handshake = self.handshake.wake().unwrap_or_default();
        let resting = RestingConnection {
            frontend: self.frontend,
            handshake,
            peer: rare.peer.or_else(|| src.filter(|_| self.has_peer)),
            room: self.room,
            tracking: rare.tracking,
        };
        let slot = match (&self.backend, &self.server) {
            (Some(backend), Some(server)) if self.placed => Some(Slot::wake(backend, server)),
            _ => rare.slot,
        };
        let entered = self.backend.as_ref().filter(|_| self.entered);
        Box::new(Session {
            connection: Connection::wake(facts, resting, worker),
            entered: entered.map(Entered::wake),
            backend: self.backend,
            slot,
            server: self.server,
            service: super::NO_SERVICE,
            logins: None,
            login: Cell::new(Login::Asked),
            server_tls: rare.server_tls,
            notes: RefCell::new(rare.notes),
            logged: Cell::new(self.logged),
            bytes_in: Cell::new(self.bytes_in),
            bytes_out: Cell::new(self.bytes_out),
            inspected: None,
            own_timeouts: rare.timeouts,
            record: Record {
                date: Duration::from_micros(self.date),
                started: self.started,
                handshake,
                idle: self.idle.wake().unwrap_or_default(),
                heard: self.heard,
                is_first: self.is_first,
                request: self.request.wake(),
                queue: self.queue.wake(),
                connect: self.connect.wake(),
                response: self.response.wake(),
                request_line: self.request_line,
                status: self.status,
                retries: self.retries,
                redispatched: self.redispatched,
                server_queue: rare.server_queue,
                backend_queue: rare.backend_queue,
                sent_once: Cell::new(self.sent_once),
                // It ends with its tunnel.
                server_closes: Cell::new(false),
                cookies: Cell::new(self.cookies),
            },
        })
    }

    /// Counts bytes that came from the client.
    pub(crate) fn count_in(&mut self, bytes: usize, writer: usize) {
        self.bytes_in += bytes as u64;
        self.count_tracked(Counted::BytesIn, bytes as u64);
        self.count_bytes(Count::BytesIn, bytes as u64, writer);
    }

    /// Counts bytes that go to the client.
    pub(crate) fn count_out(&mut self, bytes: usize, writer: usize) {
        self.bytes_out += bytes as u64;
        self.count_tracked(Counted::BytesOut, bytes as u64);
        self.count_bytes(Count::BytesOut, bytes as u64, writer);
    }

    fn count_tracked(&self, what: Counted, bytes: u64) {
        if let Some(rare) = &self.rare {
            let tracked = Both {
                connection: &rare.tracking,
                request: rare.notes.as_deref().map(|notes| &notes.tracking),
            };
            tracked.count(what, bytes);
        }
    }

    fn count_bytes(&self, what: Count, bytes: u64, writer: usize) {
        self.frontend.counters.add(writer, what, bytes);
        if let Some(listener) = &self.room.listener {
            listener.count(writer, what, bytes);
        }
        self.count_behind(what, bytes, writer);
    }

    /// Counts one event at the frontend, too.
    pub(crate) fn count_everywhere(&self, what: Count, writer: usize) {
        self.frontend.counters.add(writer, what, 1);
        self.count_at_both(what, writer);
    }

    /// Counts one event at the backend and at the server.
    pub(crate) fn count_at_both(&self, what: Count, writer: usize) {
        self.count_behind(what, 1, writer);
    }

    fn count_behind(&self, what: Count, by: u64, writer: usize) {
        let add = |counters: &Counters| counters.add(writer, what, by);
        if let Some(backend) = &self.backend {
            add(&backend.counters);
        }
        if let Some(server) = &self.server {
            add(&server.counters);
        }
    }

    /// Goes over to the frontend and the backend in force, where both are configured as before: then nothing
    /// of an earlier configuration is kept for its sake.
    pub(crate) fn renew(&mut self, heirs: &Heirs) {
        let Some(frontend) = heirs.frontend(&self.frontend) else {
            return;
        };
        if let Some(backend) = &mut self.backend {
            let Some(heir) = heirs.backend(backend) else {
                return;
            };
            *backend = heir.clone();
        }
        self.frontend = frontend.clone();
    }

    /// The frontend it came in by.
    pub(crate) fn frontend(&self) -> &FrontendState {
        &self.frontend
    }

    /// Its backend.
    pub(crate) fn backend(&self) -> Option<&BackendState> {
        self.backend.as_deref()
    }

    /// Its server.
    pub(crate) fn server(&self) -> Option<&ServerState> {
        self.server.as_deref()
    }

    /// The client.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        self.src.wake()
    }

    /// When it began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The first line of its request; empty: there was none.
    pub(crate) fn request_line(&self) -> &[u8] {
        &self.request_line
    }

    /// Bytes from the client, and to it.
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }

    /// Whether it is on this server of this backend (by position).
    pub(crate) fn is_on(&self, (backend, server): (BackendKey, ServerKey)) -> bool {
        let on_server = self.server.as_ref().is_some_and(|it| it.key == server);
        on_server && self.backend.as_ref().is_some_and(|it| it.key == backend)
    }

    /// Whether closing the socket of that side resets the connection (`option nolinger`).
    pub(crate) fn closes_with_reset(&self, side: Side) -> bool {
        match side {
            Side::Client => self.frontend.conf().no_linger,
            _ => self
                .server
                .as_ref()
                .is_some_and(|it| it.conf.outgoing.no_linger),
        }
    }

    /// The timeouts of its frontend and of its backend.
    fn timeouts(&self) -> (&Timeouts, &Timeouts) {
        let rare = self.rare.as_deref();
        if let Some(own) = rare.and_then(|rare| rare.timeouts.as_deref()) {
            return (&own.0, &own.1);
        }
        let front = &self.frontend.conf().proxy.timeouts;
        let backend = self.backend.as_ref();
        (front, backend.map_or(front, |it| &it.conf().proxy.timeouts))
    }

    /// How long its tunnel may be silent: `timeout tunnel`, else the shorter of `timeout client` and
    /// `timeout server`, since a message resets both (manual 4.2, "timeout tunnel").
    pub(crate) fn tunnel_limit(&self) -> Option<Duration> {
        let (front, back) = self.timeouts();
        back.tunnel
            .or_else(|| super::shorter(front.client, back.server))
    }

    /// Whether that limit is the server's: `timeout server` is the shorter one.
    pub(crate) fn is_tunnel_limit_servers(&self) -> bool {
        let (front, back) = self.timeouts();
        let shorter = back.server.zip(front.client).is_none_or(|(s, c)| s < c);
        back.tunnel.is_none() && back.server.is_some() && shorter
    }

    /// The same after `closed` has ended its direction: the other one has `timeout server-fin` or
    /// `client-fin` from then on.
    pub(crate) fn half_closed_limit(&self, closed: Side) -> Option<Duration> {
        let (front, back) = self.timeouts();
        let (fin, left) = match closed {
            Side::Client => (back.server_fin, back.server),
            _ => (front.client_fin, front.client),
        };
        fin.or(back.tunnel).or(left)
    }
}

/// Being counted as a session of a backend.
pub(super) struct Entered(Option<Arc<BackendState>>);

impl Entered {
    /// One more.
    pub(super) fn new(backend: &Arc<BackendState>) -> Self {
        backend.sessions.enter();
        Self::wake(backend)
    }

    /// It stays counted, and whoever takes it on keeps that in mind.
    fn rest(mut self) -> bool {
        self.0.take().is_some()
    }

    /// One that is counted already.
    fn wake(backend: &Arc<BackendState>) -> Self {
        Self(Some(backend.clone()))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(backend) = &self.0 {
            backend.sessions.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_what_a_log_line_tells_of_them() {
        let check = |time: Option<Duration>| {
            let millis = |time: Option<Duration>| time.map(|it| it.as_millis());
            assert_eq!(millis(Span::new(time).wake()), millis(time));
        };
        check(None);
        for millis in [0, 1, 999, 60_000, 2_147_483, 2_147_484, 3_600_000, 1 << 30] {
            check(Some(Duration::from_millis(millis)));
        }
        let fine = Duration::from_micros(1234);
        assert_eq!(Span::new(Some(fine)).wake(), Some(fine));
        // Twenty-four days, and never "not reached".
        let longest = Span::new(Some(Duration::MAX)).wake();
        assert_eq!(longest, Some(Duration::from_millis((1 << 31) - 2)));
    }

    #[test]
    fn addresses_stay_what_they_are() {
        let check = |address: Option<SocketAddr>| {
            assert_eq!(Address::new(address).wake(), address);
        };
        check(None);
        check(Some("192.0.2.1:80".parse().expect("an address")));
        check(Some("[2001:db8::1%3]:443".parse().expect("an address")));
    }

    /// There may be a million of them: it grows for a good reason only.
    #[test]
    fn a_session_at_rest_is_small() {
        assert!(size_of::<Resting>() <= 192, "{}", size_of::<Resting>());
    }
}
