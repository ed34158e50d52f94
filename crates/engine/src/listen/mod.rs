//! Listening sockets, and accepting on each worker.
//!
//! Opening them is [`open`]'s; whom they accept for, [`posting`]'s; how many connections a second there
//! may be, [`pace`]'s.

pub(crate) mod open;
mod options;
pub(crate) mod pace;
pub(crate) mod posting;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use config::model::{Bind, BindAddress};
use routing::sample::ConnectionFacts;
use rustix::net::{SocketFlags, acceptfrom_with};

use crate::clock::ByTurns;
use crate::handover::{Exposed, Role};
use crate::log::Level;
use crate::places::Places;
use crate::serve::{self, Accepted};
use crate::site::FrontendState;
use crate::spread::{Handed, Loose};
use crate::stream::Carrier;
use crate::worker::{Room, Worker};

pub(crate) use open::open;
use posting::{Post, Posting};

/// How long accepting pauses when the process has no descriptor or memory left: long enough not to
/// spin, short enough for clients not to notice.
const PAUSE: Duration = Duration::from_millis(100);

/// One listening socket of one worker.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    posting: Arc<Posting>,
    /// The same socket, for a process that takes over.
    exposed: Arc<Exposed>,
}

impl Listener {
    /// A socket that accepts for whom it was posted.
    pub(crate) fn new(socket: OwnedFd, posting: &Arc<Posting>, exposed: Arc<Exposed>) -> Self {
        let posting = posting.clone();
        Self {
            socket,
            posting,
            exposed,
        }
    }

    /// What it is to others of the same address.
    pub(crate) fn role(&self) -> Role {
        self.exposed.role()
    }

    /// The address it got.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        socket2::SockRef::from(&self.socket)
            .local_addr()
            .ok()?
            .as_socket()
    }
}

/// A listening socket that a task waits for. It leaves the queue of events before it is closed: another process may
/// have the same socket, and the kernel would go on telling us of clients that come to it.
struct Accepting(Option<Carrier>);

impl Drop for Accepting {
    fn drop(&mut self) {
        if let Some(carrier) = self.0.take() {
            // Closed it is in any case.
            let _ = carrier.leave();
        }
    }
}

impl Accepting {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(Some(Carrier::new(socket)?)))
    }

    fn carrier(&self) -> &Carrier {
        let carrier = self.0.as_ref();
        carrier.expect("it is taken out only when this is dropped")
    }

    /// The address that every client has come to; `None` where each connection has its own.
    fn only_address(&self, bind: &Bind) -> Option<SocketAddr> {
        // Whoever opened an inherited socket may have made it transparent.
        let is_ours = matches!(bind.address, BindAddress::Inet(_)) && !bind.socket.transparent;
        let address = self.carrier().local_address().filter(|_| is_ours)?;
        (!address.ip().is_unspecified()).then_some(address)
    }

    /// The next connection and who it is from. One that came in by IPv4 on a `v4v6` socket is from
    /// an IPv4 address.
    async fn accept(&self) -> io::Result<(Carrier, Option<SocketAddr>)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accept = |listener: BorrowedFd<'_>| acceptfrom_with(listener, flags);
        let (socket, peer) = poll_fn(|cx| self.carrier().poll_take(cx, accept)).await?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let peer = peer.map(|peer| SocketAddr::new(unmapped(peer.ip()), peer.port()));
        Ok((Carrier::new(socket)?, peer))
    }
}

/// Accepts until the worker stops it, or the address is given up.
pub(crate) async fn accept_all(listener: Listener, worker: Rc<Worker>) {
    let Listener {
        socket,
        posting,
        exposed,
    } = listener;
    let Some(mut post) = posting.post() else {
        return;
    };
    let accepting = match Accepting::new(socket) {
        Ok(accepting) => accepting,
        Err(error) => {
            let text = posting.text();
            worker
                .shared
                .say(Level::Alert, &format!("cannot wait on {text}: {error}"));
            return;
        }
    };
    worker.shared.listening.add(&exposed);
    let complaints = Complaints::default();
    let mut left = None;
    loop {
        post.frontend.opened();
        let door = Door::new(&accepting, &post, &worker, &complaints);
        match door.accept_while_held(&posting, left.take()).await {
            Held::Over => return,
            Held::Passed(accepted) => left = accepted,
        }
        match posting.post() {
            Some(next) => post = next,
            None => {
                // Who has come before the address was given up is served.
                let door = Door::new(&accepting, &post, &worker, &complaints);
                return door.empty(left.take()).await;
            }
        }
    }
}

/// A connection just accepted, and who it is from.
type Arrival = (Carrier, Option<SocketAddr>);

/// What became of a listening socket.
enum Held {
    /// Nothing is accepted there any more.
    Over,
    /// It is somebody else's now, and so is what was accepted last.
    Passed(Option<Arrival>),
}

/// A listening socket as long as it is one frontend's.
struct Door<'a> {
    accepting: &'a Accepting,
    frontend: &'a Arc<FrontendState>,
    post: &'a Arc<Post>,
    bind: usize,
    dst: Option<SocketAddr>,
    secure: bool,
    worker: &'a Rc<Worker>,
    complaints: &'a Complaints,
}

impl<'a> Door<'a> {
    fn new(
        accepting: &'a Accepting,
        post: &'a Arc<Post>,
        worker: &'a Rc<Worker>,
        complaints: &'a Complaints,
    ) -> Self {
        let (frontend, bind) = (&post.frontend, post.bind);
        let conf = &frontend.conf().binds[bind];
        Self {
            accepting,
            frontend,
            post,
            bind,
            dst: accepting.only_address(conf),
            secure: conf.tls.is_some(),
            worker,
            complaints,
        }
    }

    /// Accepts as long as it is this frontend's; `first` has been accepted already.
    async fn accept_while_held(&self, posting: &Posting, first: Option<Arrival>) -> Held {
        let (frontend, worker) = (self.frontend, self.worker);
        let mut shut = pin!(frontend.wait_shut());
        let mut passed = pin!(posting.changed());
        passed.as_mut().enable();
        let mut next = first;
        loop {
            if !posting.is_held_by(self.post) {
                return Held::Passed(next);
            }
            if let Some((carrier, peer)) = next.take() {
                // Whoever waits for a place here must not keep the socket from whom it goes to.
                let places = tokio::select! {
                    biased;
                    places = self.place() => places,
                    () = &mut shut => return Held::Over,
                    () = &mut passed => return Held::Passed(Some((carrier, peer))),
                };
                match places {
                    Some(places) => self.admit((carrier, peer), places),
                    None => return Held::Over,
                }
                continue;
            }
            pace::wait(frontend, worker, self.secure).await;
            let accepted = tokio::select! {
                biased;
                accepted = self.accepting.accept() => accepted,
                () = &mut shut => return Held::Over,
                () = &mut passed => return Held::Passed(None),
            };
            if frontend.is_shut() {
                return Held::Over;
            }
            match accepted {
                Ok(arrival) => next = Some(arrival),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// Serves who waits, and nobody else. Whoever had the frontend wait can have it go on no more.
    async fn empty(&self, first: Option<Arrival>) {
        let mut next = first;
        loop {
            if let Some(arrival) = next.take() {
                match self.place_even_so().await {
                    Some(places) => self.admit(arrival, places),
                    None => return,
                }
            }
            let accepted = tokio::select! {
                biased;
                accepted = self.accepting.accept() => accepted,
                () = std::future::ready(()) => return,
            };
            match accepted {
                Ok(arrival) => next = Some(arrival),
                Err(error) if is_of_one_client(&error) => {}
                Err(_) => return,
            }
        }
    }

    async fn failed(&self, error: &io::Error) {
        let listening = &self.worker.shared.listening;
        if listening.is_paused() {
            return listening.wait_resumed().await;
        }
        if !is_of_one_client(error) {
            self.complaints.say(self.worker, self.frontend, error);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until one more may come in; `None`: the engine stops. One connection a worker waits here, all others in
    /// the kernel.
    async fn place(&self) -> Option<Places> {
        self.frontend.wait_resumed().await;
        self.place_even_so().await
    }

    /// The same, whether an operator has the frontend wait or not.
    async fn place_even_so(&self) -> Option<Places> {
        let (frontend, worker) = (self.frontend, self.worker);
        let places = Places::find(&worker.shared, frontend, self.bind).await?;
        pace::take(frontend, worker, self.secure).await;
        Some(places)
    }

    /// Lets a connection in.
    fn admit(&self, (carrier, peer): Arrival, places: Places) {
        let (frontend, worker) = (self.frontend, self.worker);
        let newcomer = Newcomer {
            peer,
            dst: self.dst,
            bind: self.bind,
            places,
            at: Instant::now(),
        };
        let elsewhere = worker.shared.spread.elsewhere(worker.index);
        match elsewhere.filter(|_| !worker.is_stopping()) {
            None => serve(carrier, newcomer, frontend, worker),
            Some(other) => hand_over(other, carrier, newcomer, frontend, worker),
        }
    }
}

/// What is known of a connection that has just been accepted, its socket aside.
pub(crate) struct Newcomer {
    /// Who connected; `None` on a Unix socket.
    peer: Option<SocketAddr>,
    /// Where it came to, if that is known without asking.
    dst: Option<SocketAddr>,
    /// Which `bind` of the frontend.
    bind: usize,
    /// Its places in the limits.
    places: Places,
    /// When it was accepted.
    at: Instant,
}

/// Serves a connection on this worker.
fn serve(carrier: Carrier, newcomer: Newcomer, frontend: &Arc<FrontendState>, worker: &Rc<Worker>) {
    let Newcomer {
        peer,
        dst,
        bind,
        places,
        at,
    } = newcomer;
    let accepted = Accepted {
        facts: ConnectionFacts {
            src: peer,
            dst: dst.or_else(|| carrier.local_address()),
            ..ConnectionFacts::default()
        },
        carrier,
        peer,
        bind,
        room: Room::enter(worker, frontend, bind, places),
        expects_proxy: false,
        at,
    };
    // The runtime moves what it is given several times; of this it moves a pointer.
    let serving = serve::serve(accepted, frontend.clone(), worker.clone());
    tokio::task::spawn_local(ByTurns::new(serving));
}

/// Gives a connection to another worker; one that takes no more leaves it to this one.
fn hand_over(
    other: usize,
    carrier: Carrier,
    newcomer: Newcomer,
    frontend: &Arc<FrontendState>,
    worker: &Rc<Worker>,
) {
    let socket = match Loose::leave(carrier) {
        Ok(socket) => socket,
        Err(error) => return worker.lost.say_lost(worker, frontend, &error),
    };
    let handed = Handed {
        socket,
        newcomer,
        frontend: frontend.clone(),
    };
    if let Some(handed) = worker.shared.spread.hand_over(other, handed) {
        join(handed, worker);
    }
}

/// Serves a connection that another worker has accepted.
pub(crate) fn take_over(handed: Handed, worker: &Rc<Worker>) {
    worker.shared.spread.arrived(worker.index);
    join(handed, worker);
}

fn join(handed: Handed, worker: &Rc<Worker>) {
    let Handed {
        socket,
        newcomer,
        frontend,
    } = handed;
    match socket.join() {
        Ok(carrier) => serve(carrier, newcomer, &frontend, worker),
        Err(error) => worker.lost.say_lost(worker, &frontend, &error),
    }
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
pub(crate) struct Complaints {
    last: Cell<Option<Instant>>,
    unsaid: Cell<u64>,
}

impl Complaints {
    /// Nothing can be accepted.
    fn say(&self, worker: &Worker, frontend: &FrontendState, error: &io::Error) {
        self.at_times(worker, frontend, |unsaid| {
            let shared = &worker.shared;
            format!(
                "Proxy {} cannot accept connections: {error} ({} connections now, maxconn {}; {unsaid} \
                 more failures unsaid). Clients wait; raise ulimit-n or lower maxconn.",
                frontend.name(),
                shared.connections.now(),
                shared.maxconn.load(Relaxed),
            )
        });
    }

    /// The kernel has no room for one more in a queue of events, which accepting it had.
    fn say_lost(&self, worker: &Worker, frontend: &FrontendState, error: &io::Error) {
        self.at_times(worker, frontend, |unsaid| {
            format!(
                "Proxy {} closed a connection just accepted: no worker can wait on it: {error} \
                 ({unsaid} more failures unsaid).",
                frontend.name()
            )
        });
    }

    fn at_times(
        &self,
        worker: &Worker,
        frontend: &FrontendState,
        text: impl FnOnce(u64) -> String,
    ) {
        let is_soon = |last: Instant| last.elapsed() < Duration::from_secs(1);
        if self.last.get().is_some_and(is_soon) {
            self.unsaid.set(self.unsaid.get() + 1);
            return;
        }
        let message = text(self.unsaid.take());
        let log = &frontend.conf().proxy.log;
        worker.shared.say_to(log, Level::Alert, &message);
        self.last.set(Some(Instant::now()));
    }
}
