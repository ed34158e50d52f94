//! The client's side of HTTP/1: request heads in, answers of our own out.
//!
//! Relaying a node's response is `exchange`'s.

mod body;
mod reply;
mod request;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use wire::h1::{self, BodyLength, Limits};
use wire::head::{RequestHead, Version};
use wire::ws::Upgrade;

pub(crate) use body::NoBody;

use crate::body_read::{BodyEnd, BodyRead};
use crate::buffer::Buffer;
use crate::io;
use crate::session::Session;
use crate::stream::Stream;
use crate::timing::{Alarm, within};
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
    /// What ends its waits for what does not come.
    pub(crate) alarm: Alarm,
    /// What it remembers of the nodes of its requests.
    pub(crate) former: Former,
    requests: u64,
    /// Whether it is to be cut off, so that nobody takes what was sent for the whole.
    pub(crate) cut: bool,
    /// Whether its frontend, or the address it came in by, is there no more.
    outdated: bool,
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
    /// Whether the client may wait for a go-ahead before it sends the body, whatever rules made of
    /// the head since.
    pub(crate) waits: bool,
    /// Whether the client asked for a head alone, whatever rules made of its method since.
    pub(crate) is_head: bool,
    /// How much of its body was read.
    pub(crate) body_read: BodyRead,
    /// Its books.
    pub(crate) session: Box<Session>,
}

/// Whether a connection goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Another request may come, now that this one's body was read to its end.
    KeepAlive(BodyEnd),
    /// It ends.
    Close,
    /// It ends, and the client is not told.
    Forget,
}

impl After {
    /// What the client is told of it.
    pub(crate) fn announced(self) -> Announced {
        match self {
            Self::KeepAlive(_) => Announced::KeepAlive,
            Self::Close | Self::Forget => Announced::Close,
        }
    }
}

/// What a response's head tells the client of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    /// Another request may come.
    KeepAlive,
    /// It ends behind this response.
    Close,
}

impl Client {
    /// A connection that has not sent anything yet.
    pub(crate) fn new(stream: Stream, connection: Rc<Connection>) -> Self {
        Self {
            stream,
            buffer: Buffer::default(),
            connection,
            alarm: Alarm::default(),
            former: Former::default(),
            requests: 0,
            cut: false,
            outdated: false,
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

    /// Its stream alone: what else is known of the connection is its session's from now on.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Does something while the client is there; `None` when it is `watched` and left before that was
    /// done.
    pub(crate) async fn unless_left<T>(
        &mut self,
        watched: bool,
        doing: impl Future<Output = T>,
    ) -> Option<T> {
        let worker = self.worker();
        let stream = RefCell::new(&mut self.stream);
        tokio::select! {
            biased;
            done = doing => Some(done),
            _ = watch::left(&stream, &mut self.buffer, &worker.buffers), if watched => None,
        }
    }

    /// Waits for `limit`, or until the client has left: whether it has.
    pub(crate) async fn has_left_within(&mut self, limit: Duration) -> bool {
        let worker = self.worker();
        let stream = RefCell::new(&mut self.stream);
        let left = watch::left(&stream, &mut self.buffer, &worker.buffers);
        within(Some(limit), left).await.is_ok()
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
pub(crate) fn head_limits(worker: &Worker, lenient: bool) -> Limits {
    let site = worker.shared.site.load();
    let tune = &site.config.global.tune;
    Limits {
        head_bytes_max: tune.bufsize.saturating_sub(tune.maxrewrite),
        fields_max: tune.http_maxhdr,
        lenient,
    }
}

/// `Connection` for the client: HTTP/1.1 goes on unless told, HTTP/1.0 ends unless told.
pub(crate) fn connection_field(version: Version, announced: Announced) -> Option<h1::Connection> {
    match (version, announced) {
        (_, Announced::Close) => Some(h1::Connection::Close),
        (Version::Http10, Announced::KeepAlive) => Some(h1::Connection::KeepAlive),
        (Version::Http11, Announced::KeepAlive) => None,
    }
}
