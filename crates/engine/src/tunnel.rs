//! After the 101, and for `mode tcp`: bytes both ways, nothing kept.
//!
//! A tunnel that waits owns two sockets, its counters and its deadline, and no buffer: when bytes
//! come it borrows the worker's scratch buffer, reads, writes, and gives it back. Only what the
//! other side does not take at once is copied and kept, and then nothing more is read from that
//! direction: a slow reader costs at most one scratch buffer.
//!
//! It is plain data, run by [`crate::tunnels`] when something happened to one of its sockets.

mod moving;
mod parting;
mod wire;

use std::io;
use std::task::{Poll, ready};
use std::time::Duration;

pub(crate) use parting::PARTING_TIME_MAX;
pub(crate) use wire::Wire;

use ::wire::ws::FrameEdge;

use crate::counters::Count;
use crate::end::{End, Side, Stage};
use crate::session::Resting;
use crate::site::Heirs;

/// Reads in a row that a tunnel may do in one direction before the others get their turn: many small
/// messages that wait already are worth taking together.
const READS_PER_TURN: u32 = 4;

/// Bytes that it may move in one direction meanwhile, one read more at most: some twenty microseconds of
/// work. Twenty that move all they can are round within a millisecond.
const BYTES_PER_TURN: usize = 64 * 1024;

/// Two connected streams and what is known of them.
pub(crate) struct Tunnel {
    client: Wire,
    server: Wire,
    /// Client to server.
    up: Flow,
    /// Server to client.
    down: Flow,
    /// Milliseconds since start; before it, where another process had it.
    last_active: i64,
    /// Milliseconds that it may be silent, or [`FOREVER`].
    limit: u32,
    session: Resting,
    /// It takes its leave: with this status, where WebSocket frames are carried.
    parting: Option<u16>,
}

/// What a tunnel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// WebSocket frames.
    Frames,
    /// Anything (`mode tcp`).
    Bytes,
}

/// One direction.
struct Flow {
    /// What the receiver did not take yet.
    kept: Option<Box<Kept>>,
    phase: Phase,
    /// Whether TLS may hold bytes back.
    unflushed: bool,
    /// Where the frame under way ends.
    edge: FrameEdge,
}

/// Bytes of which those from `sent` on are still to be sent.
struct Kept {
    bytes: Vec<u8>,
    sent: usize,
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
#[derive(PartialEq, Eq)]
struct Broken {
    reading: bool,
}

const READING: Broken = Broken { reading: true };
const WRITING: Broken = Broken { reading: false };

/// How far a direction came in its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// The sender has no more, or the receiver takes no more: until something happens.
    Standstill,
    /// The receiver took nothing of what is kept for it.
    Stuck,
    /// Its turn was over before.
    Limit,
    /// It is closed.
    End,
}

/// What a tunnel did in its turn.
pub(crate) struct Turn {
    /// Bytes read.
    pub(crate) moved: usize,
    /// Whether its deadline may be another one than before, even a nearer one.
    pub(crate) half_closed: bool,
    /// What it needs now.
    pub(crate) then: Then,
}

/// What a tunnel needs after its turn.
pub(crate) enum Then {
    /// An event.
    Wait,
    /// Another turn, when all others had theirs.
    Again,
    /// Nothing more: it has ended.
    Over(End),
}

impl Kept {
    fn new(bytes: Vec<u8>) -> Option<Box<Self>> {
        (!bytes.is_empty()).then(|| Box::new(Self { bytes, sent: 0 }))
    }
}

impl Flow {
    fn new(early: Vec<u8>, carries: Carries) -> Self {
        let mut edge = match carries {
            Carries::Frames => FrameEdge::new(),
            Carries::Bytes => FrameEdge::none(),
        };
        edge.pass(&early);
        Self {
            kept: Kept::new(early),
            phase: Phase::Open,
            unflushed: false,
            edge,
        }
    }

    /// Moves bytes until the sender has none, the receiver takes none, or the turn is over. `count` is
    /// told of every batch of bytes read. `last`: the other direction is closed, and closing the
    /// receiver's socket tells it of the end.
    fn run(
        &mut self,
        (from, to): (&mut Wire, &mut Wire),
        last: bool,
        scratch: &mut [u8],
        count: &mut dyn FnMut(usize),
    ) -> Result<Reached, Broken> {
        let (mut reads, mut moved) = (0, 0);
        let sent = self.sent();
        loop {
            match self.deliver(to) {
                Poll::Pending if reads == 0 && self.sent() == sent => return Ok(Reached::Stuck),
                Poll::Pending => return Ok(Reached::Standstill),
                Poll::Ready(delivered) => delivered.map_err(|_| WRITING)?,
            }
            match self.phase {
                Phase::Open if reads == READS_PER_TURN || moved >= BYTES_PER_TURN => {
                    return Ok(Reached::Limit);
                }
                Phase::Open => {
                    let Poll::Ready(read) = from.try_read(scratch) else {
                        return Ok(Reached::Standstill);
                    };
                    match read {
                        // TLS clients often leave without a close_notify; the frames inside say
                        // whether anything is missing (RFC 6455 section 7.1.1).
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            self.phase = Phase::Closing;
                        }
                        Err(_) => return Err(READING),
                        Ok(0) => self.phase = Phase::Closing,
                        Ok(length) => {
                            reads += 1;
                            moved += length;
                            count(length);
                            self.edge.pass(&scratch[..length]);
                            self.pass_on(&scratch[..length], to).map_err(|_| WRITING)?;
                        }
                    }
                }
                // The receiver has ended, too, so that closing its socket says the same.
                Phase::Closing if last && !to.is_tls() => self.phase = Phase::Closed,
                Phase::Closing => match to.try_shut_down() {
                    Poll::Pending => return Ok(Reached::Standstill),
                    Poll::Ready(told) => {
                        told.map_err(|_| WRITING)?;
                        self.phase = Phase::Closed;
                    }
                },
                Phase::Closed => return Ok(Reached::End),
            }
        }
    }

    /// Writes what was kept, and what TLS holds back.
    fn deliver(&mut self, to: &mut Wire) -> Poll<io::Result<()>> {
        if let Some(kept) = &mut self.kept {
            while kept.sent < kept.bytes.len() {
                kept.sent += ready!(to.try_write(&kept.bytes[kept.sent..]))?;
                self.unflushed = to.is_tls();
            }
            self.kept = None;
        }
        if self.unflushed {
            ready!(to.try_flush())?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes fresh bytes; keeps what the receiver does not take.
    fn pass_on(&mut self, bytes: &[u8], to: &mut Wire) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match to.try_write(rest) {
                Poll::Ready(written) => {
                    self.unflushed = to.is_tls();
                    rest = &rest[written?..];
                }
                Poll::Pending => {
                    self.kept = Kept::new(rest.to_vec());
                    break;
                }
            }
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// How much was taken of what is kept, if anything is.
    fn sent(&self) -> Option<usize> {
        self.kept.as_ref().map(|kept| kept.sent)
    }
}

impl Tunnel {
    /// A tunnel between two streams. `early_up` and `early_down` are bytes that arrived before it
    /// opened; they go first.
    pub(crate) fn new(
        (client, early_up): (Wire, Vec<u8>),
        (server, early_down): (Wire, Vec<u8>),
        carries: Carries,
        session: Resting,
        now_ms: u64,
    ) -> Self {
        Self {
            client,
            server,
            up: Flow::new(early_up, carries),
            down: Flow::new(early_down, carries),
            last_active: signed(now_ms),
            limit: millis(session.tunnel_limit()),
            session,
            parting: None,
        }
    }

    /// Both directions once; `writer` counts what passes.
    pub(crate) fn run(&mut self, scratch: &mut [u8], now_ms: u64, writer: usize) -> Turn {
        if let Some(code) = self.parting {
            return self.run_parting(code, scratch, writer);
        }
        let were_open = (self.up.is_open(), self.down.is_open());
        let had_kept = self.up.kept.is_some() || self.down.kept.is_some();
        let session = &mut self.session;
        let mut moved = 0;
        let last = self.down.phase == Phase::Closed && !session.closes_with_reset(Side::Server);
        let ends = (&mut self.client, &mut self.server);
        let up = self.up.run(ends, last, scratch, &mut |length| {
            moved += length;
            session.count_in(length, writer);
        });
        let last = self.up.phase == Phase::Closed && !session.closes_with_reset(Side::Client);
        let ends = (&mut self.server, &mut self.client);
        let down = self.down.run(ends, last, scratch, &mut |length| {
            moved += length;
            session.count_out(length, writer);
        });
        // The end of a direction is activity too: what the other side makes of it has its own time.
        let client_ended = were_open.0 && !self.up.is_open();
        let server_ended = were_open.1 && !self.down.is_open();
        if client_ended {
            self.limit = millis(self.session.half_closed_limit(Side::Client));
        }
        if server_ended {
            self.limit = millis(self.session.half_closed_limit(Side::Server));
        }
        let half_closed = client_ended || server_ended;
        // Who takes nothing of what is there for it is silent, whatever it says meanwhile, as in HAProxy.
        let stuck = Ok(Reached::Stuck);
        let is_stuck = up == stuck || down == stuck;
        let is_active = !is_stuck && (moved > 0 || had_kept);
        if is_active || half_closed {
            self.last_active = self.last_active.max(signed(now_ms));
        }
        Turn {
            moved,
            half_closed,
            then: self.judge(up, down, writer),
        }
    }

    fn judge(
        &self,
        up: Result<Reached, Broken>,
        down: Result<Reached, Broken>,
        writer: usize,
    ) -> Then {
        match (up, down) {
            (Err(broken), _) => {
                if broken.reading {
                    // The client's stream was cut, not ended: the node must see the difference.
                    self.server.reset_on_close();
                }
                Then::Over(broken.blame(Side::Client, Side::Server))
            }
            (_, Err(broken)) => {
                if broken.reading {
                    // No reset for the client: what is on its way to it would be lost.
                    self.session.count_at_both(Count::ResponseErrors, writer);
                }
                Then::Over(broken.blame(Side::Server, Side::Client))
            }
            (Ok(Reached::End), Ok(Reached::End)) => Then::Over(End::NORMAL),
            (Ok(Reached::Limit), _) | (_, Ok(Reached::Limit)) => Then::Again,
            _ => Then::Wait,
        }
    }

    /// One of its ends.
    pub(crate) fn wire(&mut self, side: Side) -> &mut Wire {
        match side {
            Side::Client => &mut self.client,
            _ => &mut self.server,
        }
    }

    /// When its time is up, were nothing to pass any more; milliseconds since start.
    pub(crate) fn deadline(&self) -> u64 {
        match self.limit {
            FOREVER => u64::MAX,
            limit => u64::try_from(self.last_active.saturating_add(limit.into())).unwrap_or(0),
        }
    }

    /// Its session goes over to what is in force now, where that says the same of it.
    pub(crate) fn renew(&mut self, heirs: &Heirs) {
        self.session.renew(heirs);
    }

    /// What it was before it became a tunnel.
    pub(crate) fn session(&self) -> &Resting {
        &self.session
    }

    /// Its time is up: who is to blame for silence. The side that does not take what is there for it,
    /// else the one that still could speak; if both could, the one whose time is shorter, else the
    /// client.
    pub(crate) fn silent_side(&self) -> Side {
        if self.parting.is_some() {
            return Side::Killed;
        }
        match (self.down.kept.is_none(), self.up.kept.is_none()) {
            (false, true) => return Side::ClientTimeout,
            (true, false) => return Side::ServerTimeout,
            _ => {}
        }
        let servers = self.session.is_tunnel_limit_servers();
        match (self.up.is_open(), self.down.is_open()) {
            (true, true) if servers => Side::ServerTimeout,
            (true, _) => Side::ClientTimeout,
            _ => Side::ServerTimeout,
        }
    }

    /// It is to end: both are told as far as they can be told at once. An orderly end, no reset.
    pub(crate) fn shut_down(&mut self) {
        let _ = self.client.try_shut_down();
        let _ = self.server.try_shut_down();
    }

    /// Its time is up: who speaks TLS hears that this is the end. Closing tells all others.
    pub(crate) fn take_leave(&mut self) {
        for wire in [&mut self.client, &mut self.server] {
            if wire.is_tls() {
                let _ = wire.try_shut_down();
            }
        }
    }

    /// Its parts: both ends, which close when they are dropped, and its session.
    pub(crate) fn into_parts(self) -> ([Wire; 2], Resting) {
        ([self.client, self.server], self.session)
    }
}

impl Broken {
    fn blame(&self, sender: Side, receiver: Side) -> End {
        End::by(if self.reading { sender } else { receiver }, Stage::Data)
    }
}

/// A time since start, far below what it could be.
fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// No limit; a configuration's are half of this at most (manual 2.5).
const FOREVER: u32 = u32::MAX;

/// A limit in milliseconds; none: for ever.
fn millis(limit: Option<Duration>) -> u32 {
    limit.map_or(FOREVER, |limit| {
        u32::try_from(limit.as_millis()).unwrap_or(FOREVER)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be a million of them, so it grows for a good reason only. See also what a session at
    /// rest takes, most of this.
    #[test]
    fn a_tunnel_is_small() {
        assert!(size_of::<Tunnel>() <= 288, "{}", size_of::<Tunnel>());
        assert!(size_of::<Wire>() <= 16, "{}", size_of::<Wire>());
    }
}
