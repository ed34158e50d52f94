//! What clients see of a fault on one node of three, fault by fault, with two configurations.
//!
//! Each row: traffic before the fault, during it, and after it has ended, by [`CLIENTS`] clients at
//! once, and [`TUNNELS`] WebSockets of which a third is on the bad node. The numbers allowed are those
//! that HAProxy 2.6 gave under the same faults, for [`Column::Plain`], and for [`Column::Careful`]
//! the better ones of its configurations. Before and after a fault no request fails, and WebSockets
//! on other nodes are never lost.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::websocket::Target;
use testkit::{Balancer, Client, Health, LogSink, Node, PATIENCE, Temper, WebSocket};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use crate::support::{NodeProcess, one_backend, setup};

/// Clients that ask one request after the other, all at once.
const CLIENTS: usize = 6;
/// Requests of each before and after the fault, and during it.
const CALM: usize = 5;
const STORM: usize = 25;
/// WebSockets, spread evenly.
const TUNNELS: usize = 30;
/// The bad one.
const BAD: usize = 1;

/// The configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Retries and redispatching alone.
    Plain,
    /// All that a careful operator would write.
    Careful,
}

impl Column {
    fn settings(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Careful => {
                "    retry-on all-retryable-errors
    default-server observe layer7 on-error mark-down on-marked-down shutdown-sessions"
            }
        }
    }
}

/// What is wrong with the bad node.
#[derive(Debug, Clone)]
enum Fault {
    None,
    /// Its process is killed.
    Killed,
    /// Its process is stopped: the kernel goes on to accept connections for it.
    Stopped,
    /// Nothing answers a connection attempt.
    Blackhole,
    /// It treats requests like this, and checks well.
    Temper(Temper),
    /// Its checks fail.
    Unhealthy,
    /// It crashes and comes back, three times.
    Flapping,
    /// All nodes are killed.
    AllKilled,
}

/// How many requests may fail during the fault.
#[derive(Debug, Clone, Copy)]
enum Allowed {
    None,
    /// One of each client: what was asked before the fault was known.
    OneEach,
    /// One of each client each time.
    OneEachTime(usize),
    /// All that the bad node got.
    AllOfTheBadNode,
    Any,
}

/// Three nodes of this process, or three processes.
enum Nodes {
    Kit(Vec<Node>),
    Processes(Vec<NodeProcess>),
}

impl Nodes {
    async fn start(fault: &Fault) -> Self {
        match fault {
            Fault::Killed | Fault::Stopped | Fault::AllKilled => {
                Self::Processes(NodeProcess::start_many(3).await)
            }
            _ => Self::Kit(Node::start_many(3).await),
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Kit(nodes) => nodes.iter().map(Node::address).collect(),
            Self::Processes(nodes) => nodes.iter().map(|node| node.address).collect(),
        }
    }

    /// What is asked for: processes have nothing but their health to tell.
    fn path(&self) -> &'static str {
        match self {
            Self::Kit(_) => "/x",
            Self::Processes(_) => "/health",
        }
    }

    fn kit(&mut self) -> &mut Node {
        match self {
            Self::Kit(nodes) => &mut nodes[BAD],
            Self::Processes(_) => unreachable!("this fault is one of the kit"),
        }
    }

    fn processes(&mut self) -> &mut Vec<NodeProcess> {
        match self {
            Self::Processes(nodes) => nodes,
            Self::Kit(_) => unreachable!("this fault is one of processes"),
        }
    }

    /// Requests that reached the bad node.
    fn seen_by_the_bad_one(&self) -> usize {
        match self {
            Self::Kit(nodes) => nodes[BAD].requests().len(),
            Self::Processes(_) => usize::MAX,
        }
    }
}

/// A listener that accepts nobody, and connections that fill its queue.
struct Hole {
    _listener: TcpListener,
    _fillers: Vec<TcpStream>,
}

impl Hole {
    fn dig(at: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(at).unwrap();
        let listener = socket.listen(0).unwrap();
        let mut fillers = Vec::new();
        // One that is not answered within this time shows that the queue is full.
        while let Ok(filler) = TcpStream::connect_timeout(&at, Duration::from_millis(200)) {
            fillers.push(filler);
        }
        Self {
            _listener: listener,
            _fillers: fillers,
        }
    }
}

struct Scene {
    column: Column,
    nodes: Nodes,
    balancer: Balancer,
    tunnels: Vec<(usize, WebSocket)>,
    hole: Option<Hole>,
}

impl Scene {
    async fn set(fault: &Fault, column: Column) -> Self {
        let log = LogSink::start().await;
        let nodes = Nodes::start(fault).await;
        let settings = format!(
            "    option httpchk GET /health
    timeout check 1s
    timeout connect 1s
    timeout server 2s
    timeout tunnel 1h
    retries 3
    option redispatch 1
    stats uri /stats
    default-server inter 200ms fastinter 100ms fall 2 rise 1
{}",
            column.settings()
        );
        let servers: Vec<String> = nodes
            .addresses()
            .iter()
            .enumerate()
            .map(|(index, address)| format!("node{} {address} check", index + 1))
            .collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let balancer = setup(&log, &one_backend(&settings, &servers)).start().await;
        let mut scene = Self {
            column,
            nodes,
            balancer,
            tunnels: Vec::new(),
            hole: None,
        };
        let target = Target::plain(scene.balancer.address("http"));
        for _ in 0..TUNNELS {
            let (socket, node) = WebSocket::open_greeted(&target).await.unwrap();
            let node: usize = node.trim_start_matches("node").parse().unwrap();
            scene.tunnels.push((node - 1, socket));
        }
        let on_bad = scene.tunnels.iter().filter(|(node, _)| *node == BAD);
        assert_eq!(on_bad.count(), TUNNELS / 3);
        scene
    }

    /// How many of so many requests of each client fail.
    async fn requests(&self, each: usize) -> usize {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(ask(self.balancer.address("http"), self.nodes.path(), each));
        }
        clients.join_all().await.into_iter().sum()
    }

    async fn begin(&mut self, fault: &Fault) {
        match fault {
            Fault::None | Fault::Flapping => {}
            Fault::Killed => kill(&mut self.nodes.processes()[BAD]).await,
            Fault::Stopped => self.nodes.processes()[BAD].process.signal(Signal::SIGSTOP),
            Fault::AllKilled => {
                for node in self.nodes.processes() {
                    kill(node).await;
                }
            }
            Fault::Blackhole => {
                let node = self.nodes.kit();
                node.stop().await;
                self.hole = Some(Hole::dig(node.address()));
            }
            Fault::Temper(temper) => self.nodes.kit().set_temper(temper.clone()),
            Fault::Unhealthy => self.nodes.kit().set_health(Health::Status(503)),
        }
    }

    /// The storm, and what goes on beside it.
    async fn storm(&mut self, fault: &Fault) -> usize {
        let Fault::Flapping = fault else {
            return self.requests(STORM).await;
        };
        let mut failed = 0;
        for _ in 0..3 {
            self.nodes.kit().crash().await;
            failed += self.requests(STORM / 3).await;
            self.nodes.kit().restart().await;
            failed += self.requests(CALM).await;
        }
        failed
    }

    async fn end(&mut self, fault: &Fault) {
        match fault {
            Fault::None | Fault::Flapping => {}
            Fault::Killed => self.start_again(BAD).await,
            Fault::Stopped => self.nodes.processes()[BAD].process.signal(Signal::SIGCONT),
            Fault::AllKilled => {
                for node in 0..3 {
                    self.start_again(node).await;
                }
            }
            Fault::Blackhole => {
                drop(self.hole.take());
                self.nodes.kit().restart().await;
            }
            Fault::Temper(_) => self.nodes.kit().set_temper(Temper::Normal),
            Fault::Unhealthy => self.nodes.kit().set_health(Health::Status(200)),
        }
        for node in ["node1", "node2", "node3"] {
            self.balancer.wait_status("http", "be", node, "UP").await;
        }
    }

    async fn start_again(&mut self, node: usize) {
        let nodes = self.nodes.processes();
        let (id, port) = (nodes[node].id.clone(), nodes[node].address.port());
        nodes[node] = NodeProcess::start(&id, port).await;
    }

    /// Those on other nodes work.
    async fn assert_others_whole(&mut self) {
        for (node, socket) in &mut self.tunnels {
            if *node != BAD {
                socket.echo("still here").await.unwrap();
            }
        }
    }

    /// Those on the bad node end, without anybody asking anything of them.
    async fn assert_bad_ones_end(&mut self) {
        for (node, socket) in &mut self.tunnels {
            if *node == BAD {
                let ending = tokio::time::timeout(PATIENCE, socket.ended());
                // An end or a cut: it is not there any more.
                let _ = ending.await.expect("a WebSocket to a dead node ends");
            }
        }
    }
}

/// Kills a process, and waits until it is gone: a request in its hands at that moment is lost with
/// any balancer, and would be lost or not by chance.
async fn kill(node: &mut NodeProcess) {
    node.process.signal(Signal::SIGKILL);
    node.process.wait_exit().await;
}

/// Asks one request after the other; how many were not answered as they should be.
async fn ask(address: SocketAddr, path: &'static str, times: usize) -> usize {
    let mut failed = 0;
    let mut client = Client::plain(address).await;
    for _ in 0..times {
        match client.get(path).await {
            Ok(response) if response.status == 200 => {}
            // An error page may end the connection, a cut does.
            _ => {
                failed += 1;
                client = Client::plain(address).await;
            }
        }
    }
    failed
}

async fn play(fault: &Fault, column: Column, allowed: Allowed) {
    // Each row is a test of its own.
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let what = format!("{test} with {column:?}");
    let mut scene = Scene::set(fault, column).await;
    assert_eq!(scene.requests(CALM).await, 0, "before {what}");
    let seen_before = scene.nodes.seen_by_the_bad_one();
    scene.begin(fault).await;
    let failed = scene.storm(fault).await;
    let most = match allowed {
        Allowed::None => 0,
        Allowed::OneEach => CLIENTS,
        Allowed::OneEachTime(times) => CLIENTS * times,
        Allowed::AllOfTheBadNode => scene.nodes.seen_by_the_bad_one() - seen_before,
        Allowed::Any => usize::MAX,
    };
    assert!(failed <= most, "{failed} of {most} failed during {what}");
    let careful = scene.column == Column::Careful;
    if !matches!(fault, Fault::AllKilled) {
        scene.assert_others_whole().await;
    }
    let cut_off = match fault {
        Fault::Killed | Fault::Blackhole => true,
        Fault::Stopped | Fault::Unhealthy => careful,
        _ => false,
    };
    if cut_off {
        scene.assert_bad_ones_end().await;
    }
    scene.end(fault).await;
    assert_eq!(scene.requests(CALM).await, 0, "after {what}");
    if !matches!(fault, Fault::AllKilled) {
        scene.assert_others_whole().await;
    }
}

/// One row: how many requests may fail in each column.
async fn check(fault: Fault, plain: Allowed, careful: Allowed) {
    tokio::join!(
        play(&fault, Column::Plain, plain),
        play(&fault, Column::Careful, careful),
    );
}

#[tokio::test]
async fn nothing_is_wrong() {
    check(Fault::None, Allowed::None, Allowed::None).await;
}

#[tokio::test]
async fn a_node_is_killed() {
    check(Fault::Killed, Allowed::None, Allowed::None).await;
}

#[tokio::test]
async fn a_node_is_stopped() {
    // `timeout server` may strike twice before the second check has failed.
    check(Fault::Stopped, Allowed::OneEachTime(2), Allowed::None).await;
}

#[tokio::test]
async fn a_node_is_a_blackhole() {
    check(Fault::Blackhole, Allowed::OneEach, Allowed::None).await;
}

async fn check_temper(temper: Temper, careful: Allowed) {
    check(Fault::Temper(temper), Allowed::AllOfTheBadNode, careful).await;
}

#[tokio::test]
async fn a_node_resets_before_it_answers() {
    check_temper(Temper::ResetBeforeResponse, Allowed::None).await;
}

#[tokio::test]
async fn a_node_closes_before_it_answers() {
    check_temper(Temper::CloseBeforeResponse, Allowed::None).await;
}

#[tokio::test]
async fn a_node_resets_in_mid_answer() {
    // Nothing can take back what the client has; not to ask the node again is all there is.
    check_temper(Temper::ResetMidMessage, Allowed::AllOfTheBadNode).await;
}

#[tokio::test]
async fn a_node_answers_garbage() {
    check_temper(Temper::garbage(), Allowed::None).await;
}

#[tokio::test]
async fn a_node_answers_with_a_header_of_100_kb() {
    check_temper(Temper::huge_header(), Allowed::None).await;
}

#[tokio::test]
async fn a_node_hangs() {
    check_temper(Temper::Hang, Allowed::None).await;
}

#[tokio::test]
async fn a_node_answers_500() {
    check_temper(Temper::status(500), Allowed::None).await;
}

#[tokio::test]
async fn a_node_fails_its_checks() {
    check(Fault::Unhealthy, Allowed::None, Allowed::None).await;
}

#[tokio::test]
async fn a_node_flaps() {
    check(Fault::Flapping, Allowed::OneEachTime(3), Allowed::None).await;
}

#[tokio::test]
async fn all_nodes_are_killed() {
    check(Fault::AllKilled, Allowed::Any, Allowed::Any).await;
}
