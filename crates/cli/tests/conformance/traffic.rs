//! A group of cases through both programs, running side by side.

use crate::report::Finding;
use crate::side::{Side, Transcript};
use crate::table::{Case, Group};

/// A case that takes longer is told, so that the table stays quick.
const SLOW: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs a group.
pub(crate) fn run(haproxy: &str, group: &Group) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run_group(haproxy, group))
}

async fn run_group(haproxy: &str, group: &Group) -> Vec<Finding> {
    let tidegate = env!("CARGO_BIN_EXE_tidegate");
    let (mut theirs, mut ours) =
        tokio::join!(Side::start(haproxy, group), Side::start(tidegate, group));
    let mut findings = Vec::new();
    for case in &group.cases {
        let started = std::time::Instant::now();
        let (theirs, ours) = tokio::join!(theirs.run(case), ours.run(case));
        findings.push(compare(case, theirs, ours));
        if started.elapsed() > SLOW {
            println!("{}: {:.1} s", case.id, started.elapsed().as_secs_f32());
        }
    }
    findings
}

fn compare(case: &Case, theirs: Transcript, ours: Transcript) -> Finding {
    let mut finding = Finding::new(&case.id);
    finding.add("client", theirs.client, ours.client);
    finding.add("node", theirs.node, ours.node);
    finding.add("log", theirs.log, ours.log);
    finding.add("stats", theirs.stats, ours.stats);
    finding
}
