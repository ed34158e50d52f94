//! Messages from clients to the node and back.

use anyhow::Result;
use tokio::task::spawn_local;

use super::pace::Rate;
use super::span::Meter;
use super::{Sample, Scene, Span};
use crate::client::Client;
use crate::frames;
use crate::results::Figures;

/// So many sockets take half a second to have a turn each, when all send at once: what is under way at
/// either end of a span is to be a small part of it.
pub(super) const MANY: usize = 5_000;
const MANY_TIMES: u32 = 2;

pub(super) async fn run(
    scene: &Scene<'_>,
    length: usize,
    sockets: usize,
    rate: u32,
) -> Result<Figures> {
    let clients = scene.open("/echo", sockets).await?;
    let (_, samples, meter) = match sockets {
        ..MANY => exchange(scene, clients, length, rate).await?,
        _ => exchange(&scene.longer(MANY_TIMES), clients, length, rate).await?,
    };
    meter.figures(&samples, rate)
}

/// Sends and receives for one span, and gives the clients back.
pub(super) async fn exchange(
    scene: &Scene<'_>,
    clients: Vec<Client>,
    length: usize,
    rate: u32,
) -> Result<(Vec<Client>, Vec<Sample>, Meter)> {
    let span = Span::of(scene.plan);
    let rate = Rate::new(rate, clients.len());
    let mut tasks = Vec::with_capacity(clients.len());
    for (index, mut client) in clients.into_iter().enumerate() {
        let (span, mut pace) = (span.clone(), rate.pace(index));
        tasks.push(spawn_local(async move {
            let mut samples = Vec::new();
            let mut out = Vec::with_capacity(frames::framed_len(length));
            let mut number = 0;
            loop {
                let due = pace.due().await;
                if span.is_before(due) {
                    break;
                }
                let payload = frames::payload(index, number, length);
                client.echo(&payload, &mut out).await?;
                number += 1;
                samples.extend(span.done(due));
            }
            anyhow::Ok((client, samples))
        }));
    }
    span.outcome(scene.proxy, tasks).await
}
