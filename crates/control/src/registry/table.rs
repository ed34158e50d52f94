//! Who has announced itself, and when it was last heard of.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::discovery::listing::is_active;
use crate::discovery::{Fleet, Node, NodeId};

/// Most nodes that are kept: as many as a fleet can have.
const NODES_MAX: usize = config::model::NODES_MAX;

/// The nodes that announced themselves.
#[derive(Debug, Default)]
pub(crate) struct Table {
    expire: Duration,
    rows: Mutex<BTreeMap<NodeId, Row>>,
    /// Tells discovery in this process.
    changed: Notify,
    /// Tells the streams; one more with each change of what is listed.
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct Row {
    url: String,
    status: String,
    created_at: Timestamp,
    last_seen: Timestamp,
    heard: Instant,
}

/// A row as `GET /nodes` shows it; dates are UTC without a zone, as SQLite writes them.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    url: &'a str,
    status: &'a str,
    last_seen: String,
    created_at: String,
}

/// There are [`NODES_MAX`] nodes already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Table {
    /// An empty table.
    pub(crate) fn new(expire: Duration) -> Self {
        Self {
            expire,
            rows: Mutex::default(),
            changed: Notify::new(),
            version: watch::Sender::default(),
        }
    }

    /// Takes the nodes of a former run as if they had announced themselves just now: without that,
    /// the list after a restart would name only the nodes that were quick to come back.
    pub(crate) fn preload(&self, fleet: &Fleet) {
        for node in fleet.nodes().iter().take(NODES_MAX) {
            let _ = self.announce(&node.id, &node.address.to_string(), "active");
        }
    }

    /// Takes a node that somebody pushed as if it had announced itself.
    pub(crate) fn take_over(&self, node: &Node) {
        // When it is full the fleet is larger than the table: it is told of what has a place.
        let _ = self.announce(&node.id, &node.address.to_string(), "active");
    }

    /// Forgets a node that somebody said has left. Alive, it announces itself anew.
    pub(crate) fn forget(&self, id: &str) {
        let Ok(id) = NodeId::parse(id) else { return };
        if self.current().remove(&id).is_some() {
            self.has_changed();
        }
    }

    /// Adds a node, or renews it.
    pub(crate) fn announce(&self, id: &NodeId, url: &str, status: &str) -> Result<(), Full> {
        let mut rows = self.current();
        let full = rows.len() >= NODES_MAX;
        let now = Timestamp::now();
        let news = match rows.get_mut(id) {
            Some(row) => {
                let news = row.url != url || row.status != status;
                row.url = url.to_owned();
                row.status = status.to_owned();
                row.last_seen = now;
                row.heard = Instant::now();
                news
            }
            None if full => return Err(Full),
            None => {
                let row = Row {
                    url: url.to_owned(),
                    status: status.to_owned(),
                    created_at: now,
                    last_seen: now,
                    heard: Instant::now(),
                };
                rows.insert(id.clone(), row);
                true
            }
        };
        if news {
            self.has_changed();
        }
        Ok(())
    }

    /// Notes that a node was heard of; `false`: there is no such node (any more).
    pub(crate) fn heartbeat(&self, id: &NodeId) -> bool {
        match self.current().get_mut(id) {
            Some(row) => {
                row.last_seen = Timestamp::now();
                row.heard = Instant::now();
                true
            }
            None => false,
        }
    }

    /// The active nodes as a JSON array.
    pub(crate) fn list(&self) -> Vec<u8> {
        let rows = self.current();
        let active = rows.iter().filter(|(_, row)| is_active(&row.status));
        let listed = active.map(|(id, row)| Listed {
            id: id.as_str(),
            url: &row.url,
            status: &row.status,
            last_seen: sqlite_date(row.last_seen),
            created_at: sqlite_date(row.created_at),
        });
        serde_json::to_vec(&listed.collect::<Vec<_>>()).expect("texts can be written as JSON")
    }

    /// Waits until a node was added or changed since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A number that is another one with each change of what is listed, and a look at it.
    pub(super) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Takes out who has not been heard of for too long: nothing else tells the streams of it.
    pub(super) fn expire(&self) {
        drop(self.current());
    }

    fn has_changed(&self) {
        self.version.send_modify(|version| *version += 1);
        self.changed.notify_one();
    }

    /// The rows, without the expired ones.
    fn current(&self) -> MutexGuard<'_, BTreeMap<NodeId, Row>> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let before = rows.len();
        rows.retain(|_, row| row.heard.elapsed() < self.expire);
        if rows.len() < before {
            // Discovery in this process is looking, or will: it needs no telling.
            self.version.send_modify(|version| *version += 1);
        }
        rows
    }
}

fn sqlite_date(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
