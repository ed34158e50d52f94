//! What a node answers: to health checks, to upgrades, and by path to everything else.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | N bytes with `Content-Length` |
//! | `/chunked` | three chunks, one with an extension, and trailers of which one is forbidden |
//! | `/until-close` | a body that the end of the connection ends |
//! | `/echo` | the request's body, chunked if it came chunked |
//! | `/status/N` | that status; a body unless 204 or 304 |
//! | `/early` | 413 before the request's body is read, then closes |
//! | `/eager` | 200 before the request's body is read, which is read after |
//! | `/refuse/N` | that status, and the request's body is never read |
//! | `/close` | `Connection: close`, and closes |
//! | `/hop` | hop-by-hop fields |
//! | `/interim` | 103, then 200 |
//! | `/two` | two responses to one request |
//! | anything else | `ID METHOD TARGET`, one line |

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Health, Shared, Temper, Watched};
use crate::http::{Head, Reader};
use crate::websocket::small_buffers;

/// Counts for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> (Self, usize) {
        let now = counter.fetch_add(1, Ordering::Relaxed) + 1;
        (Self(counter), now)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection, from its first request to its end.
pub(super) async fn serve(mut stream: Watched, shared: &Shared) -> Result<()> {
    let mut reader = Reader::default();
    let mut answered = 0;
    while let Some(head) = reader.head(&mut stream).await? {
        let keep = head
            .get("connection")
            .is_none_or(|value| !value.eq_ignore_ascii_case("close"));
        if head.word(1) == "/health" {
            answer_health(&mut stream, shared).await?;
        } else {
            shared.requests.lock().unwrap().push(head.clone());
            let (_in_flight, now) = Counted::new(&shared.in_flight);
            shared.in_flight_max.fetch_max(now, Ordering::Relaxed);
            let temper = settled(shared).await;
            if temper == Temper::OneAnswer && answered > 0 {
                return Ok(());
            }
            answered += 1;
            if is_upgrade(&head) && matches!(temper, Temper::Normal | Temper::EarlyBytes) {
                return tunnel(stream, reader, &head, temper, shared).await;
            }
            if !answer(&mut stream, &mut reader, &head, temper, shared).await? {
                return Ok(());
            }
        }
        if !keep {
            break;
        }
    }
    Ok(())
}

/// The temper once it is neither hanging nor slow.
async fn settled(shared: &Shared) -> Temper {
    let mut temper = shared.temper.subscribe();
    let settled = temper
        .wait_for(|temper| *temper != Temper::Hang)
        .await
        .map(|temper| temper.clone())
        .unwrap_or(Temper::Normal);
    match settled {
        Temper::Slow(time) => {
            tokio::time::sleep(time).await;
            Temper::Normal
        }
        other => other,
    }
}

fn is_upgrade(head: &Head) -> bool {
    head.get("upgrade").is_some()
}

async fn answer_health(stream: &mut Watched, shared: &Shared) -> Result<()> {
    shared.health_checks.fetch_add(1, Ordering::Relaxed);
    let mut health = shared.health.subscribe();
    let health = health
        .wait_for(|health| *health != Health::Hang)
        .await
        .map(|health| *health)?;
    let status = match health {
        Health::Status(status) => status,
        Health::HoldOpen | Health::Hang => 200,
    };
    let body = serde_json::json!({
        "nodeId": shared.id,
        "metrics": {"clients": {"total": shared.websockets.load(Ordering::Relaxed)}},
    });
    let body = body.to_string();
    let response = format!(
        "HTTP/1.1 {status} Health\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await?;
    if health == Health::HoldOpen {
        stream.read_to_end(&mut Vec::new()).await?;
    }
    Ok(())
}

/// Answers one request that opens no tunnel; false when the connection is to close.
async fn answer(
    stream: &mut Watched,
    reader: &mut Reader,
    head: &Head,
    temper: Temper,
    shared: &Shared,
) -> Result<bool> {
    match temper {
        Temper::ResetBeforeResponse => {
            stream.reset_on_close();
            Ok(false)
        }
        Temper::CloseBeforeResponse => Ok(false),
        Temper::ResetMidMessage if is_upgrade(head) => reset_mid_frame(stream, head).await,
        Temper::ResetMidMessage => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                .await?;
            stream.reset_on_close();
            Ok(false)
        }
        Temper::Exactly(bytes) => {
            reader.body(stream, head, false).await?;
            stream.write_all(&bytes).await?;
            Ok(true)
        }
        Temper::ExactlyThenClose(bytes) => {
            reader.body(stream, head, false).await?;
            stream.write_all(&bytes).await?;
            Ok(false)
        }
        Temper::ExactlyThenReset(bytes) => {
            reader.body(stream, head, false).await?;
            stream.write_all(&bytes).await?;
            stream.reset_on_close();
            Ok(false)
        }
        Temper::Normal
        | Temper::Hang
        | Temper::Slow(_)
        | Temper::EarlyBytes
        | Temper::OneAnswer => answer_by_path(stream, reader, head, shared).await,
    }
}

async fn answer_by_path(
    stream: &mut Watched,
    reader: &mut Reader,
    head: &Head,
    shared: &Shared,
) -> Result<bool> {
    let path = head.word(1).split('?').next().unwrap_or_default();
    if path == "/early" {
        let refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await?;
        stream.shutdown().await?;
        reader.body(stream, head, false).await.ok();
        return Ok(false);
    }
    if path == "/eager" {
        stream.write_all(&with_length("", b"eager")).await?;
        reader.body(stream, head, false).await?;
        return Ok(true);
    }
    if let Some(status) = path.strip_prefix("/refuse/") {
        let refusal = format!("HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(refusal.as_bytes()).await?;
        return Ok(true);
    }
    if head.get("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let (body, trailers) = reader.body(stream, head, false).await?;
    let mut response = match path {
        "/echo" => echo(head, &body, &trailers),
        _ => scripted(path, head, &shared.id),
    };
    if head.word(0) == "HEAD" {
        let end = response.windows(4).position(|at| at == b"\r\n\r\n");
        response.truncate(end.context("a head")? + 4);
    }
    stream.write_all(&response).await?;
    Ok(!["/until-close", "/close"].contains(&path))
}

fn echo(head: &Head, body: &[u8], trailers: &[(String, String)]) -> Vec<u8> {
    if head.get("transfer-encoding").is_none() {
        return with_length("", body);
    }
    let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    if !body.is_empty() {
        response.extend(format!("{:x}\r\n", body.len()).bytes());
        response.extend_from_slice(body);
        response.extend(b"\r\n");
    }
    response.extend(b"0\r\n");
    for (name, value) in trailers {
        response.extend(format!("{name}: {value}\r\n").bytes());
    }
    response.extend(b"\r\n");
    response
}

fn scripted(path: &str, head: &Head, id: &str) -> Vec<u8> {
    let (first, rest) = path[1.min(path.len())..]
        .split_once('/')
        .unwrap_or((&path[1.min(path.len())..], ""));
    match (first, rest.parse::<usize>()) {
        ("bytes", Ok(length)) => with_length("", &pattern(length)),
        ("status", Ok(status @ (204 | 304))) => {
            format!("HTTP/1.1 {status} Scripted\r\nETag: \"e\"\r\n\r\n").into()
        }
        ("status", Ok(status)) => {
            format!("HTTP/1.1 {status} Scripted\r\nContent-Length: 8\r\n\r\nscripted").into()
        }
        ("chunked", _) => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\none\r\n3;ext=1\r\ntwo\r\n5\r\nthree\r\n0\r\nX-Sum: 11\r\nContent-Length: 9\r\n\r\n"
                .to_vec()
        }
        ("until-close", _) => b"HTTP/1.1 200 OK\r\n\r\nto the end".to_vec(),
        ("close", _) => with_length("Connection: close\r\n", b"closing"),
        ("hop", _) => with_length(
            "Connection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nX-Public: 2\r\n",
            b"hop",
        ),
        ("interim", _) => [
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".to_vec(),
            with_length("", b"final"),
        ]
        .concat(),
        ("two", _) => [with_length("", b"asked"), with_length("", b"unasked")].concat(),
        _ => {
            let line = format!("{id} {} {}\n", head.word(0), head.word(1));
            with_length("", line.as_bytes())
        }
    }
}

/// Bytes in which a lost, doubled or moved piece shows.
pub fn pattern(length: usize) -> Vec<u8> {
    let bytes = (0..length).map(|at| b'a' + u8::try_from((at * 7 + at / 26) % 26).unwrap_or(0));
    bytes.collect()
}

fn with_length(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    response.extend_from_slice(body);
    response
}

fn switching(head: &Head) -> String {
    let key = head.get("sec-websocket-key").unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )
}

/// A 101; on the client's first bytes a frame of 100 of which 4 come, then RST.
async fn reset_mid_frame(stream: &mut Watched, head: &Head) -> Result<bool> {
    stream.write_all(switching(head).as_bytes()).await?;
    let mut reader = Reader::default();
    reader.any(stream).await?;
    stream.write_all(b"\x81\x64half").await?;
    stream.reset_on_close();
    Ok(false)
}

/// Accepts the upgrade, greets, echoes until the client leaves.
async fn tunnel(
    mut stream: Watched,
    reader: Reader,
    head: &Head,
    temper: Temper,
    shared: &Shared,
) -> Result<()> {
    let mut switch = switching(head).into_bytes();
    if temper == Temper::EarlyBytes {
        switch.extend(b"\x81\x05early");
    }
    stream.write_all(&switch).await?;
    stream.stop_recording();
    let (_open, _) = Counted::new(&shared.websockets);
    let config = Some(small_buffers());
    let mut socket =
        WebSocketStream::from_partially_read(stream, reader.buffer, Role::Server, config).await;
    let greeting = serde_json::json!({
        "type": "connected", "clientId": "c", "nodeId": shared.id, "timestamp": 0,
    });
    socket.send(Message::text(greeting.to_string())).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        // tungstenite answers pings and Close frames itself.
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    // Over TLS an end without close_notify would look like a cut.
    Ok(socket.get_mut().shutdown().await?)
}
