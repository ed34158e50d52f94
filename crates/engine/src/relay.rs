//! `mode tcp`: rules over the first bytes, a server for the whole connection, then bytes both ways.

use std::rc::Rc;
use std::sync::Arc;

use config::model::Mode;
use routing::content::Content;
use routing::sample::Facts;

use crate::attempts::{Attempts, NoServer};
use crate::client::Client;
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::exchange::ServerConnection;
use crate::inspect::{self, Answer, Verdict};
use crate::io;
use crate::marks;
use crate::rdp;
use crate::serve;
use crate::session::{Early, Session};
use crate::site::BackendState;
use crate::sticking;
use crate::tunnel::Carries;
use crate::tunnels::Arrived;
use crate::upstream::former::{Former, Wanted};
use crate::worker::Worker;

/// What a TCP connection has become.
pub(crate) enum Relayed {
    /// It is on its way, or over.
    Done,
    /// It goes on as HTTP: what was read of it is in the client's buffer.
    Http(Client),
}

/// Serves a TCP connection until it ends, becomes a tunnel, or turns out to be HTTP.
pub(crate) async fn relay(mut client: Client, worker: &Rc<Worker>) -> Relayed {
    let mut session = Session::start(&client.connection);
    let frontend = session.frontend().clone();
    let tcp = &frontend.conf().proxy.tcp;
    if !tcp.request.is_empty() {
        let (rules, delay) = (&tcp.request, tcp.request_delay);
        match inspect::request(&mut client, &mut session, rules, delay, worker).await {
            Verdict::Pass => {}
            Verdict::Http => return as_http(client, session),
            Verdict::Reject => return refuse(client, session),
            Verdict::Drop => return forget(client, session),
        }
    } else if frontend.conf().use_backend.iter().any(|rule| {
        let condition = rule.condition.as_ref();
        let looks = condition.is_some_and(|it| it.looks_at_bytes() || it.looks_at_request());
        looks || rule.target.known().is_none()
    }) {
        inspect::glance(&mut client, &mut session, worker).await;
    }
    let Some(backend) = serve::tcp_backend(&session) else {
        client.close();
        session.finish(End::by(Side::Server, Stage::Connect));
        return Relayed::Done;
    };
    if backend.conf().proxy.mode == Mode::Http {
        return as_http(client, session);
    }
    session.log_begin();
    session.enter_backend(&backend);
    let tcp = &backend.conf().proxy.tcp;
    if !tcp.request.is_empty() && !serve::is_own_half(&frontend, &backend) {
        let (rules, delay) = (&tcp.request, tcp.request_delay);
        match inspect::request(&mut client, &mut session, rules, delay, worker).await {
            Verdict::Pass | Verdict::Http => {}
            Verdict::Reject => return refuse(client, session),
            Verdict::Drop => return forget(client, session),
        }
    }
    open(client, session, &backend, worker).await;
    Relayed::Done
}

/// The bytes go back to where requests are read from.
fn as_http(mut client: Client, mut session: Box<Session>) -> Relayed {
    client.buffer = session.take_inspected();
    Relayed::Http(client)
}

async fn open(
    mut client: Client,
    mut session: Box<Session>,
    backend: &Arc<BackendState>,
    worker: &Rc<Worker>,
) {
    let inspected = session.record.elapsed();
    let mut attempts = Attempts::new(backend);
    attempts.retry_at_most(session.own_retries());
    let persisted = rdp::read(&session, backend);
    if let Some(persisted) = &persisted {
        attempts.follow(persisted);
    }
    let bound = persisted.is_some_and(|it| it.server.is_some());
    let mut sticking = sticking::look_up(&session, &session.facts(None, None), backend, bound);
    if let Some(server) = sticking.as_mut().and_then(|it| it.server.take()) {
        attempts.stick_to(server);
    }
    if let Some(server) = crate::forward::wanted_server(&session, None, backend) {
        attempts.stick_to(server);
    }
    let connected = attempts
        .connect(
            &mut session,
            None,
            (Wanted::Fresh, &mut Former::default()),
            worker,
        )
        .await;
    if let Some(queue) = &mut session.record.queue {
        // The time in the queue counts from the accept (manual 8.2.2).
        *queue += inspected;
    }
    let mut server = match connected {
        Ok(server) => server,
        Err(NoServer { end, .. }) => {
            // With bytes of the client's that nobody read, closing outright would be a reset.
            client.close();
            return session.finish(end);
        }
    };
    worker.shared.note_routed();
    if let Some(sticking) = sticking {
        sticking.store(&session);
    }
    marks::of_client(&session, &client.stream.socket());
    marks::of_server(&session, &server.stream.socket());
    session.note_server_connection(&server.stream, false);
    session.log_early(Early::default());
    let tcp = &backend.conf().proxy.tcp;
    if !tcp.response.is_empty() {
        let (rules, delay) = (&tcp.response, tcp.response_delay);
        let underway = worker.exchanges.enter(session.glimpse());
        let answer = tokio::select! {
            biased;
            by = underway.ended() => Err(by),
            answer = inspect::response(&mut client, &mut server, &mut session, rules, delay, worker) => Ok(answer),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(by) => return session.finish(End::by(by, Stage::Data)),
        };
        if !backend.conf().stick.store_response.is_empty() {
            let facts = session.facts(None, None);
            let content = Content {
                response: Some(server.buffer.bytes()),
                ..Content::default()
            };
            sticking::store_response(&session, &Facts { content, ..facts }, backend);
        }
        match answer {
            Answer::Pass => {}
            Answer::Close => return deliver(client, server, session, worker).await,
            Answer::Reject | Answer::Drop => {
                session.count_at_frontend(Count::DeniedResponses);
                session.count_at_both(Count::DeniedResponses);
                session.count_out(server.buffer.bytes().len());
                if answer == Answer::Drop {
                    client.stream.forget();
                }
                return session.finish(End::by(Side::Proxy, Stage::Data));
            }
        }
    }
    let early_up = session.take_inspected().take(&worker.buffers);
    let early_down = server.buffer.take(&worker.buffers);
    let client = Arrived {
        stream: client.into_stream(),
        early: early_up,
    };
    let server = Arrived {
        stream: server.stream,
        early: early_down,
    };
    worker
        .tunnels
        .open(client, server, Carries::Bytes, session, worker);
}

/// The server's connection is closed, what it said goes to the client, and that is the end.
async fn deliver(
    mut client: Client,
    mut server: ServerConnection,
    session: Box<Session>,
    worker: &Rc<Worker>,
) {
    let said = server.buffer.take(&worker.buffers);
    drop(server);
    session.count_out(said.len());
    let limit = session.timeouts().0.client;
    let stream = std::cell::RefCell::new(&mut client.stream);
    let written = crate::timing::within(limit, io::write_all(&stream, &said)).await;
    let end = match written {
        Ok(Ok(())) => End::NORMAL,
        Ok(Err(_)) => End::by(Side::Client, Stage::Data),
        Err(_) => End::by(Side::ClientTimeout, Stage::Data),
    };
    client.close();
    session.finish(end);
}

/// Refused by a rule over its first bytes.
fn refuse(client: Client, session: Box<Session>) -> Relayed {
    close_books(session);
    drop(client);
    Relayed::Done
}

/// The same, without a word.
fn forget(client: Client, session: Box<Session>) -> Relayed {
    close_books(session);
    client.stream.forget();
    Relayed::Done
}

fn close_books(mut session: Box<Session>) {
    let sent = session.take_inspected().bytes().len();
    session.count_in(sent);
    session.count_at_frontend(Count::DeniedRequests);
    session.finish(End::by(Side::Proxy, Stage::Request));
}
