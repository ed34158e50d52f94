//! A request on its way to a backend: a server, a connection, one exchange, and the decision to try
//! again. Also the same for `mode tcp`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::model::{ConnectionMode, ForwardFor};
use routing::balance::{Ask, ServerKey, source_hash};
use wire::h1::{self, BodyLength};
use wire::head::{RequestHead, ResponseHead};
use wire::ws::Upgrade;

use crate::buffer::Buffer;
use crate::client::{After, Client, Request};
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::exchange::{self, Failure, Order, Outcome, ServerConnection};
use crate::serve;
use crate::server::ServerState;
use crate::session::Session;
use crate::site::{Assigned, BackendState};
use crate::stream::Stream;
use crate::timing::{Expired, within};
use crate::tunnel::Tunnel;
use crate::upstream::connect::{ConnectError, connect};
use crate::upstream::pool::Alike;
use crate::worker::Worker;

/// Pause before a connection is tried again on the same server, so that one that restarts is not
/// asked three times in a millisecond (manual 4.2, "retries"); `timeout connect` may be shorter.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What became of a request.
pub(crate) enum Forwarded {
    /// It was answered, by the node or by us.
    Done(Client, After),
    /// It became a WebSocket.
    Tunnel(Tunnel),
}

/// Why no server can be had.
struct NoServer {
    end: End,
    status: u16,
}

/// Forwards a request and sees its response, or the opening of its tunnel, through.
pub(crate) async fn forward(
    mut client: Client,
    mut request: Request,
    backend: &Arc<BackendState>,
    worker: &Rc<Worker>,
) -> Forwarded {
    prepare_head(&mut request, backend);
    let mut attempts = Attempts::new(backend);
    loop {
        let reusable = may_reuse(&request);
        let Request { head, session, .. } = &mut request;
        let mut server = match attempts
            .connect(session, Some(&*head), reusable, worker)
            .await
        {
            Ok(server) => server,
            Err(NoServer { end, status }) => {
                return give_up(client, request, end, Some(status)).await;
            }
        };
        worker.shared.note_routed();
        let outcome = run_exchange(&mut client, &mut server, &mut request, backend).await;
        match outcome {
            Outcome::Switched => return Forwarded::Tunnel(open_tunnel(client, server, request)),
            Outcome::Done {
                client: after,
                server_reusable,
            } => {
                if server_reusable && keeps_server(&request, backend) {
                    attempts.keep(server, &request.session, worker);
                }
                request.session.finish(End::NORMAL);
                return Forwarded::Done(client, after);
            }
            Outcome::Failed(failure)
                if is_stale(&failure, &server) && attempts.retry_fresh(&mut request.session) => {}
            Outcome::Failed(failure) => {
                if failure.unframed {
                    // An orderly end would pass for the whole of it.
                    client.cut = true;
                }
                return give_up(client, request, failure.end, failure.status).await;
            }
        }
    }
}

/// Only a request that changes nothing and can be sent again whole may go out on a connection that
/// was idle: if that one dies, nobody knows whether the request was seen (RFC 9110 section 9.2.1).
fn may_reuse(request: &Request) -> bool {
    request.head.method.is_safe()
        && matches!(request.body, BodyLength::Empty | BodyLength::Length(0))
        && matches!(request.upgrade, Upgrade::No | Upgrade::Other)
}

/// A request that went out on a connection kept from before, and met its end: a race with the node's
/// keep-alive time that [`may_reuse`] has made harmless.
fn is_stale(failure: &Failure, server: &ServerConnection) -> bool {
    server.reused && !failure.answered && failure.end.side == Side::Server
}

async fn run_exchange(
    client: &mut Client,
    server: &mut ServerConnection,
    request: &mut Request,
    backend: &Arc<BackendState>,
) -> Outcome {
    let (front, back) = request.session.timeouts();
    let mode = connection_mode(&request.session, backend);
    let upgrade = match &request.upgrade {
        Upgrade::WebSocket(key) => Some(key),
        _ => None,
    };
    let server_connection = match (upgrade, mode) {
        (Some(_), _) => Some(h1::Connection::Upgrade),
        (None, ConnectionMode::KeepAlive) => None,
        (None, _) => Some(h1::Connection::Close),
    };
    // The rules look at the session while the exchange counts in it; both only read its choices.
    let rewriter = Rewriter::new(&request.session, backend);
    let order = Order {
        head: &request.head,
        body: request.body,
        upgrade,
        server_connection,
        // Bytes behind a refused upgrade may be frames: they must never be read as a request.
        keep_client: request.keep_alive && mode != ConnectionMode::Close && upgrade.is_none(),
        client_limit: front.client,
        server_limit: back.server,
        rewrite: &|head: &mut ResponseHead, session: &Session| rewriter.apply(head, session),
    };
    exchange::exchange(client, server, &mut request.session, &order).await
}

/// `http-response` rules of the backend, then of the frontend (manual 4.2, "http-response").
struct Rewriter {
    backend: Arc<BackendState>,
    own_half: bool,
}

impl Rewriter {
    fn new(session: &Session, backend: &Arc<BackendState>) -> Self {
        Self {
            backend: backend.clone(),
            own_half: serve::is_own_half(session.frontend(), backend),
        }
    }

    fn apply(&self, head: &mut ResponseHead, session: &Session) {
        let frontend = session.frontend();
        let front = &frontend.conf().proxy.http_response;
        let back = &self.backend.conf().proxy.http_response;
        for rules in [Some(back), (!self.own_half).then_some(front)]
            .into_iter()
            .flatten()
        {
            if !rules.is_empty() {
                let usable = |name: Option<&str>| session.usable_servers(name);
                let facts = session.facts(&usable, None, None);
                routing::rules::response(rules, head, &facts, session);
            }
        }
    }
}

/// What the proxy itself does to a head: hop-by-hop fields go, `X-Forwarded-For` comes.
fn prepare_head(request: &mut Request, backend: &BackendState) {
    // A rule that took the Upgrade field away has forbidden the upgrade.
    if !request.head.fields.contains("upgrade") {
        request.upgrade = Upgrade::No;
    }
    h1::strip_hop_by_hop(&mut request.head.fields);
    let frontend = request.session.frontend().clone();
    let settings = [
        &backend.conf().proxy.forwardfor,
        &frontend.conf().proxy.forwardfor,
    ];
    if let Some(src) = request.session.connection().facts.src {
        add_forwarded_for(&mut request.head, settings.map(Option::as_ref), src);
    }
}

/// `option forwardfor` of backend and frontend together (manual 4.2): either asks for the header,
/// either may except a source; the backend's name for it wins, and `if-none` counts where all who
/// ask say it.
fn add_forwarded_for(head: &mut RequestHead, settings: [Option<&ForwardFor>; 2], src: SocketAddr) {
    let asked = || settings.into_iter().flatten();
    let Some(first) = asked().next() else { return };
    let excepted = asked()
        .filter_map(|f| f.except)
        .any(|mask| mask.contains(&src.ip()));
    let if_none = asked().all(|f| f.if_none);
    if excepted || (if_none && head.fields.contains(&first.header)) {
        return;
    }
    head.fields
        .append(&first.header, src.ip().to_string().as_bytes());
}

/// The stricter of both sides' connection modes.
fn connection_mode(session: &Session, backend: &BackendState) -> ConnectionMode {
    session
        .frontend()
        .conf()
        .proxy
        .connection
        .max(backend.conf().proxy.connection)
}

fn keeps_server(request: &Request, backend: &BackendState) -> bool {
    connection_mode(&request.session, backend) == ConnectionMode::KeepAlive
        && matches!(request.upgrade, Upgrade::No | Upgrade::Other)
}

fn open_tunnel(mut client: Client, mut server: ServerConnection, request: Request) -> Tunnel {
    let early_up = client.buffer.take(&client.connection.worker.buffers);
    let early_down = server.buffer.take(&client.connection.worker.buffers);
    Tunnel::new(
        client.stream,
        server.stream,
        early_up,
        early_down,
        request.session,
    )
}

/// Tells the client, if it has not got a response head yet, and closes the books.
async fn give_up(
    mut client: Client,
    mut request: Request,
    end: End,
    status: Option<u16>,
) -> Forwarded {
    let after = match status {
        Some(status) => {
            let answer = request.session.error_page(status);
            // A request whose body is half-read cannot be followed by another one.
            if request.body != BodyLength::Empty || !matches!(request.upgrade, Upgrade::No) {
                request.keep_alive = false;
            }
            client.reply(&mut request, answer).await
        }
        None => After::Close,
    };
    request.session.finish(end);
    Forwarded::Done(client, after)
}

/// The tries of one session to reach a server.
struct Attempts<'a> {
    backend: &'a Arc<BackendState>,
    retries_left: u32,
    avoid: Option<ServerKey>,
    /// Idle connections have let this request down once.
    only_fresh: bool,
    alike: Option<Alike>,
}

impl<'a> Attempts<'a> {
    fn new(backend: &'a Arc<BackendState>) -> Self {
        Self {
            backend,
            retries_left: backend.conf().retries,
            avoid: None,
            only_fresh: false,
            alike: None,
        }
    }

    /// A connection to a server that has a place for the session: an idle one where `may_reuse`,
    /// else a new one.
    async fn connect(
        &mut self,
        session: &mut Session,
        head: Option<&RequestHead>,
        may_reuse: bool,
        worker: &Rc<Worker>,
    ) -> Result<ServerConnection, NoServer> {
        loop {
            if session.server().is_none() {
                self.assign(session).await?;
            }
            let Some(server) = session.server().cloned() else {
                return Err(no_server());
            };
            let backend = self.backend.index();
            let alike = Alike {
                backend,
                server: server.key,
                sni: server_name(session, head),
            };
            if may_reuse
                && !self.only_fresh
                && let Some(stream) = worker.idle.take(&alike)
            {
                session.record.connect = Some(Duration::ZERO);
                session.count_at_both(Count::Reuses);
                self.alike = Some(alike);
                return Ok(ServerConnection {
                    stream,
                    buffer: Buffer::default(),
                    reused: true,
                });
            }
            match self.open(session, &server, alike.sni.as_deref()).await? {
                Some(stream) => {
                    self.alike = Some(alike);
                    return Ok(ServerConnection {
                        stream,
                        buffer: Buffer::default(),
                        reused: false,
                    });
                }
                None => continue,
            }
        }
    }

    /// A new connection; `None` when it failed and another try is due.
    async fn open(
        &mut self,
        session: &mut Session,
        server: &ServerState,
        sni: Option<&str>,
    ) -> Result<Option<Stream>, NoServer> {
        let started = session.record.elapsed();
        let limit = self.backend.conf().proxy.timeouts.connect;
        let port = session.connection().facts.dst.map_or(0, |dst| dst.port());
        let Some(target) = server.target(port) else {
            return Err(no_server());
        };
        session.count_at_both(Count::Connects);
        match connect(&target, server.tls.as_ref(), sni, limit).await {
            Ok(stream) => {
                let took = session.record.elapsed().saturating_sub(started);
                session.record.connect = Some(took);
                Ok(Some(stream))
            }
            Err(error) => {
                self.after_failure(session, &error, limit).await?;
                Ok(None)
            }
        }
    }

    /// An idle connection let the request down: once more, on a new one to the same server. Counts as
    /// a retry; `false` when none is left.
    fn retry_fresh(&mut self, session: &mut Session) -> bool {
        if self.retries_left == 0 {
            return false;
        }
        self.retries_left -= 1;
        self.only_fresh = true;
        session.record.retries += 1;
        session.count_at_both(Count::Retries);
        true
    }

    /// Takes a place on a server, waiting in the queue if need be.
    async fn assign(&mut self, session: &mut Session) -> Result<(), NoServer> {
        let source = session.connection().facts.src;
        let ask = Ask {
            source_hash: source.map_or(0, |src| source_hash(src.ip())),
            random: fastrand::u64(..),
            avoid: self.avoid,
        };
        let started = session.record.elapsed();
        let slot = match self.backend.assign(&ask) {
            Assigned::Slot(slot) => slot,
            Assigned::NoServer => {
                return Err(NoServer {
                    end: End::by(Side::Server, Stage::Connect),
                    status: 503,
                });
            }
            Assigned::Wait(receiver, position) => {
                session.record.queue_position = position;
                let timeouts = &self.backend.conf().proxy.timeouts;
                let limit = timeouts.queue.or(timeouts.connect);
                let _queued = Queued::enter(self.backend);
                match within(limit, receiver).await {
                    Ok(Ok(slot)) => slot,
                    Ok(Err(_)) => return Err(no_server()),
                    Err(Expired) => {
                        let waited = session.record.elapsed().saturating_sub(started);
                        session.record.queue = Some(waited);
                        let end = End::by(Side::ServerTimeout, Stage::Queue);
                        return Err(NoServer { end, status: 503 });
                    }
                }
            }
        };
        let waited = session.record.elapsed().saturating_sub(started);
        session.record.queue = Some(session.record.queue.unwrap_or_default() + waited);
        session.occupy(slot);
        Ok(())
    }

    /// Decides whether and where to try again after a failed connect.
    async fn after_failure(
        &mut self,
        session: &mut Session,
        error: &ConnectError,
        limit: Option<Duration>,
    ) -> Result<(), NoServer> {
        session.count_at_server(Count::ConnectErrors);
        if self.retries_left == 0 {
            session.count_at_backend(Count::ConnectErrors);
            let side = match error {
                ConnectError::Expired => Side::ServerTimeout,
                ConnectError::Failed(_) => Side::Server,
            };
            return Err(NoServer {
                end: End::by(side, Stage::Connect),
                status: 503,
            });
        }
        self.retries_left -= 1;
        session.record.retries += 1;
        session.count_at_both(Count::Retries);
        if self.redispatches() {
            self.avoid = session.server().map(|server| server.key);
            session.record.redispatched = true;
            session.count_at_both(Count::Redispatches);
            session.vacate();
        } else if matches!(error, ConnectError::Failed(_)) {
            tokio::time::sleep(limit.map_or(RETRY_PAUSE, |limit| limit.min(RETRY_PAUSE))).await;
        }
        Ok(())
    }

    /// `option redispatch N`: every Nth retry goes elsewhere, counted from the last one for
    /// negative N (manual 4.2).
    fn redispatches(&self) -> bool {
        let conf = self.backend.conf();
        let done = i64::from(conf.retries) - i64::from(self.retries_left);
        match i64::from(conf.redispatch) {
            0 => false,
            every @ 1.. => done % every == 0,
            from_last => i64::from(self.retries_left) % -from_last == 0,
        }
    }

    /// Keeps a connection for the next request.
    fn keep(&mut self, server: ServerConnection, session: &Session, worker: &Worker) {
        if let (Some(alike), Some(state)) = (self.alike.take(), session.server()) {
            worker
                .idle
                .give(alike, state, server.stream, &worker.shared);
        }
    }
}

fn no_server() -> NoServer {
    NoServer {
        end: End::by(Side::Server, Stage::Connect),
        status: 503,
    }
}

/// The name for the TLS handshake with the server: `sni EXPR` (manual 5.2).
fn server_name(session: &Session, head: Option<&RequestHead>) -> Option<Rc<str>> {
    let sample = session.server()?.conf.tls.as_ref()?.sni.as_ref()?;
    let usable = |name: Option<&str>| session.usable_servers(name);
    let facts = session.facts(&usable, head, None);
    let name = routing::sample::eval(sample, &facts)?.into_text();
    Some(String::from_utf8_lossy(&name).into())
}

/// A place in the queue, as stats show it.
struct Queued<'a>(&'a BackendState);

impl<'a> Queued<'a> {
    fn enter(backend: &'a BackendState) -> Self {
        backend.queued.enter();
        Self(backend)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.leave();
    }
}

/// `mode tcp`: a server for the whole connection, then bytes both ways.
pub(crate) async fn relay(client: Client, worker: &Rc<Worker>) {
    let mut session = Session::start(&client.connection);
    let site = worker.shared.site.load_full();
    let Some(backend) = serve::tcp_backend(&site, &session) else {
        session.finish(End::by(Side::Server, Stage::Connect));
        return;
    };
    session.enter_backend(&backend);
    let mut attempts = Attempts::new(&backend);
    match attempts.connect(&mut session, None, false, worker).await {
        Ok(server) => {
            worker.shared.note_routed();
            let tunnel = Tunnel::new(
                client.stream,
                server.stream,
                Vec::new(),
                Vec::new(),
                session,
            );
            tokio::task::spawn_local(tunnel);
        }
        Err(NoServer { end, .. }) => {
            client.stream.reset_on_close();
            session.finish(end);
        }
    }
}
