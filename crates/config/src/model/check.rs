//! Health checks (manual 4.2, "http-check"; 5.2, "check").

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::AbstractName;
use crate::expr::Format;

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
    pub addr: Option<CheckAddress>,
    /// Whether checks begin with a PROXY header: as traffic does, unless they go elsewhere, or by
    /// `check-send-proxy`.
    pub send_proxy: bool,
    /// `check-ssl`; implied by `ssl` where neither `port` nor `addr` is given.
    pub tls: bool,
    /// `check-sni`: the name checks send; without it a fixed `sni`.
    pub sni: Option<Arc<str>>,
    /// `check-sni-auto`, the default: without one, HTTP checks send the name of their Host header.
    pub sni_from_host: bool,
    /// `check-alpn`.
    pub alpn: Vec<Arc<str>>,
    /// `init-state`.
    pub init: InitState,
}

/// `init-state`: how a checked server starts (manual 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitState {
    /// `up`, the default: one failure takes it down.
    #[default]
    Up,
    /// `fully-up`: `fall` failures do.
    FullyUp,
    /// `down`: one success brings it up.
    Down,
    /// `fully-down`: `rise` successes do.
    FullyDown,
}

/// `agent-check`: who is asked, and how (manual 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// `agent-port`.
    pub port: u16,
    /// `agent-addr`; `None`: the server's own.
    pub addr: Option<AgentAddress>,
    /// `agent-inter`. Default 2 s.
    pub inter: Duration,
    /// `agent-send`: what it is sent first.
    pub send: Option<Arc<str>>,
}

/// Where an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAddress {
    /// There.
    Ip(IpAddr),
    /// Where the name leads, looked up for each check.
    Name(Arc<str>),
}

/// Where checks go, if elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckAddress {
    /// An address; the port is the check's, else the server's.
    Ip(IpAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// `abns@NAME`, `abnsz@NAME`.
    Abstract(AbstractName),
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
            send_proxy: false,
            tls: false,
            sni: None,
            sni_from_host: true,
            alpn: Vec::new(),
            init: InitState::default(),
        }
    }
}

/// A request of a check: `option httpchk`, `http-check send` (manual 4.2).
#[derive(Debug, Clone)]
pub struct HttpSend {
    /// Default `OPTIONS`.
    pub method: Arc<str>,
    /// Default `/`.
    pub uri: CheckText,
    /// `HTTP/1.0` (the default), or as given.
    pub version: Arc<str>,
    /// `hdr NAME VALUE`, in order.
    pub headers: Vec<(Arc<str>, CheckText)>,
    /// `body`.
    pub body: Option<CheckText>,
}

impl Default for HttpSend {
    fn default() -> Self {
        Self {
            method: "OPTIONS".into(),
            uri: CheckText::Fixed("/".into()),
            version: "HTTP/1.0".into(),
            headers: Vec::new(),
            body: None,
        }
    }
}

/// A text in a check's request.
#[derive(Debug, Clone)]
pub enum CheckText {
    /// As it is.
    Fixed(Arc<str>),
    /// Made anew each time.
    Format(Format),
}

impl CheckText {
    /// What it is, where that is known.
    pub fn fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(text) => Some(text),
            Self::Format(_) => None,
        }
    }
}
