//! The client's side of HTTP/1: request heads in, answers of our own out.
//!
//! Relaying a node's response is `exchange`'s.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use config::model::ConnectionMode;
use routing::rules::Answer;
use wire::h1::{self, BodyLength, BodyReader, BodyStep, Framing, HeadScanner, Limits, Parsed};
use wire::head::{Fields, RequestHead, ResponseHead, Version};
use wire::ws::{self, Upgrade};

use crate::answers;
use crate::buffer::Buffer;
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::exchange::BodyRead;
use crate::export::Report;
use crate::io;
use crate::measure;
use crate::session::{Session, shorter};
use crate::stream::Stream;
use crate::timing::{Expired, within};
use crate::upstream::former::Former;
use crate::watch;
use crate::worker::{Connection, Worker};

/// How long a connection that we close lingers for the client's last bytes, so that a reset does not
/// destroy the answer on its way (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Sockets of a worker that linger, at most: they stand outside `maxconn`.
const LINGERING_MAX: usize = 256;

/// Bytes thrown away while lingering, at most.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// A client's connection between and during requests.
pub(crate) struct Client {
    /// Its stream.
    pub(crate) stream: Stream,
    /// What it sent and nobody used yet.
    pub(crate) buffer: Buffer,
    /// What is known of it.
    pub(crate) connection: Rc<Connection>,
    /// What it remembers of the nodes of its requests.
    pub(crate) former: Former,
    requests: u64,
    /// Whether it is to be cut off, so that nobody takes what was sent for the whole.
    pub(crate) cut: bool,
}

/// A request whose head is complete and has one meaning.
pub(crate) struct Request {
    /// The head, as rules may change it.
    pub(crate) head: RequestHead,
    /// How its body is delimited.
    pub(crate) body: BodyLength,
    /// Whether it asks to become a WebSocket.
    pub(crate) upgrade: Upgrade,
    /// Whether the client would send another request afterwards.
    pub(crate) keep_alive: bool,
    /// Whether its body was read to the end already.
    pub(crate) body_read: bool,
    /// Its books.
    pub(crate) session: Box<Session>,
}

impl Request {
    /// That much of its body was read already: what is left may be skipped, if anybody knows where
    /// it begins.
    pub(crate) fn skip_read(&mut self, read: BodyRead) {
        match read {
            BodyRead::None => {}
            BodyRead::Part => self.keep_alive = false,
            BodyRead::Whole => self.body = BodyLength::Empty,
        }
    }
}

/// Whether a connection goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Another request may come.
    KeepAlive,
    /// It ends.
    Close,
}

/// Why there is no request.
enum NoRequest {
    /// The client left between requests, or never said a word.
    Silent(End),
    /// It must be told, and the session logged.
    Refused {
        session: Box<Session>,
        status: u16,
        end: End,
    },
    /// It left in the middle of a head: nobody is there to be told.
    Left { session: Box<Session>, end: End },
}

impl Client {
    /// A connection that has not sent anything yet.
    pub(crate) fn new(stream: Stream, connection: Rc<Connection>) -> Self {
        Self {
            stream,
            buffer: Buffer::default(),
            connection,
            former: Former::default(),
            requests: 0,
            cut: false,
        }
    }

    /// Whether the request at hand is the first one of the connection.
    pub(crate) fn is_first(&self) -> bool {
        self.requests <= 1
    }

    /// The worker it runs on.
    pub(crate) fn worker(&self) -> Rc<Worker> {
        self.connection.worker.clone()
    }

    /// The next request; `None` when there is none and the connection is to be closed.
    pub(crate) async fn next(&mut self) -> Option<Request> {
        match self.read_request().await {
            Ok(request) => {
                self.requests += 1;
                Some(request)
            }
            Err(NoRequest::Silent(end)) => {
                self.log_silent(end);
                None
            }
            Err(NoRequest::Left { mut session, end }) => {
                // Nobody was told, but this is what is logged, as for a connection without a word.
                session.record.status = Some(400);
                session.count_at_frontend(Count::RequestErrors);
                session.finish(end);
                None
            }
            Err(NoRequest::Refused {
                mut session,
                status,
                end,
            }) => {
                session.count_at_frontend(Count::RequestErrors);
                session.count_at_frontend(Count::Requests);
                let mut answer = session.error_page(status, None);
                if status == 426 {
                    // RFC 6455 section 4.4: the version that would be understood.
                    answer.fields.append("sec-websocket-version", b"13");
                }
                let message = answer.into_message();
                self.answer(
                    &mut session,
                    Version::Http11,
                    false,
                    status,
                    message,
                    After::Close,
                )
                .await;
                session.finish(end);
                None
            }
        }
    }

    async fn read_request(&mut self) -> Result<Request, NoRequest> {
        let waiting = Instant::now();
        let timeouts = self.connection.frontend.conf().proxy.timeouts;
        // The first request's time runs from the accept, silence included; a later one's from its
        // first byte (manual 4.2, "timeout http-request", "timeout http-keep-alive").
        // `timeout client` holds beside them: it is for any silence.
        let own_limit = match self.requests {
            0 => timeouts.http_request,
            _ => timeouts.http_keep_alive.or(timeouts.http_request),
        };
        let idle_limit = shorter(own_limit, timeouts.client);
        if self.buffer.is_empty() {
            self.wait_for_bytes(idle_limit, waiting).await?;
        }
        let mut session = Session::start(&self.connection);
        session.record.heard = true;
        session.record.idle = waiting.elapsed();
        let deadline = match (self.requests, timeouts.http_request) {
            (_, None) => None,
            (0, Some(limit)) => Some(waiting + limit),
            (_, Some(limit)) => Some(Instant::now() + limit),
        };
        self.read_head(session, deadline).await
    }

    /// Waits between requests, owning no memory. A stopping engine does not wait.
    async fn wait_for_bytes(
        &mut self,
        limit: Option<Duration>,
        since: Instant,
    ) -> Result<(), NoRequest> {
        let worker = self.worker();
        let first = self.requests == 0;
        if !first && worker.is_stopping() {
            return Err(NoRequest::Silent(End::NORMAL));
        }
        let stream = RefCell::new(&mut self.stream);
        let filled = tokio::select! {
            biased;
            filled = within(limit, io::fill(&stream, &mut self.buffer, &worker.buffers)) => filled,
            () = worker.stop_waiting.notified(), if !first => {
                return Err(NoRequest::Silent(End::NORMAL));
            }
        };
        match filled {
            Ok(Ok(1..)) => Ok(()),
            // `option http-ignore-probes`: browsers connect before they know whether they ask.
            _ if first && self.connection.frontend.conf().proxy.conduct.ignore_probes => {
                Err(NoRequest::Silent(End::NORMAL))
            }
            // It may have closed its own direction alone.
            Ok(Ok(0)) if first => Err(NoRequest::Refused {
                session: Session::start(&self.connection).started_at(since),
                status: 400,
                end: End::by(Side::Client, Stage::Request),
            }),
            Ok(_) => Err(NoRequest::Silent(End::by(Side::Client, Stage::Request))),
            Err(Expired) if first => Err(NoRequest::Refused {
                session: Session::start(&self.connection).started_at(since),
                status: 408,
                end: End::by(Side::ClientTimeout, Stage::Request),
            }),
            Err(Expired) => Err(NoRequest::Silent(End::by(
                Side::ClientTimeout,
                Stage::Request,
            ))),
        }
    }

    /// Reads until the head is complete.
    async fn read_head(
        &mut self,
        session: Box<Session>,
        deadline: Option<Instant>,
    ) -> Result<Request, NoRequest> {
        let worker = self.worker();
        let limits = head_limits(&worker);
        let mut scanner = HeadScanner::new();
        loop {
            let full = self.buffer.is_full(&worker.buffers);
            if scanner.is_worth_parsing(self.buffer.bytes(), &limits) || full {
                match h1::parse_request(self.buffer.bytes(), &limits) {
                    Ok(Parsed::Complete { head, consumed }) => {
                        session.count_in(measure::request(&head));
                        self.buffer.consume(consumed, &worker.buffers);
                        return accept_head(head, session, self.buffer.bytes());
                    }
                    Ok(Parsed::Partial) if full => return Err(refuse(session, 400)),
                    Ok(Parsed::Partial) => {}
                    Err(rejected) => return Err(refuse(session, rejected.reason.status())),
                }
            }
            // `timeout client` limits each wait, `timeout http-request` the whole.
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            let limit = shorter(left, self.connection.frontend.conf().proxy.timeouts.client);
            let stream = RefCell::new(&mut self.stream);
            let filling = io::fill(&stream, &mut self.buffer, &worker.buffers);
            match within(limit, filling).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0)) => {
                    // Half a request and a half-closed connection: HAProxy answers 400.
                    let end = End::by(Side::Client, Stage::Request);
                    return Err(NoRequest::Refused {
                        session,
                        status: 400,
                        end,
                    });
                }
                Ok(Err(_)) => {
                    let end = End::by(Side::Client, Stage::Request);
                    return Err(NoRequest::Left { session, end });
                }
                Err(Expired) => {
                    let end = End::by(Side::ClientTimeout, Stage::Request);
                    return Err(NoRequest::Refused {
                        session,
                        status: 408,
                        end,
                    });
                }
            }
        }
    }

    /// A connection that ended without a request is logged unless `option dontlognull`.
    fn log_silent(&self, end: End) {
        let logging = &self.connection.frontend.conf().proxy.log;
        if self.requests == 0 && !logging.dontlognull && end != End::NORMAL {
            let mut session = Session::start(&self.connection);
            session.record.status = Some(400);
            session.finish(end);
        }
    }

    /// Sends an answer of our own and says whether the connection can go on.
    pub(crate) async fn reply(&mut self, request: &mut Request, answer: Answer) -> After {
        let closes = answer.fields.has_token("connection", "close");
        let after = self.after(request, closes);
        let version = request.head.version;
        let is_head = request.head.method.is_head();
        let status = answer.status;
        let message = answer.into_message().map(|(mut head, body)| {
            answers::after(&mut head, &request.session);
            (head, body)
        });
        self.answer(
            &mut request.session,
            version,
            is_head,
            status,
            message,
            after,
        )
        .await
    }

    /// Whether the connection can go on behind an answer of our own; what is left of the body goes.
    fn after(&mut self, request: &Request, closes: bool) -> After {
        let whole = request.body_read || self.skip_body(request);
        let worker = self.worker();
        // Bytes behind an upgrade that is refused may be frames: they must never become a request.
        let no_upgrade = matches!(request.upgrade, Upgrade::No);
        let mode = self.connection.frontend.conf().proxy.connection;
        let closes = closes || mode == ConnectionMode::Close;
        let keeps = request.keep_alive && no_upgrade && !closes;
        if whole && keeps && !worker.is_stopping() {
            After::KeepAlive
        } else {
            After::Close
        }
    }

    /// Sends a text of our own piece by piece, so that a long one neither fills memory nor keeps the
    /// worker from others.
    pub(crate) async fn report(
        &mut self,
        request: &mut Request,
        fields: Fields,
        report: &mut dyn Report,
    ) -> After {
        let mut after = self.after(request, false);
        let version = request.head.version;
        let is_head = request.head.method.is_head();
        let chunked = version == Version::Http11;
        let framing = match chunked {
            true => Framing::Chunked,
            false => Framing::UntilClose,
        };
        if !chunked && !is_head {
            after = After::Close;
        }
        let mut head = ResponseHead::new(200);
        head.fields = fields;
        answers::after(&mut head, &request.session);
        let session = &mut request.session;
        session.record.status = Some(200);
        session.count_own_response(200);
        let mut out = Vec::with_capacity(1024);
        h1::write_response(&head, framing, connection_field(version, after), &mut out);
        let limit = self.connection.frontend.conf().proxy.timeouts.client;
        let stream = RefCell::new(&mut self.stream);
        let mut more = !is_head;
        loop {
            let mut piece = String::new();
            if more {
                more = report.piece(&mut piece);
                if chunked && !piece.is_empty() {
                    h1::write_chunk_head(piece.len(), &mut out);
                }
                out.extend_from_slice(piece.as_bytes());
                if chunked && !piece.is_empty() {
                    h1::write_chunk_tail(&mut out);
                }
                if chunked && !more {
                    h1::write_last_chunk(None, &mut out);
                }
            }
            session.count_out(out.len());
            match within(limit, io::write_all(&stream, &out)).await {
                Ok(Ok(())) => {}
                // Cut off, so that nobody takes what was sent for the whole.
                _ => return After::Close,
            }
            if !more {
                return after;
            }
            out.clear();
            tokio::task::yield_now().await;
        }
    }

    /// Reads the body of a request that we answer ourselves; `None` when it is longer than that, or
    /// does not come in time.
    pub(crate) async fn read_body(&mut self, request: &Request, most: usize) -> Option<Vec<u8>> {
        let worker = self.worker();
        let timeouts = self.connection.frontend.conf().proxy.timeouts;
        let limit = timeouts.http_request.or(timeouts.client);
        let reading = async {
            let mut reader = BodyReader::new(request.body);
            let mut body = Vec::new();
            while !reader.is_done() {
                let used = match reader.next(self.buffer.bytes()).ok()? {
                    BodyStep::Data { start, end } => {
                        body.extend_from_slice(&self.buffer.bytes()[start..end]);
                        end
                    }
                    BodyStep::Skip(count) => count,
                    BodyStep::End { consumed, .. } => consumed,
                    BodyStep::NeedMore => {
                        let stream = RefCell::new(&mut self.stream);
                        let filling = io::fill(&stream, &mut self.buffer, &worker.buffers);
                        match filling.await {
                            Ok(1..) => continue,
                            _ => return None,
                        }
                    }
                };
                request.session.count_in(used);
                self.buffer.consume(used, &worker.buffers);
                if body.len() > most {
                    return None;
                }
            }
            Some(body)
        };
        within(limit, reading).await.ok().flatten()
    }

    async fn answer(
        &mut self,
        session: &mut Session,
        version: Version,
        is_head: bool,
        status: u16,
        message: Option<(ResponseHead, Vec<u8>)>,
        after: After,
    ) -> After {
        session.record.status = Some(status);
        session.count_own_response(status);
        let Some((head, body)) = message else {
            // An empty `errorfile`: the client is left without a word.
            return After::Close;
        };
        let mut out = Vec::with_capacity(256 + body.len());
        let framing = Framing::Length(body.len() as u64);
        h1::write_response(&head, framing, connection_field(version, after), &mut out);
        if !is_head {
            out.extend_from_slice(&body);
        }
        // As HAProxy, which answers what is no request before there is a session.
        if session.has_begun() {
            session.count_out(measure::answer(&head, &body, is_head));
        }
        let limit = self.connection.frontend.conf().proxy.timeouts.client;
        let stream = RefCell::new(&mut self.stream);
        match within(limit, io::write_all(&stream, &out)).await {
            Ok(Ok(())) => after,
            _ => After::Close,
        }
    }

    /// Does something while the client is there; `None` when it left before that was done.
    pub(crate) async fn unless_left<T>(&mut self, doing: impl Future<Output = T>) -> Option<T> {
        let worker = self.worker();
        let stream = RefCell::new(&mut self.stream);
        tokio::select! {
            biased;
            done = doing => Some(done),
            _ = watch::left(&stream, &mut self.buffer, &worker.buffers) => None,
        }
    }

    /// Waits for `limit`, or until the client has left: whether it has.
    pub(crate) async fn has_left_within(&mut self, limit: Duration) -> bool {
        let worker = self.worker();
        let stream = RefCell::new(&mut self.stream);
        let left = watch::left(&stream, &mut self.buffer, &worker.buffers);
        within(Some(limit), left).await.is_ok()
    }

    /// Skips a body that nobody wants, as far as it has arrived; whether that was all of it.
    fn skip_body(&mut self, request: &Request) -> bool {
        let worker = self.worker();
        let mut reader = BodyReader::new(request.body);
        loop {
            if reader.is_done() {
                return true;
            }
            let (used, counted) = match reader.next(self.buffer.bytes()) {
                Ok(BodyStep::Data { start, end }) => (end, end - start),
                Ok(BodyStep::Skip(count)) => (count, 0),
                Ok(BodyStep::End { consumed, trailers }) => {
                    (consumed, measure::end(consumed, trailers.as_ref()))
                }
                Ok(BodyStep::NeedMore) | Err(_) => return false,
            };
            request.session.count_in(counted);
            self.buffer.consume(used, &worker.buffers);
        }
    }

    /// Ends our direction; the socket is kept a moment for the client's last bytes, but its place in
    /// limits and books is free at once. There is a bound for such sockets: beyond it they are
    /// closed without waiting.
    pub(crate) fn close(mut self) {
        let worker = self.worker();
        self.buffer.clear(&worker.buffers);
        if self.cut {
            self.stream.reset_on_close();
            return;
        }
        if worker.lingering.get() < LINGERING_MAX {
            worker.lingering.set(worker.lingering.get() + 1);
            tokio::task::spawn_local(linger(self.stream, worker));
        }
    }
}

async fn linger(mut stream: Stream, worker: Rc<Worker>) {
    // However it ends, the socket is closed.
    let _ = within(Some(LINGER), async {
        if io::shutdown(&mut stream).await.is_err() {
            return;
        }
        let (mut buffer, mut thrown) = (Buffer::default(), 0);
        let stream = RefCell::new(&mut stream);
        while thrown < LINGER_BYTES_MAX {
            match io::fill(&stream, &mut buffer, &worker.buffers).await {
                Ok(1..) => thrown += buffer.bytes().len(),
                _ => return,
            }
            buffer.clear(&worker.buffers);
        }
    })
    .await;
    worker.lingering.set(worker.lingering.get() - 1);
}

/// How large a head may be: it must leave `tune.maxrewrite` of a buffer free (manual 3.2).
pub(crate) fn head_limits(worker: &Worker) -> Limits {
    let site = worker.shared.site.load();
    let tune = &site.config.global.tune;
    Limits {
        head_bytes_max: tune.bufsize.saturating_sub(tune.maxrewrite),
        fields_max: tune.http_maxhdr,
    }
}

/// `Connection` for the client: HTTP/1.1 goes on unless told, HTTP/1.0 ends unless told.
pub(crate) fn connection_field(version: Version, after: After) -> Option<h1::Connection> {
    match (version, after) {
        (_, After::Close) => Some(h1::Connection::Close),
        (Version::Http10, After::KeepAlive) => Some(h1::Connection::KeepAlive),
        (Version::Http11, After::KeepAlive) => None,
    }
}

fn refuse(session: Box<Session>, status: u16) -> NoRequest {
    NoRequest::Refused {
        session,
        status,
        end: End::by(Side::Proxy, Stage::Request),
    }
}

/// A complete head becomes a request if its framing and its upgrade have one meaning.
/// So must be what `came` with it of a chunked body: then nothing of the request reaches a node.
fn accept_head(
    head: RequestHead,
    mut session: Box<Session>,
    came: &[u8],
) -> Result<Request, NoRequest> {
    let body = match h1::request_body(&head) {
        Ok(BodyLength::Chunked) if !is_good_so_far(came) => return Err(refuse(session, 400)),
        Ok(body) => body,
        Err(rejected) => return Err(refuse(session, rejected.reason.status())),
    };
    let upgrade = ws::upgrade_request(&head);
    let refused = match &upgrade {
        // A tunnel to wherever the client likes is what a forward proxy is for.
        _ if head.method.is_connect() => Some(405),
        Upgrade::Invalid(error) => Some(error.status()),
        _ => None,
    };
    if refused == Some(400) {
        return Err(refuse(session, 400));
    }
    session.record.request = Some(session.record.elapsed());
    session.record.request_line = request_line(&head);
    session.note_request(&head);
    session.log_begin();
    if let Some(status) = refused {
        return Err(refuse(session, status));
    }
    let keep_alive = h1::wants_keep_alive(head.version, &head.fields);
    Ok(Request {
        head,
        body,
        upgrade,
        keep_alive,
        body_read: false,
        session,
    })
}

/// Whether the beginning of a chunked body is one.
fn is_good_so_far(mut bytes: &[u8]) -> bool {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    loop {
        let used = match reader.next(bytes) {
            Ok(BodyStep::Data { end, .. }) => end,
            Ok(BodyStep::Skip(count)) => count,
            Ok(BodyStep::End { .. } | BodyStep::NeedMore) => return true,
            Err(_) => return false,
        };
        bytes = bytes.get(used..).unwrap_or_default();
    }
}

fn request_line(head: &RequestHead) -> Box<[u8]> {
    let parts = [
        head.method.as_bytes(),
        head.target(),
        head.version.as_str().as_bytes(),
    ];
    parts.join(&b' ').into_boxed_slice()
}
