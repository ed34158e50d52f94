//! Open WebSockets move to the process that takes the place of another.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use testkit::websocket::Target;
use testkit::{
    Authority, LogSink, Node, PATIENCE, Port, Process, Swarm, Table, WebSocket, http, wait_until,
};

use crate::support::program;

/// A balancer that can be taken over from, before one node.
struct Lab {
    folder: TempDir,
    ports: [Port; 2],
    log: LogSink,
    node: Node,
}

impl Lab {
    async fn new(settings: &str) -> Self {
        let lab = Self {
            folder: TempDir::with_prefix("tidegate-test-").unwrap(),
            ports: [Port::claim(), Port::claim()],
            log: LogSink::start().await,
            node: Node::start("n1").await,
        };
        lab.write(settings, "s1");
        lab
    }

    fn write(&self, settings: &str, server: &str) {
        let config = format!(
            "
global
    stats socket {folder}/s mode 600 level admin expose-fd listeners
    log {log} local0
    maxconn 6000
    nbthread 2
    hard-stop-after 60s
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
frontend fe
    bind 127.0.0.1:{http}
{settings}
    default_backend be
backend be
    server {server} {node}
frontend stats
    bind 127.0.0.1:{stats}
    stats uri /stats
    http-request use-service prometheus-exporter if {{ path /metrics }}
",
            folder = self.folder.path().display(),
            log = self.log.address(),
            node = self.node.address(),
            http = self.ports[0].number(),
            stats = self.ports[1].number(),
        );
        std::fs::write(self.folder.path().join("haproxy.cfg"), config).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn address(&self) -> SocketAddr {
        self.ports[0].address()
    }

    fn target(&self) -> Target {
        Target::plain(self.address())
    }

    fn spawn(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(program());
        command
            .arg("-db")
            .arg("-f")
            .arg(self.folder.path().join("haproxy.cfg"));
        command.args(arguments).env_remove("NOTIFY_SOCKET");
        Process::start(&mut command)
    }

    async fn start(&self) -> Process {
        let process = self.spawn(&[]);
        let address = self.address();
        wait_until("the balancer to listen", PATIENCE, async || {
            let connected = std::net::TcpStream::connect(address);
            testkit::wait::or_seen(connected.is_ok(), process.output())
        })
        .await;
        process
    }

    /// Started as successor of `old`.
    fn next(&self, old: &Process) -> Process {
        let (pid, socket) = (old.pid().to_string(), self.socket().display().to_string());
        self.spawn(&["-x", &socket, "-sf", &pid])
    }

    async fn stats(&self) -> Table {
        let response = http::get(self.ports[1].address(), "/stats;csv")
            .await
            .unwrap();
        Table::parse(&response.text())
    }

    async fn wait_open(&self, count: usize) {
        wait_until("the tunnels to be counted", PATIENCE, async || {
            let table = self.stats().await;
            let seen = [("fe", "FRONTEND"), ("be", "BACKEND"), ("be", "s1")]
                .map(|(proxy, name)| table.get(proxy, name, "scur").to_owned());
            testkit::wait::or_seen(
                seen.iter().all(|it| *it == count.to_string()),
                seen.join(" "),
            )
        })
        .await;
    }
}

async fn open(target: &Target) -> WebSocket {
    let (socket, _) = WebSocket::open_greeted(target).await.unwrap();
    socket
}

/// What the Runtime API answers.
async fn ask(socket: &Path, command: &str) -> String {
    try_ask(socket, command).await.unwrap()
}

async fn try_ask(socket: &Path, command: &str) -> std::io::Result<String> {
    let (socket, command) = (socket.to_owned(), format!("{command}\n"));
    let asked = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(command.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    });
    asked.await.unwrap()
}

/// WebSockets that move; by hand more of them, as far as descriptors go.
fn how_many() -> usize {
    let given = std::env::var("TIDEGATE_IT_SOCKETS").ok();
    given.and_then(|it| it.parse().ok()).unwrap_or(1000)
}

#[tokio::test]
async fn a_thousand_websockets_outlive_five_processes() {
    let lab = Lab::new("").await;
    let mut now = lab.start().await;
    let count = how_many();
    let mut swarm = Swarm::open(&lab.target(), count).await;
    for _ in 0..5 {
        let next = lab.next(&now);
        let mut old = std::mem::replace(&mut now, next);
        // Echoes are under way all the time: some are read by the old one and answered by the new one.
        let status = loop {
            swarm.echo_all().await;
            if let Some(status) = old.exited() {
                break status;
            }
        };
        assert!(status.success(), "{status}");
        swarm.echo_all().await;
        swarm.assert_whole();
        lab.wait_open(count).await;
        assert!(now.exited().is_none(), "{}", now.output());
    }
    let line = format!("has ended; {count} tunnels are here now");
    now.wait_for_line(&[&line]).await;
}

#[tokio::test]
async fn the_log_line_tells_of_all_of_it() {
    let lab = Lab::new("    http-request capture req.hdr(Host) len 10\n    tcp-request connection track-sc0 src table be\n").await;
    let config = lab.folder.path().join("haproxy.cfg");
    let text = std::fs::read_to_string(&config).unwrap();
    let table = "backend be\n    stick-table type ip size 10 expire 1m store conn_cur,conn_cnt\n";
    std::fs::write(&config, text.replace("backend be\n", table)).unwrap();
    let mut now = lab.start().await;
    let mut socket = open(&lab.target()).await;
    socket.echo("before").await.unwrap();
    let next = lab.next(&now);
    now.wait_exit().await;
    socket.echo("after").await.unwrap();
    let shown = ask(&lab.socket(), "show table be").await;
    assert!(
        shown.contains("use=1") && shown.contains("conn_cur=1"),
        "{shown}"
    );
    let port = match socket.stream() {
        testkit::stream::Stream::Plain(tcp) => tcp.local_addr().unwrap().port(),
        _ => panic!("it is plain"),
    };
    drop(socket);
    let line = lab.log.wait_for(&["fe be/s1"]).await;
    assert!(line.contains(&format!("127.0.0.1:{port} [")), "{line}");
    assert!(line.contains(" 101 ") && line.contains("{test}"), "{line}");
    assert!(line.contains(&format!("[{}]: ", next.pid())), "{line}");
    lab.wait_open(0).await;
    let shown = ask(&lab.socket(), "show table be").await;
    assert!(
        shown.contains("use=0") && shown.contains("conn_cur=0"),
        "{shown}"
    );
}

/// A process that takes over as far as it is told, and dies then.
struct Dying(UnixStream);

impl Dying {
    /// Says that it serves clients; whoever it is.
    const READY: u64 = 2;
    const BATCH: u64 = 3;
    const VERDICT: u64 = 4;
    const COMMIT: u64 = 5;

    fn greet(socket: &Path) -> Self {
        use std::io::{Read as _, Write as _};
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"_handover 2\n").unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"TIDEGATE");
        Self(stream)
    }

    fn say(&mut self, numbers: &[u64]) {
        use std::io::Write as _;
        let length = u32::try_from(numbers.len() * 8).unwrap();
        let mut message = length.to_le_bytes().to_vec();
        message.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.0.write_all(&message).unwrap();
    }

    /// Waits for a message of that kind; its body. Descriptors that come with it are closed unseen.
    fn hear(&mut self, kind: u64) -> Vec<u8> {
        use std::io::Read as _;
        loop {
            let mut length = [0; 4];
            self.0.read_exact(&mut length).unwrap();
            let mut body = vec![0; u32::from_le_bytes(length) as usize];
            self.0.read_exact(&mut body).unwrap();
            if body[..8] == kind.to_le_bytes() {
                return body.split_off(8);
            }
        }
    }
}

#[tokio::test]
async fn whoever_dies_before_it_has_answered_takes_nothing_with_it() {
    let lab = Lab::new("").await;
    let mut old = lab.start().await;
    let mut swarm = Swarm::open(&lab.target(), 300).await;
    let socket = lab.socket();
    for step in 0..5 {
        let socket = socket.clone();
        tokio::task::spawn_blocking(move || {
            let mut dying = Dying::greet(&socket);
            if step > 0 {
                dying.hear(1);
            }
            if step > 1 {
                dying.say(&[Dying::READY, 1]);
            }
            if step > 2 {
                dying.hear(Dying::BATCH);
            }
            if step > 3 {
                // It does not even know how many there are.
                dying.say(&[Dying::VERDICT, 1, 1, 1]);
            }
        })
        .await
        .unwrap();
        if step > 1 {
            old.wait_for_line_after(step - 2, &["What it did not take goes on here"])
                .await;
        }
        swarm.echo_all().await;
        swarm.assert_whole();
        lab.wait_open(300).await;
    }
    assert!(old.exited().is_none());
}

#[tokio::test]
async fn an_error_after_the_first_tunnels_have_moved_ends_none_of_the_others() {
    for lives in [true, false] {
        let lab = Lab::new("").await;
        let mut old = lab.start().await;
        let mut swarm = Swarm::open(&lab.target(), 300).await;
        let socket = lab.socket();
        // No process has the largest number.
        let pid = if lives {
            std::process::id()
        } else {
            i32::MAX as u32
        };
        let moved = tokio::task::spawn_blocking(move || {
            let mut new = Dying::greet(&socket);
            new.hear(1);
            new.say(&[Dying::READY, pid.into()]);
            let batch = new.hear(Dying::BATCH);
            let count = u64::from_le_bytes(batch[8..16].try_into().unwrap());
            let mut verdict = vec![Dying::VERDICT, 1, count];
            verdict.extend((0..count).map(|_| 1));
            new.say(&verdict);
            new.hear(Dying::COMMIT);
            new.say(&[Dying::READY, 1]);
            usize::try_from(count).unwrap()
        });
        let moved = moved.await.unwrap();
        let line = match lives {
            true => format!("takes over, {moved} tunnels with it; no more could be given"),
            false => format!("{moved} tunnels had moved to it and have ended with it"),
        };
        old.wait_for_line(&[&line]).await;
        swarm.echo_all().await;
        assert_eq!(swarm.lost().len(), moved);
        if lives {
            drop(swarm);
            assert!(old.wait_exit().await.success());
        } else {
            lab.wait_open(300 - moved).await;
        }
    }
}

#[tokio::test]
async fn whoever_is_killed_takes_with_it_what_it_had_and_nothing_else() {
    let lab = Lab::new("").await;
    let mut old = lab.start().await;
    let mut swarm = Swarm::open(&lab.target(), 300).await;
    let mut next = lab.next(&old);
    next.wait_for_line(&["HealthChecks -> Ready"]).await;
    next.signal(Signal::SIGKILL);
    next.wait_exit().await;
    swarm.echo_all().await;
    if old.exited().is_some() {
        // It was too late: all had moved.
        return;
    }
    let left = swarm.len() - swarm.lost().len();
    lab.wait_open(left).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_any_more_keeps_its_websockets_with_the_old_process() {
    let lab = Lab::new("").await;
    let old = lab.start().await;
    let mut swarm = Swarm::open(&lab.target(), 20).await;
    lab.write("", "another");
    let next = lab.next(&old);
    old.wait_for_line(&["takes over, 0 tunnels with it"]).await;
    let mut fresh = open(&lab.target()).await;
    fresh.echo("new").await.unwrap();
    swarm.echo_all().await;
    swarm.assert_whole();
    // It may have come to the old process as well, which accepts for a moment longer.
    drop((swarm, fresh));
    let mut old = old;
    old.wait_exit().await;
    next.wait_for_line(&["has ended; 0 tunnels are here now"])
        .await;
}

#[tokio::test]
async fn the_verb_starts_the_program_anew_with_what_was_open() {
    let lab = Lab::new("").await;
    let mut old = lab.start().await;
    let mut socket = open(&lab.target()).await;
    let answer = ask(&lab.socket(), "upgrade").await;
    assert!(answer.starts_with("Success=1\n--\nprocess "), "{answer}");
    let pid = answer
        .split_whitespace()
        .nth(3)
        .and_then(|pid| pid.parse().ok());
    let successor = Pid::from_raw(pid.unwrap());
    old.wait_exit().await;
    socket.echo("after").await.unwrap();
    lab.wait_open(1).await;
    // It fails, and says so, and all goes on.
    std::fs::write(lab.folder.path().join("haproxy.cfg"), "nonsense\n").unwrap();
    let answer = ask(&lab.socket(), "upgrade").await;
    assert!(
        answer.starts_with("Success=0\n--\nthe new process ended: exit status: 1"),
        "{answer}"
    );
    socket.echo("still").await.unwrap();
    kill(successor, Signal::SIGTERM).unwrap();
}

#[tokio::test]
async fn tls_stays_with_the_old_process_and_is_shown_by_the_new_one() {
    let authority = Authority::new();
    let lab = Lab::new("").await;
    let certificate = authority.write_server_pem(lab.folder.path(), "c.pem", &["localhost"]);
    let tls = Port::claim();
    let settings = format!(
        "    bind 127.0.0.1:{} ssl crt {}\n",
        tls.number(),
        certificate.display()
    );
    lab.write(&settings, "s1");
    let mut old = lab.start().await;
    let target = Target::tls(tls.address(), &authority);
    let mut stays = open(&target).await;
    let mut moves = open(&lab.target()).await;
    let master = lab.folder.path().join("m").display().to_string();
    let (pid, socket) = (old.pid().to_string(), lab.socket().display().to_string());
    let next = lab.spawn(&["-W", "-S", &master, "-x", &socket, "-sf", &pid]);
    old.wait_for_line(&["takes over, 1 tunnels with it"]).await;
    stays.echo("old").await.unwrap();
    moves.echo("new").await.unwrap();
    let row = format!("{pid:<15} worker          1 ");
    wait_until("the old worker to be shown", PATIENCE, async || {
        let shown = try_ask(Path::new(&master), "show proc").await;
        // The master's socket may not be there yet.
        let shown = shown.unwrap_or_else(|error| error.to_string());
        let is_there = shown
            .split_once("# old workers\n")
            .is_some_and(|(_, old)| old.starts_with(&row));
        testkit::wait::or_seen(is_there, shown)
    })
    .await;
    drop(stays);
    old.wait_exit().await;
    next.wait_for_line(&["has ended; 1 tunnels are here now"])
        .await;
    moves.echo("new").await.unwrap();
}

#[tokio::test]
async fn systemd_follows_the_new_process_and_the_subcommand_tells_what_came_of_it() {
    let lab = Lab::new("").await;
    let told = std::os::unix::net::UnixDatagram::bind(lab.folder.path().join("notify")).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut said = [0; 500];
        let count = told.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..count]).into_owned()
    };
    let mut command = Command::new(program());
    command
        .arg("-Ws")
        .arg("-f")
        .arg(lab.folder.path().join("haproxy.cfg"));
    command.env("NOTIFY_SOCKET", lab.folder.path().join("notify"));
    let mut old = Process::start(&mut command);
    let said = hear();
    assert!(
        said.starts_with(&format!("READY=1\nMAINPID={}\n", old.pid())),
        "{said}"
    );
    let mut socket = open(&lab.target()).await;
    let mut upgrade = Command::new(program());
    let mut upgrade = Process::start(upgrade.arg("upgrade").arg(lab.socket()));
    let said = hear();
    assert!(said.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{said}");
    let said = hear();
    let pid = said.trim().strip_prefix("MAINPID=").map(str::to_owned);
    let pid = pid.unwrap_or_else(|| panic!("{said}"));
    let said = hear();
    assert!(
        said.starts_with(&format!("READY=1\nMAINPID={pid}\n")),
        "{said}"
    );
    assert!(upgrade.wait_exit().await.success());
    upgrade.wait_for_line(&["has taken over"]).await;
    old.wait_exit().await;
    socket.echo("after").await.unwrap();
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGTERM).unwrap();
}

#[tokio::test]
async fn what_cannot_move_is_told_to_come_again_one_after_the_other() {
    let authority = Authority::new();
    let lab = Lab::new("").await;
    let certificate = authority.write_server_pem(lab.folder.path(), "c.pem", &["localhost"]);
    let tls = Port::claim();
    let settings = format!(
        "    bind 127.0.0.1:{} ssl crt {}\n",
        tls.number(),
        certificate.display()
    );
    lab.write(&settings, "s1");
    let config = lab.folder.path().join("haproxy.cfg");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("hard-stop-after 60s", "hard-stop-after 12s"),
    )
    .unwrap();
    let mut old = lab.start().await;
    let target = Target::tls(tls.address(), &authority);
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(open(&target).await);
    }
    let _next = lab.next(&old);
    old.wait_for_line(&["takes over, 0 tunnels with it"]).await;
    for socket in &mut sockets {
        assert_eq!(socket.ended().await.unwrap(), Some(1012));
    }
    assert!(old.wait_exit().await.success());
}
