//! The command line: flags, exit codes, first lines of output, signals.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::websocket::Target;
use testkit::{Balancer, LogSink, Node, PATIENCE, Port, Process, WebSocket, wait_until};

use crate::support::{is_haproxy, one_backend, program, setup};

const GOOD: &str = "defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend fe
    bind 127.0.0.1:1
    default_backend be
backend be
    server s 127.0.0.1:2
";

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Exit code, and what must be somewhere in the output.
fn check(arguments: &[&str], files: &[(&str, &str)], code: i32, parts: &[&str]) {
    let folder = folder_with(files);
    let output = run(folder.path(), arguments);
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{arguments:?}: no {part:?} in {text}");
    }
}

#[test]
fn a_good_file_is_valid() {
    let files = [("good.cfg", GOOD)];
    check(
        &["-c", "-f", "good.cfg"],
        &files,
        0,
        &["Configuration file is valid"],
    );
    check(
        &["-c", "-V", "-f", "good.cfg"],
        &files,
        0,
        &["Configuration file is valid"],
    );
    check(&["-c", "-q", "-f", "good.cfg"], &files, 0, &[]);
    check(
        &["-f", "good.cfg", "-c"],
        &files,
        0,
        &["Configuration file is valid"],
    );
    check(
        &["-c", "--", "good.cfg"],
        &files,
        0,
        &["Configuration file is valid"],
    );
}

#[test]
fn a_bad_file_is_told_with_place_and_remedy() {
    let bad = GOOD
        .replace("timeout client 1s", "timeout clinet 1s")
        .replace("backend be\n", "backend nodes\n")
        .replace("default_backend nodes", "default_backend noeds");
    let files = [("bad.cfg", bad.as_str())];
    check(
        &["-c", "-f", "bad.cfg"],
        &files,
        1,
        &["[ALERT]", "config : parsing [bad.cfg:4]"],
    );
    if is_haproxy() {
        return;
    }
    // All faults at once, each with its line, a caret and the nearest word.
    check(
        &["-c", "-f", "bad.cfg"],
        &files,
        1,
        &[
            "bad.cfg:4",
            "timeout clinet 1s",
            "^",
            "client",
            "noeds",
            "nodes",
        ],
    );
}

#[test]
fn what_is_not_implemented_is_said() {
    if is_haproxy() {
        return;
    }
    let config = GOOD.replace("    server", "    default-server proto h2\n    server");
    check(
        &["-c", "-f", "a.cfg"],
        &[("a.cfg", &config)],
        1,
        &["proto h2", "not implemented yet"],
    );
}

#[test]
fn missing_files_and_flags_are_errors() {
    check(&["-c", "-f", "none.cfg"], &[], 1, &["none.cfg"]);
    check(&["-c"], &[], 1, &[]);
    check(&["--nonsense"], &[], 1, &[]);
}

#[test]
fn several_files_and_folders_are_one_configuration() {
    let (front, back) = GOOD.split_at(GOOD.find("\nbackend be").unwrap() + 1);
    // The folder's files in alphabetical order, other names left out.
    let files = [
        ("front.cfg", front),
        ("parts/1.cfg", back),
        ("parts/ignored.txt", "nonsense"),
    ];
    let valid = &["Configuration file is valid"];
    check(
        &["-c", "-f", "front.cfg", "-f", "parts/1.cfg"],
        &files,
        0,
        valid,
    );
    check(&["-c", "-f", "front.cfg", "-f", "parts"], &files, 0, valid);
    check(&["-c", "-f", "front.cfg"], &files, 1, &["be"]);
}

#[test]
fn versions_and_help_are_told() {
    let name = if is_haproxy() { "HAProxy" } else { "tidegate" };
    check(&["-v"], &[], 0, &[name, "version"]);
    check(&["-vv"], &[], 0, &[name, "OPENSSL"]);
    if is_haproxy() {
        return;
    }
    let folder = folder_with(&[]);
    let help = run(folder.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("tidegate demo"), "{help}");
    assert!(help.lines().count() <= 50, "help fits a screen: {help}");
}

/// `2>&1 | head -1`: what is said to nobody changes nothing.
#[test]
fn a_reader_that_has_left_changes_no_exit_code() {
    let folder = folder_with(&[("a.cfg", "nonsense\n")]);
    let mut child = Command::new(program())
        .args(["-c", "-f", "a.cfg"])
        .current_dir(folder.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn conditions_are_answered_by_exit_code() {
    for (condition, code) in [
        ("1", 0),
        ("0", 1),
        ("!0 && 1", 0),
        ("feature(OPENSSL)", 0),
        ("feature(NO_SUCH)", 1),
        ("streq(a,a)", 0),
        ("defined(NO_SUCH_VARIABLE)", 1),
    ] {
        let folder = folder_with(&[]);
        let output = run(folder.path(), &["-cc", condition]);
        assert_eq!(output.status.code(), Some(code), "{condition}");
    }
}

#[test]
fn a_taken_port_is_told_and_ends_the_program() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = GOOD.replace("127.0.0.1:1", &address);
    check(
        &["-db", "-f", "a.cfg"],
        &[("a.cfg", &config)],
        1,
        &["[ALERT]", &address, "fe"],
    );
}

#[test]
fn discovery_settings_that_make_no_sense_stop_the_start() {
    if is_haproxy() {
        return;
    }
    let folder = folder_with(&[("a.cfg", GOOD)]);
    for (name, value) in [
        ("UPDATE_INTERVAL", "soon"),
        ("UPDATE_INTERVAL", "-1"),
        ("WS_UPDATES_URL", "ftp://somewhere"),
    ] {
        let output = Command::new(program())
            .args(["-c", "-f", "a.cfg"])
            .current_dir(folder.path())
            .env("WS_UPDATES_URL", "http://127.0.0.1:1")
            .env(name, value)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}={value}: {text}");
        assert!(text.contains(name) && text.contains(value), "{text}");
    }
}

struct Lab {
    log: LogSink,
    node: Node,
    balancer: Balancer,
}

async fn lab() -> Lab {
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let balancer = setup(&log, &one_backend("    timeout tunnel 1h", &["n1 <n1>"]))
        .set("n1", node.address())
        .start()
        .await;
    Lab {
        log,
        node,
        balancer,
    }
}

#[tokio::test]
async fn term_and_int_stop_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut lab = lab().await;
        let target = Target::plain(lab.balancer.address("http"));
        let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
        lab.balancer.signal(signal);
        let status = lab.balancer.wait_exit().await;
        use std::os::unix::process::ExitStatusExt;
        let by_signal = status.signal() == Some(signal as i32);
        let good = status
            .code()
            .is_some_and(|code| [0, 130, 143].contains(&code));
        assert!(good || by_signal, "{signal}: {status}");
        socket.ended().await.ok();
        wait_until("the node to be left", PATIENCE, async || {
            testkit::wait::or_seen(lab.node.websockets() == 0, lab.node.websockets())
        })
        .await;
    }
}

#[tokio::test]
async fn a_soft_stop_lets_websockets_live_and_takes_no_new_ones() {
    let mut lab = lab().await;
    let address = lab.balancer.address("http");
    let target = Target::plain(address);
    let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    let mut idle = testkit::Client::plain(address).await;
    assert_eq!(idle.get("/").await.unwrap().status, 200);
    lab.balancer.signal(Signal::SIGUSR1);
    wait_until(
        "the port to refuse",
        PATIENCE,
        async || match tokio::net::TcpStream::connect(address).await {
            Ok(_) => Err("it still accepts"),
            Err(_) => Ok(()),
        },
    )
    .await;
    for _ in 0..5 {
        socket.echo("alive").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(lab.balancer.exited().is_none());
    socket.close().await.unwrap();
    idle.until_closed().await.ok();
    let status = lab.balancer.wait_exit().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!lab.log.lines().is_empty());
}

/// Processes at work in that folder.
fn running_in(folder: &Path) -> Vec<Pid> {
    let folder = folder.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let inside = processes.filter(|process| {
        let at = std::fs::read_link(process.path().join("cwd"));
        at.is_ok_and(|at| at == folder)
    });
    let names = inside.filter_map(|process| process.file_name().into_string().ok());
    names
        .filter_map(|name| name.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

/// A folder for programs that go into the background: what still runs there at its end is killed.
struct Background {
    folder: tempfile::TempDir,
    port: Port,
}

impl Background {
    fn new() -> Self {
        let port = Port::claim();
        let config = GOOD.replace("127.0.0.1:1", &port.address().to_string());
        let folder = folder_with(&[("a.cfg", &config)]);
        Self { folder, port }
    }

    /// Starts with `-D`, and returns when that does: its exit code, and what it said. A file takes
    /// the output, since a pipe would be kept by what runs on.
    fn start(&self, pid_file: &str) -> (Option<i32>, String) {
        let path = self.folder.path().join("output");
        let output = std::fs::File::create(&path).unwrap();
        let status = Command::new(program())
            .args(["-D", "-f", "a.cfg", "-p", pid_file])
            .current_dir(self.folder.path())
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        (status.code(), std::fs::read_to_string(path).unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for pid in running_in(self.folder.path()) {
            kill(pid, Signal::SIGKILL).ok();
        }
    }
}

#[tokio::test]
async fn a_daemon_returns_when_its_pid_file_is_written_and_its_port_answers() {
    let background = Background::new();
    let (code, said) = background.start("pid");
    // No waiting from here on: that is what the return has promised.
    let pid = std::fs::read_to_string(background.folder.path().join("pid")).unwrap();
    assert_eq!(code, Some(0), "{said}");
    let pid = Pid::from_raw(pid.trim().parse().unwrap());
    assert_eq!(running_in(background.folder.path()), [pid]);
    let answer = testkit::http::get(background.port.address(), "/").await;
    assert_eq!(answer.unwrap().status, 503);
}

#[tokio::test]
async fn a_daemon_starts_in_a_root_where_nothing_is() {
    let background = Background::new();
    let folder = background.folder.path();
    let config = std::fs::read_to_string(folder.join("a.cfg")).unwrap();
    let jail = format!("global\n    chroot {}\n{config}", folder.display());
    std::fs::write(folder.join("a.cfg"), jail).unwrap();
    let (code, said) = background.start("pid");
    assert_eq!(code, Some(0), "{said}");
    let answer = testkit::http::get(background.port.address(), "/").await;
    assert_eq!(answer.unwrap().status, 503);
}

#[tokio::test]
async fn a_daemon_that_cannot_write_its_pid_file_says_so_and_leaves_nothing_behind() {
    let background = Background::new();
    let (code, said) = background.start("missing/pid");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("[ALERT]"), "{said}");
    assert!(said.contains("missing/pid"), "{said}");
    wait_until("nothing to be left", PATIENCE, async || {
        let left = running_in(background.folder.path());
        testkit::wait::or_seen(left.is_empty(), format!("{left:?}"))
    })
    .await;
    let connected = std::net::TcpStream::connect(background.port.address());
    connected.expect_err("somebody still listens");
}

#[test]
fn a_descriptor_that_is_no_open_socket_is_told() {
    // Nobody hands over 77; standard input is no socket.
    for number in [77, 0] {
        let config = GOOD.replace("127.0.0.1:1", &format!("fd@{number}"));
        let folder = folder_with(&[("a.cfg", &config)]);
        let mut command = Command::new(program());
        command
            .args(["-c", "-f", "a.cfg"])
            .current_dir(folder.path());
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{number}");
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!("'bind' : cannot use file descriptor '{number}'");
        assert!(said.contains(&expected), "{said}");
    }
}

#[tokio::test]
async fn a_listening_descriptor_can_be_inherited() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let node = Node::start("n1").await;
    let config = GOOD
        .replace("127.0.0.1:1", "\"fd@${FE}\"")
        .replace("127.0.0.1:2", &node.address().to_string());
    let folder = folder_with(&[("a.cfg", &config)]);
    // Standard input is the one descriptor that can be handed to a child without unsafe code.
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" -db -f a.cfg 5<&0 </dev/null", &program()])
        .current_dir(folder.path())
        .env("FE", "5");
    let _process =
        Process::start_with_stdin(&mut command, std::os::fd::OwnedFd::from(listener).into());
    let response = testkit::http::get(address, "/").await.unwrap();
    assert_eq!(response.text(), "n1 GET /\n");
}
