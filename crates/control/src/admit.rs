//! Which list is believed. Pure.
//!
//! A service that has lost its database, a wrong environment or a typing error all look like a list:
//! one that names far fewer nodes, or the same nodes elsewhere. What such a list adds is harmless (a
//! newcomer gets traffic after a check only), what it takes away is not. So a list that would take
//! away more than half of the healthy nodes at once is believed in what it adds, and held in what it
//! takes away until the next list says the same.

use std::collections::BTreeSet;

use crate::discovery::{Fleet, Node};
use crate::plan::{Health, Observed};

/// Healthy nodes that a list would take away and that stay until another list confirms it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    removals: BTreeSet<Node>,
    healthy: usize,
}

/// The fleet to work towards, and what was held back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The fleet.
    pub(crate) fleet: Fleet,
    /// What the next list has to confirm.
    pub(crate) held: Option<Held>,
}

/// Decides what of a new list is believed. `held` is what the list before it left to be confirmed.
pub(crate) fn admit(
    in_force: &Fleet,
    listed: Fleet,
    observed: &Observed,
    held: Option<&Held>,
) -> Admitted {
    // A node that no check has looked at yet counts as healthy: after a start with a state file
    // nothing is known of any node, and the first list may be the lying one.
    let down: BTreeSet<&Node> = {
        let servers = observed
            .servers
            .iter()
            .filter(|seen| seen.health == Health::Down);
        servers.filter_map(|seen| seen.node.as_ref()).collect()
    };
    let healthy = in_force.nodes().iter().filter(|node| !down.contains(node));
    let healthy: Vec<&Node> = healthy.collect();
    let removals: BTreeSet<Node> = {
        let gone = healthy.iter().filter(|node| !listed.contains(node));
        gone.map(|node| (*node).clone()).collect()
    };
    let confirmed = held.is_some_and(|held| removals.is_subset(&held.removals));
    if removals.len() * 2 <= healthy.len() || confirmed {
        return Admitted {
            fleet: listed,
            held: None,
        };
    }
    let both = listed.nodes().iter().chain(&removals).cloned().collect();
    Admitted {
        fleet: Fleet::settle(both, in_force, usize::MAX).0,
        held: Some(Held {
            removals,
            healthy: healthy.len(),
        }),
    }
}

/// For people: what is held and why.
impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self
            .removals
            .iter()
            .take(NAMES_MAX)
            .map(|node| node.id.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let more = if self.removals.len() > NAMES_MAX {
            ", …"
        } else {
            ""
        };
        write!(
            f,
            "the list drops {} of {} healthy nodes ({names}{more}): they stay until the next fetch confirms it",
            self.removals.len(),
            self.healthy,
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

    /// Feeds lists one after the other; each comes with the fleet expected after it, and whether
    /// something is held then.
    #[track_caller]
    fn check(in_force: &str, there: &str, lists: &[(&str, &str, bool)]) {
        let mut in_force = fleet(in_force);
        let mut held = None;
        for (list, expected, holds) in lists {
            let admitted = admit(&in_force, fleet(list), &observed(there), held.as_ref());
            assert_eq!(admitted.fleet.nodes(), nodes(expected), "{list}");
            assert_eq!(admitted.held.is_some(), *holds, "{list}");
            (in_force, held) = (admitted.fleet, admitted.held);
        }
    }

    #[test]
    fn half_may_go_at_once_and_more_only_when_confirmed() {
        let all = "a=h1:1 b=h2:1 c=h3:1 d=h4:1";
        check(all, "", &[("a=h1:1 b=h2:1", "a=h1:1 b=h2:1", false)]);
        check(
            all,
            "",
            &[("a=h1:1", all, true), ("a=h1:1", "a=h1:1", false)],
        );
        check(
            "a=h1:1",
            "",
            &[
                ("b=h2:1", "a=h1:1 b=h2:1", true),
                ("b=h2:1", "b=h2:1", false),
            ],
        );
    }

    #[test]
    fn a_second_list_confirms_only_what_the_first_one_dropped() {
        let all = "a=h1:1 b=h2:1 c=h3:1 d=h4:1";
        check(
            all,
            "",
            &[
                ("a=h1:1", all, true),
                ("b=h2:1", all, true),
                ("b=h2:1", "b=h2:1", false),
            ],
        );
        check(
            all,
            "",
            &[
                ("a=h1:1", all, true),
                (all, all, false),
                ("a=h1:1", all, true),
            ],
        );
        check(
            all,
            "",
            &[
                ("a=h1:1", all, true),
                ("a=h1:1 b=h2:1", "a=h1:1 b=h2:1", false),
            ],
        );
    }

    #[test]
    fn newcomers_join_while_removals_are_held() {
        let with_new = "a=h1:1 b=h2:1 c=h3:1";
        check(
            "a=h1:1 b=h2:1",
            "",
            &[("c=h3:1", with_new, true), ("c=h3:1", "c=h3:1", false)],
        );
    }

    #[test]
    fn all_nodes_at_other_addresses_is_a_removal_too() {
        let (old, new) = ("a=h1:1 b=h2:1", "a=h3:1 b=h4:1");
        check(old, "", &[(new, old, true), (new, new, false)]);
    }

    #[test]
    fn nodes_that_are_down_are_not_counted() {
        let all = "a=h1:1 b=h2:1 c=h3:1 d=h4:1";
        let there = "a=h1:1 up\nb=h2:1 down\nc=h3:1 down\nd=h4:1 down";
        check(all, there, &[("a=h1:1", "a=h1:1", false)]);
        check(
            all,
            there,
            &[
                ("b=h2:1", "a=h1:1 b=h2:1", true),
                ("b=h2:1", "b=h2:1", false),
            ],
        );
    }
}
