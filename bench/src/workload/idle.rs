//! Sockets that were used once and do nothing: what they cost in memory and in processor time,
//! while statistics are scraped, and what comes back when they are closed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Outcome, Scene};
use crate::client::{Client, request};
use crate::frames;
use crate::peers::Peer;

/// How often statistics are asked for, as a monitor would.
const SCRAPE_EVERY: Duration = Duration::from_secs(5);

/// Sockets opened before memory is first read: what a proxy allocates once is not the sockets'.
const FIRST: usize = 100;

pub(super) async fn run(scene: &Scene<'_>, sockets: usize) -> Result<Outcome> {
    let mut clients = Vec::with_capacity(sockets);
    open(scene, &mut clients, FIRST).await?;
    settle().await;
    let before = scene.proxy.resident_bytes()?;
    open(scene, &mut clients, sockets).await?;
    settle().await;
    let (used, began) = (scene.proxy.usage()?, Instant::now());
    while began.elapsed() < scene.plan.held {
        tokio::time::sleep(SCRAPE_EVERY.min(scene.plan.held)).await;
        if matches!(scene.peer, Peer::HaProxy | Peer::Tidegate) {
            let mut client = Client::connect(&scene.target).await?;
            // Its length is not known before it is made: the connection is simply left.
            let _ = client.get(&request("/stats;csv")).await;
        }
    }
    let (after, took) = (scene.proxy.usage()?, began.elapsed());
    let full = scene.proxy.resident_bytes()?;
    for (number, client) in clients.iter_mut().enumerate() {
        let payload = frames::payload(number, 1, 64);
        let echo = client.echo(&payload, &mut Vec::new()).await;
        echo.with_context(|| format!("socket {number} after {took:?} of rest"))?;
    }
    clients.truncate(FIRST);
    settle().await;
    let left = scene.proxy.resident_bytes()?;
    let per_socket = |bytes: u64| (bytes as f64 - before as f64) / (sockets - FIRST) as f64;
    Ok(Outcome {
        units: sockets as u64,
        took,
        cpu_ns: after.cpu_ns - used.cpu_ns,
        bytes_per_socket: Some(per_socket(full)),
        bytes_left: Some(per_socket(left)),
        ..Outcome::default()
    })
}

/// Opens sockets until there are `count`, each used once.
async fn open(scene: &Scene<'_>, clients: &mut Vec<Client>, count: usize) -> Result<()> {
    for number in clients.len()..count {
        let client = Client::open(&scene.target, "/echo").await;
        let mut client = client.with_context(|| format!("open socket {number}"))?;
        client
            .echo(&frames::payload(number, 0, 64), &mut Vec::new())
            .await?;
        clients.push(client);
    }
    Ok(())
}

/// Lets the proxy come to rest: allocators give memory back with a delay.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}
