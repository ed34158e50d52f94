//! `server` lines and their TLS (manual 5.2).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::sequence::Sequence;
use super::{
    AbstractName, Agent, BackendId, Check, Lookup, Observe, OnMarked, Outgoing, Pooling, RingKey,
    TlsChoice,
};
use crate::expr::{Format, Sample};
use crate::source::Span;

/// `server` or `default-server` (manual 5.2).
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// Name, unique in its backend.
    pub name: Arc<str>,
    /// Where it was written.
    pub span: Span,
    /// Whether it is of a `server-template`: the addresses of a name are dealt out among its servers.
    pub is_template: bool,
    /// Whether a `default-server` line came before it.
    pub has_defaults: bool,
    /// Where it is.
    pub address: ServerAddress,
    /// How its name becomes an address, where it has a name.
    pub lookup: Lookup,
    /// `weight`, 0 to 256. Default 1.
    pub weight: Weight,
    /// `backup`.
    pub backup: bool,
    /// `disabled`: starts in maintenance.
    pub disabled: bool,
    /// `maxconn`: connections at once; `None`: no limit.
    pub maxconn: Option<u32>,
    /// `minconn`: the limit while the backend has few sessions; below `maxconn`.
    pub minconn: Option<u32>,
    /// `maxqueue`: requests waiting for it; `None`: no limit but the process's.
    pub maxqueue: Option<u32>,
    /// `slowstart`: how long it warms up after it came up.
    pub slowstart: Option<Duration>,
    /// `hash-key`.
    pub ring_key: RingKey,
    /// `guid`: what it is called wherever it is.
    pub guid: Option<Arc<str>>,
    /// `pool-max-conn`, `pool-purge-delay`, `max-reuse`.
    pub pooling: Pooling,
    /// `check` and its parameters; `None`: never checked, always up.
    pub check: Option<Check>,
    /// The parameters of checks even where `check` is not given (`default-server inter 2s`).
    pub check_parameters: Check,
    /// `healthcheck`: what its checks do; `None`: what those of its backend do.
    pub checks: Option<Arc<Sequence>>,
    /// `agent-check` and what belongs to it.
    pub agent: Option<Agent>,
    /// `observe` and what belongs to it; nothing is observed of a server that is not checked.
    pub observe: Observe,
    /// `on-marked-down`, `on-marked-up`.
    pub on_marked: OnMarked,
    /// How connections to it are made.
    pub outgoing: Outgoing,
    /// `set-proxy-v2-tlv-fmt`: values of one's own in its PROXY header, at most one of each type.
    pub proxy_values: Vec<ProxyValue>,
    /// `pool-conn-name`: connections of one name do for each other, whatever was asked for by SNI.
    pub pool_name: Option<Box<Sample>>,
    /// `track`: its state is that server's.
    pub track: Option<Tracked>,
    /// `ssl …`.
    pub tls: Option<ServerTls>,
    /// What was said of TLS even where `ssl` is not given: for `check-ssl`.
    pub tls_parameters: ServerTls,
    /// Whether `ssl` was said for it at all, be it taken back: then it can be switched while running.
    pub tls_switchable: bool,
    /// Whether it was taken back (`no-ssl`).
    pub no_tls: bool,
    /// `id`.
    pub id: Option<u32>,
    /// `cookie`: what stands for it in the cookie of its backend.
    pub cookie: Option<Arc<str>>,
    /// `non-stick`: entries of stick tables never name it.
    pub non_stick: bool,
    /// `redir`: where GET and HEAD are sent in its stead, before the path.
    pub redir: Option<Arc<str>>,
}

/// `set-proxy-v2-tlv-fmt(TYPE) FORMAT`.
#[derive(Debug, Clone)]
pub struct ProxyValue {
    /// Its type.
    pub kind: u8,
    /// What it is; an empty one is sent as well.
    pub value: Format,
}

/// `load-server-state-from-file`: where the states of a backend's servers come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StateFile {
    /// `none`, the default.
    #[default]
    None,
    /// `global`: from `server-state-file`.
    Global,
    /// `local`: from `server-state-file-name`, else the file that is called like the backend.
    Local(PathBuf),
}

/// The server that another one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// Its backend.
    pub backend: BackendId,
    /// Its name, which exists.
    pub server: Arc<str>,
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
    /// Where a part of it is what the client connected to (manual 5.2).
    Mapped(MappedHost, MappedPort),
    /// `name:port`, resolved by the engine; the server is DOWN until it resolves.
    Name(Arc<str>, u16),
    /// `unix@PATH` or a path.
    Unix(PathBuf),
    /// `abns@NAME`, `abnsz@NAME`.
    Abstract(AbstractName),
}

/// The host of an address that depends on the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappedHost {
    /// `*` or an unspecified address: the address the client connected to.
    Client,
    /// An address.
    Ip(IpAddr),
    /// A name, resolved by the engine.
    Name(Arc<str>),
}

/// Its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappedPort {
    /// This one.
    Fixed(u16),
    /// `+N`, `-N`, or none at all (0): relative to the port the client connected to.
    Client(i32),
}

impl Default for ServerAddress {
    fn default() -> Self {
        Self::Inet(SocketAddr::from(([0, 0, 0, 0], 0)))
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
    /// Whether `sni` stands there because nobody wrote another one (`sni-auto`): it is sent, and no
    /// certificate is asked to bear it. Who sends the request chooses it, not who wrote the configuration.
    pub sni_is_auto: bool,
    /// `verifyhost`.
    pub verifyhost: Option<Arc<str>>,
    /// Versions, suites, groups, signatures; merged with the global defaults.
    pub choice: TlsChoice,
    /// `alpn`.
    pub alpn: Vec<Arc<str>>,
    /// `crl-file`.
    pub crl_file: Option<PathBuf>,
    /// `crt`: the certificate we show, with its key, and `crt-base` applied.
    pub crt: Option<PathBuf>,
    /// `no-ssl-reuse` switches it off: sessions are not resumed.
    pub reuse: bool,
    /// `no-tls-tickets` switches them off for TLS 1.2.
    pub tickets: bool,
}

impl Default for ServerTls {
    fn default() -> Self {
        Self {
            verify: true,
            ca_file: None,
            sni: None,
            sni_is_auto: false,
            verifyhost: None,
            choice: TlsChoice::default(),
            alpn: Vec::new(),
            crl_file: None,
            crt: None,
            reuse: true,
            tickets: true,
        }
    }
}
