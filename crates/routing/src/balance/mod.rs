//! Which server gets the next session: HAProxy's `balance` (manual 4.2).
//!
//! A [`Balancer`] holds what it must know of each server of one backend and answers [`Balancer::pick`].
//! It is told of every change ([`Balancer::upsert`], [`Balancer::sessions_changed`]) and decides nothing
//! about health: a candidate comes with `usable` already settled by [`crate::health`]. One file per
//! algorithm; this one sorts out weights, backups and who may be asked at all. No clock, no randomness
//! but what the caller hands in.

mod by_server;
mod first;
mod hash;
mod key;
mod leastconn;
mod map;
mod random;
mod ring;
mod roundrobin;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeSet;

use config::model::{Affinity, Balance, Balancing, Hashing};

use by_server::ByServer;
pub use by_server::KeyHasher;
pub use hash::{avalanche, crc32, djb2, sdbm, wt6};
pub use key::session_hash;

/// Weights in force are counted in sixteenths of a unit of weight, as HAProxy does it: so fine is the
/// ramp of `slowstart`, and so many points on the ring has a unit.
pub const SCALE: u16 = 16;

/// A server of a backend. Unique in its backend for ever, so that the key of a removed server never
/// names another one; ascending in file order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(pub u32);

/// What balancing must know of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which server.
    pub key: ServerKey,
    /// Its numeric id, `id` of its line.
    pub id: u32,
    /// Where its points on the ring of `hash-type consistent` begin: see [`ring_point`].
    pub point: u32,
    /// Its share, 0 to 256. 0 takes nothing new.
    pub weight: u16,
    /// How much of its share it has, in sixteenths: 16 unless it is warming up (`slowstart`). Static
    /// algorithms do not look at it.
    pub ramp: u16,
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
            id: self.id,
            point: self.point,
            nominal: self.weight,
            weight: self.weight * self.ramp.clamp(1, SCALE),
            sessions: self.sessions,
        }
    }
}

/// Where the points of a server begin whose id decides (`hash-key id`).
pub fn ring_point(id: u32) -> u32 {
    id.wrapping_mul(4096)
}

/// What the session that wants a server brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ask {
    /// [`session_hash`]; only hashing algorithms look at it. Without one servers take turns.
    pub hash: Option<u32>,
    /// Any random number; only `balance random` looks at it.
    pub random: u64,
    /// The server that just failed this session: taken again only if no other one can be had.
    pub avoid: Option<ServerKey>,
}

/// Whether a server has a place for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It has.
    Free,
    /// It is full, and so many may wait for it (`maxqueue`); there is room for another.
    ShortQueue,
    /// It is full, and any number may wait for it.
    Queue,
    /// It is full, and so is its queue.
    None,
}

/// A server that takes sessions, as the algorithms see it: the weight is not 0.
#[derive(Debug, Clone, Copy)]
struct Member {
    key: ServerKey,
    id: u32,
    point: u32,
    /// As configured.
    nominal: u16,
    /// In force, in units of 1/[`SCALE`].
    weight: u16,
    sessions: u64,
}

/// One backend's choice of servers.
#[derive(Debug)]
pub struct Balancer {
    candidates: ByServer<Candidate>,
    hashing: Hashing,
    dynamic: bool,
    active: Group,
    /// Backup servers that take sessions, in file order.
    backups: BTreeSet<ServerKey>,
    /// The same as a group of their own, with `option allbackups`.
    all_backups: Option<Group>,
}

/// What [`Balancer::release`] takes, before the work is done.
#[derive(Debug)]
pub struct Draft(Vec<Option<map::Draft>>);

/// The same, done.
#[derive(Debug)]
pub struct Made(Vec<Option<map::Made>>);

impl Draft {
    /// Takes a moment: some milliseconds with thousands of servers of different weights.
    pub fn make(self) -> Made {
        let drafts = self.0.into_iter();
        Made(drafts.map(|draft| draft.map(map::Draft::make)).collect())
    }
}

/// Servers that share the load.
#[derive(Debug)]
struct Group {
    /// Those that take sessions, in the order of the algorithm.
    algorithm: Algorithm,
    count: usize,
    /// In units of 1/[`SCALE`].
    weight: u64,
    sessions: u64,
    /// Nobody had room when last asked, and nothing has left since.
    full: Full,
}

/// What need not be asked again of a group until one of its servers has fewer sessions.
#[derive(Debug, Clone, Copy, Default)]
struct Full {
    /// No server is [`Room::Free`].
    servers: bool,
    /// Nor has one the room that affinity asks for.
    queues: bool,
}

#[derive(Debug)]
enum Algorithm {
    RoundRobin(roundrobin::RoundRobin),
    LeastConn(leastconn::LeastConn),
    Random(random::Random),
    First(first::First),
    /// `static-rr`.
    Turns(map::Map),
    Map(map::Map),
    Ring(ring::Ring),
}

impl Balancer {
    /// A backend without servers.
    pub fn new(balancing: &Balancing) -> Self {
        Self {
            candidates: ByServer::default(),
            hashing: balancing.hashing,
            dynamic: balancing.is_dynamic(),
            active: Group::new(balancing),
            backups: BTreeSet::new(),
            all_backups: balancing.allbackups.then(|| Group::new(balancing)),
        }
    }

    /// Adds a server or tells what has changed about it. O(log n) but for maps, which are made anew
    /// when next needed; the other servers keep their positions. Servers of equal standing are asked
    /// in the order they were added, so add them in file order.
    pub fn upsert(&mut self, mut candidate: Candidate) {
        if !self.dynamic {
            candidate.ramp = SCALE;
        }
        let before = self.candidates.insert(candidate.key, candidate);
        let was = before.filter(Candidate::takes_sessions);
        let is = candidate.takes_sessions();
        match was {
            Some(was) if is && was.backup == candidate.backup => {
                if let Some(group) = self.group_of(&candidate) {
                    group.full = Full::default();
                    group.update(&was, &candidate);
                }
            }
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
        if weight_before != candidate.weight {
            self.declare(candidate.key, candidate.weight);
        }
    }

    /// Many changes are coming at once: what takes long to make anew is made once, for all of them.
    pub fn hold(&mut self) {
        for map in self.maps() {
            map.hold();
        }
    }

    /// What is to be made anew because of the changes so far; do it without keeping others from picking.
    pub fn draft(&mut self) -> Draft {
        let drafts = self.maps().map(|map| map.draft());
        Draft(drafts.collect())
    }

    /// The changes are over.
    pub fn release(&mut self, made: Made) {
        for (map, made) in self.maps().zip(made.0) {
            map.release(made);
        }
    }

    fn maps(&mut self) -> impl Iterator<Item = &mut map::Map> {
        let groups = [Some(&mut self.active), self.all_backups.as_mut()];
        groups
            .into_iter()
            .flatten()
            .filter_map(|group| match &mut group.algorithm {
                Algorithm::Turns(map) | Algorithm::Map(map) => Some(map),
                _ => None,
            })
    }

    /// Forgets a server; nothing happens if it is unknown.
    pub fn remove(&mut self, key: ServerKey) {
        let Some(candidate) = self.candidates.remove(&key) else {
            return;
        };
        if candidate.takes_sessions() {
            self.take_out(&candidate);
        }
        self.declare(key, 0);
    }

    fn declare(&mut self, key: ServerKey, weight: u16) {
        for map in self.maps() {
            map.declare(key, weight);
        }
    }

    /// Tells how many sessions a server has now. O(log n); unknown servers are ignored.
    pub fn sessions_changed(&mut self, key: ServerKey, sessions: u64) {
        let Some(candidate) = self.candidates.get_mut(&key) else {
            return;
        };
        let was = *candidate;
        candidate.sessions = sessions;
        let is = *candidate;
        if is.takes_sessions()
            && let Some(group) = self.group_of(&is)
        {
            group.update(&was, &is);
        }
    }

    /// Servers may have room though none has lost a session: their limits have risen.
    pub fn limits_risen(&mut self) {
        self.active.full = Full::default();
        if let Some(all) = &mut self.all_backups {
            all.full = Full::default();
        }
    }

    /// The server for a session, and its turn is over. `None`: no server takes sessions, or none of
    /// those that do has room, and the session must wait for any of them. Where a hash decides, the
    /// server may be full, and the session must wait for this very one.
    ///
    /// `room` is asked for few servers as long as most have room. When none has, it is not asked again
    /// before a server has fewer sessions, [`Self::upsert`] or [`Self::limits_risen`] was called.
    pub fn pick(&mut self, ask: &Ask, room: &dyn Fn(ServerKey) -> Room) -> Option<ServerKey> {
        let hashing = self.hashing;
        let group = match (&mut self.all_backups, self.active.count) {
            (_, 1..) => &mut self.active,
            (Some(all), 0) => all,
            // Only the first one that can be used serves (manual 4.2, "option allbackups").
            (None, 0) => {
                let first = self.backups.first().copied();
                return first.filter(|key| room(*key) == Room::Free);
            }
        };
        let picked = group.pick(ask, &hashing, &self.candidates, room);
        if ask.avoid.is_none() || picked.is_some() {
            return picked;
        }
        let avoid = None;
        group.pick(&Ask { avoid, ..*ask }, &hashing, &self.candidates, room)
    }

    /// Whether balancing may choose this server now: it takes sessions, and is no backup that must
    /// stand by.
    pub fn serves(&self, key: ServerKey) -> bool {
        let Some(candidate) = self.candidates.get(&key) else {
            return false;
        };
        let standing_by = candidate.backup
            && (self.active.count > 0
                || self.all_backups.is_none() && self.backups.first() != Some(&key));
        candidate.takes_sessions() && !standing_by
    }

    /// Active servers that take sessions (CSV `act` of the backend).
    pub fn active_count(&self) -> usize {
        self.active.count
    }

    /// Backup servers that take sessions (CSV `bck` of the backend).
    pub fn backup_count(&self) -> usize {
        self.backups.len()
    }

    /// Servers that share the load now, what `nbsrv` tells: the active ones, else one backup or all.
    pub fn usable_count(&self) -> usize {
        match (&self.all_backups, self.active.count) {
            (_, count @ 1..) => count,
            (Some(all), 0) => all.count,
            (None, 0) => self.backups.len().min(1),
        }
    }

    /// Weight in force of the servers that share the load now: the active ones, else the one backup
    /// or all.
    pub fn total_weight(&self) -> u64 {
        let scaled = match (&self.all_backups, self.active.count) {
            (_, 1..) => self.active.weight,
            (Some(all), 0) => all.weight,
            (None, 0) => {
                let backup = self.backups.first();
                backup
                    .and_then(|key| self.candidates.get(key))
                    .map_or(0, |candidate| u64::from(candidate.member().weight))
            }
        };
        scaled.div_ceil(u64::from(SCALE))
    }

    fn group_of(&mut self, candidate: &Candidate) -> Option<&mut Group> {
        match candidate.backup {
            false => Some(&mut self.active),
            true => self.all_backups.as_mut(),
        }
    }

    fn put_in(&mut self, candidate: &Candidate) {
        if candidate.backup {
            self.backups.insert(candidate.key);
        }
        if let Some(group) = self.group_of(candidate) {
            group.insert(&candidate.member());
        }
    }

    fn take_out(&mut self, candidate: &Candidate) {
        if candidate.backup {
            self.backups.remove(&candidate.key);
        }
        if let Some(group) = self.group_of(candidate) {
            group.remove(&candidate.member());
        }
    }
}

impl Group {
    fn new(balancing: &Balancing) -> Self {
        Self {
            algorithm: Algorithm::new(balancing),
            count: 0,
            weight: 0,
            sessions: 0,
            full: Full::default(),
        }
    }

    fn insert(&mut self, member: &Member) {
        self.full = Full::default();
        self.count += 1;
        self.weight += u64::from(member.weight);
        self.sessions += member.sessions;
        self.algorithm.insert(member);
    }

    fn remove(&mut self, member: &Member) {
        self.count -= 1;
        self.weight -= u64::from(member.weight);
        self.sessions -= member.sessions;
        self.algorithm.remove(member.key);
    }

    fn update(&mut self, was: &Candidate, is: &Candidate) {
        let (was, is) = (was.member(), is.member());
        if is.sessions < was.sessions {
            self.full = Full::default();
        }
        self.weight = self.weight - u64::from(was.weight) + u64::from(is.weight);
        self.sessions = self.sessions - was.sessions + is.sessions;
        if was.weight != is.weight || was.sessions != is.sessions || was.point != is.point {
            self.algorithm.update(&is);
        }
    }

    fn pick(
        &mut self,
        ask: &Ask,
        hashing: &Hashing,
        candidates: &ByServer<Candidate>,
        room: &dyn Fn(ServerKey) -> Room,
    ) -> Option<ServerKey> {
        let other = |key: ServerKey| ask.avoid != Some(key);
        let is_ring = matches!(self.algorithm, Algorithm::Ring(_));
        let free = |key: ServerKey| other(key) && room(key) == Room::Free;
        let patient = |key: ServerKey| match hashing.affinity {
            Affinity::Always => other(key),
            Affinity::Maxconn => free(key),
            Affinity::Maxqueue => other(key) && room(key) != Room::None,
        };
        let factor = hashing.balance_factor.map(u64::from);
        let (sessions, weight) = (self.sessions, self.weight);
        let is_light = |key: ServerKey| match (factor, candidates.get(&key)) {
            (Some(factor), Some(it)) => {
                it.sessions < load_max(factor, sessions, &it.member(), weight)
            }
            _ => true,
        };
        // Who avoids a server has not asked all of them.
        let asks_all = ask.avoid.is_none();
        if let Algorithm::Map(_) | Algorithm::Ring(_) = &self.algorithm
            && let Some(hash) = ask.hash
        {
            let algorithm = &mut self.algorithm;
            let mut find = |may: &dyn Fn(ServerKey) -> bool| match algorithm {
                Algorithm::Map(it) => it.find(hash, may),
                Algorithm::Ring(it) => it.find(hash, may),
                _ => None,
            };
            if self.full.queues {
                return find(&other);
            }
            let any = Cell::new(false);
            let factor_counts = |key: ServerKey| !is_ring || is_light(key);
            let picked = find(&|key| {
                let is_patient = patient(key);
                any.set(any.get() || is_patient);
                is_patient && factor_counts(key)
            });
            self.full.queues = asks_all && !any.get();
            return picked.or_else(|| find(&other));
        }
        if let Algorithm::LeastConn(it) = &mut self.algorithm {
            let may_wait = |key| matches!(room(key), Room::Free | Room::ShortQueue);
            return it.pick(&|key| other(key) && may_wait(key));
        }
        if self.full.servers {
            return None;
        }
        let picked = match &mut self.algorithm {
            Algorithm::RoundRobin(it) => it.pick(&free),
            Algorithm::First(it) => it.pick(&free),
            Algorithm::Random(it) => {
                let picked = it.pick(ask.random, &|key| free(key) && is_light(key));
                picked.or_else(|| factor.and_then(|_| it.pick(ask.random, &free)))
            }
            Algorithm::Turns(it) | Algorithm::Map(it) => it.pick(&free),
            Algorithm::Ring(it) => it.pick(&free),
            Algorithm::LeastConn(_) => None,
        };
        self.full.servers = asks_all && picked.is_none();
        picked
    }
}

/// How many sessions a server may have at most by `hash-balance-factor`: its share of those there
/// would be, times the factor, rounded up, so that there is always one that may have one more.
fn load_max(factor: u64, sessions: u64, member: &Member, weight_total: u64) -> u64 {
    let places = ((sessions + 1) * factor).div_ceil(100);
    (places * u64::from(member.weight)).div_ceil(weight_total.max(1))
}

impl Algorithm {
    fn new(balancing: &Balancing) -> Self {
        match balancing.algorithm {
            Balance::RoundRobin => Self::RoundRobin(roundrobin::RoundRobin::default()),
            Balance::StaticRr => Self::Turns(map::Map::default()),
            Balance::LeastConn => Self::LeastConn(leastconn::LeastConn::default()),
            Balance::Random(draws) => Self::Random(random::Random::new(draws)),
            Balance::First => Self::First(first::First::default()),
            Balance::Hash(_) if balancing.hashing.consistent => Self::Ring(ring::Ring::default()),
            Balance::Hash(_) => Self::Map(map::Map::default()),
        }
    }

    fn insert(&mut self, member: &Member) {
        match self {
            Self::RoundRobin(it) => it.insert(member),
            Self::LeastConn(it) => it.insert(member),
            Self::Random(it) => it.insert(member),
            Self::First(it) => it.insert(member),
            Self::Turns(it) | Self::Map(it) => it.insert(member),
            Self::Ring(it) => it.insert(member),
        }
    }

    fn remove(&mut self, key: ServerKey) {
        match self {
            Self::RoundRobin(it) => it.remove(key),
            Self::LeastConn(it) => it.remove(key),
            Self::Random(it) => it.remove(key),
            Self::First(it) => it.remove(key),
            Self::Turns(it) | Self::Map(it) => it.remove(key),
            Self::Ring(it) => it.remove(key),
        }
    }

    /// Weight, sessions or points of a member are other ones now.
    fn update(&mut self, member: &Member) {
        match self {
            Self::RoundRobin(it) => it.update(member),
            Self::LeastConn(it) => it.update(member),
            Self::Random(it) => it.update(member),
            Self::First(_) => {}
            Self::Turns(it) | Self::Map(it) => it.update(member),
            Self::Ring(it) => it.update(member),
        }
    }
}
