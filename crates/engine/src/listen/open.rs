//! Opening listening sockets, before the process goes into the background (manual 4.2, "bind").

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use config::model::{AbstractName, Bind, BindAddress, Frontend};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::posting::Posting;
use super::{Listener, options};
use crate::handover::{Exposed, Inheritance, Role};
use crate::inherited;
use crate::server::abstract_name;
use crate::upstream::source;

/// Connections waiting in the kernel, where nothing else is said (the kernel caps it at
/// `net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// How often it is tried again to get an address, where others were asked to make room for us.
const TRIES_MAX: u32 = 100;

/// Time between two tries. All together this is a second, in which they do not accept.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// A socket, and what it is to the others of the same address.
type Opened = (OwnedFd, Role);

/// Who may be at an address already.
pub(crate) enum There<'a> {
    /// We are, at its port at least.
    Ourselves,
    /// Nobody but those whose place we take.
    Before(&'a Inheritance),
}

/// Nobody's.
static NOTHING: LazyLock<Inheritance> = LazyLock::new(Inheritance::default);

impl There<'_> {
    /// While we run already; whether our port is the one that is meant.
    pub(crate) fn without_predecessor(ours: bool) -> There<'static> {
        match ours {
            true => There::Ourselves,
            false => There::Before(&NOTHING),
        }
    }

    fn inheritance(&self) -> &Inheritance {
        match self {
            Self::Ourselves => &NOTHING,
            Self::Before(before) => before,
        }
    }
}

/// Opens a `bind`'s sockets, one per worker at least, for whom they are posted. The error is a sentence.
pub(crate) fn open(
    frontend: &Frontend,
    bind: &Bind,
    posting: &Arc<Posting>,
    workers: usize,
    there: &There<'_>,
) -> Result<Vec<Listener>, String> {
    let given = bind.backlog.or(frontend.backlog);
    let backlog = given.filter(|given| *given > 0).unwrap_or(BACKLOG);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let explain = |e: io::Error| format!("cannot listen on {}: {}", bind.text, reason(&e));
    let sockets = match &bind.address {
        BindAddress::Inet(address) => open_inet(bind, *address, backlog, workers, there),
        _ => {
            let opened = open_one(bind, backlog, there.inheritance());
            opened.and_then(|it| share(vec![(it, Role::Alone)], workers))
        }
    }
    .map_err(explain)?;
    if let (Some(keepalive), BindAddress::Inet(_)) = (&frontend.client_keepalive, &bind.address) {
        // Inherited by accepted sockets.
        for (socket, _) in &sockets {
            source::keep_alive(SockRef::from(socket), keepalive).map_err(explain)?;
        }
    }
    if matches!(bind.address, BindAddress::Inet(_)) {
        for (socket, _) in &sockets {
            options::inherited(SockRef::from(socket), frontend, bind).map_err(explain)?;
        }
    }
    let listener = |(socket, role)| {
        let exposed = Exposed::new(&socket, role, bind, backlog).map_err(explain)?;
        Ok(Listener::new(socket, posting, exposed))
    };
    sockets.into_iter().map(listener).collect()
}

/// Opens one socket that no worker accepts on (`stats socket`); non-blocking. The error is a sentence.
pub fn open_socket(bind: &Bind, before: &Inheritance) -> Result<OwnedFd, String> {
    let backlog = bind.backlog.filter(|given| *given > 0).unwrap_or(BACKLOG);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let opened = open_one(bind, backlog, before);
    opened.map_err(|error| format!("cannot listen on {}: {}", bind.text, reason(&error)))
}

/// A `bind`'s only socket, new or that of the process before this one.
fn open_one(bind: &Bind, backlog: i32, before: &Inheritance) -> io::Result<OwnedFd> {
    if let Some((taken, _)) = before.take(bind)?.into_iter().next() {
        SockRef::from(&taken).listen(backlog)?;
        return Ok(taken);
    }
    match &bind.address {
        BindAddress::Inet(address) => patiently(before, || {
            if !before.is_beside() {
                inet_socket(bind, *address, false)?;
            }
            // A process that comes after this one may share the address until this one leaves.
            let socket = inet_socket(bind, *address, true)?;
            socket.listen(backlog)?;
            Ok(socket.into())
        }),
        BindAddress::Unix(path) => open_unix(bind, path, backlog),
        BindAddress::Abstract(name) => patiently(before, || open_abstract(name, backlog)),
        BindAddress::Fd(number) => inherit(*number, backlog),
    }
}

/// Tries again while others make room for us.
fn patiently<T>(before: &Inheritance, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut tries = 0;
    loop {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tries += 1;
                if tries == TRIES_MAX || !before.makes_room() {
                    return Err(error);
                }
                std::thread::sleep(TRY_AGAIN);
            }
            done => return done,
        }
    }
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
    there: &There<'_>,
) -> io::Result<Vec<Opened>> {
    let before = there.inheritance();
    // Beside somebody else, whoever that is, none of ours may be the one that the kernel counts first; and of several
    // that were taken nobody may know which one it is.
    let ours = matches!(there, There::Ourselves);
    let is_shared = ours || before.is_beside();
    let inherited = before.take(bind)?;
    let taken = inherited.len();
    let led = inherited.iter().any(|(_, role)| *role == Some(Role::First));
    let alone = taken == 1 || taken == 0 && !is_shared;
    let role = |number, known: Option<Role>| match known {
        Some(role) => role,
        None if led || alone && number > 0 => Role::Other,
        None if alone => Role::First,
        None => Role::Alone,
    };
    let inherited = inherited.into_iter().enumerate();
    let mut sockets: Vec<Opened> = inherited
        .map(|(number, (socket, known))| (socket, role(number, known)))
        .collect();
    for (socket, _) in &sockets {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        socket.listen(backlog)?;
    }
    // `SO_REUSEPORT` would let a second balancer of the same user slip in beside the first one and
    // take half of its connections, so first make sure that nobody is there.
    if address.port() != 0 && taken == 0 && !is_shared {
        inet_socket(bind, address, false)?;
    }
    let mut address = address;
    while sockets.len() < workers {
        let opened = patiently(before, || {
            let socket = inet_socket(bind, address, true)?;
            options::listening(&socket, &bind.socket)?;
            socket.listen(backlog)?;
            Ok(socket)
        });
        let socket = match opened {
            Ok(socket) => socket,
            // Who opened the first one lets nobody in beside it, or only root: all share it.
            Err(_) if taken > 0 => break,
            Err(error) => return Err(error),
        };
        if let Some(bound) = socket.local_addr()?.as_socket() {
            address = bound;
        }
        let role = role(sockets.len(), None);
        sockets.push((socket.into(), role));
    }
    share(sockets, workers)
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

fn open_abstract(name: &AbstractName, backlog: i32) -> io::Result<OwnedFd> {
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

/// A socket for every worker: where there are fewer, some have the same.
fn share(mut sockets: Vec<Opened>, workers: usize) -> io::Result<Vec<Opened>> {
    let own = sockets.len();
    for number in own..workers {
        let copy = sockets[number % own].0.try_clone()?;
        sockets.push((copy, Role::Copy));
    }
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
