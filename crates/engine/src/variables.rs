//! Where variables are kept: those of the process in [`Shared`], those of a connection with what is known
//! of it, those of a request in the notes of its session. See [`routing::variables`].

use config::expr::{VarName, VarScope};
use config::model::{SetVar, VarLimits};
use routing::content::Content;
use routing::process::NoProcess;
use routing::sample::{ConnectionFacts, Facts, NoMemory, Value};
use routing::variables::{self, Held, ProcessVariables, Store, has_room};

use crate::shared::Shared;

/// What is known of a variable; `notes` has those of the request.
pub(crate) fn get(
    name: &VarName,
    notes: Option<&Store>,
    connection: &ConnectionFacts,
    shared: &Shared,
) -> Held {
    let of = |store: Option<&Store>| store.map_or(Held::Absent, |store| store.get(name));
    match name.scope {
        VarScope::Proc => shared.variables.get(&name.name),
        VarScope::Sess => of(connection.variables.borrow().as_deref()),
        VarScope::Txn | VarScope::Req | VarScope::Res | VarScope::Check => of(notes),
    }
}

/// Gives a variable a value or takes it away; `false`: there is no room, or nobody to keep it.
pub(crate) fn set(
    name: &VarName,
    value: Option<Value<'static>>,
    notes: Option<&mut Store>,
    connection: &ConnectionFacts,
    shared: &Shared,
) -> bool {
    let site = shared.site.load();
    let limits = &site.config.global.tune.vars;
    if name.scope == VarScope::Proc {
        return shared.variables.set(&name.name, value, limits.process);
    }
    let mut own = connection.variables.borrow_mut();
    if let Some(value) = &value
        && !has_room(limits, name, value, notes.as_deref(), own.as_deref())
    {
        return false;
    }
    match (name.scope, notes) {
        (VarScope::Sess, _) if value.is_none() && own.is_none() => {}
        (VarScope::Sess, _) => own.get_or_insert_default().set(name, value),
        (_, Some(notes)) => notes.set(name, value),
        (_, None) => return false,
    }
    true
}

/// Sets variables of the process, one after the other: nothing is known but the time and they
/// themselves.
pub(crate) fn set_of_process(process: &ProcessVariables, set: &[SetVar], limits: &VarLimits) {
    let facts = Facts {
        request: None,
        response: None,
        content: Content::default(),
        connection: &ConnectionFacts::default(),
        frontend: "",
        backend: None,
        server_tls: None,
        memory: &NoMemory,
        process: &NoProcess,
        now: crate::clock::wall(),
        random: fastrand::u64(..),
        logins: None,
    };
    variables::begin(process, set, limits, &facts);
}
