//! Which backend a request or connection goes to, and which server by a rule.

use std::borrow::Cow;

use config::model::{BackendId, Frontend, ServerName, Target, UseServer};

use crate::candidates::Candidates;
use crate::condition;
use crate::format::{self, Variables};
use crate::sample::Facts;

/// The name of the server that the first `use-server` rule wants whose condition holds; `None`: none does, or
/// what comes out is no text.
pub fn server<'a>(
    rules: &'a [UseServer],
    facts: &Facts<'_>,
    variables: &dyn Variables,
) -> Option<Cow<'a, str>> {
    let mut rules = rules.iter();
    let rule = rules.find(|rule| condition::holds(rule.condition.as_ref(), facts))?;
    match &rule.server {
        ServerName::Is(name) => Some(Cow::Borrowed(name)),
        ServerName::Computed(format) => {
            let mut name = Vec::new();
            format::render(format, facts, variables, &mut name);
            String::from_utf8(name).ok().map(Cow::Owned)
        }
    }
}

/// The first `use_backend` whose condition holds and that leads to a public backend, else
/// `default_backend`; `None`: there is nowhere to go, which HAProxy answers with 503. Where the name
/// that is computed is no backend's, it is the default one, and no other rule is looked at (manual 4.2,
/// "use_backend", "be-unpublished").
pub fn backend(
    frontend: &Frontend,
    facts: &Facts<'_>,
    variables: &dyn Variables,
    is_public: &dyn Fn(BackendId) -> bool,
) -> Option<BackendId> {
    let rules = &frontend.use_backend;
    let is_forced = || {
        let mut forced = frontend.force_switch.iter();
        forced.any(|condition| condition::holds(Some(condition), facts))
    };
    let is_open = |id: BackendId| is_public(id) || is_forced();
    let candidates = Candidates::new(rules.index(), facts);
    let mut next = 0;
    while let Some(position) = candidates.next(next) {
        let rule = &rules[position];
        next = position + 1;
        if !condition::holds(rule.condition.as_ref(), facts) {
            continue;
        }
        let Some(chosen) = target(&rule.target, facts, variables) else {
            break;
        };
        if is_open(chosen) {
            return Some(chosen);
        }
    }
    frontend.default_backend.filter(|id| is_open(*id))
}

fn target(target: &Target, facts: &Facts<'_>, variables: &dyn Variables) -> Option<BackendId> {
    match target {
        Target::Known(id) => Some(*id),
        Target::Computed(format, names) => {
            let mut name = Vec::new();
            format::render(format, facts, variables, &mut name);
            names.get(name.as_slice()).copied()
        }
    }
}
