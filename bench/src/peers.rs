//! Who is measured, and how each is configured for the same job with the same things on: access
//! log, counters, time-outs, health checks.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::Process;

/// Everybody's limit of connections: 9,000 sockets are 18,000 descriptors of the 20,000 there are.
const CONNECTIONS_MAX: usize = 9_600;

/// The same where thousands of servers are checked, which takes descriptors too.
const CONNECTIONS_MAX_OF_MANY: usize = 2_000;

/// A program that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// The reference of all ratios.
    HaProxy,
    /// nginx, with the same job.
    Nginx,
    /// Ourselves.
    Tidegate,
    /// Bytes from one socket to the other and nothing else: the floor. It knows no TLS.
    CopyLoop,
}

impl Peer {
    /// All, the reference first.
    pub(crate) const ALL: [Self; 4] = [Self::HaProxy, Self::Nginx, Self::Tidegate, Self::CopyLoop];

    /// As tables and the command line call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HaProxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Tidegate => "tidegate",
            Self::CopyLoop => "copy-loop",
        }
    }
}

/// The job of a proxy.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Threads or worker processes.
    pub(crate) workers: usize,
    /// Whether clients speak TLS.
    pub(crate) tls: bool,
    /// Rules that no request meets, looked at by each.
    pub(crate) rules: usize,
    /// The nodes behind it.
    pub(crate) nodes: Vec<SocketAddr>,
}

/// The programs and files that all runs share.
pub(crate) struct Setup {
    /// A folder for configurations.
    pub(crate) folder: PathBuf,
    /// Certificate and key in one file.
    pub(crate) certificate: PathBuf,
    /// Where access logs go. Nobody reads them: the kernel drops what does not fit.
    pub(crate) log: SocketAddr,
    /// Our program.
    pub(crate) tidegate: PathBuf,
}

impl Setup {
    /// Starts a peer on a free port, and says which.
    pub(crate) fn start(&self, peer: Peer, job: &Job) -> Result<(Process, SocketAddr)> {
        // Taken and given back: nothing else on this machine is looking for ports meanwhile.
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let command = match peer {
            Peer::HaProxy => self.haproxy(Path::new("haproxy"), "haproxy.cfg", job, free)?,
            Peer::Tidegate => self.haproxy(&self.tidegate, "tidegate.cfg", job, free)?,
            Peer::Nginx => self.nginx(job, free)?,
            Peer::CopyLoop => {
                let mut command = Command::new(std::env::current_exe()?);
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
    fn haproxy(&self, program: &Path, name: &str, job: &Job, bind: SocketAddr) -> Result<Command> {
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
             frontend in\n    bind {bind}{tls}\n    stats enable\n    stats uri /stats\n",
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
        for backend in ["ws_backend", "http_backend"] {
            let _ = write!(
                text,
                "backend {backend}\n    balance roundrobin\n    option forwardfor\n    \
                 option httpchk GET /health\n    default-server check inter 2s\n"
            );
            for (number, node) in job.nodes.iter().enumerate() {
                let _ = writeln!(text, "    server s{number} {node}");
            }
        }
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(self.write(name, &text)?);
        Ok(command)
    }

    fn nginx(&self, job: &Job, bind: SocketAddr) -> Result<Command> {
        let certificate = self.certificate.display();
        let (tls, files) = match job.tls {
            true => (
                " ssl",
                format!(
                    "ssl_certificate {certificate}; ssl_certificate_key {certificate};\n\
                     ssl_session_cache shared:tls:4m;"
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
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(&self.folder)
            .arg("-c")
            .arg(self.write("nginx.conf", &text)?);
        Ok(command)
    }
}

/// The versions of who is measured, as they say it themselves.
pub(crate) fn versions(tidegate: &Path) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    let tidegate = tidegate.to_string_lossy().into_owned();
    for (program, flag) in [
        ("haproxy", "-v"),
        ("nginx", "-v"),
        (tidegate.as_str(), "-v"),
    ] {
        let output = Command::new(program).arg(flag).output();
        let output = output.with_context(|| format!("{program} is not installed"))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        match said.lines().next() {
            Some(line) => versions.push(line.to_owned()),
            None => bail!("{program} {flag} says nothing"),
        }
    }
    Ok(versions)
}
