//! A tunnel that is to end because its server leaves, not because of its peers: a WebSocket is told so by a
//! Close frame in each direction (RFC 6455 §5.5.1), between two frames and never inside one; whatever else is
//! carried ends as a stream ends. Then what its peers still send is dropped until they have ended, too, so
//! that no reset takes back what they were told.

use std::io;
use std::task::Poll;
use std::time::Duration;

use wire::ws::frame::{HEADER_LEN_MAX, write_close};

use super::{
    BYTES_PER_TURN, Broken, Flow, Kept, Phase, READING, READS_PER_TURN, Reached, Then, Tunnel,
    Turn, WRITING, Wire, millis, signed,
};
use crate::end::{End, Side, Stage};

/// How long a frame under way may take to end, and peers to answer a Close frame. Browsers and usual
/// libraries answer at once; one that does not is cut.
pub(crate) const PARTING_TIME_MAX: Duration = Duration::from_secs(5);

/// The status that is told, and nothing else: what leaves and why is no peer's business.
#[derive(Clone, Copy)]
struct Farewell {
    code: u16,
    /// A client's frames are masked, and towards the server we are one (RFC 6455 §5.3).
    masked: bool,
}

impl Farewell {
    fn frame(self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADER_LEN_MAX + 2);
        let mask = self.masked.then(|| fastrand::u32(..).to_be_bytes());
        write_close(self.code, "", mask, &mut frame);
        frame
    }
}

impl Tunnel {
    /// It is to end from now on: its next turns do that, and it has a deadline. `false`: so it is already.
    pub(crate) fn part(&mut self, code: u16, now_ms: u64) -> bool {
        if self.parting.is_some() {
            return false;
        }
        self.parting = Some(code);
        self.last_active = signed(now_ms);
        self.limit = millis(Some(PARTING_TIME_MAX));
        true
    }

    /// Its turn while it parts.
    pub(super) fn run_parting(&mut self, code: u16, scratch: &mut [u8], writer: usize) -> Turn {
        let session = &mut self.session;
        let mut moved = 0;
        let ends = (&mut self.client, &mut self.server);
        let farewell = Farewell { code, masked: true };
        let up = self.up.part(ends, farewell, scratch, &mut |length| {
            moved += length;
            session.count_in(length, writer);
        });
        let ends = (&mut self.server, &mut self.client);
        let farewell = Farewell {
            code,
            masked: false,
        };
        let down = self.down.part(ends, farewell, scratch, &mut |length| {
            moved += length;
            session.count_out(length, writer);
        });
        let over = |end| Then::Over(End::by(end, Stage::Data));
        let then = match (up, down) {
            (Err(_), _) | (_, Err(_)) | (Ok(Reached::End), Ok(Reached::End)) => over(Side::Killed),
            (Ok(Reached::Limit), _) | (_, Ok(Reached::Limit)) => Then::Again,
            _ => Then::Wait,
        };
        Turn {
            moved,
            half_closed: false,
            then,
        }
    }
}

impl Flow {
    /// Ends the direction: what was kept, the rest of the frame under way, the farewell, the end of the stream.
    /// Then drops what comes until the sender ends.
    fn part(
        &mut self,
        (from, to): (&mut Wire, &mut Wire),
        farewell: Farewell,
        scratch: &mut [u8],
        count: &mut dyn FnMut(usize),
    ) -> Result<Reached, Broken> {
        let (mut reads, mut moved) = (0, 0);
        loop {
            if self.phase != Phase::Closed {
                match self.deliver(to) {
                    Poll::Pending => return Ok(Reached::Standstill),
                    Poll::Ready(delivered) => delivered.map_err(|_| WRITING)?,
                }
            }
            match self.phase {
                Phase::Open if self.edge.is_between() || !self.edge.is_known() => {
                    if self.edge.is_between() && !self.edge.has_closed() {
                        self.kept = Kept::new(farewell.frame());
                    }
                    self.phase = Phase::Closing;
                }
                Phase::Closing => match to.try_shut_down() {
                    Poll::Pending => return Ok(Reached::Standstill),
                    Poll::Ready(told) => {
                        told.map_err(|_| WRITING)?;
                        self.phase = Phase::Closed;
                    }
                },
                Phase::Open | Phase::Closed
                    if reads == READS_PER_TURN || moved >= BYTES_PER_TURN =>
                {
                    return Ok(Reached::Limit);
                }
                Phase::Open | Phase::Closed => {
                    let Poll::Ready(read) = from.try_read(scratch) else {
                        return Ok(Reached::Standstill);
                    };
                    let dropped = self.phase == Phase::Closed;
                    match read {
                        Ok(0) | Err(_) if dropped => return Ok(Reached::End),
                        Ok(0) => self.phase = Phase::Closing,
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            self.phase = Phase::Closing;
                        }
                        Err(_) => return Err(READING),
                        Ok(length) => {
                            reads += 1;
                            moved += length;
                            if !dropped {
                                let last = self.edge.pass_frame(&scratch[..length]);
                                count(last);
                                self.pass_on(&scratch[..last], to).map_err(|_| WRITING)?;
                            }
                        }
                    }
                }
            }
        }
    }
}
