//! What to do next so that a backend has the servers the fleet asks for. Pure: facts and a moment
//! in, steps out; printed, a plan reads like what an operator would type.
//!
//! Not the place where a list is believed or not: that is [`crate::admit`]. Rules, each of them
//! there so that no session is lost:
//! - servers written in haproxy.cfg are never touched, and a node at the place of one is that server;
//! - a node that leaves is drained; its server goes when the last session has ended, or when the
//!   `drain` period is over;
//! - a node that comes back while it drains is taken back, if it was us who drained it: an operator's
//!   drain, or an agent's, is not ours to end;
//! - a new address is a new server: the old one drains beside it;
//! - nobody is drained while no server that stays is up;
//! - for each newcomer that is not up yet, one node that leaves goes on serving, for a minute.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use config::expr::{Constant, Fetch, Kind, Needs, Sample};
use config::model::{Server, ServerAddress, ServerTls};
use engine::command::Admin;

use crate::discovery::address::Host;
use crate::discovery::{Fleet, Node, NodeAddress};

/// Most steps of one plan. The loop looks again after each plan, so this bounds for how long it acts on
/// what it saw before; a list of a thousand nodes is one look, not sixteen. Nobody waits for a whole plan:
/// each step holds what it changes for itself.
pub(crate) const STEPS_MAX: usize = 1024;

/// How long a newcomer is waited for by the nodes it replaces: what a node takes to boot and to
/// pass its checks. One that never comes up must not keep others from leaving.
const JOIN_TIME_MAX: Duration = Duration::from_secs(60);

/// What the configuration wants, as far as the fleet is concerned.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    /// The backend the fleet fills.
    pub(crate) backend: Arc<str>,
    /// Name and place of the servers written in haproxy.cfg.
    pub(crate) configured: Vec<(Arc<str>, ServerAddress)>,
    /// What a discovered node inherits.
    pub(crate) default_server: Server,
    /// TLS of nodes that want it where `default-server` has none.
    pub(crate) server_tls: ServerTls,
    /// How long a node that left may keep its sessions; `None`: until they end.
    pub(crate) drain: Option<Duration>,
    /// Most servers added for nodes at once, draining ones included.
    pub(crate) servers_max: usize,
}

/// What the backend looks like.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// All its servers.
    pub(crate) servers: Vec<Seen>,
}

/// A server as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The node it was added for; `None`: it is not ours.
    pub(crate) node: Option<Node>,
    /// Administrative state.
    pub(crate) admin: Admin,
    /// Whether it drains because its node left, or because we have not ended what we began with it. The
    /// loop remembers the former, the driver tells the latter.
    pub(crate) drain_is_ours: bool,
    /// What its checks say.
    pub(crate) health: Health,
    /// Sessions it has.
    pub(crate) sessions: u64,
    /// Whether it takes the work of others while it is up: it has weight and checks, and is no
    /// backup.
    pub(crate) stands_in: bool,
    /// Since when it is there without ever having been up; filled in by the loop, which remembers.
    pub(crate) joining_since: Option<Duration>,
    /// When it was first seen draining; filled in by the loop, which remembers.
    pub(crate) draining_since: Option<Duration>,
}

/// What checks say of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// No check has ended yet.
    Unknown,
    /// It takes sessions as far as checks are concerned.
    Up,
    /// It does not.
    Down,
}

/// What to do now, and why nothing is done about the rest.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// At most one a server and [`STEPS_MAX`] in all, so they do not depend on one another.
    pub(crate) steps: Vec<Step>,
    /// One line a reason, for people.
    pub(crate) waiting: Vec<String>,
}

/// One change to the backend.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Add a server for a node.
    Add {
        /// The whole server.
        server: Box<Server>,
        /// The node it is for.
        node: Node,
    },
    /// Let its checks decide again.
    Ready(Arc<str>),
    /// Give it nothing new.
    Drain(Arc<str>),
    /// Close what it still has.
    Shutdown(Arc<str>),
    /// Take it away.
    Remove(Arc<str>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { server, node } => write!(f, "add {} {}", server.name, node.address),
            Self::Ready(server) => write!(f, "ready {server}"),
            Self::Drain(server) => write!(f, "drain {server}"),
            Self::Shutdown(server) => write!(f, "shutdown {server}"),
            Self::Remove(server) => write!(f, "remove {server}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for reason in &self.waiting {
            writeln!(f, "wait {reason}")?;
        }
        Ok(())
    }
}

/// Decides what to do next. What joins or returns comes before what leaves.
pub(crate) fn plan(intent: &Intent, fleet: &Fleet, observed: &Observed, now: Duration) -> Plan {
    let mut plan = Plan::default();
    join(intent, fleet, observed, &mut plan);
    leave(intent, fleet, observed, now, &mut plan);
    plan.steps.truncate(STEPS_MAX);
    plan
}

/// Servers for the nodes that have none.
fn join(intent: &Intent, fleet: &Fleet, observed: &Observed, plan: &mut Plan) {
    let there = observed.servers.iter().map(|seen| &seen.name);
    let configured = intent.configured.iter().map(|(name, _)| name);
    let mut taken: HashSet<Arc<str>> = there.chain(configured).cloned().collect();
    let ours = observed.servers.iter();
    let ours = ours.filter_map(|seen| Some((seen.node.as_ref()?, seen)));
    let ours: HashMap<&Node, &Seen> = ours.collect();
    let mut count = ours.len();
    let mut left_out = 0;
    for node in fleet.nodes() {
        if intent.is_configured(&node.address) {
            continue;
        }
        match ours.get(node) {
            Some(seen) if seen.admin == Admin::Drain && seen.drain_is_ours => {
                plan.steps.push(Step::Ready(Arc::clone(&seen.name)));
            }
            Some(seen) => plan.waiting.extend(left_to_others(seen)),
            None if count >= intent.servers_max => left_out += 1,
            None => {
                let name = free_name(node, &taken);
                taken.insert(Arc::clone(&name));
                count += 1;
                plan.steps.push(Step::Add {
                    server: Box::new(intent.server(name, &node.address)),
                    node: node.clone(),
                });
            }
        }
    }
    if left_out > 0 {
        let max = intent.servers_max;
        plan.waiting.push(format!(
            "{left_out} nodes wait for a place: {max} servers, draining ones included, are the bound"
        ));
    }
}

/// Why a server whose node is in the list gets nothing, where that is somebody else's wish.
fn left_to_others(seen: &Seen) -> Option<String> {
    let state = match seen.admin {
        Admin::Ready => return None,
        Admin::Drain => "drains",
        Admin::Maint => "is in maintenance",
    };
    let name = &seen.name;
    Some(format!(
        "{name}: is in the list and {state}, which is not our doing: it stays so until somebody says otherwise"
    ))
}

/// Drains and removes the servers whose node is not in the fleet.
fn leave(intent: &Intent, fleet: &Fleet, observed: &Observed, now: Duration, plan: &mut Plan) {
    let (leaving, staying): (Vec<_>, Vec<_>) = observed
        .servers
        .iter()
        .partition(|seen| leaves(seen, fleet));
    let mut may_go = MayGo::new(intent, &leaving, &staying, now, plan);
    let (mut drains, mut shutdowns, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    for seen in leaving {
        let name = Arc::clone(&seen.name);
        if seen.admin == Admin::Ready {
            match may_go.ask(seen) {
                Ok(()) => drains.push(Step::Drain(name)),
                Err(why) => plan
                    .waiting
                    .push(format!("{name}: left the list, but {why}")),
            }
        } else if seen.sessions == 0 {
            removals.push(Step::Remove(name));
        } else {
            let drained = now.saturating_sub(seen.draining_since.unwrap_or(now));
            let grace = intent.drain.map(|drain| drain.saturating_sub(drained));
            plan.waiting.push(waiting_for_drain(seen, grace));
            if grace == Some(Duration::ZERO) {
                shutdowns.push(Step::Shutdown(name));
            }
        }
    }
    plan.steps.extend(drains);
    plan.steps.extend(shutdowns);
    plan.steps.extend(removals);
}

/// Whether a server's node is not in the fleet; false for servers of haproxy.cfg.
fn leaves(seen: &Seen, fleet: &Fleet) -> bool {
    seen.node.as_ref().is_some_and(|node| !fleet.contains(node))
}

/// Which servers that leave may be drained now.
struct MayGo {
    /// Whether a server that stays is up.
    somebody_stays: bool,
    /// Whether newcomers have no place before somebody leaves.
    crowded: bool,
    /// Serving nodes that newcomers can replace already, or that nobody has to replace.
    serving: usize,
}

impl MayGo {
    /// `plan` is what was planned for the nodes that join.
    fn new(
        intent: &Intent,
        leaving: &[&Seen],
        staying: &[&Seen],
        now: Duration,
        plan: &Plan,
    ) -> Self {
        let serving = leaving.iter().filter(|seen| seen.serves()).count();
        let joins = |seen: &&&Seen| {
            let joining = seen.joining_since.filter(|_| seen.admin == Admin::Ready);
            joining.is_some_and(|since| now < since + JOIN_TIME_MAX)
        };
        let adds = |step: &&Step| matches!(step, Step::Add { .. });
        let awaited = staying.iter().filter(joins).count() + plan.steps.iter().filter(adds).count();
        let all = leaving.iter().chain(staying);
        let ours = all.filter(|seen| seen.node.is_some());
        Self {
            somebody_stays: staying.iter().any(|seen| seen.serves()),
            crowded: ours.count() >= intent.servers_max,
            serving: serving.saturating_sub(awaited),
        }
    }

    /// Whether this one may go, or why not.
    fn ask(&mut self, seen: &Seen) -> Result<(), &'static str> {
        if seen.serves() {
            if !self.somebody_stays {
                return Err("no other server is up");
            }
            let left = self.serving.checked_sub(1);
            self.serving = left.ok_or("its successors are not up yet")?;
        }
        // One that is down may be back in a moment; one that is up and does not serve is not missed.
        if seen.health != Health::Up && !self.somebody_stays && !self.crowded {
            return Err("no other server is up");
        }
        Ok(())
    }
}

impl Seen {
    /// Whether it takes new sessions, and others' too.
    fn serves(&self) -> bool {
        self.admin == Admin::Ready && self.health == Health::Up && self.stands_in
    }
}

/// “node-7: drain has 12 sessions left, 40 s of grace”.
fn waiting_for_drain(seen: &Seen, grace: Option<Duration>) -> String {
    let Seen { name, sessions, .. } = seen;
    let noun = if *sessions == 1 {
        "session"
    } else {
        "sessions"
    };
    match grace {
        Some(grace) => {
            let seconds = grace.as_secs();
            format!("{name}: drain has {sessions} {noun} left, {seconds} s of grace")
        }
        None => format!("{name}: drain has {sessions} {noun} left"),
    }
}

/// The node's id, or the id with the first number behind it that makes it unique: a configured
/// server or the node's own former place may have the name.
fn free_name(node: &Node, taken: &HashSet<Arc<str>>) -> Arc<str> {
    if !taken.contains(node.id.as_str()) {
        return node.id.shared();
    }
    let numbered = (2..).map(|number: usize| format!("{}-{number}", node.id));
    let mut free = numbered.filter(|name| !taken.contains(name.as_str()));
    free.next()
        .expect("a finite set cannot take every number")
        .into()
}

impl Intent {
    /// Whether a server of haproxy.cfg is at this place.
    fn is_configured(&self, address: &NodeAddress) -> bool {
        self.configured
            .iter()
            .any(|(_, place)| address.is_at(place))
    }

    /// The server for a node: what `default-server` says, always checked, with TLS where the node
    /// or `default-server` asks for it.
    fn server(&self, name: Arc<str>, address: &NodeAddress) -> Server {
        let mut server = self.default_server.clone();
        server.name = name;
        server.address = address.server_address();
        server.id = None;
        if address.wants_tls() || server.tls.is_some() {
            let tls = server.tls.take().unwrap_or_else(|| self.server_tls.clone());
            server.tls = Some(node_tls(tls, address.host()));
        }
        let mut check = server
            .check
            .take()
            .unwrap_or_else(|| server.check_parameters.clone());
        // `ssl` implies `check-ssl` unless checks go elsewhere (manual 5.2, "check-ssl").
        check.tls |= server.tls.is_some() && check.port.is_none() && check.addr.is_none();
        server.check = Some(check);
        server
    }
}

/// TLS towards a node, made of what the configuration says (`verify required` against the system's
/// roots unless told otherwise). The node's own host is asked for by SNI (names only: RFC 6066
/// section 3) and must be in the certificate, unless `sni` or `verifyhost` say otherwise.
fn node_tls(mut tls: ServerTls, host: &Host) -> ServerTls {
    if tls.sni.is_some() && !tls.sni_is_auto {
        return tls;
    }
    if let Host::Name(name) = host {
        tls.sni_is_auto = false;
        tls.sni = Some(Sample {
            fetch: Fetch::Constant(Constant::Str(Arc::clone(name))),
            converters: Vec::new(),
            kind: Kind::Str,
            needs: Needs::Session,
            text: format!("str({name})").into(),
        });
    }
    if tls.verify && tls.verifyhost.is_none() {
        tls.verifyhost = Some(host.to_text());
    }
    tls
}

#[cfg(test)]
pub(crate) mod tests;
