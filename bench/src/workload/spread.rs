//! Sockets at a rate, all alike: how evenly the workers of a proxy share them. What a worker does is
//! its processor time, which is what an operator would see of it.

use anyhow::{Context, Result, ensure};

use super::{Scene, relay};
use crate::results::Figures;

const MESSAGE_LEN: usize = 64;

pub(super) async fn run(scene: &Scene<'_>, sockets: usize, rate: u32) -> Result<Figures> {
    let clients = scene.open("/echo", sockets).await?;
    let before = scene.proxy.threads()?;
    let (_, samples, meter) = relay::exchange(scene, clients, MESSAGE_LEN, rate).await?;
    let after = scene.proxy.threads()?;
    let mut spent: Vec<u64> = after
        .iter()
        .map(|(thread, ns)| ns.checked_sub(before.get(thread).copied().unwrap_or(0)))
        .collect::<Option<_>>()
        .context("a thread became another one")?;
    // The others write logs, check nodes, or supervise.
    spent.sort_unstable_by(|a, b| b.cmp(a));
    spent.truncate(scene.workers);
    ensure!(spent.len() == scene.workers, "fewer threads than workers");
    let mean = spent.iter().sum::<u64>() as f64 / spent.len() as f64;
    let mut figures = meter.figures(&samples, rate)?;
    figures.insert("uneven", spent[0] as f64 / mean.max(1.0));
    Ok(figures)
}
