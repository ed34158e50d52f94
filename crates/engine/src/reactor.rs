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
    sockets: RefCell<Slab<Owner>>,
}

/// Who is told what happens to a socket.
enum Owner {
    /// Who waits for it, if anybody does.
    Task(Rc<Watched>),
    /// A tunnel, and which end of it this is: the client's, or the server's.
    Tunnel(Token, Side),
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
        let mut sockets = self.sockets.borrow_mut();
        let token = sockets.insert(Owner::Task(watched.clone()));
        let added = self.queue.add(socket, token.pack(), heard);
        if added.is_err() {
            sockets.remove(token);
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

    /// The socket at a place is a tunnel's.
    pub(crate) fn belongs_to(&self, place: u32, tunnel: Token, side: Side) {
        let mut sockets = self.sockets.borrow_mut();
        let owner = sockets.at_mut(place);
        let before = owner.map(|it| std::mem::replace(it, Owner::Tunnel(tunnel, side)));
        // Whom it told may be gone with it, and have sockets of its own.
        drop(sockets);
        drop(before);
    }

    /// The socket at a place is about to be closed: the queue forgets it by itself.
    pub(crate) fn forget(&self, place: u32) {
        let mut sockets = self.sockets.borrow_mut();
        if let Some((token, _)) = sockets.at(place) {
            let owner = sockets.remove(token);
            drop(sockets);
            drop(owner);
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

    /// Tells the task concerned, or names the tunnel that is.
    pub(crate) fn tell(&self, name: u64, event: EventFlags) -> Option<(Token, Side)> {
        let mut sockets = self.sockets.borrow_mut();
        // It may have been closed since.
        let watched = match sockets.get_mut(Token::unpack(name))? {
            Owner::Tunnel(tunnel, side) => return Some((*tunnel, *side)),
            Owner::Task(watched) => watched.clone(),
        };
        drop(sockets);
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
