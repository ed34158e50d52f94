//! What sticks to a server by a stick table: `stick match`, `store-request`, `store-response`, carried out
//! (manual 4.2). A persistence cookie comes first: who has one is not looked up.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use config::expr::TableAsk;
use config::model::{DataType, STORES_MAX, ServerKeyKind, StickRule};
use routing::condition;
use routing::sample::{self, Facts, Value};
use smallvec::SmallVec;

use crate::server::{ServerState, Target};
use crate::session::Session;
use crate::site::BackendState;
use crate::stick::StickTable;

/// What a request came to.
#[derive(Default)]
pub(crate) struct Sticking {
    /// The server that an entry names.
    pub(crate) server: Option<Arc<ServerState>>,
    /// What is to be stored once there is a server: of most requests it is one key.
    keys: Keys,
}

type Keys = SmallVec<[(Arc<StickTable>, Value<'static>); 1]>;

/// Looks a request, or a TCP connection, up; `None`: nothing sticks in this backend.
pub(crate) fn look_up(
    session: &Session,
    facts: &Facts<'_>,
    backend: &BackendState,
    is_bound: bool,
) -> Option<Sticking> {
    let rules = &backend.conf().stick;
    if rules.is_empty() {
        return None;
    }
    let mut server = None;
    for rule in rules.matches.iter().filter(|_| !is_bound) {
        let Some((table, key)) = key(rule, session, facts, backend) else {
            continue;
        };
        server = named(&table, &key, backend);
        if server.is_some() {
            break;
        }
    }
    let keys = keys(&rules.store_request, session, facts, backend);
    Some(Sticking { server, keys })
}

impl Sticking {
    /// The session has a connection to its server: that is what the entries name from now on.
    pub(crate) fn store(&self, session: &Session) {
        if let Some(server) = session.server().filter(|it| !it.conf.non_stick) {
            for (table, key) in &self.keys {
                keep(table, key, server);
            }
        }
    }
}

/// `stick store-response`.
pub(crate) fn store_response(session: &Session, facts: &Facts<'_>, backend: &BackendState) {
    let rules = &backend.conf().stick.store_response;
    if rules.is_empty() {
        return;
    }
    if let Some(server) = session.server().filter(|it| !it.conf.non_stick) {
        for (table, key) in keys(rules, session, facts, backend) {
            keep(&table, &key, server);
        }
    }
}

/// The keys of these rules: of several rules for one table the first that comes to a key counts.
fn keys(rules: &[StickRule], session: &Session, facts: &Facts<'_>, backend: &BackendState) -> Keys {
    let mut keys = Keys::new();
    for rule in rules {
        if keys.len() == STORES_MAX {
            break;
        }
        let stick = &session.frontend().generation.stick;
        let table = stick.meant(&rule.table, || backend.conf().proxy.stick_table);
        let taken = keys
            .iter()
            .any(|(other, _)| table.is_some_and(|it| Arc::ptr_eq(it, other)));
        if !taken && let Some((table, key)) = key(rule, session, facts, backend) {
            keys.push((table, key.into_owned()));
        }
    }
    keys
}

fn key<'a>(
    rule: &'a StickRule,
    session: &Session,
    facts: &Facts<'a>,
    backend: &BackendState,
) -> Option<(Arc<StickTable>, Value<'a>)> {
    if !condition::holds(rule.condition.as_ref(), facts) {
        return None;
    }
    let stick = &session.frontend().generation.stick;
    let table = stick.meant(&rule.table, || backend.conf().proxy.stick_table)?;
    Some((table.clone(), sample::eval(&rule.key, facts)?))
}

/// The server that an entry names, if it is one of this backend. The entry begins anew to live.
fn named(table: &StickTable, key: &Value<'_>, backend: &BackendState) -> Option<Arc<ServerState>> {
    let read = |what| match table.ask(key, TableAsk::Data(what, 0)) {
        Some(Some(Value::Int(number))) => Some(number as u64),
        _ => None,
    };
    let id = read(DataType::ServerId).filter(|id| *id != 0)?;
    let name = read(DataType::ServerKey).unwrap_or(0);
    table.refresh(key);
    let pool = backend.pool();
    let is_same = |server: &&Arc<ServerState>| name == 0 || server_key(table, server) == name;
    // A number may be another server's by now, or another backend's: its name says more.
    let mut servers = pool.servers();
    let by_id = servers.find(|server| u64::from(server.id) == id);
    let found = by_id.filter(is_same);
    found
        .or_else(|| pool.servers().filter(|_| name != 0).find(is_same))
        .cloned()
}

fn keep(table: &StickTable, key: &Value<'_>, server: &ServerState) {
    let name = server_key(table, server);
    table.set(
        key,
        &[
            (DataType::ServerId, server.id.into()),
            (DataType::ServerKey, name),
        ],
    );
}

/// What stands for a server's name, or its address, in an entry: never 0.
pub(crate) fn server_key(table: &StickTable, server: &ServerState) -> u64 {
    match table.server_key {
        ServerKeyKind::Name => number_of(&server.conf.name),
        ServerKeyKind::Address => number_of(&server_name(table, server)),
    }
}

/// The number that stands for these words.
pub(crate) fn number_of(words: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(words.as_bytes());
    // A number that fits into a sample.
    (hasher.finish() >> 1).max(1)
}

/// What it stands for, in words.
pub(crate) fn server_name(table: &StickTable, server: &ServerState) -> String {
    match (table.server_key, server.target(None)) {
        (ServerKeyKind::Address, Some(Target::Inet(address))) => address.to_string(),
        _ => server.conf.name.to_string(),
    }
}
