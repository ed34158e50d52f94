//! Which server gets the next session: HAProxy's `balance` (manual 4.2).
//!
//! A [`Balancer`] holds what it must know of each server of one backend and answers [`Balancer::pick`].
//! It is told of every change ([`Balancer::upsert`], [`Balancer::sessions_changed`]) and decides nothing
//! about health: a candidate comes with `usable` already settled by [`crate::health`]. One file per
//! algorithm; this one sorts out weights, backups and who may be asked at all. No clock, no randomness
//! but what the caller hands in.

mod first;
mod leastconn;
mod random;
mod roundrobin;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use config::model::Balance;

pub use source::source_hash;

/// A server of a backend. Unique in its backend for ever, so that the key of a removed server never
/// names another one; ascending in file order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(pub u32);

/// What balancing must know of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which server.
    pub key: ServerKey,
    /// Its share, 0 to 256. 0 takes nothing new.
    pub weight: u16,
    /// Whether checks and the operator let it take new sessions.
    pub usable: bool,
    /// `backup`: asked only when no other server can be used.
    pub backup: bool,
    /// Sessions it has now (tunnels included) and those that wait for it.
    pub sessions: u64,
}

impl Candidate {
    fn takes_sessions(&self) -> bool {
        self.usable && self.weight > 0
    }

    fn member(&self) -> Member {
        Member {
            key: self.key,
            weight: self.weight,
            sessions: self.sessions,
        }
    }
}

/// What the session that wants a server brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ask {
    /// [`source_hash`] of the client's address; only `balance source` looks at it.
    pub source_hash: u32,
    /// Any random number; only `balance random` looks at it.
    pub random: u64,
    /// The server that just failed this session: taken again only if no other one can be had.
    pub avoid: Option<ServerKey>,
}

/// A server that takes sessions, as the algorithms see it: the weight is not 0.
#[derive(Debug, Clone, Copy)]
struct Member {
    key: ServerKey,
    weight: u16,
    sessions: u64,
}

/// One backend's choice of servers.
#[derive(Debug)]
pub struct Balancer {
    candidates: HashMap<ServerKey, Candidate>,
    /// Active servers that take sessions, in the order of the algorithm.
    active: Algorithm,
    active_weight: u64,
    /// Backup servers that take sessions, in file order.
    backups: BTreeSet<ServerKey>,
    active_count: usize,
}

#[derive(Debug)]
enum Algorithm {
    RoundRobin(roundrobin::RoundRobin),
    LeastConn(leastconn::LeastConn),
    Source(source::Source),
    Random(random::Random),
    First(first::First),
}

impl Balancer {
    /// A backend without servers.
    pub fn new(balance: Balance) -> Self {
        Self {
            candidates: HashMap::new(),
            active: Algorithm::new(balance),
            active_weight: 0,
            backups: BTreeSet::new(),
            active_count: 0,
        }
    }

    /// Adds a server or tells what has changed about it. O(log n); the other servers keep their
    /// positions. Servers of equal standing are asked in the order they were added, so add them in
    /// file order.
    pub fn upsert(&mut self, candidate: Candidate) {
        let before = self.candidates.insert(candidate.key, candidate);
        let was = before.filter(Candidate::takes_sessions);
        let is = candidate.takes_sessions();
        match was {
            Some(was) if is && was.backup == candidate.backup => self.update(&was, &candidate),
            Some(was) => {
                self.take_out(&was);
                if is {
                    self.put_in(&candidate);
                }
            }
            None if is => self.put_in(&candidate),
            None => {}
        }
        let weight_before = before.map_or(0, |before| before.weight);
        if weight_before != candidate.weight
            && let Algorithm::Source(source) = &mut self.active
        {
            source.declare(candidate.key, candidate.weight);
        }
    }

    /// Forgets a server; nothing happens if it is unknown.
    pub fn remove(&mut self, key: ServerKey) {
        let Some(candidate) = self.candidates.remove(&key) else {
            return;
        };
        if candidate.takes_sessions() {
            self.take_out(&candidate);
        }
        if let Algorithm::Source(source) = &mut self.active {
            source.declare(key, 0);
        }
    }

    /// Tells how many sessions a server has now. O(log n); unknown servers are ignored.
    pub fn sessions_changed(&mut self, key: ServerKey, sessions: u64) {
        let Some(candidate) = self.candidates.get_mut(&key) else {
            return;
        };
        candidate.sessions = sessions;
        if candidate.takes_sessions() && !candidate.backup {
            let member = candidate.member();
            self.active.update(&member);
        }
    }

    /// The server for a session, and its turn is over. `None`: no server takes sessions, or none of
    /// those that do has room, and the session must wait.
    ///
    /// `has_room` is asked for few servers as long as most have room.
    pub fn pick(&mut self, ask: &Ask, has_room: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        if self.active_count == 0 {
            // Without `option allbackups` only the first one that can be used serves (manual 4.2).
            return self.backups.first().copied().filter(|key| has_room(*key));
        }
        let Some(avoid) = ask.avoid else {
            return self.active.pick(ask, has_room);
        };
        let others = |key: ServerKey| key != avoid && has_room(key);
        self.active
            .pick(ask, &others)
            .or_else(|| self.active.pick(ask, has_room))
    }

    /// Whether balancing may choose this server now: it takes sessions, and is no backup that must
    /// stand by.
    pub fn serves(&self, key: ServerKey) -> bool {
        let Some(candidate) = self.candidates.get(&key) else {
            return false;
        };
        match candidate.backup {
            false => candidate.takes_sessions(),
            true => self.active_count == 0 && self.backups.first() == Some(&key),
        }
    }

    /// Active servers that take sessions (CSV `act` of the backend).
    pub fn active_count(&self) -> usize {
        self.active_count
    }

    /// Backup servers that take sessions (CSV `bck` of the backend).
    pub fn backup_count(&self) -> usize {
        self.backups.len()
    }

    /// Servers that share the load now, what `nbsrv` tells: the active ones, else one backup.
    pub fn usable_count(&self) -> usize {
        if self.active_count > 0 {
            self.active_count
        } else {
            self.backups.len().min(1)
        }
    }

    /// Weight of the servers that share the load now: the active ones, else the one backup.
    pub fn total_weight(&self) -> u64 {
        if self.active_count > 0 {
            return self.active_weight;
        }
        let backup = self.backups.first();
        backup
            .and_then(|key| self.candidates.get(key))
            .map_or(0, |candidate| u64::from(candidate.weight))
    }

    fn put_in(&mut self, candidate: &Candidate) {
        if candidate.backup {
            self.backups.insert(candidate.key);
            return;
        }
        self.active_count += 1;
        self.active_weight += u64::from(candidate.weight);
        self.active.insert(&candidate.member());
    }

    fn take_out(&mut self, candidate: &Candidate) {
        if candidate.backup {
            self.backups.remove(&candidate.key);
            return;
        }
        self.active_count -= 1;
        self.active_weight -= u64::from(candidate.weight);
        self.active.remove(candidate.key);
    }

    fn update(&mut self, was: &Candidate, is: &Candidate) {
        let changed = was.weight != is.weight || was.sessions != is.sessions;
        if is.backup || !changed {
            return;
        }
        self.active_weight = self.active_weight - u64::from(was.weight) + u64::from(is.weight);
        self.active.update(&is.member());
    }
}

impl Algorithm {
    fn new(balance: Balance) -> Self {
        match balance {
            Balance::LeastConn => Self::LeastConn(leastconn::LeastConn::default()),
            Balance::Source => Self::Source(source::Source::default()),
            Balance::Random(draws) => Self::Random(random::Random::new(draws)),
            Balance::First => Self::First(first::First::default()),
            Balance::RoundRobin => Self::RoundRobin(roundrobin::RoundRobin::default()),
        }
    }

    fn insert(&mut self, member: &Member) {
        match self {
            Self::RoundRobin(it) => it.insert(member),
            Self::LeastConn(it) => it.insert(member),
            Self::Source(it) => it.insert(member),
            Self::Random(it) => it.insert(member),
            Self::First(it) => it.insert(member),
        }
    }

    fn remove(&mut self, key: ServerKey) {
        match self {
            Self::RoundRobin(it) => it.remove(key),
            Self::LeastConn(it) => it.remove(key),
            Self::Source(it) => it.remove(key),
            Self::Random(it) => it.remove(key),
            Self::First(it) => it.remove(key),
        }
    }

    /// Weight or sessions of a member are other ones now.
    fn update(&mut self, member: &Member) {
        match self {
            Self::RoundRobin(it) => it.update(member),
            Self::LeastConn(it) => it.update(member),
            Self::Source(it) => it.update(member),
            Self::Random(it) => it.update(member),
            Self::First(_) => {}
        }
    }

    fn pick(&mut self, ask: &Ask, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        match self {
            Self::RoundRobin(it) => it.pick(may),
            Self::LeastConn(it) => it.pick(may),
            Self::Source(it) => it.pick(ask.source_hash, may),
            Self::Random(it) => it.pick(ask.random, may),
            Self::First(it) => it.pick(may),
        }
    }
}
