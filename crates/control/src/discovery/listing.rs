//! The node list as text: a JSON array of entries, each read for itself.
//!
//! The text is foreign. It is read as an array of raw values, so that an entry with wrong types, a
//! bad escape or thousandfold nesting costs that entry alone; only a text that is no array of JSON
//! values fails as a whole. Used for the service's answers, the embedded registry and the state
//! file alike: one gate for all.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::address::{HostTemplate, NodeAddress};
use super::{Fleet, Node, NodeId, Skipped, shown};

/// Most entries of a list: twice the largest `max-nodes`, so that as many may be listed in vain. A
/// longer list is refused as a whole: what its end would have said of a node is not known.
const ENTRIES_MAX: usize = 2 * config::model::NODES_MAX;

/// Most entries left out that are remembered with their reason; the rest is only counted.
const REASONS_MAX: usize = 100;

/// What a list said.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Usable entries, as they came: ids and addresses may repeat.
    candidates: Vec<Node>,
    /// Ids of entries whose other fields are no good. No news about a node is not "it is gone".
    unreadable: Vec<NodeId>,
    /// Entries left out, the first [`REASONS_MAX`] of them.
    skipped: Vec<Skipped>,
    /// Entries left out.
    skipped_count: u64,
}

/// Why a text is no list at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotAList {
    /// It begins like an HTML page.
    Html,
    /// It is JSON or something else that is no array.
    NotAnArray,
    /// It begins as an array and ends as nothing: cut off, or not JSON. Line and column.
    Malformed(usize, usize),
    /// It has more than [`ENTRIES_MAX`] entries.
    TooMany,
}

impl std::fmt::Display for NotAList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Html => f.write_str("it is an HTML page, not JSON"),
            Self::NotAnArray => f.write_str(
                "it is neither a JSON array (the list of nodes) nor an object (one change)",
            ),
            Self::Malformed(line, column) => {
                write!(
                    f,
                    "the list is cut off or not JSON at line {line}, column {column}"
                )
            }
            Self::TooMany => write!(f, "the list has more than {ENTRIES_MAX} entries"),
        }
    }
}

/// One entry. Unknown fields (`last_seen`, `created_at`, …) are read over: they change at each call.
/// `url` and `status` are read for themselves: whatever they are, the entry says that the node is
/// there.
#[derive(Deserialize)]
struct Entry<'a> {
    id: String,
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

/// Whether a node of that `status` asks for work. The Node.js service names `active` ones only.
pub(crate) fn is_active(status: &str) -> bool {
    status.eq_ignore_ascii_case("active")
}

impl Listing {
    /// Reads a list; `rewrite` is for nodes that call themselves `localhost`.
    pub(crate) fn parse(text: &[u8], rewrite: Option<&HostTemplate>) -> Result<Self, NotAList> {
        let start = text.iter().find(|byte| !byte.is_ascii_whitespace());
        match start {
            Some(b'[') => {}
            Some(b'<') => return Err(NotAList::Html),
            _ => return Err(NotAList::NotAnArray),
        }
        let entries: Entries<'_> = serde_json::from_slice(text)
            .map_err(|error| NotAList::Malformed(error.line(), error.column()))?;
        if entries.too_many {
            return Err(NotAList::TooMany);
        }
        let mut listing = Self::default();
        for entry in entries.first {
            listing.take(entry.get(), rewrite);
        }
        Ok(listing)
    }

    /// Takes one entry, or notes why not.
    fn take(&mut self, text: &str, rewrite: Option<&HostTemplate>) {
        let entry: Entry<'_> = match serde_json::from_str(text) {
            Ok(entry) => entry,
            Err(_) => return self.skip(text, "it is no object with the text \"id\""),
        };
        let id = match NodeId::parse(&entry.id) {
            Ok(id) => id,
            Err(why) => return self.skip(&entry.id, why),
        };
        let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
        // The field may be left out: the node is active then.
        match entry.status.map(text) {
            None => {}
            Some(Some(status)) if is_active(&status) => {}
            // It asks for no more work: it is as if it had left.
            Some(Some(_)) => return self.skip(id.as_str(), "its status is not active"),
            Some(None) => return self.cannot_read(id, "its status is no text".to_owned()),
        }
        let Some(url) = entry.url.and_then(text) else {
            return self.cannot_read(id, "its url is no text".to_owned());
        };
        match NodeAddress::parse_for(&url, id.as_str(), rewrite) {
            Ok(address) => self.candidates.push(Node { id, address }),
            Err(why) => self.cannot_read(id, format!("{why} (\"{}\")", shown(&url))),
        }
    }

    /// Leaves out an entry whose id is good; a node in force stays.
    fn cannot_read(&mut self, id: NodeId, why: String) {
        self.skip(id.as_str(), why);
        self.unreadable.push(id);
    }

    fn skip(&mut self, who: &str, why: impl Into<String>) {
        self.skipped_count += 1;
        if self.skipped.len() < REASONS_MAX {
            self.skipped.push(Skipped::new(who, why));
        }
    }

    /// The fleet that this list and the one in force make, and what was left out on the way. A node
    /// in force whose entry could not be read stays as it is.
    pub(crate) fn settle(mut self, in_force: &Fleet, nodes_max: usize) -> Settled {
        let listed: BTreeSet<_> = self.candidates.iter().map(|node| node.id.clone()).collect();
        let kept = self.unreadable.iter().filter(|id| !listed.contains(*id));
        let kept: BTreeSet<_> = kept.filter_map(|id| in_force.get(id)).cloned().collect();
        self.candidates.extend(kept);
        let (fleet, more) = Fleet::settle(self.candidates, in_force, nodes_max);
        self.skipped_count += more.len() as u64;
        self.skipped.extend(more.into_iter().take(REASONS_MAX));
        self.skipped.sort();
        Settled {
            fleet,
            skipped: self.skipped,
            skipped_count: self.skipped_count,
        }
    }
}

/// A list made into a fleet.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The nodes.
    pub(crate) fleet: Fleet,
    /// Entries left out, in a fixed order; not all of them when there are very many.
    pub(crate) skipped: Vec<Skipped>,
    /// Entries left out.
    pub(crate) skipped_count: u64,
}

/// The first entries as raw text, and whether there were more.
struct Entries<'a> {
    first: Vec<&'a RawValue>,
    too_many: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of nodes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut first, mut too_many) = (Vec::new(), false);
        while first.len() < ENTRIES_MAX {
            match seq.next_element()? {
                Some(entry) => first.push(entry),
                None => return Ok(Entries { first, too_many }),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            too_many = true;
        }
        Ok(Entries { first, too_many })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fleet;
    use super::*;

    /// A list as JSON, the fleet in force, what comes of it: nodes, then what was left out.
    #[track_caller]
    fn check(text: &str, in_force: &str, expected: &[&str]) {
        let got = match Listing::parse(text.as_bytes(), None) {
            Ok(listing) => {
                let settled = listing.settle(&fleet(in_force), 1000);
                let nodes = settled.fleet.nodes().iter().map(ToString::to_string);
                let skipped = settled.skipped.iter().map(ToString::to_string);
                assert_eq!(settled.skipped_count, settled.skipped.len() as u64);
                nodes.chain(skipped).collect()
            }
            Err(error) => vec![format!("{error:?}")],
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn a_list_as_the_services_send_it() {
        check(
            r#"[{"id":"node2","url":"http://10.0.0.6:8081","status":"active","last_seen":"2025-02-09 10:00:00"},
                {"id":"node1","url":"10.0.0.5:8081","status":"active","last_seen":"x","created_at":null}]"#,
            "",
            &[
                "node1 (http://10.0.0.5:8081)",
                "node2 (http://10.0.0.6:8081)",
            ],
        );
        check("[]", "", &[]);
        check(
            r#"[{"id":"a","url":"h:1","status":"inactive"},{"id":"b","url":"h:2","status":"Active"},{"id":"c","url":"h:3"}]"#,
            "",
            &[
                "b (http://h:2)",
                "c (http://h:3)",
                "\"a\": its status is not active",
            ],
        );
    }

    #[test]
    fn one_bad_entry_costs_that_entry() {
        let bomb = "[".repeat(5000) + &"]".repeat(5000);
        let good = r#"{"id":"ok","url":"h:1"}"#;
        let shape = "it is no object with the text \"id\"";
        for (bad, shown) in [
            ("null", "null"),
            ("7", "7"),
            (r#"{"id":1,"url":"h:2"}"#, r#"{\"id\":1,\"url\":\"h:2\"}"#),
            (
                r#"{"id":"\ud800","url":"h"}"#,
                r#"{\"id\":\"\\ud800\",\"url\":\"h\"}"#,
            ),
            (r#"{"id":"a","id":"b"}"#, r#"{\"id\":\"a\",\"id\":\"b\"}"#),
        ] {
            let expected = format!("\"{shown}\": {shape}");
            check(
                &format!("[{bad},{good}]"),
                "",
                &["ok (http://h:1)", &expected],
            );
        }
        let nested = format!(r#"[{{"id":"a","url":"h:2","x":{bomb}}},{bomb},{good}]"#);
        let cut = "[".repeat(64);
        let expected = format!("\"{cut}…\": {shape}");
        let settled = Listing::parse(nested.as_bytes(), None).unwrap();
        let settled = settled.settle(&Fleet::default(), 10);
        assert!(
            settled
                .fleet
                .nodes()
                .iter()
                .any(|node| node.id.as_str() == "ok")
        );
        assert!(
            settled
                .skipped
                .iter()
                .any(|skipped| skipped.to_string() == expected)
        );
        check(
            r#"[{"id":"x\nserver y 1.2.3.4:1","url":"h:2"},{"id":"ok","url":"h:1"}]"#,
            "",
            &[
                "ok (http://h:1)",
                r#""x\nserver y 1.2.3.4:1": the id has characters other than A-Z a-z 0-9 . _ : -"#,
            ],
        );
    }

    #[test]
    fn a_known_node_with_an_unreadable_field_stays_as_it_is() {
        let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let (url, status) = ("its url is no text", "its status is no text");
        for (fields, why) in [
            (r#""url":null"#, url),
            (r#""url":7"#, url),
            (r#""url":"\ud800""#, url),
            (r#""x":0"#, url),
            (&format!("\"url\":{nested}"), url),
            (r#""url":"h:2","status":1"#, status),
            (r#""url":"h:2","status":{}"#, status),
        ] {
            let list = format!(r#"[{{"id":"a",{fields}}}]"#);
            check(
                &list,
                "a=h:1",
                &["a (http://h:1)", &format!("\"a\": {why}")],
            );
        }
        let why = "the url's scheme is none of http, https, ws and wss (\"ftp://h\")";
        let list = r#"[{"id":"a","url":"ftp://h"},{"id":"b","url":"ftp://h"}]"#;
        let (a, b) = (format!("\"a\": {why}"), format!("\"b\": {why}"));
        check(list, "a=h:1", &["a (http://h:1)", &a, &b]);
    }

    #[test]
    fn what_is_no_list_fails_as_a_whole() {
        let bomb = "[".repeat(100_000);
        for (text, expected) in [
            ("", "NotAnArray"),
            ("  ", "NotAnArray"),
            ("null", "NotAnArray"),
            (r#"{"error":"Invalid API key"}"#, "NotAnArray"),
            (r#"{"nodes":[]}"#, "NotAnArray"),
            ("\n<!DOCTYPE html>", "Html"),
            (r#"[{"id":"a","url":"h"}"#, "Malformed(1, 21)"),
            (r#"[{"id":"a","u"#, "Malformed(1, 13)"),
            ("[] []", "Malformed(1, 4)"),
            ("[1,]", "Malformed(1, 4)"),
            (&bomb, "Malformed(1, 100000)"),
        ] {
            check(text, "", &[expected]);
        }
        assert!(Listing::parse(b"[\"\xff\"]", None).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in r#"[\[\]{}",:a-z0-9\\/\.\n \x00é]{0,80}"#) {
            let _ = Listing::parse(text.as_bytes(), None).map(|listing| {
                listing.settle(&fleet("a=h:1"), 2)
            });
        }
    }

    #[test]
    fn a_list_of_very_many_entries_is_bounded() {
        let entry = r#"{"id":"x y","url":"h"}"#;
        let list = |length| format!("[{}]", vec![entry; length].join(","));
        let listing = Listing::parse(list(ENTRIES_MAX).as_bytes(), None).unwrap();
        let settled = listing.settle(&Fleet::default(), 10);
        assert_eq!(settled.skipped_count, ENTRIES_MAX as u64);
        assert_eq!(settled.skipped.len(), REASONS_MAX);
        check(&list(ENTRIES_MAX + 1), "a=h:1", &["TooMany"]);
    }
}
