//! The registry over real sockets: what was sent, what came back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use tokio::task::JoinSet;

use super::*;
use crate::discovery::Fleet;
use crate::discovery::NodeId;
use crate::discovery::listing::Listing;

const MINUTE: Duration = Duration::from_secs(60);

struct Running {
    address: SocketAddr,
    table: Arc<Table>,
    _server: JoinSet<io::Result<()>>,
}

fn start() -> Running {
    let key = ApiKey::parse("secret").unwrap();
    let registry = Registry::bind(([127, 0, 0, 1], 0).into(), key, MINUTE).unwrap();
    let (address, table) = (registry.local_addr(), registry.table());
    let mut server = JoinSet::new();
    server.spawn(registry.run());
    Running {
        address,
        table,
        _server: server,
    }
}

impl Running {
    /// Sends bytes and returns all that comes back.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// `METHOD PATH`, a body, and the expected status and body.
    #[track_caller]
    fn check(&self, request: &str, body: &str, expected: &str) -> impl Future<Output = ()> {
        let length = body.len();
        let key = "X-API-Key: secret\r\nConnection: close";
        let request = format!(
            "{request} HTTP/1.1\r\nHost: r\r\n{key}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let expected = expected.to_owned();
        async move {
            let answer = self.raw(&request).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("content-type: application/json"), "{head}");
            let got = format!("{} {body}", &head[9..12]);
            assert_eq!(got, expected, "{request}");
        }
    }

    fn listed(&self) -> Fleet {
        let listing = Listing::parse(&self.table.list(), None).unwrap();
        listing.settle(&Fleet::default(), 100).fleet
    }
}

#[tokio::test]
async fn nodes_register_announce_and_are_listed() {
    let registry = start();
    registry.check("GET /nodes", "", "200 []").await;
    let node = r#"{"id":"node1","url":"http://10.0.0.5:8081"}"#;
    registry
        .check("POST /nodes", node, &format!("200 {node}"))
        .await;
    let announced = r#"{"id":"a:1","url":"10.0.0.6:8081","status":"active"}"#;
    registry
        .check("POST /announce", announced, r#"200 {"success":true}"#)
        .await;
    assert_eq!(registry.listed().nodes().len(), 2);
    registry
        .check("POST /nodes/node1/heartbeat", "", r#"200 {"status":"ok"}"#)
        .await;
    registry
        .check(
            "POST /nodes/a%3A1/heartbeat",
            "{}",
            r#"200 {"status":"ok"}"#,
        )
        .await;
    let gone = announced.replace("active", "draining");
    registry
        .check("POST /announce", &gone, r#"200 {"success":true}"#)
        .await;
    assert_eq!(registry.listed().nodes().len(), 1);

    let list = registry
        .raw("GET /nodes HTTP/1.1\r\nHost: r\r\nx-api-key: secret\r\n\r\n")
        .await;
    let (_, list) = list.split_once("\r\n\r\n").unwrap();
    let list: serde_json::Value = serde_json::from_str(list).unwrap();
    assert_eq!(list[0]["status"], "active");
    let seen = list[0]["last_seen"].as_str().unwrap();
    assert!(seen.len() == 19 && seen.as_bytes()[10] == b' ', "{seen}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused() {
    let registry = start();
    let missing = r#"400 {"error":"Missing required fields"}"#;
    registry.check("POST /announce", "{}", missing).await;
    registry
        .check("POST /announce", r#"{"id":"a","url":"h"}"#, missing)
        .await;
    registry.check("POST /announce", "[[[", missing).await;
    let wrong = |fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(path, msg)| {
            format!(r#"{{"location":"body","msg":"{msg}","path":"{path}","type":"field"}}"#)
        });
        format!(
            r#"400 {{"errors":[{}]}}"#,
            fields.collect::<Vec<_>>().join(",")
        )
    };
    let none = "it is missing or no text";
    registry
        .check("POST /nodes", "", &wrong(&[("id", none), ("url", none)]))
        .await;
    registry
        .check(
            "POST /nodes",
            "null",
            &wrong(&[("id", none), ("url", none)]),
        )
        .await;
    let characters = "the id has characters other than A-Z a-z 0-9 . _ : -";
    let injected = r#"{"id":"x\nserver y 1.2.3.4:1","url":"h"}"#;
    registry
        .check("POST /nodes", injected, &wrong(&[("id", characters)]))
        .await;
    let metadata = r#"{"id":"a","url":"http://169.254.169.254"}"#;
    let link_local = wrong(&[("url", "the address is link-local")]);
    registry.check("POST /nodes", metadata, &link_local).await;
    let no_node = r#"404 {"error":"Node not found"}"#;
    registry
        .check("POST /nodes/nobody/heartbeat", "", no_node)
        .await;
    registry
        .check("POST /nodes/%0a/heartbeat", "", no_node)
        .await;
    for unknown in [
        "GET /",
        "DELETE /nodes",
        "GET /nodes/a",
        "PUT /announce",
        "POST /health",
    ] {
        registry
            .check(unknown, "", r#"404 {"error":"Not found"}"#)
            .await;
    }
    let huge = "x".repeat(17 << 10);
    let too_large = r#"413 {"error":"The body is too large or cut off"}"#;
    registry.check("POST /nodes", &huge, too_large).await;
    assert!(registry.listed().is_empty());
}

#[tokio::test]
async fn all_but_health_want_the_key() {
    let registry = start();
    let ask = async |request: &str, header: &str| {
        let request = format!("{request} HTTP/1.1\r\nHost: r\r\n{header}\r\n\r\n");
        registry.raw(&request).await
    };
    let health = ask("GET /health", "Accept: */*").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert!(
        health.contains(r#"{"status":"healthy","timestamp":"#),
        "{health}"
    );
    for request in ["GET /nodes", "POST /nodes", "POST /announce", "GET /x"] {
        for header in [
            "X-API-Key: secreT",
            "X-API-Key: secret2",
            "X-API-Key:",
            "Accept: */*",
        ] {
            let answer = ask(request, header).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            assert!(
                answer.ends_with(r#"{"error":"Invalid API key"}"#),
                "{answer}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_expire_and_a_change_wakes_the_reader() {
    let table = Table::new(MINUTE);
    let fleet = crate::discovery::tests::fleet("a=h:1 b=h:2");
    table.preload(&fleet);
    table.changed().await;
    let listed = || {
        Listing::parse(&table.list(), None)
            .unwrap()
            .settle(&fleet, 10)
            .fleet
    };
    assert_eq!(listed(), fleet);
    tokio::time::advance(MINUTE / 2).await;
    let a = &fleet.nodes()[0].id;
    assert!(table.heartbeat(a));
    tokio::time::advance(MINUTE / 2).await;
    assert_eq!(listed().nodes(), &fleet.nodes()[..1]);
    assert!(!table.heartbeat(&fleet.nodes()[1].id));
    assert_eq!(table.announce(a, "http://h:1", "active"), Ok(()));
    let nothing_new = tokio::time::timeout(Duration::from_secs(1), table.changed()).await;
    assert!(nothing_new.is_err());
    assert_eq!(table.announce(a, "http://h:1", "Active"), Ok(()));
    assert_eq!(listed().nodes(), &fleet.nodes()[..1]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_let_go() {
    let registry = start();
    assert_eq!(registry.raw("POST /nodes HT").await, "");
}

/// Reads a stream's events, one `event …` block each; comments are passed over.
struct Reader {
    stream: TcpStream,
    read: String,
}

impl Reader {
    async fn open(registry: &Running) -> Self {
        let mut stream = TcpStream::connect(registry.address).await.unwrap();
        let request = "GET /nodes HTTP/1.1\r\nHost: r\r\nX-API-Key: secret\r\n\
                       Accept: text/event-stream\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = Self {
            stream,
            read: String::new(),
        };
        let head = reader.block("\r\n\r\n").await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        reader
    }

    /// Up to the mark; `None`: the stream ended.
    async fn block(&mut self, mark: &str) -> Option<String> {
        loop {
            if let Some(at) = self.read.find(mark) {
                let rest = self.read.split_off(at + mark.len());
                return Some(std::mem::replace(&mut self.read, rest));
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).await.unwrap();
            if count == 0 {
                return None;
            }
            self.read += std::str::from_utf8(&bytes[..count]).unwrap();
        }
    }

    /// Ids of the next event's list.
    async fn nodes(&mut self) -> Vec<String> {
        let mut events = crate::event_stream::EventStream::default();
        loop {
            // The chunked coding's own lines are no fields that mean anything here.
            let block = self.block("\n\n").await.unwrap();
            let mut bytes = block.as_bytes();
            if let Some(event) = events.next(&mut bytes).unwrap() {
                let listing = Listing::parse(&event.data, None).unwrap();
                let fleet = listing.settle(&Fleet::default(), 100).fleet;
                return fleet
                    .nodes()
                    .iter()
                    .map(|node| node.id.to_string())
                    .collect();
            }
        }
    }
}

#[tokio::test]
async fn the_list_comes_as_events_when_it_changes() {
    let registry = start();
    let mut readers = [Reader::open(&registry).await, Reader::open(&registry).await];
    for reader in &mut readers {
        assert_eq!(reader.nodes().await, [""; 0]);
    }
    for (id, expected) in [("a", &["a"][..]), ("b", &["a", "b"])] {
        let url = format!("http://{id}:1");
        registry
            .table
            .announce(&NodeId::parse(id).unwrap(), &url, "active")
            .unwrap();
        for reader in &mut readers {
            assert_eq!(reader.nodes().await, expected);
        }
    }
    let gone = NodeId::parse("a").unwrap();
    registry
        .table
        .announce(&gone, "http://a:1", "draining")
        .unwrap();
    for reader in &mut readers {
        assert_eq!(reader.nodes().await, ["b"]);
    }
}

#[tokio::test]
async fn streams_are_bounded_and_need_the_key_and_the_word() {
    let registry = start();
    let get = |fields: &str| format!("GET /nodes HTTP/1.1\r\nHost: r\r\n{fields}\r\n\r\n");
    let events = "Accept: text/event-stream";
    let answer = registry
        .raw(&get(&format!("{events}\r\nX-API-Key: wrong")))
        .await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    for accept in ["*/*", "application/json", "text/*", "text/event-streams"] {
        let fields = format!("X-API-Key: secret\r\nAccept: {accept}");
        let answer = registry.raw(&get(&fields)).await;
        assert!(
            answer.contains("content-type: application/json"),
            "{accept}: {answer}"
        );
    }
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(Reader::open(&registry).await);
    }
    let mixed = "X-API-Key: secret\r\nAccept: application/json;q=0.1, Text/Event-Stream;q=1";
    let answer = registry.raw(&get(mixed)).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    // The list itself is to be had all the same.
    registry.check("GET /nodes", "", "200 []").await;
}
