//! Which rules of a list are worth judging: see [`config::model::RuleIndex`].

use config::model::RuleIndex;

use crate::sample::{self, Facts};

/// The rules of a list that can hold for what was seen.
pub(crate) struct Candidates<'a> {
    index: &'a RuleIndex,
    /// Positions found in tables, ascending.
    found: Vec<usize>,
}

impl<'a> Candidates<'a> {
    /// Looks at what the rules depend on.
    pub(crate) fn new(index: &'a RuleIndex, facts: &Facts<'_>) -> Self {
        let mut found = Vec::new();
        for table in index.tables() {
            sample::any(table.sample(), facts, &mut |value| {
                table.find(&value.to_text(), &mut found);
                // As an ACL that does not match: the next value is looked at, too.
                false
            });
        }
        found.sort_unstable();
        Self { index, found }
    }

    /// The first position from this one on whose rule must be judged.
    pub(crate) fn next(&self, position: usize) -> Option<usize> {
        let open = self.index.next_open(position);
        let at = self.found.partition_point(|found| *found < position);
        match (open, self.found.get(at).copied()) {
            (Some(open), Some(found)) => Some(open.min(found)),
            (open, found) => open.or(found),
        }
    }
}
