//! A listener that is counted on its own (`option socket-stats`): one `bind` of a frontend.

use std::collections::BTreeSet;
use std::sync::Arc;

use config::model::{Bind, BindAddress};

use crate::counters::{Count, Counters, Gauge};

/// One `bind` of a frontend.
pub(crate) struct ListenerState {
    /// `name`, else `sock-` and its number.
    pub(crate) name: Arc<str>,
    /// Where it listens, as stats show it.
    pub(crate) address: Arc<str>,
    /// Number in its frontend: `id` of the bind, or the next free one from 1.
    pub(crate) id: u32,
    /// `maxconn` of the bind; 0: none of its own.
    pub(crate) sessions_limit: u64,
    /// What it counts.
    pub(crate) counters: Counters,
    /// Connections now.
    pub(crate) sessions: Gauge,
}

impl ListenerState {
    /// Whether it is that of this `bind`, called the same.
    pub(crate) fn is_of(&self, bind: &Bind, id: u32) -> bool {
        let limit = bind.maxconn.map_or(0, u64::from);
        let name = match &bind.name {
            Some(name) => **name == *self.name,
            None => *self.name == format!("sock-{id}"),
        };
        id == self.id && name && limit == self.sessions_limit
    }

    /// All zero.
    pub(crate) fn new(bind: &Bind, id: u32, writers: usize) -> Self {
        let address = match &bind.address {
            BindAddress::Inet(address) => address.to_string(),
            BindAddress::Unix(_) | BindAddress::Abstract(_) => "unix".into(),
            BindAddress::Fd(number) => format!("fd@{number}"),
        };
        Self {
            name: bind
                .name
                .clone()
                .unwrap_or_else(|| format!("sock-{id}").into()),
            address: address.into(),
            id,
            sessions_limit: bind.maxconn.map_or(0, u64::from),
            counters: Counters::new(writers),
            sessions: Gauge::default(),
        }
    }
}

/// The numbers of a frontend's binds: where none is given, the position, or the next one that is free.
pub(crate) fn ids(binds: &[Bind]) -> Vec<u32> {
    let taken: BTreeSet<u32> = binds.iter().filter_map(|bind| bind.id).collect();
    let mut next = 0u32;
    let id = |bind: &Bind| {
        next = next.saturating_add(1);
        if bind.id.is_none() {
            while taken.contains(&next) {
                next = next.saturating_add(1);
            }
        }
        bind.id.unwrap_or(next)
    };
    binds.iter().map(id).collect()
}

/// A connection's place in the books of its listener. Tunnels have one, too: it is a pointer.
pub(crate) struct ListenerPlace(Arc<ListenerState>);

impl ListenerPlace {
    /// One more connection.
    pub(crate) fn enter(listener: &Arc<ListenerState>, writer: usize) -> Self {
        listener.sessions.enter();
        listener.counters.add(writer, Count::Sessions, 1);
        Self(listener.clone())
    }

    /// Connections of the listener now.
    pub(crate) fn connections(&self) -> u64 {
        self.0.sessions.now()
    }

    /// One that another process has had: it is no new one.
    pub(crate) fn adopt(listener: &Arc<ListenerState>) -> Self {
        listener.sessions.enter();
        Self(listener.clone())
    }

    /// Counts for the listener what is counted for its frontend.
    pub(crate) fn count(&self, writer: usize, what: Count, by: u64) {
        self.0.counters.add(writer, what, by);
    }
}

impl Drop for ListenerPlace {
    fn drop(&mut self) {
        self.0.sessions.leave();
    }
}
