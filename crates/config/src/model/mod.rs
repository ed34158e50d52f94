//! The checked configuration: every value valid, every reference resolved.
//!
//! Built only by `check`; what is here nobody downstream validates again. One file a family.

mod actions;
mod balance;
mod bind;
mod capture;
mod check;
mod cli;
mod conduct;
mod cookie;
mod edits;
mod errors;
mod forwarded;
mod load;
mod log;
mod observe;
mod outgoing;
mod own;
mod proxy;
mod resolvers;
mod retry;
mod rule_list;
mod rules;
pub mod sequence;
mod server;
mod stats;
mod stick;
mod tcp_rules;
mod tls;
mod users;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::environment::Variables;
pub use actions::{
    Action, AddressPart, ListChange, ListEntry, Mark, NewTimeout, Priority, SetVar, VarSource,
};
pub use balance::{Affinity, Balance, Balancing, HashFunction, HashKey, Hashing, UriKey};
pub use bind::{AbstractName, Bind, BindAddress, SocketOptions};
pub use capture::{CaptureSlot, Captures, CookieCapture, LogLevel, RuleCapture, UniqueId};
pub use check::{Agent, AgentAddress, Check, CheckAddress, CheckText, HttpSend, InitState};
pub use cli::{CliLevel, RuntimeApi, SeverityOutput, StatsSocket, StatsSocketSettings};
pub use conduct::{Conduct, MinRate};
pub use cookie::{Cookie, CookieMode, PersistRule};
pub use edits::{FieldEdit, FieldName, Normalizer, Replacement, TargetEdit, TargetPart};
pub use errors::{ErrorAnswer, ErrorPage, ErrorPages};
pub use forwarded::{ForwardedHeader, ForwardedNode, ForwardedValue};
pub use load::{HttpReuse, IdleMax, Pooling, RingKey};
pub use log::{LogFormat, LogLineFormat, LogSample, LogSink, LogTarget, Logging};
pub use observe::{Observe, ObservedLayer, OnError, OnMarked};
pub use outgoing::{KeepAlive, Outgoing, ProxyVersion, SendProxy, Source};
pub use own::{Discovery, NODES_MAX, Registry, Runtime};
pub use proxy::{
    Backend, ConnectionMode, ForwardFor, Frontend, Mode, Proxy, ServerName, Target, Timeouts,
    UseBackend, UseServer,
};
pub use resolvers::{Hold, InitAddress, Lookup, Nameserver, Resolvers};
pub use retry::{RETRIED_STATUSES, RetryOn};
pub use rule_list::{Conditional, RuleIndex, RuleList, RuleTable};
pub use rules::{
    BodyWait, Redirect, RedirectTo, Reply, ReplyBody, RequestAction, RequestRule, ResponseAction,
    ResponseRule,
};
pub use server::{
    MappedHost, MappedPort, ProxyValue, Server, ServerAddress, ServerTls, StateFile, Tracked,
    Weight,
};
pub use stats::{Secret, StatsPage};
pub use stick::{
    Amount, BlamedStatuses, CounterChange, DataType, ELEMENTS_MAX, GeneralSlot, KeyType,
    LEN_DEFAULT, LayoutError, Period, STICK_COUNTERS, STORES_MAX, ServerKeyKind, StatusSet,
    StickRule, StickRules, StickTable, Stored, TableId, Track, check_stored,
};
pub use tcp_rules::{TcpAction, TcpRule, TcpRules};
pub use tls::{
    BindTls, CertificateSource, ClientVerify, ExtraFiles, GlobalTls, Group, IgnoredErrors,
    StoredCertificate, Suite, TlsChoice, TlsPolicy, TlsVersions,
};
pub use users::{Password, Scheme, User, Userlist};

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Process-wide settings.
    pub global: Global,
    /// Frontends, and the front half of each `listen`, in file order.
    pub frontends: Vec<Frontend>,
    /// Backends, and the back half of each `listen`, in file order.
    pub backends: Vec<Backend>,
    /// Stick tables, in file order.
    pub stick_tables: Vec<StickTable>,
    /// Sections `userlist`, in file order.
    pub userlists: Vec<Arc<Userlist>>,
    /// Sections `resolvers`, in file order.
    pub resolvers: Vec<Arc<Resolvers>>,
    /// Pattern files of ACLs and maps, in the order they are named.
    pub lists: Vec<Arc<crate::lists::List>>,
    /// Where the node list comes from: section `discovery` (our own; the environment fills the rest).
    pub discovery: Option<Discovery>,
    /// The embedded node registry: section `registry` (our own).
    pub registry: Option<Registry>,
    /// How changes at run time are made: section `runtime` (our own).
    pub runtime: Runtime,
    /// What lines that come later (`add server`) are read with.
    pub(crate) bases: Arc<crate::keywords::Bases>,
    /// What servers that are added while running may begin with.
    pub(crate) origins: Arc<crate::keywords::server_origin::OriginsByBackend>,
}

impl Config {
    /// The file that a place is in.
    pub fn file_of(&self, place: crate::source::Span) -> &str {
        let sources = &self.global.sources;
        sources
            .get(usize::from(place.source.0))
            .map_or("", |name| &**name)
    }
}

/// A backend, by its position in [`Config::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub usize);

/// Section `global` (manual 3).
#[derive(Debug, Clone, Default)]
pub struct Global {
    /// `set-var`, `set-var-fmt`: what the process begins with.
    pub variables: Vec<SetVar>,
    /// `daemon`.
    pub daemon: bool,
    /// `user` or `uid`.
    pub user: Option<Account>,
    /// `group` or `gid`.
    pub group: Option<Account>,
    /// `chroot`.
    pub chroot: Option<PathBuf>,
    /// `server-state-base`.
    pub server_state_base: Option<PathBuf>,
    /// `server-state-file`.
    pub server_state_file: Option<PathBuf>,
    /// `pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `maxconn`: connections of the whole process; `None`: as many as descriptors allow.
    pub maxconn: Option<u32>,
    /// `harden.reject-privileged-ports.tcp`: no client may come from a port below 1024.
    pub refuses_privileged_ports: bool,
    /// `maxconnrate`: connections of the whole process a second.
    pub maxconnrate: Option<u32>,
    /// `maxsessrate`: sessions, which connections are once a rule has not refused them.
    pub maxsessrate: Option<u32>,
    /// `maxsslrate`: TLS handshakes a second.
    pub maxsslrate: Option<u32>,
    /// `maxsslconn`: TLS connections of clients at once.
    pub maxsslconn: Option<u32>,
    /// `nbthread`: workers; `None`: one per core.
    pub nbthread: Option<u16>,
    /// `ulimit-n`.
    pub ulimit_n: Option<u64>,
    /// `spread-checks`: percent of the interval, 0 to 50.
    pub spread_checks: u8,
    /// `external-check preserve-env`: programs that check servers have our environment.
    pub external_check_env: bool,
    /// `insecure-setuid-wanted`: and may gain rights that we do not have.
    pub setuid_wanted: bool,
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
    /// `stats socket` and its bounds.
    pub runtime_api: RuntimeApi,
    /// TLS of the whole process.
    pub tls: GlobalTls,
    /// `http-err-codes` and `http-fail-codes`.
    pub blamed_statuses: BlamedStatuses,
    /// Bounds of `tune.*`.
    pub tune: Tune,
    /// `setenv`, `presetenv`, `unsetenv` and `resetenv`: what the program itself sees of the
    /// environment. Values do not print.
    pub environment: Variables,
    /// The files it was read from, by the numbers that places in them have.
    pub sources: Arc<[Arc<str>]>,
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
    /// `tune.idle-pool.shared`: whether workers lend each other idle connections to servers. Default yes.
    pub idle_pool_shared: bool,
    /// `tune.stick-counters`: what a connection, or a request, may track at once. Default 3.
    pub stick_counters: u8,
    /// `tune.listener.multi-queue`. Default `on`.
    pub multi_queue: MultiQueue,
    /// `tune.vars.…-max-size`. Default none.
    pub vars: VarLimits,
}

/// Bounds of what variables hold, in bytes; `None`: none (manual 3.2, "tune.vars").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VarLimits {
    /// The smaller of `global` and `proc`: what the process's own have.
    pub process: Option<usize>,
    /// `sess`, with those of the request.
    pub sess: Option<usize>,
    /// `txn`, with those of both its halves.
    pub txn: Option<usize>,
    /// `reqres`: both halves.
    pub reqres: Option<usize>,
}

/// Which worker serves a connection (`tune.listener.multi-queue`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MultiQueue {
    /// The one that accepted it, unless another has noticeably less to do.
    #[default]
    On,
    /// One after the other.
    Fair,
    /// The one that accepted it.
    Off,
}

impl Default for Tune {
    fn default() -> Self {
        Self {
            bufsize: 16384,
            maxrewrite: 1024,
            http_maxhdr: 101,
            idle_pool_shared: true,
            stick_counters: STICK_COUNTERS,
            multi_queue: MultiQueue::default(),
            vars: VarLimits::default(),
        }
    }
}
