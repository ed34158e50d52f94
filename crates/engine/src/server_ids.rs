//! Numeric ids of servers, given out as HAProxy does it: stats show them, and points on the ring of
//! consistent hashing depend on them, so two programs with the same file must agree.

use std::collections::HashSet;

use config::model::Server;

/// The ids in use in one backend.
#[derive(Debug, Default)]
pub(crate) struct ServerIds {
    /// In use, or said in the file.
    taken: HashSet<u32>,
    /// Where the search for the next server of the file begins.
    next: u32,
    /// No id below this one is free.
    lowest: u32,
}

impl ServerIds {
    /// Reserves what the file says.
    pub(crate) fn new(servers: &[Server]) -> Self {
        Self {
            taken: servers.iter().filter_map(|server| server.id).collect(),
            next: 1,
            lowest: 1,
        }
    }

    /// The id of the next server of the file: its own, else the first one from its position on that
    /// nobody has, shifted by what was skipped before.
    pub(crate) fn of_file(&mut self, own: Option<u32>) -> u32 {
        let id = own.unwrap_or_else(|| {
            self.next = self.free_from(self.next);
            self.next
        });
        self.next = self.next.saturating_add(1);
        self.taken.insert(id);
        id
    }

    /// The id of a server that comes while running: its own, else the lowest free one, so that who
    /// takes a server's place gets its keys, too.
    pub(crate) fn of_newcomer(&mut self, own: Option<u32>) -> u32 {
        let id = own.unwrap_or_else(|| {
            self.lowest = self.free_from(self.lowest);
            self.lowest
        });
        self.taken.insert(id);
        id
    }

    /// The server with that id has left.
    pub(crate) fn give_back(&mut self, id: u32) {
        self.taken.remove(&id);
        self.lowest = self.lowest.min(id).max(1);
    }

    /// Takes as many steps as there are ids in use, at most.
    fn free_from(&self, from: u32) -> u32 {
        let mut ids = from..u32::MAX;
        ids.find(|id| !self.taken.contains(id)).unwrap_or(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_haproxys() {
        let said = [None, Some(1), None, Some(10), Some(4), None];
        let servers = said.map(|id| Server {
            id,
            ..Server::default()
        });
        let mut ids = ServerIds::new(&servers);
        assert_eq!(said.map(|own| ids.of_file(own)), [2, 1, 5, 10, 4, 8]);
        assert_eq!([None, None].map(|own| ids.of_newcomer(own)), [3, 6]);
        ids.give_back(5);
        assert_eq!([None, None].map(|own| ids.of_newcomer(own)), [5, 7]);
    }
}
