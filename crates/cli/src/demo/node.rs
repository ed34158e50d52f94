//! `tidegate demo-node`: one WebSocket node of the demo, as a process of its own.
//!
//! It keeps the contract of the nodes tidegate is made for: HTTP and WebSocket on one port,
//! `GET /health`, a `connected` frame first, `subscribe`, `POST /broadcast` with the key in the
//! body. Beyond it, `GET /` shows a page to play with, text and binary are echoed, and a client
//! may `publish` to a channel on all nodes. Not for production: nothing is authenticated but
//! broadcasts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::announce;

/// Frames waiting for one slow subscriber; more are dropped for it alone.
const OUTBOX_MAX: usize = 64;
/// Channels one client may subscribe to.
const SUBSCRIPTIONS_MAX: usize = 16;
/// Longest channel name.
const CHANNEL_LEN_MAX: usize = 64;
/// Longest body of `POST /broadcast`.
const BODY_LEN_MAX: usize = 64 * 1024;
/// tungstenite's own default is 128 KiB a socket.
const READ_BUFFER_LEN: usize = 4096;

/// The page at `/`.
const PAGE: &str = include_str!("page.html");

/// What `demo-node` is told.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Its id in the registry.
    pub(super) id: String,
    /// Where it listens.
    pub(super) listen: IpAddr,
    /// The URL it announces; where it listens unless given.
    pub(super) announced: Option<String>,
    /// Its port; 0 lets the kernel choose.
    pub(super) port: u16,
    /// Where to announce itself, `http://ip:port`; nowhere without it.
    pub(super) registry: Option<String>,
    /// The key of the registry and of broadcasts.
    pub(super) key: String,
    /// Whether the end of standard input ends the node: it must not outlive the demo.
    pub(super) ends_with_stdin: bool,
}

/// A node: who listens to what, and what it has counted.
struct Node {
    settings: Settings,
    started: Instant,
    clients: Mutex<HashMap<u64, Client>>,
    next_client: AtomicU64,
    subscriptions_total: AtomicU64,
    broadcasts_total: AtomicU64,
}

/// One open WebSocket.
struct Client {
    outbox: mpsc::Sender<String>,
    channels: Vec<String>,
}

/// Runs until the process is ended.
pub(super) async fn run(settings: Settings) -> Result<()> {
    let listener = TcpListener::bind((settings.listen, settings.port))
        .await
        .with_context(|| format!("listen on port {}", settings.port))?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    if settings.ends_with_stdin {
        std::thread::spawn(end_with_stdin);
    }
    let node = Arc::new(Node::new(settings));
    if let Some(registry) = node.settings.registry.clone() {
        let node = Arc::clone(&node);
        let url = node.settings.announced.clone();
        let url = url.unwrap_or_else(|| format!("http://{address}"));
        tokio::spawn(async move {
            announce::for_ever(&registry, &node.settings.id, &url, &node.settings.key).await;
        });
    }
    loop {
        // An error here is a client that left, or too many descriptors: the next may do.
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tcp.set_nodelay(true).ok();
        let node = Arc::clone(&node);
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(
                TokioIo::new(tcp),
                service_fn(move |request| {
                    let node = Arc::clone(&node);
                    async move { Ok::<_, Infallible>(node.answer(request).await) }
                }),
            )
            .with_upgrades();
        tokio::spawn(serving);
    }
}

/// The demo holds the other end of this pipe: its end is the demo's end, however that came.
fn end_with_stdin() {
    let mut nothing = [0; 64];
    while let Ok(1..) = std::io::stdin().read(&mut nothing) {}
    std::process::exit(0);
}

impl Node {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            started: Instant::now(),
            clients: Mutex::default(),
            next_client: AtomicU64::new(1),
            subscriptions_total: AtomicU64::new(0),
            broadcasts_total: AtomicU64::new(0),
        }
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let asks = request.headers().contains_key(header::UPGRADE);
        if let (true, Some(key)) = (asks, request.headers().get(header::SEC_WEBSOCKET_KEY)) {
            let accept = derive_accept_key(key.as_bytes());
            return self.switch(request, &accept);
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/") => page(),
            (&Method::GET | &Method::HEAD, "/health") => reply(StatusCode::OK, &self.health()),
            (&Method::POST, "/broadcast") => self.broadcast_request(request).await,
            _ => reply(StatusCode::NOT_FOUND, &json!({"error": "Not found"})),
        }
    }

    fn health(&self) -> Value {
        let clients = lock(&self.clients);
        json!({
            "nodeId": self.settings.id,
            "status": "healthy",
            "uptime": self.started.elapsed().as_secs(),
            "timestamp": now_ms(),
            "metrics": {
                "clients": {
                    "total": clients.len(),
                    "totalSubscriptions": self.subscriptions_total.load(Ordering::Relaxed),
                },
                "broadcasts": {"total": self.broadcasts_total.load(Ordering::Relaxed)},
            },
        })
    }

    async fn broadcast_request(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = Limited::new(request.into_body(), BODY_LEN_MAX)
            .collect()
            .await;
        let body = body.map(http_body_util::Collected::to_bytes);
        let Some(body) = body.ok().and_then(|body| parse_object(&body)) else {
            return reply(
                StatusCode::BAD_REQUEST,
                &json!({"error": "JSON is required"}),
            );
        };
        if body["apiKey"].as_str() != Some(self.settings.key.as_str()) {
            return reply(StatusCode::UNAUTHORIZED, &json!({"error": "Unauthorized"}));
        }
        let (Some(channel), false) = (body["channel"].as_str(), body["message"].is_null()) else {
            let error = json!({"error": "Channel and message are required"});
            return reply(StatusCode::BAD_REQUEST, &error);
        };
        let delivered = self.deliver(channel, &body["message"]);
        if body["origin"].is_null() {
            self.pass_on(channel, &body["message"]);
        }
        let answer = json!({
            "success": true, "nodeId": self.settings.id, "delivered": delivered,
        });
        reply(StatusCode::OK, &answer)
    }

    /// To this node's own subscribers; how many.
    fn deliver(&self, channel: &str, message: &Value) -> usize {
        self.broadcasts_total.fetch_add(1, Ordering::Relaxed);
        let frame = json!({
            "type": "message", "channel": channel, "message": message,
            "nodeId": self.settings.id, "timestamp": now_ms(),
        });
        let frame = frame.to_string();
        let clients = lock(&self.clients);
        let subscribed = |client: &&Client| client.channels.iter().any(|known| known == channel);
        let delivered = clients
            .values()
            .filter(subscribed)
            .filter(|client| client.outbox.try_send(frame.clone()).is_ok());
        delivered.count()
    }

    /// To the other nodes, in the background; a node that cannot be reached misses it.
    fn pass_on(&self, channel: &str, message: &Value) {
        let Some(registry) = self.settings.registry.clone() else {
            return;
        };
        let (id, key) = (self.settings.id.clone(), self.settings.key.clone());
        let body = json!({
            "channel": channel, "message": message, "apiKey": key, "origin": id,
        });
        tokio::spawn(async move {
            announce::tell_others(&registry, &id, &key, "/broadcast", body.to_string()).await;
        });
    }

    fn switch(self: &Arc<Self>, request: Request<Incoming>, accept: &str) -> Response<Full<Bytes>> {
        let node = Arc::clone(self);
        let upgraded = hyper::upgrade::on(request);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgraded.await {
                // The end of a client is nobody's error here; the balancer tells how it ended.
                node.serve(TokioIo::new(upgraded)).await.ok();
            }
        });
        let switching = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, accept)
            .body(Full::default());
        switching.expect("constant fields and base64 make a head")
    }

    /// One WebSocket, from its greeting to its end.
    async fn serve(&self, upgraded: TokioIo<hyper::upgrade::Upgraded>) -> Result<()> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_LEN)
            .write_buffer_size(0);
        let mut socket =
            WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
        let number = self.next_client.fetch_add(1, Ordering::Relaxed);
        let (outbox, mut inbox) = mpsc::channel(OUTBOX_MAX);
        let client = Client {
            outbox,
            channels: Vec::new(),
        };
        lock(&self.clients).insert(number, client);
        let _here = Here { node: self, number };
        let greeting = json!({
            "type": "connected", "clientId": format!("{}-{number}", self.settings.id),
            "nodeId": self.settings.id, "timestamp": now_ms(),
        });
        socket.send(Message::text(greeting.to_string())).await?;
        loop {
            tokio::select! {
                received = socket.next() => match received {
                    None => return Ok(()),
                    Some(message) => {
                        if let Some(answer) = self.react(number, message?) {
                            socket.send(answer).await?;
                        }
                    }
                },
                Some(frame) = inbox.recv() => socket.send(Message::text(frame)).await?,
            }
        }
    }

    /// What a client's message is answered.
    fn react(&self, number: u64, message: Message) -> Option<Message> {
        match message {
            Message::Text(text) => {
                let command = parse_object(text.as_bytes());
                let answer = command.and_then(|command| self.obey(number, &command));
                // Whatever is no command of ours is echoed.
                Some(answer.map_or(Message::Text(text), |answer| {
                    Message::text(answer.to_string())
                }))
            }
            Message::Binary(_) => Some(message),
            _ => None,
        }
    }

    fn obey(&self, number: u64, command: &Value) -> Option<Value> {
        match command["type"].as_str()? {
            "subscribe" => Some(self.subscribe(number, command["channel"].as_str())),
            "publish" => {
                let channel = command["channel"].as_str()?;
                self.deliver(channel, &command["message"]);
                self.pass_on(channel, &command["message"]);
                Some(json!({"type": "published", "channel": channel}))
            }
            _ => None,
        }
    }

    fn subscribe(&self, number: u64, channel: Option<&str>) -> Value {
        let invalid = json!({"type": "error", "message": "Invalid channel"});
        let Some(channel) = channel.filter(|name| (1..=CHANNEL_LEN_MAX).contains(&name.len()))
        else {
            return invalid;
        };
        let mut clients = lock(&self.clients);
        let Some(client) = clients.get_mut(&number) else {
            return invalid;
        };
        let known = client.channels.iter().any(|known| known == channel);
        if !known && client.channels.len() >= SUBSCRIPTIONS_MAX {
            return json!({"type": "error", "message": "Too many channels"});
        }
        if !known {
            client.channels.push(channel.to_owned());
            self.subscriptions_total.fetch_add(1, Ordering::Relaxed);
        }
        json!({"type": "subscribed", "channel": channel, "nodeId": self.settings.id})
    }
}

/// Strikes a client off the list when its WebSocket ends, however it ends.
struct Here<'a> {
    node: &'a Node,
    number: u64,
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        lock(&self.node.clients).remove(&self.number);
    }
}

/// A list of clients is whole after every statement, so a poisoned lock loses nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn parse_object(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value.is_object().then_some(value)
}

fn page() -> Response<Full<Bytes>> {
    let mut page = Response::new(Full::from(PAGE));
    let kind = header::HeaderValue::from_static("text/html; charset=utf-8");
    page.headers_mut().insert(header::CONTENT_TYPE, kind);
    page
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::from(body.to_string()));
    *reply.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}

fn now_ms() -> u128 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.unwrap_or_default().as_millis()
}

/// The address a node printed when it started.
pub(super) fn parse_listening(line: &str) -> Option<SocketAddr> {
    line.trim().strip_prefix("listening on ")?.parse().ok()
}
