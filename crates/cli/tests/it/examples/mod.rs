//! What is in `examples/`, run as it stands but for ports, paths and nodes, and attacked. Attackers come from
//! addresses of their own in 127.0.0.0/8; who behaves is served meanwhile.

mod api_tokens;
mod blue_green;
mod ddos;
mod mutual_tls;
mod public_websocket;
mod socketio;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::Result;
use testkit::balancer::Setup;
use testkit::stream::Stream;
use testkit::websocket::upgrade_request;
use testkit::{Balancer, Client, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::program;

/// An example with the first of each pair replaced by the second; each must be there.
fn example(name: &str, pairs: &[(&str, &str)]) -> Setup {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    let text = std::fs::read_to_string(&path);
    let mut text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let always = [
        ("bind :8080", "bind 127.0.0.1:<port:http>"),
        ("192.0.2.11:8000", "<n1>"),
        ("192.0.2.12:8000", "<n2>"),
        ("/etc/tidegate", "<dir>"),
        ("/run/tidegate", "<dir>"),
    ];
    for (from, to) in always {
        text = text.replace(from, to);
    }
    for (from, to) in pairs {
        assert!(text.contains(from), "no {from:?} left in {name}");
        text = text.replace(from, to);
    }
    Balancer::setup(program(), &text)
}

/// What the Runtime API says.
async fn command(folder: &Path, line: &str) -> String {
    let mut socket = UnixStream::connect(folder.join("admin.sock"))
        .await
        .unwrap();
    socket
        .write_all(format!("{line}\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// 127.0.0.N.
fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

/// Who never does anything wrong.
const GOOD: u8 = 1;

/// Paths behind something allowed that no normalizing undoes, and some node takes for `/admin`.
const DISGUISED: [&str; 7] = [
    "/..%2fadmin",
    "/%2e%2e%2Fadmin",
    "/..;/admin",
    "/..\\admin",
    "/..%5cadmin",
    "/;a/../admin;b",
    "/admin%00",
];

/// A connection from 127.0.0.N.
async fn connect(balancer: &Balancer, from: u8) -> Client {
    try_connect(balancer, from).await.unwrap()
}

/// The same where it may be refused at once.
async fn try_connect(balancer: &Balancer, from: u8) -> io::Result<Client> {
    let stream = Stream::plain_from(host(from), balancer.address("http")).await?;
    Ok(Client::over(stream))
}

/// So many connections from there, as far as they are not refused at once: held, and nothing said.
async fn hold(balancer: &Balancer, from: u8, count: usize) -> Vec<Client> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.extend(try_connect(balancer, from).await);
    }
    held
}

/// The answer to one request on a connection of its own; an error where there is none.
async fn ask(balancer: &Balancer, from: u8, path: &str, headers: &str) -> Result<Response> {
    let mut client = try_connect(balancer, from).await?;
    ask_over(&mut client, path, headers).await
}

async fn ask_over(client: &mut Client, path: &str, headers: &str) -> Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
    client.try_send(request).await?;
    client.response().await
}

/// The status of that; 0: no answer.
async fn status(balancer: &Balancer, from: u8, path: &str, headers: &str) -> u16 {
    let answer = ask(balancer, from, path, headers).await;
    answer.map_or(0, |answer| answer.status)
}

/// Holds all connections that an address may have, and sees that the next one is refused. Where two come to two
/// workers at once each may find the other one too many: what is left over is taken here, one after the other.
async fn no_place_left(balancer: &Balancer, from: u8, path: &str) -> Vec<Client> {
    let mut held = Vec::new();
    for _ in 0..PLACES_LEFT_MAX {
        let Ok(mut client) = try_connect(balancer, from).await else {
            return held;
        };
        if ask_over(&mut client, path, "").await.is_err() {
            return held;
        }
        held.push(client);
    }
    panic!("127.0.0.{from} may have all connections it wants");
}

/// More are never left over by [`hold`].
const PLACES_LEFT_MAX: usize = 20;

/// Asks for a WebSocket: the connection, and the status that came.
async fn upgrade(balancer: &Balancer, from: u8, path: &str, headers: &str) -> (Client, u16) {
    let mut client = connect(balancer, from).await;
    let request = upgrade_request(path, "dGhlIHNhbXBsZSBub25jZQ==");
    let request = request.replace("Host: test\r\n", &format!("Host: test\r\n{headers}"));
    let sent = client.try_send(request).await;
    let status = match sent {
        Ok(()) => client.response().await.map_or(0, |answer| answer.status),
        Err(_) => 0,
    };
    (client, status)
}
