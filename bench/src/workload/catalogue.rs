//! The lines of the tables: which work, with how much of what.

use super::Work;
use crate::peers::{Kind, Peer};

/// A line of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// As the command line calls it.
    pub(crate) name: &'static str,
    /// What a unit is.
    pub(crate) unit: &'static str,
    /// Workloads of one group take turns within a round, because they are compared with each other.
    pub(crate) group: &'static str,
    /// What is done.
    pub(crate) work: Work,
    /// Whether clients speak TLS.
    pub(crate) tls: bool,
    /// Whether they would rather agree on keys that quantum computers cannot find (X25519MLKEM768), which
    /// not every peer can: it is more work, so it is compared with nobody's X25519.
    pub(crate) post_quantum: bool,
    /// Threads or worker processes of the proxy.
    pub(crate) workers: usize,
    /// Nodes behind it.
    pub(crate) nodes: usize,
    /// Rules nobody meets.
    pub(crate) rules: usize,
    /// More rounds would say nothing new.
    pub(crate) rounds_max: usize,
}

const fn plain(name: &'static str, unit: &'static str, work: Work) -> Workload {
    Workload {
        name,
        unit,
        group: name,
        work,
        tls: false,
        post_quantum: false,
        workers: 1,
        nodes: 3,
        rules: 0,
        rounds_max: usize::MAX,
    }
}

const fn tls(name: &'static str, unit: &'static str, work: Work) -> Workload {
    Workload {
        tls: true,
        ..plain(name, unit, work)
    }
}

const fn relay(name: &'static str, length: usize, sockets: usize, rate: u32) -> Workload {
    plain(name, "message and echo", Work::Relay(length, sockets, rate))
}

const CONNECT: Work = Work::Connect { resumed: false };
const RESUME: Work = Work::Connect { resumed: true };

/// Everything that is measured, groups together.
pub(crate) const WORKLOADS: &[Workload] = &[
    relay("relay-64", 64, 1000, 0),
    Workload {
        group: "relay-64",
        ..relay("relay-64-100-sockets", 64, 100, 0)
    },
    Workload {
        group: "relay-64",
        ..relay("relay-64-9000-sockets", 64, 9000, 0)
    },
    Workload {
        group: "relay-64",
        workers: 2,
        ..relay("relay-64-2-workers", 64, 1000, 0)
    },
    relay("relay-1k", 1024, 1000, 0),
    relay("relay-16k", 16 * 1024, 1000, 0),
    relay("relay-64-20000/s", 64, 1000, 20_000),
    relay("relay-64-5000/s", 64, 1000, 5_000),
    plain("fan-out-256", "message", Work::FanOut(256, 1000)),
    tls(
        "tls-relay-1k",
        "message and echo",
        Work::Relay(1024, 1000, 0),
    ),
    tls(
        "tls-relay-1k-10000/s",
        "message and echo",
        Work::Relay(1024, 1000, 10_000),
    ),
    plain("connect", "WebSocket", CONNECT),
    Workload {
        group: "connect",
        nodes: 3_000,
        ..plain("connect-3000-servers", "WebSocket", CONNECT)
    },
    tls("tls-connect-full", "WebSocket", CONNECT),
    tls("tls-connect-resumed", "WebSocket", RESUME),
    Workload {
        post_quantum: true,
        ..tls("tls-connect-full-ml-kem", "WebSocket", CONNECT)
    },
    plain("http", "request", Work::Http(64, 0)),
    Workload {
        group: "http",
        nodes: 3_000,
        ..plain("http-3000-servers", "request", Work::Http(64, 0))
    },
    Workload {
        group: "http",
        rules: 10,
        ..plain("http-10-rules", "request", Work::Http(64, 0))
    },
    Workload {
        group: "http",
        rules: 1_000,
        ..plain("http-1000-rules", "request", Work::Http(64, 0))
    },
    plain("http-10000/s", "request", Work::Http(64, 10_000)),
    Workload {
        workers: 2,
        ..plain(
            "spread-2-workers",
            "message and echo",
            Work::Spread(1000, 10_000),
        )
    },
    plain("greedy", "message and echo", Work::Greedy(200, 2_000)),
    Workload {
        nodes: 1_100,
        ..plain(
            "list-changes",
            "message and echo",
            Work::ListChanges(1000, 5_000),
        )
    },
    // Memory hardly varies between rounds, and a minute is long.
    Workload {
        rounds_max: 1,
        ..plain("idle", "socket", Work::Idle(9_000))
    },
    Workload {
        rounds_max: 1,
        ..tls("tls-idle", "socket", Work::Idle(9_000))
    },
];

impl Workload {
    /// Whether a peer can do it.
    pub(crate) fn suits(&self, peer: &Peer) -> bool {
        let floor = !self.tls && self.workers == 1 && self.rules == 0 && self.nodes <= 3;
        let floor_works = matches!(
            self.work,
            Work::Relay(..) | Work::FanOut(..) | Work::Connect { .. } | Work::Greedy(..)
        );
        match (peer.kind, self.work) {
            // No other one has a list of nodes that changes while it runs.
            (kind, Work::ListChanges(..)) => kind == Kind::Tidegate,
            (Kind::CopyLoop, _) => floor && floor_works,
            (kind, _) if self.post_quantum => kind == Kind::Tidegate,
            // Its rules are another language.
            (Kind::Nginx, _) => self.rules == 0,
            (Kind::HaProxy | Kind::Tidegate, _) => true,
        }
    }
}
