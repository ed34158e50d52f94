//! Health checks (manual 4.2, "http-check"; 5.2, "check").

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    /// `check-alpn`.
    pub alpn: Vec<Arc<str>>,
}

/// Where checks go, if elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckAddress {
    /// An address; the port is the check's, else the server's.
    Ip(IpAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// `abns@NAME`.
    Abstract(Arc<str>),
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
