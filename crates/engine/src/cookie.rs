//! Persistence by cookie, carried out: which server a request belongs to, and the cookie in its
//! response. What cookies mean is decided in [`routing::cookie`].

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use config::model::Cookie;
use routing::cookie::{self, Chosen, Found, Persistence, Presented};
use wire::head::{Method, ResponseHead};

use crate::assign::Pool;
use crate::client::Request;
use crate::clock;
use crate::server::{ServerState, Target};
use crate::session::Session;
use crate::site::BackendState;

/// What a request's cookies came to.
pub(crate) struct Persisted {
    presented: Presented,
    /// The server it belongs to.
    pub(crate) server: Option<Arc<ServerState>>,
    /// `force-persist`: it goes nowhere else.
    pub(crate) forced: bool,
}

impl Persisted {
    /// The session belongs to this server, whatever cookies say.
    pub(crate) fn to(server: Arc<ServerState>, forced: bool) -> Self {
        Self {
            presented: Presented::default(),
            server: Some(server),
            forced,
        }
    }
}

/// Reads the cookies of a request and leaves in its head what the node sees of them. `None` where the
/// backend has nothing to do with persistence.
pub(crate) fn read(request: &mut Request, backend: &BackendState) -> Option<Persisted> {
    let conf = backend.conf();
    if conf.cookie.is_none() && conf.persist_rules.is_empty() {
        return None;
    }
    let Request { head, session, .. } = request;
    let persistence = {
        let facts = session.facts(Some(head), None);
        cookie::persistence(&conf.persist_rules, &facts)
    };
    let mut persisted = Persisted {
        presented: Presented::default(),
        server: None,
        forced: persistence == Persistence::Forced,
    };
    if let Some(cookie) = &conf.cookie {
        let now = clock::wall().as_secs();
        let (fields, to_down) = (&mut head.fields, conf.persist);
        let mut find = |value: &[u8]| backend.find_by_cookie(value);
        let presented = cookie::read(cookie, persistence, to_down, fields, now, &mut find);
        session.record.cookies.set([presented.given.letter(), b'N']);
        persisted.server = presented.server.and_then(|key| {
            let pool = backend.pool();
            pool.by_key(key).cloned()
        });
        persisted.presented = presented;
    }
    Some(persisted)
}

/// The request is denied: for the log, what its cookies would have come to.
pub(crate) fn note(request: &mut Request) {
    let Some(backend) = request.session.backend().cloned() else {
        return;
    };
    if let Some(Persisted {
        server: Some(server),
        ..
    }) = read(request, &backend)
    {
        request.session.belongs_to(&server);
    }
}

/// Does to the cookies of a response what the configuration says.
pub(crate) fn answer(
    persisted: &Persisted,
    backend: &BackendState,
    method: &Method,
    head: &mut ResponseHead,
    session: &Session,
) {
    let (Some(cookie), Some(server)) = (&backend.conf().cookie, session.server()) else {
        return;
    };
    let value = backend.cookie_value(cookie, server);
    let chosen = Chosen {
        server: server.key,
        value: value.as_deref(),
    };
    let now = clock::wall().as_secs();
    let returned = cookie::answer(cookie, &persisted.presented, &chosen, method, head, now);
    let [given, _] = session.record.cookies.get();
    session.record.cookies.set([given, returned.letter()]);
}

/// The server that the cookie named could not be reached, and the request goes elsewhere: for the log
/// it was down, as in HAProxy.
pub(crate) fn went_elsewhere(session: &Session) {
    if let [b'V', returned] = session.record.cookies.get() {
        session.record.cookies.set([b'D', returned]);
    }
}

impl BackendState {
    /// Who has this value: the first one that is up, be it draining, else the first one.
    fn find_by_cookie(&self, value: &[u8]) -> Found {
        let pool = self.pool();
        let mut down = Found::Unknown;
        let having = pool.cookies.servers(value).iter();
        let having = having.filter_map(|key| pool.by_key(*key));
        for server in having.filter(|server| !server.is_leaving()) {
            if server.is_resolved() && server.health().is_up() {
                return Found::Usable(server.key);
            }
            if down == Found::Unknown {
                down = Found::Down(server.key);
            }
        }
        down
    }

    /// To be called when a server has been added or has another address: both may give it another
    /// value.
    pub(crate) fn note_cookie_value(&self, pool: &mut Pool, server: &ServerState) {
        let Some(cookie) = &self.conf().cookie else {
            return;
        };
        let value = self.cookie_value(cookie, server);
        pool.cookies.set(server.key, value.as_deref());
    }

    /// What stands for a server in the cookie.
    fn cookie_value<'a>(&self, cookie: &Cookie, server: &'a ServerState) -> Option<Cow<'a, [u8]>> {
        if let Some(own) = &server.conf.cookie {
            return Some(Cow::Borrowed(own.as_bytes()));
        }
        let key = self.conf().dynamic_cookie_key.as_ref();
        let key = key.filter(|_| cookie.dynamic)?;
        let address: SocketAddr = match server.target(None)? {
            Target::Inet(address) => address,
            Target::Unix(_) | Target::Abstract(_) => return None,
        };
        let value = cookie::dynamic_value(key.0.as_bytes(), address);
        Some(Cow::Owned(value.into_bytes()))
    }
}
