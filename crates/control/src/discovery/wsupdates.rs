//! The WSUpdates service: `GET {base}/nodes` with `X-API-Key`, one connection a fetch.
//!
//! Its answers are foreign input. Everything has a bound (time, head, body), nothing is followed
//! (redirects) or decompressed, and whatever is no list is an error with a short cause. Whether a
//! list is believed is decided elsewhere.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::Resolver;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::{Host, HostTemplate, split_authority};
use super::listing::{Listing, NotAList};
use crate::environment::ApiKey;

/// A whole fetch, from the look-up of the name to the last byte (`contracts.md`).
const FETCH_TIME_MAX: Duration = Duration::from_secs(5);

/// One attempt to connect, so that a dead address leaves time for the next one.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// Largest body, bytes: the largest `max-nodes` (10,000) of 400 bytes each; an entry has about 150.
const BODY_MAX: usize = 4 << 20;

/// Largest response head, bytes. hyper takes no less than 8 kB.
const HEAD_MAX: usize = 32 << 10;

/// What a fetch asks for.
const JSON: &str = "application/json";

/// What a stream asks for: a service without one may say so by a status, or answer the list.
pub(crate) const EVENTS: &str = "text/event-stream";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where the service is: `http://` or `https://`, host, port and a path put before `/nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    tls: bool,
    host: Host,
    port: u16,
    path: String,
}

impl BaseUrl {
    /// Reads a base URL. The operator's word is trusted: any host is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("it begins with neither http:// nor https://"),
        };
        if rest.contains(['?', '#']) {
            return Err("it has a query or fragment");
        }
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if !rest.bytes().all(allowed) {
            return Err("it has characters that no URL has");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_authority(authority)?;
        Ok(Self {
            tls,
            host: Host::parse(host)?,
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// Whether it is `https://`.
    pub(crate) fn tls(&self) -> bool {
        self.tls
    }

    /// Host and port as a Host header carries them: without a scheme's own port.
    fn authority(&self) -> String {
        let host = match &self.host {
            Host::Ip(ip) if ip.is_ipv6() => format!("[{ip}]"),
            host => host.to_text().to_string(),
        };
        let own_port = if self.tls { 443 } else { 80 };
        if self.port == own_port {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Why a fetch brought no list.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// The host's name has no address.
    Resolve(std::io::Error),
    /// Nobody answers there.
    Connect(std::io::Error),
    /// TLS could not be agreed on, or the certificate is not trusted.
    Tls(std::io::Error),
    /// It took longer than [`FETCH_TIME_MAX`].
    TimedOut,
    /// What came is not HTTP, or was cut off.
    Protocol(Box<dyn std::error::Error + Send + Sync>),
    /// The key is missing or wrong: 401 or 403.
    Unauthorized(StatusCode),
    /// Any other status than 200.
    Status(StatusCode),
    /// The body is larger than [`BODY_MAX`].
    TooLarge,
    /// 200, but the body is no list.
    NotAList(NotAList),
    /// A list without one usable node, while there are nodes in force.
    Empty,
}

impl FetchError {
    /// All causes, for the metric.
    pub(crate) const CAUSES: [&'static str; 11] = [
        "resolve",
        "connect",
        "tls",
        "timeout",
        "protocol",
        "unauthorized",
        "status",
        "too_large",
        "html",
        "malformed",
        "empty",
    ];

    /// The cause in a word: one of [`FetchError::CAUSES`].
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::TimedOut => "timeout",
            Self::Protocol(_) => "protocol",
            Self::Unauthorized(_) => "unauthorized",
            Self::Status(_) => "status",
            Self::TooLarge | Self::NotAList(NotAList::TooMany) => "too_large",
            Self::NotAList(NotAList::Html) => "html",
            Self::NotAList(NotAList::NotAnArray | NotAList::Malformed(..)) => "malformed",
            Self::Empty => "empty",
        }
    }

    /// The error and what caused it in one line of printable ASCII: parts of it may be foreign.
    pub(crate) fn line(&self) -> String {
        let mut line = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            line = format!("{line}: {cause}");
            source = cause.source();
        }
        let printable = |character: char| match character {
            ' '..='~' => character,
            _ => '?',
        };
        line.chars().take(LINE_MAX).map(printable).collect()
    }
}

/// Longest error line, characters.
const LINE_MAX: usize = 300;

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(_) => f.write_str("the service's name does not resolve"),
            Self::Connect(_) => f.write_str("the service cannot be reached"),
            Self::Tls(_) => f.write_str("no TLS with the service"),
            Self::TimedOut => {
                let seconds = FETCH_TIME_MAX.as_secs();
                write!(f, "the service did not answer within {seconds} s")
            }
            Self::Protocol(_) => f.write_str("the service's answer is broken"),
            Self::Unauthorized(status) => {
                write!(
                    f,
                    "the service refuses the API key (status {})",
                    status.as_u16()
                )
            }
            Self::Status(status) => write!(f, "the service answers status {}", status.as_u16()),
            Self::TooLarge => write!(f, "the service's answer is larger than {BODY_MAX} bytes"),
            Self::NotAList(NotAList::Html) => f.write_str("the service answers an HTML page"),
            Self::NotAList(NotAList::NotAnArray) => f.write_str("the answer is no JSON array"),
            Self::NotAList(NotAList::Malformed(..)) => {
                f.write_str("the answer is cut off or not JSON")
            }
            Self::NotAList(NotAList::TooMany) => f.write_str("the list has too many entries"),
            Self::Empty => f.write_str("the list names no usable node"),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Connect(error) | Self::Tls(error) => Some(error),
            Self::Protocol(error) => Some(&**error),
            _ => None,
        }
    }
}

/// A client of one service.
pub(crate) struct Client {
    base: BaseUrl,
    key: Option<ApiKey>,
    tls: Option<TlsConnector>,
    rewrite: Option<HostTemplate>,
    /// Started with the client, which is before a `chroot`; `None`: the system gave no thread.
    resolver: Option<Resolver>,
}

impl Client {
    /// A client; `tls` is needed for `https://`.
    pub(crate) fn new(
        base: BaseUrl,
        key: Option<ApiKey>,
        tls: Option<TlsConnector>,
        rewrite: Option<HostTemplate>,
    ) -> Arc<Self> {
        Arc::new(Self {
            base,
            key,
            tls,
            rewrite,
            resolver: Resolver::start().ok(),
        })
    }

    /// Fetches the list once, within [`FETCH_TIME_MAX`].
    pub(crate) async fn fetch(&self) -> Result<Listing, FetchError> {
        let fetched = timeout(FETCH_TIME_MAX, self.fetch_untimed());
        fetched.await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn fetch_untimed(&self) -> Result<Listing, FetchError> {
        let answer = self.ask(self.request(JSON)).await?;
        let body = read(answer.response).await?;
        Listing::parse(&body, self.rewrite.as_ref()).map_err(FetchError::NotAList)
    }

    /// Asks for the events of the list, from the one behind `last_id` on, within [`FETCH_TIME_MAX`]. Any
    /// answer is one, whatever its status and type.
    pub(crate) async fn open_stream(&self, last_id: &[u8]) -> Result<Answered, FetchError> {
        let mut request = self.request(EVENTS);
        // Control characters were let in by the standard, and would be none in a field.
        if let (false, Ok(id)) = (last_id.is_empty(), HeaderValue::from_bytes(last_id)) {
            request.headers_mut().insert(LAST_EVENT_ID, id);
        }
        let cache = HeaderValue::from_static("no-store");
        request.headers_mut().insert(CACHE_CONTROL, cache);
        let asked = timeout(FETCH_TIME_MAX, self.ask(request));
        asked.await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        let port = self.base.port;
        let name = match &self.base.host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
            Host::Name(name) => name,
        };
        let resolver = self.resolver.as_ref().ok_or_else(|| {
            std::io::Error::other("the system gave no thread to look names up with")
        })?;
        resolver
            .look_up(name, port)
            .await
            .map_err(std::io::Error::other)
    }

    /// Sends the request over a fresh connection; the head of the answer has come then.
    async fn ask(&self, request: Request<Empty<Bytes>>) -> Result<Answered, FetchError> {
        let addresses = self.addresses().await.map_err(FetchError::Resolve)?;
        let stream = connect(&addresses).await.map_err(FetchError::Connect)?;
        match &self.tls {
            Some(connector) if self.base.tls => {
                let name = ServerName::try_from(self.base.host.to_text().to_string());
                let name = name.map_err(|error| FetchError::Tls(std::io::Error::other(error)))?;
                let stream = connector.connect(name, stream).await;
                send(stream.map_err(FetchError::Tls)?, request).await
            }
            _ => send(stream, request).await,
        }
    }

    fn request(&self, accept: &'static str) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        let path = format!("{}/nodes", self.base.path);
        *request.uri_mut() = path
            .parse()
            .expect("BaseUrl::parse lets URL characters pass only");
        let headers = request.headers_mut();
        let host = self.base.authority().parse();
        headers.insert(HOST, host.expect("a host is printable ASCII"));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(key) = &self.key {
            headers.insert("x-api-key", key.header());
        }
        request
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base.fmt(f)
    }
}

/// The head of an answer, and the connection that brings its body.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    /// Moves the bytes; ends with this value.
    _connection: JoinSet<()>,
}

/// Sends one request, and waits for the head of its answer.
async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answered, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| FetchError::Protocol(Box::new(error));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let mut moving = JoinSet::new();
    moving.spawn(async move {
        // What breaks is told where the answer is read.
        let _ = connection.await;
    });
    Ok(Answered {
        response: sender.send_request(request).await.map_err(broken)?,
        _connection: moving,
    })
}

/// Connects to the first address that answers.
async fn connect(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = std::io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// The body of a 200; anything else is an error. A redirect is one too: a list from elsewhere
/// would be a list from somebody else, and would be asked for with our key.
async fn read(response: Response<Incoming>) -> Result<Bytes, FetchError> {
    match response.status() {
        StatusCode::OK => {}
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            return Err(FetchError::Unauthorized(status));
        }
        status => return Err(FetchError::Status(status)),
    }
    if response.body().size_hint().lower() > BODY_MAX as u64 {
        return Err(FetchError::TooLarge);
    }
    let body = Limited::new(response.into_body(), BODY_MAX);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
        Err(error) => Err(FetchError::Protocol(error)),
    }
}

#[cfg(test)]
mod tests;
