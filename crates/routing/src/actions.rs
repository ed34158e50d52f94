//! Carrying out what rules of several sets have in common (manual 4.3): see [`Action`].

use config::model::{Action, ListEntry, VarSource};

use crate::format::{self, Variables};
use crate::sample::{self, Facts};
use crate::stick;
use crate::value::Value;
use crate::variables;

/// Does it. Nothing of the message changes, and the rules behind are looked at.
pub fn carry_out(action: &Action, facts: &Facts<'_>, variables: &dyn Variables) {
    match action {
        Action::SetVar(set) => {
            let value = match &set.value {
                VarSource::Sample(sample) => sample::eval(sample, facts),
                VarSource::Format(format) => {
                    let mut text = Vec::new();
                    format::render(format, facts, variables, &mut text);
                    Some(Value::made(text))
                }
            };
            if let Some(value) = value {
                variables::assign(facts.memory, &set.name, &set.when, value);
            }
        }
        Action::UnsetVar(name) => {
            facts.memory.set_variable(name, None);
        }
        Action::ChangeList(change) => {
            let text = |format| {
                let mut text = Vec::new();
                format::render(format, facts, variables, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            };
            let key = text(&change.key);
            // One that is full, or has no use for such a key, stays as it is, as in HAProxy.
            let _ = match &change.to {
                Some(ListEntry::Key) => change.list.put(&key, None),
                Some(ListEntry::Value(value)) => change.list.put(&key, Some(&text(value))),
                None => {
                    change.list.delete(&key);
                    Ok(())
                }
            };
        }
        Action::Nothing => {}
        Action::SetLogLevel(level) => facts.memory.set_log_level(*level),
        Action::Track(rule) => stick::track(rule, facts),
        Action::ChangeCounter(rule) => stick::change(rule, facts),
    }
}
