//! Requests over connections that stay open.

use std::time::Instant;

use anyhow::Result;
use tokio::task::spawn_local;

use super::{Outcome, Pace, Scene, Span, micros};
use crate::client::{Client, request};

pub(super) async fn run(scene: &Scene<'_>, connections: usize, rate: u32) -> Result<Outcome> {
    let span = Span::of(scene.plan);
    let tasks: Vec<_> = (0..connections)
        .map(|index| {
            let target = scene.target.clone();
            spawn_local(async move {
                let mut client = Client::connect(&target).await?;
                let request = request("/some/path?with=query");
                let mut pace = Pace::new(index, connections, rate);
                let mut latencies = Vec::new();
                while !span.is_over() {
                    let due = pace.due().await;
                    client.get(&request).await?;
                    let done = Instant::now();
                    if span.counts(done) {
                        latencies.push(micros(due, done));
                    }
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    span.outcome(scene.proxy, tasks).await
}
