//! Our own sections: where nodes come from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::BackendId;

/// Largest `max-nodes`: each node costs memory and checks, and lists, registry and state file are
/// bounded so that a fleet of this size fits. The largest fleets known have a few hundred.
pub const NODES_MAX: usize = 10_000;

/// Section `discovery` (our own; inside `.if feature(TIDEGATE)`): `None` in a field means its default.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// `url`: the service; the environment's `WS_UPDATES_URL` when not given.
    pub url: Option<Arc<str>>,
    /// `interval`: the environment's `UPDATE_INTERVAL`, else 30 s.
    pub interval: Option<Duration>,
    /// `fill-backend`: which backend the fleet fills. Default `ws_backend`, else the only one that serves upgrades.
    pub backend: Option<BackendId>,
    /// `rewrite-localhost TEMPLATE`: host of nodes that announce `localhost`; `{id}` is their id.
    pub rewrite_localhost: Option<Arc<str>>,
    /// `state-file`: where the last good fleet is kept.
    pub state_file: Option<PathBuf>,
    /// `max-nodes`, at most [`NODES_MAX`]. Default 1000.
    pub nodes_max: Option<usize>,
    /// `drain`: how long a node that left may keep its tunnels. Default: until they end.
    pub drain: Option<Duration>,
    /// `stream`: whether the service's event stream is followed where there is one. Default: it is.
    pub stream: bool,
    /// `stream on silence`: how long it may be silent. Default 60 s.
    pub stream_silence: Option<Duration>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            url: None,
            interval: None,
            backend: None,
            rewrite_localhost: None,
            state_file: None,
            nodes_max: None,
            drain: None,
            stream: true,
            stream_silence: None,
        }
    }
}

/// Section `runtime` (our own): how changes at run time are made, and what of them outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// `drain-period`: over which period `drain server` closes what a server has, where the command does not
    /// say. Default 60 s: clients come back in a trickle, and an operator still waits for it.
    pub drain_period: Duration,
    /// `drain-code`: the status that WebSockets are told. Default 1012, "Service Restart" (IANA, WebSocket
    /// Close Code Number Registry): clients may reconnect at once, and come to another server.
    pub drain_code: u16,
    /// `journal`: where changes by the Runtime API are kept.
    pub journal: Option<PathBuf>,
    /// `tables-file`: where stick tables are kept.
    pub tables_file: Option<PathBuf>,
    /// `tables-interval`: how often they are written. Default 60 s.
    pub tables_interval: Duration,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            drain_period: Duration::from_secs(60),
            drain_code: 1012,
            journal: None,
            tables_file: None,
            tables_interval: Duration::from_secs(60),
        }
    }
}

/// Section `registry` (our own).
#[derive(Debug, Clone)]
pub struct Registry {
    /// `bind`: where nodes announce themselves.
    pub bind: SocketAddr,
    /// `expire`: a node not heard of for so long is not listed. Default 5 min.
    pub expire: Duration,
}
