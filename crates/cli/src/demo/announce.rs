//! A node and the registry: registering, heartbeats, and reaching the other nodes.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

/// Time between two heartbeats; the registry forgets a node after minutes.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Time before registering is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// A whole exchange with the registry or with another node; they are on this machine.
const EXCHANGE_MAX: Duration = Duration::from_secs(3);
/// Longest answer: the stats table of a demo fits many times.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// Registers `id` as to be found at `url`, then sends heartbeats; starts over whenever the registry
/// has forgotten it.
pub(super) async fn for_ever(registry: &str, id: &str, url: &str, key: &str) {
    loop {
        if register(registry, id, url, key).await.is_ok() {
            while heartbeat(registry, id, key).await.is_ok() {
                tokio::time::sleep(HEARTBEAT_EVERY).await;
            }
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

async fn register(registry: &str, id: &str, url: &str, key: &str) -> Result<()> {
    let body = json!({"id": id, "url": url}).to_string();
    exchange(
        parse_url(registry)?,
        Method::POST,
        "/nodes",
        Some(key),
        body,
    )
    .await?;
    Ok(())
}

async fn heartbeat(registry: &str, id: &str, key: &str) -> Result<()> {
    let path = format!("/nodes/{id}/heartbeat");
    exchange(
        parse_url(registry)?,
        Method::POST,
        &path,
        Some(key),
        String::new(),
    )
    .await?;
    Ok(())
}

/// Posts `body` to every node of the registry but `id`.
pub(super) async fn tell_others(registry: &str, id: &str, key: &str, path: &str, body: String) {
    let Ok(others) = others(registry, id, key).await else {
        return;
    };
    for other in others {
        exchange(other, Method::POST, path, None, body.clone())
            .await
            .ok();
    }
}

async fn others(registry: &str, id: &str, key: &str) -> Result<Vec<String>> {
    let (_, list) = exchange(
        parse_url(registry)?,
        Method::GET,
        "/nodes",
        Some(key),
        String::new(),
    )
    .await?;
    let list: Vec<Value> = serde_json::from_slice(&list)?;
    let others = list.iter().filter(|node| node["id"].as_str() != Some(id));
    Ok(others
        .filter_map(|node| parse_url(node["url"].as_str()?).ok())
        .collect())
}

/// Host and port of `http://host:port`, the only form the demo makes.
fn parse_url(url: &str) -> Result<String> {
    let address = url.strip_prefix("http://").unwrap_or(url);
    let address = address.trim_end_matches('/');
    ensure!(
        address.contains(':') && !address.contains('/'),
        "{url:?} is not http://HOST:PORT"
    );
    Ok(address.to_owned())
}

/// One request on a connection of its own. Fails on any status but 200.
pub(super) async fn exchange(
    with: impl ToSocketAddrs + Display,
    method: Method,
    path: &str,
    key: Option<&str>,
    body: String,
) -> Result<(StatusCode, Bytes)> {
    let exchange = async {
        let tcp = TcpStream::connect(&with).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", with.to_string())
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let response = sender
            .send_request(request.body(Full::<Bytes>::from(body))?)
            .await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LEN_MAX);
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => bail!("answer of {with}: {error}"),
        };
        ensure!(status == StatusCode::OK, "{with} answered {status}");
        Ok((status, body))
    };
    timeout(EXCHANGE_MAX, exchange)
        .await
        .with_context(|| format!("{with} did not answer"))?
}
