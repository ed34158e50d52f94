//! What a running engine looks like at one moment: plain values, for the page, CSV, Prometheus and
//! the control loop. Taking one locks nothing that traffic waits for longer than a list copy.

use std::sync::Arc;
use std::time::Duration;

use config::model::{Mode, ServerAddress};

use crate::command::Admin;
pub use crate::handover::OldProcess;

/// Everything at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The process.
    pub process: Process,
    /// What the control loop last said of itself.
    pub control: ControlStatus,
    /// Frontends, in file order.
    pub frontends: Vec<FrontendStats>,
    /// Backends, in file order.
    pub backends: Vec<BackendStats>,
    /// Stick tables, in file order.
    pub stick_tables: Vec<StickTableStats>,
}

/// A stick table.
#[derive(Debug, Clone)]
pub struct StickTableStats {
    /// Its name.
    pub name: Arc<str>,
    /// The type of its keys.
    pub kind: &'static str,
    /// Entries it may have.
    pub size: u64,
    /// Entries it has.
    pub used: u64,
}

/// The process as a whole.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Version of tidegate.
    pub version: &'static str,
    /// Process id.
    pub pid: u32,
    /// Name of the node: `node`, else the host's.
    pub node: Arc<str>,
    /// `description`.
    pub description: Option<Arc<str>>,
    /// Time since start.
    pub uptime: Duration,
    /// When it started, since 1970.
    pub started: Duration,
    /// Workers.
    pub workers: usize,
    /// Connections that each of them has now.
    pub worker_connections: Vec<u64>,
    /// Connections now.
    pub connections: u64,
    /// Connections since start.
    pub connections_total: u64,
    /// Connections in the last second.
    pub connection_rate: u64,
    /// The most connections in a second.
    pub connection_rate_max: u64,
    /// Limit of connections.
    pub maxconn: u64,
    /// Descriptors the process may hold.
    pub descriptors: u64,
    /// Other limits of the process; 0: none.
    pub limits: ProcessLimits,
    /// Requests since start.
    pub requests_total: u64,
    /// TLS connections now.
    pub tls_connections: u64,
    /// TLS handshakes since start.
    pub tls_handshakes_total: u64,
    /// Tunnels (WebSockets) now.
    pub tunnels: u64,
    /// Tunnels since start.
    pub tunnels_total: u64,
    /// Log lines lost because a target was slow.
    pub log_lines_lost: u64,
    /// Reloads of the configuration since start.
    pub reloads_total: u64,
    /// Those that failed: nothing changed.
    pub reload_failures_total: u64,
    /// The process that this one took over from, as long as it still has something.
    pub predecessor: Option<OldProcess>,
    /// Whether it is stopping.
    pub stopping: bool,
}

/// What the control loop says of itself, as shown on the page and in metrics.
#[derive(Debug, Clone, Default)]
pub struct ControlStatus {
    /// Lifecycle state, by the name in the design: `Starting`, `FetchingNodes`, …
    pub lifecycle: &'static str,
    /// All lifecycle state names in order, for the metric that shows one line a state.
    pub lifecycle_states: &'static [&'static str],
    /// Why it is in `Error`, or what it waits for; one line a reason.
    pub waiting: Vec<String>,
    /// The discovery service, when one is used.
    pub discovery: Option<DiscoveryStatus>,
    /// The HAProxy that is kept in step in place of an engine of ours, when there is one.
    pub haproxy: Option<HaproxyStatus>,
}

/// How it goes with a HAProxy that is driven from outside.
#[derive(Debug, Clone, Default)]
pub struct HaproxyStatus {
    /// Its Runtime API, as `unix:/path` or `tcp:host:port`.
    pub socket: String,
    /// Whether it answered when it was asked last.
    pub reachable: bool,
    /// Why not.
    pub trouble: Option<String>,
    /// Questions without an answer, since start.
    pub failures_total: u64,
    /// Times its configuration file was rewritten, since start.
    pub file_writes_total: u64,
    /// Times that could not be done.
    pub file_failures_total: u64,
    /// Why not, while it cannot.
    pub file_trouble: Option<String>,
    /// Reloads, since start.
    pub reloads_total: u64,
    /// Reloads that failed.
    pub reload_failures_total: u64,
    /// Why the last one did.
    pub reload_trouble: Option<String>,
}

/// The discovery service and its last answers.
#[derive(Debug, Clone, Default)]
pub struct DiscoveryStatus {
    /// Base URL, without credentials.
    pub url: String,
    /// Backend the fleet fills.
    pub backend: Arc<str>,
    /// Nodes in the list in force.
    pub nodes: u64,
    /// Since the last good list came; `None`: none has come since start.
    pub age: Option<Duration>,
    /// Whether the list in force was read from the state file.
    pub from_state_file: bool,
    /// Fetches since start.
    pub fetches_total: u64,
    /// Failed fetches since start, by cause.
    pub failures_total: Vec<(&'static str, u64)>,
    /// Entries left out as invalid, since start.
    pub entries_skipped_total: u64,
    /// Changes (servers added, drained, removed) since start.
    pub changes_total: u64,
    /// How long the last list that changed something took from its coming until its last step was
    /// carried out; `None`: none has changed anything.
    pub apply_time: Option<Duration>,
    /// Where the last change of the fleet came from; `None`: there was none.
    pub last_change: Option<LastChange>,
    /// News since the start: from where (`poll`, `push`, `stream`, `command`), what became of it
    /// (`changed`, `same`, `refused`), how many.
    pub news_total: Vec<(&'static str, &'static str, u64)>,
    /// The service's event stream; `None`: it is not asked for.
    pub stream: Option<StreamStatus>,
    /// Pushes that were not let in, since the start, by cause; empty where none can come.
    pub pushes_refused_total: Vec<(&'static str, u64)>,
    /// What went wrong in the last fetch, if it failed.
    pub last_error: Option<String>,
    /// Times the state file could not be written, since start.
    pub state_file_failures_total: u64,
}

/// The last change of the fleet.
#[derive(Debug, Clone, Copy)]
pub struct LastChange {
    /// Where it came from, one of the sources of [`DiscoveryStatus::news_total`].
    pub source: &'static str,
    /// How long ago.
    pub age: Duration,
}

/// The service's event stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamStatus {
    /// Where it stands, in a word or two.
    pub state: &'static str,
    /// Whether it is open.
    pub open: bool,
    /// How often it broke since the start.
    pub broken_total: u64,
}

/// What `maxconnrate` and its kin say; 0: no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessLimits {
    /// `maxconnrate`.
    pub connection_rate: u64,
    /// `maxsessrate`.
    pub session_rate: u64,
    /// `maxsslrate`.
    pub tls_rate: u64,
    /// `maxsslconn`.
    pub tls_connections: u64,
}

/// Counters frontends, backends and servers share. Names follow HAProxy's CSV.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// `scur`.
    pub sessions: u64,
    /// `smax`.
    pub sessions_max: u64,
    /// `stot`.
    pub sessions_total: u64,
    /// `bin`.
    pub bytes_in: u64,
    /// `bout`.
    pub bytes_out: u64,
    /// `dreq`.
    pub denied_requests: u64,
    /// `dresp`.
    pub denied_responses: u64,
    /// `ereq`.
    pub request_errors: u64,
    /// `econ`.
    pub connect_errors: u64,
    /// `eresp`.
    pub response_errors: u64,
    /// `wretr`.
    pub retries: u64,
    /// `wredis`.
    pub redispatches: u64,
    /// `rate`: sessions in the last second.
    pub rate: u64,
    /// `rate_max`.
    pub rate_max: u64,
    /// `conn_tot`: connections accepted, whatever became of them; of frontends alone.
    pub connections_total: u64,
    /// `conn_rate`: connections in the last second.
    pub connection_rate: u64,
    /// `conn_rate_max`.
    pub connection_rate_max: u64,
    /// `dcon`: connections refused by a rule.
    pub denied_connections: u64,
    /// `dses`: sessions refused by a rule.
    pub denied_sessions: u64,
    /// `req_rate`: requests in the last second.
    pub request_rate: u64,
    /// `req_rate_max`.
    pub request_rate_max: u64,
    /// `req_tot`.
    pub requests_total: u64,
    /// `hrsp_1xx` to `hrsp_5xx`, `hrsp_other`.
    pub responses: [u64; 6],
    /// `cli_abrt`.
    pub client_aborts: u64,
    /// `eint`.
    pub internal_errors: u64,
    /// Changes of rules that could not be made.
    pub failed_rewrites: u64,
    /// `srv_abrt`.
    pub server_aborts: u64,
    /// Tunnels now.
    pub tunnels: u64,
    /// Tunnels since start.
    pub tunnels_total: u64,
    /// `connect` (TCP connects to servers since start).
    pub connects_total: u64,
    /// `reuse` (requests that took a pooled connection).
    pub reuses_total: u64,
    /// `qcur`.
    pub queued: u64,
    /// `qmax`.
    pub queued_max: u64,
    /// `qtime`, `ctime`, `rtime`, `ttime`: averages over the last 1024 requests.
    pub queue_time: Duration,
    /// See `queue_time`.
    pub connect_time: Duration,
    /// See `queue_time`.
    pub response_time: Duration,
    /// See `queue_time`.
    pub total_time: Duration,
    /// `qtime_max`, `ctime_max`, `rtime_max`, `ttime_max`: the longest since start.
    pub queue_time_max: Duration,
    /// See `queue_time_max`.
    pub connect_time_max: Duration,
    /// See `queue_time_max`.
    pub response_time_max: Duration,
    /// See `queue_time_max`.
    pub total_time_max: Duration,
    /// `lbtot`: times a server was chosen by balancing.
    pub loadbalanced_total: u64,
    /// `intercepted`: requests answered by ourselves (page, metrics, redirects, `return`).
    pub intercepted_total: u64,
    /// TLS handshakes that succeeded.
    pub tls_sessions: u64,
    /// Those that resumed a session.
    pub tls_resumed: u64,
    /// TLS handshakes that failed.
    pub tls_failures: u64,
    /// Time to response head (latency) of backends, cumulative counts by upper bound.
    pub latency: Histogram,
}

/// A cumulative histogram of durations.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Upper bound and the number of values at or below it, ascending; the last is infinite (`None`).
    pub buckets: Vec<(Option<Duration>, u64)>,
    /// Sum of all values.
    pub sum: Duration,
}

/// A frontend.
#[derive(Debug, Clone)]
pub struct FrontendStats {
    /// Name.
    pub name: Arc<str>,
    /// `mode`.
    pub mode: Mode,
    /// Addresses it listens on.
    pub binds: Vec<Arc<str>>,
    /// Its listeners one by one, with `option socket-stats`.
    pub listeners: Vec<ListenerStats>,
    /// Whether it takes connections.
    pub open: bool,
    /// Limit of sessions (`slim`).
    pub sessions_limit: u64,
    /// `rate_lim`: limit of sessions a second; 0: none.
    pub session_rate_limit: u64,
    /// Counters.
    pub traffic: Traffic,
    /// Numeric id (`iid`).
    pub id: u32,
}

/// A listener, counted on its own because of `option socket-stats`.
#[derive(Debug, Clone)]
pub struct ListenerStats {
    /// `name`, else `sock-` and its number.
    pub name: Arc<str>,
    /// `address:port`, or `unix`.
    pub address: Arc<str>,
    /// Whether it takes connections.
    pub open: bool,
    /// Limit of sessions (`slim`); 0: none of its own.
    pub sessions_limit: u64,
    /// Counters.
    pub traffic: Traffic,
    /// Number in its frontend (`sid`).
    pub id: u32,
}

/// A backend.
#[derive(Debug, Clone)]
pub struct BackendStats {
    /// Name.
    pub name: Arc<str>,
    /// `mode`.
    pub mode: Mode,
    /// `balance`.
    pub balance: &'static str,
    /// Name of its persistence cookie.
    pub cookie: Option<Arc<str>>,
    /// Whether any server can be used, or none is there that could be down.
    pub up: bool,
    /// Total weight of usable servers.
    pub weight: u64,
    /// The same by the weights as they were set.
    pub weight_set: u64,
    /// Usable active servers.
    pub active: u64,
    /// Usable backup servers.
    pub backup: u64,
    /// Time since the last change of `up`.
    pub last_change: Duration,
    /// Changes from up to down (`chkdown`).
    pub downs_total: u64,
    /// Time spent down (`downtime`).
    pub downtime: Duration,
    /// Time since the last session (`lastsess`).
    pub last_session: Option<Duration>,
    /// Limit of sessions (`slim`: fullconn).
    pub sessions_limit: u64,
    /// Counters.
    pub traffic: Traffic,
    /// Its servers.
    pub servers: Vec<ServerStats>,
    /// Numeric id (`iid`).
    pub id: u32,
}

/// A server.
#[derive(Debug, Clone)]
pub struct ServerStats {
    /// Name.
    pub name: Arc<str>,
    /// Where it is.
    pub address: ServerAddress,
    /// The text of HAProxy's `status` column: `UP`, `DOWN 1/2`, `MAINT`, `DRAIN`, `no check` ….
    pub status: String,
    /// Whether it takes new sessions.
    pub usable: bool,
    /// Administrative state.
    pub admin: Admin,
    /// Whether it is checked.
    pub checked: bool,
    /// Weight in force (`weight`).
    pub weight: u64,
    /// Weight as set (`uweight`).
    pub weight_set: u64,
    /// Weight by configuration.
    pub weight_initial: u64,
    /// While it starts slowly: how much of its weight is in force, percent (`throttle`).
    pub throttle: Option<u64>,
    /// `cookie`.
    pub cookie: Option<Arc<str>>,
    /// `backup`.
    pub backup: bool,
    /// `maxconn` (`slim`).
    pub sessions_limit: Option<u64>,
    /// `maxqueue` (`qlimit`).
    pub queue_limit: Option<u64>,
    /// Last check: HAProxy's short code (`L7OK`, `L4CON` …); empty before the first.
    pub check_status: &'static str,
    /// Whether a check is under way.
    pub checking: bool,
    /// Status code of the last layer 7 check.
    pub check_code: Option<u16>,
    /// How long the last check took.
    pub check_duration: Option<Duration>,
    /// What the last check said, for people.
    pub check_message: String,
    /// `check_rise`, `check_fall`, `check_health`.
    pub check_rise: u32,
    /// See `check_rise`.
    pub check_fall: u32,
    /// See `check_rise`.
    pub check_health: u32,
    /// Failed checks while up (`chkfail`).
    pub check_failures_total: u64,
    /// Times that errors seen by sessions were one too many (`hanafail`), where it is observed.
    pub observed_failures_total: Option<u64>,
    /// The server whose state it has, as `backend/server` (`tracked`).
    pub tracked: Option<String>,
    /// Changes to down (`chkdown`).
    pub downs_total: u64,
    /// Time since the last change of state (`lastchg`).
    pub last_change: Duration,
    /// Time spent down (`downtime`).
    pub downtime: Duration,
    /// Time since the last session (`lastsess`).
    pub last_session: Option<Duration>,
    /// Whether it was added while running.
    pub dynamic: bool,
    /// Most idle connections that are kept (`pool-max-conn`, `src_ilim`).
    pub idle_limit: Option<u64>,
    /// Idle pooled connections.
    pub idle_connections: u64,
    /// How it is being emptied, or was.
    pub drain: Option<DrainStats>,
    /// Counters.
    pub traffic: Traffic,
    /// Numeric id (`sid`).
    pub id: u32,
}

/// How a server is being emptied (`drain server`, a node that leaves).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainStats {
    /// `false`: it is empty.
    pub under_way: bool,
    /// Over which period its sessions are told to end; `None`: they end by themselves.
    pub over: Option<Duration>,
    /// For how long, or how long it took.
    pub lasted: Duration,
    /// The status that WebSockets are told.
    pub code: u16,
    /// Whether it is removed when it is empty.
    pub removes: bool,
    /// Sessions that it had.
    pub sessions_before: u64,
    /// Those that were told to end.
    pub closed: u64,
}

impl DrainStats {
    /// Time until the last session is told to end; `None`: they end by themselves.
    pub fn left(&self) -> Option<Duration> {
        match self.under_way {
            true => Some(self.over?.saturating_sub(self.lasted)),
            false => self.over.map(|_| Duration::ZERO),
        }
    }
}

/// Something that happened and that the control loop wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server went DOWN by its checks.
    ServerDown {
        /// Its backend.
        backend: Arc<str>,
        /// Its name.
        server: Arc<str>,
    },
    /// A server went UP by its checks.
    ServerUp {
        /// Its backend.
        backend: Arc<str>,
        /// Its name.
        server: Arc<str>,
    },
    /// Another configuration is in force.
    Reloaded,
    /// The first request or connection was routed to a server.
    FirstRouted,
    /// A soft stop has begun: nothing new is accepted, sessions go on until they end. Another
    /// process may be about to take over what this one held.
    Stopping,
}
