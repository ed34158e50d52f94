//! Tunnels that go to another process, and those that come from there.
//!
//! A tunnel that is offered stands still: what happens to its sockets is noted, nothing is read or written. Then the
//! other process has it, and it is forgotten here without a word to anybody; or it has not, and goes on.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::{Open, Tunnels};
use crate::end::Side;
use crate::handover::state::TunnelState;
use crate::log::Level;
use crate::session::{Known, Resting};
use crate::slab::Token;
use crate::stream::{Carrier, Stream};
use crate::tunnel::{Tunnel, Wire};
use crate::worker::Worker;

/// Bytes of what is told of tunnels that go together: what slow readers have not taken is in it. One more tunnel may
/// begin below this.
const BYTES_PER_OFFER: usize = 8 << 20;

/// A tunnel for another process.
#[derive(Debug)]
pub(crate) struct Offered {
    /// Which one, to the worker that has it.
    pub(crate) token: Token,
    /// What it is.
    pub(crate) state: Vec<u8>,
    /// Its sockets, the client's first.
    pub(crate) sockets: [OwnedFd; 2],
}

/// A tunnel of another process that is ours now.
pub(crate) struct Adopted {
    /// What it is.
    pub(crate) state: TunnelState,
    /// Whom it counts for.
    pub(crate) known: Known,
    /// Its sockets, the client's first.
    pub(crate) sockets: [OwnedFd; 2],
}

impl Tunnels {
    /// Offers some of those from a place on; says where to go on. Those that cannot go stay as they are.
    pub(crate) fn offer(&self, from: u32, max: usize) -> (Vec<Offered>, Option<u32>) {
        let mut open = self.open.borrow_mut();
        let now = self.clock.millis();
        let (mut offered, mut bytes) = (Vec::new(), 0);
        for place in from..open.len() {
            if offered.len() == max || bytes >= BYTES_PER_OFFER {
                return (offered, Some(place));
            }
            let Some((token, _)) = open.at(place) else {
                continue;
            };
            let Some(it) = open.get_mut(token).filter(|it| it.lives()) else {
                continue;
            };
            if let Some((state, sockets)) = as_offered(it, now) {
                bytes += state.len();
                it.offered = true;
                offered.push(Offered {
                    token,
                    state,
                    sockets,
                });
            }
        }
        (offered, None)
    }

    /// What became of those that were offered.
    pub(crate) fn settle(&self, gone: &[Token], stay: &[Token], worker: &Rc<Worker>) {
        for token in gone {
            self.forget(*token, worker);
        }
        for token in stay {
            if let Some(it) = self.open.borrow_mut().get_mut(*token) {
                it.offered = false;
            }
            self.place(*token);
            // Nobody tells again what happened meanwhile.
            self.run(*token, self.clock.millis(), worker);
        }
    }

    /// Another process has it.
    fn forget(&self, token: Token, worker: &Rc<Worker>) {
        let Some(mut it) = self.open.borrow_mut().remove(token) else {
            return;
        };
        let mut deadlines = self.deadlines.borrow_mut();
        deadlines.put(token.place(), &mut it.listed, super::NEVER);
        drop(deadlines);
        let (wires, session) = it.tunnel.into_parts();
        for mut wire in wires {
            // The kernel goes on telling of a socket that somebody else still has.
            let place = wire.socket_mut().place();
            let _ = self.reactor.release(&wire, place);
        }
        // It is over for our books, and not for anybody's log.
        session.wake(worker).tunnel_closed();
    }

    /// Goes on with a tunnel of another process.
    pub(crate) fn adopt(&self, adopted: Adopted, worker: &Rc<Worker>) {
        let Adopted {
            state,
            known,
            sockets: [client, server],
        } = adopted;
        let TunnelState {
            session,
            up,
            down,
            silent_ms,
            limit_ms,
        } = state;
        let session = Resting::adopt(session, known, worker);
        let wires = match (wire(client), wire(server)) {
            (Ok(client), Ok(server)) => [client, server],
            (client, server) => {
                let error = client.as_ref().err().or(server.as_ref().err());
                let why = error.map_or_else(String::new, ToString::to_string);
                let message = format!("A tunnel of the process before this one is lost: {why}.");
                worker.shared.say(Level::Alert, &message);
                client
                    .into_iter()
                    .chain(server)
                    .for_each(|wire| self.close(wire));
                let end = crate::end::End::by(Side::Internal, crate::end::Stage::Data);
                return super::close(session.wake(worker), end);
            }
        };
        let since = (self.clock.millis(), silent_ms);
        let tunnel = Tunnel::adopt(wires, [up, down], session, since, limit_ms);
        self.insert(tunnel, worker);
    }
}

fn as_offered(it: &Open, now: u64) -> Option<(Vec<u8>, [OwnedFd; 2])> {
    let (mut state, [client, server]) = it.tunnel.state(now)?;
    let client = client.try_clone_to_owned().ok()?;
    let server = server.try_clone_to_owned().ok()?;
    let state = state.write().ok()?;
    // Of one that has more to tell than any has, nobody knows what it is.
    (state.len() <= BYTES_PER_OFFER).then_some((state, [client, server]))
}

fn wire(socket: OwnedFd) -> io::Result<Wire> {
    Stream::Plain(Carrier::new(socket)?).into_wire()
}
