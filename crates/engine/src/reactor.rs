//! What happens to the sockets of the data path, of one thread: one queue of events for all of them, and
//! for each whom to tell.
//!
//! A socket is put into the queue once, when somebody first waits for it, and stays there until it is closed.
//! What changes is who is told: as long as it speaks HTTP, or shakes hands, the task that waits for it
//! ([`Carrier`](crate::stream::Carrier)); then its tunnel ([`crate::tunnels`]). Neither the change nor
//! the end takes a system call: the kernel forgets what is closed.
//!
//! The runtime knows of the queue alone. Whoever serves it (a worker's tunnels, or [`alongside`]) takes its
//! events and passes them on.

mod queue;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use rustix::event::epoll::EventFlags;

use crate::end::Side;
use crate::slab::{Slab, Token};
use crate::socket::Known;

pub(crate) use queue::Events;
use queue::Queue;

thread_local! {
    static HERE: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// A thread's sockets.
pub(crate) struct Reactor {
    queue: Queue,
    sockets: RefCell<Slab<Packed>>,
    watched: RefCell<Slab<Rc<Watched>>>,
}

/// Who is told what happens to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Who waits for it, if anybody does: at this place.
    Task(u32),
    /// The tunnel at this place, and which end of it this is: the client's, or the server's.
    Tunnel(u32, Side),
}

/// The same in four bytes, because an idle tunnel has two of them: the lowest bits say which it is.
#[derive(Clone, Copy)]
struct Packed(NonZeroU32);

impl Owner {
    /// Places are as many as sockets at most, far below 2³⁰.
    fn pack(self) -> Packed {
        let (place, kind) = match self {
            Self::Task(place) => (place, 1),
            Self::Tunnel(place, Side::Client) => (place, 2),
            Self::Tunnel(place, _) => (place, 3),
        };
        // The kind is never zero.
        Packed(NonZeroU32::new(place << 2 | kind).unwrap_or(NonZeroU32::MIN))
    }
}

impl Packed {
    fn unpack(self) -> Owner {
        let (place, kind) = (self.0.get() >> 2, self.0.get() & 3);
        match kind {
            2 => Owner::Tunnel(place, Side::Client),
            3 => Owner::Tunnel(place, Side::Server),
            _ => Owner::Task(place),
        }
    }
}

/// What is known of a socket that tasks wait for, and which they are.
pub(crate) struct Watched {
    /// What is known.
    pub(crate) known: Cell<Known>,
    /// Who waits for bytes.
    reader: Cell<Option<Waker>>,
    /// Who waits for room.
    writer: Cell<Option<Waker>>,
}

impl Watched {
    /// Nobody waits yet.
    pub(crate) fn new(known: Known) -> Rc<Self> {
        Rc::new(Self {
            known: Cell::new(known),
            reader: Cell::default(),
            writer: Cell::default(),
        })
    }

    /// Whoever asks is woken when there may be something to read.
    pub(crate) fn wake_reader(&self, cx: &Context<'_>) {
        remember(&self.reader, cx.waker());
    }

    /// Whoever asks is woken when there may be room.
    pub(crate) fn wake_writer(&self, cx: &Context<'_>) {
        remember(&self.writer, cx.waker());
    }

    fn tell(&self, event: EventFlags) {
        let mut known = self.known.get();
        known.note(event);
        self.known.set(known);
        if known.may_be_readable()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        if known.may_be_writable()
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }
}

fn remember(place: &Cell<Option<Waker>>, waker: &Waker) {
    let known = place.take().filter(|known| known.will_wake(waker));
    place.set(Some(known.unwrap_or_else(|| waker.clone())));
}

impl Reactor {
    /// A new one for this thread, in place of the one it had. Fails where the system has no descriptor
    /// left for its queue.
    pub(crate) fn start() -> io::Result<Rc<Self>> {
        let started = Rc::new(Self {
            queue: Queue::new()?,
            sockets: RefCell::default(),
            watched: RefCell::default(),
        });
        HERE.set(Some(started.clone()));
        Ok(started)
    }

    /// This thread's.
    pub(crate) fn here() -> io::Result<Rc<Self>> {
        let here = HERE.with_borrow(Option::clone);
        here.ok_or_else(|| io::Error::other("no sockets are served on this thread"))
    }

    /// From now on it is told what happens to a socket, and what has happened already. Its place.
    pub(crate) fn add(
        &self,
        socket: impl AsFd,
        watched: &Rc<Watched>,
        heard: EventFlags,
    ) -> io::Result<u32> {
        let waits = self.watched.borrow_mut().insert(watched.clone());
        let owner = Owner::Task(waits.place()).pack();
        let token = self.sockets.borrow_mut().insert(owner);
        let added = self.queue.add(socket, token.pack(), heard);
        if added.is_err() {
            self.forget(token.place());
        }
        added.map(|()| token.place())
    }

    /// What is to be told of the socket at a place from now on.
    pub(crate) fn change(
        &self,
        socket: impl AsFd,
        place: u32,
        heard: EventFlags,
    ) -> io::Result<()> {
        match self.sockets.borrow().at(place) {
            Some((token, _)) => self.queue.change(socket, token.pack(), heard),
            None => Ok(()),
        }
    }

    /// The socket at a place is an end of the tunnel at another place.
    pub(crate) fn belongs_to(&self, place: u32, tunnel: u32, side: Side) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(owner) = sockets.at_mut(place) else {
            return;
        };
        let before = std::mem::replace(owner, Owner::Tunnel(tunnel, side).pack());
        drop(sockets);
        self.let_go(before);
    }

    /// The socket at a place is about to be closed: the queue forgets it by itself.
    pub(crate) fn forget(&self, place: u32) {
        let mut sockets = self.sockets.borrow_mut();
        let before = sockets.take_at(place);
        drop(sockets);
        if let Some(before) = before {
            self.let_go(before);
        }
    }

    fn let_go(&self, owner: Packed) {
        if let Owner::Task(place) = owner.unpack() {
            let watched = self.watched.borrow_mut().take_at(place);
            // Whom it told may be gone with it, and have sockets of its own: nothing is borrowed any more.
            drop(watched);
        }
    }

    /// The socket at a place goes to another thread.
    pub(crate) fn release(&self, socket: impl AsFd, place: u32) -> io::Result<()> {
        self.forget(place);
        self.queue.remove(socket)
    }

    /// Waits until there are events, and takes what there is of them. `busy`: takes what there is, if anything.
    pub(crate) fn poll_next(
        &self,
        cx: &mut Context<'_>,
        events: &mut Events,
        busy: bool,
    ) -> Poll<io::Result<()>> {
        let ready = match self.queue.poll_ready(cx) {
            Poll::Ready(ready) => Some(ready?),
            Poll::Pending if !busy => return Poll::Pending,
            Poll::Pending => None,
        };
        let is_emptied = self.queue.take(events)? && !events.is_full();
        if let Some(mut ready) = ready.filter(|_| is_emptied) {
            // It was emptied: what comes from now on makes it ready anew.
            ready.clear_ready();
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the task concerned, or names the place of the tunnel that is, and which of its ends.
    pub(crate) fn tell(&self, name: u64, event: EventFlags) -> Option<(u32, Side)> {
        // It may have been closed since.
        let owner = *self.sockets.borrow_mut().get_mut(Token::unpack(name))?;
        let place = match owner.unpack() {
            Owner::Tunnel(place, side) => return Some((place, side)),
            Owner::Task(place) => place,
        };
        let watched = self.watched.borrow().at(place)?.1.clone();
        watched.tell(event);
        None
    }

    async fn serve(&self) -> io::Result<()> {
        let mut events = Box::new(Events::new());
        loop {
            poll_fn(|cx| self.poll_next(cx, &mut events, false)).await?;
            for (name, event) in events.iter() {
                self.tell(name, event);
            }
        }
    }
}

/// Does `work` on a thread that has no tunnels, and serves its sockets meanwhile.
pub(crate) async fn alongside<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let reactor = Reactor::start()?;
    let mut serving = pin!(reactor.serve());
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(failed) = serving.as_mut().poll(cx) {
            failed?;
        }
        Poll::Ready(Ok(ready!(work.as_mut().poll(cx))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_is_known_in_eight_bytes_a_socket() {
        for place in [0, 1, 1_000_000, (1 << 30) - 1] {
            let both = [Side::Client, Side::Server].map(|side| Owner::Tunnel(place, side));
            for owner in both.into_iter().chain([Owner::Task(place)]) {
                assert_eq!(owner.pack().unpack(), owner);
            }
        }
        assert_eq!(Slab::<Packed>::PLACE_LEN, 8);
    }
}
