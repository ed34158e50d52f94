//! What HAProxy's answers mean: which of its servers are ours, for which node, and how they are. Pure.
//!
//! Looked at anew each time: what somebody else did meanwhile, or a reload, is seen like anything else.
//! A server is ours when it has a number of ours ([`super::words::is_ours`]), or when it is a slot of a
//! `server-template` that is in use. A slot in maintenance is free, and so is one that leads nowhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::model::ServerAddress;
use engine::command::Admin;

use super::table::{Row, Table};
use super::words::is_ours;
use crate::discovery::address::Host;
use crate::discovery::{Fleet, Node, NodeAddress, NodeId};
use crate::plan::{Health, Observed, Seen};

/// Bits of `srv_admin_state` (management.txt 9.3): maintenance that was forced, inherited, or for want of
/// an address; what the configuration once said (`disabled`) is no state any more.
const MAINT: u64 = 0x01 | 0x02 | 0x20;
const FORCED_MAINT: u64 = 0x01;
/// Forced or inherited drain.
const DRAIN: u64 = 0x08 | 0x10;
/// Bits of `srv_check_state`: there are checks, and they are on.
const CHECK_CONFIGURED: u64 = 0x02;
const CHECK_ENABLED: u64 = 0x04;
/// Highest `srv_check_status` of a server whose checks have had no result.
const NEVER_CHECKED: u64 = 1;

/// Why two answers cannot both be right.
pub(super) const CONTRADICTION: &str = "its answers contradict each other";

/// What a look is judged by.
pub(super) struct Known<'a> {
    pub(super) backend: &'a str,
    /// Names of slots.
    pub(super) slots: &'a HashSet<Arc<str>>,
    /// Servers that we added or filled ourselves: by their name in HAProxy, what for, and where.
    pub(super) added: &'a BTreeMap<Arc<str>, Added>,
    /// Servers that we began to add or to take away, by their names in HAProxy, and did not come to the end.
    pub(super) begun: &'a HashSet<Arc<str>>,
    /// The nodes there should be.
    pub(super) nodes: Nodes<'a>,
    /// Whether all servers of the backend speak TLS.
    pub(super) tls: bool,
}

/// The nodes of a fleet, by what they are known again by.
#[derive(Debug, Default)]
pub(super) struct Nodes<'a> {
    places: HashMap<SocketAddr, &'a Node>,
    /// Those with a host name, which are anywhere.
    named: Vec<&'a Node>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(fleet: &'a Fleet) -> Self {
        let mut nodes = Self::default();
        for node in fleet.nodes() {
            match node.address.place() {
                (Host::Ip(ip), port) => {
                    nodes.places.insert(SocketAddr::new(ip, port), node);
                }
                (Host::Name(_), _) => nodes.named.push(node),
            }
        }
        nodes
    }
}

/// A server that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Added {
    /// What the plan calls it; in a slot that is not HAProxy's name for it.
    pub(super) name: Arc<str>,
    pub(super) node: Node,
    pub(super) at: SocketAddr,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) observed: Observed,
    /// Servers of nodes, by what the plan calls them.
    pub(super) ours: BTreeMap<Arc<str>, Ours>,
    /// Slots that can be filled.
    pub(super) free: Vec<Slot>,
    /// Numbers that are taken.
    pub(super) ids: HashSet<u32>,
    /// Servers that are not for nodes, and where they are.
    pub(super) configured: Vec<(Arc<str>, ServerAddress)>,
    pub(super) unchecked: usize,
    pub(super) routed: bool,
}

/// A place of a `server-template`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) name: Arc<str>,
    /// Whether who is in it is spoken to by TLS.
    pub(super) tls: bool,
}

/// A server of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ours {
    /// What HAProxy calls it.
    pub(super) real: Arc<str>,
    pub(super) id: u32,
    pub(super) slot: bool,
    pub(super) node: Node,
    pub(super) at: SocketAddr,
    pub(super) admin: Admin,
    /// Adding it, or taking it away, was begun and not ended.
    pub(super) unfinished: bool,
}

/// A row of both tables.
struct Server<'a> {
    name: Arc<str>,
    state: Row<'a>,
    stat: Row<'a>,
    at: Option<SocketAddr>,
    slot: bool,
    admin: u64,
}

/// Reads the answers to `show servers state` and `show stat`.
pub(super) fn view(states: &Table, stats: &Table, known: &Known<'_>) -> Result<View, &'static str> {
    let of_backend = |row: &Row<'_>| row.text("pxname") == known.backend;
    let stats: HashMap<&str, Row<'_>> = stats
        .rows()
        .filter(of_backend)
        .map(|row| (row.text("svname"), row))
        .collect();
    let mut view = View::default();
    let mut servers = Vec::new();
    for state in states
        .rows()
        .filter(|row| row.text("be_name") == known.backend)
    {
        let name = state.text("srv_name");
        // Added between the two commands: the next look will agree with itself.
        let stat = stats.get(name).ok_or(CONTRADICTION)?;
        let name: Arc<str> = name.into();
        let server = Server {
            slot: known.slots.contains(&name),
            name,
            state,
            stat: *stat,
            at: place(&state),
            admin: state.required("srv_admin_state")?,
        };
        view.ids
            .extend(u32::try_from(state.required("srv_id")?).ok());
        view.routed |= stat.number("stot") > 0;
        servers.push(server);
    }
    // Of two servers for one node the one that serves is that node's, then the one of its name.
    servers.sort_by_key(|it| (it.admin & (MAINT | DRAIN) != 0, it.slot));
    let mut nodes = HashSet::new();
    for server in &servers {
        let node = server.node(known, &mut nodes);
        view.push(server, node, known)?;
    }
    view.free
        .sort_by_key(|slot| (slot.name.len(), Arc::clone(&slot.name)));
    Ok(view)
}

fn place(state: &Row<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = state.text("srv_addr").parse().ok()?;
    Some(SocketAddr::new(
        ip.to_canonical(),
        state.text("srv_port").parse().ok()?,
    ))
}

impl View {
    fn push(
        &mut self,
        server: &Server<'_>,
        node: Option<Node>,
        known: &Known<'_>,
    ) -> Result<(), &'static str> {
        let awaited = server.awaits_check();
        let unfinished = server.is_unfinished(known);
        let admin = server.admin(unfinished);
        if awaited && admin == Admin::Ready {
            self.unchecked += 1;
        }
        let mut name = Arc::clone(&server.name);
        match (&node, server.at) {
            (Some(node), Some(at)) => {
                name = server.shown_name(node, known);
                if self.ours.contains_key(&name) {
                    name = Arc::clone(&server.name);
                }
                let ours = Ours {
                    real: Arc::clone(&server.name),
                    id: u32::try_from(server.state.required("srv_id")?).unwrap_or(0),
                    slot: server.slot,
                    node: node.clone(),
                    at,
                    admin,
                    unfinished,
                };
                self.ours.insert(Arc::clone(&name), ours);
            }
            (None, at) if !server.slot => {
                let at = at.map(|at| (Arc::clone(&name), ServerAddress::Inet(at)));
                self.configured.extend(at);
            }
            _ => {}
        }
        if server.slot && node.is_none() {
            self.free.push(Slot {
                name: Arc::clone(&server.name),
                tls: server.tls(),
            });
        }
        self.observed.servers.push(Seen {
            name,
            node,
            admin,
            drain_is_ours: unfinished,
            health: server.health(awaited),
            sessions: server.stat.required("scur")?,
            stands_in: server.stat.number("weight") > 0
                && server.state.number("srv_check_state") & CHECK_CONFIGURED != 0
                && server.stat.number("bck") == 0,
            joining_since: None,
            draining_since: None,
        });
        Ok(())
    }
}

impl Server<'_> {
    /// Whose server it is; `None`: not a node's.
    fn node(&self, known: &Known<'_>, taken: &mut HashSet<Node>) -> Option<Node> {
        let ours = match self.slot {
            true => self.admin & FORCED_MAINT == 0,
            false => {
                self.state.number("srv_f_forced_id") == 1 && is_ours(self.state.number("srv_id"))
            }
        };
        let at = self.at.filter(|_| ours)?;
        let node = self
            .known_node(at, known)
            .filter(|node| !taken.contains(node));
        let node = match node {
            Some(node) => node,
            None if self.slot && self.is_idle() => return None,
            None => self.unknown_node(at, taken)?,
        };
        taken.insert(node.clone());
        Some(node)
    }

    /// The node that we added it for, else the one of the fleet that is there.
    fn known_node(&self, at: SocketAddr, known: &Known<'_>) -> Option<Node> {
        let added = known.added.get(&self.name).filter(|added| added.at == at);
        if let Some(added) = added {
            return Some(added.node.clone());
        }
        let tls = self.tls();
        let speaks = |node: &&&Node| match self.slot {
            true => tls || !node.address.wants_tls(),
            false => tls == (node.address.wants_tls() || known.tls),
        };
        let by_place = known.nodes.places.get(&at).filter(speaks);
        // Who has a name was looked up when it was added: then its id tells.
        let by_name = || {
            let mut named = known.nodes.named.iter().filter(speaks);
            named.find(|node| node.address.place().1 == at.port() && is_named_for(&self.name, node))
        };
        by_place.or_else(by_name).map(|node| (*node).clone())
    }

    /// A node that is in no list: it leaves.
    fn unknown_node(&self, at: SocketAddr, taken: &HashSet<Node>) -> Option<Node> {
        let scheme = if self.tls() { "https" } else { "http" };
        let address = NodeAddress::parse(&format!("{scheme}://{at}")).ok()?;
        let named = |name: &str| {
            let id = NodeId::parse(name).ok()?;
            Some(Node {
                id,
                address: address.clone(),
            })
        };
        let node = named(&self.name)?;
        match taken.contains(&node) {
            false => Some(node),
            true => named(&format!("{}-again", self.name)).filter(|node| !taken.contains(node)),
        }
    }

    /// What the plan calls it.
    fn shown_name(&self, node: &Node, known: &Known<'_>) -> Arc<str> {
        match known
            .added
            .get(&self.name)
            .filter(|added| added.node == *node)
        {
            Some(added) => Arc::clone(&added.name),
            None if self.slot => node.id.shared(),
            None => Arc::clone(&self.name),
        }
    }

    /// Whether nobody would miss it: the place a template begins with answers nobody.
    fn is_idle(&self) -> bool {
        self.state.number("srv_op_state") == 0 && self.stat.number("scur") == 0
    }

    /// In maintenance that is ours: we remember that we began something, or it was added by an updater
    /// that was killed and never begun, so that no check has ever looked at it. All other maintenance,
    /// with checks switched off or without weight, may be an operator's, and stays.
    fn is_unfinished(&self, known: &Known<'_>) -> bool {
        let checks = self.state.number("srv_check_state") & (CHECK_CONFIGURED | CHECK_ENABLED);
        let never_begun = checks == CHECK_CONFIGURED
            && self.state.number("srv_check_status") <= NEVER_CHECKED
            && self.stat.number("stot") == 0;
        !self.slot
            && self.admin & FORCED_MAINT != 0
            && (never_begun || known.begun.contains(&self.name))
    }

    fn tls(&self) -> bool {
        self.state.number("srv_use_ssl") == 1
    }

    fn admin(&self, unfinished: bool) -> Admin {
        match self.admin {
            // What we did not end, the plan ends one way or the other.
            _ if unfinished => Admin::Drain,
            state if state & MAINT != 0 => Admin::Maint,
            state if state & DRAIN != 0 => Admin::Drain,
            _ => Admin::Ready,
        }
    }

    fn awaits_check(&self) -> bool {
        let status = self.stat.text("check_status");
        self.state.number("srv_check_state") & CHECK_ENABLED != 0
            && matches!(status, "" | "INI" | "* INI")
    }

    /// `srv_op_state`: 0 stopped, 1 warming up, 2 running, 3 stopping.
    fn health(&self, awaits_check: bool) -> Health {
        match self.state.number("srv_op_state") {
            1 | 2 if self.admin & MAINT == 0 => Health::Up,
            _ if awaits_check => Health::Unknown,
            _ => Health::Down,
        }
    }
}

/// Whether the plan would call the node's server so: its id, or the id and a number.
fn is_named_for(name: &str, node: &Node) -> bool {
    let rest = name.strip_prefix(node.id.as_str());
    rest.is_some_and(|rest| match rest.strip_prefix('-') {
        Some(number) => !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit()),
        None => rest.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::fleet;

    const OURS: u32 = 1_000_000_007;

    /// Servers as `name id address:port admin op uweight check_state ssl sessions check_status`.
    fn tables(servers: &str) -> (Table, Table) {
        let mut states =
            "1\n# be_name srv_name srv_id srv_f_forced_id srv_addr srv_port srv_admin_state \
                          srv_op_state srv_uweight srv_check_state srv_use_ssl srv_check_status\n"
                .to_owned();
        let mut stats = "# pxname,svname,scur,stot,weight,bck,check_status,\n".to_owned();
        for line in servers
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let words: Vec<&str> = line.split(' ').collect();
            let [
                name,
                id,
                at,
                admin,
                op,
                weight,
                check,
                ssl,
                sessions,
                status,
            ] = words[..]
            else {
                panic!("{line}");
            };
            let (ip, port) = at.rsplit_once(':').unwrap();
            let forced = u8::from(id.len() > 4);
            let result = if status == "INI" { 1 } else { 8 };
            states += &format!(
                "b {name} {id} {forced} {ip} {port} {admin} {op} {weight} {check} {ssl} {result}\n"
            );
            stats += &format!("b,{name},{sessions},0,{weight},0,{status},\n");
        }
        let (states, _) = Table::server_states(&(states + "\n")).unwrap();
        (states, Table::stat(&(stats + "\n")).unwrap())
    }

    #[track_caller]
    fn check(servers: &str, nodes: &str, expected: &[&str]) -> View {
        let (states, stats) = tables(servers);
        let fleet = fleet(nodes);
        let slots = ["s1", "s2"].map(Arc::from).into_iter().collect();
        let known = Known {
            backend: "b",
            slots: &slots,
            added: &BTreeMap::new(),
            begun: &HashSet::new(),
            nodes: Nodes::new(&fleet),
            tls: false,
        };
        let view = view(&states, &stats, &known).unwrap();
        let printed = view.observed.servers.iter().map(|seen| {
            let node = seen
                .node
                .as_ref()
                .map_or("-".to_owned(), |node| node.to_string());
            let (admin, health) = (seen.admin, seen.health);
            format!(
                "{}: {node} {admin:?} {health:?} {}",
                seen.name, seen.sessions
            )
        });
        assert_eq!(printed.collect::<Vec<_>>(), expected);
        view
    }

    #[test]
    fn servers_are_known_again() {
        let a = "(http://10.0.0.5:81)";
        // By their number and place, whatever they are called.
        check(
            &format!("a {OURS} 10.0.0.5:81 0 2 1 6 0 3 L7OK"),
            "a=10.0.0.5:81",
            &[&format!("a: a {a} Ready Up 3")],
        );
        check(
            &format!("a-2 {OURS} 10.0.0.5:81 8 2 1 6 0 3 L7OK"),
            "a=10.0.0.5:81",
            &[&format!("a-2: a {a} Drain Up 3")],
        );
        // One that no list has is itself and leaves.
        check(
            &format!("x {OURS} 10.0.0.5:81 0 0 1 6 0 0 L4CON"),
            "a=10.0.0.6:81",
            &[&format!("x: x {a} Ready Down 0")],
        );
        // With a name it was looked up; its id and port tell.
        check(
            &format!("a-2 {OURS} 10.0.0.5:81 0 0 1 6 0 0 INI"),
            "a=host:81",
            &["a-2: a (http://host:81) Ready Unknown 0"],
        );
        // TLS makes it another node.
        check(
            &format!("a {OURS} 10.0.0.5:81 0 2 1 6 0 0 L7OK"),
            "a=https://10.0.0.5:81",
            &[&format!("a: a {a} Ready Up 0")],
        );
        // What somebody wrote by hand is not ours, though a node is called so.
        let view = check(
            "a 1 10.0.0.5:81 0 2 1 6 0 0 L7OK",
            "a=10.0.0.6:81",
            &["a: - Ready Up 0"],
        );
        assert_eq!(view.configured.len(), 1);
        // Two for one node: the second leaves.
        check(
            &format!(
                "a {OURS} 10.0.0.5:81 0 2 1 6 0 0 L7OK\na-2 1000000008 10.0.0.5:81 0 2 1 6 0 0 L7OK"
            ),
            "a=10.0.0.5:81",
            &[
                &format!("a: a {a} Ready Up 0"),
                &format!("a-2: a-2 {a} Ready Up 0"),
            ],
        );
    }

    #[test]
    fn what_was_begun_and_not_ended_is_seen() {
        let added = format!("a {OURS} 10.0.0.5:81 1 0 1 2 0 0 INI");
        let view = check(
            &added,
            "a=10.0.0.5:81",
            &["a: a (http://10.0.0.5:81) Drain Down 0"],
        );
        assert!(view.ours["a"].unfinished);
        // An operator's maintenance is none of ours.
        // Neither without weight nor with its checks switched off.
        for weight_and_checks in ["1 14", "0 14", "1 2", "0 2"] {
            let by_hand = format!("a {OURS} 10.0.0.5:81 1 0 {weight_and_checks} 0 0 L7OK");
            let view = check(&by_hand, "", &["a: a (http://10.0.0.5:81) Maint Down 0"]);
            assert!(!view.ours["a"].unfinished);
        }
    }

    fn free(view: &View) -> Vec<&str> {
        view.free.iter().map(|slot| &*slot.name).collect()
    }

    #[test]
    fn slots_are_free_or_somebodys() {
        let view = check(
            "s2 2 127.0.0.1:9 5 0 1 14 0 0 INI\ns1 1 10.0.0.5:81 4 2 1 6 0 2 L7OK",
            "a=10.0.0.5:81",
            &[
                "a: a (http://10.0.0.5:81) Ready Up 2",
                "s2: - Maint Unknown 0",
            ],
        );
        assert_eq!(free(&view), ["s2"]);
        assert_eq!(&*view.ours["a"].real, "s1");
        assert!(view.ours["a"].slot && view.configured.is_empty());
        // A template without `disabled`: nobody answers there.
        let view = check(
            "s1 1 127.0.0.1:9 0 0 1 6 0 0 L4CON",
            "",
            &["s1: - Ready Down 0"],
        );
        assert_eq!(free(&view), ["s1"]);
        // TLS where the slot has none is another node.
        check(
            "s1 1 10.0.0.5:81 4 2 1 6 0 2 L7OK",
            "a=https://10.0.0.5:81",
            &["s1: s1 (http://10.0.0.5:81) Ready Up 2"],
        );
    }

    #[test]
    fn tables_that_contradict_each_other_say_nothing() {
        let (states, _) = tables("a 1 10.0.0.5:81 0 2 1 6 0 0 L7OK");
        let (_, stats) = tables("c 1 10.0.0.5:81 0 2 1 6 0 0 L7OK");
        let known = Known {
            backend: "b",
            slots: &HashSet::new(),
            added: &BTreeMap::new(),
            begun: &HashSet::new(),
            nodes: Nodes::default(),
            tls: false,
        };
        assert!(view(&states, &stats, &known).is_err());
    }
}
