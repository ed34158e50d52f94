//! A scripted WSUpdates service: tells the truth, or lies in every way seen in the field.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::{JoinHandle, JoinSet};

use crate::http::{Head, Reader};
use crate::{Node, Port, ports};

/// The key this service wants in `X-API-Key`.
pub const API_KEY: &str = "testkit-secret-key";

/// How the service answers `GET /nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The list, in an order that changes at each call.
    List,
    /// The list, after that long.
    Slow(Duration),
    /// `[]`.
    Empty,
    /// 200 with a page for people.
    Html,
    /// 200 with a valid list of that many bytes, blown up with padding entries.
    Huge(usize),
    /// 401, as if the key were wrong.
    Unauthorized,
    /// 500 with an error object.
    ServerError,
    /// A `Content-Length` that is not kept.
    Truncated,
    /// 200 with a JSON object.
    NotAnArray,
    /// 200 with 100,000 opening brackets.
    NestedBomb,
    /// 302 to itself.
    Redirect,
    /// Reads the request and closes.
    HangUp,
    /// Reads the request and keeps silent.
    Silence,
    /// 200 with exactly this body.
    Body(String),
}

struct Shared {
    nodes: Mutex<Vec<(Value, Value)>>,
    answer: Mutex<Answer>,
    requests: Mutex<Vec<Head>>,
    /// Bytes for every stream; `None`: no streams are offered. Nothing to send cuts them.
    events: Mutex<Option<broadcast::Sender<Option<String>>>>,
    stream_requests: Mutex<Vec<Head>>,
}

/// Events that a stream may lag behind.
const EVENTS_MAX: usize = 1024;

/// A running (or stopped) service. Stops when dropped.
pub struct Discovery {
    shared: Arc<Shared>,
    port: Port,
    task: Option<JoinHandle<()>>,
}

impl Discovery {
    /// Starts a service that lists `nodes`.
    pub async fn start(nodes: &[&Node]) -> Self {
        let mut discovery = Self::stopped(nodes);
        discovery.restart().await;
        discovery
    }

    /// A service that is down from the start.
    pub fn stopped(nodes: &[&Node]) -> Self {
        let shared = Shared {
            nodes: Mutex::default(),
            answer: Mutex::new(Answer::List),
            requests: Mutex::default(),
            events: Mutex::default(),
            stream_requests: Mutex::default(),
        };
        let discovery = Self {
            shared: Arc::new(shared),
            port: Port::claim(),
            task: None,
        };
        discovery.list(nodes);
        discovery
    }

    /// Listens (again), on the same port.
    pub async fn restart(&mut self) {
        let listener = ports::listen(&self.port).await;
        self.task = Some(tokio::spawn(accept_all(listener, Arc::clone(&self.shared))));
    }

    /// Stops listening and closes every connection.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            task.await.ok();
        }
    }

    /// The base URL, for `WS_UPDATES_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What to set so that a balancer asks here every 200 ms.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("WS_UPDATES_URL", self.url()),
            ("API_KEY", API_KEY.to_owned()),
            ("UPDATE_INTERVAL", "200ms".to_owned()),
        ]
    }

    /// Lists these nodes from now on.
    pub fn list(&self, nodes: &[&Node]) {
        let entries = nodes
            .iter()
            .map(|node| (json!(node.id()), json!(node.url())));
        *self.shared.nodes.lock().unwrap() = entries.collect();
    }

    /// Adds one entry as it is, however hostile.
    pub fn add_entry(&self, id: impl Into<Value>, url: impl Into<Value>) {
        let entry = (id.into(), url.into());
        self.shared.nodes.lock().unwrap().push(entry);
    }

    /// Changes how it answers.
    pub fn set_answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// Offers events from now on to whoever asks for them.
    pub fn offer_events(&self) {
        let (sender, _) = broadcast::channel(EVENTS_MAX);
        *self.shared.events.lock().unwrap() = Some(sender);
    }

    /// Writes this to every stream, as it is.
    pub fn send_events(&self, text: &str) {
        self.tell(Some(text.to_owned()));
    }

    /// Sends the list as an event of that id.
    pub fn send_list(&self, id: &str) {
        let list = self.shared.list_json();
        self.send_events(&format!("id: {id}\ndata: {list}\n\n"));
    }

    /// Closes every stream.
    pub fn cut_streams(&self) {
        self.tell(None);
    }

    fn tell(&self, text: Option<String>) {
        if let Some(sender) = &*self.shared.events.lock().unwrap() {
            // Nobody may be listening.
            sender.send(text).ok();
        }
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        let events = self.shared.events.lock().unwrap();
        events.as_ref().map_or(0, broadcast::Sender::receiver_count)
    }

    /// Heads of all requests for events so far, whether there were any.
    pub fn stream_requests(&self) -> Vec<Head> {
        self.shared.stream_requests.lock().unwrap().clone()
    }

    /// Heads of all requests for the list so far.
    pub fn requests(&self) -> Vec<Head> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How often the list was asked for.
    pub fn fetches(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                serving.spawn(async move { serve(tcp, &shared).await });
            }
            Some(_) = serving.join_next() => {}
        }
    }
}

async fn serve(mut tcp: TcpStream, shared: &Shared) -> Result<()> {
    let mut reader = Reader::default();
    while let Some(head) = reader.head(&mut tcp).await? {
        if head.get("accept") == Some("text/event-stream") {
            shared.stream_requests.lock().unwrap().push(head.clone());
            let events = shared
                .events
                .lock()
                .unwrap()
                .as_ref()
                .map(broadcast::Sender::subscribe);
            if let Some(events) = events {
                return stream(tcp, events).await;
            }
            tcp.write_all(shared.render(&Answer::List).as_bytes())
                .await?;
            continue;
        }
        shared.requests.lock().unwrap().push(head.clone());
        let answer = shared.answer.lock().unwrap().clone();
        let authorized = head.get("x-api-key") == Some(API_KEY);
        match answer {
            Answer::HangUp => return Ok(()),
            Answer::Silence => std::future::pending().await,
            Answer::Slow(time) => tokio::time::sleep(time).await,
            _ => {}
        }
        let response = if head.word(1) != "/nodes" {
            reply("404 Not Found", "text/html", "<html>404</html>")
        } else if !authorized || answer == Answer::Unauthorized {
            reply(
                "401 Unauthorized",
                "application/json",
                r#"{"error":"Invalid API key"}"#,
            )
        } else {
            shared.render(&answer)
        };
        tcp.write_all(response.as_bytes()).await?;
        if let Answer::Huge(len) = answer {
            write_huge(&mut tcp, len).await?;
        }
        if answer == Answer::Truncated {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes events until there are no more, or their reader has left.
async fn stream(mut tcp: TcpStream, mut events: broadcast::Receiver<Option<String>>) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    tcp.write_all(head.as_bytes()).await?;
    let (mut reading, mut writing) = tcp.split();
    let mut scrap = [0; 64];
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(Some(text)) => writing.write_all(text.as_bytes()).await?,
                Ok(None) | Err(_) => return Ok(()),
            },
            read = reading.read(&mut scrap) => if read? == 0 {
                return Ok(());
            },
        }
    }
}

impl Shared {
    fn render(&self, answer: &Answer) -> String {
        let list = self.list_json();
        let ok = |body: &str| reply("200 OK", "application/json; charset=utf-8", body);
        match answer {
            Answer::Empty => ok("[]"),
            Answer::Html => reply("200 OK", "text/html", "<html><h1>It works!</h1></html>"),
            // Its body is written behind it, piece by piece.
            Answer::Huge(len) => reply_head("200 OK", "application/json", *len),
            Answer::ServerError => reply(
                "500 Internal Server Error",
                "application/json",
                r#"{"error":"Failed to fetch nodes"}"#,
            ),
            Answer::Truncated => {
                let whole = ok(&list);
                whole[..whole.len() - list.len() / 2].to_owned()
            }
            Answer::NotAnArray => ok(&format!(r#"{{"nodes":{list}}}"#)),
            Answer::NestedBomb => ok(&"[".repeat(100_000)),
            Answer::Redirect => {
                "HTTP/1.1 302 Found\r\nLocation: /nodes\r\nContent-Length: 0\r\n\r\n".to_owned()
            }
            Answer::Body(body) => ok(body),
            Answer::List
            | Answer::Slow(_)
            | Answer::Unauthorized
            | Answer::HangUp
            | Answer::Silence => ok(&list),
        }
    }

    /// As the Node.js service: `last_seen` is new each time, and the order means nothing.
    fn list_json(&self) -> String {
        let calls = self.requests.lock().unwrap().len();
        let mut nodes = self.nodes.lock().unwrap().clone();
        let turn = calls % nodes.len().max(1);
        nodes.rotate_left(turn);
        let seen = format!("2026-01-01 00:{:02}:{:02}", calls / 60 % 60, calls % 60);
        let entries = nodes.into_iter().map(|(id, url)| {
            json!({"id": id, "url": url, "status": "active", "last_seen": seen,
                   "created_at": "2026-01-01 00:00:00"})
        });
        Value::Array(entries.collect()).to_string()
    }
}

/// A list of `len` bytes with one entry, nearly all of it padding.
async fn write_huge(tcp: &mut TcpStream, len: usize) -> Result<()> {
    let start = r#"[{"id":"huge","url":"http://127.0.0.1:1","status":"active","padding":""#;
    let end = r#""}]"#;
    tcp.write_all(start.as_bytes()).await?;
    let piece = vec![b'x'; 65_536];
    let mut left = len - start.len() - end.len();
    while left > 0 {
        let now = left.min(piece.len());
        tcp.write_all(&piece[..now]).await?;
        left -= now;
        // The nodes of a test share its thread.
        tokio::task::yield_now().await;
    }
    Ok(tcp.write_all(end.as_bytes()).await?)
}

fn reply(status: &str, kind: &str, body: &str) -> String {
    reply_head(status, kind, body.len()) + body
}

fn reply_head(status: &str, kind: &str, len: usize) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nETag: W/\"{len}\"\r\n\
         Connection: keep-alive\r\nContent-Length: {len}\r\n\r\n"
    )
}
