//! One request and its response across two connections.
//!
//! The request's body goes up while the response comes down: a node may answer before it has read
//! everything. Heads are always written anew and bodies re-framed, so that what a peer reads has
//! one meaning whatever the other one sent. Nothing is decided here: what went wrong is returned.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::time::Duration;

use routing::health::Sight;
use wire::h1::{self, BodyError, BodyLength, BodyReader, BodyStep, Framing, HeadScanner, Parsed};
use wire::head::{Fields, RequestHead, ResponseHead, Version};
use wire::ws::{self, ClientKey};

use crate::answers::Instead;
use crate::buffer::{Buffer, BufferPool};
use crate::client::{After, Client, connection_field, head_limits};
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::exchanges::Underway;
use crate::io;
use crate::measure;
use crate::observe;
use crate::retry::{Cause, Kept};
use crate::session::{Early, Session};
use crate::stream::Stream;
use crate::timing::{Expired, within};
use crate::watch::{self, Left};
use crate::worker::Worker;

/// Interim responses before the final one, at most: a node that goes on for ever is broken.
const INTERIM_MAX: usize = 32;

/// A connection to a server, in use.
pub(crate) struct ServerConnection {
    /// Its stream.
    pub(crate) stream: Stream,
    /// What it sent and nobody used yet.
    pub(crate) buffer: Buffer,
    /// How many requests it carried before.
    pub(crate) uses: u32,
}

/// What is to be exchanged, with every choice made already.
pub(crate) struct Order<'a> {
    /// The head to send.
    pub(crate) head: &'a RequestHead,
    /// How the request's body is delimited.
    pub(crate) body: BodyLength,
    /// The key of a WebSocket upgrade.
    pub(crate) upgrade: Option<&'a ClientKey>,
    /// `Connection` for the server.
    pub(crate) server_connection: Option<h1::Connection>,
    /// Whether the client's connection may go on afterwards.
    pub(crate) keep_client: bool,
    /// `timeout client` and `timeout server`.
    pub(crate) client_limit: Option<Duration>,
    /// See `client_limit`.
    pub(crate) server_limit: Option<Duration>,
    /// Answers with which the server is left for another try.
    pub(crate) retried_statuses: &'a [u16],
    /// Whether a client that has closed wants no answer any more.
    pub(crate) abort_on_close: bool,
    /// What is done to a response head before it is sent.
    /// An answer takes the response's place.
    pub(crate) rewrite: &'a dyn Fn(&mut ResponseHead, &Session) -> Option<Instead>,
}

/// What became of it.
pub(crate) enum Outcome {
    /// The response was relayed to its end.
    Done {
        /// Whether the client's connection goes on.
        client: After,
        /// Whether the server's connection can carry another request.
        server_reusable: bool,
    },
    /// The server agreed to the upgrade, and the client was told.
    Switched,
    /// A rule says that the client gets another answer; nothing was sent yet.
    Replaced(Instead, BodyRead),
    /// It broke off.
    Failed(Failure),
}

/// How an exchange broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Who, and at what.
    pub(crate) end: End,
    /// Whether the server had sent anything of a response.
    pub(crate) answered: bool,
    /// What `retry-on` calls it, where the request could be sent again.
    pub(crate) cause: Option<Cause>,
    /// Status to answer the client with, when it has not got a response head yet.
    pub(crate) status: Option<u16>,
    /// Whether the client has part of a response whose end only the end of the connection marks.
    pub(crate) unframed: bool,
    /// How much of the request's body was read from the client.
    pub(crate) body: BodyRead,
}

impl Failure {
    /// Whether the server gave no whole answer: what counts as an error in its responses. One that
    /// was invalid has been counted when it came.
    pub(crate) fn is_servers(&self) -> bool {
        match (self.end.side, self.end.stage) {
            (Side::Client | Side::ClientTimeout | Side::Proxy | Side::Local, _) => false,
            // One that stops in its body was an answer; one that breaks off was none.
            (side, Stage::Data) => side == Side::Server,
            (_, stage) => stage == Stage::Headers,
        }
    }
}

/// How much of a request's body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BodyRead {
    /// Nothing: it may still be skipped.
    None,
    /// Some: what comes next on the connection is its rest.
    Part,
    /// All: what comes next is another request.
    Whole,
}

/// What both directions tell each other.
#[derive(Default)]
struct Progress {
    /// Nothing more of the request will be sent: it was sent whole, or the server took no more.
    upload_over: Cell<bool>,
    /// The request's body was read to its end.
    body_whole: Cell<bool>,
    /// Body bytes of the request were taken from the client's buffer.
    body_used: Cell<bool>,
    /// The rest of the request will not come: the client was to wait for a go-ahead.
    abandoned: Cell<bool>,
    /// The request can be sent again whole, and the client has nothing of an answer.
    repeatable: Cell<bool>,
    /// Why it would be.
    cause: Cell<Option<Cause>>,
    /// Bytes of the response have arrived.
    answered: Cell<bool>,
    /// What goes to the client ends with the connection.
    unframed: Cell<bool>,
    /// A final response head went to the client.
    head_sent: Cell<bool>,
}

impl Progress {
    fn body_read(&self) -> BodyRead {
        match (self.body_whole.get(), self.body_used.get()) {
            (true, _) => BodyRead::Whole,
            (false, true) => BodyRead::Part,
            (false, false) => BodyRead::None,
        }
    }

    /// What the client is waiting for.
    fn stage(&self) -> Stage {
        if self.head_sent.get() {
            Stage::Data
        } else {
            Stage::Headers
        }
    }
}

/// Why the request could not be sent whole.
enum UploadError {
    /// The client left, sent nonsense, or was silent too long.
    Client(End),
    /// The server closed or broke the connection. It may still have answered.
    ServerGone,
    /// The server took no more for `timeout server`.
    ServerExpired,
    /// The client has left after its request was sent whole.
    Left(Left),
}

/// Runs the exchange. Times, status and bytes are entered into `session`. What is sent of the body
/// is kept in `kept`, and what is there already goes first.
pub(crate) async fn exchange(
    client: &mut Client,
    server: &mut ServerConnection,
    session: &mut Session,
    order: &Order<'_>,
    kept: Option<&mut Kept>,
) -> Outcome {
    let worker = client.worker();
    let progress = Progress::default();
    progress.repeatable.set(kept.is_some());
    let started = session.record.elapsed();
    let seen = Seen {
        started,
        ..Seen::default()
    };
    let underway = worker.exchanges.enter(session.target());
    let outcome = {
        let client_stream = RefCell::new(&mut client.stream);
        let server_stream = RefCell::new(&mut server.stream);
        let upload = Upload {
            client: &client_stream,
            client_buffer: &mut client.buffer,
            server: &server_stream,
            session,
            order,
            kept,
            progress: &progress,
            pool: &worker.buffers,
        };
        let download = Download {
            client: &client_stream,
            server: &server_stream,
            server_buffer: &mut server.buffer,
            session,
            order,
            progress: &progress,
            seen: &seen,
            worker: &worker,
        };
        both(upload, download, &progress, &underway).await
    };
    session.record.status = seen.status.get();
    session.record.response = seen.head_at.get().map(|at| at.saturating_sub(started));
    outcome
}

/// What came down, for the log.
#[derive(Default)]
struct Seen {
    /// When the exchange began, from the session's start.
    started: Duration,
    status: Cell<Option<u16>>,
    head_at: Cell<Option<Duration>>,
}

/// Drives both directions; the response decides when it is over.
async fn both(
    mut upload: Upload<'_>,
    download: Download<'_>,
    progress: &Progress,
    underway: &Underway<'_>,
) -> Outcome {
    let fail = |end: End, status: Option<u16>| {
        let status = status.filter(|_| !progress.head_sent.get());
        Outcome::Failed(Failure {
            end,
            answered: progress.answered.get(),
            cause: progress.cause.get().filter(|_| progress.repeatable.get()),
            status,
            unframed: progress.unframed.get(),
            body: progress.body_read(),
        })
    };
    let mut download = pin!(download.run());
    let mut upload = pin!(upload.run());
    let mut ended = pin!(underway.ended());
    let mut uploading = true;
    loop {
        tokio::select! {
            biased;
            by = &mut ended => {
                // To the request it is as if the server had closed.
                progress.cause.set(Some(Cause::Empty));
                return fail(End::by(by, progress.stage()), Some(502));
            }
            sent = &mut upload, if uploading => match sent {
                Ok(()) => uploading = false,
                // A server that closes early has often answered already: look before giving up.
                Err(UploadError::ServerGone) => {
                    progress.upload_over.set(true);
                    uploading = false;
                }
                // Once the answer is on its way it is for the client to take it.
                Err(UploadError::Left(_)) if progress.head_sent.get() => uploading = false,
                Err(UploadError::Left(Left::Closed)) => {
                    return fail(End::by(Side::Client, Stage::Headers), Some(400));
                }
                Err(UploadError::Left(Left::Broken)) => {
                    return fail(End::by(Side::Client, Stage::Data), None);
                }
                Err(UploadError::ServerExpired) => {
                    let stage = progress.stage();
                    return fail(End::by(Side::ServerTimeout, stage), Some(504));
                }
                Err(UploadError::Client(end)) => {
                    let status = match end.side {
                        Side::ClientTimeout => Some(408),
                        Side::Proxy => Some(400),
                        // It has left: nobody is there to be told.
                        _ => None,
                    };
                    return fail(end, status);
                }
            },
            received = &mut download => {
                let outcome = match received {
                    Ok(outcome) => outcome,
                    Err((end, status)) => return fail(end, status),
                };
                let early =
                    uploading && !progress.upload_over.get() && !progress.abandoned.get();
                let (true, Outcome::Done { .. }) = (early, &outcome) else { return outcome };
                // The node answered before it had everything, and did not say that it wants no
                // more: it gets the rest, as HAProxy does it.
                let rest = tokio::select! {
                    biased;
                    by = &mut ended => return fail(End::by(by, Stage::Data), None),
                    rest = &mut upload => rest,
                };
                return match rest {
                    Ok(()) | Err(UploadError::Left(_)) => outcome,
                    Err(UploadError::Client(end)) => fail(end, None),
                    Err(UploadError::ServerGone) => {
                        fail(End::by(Side::Server, Stage::Data), None)
                    }
                    Err(UploadError::ServerExpired) => {
                        fail(End::by(Side::ServerTimeout, Stage::Data), None)
                    }
                };
            }
        }
    }
}

/// The request on its way up.
struct Upload<'a> {
    client: &'a io::Shared<'a>,
    client_buffer: &'a mut Buffer,
    server: &'a io::Shared<'a>,
    session: &'a Session,
    order: &'a Order<'a>,
    kept: Option<&'a mut Kept>,
    progress: &'a Progress,
    pool: &'a BufferPool,
}

impl Upload<'_> {
    async fn run(&mut self) -> Result<(), UploadError> {
        let framing = match self.order.body {
            BodyLength::Empty => Framing::None,
            BodyLength::Length(length) => Framing::Length(length),
            BodyLength::Chunked | BodyLength::UntilClose => Framing::Chunked,
        };
        let mut out = Vec::with_capacity(1024);
        h1::write_request(
            self.order.head,
            framing,
            self.order.server_connection,
            &mut out,
        );
        let mut reader = BodyReader::new(self.order.body);
        if let Some(kept) = &self.kept {
            self.progress
                .body_used
                .set(kept.resume(&mut reader, &mut out));
        }
        let chunked = framing == Framing::Chunked;
        loop {
            let before = out.len();
            let whole = self
                .transcode(&mut reader, chunked, &mut out)
                .map_err(|_| UploadError::Client(End::by(Side::Proxy, self.progress.stage())))?;
            self.progress.body_whole.set(whole);
            if let Some(kept) = &mut self.kept {
                let fits = kept.add(&out, before, &reader);
                self.progress.repeatable.set(fits);
            }
            if !out.is_empty() {
                self.write(&out).await?;
                out.clear();
            }
            if whole {
                self.progress.upload_over.set(true);
                if !self.order.abort_on_close {
                    return Ok(());
                }
                let left = watch::left(self.client, self.client_buffer, self.pool).await;
                return Err(UploadError::Left(left));
            }
            self.read().await?;
        }
    }

    fn transcode(
        &mut self,
        reader: &mut BodyReader,
        chunked: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool, BodyError> {
        let (session, progress) = (self.session, self.progress);
        transcode(
            self.client_buffer,
            reader,
            chunked,
            out,
            self.pool,
            |counted| {
                session.count_in(counted);
                progress.body_used.set(true);
            },
        )
    }

    async fn write(&mut self, out: &[u8]) -> Result<(), UploadError> {
        match within(self.order.server_limit, io::write_all(self.server, out)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(UploadError::ServerGone),
            Err(Expired) => Err(UploadError::ServerExpired),
        }
    }

    async fn read(&mut self) -> Result<(), UploadError> {
        let filling = io::fill(self.client, self.client_buffer, self.pool);
        match within(self.order.client_limit, filling).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(_) => Err(UploadError::Client(End::by(Side::Client, Stage::Data))),
            Err(Expired) => {
                // The answer may have begun while the client was waited for.
                let end = End::by(Side::ClientTimeout, self.progress.stage());
                Err(UploadError::Client(end))
            }
        }
    }
}

/// The response on its way down.
struct Download<'a> {
    client: &'a io::Shared<'a>,
    server: &'a io::Shared<'a>,
    server_buffer: &'a mut Buffer,
    session: &'a Session,
    order: &'a Order<'a>,
    progress: &'a Progress,
    seen: &'a Seen,
    worker: &'a Worker,
}

/// A response head that is ready to be sent.
struct Unsent {
    status: u16,
    bytes: Vec<u8>,
    /// What it counts: see `measure`.
    counted: usize,
}

/// Who ended it, and the status the client should get if it got none yet.
type Broken = (End, Option<u16>);

impl Download<'_> {
    async fn run(mut self) -> Result<Outcome, Broken> {
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
                    true if self.progress.repeatable.get() => {
                        observe::saw(self.session, Sight::Status(head.status));
                        self.progress.cause.set(Some(Cause::Status(head.status)));
                        Err((End::by(Side::Server, Stage::Headers), None))
                    }
                    _ => Ok(head),
                };
            }
            if self.order.head.version == Version::Http11 {
                self.progress.repeatable.set(false);
                let mut out = Vec::with_capacity(128);
                h1::write_response(&head, Framing::None, None, &mut out);
                self.session.count_out(measure::response(&head));
                self.write(&out).await?;
            }
        }
        Err(self.invalid())
    }

    async fn read_head(&mut self) -> Result<ResponseHead, Broken> {
        let limits = head_limits(self.worker);
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
                    observe::saw(self.session, Sight::Closed);
                    self.progress.cause.set(Some(self.broke_off()));
                    return Err((End::by(Side::Server, Stage::Headers), Some(502)));
                }
                _ => self.progress.answered.set(true),
            }
        }
    }

    /// The connection ended before the head did.
    fn broke_off(&self) -> Cause {
        match self.progress.answered.get() {
            true => Cause::Partial,
            false => Cause::Empty,
        }
    }

    /// What the server sent is no response: the client gets 502, never any of it.
    fn invalid(&self) -> Broken {
        self.progress.cause.set(Some(Cause::Junk));
        observe::saw(self.session, Sight::Invalid);
        self.session.count_at_both(Count::ResponseErrors);
        (End::by(Side::Proxy, Stage::Headers), Some(502))
    }

    /// A 101 opens a tunnel only if an upgrade was asked for and the answer is right in every part
    /// (RFC 6455 section 4.1).
    async fn switch(mut self, mut head: ResponseHead) -> Result<Outcome, Broken> {
        let Some(key) = self.order.upgrade else {
            return Err(self.invalid());
        };
        if ws::check_switching(&head, self.order.head, key).is_err() {
            return Err(self.invalid());
        }
        let counted = measure::response(&head);
        h1::strip_around_upgrade(&mut head.fields);
        if let Some(instead) = self.rewrite(&mut head, counted) {
            return Ok(Outcome::Replaced(instead, self.progress.body_read()));
        }
        let mut out = Vec::with_capacity(256);
        let connection = Some(h1::Connection::Upgrade);
        h1::write_response(&head, Framing::None, connection, &mut out);
        self.announce(101, counted);
        observe::saw(self.session, Sight::Status(101));
        self.session.count_out(counted);
        self.write(&out).await?;
        Ok(Outcome::Switched)
    }

    async fn relay(mut self, mut head: ResponseHead) -> Result<Outcome, Broken> {
        let method = &self.order.head.method;
        let body = h1::response_body(&head, method).map_err(|_| self.invalid())?;
        let server_keeps = h1::wants_keep_alive(head.version, &head.fields);
        let bound_to_user = authenticates_connection(&head.fields, &self.order.head.fields);
        let framing = self.framing(&head, body);
        // A client that waits for a go-ahead and gets this answer instead may send its body or not:
        // what comes next on this connection would have two meanings (RFC 9110 section 10.1.1).
        let waits = h1::expects_continue(self.order.head) && !self.progress.body_used.get();
        self.progress
            .abandoned
            .set(waits && !self.progress.upload_over.get());
        let after = self.after(body, framing);
        let unframed = framing == Framing::UntilClose && body != BodyLength::Empty;
        self.progress.unframed.set(unframed);
        let counted = measure::response(&head);
        h1::strip_hop_by_hop(&mut head.fields);
        let came = match body {
            BodyLength::Length(length) => {
                let came = self.server_buffer.bytes().len();
                came.min(usize::try_from(length).unwrap_or(came))
            }
            _ => 0,
        };
        if let Some(instead) = self.rewrite(&mut head, counted + came) {
            return Ok(Outcome::Replaced(instead, self.progress.body_read()));
        }
        let mut out = Vec::with_capacity(1024);
        let version = self.order.head.version;
        h1::write_response(&head, framing, connection_field(version, after), &mut out);
        let chunked = framing == Framing::Chunked && body != BodyLength::Empty;
        let unsent = Unsent {
            status: head.status,
            bytes: out,
            counted,
        };
        self.relay_body(body, chunked, unsent).await?;
        Ok(Outcome::Done {
            client: after,
            server_reusable: !self.progress.abandoned.get()
                && server_keeps
                && !bound_to_user
                && body != BodyLength::UntilClose
                && self.server_buffer.is_empty(),
        })
    }

    /// What the configuration does to a response; an answer in its place makes an end of it.
    fn rewrite(&self, head: &mut ResponseHead, counted: usize) -> Option<Instead> {
        let status = head.status;
        let instead = (self.order.rewrite)(head, self.session)?;
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

    fn after(&self, body: BodyLength, framing: Framing) -> After {
        let ends = framing == Framing::UntilClose && body != BodyLength::Empty;
        let goes_on = self.order.keep_client && !self.progress.abandoned.get();
        if goes_on && !ends && !self.worker.is_stopping() {
            After::KeepAlive
        } else {
            After::Close
        }
    }

    fn announce(&self, status: u16, counted: usize) {
        self.progress.head_sent.set(true);
        self.progress.repeatable.set(false);
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
        chunked: bool,
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
        } = head;
        let counts = Cell::new(counted);
        let mut announced = false;
        loop {
            let whole = transcode(
                self.server_buffer,
                &mut reader,
                chunked,
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
                self.announce(status, counts.get());
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
            let had_all = self.progress.upload_over.get();
            let pool = &self.worker.buffers;
            let filling = io::fill(self.server, self.server_buffer, pool);
            return match within(self.order.server_limit, filling).await {
                Ok(Ok(count)) => Ok(count),
                Ok(Err(_)) => {
                    observe::saw(self.session, Sight::Broken);
                    self.progress.cause.set(Some(self.broke_off()));
                    Err((End::by(Side::Server, stage), Some(502)))
                }
                Err(Expired) if !had_all => continue,
                Err(Expired) => {
                    observe::saw(self.session, Sight::Silent);
                    self.progress.cause.set(Some(Cause::Timeout));
                    Err((End::by(Side::ServerTimeout, stage), Some(504)))
                }
            };
        }
    }

    async fn write(&mut self, out: &[u8]) -> Result<(), Broken> {
        match within(self.order.client_limit, io::write_all(self.client, out)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err((End::by(Side::Client, Stage::Data), None)),
            Err(Expired) => Err((End::by(Side::ClientTimeout, Stage::Data), None)),
        }
    }
}

/// Whether NTLM or Negotiate is under way: it authenticates the connection, not the request, so the
/// connection must never serve another user.
fn authenticates_connection(response: &Fields, request: &Fields) -> bool {
    let asked = ["www-authenticate", "proxy-authenticate"].map(|name| response.get_all(name));
    let given = ["authorization", "proxy-authorization"].map(|name| request.get_all(name));
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

/// Moves what is in `buffer` of a body to `out`, framed anew, and tells `used` what each step counts
/// (see `measure`). `Ok(true)`: that was the end of it.
fn transcode(
    buffer: &mut Buffer,
    reader: &mut BodyReader,
    chunked: bool,
    out: &mut Vec<u8>,
    pool: &BufferPool,
    mut used: impl FnMut(usize),
) -> Result<bool, BodyError> {
    while !reader.is_done() {
        let (consumed, counted) = match reader.next(buffer.bytes())? {
            BodyStep::Data { start, end } => {
                let data = &buffer.bytes()[start..end];
                if chunked {
                    h1::write_chunk_head(data.len(), out);
                    out.extend_from_slice(data);
                    h1::write_chunk_tail(out);
                } else {
                    out.extend_from_slice(data);
                }
                (end, end - start)
            }
            BodyStep::Skip(count) => (count, 0),
            BodyStep::End { consumed, trailers } => {
                if chunked {
                    h1::write_last_chunk(trailers.as_ref(), out);
                }
                (consumed, measure::end(consumed, trailers.as_ref()))
            }
            BodyStep::NeedMore => return Ok(false),
        };
        used(counted);
        buffer.consume(consumed, pool);
    }
    Ok(true)
}
