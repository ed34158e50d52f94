//! Requests and responses of checks (manual 4.2, "http-check send").

use config::model::{CheckText, HttpSend};
use routing::health::CheckCode;
use wire::h1::{self, BodyReader, BodyStep, HeadScanner, Limits, Parsed};
use wire::head::{Method, ResponseHead};

use super::facts::Context;
use super::sequence::{ANSWER_MAX, Finding, explain};
use crate::buffer::{Buffer, BufferPool};
use crate::io;
use crate::server::Target;

/// A response: its head, and its body as far as it was needed.
pub(super) struct Response {
    pub(super) head: ResponseHead,
    pub(super) body: Vec<u8>,
    /// `None`: nothing more comes.
    reader: Option<BodyReader>,
}

impl Response {
    pub(super) fn new(head: ResponseHead) -> Self {
        let length = h1::response_body(&head, &Method::GET).ok();
        Self {
            head,
            body: Vec::new(),
            reader: length.map(BodyReader::new),
        }
    }

    /// Whether nothing more comes, or is looked at.
    pub(super) fn is_whole(&self) -> bool {
        let done = self.reader.as_ref().is_none_or(BodyReader::is_done);
        done || self.body.len() >= ANSWER_MAX
    }

    /// Takes all of the body that is in the buffer, or waits for more: to its end by its own framing,
    /// or to the node's. All at once, since what it is searched for is searched for after each call,
    /// and a node may send chunks of a byte.
    pub(super) async fn read(
        &mut self,
        stream: &io::Shared<'_>,
        buffer: &mut Buffer,
        pool: &BufferPool,
    ) {
        if buffer.bytes().is_empty() && !matches!(io::fill(stream, buffer, pool).await, Ok(1..)) {
            self.reader = None;
        }
        self.take(buffer, pool);
    }

    fn take(&mut self, buffer: &mut Buffer, pool: &BufferPool) {
        while !self.is_whole() {
            let Some(reader) = &mut self.reader else {
                return;
            };
            let used = match reader.next(buffer.bytes()) {
                Ok(BodyStep::Data { start, end }) => {
                    self.body.extend_from_slice(&buffer.bytes()[start..end]);
                    end
                }
                Ok(BodyStep::Skip(count)) => count,
                Ok(BodyStep::End { consumed, .. }) => consumed,
                Ok(BodyStep::NeedMore) => return,
                Err(_) => {
                    self.reader = None;
                    return;
                }
            };
            buffer.consume(used, pool);
        }
    }
}

/// Reads the head of the final answer.
pub(super) async fn read_head(
    stream: &io::Shared<'_>,
    buffer: &mut Buffer,
    pool: &BufferPool,
) -> Result<ResponseHead, Finding> {
    let invalid = |info: String| Finding::new(CheckCode::Layer7Response, info);
    let limits = Limits {
        head_bytes_max: ANSWER_MAX,
        fields_max: 101,
        lenient: false,
    };
    let mut scanner = HeadScanner::new();
    loop {
        let full = buffer.is_full(pool);
        if full || scanner.is_worth_parsing(buffer.bytes(), &limits) {
            match h1::parse_response(buffer.bytes(), &limits) {
                Ok(Parsed::Complete { head, consumed }) => {
                    buffer.consume(consumed, pool);
                    scanner = HeadScanner::new();
                    if !head.is_interim() {
                        return Ok(head);
                    }
                    continue;
                }
                Ok(Parsed::Partial) if full => {
                    return Err(invalid("the head of the answer is too large".into()));
                }
                Ok(Parsed::Partial) => {}
                Err(rejected) => return Err(invalid(rejected.reason.to_string())),
            }
        }
        match io::fill(stream, buffer, pool).await {
            Ok(0) => {
                return Err(invalid(
                    "connection closed before the answer was whole".into(),
                ));
            }
            Ok(_) => {}
            Err(error) => return Err(invalid(explain(&error))),
        }
    }
}

/// The bytes of a request.
pub(super) fn request(
    request: &HttpSend,
    target: &Target,
    context: &Context<'_>,
    state: bool,
) -> Vec<u8> {
    let text = |text: &CheckText| match text {
        CheckText::Fixed(text) => text.as_bytes().to_vec(),
        CheckText::Format(format) => context.text(format),
    };
    let mut uri = text(&request.uri);
    // What a format makes may be anything; a request line has three parts.
    uri.retain(|byte| *byte > b' ');
    if uri.is_empty() {
        uri.push(b'/');
    }
    let mut bytes = request.method.as_bytes().to_vec();
    bytes.push(b' ');
    bytes.extend(uri);
    bytes.extend(format!(" {}\r\n", request.version).as_bytes());
    if state {
        bytes.extend(format!("x-haproxy-server-state: {}\r\n", server_state(context)).as_bytes());
    }
    for (name, value) in &request.headers {
        let mut value = text(value);
        value.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        bytes.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    let has = |name: &str| {
        request
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    let modern = &*request.version == "HTTP/1.1";
    if modern && !has("host") {
        // A request without one is invalid (RFC 9112 section 3.2): name the address itself.
        let host = match target {
            Target::Inet(address) => address.to_string(),
            Target::Unix(_) | Target::Abstract(_) => "localhost".into(),
        };
        bytes.extend(format!("host: {host}\r\n").as_bytes());
    }
    let body = request.body.as_ref().map(text).unwrap_or_default();
    if !body.is_empty() {
        bytes.extend(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    if modern && !has("connection") {
        bytes.extend(b"connection: close\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// How we see the server (manual 4.2, "http-check send-state").
fn server_state(context: &Context<'_>) -> String {
    let (server, backend) = (context.server, context.backend);
    let status = server.health().status_text();
    let (address, port) = match server.target(None) {
        Some(Target::Inet(address)) => (address.ip().to_string(), address.port().to_string()),
        Some(_) => ("unix".into(), "unix".into()),
        None => ("-".into(), "-".into()),
    };
    let (_, weight) = backend.capacity();
    let own = match server.accepts_new() {
        true => server.weight.load(std::sync::atomic::Ordering::Relaxed),
        false => 0,
    };
    format!(
        "{status}; address={address}; port={port}; name={}/{}; node={}; weight={own}/{weight}; \
         scur={}/{}; qcur={}",
        backend.name(),
        server.conf.name,
        context.shared.site.load().node,
        server.sessions.now(),
        backend.sessions.now(),
        server.queued.now(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body is searched after each time that more of it was taken, so all that has come is taken
    /// at once, however small the pieces that a node sends it in.
    #[test]
    fn a_body_is_taken_as_far_as_it_has_come() {
        let taken = |received: &[u8]| {
            let pool = BufferPool::new(1024);
            let limits = Limits {
                head_bytes_max: 1024,
                fields_max: 10,
                lenient: false,
            };
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let Ok(Parsed::Complete { head, .. }) = h1::parse_response(head, &limits) else {
                unreachable!("it is whole");
            };
            let mut response = Response::new(head);
            let mut buffer = Buffer::holding(received, &pool);
            response.take(&mut buffer, &pool);
            assert!(buffer.is_empty());
            let body = String::from_utf8_lossy(&response.body).into_owned();
            (body, response.is_whole())
        };
        assert_eq!(taken(b"1\r\na\r\n1\r\nb\r\n1"), ("ab".into(), false));
        assert_eq!(
            taken(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
            ("abc".into(), true)
        );
        assert_eq!(taken(b""), (String::new(), false));
    }
}
