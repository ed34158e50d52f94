//! Sockets of the Runtime API: opened once, accepted from for ever.

use std::net::TcpListener as StdTcp;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnix;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::model::{BindAddress, CliLevel, RuntimeApi as Settings, StatsSocket};
use engine::Inheritance;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::Api;
use super::connection::Connection;
use super::handing_over::Listens;
use super::master::Master;
use super::session::Session;

/// Pause after a connection could not be accepted: there are no descriptors left, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections to the master's socket at once.
const MASTER_CONNECTIONS_MAX: usize = 10;

/// One of them, open.
pub(super) struct Socket {
    conf: StatsSocket,
    descriptor: OwnedFd,
    is_master: bool,
}

impl Socket {
    /// As `show cli sockets` tells it.
    pub(super) fn listed(&self) -> String {
        let level = match self.conf.settings.level {
            CliLevel::User => "user",
            CliLevel::Operator => "operator",
            CliLevel::Admin => "admin",
        };
        format!("{} {level} all\n", self.address())
    }

    fn address(&self) -> String {
        match &self.conf.bind.address {
            BindAddress::Inet(address) => {
                format!("ipv{}@{address}", if address.is_ipv4() { 4 } else { 6 })
            }
            BindAddress::Unix(path) => format!("unix@{}", path.display()),
            BindAddress::Abstract(name) => name.to_string(),
            BindAddress::Fd(_) => {
                let socket = self.descriptor.try_clone().ok().map(StdTcp::from);
                match socket.and_then(|socket| socket.local_addr().ok()) {
                    Some(at) => format!("ipv{}@{at}", if at.is_ipv4() { 4 } else { 6 }),
                    None => self.conf.bind.text.to_string(),
                }
            }
        }
    }
}

/// Opens all; what cannot be opened is told.
pub(super) fn open(settings: &Settings, before: &Inheritance) -> (Vec<Socket>, Vec<String>) {
    let (mut sockets, mut problems) = (Vec::new(), Vec::new());
    let masters = settings.master.iter().map(|conf| (conf, true));
    let all = settings
        .sockets
        .iter()
        .map(|conf| (conf, false))
        .chain(masters);
    for (conf, is_master) in all {
        match engine::open_socket(&conf.bind, before) {
            Ok(descriptor) => sockets.push(Socket {
                conf: conf.clone(),
                descriptor,
                is_master,
            }),
            Err(why) => problems.push(why),
        }
    }
    (sockets, problems)
}

/// Accepts on all of them, until another process has them, or may have them, and answers there. Never returns.
pub(super) async fn accept_all(sockets: Vec<Socket>, api: Rc<Api>) {
    let mut accepting = tokio::task::JoinSet::new();
    for socket in sockets {
        // Whoever comes after us shares such an address, and would find us behind it half of the time. Of a path it
        // has its own socket, and ours may still be asked about what is left here.
        let is_shared = matches!(socket.conf.bind.address, BindAddress::Inet(_));
        let api = api.clone();
        accepting.spawn_local(async move {
            tokio::select! {
                () = api.handle.wait_left(!is_shared) => {}
                () = accept(socket, api.clone()) => {}
            }
        });
    }
    while accepting.join_next().await.is_some() {}
    // Who is connected still gets answers: they end with the process.
    std::future::pending().await
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    /// What a descriptor is shows when it is asked for its address.
    fn new(descriptor: OwnedFd) -> std::io::Result<Self> {
        let tcp = StdTcp::from(descriptor);
        match tcp.local_addr() {
            Ok(_) => TcpListener::from_std(tcp).map(Self::Tcp),
            Err(_) => UnixListener::from_std(StdUnix::from(OwnedFd::from(tcp))).map(Self::Unix),
        }
    }
}

async fn accept(socket: Socket, api: Rc<Api>) {
    let name = socket.address();
    let room = match socket.is_master {
        // The master is a way in for when the other one is full.
        true => Arc::new(Semaphore::new(MASTER_CONNECTIONS_MAX)),
        false => api.room.clone(),
    };
    let opened = Listens::new(&socket.descriptor, &socket.conf.bind)
        .and_then(|exposed| Ok((exposed, Listening::new(socket.descriptor)?)));
    let (exposed, listening) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let line = format!("Runtime API: cannot listen on {name}: {error}.");
            return api.handle.log(engine::Level::Alert, &line);
        }
    };
    let settings = socket.conf.settings;
    let mut session = Session::new(settings, api.settings().timeout);
    session.socket = name;
    if socket.is_master {
        session.master = Some(Master::default());
    } else {
        // The master's is for commands alone (management.txt 3, "-S").
        session.gives_listeners = settings.expose_listeners;
    }
    api.listening.borrow_mut().push(Rc::downgrade(&exposed));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let mut session = session.clone();
        let accepted = match &listening {
            Listening::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                session.peer = peer.to_string();
                let connection = Connection::new(stream, api.clone(), session);
                tokio::task::spawn_local(async move {
                    connection.run().await;
                    drop(place);
                });
            }),
            Listening::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                session.peer = unix_peer(&stream);
                let connection = Connection::new(stream, api.clone(), session);
                tokio::task::spawn_local(async move {
                    connection.run().await;
                    drop(place);
                });
            }),
        };
        if accepted.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Who is at the other end, by `SO_PEERCRED`.
fn unix_peer(stream: &tokio::net::UnixStream) -> String {
    match rustix::net::sockopt::socket_peercred(stream.as_fd()) {
        Ok(who) => format!("pid {} uid {}", who.pid.as_raw_nonzero(), who.uid.as_raw()),
        Err(_) => "an unknown process".to_owned(),
    }
}
