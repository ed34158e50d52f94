//! Where log lines go and what they look like (manual 3.1, 4.2, 8).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::AbstractName;
use crate::expr::Format;

/// Logging of a proxy.
#[derive(Debug, Clone, Default)]
pub struct Logging {
    /// `log` lines, with `log global` resolved.
    pub targets: Vec<LogTarget>,
    /// What a session's line looks like; `option httplog` and `option tcplog` are formats too.
    pub format: LogFormat,
    /// What is logged of connections that never became a session (`error-log-format`); `None`: the
    /// short line of manual 8.2.5.
    pub error_format: Option<Arc<Format>>,
    /// `log-format-sd`: RFC 5424's structured data.
    pub structured: Option<Arc<Format>>,
    /// `option dontlognull`.
    pub dontlognull: bool,
    /// `option dontlog-normal`.
    pub dontlog_normal: bool,
    /// `option log-separate-errors`.
    pub separate_errors: bool,
    /// `option logasap`.
    pub asap: bool,
    /// Whether `%bi` or `%bp` is in a line.
    pub tells_source: bool,
    /// `option log-health-checks`.
    pub health_checks: bool,
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
    /// Its number among all `log` lines; `log global` repeats those of `global`. The engine keeps
    /// what belongs to it under this number.
    pub number: usize,
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
    /// `sample`; `None`: every line.
    pub sample: Option<LogSample>,
}

/// `sample <ranges>:<size>`: which lines of each `size` are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSample {
    /// First and last of each range, counted from 1; in order, none overlaps another.
    pub ranges: Arc<[(u32, u32)]>,
    /// At least the last of the ranges.
    pub size: u32,
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
    /// `name[:port]`: UDP, resolved by the engine.
    Name(Arc<str>, u16),
    /// A path or `unix@PATH`: a datagram socket.
    Unix(PathBuf),
    /// `abns@NAME`: a datagram socket without a file.
    Abstract(AbstractName),
    /// `fd@N`: inherited.
    Fd(i32),
}

/// How a line is framed (manual 3.1, "log … format").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLineFormat {
    /// None given: `local`, or `rfc3164` with `log-send-hostname`.
    Default,
    /// `rfc3164`.
    Rfc3164,
    /// `rfc5424`.
    Rfc5424,
    /// `local`: as rfc3164 without the host name.
    Local,
    /// `priority`: `<level + facility>` and the message.
    Priority,
    /// `short`: `<level>` and the message.
    Short,
    /// `timed`: `<level>`, ISO date, the message.
    Timed,
    /// `iso`: ISO date, the message.
    Iso,
    /// `raw`: the message alone.
    Raw,
}
