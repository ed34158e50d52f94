//! Which list is believed. Pure.
//!
//! A service that has lost its database, a wrong environment or a typing error all look like a list:
//! one that names far fewer nodes, or the same nodes elsewhere. What such a list adds is harmless (a
//! newcomer gets traffic after a check only), what it takes away is not. So a list that would take
//! away more than half of the healthy nodes at once is believed in what it adds, and held in what it
//! takes away until a list some time later misses the very same nodes. Sooner, or with other nodes
//! missing, it may be a service that has just begun anew and whose table fills.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::discovery::{Fleet, Node};
use crate::plan::{Health, Observed};

/// Nodes that lists miss and that stay until another list confirms it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    missing: BTreeSet<Node>,
    /// When a list missed exactly these for the first time.
    since: Duration,
    /// Nodes in force that the missing ones were of.
    nodes: usize,
}

/// The fleet to work towards, and what was held back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The fleet.
    pub(crate) fleet: Fleet,
    /// What a later list has to confirm.
    pub(crate) held: Option<Held>,
}

/// Decides what of a new list is believed. `held` is what the lists before it left to be confirmed,
/// which a list can from `confirm_after` on.
pub(crate) fn admit(
    in_force: &Fleet,
    listed: Fleet,
    observed: &Observed,
    held: Option<&Held>,
    now: Duration,
    confirm_after: Duration,
) -> Admitted {
    let missing = in_force
        .nodes()
        .iter()
        .filter(|node| !listed.contains(node));
    let missing: BTreeSet<Node> = missing.cloned().collect();
    let since = match held {
        Some(held) if held.missing == missing => Some(held.since),
        _ => None,
    };
    let believed = match (held, since) {
        _ if missing.is_empty() => true,
        (None, _) => !takes_most(in_force, &missing, observed),
        (Some(_), since) => since.is_some_and(|since| now >= since + confirm_after),
    };
    if believed {
        return Admitted {
            fleet: listed,
            held: None,
        };
    }
    let both = listed.nodes().iter().chain(&missing).cloned().collect();
    Admitted {
        fleet: Fleet::settle(both, in_force, usize::MAX).0,
        held: Some(Held {
            missing,
            since: since.unwrap_or(now),
            nodes: in_force.len(),
        }),
    }
}

/// Whether the missing nodes are more than half of those that count. Nodes that are down do not,
/// unless they are more than half themselves: then it may be our own network that fails, and checks
/// are no witness against anybody.
fn takes_most(in_force: &Fleet, missing: &BTreeSet<Node>, observed: &Observed) -> bool {
    // A node that no check has looked at yet counts as healthy: after a start with a state file
    // nothing is known of any node, and the first list may be the lying one.
    let down: BTreeSet<&Node> = {
        let servers = observed.servers.iter();
        let down = servers.filter(|seen| seen.health == Health::Down);
        down.filter_map(|seen| seen.node.as_ref()).collect()
    };
    let all = in_force.nodes();
    let healthy = all.iter().filter(|node| !down.contains(node)).count();
    let checks_tell = healthy * 2 >= all.len();
    let counts = |node: &&Node| !(checks_tell && down.contains(node));
    missing.iter().filter(counts).count() * 2 > all.iter().filter(counts).count()
}

/// For people: what is held and why.
impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self
            .missing
            .iter()
            .take(NAMES_MAX)
            .map(|node| node.id.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let more = if self.missing.len() > NAMES_MAX {
            ", …"
        } else {
            ""
        };
        write!(
            f,
            "the list misses {} of {} nodes ({names}{more}): they stay until a later fetch confirms it",
            self.missing.len(),
            self.nodes,
        )
    }
}

/// Nodes that a message names; the rest is a number.
const NAMES_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::{fleet, nodes};
    use crate::plan::tests::observed;

    const CONFIRM_AFTER: Duration = Duration::from_secs(15);

    /// Feeds lists one after the other, as `second list`; each comes with the fleet expected after
    /// it, and whether something is held then.
    #[track_caller]
    fn check(in_force: &str, there: &str, lists: &[(u64, &str, &str, bool)]) {
        let mut in_force = fleet(in_force);
        let (there, mut held) = (observed(there), None);
        for (second, list, expected, holds) in lists {
            let (listed, now) = (fleet(list), Duration::from_secs(*second));
            let admitted = admit(&in_force, listed, &there, held.as_ref(), now, CONFIRM_AFTER);
            assert_eq!(admitted.fleet.nodes(), nodes(expected), "{second} {list}");
            assert_eq!(admitted.held.is_some(), *holds, "{second} {list}");
            (in_force, held) = (admitted.fleet, admitted.held);
        }
    }

    const ABCD: &str = "a=h1:1 b=h2:1 c=h3:1 d=h4:1";
    const AB: &str = "a=h1:1 b=h2:1";
    const A: &str = "a=h1:1";
    const B: &str = "b=h2:1";

    #[test]
    fn half_may_go_at_once_and_more_only_when_confirmed() {
        check(ABCD, "", &[(0, AB, AB, false)]);
        check(ABCD, "", &[(0, A, ABCD, true), (30, A, A, false)]);
        check(A, "", &[(0, B, AB, true), (30, B, B, false)]);
    }

    #[test]
    fn a_list_confirms_only_after_a_while() {
        let held = (0, A, ABCD, true);
        check(ABCD, "", &[held, (14, A, ABCD, true), (15, A, A, false)]);
    }

    #[test]
    fn a_list_confirms_only_what_the_one_before_missed() {
        let held = (0, A, ABCD, true);
        let other = (20, B, ABCD, true);
        check(ABCD, "", &[held, other, (40, B, B, false)]);
        check(ABCD, "", &[held, other, (30, B, ABCD, true)]);
        check(
            ABCD,
            "",
            &[held, (20, ABCD, ABCD, false), (40, A, ABCD, true)],
        );
    }

    #[test]
    fn a_table_that_fills_again_takes_nothing_away() {
        let abc = "a=h1:1 b=h2:1 c=h3:1";
        let filling = [
            (0, A, ABCD, true),
            (20, AB, ABCD, true),
            (40, abc, ABCD, true),
        ];
        check(ABCD, "", &filling);
        check(ABCD, "", &[filling[0], filling[1], (40, AB, AB, false)]);
    }

    #[test]
    fn newcomers_join_while_removals_are_held() {
        let (c, abc) = ("c=h3:1", "a=h1:1 b=h2:1 c=h3:1");
        check(AB, "", &[(0, c, abc, true), (30, c, c, false)]);
    }

    #[test]
    fn all_nodes_at_other_addresses_is_a_removal_too() {
        let new = "a=h3:1 b=h4:1";
        check(AB, "", &[(0, new, AB, true), (30, new, new, false)]);
    }

    #[test]
    fn nodes_that_are_down_are_not_counted_while_others_are_up() {
        let two = "a=h1:1 up\nb=h2:1 up\nc=h3:1 down\nd=h4:1 down";
        check(ABCD, two, &[(0, A, A, false)]);
        check(ABCD, two, &[(0, "c=h3:1", ABCD, true)]);
        let one = "a=h1:1 up\nb=h2:1 down\nc=h3:1 down\nd=h4:1 down";
        check(ABCD, one, &[(0, A, ABCD, true), (30, A, A, false)]);
    }

    #[test]
    fn when_all_nodes_are_down_a_stranger_does_not_replace_them() {
        let there = "a=h1:1 down\nb=h2:1 down";
        let (x, both) = ("x=h9:1", "a=h1:1 b=h2:1 x=h9:1");
        check(AB, there, &[(0, x, both, true), (30, x, x, false)]);
    }
}
