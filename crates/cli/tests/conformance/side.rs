//! One side of the comparison: a program with its nodes and its log.

use std::collections::BTreeMap;

use testkit::{Balancer, Client as Control, LogSink, Port, Table};

use crate::client::Client;
use crate::mask::Mask;
use crate::node::Nodes;
use crate::script::{Opening, Script, Step};
use crate::table::{Case, Group};

/// Nodes of every group.
const NODES: usize = 4;

/// What stands before every configuration: a page to ask whether all is over, and a frontend whose
/// log line says that all earlier lines are out.
const CONTROL: &str = "
global
    log <log> local0
    log-tag lb
    nbthread 1
    maxconn 500
listen control
    mode http
    bind 127.0.0.1:<port:control>
    stats enable
    stats uri /stats
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend fence
    mode http
    log global
    option httplog
    bind 127.0.0.1:<port:fence>
    timeout client 60s
    http-request return status 200
";

/// What stands before every configuration that does not ask for nothing.
const DEFAULTS: &str = "
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 20s
    timeout server 20s
";

/// Log lines that tell of states, not of sessions. Those of checks come when a check comes, and
/// those of our lifecycle have nothing alike at HAProxy's.
const STATE_LINES: [&str; 5] = [
    "]: Lifecycle: ",
    "]: Server ",
    "]: Backup Server ",
    "]: backend ",
    "]: proxy ",
];

/// What one side did in a case.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// What clients saw.
    pub(crate) client: Vec<String>,
    /// What nodes got.
    pub(crate) node: Vec<String>,
    /// Log lines.
    pub(crate) log: Vec<String>,
    /// What the statistics said.
    pub(crate) stats: Vec<String>,
}

/// A program with everything around it.
pub(crate) struct Side {
    balancer: Balancer,
    nodes: Nodes,
    log: LogSink,
    log_read: usize,
    mask: Mask,
    control: Control,
    fence: Control,
    fences: usize,
    connections: bool,
    answers: Vec<(Option<String>, Script)>,
}

impl Side {
    /// Starts `program` for a group.
    pub(crate) async fn start(program: &str, group: &Group) -> Self {
        let nodes = Nodes::start(NODES, &group.settings.stopped).await;
        let log = LogSink::start().await;
        let defaults = if group.settings.bare { "" } else { DEFAULTS };
        let config = format!("{CONTROL}{defaults}{}", group.config);
        let mut setup = Balancer::setup(program, &config).set("log", log.address());
        let dead = Port::claim();
        setup = setup.set("dead", dead.address());
        for (name, address) in nodes.addresses() {
            setup = setup.set(&name, address);
        }
        for (name, content) in &group.settings.files {
            setup = setup.file(name, content);
        }
        let balancer = setup.start().await;
        let mut ports: Vec<(u16, String)> = nodes
            .addresses()
            .into_iter()
            .map(|(name, address)| (address.port(), name))
            .collect();
        ports.push((dead.number(), "dead".into()));
        for name in port_names(&config) {
            ports.push((balancer.address(&name).port(), name));
        }
        let control = Control::plain(balancer.address("control")).await;
        let fence = Control::plain(balancer.address("fence")).await;
        let mut side = Self {
            mask: Mask::new(ports),
            balancer,
            nodes,
            log,
            log_read: 0,
            control,
            fence,
            fences: 0,
            connections: group.settings.connections,
            answers: group.settings.answers.clone(),
        };
        // What is logged while starting is each program's own.
        side.log_lines().await;
        side
    }

    /// Runs a case.
    pub(crate) async fn run(&mut self, case: &Case) -> Transcript {
        let mut transcript = Transcript::default();
        let leading = case
            .steps
            .iter()
            .take_while(|step| matches!(step, Step::Node(..)));
        let leading = leading.count();
        self.nodes.begin(&self.answers(&case.steps[..leading]));
        let mut clients = Clients::default();
        for step in &case.steps[leading..] {
            self.step(step, &mut clients, &mut transcript).await;
        }
        self.end(&mut clients, &mut transcript).await;
        transcript.log = self.log_lines().await;
        transcript.node = self.nodes.seen(self.connections);
        for lines in [
            &mut transcript.client,
            &mut transcript.node,
            &mut transcript.stats,
        ] {
            for line in lines {
                *line = self.mask.ports(line);
            }
        }
        transcript
    }

    /// Ends what is open, one after the other, and waits until all is over.
    async fn end(&mut self, clients: &mut Clients, out: &mut Transcript) {
        while let Some(left) = clients.finish_one(&mut out.client).await {
            self.wait_sessions(left).await;
        }
        clients.began = false;
        self.settle().await;
    }

    /// The answers that a case begins with, or else the group's.
    fn answers(&self, leading: &[Step]) -> Vec<(Option<String>, Script)> {
        let first = leading.iter().filter_map(|step| match step {
            Step::Node(who, script) => Some((who.clone(), script.clone())),
            _ => None,
        });
        let mut answers: Vec<_> = first.collect();
        for (who, script) in &self.answers {
            if !answers.iter().any(|(known, _)| known == who) {
                answers.push((who.clone(), script.clone()));
            }
        }
        answers
    }

    async fn step(&mut self, step: &Step, clients: &mut Clients, out: &mut Transcript) {
        match step {
            Step::Node(who, script) => self.nodes.replace(who, script),
            Step::Open(opening) => clients.open(opening, &self.balancer, &mut out.client).await,
            Step::Use(name) => clients.switch(name),
            Step::Send(script) => {
                let client = clients.current(&self.balancer, &mut out.client).await;
                client.send(script).await;
                clients.drop_if_over();
            }
            Step::Request(script, method) => {
                let client = clients.current(&self.balancer, &mut out.client).await;
                client.send(script).await;
                client.response(method, &mut out.client).await;
            }
            Step::Read(count, method) => {
                let client = clients.current(&self.balancer, &mut out.client).await;
                for _ in 0..*count {
                    client.response(method, &mut out.client).await;
                }
            }
            Step::Bytes(len) => {
                let client = clients.current(&self.balancer, &mut out.client).await;
                client.bytes(*len, &mut out.client).await;
            }
            Step::Eof => {
                let client = clients.current(&self.balancer, &mut out.client).await;
                client.eof(&mut out.client).await;
            }
            Step::Stop(name) => self.nodes.stop(name).await,
            Step::Start(name) => self.nodes.listen(name).await,
            Step::Health(name, answer) => self.nodes.set_health(name, answer),
            Step::WaitStatus(row, status) => {
                let (backend, server) = row.split_once('/').unwrap();
                let balancer = &self.balancer;
                balancer
                    .wait_status("control", backend, server, status)
                    .await;
            }
            Step::Stats(row, columns) => {
                self.end(clients, out).await;
                let line = self.stats_line(row, columns).await;
                out.stats.push(line);
            }
            Step::WaitRequests(count) => {
                let nodes = &self.nodes;
                testkit::wait_until("requests at nodes", testkit::PATIENCE, async || {
                    let seen = nodes.requests();
                    testkit::wait::or_seen(seen >= *count, seen)
                })
                .await;
            }
            Step::Check(name) => {
                let nodes = &self.nodes;
                let check = testkit::wait_until("a check", testkit::PATIENCE, async || {
                    nodes.first_check(name).ok_or("none yet")
                })
                .await;
                out.node
                    .extend(check.lines().map(|line| format!("{name} check {line}")));
            }
        }
    }

    /// Waits until no session is open but ours, and no node is in the middle of something.
    async fn settle(&mut self) {
        testkit::wait_until("all sessions to end", testkit::PATIENCE, async || {
            let table = self.table().await;
            let open = open_frontends(&table);
            if !open.is_empty() {
                return Err(format!("open at {open:?}"));
            }
            // The kernel has what was sent; the nodes' tasks get their turn here.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            testkit::wait::or_seen(self.nodes.at_rest(), "busy nodes".to_owned())
        })
        .await;
    }

    /// Gives a session the time to end before the next one does, so that the order of log lines is
    /// the order of ends. One that does not end is none of this function's business.
    async fn wait_sessions(&mut self, left: usize) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
        while left > 0 && tokio::time::Instant::now() < deadline {
            if open_sessions(&self.table().await) <= left {
                return;
            }
        }
    }

    async fn table(&mut self) -> Table {
        let response = self.control.get("/stats;csv").await;
        let response = match response {
            Ok(response) => response,
            Err(_) => {
                self.control = Control::plain(self.balancer.address("control")).await;
                self.control.get("/stats;csv").await.unwrap()
            }
        };
        Table::parse(&response.text())
    }

    async fn stats_line(&mut self, row: &str, columns: &[String]) -> String {
        let (proxy, server) = row.split_once('/').unwrap();
        let table = self.table().await;
        let shown = columns.iter().map(|column| {
            let value = table.try_get(proxy, server, column);
            // A star says that a check is under way just now.
            let value = value.unwrap_or("(no such column)").trim_start_matches("* ");
            format!(" {column}={value:?}")
        });
        format!("{row}{}", shown.collect::<String>())
    }

    /// The lines logged since the last look: those before that of a request sent after everything.
    async fn log_lines(&mut self) -> Vec<String> {
        self.fences += 1;
        let path = format!("/fence-{}-", self.fences);
        self.fence.get(&path).await.unwrap();
        let mark = format!("fence/{}", "<NOSRV>");
        self.log.wait_for(&[&mark, &path]).await;
        let lines = self.log.lines();
        let at = lines.iter().position(|line| line.contains(&path)).unwrap();
        let new = lines[self.log_read..at].iter();
        let new = new.filter(|line| !STATE_LINES.iter().any(|part| line.contains(part)));
        let masked = new.map(|line| self.mask.log(line)).collect();
        self.log_read = at + 1;
        masked
    }
}

/// Names in `<port:NAME>`.
fn port_names(config: &str) -> Vec<String> {
    let parts = config.split("<port:").skip(1);
    parts
        .filter_map(|part| Some(part.split_once('>')?.0.to_owned()))
        .collect()
}

/// Frontends other than ours, with their sessions.
fn sessions(table: &Table) -> impl Iterator<Item = (&str, usize)> {
    let rows = table.rows().filter(|row| row["svname"] == "FRONTEND");
    rows.map(|row| (row["pxname"].as_str(), row["scur"].parse().unwrap()))
        .filter(|(name, _)| !["control", "fence"].contains(name))
}

/// Those that have sessions.
fn open_frontends(table: &Table) -> Vec<&str> {
    let open = sessions(table).filter(|(_, count)| *count > 0);
    open.map(|(name, _)| name).collect()
}

/// How many sessions there are.
fn open_sessions(table: &Table) -> usize {
    sessions(table).map(|(_, count)| count).sum()
}

/// The clients of a case.
#[derive(Default)]
struct Clients {
    open: BTreeMap<String, Client>,
    current: String,
    began: bool,
    several: bool,
}

impl Clients {
    async fn open(&mut self, opening: &Opening, balancer: &Balancer, out: &mut Vec<String>) {
        if self.began {
            self.several = true;
            out.push(format!("connection {}", opening.name));
        }
        self.began = true;
        let client = Client::open(balancer.address(&opening.to), &opening.from).await;
        let before = self.open.insert(opening.name.clone(), client);
        if let Some(before) = before {
            before.finish(out).await;
        }
        self.current.clone_from(&opening.name);
    }

    fn switch(&mut self, name: &str) {
        name.clone_into(&mut self.current);
    }

    async fn current(&mut self, balancer: &Balancer, out: &mut Vec<String>) -> &mut Client {
        if !self.began {
            self.open(&Opening::default(), balancer, out).await;
        }
        if self.several {
            out.push(format!("on {}", self.current));
        }
        let current = self.open.get_mut(&self.current);
        current.unwrap_or_else(|| panic!("there is no connection {:?}", self.current))
    }

    /// A client that closed or reset is gone at once.
    fn drop_if_over(&mut self) {
        if self.open.get(&self.current).is_some_and(Client::is_over) {
            self.open.remove(&self.current);
        }
    }

    /// Ends the first that is left; tells how many are left then.
    async fn finish_one(&mut self, out: &mut Vec<String>) -> Option<usize> {
        let (_, client) = self.open.pop_first()?;
        client.finish(out).await;
        Some(self.open.len())
    }
}
