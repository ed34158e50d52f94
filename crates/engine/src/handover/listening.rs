//! The listening sockets of this process: who may be given them, and how they are left.
//!
//! A socket that listens has connections of its own: those that nobody has accepted yet, and those whose
//! handshake is under way. When it is closed they are reset, unless another process has the same socket. Of an
//! address that each worker has a socket for (`SO_REUSEPORT`) a successor is given the first one, since HAProxy
//! would take one and close the others. When this process leaves, the kernel is told to send all new clients
//! to the first; the others go on accepting until what was under way has come ([`LEAVING`]), and then close.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use config::model::{Bind, BindAddress};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::Shutdown;
use tokio::sync::Notify;

/// How long a socket that no new client comes to any more goes on accepting: a handshake takes a round trip, or
/// some more where a packet is lost.
pub(crate) const LEAVING: Duration = Duration::from_secs(1);

/// What a listening socket is to those of the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The first of those that share the address: the kernel counts it as number 0 as long as it is there.
    First,
    /// Another one of them.
    Other,
    /// It has its own connections, and is not known to be number 0 of anything.
    Alone,
    /// It is the same socket as another worker's.
    Copy,
}

/// A listening socket for as long as a worker accepts on it.
#[derive(Debug)]
pub(crate) struct Exposed {
    socket: OwnedFd,
    role: Role,
    interface: Option<Arc<str>>,
    is_inet: bool,
    backlog: i32,
}

impl Exposed {
    /// The same socket as `socket`.
    pub(crate) fn new(
        socket: &OwnedFd,
        role: Role,
        bind: &Bind,
        backlog: i32,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            socket: socket.try_clone()?,
            role,
            interface: bind.interface.clone(),
            is_inet: matches!(bind.address, BindAddress::Inet(_)),
            backlog,
        }))
    }

    /// See [`Role`].
    pub(crate) fn role(&self) -> Role {
        self.role
    }
}

/// Nobody was given any.
const NOTHING: u8 = 0;
/// Of each address the first.
const SOME: u8 = 1;
/// All of them.
const WHOLE: u8 = 2;

/// A listening socket that another process may be given. It stays open as long as this lives.
pub struct ListeningSocket(Held);

enum Held {
    Exposed(Arc<Exposed>),
    Own(OwnedFd, Option<Arc<str>>),
}

impl ListeningSocket {
    /// One that no worker accepts on: a `stats socket`.
    pub fn of_runtime_api(socket: BorrowedFd<'_>, bind: &Bind) -> io::Result<Self> {
        let socket = socket.try_clone_to_owned()?;
        Ok(Self(Held::Own(socket, bind.interface.clone())))
    }

    /// What it is to others of the same address.
    pub(super) fn role(&self) -> Role {
        match &self.0 {
            Held::Exposed(exposed) => exposed.role,
            Held::Own(..) => Role::Alone,
        }
    }

    /// The interface it is bound to.
    pub(super) fn interface(&self) -> Option<&str> {
        match &self.0 {
            Held::Exposed(exposed) => exposed.interface.as_deref(),
            Held::Own(_, interface) => interface.as_deref(),
        }
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Held::Exposed(exposed) => exposed.socket.as_fd(),
            Held::Own(socket, _) => socket.as_fd(),
        }
    }
}

/// All that this process accepts clients on.
#[derive(Default)]
pub(crate) struct Listening {
    sockets: Mutex<Vec<Weak<Exposed>>>,
    /// What another process was given of them last.
    given: AtomicU8,
    /// Whether they are to be silent for a moment, for another process to take the addresses.
    paused: AtomicBool,
    resumed: Notify,
    /// Told when this process takes no clients any more.
    leaving: Notify,
    has_left: AtomicBool,
}

impl Listening {
    /// Somebody accepts on it from now on.
    pub(crate) fn add(&self, socket: &Arc<Exposed>) {
        let mut sockets = self.sockets();
        sockets.retain(|it| it.strong_count() > 0);
        sockets.push(Arc::downgrade(socket));
    }

    fn all(&self) -> Vec<Arc<Exposed>> {
        self.sockets().iter().filter_map(Weak::upgrade).collect()
    }

    /// What HAProxy is given: each socket once, and of an address with many the first.
    pub(crate) fn some(&self) -> Vec<ListeningSocket> {
        self.given.store(SOME, Relaxed);
        self.those(|role| matches!(role, Role::First | Role::Alone))
    }

    /// What a process like this one is given: each socket once.
    pub(crate) fn whole(&self) -> Vec<ListeningSocket> {
        self.given.store(WHOLE, Relaxed);
        self.those(|role| role != Role::Copy)
    }

    fn those(&self, meant: impl Fn(Role) -> bool) -> Vec<ListeningSocket> {
        let all = self.all().into_iter().filter(|it| meant(it.role));
        all.map(|it| ListeningSocket(Held::Exposed(it))).collect()
    }

    /// It is about to leave: `true` where another process has some of its sockets, so that the others must be left
    /// with care. From then on new clients come to the first socket of each address.
    pub(crate) fn leave(&self) -> bool {
        self.has_left.store(true, Relaxed);
        self.leaving.notify_waiters();
        if self.given.load(Relaxed) != SOME {
            return false;
        }
        for socket in self.all().iter().filter(|it| it.role == Role::First) {
            // One that is alone at its address is in no group; all come to it anyway.
            let _ = choose(&socket.socket, FIRST);
        }
        true
    }

    /// Whether sockets that it left are nobody's now.
    pub(crate) fn has_left_some(&self) -> bool {
        self.has_left.load(Relaxed) && self.given.load(Relaxed) == SOME
    }

    /// Waits until it has left; `given`: and another process has its sockets.
    pub(crate) async fn wait_left(&self, given: bool) {
        let leaving = self.leaving.notified();
        if !self.has_left.load(Relaxed) {
            leaving.await;
        }
        if given && self.given.load(Relaxed) == NOTHING {
            std::future::pending::<()>().await;
        }
    }

    /// Those that tell the kernel where clients go, until the others are closed: whoever still has them then
    /// must let it choose again ([`Leaders::let_go`]).
    pub(crate) fn leaders(&self) -> Leaders {
        let (first, others) = self
            .all()
            .into_iter()
            .partition(|it| it.role == Role::First);
        let others: Vec<Arc<Exposed>> = others;
        Leaders {
            first,
            others: others.iter().map(Arc::downgrade).collect(),
        }
    }

    /// Stops listening for a moment (`SIGTTOU`), so that another process can take the addresses. What waits to
    /// be accepted is lost, as the manual says.
    pub(crate) fn pause(&self) {
        self.paused.store(true, Relaxed);
        for socket in self.all() {
            if socket.is_inet && socket.role != Role::Copy {
                // It is none any more then; nothing else can fail.
                let _ = rustix::net::shutdown(&socket.socket, Shutdown::Read);
            }
        }
    }

    /// Listens again (`SIGTTIN`). Which sockets could not.
    pub(crate) fn resume(&self) -> usize {
        let mut failed = 0;
        if self.paused.load(Relaxed) {
            for socket in self.all() {
                let is_meant = socket.is_inet && socket.role != Role::Copy;
                if is_meant && rustix::net::listen(&socket.socket, socket.backlog).is_err() {
                    failed += 1;
                }
            }
        }
        self.paused.store(false, Relaxed);
        self.resumed.notify_waiters();
        failed
    }

    /// Whether they are silent for a moment.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Relaxed)
    }

    /// Waits while they are.
    pub(crate) async fn wait_resumed(&self) {
        let resumed = self.resumed.notified();
        if self.is_paused() {
            resumed.await;
        }
    }

    /// A lock whose holder never panics.
    fn sockets(&self) -> MutexGuard<'_, Vec<Weak<Exposed>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Listening::leaders`].
pub(crate) struct Leaders {
    first: Vec<Arc<Exposed>>,
    others: Vec<Weak<Exposed>>,
}

impl Leaders {
    /// Whether all others are closed.
    pub(crate) fn are_alone(&self) -> bool {
        self.others.iter().all(|it| it.strong_count() == 0)
    }

    /// Lets the kernel spread clients again over those that have the address now.
    pub(crate) fn let_go(self) {
        for socket in self.first {
            let _ = choose(&socket.socket, NOBODY);
        }
    }
}

/// The socket that has had the address for longest.
const FIRST: u32 = 0;

/// No socket at all, so that the kernel chooses by its hash, as it does without being told.
const NOBODY: u32 = u32::MAX;

/// Tells the kernel which of the sockets that share an address new clients come to: a program of one
/// instruction, "return this number" (socket(7), `SO_ATTACH_REUSEPORT_CBPF`).
fn choose(socket: &OwnedFd, number: u32) -> io::Result<()> {
    const RETURN_CONSTANT: u16 = 0x06;
    let mut instruction = libc::sock_filter {
        code: RETURN_CONSTANT,
        jt: 0,
        jf: 0,
        k: number,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut instruction,
    };
    setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::{SocketAddr, TcpStream};

    fn listener(address: SocketAddr) -> (OwnedFd, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("a socket");
        socket.set_reuse_port(true).expect("it can");
        socket.bind(&address.into()).expect("a port");
        socket.listen(64).expect("it can");
        let address = socket.local_addr().expect("it is bound");
        let address = address.as_socket().expect("an address");
        (socket.into(), address)
    }

    fn waiting(socket: &OwnedFd) -> usize {
        std::iter::from_fn(|| rustix::net::accept(socket).ok()).count()
    }

    #[test]
    fn the_kernel_sends_clients_where_it_is_told_and_then_where_it_likes() {
        let (first, address) = listener(([127, 0, 0, 1], 0).into());
        let others: Vec<OwnedFd> = (0..3).map(|_| listener(address).0).collect();
        let clients = |count: usize| -> Vec<TcpStream> {
            (0..count)
                .map(|_| TcpStream::connect(address).expect("it listens"))
                .collect()
        };
        choose(&first, FIRST).expect("they share the address");
        let _clients = clients(40);
        assert_eq!(waiting(&first), 40);
        drop(others);
        let others: Vec<OwnedFd> = (0..3).map(|_| listener(address).0).collect();
        choose(&first, NOBODY).expect("they share the address");
        let _clients = clients(60);
        assert!(waiting(&first) < 60);
        assert!(others.iter().map(waiting).sum::<usize>() > 0);
    }
}
