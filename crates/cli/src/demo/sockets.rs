//! The demo's own WebSockets through the balancer: something to see, and the proof that those on
//! other nodes live on when a node dies.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Time between two echoes on a socket.
const ECHO_EVERY: Duration = Duration::from_secs(1);
/// Time before a lost socket connects again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// An echo or a connect that takes longer is a failure.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The name the demo's certificate is made for.
const SERVER_NAME: &str = "localhost";

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// How to reach the balancer through TLS, trusting the demo's certificate alone.
#[derive(Clone)]
pub(super) struct Door {
    address: SocketAddr,
    settings: Arc<ClientConfig>,
}

impl Door {
    /// To `address`, where `certificate` is shown.
    pub(super) fn new(address: SocketAddr, certificate: &rcgen::Certificate) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone())?;
        let settings = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            settings: Arc::new(settings),
        })
    }

    /// Connects, and reads the greeting: the socket and the id of the node behind it.
    async fn open(&self) -> Result<(Socket, String)> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(SERVER_NAME)?;
        let connector = TlsConnector::from(Arc::clone(&self.settings));
        let tls = connector.connect(name, tcp).await.context("TLS")?;
        let url = format!("wss://{SERVER_NAME}:{}/demo", self.address.port());
        let (mut socket, _) = client_async(url, tls).await.context("upgrade")?;
        let greeting = text(&mut socket).await.context("greeting")?;
        let greeting: serde_json::Value = serde_json::from_str(&greeting)?;
        let node = greeting["nodeId"].as_str().context("no nodeId")?;
        Ok((socket, node.to_owned()))
    }

    /// One WebSocket, one echo: how long the echo took, and which node sent it.
    pub(super) async fn try_once(&self) -> Result<(Duration, String)> {
        let (mut socket, node) = timeout(ANSWER_WITHIN, self.open())
            .await
            .context("no answer")??;
        let start = Instant::now();
        echo(&mut socket, "does it echo?").await?;
        let took = start.elapsed();
        socket.close(None).await.ok();
        Ok((took, node))
    }
}

async fn text(socket: &mut Socket) -> Result<String> {
    loop {
        match socket.next().await.context("the connection ended")?? {
            Message::Text(text) => return Ok(text.to_string()),
            Message::Close(frame) => anyhow::bail!("closed: {frame:?}"),
            _ => {}
        }
    }
}

async fn echo(socket: &mut Socket, sent: &str) -> Result<()> {
    let exchange = async {
        socket.send(Message::text(sent)).await?;
        text(socket).await
    };
    let back = timeout(ANSWER_WITHIN, exchange)
        .await
        .context("no echo")??;
    ensure!(back == sent, "{back:?} came back for {sent:?}");
    Ok(())
}

/// A socket that was cut.
#[derive(Debug)]
pub(super) struct Lost {
    /// The node it was on.
    pub(super) node: String,
    /// When that was seen.
    pub(super) at: Instant,
}

/// Which node each of the demo's sockets is on now.
#[derive(Clone, Default)]
pub(super) struct Sockets {
    nodes: Arc<Mutex<Vec<Option<String>>>>,
}

impl Sockets {
    /// Keeps `count` sockets open for ever; tells of each one that is cut.
    pub(super) fn keep_open(door: &Door, count: usize, lost: &mpsc::Sender<Lost>) -> Self {
        let sockets = Self {
            nodes: Arc::new(Mutex::new(vec![None; count])),
        };
        for number in 0..count {
            tokio::spawn(sockets.clone().keep_one(number, door.clone(), lost.clone()));
        }
        sockets
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.lock().iter().flatten().count()
    }

    async fn keep_one(self, number: usize, door: Door, lost: mpsc::Sender<Lost>) {
        loop {
            if let Ok((mut socket, node)) = door.open().await {
                self.lock()[number] = Some(node.clone());
                // Told at once when it is cut: waiting for the next echo would hide for how long.
                while echo(&mut socket, &format!("socket {number}")).await.is_ok() {
                    if timeout(ECHO_EVERY, socket.next()).await.is_ok() {
                        break;
                    }
                }
                self.lock()[number] = None;
                let at = Instant::now();
                if lost.send(Lost { node, at }).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }

    /// The list is whole after every statement, so a poisoned lock loses nothing.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<String>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
