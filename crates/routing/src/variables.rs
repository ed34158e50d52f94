//! Variables: what rules remember under a name (manual 2.8).
//!
//! Who uses none has none: a [`Store`] is made when the first one is set. What a client sends can fill
//! them, so each text has a bound, and so have all of a store together (`tune.vars.…`); how many there
//! are is the configuration's, which names them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use config::expr::{SetWhen, VarName, VarScope};
use config::model::{Action, SetVar, VarLimits};

use crate::actions;
use crate::format::NoVariables;
use crate::sample::{Facts, Memory};
use crate::value::Value;

/// Longest text of one variable; what is behind it is cut off. A rule may make a variable of itself and
/// something else, which would grow with each request.
pub const VALUE_LEN_MAX: usize = 64 << 10;

/// What a variable counts for beside its text, in the limits of `tune.vars`.
const ENTRY_LEN: usize = 64;

/// What is known of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It was never set.
    Absent,
    /// It was, and unset since.
    Unset,
    /// It has a value.
    Set(Value<'static>),
}

impl Held {
    /// Its value.
    pub fn value(self) -> Option<Value<'static>> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Unset => None,
        }
    }
}

/// Sets a variable if all conditions hold; `false`: there was no room for it.
pub fn assign(memory: &dyn Memory, name: &VarName, when: &[SetWhen], value: Value<'_>) -> bool {
    if !when.is_empty() {
        let held = memory.variable(name);
        let mut conditions = when.iter();
        if !conditions.all(|condition| holds(*condition, name, &held, &value)) {
            return true;
        }
    }
    memory.set_variable(name, Some(bounded(value)))
}

fn holds(condition: SetWhen, name: &VarName, held: &Held, new: &Value<'_>) -> bool {
    // Those of the process exist from the start.
    let exists = *held != Held::Absent || name.scope == VarScope::Proc;
    let empty = match new {
        Value::Str(text) | Value::Bin(text) | Value::Method(text) => text.is_empty(),
        _ => false,
    };
    let set = matches!(held, Held::Set(_));
    let order = match (held, new) {
        (Held::Set(Value::Int(held)), Value::Int(new)) => Some(held.cmp(new)),
        _ => None,
    };
    match condition {
        SetWhen::Exists => exists,
        SetWhen::NotExists => !exists,
        SetWhen::Empty => empty,
        SetWhen::NotEmpty => !empty,
        SetWhen::Set => set,
        SetWhen::NotSet => !set,
        // Of what are no two numbers nothing is said.
        SetWhen::Greater => order.is_none_or(std::cmp::Ordering::is_gt),
        SetWhen::Less => order.is_none_or(std::cmp::Ordering::is_lt),
    }
}

fn bounded(value: Value<'_>) -> Value<'static> {
    let cut = |text: std::borrow::Cow<'_, [u8]>| {
        let mut text = text.into_owned();
        text.truncate(VALUE_LEN_MAX);
        text.into()
    };
    match value {
        Value::Str(text) => Value::Str(cut(text)),
        Value::Bin(bytes) => Value::Bin(cut(bytes)),
        Value::Method(text) => Value::Method(cut(text)),
        other => other.into_owned(),
    }
}

fn weight(value: Option<&Value<'_>>) -> usize {
    ENTRY_LEN
        + match value {
            Some(Value::Str(text) | Value::Bin(text) | Value::Method(text)) => text.len(),
            _ => 0,
        }
}

/// Variables of one session, or of one connection. There are few: they are looked through.
#[derive(Debug, Clone, Default)]
pub struct Store {
    entries: Vec<(VarName, Option<Value<'static>>)>,
}

impl Store {
    /// What is known of a variable.
    pub fn get(&self, name: &VarName) -> Held {
        match self.entries.iter().find(|(known, _)| is(known, name)) {
            None => Held::Absent,
            Some((_, None)) => Held::Unset,
            Some((_, Some(value))) => Held::Set(value.clone()),
        }
    }

    /// Gives it a value, or takes its value away.
    pub fn set(&mut self, name: &VarName, value: Option<Value<'static>>) {
        match self.entries.iter_mut().find(|(known, _)| is(known, name)) {
            Some((_, held)) => *held = value,
            // What never was is not unset.
            None if value.is_none() => {}
            None => self.entries.push((name.clone(), value)),
        }
    }

    /// What they count for in the limits of `tune.vars`, those of some scopes, without one of them.
    pub fn used(&self, scopes: &[VarScope], without: &VarName) -> usize {
        let counted = self.entries.iter().filter(|(name, _)| {
            let counts = scopes.contains(&name.scope);
            counts && !is(name, without)
        });
        counted.map(|(_, value)| weight(value.as_ref())).sum()
    }

    /// Forgets those of a scope.
    pub fn clear(&mut self, scope: VarScope) {
        self.entries.retain(|(name, _)| name.scope != scope);
    }

    /// All of them that have a value.
    pub fn iter(&self) -> impl Iterator<Item = (&VarName, &Value<'static>)> {
        let set = self.entries.iter();
        set.filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

/// Whether both names are the same. Names of one configuration mostly share their text, too.
fn is(one: &VarName, other: &VarName) -> bool {
    one.scope == other.scope && (Arc::ptr_eq(&one.name, &other.name) || one.name == other.name)
}

/// Whether a value has room, by `tune.vars.…-max-size`, beside what a session and its connection have
/// already. A wider scope contains the narrower ones (manual 3.2).
pub fn has_room(
    limits: &VarLimits,
    name: &VarName,
    value: &Value<'_>,
    session: Option<&Store>,
    connection: Option<&Store>,
) -> bool {
    use VarScope::{Req, Res, Sess, Txn};
    if limits.sess.is_none() && limits.txn.is_none() && limits.reqres.is_none() {
        return true;
    }
    let used = |store: Option<&Store>, scopes: &[VarScope]| {
        store.map_or(0, |store| store.used(scopes, name))
    };
    let halves = used(session, &[Req, Res]);
    let request = halves + used(session, &[Txn]);
    let all = request + used(connection, &[Sess]);
    let new = weight(Some(value));
    let fits = |limit: Option<usize>, used: usize| limit.is_none_or(|max| used + new <= max);
    let (in_half, in_request) = match name.scope {
        Req | Res => (true, true),
        Txn => (false, true),
        _ => (false, false),
    };
    (!in_half || fits(limits.reqres, halves))
        && (!in_request || fits(limits.txn, request))
        && fits(limits.sess, all)
}

/// The variables of the process: set by `global`, by rules, and by the Runtime API.
#[derive(Debug, Default)]
pub struct ProcessVariables {
    variables: RwLock<HashMap<Arc<str>, Option<Value<'static>>>>,
}

impl ProcessVariables {
    /// What is known of a variable, by its name without the scope.
    pub fn get(&self, name: &str) -> Held {
        let variables = self
            .variables
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match variables.get(name) {
            None => Held::Absent,
            Some(None) => Held::Unset,
            Some(Some(value)) => Held::Set(value.clone()),
        }
    }

    /// Gives it a value, or takes its value away. `false`: it would be more than `limit` bytes.
    pub fn set(
        &self,
        name: &Arc<str>,
        value: Option<Value<'static>>,
        limit: Option<usize>,
    ) -> bool {
        let mut variables = self
            .variables
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let (Some(limit), Some(new)) = (limit, &value) {
            let others = variables.iter().filter(|(known, _)| *known != name);
            let others: usize = others.map(|(_, value)| weight(value.as_ref())).sum();
            if others + weight(Some(new)) > limit {
                return false;
            }
        }
        variables.insert(name.clone(), value);
        true
    }
}

/// What a process begins with: `set-var` and `set-var-fmt` of `global`, one after the other.
pub fn begin(
    process: &ProcessVariables,
    settings: &[SetVar],
    limits: &VarLimits,
    facts: &Facts<'_>,
) {
    for set in settings {
        let facts = Facts {
            memory: &OfProcess(process, limits),
            ..*facts
        };
        let set = Action::SetVar(Box::new(set.clone()));
        actions::carry_out(&set, &facts, &NoVariables);
    }
}

/// Remembers what the process does, and nothing else.
struct OfProcess<'a>(&'a ProcessVariables, &'a VarLimits);

impl Memory for OfProcess<'_> {
    fn variable(&self, name: &VarName) -> Held {
        match name.scope {
            VarScope::Proc => self.0.get(&name.name),
            _ => Held::Absent,
        }
    }

    fn set_variable(&self, name: &VarName, value: Option<Value<'static>>) -> bool {
        name.scope == VarScope::Proc && self.0.set(&name.name, value, self.1.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Kept(RefCell<Store>);

    impl Memory for Kept {
        fn variable(&self, name: &VarName) -> Held {
            self.0.borrow().get(name)
        }

        fn set_variable(&self, name: &VarName, value: Option<Value<'static>>) -> bool {
            self.0.borrow_mut().set(name, value);
            true
        }
    }

    fn name(text: &str) -> VarName {
        VarName::parse(text, config::source::Span::default()).expect("a name")
    }

    #[test]
    fn conditions_decide_whether_a_variable_is_set() {
        use SetWhen as W;
        let number = Value::Int;
        // What it was, the condition, what it is to become, what it is then.
        let table = [
            (None, W::Exists, number(1), None),
            (None, W::NotExists, number(1), Some(number(1))),
            (Some(number(5)), W::NotExists, number(1), Some(number(5))),
            (Some(number(5)), W::Set, number(1), Some(number(1))),
            (None, W::NotSet, number(1), Some(number(1))),
            (None, W::NotEmpty, Value::text(b""), None),
            (None, W::Empty, Value::text(b""), Some(Value::text(b""))),
            (None, W::Empty, number(0), None),
            (Some(number(5)), W::Greater, number(1), Some(number(1))),
            (Some(number(5)), W::Greater, number(9), Some(number(5))),
            (Some(number(5)), W::Less, number(9), Some(number(9))),
            (None, W::Less, number(9), Some(number(9))),
            (Some(Value::text(b"x")), W::Less, number(9), Some(number(9))),
        ];
        for (before, when, new, after) in table {
            let kept = Kept::default();
            let x = name("txn.x");
            if let Some(before) = before.clone() {
                kept.set_variable(&x, Some(before));
            }
            assign(&kept, &x, &[when], new.clone());
            assert_eq!(
                kept.variable(&x).value(),
                after,
                "{before:?} {when:?} {new:?}"
            );
        }
    }

    #[test]
    fn one_that_was_unset_exists_and_is_not_set() {
        let kept = Kept::default();
        let x = name("req.x");
        kept.set_variable(&x, None);
        assert_eq!(kept.variable(&x), Held::Absent);
        kept.set_variable(&x, Some(Value::Int(1)));
        kept.set_variable(&x, None);
        assert_eq!(kept.variable(&x), Held::Unset);
        assign(
            &kept,
            &x,
            &[SetWhen::NotSet, SetWhen::Exists],
            Value::Int(2),
        );
        assert_eq!(kept.variable(&x), Held::Set(Value::Int(2)));
        assert_eq!(kept.variable(&name("res.x")), Held::Absent);
    }

    #[test]
    fn long_texts_are_cut_and_limits_contain_each_other() {
        let kept = Kept::default();
        let x = name("txn.x");
        assign(&kept, &x, &[], Value::made(vec![b'a'; VALUE_LEN_MAX + 1]));
        let Held::Set(Value::Str(text)) = kept.variable(&x) else {
            panic!("it was set");
        };
        assert_eq!(text.len(), VALUE_LEN_MAX);

        let mut store = Store::default();
        store.set(&name("txn.a"), Some(Value::made(vec![b'a'; 100])));
        let check = |limits: VarLimits, variable: &str, length: usize, expected: bool| {
            let value = Value::made(vec![b'b'; length]);
            let allowed = has_room(&limits, &name(variable), &value, Some(&store), None);
            assert_eq!(allowed, expected, "{limits:?} {variable} {length}");
        };
        let txn = |max| VarLimits {
            txn: Some(max),
            ..VarLimits::default()
        };
        check(VarLimits::default(), "txn.b", 1 << 20, true);
        check(txn(328), "txn.b", 100, true);
        check(txn(327), "txn.b", 100, false);
        check(txn(327), "req.b", 100, false);
        check(txn(327), "sess.b", 100, true);
        check(txn(228), "txn.a", 164, true);
        let reqres = VarLimits {
            reqres: Some(164),
            ..VarLimits::default()
        };
        check(reqres, "req.b", 100, true);
        check(reqres, "res.b", 101, false);
        check(reqres, "txn.b", 101, true);
    }

    #[test]
    fn those_of_the_process_are_shared_and_bounded() {
        let process = ProcessVariables::default();
        let x: Arc<str> = "x".into();
        assert_eq!(process.get("x"), Held::Absent);
        assert!(process.set(&x, Some(Value::Int(7)), None));
        assert_eq!(process.get("x"), Held::Set(Value::Int(7)));
        assert!(!process.set(&x, Some(Value::text(b"long")), Some(66)));
        assert_eq!(process.get("x"), Held::Set(Value::Int(7)));
        assert!(process.set(&x, None, Some(0)));
        assert_eq!(process.get("x"), Held::Unset);
    }
}
