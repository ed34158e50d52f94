//! What the kernel has measured of a TCP connection (tcp(7), "TCP_INFO"), asked only where an expression
//! wants to know it (manual 7.3.3, "fc_rtt").

use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;
use routing::sample::{ConnectionFacts, TcpFacts};

/// All that is told of it.
#[derive(Debug, Clone, Copy)]
struct TcpInfo;

nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    libc::tcp_info,
    GetStruct<libc::tcp_info>
);

/// What is known of a socket now; `None`: it is not TCP.
pub(crate) fn of(socket: &impl AsFd) -> Option<TcpFacts> {
    let told = getsockopt(socket, TcpInfo).ok()?;
    Some(TcpFacts {
        round_trip: told.tcpi_rtt,
        round_trip_variance: told.tcpi_rttvar,
        unacknowledged: told.tcpi_unacked,
        selectively_acknowledged: told.tcpi_sacked,
        retransmits: told.tcpi_retrans,
        forward_acknowledged: told.tcpi_fackets,
        lost: told.tcpi_lost,
        reordering: told.tcpi_reordering,
    })
}

/// Keeps that of a client.
pub(crate) fn keep(facts: &ConnectionFacts, socket: &impl AsFd) {
    facts.rare.borrow_mut().get_or_insert_default().kept.tcp = of(socket);
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn tcp_is_measured_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it listens");
        let told = of(&client).expect("it is TCP");
        assert!(told.round_trip > 0, "{told:?}");
        let (one, _other) = UnixStream::pair().expect("there are descriptors");
        assert_eq!(of(&one), None);
    }
}
