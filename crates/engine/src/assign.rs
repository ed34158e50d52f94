//! Places on servers: who gets one, who waits for one and where.
//!
//! A session that balancing may send anywhere waits in its backend's queue; one that belongs to a
//! server (by a hash, by a cookie) waits in that server's. A place that falls free goes to whoever of
//! both has waited longest (manual 5.2, "maxconn"). Which server it is for those who do not wait is
//! the choice of [`routing::balance`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use config::model::Backend;
use routing::balance::{Ask, Balancer, Candidate, Room, ServerKey};

use crate::changes::Changes;
use crate::cookie_values::CookieValues;
use crate::queue::{Place, Queue, Standing, Ticket, Turn};
use crate::server::ServerState;
use crate::server_ids::ServerIds;
use crate::site::BackendState;

/// The servers of a backend and those who wait for one.
pub(crate) struct Pool {
    /// Whose turn it is.
    pub(crate) balancer: Balancer,
    /// Which numeric ids are in use.
    pub(crate) ids: ServerIds,
    members: BTreeMap<ServerKey, Member>,
    by_name: HashMap<Arc<str>, ServerKey>,
    /// Those that belong together and are not over yet.
    pub(crate) changes: Changes,
    /// What stands for them in the persistence cookie.
    pub(crate) cookies: CookieValues,
    /// Those who may go to any server.
    queue: Queue,
    /// Arrivals in all queues so far.
    arrivals: u64,
    /// When it was made: arrivals are timed from here.
    made: Instant,
    /// `maxconn` of all servers that ever had a `minconn`: how their limits rise with the backend's load.
    ramps: BTreeSet<u32>,
    /// The backend's sessions when it was last asked who has room; 0 after a place has fallen free.
    load_seen: u64,
}

struct Member {
    server: Arc<ServerState>,
    /// Those who are bound to it.
    queue: Queue,
}

/// What became of a wish for a server.
pub(crate) enum Assigned {
    /// Here it is.
    Slot(Slot),
    /// All are full, or the one it must be: wait here.
    Wait(Ticket),
    /// The server it must be is full, and so is its queue (`maxqueue`).
    QueueFull(Arc<ServerState>),
    /// No server can be used.
    NoServer,
}

impl Pool {
    /// No servers.
    pub(crate) fn new(conf: &Backend) -> Self {
        Self {
            balancer: Balancer::new(&conf.balancing),
            ids: ServerIds::new(&conf.servers),
            members: BTreeMap::new(),
            by_name: HashMap::new(),
            changes: Changes::default(),
            cookies: CookieValues::default(),
            queue: Queue::default(),
            arrivals: 0,
            made: Instant::now(),
            ramps: BTreeSet::new(),
            load_seen: 0,
        }
    }

    /// All servers, in the order they were added.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<ServerState>> {
        self.members.values().map(|member| &member.server)
    }

    /// The server of that name.
    pub(crate) fn server(&self, name: &str) -> Option<&Arc<ServerState>> {
        let key = self.by_name.get(name)?;
        self.members.get(key).map(|member| &member.server)
    }

    /// The server of that key.
    pub(crate) fn by_key(&self, key: ServerKey) -> Option<&Arc<ServerState>> {
        self.members.get(&key).map(|member| &member.server)
    }

    /// Adds a server whose name is not taken.
    pub(crate) fn insert(&mut self, server: &Arc<ServerState>) {
        self.by_name.insert(server.conf.name.clone(), server.key);
        if let (Some(_), Some(max)) = (server.conf.minconn, server.conf.maxconn) {
            self.ramps.insert(max);
        }
        let member = Member {
            server: server.clone(),
            queue: Queue::default(),
        };
        self.balancer.upsert(member.candidate());
        self.members.insert(server.key, member);
    }

    /// The same server is configured another way: who waits for it goes on waiting.
    pub(crate) fn replace(&mut self, server: &Arc<ServerState>) {
        let Some(member) = self.members.get_mut(&server.key) else {
            return;
        };
        let before = std::mem::replace(&mut member.server, server.clone());
        if before.id != server.id {
            self.ids.give_back(before.id);
        }
        if let (Some(_), Some(max)) = (server.conf.minconn, server.conf.maxconn) {
            self.ramps.insert(max);
        }
        let candidate = member.candidate();
        self.balancer.upsert(candidate);
        self.freed(server.key);
    }

    /// Servers are chosen another way from now on.
    pub(crate) fn rebalance(&mut self, conf: &Backend) {
        self.balancer = Balancer::new(&conf.balancing);
        for member in self.members.values() {
            self.balancer.upsert(member.candidate());
        }
    }

    /// The same server is called otherwise.
    pub(crate) fn rename(&mut self, old: &ServerState, new: &Arc<ServerState>) {
        if let Some(member) = self.members.get_mut(&old.key) {
            self.by_name.remove(&old.conf.name);
            self.by_name.insert(new.conf.name.clone(), new.key);
            member.server = new.clone();
        }
    }

    /// Forgets a server; who waits for it must choose anew.
    pub(crate) fn remove(&mut self, server: &ServerState) {
        self.send_away(server.key);
        self.balancer.remove(server.key);
        self.ids.give_back(server.id);
        self.members.remove(&server.key);
        self.by_name.remove(&server.conf.name);
        self.cookies.set(server.key, None);
    }

    /// The backend's queue.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The backend's queue.
    pub(crate) fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// A server's queue.
    pub(crate) fn queue_of(&self, key: ServerKey) -> Option<&Queue> {
        self.members.get(&key).map(|member| &member.queue)
    }

    /// A server's queue.
    pub(crate) fn queue_of_mut(&mut self, key: ServerKey) -> Option<&mut Queue> {
        self.members.get_mut(&key).map(|member| &mut member.queue)
    }

    fn pick(&mut self, backend: &BackendState, ask: &Ask) -> Option<ServerKey> {
        let (members, load) = (&self.members, backend.load());
        let room = |key: ServerKey| members.get(&key).map_or(Room::None, |it| it.room(&load));
        self.balancer.pick(ask, &room)
    }

    fn occupy(&mut self, backend: &Arc<BackendState>, server: &Arc<ServerState>) -> Slot {
        server.sessions.enter();
        self.tell_balancer(server.key);
        Slot {
            backend: backend.clone(),
            server: server.clone(),
            occupied: true,
        }
    }

    /// Sessions of a server, or those who wait for it, are other ones now.
    fn tell_balancer(&mut self, key: ServerKey) {
        if let Some(member) = self.members.get(&key) {
            self.balancer.sessions_changed(key, member.load());
        }
    }

    /// The same, and there may be room where there was none.
    pub(crate) fn freed(&mut self, key: ServerKey) {
        self.load_seen = 0;
        self.tell_balancer(key);
    }

    /// Whether the backend's load has raised a limit since last asked (`minconn`). Most sessions raise
    /// none, and need not look for one.
    fn limits_risen(&mut self, load: &Load) -> bool {
        if self.ramps.is_empty() || load.sessions <= self.load_seen {
            return false;
        }
        let before = std::mem::replace(&mut self.load_seen, load.sessions);
        let risen = load.has_raised(&self.ramps, before);
        if risen {
            self.balancer.limits_risen();
        }
        risen
    }

    /// The place in a queue of who joins it now.
    fn next_place(&mut self, standing: Standing) -> Place {
        self.arrivals += 1;
        let came = i64::try_from(self.made.elapsed().as_millis()).unwrap_or(i64::MAX);
        Place::new(standing, came, self.arrivals)
    }

    /// A place on that server, or in its queue.
    fn place_at(
        &mut self,
        backend: &Arc<BackendState>,
        key: ServerKey,
        standing: Standing,
    ) -> Assigned {
        let Some(member) = self.members.get(&key) else {
            return Assigned::NoServer;
        };
        let server = member.server.clone();
        match member.room(&backend.load()) {
            Room::Free => return Assigned::Slot(self.occupy(backend, &server)),
            Room::ShortQueue | Room::Queue => {}
            Room::None => return Assigned::QueueFull(server),
        }
        let place = self.next_place(standing);
        let Some(member) = self.members.get_mut(&key) else {
            return Assigned::NoServer;
        };
        let ticket = Ticket::join(&mut member.queue, place, backend, Some(&server));
        self.tell_balancer(key);
        if server.conf.minconn.is_some() {
            // One more session in the backend may have raised its limit.
            self.serve_at(backend, key);
        }
        Assigned::Wait(ticket)
    }

    /// Gives the places of a server to those who have waited longest, as far as they go.
    fn serve_at(&mut self, backend: &Arc<BackendState>, key: ServerKey) {
        while let Some(member) = self.members.get_mut(&key) {
            if member.is_full(&backend.load()) {
                return;
            }
            let own = member.queue.first();
            let anybodys = self.queue.first();
            let anybodys = anybodys.filter(|_| self.balancer.serves(key));
            let server = member.server.clone();
            let sender = match (own, anybodys) {
                (None, None) => return,
                (Some(own), anybodys) if anybodys.is_none_or(|other| own < other) => {
                    member.queue.pop(&server.queued)
                }
                _ => self.queue.pop(&backend.queued),
            };
            self.hand_over(backend, &server, sender);
        }
    }

    /// Gives whatever has room to those who may go anywhere, by the same choice as for anybody.
    fn serve_anywhere(&mut self, backend: &Arc<BackendState>) {
        while !self.queue.is_empty() {
            let (members, load) = (&self.members, backend.load());
            // They wait already: another queue is no place for them.
            let room = |key: ServerKey| match members.get(&key).map(|it| it.room(&load)) {
                Some(Room::Free) => Room::Free,
                _ => Room::None,
            };
            let Some(key) = self.balancer.pick(&Ask::default(), &room) else {
                return;
            };
            let Some(member) = self.members.get(&key) else {
                return;
            };
            let server = member.server.clone();
            let sender = self.queue.pop(&backend.queued);
            self.hand_over(backend, &server, sender);
        }
    }

    fn hand_over(
        &mut self,
        backend: &Arc<BackendState>,
        server: &Arc<ServerState>,
        sender: Option<tokio::sync::oneshot::Sender<Turn>>,
    ) {
        let slot = self.occupy(backend, server);
        let rejected = match sender {
            Some(sender) => sender.send(Turn::Slot(slot)).err(),
            None => Some(Turn::Slot(slot)),
        };
        // Nobody there any more: the place is as free as before.
        if let Some(Turn::Slot(slot)) = rejected {
            slot.vacate(self);
        }
    }

    /// Tells those who wait for a server to choose anew.
    fn send_away(&mut self, key: ServerKey) -> usize {
        let Some(member) = self.members.get_mut(&key) else {
            return 0;
        };
        let mut count = 0;
        while let Some(sender) = member.queue.pop_unserved(&member.server.queued) {
            // Who has given up need not know.
            let _ = sender.send(Turn::Again);
            count += 1;
        }
        count
    }
}

/// What of a backend decides about the limits of its servers (`minconn`).
struct Load {
    sessions: u64,
    fullconn: u64,
}

impl Load {
    /// Whether it raises a limit of `max` that `before` sessions did not (see `ServerState::has_room`).
    fn has_raised(&self, ramps: &BTreeSet<u32>, before: u64) -> bool {
        let full = self.fullconn.max(1);
        let limit = |sessions: u64, max: u32| sessions.min(full) * u64::from(max) / full;
        let mut ramps = ramps.iter();
        before == 0 || ramps.any(|max| limit(self.sessions, *max) > limit(before, *max))
    }
}

impl Member {
    /// Whether its limit of sessions is reached.
    fn is_full(&self, load: &Load) -> bool {
        !self.server.has_room(load.sessions, load.fullconn)
    }

    /// Who comes later does not overtake those who wait.
    fn room(&self, load: &Load) -> Room {
        if !self.is_full(load) && self.queue.is_empty() {
            return Room::Free;
        }
        match self.server.conf.maxqueue {
            None => Room::Queue,
            Some(max) if self.queue.len() < max as usize => Room::ShortQueue,
            Some(_) => Room::None,
        }
    }

    /// Sessions it has and those that wait for it.
    fn load(&self) -> u64 {
        self.server.sessions.now() + self.queue.len() as u64
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            sessions: self.load(),
            ..self.server.candidate()
        }
    }
}

impl BackendState {
    /// Whether a session that is bound to this server would have to wait.
    pub(crate) fn is_full(&self, server: &ServerState) -> bool {
        let pool = self.pool();
        let member = pool.members.get(&server.key);
        member.is_none_or(|member| member.room(&self.load()) != Room::Free)
    }

    fn load(&self) -> Load {
        Load {
            sessions: self.sessions.now(),
            fullconn: self.fullconn,
        }
    }

    /// Finds a server for a session by balancing, or a place in a queue.
    pub(crate) fn assign(self: &Arc<Self>, ask: &Ask, standing: Standing) -> Assigned {
        let mut pool = self.pool();
        let risen = pool.limits_risen(&self.load());
        // Who comes later does not overtake those who wait.
        if pool.queue.is_empty()
            && let Some(key) = pool.pick(self, ask)
        {
            return pool.place_at(self, key, standing);
        }
        if pool.balancer.usable_count() == 0 {
            return Assigned::NoServer;
        }
        let place = pool.next_place(standing);
        let ticket = Ticket::join(&mut pool.queue, place, self, None);
        if risen {
            pool.serve_anywhere(self);
        }
        Assigned::Wait(ticket)
    }

    /// A place on this very server, or in its queue: for sessions that belong to it (by a cookie, a
    /// stick table, `use-server`). It is not asked whether the server is up or draining: whoever
    /// sends a session there has judged that (`persist` and `force-persist` differ in it).
    ///
    /// [`Assigned::QueueFull`] when its `maxqueue` is reached: [`Self::assign`] then finds another
    /// one, where `option redispatch` allows it; else the client gets 503. A ticket ends with
    /// [`Turn::Again`] when the server goes down, drains or leaves: then look for a server anew.
    /// [`Assigned::NoServer`] if it is no server of this backend any more.
    pub(crate) fn assign_to(
        self: &Arc<Self>,
        server: &ServerState,
        standing: Standing,
    ) -> Assigned {
        self.pool().place_at(self, server.key, standing)
    }

    /// A place on this very server whether it has room or not: for a session that is on it already, in the
    /// process before this one.
    pub(crate) fn place_anyway(self: &Arc<Self>, server: &Arc<ServerState>) -> Slot {
        self.pool().occupy(self, server)
    }

    /// To be called after anything that decides whether a server takes sessions has changed: tells
    /// the balancer, sends those who wait for a server that takes none elsewhere, and serves those
    /// who wait if there is room now. Says how many were sent elsewhere.
    pub(crate) fn refresh(self: &Arc<Self>, server: &ServerState) -> usize {
        let mut pool = self.pool();
        let mut sent_away = 0;
        if let Some(member) = pool.members.get(&server.key) {
            let candidate = member.candidate();
            pool.balancer.upsert(candidate);
            if !candidate.usable && self.conf().redispatch.is_some() {
                sent_away = pool.send_away(server.key);
                pool.freed(server.key);
            }
            pool.serve_at(self, server.key);
        }
        pool.serve_anywhere(self);
        sent_away
    }
}

/// A session's place on a server. Dropping it frees the place, or passes it on to who waits.
pub(crate) struct Slot {
    backend: Arc<BackendState>,
    server: Arc<ServerState>,
    occupied: bool,
}

impl Slot {
    /// The server.
    pub(crate) fn server(&self) -> &Arc<ServerState> {
        &self.server
    }

    /// The place stays taken, and whoever takes it on keeps in mind whose it is.
    pub(crate) fn rest(mut self) {
        self.occupied = false;
    }

    /// A place that was taken before.
    pub(crate) fn wake(backend: &Arc<BackendState>, server: &Arc<ServerState>) -> Self {
        Self {
            backend: backend.clone(),
            server: server.clone(),
            occupied: true,
        }
    }

    /// Whether it is a place of this backend's on this server.
    pub(crate) fn is_on(&self, backend: &Arc<BackendState>, server: &Arc<ServerState>) -> bool {
        self.backend.key == backend.key && self.server.key == server.key
    }

    /// Frees the place while the pool is locked already.
    fn vacate(mut self, pool: &mut Pool) {
        self.occupied = false;
        self.server.sessions.leave();
        pool.freed(self.server.key);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.occupied {
            return;
        }
        let mut pool = self.backend.pool();
        self.server.sessions.leave();
        pool.freed(self.server.key);
        pool.serve_at(&self.backend, self.server.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everybody who joined the queue of a backend with `minconn` looked at all its servers.
    #[test]
    fn every_queued_session_looked_for_a_limit_that_had_risen() {
        let ramps = BTreeSet::from([10]);
        let load = |sessions| Load {
            sessions,
            fullconn: 1000,
        };
        let looks = (2..5000_u64).filter(|it| load(*it).has_raised(&ramps, it - 1));
        assert_eq!(
            looks.collect::<Vec<_>>(),
            [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]
        );
        assert!(load(1).has_raised(&ramps, 0), "a place has fallen free");
        assert!(load(250).has_raised(&ramps, 130), "many came at once");
        assert!(!load(190).has_raised(&ramps, 130));
    }
}
