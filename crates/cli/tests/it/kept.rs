//! What outlives a restart: stick tables, changes by the Runtime API. Each file survives a kill at any moment, and
//! one that cannot be used keeps nothing from starting.

use std::path::Path;

use nix::sys::signal::Signal;
use testkit::wait::or_seen;
use testkit::{Balancer, LogSink, Node, PATIENCE, http, wait_until};

use crate::runtime_api::ask;
use crate::support::{is_haproxy, setup};

const CONFIG: &str = "
global
    stats socket <dir>/admin.sock mode 600 level admin
frontend fe
    bind 127.0.0.1:<port:http>
    stick-table type ip size 100 expire 1h store gpc0,http_req_cnt,conn_cur
    http-request track-sc0 src
    http-request sc-inc-gpc0(0)
    acl listed path -f <kept>/paths.lst
    http-request deny if listed
    default_backend be
backend be
    server s1 <n1> weight 10
    server s2 <n1> weight 10
.if feature(TIDEGATE)
runtime
    tables-file <kept>/tables
    tables-interval 1s
    journal <kept>/journal
.endif
";

async fn start(config: &str, kept: &Path, node: &Node) -> Balancer {
    let log = LogSink::start().await;
    let setup = setup(&log, config).set("n1", node.address());
    setup.set("kept", kept.display()).start().await
}

async fn stop(balancer: &mut Balancer, signal: Signal) {
    balancer.signal(signal);
    balancer.wait_exit().await;
}

async fn say(balancer: &Balancer, command: &str) -> String {
    ask(
        &balancer.folder().join("admin.sock"),
        &format!("{command}\n"),
    )
    .await
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("paths.lst"), "/secret\n").expect("a file");
    folder
}

#[tokio::test]
async fn stick_tables_are_there_again() {
    if is_haproxy() {
        return;
    }
    let (kept, node) = (folder(), Node::start("n1").await);
    let file = kept.path().join("tables");
    let mut first = start(CONFIG, kept.path(), &node).await;
    let address = first.address("http");
    for _ in 0..3 {
        assert_eq!(
            http::get(address, "/").await.expect("an answer").status,
            200
        );
    }
    stop(&mut first, Signal::SIGTERM).await;
    let mut second = start(CONFIG, kept.path(), &node).await;
    let shown = say(&second, "show table fe").await;
    assert!(
        shown.contains("gpc0=3") && shown.contains("http_req_cnt=3"),
        "{shown}"
    );
    assert!(shown.contains("conn_cur=0"), "{shown}");
    assert_eq!(
        http::get(second.address("http"), "/")
            .await
            .expect("an answer")
            .status,
        200
    );
    // Written once in a while: no word of farewell is needed.
    wait_until("the next write", PATIENCE, async || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        or_seen(text.contains("gpc0=4"), text)
    })
    .await;
    stop(&mut second, Signal::SIGKILL).await;
    let mut third = start(CONFIG, kept.path(), &node).await;
    let shown = say(&third, "show table fe").await;
    assert!(shown.contains("gpc0=4"), "{shown}");
    stop(&mut third, Signal::SIGKILL).await;
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("gpc0=4", "gpc0=9")).expect("a file");
    let fourth = start(CONFIG, kept.path(), &node).await;
    fourth
        .wait_for_line(&["[WARNING]", "tables-file", "it is damaged"])
        .await;
    let shown = say(&fourth, "show table fe").await;
    assert!(shown.contains("used:0"), "{shown}");
    assert_eq!(
        http::get(fourth.address("http"), "/")
            .await
            .expect("an answer")
            .status,
        200
    );
}

#[tokio::test]
async fn changes_by_hand_hold_after_a_kill() {
    if is_haproxy() {
        return;
    }
    let (kept, node) = (folder(), Node::start("n1").await);
    let mut first = start(CONFIG, kept.path(), &node).await;
    let list = kept.path().join("paths.lst");
    for command in [
        "set weight be/s1 3".to_owned(),
        "set server be/s1 weight 5".to_owned(),
        "disable server be/s2".to_owned(),
        "set server be/s2 health down".to_owned(),
        format!("add server be/s3 {} weight 7", node.address()),
        "enable server be/s3".to_owned(),
        format!("add server be/s4 {}", node.address()),
        "del server be/s4".to_owned(),
        "set maxconn frontend fe 77".to_owned(),
        "add acl #0 /other\\ path".to_owned(),
        "add acl #0 /gone".to_owned(),
        "del acl #0 /gone".to_owned(),
        format!("del acl {} /secret", list.display()),
    ] {
        say(&first, &command).await;
    }
    let shown = say(&first, "show journal").await;
    assert!(shown.contains(": 8 entries"), "{shown}");
    stop(&mut first, Signal::SIGKILL).await;
    let mut second = start(CONFIG, kept.path(), &node).await;
    second
        .wait_for_line(&["Journal: 8 changes", "0 are kept aside"])
        .await;
    assert_eq!(say(&second, "get weight be/s1").await, "5 (initial 10)\n\n");
    assert_eq!(say(&second, "get weight be/s3").await, "7 (initial 7)\n\n");
    let stat = say(&second, "show stat be 4 -1").await;
    let state = |name: &str| {
        let line = stat
            .lines()
            .find(|line| line.starts_with(&format!("be,{name},")));
        line.and_then(|line| line.split(',').nth(17))
            .unwrap_or("none")
            .to_owned()
    };
    assert_eq!(
        ["s1", "s2", "s3", "s4"].map(state),
        ["no check", "MAINT", "no check", "none"]
    );
    let paths = say(&second, "show acl #0").await;
    let mut paths: Vec<_> = paths
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    paths.sort_unstable();
    assert_eq!(
        paths.iter().map(|it| it.1).collect::<Vec<_>>(),
        ["/other path"],
        "{paths:?}"
    );
    assert_eq!(
        say(&second, "user;show journal").await,
        "\nPermission denied\n\n"
    );
    stop(&mut second, Signal::SIGTERM).await;
    // What does not apply any more is told, and tried again when it does.
    let other = CONFIG.replace("    server s2 <n1> weight 10\n", "");
    let mut third = start(&other, kept.path(), &node).await;
    third
        .wait_for_line(&["Journal: 7 changes", "1 are kept aside"])
        .await;
    let shown = say(&third, "show journal").await;
    assert!(
        shown.contains("aside (No such server.) disable server be/s2"),
        "{shown}"
    );
    stop(&mut third, Signal::SIGTERM).await;
    let mut fourth = start(CONFIG, kept.path(), &node).await;
    fourth
        .wait_for_line(&["Journal: 8 changes", "0 are kept aside"])
        .await;
    assert_eq!(say(&fourth, "clear journal").await, "\n");
    stop(&mut fourth, Signal::SIGTERM).await;
    let fifth = start(CONFIG, kept.path(), &node).await;
    assert_eq!(say(&fifth, "get weight be/s1").await, "10 (initial 10)\n\n");
}

#[tokio::test]
async fn a_journal_is_off_unless_set_and_one_that_cannot_be_used_says_so() {
    if is_haproxy() {
        return;
    }
    let (kept, node) = (folder(), Node::start("n1").await);
    let without = CONFIG.replace("    journal <kept>/journal\n", "");
    let balancer = start(&without, kept.path(), &node).await;
    let off = "The journal is off: section 'runtime' has no 'journal'.\n\n";
    assert_eq!(say(&balancer, "show journal").await, off);
    std::fs::write(kept.path().join("journal"), "what is this\n").expect("a file");
    let balancer = start(CONFIG, kept.path(), &node).await;
    let warned = ["[WARNING]", "Journal: ", "it is no journal of this version"];
    balancer.wait_for_line(&warned).await;
    assert_eq!(say(&balancer, "set weight be/s1 3").await, "\n");
    let shown = say(&balancer, "show journal").await;
    assert!(shown.contains("in-force set weight be/s1 3"), "{shown}");
}
