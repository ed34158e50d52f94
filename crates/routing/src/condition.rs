//! Whether a condition holds (manual 7.2).

use config::expr::{Acl, Condition};

use crate::pattern;
use crate::sample::{self, Facts};

/// Whether the condition holds. An absent one always does.
pub fn holds(condition: Option<&Condition>, facts: &Facts<'_>) -> bool {
    let Some(condition) = condition else {
        return true;
    };
    let any = condition.any_of.iter().any(|all_of| {
        let mut terms = all_of.iter();
        terms.all(|term| is_true(&term.acl, facts) != term.negated)
    });
    any != condition.unless
}

/// Whether any line of the ACL matches.
pub(crate) fn is_true(acl: &Acl, facts: &Facts<'_>) -> bool {
    acl.entries.iter().any(|entry| {
        sample::any(&entry.sample, facts, &mut |value| {
            pattern::matches(&entry.patterns, value)
        })
    })
}
