//! What the demo sees of the balancer: its notices, sent to a UDP port as to any syslog server, and
//! its statistics, read from its own port.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use hyper::Method;
use tokio::net::UdpSocket;

use super::announce::exchange;

/// Longest log line the demo writes to itself.
const LINE_LEN_MAX: usize = 4096;
/// The backend whose servers are the nodes.
const BACKEND: &str = "ws_backend";

/// A server went up or down, as the balancer's log tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The node.
    pub(super) node: String,
    /// Whether it is up now.
    pub(super) up: bool,
}

/// The next notice, without syslog's header.
pub(super) async fn next_notice(socket: &UdpSocket) -> String {
    let mut buffer = [0; LINE_LEN_MAX];
    loop {
        if let Ok(len) = socket.recv(&mut buffer).await {
            return without_header(&String::from_utf8_lossy(&buffer[..len])).to_owned();
        }
    }
}

/// `<133>Jan  1 00:00:00 haproxy[1]: text` → `text`.
fn without_header(line: &str) -> &str {
    let text = line.split_once("]: ").map_or(line, |(_, text)| text);
    text.trim_end()
}

/// "Server ws_backend/node1 is DOWN, reason: …".
pub(super) fn parse_change(notice: &str) -> Option<Change> {
    let rest = notice.strip_prefix("Server ")?.strip_prefix(BACKEND)?;
    let (node, rest) = rest.strip_prefix('/')?.split_once(" is ")?;
    let up = rest.starts_with("UP");
    (up || rest.starts_with("DOWN")).then(|| Change {
        node: node.to_owned(),
        up,
    })
}

/// What the balancer tells of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// Where it stands: `Routing`, say.
    pub(super) lifecycle: String,
    /// The servers of the WebSocket backend.
    pub(super) servers: Vec<Server>,
}

/// One server in the statistics.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its name: the node's id.
    pub(super) name: String,
    /// `UP`, `DOWN`, ….
    pub(super) status: String,
    /// Sessions now: WebSockets, in this backend.
    pub(super) sessions: u64,
}

/// Asks the balancer's own port, as any monitoring would.
pub(super) async fn look(balancer: SocketAddr) -> Result<Sight> {
    let ask = |path| exchange(balancer, Method::GET, path, None, String::new());
    let (_, table) = ask("/stats;csv").await?;
    let (_, metrics) = ask("/metrics").await?;
    Ok(Sight {
        lifecycle: parse_lifecycle(std::str::from_utf8(&metrics)?).to_owned(),
        servers: parse_servers(std::str::from_utf8(&table)?)?,
    })
}

/// The state whose metric is 1; empty where there is none.
fn parse_lifecycle(metrics: &str) -> &str {
    let states = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("tidegate_lifecycle_state{state=\""));
    let mut states = states.filter_map(|rest| rest.strip_suffix("\"} 1"));
    states.next().unwrap_or_default()
}

fn parse_servers(table: &str) -> Result<Vec<Server>> {
    let mut lines = table.lines();
    let header = lines.next().context("an empty table")?;
    let columns: Vec<&str> = header.trim_start_matches("# ").split(',').collect();
    let rows = lines.map(|line| {
        let row: BTreeMap<&str, &str> = columns.iter().copied().zip(line.split(',')).collect();
        row
    });
    let servers = rows.filter(|row| {
        row.get("pxname") == Some(&BACKEND)
            && !matches!(row.get("svname"), None | Some(&("FRONTEND" | "BACKEND")))
    });
    Ok(servers
        .map(|row| Server {
            name: row["svname"].to_owned(),
            status: row.get("status").copied().unwrap_or("?").to_owned(),
            sessions: row
                .get("scur")
                .and_then(|number| number.parse().ok())
                .unwrap_or_default(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_the_balancers_notices() {
        let check = |line: &str, expected: Option<(&str, bool)>| {
            let change = parse_change(without_header(line));
            let change = change.as_ref();
            assert_eq!(change.map(|c| (c.node.as_str(), c.up)), expected, "{line}");
        };
        let header = "<133>Jan  1 00:00:00 tidegate[12]: ";
        check(
            &format!("{header}Server ws_backend/node2 is DOWN, reason: Layer4 timeout\n"),
            Some(("node2", false)),
        );
        check(
            "Server ws_backend/node1 is UP, reason: …",
            Some(("node1", true)),
        );
        check("Server http_backend/node1 is DOWN", None);
        check("Server ws_backend/node1 was disabled", None);
    }

    #[test]
    fn reads_the_lifecycle() {
        let metrics = "# TYPE tidegate_lifecycle_state gauge\n\
            tidegate_lifecycle_state{state=\"Ready\"} 0\n\
            tidegate_lifecycle_state{state=\"Routing\"} 1\n";
        assert_eq!(parse_lifecycle(metrics), "Routing");
        assert_eq!(parse_lifecycle("up 1\n"), "");
    }

    #[test]
    fn reads_the_servers_of_one_backend() {
        let table = "# pxname,svname,scur,status,\nhttp-in,FRONTEND,4,OPEN,\n\
                     ws_backend,node1,3,UP,\nws_backend,BACKEND,3,UP,\nhttp_backend,node1,0,UP,\n";
        let servers = parse_servers(table).unwrap();
        assert_eq!(
            servers,
            [Server {
                name: "node1".into(),
                status: "UP".into(),
                sessions: 3
            }]
        );
    }
}
