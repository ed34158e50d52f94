//! TLS files given by hand where something stands in the way: nothing is lost, nothing is half done, and
//! the answer says so.

use testkit::{Authority, Balancer, LogSink, Node, PATIENCE, wait_until};

use crate::runtime_api::ask;
use crate::support::{is_haproxy, setup};

struct Lab {
    balancer: Balancer,
    authority: Authority,
    _node: Node,
    _log: LogSink,
}

impl Lab {
    async fn new() -> Self {
        let (log, node, authority) = (
            LogSink::start().await,
            Node::start("n1").await,
            Authority::new(),
        );
        let config = "global\n    stats socket <dir>/admin.sock level admin\n\
             frontend fe\n    bind 127.0.0.1:<port:https> ssl crt-list <dir>/list\n    \
             bind 127.0.0.1:<port:mutual> ssl crt <dir>/a.pem ca-file <dir>/ca.pem verify optional\n    \
             default_backend be\n\
             backend be\n    server n1 <n1>\n";
        let making = setup(&log, config).set("n1", node.address());
        let folder = making.folder().display().to_string();
        let making = making
            .file("a.pem", &authority.server_pem(&["a.example"]))
            .file("b.pem", &authority.server_pem(&["b.example"]))
            .file("ca.pem", &authority.pem())
            .file("list", &format!("{folder}/a.pem\n{folder}/b.pem\n"));
        let balancer = making.start().await;
        wait_for(&balancer).await;
        Self {
            balancer,
            authority,
            _node: node,
            _log: log,
        }
    }

    fn path(&self, name: &str) -> String {
        self.balancer.folder().join(name).display().to_string()
    }

    async fn ask(&self, text: &str) -> String {
        ask(&self.balancer.folder().join("admin.sock"), text).await
    }

    /// How many names the listeners answer to.
    async fn names(&self) -> usize {
        let shown = self.ask("show ssl sni\n").await;
        shown.lines().filter(|line| line.starts_with("fe/")).count()
    }
}

/// The socket is opened behind the ports.
async fn wait_for(balancer: &Balancer) {
    let socket = balancer.folder().join("admin.sock");
    wait_until("the socket", PATIENCE, async || {
        testkit::wait::or_seen(socket.exists(), "none")
    })
    .await;
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_not_replaced_by_one_line() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let (names, list, certificate) = (lab.names().await, lab.path("list"), lab.path("a.pem"));
    std::fs::remove_file(&list).unwrap();
    for command in [
        format!("add ssl crt-list {list} {certificate}\n"),
        format!("del ssl crt-list {list} {}\n", lab.path("b.pem")),
    ] {
        let told = lab.ask(&command).await;
        assert!(
            told.contains("cannot be read (any more)"),
            "{command}{told}"
        );
    }
    assert_eq!(lab.names().await, names);
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_not_replaced_by_one() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let file = lab.path("ca.pem");
    std::fs::remove_file(&file).unwrap();
    let another = Authority::new().pem();
    let told = lab
        .ask(&format!("add ssl ca-file {file} <<\n{another}\n\n"))
        .await;
    assert!(told.contains("cannot be read (any more)"), "{told}");
    let told = lab.ask(&format!("commit ssl ca-file {file}\n")).await;
    assert!(told.contains("No ongoing transaction"), "{told}");
}

#[tokio::test]
async fn a_commit_that_somebody_cannot_follow_is_taken_back_and_failed() {
    if is_haproxy() {
        return;
    }
    let lab = Lab::new().await;
    let file = lab.path("a.pem");
    let before = lab.ask(&format!("show ssl cert {file}\n")).await;
    // The line with the list has to read it again, and cannot.
    std::fs::remove_file(lab.path("list")).unwrap();
    let new = lab.authority.server_pem(&["a.example"]);
    let told = lab.ask(&format!("set ssl cert {file} <<\n{new}\n\n")).await;
    assert!(told.contains("Transaction created"), "{told}");
    let told = lab.ask(&format!("commit ssl cert {file}\n")).await;
    assert!(
        told.contains("Failed!") && !told.contains("Success!"),
        "{told}"
    );
    let serial = |text: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with("Serial: "));
        lines.next().map(str::to_owned)
    };
    let after = lab.ask(&format!("show ssl cert {file}\n")).await;
    assert!(serial(&before).is_some(), "{before}");
    assert_eq!(serial(&after), serial(&before));
}

#[tokio::test]
async fn no_command_reads_the_key() {
    if is_haproxy() {
        return;
    }
    let log = LogSink::start().await;
    let node = Node::start("n1").await;
    let config = "global\n    stats socket <dir>/admin.sock level admin\n\
         frontend fe\n    bind 127.0.0.1:<port:http>\n    default_backend be\n\
         backend be\n    server n1 <n1>\n";
    let balancer = setup(&log, config)
        .set("n1", node.address())
        .variable("API_KEY", "not-for-you")
        .variable("OTHER", "for-all")
        .start()
        .await;
    wait_for(&balancer).await;
    let socket = balancer.folder().join("admin.sock");
    for name in ["OTHER", "API_KEY"] {
        let set = format!("experimental-mode on;set var proc.x env({name});get var proc.x\n");
        let told = ask(&socket, &set).await;
        assert!(!told.contains("not-for-you"), "{told}");
        assert!(told.contains("for-all"), "{told}");
    }
    let told = ask(
        &socket,
        "experimental-mode on;set var proc.x fmt %[env(API_KEY)]\n",
    )
    .await;
    assert!(told.contains("is a secret"), "{told}");
}
