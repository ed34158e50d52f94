//! `bind` lines (manual 5.1). Their TLS is in `tls`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::BindTls;
use crate::source::Span;

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
    /// `id`: its number, unique in its frontend.
    pub id: Option<u32>,
    /// Options of TCP sockets; Unix sockets have none of them.
    pub socket: SocketOptions,
}

impl Bind {
    /// A line that says nothing but where to listen.
    pub fn at(address: BindAddress) -> Self {
        Self {
            address,
            text: "".into(),
            span: Span::default(),
            name: None,
            accept_proxy: false,
            tls: None,
            maxconn: None,
            backlog: None,
            unix_mode: None,
            unix_uid: None,
            unix_gid: None,
            interface: None,
            v6only: None,
            id: None,
            socket: SocketOptions::default(),
        }
    }
}

/// What a `bind` line asks of TCP (manual 5.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// `mss`: the segment size that is told; less than 0: by how much the usual one is reduced.
    pub mss: Option<i32>,
    /// `tcp-ut`: how long sent data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
    /// `cc`: the algorithm of congestion control.
    pub congestion: Option<Arc<str>>,
    /// `defer-accept`: a connection is accepted only once it has said something.
    pub defer_accept: bool,
    /// `tfo`: TCP Fast Open.
    pub fast_open: bool,
    /// `transparent`: the address need not be one of this machine.
    pub transparent: bool,
}

/// The name of a socket that has no file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AbstractName {
    /// Without the zero byte before it.
    pub name: Arc<str>,
    /// `abns@`: zero bytes behind it fill the whole address, as HAProxy has always done. Without them
    /// (`abnsz@`) other programs find it.
    pub padded: bool,
}

impl std::fmt::Display for AbstractName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = if self.padded { "abns" } else { "abnsz" };
        write!(f, "{prefix}@{}", self.name)
    }
}

/// What to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// `*:80`, `:80`, `ip:port`, `[::]:port`.
    Inet(SocketAddr),
    /// `unix@PATH` or a path.
    Unix(PathBuf),
    /// `abns@NAME`, `abnsz@NAME`.
    Abstract(AbstractName),
    /// `fd@N`: inherited, already bound (and listening or not).
    Fd(i32),
}
