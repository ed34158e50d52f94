//! One end of a tunnel: a socket that no task waits for, with TLS over it or without.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::socket::Socket;
use crate::tls::TlsStream;

/// A connected stream. Whatever is pending goes on when its socket was told of an event; nobody is
/// woken.
pub(crate) enum Wire {
    /// The kernel alone carries it.
    Plain(Socket),
    /// TLS; boxed because its state is a kilobyte that plain streams should not carry.
    Tls(Box<TlsStream<Socket>>),
}

impl Wire {
    /// Reads into `buffer`; 0 bytes is the end of the stream.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.try_read(buffer),
            Self::Tls(tls) => tls.poll_read(&mut nobody(), buffer),
        }
    }

    /// Writes as much of `bytes` as the peer takes now.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.try_write(bytes),
            Self::Tls(tls) => tls.poll_write(&mut nobody(), bytes),
        }
    }

    /// Sends what TLS holds back; plain streams hold nothing.
    pub(crate) fn try_flush(&mut self) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_flush(&mut nobody()),
        }
    }

    /// Says that nothing more will be written (FIN, after `close_notify` for TLS).
    pub(crate) fn try_shut_down(&mut self) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Poll::Ready(socket.shut_down()),
            Self::Tls(tls) => tls.poll_shutdown(&mut nobody()),
        }
    }

    /// Whether TLS may hold bytes back.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The socket below, to be told what happened to it.
    pub(crate) fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.carrier_mut(),
        }
    }

    /// Closes so that the peer sees a reset: nothing that is still queued is worth sending.
    pub(crate) fn reset_on_close(&self) {
        // Failing to set it, on a Unix socket say, leaves an ordinary close.
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.carrier().as_fd(),
        }
    }
}

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
