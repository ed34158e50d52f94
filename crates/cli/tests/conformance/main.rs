//! The oracle: the same configuration and the same requests through HAProxy and through tidegate.
//!
//! The table is in `conformance/` at the top of the repository, which also says how to read it and
//! how to add to it. A case passes when both programs gave the same answers to the client, sent the
//! same requests to the same nodes, and wrote the same log lines; ports, dates and durations are
//! masked first. What differs on purpose stands in `conformance/exceptions.toml` with its reason,
//! and an exception that no longer differs fails the run.
//!
//! `CONFORMANCE=text` runs only the groups and cases whose id contains the text, and shows what
//! both programs did.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test reports, in its helpers too"
)]

mod client;
mod exceptions;
mod kept;
mod mask;
mod node;
mod oracle;
mod report;
mod script;
mod side;
mod table;
mod traffic;
mod verdicts;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::exceptions::Exceptions;
use crate::kept::Kept;
use crate::report::{Finding, Report};
use crate::table::{Group, Kind};

/// Groups under way at once. More than there are processors: many cases wait for a time-out.
const AT_ONCE: usize = 6;

#[test]
fn haproxy_and_tidegate_agree() {
    let haproxy = oracle::find();
    let filter = std::env::var("CONFORMANCE").ok();
    let mut groups = table::load();
    table::assert_ids_are_unique(&groups);
    let all_ids: Vec<String> = groups.iter().flat_map(Group::ids).collect();
    let exceptions = Exceptions::load();
    if let Some(filter) = &filter {
        groups.iter_mut().for_each(|group| group.keep_only(filter));
        groups.retain(|group| !group.cases.is_empty());
        assert!(!groups.is_empty(), "no group or case contains '{filter}'");
    }
    let findings = run_all(&haproxy, &groups);
    let mut kept = Kept::load();
    let partial = filter.is_some();
    let report = Report::new(&findings, &exceptions, &mut kept, &all_ids, partial);
    if !partial {
        kept.write();
    }
    report.print();
    assert!(report.is_clean(), "{}", report.summary());
}

/// Runs the groups, several at once, and returns what they found in the order of the table.
fn run_all(haproxy: &str, groups: &[Group]) -> Vec<Finding> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Vec<Finding>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(groups.len()) {
            scope.spawn(|| {
                while let Some((index, group)) = take(&next, groups) {
                    let ran = std::panic::catch_unwind(|| match group.kind {
                        Kind::Traffic => traffic::run(haproxy, group),
                        Kind::Verdicts => verdicts::run(haproxy, group),
                    });
                    let findings = ran.unwrap_or_else(|_| vec![Finding::failed(&group.id)]);
                    found.lock().unwrap().push((index, findings));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().flat_map(|(_, found)| found).collect()
}

fn take<'a>(next: &AtomicUsize, groups: &'a [Group]) -> Option<(usize, &'a Group)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    groups.get(index).map(|group| (index, group))
}
