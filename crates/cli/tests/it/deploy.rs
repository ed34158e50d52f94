//! What is in `deploy/`, run as it stands but for ports and paths: the configuration for
//! production, the pieces of the compose file, the name `haproxy`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::balancer::Setup;
use testkit::websocket::Target;
use testkit::{
    Authority, Balancer, Client, LogSink, Node, PATIENCE, Port, Process, WebSocket, wait_until,
};

use crate::support::{DEFAULTS, is_haproxy, one_backend, program};

const PASSWORD: &str = "correct horse";
const KEY: &str = "deployed";

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `text` with the first of each pair replaced by the second; each must be there.
fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in pairs {
        assert!(text.contains(from), "no {from:?} left in the file");
        text = text.replace(from, to);
    }
    text
}

/// The configuration for production on ports of its own.
fn production(more: &[(&str, &str)]) -> Setup {
    let text = replaced(
        &deployed("haproxy.cfg"),
        &[
            ("bind :8080", "bind 127.0.0.1:<port:http>"),
            ("bind :8443", "bind 127.0.0.1:<port:https>"),
            ("bind :8404", "bind 127.0.0.1:<port:operations>"),
            ("/usr/local/etc/haproxy/certs/cert.pem", "<dir>/cert.pem"),
            ("/var/lib/tidegate/nodes.json", "<dir>/nodes.json"),
            ("maxconn 20000", "maxconn 2000"),
            ("maxconn 18000", "maxconn 1800"),
        ],
    );
    let setup = Balancer::setup(program(), &replaced(&text, more));
    setup.variable("STATS_PASSWORD", PASSWORD)
}

/// The status of a request with these header lines.
async fn status(balancer: &Balancer, path: &str, headers: &str) -> u16 {
    status_at(balancer.address("http"), path, headers).await
}

async fn status_at(address: SocketAddr, path: &str, headers: &str) -> u16 {
    let mut client = Client::plain(address).await;
    client
        .send(format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"
        ))
        .await;
    client.response().await.unwrap().status
}

/// `admin:correct horse`.
const CREDENTIALS: &str = "Authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZQ==\r\n";

#[tokio::test]
async fn production_serves_and_keeps_its_pages_from_strangers() {
    let authority = Authority::new();
    let (ws, api) = (Node::start("ws").await, Node::start("api").await);
    let server = format!(
        "    # The nodes\n    server ws {} check\n    #",
        ws.address()
    );
    let start = async |inside: &str| {
        let setup = production(&[
            ("src 127.0.0.0/8 ::1", inside),
            ("    # The nodes", server.as_str()),
        ]);
        authority.write_server_pem(setup.folder(), "cert.pem", &["localhost"]);
        setup.variable("API_SERVER", api.address()).start().await
    };
    let balancer = start("src 127.0.0.0/8").await;
    assert_eq!(status(&balancer, "/anything", "").await, 200);
    assert_eq!(status(&balancer, "/stats", "").await, 401);
    assert_eq!(status(&balancer, "/stats", CREDENTIALS).await, 200);
    let operations = balancer.address("operations");
    assert_eq!(status_at(operations, "/metrics", "").await, 200);
    assert_eq!(status_at(operations, "/stats", "").await, 401);
    assert_eq!(status_at(operations, "/health", "").await, 200);
    let address = balancer.address("http");
    let (mut socket, _) = WebSocket::open_greeted(&Target::plain(address))
        .await
        .unwrap();
    socket.echo("over plain").await.unwrap();
    let target = Target::tls(balancer.address("https"), &authority);
    let (mut socket, _) = WebSocket::open_greeted(&target).await.unwrap();
    socket.echo("over TLS").await.unwrap();
    drop(balancer);
    // The same seen by a client that does not come from inside.
    let balancer = start("src 127.0.0.77").await;
    assert_eq!(status(&balancer, "/anything", "").await, 200);
    assert_eq!(status(&balancer, "/stats", CREDENTIALS).await, 403);
    assert_eq!(status(&balancer, "/metrics", "").await, 403);
}

#[tokio::test]
async fn production_wants_a_password_for_its_page() {
    let setup = production(&[]);
    Authority::new().write_server_pem(setup.folder(), "cert.pem", &["localhost"]);
    let config = setup.folder().join("given.cfg");
    let text = deployed("haproxy.cfg").replace(
        "/usr/local/etc/haproxy/certs",
        &setup.folder().display().to_string(),
    );
    std::fs::write(&config, text).unwrap();
    let check = |password: Option<&str>| {
        let mut command = Command::new(program());
        command.args(["-c", "-f"]).arg(&config);
        command.env_remove("STATS_PASSWORD");
        command.envs(password.map(|password| ("STATS_PASSWORD", password)));
        command.output().unwrap()
    };
    assert_eq!(check(Some(PASSWORD)).status.code(), Some(0));
    let refused = check(None);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("STATS_PASSWORD is not set"), "{said}");
}

/// A node as the compose file starts it.
fn compose_node(id: &str, registry: &str) -> (Process, u16) {
    let port = Port::claim();
    let number = port.number();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["demo-node", "--id", id, "--listen", "127.0.0.1"]);
    command.args(["--announce", &format!("http://localhost:{number}")]);
    command.args(["--port", &number.to_string(), "--registry", registry]);
    command.env("API_KEY", KEY);
    drop(port);
    (Process::start(&mut command), number)
}

#[tokio::test]
async fn the_composition_balances_the_nodes_of_its_registry() {
    if is_haproxy() {
        return;
    }
    let text = replaced(
        &deployed("registry.cfg"),
        &[("0.0.0.0:8000", "127.0.0.1:<port:registry>")],
    );
    let registry = Balancer::setup(program(), &text);
    let registry = registry.variable("API_KEY", KEY).start().await;
    let url = format!("http://{}", registry.address("registry"));
    let nodes: Vec<_> = ["node1", "node2", "node3"]
        .iter()
        .map(|id| compose_node(id, &url))
        .collect();
    let authority = Authority::new();
    // Names that mean the balancer's own machine need the rewrite; in a composition they do not.
    let setup = production(&[(
        "fill-backend ws_backend",
        "fill-backend ws_backend\n    rewrite-localhost 127.0.0.1",
    )]);
    authority.write_server_pem(setup.folder(), "cert.pem", &["localhost"]);
    let balancer = setup
        .variable("WS_UPDATES_URL", &url)
        .variable("API_KEY", KEY)
        .variable("UPDATE_INTERVAL", "300ms")
        .variable("API_SERVER", format!("127.0.0.1:{}", nodes[0].1))
        .start()
        .await;
    let address = balancer.address("http");
    wait_until("all three nodes", PATIENCE, async || {
        let mut client = Client::plain(address).await;
        client
            .send(format!(
                "GET /stats;csv HTTP/1.1\r\nHost: t\r\n{CREDENTIALS}\r\n"
            ))
            .await;
        let text = client.response().await.unwrap().text();
        let up = text
            .lines()
            .filter(|line| line.starts_with("ws_backend,node"));
        let up = up.filter(|line| line.contains(",UP,")).count();
        if up == 3 { Ok(()) } else { Err(text) }
    })
    .await;
    let operations = balancer.address("operations");
    assert!(probe(&format!("http://{operations}/health")).await);
    assert!(probe(&format!("http://{address}/health")).await);
    assert!(!probe(&format!("http://{address}/stats")).await);
    let (mut socket, _) = WebSocket::open_greeted(&Target::plain(address))
        .await
        .unwrap();
    socket.echo("through the composition").await.unwrap();
}

async fn probe(url: &str) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["probe", url]);
    Process::start(&mut command).wait_exit().await.success()
}

#[tokio::test]
async fn a_probe_tells_what_answers_from_what_does_not() {
    let node = Node::start("n").await;
    let address = node.address();
    assert!(probe(&format!("http://{address}/")).await);
    drop(node);
    let free = Port::claim();
    assert!(!probe(&format!("http://{}/", free.address())).await);
    for bad in ["ftp://127.0.0.1/", "http://127.0.0.1:x/", "http://a b/", ""] {
        assert!(!probe(bad).await, "{bad}");
    }
}

/// The program under the name by which it is called in a folder of its own.
fn named(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tidegate"), &path).unwrap();
    path
}

#[tokio::test]
async fn under_the_name_of_haproxy_it_answers_like_it() {
    let folder = tempfile::tempdir().unwrap();
    let haproxy = named(folder.path(), "haproxy");
    let print = |argument: &str| {
        let output = Command::new(&haproxy).arg(argument).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for version in [print("-v"), print("-vv")] {
        assert!(version.starts_with("HAProxy version 3."), "{version}");
    }
    let log = LogSink::start().await;
    let node = Node::start("n").await;
    let config = one_backend("", &[&format!("n {}", node.address())]);
    let setup = Balancer::setup(&haproxy, &format!("{DEFAULTS}{config}"));
    let balancer = setup.set("log", log.address()).start().await;
    assert_eq!(status(&balancer, "/", "").await, 200);
    log.wait_for(&[" haproxy[", "fe be/n"]).await;
}

#[tokio::test]
async fn the_image_holds_both_names_and_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/image-root");
    let mut command = Command::new(script);
    command
        .arg(folder.path())
        .arg(env!("CARGO_BIN_EXE_tidegate"));
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for path in [
        "usr/local/sbin/tidegate",
        "usr/local/sbin/haproxy",
        "usr/local/etc/haproxy/haproxy.cfg",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/passwd",
    ] {
        assert!(folder.path().join(path).exists(), "{path}");
    }
}
