//! Checks by a program: what it is told, what its end means, and that one which does not end is killed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use testkit::{LogSink, PATIENCE, wait_until};

use crate::support::setup;

/// A program of these lines, in a folder of its own.
fn program(folder: &tempfile::TempDir, lines: &str) -> PathBuf {
    let path = folder.path().join("look");
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn check(lines: &str, settings: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let log = LogSink::start().await;
    let config = format!(
        "
global
    external-check
    insecure-fork-wanted
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    option log-health-checks
    option external-check
    external-check command {}
    {settings}
    server s 127.0.0.1:9 check inter 10s rise 1 fall 1
",
        program(&folder, lines).display()
    );
    let _balancer = setup(&log, &config).start().await;
    let line = log.wait_for(&["Health check for server be/s"]).await;
    let told = line.split_once("be/s ").expect("who").1;
    let told = told.split(", check duration").next().unwrap_or_default();
    assert_eq!(told, expected, "{lines}");
}

#[tokio::test]
async fn the_exit_code_of_a_program_is_the_answer() {
    let passed = "succeeded, reason: External check passed, code: 0";
    check("exit 0", "", passed).await;
    check(
        "exit 3",
        "",
        "failed, reason: External check error, code: 3",
    )
    .await;
    let told = "[ \"$1 $2 $3 $4\" = \"NOT_USED NOT_USED 127.0.0.1 9\" ] || exit 1
        [ \"$HAPROXY_SERVER_NAME/$HAPROXY_PROXY_NAME\" = s/be ] || exit 2
        [ \"$HAPROXY_SERVER_ADDR:$HAPROXY_SERVER_PORT\" = 127.0.0.1:9 ] || exit 3
        [ -z \"$HOME\" ] || exit 4
        [ \"$PATH\" = /usr/bin:/bin ] || exit 5";
    check(told, "external-check path /usr/bin:/bin", passed).await;
}

#[tokio::test]
async fn a_program_that_does_not_end_is_killed() {
    let limit = "external-check path /usr/bin:/bin\n    timeout check 200ms";
    check(
        "exec sleep 100",
        limit,
        "failed, reason: External check timeout",
    )
    .await;
}

/// A shell script that waits for a program of its own, which gets no signal that only the script gets.
#[tokio::test]
async fn what_a_killed_program_has_started_is_killed_too() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let lines = format!(
        "trap '' TERM\nsleep 100 &\necho $$ $! > {}\nwait",
        pids.display()
    );
    let limit = "external-check path /usr/bin:/bin\n    timeout check 1s";
    check(&lines, limit, "failed, reason: External check timeout").await;
    let pids = std::fs::read_to_string(pids).unwrap();
    let mut pids = pids.split_whitespace();
    let (script, child) = (pids.next().unwrap(), pids.next().unwrap());
    for pid in [script, child] {
        wait_until(&format!("{pid} is gone"), PATIENCE, async || {
            (!is_running(pid)).then_some(()).ok_or(pid)
        })
        .await;
    }
}

/// Whether a process is there and is not only waiting for somebody to ask how it ended.
fn is_running(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .is_some_and(|it| it.1.starts_with('Z'))
    })
}

/// More checks than programs may run: those that wait for a place are late, and no server is down for it.
#[tokio::test]
async fn waiting_for_a_place_is_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogSink::start().await;
    let servers: String = (0..130)
        .map(|n| format!("    server s{n} 127.0.0.1:9 check inter 20s rise 1 fall 1\n"))
        .collect();
    let config = format!(
        "
global
    external-check
    insecure-fork-wanted
frontend fe
    bind 127.0.0.1:<port:http>
    default_backend be
backend be
    option log-health-checks
    option external-check
    external-check command {}
    external-check path /usr/bin:/bin
    timeout check 3s
{servers}",
        program(&folder, "exec sleep 2").display()
    );
    let _balancer = setup(&log, &config).start().await;
    for number in 0..130 {
        let who = format!("Health check for server be/s{number} ");
        let line = log.wait_for(&[who.as_str()]).await;
        assert!(line.contains("succeeded"), "{line}");
    }
}
