//! A client of the load generator: HTTP or WebSocket, plain or through TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{frames, node};

/// The name in the certificate.
pub(crate) const NAME: &str = "bench.test";

/// Any key does: the accept value is checked against it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Where to connect, and how.
#[derive(Clone)]
pub(crate) struct Target {
    /// The proxy.
    pub(crate) address: SocketAddr,
    /// TLS, and whether its sessions must be resumed (`Some(true)`) or full (`Some(false)`).
    pub(crate) tls: Option<Tls>,
}

/// TLS of a target.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    resumed: bool,
}

impl Tls {
    /// The same with a memory of its own for sessions: a ticket is good for one connection, and those
    /// who share a memory take them from each other.
    pub(crate) fn with_own_sessions(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        if self.resumed {
            config.resumption = Resumption::in_memory_sessions(8);
        }
        Self {
            config: Arc::new(config),
            resumed: self.resumed,
        }
    }

    /// Trusts `authority` alone. With `resumed`, sessions are resumed where the proxy lets us. The key
    /// exchange is X25519, which everybody can, unless `post_quantum` asks for more first.
    pub(crate) fn new(
        authority: &CertificateDer<'static>,
        resumed: bool,
        post_quantum: bool,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let mut provider = aws_lc_rs::default_provider();
        if !post_quantum {
            // P-256 is named for the certificate's sake: TLS 1.2 asks for its curve here, too.
            provider.kx_groups = vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1];
        }
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = if resumed {
            Resumption::in_memory_sessions(64)
        } else {
            Resumption::disabled()
        };
        Ok(Self {
            config: Arc::new(config),
            resumed,
        })
    }
}

/// A byte stream to a proxy.
trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// One connection.
pub(crate) struct Client {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
    /// Whether its TLS session was resumed.
    pub(crate) resumed: bool,
}

impl Client {
    /// Connects, with TLS where the target has it.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let tcp = TcpStream::connect(target.address).await?;
        tcp.set_nodelay(true)?;
        let Some(tls) = &target.tls else {
            return Ok(Self::over(Box::new(tcp), false));
        };
        let name = ServerName::try_from(NAME)?;
        let connector = TlsConnector::from(tls.config.clone());
        let stream = connector
            .connect(name, tcp)
            .await
            .context("TLS handshake")?;
        let kind = stream.get_ref().1.handshake_kind();
        let resumed = kind == Some(HandshakeKind::Resumed);
        Ok(Self::over(Box::new(stream), resumed))
    }

    fn over(stream: Box<dyn Io>, resumed: bool) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            resumed,
        }
    }

    /// Connects and opens a WebSocket.
    pub(crate) async fn open(target: &Target, path: &str) -> Result<Self> {
        let mut client = Self::connect(target).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {NAME}\r\nUser-Agent: bench\r\nOrigin: https://{NAME}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        client.stream.write_all(request.as_bytes()).await?;
        let head = client.read_head().await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "no 101 but {head}");
        let accept = node::field(&head, "sec-websocket-accept");
        ensure!(
            accept == Some(&node::accept(KEY)),
            "a wrong accept value: {head}"
        );
        client.buffer.shrink_to_fit();
        Ok(client)
    }

    /// Whether the session was resumed or not as the target wants it.
    pub(crate) fn is_as_wanted(&self, target: &Target) -> bool {
        target
            .tls
            .as_ref()
            .is_none_or(|tls| tls.resumed == self.resumed)
    }

    async fn read_head(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Ok(String::from_utf8(head)?);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the proxy closed the connection");
        }
        Ok(())
    }

    /// Sends a message and waits for its echo, which must be the same to the byte.
    pub(crate) async fn echo(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        frames::write(payload, Some(frames::MASK), out);
        self.stream.write_all(out).await?;
        self.receive(payload).await
    }

    /// Waits for a message, which must be this one.
    pub(crate) async fn receive(&mut self, expected: &[u8]) -> Result<()> {
        loop {
            if let Some(frame) = frames::first(&self.buffer) {
                let got = &self.buffer[frame.start..frame.end];
                ensure!(got == expected, "another message came than was sent");
                self.buffer.drain(..frame.end);
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// One request and its whole answer.
    pub(crate) async fn get(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        let head = self.read_head().await?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "no 200 but {head}");
        let length = node::field(&head, "content-length");
        let length: usize = length.context("an answer without a length")?.parse()?;
        while self.buffer.len() < length {
            self.fill().await?;
        }
        ensure!(self.buffer == node::BODY, "another body came than was sent");
        self.buffer.clear();
        Ok(())
    }

    /// What has come, or comes next, `length` bytes at most.
    pub(crate) async fn read_piece(&mut self, length: usize) -> Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.buffer.reserve(length);
            self.fill().await?;
        }
        let length = length.min(self.buffer.len());
        Ok(self.buffer.drain(..length).collect())
    }

    /// Sends bytes as they are.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// One request, and all that comes until the end of the connection.
    pub(crate) async fn get_all(mut self, path: &str) -> Result<String> {
        let request = format!("GET {path} HTTP/1.0\r\nHost: {NAME}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        while self.stream.read_buf(&mut self.buffer).await? > 0 {}
        Ok(String::from_utf8(self.buffer)?)
    }
}

/// A request for `path` that looks like a browser's.
pub(crate) fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {NAME}\r\nUser-Agent: Mozilla/5.0 (bench)\r\nAccept: */*\r\n\
         Accept-Encoding: gzip, br\r\nAccept-Language: en\r\nCookie: session=0123456789abcdef\r\n\r\n"
    )
    .into_bytes()
}
