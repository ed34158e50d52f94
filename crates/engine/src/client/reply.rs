//! Answers of our own on their way to a client.

use std::cell::RefCell;

use config::model::ConnectionMode;
use routing::rules::Answer;
use wire::h1::{self, BodyReader, BodyStep, Framing};
use wire::head::{Fields, ResponseHead, Version};
use wire::ws::Upgrade;

use super::{After, Client, Request, connection_field};
use crate::answers;
use crate::body_read::{BodyEnd, BodyRead};
use crate::export::Report;
use crate::io;
use crate::measure;
use crate::session::Session;
use crate::timing::within;

impl Client {
    /// Sends an answer of our own and says whether the connection can go on.
    pub(crate) async fn reply(&mut self, request: &mut Request, answer: Answer) -> After {
        let closes = answer.fields.has_token("connection", "close");
        let after = self.after(request, closes);
        let version = request.head.version;
        let is_head = request.is_head;
        let mut status = answer.status;
        let message = answer.into_message().map(|(mut head, body)| {
            let before = head.status;
            answers::after(&mut head, &request.session);
            // A page may say another status than the one it stands for, which is logged all the same.
            if head.status != before {
                status = head.status;
            }
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
    fn after(&mut self, request: &mut Request, closes: bool) -> After {
        if request.body_read == BodyRead::None {
            request.body_read = self.skip_body(request);
        }
        let worker = self.worker();
        // Bytes behind an upgrade that is refused may be frames: they must never become a request.
        let no_upgrade = matches!(request.upgrade, Upgrade::No);
        let mode = self.connection.frontend.conf().proxy.connection;
        let closes = closes || mode == ConnectionMode::Close;
        let keeps = request.keep_alive && no_upgrade && !closes;
        match request.body_read {
            BodyRead::Whole(end) if keeps && !worker.is_stopping() => After::KeepAlive(end),
            _ => After::Close,
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
        let is_head = request.is_head;
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
        h1::write_response(
            &head,
            framing,
            connection_field(version, after.announced()),
            &mut out,
        );
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

    pub(super) async fn answer(
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
        h1::write_response(
            &head,
            framing,
            connection_field(version, after.announced()),
            &mut out,
        );
        if !is_head {
            out.extend_from_slice(&body);
        }
        // As HAProxy, which answers what is no request before there is a session.
        if session.has_begun() {
            session.count_out(measure::answer(&head, &body, is_head));
        }
        let limit = self.connection.frontend.conf().proxy.timeouts.client;
        let stream = RefCell::new(&mut self.stream);
        let writing = io::write_all(&stream, &out);
        match self.alarm.within(limit, writing).await {
            Ok(Ok(())) => after,
            _ => After::Close,
        }
    }

    /// Skips a body that nobody wants, as far as it has arrived: how much of it that was.
    fn skip_body(&mut self, request: &Request) -> BodyRead {
        let worker = self.worker();
        let mut reader = BodyReader::new(request.body);
        loop {
            if let Some(end) = BodyEnd::of(&reader) {
                return BodyRead::Whole(end);
            }
            let (used, counted) = match reader.next(self.buffer.bytes()) {
                Ok(BodyStep::Data { start, end }) => (end, end - start),
                Ok(BodyStep::Skip(count)) => (count, 0),
                Ok(BodyStep::End { consumed, trailers }) => {
                    (consumed, measure::end(consumed, trailers.as_ref()))
                }
                Ok(BodyStep::NeedMore) | Err(_) => return BodyRead::Part,
            };
            request.session.count_in(counted);
            self.buffer.consume(used, &worker.buffers);
        }
    }
}
