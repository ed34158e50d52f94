//! Requests over connections that stay open.

use anyhow::Result;
use tokio::task::spawn_local;

use super::pace::Rate;
use super::{Scene, Span};
use crate::client::{Client, request};
use crate::results::Figures;

pub(super) async fn run(scene: &Scene<'_>, connections: usize, rate: u32) -> Result<Figures> {
    let span = Span::of(scene.plan);
    let paces = Rate::new(rate, connections);
    let mut tasks = Vec::with_capacity(connections);
    for index in 0..connections {
        let mut client = Client::connect(&scene.target).await?;
        let (span, mut pace) = (span.clone(), paces.pace(index));
        tasks.push(spawn_local(async move {
            let request = request("/some/path?with=query");
            let mut samples = Vec::new();
            loop {
                let due = pace.due().await;
                if span.is_before(due) {
                    break;
                }
                client.get(&request).await?;
                samples.extend(span.done(due));
            }
            anyhow::Ok(((), samples))
        }));
    }
    let (_, samples, meter) = span.outcome(scene.proxy, tasks).await?;
    meter.figures(&samples, rate)
}
