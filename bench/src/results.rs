//! What was measured: figures by workload, proxy and round; medians and ratios of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The figures of one run, by name; which there are depends on the workload.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// Who is the reference of ratios.
pub(crate) const REFERENCE: &str = "haproxy";

/// Who is the floor.
pub(crate) const FLOOR: &str = "copy-loop";

/// The run is another workload's and does not count; the next one may.
#[derive(Debug)]
pub(crate) struct Void(pub(crate) String);

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Void {}

/// All figures.
#[derive(Default)]
pub(crate) struct Results {
    /// By workload and proxy: a round each.
    runs: BTreeMap<(&'static str, String), BTreeMap<usize, Figures>>,
    /// Runs that do not count, and why.
    void: Vec<String>,
    /// Whose they were, by workload and proxy.
    with_void: BTreeSet<(&'static str, String)>,
}

/// A median with the smallest and the largest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// One series of runs: a workload, a proxy, a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) workload: &'a str,
    pub(crate) proxy: &'a str,
    pub(crate) figure: &'a str,
}

impl Results {
    /// Keeps the figures of a run.
    pub(crate) fn add(&mut self, workload: &'static str, proxy: &str, round: usize, it: Figures) {
        let runs = self.runs.entry((workload, proxy.to_owned())).or_default();
        runs.insert(round, it);
    }

    /// Keeps that a run does not count.
    pub(crate) fn void(&mut self, run: String) {
        eprintln!("does not count: {run}");
        self.void.push(run);
    }

    /// Keeps that a run that would have been judged does not count.
    pub(crate) fn not_kept(&mut self, workload: &'static str, proxy: &str) {
        self.with_void.insert((workload, proxy.to_owned()));
    }

    /// Whether a run of it does not count.
    pub(crate) fn has_void(&self, workload: &'static str, proxy: &str) -> bool {
        self.with_void.contains(&(workload, proxy.to_owned()))
    }

    /// The runs that do not count, and why.
    pub(crate) fn voids(&self) -> &[String] {
        &self.void
    }

    fn series(&self, of: Of<'_>) -> BTreeMap<usize, f64> {
        let matching = self
            .runs
            .iter()
            .filter(|((workload, proxy), _)| *workload == of.workload && proxy == of.proxy);
        matching
            .flat_map(|(_, rounds)| rounds)
            .filter_map(|(round, figures)| Some((*round, *figures.get(of.figure)?)))
            .collect()
    }

    /// The median over the rounds; `None`: it was not measured.
    pub(crate) fn median(&self, of: Of<'_>) -> Option<f64> {
        spread(self.series(of).into_values()).map(|spread| spread.median)
    }

    /// The ratios of two series, round by round.
    pub(crate) fn ratio(&self, of: Of<'_>, to: Of<'_>) -> Option<Spread> {
        let base = self.series(to);
        let ratios = self.series(of).into_iter().filter_map(|(round, value)| {
            let base = base.get(&round).filter(|base| **base > 0.0)?;
            Some(value / base)
        });
        spread(ratios)
    }

    /// Every series there is, with its median.
    pub(crate) fn all(&self) -> Vec<(Of<'_>, f64)> {
        let mut all = Vec::new();
        for ((workload, proxy), rounds) in &self.runs {
            let figures = rounds.values().flat_map(BTreeMap::keys);
            let names: BTreeSet<&str> = figures.copied().collect();
            for figure in names {
                let of = Of {
                    workload,
                    proxy,
                    figure,
                };
                all.extend(self.median(of).map(|median| (of, median)));
            }
        }
        all
    }
}

fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    Some(Spread {
        median: *values.get(values.len() / 2)?,
        low: *values.first()?,
        high: *values.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut results = Results::default();
        for (round, (ours, theirs)) in [(1.0, 2.0), (30.0, 40.0), (9.0, 10.0)].iter().enumerate() {
            results.add("w", "tidegate", round, [("cost", *ours)].into());
            results.add("w", "haproxy", round, [("cost", *theirs)].into());
        }
        // A round that the other one did not run counts for nothing.
        results.add("w", "tidegate", 3, [("cost", 1e9)].into());
        let of = |proxy| Of {
            workload: "w",
            proxy,
            figure: "cost",
        };
        let ratio = results.ratio(of("tidegate"), of("haproxy"));
        let expected = Spread {
            median: 0.75,
            low: 0.5,
            high: 0.9,
        };
        assert_eq!(ratio, Some(expected));
        assert_eq!(results.median(of("haproxy")), Some(10.0));
        assert_eq!(results.median(of("nginx")), None);
    }
}
