//! `silent-drop`: a connection ends here and its peer is not told (manual 4.4).

use std::os::fd::AsFd;

use socket2::SockRef;

/// Hops that the reset of a connection may travel which could not be forgotten: it dies at the first
/// router, so that only peers in the same network hear of it.
const RESET_HOPS: u32 = 1;

/// Makes closing this socket send nothing. The kernel forgets a connection under repair, which takes
/// `CAP_NET_ADMIN`; else it resets it with a packet that does not get far.
pub(crate) fn drop_silently(socket: &impl AsFd) {
    if repair(socket) {
        return;
    }
    let socket = SockRef::from(socket);
    // A Unix socket has no hops: it is closed as usual.
    let _ = socket.set_ttl_v4(RESET_HOPS);
    let _ = socket.set_unicast_hops_v6(RESET_HOPS);
    let _ = socket.set_linger(Some(std::time::Duration::ZERO));
}

fn repair(socket: &impl AsFd) -> bool {
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::TcpRepair, &1).is_ok()
}
