//! The node behind every proxy: echoes WebSocket messages, answers HTTP with a body of 1 KiB, and
//! sends to all subscribers on demand. It runs on the generator's thread.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use anyhow::{Context, Result};
use base64::Engine as _;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::frames;

/// What a `GET` gets.
pub(crate) const BODY: &[u8] = &[b'x'; 1024];

/// Where nodes and proxies listen: any free port of an address from which no connection is made. Ports of
/// connections that were just closed are taken for a minute, by the ten thousand, and none would be free
/// to listen on; nor can a connection to a port where nothing listens yet come from that same port.
pub(crate) const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 9), 0);

/// One read; larger messages take several.
const READ_LEN: usize = 64 * 1024;

/// The connections of those who listen to what is published.
type Subscribers = Rc<RefCell<Vec<Rc<TcpStream>>>>;

/// A node on some ports of this machine.
pub(crate) struct Node {
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
    subscribers: Subscribers,
    sunk: Rc<Cell<usize>>,
    listening: Vec<JoinHandle<()>>,
}

impl Drop for Node {
    /// Thousands of nodes are as many descriptors, which the next run needs.
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    /// Listens on `count` ports that the kernel chooses.
    pub(crate) async fn start(count: usize) -> Result<Self> {
        let (subscribers, sunk) = (Subscribers::default(), Rc::new(Cell::new(0)));
        let mut addresses = Vec::with_capacity(count);
        let mut listening = Vec::with_capacity(count);
        for _ in 0..count {
            let listener = TcpListener::bind(LISTEN).await?;
            addresses.push(listener.local_addr()?);
            let (subscribers, sunk) = (subscribers.clone(), sunk.clone());
            listening.push(tokio::task::spawn_local(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (subscribers, sunk) = (subscribers.clone(), sunk.clone());
                    // Whoever is served tells of failures: the generator counts what comes back.
                    tokio::task::spawn_local(async move {
                        let _ = serve(stream, subscribers, sunk).await;
                    });
                }
            }));
        }
        Ok(Self {
            addresses,
            subscribers,
            sunk,
            listening,
        })
    }

    /// Bytes of huge messages that came so far, all as they should be.
    pub(crate) fn sunk(&self) -> usize {
        self.sunk.get()
    }

    /// How many subscribe now.
    pub(crate) fn subscriber_count(&self) -> usize {
        self.subscribers.borrow().len()
    }

    /// Sends one message to every subscriber.
    pub(crate) async fn publish(&self, payload: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(frames::framed_len(payload.len()));
        frames::write(payload, None, &mut frame);
        let subscribers = self.subscribers.borrow().clone();
        for stream in subscribers {
            let mut rest = frame.as_slice();
            while !rest.is_empty() {
                match stream.try_write(rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        stream.writable().await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

async fn serve(
    mut stream: TcpStream,
    subscribers: Subscribers,
    sunk: Rc<Cell<usize>>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let Some(key) = field(&head, "sec-websocket-key") else {
            stream.write_all(&answer()).await?;
            continue;
        };
        let switch = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept(key)
        );
        stream.write_all(switch.as_bytes()).await?;
        if head.starts_with("GET /subscribe") {
            return keep_subscribed(stream, &subscribers).await;
        }
        if head.starts_with("GET /flood") {
            return flood(stream).await;
        }
        if head.starts_with("GET /sink") {
            return sink(stream, buffer, &sunk).await;
        }
        return echo(stream, buffer).await;
    }
}

/// The head of a request, taken out of `buffer`; `None` at the end.
pub(crate) async fn read_head(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8(head)?));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The value of a header field of a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim())
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).
pub(crate) fn accept(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    base64::engine::general_purpose::STANDARD.encode(digest)
}

fn answer() -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        BODY.len()
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(BODY);
    bytes
}

/// Holds its place until the client goes.
async fn keep_subscribed(stream: TcpStream, subscribers: &Subscribers) -> Result<()> {
    let stream = Rc::new(stream);
    subscribers.borrow_mut().push(stream.clone());
    let mut sink = [0; 256];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut sink) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    subscribers
        .borrow_mut()
        .retain(|other| !Rc::ptr_eq(other, &stream));
    Ok(())
}

/// Bytes that a greedy connection moves in one turn: the others of this thread are not to wait.
const GREEDY_PIECE: usize = 64 * 1024;

/// Sends huge messages without end.
async fn flood(mut stream: TcpStream) -> Result<()> {
    let frame = frames::huge(None);
    loop {
        for piece in frame.chunks(GREEDY_PIECE) {
            stream.write_all(piece).await?;
            tokio::task::yield_now().await;
        }
    }
}

/// Takes huge messages without end.
async fn sink(mut stream: TcpStream, mut pending: Vec<u8>, sunk: &Cell<usize>) -> Result<()> {
    let frame = frames::huge(Some(frames::MASK));
    let mut taken = 0;
    loop {
        frames::check_repeated(&frame, taken, &pending)?;
        taken += pending.len();
        sunk.set(sunk.get() + pending.len());
        pending.clear();
        pending.reserve(GREEDY_PIECE);
        tokio::task::yield_now().await;
        if stream.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
    }
}

thread_local! {
    /// What every connection reads into: an idle one must not cost the generator's memory either.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_LEN]);
}

/// Sends every message back, unmasked.
async fn echo(mut stream: TcpStream, mut pending: Vec<u8>) -> Result<()> {
    let mut out = Vec::new();
    loop {
        if pending.is_empty() {
            pending = Vec::new();
            stream.readable().await?;
        }
        let read = SCRATCH.with_borrow_mut(|scratch| match stream.try_read(scratch) {
            Ok(count) => {
                pending.extend_from_slice(&scratch[..count]);
                Ok(Some(count))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        })?;
        match read {
            Some(0) => return Ok(()),
            Some(_) => {}
            None => stream.readable().await?,
        }
        let mut used = 0;
        while let Some(frame) = frames::first(&pending[used..]) {
            if frame.closes {
                return Ok(());
            }
            let mask = frame.mask.context("a client's frame is masked")?;
            let payload = &mut pending[used + frame.start..used + frame.end];
            frames::apply_mask(mask, payload);
            frames::write(payload, None, &mut out);
            used += frame.end;
        }
        pending.drain(..used);
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
    }
}
