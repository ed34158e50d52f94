//! How connections to servers are made (manual 5.2): from where, with what in front.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How connections to a server are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// `source` of the server, else of its backend.
    pub source: Option<Source>,
    /// `send-proxy` and friends.
    pub send_proxy: SendProxy,
    /// `tcp-ut`: how long sent data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
    /// `option srvtcpka|tcpka` of its backend.
    pub keepalive: Option<KeepAlive>,
    /// `option nolinger` of its backend: they end with a reset, and what is not sent yet is lost.
    pub no_linger: bool,
    /// `option tcp-smart-connect` of its backend: the request goes along with the last packet of the
    /// handshake.
    pub smart_connect: bool,
    /// `tfo`: and even with the first one.
    pub fast_open: bool,
    /// `socks4`: through which proxy traffic goes.
    pub socks4: Option<SocketAddr>,
    /// `check-via-socks4`: checks, too.
    pub checks_via_socks4: bool,
}

impl Outgoing {
    /// Whether connections come from ports that were counted out.
    pub fn ports_are_scarce(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.ports.is_some())
    }
}

/// `source ADDR[:PORT[-PORT]] [interface NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `None`: the system chooses.
    pub ip: Option<IpAddr>,
    /// The first and the last port to use; `None`: the system chooses.
    pub ports: Option<(u16, u16)>,
    /// `interface`.
    pub interface: Option<Arc<str>>,
}

/// TCP keep-alive probes; what is `None` is the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeepAlive {
    /// `…-cnt`: unanswered probes before the connection is given up.
    pub count: Option<u32>,
    /// `…-idle`: silence before the first probe.
    pub idle: Option<Duration>,
    /// `…-intvl`: between probes.
    pub interval: Option<Duration>,
}

/// `send-proxy`, `send-proxy-v2…` and `proxy-v2-options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendProxy {
    /// `send-proxy`.
    pub v1: bool,
    /// `send-proxy-v2`, which wins over `send-proxy`.
    pub v2: bool,
    /// `ssl`: how the client's TLS went.
    pub ssl: bool,
    /// `cert-cn`: the common name in its certificate.
    pub cert_cn: bool,
    /// `ssl-cipher`.
    pub ssl_cipher: bool,
    /// `cert-sig`: how our certificate is signed.
    pub cert_sig: bool,
    /// `cert-key`: what key it is for.
    pub cert_key: bool,
    /// `authority`: the name it asked for.
    pub authority: bool,
    /// `crc32c`.
    pub crc32c: bool,
    /// `unique-id`.
    pub unique_id: bool,
}

/// Which header is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// The binary one.
    V2,
}

impl SendProxy {
    /// Which header is sent; `None`: none. Options without any `send-proxy` send a line of text, as
    /// in HAProxy.
    pub fn version(&self) -> Option<ProxyVersion> {
        let options = [
            self.ssl,
            self.cert_cn,
            self.ssl_cipher,
            self.authority,
            self.crc32c,
            self.unique_id,
        ];
        match (self.v2, self.v1 || options.contains(&true)) {
            (true, _) => Some(ProxyVersion::V2),
            (false, true) => Some(ProxyVersion::V1),
            (false, false) => None,
        }
    }
}
