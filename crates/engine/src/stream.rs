//! A byte stream to a peer, whatever carries it.
//!
//! Reading and writing are poll functions so that the tunnel can borrow a worker's scratch buffer
//! for the time of one call; the async forms for the HTTP stages are built on them.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use routing::sample::ServerTlsFacts;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use crate::listen::unmapped;
use crate::reactor::{Reactor, Watched};
use crate::server::ServerState;
use crate::socket::{self, Known, Socket};
use crate::tls::TlsStream;
use crate::tunnel::Wire;

/// A connected stream.
pub(crate) enum Stream {
    /// The kernel alone carries it.
    Plain(Carrier),
    /// TLS; boxed because its state is a kilobyte that plain streams should not carry.
    Tls(Box<TlsStream>),
}

/// A socket, TCP or Unix, that a task waits for: it is told by its thread's [`Reactor`].
pub(crate) struct Carrier {
    descriptor: OwnedFd,
    watched: Rc<Watched>,
    standing: Standing,
}

/// A socket's place with a reactor, once somebody has waited for it.
struct Standing {
    reactor: Rc<Reactor>,
    place: Cell<Option<u32>>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(place) = self.place.get() {
            self.reactor.forget(place);
        }
    }
}

impl Stream {
    /// Reads into `buffer`; 0 bytes is the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(carrier) => carrier.try_read(cx, buffer),
            Self::Tls(tls) => tls.poll_read(cx, buffer),
        }
    }

    /// Writes as much of `bytes` as the peer takes now.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(carrier) => carrier.try_write(cx, bytes),
            Self::Tls(tls) => tls.poll_write(cx, bytes),
        }
    }

    /// Sends what TLS holds back; plain streams hold nothing.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Says that nothing more will be written (FIN, after `close_notify` for TLS).
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(carrier) => Poll::Ready(socket::shut_down(&carrier.descriptor)),
            Self::Tls(tls) => tls.poll_shutdown(cx),
        }
    }

    /// The socket below.
    fn carrier(&self) -> &Carrier {
        match self {
            Self::Plain(carrier) => carrier,
            Self::Tls(tls) => tls.carrier(),
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.carrier().as_fd()
    }

    /// The peer's address, where it is on this machine by the same address as we are.
    pub(crate) fn local_peer(&self) -> Option<SocketAddr> {
        let socket = self.socket();
        let socket = socket2::SockRef::from(&socket);
        let peer = socket.peer_addr().ok()?.as_socket()?;
        let here = socket.local_addr().ok()?.as_socket()?;
        (peer.ip() == here.ip()).then_some(peer)
    }

    /// Both ends, ours first; none on a Unix socket.
    pub(crate) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.carrier().ends()
    }

    /// Our own address; none on a Unix socket.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.carrier().local_address()
    }

    /// Whether the peer has neither closed nor sent anything that was not read, as far as the reactor
    /// was told; where it was told of something the kernel is asked whether that was read meanwhile. Of
    /// TLS also what is decrypted already. Enough to find connections that have ended; before one is
    /// used, see [`Self::is_quiet_now`].
    pub(crate) fn seems_quiet(&mut self) -> bool {
        (!self.may_be_readable() || self.is_quiet_in_kernel()) && self.holds_nothing()
    }

    /// The same at this very moment: the kernel is asked in any case. What arrived since the reactor
    /// was last told would be taken for the answer to the next request, another client's perhaps.
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

    /// Whether the reactor has been told of bytes, or of an end, and nobody has found none since; also
    /// where nobody has ever waited, and the reactor is told nothing.
    fn may_be_readable(&self) -> bool {
        let carrier = self.carrier();
        carrier.standing.place.get().is_none() || carrier.watched.known.get().may_be_readable()
    }

    /// What was agreed on with a server, where it speaks TLS.
    /// More of it only where it is asked for.
    pub(crate) fn server_tls(&self, server: &ServerState, more: bool) -> Option<ServerTlsFacts> {
        let Self::Tls(tls) = self else { return None };
        if !tls.is_client() {
            return None;
        }
        let mut facts = crate::tls::server_facts(tls.state());
        let chain = tls.state().peer_certificates();
        let shown = chain.and_then(|chain| chain.first());
        facts.certificate = shown.map(|shown| server.certificate_shown(shown));
        facts.more = more.then(|| Box::new(crate::tls::more_server_facts(tls.state())));
        Some(facts)
    }

    /// Closes without a word to the peer, as far as the system lets us (manual 4.4, "silent-drop").
    pub(crate) fn forget(self) {
        crate::silence::drop_silently(&self.socket());
    }

    /// What it is to a tunnel, which from now on is told of it.
    pub(crate) fn into_wire(self) -> io::Result<Wire> {
        Ok(match self {
            Self::Plain(carrier) => Wire::Plain(carrier.into_socket()?),
            Self::Tls(tls) => Wire::Tls(Box::new(tls.over(Carrier::into_socket)?)),
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
    /// A connected socket that does not block.
    pub(crate) fn new(descriptor: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::knowing(descriptor.into(), Known::CONNECTED)
    }

    /// One that has only just been connected: what its peer says comes later, and is told.
    pub(crate) fn newly_connected(descriptor: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::knowing(descriptor.into(), Known::NEWLY_CONNECTED)
    }

    fn knowing(descriptor: OwnedFd, known: Known) -> io::Result<Self> {
        Ok(Self {
            descriptor,
            watched: Watched::new(known),
            standing: Standing {
                reactor: Reactor::here()?,
                place: Cell::new(None),
            },
        })
    }

    /// A socket that does not block, once it is connected to where it was told to connect to.
    pub(crate) async fn connected(descriptor: impl Into<OwnedFd>) -> io::Result<Self> {
        let it = Self::knowing(descriptor.into(), Known::CONNECTING)?;
        poll_fn(|cx| match it.watched.known.get().may_be_writable() {
            true => Poll::Ready(Ok(())),
            false => it.wait(cx, Watched::wake_writer),
        })
        .await?;
        // Where nothing has ended, nothing has failed: no need to ask.
        if it.watched.known.get().has_ended()
            && let Some(error) = socket2::SockRef::from(&it).take_error()?
        {
            return Err(error);
        }
        Ok(it)
    }

    /// Waits for the next event.
    fn wait<T>(
        &self,
        cx: &Context<'_>,
        wake: impl Fn(&Watched, &Context<'_>),
    ) -> Poll<io::Result<T>> {
        wake(&self.watched, cx);
        // What has happened before it got a place is told at once.
        match self.place() {
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Its place, which it gets when somebody first waits for it: much is there at once.
    fn place(&self) -> io::Result<u32> {
        let Standing { reactor, place } = &self.standing;
        if let Some(place) = place.get() {
            return Ok(place);
        }
        let heard = self.watched.known.get().heard();
        let got = reactor.add(self, &self.watched, heard)?;
        place.set(Some(got));
        Ok(got)
    }

    /// Does something with what is known, and notes what is known then.
    fn with_known<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.watched.known.get();
        let done = act(&mut known);
        self.watched.known.set(known);
        done
    }

    /// Asks the socket for something to take, once there may be something.
    pub(crate) fn poll_take<T>(
        &self,
        cx: &mut Context<'_>,
        mut asked: impl FnMut(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Poll<io::Result<T>> {
        self.poll_taking(cx, |known| known.try_take(|| asked(self.as_fd())))
    }

    fn try_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_taking(cx, |known| known.try_read(self, buffer))
    }

    fn poll_taking<T>(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Known) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        // A peer that always has something must not keep others from their turn.
        let turn = ready!(poll_proceed(cx));
        match self.with_known(take) {
            Poll::Pending => self.wait(cx, Watched::wake_reader),
            taken => {
                turn.made_progress();
                taken
            }
        }
    }

    fn try_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let turn = ready!(poll_proceed(cx));
        match self.with_known(|known| known.try_write(self, bytes)) {
            Poll::Pending => {
                let more = self.with_known(Known::more_to_hear);
                if let (Some(heard), Some(place)) = (more, self.standing.place.get()) {
                    self.standing.reactor.change(self, place, heard)?;
                }
                self.wait(cx, Watched::wake_writer)
            }
            written => {
                turn.made_progress();
                written
            }
        }
    }

    /// All that is there was looked at, if not taken: the next wait is for what comes then. Whether
    /// nothing can come any more.
    pub(crate) fn seen(&self) -> bool {
        self.with_known(|known| {
            known.seen();
            known.has_ended()
        })
    }

    fn into_socket(self) -> io::Result<Socket> {
        let place = self.place()?;
        self.standing.place.set(None);
        Ok(Socket::new(
            self.descriptor,
            place,
            self.watched.known.get(),
        ))
    }

    /// Takes it from this thread.
    pub(crate) fn leave(self) -> io::Result<OwnedFd> {
        if let Some(place) = self.standing.place.take() {
            self.standing.reactor.release(&self.descriptor, place)?;
        }
        Ok(self.descriptor)
    }

    /// Both ends, ours first; none on a Unix socket.
    pub(crate) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = socket2::SockRef::from(self);
        let here = socket.local_addr().ok()?.as_socket()?;
        Some((here, socket.peer_addr().ok()?.as_socket()?))
    }

    /// Our own address; none on a Unix socket. On a `v4v6` socket IPv4 addresses are told as such.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        let here = socket2::SockRef::from(self).local_addr().ok()?;
        let here = here.as_socket()?;
        Some(SocketAddr::new(unmapped(here.ip()), here.port()))
    }
}

impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl From<Carrier> for Stream {
    fn from(carrier: Carrier) -> Self {
        Self::Plain(carrier)
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.try_read(cx, buffer.initialize_unfilled());
        read.map_ok(|count| buffer.advance(count))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.try_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::shut_down(&self.descriptor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::alongside;
    use std::io::Write as _;

    #[tokio::test]
    async fn what_the_reactor_was_not_told_of_yet_is_no_quiet_connection() {
        let quiet = async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("it is bound");
            let here = std::net::TcpStream::connect(address).expect("it listens");
            here.set_nonblocking(true).expect("it can");
            let (mut there, _) = listener.accept().expect("it connects");
            let mut stream = Stream::from(Carrier::new(here).expect("a reactor"));
            let read = poll_fn(|cx| Poll::Ready(stream.poll_read(cx, &mut [0]).is_pending()));
            assert!(read.await);
            assert!(stream.seems_quiet() && stream.is_quiet_now());
            there.write_all(b"HTTP/1.1 408").expect("it is open");
            // Nothing is awaited, so that the reactor is told nothing meanwhile.
            assert!((0..1_000_000).any(|_| !stream.is_quiet_now()));
            assert!(stream.seems_quiet(), "the reactor was told");
            tokio::task::yield_now().await;
            while stream.seems_quiet() {
                tokio::task::yield_now().await;
            }
        };
        alongside(quiet).await.expect("a queue of events");
    }
}
