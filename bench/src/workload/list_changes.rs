//! Tunnels at a rate behind a balancer that takes its nodes from a list: first while the list stays,
//! then while it changes, twice a second. Nodes that nobody uses come and go; nodes with tunnels leave
//! the list, which drains them and cuts nothing, and come back. No tunnel may end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::span::{Sample, Times};
use super::{Scene, relay};
use crate::client::Client;
use crate::results::Figures;
use crate::updates::Updates;

const MESSAGE_LEN: usize = 64;

/// Nodes listed while tunnels open: these have tunnels, the others never do.
const WITH_TUNNELS: usize = 200;

/// Nodes listed from then on.
const LISTED: usize = 1_000;

/// Nodes that go, and that come, with each change.
const CHANGED: usize = 20;

/// Time between changes.
const CHANGE_EVERY: Duration = Duration::from_millis(500);

/// How much longer than others it lasts: changes are few.
const SPANS: u32 = 2;

/// How long after a list was handed out a message is counted as one beside a change.
const WINDOW: Duration = Duration::from_millis(250);

/// How long the balancer may take to see a list.
const SEEN_MAX: Duration = Duration::from_secs(20);

pub(super) async fn run(scene: &Scene<'_>, sockets: usize, rate: u32) -> Result<Figures> {
    let updates = scene.updates.context("nobody lists nodes")?;
    updates.list(0..WITH_TUNNELS);
    up(scene, WITH_TUNNELS).await?;
    let clients = scene.open("/echo", sockets).await?;
    updates.list(0..LISTED);
    up(scene, LISTED).await?;

    let scene = &scene.longer(SPANS);
    let (exchanged, looked) = tokio::join!(
        relay::exchange(scene, clients, MESSAGE_LEN, rate),
        look(scene, None)
    );
    let (clients, quiet, quiet_meter) = exchanged?;
    let quiet_cost = quiet_meter.cost(&quiet);
    let quiet_moments = looked?.moments;
    // Whoever loses a tunnel, or a message in it, ends the run here.
    let (exchanged, looked) = tokio::join!(
        relay::exchange(scene, clients, MESSAGE_LEN, rate),
        look(scene, Some(updates))
    );
    let (clients, changing, meter) = exchanged?;
    let Looked { moments, apply } = looked?;
    ensure!(clients.len() == sockets, "tunnels were lost");
    ensure!(!apply.is_empty(), "no list was applied");

    let mut figures = meter.figures(&changing, rate)?;
    let (calm, beside) = (within(&quiet, &quiet_moments), within(&changing, &moments));
    figures.extend([
        ("cost_quiet", quiet_cost),
        ("changes", moments.len() as f64),
        ("apply_ms", apply.iter().copied().fold(0.0, f64::max)),
        ("p99_quiet", calm.share(0.99)),
        ("max_quiet", calm.share(1.0)),
        ("p99", beside.share(0.99)),
        ("max", beside.share(1.0)),
        ("later_max", (beside.share(1.0) - calm.share(1.0)).max(0.0)),
        ("lost", 0.0),
    ]);
    Ok(figures)
}

/// The times of what came due in the windows that begin at these moments.
fn within(samples: &[Sample], moments: &[Instant]) -> Times {
    let near = |sample: &&Sample| {
        let mut windows = moments.iter().map(|moment| *moment..*moment + WINDOW);
        windows.any(|window| window.contains(&sample.due))
    };
    Times::of(samples.iter().filter(near))
}

/// What was seen while messages went to and fro.
struct Looked {
    /// When a change was handed out, or would have been.
    moments: Vec<Instant>,
    /// How long the balancer says that each took, milliseconds.
    apply: Vec<f64>,
}

/// Changes the list if there are `updates`; asks for metrics at the same pace if not, between the
/// windows in either case.
async fn look(scene: &Scene<'_>, updates: Option<&Updates>) -> Result<Looked> {
    tokio::time::sleep(scene.plan.warm_up).await;
    let began = Instant::now();
    let (mut moments, mut apply) = (Vec::new(), Vec::new());
    for number in 0.. {
        if began.elapsed() + CHANGE_EVERY > scene.plan.measured {
            break;
        }
        let next = tokio::time::Instant::now() + CHANGE_EVERY;
        let before = metric(scene, "tidegate_discovery_changes_total").await?;
        let moment = match updates {
            None => Instant::now(),
            Some(updates) => {
                updates.list(changed(number));
                handed_out(updates).await?
            }
        };
        tokio::time::sleep_until((moment + WINDOW).into()).await;
        moments.push(moment);
        if updates.is_some() {
            let after = metric(scene, "tidegate_discovery_changes_total").await?;
            ensure!(
                after > before,
                "a changed list changed nothing in {WINDOW:?}"
            );
            apply.push(metric(scene, "tidegate_discovery_apply_seconds").await? * 1000.0);
        }
        tokio::time::sleep_until(next).await;
    }
    Ok(Looked { moments, apply })
}

/// The list after so many changes: nodes nobody uses are replaced by others, then nodes with tunnels
/// leave as well, then all is as it was.
fn changed(number: usize) -> Vec<usize> {
    match number % 3 {
        0 => (0..LISTED - CHANGED)
            .chain(LISTED..LISTED + CHANGED)
            .collect(),
        1 => (CHANGED..LISTED - CHANGED)
            .chain(LISTED..LISTED + CHANGED)
            .collect(),
        _ => (0..LISTED).collect(),
    }
}

async fn handed_out(updates: &Updates) -> Result<Instant> {
    let asked = Instant::now();
    loop {
        if let Some(moment) = updates.handed_out() {
            return Ok(moment);
        }
        ensure!(asked.elapsed() < SEEN_MAX, "the list is not fetched");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until so many nodes take traffic.
async fn up(scene: &Scene<'_>, count: usize) -> Result<()> {
    let asked = Instant::now();
    loop {
        let up = metric(
            scene,
            "haproxy_backend_active_servers{proxy=\"ws_backend\"}",
        )
        .await;
        if up.as_ref().is_ok_and(|up| *up == count as f64) {
            return Ok(());
        }
        if asked.elapsed() > SEEN_MAX {
            return up.and_then(|up| anyhow::bail!("{up} of {count} nodes are up"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A metric of the balancer; 0 until there is one.
async fn metric(scene: &Scene<'_>, name: &str) -> Result<f64> {
    Ok(known_metric(scene, name).await?.unwrap_or(0.0))
}

/// A metric of the balancer; `None`: there is no such one.
pub(super) async fn known_metric(scene: &Scene<'_>, name: &str) -> Result<Option<f64>> {
    let client = Client::connect(&scene.target).await?;
    let text = client
        .get_all("/metrics?scope=global&scope=backend")
        .await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.map(|value| value.trim().parse()).transpose()?)
}
