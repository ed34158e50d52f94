//! Nodes that answer what the table says, and write down what they got.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use testkit::Port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client::{Framed, Reader, shown};
use crate::script::{Piece, Script, pattern};

/// The nodes of a group, of one side.
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    shared: Arc<Mutex<Shared>>,
}

struct Node {
    name: String,
    port: Port,
    task: Option<JoinHandle<()>>,
}

/// What the nodes of one side know.
#[derive(Default)]
struct Shared {
    /// What they answer: of all, and of those with answers of their own. The last one stays.
    scripts: BTreeMap<Option<String>, VecDeque<Script>>,
    health: BTreeMap<String, Script>,
    /// What they got in this case, in the order in which it began.
    seen: Vec<Seen>,
    /// The first check that each got.
    checks: BTreeMap<String, String>,
    /// Connections that are in the middle of something.
    busy: usize,
    /// Connections of this case, for their numbers.
    connections: usize,
    /// Counts cases, so that connections of earlier ones are known.
    case: usize,
}

/// One request, or one connection that was no HTTP.
struct Seen {
    node: String,
    connection: String,
    lines: Vec<String>,
}

/// Requests to this path are checks: they come when they like.
const CHECK_PATH: &str = "/check";

impl Nodes {
    /// Claims ports for `n1` to `n{count}`, and listens on those not in `stopped`.
    pub(crate) async fn start(count: usize, stopped: &[String]) -> Self {
        let shared = Arc::default();
        let mut nodes = Vec::new();
        for number in 1..=count {
            nodes.push(Node {
                name: format!("n{number}"),
                port: Port::claim(),
                task: None,
            });
        }
        let mut nodes = Self { nodes, shared };
        for number in 1..=count {
            let name = format!("n{number}");
            if !stopped.contains(&name) {
                nodes.listen(&name).await;
            }
        }
        nodes
    }

    /// Names and addresses.
    pub(crate) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let nodes = self.nodes.iter();
        nodes
            .map(|node| (node.name.clone(), node.port.address()))
            .collect()
    }

    /// A node listens.
    pub(crate) async fn listen(&mut self, name: &str) {
        let shared = Arc::clone(&self.shared);
        let node = self.node(name);
        if node.task.is_some() {
            return;
        }
        let address = node.port.address();
        // A child that is being started may hold the old socket for a moment.
        let listener = testkit::wait_until("the port of a node", testkit::PATIENCE, async || {
            TcpListener::bind(address).await
        });
        let accepting = accept_all(listener.await, name.to_owned(), shared);
        node.task = Some(tokio::spawn(accepting));
    }

    /// It stops, and its connections with it.
    pub(crate) async fn stop(&mut self, name: &str) {
        if let Some(task) = self.node(name).task.take() {
            task.abort();
            task.await.ok();
        }
    }

    fn node(&mut self, name: &str) -> &mut Node {
        let mut nodes = self.nodes.iter_mut();
        let found = nodes.find(|node| node.name == name);
        found.unwrap_or_else(|| panic!("there is no node {name}"))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// A case begins, with these answers.
    pub(crate) fn begin(&self, answers: &[(Option<String>, Script)]) {
        let mut shared = self.shared();
        shared.case += 1;
        shared.connections = 0;
        shared.seen.clear();
        shared.scripts.clear();
        for (who, script) in answers {
            let queue = shared.scripts.entry(who.clone()).or_default();
            queue.push_back(script.clone());
        }
    }

    /// From now on they answer this.
    pub(crate) fn replace(&self, who: &Option<String>, script: &Script) {
        let queue = VecDeque::from([script.clone()]);
        self.shared().scripts.insert(who.clone(), queue);
    }

    /// What a node answers to checks.
    pub(crate) fn set_health(&self, name: &str, answer: &Script) {
        let mut shared = self.shared();
        shared.health.insert(name.to_owned(), answer.clone());
    }

    /// How many requests came in this case.
    pub(crate) fn requests(&self) -> usize {
        self.shared().seen.len()
    }

    /// The first check of a node, if one came.
    pub(crate) fn first_check(&self, name: &str) -> Option<String> {
        self.shared().checks.get(name).cloned()
    }

    /// Whether no connection is in the middle of something.
    pub(crate) fn at_rest(&self) -> bool {
        self.shared().busy == 0
    }

    /// What they got in this case.
    pub(crate) fn seen(&self, with_connections: bool) -> Vec<String> {
        let shared = self.shared();
        let mut lines = Vec::new();
        for seen in &shared.seen {
            let connection = match with_connections {
                true => format!(" ({})", seen.connection),
                false => String::new(),
            };
            for line in &seen.lines {
                lines.push(format!("{}{connection} {line}", seen.node));
            }
        }
        lines
    }
}

impl Shared {
    /// What a node answers next.
    fn script(&mut self, node: &str) -> Script {
        let own = Some(node.to_owned());
        let key = if self.scripts.contains_key(&own) {
            own
        } else {
            None
        };
        match self.scripts.get_mut(&key) {
            Some(queue) if queue.len() > 1 => queue.pop_front().unwrap_or_default(),
            Some(queue) => queue.front().cloned().unwrap_or_default(),
            None => Vec::new(),
        }
    }

    fn is_raw(&self, node: &str) -> bool {
        let own = self.scripts.get(&Some(node.to_owned()));
        let queue = own.or_else(|| self.scripts.get(&None));
        let script = queue.and_then(VecDeque::front);
        script.is_some_and(|script| script.first() == Some(&Piece::Raw))
    }
}

async fn accept_all(listener: TcpListener, name: String, shared: Arc<Mutex<Shared>>) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                stream.set_nodelay(true).ok();
                let (case, number) = {
                    let mut shared = shared.lock().unwrap();
                    shared.connections += 1;
                    (shared.case, shared.connections)
                };
                let connection = Connection {
                    reader: Reader::new(stream),
                    node: name.clone(),
                    shared: Arc::clone(&shared),
                    case,
                    number,
                };
                serving.spawn(connection.serve());
            }
            Some(_) = serving.join_next() => {}
        }
    }
}

/// In the middle of something for as long as it lives.
struct Busy(Arc<Mutex<Shared>>);

impl Busy {
    fn new(shared: &Arc<Mutex<Shared>>) -> Self {
        shared.lock().unwrap().busy += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().unwrap().busy -= 1;
    }
}

/// One connection to a node.
struct Connection {
    reader: Reader,
    node: String,
    shared: Arc<Mutex<Shared>>,
    case: usize,
    number: usize,
}

/// Whether a connection goes on.
type Goes = bool;

impl Connection {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    async fn serve(mut self) {
        // A connection whose first byte never comes is a check or an idle one: it was nothing.
        if self.shared().is_raw(&self.node) {
            let _busy = Busy::new(&self.shared);
            self.raw().await;
            return;
        }
        while self.reader.has_more().await {
            let _busy = Busy::new(&self.shared);
            if !self.request().await {
                return;
            }
        }
    }

    /// Writes down that something began; its index among what was seen.
    fn note(&self, lines: Vec<String>) -> usize {
        let mut shared = self.shared();
        let connection = if shared.case == self.case {
            format!("connection {}", self.number)
        } else {
            "an earlier connection".into()
        };
        shared.seen.push(Seen {
            node: self.node.clone(),
            connection,
            lines,
        });
        shared.seen.len() - 1
    }

    fn add(&self, index: usize, line: String) {
        // A case may have ended meanwhile.
        if let Some(seen) = self.shared().seen.get_mut(index) {
            seen.lines.push(line);
        }
    }

    async fn raw(&mut self) {
        let index = self.note(vec!["a connection".into()]);
        let script = self.shared().script(&self.node);
        self.play(&script, index, "").await;
    }

    async fn request(&mut self) -> Goes {
        let mut lines = self.proxy_header().await;
        let Some(head) = self.reader.head().await else {
            let rest = self.reader.rest();
            lines.push(format!("half a request: {}", shown(&rest)));
            self.note(lines);
            return false;
        };
        let text = String::from_utf8_lossy(&head).into_owned();
        if text.split(' ').nth(1) == Some(CHECK_PATH) {
            return self.check(&text).await;
        }
        lines.extend(crate::client::head_lines(&text));
        let index = self.note(lines);
        let script = self.shared().script(&self.node);
        let late = [Piece::Early, Piece::Body];
        let reads_late = script.iter().any(|piece| late.contains(piece));
        let mut body = Vec::new();
        if !reads_late {
            match self.body(&text, index).await {
                Some(read) => body = read,
                None => return false,
            }
        }
        let script = if script.is_empty() {
            usual(&text)
        } else {
            script
        };
        let script = fill_in(script, &text, &body);
        let goes = self.play(&script, index, &text).await;
        if goes && reads_late && !script.contains(&Piece::Body) {
            return self.body(&text, index).await.is_some() && keeps(&text);
        }
        goes && keeps(&text)
    }

    /// Reads the body and writes it down; `None` where it was cut short.
    async fn body(&mut self, head: &str, index: usize) -> Option<Vec<u8>> {
        match self.reader.body(head, false).await {
            Framed::None => Some(Vec::new()),
            Framed::Whole { body, trailers } => {
                self.add(index, format!("  body {}", shown(&body)));
                for trailer in trailers {
                    self.add(index, format!("  trailer {trailer}"));
                }
                Some(body)
            }
            Framed::Cut(_) => {
                self.add(index, "  body cut short".into());
                None
            }
            Framed::Invalid(what) => {
                self.add(index, format!("  bad body: {what}"));
                None
            }
        }
    }

    async fn check(&mut self, head: &str) -> Goes {
        let answer = {
            let mut shared = self.shared();
            let node = self.node.clone();
            let lines = crate::client::head_lines(head).join("\n");
            shared.checks.entry(node.clone()).or_insert(lines);
            shared.health.get(&node).cloned()
        };
        let answer = answer.unwrap_or_else(|| usual(head));
        let goes = self.play(&answer, usize::MAX, head).await;
        goes && keeps(head)
    }

    /// What stands before the first request on a connection with PROXY protocol.
    async fn proxy_header(&mut self) -> Vec<String> {
        const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
        if self.reader.starts_with(b"PROXY ").await {
            let line = self.reader.line().await.unwrap_or_default();
            return vec![proxy_v1(&line)];
        }
        if !self.reader.starts_with(V2).await {
            return Vec::new();
        }
        let Some(head) = self.reader.exactly(16).await else {
            return vec!["half a PROXY header".into()];
        };
        let len = usize::from(u16::from_be_bytes([head[14], head[15]]));
        let rest = self.reader.exactly(len).await.unwrap_or_default();
        vec![proxy_v2(head[12], head[13], &rest)]
    }

    /// Plays a script; whether the connection goes on.
    async fn play(&mut self, script: &Script, index: usize, head: &str) -> Goes {
        for piece in script {
            let written = match piece {
                Piece::Bytes(bytes) => self.write(bytes).await,
                Piece::Fill(len) => self.write(&pattern(*len)).await,
                Piece::Wait(time) => {
                    tokio::time::sleep(*time).await;
                    true
                }
                Piece::Close => return false,
                Piece::Half => self.reader.stream.shutdown().await.is_ok(),
                Piece::Reset => {
                    self.reader.stream.set_zero_linger().ok();
                    return false;
                }
                Piece::Hang => {
                    self.reader.all_of_it().await;
                    return false;
                }
                Piece::Body => self.body(head, index).await.is_some(),
                Piece::Tunnel => {
                    self.tunnel(index).await;
                    return false;
                }
                Piece::Take(len) => {
                    let taken = self.reader.exactly(*len).await;
                    self.add(
                        index,
                        format!("  bytes {}", shown(&taken.unwrap_or_default())),
                    );
                    true
                }
                Piece::All => {
                    let all = self.reader.all_of_it().await;
                    self.add(index, format!("  bytes to the end {}", shown(&all)));
                    true
                }
                Piece::Early | Piece::Raw | Piece::Echo | Piece::Accept => true,
            };
            if !written {
                return false;
            }
        }
        script.first() != Some(&Piece::Raw)
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        self.reader.stream.write_all(bytes).await.is_ok()
    }

    /// Sends back what comes until the other side closes.
    async fn tunnel(&mut self, index: usize) {
        let mut all = self.reader.rest();
        if !all.is_empty() && !self.write(&all.clone()).await {
            return;
        }
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = self.reader.stream.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..len]);
            if !self.write(&buffer[..len]).await {
                break;
            }
        }
        self.add(index, format!("  tunnel {}", shown(&all)));
    }
}

/// Whether the node keeps a connection after that request.
fn keeps(head: &str) -> bool {
    let lower = head.to_ascii_lowercase();
    !lower.contains("\r\nconnection: close\r\n")
}

/// What a node answers when nobody says.
fn usual(head: &str) -> Script {
    let body = if head.starts_with("HEAD ") { "" } else { "ok" };
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
    vec![Piece::Bytes(text.into())]
}

/// Puts the request's body and key where the script asks for them.
fn fill_in(script: Script, head: &str, body: &[u8]) -> Script {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim())
    });
    let filled = script.into_iter().map(|piece| match piece {
        Piece::Echo => Piece::Bytes(body.to_vec()),
        Piece::Accept => {
            let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
            Piece::Bytes(accept.into_bytes())
        }
        other => other,
    });
    filled.collect()
}

/// `PROXY TCP4 src dst sport dport`, with addresses as everywhere else, so that ports get masked.
fn proxy_v1(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", family, src, dst, sport, dport] => {
            format!("PROXY v1 {family} {src}:{sport} {dst}:{dport}")
        }
        _ => format!("PROXY v1 {line:?}"),
    }
}

/// The binary header, readable.
fn proxy_v2(version: u8, family: u8, rest: &[u8]) -> String {
    let start = format!("PROXY v2 {version:02x} {family:02x}");
    if family >> 4 != 1 || rest.len() < 12 {
        return format!("{start} {}", shown(rest));
    }
    let ip = |at: usize| {
        format!(
            "{}.{}.{}.{}",
            rest[at],
            rest[at + 1],
            rest[at + 2],
            rest[at + 3]
        )
    };
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let more = shown(&rest[12..]);
    format!(
        "{start} {}:{} {}:{} {more}",
        ip(0),
        port(8),
        ip(4),
        port(10)
    )
}
