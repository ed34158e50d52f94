//! A request on its way to a backend: a connection to a server (see [`crate::attempts`]), one
//! exchange, and what the client hears of it.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use config::expr::Flags;
use config::model::{Balance, BodyWait, ConnectionMode, ForwardFor, HashKey};
use routing::balance::session_hash;
use routing::body::Body;
use routing::format;
use routing::forwarded;
use routing::rules::Answer;
use routing::stick::Counted;
use wire::h1::{self, BodyLength};
use wire::head::{Method, RequestHead, ResponseHead};
use wire::ws::Upgrade;

use crate::answers::{self, Instead};
use crate::attempts::{Attempts, NoServer};
use crate::client::{After, Client, NoBody, Request};
use crate::cookie::{self, Persisted};
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::exchange::{self, Failure, Order, Outcome, ServerConnection};
use crate::marks;
use crate::redir;
use crate::retry::Kept;
use crate::server::ServerState;
use crate::session::Session;
use crate::site::BackendState;
use crate::sticking;
use crate::tunnel::Carries;
use crate::tunnels::Arrived;
use crate::upstream::former::Wanted;
use crate::worker::Worker;

/// What became of a request.
pub(crate) enum Forwarded {
    /// It was answered, by the node or by us.
    Done(After),
    /// It became a WebSocket: what [`open_tunnel`] is given.
    Switched(ServerConnection, Box<Request>),
}

/// Forwards a request and sees its response, or the opening of its tunnel, through.
pub(crate) async fn forward(
    client: &mut Client,
    mut request: Box<Request>,
    backend: &Arc<BackendState>,
    worker: &Rc<Worker>,
) -> Forwarded {
    let wanted = wanted_server(&request.session, Some(&request.head), backend);
    let mut persisted = cookie::read(&mut request, backend);
    if wanted.is_some() {
        // As in HAProxy the cookie is looked past, and none is given.
        let cookies = &request.session.record.cookies;
        let [asked, answered] = cookies.get();
        let asked = if asked == b'N' { asked } else { b'U' };
        cookies.set([asked, answered]);
        persisted = None;
    }
    let bound = persisted.as_ref().is_some_and(|it| it.server.is_some());
    let mut sticking = {
        let Request { head, session, .. } = &*request;
        sticking::look_up(session, &session.facts(Some(head), None), backend, bound)
    };
    let hash = match looks_at_body(&request, backend) {
        false => None,
        true => match Box::pin(hash_with_body(client, &mut request, backend)).await {
            Ok(hash) => Some(hash),
            Err(NoBody { status, end }) => {
                return Box::pin(give_up(client, request, end, Some(status))).await;
            }
        },
    };
    prepare_head(&mut request, backend);
    request.session.settle_timeouts();
    let mut attempts = Attempts::new(backend);
    attempts.hash_is(hash);
    attempts.retry_at_most(request.session.own_retries());
    if let Some(persisted) = &persisted {
        attempts.follow(persisted);
    }
    if let Some(server) = sticking.as_mut().and_then(|it| it.server.take()) {
        attempts.stick_to(server);
    }
    if let Some(server) = wanted {
        attempts.stick_to(server);
    }
    attempts.prefer(client.former.preferred(backend));
    let mut kept = Kept::of(&request, backend, worker);
    loop {
        let connected = connect(client, &mut request, &mut attempts, backend, worker).await;
        let mut server = match connected {
            Some(Ok(server)) => server,
            Some(Err(none)) => {
                return Box::pin(without_server(client, request, none)).await;
            }
            None => {
                attempts.stop_waiting(&mut request.session);
                let end = End::by(Side::Client, waiting_stage(&request.session));
                return Box::pin(give_up(client, request, end, None)).await;
            }
        };
        worker.shared.note_routed();
        if let Some(sticking) = &sticking {
            sticking.store(&request.session);
        }
        prepare_for_server(&mut request, &server, backend);
        let retried_statuses = attempts.retried_statuses();
        let outcome = run_exchange(
            client,
            &mut server,
            &mut request,
            backend,
            retried_statuses,
            kept.as_mut(),
            persisted.as_ref(),
        )
        .await;
        if let Outcome::Failed(failure) = &outcome {
            request.body_read = request.body_read.max(failure.body);
        }
        match outcome {
            Outcome::Switched => return Forwarded::Switched(server, request),
            Outcome::Done {
                client: after,
                server_reusable,
                is_private,
            } => {
                server.is_private |= is_private;
                let took = request.session.record.elapsed();
                if server_reusable && keeps_server(&request, backend) {
                    let former = &mut client.former;
                    attempts.keep(server, &request.session, took, former, worker);
                }
                request.session.finish_after(took, End::NORMAL);
                return Forwarded::Done(after);
            }
            Outcome::Replaced(Instead { answer, end }, read) => {
                request.body_read = request.body_read.max(read);
                let Some(answer) = answer else {
                    request.session.finish(end);
                    return Forwarded::Done(After::Forget);
                };
                return Box::pin(give_answer(client, request, end, answer)).await;
            }
            Outcome::Failed(failure)
                if is_stale(&failure, &server) && attempts.retry_fresh(&mut request.session) => {}
            Outcome::Failed(failure) if attempts.retry_after(&failure, &mut request.session) => {}
            Outcome::Failed(failure) => {
                if failure.end.side == Side::Client && backend.conf().proxy.conduct.abort_on_close {
                    // The node need not finish what nobody waits for.
                    server.stream.reset_on_close();
                }
                return Box::pin(broken_off(client, request, failure)).await;
            }
        }
    }
}

/// Whether the choice of a server depends on what a request's body says (`balance url_param … check_post`).
fn looks_at_body(request: &Request, backend: &BackendState) -> bool {
    let in_body = matches!(
        backend.conf().balancing.algorithm,
        Balance::Hash(HashKey::UrlParam { in_body: true, .. })
    );
    let has_body = !matches!(request.body, BodyLength::Empty | BodyLength::Length(0));
    in_body && has_body && request.head.method == Method::POST
}

/// What the choice goes by once enough of the body is there.
async fn hash_with_body(
    client: &mut Client,
    request: &mut Request,
    backend: &BackendState,
) -> Result<Option<u32>, NoBody> {
    let timeouts = request.session.frontend().conf().proxy.timeouts;
    let wait = BodyWait {
        limit: timeouts.http_request.or(timeouts.client),
        at_least: None,
    };
    client.wait_for_body(request, wait).await?;
    let mut facts = request.session.facts(Some(&request.head), None);
    facts.content.request_body = Some(client.body_of(request.body));
    Ok(session_hash(&backend.conf().balancing, &facts))
}

/// The server that a `use-server` rule wants: it comes before cookies and stick tables.
pub(crate) fn wanted_server(
    session: &Session,
    head: Option<&RequestHead>,
    backend: &BackendState,
) -> Option<Arc<ServerState>> {
    let rules = &backend.conf().use_server;
    if rules.is_empty() {
        return None;
    }
    let facts = session.facts(head, None);
    let name = routing::decide::server(rules, &facts, session)?;
    // `#2` is an id in commands, and no name.
    let is_name = !name.starts_with('#');
    let server = backend.server(&name).ok().filter(|_| is_name)?;
    // One that is down wants nobody, unless `option persist` says otherwise.
    let usable = server.health().is_up() || backend.conf().persist;
    (usable && !server.is_leaving()).then_some(server)
}

/// A connection for a request; `None` when the client left meanwhile and is not to be waited for.
async fn connect(
    client: &mut Client,
    request: &mut Request,
    attempts: &mut Attempts<'_>,
    backend: &BackendState,
    worker: &Rc<Worker>,
) -> Option<Result<ServerConnection, NoServer>> {
    let wanted = match may_reuse(request) {
        true => Wanted::by(backend.conf().http_reuse, client.is_first()),
        false => Wanted::Fresh,
    };
    let Request { head, session, .. } = request;
    let idle = (wanted, &mut client.former);
    let reused = attempts.reuse(session, Some(&*head), idle, worker);
    if let Some(at_once) = reused.transpose() {
        return Some(at_once);
    }
    Box::pin(wait_for_connection(
        client, request, attempts, backend, worker, wanted,
    ))
    .await
}

/// The same where something must be waited for.
async fn wait_for_connection(
    client: &mut Client,
    request: &mut Request,
    attempts: &mut Attempts<'_>,
    backend: &BackendState,
    worker: &Rc<Worker>,
    wanted: Wanted,
) -> Option<Result<ServerConnection, NoServer>> {
    let Request { head, session, .. } = request;
    // In hand meanwhile, because the client is watched.
    let mut former = std::mem::take(&mut client.former);
    let connected = {
        let idle = (wanted, &mut former);
        let connecting = pin!(attempts.connect(session, Some(&*head), idle, worker));
        let watched = backend.conf().proxy.conduct.abort_on_close;
        client.unless_left(watched, connecting).await
    };
    client.former = former;
    connected
}

/// What a request waits for before it has a server.
fn waiting_stage(session: &Session) -> Stage {
    match session.has_place() {
        true => Stage::Connect,
        false => Stage::Queue,
    }
}

/// No server takes the request: an error, or a redirection to the one it was meant for.
async fn without_server(client: &mut Client, request: Box<Request>, none: NoServer) -> Forwarded {
    let NoServer { end, status } = none;
    let place = request.session.server();
    let redir = place.and_then(|server| redir::answer(server, &request.head));
    match (redir, end.side) {
        (Some(answer), Side::Local) => give_answer(client, request, end, answer).await,
        _ if end.stage == Stage::Queue => {
            let mut answer = request.session.error_page(status, Some(&request.head));
            if !answer.fields.contains("retry-after") {
                let seconds = fastrand::u64(RETRY_AFTER).to_string();
                answer.fields.append("retry-after", seconds.as_bytes());
            }
            give_answer(client, request, end, answer).await
        }
        _ => give_up(client, request, end, Some(status)).await,
    }
}

/// Seconds that clients are told to wait where all places and queues are full: each another number, so that they
/// do not all come back at once (RFC 9110 section 10.2.3).
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 2..=9;

/// An exchange broke off for good.
async fn broken_off(client: &mut Client, request: Box<Request>, failure: Failure) -> Forwarded {
    if failure.is_servers() {
        request.session.count_at_both(Count::ResponseErrors);
    }
    if failure.is_servers() || failure.status == Some(502) {
        request.session.count_tracked(Counted::Failures, 1);
    }
    if failure.unframed {
        // An orderly end would pass for the whole of it.
        client.cut = true;
    }
    give_up(client, request, failure.end, failure.status).await
}

/// Only a request that changes nothing and can be sent again whole may go out on a connection that
/// was idle: if that one dies, nobody knows whether the request was seen (RFC 9110 section 9.2.1).
/// One that a rule has forbidden to send again (`disable-l7-retry`) may not either.
fn may_reuse(request: &Request) -> bool {
    request.head.method.is_safe()
        && !request.session.record.sent_once.get()
        && matches!(request.body, BodyLength::Empty | BodyLength::Length(0))
        && matches!(request.upgrade, Upgrade::No | Upgrade::Other)
}

/// A request that went out on a connection kept from before, and met its end: a race with the node's
/// keep-alive time that [`may_reuse`] has made harmless.
fn is_stale(failure: &Failure, server: &ServerConnection) -> bool {
    server.uses > 0 && !failure.answered && failure.end.side == Side::Server
}

async fn run_exchange(
    client: &mut Client,
    server: &mut ServerConnection,
    request: &mut Request,
    backend: &Arc<BackendState>,
    retried_statuses: &[u16],
    kept: Option<&mut Kept>,
    persisted: Option<&Persisted>,
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
        // Some servers frame their answers worse when they are told.
        (None, _) if backend.conf().proxy.conduct.pretend_keepalive => None,
        (None, _) => Some(h1::Connection::Close),
    };
    // The rules look at the session while the exchange counts in it; both only read its choices.
    let rewriter = Rewriter {
        backend,
        persisted,
        method: &request.head.method,
    };
    let order = Order {
        head: &request.head,
        body: request.body,
        body_read: request.body_read,
        head_only: request.is_head && !request.head.method.is_head(),
        waits: request.waits,
        upgrade,
        server_connection,
        // `option httpclose` of a backend closes its own side alone, as in HAProxy. Bytes behind a
        // refused upgrade may be frames: they must never be read as a request.
        keep_client: request.keep_alive
            && request.session.frontend().conf().proxy.connection != ConnectionMode::Close
            && upgrade.is_none(),
        client_limit: front.client,
        client_min_rate: request
            .session
            .frontend()
            .conf()
            .proxy
            .conduct
            .client_min_rate,
        server_limit: back.server,
        retried_statuses,
        abort_on_close: backend.conf().proxy.conduct.abort_on_close,
        rewrite: &|head: &mut ResponseHead, session: &Session, body: Body<'_>| {
            rewriter.apply(head, session, body)
        },
        wanted_body: &answers::wanted_body,
    };
    exchange::exchange(client, server, &mut request.session, &order, kept).await
}

/// What is done to a response, in HAProxy's order: rules, then the persistence cookie, which they do not
/// see, then the rules for all responses.
struct Rewriter<'a> {
    backend: &'a BackendState,
    persisted: Option<&'a Persisted>,
    method: &'a Method,
}

impl Rewriter<'_> {
    fn apply(&self, head: &mut ResponseHead, session: &Session, body: Body<'_>) -> Option<Instead> {
        session.note_response(head);
        session.blame(head.status);
        let instead = answers::respond(head, session, body);
        if !self.backend.conf().stick.store_response.is_empty() {
            let facts = session.facts(None, Some(head));
            sticking::store_response(session, &facts, self.backend);
        }
        if instead.is_none() {
            if let Some(persisted) = self.persisted {
                cookie::answer(persisted, self.backend, self.method, head, session);
            }
            answers::after(head, session);
        }
        instead
    }
}

/// What the proxy itself does to a head: hop-by-hop fields go, `X-Forwarded-For` comes.
fn prepare_head(request: &mut Request, backend: &BackendState) {
    // A rule that took the Upgrade field away has forbidden the upgrade. What comes behind may be
    // frames all the same.
    if !request.head.fields.contains("upgrade") {
        request.keep_alive &= !matches!(request.upgrade, Upgrade::WebSocket(_));
        request.upgrade = Upgrade::No;
    }
    match request.upgrade {
        Upgrade::WebSocket(_) => h1::strip_around_upgrade(&mut request.head.fields),
        _ => h1::strip_hop_by_hop(&mut request.head.fields),
    }
    request.session.note_cookie(&request.head);
    request.session.tell_unique_id(&mut request.head);
    let connection = request.session.connection().clone();
    let frontend = &connection.frontend;
    let settings = [
        &backend.conf().proxy.forwardfor,
        &frontend.conf().proxy.forwardfor,
    ];
    if let Some(src) = connection.facts.source() {
        add_forwarded_for(&mut request.head, settings.map(Option::as_ref), src);
    }
    let settings = [
        &backend.conf().proxy.conduct.originalto,
        &frontend.conf().proxy.conduct.originalto,
    ];
    if let Some(dst) = connection.facts.destination() {
        add_forwarded_for(&mut request.head, settings.map(Option::as_ref), dst);
    }
    if let Some(header) = &backend.conf().proxy.conduct.forwarded {
        let facts = request.session.facts(Some(&request.head), None);
        let value = forwarded::value(header, &facts);
        if !value.is_empty() {
            request.head.fields.append("forwarded", &value);
        }
    }
}

/// What is known only now that there is a server.
fn prepare_for_server(request: &mut Request, server: &ServerConnection, backend: &BackendState) {
    if let Some(name) = &backend.conf().proxy.conduct.send_name_header
        && let Some(server) = request.session.server()
    {
        request.head.fields.set(name, server.conf.name.as_bytes());
    }
    marks::of_server(&request.session, &server.stream.socket());
    let reused = server.uses > 0;
    request
        .session
        .note_server_connection(&server.stream, reused);
}

/// Room for an address of either family as text.
const ADDRESS_LEN: usize = 46;

/// `option forwardfor`, or `originalto`, of backend and frontend together (manual 4.2): either asks for the header,
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
    let mut text = Vec::with_capacity(ADDRESS_LEN);
    format::address(src.ip(), Flags::default(), &mut text);
    head.fields.append(&first.header, &text);
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
        && !request.session.record.server_closes.get()
        && matches!(request.upgrade, Upgrade::No | Upgrade::Other)
}

/// Client and server talk to each other from now on.
pub(crate) fn open_tunnel(mut client: Client, mut server: ServerConnection, session: Box<Session>) {
    let worker = client.worker();
    let early_up = client.buffer.take(&worker.buffers);
    let early_down = server.buffer.take(&worker.buffers);
    let client = Arrived {
        stream: client.into_stream(),
        early: early_up,
    };
    let server = Arrived {
        stream: server.stream,
        early: early_down,
    };
    let carries = Carries::Frames;
    worker
        .tunnels
        .open(client, server, carries, session, &worker);
}

/// Tells the client, if it has not got a response head yet, and closes the books.
async fn give_up(
    client: &mut Client,
    request: Box<Request>,
    end: End,
    status: Option<u16>,
) -> Forwarded {
    match status {
        Some(status) => {
            let answer = request.session.error_page(status, Some(&request.head));
            give_answer(client, request, end, answer).await
        }
        None => {
            request.session.finish(end);
            Forwarded::Done(After::Close)
        }
    }
}

/// Answers a request that has been on its way already.
async fn give_answer(
    client: &mut Client,
    mut request: Box<Request>,
    end: End,
    answer: Answer,
) -> Forwarded {
    let after = client.reply(&mut request, answer).await;
    request.session.finish(end);
    Forwarded::Done(after)
}
