//! Sockets that were used once and do nothing: what they cost in memory and in processor time,
//! while statistics are scraped, and what comes back when they are closed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Scene;
use crate::client::Client;
use crate::frames;
use crate::peers::Kind;
use crate::process::kernel_socket_bytes;
use crate::results::Figures;

/// How often statistics are asked for, as a monitor would.
const SCRAPE_EVERY: Duration = Duration::from_secs(5);

/// How many sockets are open when memory is read, of a hundred that are opened. What a proxy
/// allocates once for the first ones is not the sockets'.
const STEPS: [usize; 5] = [1, 11, 33, 67, 100];

/// Memory is back when no more than this part of it is left.
const BACK: f64 = 0.1;

pub(super) async fn run(scene: &Scene<'_>, sockets: usize) -> Result<Figures> {
    let mut clients = Vec::with_capacity(sockets);
    let mut points = Vec::with_capacity(STEPS.len());
    let kernel_before = kernel_socket_bytes();
    for step in STEPS {
        open(scene, &mut clients, sockets * step / 100).await?;
        tokio::time::sleep(scene.plan.settle).await;
        points.push((clients.len() as f64, scene.proxy.resident_bytes()? as f64));
    }
    let kernel = kernel_before.zip(kernel_socket_bytes());
    let core_percent = hold(scene).await?;
    let full = scene.proxy.resident_bytes()? as f64;
    for (number, client) in clients.iter_mut().enumerate() {
        let payload = frames::payload(number, 1, 64);
        let echo = client.echo(&payload, &mut Vec::new()).await;
        echo.with_context(|| format!("socket {number} after {:?} of rest", scene.plan.held))?;
    }
    let (first, before) = points[0];
    let beyond = sockets as f64 - first;
    // As it is after a time of rest, which is how long-lived sockets find it.
    if let Some(last) = points.last_mut() {
        last.1 = full;
    }
    clients.truncate(first as usize);
    let (seconds, left) = back(scene, before, full).await?;
    let slope = slope(&points);
    let mut figures: Figures = [
        ("bytes", slope),
        ("gigabytes_of_a_million", slope * 1e6 / 1e9),
        ("core_percent", core_percent),
        ("stays", (left - before) / beyond),
    ]
    .into();
    figures.extend(seconds.map(|seconds| ("back_s", seconds)));
    // Half of the four sockets of a proxied connection are the proxy's.
    figures.extend(kernel.map(|(before, after)| {
        let bytes = after.saturating_sub(before) as f64 / 2.0 / sockets as f64;
        ("kernel_bytes", bytes)
    }));
    Ok(figures)
}

/// Opens sockets until there are `count`, each used once.
async fn open(scene: &Scene<'_>, clients: &mut Vec<Client>, count: usize) -> Result<()> {
    let more = scene.open("/echo", count - clients.len()).await?;
    for mut client in more {
        let payload = frames::payload(clients.len(), 0, 64);
        client.echo(&payload, &mut Vec::new()).await?;
        clients.push(client);
    }
    Ok(())
}

/// Leaves them alone while statistics are scraped: of a hundred, how much of a core that takes.
async fn hold(scene: &Scene<'_>) -> Result<f64> {
    let (used, began) = (scene.proxy.usage()?, Instant::now());
    while began.elapsed() < scene.plan.held {
        tokio::time::sleep(SCRAPE_EVERY.min(scene.plan.held)).await;
        if matches!(scene.kind, Kind::HaProxy | Kind::Tidegate) {
            scrape(scene).await?;
        }
    }
    let spent = scene.proxy.usage()?.since(&used)?.cpu_ns;
    Ok(spent as f64 / 1e7 / began.elapsed().as_secs_f64())
}

/// Asks for statistics, which must come.
async fn scrape(scene: &Scene<'_>) -> Result<()> {
    let client = Client::connect(&scene.target).await?;
    let answer = client.get_all("/stats;csv").await?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("no statistics came")?;
    // The length of a chunk may stand before it.
    let begins = body
        .lines()
        .take(2)
        .any(|line| line.starts_with("# pxname,"));
    ensure!(
        head.split(' ').nth(1) == Some("200") && begins,
        "no statistics but {head}"
    );
    Ok(())
}

/// Waits until memory is back after sockets were closed: after how many seconds it was, and what is
/// left then or at the end of patience.
async fn back(scene: &Scene<'_>, before: f64, full: f64) -> Result<(Option<f64>, f64)> {
    let closed = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let left = scene.proxy.resident_bytes()? as f64;
        if left - before <= BACK * (full - before) {
            return Ok((Some(closed.elapsed().as_secs_f64()), left));
        }
        if closed.elapsed() > scene.plan.back_max {
            return Ok((None, left));
        }
    }
}

/// The slope of the line that lies nearest to the points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let products = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y));
    let squares = points.iter().map(|(x, _)| (x - mean_x).powi(2));
    products.sum::<f64>() / squares.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        let points = [(0.0, 7.0), (1.0, 10.0), (10.0, 37.0)];
        assert!((slope(&points) - 3.0).abs() < 1e-9);
    }
}
