//! Looking at the first bytes of a TCP connection before it is relayed (manual 4.2, "tcp-request
//! content", "tcp-response content").
//!
//! What is to be done is `routing::content`'s to say; here bytes are read and waited for. They are
//! kept with the session until its tunnel opens, in one buffer of `tune.bufsize` a side at most:
//! when it is full, nothing more is waited for.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use config::model::{TcpAction, TcpRule};
use routing::content::{self, Content, Ruling};
use routing::sample::{Facts, Memory as _};
use wire::h1::{self, HeadScanner, Limits, Parsed};
use wire::head::RequestHead;

use crate::buffer::Buffer;
use crate::client::{Client, head_limits};
use crate::exchange::ServerConnection;
use crate::io::fill;
use crate::session::Session;
use crate::stream::Stream;
use crate::timing::within;
use crate::worker::Worker;

/// What a client sent before it was known where it goes.
#[derive(Default)]
pub(crate) struct Inspected {
    buffer: Buffer,
    /// Whether more may come before a decision must be made.
    growing: bool,
    http: Http,
}

/// Whether it is an HTTP request.
#[derive(Default)]
enum Http {
    /// Nobody asked.
    #[default]
    Unasked,
    /// It may still become one.
    Pending(HeadScanner),
    /// It is.
    Request(Box<RequestHead>),
    /// It is not.
    Not,
}

impl Inspected {
    /// The bytes, as rules see them.
    pub(crate) fn content(&self) -> Content<'_> {
        Content {
            request: Some(self.buffer.bytes()),
            request_len: self.buffer.bytes().len(),
            response: None,
            request_body: None,
            response_body: None,
            growing: self.growing,
            http_pending: matches!(self.http, Http::Pending(_)),
        }
    }

    /// The request they are, if anybody asked.
    pub(crate) fn request(&self) -> Option<&RequestHead> {
        match &self.http {
            Http::Request(head) => Some(head),
            _ => None,
        }
    }

    /// The bytes themselves, for who takes the connection over.
    pub(crate) fn into_buffer(self) -> Buffer {
        self.buffer
    }

    fn look_for_request(&mut self, limits: &Limits, full: bool) {
        if let Http::Unasked = self.http {
            self.http = Http::Pending(HeadScanner::new());
        }
        let Http::Pending(scanner) = &mut self.http else {
            return;
        };
        let bytes = self.buffer.bytes();
        if bytes.is_empty() || !(full || scanner.is_worth_parsing(bytes, limits)) {
            return;
        }
        match h1::parse_request(bytes, limits) {
            Ok(Parsed::Complete { head, .. }) => self.http = Http::Request(Box::new(head)),
            Ok(Parsed::Partial) => {}
            Err(_) => self.http = Http::Not,
        }
    }
}

/// What the rules of a proxy say of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on.
    Pass,
    /// It goes on as HTTP.
    Http,
    /// It is closed.
    Reject,
    /// It is forgotten.
    Drop,
}

/// Takes what has arrived already, without waiting: for what looks at it before any rule does.
pub(crate) async fn glance(client: &mut Client, session: &mut Session, worker: &Rc<Worker>) {
    let seen = session.inspected.get_or_insert_default();
    if seen.buffer.is_full(&worker.buffers) {
        return;
    }
    poll_fn(|cx| {
        // An end or an error is met again by who reads next.
        let _ = seen
            .buffer
            .poll_fill(&mut client.stream, &worker.buffers, cx);
        Poll::Ready(())
    })
    .await;
}

/// `tcp-request content` rules of one proxy.
pub(crate) async fn request(
    client: &mut Client,
    session: &mut Session,
    rules: &[TcpRule],
    delay: Option<Duration>,
    worker: &Rc<Worker>,
) -> Verdict {
    let deadline = delay.map(|delay| Instant::now() + delay);
    let limits = content::looks_at_request(rules).then(|| head_limits(worker, false));
    let (mut ended, mut from) = (false, 0);
    glance(client, session, worker).await;
    loop {
        let now = Instant::now();
        let seen = session.inspected.get_or_insert_default();
        let full = seen.buffer.is_full(&worker.buffers);
        seen.growing = !ended && !full && deadline.is_some_and(|deadline| now < deadline);
        if let Some(limits) = &limits {
            seen.look_for_request(limits, full);
        }
        let ruling = content::rule(rules, from, &session.facts(None, None), session);
        match ruling {
            Ruling::Wait(position) => from = position,
            Ruling::Pass => return settle(session, Verdict::Pass),
            Ruling::Act(action) => return settle(session, verdict(action)),
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let client_limit = session.timeouts().0.client;
        let limit = [left, client_limit].into_iter().flatten().min();
        let seen = session.inspected.get_or_insert_default();
        let stream = RefCell::new(&mut client.stream);
        ended = match within(limit, fill(&stream, &mut seen.buffer, &worker.buffers)).await {
            Ok(Ok(1..)) => false,
            Ok(Ok(0)) | Ok(Err(_)) => true,
            // The silence that `timeout client` allows may be shorter than the delay.
            Err(_) => deadline.is_some_and(|deadline| Instant::now() < deadline),
        };
    }
}

fn settle(session: &mut Session, verdict: Verdict) -> Verdict {
    if let Some(seen) = &mut session.inspected {
        seen.growing = false;
    }
    verdict
}

fn verdict(action: &TcpAction) -> Verdict {
    match action {
        TcpAction::Accept
        | TcpAction::Close
        | TcpAction::ExpectProxy
        | TcpAction::Capture(_)
        | TcpAction::Common(_) => Verdict::Pass,
        TcpAction::SwitchToHttp => Verdict::Http,
        TcpAction::Reject => Verdict::Reject,
        TcpAction::SilentDrop => Verdict::Drop,
    }
}

/// `tcp-request content` rules where the request is understood already: nothing is waited for.
/// From the one at `from` on; an error is the position of one that asks who the client is, which is not
/// proven yet. Those before it have done their work.
pub(crate) fn understood(
    rules: &[TcpRule],
    from: usize,
    facts: &Facts<'_>,
    session: &Session,
) -> Result<Verdict, usize> {
    for (position, rule) in rules.iter().enumerate().skip(from) {
        let ruling = content::rule(std::slice::from_ref(rule), 0, facts, session);
        if session.is_login_wanted() {
            return Err(position);
        }
        if let Ruling::Act(action) = ruling {
            return Ok(verdict(action));
        }
    }
    Ok(Verdict::Pass)
}

/// What the rules say of a server's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// They are delivered.
    Pass,
    /// They are delivered, and the server's connection is closed.
    Close,
    /// The client gets nothing, and its connection is closed.
    Reject,
    /// The client is forgotten.
    Drop,
}

/// `tcp-response content` rules. While the server is listened to, what the client says goes on to it.
pub(crate) async fn response(
    client: &mut Client,
    server: &mut ServerConnection,
    session: &mut Session,
    rules: &[TcpRule],
    delay: Option<Duration>,
    worker: &Rc<Worker>,
) -> Answer {
    let deadline = delay.map(|delay| Instant::now() + delay);
    let mut early = session.take_inspected();
    let (mut ended, mut from) = (false, 0);
    loop {
        let now = Instant::now();
        let full = server.buffer.is_full(&worker.buffers);
        let content = Content {
            response: Some(server.buffer.bytes()),
            growing: !ended && !full && deadline.is_some_and(|deadline| now < deadline),
            ..Content::default()
        };
        let ruling = {
            let facts = session.facts(None, None);
            content::rule(rules, from, &Facts { content, ..facts }, &*session)
        };
        match ruling {
            Ruling::Wait(position) => from = position,
            Ruling::Pass => return keep(session, early, Answer::Pass),
            Ruling::Act(action) => {
                let answer = match action {
                    TcpAction::Close => Answer::Close,
                    TcpAction::Reject => Answer::Reject,
                    TcpAction::SilentDrop => Answer::Drop,
                    _ => Answer::Pass,
                };
                return keep(session, early, answer);
            }
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let moving = Moving {
            client: &mut client.stream,
            server,
            early: &mut early,
            session,
            worker,
        };
        ended = match within(left, moving.until_answered()).await {
            Ok(Ok(count)) => count == 0,
            Ok(Err(_)) => true,
            Err(_) => false,
        };
    }
}

fn keep(session: &mut Session, early: Buffer, answer: Answer) -> Answer {
    if !early.is_empty() {
        session.inspected = Some(Box::new(Inspected {
            buffer: early,
            ..Inspected::default()
        }));
    }
    answer
}

/// The client's bytes on their way while the server's are waited for.
struct Moving<'a> {
    client: &'a mut Stream,
    server: &'a mut ServerConnection,
    early: &'a mut Buffer,
    session: &'a Session,
    worker: &'a Rc<Worker>,
}

impl Moving<'_> {
    /// Until the server has said something more: how much, 0 when it has ended.
    async fn until_answered(self) -> io::Result<usize> {
        let Self {
            client,
            server,
            early,
            session,
            worker,
        } = self;
        let pool = &worker.buffers;
        let mut client_ended = false;
        poll_fn(|cx| {
            loop {
                if early.is_empty() && !client_ended {
                    match early.poll_fill(client, pool, cx) {
                        Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => client_ended = true,
                        Poll::Ready(Ok(_)) => {}
                        Poll::Pending => break,
                    }
                }
                if early.is_empty() {
                    // The tunnel will meet the client's end again and do the same.
                    let _ = server.stream.poll_shutdown(cx);
                    break;
                }
                match server.stream.poll_write(cx, early.bytes()) {
                    Poll::Ready(Ok(count)) => {
                        session.count_in(count);
                        early.consume(count, pool);
                        let _ = server.stream.poll_flush(cx);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            server.buffer.poll_fill(&mut server.stream, pool, cx)
        })
        .await
    }
}
