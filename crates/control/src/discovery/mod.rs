//! Discovery: who says which nodes there are, and what of it we believe.
//!
//! A list from outside goes through three gates: [`listing`] reads its entries, [`address`] decides
//! what an entry's `url` means, and [`Fleet::settle`] makes one consistent fleet of what is left.
//! Nothing here asks whether a node works; its checks do.

pub(crate) mod address;
pub(crate) mod change;
pub mod event_stream;
pub(crate) mod listing;
pub(crate) mod source;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod wsupdates;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub(crate) use address::{HostTemplate, NodeAddress};

/// Longest id of a node, bytes. UUIDs have 36; a server name has to fit in a log line and a CSV cell.
pub(crate) const ID_LEN_MAX: usize = 128;

/// The id of a node: 1 to [`ID_LEN_MAX`] bytes of `[A-Za-z0-9._:-]`.
///
/// These are the characters HAProxy allows in a server's name, so an id can be one as it is: in
/// CSV, HTML, metrics and configuration text it needs no escaping anywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(Arc<str>);

impl NodeId {
    /// Takes an id as announced, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("the id is empty");
        }
        if text.len() > ID_LEN_MAX {
            return Err("the id is longer than 128 bytes");
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err("the id has characters other than A-Z a-z 0-9 . _ : -");
        }
        if ["FRONTEND", "BACKEND"].contains(&text) {
            return Err("the id is what statistics call the rows of proxies");
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared: server names are made of it.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One node of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    /// Who it is.
    pub(crate) id: NodeId,
    /// Where it is.
    pub(crate) address: NodeAddress,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.address)
    }
}

/// The nodes there should be: sorted by id, no id and no address twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fleet {
    nodes: Vec<Node>,
}

impl Fleet {
    /// Makes a fleet of what a list named.
    ///
    /// Of several entries with one id, or with one address, one is kept: the one that is in force
    /// already, else the one with an id in force, else the first in the order of id and address.
    /// (Never "the first of the list": its order is undefined, so the choice would change by
    /// itself.) By the same preference the fleet is cut to `nodes_max`.
    pub(crate) fn settle(
        mut candidates: Vec<Node>,
        in_force: &Fleet,
        nodes_max: usize,
    ) -> (Self, Vec<Skipped>) {
        candidates.sort_by_cached_key(|node| {
            let known = !in_force.contains(node);
            (known, in_force.get(&node.id).is_none(), node.clone())
        });
        let mut fleet = Self::default();
        let mut skipped = Vec::new();
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for node in candidates {
            let why = if ids.contains(&node.id) {
                "its id is listed twice".to_owned()
            } else if places.contains(&node.address.place()) {
                format!("its address {} is listed twice", node.address)
            } else if fleet.nodes.len() >= nodes_max {
                format!("there are more than max-nodes ({nodes_max})")
            } else {
                ids.insert(node.id.clone());
                places.insert(node.address.place());
                fleet.nodes.push(node);
                continue;
            };
            skipped.push(Skipped::new(node.id.as_str(), why));
        }
        fleet.nodes.sort();
        (fleet, skipped)
    }

    /// The nodes, sorted by id.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many nodes.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node of that id.
    pub(crate) fn get(&self, id: &NodeId) -> Option<&Node> {
        let at = self.nodes.binary_search_by(|node| node.id.cmp(id));
        at.ok().map(|at| &self.nodes[at])
    }

    /// Whether this very node (id and address) is in it.
    pub(crate) fn contains(&self, node: &Node) -> bool {
        self.get(&node.id) == Some(node)
    }
}

/// An entry of a list that was left out, and why. Safe to log: foreign text is escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skipped {
    who: String,
    why: String,
}

impl Skipped {
    /// `who` is foreign text: an id as announced, or whatever the entry was.
    pub(crate) fn new(who: &str, why: impl Into<String>) -> Self {
        Self {
            who: shown(who),
            why: why.into(),
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.who, self.why)
    }
}

/// Foreign text for a log line: control characters, quotes and whatever is not ASCII escaped, cut
/// after [`SHOWN_MAX`] bytes.
pub(crate) fn shown(foreign: &str) -> String {
    shown_up_to(foreign, SHOWN_MAX)
}

/// The same with another bound.
pub(crate) fn shown_up_to(foreign: &str, bytes: usize) -> String {
    let mut text = String::new();
    for character in foreign.chars() {
        if text.len() >= bytes {
            text.push('…');
            break;
        }
        text.extend(character.escape_default());
    }
    text
}

/// Bytes of foreign text that a message quotes: enough to recognise an entry, not to fill a log.
const SHOWN_MAX: usize = 64;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `id=address` pairs, as in `a=10.0.0.1:80 b=https://h`.
    pub(crate) fn nodes(text: &str) -> Vec<Node> {
        text.split_whitespace()
            .map(|pair| {
                let (id, url) = pair.split_once('=').unwrap();
                Node {
                    id: NodeId::parse(id).unwrap(),
                    address: NodeAddress::parse(url).unwrap(),
                }
            })
            .collect()
    }

    pub(crate) fn fleet(text: &str) -> Fleet {
        Fleet::settle(nodes(text), &Fleet::default(), usize::MAX).0
    }

    fn printed(fleet: &Fleet) -> String {
        let nodes = fleet.nodes().iter();
        let nodes = nodes.map(|node| format!("{}={}", node.id, node.address));
        nodes.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn settling_is_independent_of_the_lists_order_and_prefers_what_is_in_force() {
        #[track_caller]
        fn check(in_force: &str, listed: &str, expected: &str, skipped: &[&str]) {
            let mut candidates = nodes(listed);
            for _ in 0..2 {
                let (got, left_out) = Fleet::settle(candidates.clone(), &fleet(in_force), 3);
                assert_eq!(printed(&got), expected);
                let left_out = left_out.iter().map(Skipped::to_string).collect::<Vec<_>>();
                assert_eq!(left_out, skipped);
                candidates.reverse();
            }
        }
        check("", "b=h2:1 a=h1:1", "a=http://h1:1 b=http://h2:1", &[]);
        let twice = &["\"a\": its id is listed twice"];
        check("", "a=h2:1 a=h1:1", "a=http://h1:1", twice);
        check("a=h2:1", "a=h2:1 a=h1:1", "a=http://h2:1", twice);
        let place = &["\"b\": its address http://h:1 is listed twice"];
        check("", "a=h:1 b=h:1", "a=http://h:1", place);
        let place = &["\"a\": its address http://h:1 is listed twice"];
        check("b=h:1", "a=h:1 b=h:1", "b=http://h:1", place);
        let place = &["\"b\": its address https://h:1 is listed twice"];
        check("", "a=h:1 b=https://h:1", "a=http://h:1", place);
        let many = &["\"a\": there are more than max-nodes (3)"];
        check(
            "b=h2:1 c=h3:1 d=h4:1",
            "a=h1:1 b=h2:1 c=h3:1 d=h4:1",
            "b=http://h2:1 c=http://h3:1 d=http://h4:1",
            many,
        );
    }

    #[test]
    fn an_id_is_a_server_name_or_nothing() {
        let long = "x".repeat(129);
        for bad in [
            "",
            " ",
            "a b",
            "a\n server x 1.2.3.4:1",
            "a\"",
            "a'",
            "<b>",
            "é",
            "a/b",
            "a;b",
            "a,b",
            "{a}",
            "a\0",
            "$HOME",
            "a#b",
            &long,
        ] {
            assert!(NodeId::parse(bad).is_err(), "{bad:?}");
        }
        let uuid = "0b5e4c6e-6a0e-4a6f-9a0f-1d1f4f8f7a11";
        for good in ["node1", uuid, "a.b:8081", "A_b-c", &long[1..]] {
            assert_eq!(NodeId::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn foreign_text_in_messages_is_escaped_and_cut() {
        assert_eq!(shown("a\"b\n\u{1b}[2J é"), r#"a\"b\n\u{1b}[2J \u{e9}"#);
        assert!(shown(&"\u{202e}".repeat(10_000)).len() < 80);
    }
}
