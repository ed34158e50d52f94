//! Which backend a request or connection goes to.

use config::model::{BackendId, Frontend};

use crate::condition;
use crate::sample::Facts;

/// The first `use_backend` whose condition holds, else `default_backend`; `None`: there is nowhere
/// to go, which HAProxy answers with 503.
pub fn backend(frontend: &Frontend, facts: &Facts<'_>) -> Option<BackendId> {
    let holds = |condition: Option<&_>| condition::holds(condition, facts);
    let chosen = frontend
        .use_backend
        .iter()
        .find(|rule| holds(rule.condition.as_ref()));
    chosen.map(|rule| rule.backend).or(frontend.default_backend)
}
