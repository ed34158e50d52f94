//! `force-persist` and `ignore-persist`.

use config::model::PersistRule;

use super::Persistence;
use crate::condition;
use crate::sample::Facts;

/// What the first rule that applies says.
pub fn persistence(rules: &[PersistRule], facts: &Facts<'_>) -> Persistence {
    let applies = |rule: &&PersistRule| condition::holds(Some(&rule.condition), facts);
    match rules.iter().find(applies) {
        None => Persistence::Usual,
        Some(PersistRule { force: true, .. }) => Persistence::Forced,
        Some(_) => Persistence::Ignored,
    }
}
