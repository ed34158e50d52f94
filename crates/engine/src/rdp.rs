//! `persist rdp-cookie`, carried out: the server that a Remote Desktop client was told to come back
//! to. What its cookie means is [`routing::rdp`]'s.

use std::net::SocketAddr;
use std::sync::Arc;

use routing::cookie::{self, Persistence};

use crate::cookie::Persisted;
use crate::server::{ServerState, Target};
use crate::session::Session;
use crate::site::BackendState;

/// The server that the first bytes of a TCP client name, as far as it may be followed there. They
/// are what rules have waited for (`tcp-request inspect-delay`), here nothing is.
pub(crate) fn read(session: &Session, backend: &BackendState) -> Option<Persisted> {
    let conf = backend.conf();
    let name = conf.persist_rdp_cookie.as_ref()?;
    let facts = session.facts(None, None);
    let address = routing::rdp::server_address(name, facts.content.request?)?;
    let persistence = cookie::persistence(&conf.persist_rules, &facts);
    let forced = persistence == Persistence::Forced;
    if persistence == Persistence::Ignored {
        return None;
    }
    let to_down = conf.persist || forced;
    let server = find(backend, address.into(), to_down)?;
    Some(Persisted::to(server, forced))
}

/// Who has this address: the first one that is up, be it draining, else the first one.
fn find(backend: &BackendState, address: SocketAddr, to_down: bool) -> Option<Arc<ServerState>> {
    let pool = backend.pool();
    let mut down = None;
    for server in pool.servers().filter(|server| !server.is_leaving()) {
        if !matches!(server.target(None), Some(Target::Inet(own)) if own == address) {
            continue;
        }
        if server.health().is_up() {
            return Some(server.clone());
        }
        down = down.or(Some(server));
    }
    down.filter(|_| to_down).cloned()
}
