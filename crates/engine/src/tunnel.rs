//! After the 101, and for `mode tcp`: bytes both ways, nothing kept.
//!
//! A tunnel that waits owns two sockets, its counters and its deadline, and no buffer: when bytes
//! come it borrows the worker's scratch buffer, reads, writes, and gives it back. Only what the
//! other side does not take at once is copied and kept, and then nothing more is read from that
//! direction: a slow reader costs at most one scratch buffer.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::session::Session;
use crate::stream::Stream;
use crate::tunnels::{Verdict, Watch};
use crate::worker::Worker;

/// Reads in a row that one tunnel may do before the others get their turn: with the scratch buffer
/// of 64 KiB at most 1 MiB, well below a millisecond of work.
const READS_PER_TURN: u32 = 16;

/// Two connected streams and what is known of them.
pub(crate) struct Tunnel {
    client: Stream,
    server: Stream,
    /// Client to server.
    up: Flow,
    /// Server to client.
    down: Flow,
    watch: Rc<Watch>,
    worker: Rc<Worker>,
    session: Option<Box<Session>>,
}

/// One direction.
struct Flow {
    phase: Phase,
    /// Bytes the receiver did not take yet, from `sent` on.
    kept: Vec<u8>,
    sent: usize,
    /// Whether TLS may hold bytes back.
    unflushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Bytes may come.
    Open,
    /// The sender has ended; the receiver is not told yet.
    Closing,
    /// The receiver was told.
    Closed,
}

/// Which stream failed, and at what.
struct Broken {
    reading: bool,
}

const READING: Broken = Broken { reading: true };
const WRITING: Broken = Broken { reading: false };

impl Flow {
    fn new(early: Vec<u8>) -> Self {
        Self {
            phase: Phase::Open,
            kept: early,
            sent: 0,
            unflushed: false,
        }
    }

    /// Moves bytes until the sender has none, the receiver takes none, or the turn is over.
    /// Ready when this direction is closed. `moved` is told of every batch of bytes read.
    fn poll(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        scratch: &mut [u8],
        cx: &mut Context<'_>,
        moved: &mut dyn FnMut(usize),
    ) -> Poll<Result<(), Broken>> {
        let mut reads = 0;
        loop {
            ready!(self.poll_deliver(to, cx)).map_err(|_| WRITING)?;
            match self.phase {
                Phase::Open if reads == READS_PER_TURN => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Phase::Open => {
                    reads += 1;
                    let count = match ready!(from.poll_read(cx, scratch)) {
                        Ok(count) => count,
                        // TLS clients often leave without a close_notify; the frames inside say
                        // whether anything is missing (RFC 6455 section 7.1.1).
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                        Err(_) => return Poll::Ready(Err(READING)),
                    };
                    if count == 0 {
                        self.phase = Phase::Closing;
                    } else {
                        moved(count);
                        self.pass_on(&scratch[..count], to, cx)
                            .map_err(|_| WRITING)?;
                    }
                }
                Phase::Closing => {
                    ready!(to.poll_shutdown(cx)).map_err(|_| WRITING)?;
                    self.phase = Phase::Closed;
                }
                Phase::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes what was kept, and what TLS holds back.
    fn poll_deliver(&mut self, to: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.kept.len() {
            let count = ready!(to.poll_write(cx, &self.kept[self.sent..]))?;
            self.unflushed = true;
            self.sent += count;
        }
        if !self.kept.is_empty() {
            self.kept = Vec::new();
            self.sent = 0;
        }
        if self.unflushed {
            ready!(to.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes fresh bytes; keeps what the receiver does not take.
    fn pass_on(&mut self, bytes: &[u8], to: &mut Stream, cx: &mut Context<'_>) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match to.poll_write(cx, rest) {
                Poll::Ready(Ok(count)) => {
                    self.unflushed = to.is_tls();
                    rest = &rest[count..];
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.kept = rest.to_vec();
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Tunnel {
    /// A tunnel between two streams. `early_up` and `early_down` are bytes that arrived before it
    /// opened; they go first.
    pub(crate) fn new(
        client: Stream,
        server: Stream,
        early_up: Vec<u8>,
        early_down: Vec<u8>,
        mut session: Box<Session>,
    ) -> Self {
        session.forget_credentials();
        let worker = session.worker().clone();
        session.tunnel_opened();
        session.count_in(early_up.len());
        session.count_out(early_down.len());
        let (backend, server_key) = session.target();
        let watch = worker
            .tunnels
            .enter(backend, server_key, session.tunnel_limit());
        Self {
            client,
            server,
            up: Flow::new(early_up),
            down: Flow::new(early_down),
            watch,
            worker,
            session: Some(session),
        }
    }

    /// Both directions once. Ready with the end of the tunnel.
    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(session) = &self.session else {
            return Poll::Ready(End::NORMAL);
        };
        let mut scratch = self.worker.scratch.borrow_mut();
        let mut active = false;
        let up_was = self.up.phase;
        let up = self.up.poll(
            &mut self.client,
            &mut self.server,
            &mut scratch,
            cx,
            &mut |count| {
                active = true;
                session.count_in(count);
            },
        );
        let down_was = self.down.phase;
        let down = self.down.poll(
            &mut self.server,
            &mut self.client,
            &mut scratch,
            cx,
            &mut |count| {
                active = true;
                session.count_out(count);
            },
        );
        drop(scratch);
        // The end of a direction is activity too: what the other side makes of it has its own time.
        let half_closed = up_was != self.up.phase || down_was != self.down.phase;
        if active || half_closed {
            self.watch.touch(self.worker.clock().millis());
        }
        if up_was == Phase::Open && self.up.phase != Phase::Open {
            self.worker
                .tunnels
                .set_limit(&self.watch, session.half_closed_limit(Side::Client));
        }
        if down_was == Phase::Open && self.down.phase != Phase::Open {
            self.worker
                .tunnels
                .set_limit(&self.watch, session.half_closed_limit(Side::Server));
        }
        match (up, down) {
            (Poll::Ready(Err(broken)), _) => {
                if broken.reading {
                    // The client's stream was cut, not ended: the node must see the difference.
                    self.server.reset_on_close();
                }
                Poll::Ready(broken.blame(Side::Client, Side::Server))
            }
            (_, Poll::Ready(Err(broken))) => {
                if broken.reading {
                    session.count_at_both(Count::ResponseErrors);
                    self.client.reset_on_close();
                }
                Poll::Ready(broken.blame(Side::Server, Side::Client))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::NORMAL),
            _ => Poll::Pending,
        }
    }

    /// Who is to blame for silence: the side that does not take what is there for it, else the one
    /// that still could speak; if both could, the one whose time is shorter, else the client.
    fn silent_side(&self) -> Side {
        match (self.down.kept.is_empty(), self.up.kept.is_empty()) {
            (false, true) => return Side::ClientTimeout,
            (true, false) => return Side::ServerTimeout,
            _ => {}
        }
        let session = self.session.as_ref();
        let servers = session.is_some_and(|session| session.is_tunnel_limit_servers());
        match (self.up.phase == Phase::Open, self.down.phase == Phase::Open) {
            (true, true) if servers => Side::ServerTimeout,
            (true, _) => Side::ClientTimeout,
            _ => Side::ServerTimeout,
        }
    }

    fn finish(&mut self, end: End) {
        self.worker.tunnels.leave(&self.watch);
        if let Some(session) = self.session.take() {
            session.tunnel_closed();
            session.finish(end);
        }
    }
}

impl Broken {
    fn blame(&self, sender: Side, receiver: Side) -> End {
        End::by(if self.reading { sender } else { receiver }, Stage::Data)
    }
}

impl Future for Tunnel {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.watch.listen(cx.waker());
        let end = match this.watch.verdict() {
            Some(Verdict::Idle) => End::by(this.silent_side(), Stage::Data),
            Some(Verdict::Killed(by)) => {
                // Both are told as far as they can be told at once: an orderly end, no reset.
                let _ = this.client.poll_shutdown(cx);
                let _ = this.server.poll_shutdown(cx);
                End::by(by, Stage::Data)
            }
            None => ready!(this.poll_both(cx)),
        };
        this.finish(end);
        Poll::Ready(())
    }
}

impl Drop for Tunnel {
    /// A tunnel that is dropped unfinished (a hard stop) is still taken off the books.
    fn drop(&mut self) {
        if self.session.is_some() {
            self.finish(End::by(Side::Killed, Stage::Data));
        }
    }
}

impl Session {
    /// Counts tunnels where they are shown: process, frontend, backend, server.
    fn tunnel_opened(&self) {
        self.each_tunnel_gauge(|gauge, counters, writer| {
            gauge.enter();
            counters.add(writer, Count::Tunnels, 1);
        });
    }

    fn tunnel_closed(&self) {
        self.each_tunnel_gauge(|gauge, _, _| {
            gauge.leave();
        });
    }
}
