//! Medians and ratios, as a table, as JSON, and as a plot.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::peers::Peer;
use crate::workload::{Outcome, Workload};

/// The runs of one workload: by round, then by peer.
pub(crate) type Rounds = Vec<BTreeMap<Peer, Outcome>>;

/// One peer in one workload.
pub(crate) struct Line {
    pub(crate) workload: Workload,
    pub(crate) peer: Peer,
    /// What is compared: microseconds per unit, or bytes per socket.
    pub(crate) cost: f64,
    /// Median over the rounds of the ratio to HAProxy in the same round.
    pub(crate) ratio: Option<f64>,
    /// The smallest and largest of these ratios.
    pub(crate) spread: Option<(f64, f64)>,
    median: Outcome,
}

/// What is compared of a run.
fn compared(outcome: &Outcome) -> f64 {
    if let Some(calls) = outcome.calls {
        return calls as f64 / outcome.units.max(1) as f64;
    }
    outcome.bytes_per_socket.unwrap_or_else(|| outcome.cost())
}

/// The lines of a workload.
pub(crate) fn lines(workload: Workload, rounds: &Rounds) -> Vec<Line> {
    Peer::ALL
        .into_iter()
        .filter_map(|peer| {
            let mut runs: Vec<&Outcome> =
                rounds.iter().filter_map(|round| round.get(&peer)).collect();
            runs.sort_by(|a, b| compared(a).total_cmp(&compared(b)));
            let middle = runs.get(runs.len() / 2)?;
            let mut ratios: Vec<f64> = rounds
                .iter()
                .filter_map(|round| {
                    Some(compared(round.get(&peer)?) / compared(round.get(&Peer::HaProxy)?))
                })
                .collect();
            ratios.sort_by(f64::total_cmp);
            Some(Line {
                workload,
                peer,
                cost: median(runs.iter().map(|run| compared(run)).collect()),
                ratio: ratios.get(ratios.len() / 2).copied(),
                spread: ratios.first().copied().zip(ratios.last().copied()),
                median: (*middle).clone(),
            })
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The head of the table.
pub(crate) const HEAD: &str = "\
| workload | proxy | µs CPU per unit, bytes per socket, or calls | ratio to HAProxy (spread) | units/s | kernel | p50 ms | p99 ms |
|---|---|---:|---:|---:|---:|---:|---:|
";

/// A line of the table.
pub(crate) fn row(line: &Line) -> String {
    let run = &line.median;
    let ratio = match (line.ratio, line.spread) {
        (Some(ratio), Some((low, high))) => format!("{ratio:.2} ({low:.2}–{high:.2})"),
        _ => "–".into(),
    };
    let seconds = run.took.as_secs_f64();
    let cost = match run.bytes_per_socket {
        None => format!("{:.2}", line.cost),
        Some(_) => format!(
            "{:.0} B; {:.3} % of a core; {:.0} B stay when closed",
            line.cost,
            run.cpu_ns as f64 / 1e7 / seconds,
            run.bytes_left.unwrap_or_default()
        ),
    };
    let rate = match run.bytes_per_socket {
        None => format!("{:.0}", run.units as f64 / seconds),
        Some(_) => format!("{} open", run.units),
    };
    let times = match run.bytes_per_socket {
        None => format!(
            "{:.0} % | {:.2} | {:.2}",
            run.kernel_percent,
            run.percentile(0.5),
            run.percentile(0.99)
        ),
        Some(_) => "– | – | –".into(),
    };
    format!(
        "| {} | {} | {cost} | {ratio} | {rate} | {times} |\n",
        line.workload.name,
        line.peer.name()
    )
}

/// The same for programs.
pub(crate) fn json(lines: &[Line], about: &[String]) -> Value {
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "workload": line.workload.name,
                "unit": line.workload.unit,
                "proxy": line.peer.name(),
                "cost": line.cost,
                "cost_is": if line.median.bytes_per_socket.is_some() { "bytes" } else { "microseconds" },
                "ratio_to_haproxy": line.ratio,
                "ratio_spread": line.spread.map(|(low, high)| [low, high]),
                "units": line.median.units,
                "seconds": line.median.took.as_secs_f64(),
                "p50_ms": line.median.percentile(0.5),
                "p99_ms": line.median.percentile(0.99),
                "kernel_percent": line.median.kernel_percent,
            })
        })
        .collect();
    json!({"about": about, "lines": lines})
}

/// Width of a bar whose ratio is 1, and what else the plot is measured by.
const UNIT_WIDTH: f64 = 260.0;
const LABEL_WIDTH: f64 = 250.0;
const BAR_HEIGHT: usize = 14;
/// Longer bars are cut: who costs five times as much needs no exact length.
const RATIO_MAX: f64 = 2.5;

/// A plot of the ratios: shorter is cheaper, the line is HAProxy.
pub(crate) fn plot(lines: &[Line]) -> String {
    let mut bars = String::new();
    let mut y = 30;
    let mut last = "";
    for line in lines.iter().filter(|line| line.peer != Peer::HaProxy) {
        let Some(ratio) = line.ratio else { continue };
        if last != line.workload.name {
            y += 8;
            last = line.workload.name;
        }
        let color = match line.peer {
            Peer::Tidegate => "#0a7f8c",
            Peer::Nginx => "#9aa5b1",
            _ => "#d6dbe1",
        };
        let width = ratio.min(RATIO_MAX) * UNIT_WIDTH;
        let text = y + BAR_HEIGHT - 3;
        let _ = writeln!(
            bars,
            "<text x=\"{x}\" y=\"{text}\" text-anchor=\"end\">{} {}</text>\
             <rect x=\"{LABEL_WIDTH}\" y=\"{y}\" width=\"{width:.0}\" height=\"{h}\" fill=\"{color}\"/>\
             <text x=\"{end:.0}\" y=\"{text}\">{ratio:.2}</text>",
            line.workload.name,
            line.peer.name(),
            x = LABEL_WIDTH - 6.0,
            h = BAR_HEIGHT - 2,
            end = LABEL_WIDTH + width + 4.0,
        );
        y += BAR_HEIGHT;
    }
    let (one, height) = (LABEL_WIDTH + UNIT_WIDTH, y + 20);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
         <text x=\"{one}\" y=\"18\" text-anchor=\"middle\">HAProxy = 1</text>\n{bars}\
         <line x1=\"{one}\" x2=\"{one}\" y1=\"24\" y2=\"{y}\" stroke=\"#c0392b\"/></svg>\n",
        w = LABEL_WIDTH + UNIT_WIDTH * RATIO_MAX + 50.0,
    )
}
