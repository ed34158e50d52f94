//! Ports that stay free until the program under test binds them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::{TcpListener, TcpSocket};

use crate::wait::{PATIENCE, wait_until};

/// Ports below the kernel's ephemeral range (32768 on): the thousands of outgoing connections of a
/// test can never take one of these by accident.
const FIRST: u16 = 12_000;
/// See [`FIRST`].
const LAST: u16 = 32_000;

/// A TCP port on 127.0.0.1 that nobody else who uses this kit will be given.
///
/// The program under test must bind the port itself (several workers with `SO_REUSEPORT`, or a
/// restart on the same port), so a listening socket cannot simply be handed over. The claim is held
/// by a UDP socket of the same number instead: the two number spaces are separate, so it is in
/// nobody's way, and it keeps other test processes off for as long as it lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a free port. Panics when the whole range is taken.
    pub fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let range = LAST - FIRST;
        let offset = u16::try_from(std::process::id() * 97 % u32::from(range)).unwrap();
        for _ in 0..range {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (offset + step % range) % range;
            if let Some(port) = Self::try_claim(number) {
                return port;
            }
        }
        panic!("no free port between {FIRST} and {LAST}");
    }

    fn try_claim(number: u16) -> Option<Self> {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        // Somebody who does not use this kit may have it. Trying to listen would tell too, but a
        // child that is being started in another thread would keep that socket for a moment.
        if listened_on(number) {
            return None;
        }
        Some(Self {
            number,
            _claim: claim,
        })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// Whether anything listens on that TCP port, told by the kernel: asking with a connection would
/// show in the other side's counters and logs, and the table in `/proc` takes seconds to read while
/// thousands of sockets are open. A socket that is bound, may share its address, and does not
/// listen is in nobody's way: it is refused exactly where somebody listens.
pub(crate) fn listened_on(port: u16) -> bool {
    let probe = TcpSocket::new_v4().unwrap();
    probe.set_reuseaddr(true).unwrap();
    probe.bind((Ipv4Addr::LOCALHOST, port).into()).is_err()
}

/// Listens on a port that is ours. Waits while a child that is being started still holds the socket
/// that listened there before.
pub(crate) async fn listen(port: &Port) -> TcpListener {
    let what = format!("{} to be free", port.address());
    wait_until(&what, PATIENCE, async || {
        TcpListener::bind(port.address()).await
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_differ_and_can_be_bound() {
        let (one, two) = (Port::claim(), Port::claim());
        assert_ne!(one.number(), two.number());
        assert!(!listened_on(one.number()));
        let _listener = std::net::TcpListener::bind(one.address()).unwrap();
        assert!(listened_on(one.number()));
    }
}
