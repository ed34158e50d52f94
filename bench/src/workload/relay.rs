//! Messages from clients to the node and back.

use std::time::Instant;

use anyhow::{Context, Result};
use tokio::task::spawn_local;

use super::{Outcome, Pace, Scene, Span, micros};
use crate::client::Client;
use crate::frames;

pub(super) async fn run(
    scene: &Scene<'_>,
    length: usize,
    sockets: usize,
    rate: u32,
) -> Result<Outcome> {
    let mut clients = Vec::with_capacity(sockets);
    for number in 0..sockets {
        let client = Client::open(&scene.target, "/echo").await;
        clients.push(client.with_context(|| format!("open socket {number}"))?);
    }
    let span = Span::of(scene.plan);
    let mut tasks = Vec::with_capacity(sockets);
    for (index, mut client) in clients.into_iter().enumerate() {
        tasks.push(spawn_local(async move {
            let mut pace = Pace::new(index, sockets, rate);
            let mut latencies = Vec::new();
            let mut out = Vec::with_capacity(frames::framed_len(length));
            let mut number = 0;
            while !span.is_over() {
                let due = pace.due().await;
                let payload = frames::payload(index, number, length);
                client.echo(&payload, &mut out).await?;
                number += 1;
                let done = Instant::now();
                if span.counts(done) {
                    latencies.push(micros(due, done));
                }
            }
            anyhow::Ok(latencies)
        }));
    }
    span.outcome(scene.proxy, tasks).await
}
