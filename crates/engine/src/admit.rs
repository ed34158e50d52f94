//! `tcp-request connection` and `tcp-request session`: whether a connection is served at all (manual
//! 4.2). Nothing was read of it yet, and who is refused is not logged, only counted.

use config::expr::VarName;
use std::net::SocketAddr;

use config::model::{TcpAction, TcpRule};
use routing::content::{self, Content, Ruling};
use routing::format::NoVariables;
use routing::sample::{ConnectionFacts, Facts, Memory, Value};
use routing::stick::Tables;
use routing::variables::Held;

use crate::clock;
use crate::counters::Count;
use crate::figures::Asker;
use crate::listen::pace;
use crate::serve::Accepted;
use crate::session::EarlyTables;
use crate::site::FrontendState;
use crate::stream::Stream;
use crate::variables;
use crate::worker::{Room, Worker};

/// `tcp-request connection`: right after the accept. `None`: it was refused and is gone.
pub(crate) fn connection(
    mut accepted: Accepted,
    frontend: &FrontendState,
    worker: &Worker,
) -> Option<Accepted> {
    let is_privileged = |peer: SocketAddr| (1..1024).contains(&peer.port());
    if frontend.generation.config.global.refuses_privileged_ports
        && accepted.peer.is_some_and(is_privileged)
    {
        refuse(accepted, frontend, worker);
        return None;
    }
    let rules = &frontend.conf().proxy.tcp.connection;
    if rules.is_empty() {
        return Some(accepted);
    }
    for rule in rules {
        accepted.facts.settle();
        match judge(
            std::slice::from_ref(rule),
            &accepted.facts,
            frontend,
            &accepted.room,
            worker,
        ) {
            None => {}
            Some(TcpAction::ExpectProxy) => accepted.expects_proxy = true,
            Some(TcpAction::Reject) => {
                refuse(accepted, frontend, worker);
                return None;
            }
            Some(TcpAction::SilentDrop) => {
                // HAProxy counts it there.
                accepted.room.count(Count::DeniedRequests);
                pace::give_back_session(frontend, worker);
                Stream::from(accepted.carrier).forget();
                return None;
            }
            Some(_) => break,
        }
    }
    accepted.facts.settle();
    Some(accepted)
}

fn refuse(accepted: Accepted, frontend: &FrontendState, worker: &Worker) {
    accepted.room.count(Count::DeniedConnections);
    pace::give_back_session(frontend, worker);
    // One packet, a reset, is the least that can be spent on it.
    Stream::from(accepted.carrier).reset_on_close();
}

/// `tcp-request session`: after the handshakes. What is to become of the connection if it is refused.
pub(crate) fn session<'r>(
    facts: &ConnectionFacts,
    frontend: &'r FrontendState,
    room: &Room,
    worker: &Worker,
) -> Option<&'r TcpAction> {
    let rules = &frontend.conf().proxy.tcp.session;
    if rules.is_empty() {
        return None;
    }
    let refused = |action: &&TcpAction| matches!(action, TcpAction::Reject | TcpAction::SilentDrop);
    let action = judge(rules, facts, frontend, room, worker).filter(refused)?;
    let what = match action {
        TcpAction::Reject => Count::DeniedSessions,
        _ => Count::DeniedRequests,
    };
    room.count(what);
    Some(action)
}

fn judge<'r>(
    rules: &'r [TcpRule],
    connection: &ConnectionFacts,
    frontend: &FrontendState,
    room: &Room,
    worker: &Worker,
) -> Option<&'r TcpAction> {
    let tables = room.tables();
    let process = Asker {
        worker,
        frontend,
        backend: None,
    };
    let facts = Facts {
        request: None,
        response: None,
        content: Content::default(),
        connection,
        logins: None,
        frontend: frontend.name(),
        backend: None,
        server_tls: None,
        memory: &Admission {
            connection,
            tables,
            worker,
        },
        process: &process,
        now: clock::wall(),
        random: fastrand::u64(..),
    };
    match content::rule(rules, 0, &facts, &NoVariables) {
        Ruling::Act(action) => Some(action),
        Ruling::Pass | Ruling::Wait(_) => None,
    }
}

/// What is remembered of a connection that is no session yet: its variables, and those of the process.
struct Admission<'a> {
    connection: &'a ConnectionFacts,
    tables: EarlyTables<'a>,
    worker: &'a Worker,
}

impl Memory for Admission<'_> {
    fn tables(&self) -> &dyn Tables {
        &self.tables
    }

    fn variable(&self, name: &VarName) -> Held {
        variables::get(name, None, self.connection, &self.worker.shared)
    }

    fn set_variable(&self, name: &VarName, value: Option<Value<'static>>) -> bool {
        variables::set(name, value, None, self.connection, &self.worker.shared)
    }
}
