//! What a client's connection remembers of nodes from one request to the next: connections that no
//! other client may use, and the server to prefer (`option prefer-last-server`).

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use config::model::{Balance, Balancing, HttpReuse};

use crate::server::ServerState;
use crate::site::{BackendKey, BackendState};
use crate::stream::Stream;
use crate::upstream::own::Own;
use crate::upstream::pool::Alike;
use crate::upstream::proxy_header::Certificates;

/// Which idle connections a request may go out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None: a new one.
    Fresh,
    /// One that this client's requests have used before.
    Own,
    /// Those that have served more than one request.
    Proven,
    /// Any.
    Any,
}

impl Wanted {
    /// By `http-reuse`, for the first request of a client's connection or a later one.
    pub(crate) fn by(policy: HttpReuse, first: bool) -> Self {
        match (policy, first) {
            (HttpReuse::Never, _) => Self::Own,
            (HttpReuse::Safe, true) => Self::Fresh,
            (HttpReuse::Aggressive, true) => Self::Proven,
            (HttpReuse::Safe | HttpReuse::Aggressive, false) | (HttpReuse::Always, _) => Self::Any,
        }
    }
}

/// What is remembered.
#[derive(Default)]
pub(crate) struct Former {
    own: Option<Rc<Own>>,
    /// What PROXY headers say of the certificates of this connection.
    pub(crate) certificates: Option<Box<Certificates>>,
    /// The server of the last request and its backend, if the next one should go
    /// there too.
    server: Option<(BackendKey, Arc<ServerState>)>,
}

impl Former {
    /// A connection of one's own that is of that kind and still usable, and how many requests it has
    /// carried.
    pub(crate) fn take(&self, alike: &Alike, now: Instant) -> Option<(Stream, u32)> {
        self.own.as_ref()?.take(alike, now)
    }

    /// Where one's own connections are kept.
    pub(crate) fn own(&mut self) -> &Rc<Own> {
        self.own.get_or_insert_default()
    }

    /// The last request is over; its server keeps the connection.
    pub(crate) fn remember(&mut self, backend: &BackendState, server: Option<&Arc<ServerState>>) {
        let balancing = &backend.conf().balancing;
        let wanted = balancing.prefer_last_server && is_free(balancing);
        self.server = server
            .filter(|_| wanted)
            .map(|server| (backend.key, server.clone()));
    }

    /// The server to prefer in this backend, where it takes sessions and not too many wait for it.
    pub(crate) fn preferred(&mut self, backend: &BackendState) -> Option<Arc<ServerState>> {
        let (of, server) = self.server.take()?;
        let queue_max = backend.conf().balancing.keep_alive_queue_max;
        let few_wait = queue_max.is_none_or(|max| server.queued.now() < u64::from(max));
        let usable = of == backend.key
            && !server.removed.load(Relaxed)
            && server.accepts_new()
            && (few_wait || !backend.is_full(&server));
        usable.then_some(server)
    }
}

/// Whether the algorithm might choose any server for the same request.
fn is_free(balancing: &Balancing) -> bool {
    !matches!(balancing.algorithm, Balance::Hash(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_differ_in_first_requests() {
        use HttpReuse::{Aggressive, Always, Never, Safe};
        let wanted = |policy| (Wanted::by(policy, true), Wanted::by(policy, false));
        assert_eq!(wanted(Never), (Wanted::Own, Wanted::Own));
        assert_eq!(wanted(Safe), (Wanted::Fresh, Wanted::Any));
        assert_eq!(wanted(Aggressive), (Wanted::Proven, Wanted::Any));
        assert_eq!(wanted(Always), (Wanted::Any, Wanted::Any));
    }
}
