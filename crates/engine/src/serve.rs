//! One connection from accept to close. Read this first.
//!
//! ```text
//!  listen    Accepted   a socket, its peer, its place in the limits
//!  secure    Client     PROXY header read, TLS done; plain listeners pass through
//!  client    Request    a head with one meaning
//!  routing   Verdict    answer ourselves, or forward to a backend: pure
//!  forward   …          a server, a connection, one exchange; retries (forward.rs)
//!  tunnel    Tunnel     after a 101, or for mode tcp: both streams, nothing kept
//!  session   End        statistics and the log line, written once
//! ```

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::model::{BackendId, BodyWait, Mode, Proxy};
use routing::rules::{Hold, Outcome as Ruled, Resume, Stopped};
use routing::sample::{ConnectionFacts, Memory as _};
use routing::stick::Counted;

use crate::admit;
use crate::client::{After, Client, NoBody, Request};
use crate::cookie;
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::forward::{self, Forwarded};
use crate::inspect;
use crate::marks;
use crate::monitor;
use crate::page::{self, Wanted};
use crate::relay::{self, Relayed};
use crate::secure;
use crate::session::Session;
use crate::site::{BackendState, FrontendState};
use crate::stream::Carrier;
use crate::worker::{Room, Worker};

/// A connection just accepted.
pub(crate) struct Accepted {
    /// The socket.
    pub(crate) carrier: Carrier,
    /// Who connected; `None` on a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// What is known of it.
    pub(crate) facts: ConnectionFacts,
    /// Which `bind` of the frontend.
    pub(crate) bind: usize,
    /// Its place in limits and gauges.
    pub(crate) room: Room,
    /// Whether a rule asks for a PROXY header where the `bind` line does not.
    pub(crate) expects_proxy: bool,
    /// When.
    pub(crate) at: Instant,
}

/// What to do with a request.
enum Verdict {
    /// Answer it ourselves.
    Reply {
        answer: routing::rules::Answer,
        end: End,
    },
    /// Answer it after a wait, if the client is still there.
    Tarpit {
        answer: routing::rules::Answer,
        wait: Duration,
    },
    /// A page of ours answers it, logged by this name.
    Own(Box<Wanted>, &'static str),
    /// Send it to a backend.
    Forward(Arc<BackendState>),
    /// Close the connection: a request cannot go to a backend of `mode tcp`.
    Misfit,
    /// Close the connection without an answer.
    Close,
    /// The same, and without telling the client.
    Drop,
}

/// What a proxy's rules have made of a request.
enum Applied {
    /// It goes on.
    Passed,
    /// That is what becomes of it.
    Ended(Verdict),
    /// A rule asks who the client is.
    Unproven(Resume),
    /// A rule wants something done first.
    Held(Resume, Hold),
}

/// Serves one client connection until it ends or becomes a tunnel.
pub(crate) async fn serve(accepted: Accepted, frontend: Arc<FrontendState>, worker: Rc<Worker>) {
    let Some(accepted) = admit::connection(accepted, &frontend, &worker) else {
        return;
    };
    let Some(client) = secure::secure(accepted, &frontend, &worker).await else {
        return;
    };
    let client = match frontend.conf().proxy.mode {
        Mode::Http => client,
        Mode::Tcp => match Box::pin(relay::relay(client, &worker)).await {
            Relayed::Http(client) => client,
            Relayed::Done => return,
        },
    };
    requests(client, &worker).await;
}

/// One request after the other. What few requests need, and forwarding, which is as large as all else together,
/// is boxed: the task of a connection keeps the memory of the largest thing it might wait for.
async fn requests(mut client: Client, worker: &Rc<Worker>) {
    while let Some(mut request) = client.next().await {
        let verdict = decide(&mut client, &mut request).await;
        marks::of_client(&request.session, &client.stream.socket());
        let after = match verdict {
            Verdict::Reply { answer, end } => {
                if end.side == Side::Local {
                    request.session.count_at_frontend(Count::Intercepted);
                }
                let after = Box::pin(client.reply(&mut request, answer)).await;
                request.session.finish(end);
                after
            }
            Verdict::Tarpit { answer, wait } => {
                Box::pin(tarpit(&mut client, request, answer, wait)).await
            }
            Verdict::Close => {
                request.session.finish(DENIED);
                After::Close
            }
            Verdict::Misfit => {
                let end = End::by(Side::Internal, Stage::Request);
                request.session.finish(end);
                After::Close
            }
            Verdict::Drop => {
                request.session.finish(DENIED);
                return client.stream.forget();
            }
            Verdict::Own(wanted, service) => {
                request.session.serve_by(service);
                if !wanted.is_denied() {
                    request.session.count_at_frontend(Count::Intercepted);
                }
                let (after, end) =
                    Box::pin(page::serve(&mut client, &mut request, *wanted, worker)).await;
                request.session.finish(end);
                after
            }
            Verdict::Forward(backend) => {
                match Box::pin(forward::forward(&mut client, request, &backend, worker)).await {
                    Forwarded::Done(after) => after,
                    Forwarded::Switched(server, request) => {
                        return forward::open_tunnel(client, server, request.session);
                    }
                }
            }
        };
        match after {
            After::KeepAlive(_) => {}
            After::Close => break,
            After::Forget => return client.stream.forget(),
        }
    }
    client.close();
}

/// Holds a request back before it is denied (manual 4.4, "tarpit").
async fn tarpit(
    client: &mut Client,
    mut request: Box<Request>,
    answer: routing::rules::Answer,
    wait: Duration,
) -> After {
    let left = client.has_left_within(wait).await;
    let waited = request.session.record.elapsed();
    let head = request.session.record.request.unwrap_or_default();
    request.session.record.queue = Some(waited.saturating_sub(head));
    // Its time stands where that of a queue does; that of the request is not told, as in HAProxy.
    request.session.record.request = None;
    let side = if left { Side::Client } else { Side::Proxy };
    // Once when it was held back, once now that it is denied, as in HAProxy.
    request.session.count_tracked(Counted::Errors, 1);
    // It may have closed its own direction alone: it is told all the same, as HAProxy does it.
    let after = client.reply(&mut request, answer).await;
    request.session.finish(End::by(side, Stage::Tarpit));
    if left { After::Close } else { after }
}

/// Stats page, rules of the frontend, choice of the backend, rules of the backend: in HAProxy's
/// order (manual 4.2, "stats uri", "http-request", "use_backend").
async fn decide(client: &mut Client, request: &mut Request) -> Verdict {
    let frontend = request.session.frontend().clone();
    // Of a TCP frontend they have been applied to the first request, byte by byte, and to no other.
    let judged = client.is_first() && frontend.conf().proxy.mode == Mode::Tcp;
    if !judged && let Some(verdict) = apply_tcp_rules(request, &frontend.conf().proxy).await {
        // As in HAProxy it was no request yet.
        request.session.record.request_line = Box::default();
        return verdict;
    }
    request.session.count_at_frontend(Count::Requests);
    let mut monitored = monitor::answer(request);
    if request.session.is_login_wanted() {
        if let Some(busy) = prove(request, &frontend.conf().proxy).await {
            return busy;
        }
        monitored = monitor::answer(request);
    }
    if let Some(answer) = monitored {
        request.session.keep_quiet();
        let end = End::by(Side::Local, Stage::Request);
        return Verdict::Reply { answer, end };
    }
    if let Some(verdict) = judge(client, request, &frontend.conf().proxy).await {
        return verdict;
    }
    let mut chosen = choose_backend(&frontend, client, request);
    if request.session.is_login_wanted() {
        if let Some(busy) = prove(request, &frontend.conf().proxy).await {
            return busy;
        }
        chosen = choose_backend(&frontend, client, request);
    }
    let Some(BackendId(index)) = chosen else {
        request.session.count_at_frontend(Count::RequestErrors);
        // HAProxy has not finished with the request then: "-1".
        request.session.record.request = None;
        let answer = request.session.error_page(503, Some(&request.head));
        return Verdict::Reply {
            answer,
            end: End::by(Side::Server, Stage::Connect),
        };
    };
    let backend = &frontend.generation.backends[index];
    request.session.enter_backend(backend);
    // Of a TCP frontend a later request may be meant for one that takes bytes: it gets no request.
    if backend.conf().proxy.mode != Mode::Http {
        request.session.record.request = None;
        return Verdict::Misfit;
    }
    request.session.count_at_backend(Count::Requests);
    if !is_own_half(&frontend, backend) {
        request.session.forget_login();
        if let Some(verdict) = apply_tcp_rules(request, &backend.conf().proxy).await {
            return verdict;
        }
        if let Some(verdict) = judge(client, request, &backend.conf().proxy).await {
            return verdict;
        }
    }
    if let Some(status) = unfit(request) {
        request.session.count_at_frontend(Count::RequestErrors);
        let answer = request.session.error_page(status, Some(&request.head));
        let end = End::by(Side::Proxy, Stage::Request);
        return Verdict::Reply { answer, end };
    }
    Verdict::Forward(backend.clone())
}

/// What rules may answer, and no server gets: a tunnel to wherever the client likes is what a forward proxy is
/// for; and what a `#` begins, servers read in more than one way.
fn unfit(request: &Request) -> Option<u16> {
    let head = &request.head;
    match head.method.is_connect() {
        true => Some(405),
        false => memchr::memchr(b'#', head.target()).map(|_| 400),
    }
}

/// A proxy's `http-request` rules and its statistics page. Who the client is gets proven when a rule
/// asks for it, and not before: what is denied anyway costs no check of a password.
async fn judge(client: &mut Client, request: &mut Request, proxy: &Proxy) -> Option<Verdict> {
    if proxy.conduct.buffer_request {
        let wait = BodyWait {
            limit: proxy.timeouts.http_request.or(proxy.timeouts.client),
            at_least: None,
        };
        let unmet = Box::pin(hold(client, request, Hold::Body(wait))).await;
        if unmet.is_some() {
            return unmet;
        }
    }
    let mut from = Resume::START;
    loop {
        match apply_rules(client, request, proxy, from) {
            Applied::Passed => break,
            Applied::Ended(verdict) => return Some(verdict),
            Applied::Unproven(resume) => from = resume,
            Applied::Held(resume, what) => {
                from = resume;
                let unmet = Box::pin(hold(client, request, what)).await;
                if unmet.is_some() {
                    return unmet;
                }
                continue;
            }
        }
        if let Some(busy) = Box::pin(prove(request, proxy)).await {
            return Some(busy);
        }
    }
    let mut wanted = page::stats(proxy, request);
    if request.session.is_login_wanted() {
        if let Some(busy) = Box::pin(prove(request, proxy)).await {
            return Some(busy);
        }
        wanted = page::stats(proxy, request);
    }
    wanted.map(|wanted| Verdict::Own(Box::new(wanted), page::STATS))
}

/// Does what a rule wants done before those behind it; a verdict where that cannot be.
async fn hold(client: &mut Client, request: &mut Request, what: Hold) -> Option<Verdict> {
    let done = match what {
        Hold::Body(wait) => client.wait_for_body(request, wait).await,
        Hold::Pause(time) => client.pause(request, time).await,
        Hold::Hints(fields) => client.send_hints(request, fields).await,
    };
    let NoBody { status, end } = done.err()?;
    request.session.record.request = None;
    request.session.count_at_frontend(Count::RequestErrors);
    if end.side != Side::ClientTimeout {
        request.session.count_tracked(Counted::Errors, 1);
    }
    request.keep_alive = false;
    let answer = request.session.error_page(status, Some(&request.head));
    Some(Verdict::Reply { answer, end })
}

/// Proves who the client is; an answer when too many ask at once.
async fn prove(request: &mut Request, proxy: &Proxy) -> Option<Verdict> {
    let Request { head, session, .. } = &mut *request;
    if session.prove(&head.fields, &proxy.userlists).await {
        return None;
    }
    let mut answer = session.error_page(503, Some(&*head));
    answer.fields.append("retry-after", b"1");
    Some(Verdict::Reply {
        answer,
        end: DENIED,
    })
}

fn choose_backend(
    frontend: &FrontendState,
    client: &Client,
    request: &Request,
) -> Option<BackendId> {
    let session = &request.session;
    let mut facts = session.facts(Some(&request.head), None);
    facts.content.request_body = Some(client.body_of(request.body));
    let is_public = |id| is_public(id, frontend);
    routing::decide::backend(frontend.conf(), &facts, &**session, &is_public)
}

/// Whether rules of a frontend may lead to that backend: its own half is always there.
fn is_public(BackendId(index): BackendId, frontend: &FrontendState) -> bool {
    let backend = &frontend.generation.backends[index];
    backend.is_public() || is_own_half(frontend, backend)
}

/// How a request ends that a rule has refused.
const DENIED: End = End::by(Side::Proxy, Stage::Request);

/// Applies a proxy's `tcp-request content` rules to a request; a verdict when one of them ends it.
async fn apply_tcp_rules(request: &mut Request, proxy: &Proxy) -> Option<Verdict> {
    if proxy.tcp.request.is_empty() {
        return None;
    }
    let mut from = 0;
    let judged = loop {
        match judge_as_bytes(request, proxy, from) {
            Ok(judged) => break judged,
            Err(position) => from = position,
        }
        if let Some(busy) = Box::pin(prove(request, proxy)).await {
            return Some(busy);
        }
    };
    let verdict = match judged {
        inspect::Verdict::Pass | inspect::Verdict::Http => return None,
        inspect::Verdict::Reject => Verdict::Close,
        inspect::Verdict::Drop => Verdict::Drop,
    };
    request.session.record.request = None;
    request.session.count_at_frontend(Count::DeniedRequests);
    Some(verdict)
}

/// What these rules say, from one of them on: see [`inspect::understood`].
fn judge_as_bytes(
    request: &Request,
    proxy: &Proxy,
    from: usize,
) -> Result<inspect::Verdict, usize> {
    let Request { head, session, .. } = request;
    let mut facts = session.facts(Some(head), None);
    facts.content.request_len = session.received();
    inspect::understood(&proxy.tcp.request, from, &facts, session)
}

/// Applies a proxy's `http-request` rules; a verdict when one of them ends the matter.
fn apply_rules(client: &Client, request: &mut Request, proxy: &Proxy, from: Resume) -> Applied {
    if proxy.http_request.is_empty() {
        return Applied::Passed;
    }
    let ruled = {
        let body = client.body_of(request.body);
        let Request { head, session, .. } = &mut *request;
        let mut facts = session.facts(None, None);
        facts.content.request_body = Some(body);
        let pages = session.error_pages();
        let rules = &proxy.http_request;
        routing::rules::request(rules, from, head, &facts, &**session, &pages)
    };
    let denied = End::by(Side::Proxy, Stage::Request);
    match ruled {
        Ruled::Continue => Applied::Passed,
        Ruled::Unproven(from) => Applied::Unproven(from),
        Ruled::Hold(from, what) => Applied::Held(from, what),
        Ruled::Stop(Stopped::Tarpit(answer)) => {
            request.session.count_tracked(Counted::Errors, 1);
            request.session.count_at_frontend(Count::DeniedRequests);
            request.session.count_at_backend(Count::DeniedRequests);
            cookie::note(request);
            let own = request.session.own_timeout(config::expr::Timeout::Tarpit);
            let wait = own.or(proxy.timeouts.tarpit).or(proxy.timeouts.connect);
            let wait = wait.unwrap_or_default();
            Applied::Ended(Verdict::Tarpit { answer, wait })
        }
        Ruled::Stop(Stopped::Deny(answer)) => {
            request.session.count_tracked(Counted::Errors, 1);
            request.session.count_at_frontend(Count::DeniedRequests);
            request.session.count_at_backend(Count::DeniedRequests);
            cookie::note(request);
            request.session.note_cookie(&request.head);
            Applied::Ended(Verdict::Reply {
                answer,
                end: denied,
            })
        }
        Ruled::Stop(
            Stopped::Return(answer) | Stopped::Redirect(answer) | Stopped::Auth(answer),
        ) => {
            let end = End::by(Side::Local, Stage::Request);
            Applied::Ended(Verdict::Reply { answer, end })
        }
        Ruled::Stop(Stopped::Invalid(answer)) => {
            request.session.count_at_frontend(Count::RequestErrors);
            request.session.record.request = None;
            Applied::Ended(Verdict::Reply {
                answer,
                end: denied,
            })
        }
        Ruled::Stop(Stopped::Failed(answer)) => {
            request.session.count_at_frontend(Count::InternalErrors);
            request.session.count_at_backend(Count::InternalErrors);
            let end = End::by(Side::Internal, Stage::Request);
            Applied::Ended(Verdict::Reply { answer, end })
        }
        Ruled::Stop(stopped @ (Stopped::Reject | Stopped::Drop)) => {
            request.session.count_at_frontend(Count::DeniedRequests);
            request.session.count_at_backend(Count::DeniedRequests);
            request.session.record.request = None;
            Applied::Ended(match stopped {
                Stopped::Drop => Verdict::Drop,
                _ => Verdict::Close,
            })
        }
        Ruled::Stop(Stopped::PrometheusExporter) => {
            Applied::Ended(Verdict::Own(Box::new(Wanted::Metrics), page::METRICS))
        }
        Ruled::Stop(Stopped::NodePush) => {
            Applied::Ended(Verdict::Own(Box::new(Wanted::Push), page::PUSH))
        }
    }
}

/// Whether both are halves of one `listen`: its rules stand in both and are applied once.
pub(crate) fn is_own_half(frontend: &FrontendState, backend: &BackendState) -> bool {
    frontend.conf().listen && backend.conf().listen && frontend.name() == backend.name()
}

/// Where a TCP session goes: conditions may look at the connection alone.
pub(crate) fn tcp_backend(session: &Session) -> Option<Arc<BackendState>> {
    let facts = session.facts(None, None);
    let frontend = session.frontend();
    let is_public = |id| is_public(id, frontend);
    let chosen = routing::decide::backend(frontend.conf(), &facts, session, &is_public);
    let BackendId(index) = chosen?;
    Some(frontend.generation.backends[index].clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Connection;

    fn future_len<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    fn forwarding_len<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// A connection has its task as long as it lives, also between two requests; what a request is forwarded
    /// by is allocated with each of them. Both hold the largest thing they might wait for, so that a step which
    /// few requests take belongs into a box. The bounds are what they are today and a little room.
    #[test]
    fn what_a_connection_and_its_requests_take_is_watched() {
        let check = |what: &str, is: usize, most: usize| {
            assert!(is <= most, "{what}: {is} bytes, {most} at most");
        };
        check("a connection's task", future_len(serve), 1408);
        check("forwarding", forwarding_len(forward::forward), 1664);
        check("a connection", size_of::<Connection>(), 352);
        check("a client", size_of::<Client>(), 160);
        check("a session", size_of::<Session>(), 384);
        check("a request", size_of::<Request>(), 176);
    }
}
