//! What a `bind` line opens, and how many it lets in.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use testkit::stream::Stream;
use testkit::{Authority, Balancer, Client, LogSink, PATIENCE, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::support::{NEVER, SOON, setup};

/// A section that answers everything itself, and one for statistics.
fn answering(binds: &str) -> String {
    format!(
        "
frontend fe
{binds}
    http-request return status 200 content-type text/plain string hello
frontend stats
    bind 127.0.0.1:<port:stats>
    stats uri /stats
"
    )
}

async fn start(binds: &str) -> (LogSink, Balancer) {
    let log = LogSink::start().await;
    let balancer = setup(&log, &answering(binds)).start().await;
    (log, balancer)
}

async fn get_by_path(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

async fn counted(balancer: &Balancer, column: &str) -> String {
    let table = balancer.stats("stats").await;
    table.get("fe", "FRONTEND", column).to_owned()
}

#[tokio::test]
async fn one_line_opens_several_addresses() {
    let (_log, balancer) =
        start("    bind 127.0.0.1:<port:a>,ipv4@127.0.0.1:<port:b>,tcp4@127.0.0.1:<port:c>").await;
    for port in ["a", "b", "c"] {
        let mut client = Client::plain(balancer.address(port)).await;
        assert_eq!(client.get("/").await.unwrap().text(), "hello");
    }
}

#[tokio::test]
async fn a_unix_socket_replaces_what_is_there_and_stays() {
    let log = LogSink::start().await;
    let config = answering(
        "    bind unix@<dir>/one.sock mode 640
    bind /two.sock
    bind abns@tidegate-test-<port:stats>",
    );
    let config = config.replace("unix@<dir>/one.sock", "unix@/one.sock");
    let config = format!("global\n    unix-bind prefix <dir> mode 600\n{config}");
    let making = setup(&log, &config).file("one.sock", "left behind");
    let mut balancer = making.start().await;
    let one = balancer.folder().join("one.sock");
    let two = balancer.folder().join("two.sock");
    for (path, mode) in [(&one, 0o640), (&two, 0o600)] {
        assert!(get_by_path(path).await.ends_with("hello"));
        let file = std::fs::metadata(path).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.mode() & 0o777, mode);
    }
    balancer.signal(Signal::SIGTERM);
    wait_until("the end", PATIENCE, async || {
        testkit::wait::or_seen(balancer.exited().is_some(), "it runs")
    })
    .await;
    assert!(one.exists() && two.exists());
}

#[tokio::test]
async fn listeners_have_numbers_and_books_of_their_own() {
    let (_log, balancer) = start(
        "    option socket-stats
    tcp-request connection reject if { dst_port <port:b> }
    bind 127.0.0.1:<port:a>
    bind 127.0.0.1:<port:b> id 7
    bind 127.0.0.1:<port:c>",
    )
    .await;
    for port in ["a", "b", "c"] {
        // The reset may come before the connect has returned here.
        if let Ok(mut tcp) = TcpStream::connect(balancer.address(port)).await {
            tcp.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok();
            tcp.read_to_end(&mut Vec::new()).await.ok();
        }
    }
    let table = balancer.stats("stats").await;
    for (name, id, denied) in [
        ("sock-1", "1", "0"),
        ("sock-7", "7", "1"),
        ("sock-3", "3", "0"),
    ] {
        assert_eq!(table.get("fe", name, "sid"), id);
        assert_eq!(table.get("fe", name, "dcon"), denied);
    }
}

#[tokio::test]
async fn an_address_has_a_maxconn_of_its_own() {
    let (_log, balancer) =
        start("    bind 127.0.0.1:<port:small> maxconn 1\n    bind 127.0.0.1:<port:large>").await;
    let mut first = Client::plain(balancer.address("small")).await;
    assert_eq!(first.get("/").await.unwrap().status, 200);
    let mut second = Client::plain(balancer.address("small")).await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(second.within(NEVER).await.is_empty());
    let mut elsewhere = Client::plain(balancer.address("large")).await;
    assert_eq!(elsewhere.get("/").await.unwrap().status, 200);
    drop(first);
    assert_eq!(second.response().await.unwrap().status, 200);
}

/// When each of so many clients that come at once is answered.
async fn answered(balancer: &Balancer, count: usize) -> Vec<Duration> {
    let start = Instant::now();
    let to = balancer.address("http");
    let clients = (0..count).map(|_| {
        tokio::spawn(async move {
            let mut client = Client::plain(to).await;
            assert_eq!(client.get("/").await.unwrap().status, 200);
            start.elapsed()
        })
    });
    let mut times = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        times.push(client.await.unwrap());
    }
    times.sort();
    times
}

async fn check_rate(global: &str, frontend: &str) -> Balancer {
    let log = LogSink::start().await;
    let config = answering(&format!("    bind 127.0.0.1:<port:http>\n{frontend}"));
    let config = format!("global\n{global}\n{config}");
    let balancer = setup(&log, &config).start().await;
    let times = answered(&balancer, 7).await;
    assert!(times[2] < Duration::from_millis(500), "{times:?}");
    assert!(times[6] >= Duration::from_secs(1), "{times:?}");
    assert!(times[6] < SOON, "{times:?}");
    balancer
}

#[tokio::test]
async fn sessions_beyond_the_rate_wait() {
    let balancer = check_rate("", "    rate-limit sessions 3").await;
    assert_eq!(counted(&balancer, "rate_lim").await, "3");
}

#[tokio::test]
async fn the_process_has_rates_too() {
    check_rate("    maxconnrate 3", "").await;
    check_rate("    maxsessrate 3", "").await;
}

#[tokio::test]
async fn tls_connections_have_a_limit_of_their_own() {
    let log = LogSink::start().await;
    let authority = Authority::new();
    let config = answering(
        "    bind 127.0.0.1:<port:https> ssl crt <dir>/a.pem
    bind 127.0.0.1:<port:http>",
    );
    let config = format!("global\n    maxsslconn 1\n    maxsslrate 1000\n{config}");
    let balancer = setup(&log, &config)
        .file("a.pem", &authority.server_pem(&["a.example"]))
        .start()
        .await;
    let to = balancer.address("https");
    let first = Stream::tls(to, &authority, "a.example").await.unwrap();
    let mut first = Client::over(first);
    assert_eq!(first.get("/").await.unwrap().status, 200);
    let second = Stream::tls(to, &authority, "a.example");
    assert!(tokio::time::timeout(NEVER, second).await.is_err());
    let mut plain = Client::plain(balancer.address("http")).await;
    assert_eq!(plain.get("/").await.unwrap().status, 200);
    drop(first);
    let third = tokio::time::timeout(SOON, Stream::tls(to, &authority, "a.example")).await;
    assert!(third.unwrap().is_ok());
}

#[tokio::test]
async fn a_deferred_connection_is_accepted_once_it_speaks() {
    let (_log, balancer) = start("    bind 127.0.0.1:<port:http> defer-accept tfo").await;
    let mut silent = TcpStream::connect(balancer.address("http")).await.unwrap();
    tokio::time::sleep(NEVER).await;
    assert_eq!(counted(&balancer, "conn_tot").await, "0");
    silent.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut said = String::new();
    silent.read_to_string(&mut said).await.unwrap();
    assert!(said.ends_with("hello"), "{said}");
    assert_eq!(counted(&balancer, "conn_tot").await, "1");
}
