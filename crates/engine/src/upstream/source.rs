//! TCP connections to servers: from which address and port, and how the kernel looks after them
//! (manual 5.2, "source", "tcp-ut", "tfo"; 4.2, "option srvtcpka", "nolinger", "tcp-smart-connect").

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use config::model::{KeepAlive, Outgoing, Source};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::stream::Carrier;

/// Ports of a range that one connection tries, at most: where so many in a row are taken, the range
/// is too small for its server.
const PORTS_TRIED_MAX: u32 = 64;

/// Connects, from where `outgoing` says. `next_port` walks through the ports of a range. Where we
/// `speak_first`, the connection may come about with our first bytes only (`tfo`).
pub(crate) async fn connect(
    to: SocketAddr,
    outgoing: &Outgoing,
    next_port: &AtomicU32,
    speak_first: bool,
) -> io::Result<Carrier> {
    let Some(source) = &outgoing.source else {
        return connected(socket(to, outgoing, speak_first)?, to).await;
    };
    let tries = match source.ports {
        Some((first, last)) => (u32::from(last - first) + 1).min(PORTS_TRIED_MAX),
        None => 1,
    };
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for _ in 0..tries {
        result = match socket(to, outgoing, speak_first)
            .and_then(|socket| bound(socket, to, source, next_port))
        {
            Ok(socket) => connected(socket, to).await,
            Err(error) => Err(error),
        };
        match &result {
            // The port has a connection to that server already, or had one a moment ago.
            Err(error) if is_taken(error) => {}
            _ => break,
        }
    }
    result
}

/// Whether the port, or every one of a range, was taken.
pub(crate) fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}

async fn connected(socket: Socket, to: SocketAddr) -> io::Result<Carrier> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        // On this machine all that it takes has mostly happened within that call.
        Err(_) if to.ip().is_loopback() && is_there(&socket)? => Carrier::newly_connected(socket),
        _ => Carrier::connected(socket).await,
    }
}

/// Whether a connection has come about, or an error if it never will: only one that is there takes nothing at
/// all, and says so. An error is told once.
fn is_there(socket: &Socket) -> io::Result<bool> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match rustix::net::send(socket, &[], flags) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn socket(to: SocketAddr, outgoing: &Outgoing, speak_first: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(to);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(keepalive) = &outgoing.keepalive {
        keep_alive(SockRef::from(&socket), keepalive)?;
    }
    if let Some(timeout) = outgoing.user_timeout {
        SockRef::from(&socket).set_tcp_user_timeout(Some(timeout))?;
    }
    if outgoing.no_linger {
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    }
    if speak_first && outgoing.smart_connect {
        SockRef::from(&socket).set_tcp_quickack(false)?;
    }
    if speak_first && outgoing.fast_open {
        setsockopt(&socket, sockopt::TcpFastOpenConnect, &true)?;
    }
    Ok(socket)
}

fn bound(
    socket: Socket,
    to: SocketAddr,
    source: &Source,
    next_port: &AtomicU32,
) -> io::Result<Socket> {
    if let Some(name) = &source.interface {
        SockRef::from(&socket).bind_device(Some(name.as_bytes()))?;
    }
    let port = match source.ports {
        None => 0,
        Some((first, last)) => {
            let span = u32::from(last - first) + 1;
            let step = next_port.fetch_add(1, Relaxed) % span;
            u16::try_from(u32::from(first) + step).unwrap_or(last)
        }
    };
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // An address of the other family cannot be where it comes from: the system chooses.
    let ip = source.ip.filter(|ip| ip.is_ipv4() == to.is_ipv4());
    if ip.is_some() || port != 0 {
        match port {
            // The system then looks for a port that is free towards this server, not towards all:
            // there may be more connections than ports. Where it cannot, it chooses now; that it
            // must not share a port with another socket then is left as it is.
            0 => drop(setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)),
            // A port of ours is used again as soon as its last connection has ended.
            _ => socket.set_reuse_address(true)?,
        }
        socket.bind(&SocketAddr::new(ip.unwrap_or(any), port).into())?;
    }
    Ok(socket)
}

/// Lets the kernel ask a silent peer whether it is still there.
pub(crate) fn keep_alive(socket: SockRef<'_>, wanted: &KeepAlive) -> io::Result<()> {
    let mut parameters = TcpKeepalive::new();
    if let Some(idle) = wanted.idle {
        parameters = parameters.with_time(idle);
    }
    if let Some(interval) = wanted.interval {
        parameters = parameters.with_interval(interval);
    }
    if let Some(count) = wanted.count {
        parameters = parameters.with_retries(count);
    }
    socket.set_keepalive(true)?;
    socket.set_tcp_keepalive(&parameters)
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn the_kernel_is_told() {
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        let outgoing = Outgoing {
            no_linger: true,
            smart_connect: true,
            fast_open: true,
            ..Outgoing::default()
        };
        for (speak_first, outgoing, expected) in [
            (true, &outgoing, (true, false, true)),
            // Nothing would come to take the place of an acknowledgement or to open it with.
            (false, &outgoing, (true, true, false)),
            (true, &Outgoing::default(), (false, true, false)),
        ] {
            let socket = socket(to, outgoing, speak_first).expect("a socket");
            let seen = SockRef::from(&socket);
            let is = (
                seen.linger().expect("it can be asked").is_some(),
                seen.tcp_quickack().expect("it can be asked"),
                getsockopt(&socket, sockopt::TcpFastOpenConnect).expect("it can be asked"),
            );
            assert_eq!(is, expected, "{speak_first} {outgoing:?}");
        }
    }

    #[test]
    fn a_port_is_chosen_when_it_is_known_what_for() {
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        let source = |ports| Source {
            ip: Some([127, 0, 0, 2].into()),
            ports,
            interface: None,
        };
        let next = AtomicU32::new(0);
        let free = socket(to, &Outgoing::default(), true).expect("a socket");
        let free = bound(free, to, &source(None), &next).expect("it is ours");
        let here = free.local_addr().expect("it can be asked").as_socket();
        assert_eq!(here, Some(SocketAddr::from(([127, 0, 0, 2], 0))));
    }
}
