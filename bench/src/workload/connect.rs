//! WebSockets opened, used for one message, and closed.

use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::task::spawn_local;

use super::{Outcome, Scene, Span, micros};
use crate::client::Client;
use crate::frames;

/// Connections in the making at once.
const CONCURRENCY: usize = 16;

/// Length of the one message.
const MESSAGE_LEN: usize = 64;

pub(super) async fn run(scene: &Scene<'_>) -> Result<Outcome> {
    // The first handshake is full: it brings the ticket for those that are resumed.
    let mut first = Client::open(&scene.target, "/echo").await?;
    first
        .echo(&frames::payload(0, 0, MESSAGE_LEN), &mut Vec::new())
        .await?;
    drop(first);
    let span = Span::of(scene.plan);
    let tasks: Vec<_> = (0..CONCURRENCY)
        .map(|index| {
            let target = scene.target.clone();
            spawn_local(async move {
                let mut latencies = Vec::new();
                let mut out = Vec::new();
                for number in 0.. {
                    if span.is_over() {
                        break;
                    }
                    let began = Instant::now();
                    let mut client = Client::open(&target, "/echo").await?;
                    let payload = frames::payload(index, number, MESSAGE_LEN);
                    client.echo(&payload, &mut out).await?;
                    let wanted = client.is_as_wanted(&target);
                    ensure!(
                        wanted,
                        "resumed: {}, which is not what is measured",
                        client.resumed
                    );
                    let done = Instant::now();
                    if span.counts(done) {
                        latencies.push(micros(began, done));
                    }
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let meter = span.watch(scene.proxy).await?;
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(meter.outcome(latencies))
}
