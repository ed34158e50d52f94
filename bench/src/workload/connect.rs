//! WebSockets opened, used for one message, and closed.

use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::task::spawn_local;

use super::{Scene, Span};
use crate::client::{Client, Tls};
use crate::frames;
use crate::results::Figures;

/// Connections in the making at once.
const CONCURRENCY: usize = 16;

/// Length of the one message.
const MESSAGE_LEN: usize = 64;

pub(super) async fn run(scene: &Scene<'_>) -> Result<Figures> {
    let span = Span::of(scene.plan);
    let tasks: Vec<_> = (0..CONCURRENCY)
        .map(|index| {
            let mut target = scene.target.clone();
            target.tls = target.tls.as_ref().map(Tls::with_own_sessions);
            let span = span.clone();
            spawn_local(async move {
                let mut samples = Vec::new();
                let mut out = Vec::new();
                // The first handshake is full: it brings the ticket for the next one.
                let mut first = Client::open(&target, "/echo").await?;
                let payload = frames::payload(index, 0, MESSAGE_LEN);
                first.echo(&payload, &mut out).await?;
                for number in 1.. {
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
                    samples.extend(span.done(began));
                }
                anyhow::Ok(((), samples))
            })
        })
        .collect();
    let (_, samples, meter) = span.outcome(scene.proxy, tasks).await?;
    meter.figures(&samples, 0)
}
