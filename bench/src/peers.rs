//! Who is measured, and how each is configured for the same job with the same things on: access
//! log, counters, time-outs, health checks.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::node::LISTEN;
use crate::process::Process;
use crate::updates::API_KEY;

/// Everybody's limit of connections: 9,000 sockets are 18,000 descriptors of the 20,000 there are.
const CONNECTIONS_MAX: usize = 9_600;

/// The same where thousands of servers are checked, which takes descriptors too.
const CONNECTIONS_MAX_OF_MANY: usize = 2_000;

/// How often HAProxy and we check each of three servers, and together: where there are more servers,
/// each is checked less often, so that what is compared is requests and not checks.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const CHECKED: usize = 3;

/// How often nodes of a list are checked: a hundred checks a second with a thousand of them.
const LISTED_CHECK_EVERY: Duration = Duration::from_secs(10);

/// How often the list is fetched while it is changed.
pub(crate) const LIST_EVERY: Duration = Duration::from_millis(250);

/// What kind of program is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The reference of all ratios, and other versions of it.
    HaProxy,
    /// nginx, with the same job.
    Nginx,
    /// Ourselves.
    Tidegate,
    /// Bytes from one socket to the other and nothing else: the floor. It knows no TLS.
    CopyLoop,
}

/// A program that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// As tables and the command line call it.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    program: PathBuf,
}

impl Peer {
    /// A program under a name.
    pub(crate) fn new(name: &str, kind: Kind, program: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            program,
        }
    }

    /// Its version as it says it itself.
    pub(crate) fn version(&self) -> Result<Option<String>> {
        if self.kind == Kind::CopyLoop {
            return Ok(None);
        }
        let output = Command::new(&self.program).arg("-v").output();
        let output = output.with_context(|| {
            let program = self.program.display();
            match self.kind {
                Kind::Tidegate => {
                    format!("{program} is missing; build it: cargo build --release -p cli")
                }
                _ => format!("{program} is not installed"),
            }
        })?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let first = said.lines().next();
        let first = first.with_context(|| format!("{} -v says nothing", self.program.display()))?;
        Ok(Some(format!("{}: {first}", self.name)))
    }
}

/// The job of a proxy.
#[derive(Debug, Clone)]
pub(crate) struct Job<'a> {
    /// Threads or worker processes.
    pub(crate) workers: usize,
    /// Whether clients speak TLS.
    pub(crate) tls: bool,
    /// Rules that no request meets, looked at by each.
    pub(crate) rules: usize,
    /// The nodes behind it.
    pub(crate) nodes: &'a [SocketAddr],
    /// The service that says which of them are listed; else all are written into the file.
    pub(crate) updates: Option<SocketAddr>,
}

/// The programs and files that all runs share.
pub(crate) struct Setup {
    /// A folder for configurations.
    pub(crate) folder: PathBuf,
    /// Certificate and key in one file.
    pub(crate) certificate: PathBuf,
    /// Where access logs go. Nobody reads them: the kernel drops what does not fit.
    pub(crate) log: SocketAddr,
}

impl Setup {
    /// Starts a peer on a free port, and says which.
    pub(crate) fn start(&self, peer: &Peer, job: &Job<'_>) -> Result<(Process, SocketAddr)> {
        // Taken and given back: nothing else on this machine is looking for ports meanwhile.
        let free = std::net::TcpListener::bind(LISTEN)?.local_addr()?;
        let program = &peer.program;
        let command = match peer.kind {
            Kind::HaProxy | Kind::Tidegate => self.haproxy(program, job, free)?,
            Kind::Nginx => self.nginx(program, job, free)?,
            Kind::CopyLoop => {
                let mut command = Command::new(program);
                let node = job.nodes.first().context("no node")?;
                command.args(["copy-loop", &free.to_string(), &node.to_string()]);
                command
            }
        };
        let process = Process::start(command, free, job.workers)?;
        Ok((process, free))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// HAProxy and we read the same file.
    fn haproxy(&self, program: &Path, job: &Job<'_>, bind: SocketAddr) -> Result<Command> {
        let tls = match job.tls {
            true => format!(" ssl crt {}", self.certificate.display()),
            false => String::new(),
        };
        let maxconn = match job.nodes.len() {
            ..100 => CONNECTIONS_MAX,
            _ => CONNECTIONS_MAX_OF_MANY,
        };
        let mut text = format!(
            "global\n    nbthread {}\n    maxconn {maxconn}\n    log {} local0\n\
             defaults\n    mode http\n    log global\n    option httplog\n    timeout connect 5s\n    \
             timeout client 60s\n    timeout server 60s\n    timeout tunnel 1h\n    \
             timeout http-request 10s\n\
             frontend in\n    bind {bind}{tls}\n    stats enable\n    stats uri /stats\n    \
             http-request use-service prometheus-exporter if {{ path /metrics }}\n",
            job.workers, self.log
        );
        for rule in 0..job.rules {
            let _ = writeln!(
                text,
                "    http-request deny if {{ path /never/met/{rule} }}"
            );
        }
        text.push_str(
            "    acl is_websocket hdr(Upgrade) -i WebSocket\n    use_backend ws_backend if is_websocket\n    \
             default_backend http_backend\n",
        );
        let check_every = match job.updates {
            Some(_) => LISTED_CHECK_EVERY,
            None => CHECK_EVERY * job.nodes.len().div_ceil(CHECKED) as u32,
        };
        for backend in ["ws_backend", "http_backend"] {
            let _ = write!(
                text,
                "backend {backend}\n    balance roundrobin\n    option forwardfor\n    \
                 option httpchk GET /health\n    default-server check inter {}\n",
                check_every.as_millis()
            );
            let written = job.updates.is_none().then_some(job.nodes);
            for (number, node) in written.into_iter().flatten().enumerate() {
                let _ = writeln!(text, "    server s{number} {node}");
            }
        }
        let mut command = Command::new(program);
        if let Some(updates) = job.updates {
            let nodes_max = job.nodes.len();
            let _ = write!(text, "discovery\n    max-nodes {nodes_max}\n");
            command.env("WS_UPDATES_URL", format!("http://{updates}"));
            command.env("API_KEY", API_KEY);
            command.env("UPDATE_INTERVAL", format!("{}ms", LIST_EVERY.as_millis()));
        }
        command.arg("-db").arg("-f");
        command.arg(self.write("haproxy.cfg", &text)?);
        Ok(command)
    }

    fn nginx(&self, program: &Path, job: &Job<'_>, bind: SocketAddr) -> Result<Command> {
        let certificate = self.certificate.display();
        let (tls, files) = match job.tls {
            true => (
                " ssl",
                format!(
                    "ssl_certificate {certificate}; ssl_certificate_key {certificate};\n\
                     ssl_session_cache shared:tls:4m; ssl_protocols TLSv1.2 TLSv1.3;"
                ),
            ),
            false => ("", String::new()),
        };
        let servers = job.nodes.iter().map(|node| format!("server {node};"));
        let servers = servers.collect::<Vec<_>>().join(" ");
        let mut rules = String::new();
        for rule in 0..job.rules {
            let _ = writeln!(rules, "if ($uri = /never/met/{rule}) {{ return 403; }}");
        }
        let folder = self.folder.display();
        let text = format!(
            "daemon off; worker_processes {workers}; worker_rlimit_nofile 20000;\n\
             pid {folder}/nginx.pid; error_log /dev/null crit;\n\
             events {{ worker_connections 19500; }}\n\
             http {{\n\
             access_log syslog:server={log} combined;\n\
             client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n\
             uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
             keepalive_requests 1000000000; keepalive_timeout 60s; tcp_nodelay on;\n\
             map $http_upgrade $upgrade {{ default upgrade; '' ''; }}\n\
             upstream nodes {{ {servers} keepalive 64; }}\n\
             server {{ listen {bind}{tls} backlog=2048; {files}\n{rules}\
             location / {{ proxy_pass http://nodes; proxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrade;\n\
             proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Host $host;\n\
             proxy_read_timeout 1h; proxy_send_timeout 60s; }} }} }}\n",
            workers = job.workers,
            log = self.log,
        );
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(&self.folder)
            .arg("-c")
            .arg(self.write("nginx.conf", &text)?);
        Ok(command)
    }
}
