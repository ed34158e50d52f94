//! What all modules share: the program, a configuration to start from, nodes as processes.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use testkit::balancer::Setup;
use testkit::{Balancer, Client, LogSink, Node, Process};
use tokio::net::TcpListener;

/// For answers that must come "at once": generous, because a busy machine runs many tests.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Beginning of most configurations: a log sink, and timeouts that no working test meets.
pub(crate) const DEFAULTS: &str = "
global
    log <log> local0
    maxconn 4000
    nbthread 2
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 30s
    timeout server 30s
";

/// The program under test.
pub(crate) fn program() -> String {
    std::env::var("TIDEGATE_IT_PROGRAM")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_tidegate").to_owned())
}

/// Whether the tests run against HAProxy.
pub(crate) fn is_haproxy() -> bool {
    program().ends_with("haproxy")
}

/// A balancer with [`DEFAULTS`] before `config`, logging to `log`.
pub(crate) fn setup(log: &LogSink, config: &str) -> Setup {
    Balancer::setup(program(), &format!("{DEFAULTS}{config}")).set("log", log.address())
}

/// A frontend on `<port:http>` and a backend `be` with these servers, `server` lines each.
pub(crate) fn one_backend(settings: &str, servers: &[&str]) -> String {
    let mut config = format!(
        "
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    balance roundrobin
{settings}
"
    );
    for server in servers {
        config.push_str(&format!("    server {server}\n"));
    }
    config
}

/// A balancer in front of one node, and what it logs.
pub(crate) struct Lab {
    /// What it logs.
    pub(crate) log: LogSink,
    /// The node.
    pub(crate) node: Node,
    /// The balancer.
    pub(crate) balancer: Balancer,
}

impl Lab {
    /// Starts all three; the configuration is whole, and has `<log>` and `<n1>` in it.
    pub(crate) async fn start(config: &str) -> Self {
        let log = LogSink::start().await;
        let node = Node::start("n1").await;
        let balancer = Balancer::setup(program(), config)
            .set("log", log.address())
            .set("n1", node.address())
            .start()
            .await;
        Self {
            log,
            node,
            balancer,
        }
    }
}

/// A node as a process of its own, to be killed and stopped with real signals.
pub(crate) struct NodeProcess {
    /// The process.
    pub(crate) process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its id.
    pub(crate) id: String,
}

impl NodeProcess {
    /// Starts one; `port` 0 lets the kernel choose.
    pub(crate) async fn start(id: &str, port: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["demo-node", "--id", id, "--port", &port.to_string()]);
        let process = Process::start(&mut command);
        let line = process.wait_for_line(&["listening on "]).await;
        let address = line.trim_start_matches("listening on ").parse().unwrap();
        Self {
            process,
            address,
            id: id.to_owned(),
        }
    }

    /// Starts `count`: `node1`, `node2`, ….
    pub(crate) async fn start_many(count: usize) -> Vec<Self> {
        let mut nodes = Vec::new();
        for number in 1..=count {
            nodes.push(Self::start(&format!("node{number}"), 0).await);
        }
        nodes
    }

    /// Its `server` line.
    pub(crate) fn server(&self, rest: &str) -> String {
        format!("{} {} {rest}", self.id, self.address)
    }
}

/// The termination state of a log line in HTTP format (manual 8.2.3): four words behind the timers.
pub(crate) fn termination(line: &str) -> &str {
    let mut words = line.split_whitespace();
    let timers = words.find(|word| word.matches('/').count() == 4);
    timers.and_then(|_| words.nth(4)).unwrap_or_default()
}

/// The retries in such a line: the last of the five counts behind the termination state.
pub(crate) fn retries(line: &str) -> &str {
    let mut words = line.split_whitespace();
    let counts = words.rfind(|word| word.matches('/').count() == 4);
    counts
        .and_then(|word| word.rsplit('/').next())
        .unwrap_or_default()
}

/// How long a test watches that something does not happen.
pub(crate) const NEVER: Duration = Duration::from_millis(300);

/// Ends the sessions of `be/SERVER`, as an operator does who looks at the stats page there.
pub(crate) async fn shut_down(page: SocketAddr, server: &str) {
    let mut operator = Client::plain(page).await;
    let form = format!("s={server}&action=shutdown&b=be");
    let length = form.len();
    operator
        .send(format!(
            "POST /stats HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{form}"
        ))
        .await;
    assert_eq!(operator.response().await.unwrap().status, 303);
}

/// Sends back what it reads, and reads no more while that is not taken.
pub(crate) async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = tcp.split();
                tokio::io::copy(&mut reader, &mut writer).await.ok();
            });
        }
    });
    address
}
