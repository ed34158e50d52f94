//! The Runtime API on `stats socket`, as `socat` and tools speak it. The table holds for HAProxy as well:
//! `TIDEGATE_IT_PROGRAM=/usr/sbin/haproxy`.

use std::path::Path;
use std::time::Duration;

use testkit::{Balancer, LogSink, Node};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::{SOON, is_haproxy, setup};

const CONFIG: &str = "
global
    stats socket <dir>/admin.sock mode 600 level admin
    stats socket <dir>/user.sock level user
    stats socket ipv4@127.0.0.1:<port:cli> level operator
    stats timeout 1m
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    server s1 <n1> weight 10
    server s2 <n1> backup check inter 1h
backend other
";

pub(crate) async fn lab() -> (Balancer, Node) {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let setup = setup(&log, CONFIG);
    let setup = setup.set("n1", node.address());
    (setup.start().await, node)
}

/// Sends `text`, says no more, and reads until the balancer closes.
pub(crate) async fn ask(socket: &Path, text: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.expect("a socket");
    stream.write_all(text.as_bytes()).await.expect("it reads");
    stream.shutdown().await.expect("half a close");
    let mut answer = String::new();
    let read = tokio::time::timeout(SOON, stream.read_to_string(&mut answer));
    read.await.expect("it closes").expect("text");
    answer
}

/// Commands and answers, byte for byte, in this order.
const ANSWERS: &[(&str, &str)] = &[
    ("get weight be/s1", "10 (initial 10)\n\n"),
    ("set weight be/s1 50%", "\n"),
    ("get weight be/s1", "5 (initial 10)\n\n"),
    (
        "set server be/s1 weight 20;get weight be/s1",
        "\n20 (initial 10)\n\n",
    ),
    ("get weight be/none", "No such server.\n\n"),
    ("get weight none/s1", "No such backend.\n\n"),
    ("get weight be", "Require 'backend/server'.\n\n"),
    (
        "set weight be/s1 300",
        "Absolute weight can only be between 0 and 256 inclusive.\n\n",
    ),
    ("disable server be/s1", "\n"),
    ("enable server be/s1", "\n"),
    (
        "set server be/s1 state gone",
        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
    ),
    ("show backend", "# name\nbe\nother\n\n"),
    ("show cli level", "admin\n\n"),
    ("operator;show cli level", "\noperator\n\n"),
    ("user;disable server be/s1", "\nPermission denied\n\n"),
    ("expert-mode", "expert-mode is OFF\n\n"),
    ("expert-mode on;expert-mode", "\nexpert-mode is ON\n\n"),
    (
        "debug dev log x",
        "This command is restricted to expert mode only.\n\n",
    ),
    ("set timeout cli x", "Invalid timeout value.\n\n"),
    (
        "set severity-output number;get weight be/x",
        "\n[3]: No such server.\n\n",
    ),
    ("show env NO_SUCH_VARIABLE", "Variable not found\n\n"),
    ("enable frontend", "A frontend name is expected.\n\n"),
    ("enable frontend none", "No such frontend.\n\n"),
    ("disable frontend fe", "\n"),
    (
        "disable frontend fe",
        "All sockets are already disabled.\n\n",
    ),
    ("enable frontend fe", "\n"),
    (
        "set server be/s1 addr 127.0.0.9",
        "IP changed from '127.0.0.1' to '127.0.0.9' by 'stats socket command'\n\n",
    ),
    ("get var proc.none", "Variable not found.\n\n"),
    (
        "shutdown session x",
        "Session pointer expected (use 'show sess').\n\n",
    ),
    (
        "shutdown session 0x1",
        "No such session (use 'show sess').\n\n",
    ),
    ("show sess 0x1", "Session not found.\n\n"),
    ("show servers conn none", "Can't find backend.\n\n"),
    ("set maxconn frontend", "A frontend name is expected.\n\n"),
    ("set maxconn frontend none 1", "No such frontend.\n\n"),
    ("set maxconn frontend fe", "Integer value expected.\n\n"),
    ("set maxconn frontend fe 7", "\n"),
    ("set maxconn global", "Expects an integer value.\n\n"),
    ("set maxconn global 20", "\n"),
    ("set maxconn global 99999999", "Value out of range.\n\n"),
    ("set maxconn global 0", "\n"),
    (
        "set rate-limit connections global",
        "Expects an integer value.\n\n",
    ),
    ("set rate-limit connections global 100", "\n"),
    ("set rate-limit sessions global 0", "\n"),
    (
        "set server be/s1 agent up",
        "agent checks are not enabled on this server.\n\n",
    ),
    ("set server be/s2 check-port 80", "\n"),
    (
        "set server be/s2 check-addr",
        "set server <b>/<s> check-addr requires an address and optionally a port.\n\n",
    ),
    ("show tls-keys", "# id (file)\n\n"),
    ("shutdown frontend", "A frontend name is expected.\n\n"),
    ("shutdown frontend none", "No such frontend.\n\n"),
    ("show ssl cert", "\n"),
    ("clear counters all", "\n"),
];

#[tokio::test]
async fn commands_answer_byte_for_byte() {
    let (balancer, _node) = lab().await;
    let socket = balancer.folder().join("admin.sock");
    for (command, expected) in ANSWERS {
        let answer = ask(&socket, &format!("{command}\n")).await;
        assert_eq!(answer, *expected, "{command}");
    }
    let csv = ask(&socket, "show stat be 4 -1\n").await;
    let names: Vec<&str> = csv
        .lines()
        .map(|line| line.split(',').nth(1).unwrap_or(""))
        .collect();
    assert_eq!(names, ["svname", "s1", "s2", ""]);
    let info = ask(&socket, "show info typed\n").await;
    assert!(info.contains("5.Process_num.1:KGP:u32:1\n"), "{info}");
}

#[tokio::test]
async fn a_line_of_commands_is_all_unless_a_prompt_is_asked_for() {
    let (balancer, _node) = lab().await;
    let socket = balancer.folder().join("admin.sock");
    let answer = ask(&socket, "prompt\nshow cli level;show cli level\n\nquit\n").await;
    if !is_haproxy() {
        assert_eq!(answer, "\n> admin\n\nadmin\n\n> \n> ");
        let answer = ask(&socket, "show cli level\nshow cli level\n").await;
        assert_eq!(answer, "admin\n\n");
        let answer = ask(&socket, "echo a\\;b c\\ d;echo x\n").await;
        assert_eq!(answer, "a;b c d\n\nx\n\n");
        // What follows a payload is the next line, and that is one too many.
        let answer = ask(&socket, "add map none <<%E%\nk v\n\n%E%\nshow cli level\n").await;
        assert!(!answer.contains("admin"), "{answer}");
    }
    let mut waiting = UnixStream::connect(&socket).await.expect("a socket");
    waiting.write_all(b"prompt\n").await.expect("it reads");
    let mut prompt = [0; 3];
    waiting.read_exact(&mut prompt).await.expect("a prompt");
    assert_eq!(&prompt, b"\n> ");
}

#[tokio::test]
async fn levels_hold_and_a_line_that_never_ends_is_dropped() {
    let (balancer, _node) = lab().await;
    let user = balancer.folder().join("user.sock");
    let answer = ask(&user, "disable server be/s1;show cli level\n").await;
    assert_eq!(answer, "Permission denied\n\nuser\n\n");
    let mut tcp = tokio::net::TcpStream::connect(balancer.address("cli"))
        .await
        .expect("TCP");
    tcp.write_all(b"show cli level\n").await.expect("it reads");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("text");
    assert_eq!(answer, "operator\n\n");
    if !is_haproxy() {
        assert_eq!(ask(&user, &"x".repeat(40_000)).await, "");
    }
}

#[tokio::test]
async fn servers_come_move_and_go() {
    if is_haproxy() {
        return;
    }
    let (balancer, node) = lab().await;
    let socket = balancer.folder().join("admin.sock");
    let add = format!("add server be/new {} check inter 50ms\n", node.address());
    assert_eq!(ask(&socket, &add).await, "New server registered.\n\n");
    let again = ask(&socket, &add).await;
    assert_eq!(
        again,
        "Already exists a server with the same name in backend.\n\n"
    );
    ask(&socket, "disable server be/s1\nquit\n").await;
    ask(&socket, "set server be/s2 state maint\n").await;
    ask(&socket, "enable server be/new; enable health be/new\n").await;
    let response = testkit::http::get(balancer.address("http"), "/health").await;
    assert_eq!(response.expect("an answer").status, 200);
    let busy = ask(&socket, "del server be/new\n").await;
    assert_eq!(busy, "Only servers in maintenance mode can be deleted.\n\n");
    let gone = "disable server be/new; wait 2s srv-removable be/new; del server be/new\n";
    assert_eq!(ask(&socket, gone).await, "\nDone.\n\nServer deleted.\n\n");
    assert_eq!(
        ask(&socket, "get weight be/new\n").await,
        "No such server.\n\n"
    );
}

/// A reader that takes nothing holds up nobody.
#[tokio::test]
async fn a_slow_reader_blocks_nobody() {
    let (balancer, _node) = lab().await;
    let socket = balancer.folder().join("admin.sock");
    let mut slow = UnixStream::connect(&socket).await.expect("a socket");
    let many = "show stat json;".repeat(60) + "\n";
    slow.write_all(many.as_bytes()).await.expect("it reads");
    for _ in 0..5 {
        let answer = tokio::time::timeout(Duration::from_secs(5), ask(&socket, "show backend\n"));
        assert_eq!(answer.await.expect("at once"), "# name\nbe\nother\n\n");
    }
}
