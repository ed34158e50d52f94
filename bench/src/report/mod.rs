//! What was measured, for people: tables in Markdown. Nothing is left out because it looks bad.

pub(crate) mod plot;

use std::fmt::Write as _;

use crate::goals::{GOALS, Goal, Measure};
use crate::options::Options;
use crate::results::{FLOOR, Of, REFERENCE, Results};
use crate::workload::{WORKLOADS, Work, Workload};

/// All tables, each with a headline; those without a line are left out.
pub(crate) fn text(results: &Results, options: &Options) -> String {
    let names: Vec<&str> = options
        .peers
        .iter()
        .map(|peer| peer.name.as_str())
        .collect();
    let report = Report { results, names };
    let pages = [
        (
            "Goals",
            "Ours in the bench's own words: what must be reached, what is aimed for, what is.",
            report.goals(),
        ),
        (
            "Processor time",
            "Of the proxy, user and kernel, all threads. *Busy* is how much of a core the proxy used, *generator* how much \
             clients and nodes used of theirs: where that is near 100 %, a proxy was not asked for all it can do.",
            report.costs(),
        ),
        (
            "As things grow",
            "Processor time per unit beside the same proxy's in the smaller workload of the same round.",
            report.growth(),
        ),
        (
            "Idle WebSockets",
            "Bytes are the slope over 90 to 9,000 sockets. *Back* is when nine tenths of the memory was given back after all \
             were closed, *stays* what was left then (or at the end of patience). Kernel memory is not in the bytes.",
            report.special(|work| matches!(work, Work::Idle(_)), IDLE),
        ),
        (
            "Two greedy tunnels beside 200 others",
            "16 MiB messages, one to a slow reader and one to a fast one; times are of the others, alone and beside them.",
            report.special(|work| matches!(work, Work::Greedy(..)), GREEDY),
        ),
        (
            "A list of 1,000 nodes that changes twice a second",
            "1,000 tunnels; times in the quarter of a second after a change, and in as many quiet ones. Nodes that left were drained.",
            report.special(|work| matches!(work, Work::ListChanges(..)), LIST),
        ),
        (
            "How evenly two workers share",
            "Processor time of the busier one beside the mean of both, 1,000 sockets that do the same.",
            report.special(|work| matches!(work, Work::Spread(..)), SPREAD),
        ),
    ];
    let mut text = String::new();
    if !results.voids().is_empty() {
        let _ = writeln!(text, "Runs that do not count:\n");
        for run in results.voids() {
            let _ = writeln!(text, "- {run}");
        }
        text.push('\n');
    }
    for (title, about, table) in pages {
        if let Some(table) = table {
            let _ = writeln!(text, "### {title}\n\n{about}\n\n{table}");
        }
    }
    text
}

/// A column: its head, its figure, how many decimals.
type Column = (&'static str, &'static str, usize);

const IDLE: &[Column] = &[
    ("bytes per socket", "bytes", 0),
    ("GB for 10⁶", "gigabytes_of_a_million", 2),
    ("% of a core", "core_percent", 3),
    ("back after s", "back_s", 1),
    ("bytes that stay", "stays", 0),
    ("kernel bytes", "kernel_bytes", 0),
];

const GREEDY: &[Column] = &[
    ("p50 ms alone", "p50_alone", 2),
    ("p50 beside", "p50", 2),
    ("p99 alone", "p99_alone", 2),
    ("p99 beside", "p99", 2),
    ("max alone", "max_alone", 2),
    ("max beside", "max", 2),
    ("memory grown by KiB", "grown_kib", 0),
    ("greedy MiB/s", "greedy_mib_s", 0),
];

const LIST: &[Column] = &[
    ("µs CPU, list at rest", "cost_quiet", 2),
    ("µs CPU, list changing", "cost", 2),
    ("longest to apply, ms", "apply_ms", 2),
    ("p99 ms at rest", "p99_quiet", 2),
    ("p99 beside changes", "p99", 2),
    ("max at rest", "max_quiet", 2),
    ("max beside changes", "max", 2),
    ("tunnels lost", "lost", 0),
];

const SPREAD: &[Column] = &[
    ("busiest / mean", "uneven", 2),
    ("µs CPU per message", "cost", 2),
    ("p99 ms", "p99", 2),
];

struct Report<'a> {
    results: &'a Results,
    /// Proxies in the order of the tables.
    names: Vec<&'a str>,
}

impl<'a> Report<'a> {
    fn of(&self, workload: &'a str, proxy: &'a str, figure: &'a str) -> Of<'a> {
        Of {
            workload,
            proxy,
            figure,
        }
    }

    /// A figure with so many decimals, or a dash.
    fn cell(&self, of: Of<'_>, decimals: usize) -> String {
        or_dash(self.results.median(of).map(|it| format!("{it:.decimals$}")))
    }

    fn goals(&self) -> Option<String> {
        let mut rows = Vec::new();
        for goal in GOALS {
            let Some(verdict) = goal.judge(self.results) else {
                continue;
            };
            let value = goal.value(self.results);
            let decimals = if goal.must >= 100.0 { 0 } else { 2 };
            let (what, workload, must, aim) = (goal.what, goal.workload, goal.must, goal.aim);
            rows.push(vec![
                workload.to_owned(),
                what.to_owned(),
                or_dash(value.map(|it| format!("{it:.decimals$}"))),
                format!("≤ {must}"),
                format!("≤ {aim}"),
                verdict.word().to_owned(),
            ]);
        }
        table(&["workload", "what", "is", "must", "aim", ""], 2, rows)
    }

    fn costs(&self) -> Option<String> {
        let mut rows = Vec::new();
        for workload in WORKLOADS.iter().filter(|it| it.work.has_units()) {
            for proxy in &self.names {
                rows.extend(self.cost_row(workload, proxy));
            }
        }
        let heads = [
            "workload",
            "proxy",
            "µs per unit",
            "beside HAProxy (spread)",
            "must / aim",
            "",
            "beside the copy loop",
            "units/s",
            "busy %",
            "generator %",
            "kernel %",
            "calls",
            "p50 ms",
            "p99 ms",
        ];
        table(&heads, 2, rows)
    }

    fn cost_row(&self, workload: &'a Workload, proxy: &'a str) -> Option<Vec<String>> {
        let of = |figure| self.of(workload.name, proxy, figure);
        let calls = self.results.median(of("calls"));
        if self.results.median(of("cost")).is_none() && calls.is_none() {
            return None;
        }
        let beside = |whom| {
            let base = self.of(workload.name, whom, "cost");
            self.results.ratio(of("cost"), base)
        };
        let to_reference = beside(REFERENCE);
        let goal = Goal::of_cost(workload.name).filter(|_| proxy == "tidegate");
        let verdict = goal.and_then(|goal| Some(goal.judge(self.results)?.word()));
        Some(vec![
            workload.name.to_owned(),
            proxy.to_owned(),
            self.cell(of("cost"), 2),
            or_dash(
                to_reference.map(|it| format!("{:.2} ({:.2}–{:.2})", it.median, it.low, it.high)),
            ),
            goal.map_or(String::new(), |goal| {
                format!("{} / {}", goal.must, goal.aim)
            }),
            verdict.unwrap_or_default().to_owned(),
            or_dash(beside(FLOOR).map(|it| format!("{:.2}", it.median))),
            self.cell(of("rate"), 0),
            self.cell(of("busy"), 0),
            self.cell(of("generator"), 0),
            self.cell(of("kernel"), 0),
            self.cell(of("calls"), 1),
            self.cell(of("p50"), 2),
            self.cell(of("p99"), 2),
        ])
    }

    fn growth(&self) -> Option<String> {
        let mut rows = Vec::new();
        for goal in GOALS {
            let Measure::Growth(base) = goal.measure else {
                continue;
            };
            let ratios = self.names.iter().map(|proxy| {
                let grown = self.of(goal.workload, proxy, "cost");
                let ratio = self.results.ratio(grown, self.of(base, proxy, "cost"));
                ratio.map(|it| format!("{:.2} ({:.2}–{:.2})", it.median, it.low, it.high))
            });
            let ratios: Vec<Option<String>> = ratios.collect();
            if ratios.iter().any(Option::is_some) {
                let mut row = vec![goal.what.to_owned()];
                row.extend(ratios.into_iter().map(or_dash));
                rows.push(row);
            }
        }
        let heads: Vec<&str> = std::iter::once("")
            .chain(self.names.iter().copied())
            .collect();
        table(&heads, 1, rows)
    }

    /// A table of the workloads of one kind, a proxy a row.
    fn special(&self, wanted: fn(Work) -> bool, columns: &[Column]) -> Option<String> {
        let mut rows = Vec::new();
        for workload in WORKLOADS.iter().filter(|workload| wanted(workload.work)) {
            for proxy in &self.names {
                let cells: Vec<String> = columns
                    .iter()
                    .map(|(_, figure, decimals)| {
                        self.cell(self.of(workload.name, proxy, figure), *decimals)
                    })
                    .collect();
                if cells.iter().any(|cell| cell != DASH) {
                    let mut row = vec![workload.name.to_owned(), (*proxy).to_owned()];
                    row.extend(cells);
                    rows.push(row);
                }
            }
        }
        let mut heads = vec!["workload", "proxy"];
        heads.extend(columns.iter().map(|(head, ..)| *head));
        table(&heads, 2, rows)
    }
}

/// What stands where nothing was measured.
const DASH: &str = "–";

fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| DASH.to_owned())
}

/// A table whose first `words` columns are words; `None` without rows.
fn table(heads: &[&str], words: usize, rows: Vec<Vec<String>>) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        cells.fold("|".to_owned(), |line, cell| line + " " + cell + " |") + "\n"
    };
    let rules = (0..heads.len()).map(|column| if column < words { "---" } else { "---:" });
    let mut text = line(&mut heads.iter().copied()) + &line(&mut rules.into_iter());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    Some(text)
}
