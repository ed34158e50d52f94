//! What runs beside the balancer in a demo: the registry, the nodes, the watching and the telling.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use control::{ApiKey, Registry};
use hyper::Method;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};

use super::announce::exchange;
use super::files::{self, Facts};
use super::fleet::{Fleet, Happened, RESTART_AFTER};
use super::options::Options;
use super::screen::Screen;
use super::sockets::{Door, Lost, Sockets};
use super::watching::{self, Change, Server, Sight};

/// How soon a death is noticed here; what is told is how long the balancer took after it.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the status is read.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// How long the balancer may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long the nodes may take to be found, checked and used, before the self-test gives up.
const USABLE_WITHIN: Duration = Duration::from_secs(15);
/// A node that has not been heard of for so long is forgotten; the demo restarts it long before.
const NODE_EXPIRES_AFTER: Duration = Duration::from_secs(60);
/// The demo's own WebSockets, for each node.
const SOCKETS_PER_NODE: usize = 2;
/// Cut sockets waiting to be told of: all of them twice.
const LOST_QUEUE_MAX: usize = 128;
/// A cut may be seen before the death that caused it: by one look, and some scheduling.
const NOTICED_LATE: Duration = Duration::from_millis(500);
/// How long a cut is remembered; far longer than any death is unnoticed.
const LOSS_KEPT: Duration = Duration::from_secs(60);

/// Everything of a demo but the balancer.
pub(super) struct Companion {
    options: Options,
    config: PathBuf,
    registry: SocketAddr,
    key: String,
    door: Door,
    log: UdpSocket,
    fleet: Fleet,
    screen: Screen,
    deaths: BTreeMap<String, Death>,
    /// Sockets of the demo that were cut in the last minute.
    lost: Vec<Lost>,
}

/// A node that has died and is not up again.
struct Death {
    at: Instant,
    noticed: bool,
    restarted: Option<Instant>,
}

impl Companion {
    /// Starts registry and nodes, and writes the files.
    pub(super) async fn prepare(options: &Options, folder: &Path) -> Result<Self> {
        let key = format!("demo-{:016x}", fastrand::u64(..));
        let registry = start_registry(&key)?;
        let log = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let fleet = Fleet::start(options.nodes, registry, &key)?;
        let (certificate, certificate_file) = files::make_certificate(folder)?;
        let nodes: Vec<_> = fleet
            .members()
            .iter()
            .map(|node| (node.id.clone(), node.address))
            .collect();
        let facts = Facts {
            options,
            certificate: &certificate_file,
            log: log.local_addr()?,
            registry,
            key: &key,
            nodes: &nodes,
            state_file: &folder.join("nodes.json"),
        };
        Ok(Self {
            config: files::write_config(folder, &facts)?,
            door: Door::new(reachable(options, options.https), &certificate)?,
            options: options.clone(),
            registry,
            key,
            log,
            fleet,
            screen: Screen::new(),
            deaths: BTreeMap::new(),
            lost: Vec::new(),
        })
    }

    /// The configuration the balancer is to run.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    /// Watches and tells until told to stop; then ends the nodes.
    pub(super) async fn accompany(mut self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.watch() => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        self.screen.end();
    }

    async fn watch(&mut self) {
        if let Err(error) = wait_listening(reachable(&self.options, self.options.https)).await {
            self.screen.say(&format!("{error:#}"));
            return;
        }
        self.introduce();
        self.wait_usable().await;
        self.test_itself().await;
        let (lost_sender, mut lost) = mpsc::channel(LOST_QUEUE_MAX);
        let count = self.options.nodes * SOCKETS_PER_NODE;
        let sockets = Sockets::keep_open(&self.door, count, &lost_sender);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut sights = keep_looking(reachable(&self.options, self.options.http));
        loop {
            tokio::select! {
                _ = look.tick() => self.look(),
                notice = watching::next_notice(&self.log) => self.hear(&notice, &sockets),
                Some(lost) = lost.recv() => self.remember(lost),
                Ok(()) = sights.changed() => {
                    let status = status_line(&sights.borrow_and_update(), &sockets);
                    self.screen.status(&status);
                }
            }
        }
    }

    fn introduce(&mut self) {
        let http = reachable(&self.options, self.options.http);
        let https = self.options.https;
        let victim = self.fleet.members().get(1).or(self.fleet.members().first());
        let victim = victim.and_then(|node| Some((node.pid()?, node.id.clone())));
        let (pid, id) = victim.unwrap_or_default();
        let config = self.config.display();
        let (key, registry) = (&self.key, self.registry);
        self.screen.say(&format!(
            "\
tidegate demo: {} nodes, a registry that knows them, and the balancer before them.

  open   http://{http}/           a page that talks to the nodes
         http://{http}/stats      what the balancer sees
         http://{http}/metrics    the same for Prometheus
  type   curl http://{http}/health
         curl -k https://localhost:{https}/health
         curl -NH 'X-API-Key: {key}' -H 'Accept: text/event-stream' {registry}/nodes
                            the nodes as events: how the balancer hears of them at once
         kill -9 {pid}    and see what becomes of {id} and of the others
  read   {config}

Ctrl-C stops everything and removes the files.
",
            self.options.nodes
        ));
    }

    /// Waits until every node is found and UP, or for as long as that may take; what the balancer
    /// says meanwhile is no news.
    async fn wait_usable(&self) {
        let http = reachable(&self.options, self.options.http);
        let all_up = async {
            loop {
                let servers = watching::look(http).await.unwrap_or_default().servers;
                let up = servers.iter().filter(|server| server.status == "UP");
                if up.count() >= self.options.nodes {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(USABLE_WITHIN, all_up).await.ok();
        let mut old = [0; 1];
        while self.log.try_recv(&mut old).is_ok() {}
    }

    /// The proof that it works, before anybody has typed anything.
    async fn test_itself(&mut self) {
        let https = self.options.https;
        let line = match self.door.try_once().await {
            Ok((took, node)) => format!(
                "self-test: WebSocket echo through TLS on {https}: ok, {:.1} ms, by {node}",
                took.as_secs_f64() * 1000.0
            ),
            Err(error) => {
                format!("self-test: WebSocket echo through TLS on {https}: FAILED: {error:#}")
            }
        };
        self.screen.say(&line);
        for path in ["/health", "/stats", "/metrics"] {
            let http = reachable(&self.options, self.options.http);
            let answer = exchange(http, Method::GET, path, None, String::new()).await;
            let outcome = match answer {
                Ok((status, body)) => format!("ok, {status}, {} bytes", body.len()),
                Err(error) => format!("FAILED: {error:#}"),
            };
            self.screen
                .say(&format!("self-test: http://{http}{path}: {outcome}"));
        }
        self.screen.say("");
    }

    fn look(&mut self) {
        for happened in self.fleet.look(Instant::now()) {
            match happened {
                Happened::Died { id, pid, status } => {
                    let how = match status.signal() {
                        Some(signal) => format!("was killed by signal {signal}"),
                        None => format!("ended with {status}"),
                    };
                    self.screen.say(&format!("{id} (pid {pid}) {how}"));
                    self.deaths.insert(id, Death::now());
                }
                Happened::Restarted { id, pid } => {
                    self.screen
                        .say(&format!("{id} runs again (pid {pid}), on the same port"));
                    if let Some(death) = self.deaths.get_mut(&id) {
                        death.restarted = Some(Instant::now());
                    }
                }
                Happened::NotRestarted { id, why } => {
                    self.screen.say(&format!("{id} cannot be restarted: {why}"));
                }
            }
        }
    }

    fn hear(&mut self, notice: &str, sockets: &Sockets) {
        let Some(Change { node, up }) = watching::parse_change(notice) else {
            return;
        };
        if up {
            self.hear_up(&node);
        } else {
            self.hear_down(&node, sockets.open());
        }
    }

    fn hear_down(&mut self, node: &str, open: usize) {
        let Some(death) = self.deaths.get_mut(node) else {
            let line = format!("the balancer marked {node} DOWN, though its process runs");
            return self.screen.say(&line);
        };
        if std::mem::replace(&mut death.noticed, true) {
            return;
        }
        let at = death.at;
        let (with_it, elsewhere) = self.losses(node, at);
        let untouched = match elsewhere {
            0 => format!("the {open} on other nodes are untouched"),
            lost => format!("{lost} on OTHER nodes were lost, which must not be"),
        };
        let took = at.elapsed();
        let line = format!(
            "the balancer marked {node} DOWN after {} ms; of the demo's own WebSockets {with_it} \
             went with it, {untouched}; restarting {node} in {} s",
            took.as_millis(),
            RESTART_AFTER.saturating_sub(took).as_secs() + 1
        );
        self.screen.say(&line);
    }

    fn hear_up(&mut self, node: &str) {
        let Some(death) = self.deaths.remove(node) else {
            let line = format!("the balancer marked {node} UP");
            return self.screen.say(&line);
        };
        let took = death.restarted.map_or(0, |at| at.elapsed().as_millis());
        let line = format!("the balancer marked {node} UP {took} ms after its start");
        self.screen.say(&line);
    }

    /// How many of the demo's own WebSockets were cut since about `death`: on `node`, and on nodes
    /// that have not died.
    fn losses(&self, node: &str, death: Instant) -> (usize, usize) {
        let recent = self
            .lost
            .iter()
            .filter(|lost| lost.at + NOTICED_LATE > death);
        let (with_it, others): (Vec<&Lost>, Vec<&Lost>) =
            recent.partition(|lost| lost.node == node);
        let elsewhere = others
            .iter()
            .filter(|lost| !self.deaths.contains_key(&lost.node));
        (with_it.len(), elsewhere.count())
    }

    fn remember(&mut self, lost: Lost) {
        self.lost.retain(|lost| lost.at.elapsed() < LOSS_KEPT);
        self.lost.push(lost);
    }
}

impl Death {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            noticed: false,
            restarted: None,
        }
    }
}

/// Where we reach what listens on `--listen`: the wildcard address is no destination.
fn reachable(options: &Options, port: u16) -> SocketAddr {
    let ip = match options.listen {
        listen if !listen.is_unspecified() => listen,
        _ => IpAddr::from(Ipv4Addr::LOCALHOST),
    };
    SocketAddr::new(ip, port)
}

async fn wait_listening(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = TcpStream::connect(address).await {
        if start.elapsed() > READY_WITHIN {
            return Err(error).context(format!("the balancer does not listen on {address}"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Reads the statistics in the background; what is there is the last answer.
fn keep_looking(balancer: SocketAddr) -> watch::Receiver<Sight> {
    let (sender, receiver) = watch::channel(Sight::default());
    tokio::spawn(async move {
        while !sender.is_closed() {
            if let Ok(sight) = watching::look(balancer).await {
                sender.send_replace(sight);
            }
            tokio::time::sleep(STATUS_EVERY).await;
        }
    });
    receiver
}

fn status_line(sight: &Sight, sockets: &Sockets) -> String {
    let mut line = format!("{} · WebSockets", sight.lifecycle);
    for Server {
        name,
        status,
        sessions,
    } in &sight.servers
    {
        // Writing to a String cannot fail.
        write!(line, " · {name} {status} {sessions}").ok();
    }
    line + &format!(" · {} of them the demo's own", sockets.open())
}

/// The registry the nodes announce themselves to; it ends with the runtime.
fn start_registry(key: &str) -> Result<SocketAddr> {
    let parsed = ApiKey::parse(key).map_err(|why| anyhow!("the demo's own key: {why}"))?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let registry = Registry::bind(any_port, parsed, NODE_EXPIRES_AFTER)
        .context("listen as the node registry")?;
    let address = registry.local_addr();
    // Fails only if the runtime takes no sockets, and then nothing here works.
    tokio::spawn(registry.run());
    Ok(address)
}
