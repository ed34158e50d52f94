//! The response of an exchange on its way down: interim heads, the final one, its body.

use std::cell::Cell;
use std::task::Context;
use std::time::{Duration, Instant};

use config::model::BodyWait;
use routing::body::Body;
use routing::health::Sight;
use wire::h1::{self, BodyLength, BodyReader, Framing, HeadScanner, Parsed};
use wire::head::{Fields, ResponseHead, Version};
use wire::ws;

use super::Order;
use super::pace::Pace;
use super::progress::{Marked, Progress, Relayed};
use super::transcode::{Sent, transcode};
use crate::answers::{self, Instead};
use crate::body_read::{BodyRead, BodySeen};
use crate::buffer::Buffer;
use crate::client::{Announced, connection_field, head_limits};
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::io;
use crate::marks;
use crate::measure;
use crate::observe;
use crate::retry::Cause;
use crate::session::{Early, Session};
use crate::timing::{Alarm, Expired};
use crate::worker::Worker;

/// Interim responses before the final one, at most: a node that goes on for ever is broken.
const INTERIM_MAX: usize = 32;

/// Room for the head of an answer; nearly all are smaller. What came of the body goes behind it.
const HEAD_ROOM: usize = 1024;

/// What came down, for the log.
#[derive(Default)]
pub(super) struct Seen {
    /// When the exchange began, from the session's start.
    pub(super) started: Duration,
    pub(super) status: Cell<Option<u16>>,
    pub(super) head_at: Cell<Option<Duration>>,
}

/// The response on its way down.
pub(super) struct Download<'a> {
    pub(super) alarm: &'a Alarm,
    pub(super) client: &'a io::Shared<'a>,
    pub(super) server: &'a io::Shared<'a>,
    pub(super) server_buffer: &'a mut Buffer,
    /// Whether the server's connection has carried a request before.
    pub(super) reused: bool,
    pub(super) session: &'a Session,
    pub(super) order: &'a Order<'a>,
    pub(super) progress: &'a Progress,
    pub(super) pace: Pace,
    pub(super) seen: &'a Seen,
    pub(super) worker: &'a Worker,
}

/// A response head that is ready to be sent.
struct Unsent {
    status: u16,
    bytes: Vec<u8>,
    /// What it counts: see `measure`.
    counted: usize,
    /// Where its body ends.
    marked: Marked,
}

/// How the response ended.
pub(super) enum Ended {
    /// It was relayed whole.
    Relayed(Relayed),
    /// The connection has become a tunnel, and the client was told.
    Switched,
    /// The client gets another answer; nothing was sent yet.
    Replaced(Instead),
}

/// Who ended it, and the status the client should get if it got none yet.
pub(super) type Broken = (End, Option<u16>);

impl Download<'_> {
    pub(super) async fn run(&mut self) -> Result<Ended, Broken> {
        let head = self.read_final_head().await?;
        if head.status == 101 {
            return self.switch(head).await;
        }
        self.relay(head).await
    }

    /// Reads heads until one is final; interim ones are passed on to those who know them.
    async fn read_final_head(&mut self) -> Result<ResponseHead, Broken> {
        for _ in 0..INTERIM_MAX {
            let head = self.read_head().await?;
            if head.status == 101 || !head.is_interim() {
                return match self.order.retried_statuses.contains(&head.status) {
                    true if self.progress.is_repeatable() => {
                        observe::saw(self.session, Sight::Status(head.status));
                        self.progress.blame(Cause::Status(head.status));
                        Err((End::by(Side::Server, Stage::Headers), None))
                    }
                    _ => Ok(head),
                };
            }
            if self.order.head.version == Version::Http11 {
                self.progress.interim_begins();
                let mut out = Vec::with_capacity(128);
                h1::write_response(&head, Framing::None, None, &mut out);
                self.session.count_out(measure::response(&head));
                self.write(&out).await?;
                self.progress.interim_ends();
            }
        }
        Err(self.invalid())
    }

    async fn read_head(&mut self) -> Result<ResponseHead, Broken> {
        let limits = head_limits(self.worker, false);
        let mut scanner = HeadScanner::new();
        loop {
            let full = self.server_buffer.is_full(&self.worker.buffers);
            if full || scanner.is_worth_parsing(self.server_buffer.bytes(), &limits) {
                match h1::parse_response(self.server_buffer.bytes(), &limits) {
                    Ok(Parsed::Complete { head, consumed }) => {
                        self.server_buffer.consume(consumed, &self.worker.buffers);
                        return Ok(head);
                    }
                    Ok(Parsed::Partial) if !full => {}
                    _ => return Err(self.invalid()),
                }
            }
            match self.read(Stage::Headers).await? {
                0 => {
                    self.saw_end(Sight::Closed);
                    self.progress.blame(self.broke_off());
                    return Err((End::by(Side::Server, Stage::Headers), Some(502)));
                }
                _ => self.progress.heard(),
            }
        }
    }

    /// The connection has ended. For one that was idle before that is a race with the node's own
    /// time limit, and says nothing about the node.
    fn saw_end(&self, sight: Sight) {
        if !self.reused || self.progress.has_heard() {
            observe::saw(self.session, sight);
        }
    }

    /// The connection ended before the head did.
    fn broke_off(&self) -> Cause {
        match self.progress.has_heard() {
            true => Cause::Partial,
            false => Cause::Empty,
        }
    }

    /// What the server sent is no response: the client gets 502, never any of it.
    fn invalid(&self) -> Broken {
        self.progress.blame(Cause::Junk);
        observe::saw(self.session, Sight::Invalid);
        self.session.count_at_both(Count::ResponseErrors);
        (End::by(Side::Proxy, Stage::Headers), Some(502))
    }

    /// A 101 opens a tunnel only if an upgrade was asked for and the answer is right in every part
    /// (RFC 6455 section 4.1).
    async fn switch(&mut self, mut head: ResponseHead) -> Result<Ended, Broken> {
        let Some(key) = self.order.upgrade else {
            return Err(self.invalid());
        };
        if ws::check_switching(&head, self.order.head, key).is_err() {
            return Err(self.invalid());
        }
        let counted = measure::response(&head);
        h1::strip_around_upgrade(&mut head.fields);
        if let Some(instead) = self.rewrite(&mut head, BodyLength::Empty, counted) {
            return Ok(Ended::Replaced(instead));
        }
        let mut out = Vec::with_capacity(256);
        let connection = Some(h1::Connection::Upgrade);
        h1::write_response(&head, Framing::None, connection, &mut out);
        self.announce(101, counted, Marked::ByItself);
        observe::saw(self.session, Sight::Status(101));
        self.session.count_out(counted);
        self.write(&out).await?;
        Ok(Ended::Switched)
    }

    async fn relay(&mut self, mut head: ResponseHead) -> Result<Ended, Broken> {
        let method = &self.order.head.method;
        let body = h1::response_body(&head, method).map_err(|_| self.invalid())?;
        if let Some(wait) = (self.order.wanted_body)(&head, self.session) {
            Box::pin(self.wait_for_body(body, wait)).await?;
        }
        if let Some(pause) = answers::wanted_pause(&head, self.session) {
            tokio::time::sleep(pause).await;
        }
        let server_keeps = h1::wants_keep_alive(head.version, &head.fields);
        let bound_to_user = authenticates_connection(&head.fields, &self.order.head.fields);
        let framing = self.framing(&head, body);
        // A client that waits for a go-ahead and gets this answer instead may send its body or not:
        // what comes next on this connection would have two meanings (RFC 9110 section 10.1.1).
        if self.order.waits && self.progress.body() == BodyRead::None {
            self.progress.abandon();
        }
        let announced = self.announced(body, framing);
        let unmarked = framing == Framing::UntilClose && body != BodyLength::Empty;
        let marked = match unmarked && !self.order.head_only {
            true => Marked::ByTheEnd,
            false => Marked::ByItself,
        };
        let counted = measure::response(&head);
        h1::strip_hop_by_hop(&mut head.fields);
        let came = match body {
            BodyLength::Length(length) => {
                let came = self.server_buffer.bytes().len();
                came.min(usize::try_from(length).unwrap_or(came))
            }
            _ => 0,
        };
        if let Some(instead) = self.rewrite(&mut head, body, counted + came) {
            return Ok(Ended::Replaced(instead));
        }
        let mut out = Vec::with_capacity(HEAD_ROOM + self.server_buffer.bytes().len());
        let version = self.order.head.version;
        h1::write_response(
            &head,
            framing,
            connection_field(version, announced),
            &mut out,
        );
        let sent = match (framing, body) {
            _ if self.order.head_only => Sent::Nothing,
            (Framing::Chunked, body) if body != BodyLength::Empty => Sent::Chunks,
            _ => Sent::Plain,
        };
        let unsent = Unsent {
            status: head.status,
            bytes: out,
            counted,
            marked,
        };
        self.relay_body(body, sent, unsent).await?;
        Ok(Ended::Relayed(Relayed {
            client: announced,
            server_keeps: server_keeps
                && body != BodyLength::UntilClose
                && self.server_buffer.is_empty(),
            is_private: bound_to_user,
        }))
    }

    /// Waits until there is enough of the body, or the buffer is full, or no more comes: then what came
    /// must do (manual 4.4, "wait-for-body").
    async fn wait_for_body(&mut self, body: BodyLength, wait: BodyWait) -> Result<(), Broken> {
        let mut seen = BodySeen::new(body);
        let deadline = wait.limit.map(|limit| Instant::now() + limit);
        loop {
            let bytes = self.server_buffer.bytes();
            let enough = seen.is_enough(bytes, wait.at_least);
            if enough.map_err(|_| self.invalid())?
                || self.server_buffer.is_full(&self.worker.buffers)
            {
                return Ok(());
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let (server, pool) = (self.server, &self.worker.buffers);
            let buffer = &mut *self.server_buffer;
            let filling =
                |cx: &mut Context<'_>| buffer.poll_fill(&mut server.borrow_mut(), pool, cx);
            match self.alarm.poll_within(left, filling).await {
                Ok(Ok(1..)) => {}
                // Who relays it finds the end once more.
                Ok(_) => return Ok(()),
                Err(Expired) => {
                    observe::saw(self.session, Sight::Silent);
                    self.progress.blame(Cause::Timeout);
                    return Err((End::by(Side::ServerTimeout, Stage::Headers), Some(504)));
                }
            }
        }
    }

    /// What the configuration does to a response; an answer in its place makes an end of it.
    fn rewrite(
        &self,
        head: &mut ResponseHead,
        length: BodyLength,
        counted: usize,
    ) -> Option<Instead> {
        let status = head.status;
        let body = Body {
            came: self.server_buffer.bytes(),
            length,
        };
        let instead = (self.order.rewrite)(head, self.session, body);
        marks::of_client(self.session, &self.client.borrow().socket());
        let instead = instead?;
        self.session.count_answer(status);
        // What was replaced counts as received, the time until it came does not.
        self.session.count_out(counted);
        observe::saw(self.session, Sight::Status(status));
        Some(instead)
    }

    /// How the client will know where the body ends.
    fn framing(&self, head: &ResponseHead, body: BodyLength) -> Framing {
        match body {
            BodyLength::Length(length) => Framing::Length(length),
            BodyLength::Chunked if self.order.head.version == Version::Http11 => Framing::Chunked,
            BodyLength::Chunked | BodyLength::UntilClose => Framing::UntilClose,
            // The answer to a HEAD says how long the body would be, or nothing about it.
            BodyLength::Empty if self.order.head.method.is_head() || head.status == 304 => {
                match declared_length(head) {
                    Some(length) => Framing::Length(length),
                    None if head.fields.contains("transfer-encoding") => Framing::Chunked,
                    None => Framing::UntilClose,
                }
            }
            BodyLength::Empty => Framing::None,
        }
    }

    /// What the client is told of its connection. It may come to a worse end.
    fn announced(&self, body: BodyLength, framing: Framing) -> Announced {
        let ends = framing == Framing::UntilClose && body != BodyLength::Empty;
        let goes_on = self.order.keep_client && self.progress.may_end_well();
        if goes_on && !ends && !self.worker.is_stopping() {
            Announced::KeepAlive
        } else {
            Announced::Close
        }
    }

    fn announce(&self, status: u16, counted: usize, marked: Marked) {
        self.progress.begin(marked);
        self.seen.status.set(Some(status));
        let now = self.session.record.elapsed();
        self.seen.head_at.set(Some(now));
        self.session.log_early(Early {
            status: Some(status),
            response: Some(now.saturating_sub(self.seen.started)),
            bytes: counted,
        });
        self.session.count_response(status);
    }

    /// Sends the head and the body behind it.
    async fn relay_body(
        &mut self,
        body: BodyLength,
        sent: Sent,
        head: Unsent,
    ) -> Result<(), Broken> {
        let mut reader = BodyReader::new(body);
        let pool = &self.worker.buffers;
        let broken = |sight: Sight| {
            observe::saw(self.session, sight);
            (End::by(Side::Server, Stage::Data), None)
        };
        let Unsent {
            status,
            bytes: mut out,
            counted,
            marked,
        } = head;
        let counts = Cell::new(counted);
        let mut announced = false;
        loop {
            let whole = transcode(
                self.server_buffer,
                &mut reader,
                sent,
                &mut out,
                pool,
                |counted| counts.set(counts.get() + counted),
            );
            // Nonsense that came together with the head: the client has seen nothing of either.
            let whole = match whole {
                Ok(whole) => whole,
                Err(_) if !announced => return Err(self.invalid()),
                Err(_) => return Err(broken(Sight::Invalid)),
            };
            if !announced {
                self.announce(status, counts.get(), marked);
                announced = true;
            }
            self.session.count_out(counts.take());
            if whole {
                // Said at the end: a response that breaks off is none, however good its head was.
                observe::saw(self.session, Sight::Status(status));
            }
            if !out.is_empty() {
                self.write(&out).await?;
                out.clear();
            }
            if whole {
                return Ok(());
            }
            if self.read(Stage::Data).await? == 0 {
                reader
                    .finish_on_close()
                    .map_err(|_| broken(Sight::Closed))?;
                observe::saw(self.session, Sight::Status(status));
                return Ok(());
            }
        }
    }

    /// Reads from the server. Its time runs only while it has the whole request.
    async fn read(&mut self, stage: Stage) -> Result<usize, Broken> {
        loop {
            let had_all = self.progress.is_servers_turn();
            let (server, pool) = (self.server, &self.worker.buffers);
            let buffer = &mut *self.server_buffer;
            let filling =
                |cx: &mut Context<'_>| buffer.poll_fill(&mut server.borrow_mut(), pool, cx);
            let limit = self.order.server_limit;
            return match self.alarm.poll_within(limit, filling).await {
                Ok(Ok(count)) => Ok(count),
                Ok(Err(_)) => {
                    self.saw_end(Sight::Broken);
                    self.progress.blame(self.broke_off());
                    Err((End::by(Side::Server, stage), Some(502)))
                }
                Err(Expired) if !had_all => continue,
                Err(Expired) => {
                    observe::saw(self.session, Sight::Silent);
                    self.progress.blame(Cause::Timeout);
                    Err((End::by(Side::ServerTimeout, stage), Some(504)))
                }
            };
        }
    }

    async fn write(&mut self, out: &[u8]) -> Result<(), Broken> {
        let (client, mut sent) = (self.client, 0);
        let writing =
            |cx: &mut Context<'_>| io::poll_write_all(&mut client.borrow_mut(), out, &mut sent, cx);
        let limit = self.pace.limit(self.order.client_limit);
        let begun = self.pace.begins();
        match self.alarm.poll_within(limit, writing).await {
            Ok(Ok(())) => {
                self.pace.moved(begun, out.len());
                Ok(())
            }
            Ok(Err(_)) => Err((End::by(Side::Client, Stage::Data), None)),
            Err(Expired) => Err((End::by(Side::ClientTimeout, Stage::Data), None)),
        }
    }
}

/// Whether NTLM or Negotiate is under way: it authenticates the connection, not the request, so the
/// connection must never serve another user.
fn authenticates_connection(response: &Fields, request: &Fields) -> bool {
    let (asked, given) = (
        ["www-authenticate", "proxy-authenticate"],
        ["authorization", "proxy-authorization"],
    );
    let is_asked = asked.iter().any(|name| response.contains(name));
    if !is_asked && !given.iter().any(|name| request.contains(name)) {
        return false;
    }
    let asked = asked.map(|name| response.get_all(name));
    let given = given.map(|name| request.get_all(name));
    let by_connection = |value: &[u8]| {
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    };
    let [a, b] = asked;
    let [c, d] = given;
    a.chain(b).chain(c).chain(d).any(by_connection)
}

/// `Content-Length` of a response without a body: to a HEAD, or a 304 (RFC 9110 section 8.6).
fn declared_length(head: &ResponseHead) -> Option<u64> {
    if head.status == 204 || head.is_interim() {
        return None;
    }
    std::str::from_utf8(head.fields.get("content-length")?)
        .ok()?
        .parse()
        .ok()
}
