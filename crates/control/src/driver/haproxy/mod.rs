//! The driver of a HAProxy that runs beside us, 2.6 or newer, over its Runtime API.
//!
//! ```text
//!   show servers state ┐                         ┌ add server / del server       (words)
//!   show stat          ┴→ view → plan → step → ──┼ a slot of a server-template   (words)
//!                                                └ block of the file, reload     (keeper, master)
//! ```
//! It believes only what it sees: each look begins anew, and an answer that is late, cut off or not
//! understood is no answer ([`DriverError::Unreachable`]), upon which nothing is done. What it knows
//! beside that is for which node it added which server; a restart learns it again from numbers and
//! addresses (`view`).

mod block;
mod file;
mod keeper;
mod master;
mod picture;
mod reloads;
mod socket;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod view;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::node_address::never_a_node;
use engine::command::Admin;
use engine::snapshot::{ControlStatus, Event, Snapshot};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout};

use self::keeper::Keeper;
use self::socket::ask;
use self::table::Table;
use self::view::{Added, CONTRADICTION, Known, Nodes, Ours, Slot, View, view};
use self::words::{Parameters, Target, id_for};
use super::{Driver, DriverError, Observation};
use crate::discovery::address::Host;
use crate::discovery::{Fleet, Node, NodeAddress, shown_up_to};
use crate::plan::{Health, Seen, Step};

pub(crate) use self::block::{configuration, fill_backend, settings};
pub(crate) use self::keeper::Keeping;
pub(crate) use self::socket::Place;
pub(crate) use self::tally::Tally;

/// Longest look-up of a node's name: a resolver's first try.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(5);

/// How long no name is looked up after one took too long: a list of names must not hold up the loop as
/// often as it has entries.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(30);

/// How long a server that has no sessions may keep us waiting until its idle connections are closed and
/// it can be deleted; it is tried again in the next turn.
const DELETE_TIME_MAX: Duration = Duration::from_secs(1);
const DELETE_LOOK: Duration = Duration::from_millis(20);

/// Bytes of an answer that a message quotes.
const ANSWER_SHOWN: usize = 200;

/// Events that may wait for the loop; it looks at everything anyway.
const EVENTS_MAX: usize = 64;

/// Changes one backend of a HAProxy.
pub(crate) struct HaProxy {
    socket: Place,
    backend: Arc<str>,
    keeper: Option<Keeper>,
    parameters: Parameters,
    slots: HashSet<Arc<str>>,
    fleet: Fleet,
    /// By their names in HAProxy.
    added: BTreeMap<Arc<str>, Added>,
    /// Those that were begun to be added or taken away, and are neither in nor out.
    begun: HashSet<Arc<str>>,
    /// As seen last, and as changed since.
    view: View,
    up: BTreeSet<Arc<str>>,
    /// When the resolver took too long last.
    resolver_late: Option<Instant>,
    events: broadcast::Sender<Event>,
    tally: Arc<Tally>,
}

impl HaProxy {
    /// A driver for that backend. `keeping`: the configuration that keeps the fleet for HAProxy's next
    /// start, and how to reload it; `slots`: names of places that nodes may be put in, beside those the
    /// configuration has.
    pub(crate) fn new(
        socket: Place,
        backend: Arc<str>,
        keeping: Option<Keeping>,
        parameters: &[String],
        tally: Arc<Tally>,
    ) -> Self {
        let keeper =
            keeping.map(|keeping| Keeper::new(keeping, Arc::clone(&backend), Arc::clone(&tally)));
        Self {
            socket,
            backend,
            keeper,
            parameters: Parameters::new(&[], parameters),
            slots: HashSet::new(),
            fleet: Fleet::default(),
            added: BTreeMap::new(),
            begun: HashSet::new(),
            view: View::default(),
            up: BTreeSet::new(),
            resolver_late: None,
            events: broadcast::channel(EVENTS_MAX).0,
            tally,
        }
    }

    /// What happens to servers between looks, as far as looks tell.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Asks HAProxy, and counts what goes wrong.
    async fn ask(&self, line: &str) -> Result<String, DriverError> {
        match ask(&self.socket, line).await {
            Ok(answer) => Ok(answer),
            Err(why) => Err(self.unreachable(&why.to_string())),
        }
    }

    fn unreachable(&self, why: &str) -> DriverError {
        let line = format!("HAProxy at {}: {why}", self.socket);
        self.tally.unreachable(&line);
        DriverError::Unreachable(line)
    }

    /// A command that is answered with nothing when it was carried out.
    async fn tell(&self, line: &str) -> Result<(), DriverError> {
        let answer = self.ask(line).await?;
        match answer.trim() {
            "" => Ok(()),
            answer => Err(refused(answer)),
        }
    }

    async fn look(&self) -> Result<View, DriverError> {
        let backend = &self.backend;
        let question = format!("show servers state {backend};show stat {backend} 6 -1");
        let mut answer = self.ask(&question).await?;
        let mut read = self.read(&answer);
        if read.as_ref().err() == Some(&CONTRADICTION) {
            // Somebody else has added a server between the two commands.
            answer = self.ask(&question).await?;
            read = self.read(&answer);
        }
        if answer.starts_with("Can't find backend") {
            self.tally
                .unreachable(&format!("there is no backend {backend}"));
            return Err(DriverError::NoBackend(Arc::clone(backend)));
        }
        read.map_err(|why| {
            let begins = shown_up_to(answer.trim(), ANSWER_SHOWN);
            self.unreachable(&format!("{why}: \"{begins}\""))
        })
    }

    fn read(&self, answer: &str) -> Result<View, &'static str> {
        let known = Known {
            backend: &self.backend,
            slots: &self.slots,
            added: &self.added,
            begun: &self.begun,
            nodes: Nodes::new(&self.fleet),
            tls: self.parameters.tls(),
        };
        let (states, rest) = Table::server_states(answer)?;
        let stats = Table::stat(rest)?;
        view(&states, &stats, &known)
    }

    /// A server of ours, and what to call it.
    fn ours(&self, name: &str) -> Result<(Ours, Target), DriverError> {
        let ours = self.view.ours.get(name);
        let ours = ours.ok_or_else(|| refused(&format!("no server of a node is called {name}")))?;
        Ok((ours.clone(), self.target(&ours.real)?))
    }

    fn target(&self, server: &str) -> Result<Target, DriverError> {
        let target = Target::new(&self.backend, server);
        target.ok_or_else(|| refused("its name is none that HAProxy takes"))
    }

    async fn add(&mut self, name: &Arc<str>, node: &Node) -> Result<(), DriverError> {
        if self.view.ours.contains_key(name) {
            return Err(refused(&format!("{name} is taken")));
        }
        let at = self.look_up(&node.address).await?;
        let id = id_for(name, &self.view.ids);
        let target = self.target(name)?;
        let line = self.parameters.add(&target, node, at, id);
        let line = line.ok_or_else(|| refused("its parameters have control characters"))?;
        let answer = self.ask(&line).await?;
        let answer = answer.trim();
        if answer == "New server registered." {
            self.note(name, name, node, at, id);
            self.begun.insert(Arc::clone(name));
            self.tell(&target.begin()).await?;
            self.ask_agent(&target).await?;
            self.begun.remove(name);
            return Ok(());
        }
        // Balancing by a fixed table, or a version that cannot: what there is are slots.
        let slotless = self.slots.is_empty();
        let cannot =
            answer.contains("dynamic load balancing") || answer.starts_with("Unknown command");
        match self.view.free.first().cloned() {
            Some(slot) if cannot => self.fill(&slot, name, node, at).await,
            _ if cannot => {
                if let Some(keeper) = &mut self.keeper {
                    keeper.want(name, node, at);
                }
                let why = match slotless {
                    true => {
                        "its balance takes no servers at run time, and it has no server-template"
                    }
                    false => {
                        "its balance takes no servers at run time, and no slot of a server-template is free"
                    }
                };
                let next = self.keeper.as_ref().map_or("", Keeper::hope);
                Err(refused(&format!("{why}{next}")))
            }
            _ => Err(refused(answer)),
        }
    }

    /// Switches the agent on, where there is one. A server that was added with other parameters may have
    /// none, which HAProxy says and which is no fault.
    async fn ask_agent(&self, target: &Target) -> Result<(), DriverError> {
        if self.parameters.agent() {
            self.ask(&target.ask_agent()).await?;
        }
        Ok(())
    }

    /// Where a node is by number. HAProxy looks up no names of servers that are added while it runs.
    async fn look_up(&mut self, address: &NodeAddress) -> Result<SocketAddr, DriverError> {
        let (host, port) = address.place();
        let name = match host {
            Host::Ip(ip) => return Ok(SocketAddr::new(ip, port)),
            Host::Name(name) => name,
        };
        let late = self.resolver_late;
        if late.is_some_and(|late| late.elapsed() < LOOK_UP_PAUSE) {
            return Err(refused(&format!(
                "{name} is looked up later: the resolver does not answer"
            )));
        }
        let looked = timeout(LOOK_UP_TIME_MAX, tokio::net::lookup_host((&*name, port))).await;
        let Ok(found) = looked else {
            self.resolver_late = Some(Instant::now());
            return Err(refused(&format!("{name} was not found in time")));
        };
        let found = found.map_err(|error| refused(&format!("{name} is not found: {error}")))?;
        // The name may lead anywhere: what no node may announce as an address it may not hide either.
        let mut allowed = found.filter(|at| never_a_node(at.ip()).is_none());
        allowed
            .next()
            .ok_or_else(|| refused(&format!("{name} leads to no place a node can be")))
    }

    /// Remembers for whom a server is there.
    fn note(&mut self, real: &Arc<str>, name: &Arc<str>, node: &Node, at: SocketAddr, id: u32) {
        let (name, node) = (Arc::clone(name), node.clone());
        let ours = Ours {
            real: Arc::clone(real),
            id,
            slot: real != &name,
            node: node.clone(),
            at,
            admin: Admin::Ready,
            unfinished: false,
        };
        self.view.ids.insert(id);
        self.view.ours.insert(Arc::clone(&name), ours);
        self.added
            .insert(Arc::clone(real), Added { name, node, at });
    }

    /// Puts a node in a slot.
    async fn fill(
        &mut self,
        slot: &Slot,
        name: &Arc<str>,
        node: &Node,
        at: SocketAddr,
    ) -> Result<(), DriverError> {
        if node.address.wants_tls() && !slot.tls {
            return Err(refused("it wants TLS, and server-template has no \"ssl\""));
        }
        self.view.free.retain(|free| free != slot);
        let slot = &slot.name;
        let target = self.target(slot)?;
        self.tell(&target.free()).await?;
        // What it says about that differs from version to version; what became of it does not.
        self.ask(&target.move_to(at)).await?;
        let states = self
            .ask(&format!("show servers state {}", self.backend))
            .await?;
        let states = Table::server_states(&states)
            .map_err(|why| self.unreachable(why))?
            .0;
        let mut rows = states.rows().filter(|row| *row.text("srv_name") == **slot);
        let is_there = rows.any(|row| {
            row.text("srv_addr").parse() == Ok(at.ip())
                && row.number("srv_port") == u64::from(at.port())
        });
        if !is_there {
            return Err(refused(&format!("{slot} cannot be given the address {at}")));
        }
        self.tell(&target.begin_slot()).await?;
        self.note(slot, name, node, at, 0);
        Ok(())
    }

    /// Takes a server away that has no sessions.
    async fn remove(&mut self, name: &str) -> Result<(), DriverError> {
        let (ours, target) = self.ours(name)?;
        let sessions = self.sessions(&ours.real).await?;
        if sessions > 0 {
            return Err(DriverError::Busy(sessions));
        }
        if ours.slot {
            self.tell(&target.free()).await?;
        } else {
            // Maintenance, in which HAProxy closes connections that wait to be used again.
            self.begun.insert(Arc::clone(&ours.real));
            self.tell(&target.free()).await?;
            if self.parameters.agent() {
                self.ask(&target.leave_agent()).await?;
            }
            self.delete(&target).await?;
        }
        self.view.ours.remove(name);
        self.added.remove(&ours.real);
        self.begun.remove(&ours.real);
        Ok(())
    }

    async fn delete(&self, target: &Target) -> Result<(), DriverError> {
        let begun = Instant::now();
        loop {
            let answer = self.ask(&target.delete()).await?;
            match answer.trim() {
                "Server deleted." | "No such server." => return Ok(()),
                // A session that slipped in before maintenance, or connections not closed yet.
                answer if !answer.contains("connection") => return Err(refused(answer)),
                _ if begun.elapsed() < DELETE_TIME_MAX => sleep(DELETE_LOOK).await,
                answer => return Err(refused(answer)),
            }
        }
    }

    async fn sessions(&self, real: &str) -> Result<u64, DriverError> {
        let answer = self
            .ask(&format!("show stat {} 4 -1", self.backend))
            .await?;
        let table = Table::stat(&answer).map_err(|why| self.unreachable(why))?;
        let mut rows = table.rows().filter(|row| row.text("svname") == real);
        let row = rows.next().ok_or_else(|| refused("No such server."))?;
        row.required("scur").map_err(|why| self.unreachable(why))
    }

    /// Tells of servers that went down since the last look.
    fn tell_changes(&mut self) {
        let up = self.view.observed.servers.iter();
        let up: BTreeSet<Arc<str>> = up
            .filter(|seen| seen.health == Health::Up)
            .map(|seen| Arc::clone(&seen.name))
            .collect();
        let down = |seen: &&Seen| seen.health == Health::Down && self.up.contains(&seen.name);
        for seen in self.view.observed.servers.iter().filter(down) {
            let (backend, server) = (Arc::clone(&self.backend), Arc::clone(&seen.name));
            // Nobody listens: then nobody has to be told.
            let _ = self.events.send(Event::ServerDown { backend, server });
        }
        self.up = up;
    }
}

impl Driver for HaProxy {
    fn expect(&mut self, fleet: &Fleet) {
        if self.fleet != *fleet {
            self.fleet = fleet.clone();
        }
    }

    async fn observe(&mut self) -> Result<Observation, DriverError> {
        if let Some(keeper) = &mut self.keeper {
            keeper.look();
            if let Some(reading) = keeper.reading() {
                self.slots = reading.slots.iter().cloned().collect();
                self.parameters = keeper.parameters().clone();
            }
        }
        self.view = self.look().await?;
        self.tally.reached();
        let there: HashSet<&str> = self.view.ours.values().map(|ours| &*ours.real).collect();
        self.added.retain(|real, _| there.contains(&**real));
        self.begun.retain(|real| there.contains(&**real));
        self.tell_changes();
        Ok(Observation {
            backend: self.view.observed.clone(),
            unchecked: self.view.unchecked,
            routed: self.view.routed,
            configured: Some(self.view.configured.clone()),
        })
    }

    async fn apply(&mut self, step: &Step) -> Result<(), DriverError> {
        match step {
            Step::Add { server, node } => self.add(&server.name, node).await,
            Step::Ready(name) => {
                let (ours, target) = self.ours(name)?;
                let line = match ours.unfinished {
                    true => target.begin(),
                    false => target.state("ready"),
                };
                self.tell(&line).await?;
                if ours.unfinished {
                    self.ask_agent(&target).await?;
                }
                self.begun.remove(&ours.real);
                Ok(())
            }
            Step::Drain(name) => {
                let (_, target) = self.ours(name)?;
                self.tell(&target.state("drain")).await
            }
            Step::Shutdown(name) => {
                let (_, target) = self.ours(name)?;
                self.tell(&target.shut_down()).await
            }
            Step::Remove(name) => self.remove(name).await,
        }
    }

    async fn settle(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(&self.fleet, &self.view).await;
        }
    }
}

/// An answer that is none of those for success, on one line.
fn refused(answer: &str) -> DriverError {
    let lines = answer
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    DriverError::Refused(shown_up_to(&line, ANSWER_SHOWN))
}

/// Asks HAProxy for all its statistics.
#[derive(Debug, Clone)]
pub(crate) struct Asker(pub(crate) Place);

impl Asker {
    /// Everything as it is now; without HAProxy nothing.
    pub(crate) async fn picture(&self) -> Snapshot {
        let answer = ask(&self.0, picture::QUESTION).await.ok();
        let taken = answer.and_then(|it| picture::picture(&it, ControlStatus::default()).ok());
        taken.unwrap_or_else(|| picture::empty(ControlStatus::default()))
    }
}
