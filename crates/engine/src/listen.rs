//! Listening sockets: opening them before the process goes into the background, and accepting on
//! each worker.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::model::{Bind, BindAddress};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::inherited;
use crate::log::Level;
use crate::serve::{self, Accepted};
use crate::site::FrontendState;
use crate::stream::Carrier;
use crate::worker::{Room, Worker};

/// Connections waiting in the kernel, where nothing else is said (the kernel caps it at
/// `net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// How long accepting pauses when the process has no descriptor or memory left: long enough not to
/// spin, short enough for clients not to notice.
const PAUSE: Duration = Duration::from_millis(100);

/// One listening socket of one worker.
pub(crate) struct Listener {
    socket: OwnedFd,
    frontend: Arc<FrontendState>,
    /// Which `bind` of the frontend.
    bind: usize,
}

/// Opens a `bind`'s sockets, one per worker; the error is a sentence.
pub(crate) fn open(
    frontend: &Arc<FrontendState>,
    index: usize,
    workers: usize,
) -> Result<Vec<Listener>, String> {
    let bind = &frontend.conf().binds[index];
    let backlog = bind.backlog.or(frontend.conf().backlog).unwrap_or(BACKLOG);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let explain = |e: io::Error| format!("cannot listen on {}: {}", bind.text, reason(&e));
    let sockets = match &bind.address {
        BindAddress::Inet(address) => open_inet(bind, *address, backlog, workers),
        BindAddress::Unix(path) => open_unix(bind, path, backlog).and_then(|s| share(s, workers)),
        BindAddress::Abstract(name) => open_abstract(name, backlog).and_then(|s| share(s, workers)),
        BindAddress::Fd(number) => inherit(*number, backlog).and_then(|s| share(s, workers)),
    }
    .map_err(explain)?;
    let listener = |socket| Listener {
        socket,
        frontend: frontend.clone(),
        bind: index,
    };
    Ok(sockets.into_iter().map(listener).collect())
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
) -> io::Result<Vec<OwnedFd>> {
    // `SO_REUSEPORT` would let a second balancer of the same user slip in beside the first one and
    // take half of its connections, so first make sure that nobody is there.
    if address.port() != 0 {
        inet_socket(bind, address, false)?;
    }
    let mut address = address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = inet_socket(bind, address, true)?;
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
    socket.bind(&SockAddr::unix(format!("\0{name}"))?)?;
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

impl Listener {
    /// The address it got.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        socket2::SockRef::from(&self.socket)
            .local_addr()
            .ok()?
            .as_socket()
    }
}

/// A listening socket of the runtime.
enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let is_unix = socket2::SockRef::from(&socket).local_addr()?.is_unix();
        Ok(if is_unix {
            Self::Unix(UnixListener::from_std(socket.into())?)
        } else {
            Self::Tcp(TcpListener::from_std(socket.into())?)
        })
    }

    /// The next connection and who it is from. One that came in by IPv4 on a `v4v6` socket is from
    /// an IPv4 address.
    async fn accept(&self) -> io::Result<(Carrier, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (tcp, peer) = listener.accept().await?;
                let peer = SocketAddr::new(unmapped(peer.ip()), peer.port());
                Ok((Carrier::Tcp(tcp), Some(peer)))
            }
            Self::Unix(listener) => Ok((Carrier::Unix(listener.accept().await?.0), None)),
        }
    }
}

/// Accepts until the worker stops it.
pub(crate) async fn accept_all(listener: Listener, worker: Rc<Worker>) {
    let Listener {
        socket,
        frontend,
        bind,
    } = listener;
    let accepting = match Accepting::new(socket) {
        Ok(accepting) => accepting,
        Err(error) => {
            let text = &frontend.conf().binds[bind].text;
            worker
                .shared
                .say(Level::Alert, &format!("cannot wait on {text}: {error}"));
            return;
        }
    };
    frontend.open.store(true, Relaxed);
    let mut complaints = Complaints::default();
    loop {
        match accepting.accept().await {
            Ok((carrier, peer)) => {
                let Some(room) = find_room(&frontend, &worker).await else {
                    return;
                };
                let accepted = Accepted {
                    carrier,
                    peer,
                    bind,
                    room,
                    expects_proxy: false,
                    at: Instant::now(),
                };
                let serving = serve::serve(accepted, frontend.clone(), worker.clone());
                tokio::task::spawn_local(serving);
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                complaints.say(&worker, &frontend, &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits for a place below `maxconn` of frontend and process. While there is none, this one client
/// waits for its first byte and the next ones in the kernel's backlog, as with HAProxy. `None` when
/// the engine stops.
async fn find_room(frontend: &Arc<FrontendState>, worker: &Rc<Worker>) -> Option<Room> {
    let of_frontend = frontend.room.clone().acquire_owned().await.ok()?;
    let of_process = worker.shared.room.clone().acquire_owned().await.ok()?;
    Some(Room::enter(worker, frontend, of_process, of_frontend))
}

/// A client that was gone before it could be accepted is no fault of ours.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}

/// `::ffff:192.0.2.1` is 192.0.2.1.
pub(crate) fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Says that accepting failed, at most once a second.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    fn say(&mut self, worker: &Worker, frontend: &FrontendState, error: &io::Error) {
        if self
            .last
            .is_some_and(|last| last.elapsed() < Duration::from_secs(1))
        {
            self.unsaid += 1;
            return;
        }
        let shared = &worker.shared;
        let message = format!(
            "Proxy {} cannot accept connections: {error} ({} connections now, maxconn {}; {} more \
             failures unsaid). Clients wait; raise ulimit-n or lower maxconn.",
            frontend.name(),
            shared.connections.now(),
            shared.maxconn,
            std::mem::take(&mut self.unsaid),
        );
        shared.say_to(&frontend.conf().proxy.log, Level::Alert, &message);
        self.last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn bind() -> Bind {
        Bind {
            address: BindAddress::Fd(0),
            text: "".into(),
            span: Default::default(),
            name: None,
            accept_proxy: false,
            tls: None,
            maxconn: None,
            backlog: None,
            unix_mode: None,
            unix_uid: None,
            unix_gid: None,
            interface: None,
            v6only: None,
        }
    }

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
            ..bind()
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
                ..bind()
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
