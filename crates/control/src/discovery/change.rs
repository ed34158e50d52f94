//! One change of the fleet as text: a JSON object, posted by whoever has the key or sent as an event.
//!
//! ```text
//!   {"action": "add",    "id": "node7", "url": "http://10.0.0.7:8081"}
//!   {"action": "update", "id": "node7", "url": "http://10.0.0.9:8081"}
//!   {"action": "remove", "id": "node7"}
//! ```
//! Other fields are read over, but for a `status` other than `active`, which says as much as `remove`.

use serde::Deserialize;

use super::address::{HostTemplate, NodeAddress};
use super::listing::is_active;
use super::{Node, NodeId, shown};

/// What is to become of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new.
    Add(Node),
    /// It is known, and may be elsewhere now.
    Update(Node),
    /// It leaves.
    Remove(NodeId),
}

/// What kind of change; an event may say so by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Add,
    Update,
    Remove,
}

impl Action {
    /// By its word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "add" => Some(Self::Add),
            "update" => Some(Self::Update),
            "remove" => Some(Self::Remove),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Sent {
    action: Option<String>,
    id: Option<String>,
    url: Option<String>,
    status: Option<String>,
}

impl Change {
    /// Reads one; `said` is the action that an event's name is. Fails with what is wrong, in printable
    /// words.
    pub(crate) fn parse(
        text: &[u8],
        said: Option<Action>,
        rewrite: Option<&HostTemplate>,
    ) -> Result<Self, String> {
        let sent: Sent = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("it is no JSON object whose fields are texts (line {line}, column {column})")
        })?;
        let action = match (
            sent.action
                .as_deref()
                .map(|word| (word, Action::named(word))),
            said,
        ) {
            (None, None) => {
                return Err("\"action\" is missing: it is add, update or remove".to_owned());
            }
            (None, Some(said)) => said,
            (Some((word, None)), _) => {
                let word = shown(word);
                return Err(format!(
                    "\"action\" is \"{word}\", not add, update or remove"
                ));
            }
            (Some((_, Some(action))), Some(said)) if action != said => {
                return Err("\"action\" is another one than the event's name".to_owned());
            }
            (Some((_, Some(action))), _) => action,
        };
        let id = sent.id.ok_or("\"id\" is missing")?;
        let id = NodeId::parse(&id).map_err(|why| format!("{why} (\"{}\")", shown(&id)))?;
        let leaves = sent.status.is_some_and(|status| !is_active(&status));
        if leaves || action == Action::Remove {
            return Ok(Self::Remove(id));
        }
        let url = sent.url.ok_or("\"url\" is missing")?;
        let address = NodeAddress::parse_for(&url, id.as_str(), rewrite);
        let address = address.map_err(|why| format!("{why} (\"{}\")", shown(&url)))?;
        let node = Node { id, address };
        Ok(match action {
            Action::Add => Self::Add(node),
            _ => Self::Update(node),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, said: Option<Action>, expected: &str) {
        let got = match Change::parse(text.as_bytes(), said, None) {
            Ok(Change::Add(node)) => format!("add {node}"),
            Ok(Change::Update(node)) => format!("update {node}"),
            Ok(Change::Remove(id)) => format!("remove {id}"),
            Err(why) => why,
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn changes_as_services_send_them() {
        let node = r#""id":"a","url":"10.0.0.5:8081""#;
        let add = format!(r#"{{"action":"add",{node},"last_seen":"x","more":[1]}}"#);
        check(&add, None, "add a (http://10.0.0.5:8081)");
        check(&add, Some(Action::Add), "add a (http://10.0.0.5:8081)");
        let bare = format!("{{{node}}}");
        check(
            &bare,
            Some(Action::Update),
            "update a (http://10.0.0.5:8081)",
        );
        check(&bare, Some(Action::Remove), "remove a");
        check(r#"{"action":"remove","id":"a"}"#, None, "remove a");
        let leaves = format!(r#"{{"action":"update",{node},"status":"draining"}}"#);
        check(&leaves, None, "remove a");
    }

    #[test]
    fn what_is_no_change_says_why() {
        let shape = "it is no JSON object whose fields are texts (line 1, column";
        for (text, said, expected) in [
            (
                "{}",
                None,
                "\"action\" is missing: it is add, update or remove".to_owned(),
            ),
            ("{}", Some(Action::Add), "\"id\" is missing".to_owned()),
            (
                r#"{"action":"ad\nd","id":"a"}"#,
                None,
                r#""action" is "ad\nd", not add, update or remove"#.to_owned(),
            ),
            (
                r#"{"action":"add","id":"a","url":"h"}"#,
                Some(Action::Remove),
                "\"action\" is another one than the event's name".to_owned(),
            ),
            (
                r#"{"action":"add","id":"a"}"#,
                None,
                "\"url\" is missing".to_owned(),
            ),
            (
                r#"{"action":"add","id":"a b","url":"h"}"#,
                None,
                "the id has characters other than A-Z a-z 0-9 . _ : - (\"a b\")".to_owned(),
            ),
            (
                r#"{"action":"add","id":"a","url":"ftp://h"}"#,
                None,
                "the url's scheme is none of http, https, ws and wss (\"ftp://h\")".to_owned(),
            ),
            (r#"{"action":"add","id":7}"#, None, format!("{shape} 22)")),
            (r#"{"action":"#, None, format!("{shape} 10)")),
        ] {
            check(text, said, &expected);
        }
        let bomb = format!(r#"{{"action":"add","x":{}"#, "[".repeat(100_000));
        assert!(Change::parse(bomb.as_bytes(), None, None).is_err());
    }
}
