//! What `defaults`, `frontend`, `backend` and `listen` say of themselves (manual 4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::sequence::Sequence;
use super::{
    BackendId, Balancing, Bind, Captures, Conduct, Cookie, ErrorPages, HttpReuse, KeepAlive,
    Logging, PersistRule, RequestRule, ResponseRule, RetryOn, RuleList, Secret, Server, ServerTls,
    StateFile, StatsPage, StickRules, TableId, TcpRules, UniqueId, Userlist,
};
use crate::expr::{Asked, Condition, Format};
use crate::source::Span;

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
    /// `monitor-uri`, `option abortonclose` and their like.
    pub conduct: Conduct,
    /// `http-request` rules, in order.
    pub http_request: RuleList<RequestRule>,
    /// `http-response` rules, in order.
    pub http_response: Vec<ResponseRule>,
    /// `http-after-response` rules, in order; none of them answers.
    pub http_after_response: Vec<ResponseRule>,
    /// `tcp-request …` and `tcp-response …`.
    pub tcp: TcpRules,
    /// `stats …`, when any line of it was given and it is not disabled.
    pub stats: Option<StatsPage>,
    /// Its stick table.
    pub stick_table: Option<TableId>,
    /// Userlists that its expressions name.
    pub userlists: Vec<Arc<Userlist>>,
    /// `log`, `option httplog` and friends.
    pub log: Logging,
    /// `errorfile`, `errorloc`…: answers of one's own, by the status they stand for.
    pub error_pages: ErrorPages,
    /// `id`.
    pub id: Option<u32>,
}

/// `timeout …` (manual 4.2). `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// `timeout client`: silence of the client.
    pub client: Option<Duration>,
    /// `timeout client-fin`: silence of a client that has half-closed.
    pub client_fin: Option<Duration>,
    /// `timeout client-hs`: a TLS handshake.
    pub client_hs: Option<Duration>,
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
    /// `option socket-stats`: each bind is counted on its own.
    pub socket_stats: bool,
    /// What expressions ask for, wherever they stand, that is kept only then.
    pub asked: Asked,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// `rate-limit sessions`: new ones a second.
    pub session_rate_max: Option<u32>,
    /// `option clitcpka|tcpka`: probes to silent clients.
    pub client_keepalive: Option<KeepAlive>,
    /// `option nolinger`: connections end with a reset, and what is not sent yet is lost.
    pub no_linger: bool,
    /// `option tcp-smart-accept`: a request is acknowledged along with its answer. `None`: as the
    /// mode suggests.
    pub smart_accept: Option<bool>,
    /// `use_backend` lines, in order.
    pub use_backend: RuleList<UseBackend>,
    /// `force-be-switch`: when one of these holds, rules lead to backends that are not public as well.
    pub force_switch: Vec<Condition>,
    /// `default_backend`; for `listen` its own back half.
    pub default_backend: Option<BackendId>,
    /// `capture`, `declare capture`: what is kept for the log line.
    pub captures: Captures,
    /// `unique-id-format`, `unique-id-header`.
    pub unique_id: UniqueId,
    /// Whether this is half of a `listen`.
    pub listen: bool,
}

impl Frontend {
    /// Whether requests that come in by `bind` are acknowledged along with their answers: where a
    /// client speaks first and is answered at once, unless told (manual 4.2, "option
    /// tcp-smart-accept").
    pub fn acknowledges_late(&self, bind: &Bind) -> bool {
        let usual = self.proxy.mode == Mode::Http || bind.tls.is_some();
        self.smart_accept.unwrap_or(usual)
    }
}

/// `use_backend NAME [if …]`.
#[derive(Debug, Clone)]
pub struct UseBackend {
    /// Where to go.
    pub target: Target,
    /// When; `None`: always.
    pub condition: Option<Condition>,
}

/// Where a `use_backend` rule leads.
#[derive(Debug, Clone)]
pub enum Target {
    /// To this one.
    Known(BackendId),
    /// `%[…]`: to the one of these whose name is computed, or to the default one.
    Computed(Arc<Format>, Arc<BTreeMap<Box<[u8]>, BackendId>>),
}

impl Target {
    /// The backend, where it does not depend on anything.
    pub fn known(&self) -> Option<BackendId> {
        match self {
            Self::Known(id) => Some(*id),
            Self::Computed(..) => None,
        }
    }

    /// All backends it may lead to.
    pub fn all(&self) -> impl Iterator<Item = BackendId> {
        let computed = match self {
            Self::Known(_) => None,
            Self::Computed(_, names) => Some(names.values().copied()),
        };
        self.known()
            .into_iter()
            .chain(computed.into_iter().flatten())
    }
}

/// Section `backend`, or the back half of `listen`.
#[derive(Debug, Clone, Default)]
pub struct Backend {
    /// What it shares with frontends.
    pub proxy: Proxy,
    /// `balance` and what belongs to it.
    pub balancing: Balancing,
    /// `load-server-state-from-file`.
    pub state_file: StateFile,
    /// `server` lines.
    pub servers: Vec<Server>,
    /// `default-server` in force at the end of the section: what a discovered node inherits.
    pub default_server: Server,
    /// What `default-server` says of TLS even where it does not say `ssl` (`default-server ca-file …`),
    /// global defaults included: for a discovered node that asks for TLS.
    pub default_server_tls: ServerTls,
    /// `unique-id-format`: of its checks; requests have their frontend's.
    pub unique_id: Option<Arc<Format>>,
    /// What its checks do: a plain connect where nothing is said.
    pub checks: Arc<Sequence>,
    /// `retries`. Default 3.
    pub retries: u32,
    /// `option redispatch [N]`; `None`: off. A session that belongs to a server leaves it with every
    /// Nth retry, counted from the last one for negative N, and never for 0. One that went there by
    /// round robin leaves with every retry.
    pub redispatch: Option<i32>,
    /// `retry-on`.
    pub retry_on: RetryOn,
    /// `http-reuse`.
    pub http_reuse: HttpReuse,
    /// `fullconn`.
    pub fullconn: Option<u32>,
    /// `cookie`.
    pub cookie: Option<Cookie>,
    /// `dynamic-cookie-key`.
    pub dynamic_cookie_key: Option<Secret>,
    /// `option persist`: a cookie is followed to a server that is down.
    pub persist: bool,
    /// `persist rdp-cookie`: the name of the cookie that names a server, in `mode tcp`.
    pub persist_rdp_cookie: Option<Arc<str>>,
    /// `force-persist` and `ignore-persist`, in order.
    pub persist_rules: Vec<PersistRule>,
    /// `stick …`.
    pub stick: StickRules,
    /// `use-server`, in order.
    pub use_server: Vec<UseServer>,
    /// `be-unpublished`: no rule of another section leads to it until it is published.
    pub unpublished: bool,
    /// Its servers that rules and expressions name.
    pub named_servers: BTreeSet<Arc<str>>,
    /// Whether this is half of a `listen`.
    pub listen: bool,
}

/// `use-server SERVER if CONDITION` (manual 4.2).
#[derive(Debug, Clone)]
pub struct UseServer {
    /// Which server: of this name, or of the one that comes out of it.
    pub server: ServerName,
    /// When; `None`: always.
    pub condition: Option<Condition>,
    /// Where.
    pub span: Span,
}

/// The name of a server.
#[derive(Debug, Clone)]
pub enum ServerName {
    /// This one.
    Is(Arc<str>),
    /// The one that comes out of it; none of this name: the rule says nothing.
    Computed(Format),
}
