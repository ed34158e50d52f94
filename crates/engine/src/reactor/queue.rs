//! A queue of events (`epoll`) of sockets. The thread's runtime watches the queue as one descriptor of many, so
//! sockets, timers and all else take turns on one thread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// Events taken at once: enough that what it costs to ask does not count, few enough to be served before
/// newer ones are looked at. They take 3 KiB a worker.
pub(super) const EVENTS_MAX: usize = 256;

/// A queue of events.
pub(super) struct Queue {
    epoll: AsyncFd<OwnedFd>,
}

/// Events that were taken from it.
pub(crate) struct Events {
    room: [Event; EVENTS_MAX],
    count: usize,
}

impl Queue {
    /// A new one, watched by the runtime that this thread is in.
    #[allow(
        deprecated,
        reason = "its successor is unsafe, because a type might not tell the same descriptor each time: \
                  an OwnedFd does"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll: AsyncFd::with_interest(epoll, Interest::READABLE)?,
        })
    }

    /// From now on it tells what happens to a socket. What has happened already it tells at once.
    pub(super) fn add(&self, socket: impl AsFd, name: u64, heard: EventFlags) -> io::Result<()> {
        let queue = self.epoll.get_ref();
        Ok(epoll::add(queue, socket, EventData::new_u64(name), heard)?)
    }

    /// The same where it has been told of the socket before.
    pub(super) fn change(&self, socket: impl AsFd, name: u64, heard: EventFlags) -> io::Result<()> {
        let queue = self.epoll.get_ref();
        Ok(epoll::modify(
            queue,
            socket,
            EventData::new_u64(name),
            heard,
        )?)
    }

    /// It tells nothing of a socket any more, which stays open.
    pub(super) fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(self.epoll.get_ref(), socket)?)
    }

    /// Ready when there are events.
    pub(super) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, OwnedFd>>> {
        self.epoll.poll_read_ready(cx)
    }

    /// Takes what there is, without waiting; `false`: it was interrupted, and there may be some yet.
    pub(super) fn take(&self, events: &mut Events) -> io::Result<bool> {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        events.count = 0;
        match epoll::wait(self.epoll.get_ref(), &mut events.room[..], Some(&at_once)) {
            Ok(count) => events.count = count,
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}

impl Events {
    /// None yet.
    pub(crate) fn new() -> Self {
        let none = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        Self {
            room: [none; EVENTS_MAX],
            count: 0,
        }
    }

    /// Whether there may be more in the queue.
    pub(crate) fn is_full(&self) -> bool {
        self.count == EVENTS_MAX
    }

    /// Whose they are, and what they are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, EventFlags)> {
        self.room[..self.count].iter().map(|event| {
            let Event { flags, data } = *event;
            (data.u64(), flags)
        })
    }
}
