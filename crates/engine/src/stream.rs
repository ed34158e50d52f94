//! A byte stream to a peer, whatever carries it.
//!
//! Reading and writing are poll functions so that the tunnel can borrow a worker's scratch buffer
//! for the time of one call; the async forms for the HTTP stages are built on them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use routing::sample::ServerTlsFacts;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::listen::unmapped;
use crate::socket::Socket;
use crate::tls::TlsStream;
use crate::tunnel::Wire;

/// A connected stream.
pub(crate) enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS; boxed because its state is a kilobyte that plain streams should not carry.
    Tls(Box<TlsStream>),
}

/// What TLS runs over.
pub(crate) enum Carrier {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Reads into `buffer`; 0 bytes is the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        ready!(match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, &mut read),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, &mut read),
            Self::Tls(tls) => return tls.poll_read(cx, buffer),
        })?;
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Writes as much of `bytes` as the peer takes now.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Self::Tls(tls) => tls.poll_write(cx, bytes),
        }
    }

    /// Sends what TLS holds back; plain streams hold nothing.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Says that nothing more will be written (FIN, after `close_notify` for TLS).
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Self::Tls(tls) => tls.poll_shutdown(cx),
        }
    }

    /// The socket below.
    fn socket(&self) -> BorrowedFd<'_> {
        let carrier = match self {
            Self::Tcp(tcp) => return tcp.as_fd(),
            Self::Unix(unix) => return unix.as_fd(),
            Self::Tls(tls) => tls.carrier(),
        };
        match carrier {
            Carrier::Tcp(tcp) => tcp.as_fd(),
            Carrier::Unix(unix) => unix.as_fd(),
        }
    }

    /// The peer's address, where it is on this machine by the same address as we are.
    pub(crate) fn local_peer(&self) -> Option<SocketAddr> {
        let socket = self.socket();
        let socket = socket2::SockRef::from(&socket);
        let peer = socket.peer_addr().ok()?.as_socket()?;
        let here = socket.local_addr().ok()?.as_socket()?;
        (peer.ip() == here.ip()).then_some(peer)
    }

    /// Our own address; none on a Unix socket.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        let socket = self.socket();
        let here = socket2::SockRef::from(&socket).local_addr().ok()?;
        let here = here.as_socket()?;
        Some(SocketAddr::new(unmapped(here.ip()), here.port()))
    }

    /// Whether the peer has neither closed nor sent anything that was not read, as far as the runtime
    /// was told; where it was told of something the kernel is asked whether that was read meanwhile. Of
    /// TLS also what is decrypted already. Enough to find connections that have ended; before one is
    /// used, see [`Self::is_quiet_now`].
    pub(crate) fn seems_quiet(&mut self) -> bool {
        (!self.may_be_readable() || self.is_quiet_in_kernel()) && self.holds_nothing()
    }

    /// The same at this very moment: the kernel is asked in any case. What arrived since the runtime last
    /// looked would be taken for the answer to the next request, another client's perhaps.
    pub(crate) fn is_quiet_now(&mut self) -> bool {
        self.is_quiet_in_kernel() && self.holds_nothing()
    }

    /// Whether TLS has decrypted nothing that was not read.
    fn holds_nothing(&mut self) -> bool {
        if !matches!(self, Self::Tls(_)) {
            return true;
        }
        let mut byte = [0u8; 1];
        let read = poll_fn(|cx| Poll::Ready(self.poll_read(cx, &mut byte).is_pending()));
        answer_now(read) == Some(true)
    }

    /// Whether nothing waits to be read at this very moment, below TLS: the kernel is asked.
    fn is_quiet_in_kernel(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        rustix::net::recv(self.socket(), &mut [0u8; 1], flags).err() == Some(Errno::AGAIN)
    }

    /// Whether the runtime has been told of bytes, or of an end, and nobody has found none since.
    fn may_be_readable(&self) -> bool {
        let ready = poll_fn(|cx| {
            let carrier = match self {
                Self::Tcp(tcp) => return Poll::Ready(tcp.poll_read_ready(cx).is_ready()),
                Self::Unix(unix) => return Poll::Ready(unix.poll_read_ready(cx).is_ready()),
                Self::Tls(tls) => tls.carrier(),
            };
            Poll::Ready(match carrier {
                Carrier::Tcp(tcp) => tcp.poll_read_ready(cx).is_ready(),
                Carrier::Unix(unix) => unix.poll_read_ready(cx).is_ready(),
            })
        });
        answer_now(ready) != Some(false)
    }

    /// What was agreed on with a server, where it speaks TLS.
    pub(crate) fn server_tls(&self) -> Option<ServerTlsFacts> {
        let Self::Tls(tls) = self else { return None };
        tls.is_client()
            .then(|| crate::tls::server_facts(tls.state()))
    }

    /// Closes without a word to the peer, as far as the system lets us (manual 4.4, "silent-drop").
    pub(crate) fn forget(self) {
        crate::silence::drop_silently(&self.socket());
    }

    /// Takes it from the runtime: a tunnel hears of it in another way.
    pub(crate) fn leave_runtime(self) -> io::Result<Wire> {
        Ok(match self {
            Self::Tcp(tcp) => Wire::Plain(Carrier::Tcp(tcp).leave_runtime()?),
            Self::Unix(unix) => Wire::Plain(Carrier::Unix(unix).leave_runtime()?),
            Self::Tls(tls) => Wire::Tls(Box::new(tls.over(Carrier::leave_runtime)?)),
        })
    }

    /// Closes so that the peer sees a reset: nothing that is still queued is worth sending.
    pub(crate) fn reset_on_close(&self) {
        // Failing to set it, on a Unix socket say, leaves an ordinary close.
        let _ = socket2::SockRef::from(&self.socket()).set_linger(Some(std::time::Duration::ZERO));
    }
}

/// Asks once, whatever is left of the task's budget, and waits for nothing.
fn answer_now<T>(asked: impl Future<Output = T>) -> Option<T> {
    let mut unhurried = std::pin::pin!(tokio::task::coop::unconstrained(asked));
    let mut context = Context::from_waker(Waker::noop());
    match unhurried.as_mut().poll(&mut context) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

impl Carrier {
    fn leave_runtime(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(tcp) => Socket::new(tcp.into_std()?),
            Self::Unix(unix) => Socket::new(unix.into_std()?),
        })
    }

    /// Our own address; none on a Unix socket. On a `v4v6` socket IPv4 addresses are told as such.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => {
                let address = tcp.local_addr().ok()?;
                Some(SocketAddr::new(unmapped(address.ip()), address.port()))
            }
            Self::Unix(_) => None,
        }
    }
}

impl From<Carrier> for Stream {
    fn from(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Tcp(tcp) => Self::Tcp(tcp),
            Carrier::Unix(unix) => Self::Unix(unix),
        }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn what_the_runtime_was_not_told_of_yet_is_no_quiet_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let here = TcpStream::connect(address).await.expect("it listens");
        let (mut there, _) = listener.accept().expect("it connects");
        let mut stream = Stream::Tcp(here);
        assert!(stream.seems_quiet() && stream.is_quiet_now());
        there.write_all(b"HTTP/1.1 408").expect("it is open");
        // Nothing is awaited, so that the runtime does not look meanwhile.
        assert!((0..1_000_000).any(|_| !stream.is_quiet_now()));
        assert!(stream.seems_quiet(), "the runtime has not looked");
    }
}
