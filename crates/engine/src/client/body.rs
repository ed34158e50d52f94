//! Waiting for a request's body before anything is decided: it stays in the buffer, where rules see it,
//! and is forwarded from there.

use std::task::Context;
use std::time::{Duration, Instant};

use config::model::BodyWait;
use routing::body::Body;
use wire::h1::{self, BodyLength, Framing};
use wire::head::{Fields, ResponseHead, Version};

use super::{Client, Request};
use crate::body_read::BodySeen;
use crate::end::{End, Side, Stage};
use crate::io;
use crate::measure;
use crate::timing::Expired;

/// Why there is no waiting any more: what the client is told, and how its session ends.
pub(crate) struct NoBody {
    /// This status.
    pub(crate) status: u16,
    /// And this end.
    pub(crate) end: End,
}

impl Client {
    /// Waits until there is enough of the body, or the buffer is full, or the client sends no more: then
    /// what came must do, as in HAProxy.
    pub(crate) async fn wait_for_body(
        &mut self,
        request: &mut Request,
        wait: BodyWait,
    ) -> Result<(), NoBody> {
        let worker = self.worker();
        let deadline = wait.limit.map(|limit| Instant::now() + limit);
        let mut seen = BodySeen::new(request.body);
        let mut waited = false;
        loop {
            let Ok(enough) = seen.is_enough(self.buffer.bytes(), wait.at_least) else {
                return Err(invalid());
            };
            if enough || self.buffer.is_full(&worker.buffers) {
                break;
            }
            waited = true;
            self.send_go_on(request).await?;
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let Self {
                stream,
                buffer,
                alarm,
                ..
            } = self;
            let filling = |cx: &mut Context<'_>| buffer.poll_fill(stream, &worker.buffers, cx);
            match alarm.poll_within(left, filling).await {
                Ok(Ok(1..)) => {}
                // It may have closed its own direction alone.
                Ok(_) => break,
                Err(Expired) => {
                    return Err(NoBody {
                        status: 408,
                        end: End::by(Side::ClientTimeout, Stage::Request),
                    });
                }
            }
        }
        if waited {
            request.session.record.request = Some(request.session.record.elapsed());
        }
        Ok(())
    }

    /// The client is told to send its body, if it waits for that; nobody else has to tell it then.
    async fn send_go_on(&mut self, request: &mut Request) -> Result<(), NoBody> {
        if !std::mem::take(&mut request.waits) {
            return Ok(());
        }
        request.head.fields.remove("expect");
        self.send_interim(request, &ResponseHead::new(100)).await
    }

    async fn send_interim(&mut self, request: &Request, head: &ResponseHead) -> Result<(), NoBody> {
        let mut out = Vec::with_capacity(128);
        h1::write_response(head, Framing::None, None, &mut out);
        request.session.count_out(measure::response(head));
        let limit = self.connection.frontend.conf().proxy.timeouts.client;
        let (stream, mut sent) = (&mut self.stream, 0);
        let writing = |cx: &mut Context<'_>| io::poll_write_all(stream, &out, &mut sent, cx);
        if matches!(self.alarm.poll_within(limit, writing).await, Ok(Ok(()))) {
            return Ok(());
        }
        Err(NoBody {
            status: 400,
            end: End::by(Side::Client, Stage::Request),
        })
    }

    /// Lets time pass (manual 4.4, "pause"), unless the client leaves meanwhile.
    pub(crate) async fn pause(
        &mut self,
        request: &mut Request,
        time: Duration,
    ) -> Result<(), NoBody> {
        self.has_left_within(time).await;
        request.session.record.request = Some(request.session.record.elapsed());
        Ok(())
    }

    /// A 103 with these fields, for clients that know interim responses (RFC 8297).
    pub(crate) async fn send_hints(
        &mut self,
        request: &mut Request,
        fields: Fields,
    ) -> Result<(), NoBody> {
        if request.head.version != Version::Http11 || fields.iter().next().is_none() {
            return Ok(());
        }
        let mut head = ResponseHead::new(103);
        head.fields = fields;
        self.send_interim(request, &head).await
    }

    /// What came of a request's body, as rules see it.
    pub(crate) fn body_of(&self, length: BodyLength) -> Body<'_> {
        Body {
            came: self.buffer.bytes(),
            length,
        }
    }
}

fn invalid() -> NoBody {
    NoBody {
        status: 400,
        end: End::by(Side::Proxy, Stage::Request),
    }
}
