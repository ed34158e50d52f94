//! A scripted node: HTTP and WebSocket on one port, as the nodes of a fleet, but with a temper.
//!
//! It keeps every byte it receives before an upgrade, exactly as received: what a test asserts
//! about "nothing ambiguous reaches a node" is asserted on those bytes. What is answered to which
//! path is in `answer`.

mod answer;

pub use answer::pattern;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::http::Head;
use crate::stream::Stream;
use crate::{Authority, Port, ports};

/// Bytes kept of one connection; a test that sends more looks at counters instead.
const RECORD_LEN_MAX: usize = 1 << 20;

/// How a node treats what is not a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Temper {
    /// Answers as the path asks (see `answer`), accepts every upgrade, echoes.
    Normal,
    /// Reads the request and keeps silent until its temper changes.
    Hang,
    /// Waits that long, then is [`Temper::Normal`].
    Slow(Duration),
    /// Reads the request, then RST.
    ResetBeforeResponse,
    /// Reads the request, then FIN.
    CloseBeforeResponse,
    /// HTTP: half a body, then RST. WebSocket: on the first message half a frame, then RST.
    ResetMidMessage,
    /// Accepts upgrades with a text frame `early` glued behind the 101.
    EarlyBytes,
    /// Answers exactly these bytes, and keeps reading (and recording) after.
    Exactly(Vec<u8>),
    /// Answers exactly these bytes, and closes.
    ExactlyThenClose(Vec<u8>),
    /// Answers exactly these bytes, then RST.
    ExactlyThenReset(Vec<u8>),
    /// As [`Temper::Normal`] for the first request of a connection; closes on the second one, as if
    /// its keep-alive time had ended at that moment.
    OneAnswer,
}

impl Temper {
    /// Answers what is no HTTP at all.
    pub fn garbage() -> Self {
        Self::ExactlyThenClose(b"\x15\x03\x01\x00\x02\x02\x28 what is this\r\n\r\n".to_vec())
    }

    /// Answers with a header of 100 kB.
    pub fn huge_header() -> Self {
        let value = "x".repeat(100_000);
        Self::ExactlyThenClose(
            format!("HTTP/1.1 200 OK\r\nX-Huge: {value}\r\nContent-Length: 0\r\n\r\n").into(),
        )
    }

    /// Answers every request with a 101 whose `Sec-WebSocket-Accept` is `accept`.
    pub fn switches_with(accept: &str) -> Self {
        Self::Exactly(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .into(),
        )
    }

    /// Answers with that status, an empty body, and keeps the connection.
    pub fn status(status: u16) -> Self {
        Self::Exactly(format!("HTTP/1.1 {status} Scripted\r\nContent-Length: 0\r\n\r\n").into())
    }
}

/// How a node treats `GET /health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// This status, at once.
    Status(u16),
    /// 200 at once, and the connection stays open until the other side closes it.
    HoldOpen,
    /// No answer until its health changes.
    Hang,
}

/// What a node counts and keeps.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: String,
    pub(crate) temper: watch::Sender<Temper>,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) requests: Mutex<Vec<Head>>,
    pub(crate) health_checks: AtomicUsize,
    pub(crate) websockets: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) in_flight_max: AtomicUsize,
    records: Mutex<Vec<Arc<Record>>>,
    connections: AtomicUsize,
    reset_on_drop: AtomicBool,
}

/// The bytes of one connection up to its upgrade.
#[derive(Debug, Default)]
pub(crate) struct Record {
    bytes: Mutex<Vec<u8>>,
    stopped: AtomicBool,
}

impl Record {
    fn is_health_check(&self) -> bool {
        let bytes = self.bytes.lock().unwrap();
        bytes.is_empty() || bytes.windows(8).take(16).any(|at| at == b" /health")
    }
}

/// A running (or stopped) node. Stops when dropped.
pub struct Node {
    shared: Arc<Shared>,
    port: Port,
    tls: Option<TlsAcceptor>,
    task: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node on a free port.
    pub async fn start(id: &str) -> Self {
        Self::start_with(id, None).await
    }

    /// Starts a node that speaks TLS, with a certificate for `localhost` and `127.0.0.1`.
    pub async fn start_tls(id: &str, authority: &Authority) -> Self {
        Self::start_tls_as(id, authority, &["localhost", "127.0.0.1"]).await
    }

    /// The same with a certificate for `names`.
    pub async fn start_tls_as(id: &str, authority: &Authority, names: &[&str]) -> Self {
        let settings = authority.server_config(names);
        Self::start_with(id, Some(TlsAcceptor::from(settings))).await
    }

    /// The same with these settings.
    pub async fn start_tls_with(id: &str, settings: Arc<rustls::ServerConfig>) -> Self {
        Self::start_with(id, Some(TlsAcceptor::from(settings))).await
    }

    /// Starts `count` nodes: `node1`, `node2`, ….
    pub async fn start_many(count: usize) -> Vec<Self> {
        let mut nodes = Vec::with_capacity(count);
        for number in 1..=count {
            nodes.push(Self::start(&format!("node{number}")).await);
        }
        nodes
    }

    async fn start_with(id: &str, tls: Option<TlsAcceptor>) -> Self {
        let shared = Shared {
            id: id.to_owned(),
            temper: watch::Sender::new(Temper::Normal),
            health: watch::Sender::new(Health::Status(200)),
            requests: Mutex::default(),
            health_checks: AtomicUsize::default(),
            websockets: AtomicUsize::default(),
            in_flight: AtomicUsize::default(),
            in_flight_max: AtomicUsize::default(),
            records: Mutex::default(),
            connections: AtomicUsize::default(),
            reset_on_drop: AtomicBool::default(),
        };
        let mut node = Self {
            shared: Arc::new(shared),
            port: Port::claim(),
            tls,
            task: None,
        };
        node.restart().await;
        node
    }

    /// Listens again after [`Node::stop`], on the same port.
    pub async fn restart(&mut self) {
        self.shared.reset_on_drop.store(false, Ordering::Relaxed);
        let listener = ports::listen(&self.port).await;
        let accepting = accept_all(listener, Arc::clone(&self.shared), self.tls.clone());
        self.task = Some(tokio::spawn(accepting));
    }

    /// Stops listening and closes every connection with FIN (RST where bytes were left unread).
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            task.await.ok();
        }
    }

    /// Stops listening and closes every connection with RST.
    pub async fn crash(&mut self) {
        self.shared.reset_on_drop.store(true, Ordering::Relaxed);
        self.stop().await;
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL as nodes announce themselves.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    /// Changes its temper, for requests under way with [`Temper::Hang`] too.
    pub fn set_temper(&self, temper: Temper) {
        self.shared.temper.send_replace(temper);
    }

    /// Changes what health checks are answered.
    pub fn set_health(&self, health: Health) {
        self.shared.health.send_replace(health);
    }

    /// Heads of all requests but health checks, in order of arrival.
    pub fn requests(&self) -> Vec<Head> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Health checks since start.
    pub fn health_checks(&self) -> usize {
        self.shared.health_checks.load(Ordering::Relaxed)
    }

    /// Connections since start, those of health checks included.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Open WebSockets.
    pub fn websockets(&self) -> usize {
        self.shared.websockets.load(Ordering::Relaxed)
    }

    /// The most requests that were under way at once.
    pub fn in_flight_max(&self) -> usize {
        self.shared.in_flight_max.load(Ordering::Relaxed)
    }

    /// Bytes received before any upgrade, one item a connection, health checks left out.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let records = self.shared.records.lock().unwrap();
        let traffic = records.iter().filter(|record| !record.is_health_check());
        traffic
            .map(|record| record.bytes.lock().unwrap().clone())
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, _)) = accepted else { continue };
                tcp.set_nodelay(true).ok();
                serving.spawn(secure_and_serve(tcp, Arc::clone(&shared), tls.clone()));
            }
            Some(_) = serving.join_next() => {}
        }
    }
}

async fn secure_and_serve(
    tcp: tokio::net::TcpStream,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
) {
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let stream = match tls {
        None => Stream::Plain(tcp),
        Some(acceptor) => match acceptor.accept(tcp).await {
            Ok(tls) => Stream::Tls(Box::new(TlsStream::Server(tls))),
            Err(_) => return,
        },
    };
    let record = Arc::new(Record::default());
    shared.records.lock().unwrap().push(Arc::clone(&record));
    let watched = Watched {
        stream,
        record,
        shared: Arc::clone(&shared),
    };
    // How a connection ends is for the test to assert on its other side.
    answer::serve(watched, &shared).await.ok();
}

/// A connection that is recorded, and that resets instead of closing when its node crashes.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: Stream,
    record: Arc<Record>,
    shared: Arc<Shared>,
}

impl Watched {
    /// From here on bytes are a tunnel's and not kept.
    fn stop_recording(&self) {
        self.record.stopped.store(true, Ordering::Relaxed);
    }

    /// The next close is a RST.
    fn reset_on_close(&self) {
        self.stream.tcp().set_zero_linger().ok();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.shared.reset_on_drop.load(Ordering::Relaxed) {
            self.reset_on_close();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if !self.record.stopped.load(Ordering::Relaxed) {
            let mut bytes = self.record.bytes.lock().unwrap();
            let room = RECORD_LEN_MAX - bytes.len();
            let new = &buffer.filled()[before..];
            bytes.extend_from_slice(&new[..new.len().min(room)]);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
