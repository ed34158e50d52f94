//! Which list is believed. Pure.
//!
//! A service that has lost its database, a wrong environment or a typing error all look like a list:
//! one that names far fewer nodes, or the same nodes elsewhere. What such a list adds is harmless (a
//! newcomer gets traffic after a check only), what it takes away is not. So a list that would take
//! away more than half of the healthy nodes at once is believed in what it adds, and held in what it
//! takes away until a list some time later misses the very same nodes. Sooner, or with other nodes
//! missing, it may be a service that has just begun anew and whose table fills.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::command::Admin;

use crate::discovery::change::Change;
use crate::discovery::{Fleet, Node, NodeId};
use crate::plan::{Health, Observed, Seen};

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

/// What is known when news come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The fleet so far.
    pub(crate) in_force: &'a Fleet,
    /// Nodes that news took away or moved a moment ago, within the time that a list needs to be confirmed. They
    /// count with those that leave now: half, and half of the rest, and so on, is all.
    pub(crate) recent: &'a [Node],
    /// What the backend looks like.
    pub(crate) observed: &'a Observed,
    /// What is left to be confirmed.
    pub(crate) held: Option<&'a Held>,
    /// The moment.
    pub(crate) now: Duration,
    /// How much later than a list another one confirms it.
    pub(crate) confirm_after: Duration,
}

/// Decides what of a new list is believed.
pub(crate) fn admit(known: &Known<'_>, listed: Fleet) -> Admitted {
    let in_force = known.in_force;
    let missing = in_force
        .nodes()
        .iter()
        .filter(|node| !listed.contains(node));
    let missing: BTreeSet<Node> = missing.cloned().collect();
    let since = match known.held {
        Some(held) if held.missing == missing => Some(held.since),
        _ => None,
    };
    let believed = match (known.held, since) {
        _ if missing.is_empty() => true,
        (None, _) => !known.would_lose_most(&missing),
        (Some(_), since) => since.is_some_and(|since| known.confirms(since)),
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
            since: since.unwrap_or(known.now),
            nodes: in_force.len(),
        }),
    }
}

/// Why a change does not fit the fleet it is to be made to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// No node has that id.
    Unknown(NodeId),
    /// That node is there already, somewhere else.
    Elsewhere(Node),
    /// That node is at the address.
    Taken(Node),
    /// There are as many nodes as allowed.
    Full(usize),
    /// Nobody would be left.
    Last(NodeId),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "no node is called {id}"),
            Self::Elsewhere(node) => {
                let Node { id, address } = node;
                write!(f, "{id} is known at {address}: \"update\" moves it")
            }
            Self::Taken(node) => write!(f, "{} is the address of {}", node.address, node.id),
            Self::Full(max) => write!(f, "there are max-nodes ({max}) nodes already"),
            Self::Last(id) => write!(
                f,
                "{id} is the only node: it stays until there is another one"
            ),
        }
    }
}

/// Decides what of one change is believed: what it adds at once, what it takes away as if a list did. It
/// confirms nothing but itself, since it says nothing of other nodes.
pub(crate) fn admit_change(
    known: &Known<'_>,
    change: Change,
    nodes_max: usize,
) -> Result<Admitted, Unfit> {
    let in_force = known.in_force;
    let there = |id: &NodeId| in_force.get(id).cloned();
    match change {
        Change::Add(node) => match there(&node.id) {
            Some(there) if there == node => Ok(known.still_there(&node)),
            Some(there) => Err(Unfit::Elsewhere(there)),
            None if in_force.len() >= nodes_max => Err(Unfit::Full(nodes_max)),
            None => {
                known.check_place(&node)?;
                Ok(Admitted {
                    fleet: known.with(None, Some(node)),
                    held: known.held.cloned(),
                })
            }
        },
        Change::Update(node) => {
            let old = there(&node.id).ok_or_else(|| Unfit::Unknown(node.id.clone()))?;
            if old == node {
                return Ok(known.still_there(&node));
            }
            known.check_place(&node)?;
            known.replace(old, Some(node))
        }
        Change::Remove(id) => {
            let old = there(&id).ok_or(Unfit::Unknown(id))?;
            known.replace(old, None)
        }
    }
}

impl Known<'_> {
    /// Whether what was missing then is believed now.
    fn confirms(&self, since: Duration) -> bool {
        self.now >= since + self.confirm_after
    }

    /// The fleet without one node and with another.
    fn with(&self, without: Option<&Node>, with: Option<Node>) -> Fleet {
        let nodes = self.in_force.nodes().iter();
        let stays = nodes.filter(|node| Some(*node) != without).cloned();
        Fleet::settle(stays.chain(with).collect(), self.in_force, usize::MAX).0
    }

    /// Nothing changes, but that a node which was missing is there.
    fn still_there(&self, node: &Node) -> Admitted {
        let mut held = self.held.cloned();
        if let Some(held) = &mut held {
            held.missing.remove(node);
        }
        Admitted {
            fleet: self.in_force.clone(),
            held: held.filter(|held| !held.missing.is_empty()),
        }
    }

    /// Whether another node is at the same place.
    fn check_place(&self, node: &Node) -> Result<(), Unfit> {
        let place = node.address.place();
        let mut others = self.in_force.nodes().iter().filter(|it| it.id != node.id);
        match others.find(|other| other.address.place() == place) {
            Some(other) => Err(Unfit::Taken(other.clone())),
            None => Ok(()),
        }
    }

    /// One node leaves, or moves.
    fn replace(&self, old: Node, new: Option<Node>) -> Result<Admitted, Unfit> {
        let fleet = self.with(Some(&old), new);
        if fleet.is_empty() {
            return Err(Unfit::Last(old.id));
        }
        let alone = BTreeSet::from([old.clone()]);
        let believed = match self.held {
            None => !self.would_lose_most(&alone),
            Some(held) => held.missing == alone && self.confirms(held.since),
        };
        if believed {
            return Ok(Admitted { fleet, held: None });
        }
        let mut held = self.held.cloned().unwrap_or(Held {
            missing: BTreeSet::new(),
            since: self.now,
            nodes: self.in_force.len(),
        });
        if held.missing.insert(old) {
            held.since = self.now;
        }
        Ok(Admitted {
            fleet: self.in_force.clone(),
            held: Some(held),
        })
    }

    /// Whether the missing nodes, and those that went a moment ago, are more than half of those that
    /// count. Nodes that are down do not, unless they are more than half themselves: then it may be our own
    /// network that fails, and checks are no witness against anybody.
    fn would_lose_most(&self, missing: &BTreeSet<Node>) -> bool {
        // A node that no check has looked at yet counts as healthy: after a start with a state file
        // nothing is known of any node, and the first list may be the lying one.
        let down: BTreeSet<&Node> = {
            let servers = self.observed.servers.iter();
            // One that drains takes nothing, whatever its checks say.
            let is_down = |seen: &&Seen| seen.health == Health::Down && seen.admin != Admin::Drain;
            let down = servers.filter(is_down);
            down.filter_map(|seen| seen.node.as_ref()).collect()
        };
        // A node that moved is one node, and was there before it moved: where it is said to be now may be
        // nowhere, and being down there is no reason not to count it.
        let in_force = self.in_force.nodes().iter();
        let mut all: BTreeMap<&NodeId, &Node> = in_force.map(|node| (&node.id, node)).collect();
        let gone = self.recent.iter();
        let gone: Vec<&Node> = gone.filter(|node| !self.in_force.contains(node)).collect();
        all.extend(gone.iter().map(|node| (&node.id, *node)));
        let healthy = all.values().filter(|node| !down.contains(*node)).count();
        let checks_tell = healthy * 2 >= all.len();
        let counts =
            |id: &&NodeId| !(checks_tell && all.get(id).is_some_and(|it| down.contains(it)));
        let lost = missing.iter().chain(gone);
        let lost: BTreeSet<&NodeId> = lost.map(|node| &node.id).collect();
        lost.iter().copied().filter(counts).count() * 2 > all.keys().copied().filter(counts).count()
    }
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
            let known = Known {
                in_force: &in_force,
                recent: &[],
                observed: &there,
                held: held.as_ref(),
                now,
                confirm_after: CONFIRM_AFTER,
            };
            let admitted = admit(&known, listed);
            assert_eq!(admitted.fleet.nodes(), nodes(expected), "{second} {list}");
            assert_eq!(admitted.held.is_some(), *holds, "{second} {list}");
            (in_force, held) = (admitted.fleet, admitted.held);
        }
    }

    /// Makes changes one after the other, as `second change`, `add a=h1:1` say; each comes with the fleet
    /// expected after it and what is held then, or with why it does not fit.
    #[track_caller]
    fn check_changes(in_force: &str, changes: &[(u64, &str, &str)]) {
        let (mut in_force, there, mut held) = (fleet(in_force), observed(""), None);
        let mut recent: Vec<Node> = Vec::new();
        for (second, change, expected) in changes {
            let (word, rest) = change.split_once(' ').unwrap();
            let change_made = match word {
                "add" => Change::Add(nodes(rest).remove(0)),
                "update" => Change::Update(nodes(rest).remove(0)),
                _ => Change::Remove(NodeId::parse(rest).unwrap()),
            };
            let known = Known {
                in_force: &in_force,
                recent: &recent,
                observed: &there,
                held: held.as_ref(),
                now: Duration::from_secs(*second),
                confirm_after: CONFIRM_AFTER,
            };
            let got = match admit_change(&known, change_made, 5) {
                Ok(admitted) => {
                    let left = in_force.nodes().iter();
                    let left = left.filter(|node| !admitted.fleet.contains(node));
                    recent.extend(left.cloned());
                    let words = |node: &Node| {
                        let address = node.address.to_string();
                        format!("{}={}", node.id, address.trim_start_matches("http://"))
                    };
                    let there: Vec<String> = admitted.fleet.nodes().iter().map(words).collect();
                    (in_force, held) = (admitted.fleet, admitted.held);
                    let missing = held.iter().flat_map(|held: &Held| &held.missing);
                    let missing: Vec<&str> = missing.map(|node| node.id.as_str()).collect();
                    format!("{} | {}", there.join(" "), missing.join(" "))
                }
                Err(unfit) => unfit.to_string(),
            };
            assert_eq!(got, *expected, "{second} {change}");
        }
    }

    #[test]
    fn changes_are_made_one_by_one() {
        check_changes(
            AB,
            &[
                (0, "add c=h3:1", "a=h1:1 b=h2:1 c=h3:1 | "),
                (0, "add c=h3:1", "a=h1:1 b=h2:1 c=h3:1 | "),
                (0, "update c=h4:1", "a=h1:1 b=h2:1 c=h4:1 | "),
                (0, "remove c", "a=h1:1 b=h2:1 | "),
            ],
        );
    }

    #[test]
    fn a_change_that_does_not_fit_says_why() {
        check_changes(
            AB,
            &[
                (
                    0,
                    "add a=h9:1",
                    "a is known at http://h1:1: \"update\" moves it",
                ),
                (0, "add c=h1:1", "http://h1:1 is the address of a"),
                (0, "update c=h3:1", "no node is called c"),
                (0, "update a=h2:1", "http://h2:1 is the address of b"),
                (0, "remove c", "no node is called c"),
            ],
        );
        let last = "a is the only node: it stays until there is another one";
        check_changes(A, &[(0, "remove a", last)]);
        let five = "a=h1:1 b=h2:1 c=h3:1 d=h4:1 e=h5:1";
        let full = "there are max-nodes (5) nodes already";
        check_changes(five, &[(0, "add f=h6:1", full)]);
    }

    #[test]
    fn one_removal_after_the_other_is_as_much_as_all_at_once() {
        let cd = "c=h3:1 d=h4:1";
        check_changes(
            ABCD,
            &[
                (0, "remove a", "b=h2:1 c=h3:1 d=h4:1 | "),
                (0, "remove b", "c=h3:1 d=h4:1 | "),
                (0, "remove c", &format!("{cd} | c")),
                (1, "remove d", &format!("{cd} | c d")),
                // Each is believed when it is said again, a while later, and nothing else is open.
                (9, "add d=h4:1", &format!("{cd} | c")),
                (15, "remove c", &format!("{cd} | c")),
                (16, "remove c", "d=h4:1 | "),
            ],
        );
    }

    #[test]
    fn one_move_after_the_other_is_as_much_as_all_at_once() {
        let moved = "a=h6:1 b=h7:1 c=h3:1 d=h4:1";
        check_changes(
            ABCD,
            &[
                (0, "update a=h6:1", "a=h6:1 b=h2:1 c=h3:1 d=h4:1 | "),
                (0, "update b=h7:1", &format!("{moved} | ")),
                (0, "update c=h8:1", &format!("{moved} | c")),
                (1, "update d=h9:1", &format!("{moved} | c d")),
            ],
        );
        // The same node again is the same node.
        check_changes(
            ABCD,
            &[
                (0, "update a=h6:1", "a=h6:1 b=h2:1 c=h3:1 d=h4:1 | "),
                (0, "update a=h7:1", "a=h7:1 b=h2:1 c=h3:1 d=h4:1 | "),
                (0, "update a=h8:1", "a=h8:1 b=h2:1 c=h3:1 d=h4:1 | "),
                (0, "remove b", "a=h8:1 c=h3:1 d=h4:1 | "),
                (0, "remove c", "a=h8:1 c=h3:1 d=h4:1 | c"),
            ],
        );
    }

    #[test]
    fn a_change_confirms_nothing_but_itself() {
        check_changes(
            "a=h1:1",
            &[
                (0, "update a=h2:1", "a=h1:1 | a"),
                (20, "add b=h5:1", "a=h1:1 b=h5:1 | a"),
                (20, "remove b", "a=h1:1 b=h5:1 | a b"),
                (40, "update a=h2:1", "a=h1:1 b=h5:1 | a b"),
            ],
        );
        check_changes(
            "a=h1:1",
            &[
                (0, "update a=h2:1", "a=h1:1 | a"),
                (15, "update a=h2:1", "a=h2:1 | "),
            ],
        );
    }

    #[test]
    fn lists_that_halve_a_fleet_again_and_again_take_more_than_half() {
        let (in_force, there) = (fleet(AB), observed(""));
        let gone = nodes("c=h3:1 d=h4:1");
        let known = Known {
            in_force: &in_force,
            recent: &gone,
            observed: &there,
            held: None,
            now: Duration::ZERO,
            confirm_after: CONFIRM_AFTER,
        };
        assert!(admit(&known, fleet(A)).held.is_some());
        assert!(
            admit(
                &Known {
                    recent: &gone[..1],
                    ..known
                },
                fleet(AB)
            )
            .held
            .is_none()
        );
        // One that is back has not left.
        let back = Known {
            recent: &in_force.nodes()[..1],
            ..known
        };
        assert!(admit(&back, fleet(A)).held.is_none());
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
