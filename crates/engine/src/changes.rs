//! Commands about a backend that belong together: what workers must be told of them is told once, when
//! they are over. A worker looks through all it has for each such message.

use std::sync::Arc;

use routing::balance::ServerKey;

/// Removed servers that are told of together, at most; more of them are told of in between.
const TOGETHER_MAX: usize = 4096;

/// Those under way at one backend.
#[derive(Default)]
pub(crate) struct Changes {
    /// How many there are of those who say when theirs are over.
    open: usize,
    removed: Vec<ServerKey>,
}

/// Servers that are gone, in ascending order.
pub(crate) type Removed = Arc<[ServerKey]>;

impl Changes {
    /// Changes begin.
    pub(crate) fn begin(&mut self) {
        self.open += 1;
    }

    /// A server was removed. Which ones workers are to be told of now.
    pub(crate) fn remove(&mut self, key: ServerKey) -> Option<Removed> {
        self.removed.push(key);
        self.due()
    }

    /// What began is over. Which removed servers workers are to be told of.
    pub(crate) fn end(&mut self) -> Option<Removed> {
        self.open = self.open.saturating_sub(1);
        self.due()
    }

    fn due(&mut self) -> Option<Removed> {
        let waits = self.open > 0 && self.removed.len() < TOGETHER_MAX;
        if waits || self.removed.is_empty() {
            return None;
        }
        let mut removed = std::mem::take(&mut self.removed);
        removed.sort_unstable();
        Some(removed.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(removed: Option<Removed>) -> Vec<u32> {
        removed
            .iter()
            .flat_map(|it| it.iter())
            .map(|it| it.0)
            .collect()
    }

    #[test]
    fn removals_are_told_of_when_all_changes_are_over() {
        let mut changes = Changes::default();
        assert_eq!(told(changes.remove(ServerKey(7))), [7]);
        changes.begin();
        changes.begin();
        assert_eq!(changes.remove(ServerKey(9)), None);
        assert_eq!(changes.remove(ServerKey(8)), None);
        assert_eq!(changes.end(), None);
        assert_eq!(told(changes.end()), [8, 9]);
        assert_eq!(changes.end(), None);
        changes.begin();
        let many = (0..10_000).map(|key| told(changes.remove(ServerKey(key))).len());
        assert_eq!(many.max(), Some(TOGETHER_MAX));
        assert_eq!(told(changes.end()).len(), 10_000 - 2 * TOGETHER_MAX);
    }
}
