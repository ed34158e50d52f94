//! The checked configuration: every value valid, every reference resolved.
//!
//! Built only by `check`; what is here nobody downstream validates again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::environment::Variables;
use crate::expr::{Condition, Format, Sample};
use crate::source::Span;

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Process-wide settings.
    pub global: Global,
    /// Frontends, and the front half of each `listen`, in file order.
    pub frontends: Vec<Frontend>,
    /// Backends, and the back half of each `listen`, in file order.
    pub backends: Vec<Backend>,
    /// Where the node list comes from: section `discovery` (our own; the environment fills the rest).
    pub discovery: Option<Discovery>,
    /// The embedded node registry: section `registry` (our own).
    pub registry: Option<Registry>,
}

/// A backend, by its position in [`Config::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub usize);

/// Section `global` (manual 3).
#[derive(Debug, Clone, Default)]
pub struct Global {
    /// `daemon`.
    pub daemon: bool,
    /// `user` or `uid`.
    pub user: Option<Account>,
    /// `group` or `gid`.
    pub group: Option<Account>,
    /// `chroot`.
    pub chroot: Option<PathBuf>,
    /// `pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `maxconn`: connections of the whole process; `None`: as many as descriptors allow.
    pub maxconn: Option<u32>,
    /// `nbthread`: workers; `None`: one per core.
    pub nbthread: Option<u16>,
    /// `ulimit-n`.
    pub ulimit_n: Option<u64>,
    /// `spread-checks`: percent of the interval, 0 to 50.
    pub spread_checks: u8,
    /// `hard-stop-after`: how long a soft stop may last.
    pub hard_stop_after: Option<Duration>,
    /// `log` lines of the section, for the process itself and for `log global`.
    pub log: Vec<LogTarget>,
    /// `log-tag`.
    pub log_tag: Option<Arc<str>>,
    /// `log-send-hostname [name]`: `Some(None)` is the machine's own name.
    pub log_send_hostname: Option<Option<Arc<str>>>,
    /// `node`: shown on the stats page.
    pub node: Option<Arc<str>>,
    /// `description`.
    pub description: Option<Arc<str>>,
    /// `stats socket` lines. Accepted: nothing answers on them yet.
    pub stats_sockets: Vec<Arc<str>>,
    /// `ssl-default-bind-options` and friends; already merged into each `bind`.
    pub bind_tls: TlsVersions,
    /// Bounds of `tune.*`.
    pub tune: Tune,
    /// `setenv`, `presetenv`, `unsetenv` and `resetenv`: what the program itself sees of the
    /// environment. Values do not print.
    pub environment: Variables,
}

/// A user or group, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// `user www-data`.
    Name(Arc<str>),
    /// `uid 33`.
    Id(u32),
}

/// Bounds that `tune.*` sets (manual 3.2).
#[derive(Debug, Clone)]
pub struct Tune {
    /// `tune.bufsize`, bytes: a head must fit in it less `maxrewrite`. Default 16384.
    pub bufsize: usize,
    /// `tune.maxrewrite`, bytes kept free for added headers. Default 1024.
    pub maxrewrite: usize,
    /// `tune.http.maxhdr`: headers in a message. Default 101.
    pub http_maxhdr: usize,
}

impl Default for Tune {
    fn default() -> Self {
        Self {
            bufsize: 16384,
            maxrewrite: 1024,
            http_maxhdr: 101,
        }
    }
}

/// `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Bytes are relayed as they come.
    #[default]
    Tcp,
    /// Requests are understood.
    Http,
}

/// What frontends and backends have in common; `defaults` fills it.
#[derive(Debug, Clone, Default)]
pub struct Proxy {
    /// Name of the section.
    pub name: Arc<str>,
    /// Where the section begins.
    pub span: Span,
    /// `description`.
    pub description: Option<Arc<str>>,
    /// `mode`.
    pub mode: Mode,
    /// `disabled`: not started.
    pub disabled: bool,
    /// All `timeout …`; `None` is without limit.
    pub timeouts: Timeouts,
    /// `option httpclose|http-server-close|http-keep-alive`.
    pub connection: ConnectionMode,
    /// `option forwardfor`.
    pub forwardfor: Option<ForwardFor>,
    /// `http-request` rules, in order.
    pub http_request: Vec<RequestRule>,
    /// `http-response` rules, in order.
    pub http_response: Vec<ResponseRule>,
    /// `stats …`, when any line of it was given and it is not disabled.
    pub stats: Option<StatsPage>,
    /// `log`, `option httplog` and friends.
    pub log: Logging,
    /// `errorfile`, `errorloc`…: answers of one's own, by the status they stand for.
    pub error_pages: ErrorPages,
    /// `id`.
    pub id: Option<u32>,
}

/// Answers of one's own, by the status they stand for.
pub type ErrorPages = BTreeMap<u16, ErrorPage>;

/// What clients get instead of a page of ours (manual 4.2, "errorfile", "errorloc").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorPage {
    /// An empty file: the connection ends without an answer.
    Silent,
    /// This answer.
    Answer(Arc<ErrorAnswer>),
}

/// An answer read from a file, or the redirect of an `errorloc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The status that is sent, which need not be the one it stands for. 200 to 599.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Arc<[u8]>,
    /// Fields in order, names in lower case; none about framing or the connection.
    pub fields: Vec<(Arc<str>, Box<[u8]>)>,
    /// The body; empty with 204 and 304.
    pub body: Arc<[u8]>,
}

/// `timeout …` (manual 4.2). `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// `timeout client`: silence of the client.
    pub client: Option<Duration>,
    /// `timeout client-fin`: silence of a client that has half-closed.
    pub client_fin: Option<Duration>,
    /// `timeout server`.
    pub server: Option<Duration>,
    /// `timeout server-fin`.
    pub server_fin: Option<Duration>,
    /// `timeout connect`.
    pub connect: Option<Duration>,
    /// `timeout queue`; falls back to `connect`.
    pub queue: Option<Duration>,
    /// `timeout check`: reading a check's answer.
    pub check: Option<Duration>,
    /// `timeout tunnel`: silence of both sides of a tunnel; falls back to `client`/`server`.
    pub tunnel: Option<Duration>,
    /// `timeout http-request`: a whole request head.
    pub http_request: Option<Duration>,
    /// `timeout http-keep-alive`: waiting for the next request; falls back to `http_request`, `client`.
    pub http_keep_alive: Option<Duration>,
    /// `timeout tarpit`.
    pub tarpit: Option<Duration>,
}

/// What happens to connections between requests (manual 4, "connection modes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ConnectionMode {
    /// `option http-keep-alive`, the default.
    #[default]
    KeepAlive,
    /// `option http-server-close`.
    ServerClose,
    /// `option httpclose`.
    Close,
}

/// `option forwardfor [except MASK] [header NAME] [if-none]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardFor {
    /// Sources for which nothing is added.
    pub except: Option<ipnet::IpNet>,
    /// Name in lower case; `x-forwarded-for` unless given.
    pub header: Arc<str>,
    /// Only when the header is not there yet.
    pub if_none: bool,
}

/// Section `frontend`, or the front half of `listen`.
#[derive(Debug, Clone, Default)]
pub struct Frontend {
    /// What it shares with backends.
    pub proxy: Proxy,
    /// `bind` lines, one per address.
    pub binds: Vec<Bind>,
    /// `maxconn`: connections at once; `None`: the process's limit alone.
    pub maxconn: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `use_backend` lines, in order.
    pub use_backend: Vec<UseBackend>,
    /// `default_backend`; for `listen` its own back half.
    pub default_backend: Option<BackendId>,
    /// Whether this is half of a `listen`.
    pub listen: bool,
}

/// `use_backend NAME [if …]`.
#[derive(Debug, Clone)]
pub struct UseBackend {
    /// Where to go.
    pub backend: BackendId,
    /// When; `None`: always.
    pub condition: Option<Condition>,
}

/// One address of a `bind` line (manual 5.1).
#[derive(Debug, Clone)]
pub struct Bind {
    /// What to listen on.
    pub address: BindAddress,
    /// As written, for messages and stats.
    pub text: Arc<str>,
    /// Where.
    pub span: Span,
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `accept-proxy`: each connection starts with a PROXY header.
    pub accept_proxy: bool,
    /// `ssl …`.
    pub tls: Option<BindTls>,
    /// `maxconn` of this address.
    pub maxconn: Option<u32>,
    /// `backlog` of this address.
    pub backlog: Option<u32>,
    /// `mode` of a Unix socket: permission bits.
    pub unix_mode: Option<u32>,
    /// `user` or `uid` of a Unix socket: whom its file belongs to.
    pub unix_uid: Option<u32>,
    /// `group` or `gid` of a Unix socket.
    pub unix_gid: Option<u32>,
    /// `interface`: only connections that come in by it.
    pub interface: Option<Arc<str>>,
    /// `v4v6` (`Some(false)`), `v6only` (`Some(true)`).
    pub v6only: Option<bool>,
}

/// What to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// `*:80`, `:80`, `ip:port`, `[::]:port`.
    Inet(SocketAddr),
    /// `unix@PATH` or a path.
    Unix(PathBuf),
    /// `abns@NAME`.
    Abstract(Arc<str>),
    /// `fd@N`: inherited, already bound (and listening or not).
    Fd(i32),
}

/// TLS of a `bind` line.
#[derive(Debug, Clone, Default)]
pub struct BindTls {
    /// `crt FILE|DIR`, in order, with `crt-base` applied; the first certificate is the default one.
    pub crt: Vec<PathBuf>,
    /// `ssl-min-ver`, `ssl-max-ver`, `no-tlsv12` …, merged with the global defaults.
    pub versions: TlsVersions,
    /// `alpn`, in order of preference; only `http/1.1` is served.
    pub alpn: Vec<Arc<str>>,
    /// `strict-sni`: no handshake without a matching certificate.
    pub strict_sni: bool,
    /// `no-tls-tickets`: sessions are not resumed by tickets.
    pub no_tickets: bool,
}

/// Which TLS versions are allowed. 1.2 and 1.3 exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersions {
    /// TLS 1.2 is offered.
    pub tls12: bool,
    /// TLS 1.3 is offered.
    pub tls13: bool,
}

impl Default for TlsVersions {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
        }
    }
}

/// Section `backend`, or the back half of `listen`.
#[derive(Debug, Clone, Default)]
pub struct Backend {
    /// What it shares with frontends.
    pub proxy: Proxy,
    /// `balance`.
    pub balance: Balance,
    /// `server` lines.
    pub servers: Vec<Server>,
    /// `default-server` in force at the end of the section: what a discovered node inherits.
    pub default_server: Server,
    /// What `default-server` says of TLS even where it does not say `ssl` (`default-server ca-file …`),
    /// global defaults included: for a discovered node that asks for TLS.
    pub default_server_tls: ServerTls,
    /// `option httpchk` and `http-check`; checks are plain connects without it.
    pub httpchk: Option<HttpCheck>,
    /// `retries`. Default 3.
    pub retries: u32,
    /// `option redispatch [N]`: 0 is off; N: every Nth retry goes elsewhere; -1: the last one only.
    pub redispatch: i32,
    /// `fullconn`.
    pub fullconn: Option<u32>,
    /// Whether this is half of a `listen`.
    pub listen: bool,
}

/// `balance` (manual 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// `roundrobin`: smooth, weighted, dynamic.
    #[default]
    RoundRobin,
    /// `leastconn`.
    LeastConn,
    /// `source`: hash of the client's address.
    Source,
    /// `random(N)`: the best of N draws.
    Random(u32),
    /// `first`: fill one server after the other.
    First,
}

/// `server` or `default-server` (manual 5.2).
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// Name, unique in its backend.
    pub name: Arc<str>,
    /// Where it was written.
    pub span: Span,
    /// Where it is.
    pub address: ServerAddress,
    /// `weight`, 0 to 256. Default 1.
    pub weight: Weight,
    /// `backup`.
    pub backup: bool,
    /// `disabled`: starts in maintenance.
    pub disabled: bool,
    /// `maxconn`: connections at once; `None`: no limit.
    pub maxconn: Option<u32>,
    /// `maxqueue`: requests waiting for it; `None`: no limit but the process's.
    pub maxqueue: Option<u32>,
    /// `check` and its parameters; `None`: never checked, always up.
    pub check: Option<Check>,
    /// The parameters of checks even where `check` is not given (`default-server inter 2s`).
    pub check_parameters: Check,
    /// `ssl …`.
    pub tls: Option<ServerTls>,
    /// `id`.
    pub id: Option<u32>,
}

/// `weight`, 0 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// `None` above 256.
    pub fn new(weight: u16) -> Option<Self> {
        (weight <= 256).then_some(Self(weight))
    }

    /// 0 to 256.
    pub fn value(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// `ip:port`.
    Inet(SocketAddr),
    /// `ip` without a port: the port the client connected to is used (manual 5.2).
    InetClientPort(IpAddr),
    /// `name:port`, resolved by the engine; the server is DOWN until it resolves.
    Name(Arc<str>, u16),
    /// `unix@PATH` or a path.
    Unix(PathBuf),
}

impl Default for ServerAddress {
    fn default() -> Self {
        Self::Inet(SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

/// `check` and its parameters (manual 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `inter`. Default 2 s.
    pub inter: Duration,
    /// `fastinter`: while going up or down.
    pub fastinter: Option<Duration>,
    /// `downinter`: while down.
    pub downinter: Option<Duration>,
    /// `rise`: successes to be UP. Default 2.
    pub rise: u32,
    /// `fall`: failures to be DOWN. Default 3.
    pub fall: u32,
    /// `port`: where checks go, if elsewhere.
    pub port: Option<u16>,
    /// `addr`: where checks go, if elsewhere.
    pub addr: Option<IpAddr>,
    /// `check-ssl`; implied by `ssl` where neither `port` nor `addr` is given.
    pub tls: bool,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            inter: Duration::from_secs(2),
            fastinter: None,
            downinter: None,
            rise: 2,
            fall: 3,
            port: None,
            addr: None,
            tls: false,
        }
    }
}

/// TLS towards a server. By default its certificate is verified against the system's roots.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// `verify required` (the default) or `verify none` (`false`).
    pub verify: bool,
    /// `ca-file`, with `ca-base` applied; `None` or `@system-ca`: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// `sni EXPR`.
    pub sni: Option<Sample>,
    /// `verifyhost`.
    pub verifyhost: Option<Arc<str>>,
    /// `ssl-min-ver`, `no-tlsv12` …, merged with the global defaults.
    pub versions: TlsVersions,
    /// `alpn`.
    pub alpn: Vec<Arc<str>>,
}

impl Default for ServerTls {
    fn default() -> Self {
        Self {
            verify: true,
            ca_file: None,
            sni: None,
            verifyhost: None,
            versions: TlsVersions::default(),
            alpn: Vec::new(),
        }
    }
}

/// `option httpchk` with `http-check send|expect` (manual 4.2).
#[derive(Debug, Clone)]
pub struct HttpCheck {
    /// Default `OPTIONS`.
    pub method: Arc<str>,
    /// Default `/`.
    pub uri: Arc<str>,
    /// `HTTP/1.0` (the default), or as given.
    pub version: Arc<str>,
    /// `hdr NAME VALUE`, in order.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// `body`.
    pub body: Option<Arc<str>>,
    /// `http-check expect` lines, which must all hold; none: any 2xx or 3xx.
    pub expect: Vec<Expect>,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            method: "OPTIONS".into(),
            uri: "/".into(),
            version: "HTTP/1.0".into(),
            headers: Vec::new(),
            body: None,
            expect: Vec::new(),
        }
    }
}

/// `http-check expect [!] …`.
#[derive(Debug, Clone)]
pub struct Expect {
    /// `!`.
    pub negated: bool,
    /// What is compared.
    pub what: Expected,
}

/// What `http-check expect` compares.
#[derive(Debug, Clone)]
pub enum Expected {
    /// `status 200,201,300-399`: inclusive ranges.
    Status(Vec<(u16, u16)>),
    /// `rstatus REGEX`.
    StatusRegex(regex::bytes::Regex),
    /// `string TEXT` in the body.
    Body(Arc<str>),
    /// `rstring REGEX` in the body.
    BodyRegex(regex::bytes::Regex),
}

/// An `http-request` rule.
#[derive(Debug, Clone)]
pub struct RequestRule {
    /// What to do.
    pub action: RequestAction,
    /// When; `None`: always.
    pub condition: Option<Condition>,
    /// Where.
    pub span: Span,
}

/// What an `http-request` rule does (manual 4.2, "http-request").
#[derive(Debug, Clone)]
pub enum RequestAction {
    /// `allow`: no further rule of this section is looked at.
    Allow,
    /// `deny`: counted as denied.
    Deny(Box<Reply>),
    /// `return`.
    Return(Box<Reply>),
    /// `redirect`.
    Redirect(Box<Redirect>),
    /// `set-header`: replaces all of that name. Names in lower case.
    SetHeader(Arc<str>, Format),
    /// `add-header`.
    AddHeader(Arc<str>, Format),
    /// `del-header`.
    DelHeader(Arc<str>),
    /// `use-service prometheus-exporter`.
    PrometheusExporter,
}

/// An `http-response` rule.
#[derive(Debug, Clone)]
pub struct ResponseRule {
    /// What to do.
    pub action: ResponseAction,
    /// When; `None`: always.
    pub condition: Option<Condition>,
    /// Where.
    pub span: Span,
}

/// What an `http-response` rule does.
#[derive(Debug, Clone)]
pub enum ResponseAction {
    /// `allow`.
    Allow,
    /// `set-header`.
    SetHeader(Arc<str>, Format),
    /// `add-header`.
    AddHeader(Arc<str>, Format),
    /// `del-header`.
    DelHeader(Arc<str>),
}

/// An answer of our own.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// `content-type`; the body's default without it.
    pub content_type: Option<Arc<str>>,
    /// `hdr NAME FMT`, in order.
    pub headers: Vec<(Arc<str>, Format)>,
    /// The body.
    pub body: ReplyBody,
}

/// The body of an answer of our own.
#[derive(Debug, Clone)]
pub enum ReplyBody {
    /// The page HAProxy shows for this status; nothing where it has none.
    Default,
    /// `string` or `file`.
    Bytes(Arc<[u8]>),
    /// `lf-string` or `lf-file`.
    Format(Format),
}

/// `redirect location|prefix|scheme` (manual 4.2).
#[derive(Debug, Clone)]
pub struct Redirect {
    /// What the new place is made of.
    pub to: RedirectTo,
    /// 301, 302 (the default), 303, 307, 308.
    pub code: u16,
    /// `drop-query`.
    pub drop_query: bool,
    /// `append-slash`.
    pub append_slash: bool,
    /// `set-cookie NAME[=value]`, or `clear-cookie NAME[=]`, as a complete Set-Cookie value.
    pub cookie: Option<Arc<str>>,
}

/// What the new place is made of.
#[derive(Debug, Clone)]
pub enum RedirectTo {
    /// `location`: all of it.
    Location(Format),
    /// `prefix`: before the path.
    Prefix(Format),
    /// `scheme`: before `://host/path`.
    Scheme(Format),
}

/// `stats …` (manual 4.2).
#[derive(Debug, Clone)]
pub struct StatsPage {
    /// `stats uri`. Default `/haproxy?stats`.
    pub uri: Arc<str>,
    /// `stats realm`. Default "HAProxy Statistics".
    pub realm: Arc<str>,
    /// `stats auth user:password`, any of them.
    pub auth: Vec<(Arc<str>, Secret)>,
    /// `stats refresh`.
    pub refresh: Option<Duration>,
    /// `stats hide-version`.
    pub hide_version: bool,
    /// `stats show-legends`.
    pub show_legends: bool,
    /// `stats show-desc [text]`.
    pub description: Option<Arc<str>>,
    /// `stats show-node [name]`: `Some` shows it.
    pub node: Option<Arc<str>>,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Arc<str>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Logging of a proxy.
#[derive(Debug, Clone, Default)]
pub struct Logging {
    /// `log` lines, with `log global` resolved.
    pub targets: Vec<LogTarget>,
    /// What a session's line looks like; `option httplog` and `option tcplog` are formats too.
    pub format: LogFormat,
    /// `option dontlognull`.
    pub dontlognull: bool,
    /// `log-tag`.
    pub tag: Option<Arc<str>>,
}

/// What a session's log line looks like.
#[derive(Debug, Clone, Default)]
pub enum LogFormat {
    /// The short form: "Connect from … to … (frontend/MODE)".
    #[default]
    Default,
    /// `option tcplog`, `option httplog` or `log-format`.
    Custom(Arc<Format>),
}

/// A `log` line (manual 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    /// Where lines go.
    pub sink: LogSink,
    /// `len`: longest line, bytes. Default 1024.
    pub length_max: usize,
    /// `format`.
    pub format: LogLineFormat,
    /// Facility, 0 (kern) to 23 (local7).
    pub facility: u8,
    /// Least important level that is sent, 0 (emerg) to 7 (debug). Default 7.
    pub level: u8,
    /// More important levels are sent as this one. Default 0.
    pub level_min: u8,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogSink {
    /// `stdout`, `fd@1`.
    Stdout,
    /// `stderr`, `fd@2`.
    Stderr,
    /// `ip[:port]`, `udp@…`.
    Udp(SocketAddr),
    /// A path or `unix@PATH`: a datagram socket.
    Unix(PathBuf),
}

/// How a line is framed (manual 3.1, "log … format").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLineFormat {
    /// `rfc3164`, the default: no host name unless asked.
    Rfc3164,
    /// `rfc5424`.
    Rfc5424,
    /// `local`: as rfc3164 without the host name.
    Local,
    /// `priority`: `<level>` alone.
    Priority,
    /// `short`: `<level>` and the message.
    Short,
    /// `timed`: `<level>`, ISO date, the message.
    Timed,
    /// `iso`: ISO date, tag and pid.
    Iso,
    /// `raw`: the message alone.
    Raw,
}

/// Largest `max-nodes`: each node costs memory and checks, and lists, registry and state file are
/// bounded so that a fleet of this size fits. The largest fleets known have a few hundred.
pub const NODES_MAX: usize = 10_000;

/// Section `discovery` (our own; inside `.if feature(TIDEGATE)`): `None` in a field means its default.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// `url`: the service; the environment's `WS_UPDATES_URL` when not given.
    pub url: Option<Arc<str>>,
    /// `interval`: the environment's `UPDATE_INTERVAL`, else 30 s.
    pub interval: Option<Duration>,
    /// `fill-backend`: which backend the fleet fills. Default `ws_backend`, else the only one that serves upgrades.
    pub backend: Option<BackendId>,
    /// `rewrite-localhost TEMPLATE`: host of nodes that announce `localhost`; `{id}` is their id.
    pub rewrite_localhost: Option<Arc<str>>,
    /// `state-file`: where the last good fleet is kept.
    pub state_file: Option<PathBuf>,
    /// `max-nodes`, at most [`NODES_MAX`]. Default 1000.
    pub nodes_max: Option<usize>,
    /// `drain`: how long a node that left may keep its tunnels. Default: until they end.
    pub drain: Option<Duration>,
}

/// Section `registry` (our own).
#[derive(Debug, Clone)]
pub struct Registry {
    /// `bind`: where nodes announce themselves.
    pub bind: SocketAddr,
    /// `expire`: a node not heard of for so long is not listed. Default 5 min.
    pub expire: Duration,
}
