//! Listening sockets taken over from another process, until this one's configuration asks for them.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::model::{AbstractName, Bind, BindAddress};
use socket2::SockRef;

use super::channel::Channel;
use super::getsocks;
use super::listening::Role;
use super::predecessor::{self, Predecessor};
use crate::handle::Handle;
use crate::server::abstract_name;

/// What a process begins with that takes over from others; empty for one that does not.
#[derive(Clone, Default)]
pub struct Inheritance(Arc<Inner>);

#[derive(Default)]
struct Inner {
    sockets: Mutex<Vec<Inherited>>,
    /// The one before this one, where it is like this one.
    predecessor: Mutex<Option<Predecessor>>,
    /// Has those who listen now make room for a moment.
    make_room: Option<Box<dyn Fn() + Send + Sync>>,
    asked_for_room: AtomicBool,
}

/// One listening socket of another process.
pub(super) struct Inherited {
    socket: OwnedFd,
    address: Option<Address>,
    interface: Option<Vec<u8>>,
    /// Whether it is in this process's own network namespace.
    is_here: bool,
    /// What it is to others of the same address, where that is known.
    role: Option<Role>,
}

/// A listening socket that a `bind` asked for, and what is known of its role.
pub(crate) type Taken = (OwnedFd, Option<Role>);

/// Where it listens.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Inet(SocketAddr),
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Inherited {
    pub(super) fn new(socket: OwnedFd, interface: Vec<u8>, is_here: bool) -> Self {
        Self {
            address: address_of(&socket),
            socket,
            interface: Some(interface).filter(|name| !name.is_empty()),
            is_here,
            role: None,
        }
    }

    /// One of a process like this one.
    pub(super) fn with_role(socket: OwnedFd, interface: Vec<u8>, role: Role) -> Self {
        Self {
            role: Some(role),
            ..Self::new(socket, interface, true)
        }
    }

    /// The interface it is bound to.
    #[cfg(test)]
    pub(super) fn interface(&self) -> Option<Vec<u8>> {
        self.interface.clone()
    }

    fn is_meant_by(&self, bind: &Bind) -> bool {
        let Some(address) = &self.address else {
            return false;
        };
        let same = match (&bind.address, address) {
            (BindAddress::Inet(wanted), Address::Inet(found)) => {
                let family = bind.v6only.is_none_or(|only| {
                    wanted.is_ipv4() || SockRef::from(&self.socket).only_v6().ok() == Some(only)
                });
                (wanted.ip(), wanted.port()) == (found.ip(), found.port()) && family
            }
            (BindAddress::Unix(wanted), Address::Path(found)) => wanted == found,
            (BindAddress::Abstract(wanted), Address::Abstract(found)) => {
                abstract_name(wanted)[1..] == *found
            }
            _ => false,
        };
        let interface = bind.interface.as_deref().map(str::as_bytes);
        same && self.is_here && self.interface.as_deref() == interface
    }
}

/// Where a socket listens; `None`: it does not, or not by any address that a `bind` could name.
fn address_of(socket: &OwnedFd) -> Option<Address> {
    let asked = SockRef::from(socket);
    if !asked.is_listener().ok()? {
        return None;
    }
    let address = asked.local_addr().ok()?;
    if let Some(address) = address.as_socket() {
        return Some(Address::Inet(address));
    }
    if let Some(name) = address.as_abstract_namespace() {
        return Some(Address::Abstract(name.to_vec()));
    }
    Some(Address::Path(without_suffix(address.as_pathname()?)))
}

/// The path that a socket was renamed to after it was bound: HAProxy and we both bind to it with `.PID.tmp`
/// behind it.
fn without_suffix(bound: &Path) -> PathBuf {
    let bytes = bound.as_os_str().as_bytes();
    let shorter = || {
        let rest = bytes.strip_suffix(b".tmp")?;
        let dot = rest.iter().rposition(|byte| *byte == b'.')?;
        let (path, pid) = (&rest[..dot], &rest[dot + 1..]);
        (!pid.is_empty() && pid.iter().all(u8::is_ascii_digit)).then_some(path)
    };
    PathBuf::from(OsStr::from_bytes(shorter().unwrap_or(bytes)))
}

impl Inheritance {
    /// Takes over from processes that listen now and go away soon: addresses that they have are shared with
    /// them meanwhile. `make_room` is called once, should that not be possible.
    pub fn beside(make_room: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            make_room: Some(Box::new(make_room)),
            ..Inner::default()
        }))
    }

    /// Asks the process behind a stats socket for its listening sockets: as one like this one, else as HAProxy.
    pub fn fetch(&self, from: &str) -> io::Result<()> {
        let mut stream = connect(from)?;
        predecessor::greet(&mut stream)?;
        match Channel::answered(stream)? {
            Some(channel) => self.fetch_by(channel),
            None => {
                self.sockets().extend(getsocks::ask(&connect(from)?)?);
                Ok(())
            }
        }
    }

    /// The same by a socket to the process that has started this one.
    pub fn fetch_from_parent(&self, stream: UnixStream) -> io::Result<()> {
        match Channel::answered(stream)? {
            Some(channel) => self.fetch_by(channel),
            None => Err(io::Error::other(
                "the process before this one does not answer",
            )),
        }
    }

    fn fetch_by(&self, channel: Channel) -> io::Result<()> {
        let (predecessor, sockets) = Predecessor::meet(channel)?;
        self.sockets().extend(sockets);
        *self.predecessor() = Some(predecessor);
        Ok(())
    }

    /// The process id of the one before this one, where it is like this one.
    pub fn predecessor_pid(&self) -> Option<u32> {
        self.predecessor().as_ref().map(Predecessor::pid)
    }

    /// Has the process before this one leave, once its tunnels are here: on a thread of its own. `went` is told
    /// when that one takes no more clients, or that it could not be asked. `false`: there is none like this one.
    pub fn take_over(
        &self,
        handle: &Handle,
        went: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<bool> {
        let Some(predecessor) = self.predecessor().take() else {
            return Ok(false);
        };
        predecessor.take_over(handle.clone(), Box::new(went))?;
        Ok(true)
    }

    /// The process before this one is let alone, if it was not asked to leave.
    pub fn let_go(&self) {
        self.predecessor().take();
    }

    fn predecessor(&self) -> MutexGuard<'_, Option<Predecessor>> {
        let predecessor = self.0.predecessor.lock();
        predecessor.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether other processes are there that go away soon.
    pub(crate) fn is_beside(&self) -> bool {
        self.0.make_room.is_some()
    }

    /// Whether it makes sense to try again for an address that is in use: others were asked to make room.
    pub(crate) fn makes_room(&self) -> bool {
        let Some(make_room) = &self.0.make_room else {
            return false;
        };
        if !self.0.asked_for_room.swap(true, Relaxed) {
            make_room();
        }
        true
    }

    /// Whether others were asked to stop listening for a moment.
    pub fn has_asked_for_room(&self) -> bool {
        self.0.asked_for_room.load(Relaxed)
    }

    /// Those that a `bind` is about, in the order they came. They are non-blocking.
    pub(crate) fn take(&self, bind: &Bind) -> io::Result<Vec<Taken>> {
        let taken: Vec<Inherited> = self
            .sockets()
            .extract_if(.., |it| it.is_meant_by(bind))
            .collect();
        let ready = |it: Inherited| {
            SockRef::from(&it.socket).set_nonblocking(true)?;
            Ok((it.socket, it.role))
        };
        taken.into_iter().map(ready).collect()
    }

    /// Closes what nobody has asked for. How many that are.
    pub fn close_rest(&self) -> usize {
        std::mem::take(&mut *self.sockets()).len()
    }

    /// A lock whose holder never panics.
    fn sockets(&self) -> MutexGuard<'_, Vec<Inherited>> {
        self.0
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// `-x`: a path, with `unix@` before it or not, or `abns@` or `abnsz@` and a name.
fn connect(to: &str) -> io::Result<UnixStream> {
    let padded = to.strip_prefix("abns@").map(|name| (name, true));
    if let Some((name, padded)) = padded.or(to.strip_prefix("abnsz@").map(|name| (name, false))) {
        let name = name.into();
        let name = &abstract_name(&AbstractName { name, padded })[1..];
        return UnixStream::connect_addr(&UnixAddress::from_abstract_name(name)?);
    }
    UnixStream::connect(to.strip_prefix("unix@").unwrap_or(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_is_known_by_the_path_it_was_renamed_to() {
        let check = |bound: &str, path: &str| {
            assert_eq!(without_suffix(Path::new(bound)), Path::new(path));
        };
        check("/run/a.sock.123.tmp", "/run/a.sock");
        check("/run/a.sock", "/run/a.sock");
        check("/run/a.tmp", "/run/a.tmp");
        check("/run/a..tmp", "/run/a..tmp");
        check("/run/a.b1.tmp", "/run/a.b1.tmp");
    }

    #[test]
    fn only_who_listens_where_a_bind_says_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let all = Inheritance::default();
        let here = |interface: &str, is_here| {
            let socket = listener.try_clone().expect("a descriptor");
            Inherited::new(socket.into(), interface.into(), is_here)
        };
        all.sockets().extend([
            here("", true),
            here("eth0", true),
            here("", false),
            here("", true),
        ]);
        let taken = |bind: &Bind| all.take(bind).expect("they are sockets").len();
        let elsewhere: SocketAddr = "127.0.0.2:1".parse().expect("an address");
        assert_eq!(taken(&Bind::at(BindAddress::Inet(elsewhere))), 0);
        assert_eq!(taken(&Bind::at(BindAddress::Inet(address))), 2);
        assert_eq!(taken(&Bind::at(BindAddress::Inet(address))), 0);
        assert_eq!(all.close_rest(), 2);
    }
}
