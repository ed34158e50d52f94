//! Clients of the table: they send exactly what it says and write down what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::script::{Piece, Script, pattern};

/// How long a client waits for what the other side gave it: only a difference waits for all of it.
const PATIENCE: Duration = Duration::from_secs(8);

/// Bodies beyond this are shown by their length and sum.
const SHOWN_LEN_MAX: usize = 400;

/// Bytes as a line of text.
pub(crate) fn shown(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN_LEN_MAX {
        let sum = bytes.iter().fold(7_u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
        return format!("{} bytes, sum {sum:x}", bytes.len());
    }
    format!("\"{}\"", bytes.escape_ascii())
}

/// A head, a line each, fields indented.
pub(crate) fn head_lines(head: &str) -> Vec<String> {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let first = lines.next().unwrap_or_default();
    let fields = lines.map(|line| match line.split_once(": ") {
        // Drawn anew each time.
        Some((name, _)) if name.eq_ignore_ascii_case("retry-after") => format!("  {name}: <s>"),
        _ => format!("  {}", line.escape_debug()),
    });
    std::iter::once(first.escape_debug().to_string())
        .chain(fields)
        .collect()
}

/// A body as it was delimited.
pub(crate) enum Framed {
    /// There is none.
    None,
    /// It came whole.
    Whole {
        /// Its payload.
        body: Vec<u8>,
        /// Fields behind it.
        trailers: Vec<String>,
    },
    /// The connection ended in its middle, after this.
    Cut(Vec<u8>),
    /// Its framing is wrong.
    Invalid(String),
}

/// Reads from one side of a connection.
pub(crate) struct Reader {
    /// The connection.
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Reader {
    /// Over a connection.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Reads more; false at the end, however it came.
    async fn fill(&mut self) -> bool {
        let mut piece = [0; 16_384];
        match self.stream.read(&mut piece).await {
            Ok(len @ 1..) => {
                self.buffer.extend_from_slice(&piece[..len]);
                true
            }
            _ => false,
        }
    }

    /// Whether anything more comes.
    pub(crate) async fn has_more(&mut self) -> bool {
        !self.buffer.is_empty() || self.fill().await
    }

    /// What was read and not used.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Reads to the end.
    pub(crate) async fn all_of_it(&mut self) -> Vec<u8> {
        while self.fill().await {}
        self.rest()
    }

    /// Whether that comes next.
    pub(crate) async fn starts_with(&mut self, bytes: &[u8]) -> bool {
        loop {
            let len = bytes.len().min(self.buffer.len());
            if self.buffer[..len] != bytes[..len] {
                return false;
            }
            if len == bytes.len() {
                return true;
            }
            if !self.fill().await {
                return false;
            }
        }
    }

    /// A head with its empty line; `None` when the connection ends first.
    pub(crate) async fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            let at = self.buffer.windows(4).position(|at| at == b"\r\n\r\n");
            if let Some(at) = at {
                return Some(self.take(at + 4));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// A line without its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            let at = self.buffer.windows(2).position(|at| at == b"\r\n");
            if let Some(at) = at {
                let line = self.take(at + 2);
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// That many bytes.
    pub(crate) async fn exactly(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < len {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.take(len))
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(len);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// The body of a message with that head; `until_close`: what no framing means.
    pub(crate) async fn body(&mut self, head: &str, until_close: bool) -> Framed {
        if let Some(coding) = field(head, "transfer-encoding") {
            if !coding.to_ascii_lowercase().ends_with("chunked") {
                return Framed::Invalid(format!("transfer-encoding {coding}"));
            }
            return self.chunked().await;
        }
        let whole = |body| Framed::Whole {
            body,
            trailers: Vec::new(),
        };
        match field(head, "content-length") {
            Some(length) => match length.parse() {
                Ok(length) => match self.exactly(length).await {
                    Some(body) => whole(body),
                    None => Framed::Cut(self.rest()),
                },
                Err(_) => Framed::Invalid(format!("content-length {length}")),
            },
            None if until_close => whole(self.all_of_it().await),
            None => Framed::None,
        }
    }

    async fn chunked(&mut self) -> Framed {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.line().await else {
                return Framed::Cut(body);
            };
            let size = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                return Framed::Invalid(format!("chunk size {line:?}"));
            };
            if size == 0 {
                break;
            }
            let Some(data) = self.exactly(size + 2).await else {
                body.extend(self.rest());
                return Framed::Cut(body);
            };
            body.extend_from_slice(&data[..size]);
        }
        let mut trailers = Vec::new();
        loop {
            match self.line().await {
                None => return Framed::Cut(body),
                Some(line) if line.is_empty() => return Framed::Whole { body, trailers },
                Some(line) => trailers.push(line),
            }
        }
    }
}

/// The first value of a field.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// One connection of a client.
pub(crate) struct Client {
    reader: Reader,
    /// Whether the last response said that the connection ends.
    ends: bool,
    /// Whether its end was seen, or is ours.
    over: bool,
}

impl Client {
    /// Connects from that address.
    pub(crate) async fn open(to: SocketAddr, from: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind((from.parse::<std::net::Ipv4Addr>().unwrap(), 0).into())
            .unwrap();
        let stream = match socket.connect(to).await {
            Ok(stream) => stream,
            // Accepted and reset so soon that connecting itself tells: to the client it is closed.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => closed().await,
            Err(error) => panic!("connect to {to}: {error}"),
        };
        stream.set_nodelay(true).unwrap();
        Self {
            reader: Reader::new(stream),
            ends: false,
            over: false,
        }
    }

    /// Sends; the other side may have gone.
    pub(crate) async fn send(&mut self, script: &Script) {
        for piece in script {
            match piece {
                Piece::Bytes(bytes) => self.write(bytes).await,
                Piece::Fill(len) => self.write(&pattern(*len)).await,
                Piece::Wait(time) => tokio::time::sleep(*time).await,
                Piece::Half => {
                    self.reader.stream.shutdown().await.ok();
                }
                Piece::Close => {
                    self.reader.stream.shutdown().await.ok();
                    self.over = true;
                }
                Piece::Reset => {
                    self.reader.stream.set_zero_linger().ok();
                    self.over = true;
                }
                other => panic!("{other:?} is for nodes"),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        // A peer that has answered and reads no more must not hold up the case.
        let writing = self.reader.stream.write_all(bytes);
        timeout(Duration::from_secs(2), writing).await.ok();
    }

    /// Whether our end was to be the end of it.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// One final response, those before it included.
    pub(crate) async fn response(&mut self, method: &str, out: &mut Vec<String>) {
        if timeout(PATIENCE, self.read_response(method, out))
            .await
            .is_err()
        {
            let rest = self.reader.rest();
            out.push(format!("silence, after {}", shown(&rest)));
        }
    }

    async fn read_response(&mut self, method: &str, out: &mut Vec<String>) {
        loop {
            let Some(head) = self.reader.head().await else {
                let rest = self.reader.rest();
                out.push(match rest.is_empty() {
                    true => "closed without a response".into(),
                    false => format!("closed after {}", shown(&rest)),
                });
                self.over = true;
                return;
            };
            let head = String::from_utf8_lossy(&head).into_owned();
            let first = out.len();
            out.extend(head_lines(&head));
            let status = head.split([' ', '\r']).nth(1).unwrap_or_default();
            if status.starts_with('1') && status != "101" {
                continue;
            }
            self.ends = says_close(&head);
            let without = method == "HEAD" || ["101", "204", "304"].contains(&status);
            if !without {
                self.read_body(&head, out).await;
            }
            unify_page(&mut out[first..]);
            return;
        }
    }

    async fn read_body(&mut self, head: &str, out: &mut Vec<String>) {
        match self.reader.body(head, true).await {
            Framed::None => {}
            Framed::Whole { body, trailers } => {
                out.push(format!("  body {}", shown(&body)));
                for trailer in trailers {
                    out.push(format!("  trailer {trailer}"));
                }
            }
            Framed::Cut(body) => {
                out.push(format!("  body cut short after {}", shown(&body)));
                self.over = true;
            }
            Framed::Invalid(what) => out.push(format!("  bad body: {what}")),
        }
    }

    /// Exactly that many bytes.
    pub(crate) async fn bytes(&mut self, len: usize, out: &mut Vec<String>) {
        match timeout(PATIENCE, self.reader.exactly(len)).await {
            Ok(Some(bytes)) => out.push(format!("bytes {}", shown(&bytes))),
            Ok(None) => {
                let rest = self.reader.rest();
                out.push(format!("closed after {}", shown(&rest)));
                self.over = true;
            }
            Err(_) => {
                let rest = self.reader.rest();
                out.push(format!("silence, after {}", shown(&rest)));
            }
        }
    }

    /// The end of the connection, and what comes before it.
    pub(crate) async fn eof(&mut self, out: &mut Vec<String>) {
        self.over = true;
        match timeout(PATIENCE, self.reader.all_of_it()).await {
            Ok(rest) if rest.is_empty() => out.push("closed".into()),
            Ok(rest) => out.push(format!("closed after {}", shown(&rest))),
            Err(_) => {
                let rest = self.reader.rest();
                out.push(format!("not closed, after {}", shown(&rest)));
            }
        }
    }

    /// The end of a case: a connection that was said to end must do so.
    pub(crate) async fn finish(mut self, out: &mut Vec<String>) {
        if self.ends && !self.over {
            self.eof(out).await;
        }
    }
}

/// The pages that come with errors have the same titles and lengths, but words of their own; and
/// HAProxy writes the fields of some of them in other letters and another order than those of others.
fn unify_page(response: &mut [String]) {
    let Some(body) = response.last_mut() else {
        return;
    };
    let Some((title, _)) = body
        .strip_prefix("  body \"<html><body><h1>")
        .and_then(|rest| rest.split_once("</h1>\\n"))
    else {
        return;
    };
    *body = format!("  body <page {title}>");
    let fields = 1..response.len() - 1;
    for field in &mut response[fields.clone()] {
        if let Some((name, value)) = field.split_once(':') {
            *field = format!("{}:{value}", name.to_ascii_lowercase());
        }
    }
    response[fields].sort();
}

/// A connection whose other side has closed.
async fn closed() -> TcpStream {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    drop(listener.accept().await.unwrap());
    stream.unwrap()
}

/// Whether a response says that its connection ends.
fn says_close(head: &str) -> bool {
    let connection = field(head, "connection").unwrap_or_default();
    let connection = connection.to_ascii_lowercase();
    if head.starts_with("HTTP/1.0") {
        return !connection.contains("keep-alive");
    }
    connection.contains("close")
}
