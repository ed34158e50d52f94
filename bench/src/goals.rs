//! What must be reached, and what is aimed for: a table, judged after each run and shown with what
//! is missed as well as with what is met.

use crate::results::{Of, REFERENCE, Results};

/// Who is judged.
const JUDGED: &str = "tidegate";

/// What a goal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// A figure's ratio to HAProxy's in the same round.
    ToHaProxy(&'static str),
    /// Processor time per unit, beside our own in that smaller workload.
    Growth(&'static str),
    /// A figure as it is.
    Figure(&'static str),
}

/// One goal: less is better.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// In words.
    pub(crate) what: &'static str,
    /// Where it is measured.
    pub(crate) workload: &'static str,
    /// What of it.
    pub(crate) measure: Measure,
    /// What it is at most.
    pub(crate) must: f64,
    /// What is aimed for.
    pub(crate) aim: f64,
}

/// How a figure stands to its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Aim,
    Met,
    Missed,
    /// There is no figure, or not one of every round, because a run of ours did not count.
    NotKept,
    /// There is no figure, because no run of HAProxy's counted.
    NotComparable,
}

impl Verdict {
    /// For tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Aim => "aim met",
            Self::Met => "met",
            Self::Missed => "**missed**",
            Self::NotKept => "**missed** (not kept)",
            Self::NotComparable => "HAProxy: not kept",
        }
    }
}

const fn cost(workload: &'static str, must: f64, aim: f64) -> Goal {
    Goal {
        what: "CPU per unit, ratio to HAProxy",
        workload,
        measure: Measure::ToHaProxy("cost"),
        must,
        aim,
    }
}

const fn late(workload: &'static str) -> Goal {
    Goal {
        what: "p99 at a fixed rate, ratio to HAProxy",
        workload,
        measure: Measure::ToHaProxy("p99"),
        must: 1.0,
        aim: 0.7,
    }
}

const fn growth(what: &'static str, workload: &'static str, from: &'static str) -> Goal {
    Goal {
        what,
        workload,
        measure: Measure::Growth(from),
        must: 1.3,
        aim: 1.1,
    }
}

const fn figure(
    what: &'static str,
    workload: &'static str,
    figure: &'static str,
    must: f64,
    aim: f64,
) -> Goal {
    Goal {
        what,
        workload,
        measure: Measure::Figure(figure),
        must,
        aim,
    }
}

const IDLE_BYTES: &str = "bytes per idle WebSocket";
const IDLE_CPU: &str = "% of a core while 9,000 sockets idle";

/// All of them.
pub(crate) const GOALS: &[Goal] = &[
    cost("relay-64", 0.85, 0.65),
    cost("relay-1k", 0.85, 0.65),
    cost("relay-16k", 0.45, 0.33),
    cost("relay-64-20000/s", 0.90, 0.75),
    cost("fan-out-256", 0.85, 0.65),
    cost("tls-relay-1k", 0.90, 0.65),
    cost("tls-relay-1k-10000/s", 0.90, 0.65),
    cost("connect", 0.95, 0.80),
    cost("tls-connect-full", 0.50, 0.38),
    cost("tls-connect-resumed", 0.50, 0.35),
    cost("http", 0.80, 0.60),
    late("relay-64-20000/s"),
    late("relay-64-5000/s"),
    late("tls-relay-1k-10000/s"),
    late("http-10000/s"),
    growth(
        "9,000 sockets beside 100",
        "relay-64-9000-sockets",
        "relay-64-100-sockets",
    ),
    growth(
        "3,000 servers beside 3, requests",
        "http-3000-servers",
        "http",
    ),
    growth(
        "3,000 servers beside 3, connects",
        "connect-3000-servers",
        "connect",
    ),
    growth("1,000 rules beside 10", "http-1000-rules", "http-10-rules"),
    Goal {
        must: 1.15,
        aim: 1.05,
        ..growth("two workers beside one", "relay-64-2-workers", "relay-64")
    },
    figure(IDLE_BYTES, "idle", "bytes", 1_500.0, 600.0),
    figure(IDLE_BYTES, "tls-idle", "bytes", 6_000.0, 4_500.0),
    figure(IDLE_CPU, "idle", "core_percent", 0.5, 0.1),
    figure(IDLE_CPU, "tls-idle", "core_percent", 0.5, 0.1),
    figure(
        "ms to apply a changed list of 1,000 nodes",
        "list-changes",
        "apply_ms",
        10.0,
        2.0,
    ),
    figure(
        "ms that a tunnel is later beside a change",
        "list-changes",
        "later_max",
        5.0,
        2.0,
    ),
    figure(
        "ms that others are later beside greedy ones",
        "greedy",
        "later_max",
        5.0,
        5.0,
    ),
];

impl Goal {
    /// What was measured of ours; `None`: nothing.
    pub(crate) fn value(&self, results: &Results) -> Option<f64> {
        let of = |workload, proxy, figure| Of {
            workload,
            proxy,
            figure,
        };
        let ours = |figure| of(self.workload, JUDGED, figure);
        match self.measure {
            Measure::ToHaProxy(figure) => {
                let theirs = of(self.workload, REFERENCE, figure);
                results.ratio(ours(figure), theirs).map(|it| it.median)
            }
            Measure::Growth(base) => {
                let base = of(base, JUDGED, "cost");
                results.ratio(ours("cost"), base).map(|it| it.median)
            }
            Measure::Figure(figure) => results.median(ours(figure)),
        }
    }

    /// How that stands to the goal; `None`: it was not measured. A round of ours that does not count is
    /// not made good by others.
    pub(crate) fn judge(&self, results: &Results) -> Option<Verdict> {
        let has_void = |workload, proxy| results.has_void(workload, proxy);
        let base_void = match self.measure {
            Measure::Growth(base) => has_void(base, JUDGED),
            _ => false,
        };
        if has_void(self.workload, JUDGED) || base_void {
            return Some(Verdict::NotKept);
        }
        let compared = matches!(self.measure, Measure::ToHaProxy(_));
        match self.value(results) {
            Some(value) => Some(self.verdict(value)),
            None if compared && has_void(self.workload, REFERENCE) => Some(Verdict::NotComparable),
            None => None,
        }
    }

    fn verdict(&self, value: f64) -> Verdict {
        if value <= self.aim {
            Verdict::Aim
        } else if value <= self.must {
            Verdict::Met
        } else {
            Verdict::Missed
        }
    }

    /// The goal of a workload's processor time, if it has one.
    pub(crate) fn of_cost(workload: &str) -> Option<&'static Self> {
        let about =
            |goal: &&Self| goal.workload == workload && goal.measure == Measure::ToHaProxy("cost");
        GOALS.iter().find(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WORKLOADS;

    #[test]
    fn goals_are_about_what_is_measured() {
        for goal in GOALS {
            let known = |name: &str| WORKLOADS.iter().find(|workload| workload.name == name);
            let workload = known(goal.workload).expect(goal.workload);
            if let Measure::Growth(base) = goal.measure {
                let base = known(base).expect(base);
                assert_eq!(base.group, workload.group, "{}", goal.what);
            }
            assert!(goal.aim <= goal.must);
        }
    }

    #[test]
    fn a_run_that_does_not_count_is_told() {
        let goal = cost("relay-64", 0.85, 0.65);
        let mut results = Results::default();
        assert_eq!(goal.judge(&results), None);
        results.not_kept("relay-64", REFERENCE);
        assert_eq!(goal.judge(&results), Some(Verdict::NotComparable));
        for proxy in [JUDGED, REFERENCE] {
            results.add("relay-64", proxy, 0, [("cost", 1.0)].into());
        }
        assert_eq!(goal.judge(&results), Some(Verdict::Missed));
        results.not_kept("relay-64", JUDGED);
        assert_eq!(goal.judge(&results), Some(Verdict::NotKept));
    }

    #[test]
    fn a_goal_is_missed_met_or_more() {
        let goal = cost("relay-64", 0.85, 0.65);
        assert_eq!(goal.verdict(0.9), Verdict::Missed);
        assert_eq!(goal.verdict(0.85), Verdict::Met);
        assert_eq!(goal.verdict(0.6), Verdict::Aim);
        assert_eq!(goal.verdict(f64::NAN), Verdict::Missed);
    }
}
