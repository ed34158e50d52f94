//! A WebSocket client for tests, small enough that thousands fit into one process.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Bytes;
pub use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::http::{Client, Response};
use crate::stream::Stream;
use crate::wait::PATIENCE;

/// tungstenite's read buffer is 128 KiB unless told otherwise: 4,500 sockets would be 600 MB.
const READ_BUFFER_LEN: usize = 512;

/// Buffers for many sockets in one process.
pub(crate) fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_LEN)
        .write_buffer_size(0)
}

/// Where and how to connect.
#[derive(Clone)]
pub struct Target {
    /// Address of the balancer (or of a node).
    pub address: SocketAddr,
    /// TLS settings and server name.
    pub tls: Option<(Arc<rustls::ClientConfig>, String)>,
    /// Path of the upgrade request.
    pub path: String,
}

impl Target {
    /// Over TCP, path `/`.
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            tls: None,
            path: "/".into(),
        }
    }

    /// Over TLS for `localhost`, path `/`.
    pub fn tls(address: SocketAddr, authority: &crate::Authority) -> Self {
        Self {
            tls: Some((authority.client_config(), "localhost".into())),
            ..Self::plain(address)
        }
    }
}

/// The bytes of a good upgrade request with that key.
pub fn upgrade_request(path: &str, key: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    socket: WebSocketStream<Stream>,
}

impl WebSocket {
    /// Connects and upgrades. An error tells what came instead of a good 101.
    pub async fn open(target: &Target) -> Result<Self> {
        let opening = Self::open_slowly(target);
        timeout(PATIENCE, opening).await.context("no 101 in time")?
    }

    async fn open_slowly(target: &Target) -> Result<Self> {
        let stream = match &target.tls {
            None => Stream::plain(target.address).await,
            Some((settings, name)) => {
                Stream::tls_with(target.address, Arc::clone(settings), name).await
            }
        };
        let mut client = Client::over(stream.context("connect")?);
        let key = generate_key();
        client.try_send(upgrade_request(&target.path, &key)).await?;
        let response = client.response().await?;
        check_switched(&response, &key)?;
        Ok(Self::over(client).await)
    }

    /// Over a connection on which a good 101 has just been read.
    pub async fn over(client: Client) -> Self {
        let (stream, early) = client.into_parts();
        let config = Some(small_buffers());
        let socket =
            WebSocketStream::from_partially_read(stream, early, Role::Client, config).await;
        Self { socket }
    }

    /// Opens, and reads the node's greeting: the socket and the node's id.
    pub async fn open_greeted(target: &Target) -> Result<(Self, String)> {
        let mut socket = Self::open(target).await?;
        let greeting = socket.text().await.context("greeting")?;
        let greeting: serde_json::Value = serde_json::from_str(&greeting)?;
        let node = greeting["nodeId"].as_str().context("nodeId in greeting")?;
        Ok((socket, node.to_owned()))
    }

    /// Sends one message.
    pub async fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.socket.send(message).await?)
    }

    /// The next message that is not a ping or pong.
    pub async fn message(&mut self) -> Result<Message> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(message) => return Ok(message?),
                    None => bail!("the stream ended"),
                }
            }
        };
        timeout(PATIENCE, next)
            .await
            .context("no message in time")?
    }

    /// The next message, which must be text.
    pub async fn text(&mut self) -> Result<String> {
        match self.message().await? {
            Message::Text(text) => Ok(text.to_string()),
            other => bail!("{other:?} instead of text"),
        }
    }

    /// Sends text and awaits it back.
    pub async fn echo(&mut self, text: &str) -> Result<()> {
        self.send(Message::text(text)).await?;
        let back = self.text().await?;
        ensure!(back == text, "{back:?} came back for {text:?}");
        Ok(())
    }

    /// Sends bytes and awaits them back.
    pub async fn echo_bytes(&mut self, bytes: Vec<u8>) -> Result<()> {
        let bytes = Bytes::from(bytes);
        self.send(Message::Binary(bytes.clone())).await?;
        match self.message().await? {
            Message::Binary(back) if back == bytes => Ok(()),
            other => bail!("{} other bytes came back", other.len()),
        }
    }

    /// A ping and its pong, past everything else.
    pub async fn ping(&mut self, payload: &'static [u8]) -> Result<()> {
        self.send(Message::Ping(Bytes::from_static(payload)))
            .await?;
        let pong = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Pong(back))) if back == payload => return Ok(()),
                    Some(Ok(_)) => {}
                    other => bail!("{other:?} instead of a pong"),
                }
            }
        };
        timeout(PATIENCE, pong).await.context("no pong in time")?
    }

    /// A Close of ours and the answer to it: the code in the answer, if any, and a proper end.
    pub async fn close(mut self) -> Result<Option<u16>> {
        let frame = CloseFrame {
            code: 1000.into(),
            reason: "done".into(),
        };
        self.socket.close(Some(frame)).await?;
        self.ended().await
    }

    /// Reads to the end: the code of the Close frame, `None` without one. An error is a cut.
    pub async fn ended(&mut self) -> Result<Option<u16>> {
        let reading = async {
            let mut code = None;
            while let Some(message) = self.socket.next().await {
                if let Message::Close(Some(frame)) = message? {
                    code = Some(frame.code.into());
                }
            }
            Ok(code)
        };
        timeout(PATIENCE, reading)
            .await
            .context("the WebSocket did not end in time")?
    }

    /// The socket underneath.
    pub fn stream(&self) -> &Stream {
        self.socket.get_ref()
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.socket.into_inner().reset();
    }
}

fn check_switched(response: &Response, key: &str) -> Result<()> {
    ensure!(
        response.status == 101,
        "{} {:?} instead of 101",
        response.head.start,
        response.text()
    );
    let accept = response.head.get("sec-websocket-accept");
    ensure!(
        accept == Some(derive_accept_key(key.as_bytes()).as_str()),
        "Sec-WebSocket-Accept {accept:?}"
    );
    let upgrade = response.head.get("upgrade").unwrap_or_default();
    ensure!(
        upgrade.eq_ignore_ascii_case("websocket"),
        "upgrade: {upgrade:?}"
    );
    Ok(())
}
