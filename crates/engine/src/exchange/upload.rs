//! The request of an exchange on its way up: its head, then its body as it comes.

use std::task::Context;

use wire::h1::{self, BodyError, BodyLength, BodyReader, Framing};

use super::pace::Pace;
use super::transcode::{Sent, transcode};
use super::{Order, Progress};
use crate::body_read::{BodyEnd, BodyRead};
use crate::buffer::{Buffer, BufferPool};
use crate::end::{End, Side, Stage};
use crate::io;
use crate::retry::Kept;
use crate::session::Session;
use crate::timing::{Alarm, Expired};
use crate::watch::{self, Left};

/// Why the request could not be sent whole.
pub(super) enum UploadError {
    /// The client left, sent nonsense, or was silent too long.
    Client(End),
    /// The server closed or broke the connection. It may still have answered.
    ServerGone,
    /// The server took no more for `timeout server`.
    ServerExpired,
    /// The client has left after its request was sent whole.
    Left(Left),
}

/// The request on its way up.
pub(super) struct Upload<'a> {
    pub(super) alarm: &'a Alarm,
    pub(super) client: &'a io::Shared<'a>,
    pub(super) client_buffer: &'a mut Buffer,
    pub(super) server: &'a io::Shared<'a>,
    pub(super) session: &'a Session,
    pub(super) order: &'a Order<'a>,
    pub(super) kept: Option<&'a mut Kept>,
    pub(super) progress: &'a Progress,
    pub(super) pace: Pace,
    pub(super) pool: &'a BufferPool,
}

impl Upload<'_> {
    pub(super) async fn run(&mut self) -> Result<(), UploadError> {
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
            kept.resume(&mut reader, &mut out);
        }
        let sent = match framing {
            Framing::Chunked => Sent::Chunks,
            _ => Sent::Plain,
        };
        loop {
            let before = out.len();
            let whole = self
                .transcode(&mut reader, sent, &mut out)
                .map_err(|_| UploadError::Client(End::by(Side::Proxy, self.progress.stage())))?;
            if let Some(end) = BodyEnd::of(&reader) {
                self.progress.read(BodyRead::Whole(end));
            }
            if let Some(kept) = &mut self.kept
                && !kept.add(&out, before, &reader)
            {
                self.progress.lose_copy();
            }
            if !out.is_empty() {
                self.write(&out).await?;
                out.clear();
            }
            if whole {
                self.progress.sent();
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
        sent: Sent,
        out: &mut Vec<u8>,
    ) -> Result<bool, BodyError> {
        let (session, progress) = (self.session, self.progress);
        transcode(
            self.client_buffer,
            reader,
            sent,
            out,
            self.pool,
            |counted| {
                session.count_in(counted);
                progress.read(BodyRead::Part);
            },
        )
    }

    async fn write(&mut self, out: &[u8]) -> Result<(), UploadError> {
        let (server, mut sent) = (self.server, 0);
        let writing =
            |cx: &mut Context<'_>| io::poll_write_all(&mut server.borrow_mut(), out, &mut sent, cx);
        let limit = self.order.server_limit;
        match self.alarm.poll_within(limit, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(UploadError::ServerGone),
            Err(Expired) => Err(UploadError::ServerExpired),
        }
    }

    async fn read(&mut self) -> Result<(), UploadError> {
        let (client, pool) = (self.client, self.pool);
        let buffer = &mut *self.client_buffer;
        let filling = |cx: &mut Context<'_>| buffer.poll_fill(&mut client.borrow_mut(), pool, cx);
        let limit = self.pace.limit(self.order.client_limit);
        let begun = self.pace.begins();
        match self.alarm.poll_within(limit, filling).await {
            Ok(Ok(count @ 1..)) => {
                self.pace.moved(begun, count);
                Ok(())
            }
            Ok(_) => Err(UploadError::Client(End::by(Side::Client, Stage::Data))),
            Err(Expired) => {
                // The answer may have begun while the client was waited for.
                let end = End::by(Side::ClientTimeout, self.progress.stage());
                Err(UploadError::Client(end))
            }
        }
    }
}
