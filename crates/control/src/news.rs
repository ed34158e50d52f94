//! News of the fleet beside the list that is fetched: who says it, how it comes to the loop, what came of
//! it.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::discovery::change::Action;
use crate::discovery::{Fleet, Skipped};

/// Where a change of the fleet comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A fetch that was due.
    Poll,
    /// Posted to us.
    Push,
    /// An event of the service's stream.
    Stream,
    /// A fetch that an operator asked for.
    Command,
}

impl Origin {
    /// All of them, for metrics.
    pub(crate) const ALL: [Self; 4] = [Self::Poll, Self::Push, Self::Stream, Self::Command];

    /// In a word, for page and metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Push => "push",
            Self::Stream => "stream",
            Self::Command => "command",
        }
    }
}

/// What may be told to the loop.
#[derive(Debug)]
pub(crate) enum Message {
    /// A list or a change.
    News(News),
    /// Fetch now, and say what came of it.
    Fetch(Reply),
    /// The stream was opened, or has ended. `fetch`: something may have been missed.
    Stream { fetch: bool },
}

/// A list or a change, as it came.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) origin: Origin,
    /// JSON, unread.
    pub(crate) text: Vec<u8>,
    /// What an event's name says.
    pub(crate) action: Option<Action>,
    /// When it was here as a whole.
    pub(crate) came: Instant,
    /// Who waits for the outcome.
    pub(crate) reply: Option<Reply>,
}

impl News {
    /// News that has just come.
    pub(crate) fn new(origin: Origin, text: Vec<u8>, action: Option<Action>) -> Self {
        Self {
            origin,
            text,
            action,
            came: Instant::now(),
            reply: None,
        }
    }
}

/// Where the outcome goes.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, Refusal>>;

/// Messages that wait for the loop, which takes one after the other within milliseconds.
const MESSAGES_MAX: usize = 16;

/// The way to the loop.
#[derive(Debug, Clone)]
pub(crate) struct Desk(mpsc::Sender<Message>);

impl Desk {
    /// The way, and its end.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        (Self(sender), receiver)
    }

    /// Tells the loop, when it has room; for nothing when it has ended.
    pub(crate) async fn tell(&self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// Tells the loop, and waits for what comes of it; `None`: the loop has ended.
    pub(crate) async fn ask(
        &self,
        message: impl FnOnce(Reply) -> Message,
    ) -> Option<Result<Outcome, Refusal>> {
        let (reply, outcome) = oneshot::channel();
        self.0.send(message(reply)).await.ok()?;
        outcome.await.ok()
    }
}

/// What came of a list or a change that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Nodes in force now.
    pub(crate) nodes: usize,
    /// Ids of nodes that are new.
    pub(crate) joined: Vec<String>,
    /// Ids of nodes that are drained.
    pub(crate) left: Vec<String>,
    /// Ids of nodes that are elsewhere now.
    pub(crate) moved: Vec<String>,
    /// What stays until it is confirmed.
    pub(crate) held: Option<String>,
    /// Entries left out; not all of them when there are very many.
    pub(crate) skipped: Vec<Skipped>,
    /// Entries left out.
    pub(crate) skipped_count: u64,
    /// From the news until the last step was carried out.
    pub(crate) took: Duration,
}

impl Outcome {
    /// What lies between two fleets.
    pub(crate) fn between(before: &Fleet, after: &Fleet) -> Self {
        let mut outcome = Self {
            nodes: after.len(),
            ..Self::default()
        };
        for node in after.nodes().iter().filter(|node| !before.contains(node)) {
            let ids = match before.get(&node.id) {
                Some(_) => &mut outcome.moved,
                None => &mut outcome.joined,
            };
            ids.push(node.id.to_string());
        }
        let left = before.nodes().iter().map(|node| &node.id);
        let left = left.filter(|id| after.get(id).is_none());
        outcome.left = left.map(ToString::to_string).collect();
        outcome
    }

    /// Whether the fleet is another one.
    pub(crate) fn is_change(&self) -> bool {
        !(self.joined.is_empty() && self.left.is_empty() && self.moved.is_empty())
    }

    /// In a line of the lifecycle; `None`: nothing changed.
    pub(crate) fn difference(&self) -> Option<String> {
        match (
            self.joined.len() + self.moved.len(),
            self.left.len() + self.moved.len(),
        ) {
            (0, 0) => None,
            (join, 0) => Some(format!("nodes joining: {join}")),
            (0, leave) => Some(format!("nodes leaving: {leave}")),
            (join, leave) => Some(format!("nodes joining: {join}, leaving: {leave}")),
        }
    }

    /// For whoever pushed.
    pub(crate) fn to_json(&self) -> String {
        let skipped = self.skipped.iter().map(ToString::to_string);
        json!({
            "changed": self.is_change(),
            "nodes": self.nodes,
            "joined": self.joined,
            "moved": self.moved,
            "left": self.left,
            "held": self.held,
            "skipped": skipped.collect::<Vec<_>>(),
            "milliseconds": self.took.as_micros() as f64 / 1000.0,
        })
        .to_string()
    }
}

/// For operators: one line a fact.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} nodes", self.nodes)?;
        for (what, ids) in [
            ("joined", &self.joined),
            ("moved", &self.moved),
            ("left", &self.left),
        ] {
            if !ids.is_empty() {
                write!(f, "; {what}: {}", named(ids))?;
            }
        }
        if !self.is_change() {
            f.write_str("; nothing changed")?;
        }
        writeln!(f)?;
        if let Some(held) = &self.held {
            writeln!(f, "{held}")?;
        }
        let shown = self.skipped.iter().take(NAMES_MAX);
        for entry in shown.clone() {
            writeln!(f, "entry left out: {entry}")?;
        }
        match self.skipped_count.saturating_sub(shown.count() as u64) {
            0 => Ok(()),
            more => writeln!(f, "{more} more entries left out"),
        }
    }
}

/// Nodes and entries that a line for operators names; the rest is a number.
const NAMES_MAX: usize = 10;

fn named(ids: &[String]) -> String {
    let mut names = ids[..ids.len().min(NAMES_MAX)].join(", ");
    if ids.len() > NAMES_MAX {
        // Writing to a String cannot fail.
        let _ = write!(names, " and {} more", ids.len() - NAMES_MAX);
    }
    names
}

/// Why a list or a change was not taken; nothing is changed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What HTTP calls it.
    pub(crate) status: u16,
    /// For people, printable.
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, why: impl Into<String>) -> Self {
        Self {
            status,
            why: why.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::fleet;

    #[test]
    fn an_outcome_names_who_joined_moved_and_left() {
        #[track_caller]
        fn check(before: &str, after: &str, expected: &str) {
            let outcome = Outcome::between(&fleet(before), &fleet(after));
            assert_eq!(outcome.to_string(), format!("{expected}\n"));
        }
        check("a=h1:1", "a=h1:1", "1 nodes; nothing changed");
        check(
            "a=h1:1 b=h2:1",
            "a=h3:1 c=h4:1",
            "2 nodes; joined: c; moved: a; left: b",
        );
        let many: Vec<String> = (10..22).map(|n| format!("n{n}=h:{n}")).collect();
        let names = (10..20)
            .map(|n| format!("n{n}"))
            .collect::<Vec<_>>()
            .join(", ");
        check(
            "",
            &many.join(" "),
            &format!("12 nodes; joined: {names} and 2 more"),
        );
    }
}
