//! Requests as they come from a client: waiting, reading a head, judging it, reading a body.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use config::model::{Mode, Timeouts};
use routing::stick::Counted;
use wire::h1::{self, BodyLength, BodyReader, BodyStep, HeadScanner, Parsed};
use wire::head::{RequestHead, Version};
use wire::ws::{self, Upgrade};

use super::{After, Client, Request, head_limits};
use crate::body_read::{BodyEnd, BodyRead};
use crate::clock;
use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::io;
use crate::measure;
use crate::session::{Session, shorter};
use crate::tcp_facts;
use crate::timing::{Expired, within};

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
    /// The next request; `None` when there is none and the connection is to be closed.
    pub(crate) async fn next(&mut self) -> Option<Box<Request>> {
        match self.read_request().await {
            Ok(mut request) => {
                self.requests += 1;
                if self.outdated {
                    request.keep_alive = false;
                }
                request.session.count_tracked(Counted::Requests, 1);
                Some(request)
            }
            Err(NoRequest::Silent(end)) => {
                self.log_silent(end);
                None
            }
            Err(NoRequest::Left { mut session, end }) => {
                // Nobody was told, but this is what is logged and counted, as in HAProxy.
                session.record.status = Some(400);
                session.count_at_frontend(Count::RequestErrors);
                session.count_at_frontend(Count::Requests);
                session.count_own_response(400);
                session.count_tracked(Counted::Requests, 1);
                session.count_tracked(Counted::Errors, 1);
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
                session.count_tracked(Counted::Requests, 1);
                // As in HAProxy, who is slow has made no mistake.
                if end.side != Side::ClientTimeout {
                    session.count_tracked(Counted::Errors, 1);
                }
                let mut answer = session.error_page(status, None);
                if status == 426 {
                    // RFC 6455 section 4.4: the version that would be understood.
                    answer.fields.append("sec-websocket-version", b"13");
                }
                let message = answer.into_message();
                let telling = self.answer(
                    &mut session,
                    Version::Http11,
                    false,
                    status,
                    message,
                    After::Close,
                );
                Box::pin(telling).await;
                session.finish(end);
                None
            }
        }
    }

    async fn read_request(&mut self) -> Result<Box<Request>, NoRequest> {
        let waiting = clock::now();
        let Timeouts {
            http_request,
            http_keep_alive,
            client,
            ..
        } = self.connection.frontend.conf().proxy.timeouts;
        // The first request's time runs from the accept, silence included; a later one's from its
        // first byte (manual 4.2, "timeout http-request", "timeout http-keep-alive").
        // `timeout client` holds beside them: it is for any silence.
        let own_limit = match self.requests {
            0 => http_request,
            _ => http_keep_alive.or(http_request),
        };
        let idle_limit = shorter(own_limit, client);
        if self.buffer.is_empty() {
            self.wait_for_bytes(idle_limit, waiting).await?;
        }
        self.renew();
        let came = clock::now();
        let mut session = Session::start_at(&self.connection, came);
        session.record.is_first = self.requests == 0;
        if session.frontend().conf().asked.tcp {
            tcp_facts::keep(&self.connection.facts, &self.stream.socket());
        }
        session.record.heard = true;
        session.record.idle = came.saturating_duration_since(waiting);
        let deadline = match (self.requests, http_request) {
            (_, None) => None,
            (0, Some(limit)) => Some(waiting + limit),
            (_, Some(limit)) => Some(came + limit),
        };
        self.read_head(session, deadline).await
    }

    /// Whether its frontend, or the address it came in by, is there no more: then this request, if there is
    /// one, is the last.
    fn is_outdated(&self) -> bool {
        let connection = &self.connection;
        let site = connection.worker.shared.site.load();
        let frontend = &connection.frontend;
        !Arc::ptr_eq(&site.generation, &frontend.generation)
            && site.successor(frontend, connection.bind()).is_none()
    }

    /// The configuration in force now is that of the next request.
    fn renew(&mut self) {
        let worker = self.worker();
        let site = worker.shared.site.load();
        let frontend = &self.connection.frontend;
        if Arc::ptr_eq(&site.generation, &frontend.generation) {
            return;
        }
        let successor = site.successor(frontend, self.connection.bind());
        self.outdated = successor.is_none();
        // Of a TCP frontend its rules have begun with what is there now.
        if frontend.conf().proxy.mode == Mode::Http
            && let Some((frontend, bind)) = successor
            && let Some(connection) = Rc::get_mut(&mut self.connection)
        {
            connection.renew(frontend, bind);
        }
    }

    /// Waits between requests, owning no memory. A stopping engine does not wait.
    async fn wait_for_bytes(
        &mut self,
        limit: Option<Duration>,
        since: Instant,
    ) -> Result<(), NoRequest> {
        let worker = self.worker();
        let first = self.requests == 0;
        let filled = loop {
            let limit = limit.map(|limit| limit.saturating_sub(since.elapsed()));
            if !first && (worker.is_stopping() || self.is_outdated()) {
                return Err(NoRequest::Silent(End::NORMAL));
            }
            let Self {
                stream,
                buffer,
                alarm,
                ..
            } = self;
            let filling = |cx: &mut Context<'_>| buffer.poll_fill(stream, &worker.buffers, cx);
            tokio::select! {
                biased;
                filled = alarm.poll_within(limit, filling) => break filled,
                () = worker.stop_waiting.notified(), if !first => {}
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
            // A probe that resets instead of closing.
            Ok(Err(_)) if first => Err(NoRequest::Left {
                session: Session::start(&self.connection).started_at(since),
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
    ) -> Result<Box<Request>, NoRequest> {
        let worker = self.worker();
        let lenient = self
            .connection
            .frontend
            .conf()
            .proxy
            .conduct
            .lenient_requests;
        let limits = head_limits(&worker, lenient);
        let mut scanner = HeadScanner::new();
        let mut waited = false;
        loop {
            let full = self.buffer.is_full(&worker.buffers);
            if scanner.is_worth_parsing(self.buffer.bytes(), &limits) || full {
                match h1::parse_request(self.buffer.bytes(), &limits) {
                    Ok(Parsed::Complete { head, consumed }) => {
                        session.count_in(measure::request(&head));
                        let line = request_line(&self.buffer.bytes()[..consumed]);
                        self.buffer.consume(consumed, &worker.buffers);
                        return accept_head(head, line, session, self.buffer.bytes(), waited);
                    }
                    Ok(Parsed::Partial) if full => return Err(refuse(session, 400)),
                    Ok(Parsed::Partial) => {}
                    Err(rejected) => return Err(refuse(session, rejected.reason.status())),
                }
            }
            waited = true;
            // `timeout client` limits each wait, `timeout http-request` the whole.
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            let limit = shorter(left, self.connection.frontend.conf().proxy.timeouts.client);
            let Self {
                stream,
                buffer,
                alarm,
                ..
            } = self;
            let filling = |cx: &mut Context<'_>| buffer.poll_fill(stream, &worker.buffers, cx);
            match alarm.poll_within(limit, filling).await {
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

    /// Reads the body of a request that we answer ourselves; `None` when it is longer than that, or
    /// does not come in time. Where its rest begins nobody knows then.
    pub(crate) async fn read_body(
        &mut self,
        request: &mut Request,
        most: usize,
    ) -> Option<Vec<u8>> {
        let worker = self.worker();
        let timeouts = self.connection.frontend.conf().proxy.timeouts;
        let limit = timeouts.http_request.or(timeouts.client);
        request.body_read = BodyRead::Part;
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
            Some((body, BodyEnd::of(&reader)?))
        };
        let (body, end) = within(limit, reading).await.ok().flatten()?;
        request.body_read = BodyRead::Whole(end);
        Some(body)
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
/// `waited`: for part of the head.
fn accept_head(
    head: RequestHead,
    line: Box<[u8]>,
    mut session: Box<Session>,
    came: &[u8],
    waited: bool,
) -> Result<Box<Request>, NoRequest> {
    let body = match h1::request_body(&head) {
        Ok(BodyLength::Chunked) if !is_good_so_far(came) => return Err(refuse(session, 400)),
        Ok(body) => body,
        Err(rejected) => return Err(refuse(session, rejected.reason.status())),
    };
    let upgrade = ws::upgrade_request(&head);
    let refused = match &upgrade {
        Upgrade::Invalid(error) => Some(error.status()),
        _ => None,
    };
    if refused == Some(400) {
        return Err(refuse(session, 400));
    }
    // One that came in one piece took no time.
    let took = waited.then(|| session.record.elapsed());
    session.record.request = Some(took.unwrap_or_default());
    session.record.request_line = line;
    session.note_request(&head);
    session.log_begin();
    if let Some(status) = refused {
        return Err(refuse(session, status));
    }
    // What follows a CONNECT may be anything.
    let keep_alive = !head.method.is_connect() && h1::wants_keep_alive(head.version, &head.fields);
    let waits = h1::expects_continue(&head);
    let is_head = head.method.is_head();
    Ok(Box::new(Request {
        head,
        body,
        upgrade,
        keep_alive,
        waits,
        is_head,
        body_read: BodyRead::None,
        session,
    }))
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

/// The line as the client wrote it, of a head that is right.
fn request_line(head: &[u8]) -> Box<[u8]> {
    let start = head.iter().position(|byte| !b"\r\n".contains(byte));
    let line = &head[start.unwrap_or(0)..];
    let end = memchr::memchr(b'\r', line).unwrap_or(line.len());
    line[..end].into()
}
