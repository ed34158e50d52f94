//! `tidegate demo`: what it promises on a fresh machine, and that nothing of it is left behind.

use std::collections::BTreeMap;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::websocket::{Message, Target};
use testkit::{PATIENCE, Port, Process, WebSocket, http, wait_until};

struct Demo {
    process: Process,
    http: Port,
    files: tempfile::TempDir,
}

impl Demo {
    async fn start() -> Self {
        let (http, https) = (Port::claim(), Port::claim());
        let files = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .args(["demo", "--http", &http.number().to_string()])
            .args(["--https", &https.number().to_string()])
            .env("TMPDIR", files.path());
        let process = Process::start(&mut command);
        process
            .wait_for_line(&["self-test: WebSocket echo through TLS", ": ok"])
            .await;
        Self {
            process,
            http,
            files,
        }
    }

    /// The node it suggests to kill.
    async fn victim(&self) -> Pid {
        let line = self.process.wait_for_line(&["kill -9 "]).await;
        let after = line.split("kill -9 ").nth(1).unwrap();
        let pid = after.split_whitespace().next().unwrap();
        Pid::from_raw(pid.parse().unwrap())
    }

    /// Its nodes: the children of the program.
    fn nodes(&self) -> Vec<Pid> {
        let pid = self.process.pid();
        let mut nodes = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let children = task.unwrap().path().join("children");
            let children = std::fs::read_to_string(children).unwrap_or_default();
            let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
            nodes.extend(pids.map(Pid::from_raw));
        }
        nodes
    }
}

async fn wait_gone(pids: &[Pid]) {
    for pid in pids {
        wait_until(&format!("process {pid} to be gone"), PATIENCE, async || {
            match kill(*pid, None) {
                Err(Errno::ESRCH) => Ok(()),
                // A zombie waits for whoever inherits it: it runs no more.
                _ if is_zombie(*pid) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('Z'))
}

#[tokio::test]
async fn a_killed_node_is_noticed_and_nobody_else_is_touched() {
    let demo = Demo::start().await;
    demo.process
        .wait_for_line(&["6 of them the demo's own"])
        .await;
    let victim = demo.victim().await;
    kill(victim, Signal::SIGKILL).unwrap();
    demo.process
        .wait_for_line(&["node2", "was killed by signal 9"])
        .await;
    let down = demo
        .process
        .wait_for_line(&["the balancer marked node2 DOWN after "])
        .await;
    assert!(down.contains("2 went with it"), "{down}");
    assert!(
        down.contains("the 4 on other nodes are untouched"),
        "{down}"
    );
    demo.process.wait_for_line(&["node2 runs again"]).await;
    demo.process
        .wait_for_line(&["the balancer marked node2 UP", "after its start"])
        .await;
    for path in ["/", "/health", "/stats", "/metrics"] {
        let response = http::get(demo.http.address(), path).await.unwrap();
        assert_eq!(response.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_message_for_everyone_reaches_clients_on_every_node() {
    let demo = Demo::start().await;
    let target = Target::plain(demo.http.address());
    let mut sockets = BTreeMap::new();
    while sockets.len() < 3 {
        let (mut socket, node) = WebSocket::open_greeted(&target).await.unwrap();
        let subscribe = r#"{"type":"subscribe","channel":"demo"}"#;
        socket.send(Message::text(subscribe)).await.unwrap();
        assert!(socket.text().await.unwrap().contains("subscribed"));
        sockets.insert(node, socket);
    }
    let publish = r#"{"type":"publish","channel":"demo","message":"to all"}"#;
    let mut publisher = WebSocket::open_greeted(&target).await.unwrap().0;
    publisher.send(Message::text(publish)).await.unwrap();
    assert!(publisher.text().await.unwrap().contains("published"));
    for (node, socket) in &mut sockets {
        let text = socket.text().await.unwrap();
        assert!(text.contains("to all"), "{node}: {text}");
    }
}

#[tokio::test]
async fn nothing_is_left_when_it_is_told_to_stop() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut demo = Demo::start().await;
        let nodes = demo.nodes();
        assert_eq!(nodes.len(), 3);
        demo.process.signal(signal);
        let status = demo.process.wait_exit().await;
        assert_eq!(status.code(), Some(0), "{signal}");
        wait_gone(&nodes).await;
        let left: Vec<_> = std::fs::read_dir(demo.files.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn nodes_do_not_outlive_a_killed_demo() {
    let demo = Demo::start().await;
    let nodes = demo.nodes();
    demo.process.signal(Signal::SIGKILL);
    wait_gone(&nodes).await;
}

#[test]
fn a_taken_port_is_told_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--http", &port])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&port) && text.contains("--http PORT"),
        "{text}"
    );
}
