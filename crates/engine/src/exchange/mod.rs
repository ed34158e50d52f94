//! One request and its response across two connections.
//!
//! The request's body goes up while the response comes down: a node may answer before it has read
//! everything. Heads are always written anew and bodies re-framed, so that what a peer reads has
//! one meaning whatever the other one sent. Nothing is decided here: what went wrong is returned.

mod download;
mod pace;
mod progress;
mod transcode;
mod upload;

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use config::model::{BodyWait, MinRate};
use routing::body::Body;
use wire::h1::{self, BodyLength};
use wire::head::{RequestHead, ResponseHead};
use wire::ws::ClientKey;

use crate::answers::Instead;
use crate::body_read::BodyRead;
use crate::buffer::Buffer;
use crate::client::{After, Client};
use crate::end::{End, Side, Stage};
use crate::exchanges::Underway;
use crate::retry::{Cause, Kept};
use crate::session::Session;
use crate::stream::Stream;
use crate::watch::Left;

use download::{Download, Ended, Seen};
use pace::Pace;
use progress::Progress;
use upload::{Upload, UploadError};

/// A connection to a server, in use.
pub(crate) struct ServerConnection {
    /// Its stream.
    pub(crate) stream: Stream,
    /// What it sent and nobody used yet.
    pub(crate) buffer: Buffer,
    /// How many requests it carried before.
    pub(crate) uses: u32,
    /// Whether it serves one client alone.
    pub(crate) is_private: bool,
    /// When the session got it, from its start.
    pub(crate) since: Duration,
}

/// What is to be exchanged, with every choice made already.
pub(crate) struct Order<'a> {
    /// The head to send.
    pub(crate) head: &'a RequestHead,
    /// How the request's body is delimited.
    pub(crate) body: BodyLength,
    /// How much of it earlier tries have read.
    pub(crate) body_read: BodyRead,
    /// Whether the client wants no body, whatever the server is asked for.
    pub(crate) head_only: bool,
    /// Whether the client may wait for a go-ahead before it sends the body.
    pub(crate) waits: bool,
    /// The key of a WebSocket upgrade.
    pub(crate) upgrade: Option<&'a ClientKey>,
    /// `Connection` for the server.
    pub(crate) server_connection: Option<h1::Connection>,
    /// Whether the client's connection may go on afterwards.
    pub(crate) keep_client: bool,
    /// `timeout client` and `timeout server`.
    pub(crate) client_limit: Option<Duration>,
    /// How slow the client may be beside that.
    pub(crate) client_min_rate: Option<MinRate>,
    /// See `client_limit`.
    pub(crate) server_limit: Option<Duration>,
    /// Answers with which the server is left for another try.
    pub(crate) retried_statuses: &'a [u16],
    /// Whether a client that has closed wants no answer any more.
    pub(crate) abort_on_close: bool,
    /// What is done to a response head before it is sent.
    /// An answer takes the response's place.
    pub(crate) rewrite: &'a dyn Fn(&mut ResponseHead, &Session, Body<'_>) -> Option<Instead>,
    /// What must have come of a response's body before.
    pub(crate) wanted_body: &'a dyn Fn(&ResponseHead, &Session) -> Option<BodyWait>,
}

/// What became of it.
pub(crate) enum Outcome {
    /// The response was relayed to its end.
    Done {
        /// Whether the client's connection goes on.
        client: After,
        /// Whether the server's connection can carry another request.
        server_reusable: bool,
        /// Whether it must serve nobody but this client from now on.
        is_private: bool,
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
    let progress = Progress::new(order.body_read, kept.is_some());
    let started = server.since;
    let seen = Seen {
        started,
        ..Seen::default()
    };
    let underway = worker.exchanges.enter(session.glimpse());
    let outcome = {
        let client_stream = RefCell::new(&mut client.stream);
        let server_stream = RefCell::new(&mut server.stream);
        let mut upload = Upload {
            alarm: &client.alarm,
            client: &client_stream,
            client_buffer: &mut client.buffer,
            server: &server_stream,
            session,
            order,
            kept,
            progress: &progress,
            pace: Pace::new(order.client_min_rate),
            pool: &worker.buffers,
        };
        let mut download = Download {
            alarm: &client.alarm,
            client: &client_stream,
            server: &server_stream,
            server_buffer: &mut server.buffer,
            reused: server.uses > 0,
            session,
            order,
            progress: &progress,
            pace: Pace::new(order.client_min_rate),
            seen: &seen,
            worker: &worker,
        };
        // Else it would be copied into each future around it, with all the room that it may need.
        Box::pin(both(&mut upload, &mut download, &progress, &underway)).await
    };
    session.record.status = seen.status.get();
    session.record.response = seen.head_at.get().map(|at| at.saturating_sub(started));
    outcome
}

/// Drives both directions; the response decides when it is over.
async fn both(
    upload: &mut Upload<'_>,
    download: &mut Download<'_>,
    progress: &Progress,
    underway: &Underway<'_>,
) -> Outcome {
    let fail = |end: End, status: Option<u16>| progress.fail(end, status);
    let mut download = pin!(download.run());
    let mut upload = pin!(upload.run());
    let mut ended = pin!(underway.ended());
    let mut uploading = true;
    loop {
        tokio::select! {
            biased;
            by = &mut ended => {
                // To the request it is as if the server had closed.
                progress.blame(Cause::Empty);
                return fail(End::by(by, progress.stage()), Some(502));
            }
            sent = &mut upload, if uploading => match sent {
                Ok(()) => uploading = false,
                // A server that closes early has often answered already: look before giving up.
                Err(UploadError::ServerGone) => {
                    progress.refused();
                    uploading = false;
                }
                // Once the answer is on its way it is for the client to take it.
                Err(UploadError::Left(_)) if progress.has_begun() => uploading = false,
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
                let relayed = match received {
                    Ok(Ended::Relayed(relayed)) => relayed,
                    Ok(Ended::Switched) => return Outcome::Switched,
                    Ok(Ended::Replaced(instead)) => {
                        return Outcome::Replaced(instead, progress.body());
                    }
                    Err((end, status)) => return fail(end, status),
                };
                if !progress.has_more_to_send() {
                    return progress.done(&relayed);
                }
                // The node answered before it had everything, and did not say that it wants no
                // more: it gets the rest, as HAProxy does it.
                let rest = tokio::select! {
                    biased;
                    by = &mut ended => return fail(End::by(by, Stage::Data), None),
                    rest = &mut upload => rest,
                };
                return match rest {
                    Ok(()) | Err(UploadError::Left(_)) => progress.done(&relayed),
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
