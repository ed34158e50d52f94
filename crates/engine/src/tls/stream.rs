//! TLS over a carrier, with no buffer while nothing is under way.
//!
//! rustls's unbuffered connections leave all buffers to the caller: records are read into and
//! written from one scratch buffer per thread, and only what is incomplete (a record that came in
//! part, bytes the peer does not take yet) is copied and kept, until it is complete. So a connection
//! that waits owns its keys and its state, and nothing else.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::server::{Accepted, Acceptor, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Carrier;

/// Bytes read from a socket at once: the largest record fits three times (RFC 8446 section 5.2).
const READ_LEN: usize = 64 * 1024;

/// Bytes encrypted at once: two records of the largest size.
const ENCRYPT_LEN: usize = 32 * 1024;

/// Room for what encryption adds to [`ENCRYPT_LEN`]: head, content type and tag of each record, were
/// they as small as a peer may ask for (RFC 6066 section 4: 512 bytes).
const OVERHEAD_MAX: usize = ENCRYPT_LEN / 512 * 64;

/// Room for an encrypted alert: two bytes, and what encryption adds.
const ALERT_LEN_MAX: usize = 256;

/// A handshake message whose end does not come must not grow for ever. Certificates of clients are
/// the largest; rustls takes messages up to this size.
const INCOMPLETE_MAX: usize = 0xffff + READ_LEN;

thread_local! {
    static INCOMING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTGOING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A TLS connection over a carrier.
pub(crate) struct TlsStream<C = Carrier> {
    carrier: C,
    machine: Machine,
    /// Of a record or handshake message that has not arrived whole.
    incomplete: Vec<u8>,
    /// Decrypted, from `taken` on not asked for yet.
    plain: Vec<u8>,
    taken: usize,
    /// Encrypted, from `sent` on not taken by the carrier yet.
    encrypted: Vec<u8>,
    sent: usize,
    /// The peer has said that nothing more comes.
    ended: bool,
    /// We have said it.
    closed: bool,
    /// The protocol was broken.
    failed: bool,
}

/// The protocol's state, as server or as client.
enum Machine {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// The part of a connection that encrypts, of either side.
trait Traffic {
    fn encrypt(&mut self, bytes: &[u8], out: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Traffic for WriteTraffic<'_, Data> {
    fn encrypt(&mut self, bytes: &[u8], out: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, bytes, out)
    }

    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::queue_close_notify(self, out)
    }
}

/// Where decrypted bytes go: into the buffer of who reads, the rest is kept.
struct Sink<'a> {
    buffer: &'a mut [u8],
    filled: usize,
    rest: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let room = self.buffer.len() - self.filled;
        // What is kept came before what comes now.
        let fits = if self.rest.is_empty() {
            room.min(bytes.len())
        } else {
            0
        };
        self.buffer[self.filled..self.filled + fits].copy_from_slice(&bytes[..fits]);
        self.filled += fits;
        self.rest.extend_from_slice(&bytes[fits..]);
    }
}

/// What the machine has come to with the bytes it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It wants more, to go on with the handshake.
    Blocked,
    /// It can be written to.
    Writable,
    /// Both sides have ended it.
    Over,
}

/// Feeds `$bytes` to a connection until it wants something from outside; how many bytes it has used
/// up, and what it wants. A macro, because the two connections share no trait.
macro_rules! drive {
    ($connection:expr, $bytes:expr, $encrypted:expr, $sink:expr, $ended:expr) => {{
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state } =
                $connection.process_tls_records(&mut $bytes[used..]);
            used += discard;
            let state = match state {
                Ok(state) => state,
                Err(error) => break (used, Err(error)),
            };
            match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    let mut more = 0;
                    while let Some(Ok(record)) = traffic.next_record() {
                        more += record.discard;
                        $sink.put(record.payload);
                    }
                    used += more;
                }
                ConnectionState::EncodeTlsData(data) => encode(data, &mut $encrypted),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::BlockedHandshake => break (used, Ok(Step::Blocked)),
                ConnectionState::WriteTraffic(_) => break (used, Ok(Step::Writable)),
                ConnectionState::PeerClosed => $ended = true,
                ConnectionState::Closed => break (used, Ok(Step::Over)),
                // Early data, which is never asked for: it can be replayed.
                _ => break (used, Ok(Step::Over)),
            }
        }
    }};
}

impl TlsStream {
    // Boxed from the start: a handshake waits, and what waits by value is moved from state to state.

    /// As a server: shakes hands over `carrier`, of which `first` bytes were read already.
    pub(crate) async fn accept(
        carrier: Carrier,
        config: Arc<ServerConfig>,
        first: Vec<u8>,
    ) -> io::Result<Box<Self>> {
        let connection = UnbufferedServerConnection::new(config).map_err(invalid)?;
        let stream = Self::new(carrier, Machine::Server(connection));
        Self::shake_hands(stream, first).await
    }

    /// As a client.
    pub(crate) async fn connect(
        carrier: Carrier,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Box<Self>> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
        let stream = Self::new(carrier, Machine::Client(connection));
        Self::shake_hands(stream, Vec::new()).await
    }

    fn new(carrier: Carrier, machine: Machine) -> Box<Self> {
        Box::new(Self {
            carrier,
            machine,
            incomplete: Vec::new(),
            plain: Vec::new(),
            taken: 0,
            encrypted: Vec::new(),
            sent: 0,
            ended: false,
            closed: false,
            failed: false,
        })
    }

    async fn shake_hands(mut stream: Box<Self>, first: Vec<u8>) -> io::Result<Box<Self>> {
        let mut first = Some(first);
        poll_fn(|cx| stream.poll_handshake(cx, &mut first)).await?;
        Ok(stream)
    }

    fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        first: &mut Option<Vec<u8>>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(mut bytes) = first.take() {
                self.process(&mut bytes, &mut [])?;
            }
            let server = matches!(self.machine, Machine::Server(_));
            if server && !self.state().is_handshaking() {
                // A ticket that is still to be sent goes with the first answer, in one write.
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_flush(cx))?;
            if !self.state().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_fill(cx, &mut [])) {
                Ok(Some(_)) => {}
                Ok(None) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The same over the carrier that this one becomes.
    pub(crate) fn over<C>(
        self,
        becomes: impl FnOnce(Carrier) -> io::Result<C>,
    ) -> io::Result<TlsStream<C>> {
        Ok(TlsStream {
            carrier: becomes(self.carrier)?,
            machine: self.machine,
            incomplete: self.incomplete,
            plain: self.plain,
            taken: self.taken,
            encrypted: self.encrypted,
            sent: self.sent,
            ended: self.ended,
            closed: self.closed,
            failed: self.failed,
        })
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> TlsStream<C> {
    /// What both sides have agreed on.
    pub(crate) fn state(&self) -> &CommonState {
        match &self.machine {
            Machine::Server(connection) => connection,
            Machine::Client(connection) => connection,
        }
    }

    /// Whether the peer is a server.
    pub(crate) fn is_client(&self) -> bool {
        matches!(self.machine, Machine::Client(_))
    }

    /// What it runs over.
    pub(crate) fn carrier(&self) -> &C {
        &self.carrier
    }

    /// What it runs over, to be told what happened to it.
    pub(crate) fn carrier_mut(&mut self) -> &mut C {
        &mut self.carrier
    }

    /// Feeds bytes that arrived, behind none that are incomplete; keeps what is left. Returns how
    /// many decrypted bytes went into `buffer`.
    fn process(&mut self, bytes: &mut [u8], buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut sink = Sink {
            buffer,
            filled: 0,
            rest: &mut self.plain,
        };
        let (used, step) = match &mut self.machine {
            Machine::Server(connection) => {
                drive!(connection, bytes, self.encrypted, sink, self.ended)
            }
            Machine::Client(connection) => {
                drive!(connection, bytes, self.encrypted, sink, self.ended)
            }
        };
        let filled = sink.filled;
        let left = &mut bytes[used..];
        if let Err(error) = step {
            return Err(self.fail(error, left));
        }
        if left.len() > INCOMPLETE_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // At rest there is nothing, and nothing is allocated.
        self.incomplete = left.to_vec();
        Ok(filled)
    }

    /// The connection has failed over what is `left`: the peer is told why, as far as it can be told at
    /// once. The machine is never asked again.
    fn fail(&mut self, error: rustls::Error, left: &mut [u8]) -> io::Error {
        self.failed = true;
        // Only what it has to say: what is left would make it fail anew.
        match &mut self.machine {
            Machine::Server(connection) => {
                while connection.wants_write()
                    && say(connection.process_tls_records(left), &mut self.encrypted)
                {
                }
            }
            Machine::Client(connection) => {
                while connection.wants_write()
                    && say(connection.process_tls_records(left), &mut self.encrypted)
                {
                }
            }
        }
        let mut context = Context::from_waker(std::task::Waker::noop());
        let _ = self.poll_flush(&mut context);
        invalid(error)
    }

    /// Reads once, and processes what came. `Ok(None)`: the carrier has ended.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Option<usize>>> {
        INCOMING.with_borrow_mut(|scratch| {
            let kept = self.incomplete.len();
            scratch.resize(scratch.len().max(kept + READ_LEN), 0);
            scratch[..kept].copy_from_slice(&self.incomplete);
            let mut read = ReadBuf::new(&mut scratch[kept..kept + READ_LEN]);
            ready!(Pin::new(&mut self.carrier).poll_read(cx, &mut read))?;
            let count = read.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(None));
            }
            let filled = self.process(&mut scratch[..kept + count], buffer)?;
            Poll::Ready(Ok(Some(filled)))
        })
    }

    /// Reads into `buffer`; 0 bytes is the end of the stream. A carrier that ends before the peer has
    /// said so is an error, `UnexpectedEof`.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if self.taken < self.plain.len() {
                return Poll::Ready(Ok(self.take(buffer)));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            // What the protocol itself has to say (tickets, key updates) waits for nobody's write,
            // and nobody's reading waits for it.
            let _ = self.poll_flush(cx)?;
            match ready!(self.poll_fill(cx, buffer))? {
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Some(0) => {}
                Some(filled) => return Poll::Ready(Ok(filled)),
            }
        }
    }

    /// Encrypts and sends some of `bytes`. What is encrypted but not taken by the carrier is kept:
    /// [`Self::poll_flush`] sends it. At most [`ENCRYPT_LEN`] bytes are kept so.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A ticket may be waiting for company; anything longer is a peer that does not read.
        if self.encrypted.len() - self.sent > ENCRYPT_LEN {
            ready!(self.poll_flush(cx))?;
        }
        let bytes = &bytes[..bytes.len().min(ENCRYPT_LEN)];
        self.settle()?;
        OUTGOING.with_borrow_mut(|scratch| {
            let waiting = self.encrypted.len() - self.sent;
            scratch.resize(scratch.len().max(waiting + ENCRYPT_LEN + OVERHEAD_MAX), 0);
            scratch[..waiting].copy_from_slice(&self.encrypted[self.sent..]);
            let out = &mut scratch[waiting..];
            let encrypted = self.with_traffic(|traffic| traffic.encrypt(bytes, out))?;
            let mut rest = &scratch[..waiting + encrypted];
            while !rest.is_empty() {
                match Pin::new(&mut self.carrier).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => rest = &rest[count..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            self.encrypted = rest.to_vec();
            self.sent = 0;
            Poll::Ready(Ok(bytes.len()))
        })
    }

    /// Lets the protocol say what it has to say, so that it can be written to. Most of the time that is
    /// nothing: what has come in was answered when it came.
    fn settle(&mut self) -> io::Result<()> {
        if !self.failed && !self.state().wants_write() {
            return Ok(());
        }
        let mut incomplete = std::mem::take(&mut self.incomplete);
        self.process(&mut incomplete, &mut []).map(drop)
    }

    /// Encrypts: to be called when the protocol has nothing to say for itself.
    fn with_traffic(
        &mut self,
        act: impl FnOnce(&mut dyn Traffic) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        let incomplete = &mut self.incomplete;
        let acted = match &mut self.machine {
            Machine::Server(connection) => match connection.process_tls_records(incomplete).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => act(&mut traffic),
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            },
            Machine::Client(connection) => match connection.process_tls_records(incomplete).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => act(&mut traffic),
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            },
        };
        acted.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Sends what is encrypted already.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.encrypted.len() {
            let rest = &self.encrypted[self.sent..];
            let count = ready!(Pin::new(&mut self.carrier).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        if self.sent > 0 {
            self.encrypted = Vec::new();
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more will be written: `close_notify`, then the end of the carrier.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed && !self.failed {
            self.closed = true;
            self.settle()?;
            let mut alert = [0; ALERT_LEN_MAX];
            let count = self.with_traffic(|traffic| traffic.queue_close_notify(&mut alert))?;
            self.encrypted.extend_from_slice(&alert[..count]);
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.carrier).poll_shutdown(cx)
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.plain[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.plain.len() {
            self.plain = Vec::new();
            self.taken = 0;
        }
        count
    }
}

/// Puts what the protocol has to say where it is sent from.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, encrypted: &mut Vec<u8>) {
    let at = encrypted.len();
    if let Err(EncodeError::InsufficientSize(short)) = data.encode(&mut []) {
        encrypted.resize(at + short.required_size, 0);
        // It fits now: that is the size it asked for.
        let _ = data.encode(&mut encrypted[at..]);
    }
}

/// One step of a failed connection: what it has to say is put down, what it has read is dropped.
/// `false` when it has nothing more.
fn say<Data>(status: UnbufferedStatus<'_, '_, Data>, encrypted: &mut Vec<u8>) -> bool {
    match status.state {
        Ok(ConnectionState::EncodeTlsData(data)) => {
            encode(data, encrypted);
            true
        }
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while traffic.next_record().is_some() {}
            true
        }
        _ => false,
    }
}

/// The ClientHello, by which the settings are chosen, as it comes in.
#[derive(Default)]
pub(super) struct Greeting {
    /// All that was read. It belongs to the handshake ([`TlsStream::accept`]).
    pub(super) bytes: Vec<u8>,
    /// What it was given so far, where the greeting does not come at once: that is seldom, and it is large.
    acceptor: Option<Box<Acceptor>>,
}

impl Greeting {
    /// Reads until the greeting is whole.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        carrier: &mut Carrier,
    ) -> Poll<io::Result<Accepted>> {
        loop {
            let before = self.bytes.len();
            let got = INCOMING.with_borrow_mut(|scratch| {
                scratch.resize(scratch.len().max(READ_LEN), 0);
                let mut read = ReadBuf::new(&mut scratch[..READ_LEN]);
                ready!(Pin::new(&mut *carrier).poll_read(cx, &mut read))?;
                self.bytes.extend_from_slice(read.filled());
                Poll::Ready(io::Result::Ok(()))
            });
            ready!(got)?;
            if self.bytes.len() == before {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            match self.parse(before) {
                Ok(Some(accepted)) => return Poll::Ready(Ok(accepted)),
                Ok(None) => {}
                Err((error, words)) => {
                    // Who speaks no TLS may not care for the reason, nor wait for it.
                    let _ = Pin::new(carrier).poll_write(cx, &words);
                    return Poll::Ready(Err(error));
                }
            }
            if self.bytes.len() > INCOMPLETE_MAX {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
    }

    /// Looks at what has come since. An error comes with what the client is told.
    fn parse(&mut self, before: usize) -> Result<Option<Accepted>, (io::Error, Vec<u8>)> {
        let silent = |error| (error, Vec::new());
        let mut fresh = &self.bytes[before..];
        let mut on_stack = Acceptor::default();
        let acceptor = self.acceptor.as_deref_mut().unwrap_or(&mut on_stack);
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh).map_err(silent)?;
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(Some(accepted)),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut words = Vec::new();
                    alert.write_all(&mut words).map_err(silent)?;
                    return Err((invalid(error), words));
                }
            }
        }
        if self.acceptor.is_none() {
            self.acceptor = Some(Box::new(on_stack));
        }
        Ok(None)
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
