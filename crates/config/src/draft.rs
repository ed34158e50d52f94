//! A proxy while its lines are read: the model's own types, plus names not yet resolved.
//!
//! `defaults` sections are drafts too; a section begins as a copy of the one it inherits from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::expr::acl::AclTable;
use crate::expr::{Condition, Format, Sample};
use crate::keywords::check_draft::CheckDraft;
use crate::keywords::cookie::PersistenceDraft;
use crate::keywords::legacy::RulesLast;
use crate::keywords::server_origin::Origins;
use crate::keywords::stick::StickDraft;
use crate::keywords::{SectionKind, ServerTlsBase};
use crate::model::{
    AgentAddress, Balancing, Bind, Captures, HttpReuse, KeepAlive, LogTarget, Proxy, RequestRule,
    RetryOn, Server, ServerTls, Source, StatsPage, UniqueId, UseServer,
};
use crate::source::Span;

/// A name that must be resolved, and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    pub(crate) span: Span,
}

/// A proxy under way.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: SectionKind,
    /// Whether it is a `defaults` section without a name: it may hold no rules (manual 4).
    pub(crate) anonymous: bool,
    pub(crate) proxy: Proxy,
    pub(crate) front: FrontDraft,
    pub(crate) back: BackDraft,
    pub(crate) acls: AclTable,
    /// How many of the `http-request` rules come from keywords that preceded all others once.
    pub(crate) rules_first: usize,
    /// Rules that come from keywords whose turn was after all others, until the section ends.
    pub(crate) rules_last: RulesLast,
    /// `option http-restrict-req-hdr-names`: the rule it comes to at the section's end, and where it stands.
    pub(crate) restrict_names: Option<(&'static str, Span)>,
    /// Bare `redirect` lines: they come after all `http-request` rules (manual 4.2).
    pub(crate) redirects: Vec<RequestRule>,
    pub(crate) log: LogDraft,
    pub(crate) stats: StatsDraft,
    pub(crate) stick: StickDraft,
    /// `use-server`.
    pub(crate) use_server: Vec<UseServer>,
    /// Userlists that its expressions name.
    pub(crate) auth_lists: Vec<Arc<str>>,
    /// Where options that need `mode http` were given, for the warning when it is not.
    pub(crate) http_only: BTreeMap<&'static str, Span>,
}

/// A `use_backend` line: its name is computed where there is a format.
#[derive(Debug, Clone)]
pub(crate) struct UseBackendDraft {
    pub(crate) named: Named,
    pub(crate) computed: Option<Arc<Format>>,
    pub(crate) condition: Option<Condition>,
}

/// What only frontends have.
#[derive(Debug, Clone, Default)]
pub(crate) struct FrontDraft {
    pub(crate) binds: Vec<Bind>,
    pub(crate) maxconn: Option<u32>,
    pub(crate) backlog: Option<u32>,
    pub(crate) session_rate_max: Option<u32>,
    /// `option clitcpka`, and its parameters.
    pub(crate) client_probes: bool,
    pub(crate) client_keepalive: KeepAlive,
    pub(crate) no_linger: bool,
    pub(crate) smart_accept: Option<bool>,
    pub(crate) socket_stats: bool,
    pub(crate) default_backend: Option<Named>,
    pub(crate) use_backend: Vec<UseBackendDraft>,
    /// `force-be-switch`.
    pub(crate) force_switch: Vec<Condition>,
    pub(crate) captures: Captures,
    pub(crate) unique_id: UniqueId,
}

/// What only backends have.
#[derive(Debug, Clone)]
pub(crate) struct BackDraft {
    pub(crate) balancing: Balancing,
    /// The line of a `balance` that looks at request heads: there are none in `mode tcp`.
    pub(crate) balance_by_head: Option<Span>,
    pub(crate) servers: Vec<ServerDraft>,
    /// `default-server`, named and not.
    pub(crate) origins: Origins,
    /// `load-server-state-from-file`.
    pub(crate) state_from: StateFrom,
    /// `server-state-file-name`; `None`: the backend's own.
    pub(crate) state_file_name: Option<Arc<str>>,
    /// What its checks do.
    pub(crate) checks: CheckDraft,
    pub(crate) retries: u32,
    pub(crate) redispatch: Option<i32>,
    pub(crate) retry_on: RetryOn,
    /// `source`, for servers without one.
    pub(crate) source: Option<Source>,
    /// `option srvtcpka`, and its parameters.
    pub(crate) server_probes: bool,
    pub(crate) server_keepalive: KeepAlive,
    pub(crate) no_linger: bool,
    pub(crate) smart_connect: bool,
    pub(crate) http_reuse: HttpReuse,
    pub(crate) fullconn: Option<u32>,
    pub(crate) persistence: PersistenceDraft,
    /// `be-unpublished`.
    pub(crate) unpublished: bool,
}

/// `retries` where none is given (manual 4.2).
const RETRIES_DEFAULT: u32 = 3;

impl Default for BackDraft {
    fn default() -> Self {
        Self {
            balancing: Balancing::default(),
            balance_by_head: None,
            servers: Vec::new(),
            origins: Origins::default(),
            state_from: StateFrom::None,
            state_file_name: None,
            checks: CheckDraft::default(),
            retries: RETRIES_DEFAULT,
            redispatch: None,
            retry_on: RetryOn::default(),
            source: None,
            server_probes: false,
            server_keepalive: KeepAlive::default(),
            no_linger: false,
            smart_connect: false,
            http_reuse: HttpReuse::default(),
            fullconn: None,
            persistence: PersistenceDraft::default(),
            unpublished: false,
        }
    }
}

/// A `server` or `default-server` line under way: parameters are kept apart from whether they are
/// used, since `default-server` may give the one and `server` the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerDraft {
    pub(crate) server: Server,
    pub(crate) check: bool,
    pub(crate) check_tls: bool,
    pub(crate) tls: bool,
    /// Whether `ssl` was said, by itself or by `default-server`.
    pub(crate) tls_said: bool,
    /// Whether `no-ssl` came last.
    pub(crate) tls_denied: bool,
    pub(crate) tls_parameters: ServerTls,
    /// What `global` said of TLS up to its line: later lines are for later servers, as in HAProxy.
    pub(crate) tls_base: Arc<ServerTlsBase>,
    /// Whether `verify` was written; else `ssl-server-verify` decides.
    pub(crate) verify_given: bool,
    /// `check-send-proxy`.
    pub(crate) check_send_proxy: bool,
    /// `track`.
    pub(crate) track: Option<Named>,
    /// `no-sni-auto`.
    pub(crate) no_sni_auto: bool,
    /// What stands in for a `sni` that is not given.
    pub(crate) sni_auto: Option<Sample>,
    /// `resolvers`.
    pub(crate) resolvers: Option<Named>,
    /// `healthcheck`.
    pub(crate) healthcheck: Option<Named>,
    /// `agent-check` and what belongs to it.
    pub(crate) agent: AgentDraft,
    /// Where `observe` was written: not every mode has every layer.
    pub(crate) observe_span: Option<Span>,
}

/// `load-server-state-from-file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateFrom {
    None,
    Global,
    Local,
}

/// `agent-check` under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentDraft {
    pub(crate) on: bool,
    pub(crate) port: Option<u16>,
    pub(crate) addr: Option<AgentAddress>,
    pub(crate) inter: Option<Duration>,
    pub(crate) send: Option<Arc<str>>,
}

/// Where a proxy logs to and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogDraft {
    /// `log global`: the targets of `global`, where they stand among the others.
    pub(crate) targets: Vec<LogEntry>,
    pub(crate) format: FormatDraft,
    pub(crate) format_span: Option<Span>,
    pub(crate) error_format: Option<Arc<Format>>,
    pub(crate) structured: Option<Arc<Format>>,
    pub(crate) dontlognull: bool,
    pub(crate) dontlog_normal: bool,
    pub(crate) separate_errors: bool,
    pub(crate) asap: bool,
    pub(crate) health_checks: bool,
    pub(crate) tag: Option<Arc<str>>,
}

/// One `log` line of a proxy.
#[derive(Debug, Clone)]
pub(crate) enum LogEntry {
    Global,
    Target(LogTarget),
}

/// What a session's log line looks like.
#[derive(Debug, Clone, Default)]
pub(crate) enum FormatDraft {
    #[default]
    Default,
    Tcplog,
    TcplogClf,
    Httplog,
    HttplogClf,
    Httpslog,
    Custom(Arc<Format>),
}

/// `stats …` lines under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatsDraft {
    pub(crate) page: Option<StatsPage>,
    /// The place of the last line of it, for warnings.
    pub(crate) span: Option<Span>,
    /// Where `stats auth` or `stats realm` was last given.
    pub(crate) basic: Option<Span>,
}

impl Draft {
    pub(crate) fn new(kind: SectionKind, name: Arc<str>, span: Span) -> Self {
        Self {
            kind,
            anonymous: false,
            proxy: Proxy {
                name,
                span,
                ..Proxy::default()
            },
            front: FrontDraft::default(),
            back: BackDraft::default(),
            acls: AclTable::default(),
            rules_first: 0,
            rules_last: RulesLast::default(),
            restrict_names: None,
            redirects: Vec::new(),
            log: LogDraft::default(),
            stats: StatsDraft::default(),
            stick: StickDraft::default(),
            use_server: Vec::new(),
            auth_lists: Vec::new(),
            http_only: BTreeMap::new(),
        }
    }

    /// A section that inherits from this one. ACLs stay where they were declared (manual 4.2,
    /// "acl"); a name, a place and `id` are nobody's inheritance.
    pub(crate) fn heir(&self, kind: SectionKind, name: Arc<str>, span: Span) -> Self {
        let mut heir = Self {
            kind,
            anonymous: false,
            acls: AclTable::default(),
            ..self.clone()
        };
        heir.proxy.name = name;
        heir.proxy.span = span;
        heir.proxy.id = None;
        heir.proxy.description = None;
        heir.back.checks.inherit();
        heir.stick = self.stick.inherited();
        heir
    }

    pub(crate) fn is_front(&self) -> bool {
        matches!(
            self.kind,
            SectionKind::Frontend | SectionKind::Listen | SectionKind::Defaults
        )
    }

    pub(crate) fn is_back(&self) -> bool {
        matches!(
            self.kind,
            SectionKind::Backend | SectionKind::Listen | SectionKind::Defaults
        )
    }

    /// "frontend 'web'", as messages call it.
    pub(crate) fn title(&self) -> String {
        match self.kind {
            SectionKind::Listen => format!("proxy '{}'", self.proxy.name),
            kind => format!("{} '{}'", kind.name(), self.proxy.name),
        }
    }
}
