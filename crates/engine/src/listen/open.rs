//! Opening listening sockets, before the process goes into the background (manual 4.2, "bind").

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use config::model::{Bind, BindAddress, Frontend};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::posting::Posting;
use super::{Listener, options};
use crate::inherited;
use crate::server::abstract_name;
use crate::upstream::source;

/// Connections waiting in the kernel, where nothing else is said (the kernel caps it at
/// `net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Opens a `bind`'s sockets, one per worker, for whom they are posted; `ours`: we listen at that port
/// already. The error is a sentence.
pub(crate) fn open(
    frontend: &Frontend,
    bind: &Bind,
    posting: &Arc<Posting>,
    workers: usize,
    ours: bool,
) -> Result<Vec<Listener>, String> {
    let given = bind.backlog.or(frontend.backlog);
    let backlog = given.filter(|given| *given > 0).unwrap_or(BACKLOG);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let explain = |e: io::Error| format!("cannot listen on {}: {}", bind.text, reason(&e));
    let sockets = match &bind.address {
        BindAddress::Inet(address) => open_inet(bind, *address, backlog, workers, ours),
        BindAddress::Unix(path) => open_unix(bind, path, backlog).and_then(|s| share(s, workers)),
        BindAddress::Abstract(name) => open_abstract(name, backlog).and_then(|s| share(s, workers)),
        BindAddress::Fd(number) => inherit(*number, backlog).and_then(|s| share(s, workers)),
    }
    .map_err(explain)?;
    if let (Some(keepalive), BindAddress::Inet(_)) = (&frontend.client_keepalive, &bind.address) {
        // Inherited by accepted sockets.
        for socket in &sockets {
            source::keep_alive(SockRef::from(socket), keepalive).map_err(explain)?;
        }
    }
    if matches!(bind.address, BindAddress::Inet(_)) {
        for socket in &sockets {
            options::inherited(SockRef::from(socket), frontend, bind).map_err(explain)?;
        }
    }
    let listener = |socket| Listener::new(socket, posting);
    Ok(sockets.into_iter().map(listener).collect())
}

/// Opens one socket that no worker accepts on (`stats socket`); non-blocking. The error is a sentence.
pub fn open_socket(bind: &Bind) -> Result<OwnedFd, String> {
    let backlog = bind.backlog.filter(|given| *given > 0).unwrap_or(BACKLOG);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let opened = match &bind.address {
        BindAddress::Inet(address) => inet_socket(bind, *address, false).and_then(|socket| {
            socket.listen(backlog)?;
            Ok(socket.into())
        }),
        BindAddress::Unix(path) => open_unix(bind, path, backlog),
        BindAddress::Abstract(name) => open_abstract(name, backlog),
        BindAddress::Fd(number) => inherit(*number, backlog),
    };
    opened.map_err(|error| format!("cannot listen on {}: {}", bind.text, reason(&error)))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there already (`ss -ltnp` shows which)".into()
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        _ => error.to_string(),
    }
}

/// A socket per worker with `SO_REUSEPORT`: the kernel spreads connections, workers share nothing.
fn open_inet(
    bind: &Bind,
    address: SocketAddr,
    backlog: i32,
    workers: usize,
    ours: bool,
) -> io::Result<Vec<OwnedFd>> {
    // `SO_REUSEPORT` would let a second balancer of the same user slip in beside the first one and
    // take half of its connections, so first make sure that nobody is there.
    if address.port() != 0 && !ours {
        inet_socket(bind, address, false)?;
    }
    let mut address = address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = inet_socket(bind, address, true)?;
        options::listening(&socket, &bind.socket)?;
        socket.listen(backlog)?;
        if let Some(bound) = socket.local_addr()?.as_socket() {
            address = bound;
        }
        sockets.push(socket.into());
    }
    Ok(sockets)
}

fn inet_socket(bind: &Bind, address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if let (true, Some(only)) = (address.is_ipv6(), bind.v6only) {
        // `v4v6` or `v6only`; without either the system decides (manual 5.1).
        socket.set_only_v6(only)?;
    }
    // Inherited by accepted sockets: messages are small and must not wait for each other.
    socket.set_tcp_nodelay(true)?;
    options::bound(&socket, address, &bind.socket)?;
    if let Some(name) = &bind.interface {
        let bound = socket.bind_device(Some(name.as_bytes()));
        bound.map_err(|e| io::Error::other(format!("interface '{name}': {e}")))?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A Unix socket takes the place of a stale one: bound beside it and renamed over it, so that there
/// is no moment without one.
fn open_unix(bind: &Bind, path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let _ = std::fs::remove_file(beside);
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(beside)?)?;
    // The owner before the mode: giving a file away takes bits from it.
    if bind.unix_uid.is_some() || bind.unix_gid.is_some() {
        std::os::unix::fs::chown(beside, bind.unix_uid, bind.unix_gid)?;
    }
    if let Some(mode) = bind.unix_mode {
        std::fs::set_permissions(beside, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog)?;
    std::fs::rename(beside, path)?;
    Ok(socket.into())
}

fn open_abstract(name: &str, backlog: i32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(OsStr::from_bytes(&abstract_name(name)))?)?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// `fd@N`: already bound by who started us, listening or not. It is duplicated, so that the number
/// itself stays usable for another `bind` that names it.
fn inherit(number: i32, backlog: i32) -> io::Result<OwnedFd> {
    let socket = Socket::from(inherited::duplicate(number)?);
    socket.set_nonblocking(true)?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// The same socket for every worker.
fn share(socket: OwnedFd, workers: usize) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(socket.try_clone()?);
    }
    sockets.push(socket);
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_unix_socket_gets_its_owner_and_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let mine = std::fs::metadata(folder.path()).expect("it is there");
        // Only root may give files away; anybody may give them to themselves.
        let (uid, gid) = match mine.uid() {
            0 => (54321, 54322),
            own => (own, mine.gid()),
        };
        let bind = Bind {
            unix_mode: Some(0o640),
            unix_uid: Some(uid),
            unix_gid: Some(gid),
            ..Bind::at(BindAddress::Fd(0))
        };
        let path = folder.path().join("s");
        let _socket = open_unix(&bind, &path, 1).expect("a socket");
        let file = std::fs::metadata(&path).expect("renamed into place");
        let found = (file.uid(), file.gid(), file.mode() & 0o777);
        assert_eq!(found, (uid, gid, 0o640));
        let left = std::fs::read_dir(folder.path()).expect("the folder");
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn a_socket_keeps_to_its_interface() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let on = |name: &str| {
            let bind = Bind {
                interface: Some(name.into()),
                ..Bind::at(BindAddress::Fd(0))
            };
            inet_socket(&bind, address, false)
        };
        let socket = on("lo").expect("every machine has it");
        let name = socket
            .device()
            .expect("it can be asked")
            .expect("one is set");
        assert_eq!(name, b"lo");
        let error = on("no-such-one").expect_err("there is none");
        assert!(
            error.to_string().starts_with("interface 'no-such-one': "),
            "{error}"
        );
    }
}
