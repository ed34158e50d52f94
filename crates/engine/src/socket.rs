//! A connected socket that no runtime watches: whoever owns it is told by a queue of events (see
//! [`crate::tunnels`]) when to try again, and notes here what it was told.
//!
//! Events come once a change (`EPOLLET`), so what is known of the socket is kept between them: a read
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

/// A socket with what is known of it.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    /// There may be something to read.
    readable: bool,
    /// The peer has ended its direction, or the connection broke: reading comes to an end.
    ended: bool,
    /// There may be room to write.
    writable: bool,
    /// Whether the queue tells when there is room again: only where there was none once.
    heeded: bool,
}

impl Socket {
    /// What a queue of events tells of each socket.
    pub(crate) const HEARD: EventFlags = EventFlags::IN
        .union(EventFlags::RDHUP)
        .union(EventFlags::ET);

    /// A socket that does not block. Putting it into a queue of events tells whether there is
    /// something to read already.
    pub(crate) fn new(descriptor: impl Into<OwnedFd>) -> Self {
        Self {
            descriptor: descriptor.into(),
            readable: false,
            ended: false,
            writable: true,
            heeded: false,
        }
    }

    /// Something happened to it.
    pub(crate) fn note(&mut self, event: EventFlags) {
        // ERR is an error that waits to be told: what came before it is read first, then it ends the stream.
        let broken = event.intersects(EventFlags::ERR | EventFlags::HUP);
        self.ended |= broken || event.contains(EventFlags::RDHUP);
        self.readable |= self.ended || event.contains(EventFlags::IN);
        self.writable |= broken || event.contains(EventFlags::OUT);
    }

    /// What the queue should tell of it from now on, where that changes: it is full.
    pub(crate) fn more_to_hear(&mut self) -> Option<EventFlags> {
        if self.writable || self.heeded {
            return None;
        }
        self.heeded = true;
        Some(Self::HEARD | EventFlags::OUT)
    }

    /// Reads what is there; 0 bytes is the end of the stream.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.readable {
            match rustix::net::recv(&self.descriptor, &mut *buffer, RecvFlags::empty()) {
                Ok((count, _)) => {
                    self.readable = self.ended || count == buffer.len();
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::INTR) => {}
                // Having ended, it does not come here again before its end was read.
                Err(Errno::AGAIN) => self.readable = false,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }

    /// Writes what there is room for.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while self.writable {
            match rustix::net::send(&self.descriptor, bytes, SendFlags::NOSIGNAL) {
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

    /// Says that nothing more will be written. A peer that is gone need not be told.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        match rustix::net::shutdown(&self.descriptor, Shutdown::Write) {
            Err(Errno::NOTCONN) => Ok(()),
            told => Ok(told?),
        }
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
