//! What to do next so that a backend has the servers the fleet asks for. Pure: facts and a moment
//! in, steps out; printed, a plan reads like what an operator would type.
//!
//! Not the place where a list is believed or not: that is [`crate::admit`]. Rules, each of them
//! there so that no session is lost:
//! - servers written in haproxy.cfg are never touched, and a node at the place of one is that server;
//! - a node that leaves is drained; its server goes when the last session has ended, or when the
//!   `drain` period is over;
//! - a node that comes back while it drains is taken back;
//! - a new address is a new server: the old one drains beside it;
//! - nobody is drained while no server that stays is up;
//! - for each newcomer that is not up yet, one node that leaves goes on serving, for a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use config::expr::{Constant, Fetch, Kind, Needs, Sample};
use config::model::{Server, ServerAddress, ServerTls};
use engine::command::Admin;

use crate::discovery::address::Host;
use crate::discovery::{Fleet, Node, NodeAddress};

/// Most steps of one plan. The loop looks again after each plan, so this only bounds how long the
/// engine is kept busy at a stretch when a large fleet arrives.
pub(crate) const STEPS_MAX: usize = 64;

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
    let mut names: BTreeSet<&str> = observed.servers.iter().map(|seen| &*seen.name).collect();
    names.extend(intent.configured.iter().map(|(name, _)| &**name));
    let mut taken: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
    let ours = observed.servers.iter();
    let ours = ours.filter_map(|seen| Some((seen.node.as_ref()?, seen)));
    let ours: BTreeMap<&Node, &Seen> = ours.collect();
    let mut count = ours.len();
    let mut left_out = 0;
    for node in fleet.nodes() {
        if intent.is_configured(&node.address) {
            continue;
        }
        match ours.get(node) {
            Some(seen) if seen.admin == Admin::Drain => {
                plan.steps.push(Step::Ready(Arc::clone(&seen.name)));
            }
            Some(_) => {}
            None if count >= intent.servers_max => left_out += 1,
            None => {
                let name = free_name(node, &taken);
                taken.insert(name.to_string());
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

/// Drains and removes the servers whose node is not in the fleet.
fn leave(intent: &Intent, fleet: &Fleet, observed: &Observed, now: Duration, plan: &mut Plan) {
    let mut may_go = MayGo::new(intent, fleet, observed, now, plan);
    let (mut drains, mut shutdowns, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    for seen in observed.servers.iter().filter(|seen| leaves(seen, fleet)) {
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
        fleet: &Fleet,
        observed: &Observed,
        now: Duration,
        plan: &Plan,
    ) -> Self {
        let (leaving, staying): (Vec<_>, Vec<_>) = observed
            .servers
            .iter()
            .partition(|seen| leaves(seen, fleet));
        let serving = leaving.iter().filter(|seen| seen.serves()).count();
        let joins = |seen: &&&Seen| {
            let joining = seen.joining_since.filter(|_| seen.admin == Admin::Ready);
            joining.is_some_and(|since| now < since + JOIN_TIME_MAX)
        };
        let adds = |step: &&Step| matches!(step, Step::Add { .. });
        let awaited = staying.iter().filter(joins).count() + plan.steps.iter().filter(adds).count();
        let ours = observed.servers.iter().filter(|seen| seen.node.is_some());
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
fn free_name(node: &Node, taken: &BTreeSet<String>) -> Arc<str> {
    if !taken.contains(node.id.as_str()) {
        return node.id.shared();
    }
    let numbered = (2..).map(|number: usize| format!("{}-{number}", node.id));
    let mut free = numbered.filter(|name| !taken.contains(name));
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
    if tls.sni.is_some() {
        return tls;
    }
    if let Host::Name(name) = host {
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
pub(crate) mod tests {
    use super::*;
    use crate::discovery::tests::{fleet, nodes};

    pub(crate) fn intent() -> Intent {
        Intent {
            backend: "ws_backend".into(),
            configured: vec![(
                "wsnode1".into(),
                ServerAddress::Inet(([127, 0, 0, 1], 8081).into()),
            )],
            default_server: Server::default(),
            server_tls: ServerTls::default(),
            drain: None,
            servers_max: 8,
        }
    }

    /// `name=url state sessions [since]` lines; the name is the node's id up to a `/`, which is then
    /// followed by the server's name. A line without url is a configured server; `since` is when it
    /// began to drain, or to join. A `spare` server is up and stands in for nobody.
    pub(crate) fn observed(text: &str) -> Observed {
        let servers = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let servers = servers.map(|line| {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap();
            let (who, url) = first.split_once('=').unwrap_or((first, ""));
            let (id, name) = who.split_once('/').unwrap_or((who, who));
            let state = words.next().unwrap();
            let (admin, health) = match state {
                "up" | "spare" => (Admin::Ready, Health::Up),
                "down" => (Admin::Ready, Health::Down),
                "new" => (Admin::Ready, Health::Unknown),
                "drain" => (Admin::Drain, Health::Down),
                "maint" => (Admin::Maint, Health::Down),
                other => panic!("no state is called {other}"),
            };
            let mut number = || words.next().map(|word| word.parse::<u64>().unwrap());
            let (sessions, since) = (number().unwrap_or(0), number().map(Duration::from_secs));
            Seen {
                name: name.into(),
                node: (!url.is_empty()).then(|| nodes(&format!("{id}={url}")).remove(0)),
                admin,
                health,
                sessions,
                stands_in: state != "spare",
                joining_since: since.filter(|_| admin == Admin::Ready),
                draining_since: since.filter(|_| admin != Admin::Ready),
            }
        });
        Observed {
            servers: servers.collect(),
        }
    }

    /// Fleet, what is there, and the printed plan, at second 100.
    #[track_caller]
    fn check_with(intent: &Intent, listed: &str, there: &str, expected: &str) {
        let now = Duration::from_secs(100);
        let plan = plan(intent, &fleet(listed), &observed(there), now).to_string();
        let expected = expected
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let expected = expected.map(|line| format!("{line}\n")).collect::<String>();
        assert_eq!(plan, expected);
    }

    #[track_caller]
    fn check(listed: &str, there: &str, expected: &str) {
        check_with(&intent(), listed, there, expected);
    }

    #[test]
    fn no_change_no_work() {
        check("", "", "");
        check("", "wsnode1 up", "");
        check(
            "a=h1:1 b=h2:1",
            "wsnode1 up 4 \n a=h1:1 up 9 \n b=h2:1 down",
            "",
        );
        check("a=h1:1", "a=h1:1 maint", "");
    }

    #[test]
    fn a_new_node_gets_a_server() {
        check("a=h1:1", "wsnode1 up", "add a http://h1:1");
        check("a=https://h1", "", "add a https://h1:443");
        let both = "add a http://h1:1 \n add b http://h2:1";
        check("b=h2:1 a=h1:1", "", &both.replace(" \n ", "\n"));
    }

    #[test]
    fn a_node_at_the_place_of_a_configured_server_is_that_server() {
        check("node1=http://localhost:8081", "wsnode1 up", "");
        check("node1=https://127.0.0.1:8081", "wsnode1 down", "");
        // The list is no reason to touch a server that somebody wrote down.
        check("", "wsnode1 up 3", "");
        check("", "wsnode1 drain 3", "");
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        check("wsnode1=h1:1", "wsnode1 up", "add wsnode1-2 http://h1:1");
        check(
            "a=h1:1 a-2=h2:1 a-3=h3:1",
            "a=h9:1 drain 1\na-2=h2:1 up",
            "add a-3 http://h1:1\nadd a-3-2 http://h3:1\nwait a: drain has 1 session left",
        );
    }

    #[test]
    fn a_node_that_left_is_drained_then_removed() {
        check("b=h2:1", "a=h1:1 up 5\nb=h2:1 up", "drain a");
        check(
            "b=h2:1",
            "a=h1:1 drain 5 90\nb=h2:1 up",
            "wait a: drain has 5 sessions left",
        );
        check("b=h2:1", "a=h1:1 drain 0 90\nb=h2:1 up", "remove a");
        check("b=h2:1", "a=h1:1 down 5\nb=h2:1 up", "drain a");
        check("b=h2:1", "a=h1:1 maint 0\nb=h2:1 up", "remove a");
    }

    #[test]
    fn the_drain_period_ends_in_closing_what_is_left() {
        let intent = Intent {
            drain: Some(Duration::from_secs(60)),
            ..intent()
        };
        let b = "\nb=h2:1 up";
        for (a, expected) in [
            (
                "a=h1:1 drain 12 80",
                "wait a: drain has 12 sessions left, 40 s of grace",
            ),
            (
                "a=h1:1 drain 12 41",
                "wait a: drain has 12 sessions left, 1 s of grace",
            ),
            (
                "a=h1:1 drain 12 40",
                "shutdown a\nwait a: drain has 12 sessions left, 0 s of grace",
            ),
            ("a=h1:1 drain 0 40", "remove a"),
            // First seen draining in this turn: its period begins now.
            (
                "a=h1:1 drain 12",
                "wait a: drain has 12 sessions left, 60 s of grace",
            ),
        ] {
            check_with(&intent, "b=h2:1", &format!("{a}{b}"), expected);
        }
    }

    #[test]
    fn a_node_that_comes_back_while_draining_is_taken_back() {
        check("a=h1:1", "a=h1:1 drain 5 90", "ready a");
        check("a=h1:1", "a=h1:1 drain 0 90", "ready a");
    }

    #[test]
    fn a_new_address_is_a_new_server_beside_the_draining_old_one() {
        check(
            "a=h2:1",
            "a=h1:1 up 5\nb up",
            "add a-2 http://h2:1\nwait a: left the list, but its successors are not up yet",
        );
        let both = "a=h1:1 drain 5\na/a-2=h2:1 up\nb up";
        check("a=h2:1", both, "wait a: drain has 5 sessions left");
        check("a=h1:1", both, "ready a\ndrain a-2");
        check(
            "a=https://h1:1",
            "a=h1:1 up\nb up",
            "add a-2 https://h1:1\nwait a: left the list, but its successors are not up yet",
        );
    }

    #[test]
    fn the_last_server_that_is_up_waits_for_its_successor() {
        let waits = "wait a: left the list, but no other server is up";
        check(
            "b=h2:1",
            "a=h1:1 up 5",
            &format!("add b http://h2:1\n{waits}"),
        );
        check("b=h2:1", "a=h1:1 up 5\nb=h2:1 new", waits);
        check("b=h2:1", "a=h1:1 up 5\nb=h2:1 down\nwsnode1 down", waits);
        check("b=h2:1", "a=h1:1 up 5\nb=h2:1 up", "drain a");
        check("b=h2:1", "a=h1:1 up 5\nb=h2:1 down\nwsnode1 up", "drain a");
        check("b=h2:1", "a=h1:1 down 5\nb=h2:1 down", waits);
        check("b=h2:1", "a=h1:1 up 5\nb=h2:1 down\nwsnode1 spare", waits);
        check("b=h2:1", "a=h1:1 spare 5\nb=h2:1 down", "drain a");
        let crowd = Intent {
            servers_max: 2,
            ..intent()
        };
        check_with(&crowd, "b=h2:1", "a=h1:1 down 5\nb=h2:1 down", "drain a");
    }

    #[test]
    fn capacity_leaves_only_as_it_comes() {
        let old = "a=h1:1 up\nb=h2:1 up\n";
        let waits = "its successors are not up yet";
        let (a, b) = (
            format!("wait a: left the list, but {waits}\n"),
            format!("wait b: left the list, but {waits}\n"),
        );
        let new = "c=h3:1 d=h4:1";
        for (c, d, expected) in [
            ("up", "new 0 90", format!("drain a\n{b}")),
            ("up", "down 0 90", format!("drain a\n{b}")),
            ("up", "up", "drain a\ndrain b".to_owned()),
            // It has had its minute, or was up before: it is waited for no longer.
            ("up", "down 0 40", "drain a\ndrain b".to_owned()),
            ("up", "down", "drain a\ndrain b".to_owned()),
        ] {
            check(new, &format!("{old}c=h3:1 {c}\nd=h4:1 {d}"), &expected);
        }
        let there = format!("{old}wsnode1 up");
        let adds = "add c http://h3:1\nadd d http://h4:1\n";
        check(new, &there, &format!("{adds}{a}{b}"));
        check(
            "c=h3:1",
            &there,
            &format!("add c http://h3:1\ndrain a\n{b}"),
        );
        check("a=h1:1", &there, "drain b");
    }

    #[test]
    fn plans_are_bounded() {
        let many = (0..200)
            .map(|n| format!("n{n}=h{n}:1 "))
            .collect::<String>();
        let wide = Intent {
            servers_max: 1000,
            ..intent()
        };
        let plan = plan(&wide, &fleet(&many), &Observed::default(), Duration::ZERO);
        assert_eq!(plan.steps.len(), STEPS_MAX);
        check_with(
            &Intent {
                servers_max: 2,
                ..intent()
            },
            "a=h1:1 b=h2:1 c=h3:1",
            "x=h9:1 drain 1",
            "add a http://h1:1
             wait 2 nodes wait for a place: 2 servers, draining ones included, are the bound
             wait x: drain has 1 session left",
        );
    }

    #[test]
    fn a_node_inherits_default_server_and_is_always_checked() {
        let mut intent = intent();
        intent.default_server.check_parameters.fall = 7;
        intent.default_server.maxconn = Some(9);
        let server = |intent: &Intent, url: &str| {
            intent.server("a".into(), &nodes(&format!("a={url}"))[0].address)
        };
        let plain = server(&intent, "10.0.0.1:1");
        assert_eq!(plain.maxconn, Some(9));
        let check = plain.check.unwrap();
        assert_eq!((check.fall, check.tls), (7, false));
        assert!(plain.tls.is_none());

        let named = server(&intent, "https://h:1");
        assert!(named.check.unwrap().tls);
        let tls = named.tls.unwrap();
        assert!(tls.verify);
        assert_eq!(
            tls.sni.unwrap().fetch,
            Fetch::Constant(Constant::Str("h".into()))
        );
        assert_eq!(tls.verifyhost.as_deref(), Some("h"));

        let numbered = server(&intent, "https://[fd00::1]:1").tls.unwrap();
        assert!(numbered.sni.is_none());
        assert_eq!(numbered.verifyhost.as_deref(), Some("fd00::1"));

        intent.default_server.tls = Some(ServerTls {
            verify: false,
            ..ServerTls::default()
        });
        let unverified = server(&intent, "http://h:1").tls.unwrap();
        assert!(!unverified.verify);
        assert!(unverified.verifyhost.is_none());
    }
}
