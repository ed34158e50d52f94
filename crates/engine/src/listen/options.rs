//! Options of listening TCP sockets (manual 5.1): `mss`, `tcp-ut`, `cc`, `transparent`, `tfo`,
//! `defer-accept`; and those of their frontend (manual 4.2): `option nolinger`, `tcp-smart-accept`.
//! Accepted sockets inherit them.
//!
//! `tfo` and `defer-accept` have no safe call in any library at hand: `set` below is the unsafe one.
#![allow(
    unsafe_code,
    reason = "see above: two options that no safe interface has"
)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use config::model::{Bind, Frontend, SocketOptions};
use nix::libc;
use socket2::{SockRef, Socket};

/// Half open connections of Fast Open, at most: they hold data before the client has proven itself.
const FAST_OPEN_MAX: libc::c_int = 256;

/// "At worst after the first retransmit" (manual 5.1, "defer-accept"): that comes after a second.
const DEFER_SECONDS: libc::c_int = 1;

/// Before the socket is bound.
pub(super) fn bound(
    socket: &Socket,
    address: SocketAddr,
    options: &SocketOptions,
) -> io::Result<()> {
    if options.transparent {
        let transparent = match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
            SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
        };
        // Without the privilege the address may still be bound, if nothing more is redirected.
        transparent
            .or_else(|_| match address {
                SocketAddr::V4(_) => socket.set_freebind_v4(true),
                SocketAddr::V6(_) => socket.set_freebind_v6(true),
            })
            .map_err(|error| asked("transparent", &error))?;
    }
    match options.mss {
        Some(bytes @ 1..) => socket.set_tcp_mss(bytes.unsigned_abs()),
        Some(less) => {
            let usual = socket.tcp_mss()?;
            socket.set_tcp_mss(usual.saturating_sub(less.unsigned_abs()))
        }
        None => Ok(()),
    }
    .map_err(|error| asked("mss", &error))?;
    if let Some(timeout) = options.user_timeout {
        // The kernel counts whole milliseconds, and takes 0 for its own default.
        let timeout = timeout.max(Duration::from_millis(1));
        let set = socket.set_tcp_user_timeout(Some(timeout));
        set.map_err(|error| asked("tcp-ut", &error))?;
    }
    if let Some(name) = &options.congestion {
        let set = socket.set_tcp_congestion(name.as_bytes());
        set.map_err(|error| asked("cc", &error))?;
    }
    Ok(())
}

/// Before it listens.
pub(super) fn listening(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    if options.fast_open {
        let done = set(socket, libc::TCP_FASTOPEN, FAST_OPEN_MAX);
        done.map_err(|error| asked("tfo", &error))?;
    }
    if options.defer_accept {
        let done = set(socket, libc::TCP_DEFER_ACCEPT, DEFER_SECONDS);
        done.map_err(|error| asked("defer-accept", &error))?;
    }
    Ok(())
}

/// What its frontend says of all its connections.
pub(super) fn inherited(socket: SockRef<'_>, frontend: &Frontend, bind: &Bind) -> io::Result<()> {
    if frontend.no_linger {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    if frontend.acknowledges_late(bind) {
        socket.set_tcp_quickack(false)?;
    }
    Ok(())
}

/// Sets an option of TCP that is a number.
fn set(socket: &Socket, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open, it belongs to `socket`; the kernel reads one `c_int` at an
    // address where one lives until the call is over, and keeps nothing of it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn asked(parameter: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("'{parameter}': {error}"))
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    #[test]
    fn the_kernel_is_told() {
        let options = SocketOptions {
            mss: Some(1200),
            user_timeout: Some(Duration::from_secs(7)),
            congestion: Some("reno".into()),
            defer_accept: true,
            fast_open: true,
            transparent: true,
        };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Not of this machine: documentation's own network (RFC 5737).
        let address = SocketAddr::from(([192, 0, 2, 1], 0));
        bound(&socket, address, &options).expect("all are known");
        socket.bind(&address.into()).expect("it is transparent");
        listening(&socket, &options).expect("all are known");
        let timeout = socket.tcp_user_timeout().expect("it can be asked");
        assert_eq!(timeout, Some(Duration::from_secs(7)));
        assert!(set(&socket, -1, 1).is_err());
    }
}
