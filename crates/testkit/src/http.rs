//! HTTP/1.1 by hand (RFC 9112): exact bytes out, one message at a time in, strictly read.
//!
//! Not a client for use: it follows nothing, retries nothing, and refuses what is not exact.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::Authority;
use crate::stream::Stream;
use crate::wait::PATIENCE;

/// How much is read at once.
const READ_LEN: usize = 16_384;
/// How much of a broken message is shown.
const SEEN_LEN_MAX: usize = 500;

/// Start line and header fields, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Every byte, the empty line included.
    pub raw: Vec<u8>,
    /// The first line, without its line end.
    pub start: String,
    /// Name in lower case and value, in order.
    pub fields: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Result<Self> {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(parse_field).collect::<Result<_>>()?;
        Ok(Self { raw, start, fields })
    }

    /// The first value of a field; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).into_iter().next()
    }

    /// All values of a field; `name` in lower case.
    pub fn get_all(&self, name: &str) -> Vec<&str> {
        let of_that_name = self.fields.iter().filter(|(known, _)| known == name);
        of_that_name.map(|(_, value)| value.as_str()).collect()
    }

    /// Word `index` of the first line: method or version, target or status, ….
    pub fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    fn body_length(&self) -> Result<BodyLength> {
        if let Some(coding) = self.get("transfer-encoding") {
            ensure!(coding == "chunked", "transfer-encoding {coding:?}");
            ensure!(
                self.get("content-length").is_none(),
                "two framings in one message"
            );
            return Ok(BodyLength::Chunked);
        }
        match self.get_all("content-length").as_slice() {
            [] => Ok(BodyLength::Unsaid),
            [length] => Ok(BodyLength::Known(length.parse()?)),
            several => bail!("several content-length fields: {several:?}"),
        }
    }
}

fn parse_field(line: &str) -> Result<(String, String)> {
    let (name, value) = line
        .split_once(':')
        .with_context(|| format!("header line without a colon: {line:?}"))?;
    ensure!(name.trim() == name, "space around the header name {name:?}");
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

enum BodyLength {
    Unsaid,
    Known(usize),
    Chunked,
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Status line and fields.
    pub head: Head,
    /// Payload, without any framing.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads messages from one side of a connection; keeps what came too early for the next one.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Received and not yet consumed.
    pub(crate) buffer: Vec<u8>,
}

impl Reader {
    /// Reads more; false at the end of the stream.
    async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        let mut piece = [0; READ_LEN];
        let len = stream.read(&mut piece).await?;
        self.buffer.extend_from_slice(&piece[..len]);
        Ok(len > 0)
    }

    async fn need(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<()> {
        if self.fill(stream).await? {
            return Ok(());
        }
        let seen = &self.buffer[..self.buffer.len().min(SEEN_LEN_MAX)];
        let seen = String::from_utf8_lossy(seen);
        bail!("closed in the middle of a message, after {seen:?}")
    }

    /// Waits for any bytes, and keeps them.
    pub(crate) async fn any(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<()> {
        self.need(stream).await
    }

    /// One head; `None` when the stream ends before its first byte.
    pub(crate) async fn head(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Head::parse(self.take(end + 4)).map(Some);
            }
            if self.buffer.is_empty() {
                if !self.fill(stream).await? {
                    return Ok(None);
                }
            } else {
                self.need(stream).await?;
            }
        }
    }

    /// The body of a message whose length its head tells; `until_close`: what silence means.
    pub(crate) async fn body(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        head: &Head,
        until_close: bool,
    ) -> Result<(Vec<u8>, Vec<(String, String)>)> {
        match head.body_length()? {
            BodyLength::Known(length) => Ok((self.exactly(stream, length).await?, Vec::new())),
            BodyLength::Chunked => self.chunked(stream).await,
            BodyLength::Unsaid if until_close => {
                while self.fill(stream).await? {}
                Ok((std::mem::take(&mut self.buffer), Vec::new()))
            }
            BodyLength::Unsaid => Ok((Vec::new(), Vec::new())),
        }
    }

    /// A response to a request of that method.
    async fn message(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        method: &str,
    ) -> Result<Response> {
        let head = self.head(stream).await?;
        let head = head.context("closed without a response")?;
        let version = head.word(0);
        ensure!(version.starts_with("HTTP/1."), "not HTTP: {:?}", head.start);
        let status: u16 = head.word(1).parse()?;
        let without_body = method == "HEAD" || status < 200 || [204, 304].contains(&status);
        let (body, trailers) = if without_body {
            (Vec::new(), Vec::new())
        } else {
            self.body(stream, &head, true).await?
        };
        Ok(Response {
            status,
            head,
            body,
            trailers,
        })
    }

    async fn chunked(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<(Vec<u8>, Vec<(String, String)>)> {
        let mut body = Vec::new();
        loop {
            let line = self.line(stream).await?;
            let size =
                usize::from_str_radix(&line, 16).with_context(|| format!("chunk size {line:?}"))?;
            if size == 0 {
                break;
            }
            body.extend(self.exactly(stream, size).await?);
            let end = self.line(stream).await?;
            ensure!(end.is_empty(), "{end:?} behind a chunk");
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line(stream).await?;
            if line.is_empty() {
                return Ok((body, trailers));
            }
            trailers.push(parse_field(&line)?);
        }
    }

    async fn line(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.take(end + 2);
                return Ok(String::from_utf8(line[..end].to_vec())?);
            }
            self.need(stream).await?;
        }
    }

    async fn exactly(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        len: usize,
    ) -> Result<Vec<u8>> {
        while self.buffer.len() < len {
            self.need(stream).await?;
        }
        Ok(self.take(len))
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(len);
        std::mem::replace(&mut self.buffer, rest)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|at| at == needle)
}

/// A client connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    reader: Reader,
}

impl Client {
    /// Connects over TCP.
    pub async fn plain(to: SocketAddr) -> Self {
        let stream = Stream::plain(to).await;
        Self::over(stream.unwrap_or_else(|error| panic!("connect to {to}: {error}")))
    }

    /// The same from an address of this machine's own.
    pub async fn plain_from(from: IpAddr, to: SocketAddr) -> Self {
        let stream = Stream::plain_from(from, to).await;
        Self::over(stream.unwrap_or_else(|error| panic!("connect to {to} from {from}: {error}")))
    }

    /// Connects over TLS.
    pub async fn tls(to: SocketAddr, authority: &Authority, name: &str) -> Self {
        let stream = Stream::tls(to, authority, name).await;
        Self::over(stream.unwrap_or_else(|error| panic!("TLS connect to {to}: {error}")))
    }

    /// Over a connection that is there.
    pub fn over(stream: Stream) -> Self {
        Self {
            stream,
            reader: Reader::default(),
        }
    }

    /// Sends exactly these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// The same where the other side may have gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Closes our direction.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.stream.reset();
    }

    /// Sends `GET path` and reads the response.
    pub async fn get(&mut self, path: &str) -> Result<Response> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.try_send(request).await?;
        self.response().await
    }

    /// The next response, interim ones (1xx but 101) skipped.
    pub async fn response(&mut self) -> Result<Response> {
        self.response_to("GET").await
    }

    /// The next response to a request of that method: `HEAD` has no body.
    pub async fn response_to(&mut self, method: &str) -> Result<Response> {
        loop {
            let response = self.message_to(method).await?;
            if response.status == 101 || response.status >= 200 {
                return Ok(response);
            }
        }
    }

    /// The next message, interim responses included.
    pub async fn message_to(&mut self, method: &str) -> Result<Response> {
        let reading = self.reader.message(&mut self.stream, method);
        timeout(PATIENCE, reading)
            .await
            .context("no whole response in time")?
    }

    /// Sends as much of `bytes` as is taken until the response has come.
    pub async fn response_while_sending(&mut self, bytes: &[u8]) -> Result<Response> {
        let (mut from, mut to) = tokio::io::split(&mut self.stream);
        let sending = async {
            // Whether all of it is taken is not the question, only what comes back.
            to.write_all(bytes).await.ok();
            std::future::pending::<Infallible>().await
        };
        let reading = timeout(PATIENCE, self.reader.message(&mut from, "POST"));
        tokio::select! {
            response = reading => response.context("no whole response in time")?,
            never = sending => match never {},
        }
    }

    /// Reads until the other side closes; what came before. An error tells of a reset or silence.
    pub async fn until_closed(&mut self) -> Result<Vec<u8>> {
        let reading = async {
            while self.reader.fill(&mut self.stream).await? {}
            Ok(std::mem::take(&mut self.reader.buffer))
        };
        timeout(PATIENCE, reading)
            .await
            .context("the connection was not closed in time")?
    }

    /// What has come within `time`, taken. For "nothing comes": the one wait that cannot end early.
    pub async fn within(&mut self, time: Duration) -> Vec<u8> {
        let reading = async { while let Ok(true) = self.reader.fill(&mut self.stream).await {} };
        timeout(time, reading).await.ok();
        std::mem::take(&mut self.reader.buffer)
    }

    /// Waits for exactly these bytes next.
    pub async fn expect_bytes(&mut self, expected: &[u8]) {
        let reading = self.reader.exactly(&mut self.stream, expected.len());
        let got = timeout(PATIENCE, reading).await.expect("bytes in time");
        let got = got.unwrap();
        let (got, expected) = (
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(expected),
        );
        assert_eq!(got, expected);
    }

    /// The connection and what was received and not consumed.
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.reader.buffer)
    }

    /// Our own address on this connection.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.tcp().local_addr().unwrap()
    }
}

/// One `GET` on its own connection, closed after.
pub async fn get(from: SocketAddr, path: &str) -> Result<Response> {
    let mut client = Client::over(Stream::plain(from).await?);
    client
        .try_send(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await?;
    client.response().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &str) -> Result<(Vec<u8>, Vec<(String, String)>)> {
        let mut reader = Reader::default();
        let mut stream = bytes.as_bytes();
        let head = reader.head(&mut stream).await?.context("no head")?;
        reader.body(&mut stream, &head, true).await
    }

    #[tokio::test]
    async fn reads_every_framing() {
        let fields = "HTTP/1.1 200 OK\r\n";
        for (rest, expected) in [
            ("Content-Length: 2\r\n\r\nhix", "hi"),
            (
                "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n",
                "hi!",
            ),
            ("\r\nto the end", "to the end"),
        ] {
            let (body, _) = read(&format!("{fields}{rest}")).await.unwrap();
            assert_eq!(String::from_utf8(body).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn refuses_what_is_not_exact() {
        for (rest, why) in [
            ("Content-Length: 3\r\n\r\nhi", "in the middle"),
            (
                "Transfer-Encoding: chunked\r\n\r\n2\r\nhixx\r\n0\r\n\r\n",
                "behind a chunk",
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
                "two framings",
            ),
            ("Content-Length : 3\r\n\r\nabc", "space around"),
        ] {
            let error = read(&format!("HTTP/1.1 200 OK\r\n{rest}"))
                .await
                .unwrap_err();
            assert!(error.to_string().contains(why), "{rest:?}: {error}");
        }
    }
}
