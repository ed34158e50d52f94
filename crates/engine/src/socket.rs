//! Sockets that do not block and that no runtime watches: a queue of events (see [`crate::reactor`]) tells
//! when to try again, and what it told is noted here.
//!
//! Events come once a change (`EPOLLET`), so what is known of a socket is kept between them: a read
//! shorter than its buffer has emptied it, a write shorter than its bytes has filled it, and neither
//! needs a second call to find out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is known of a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// There may be something to read.
    readable: bool,
    /// The peer has ended its direction, or the connection broke: reading comes to an end.
    ended: bool,
    /// There may be room to write.
    writable: bool,
    /// Whether the queue tells when there is room again: only where there was none once.
    heeded: bool,
}

impl Known {
    /// What a queue of events tells of each socket.
    const HEARD: EventFlags = EventFlags::IN
        .union(EventFlags::RDHUP)
        .union(EventFlags::ET);

    /// Of a connected socket that nobody has read from, and that may be in no queue yet.
    pub(crate) const CONNECTED: Self = Self {
        readable: true,
        ended: false,
        writable: true,
        heeded: false,
    };

    /// Of one that was connected a moment ago, before its peer is likely to have sent anything.
    pub(crate) const NEWLY_CONNECTED: Self = Self {
        readable: false,
        ..Self::CONNECTED
    };

    /// Of one that is about to be connected, which the queue must tell.
    pub(crate) const CONNECTING: Self = Self {
        readable: false,
        ended: false,
        writable: false,
        heeded: true,
    };

    /// Something happened to it.
    pub(crate) fn note(&mut self, event: EventFlags) {
        // ERR is an error that waits to be told: what came before it is read first, then it ends the stream.
        let broken = event.intersects(EventFlags::ERR | EventFlags::HUP);
        self.ended |= broken || event.contains(EventFlags::RDHUP);
        self.readable |= self.ended || event.contains(EventFlags::IN);
        self.writable |= broken || event.contains(EventFlags::OUT);
    }

    /// Whether reading may find something: bytes, or an end.
    pub(crate) fn may_be_readable(self) -> bool {
        self.readable
    }

    /// Whether writing may find room.
    pub(crate) fn may_be_writable(self) -> bool {
        self.writable
    }

    /// Whether the queue has told that nothing more will come than what is there.
    pub(crate) fn has_ended(self) -> bool {
        self.ended
    }

    /// All that is there was looked at, if not taken: what comes next is news.
    pub(crate) fn seen(&mut self) {
        self.readable = self.ended;
    }

    /// What the queue is to tell of it.
    pub(crate) fn heard(self) -> EventFlags {
        match self.heeded {
            true => Self::HEARD | EventFlags::OUT,
            false => Self::HEARD,
        }
    }

    /// What the queue should tell of it from now on, where that changes: it is full.
    pub(crate) fn more_to_hear(&mut self) -> Option<EventFlags> {
        if self.writable || self.heeded {
            return None;
        }
        self.heeded = true;
        Some(self.heard())
    }

    /// Asks the socket for something to take, as long as there may be something.
    pub(crate) fn try_take<T>(
        &mut self,
        mut asked: impl FnMut() -> Result<T, Errno>,
    ) -> Poll<io::Result<T>> {
        while self.readable {
            match asked() {
                Ok(taken) => return Poll::Ready(Ok(taken)),
                Err(Errno::INTR) => {}
                // Having ended, it does not come here again before its end was read.
                Err(Errno::AGAIN) => self.readable = false,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }

    /// Reads what is there; 0 bytes is the end of the stream.
    pub(crate) fn try_read(
        &mut self,
        socket: impl AsFd,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = self.try_take(|| {
            let (count, _) = rustix::net::recv(&socket, &mut *buffer, RecvFlags::empty())?;
            Ok(count)
        });
        if let Poll::Ready(Ok(count)) = read {
            self.readable = self.ended || count == buffer.len();
        }
        read
    }

    /// Writes what there is room for.
    pub(crate) fn try_write(&mut self, socket: impl AsFd, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while self.writable {
            match rustix::net::send(&socket, bytes, SendFlags::NOSIGNAL) {
                Ok(0) if !bytes.is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Ok(count) => {
                    self.writable = count == bytes.len();
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.writable = false,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }
}

/// Says that nothing more will be written. A peer that is gone need not be told.
pub(crate) fn shut_down(socket: impl AsFd) -> io::Result<()> {
    match rustix::net::shutdown(socket, Shutdown::Write) {
        Err(Errno::NOTCONN) => Ok(()),
        told => Ok(told?),
    }
}

/// A connected socket with what is known of it, one end of a tunnel. Whoever owns it is told by the queue.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    place: u32,
    known: Known,
}

impl Socket {
    /// The socket at a place of the queue, and what is known of it.
    pub(crate) fn new(descriptor: OwnedFd, place: u32, known: Known) -> Self {
        Self {
            descriptor,
            place,
            known,
        }
    }

    /// Its place in the queue.
    pub(crate) fn place(&self) -> u32 {
        self.place
    }

    /// Something happened to it.
    pub(crate) fn note(&mut self, event: EventFlags) {
        self.known.note(event);
    }

    /// What the queue should tell of it from now on, where that changes: it is full.
    pub(crate) fn more_to_hear(&mut self) -> Option<EventFlags> {
        self.known.more_to_hear()
    }

    /// Reads what is there; 0 bytes is the end of the stream.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.known.try_read(&self.descriptor, buffer)
    }

    /// Writes what there is room for.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.known.try_write(&self.descriptor, bytes)
    }

    /// Says that nothing more will be written. A peer that is gone need not be told.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        shut_down(&self.descriptor)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsyncRead for Socket {
    /// Wakes nobody: its owner hears from the queue.
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.try_read(buffer.initialize_unfilled());
        read.map_ok(|count| buffer.advance(count))
    }
}

impl AsyncWrite for Socket {
    /// Wakes nobody: its owner hears from the queue.
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.try_write(bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_down())
    }
}
