//! Where log lines go and what they look like (manual 3.1, 4.2, 8).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::expr::Format;

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
