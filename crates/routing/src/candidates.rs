//! Which rules of a list are worth judging: see [`config::model::RuleIndex`].

use std::collections::BTreeSet;

use config::model::RuleIndex;

use crate::sample::{self, Facts};

/// The rules of a list that can hold for what was seen.
pub(crate) struct Candidates<'a> {
    index: &'a RuleIndex,
    /// Positions found in tables.
    found: BTreeSet<usize>,
}

impl<'a> Candidates<'a> {
    /// Looks at what the rules depend on.
    pub(crate) fn new(index: &'a RuleIndex, facts: &Facts<'_>) -> Self {
        let mut lists = BTreeSet::new();
        for table in index.tables() {
            sample::any(table.sample(), facts, &mut |value| {
                table.find(&value.to_text(), &mut lists);
                // As an ACL that does not match: the next value is looked at, too.
                false
            });
        }
        let found = index.rules(&lists);
        Self { index, found }
    }

    /// The first position from this one on whose rule must be judged.
    pub(crate) fn next(&self, position: usize) -> Option<usize> {
        let open = self.index.next_open(position);
        let found = self.found.range(position..).next().copied();
        match (open, found) {
            (Some(open), Some(found)) => Some(open.min(found)),
            (open, found) => open.or(found),
        }
    }
}
