//! `balance leastconn`: the server with the fewest sessions for its weight (manual 4.2).
//!
//! Servers of equal load take turns. As in HAProxy a server without any session comes before all
//! others, whatever its weight, and a load is reckoned with the session that would be added.

use std::collections::BTreeSet;

use super::by_server::ByServer;
use super::{Member, ServerKey};

/// Sessions are compared in units of 1/2^20 session per weight, so that weights up to 4096
/// (256, in sixteenths) stay distinct and 2^44 sessions still fit.
const SCALE: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct LeastConn {
    /// Least loaded first; among equals the one that has waited longest.
    queue: BTreeSet<Place>,
    places: ByServer<Place>,
    turns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    load: u64,
    turn: u64,
    key: ServerKey,
}

impl LeastConn {
    pub(super) fn insert(&mut self, member: &Member) {
        self.place(member.key, load(member));
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        if let Some(place) = self.places.remove(&key) {
            self.queue.remove(&place);
        }
    }

    pub(super) fn update(&mut self, member: &Member) {
        let load = load(member);
        if self
            .places
            .get(&member.key)
            .is_some_and(|place| place.load != load)
        {
            self.remove(member.key);
            self.place(member.key, load);
        }
    }

    pub(super) fn pick(&mut self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        let place = *self.queue.iter().find(|place| may(place.key))?;
        // To the end of its equals, in case another session asks before this one is counted.
        self.remove(place.key);
        self.place(place.key, place.load);
        Some(place.key)
    }

    fn place(&mut self, key: ServerKey, load: u64) {
        self.turns += 1;
        let place = Place {
            load,
            turn: self.turns,
            key,
        };
        self.queue.insert(place);
        self.places.insert(key, place);
    }
}

fn load(member: &Member) -> u64 {
    if member.sessions == 0 {
        return 0;
    }
    let with_one_more = member.sessions.saturating_add(1);
    with_one_more.saturating_mul(SCALE) / u64::from(member.weight)
}
