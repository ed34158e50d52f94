//! One process takes the place of another, and no client notices: `-sf`, `-st`, `-x`, towards HAProxy and back.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::{PATIENCE, Port, Process, wait_until};

use crate::support::program;

/// Clients at once.
const CLIENTS: usize = 4;

/// Who connects again and again, as fast as it can.
struct Hammer {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Hammer {
    fn start(addresses: &[SocketAddr]) -> Self {
        let (stop, served) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let clients = (0..CLIENTS).map(|number| {
            let (stop, served) = (stop.clone(), served.clone());
            let address = addresses[number % addresses.len()];
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Relaxed) {
                    match ask(address) {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
                            served.fetch_add(1, Relaxed);
                        }
                        Ok(answer) => failed.push(format!("answered {answer:?}")),
                        Err(error) => failed.push(error.to_string()),
                    }
                }
                failed
            })
        });
        let clients = clients.collect();
        Self {
            stop,
            served,
            clients,
        }
    }

    /// Waits until some more were served: so that there are some before, in and after what is tested.
    async fn goes_on(&self) {
        let before = self.served.load(Relaxed);
        wait_until("clients to be served", PATIENCE, async || {
            let served = self.served.load(Relaxed) - before;
            testkit::wait::or_seen(served > 50, served)
        })
        .await;
    }

    /// All were served.
    fn finish(self) {
        self.stop.store(true, Relaxed);
        let failed: Vec<String> = self
            .clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        let served = self.served.load(Relaxed);
        assert!(
            failed.is_empty(),
            "{} of {served}: {failed:?}",
            failed.len()
        );
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Processes that follow each other with the same configuration.
struct Line {
    folder: TempDir,
    ports: [Port; 2],
    now: Process,
    generation: u32,
}

impl Line {
    async fn start(program: &str, settings: &str) -> Self {
        let folder = TempDir::with_prefix("tidegate-test-").unwrap();
        let ports = [Port::claim(), Port::claim()];
        let config = format!(
            "
global
    stats socket {folder}/s mode 600 level admin expose-fd listeners
    stats socket ipv4@127.0.0.1:{} level operator
    maxconn 400
    nbthread 3
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend fe
    bind 127.0.0.1:{}
    bind unix@{folder}/u
    http-request return status 200 content-type text/plain string \"${{GENERATION}}\"
{settings}",
            ports[1].number(),
            ports[0].number(),
            folder = folder.path().display(),
        );
        std::fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
        let now = spawn(program, folder.path(), 1, &[]);
        let mut line = Self {
            folder,
            ports,
            now,
            generation: 1,
        };
        line.wait_answers().await;
        line
    }

    fn address(&self) -> SocketAddr {
        self.ports[0].address()
    }

    /// The next one takes over, and the one before it leaves.
    async fn next(&mut self, program: &str, takes_listeners: bool) {
        let pid = self.now.pid().to_string();
        let socket = self.folder.path().join("s").display().to_string();
        let mut arguments = vec!["-sf", &pid];
        if takes_listeners {
            arguments.extend(["-x", &socket]);
        }
        self.generation += 1;
        let next = spawn(program, self.folder.path(), self.generation, &arguments);
        let mut old = std::mem::replace(&mut self.now, next);
        let status = old.wait_exit().await;
        assert!(status.success(), "{status}: {}", old.output());
        self.wait_answers().await;
    }

    /// Until the youngest one answers.
    async fn wait_answers(&mut self) {
        let (address, generation) = (self.address(), self.generation.to_string());
        wait_until("the youngest to answer", PATIENCE, async || {
            let answer = ask(address).unwrap_or_default();
            if self.now.exited().is_some() {
                panic!("it ended: {}", self.now.output());
            }
            testkit::wait::or_seen(answer.ends_with(&format!("\r\n{generation}")), answer)
        })
        .await;
    }
}

fn spawn(program: &str, folder: &Path, generation: u32, arguments: &[&str]) -> Process {
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
    command
        .args(arguments)
        .env("GENERATION", generation.to_string());
    command.env_remove("NOTIFY_SOCKET");
    Process::start(&mut command)
}

/// Debian's HAProxy, or the one that `HAPROXY` names.
fn haproxy() -> String {
    std::env::var("HAPROXY").unwrap_or_else(|_| "/usr/sbin/haproxy".to_owned())
}

#[tokio::test]
async fn no_client_is_refused_while_twenty_processes_follow_each_other() {
    let mut line = Line::start(&program(), "").await;
    let hammer = Hammer::start(&[line.address()]);
    for _ in 0..20 {
        hammer.goes_on().await;
        line.next(&program(), true).await;
    }
    hammer.goes_on().await;
    hammer.finish();
}

#[tokio::test]
async fn haproxy_is_followed_and_follows_and_no_client_is_refused() {
    let mut line = Line::start(&haproxy(), "").await;
    let hammer = Hammer::start(&[line.address()]);
    for _ in 0..3 {
        hammer.goes_on().await;
        line.next(&program(), true).await;
        hammer.goes_on().await;
        line.next(&haproxy(), true).await;
    }
    hammer.goes_on().await;
    hammer.finish();
}

#[tokio::test]
async fn without_listeners_of_the_old_one_addresses_are_shared_or_made_free() {
    let mut line = Line::start(&haproxy(), "").await;
    for next in [program(), program(), haproxy()] {
        line.next(&next, false).await;
    }
}

#[tokio::test]
async fn who_cannot_begin_leaves_the_old_one_as_it_was() {
    let line = Line::start(&program(), "").await;
    // Somebody who makes no room.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = std::fs::read_to_string(line.folder.path().join("haproxy.cfg")).unwrap();
    let bind = format!("frontend other\n    bind {}\n", other.local_addr().unwrap());
    let folder = TempDir::with_prefix("tidegate-test-").unwrap();
    std::fs::write(folder.path().join("haproxy.cfg"), config + &bind).unwrap();
    let pid = line.now.pid().to_string();
    let mut next = spawn(&program(), folder.path(), 2, &["-sf", &pid]);
    assert_eq!(next.wait_exit().await.code(), Some(1));
    next.wait_for_line(&["cannot listen on", "another process listens there already"])
        .await;
    line.now.wait_for_line(&["SIGTTOU"]).await;
    line.now
        .wait_for_line(&["SIGTTIN", "connections are taken again"])
        .await;
    let answer = ask(line.address()).unwrap();
    assert!(answer.ends_with("\r\n1"), "{answer}");
}

#[tokio::test]
async fn whoever_gives_no_listeners_away_is_not_asked_twice() {
    let line = Line::start(&program(), "").await;
    let pid = line.now.pid().to_string();
    let socket = format!("{}/nowhere", line.folder.path().display());
    let mut next = spawn(
        &program(),
        line.folder.path(),
        2,
        &["-sf", &pid, "-x", &socket],
    );
    assert_eq!(next.wait_exit().await.code(), Some(1));
    next.wait_for_line(&["cannot get the listening sockets of the old process"])
        .await;
    assert!(ask(line.address()).unwrap().ends_with("\r\n1"));
}

#[tokio::test]
async fn st_ends_the_old_one_at_once() {
    let mut line = Line::start(&program(), "").await;
    let mut open = TcpStream::connect(line.address()).unwrap();
    open.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let pid = line.now.pid().to_string();
    let socket = line.folder.path().join("s").display().to_string();
    let next = spawn(
        &program(),
        line.folder.path(),
        2,
        &["-x", &socket, "-st", &pid],
    );
    let mut old = std::mem::replace(&mut line.now, next);
    line.generation = 2;
    old.wait_exit().await;
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    match open.read(&mut [0; 100]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    line.wait_answers().await;
    line.now.signal(Signal::SIGTERM);
}
