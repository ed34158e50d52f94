//! `show info` (management.txt 9.3): the process as a whole, under the names tools parse.
//!
//! A fact this program does not have stands as 0, so that what reads all lines finds them.

use std::fmt::Write as _;
use std::time::Duration;

use engine::export::json_text;
use engine::snapshot::{Process, Snapshot};

use super::process::{RELEASE_DATE, VERSION};

/// What the lines are made from.
struct Info<'a> {
    process: &'a Process,
    listeners: u64,
    bytes_out: u64,
    tls_reused: u64,
}

enum Value {
    Text(String),
    Number(u64),
}

/// One line: position, name, tags and type (management.txt 9.2), what it is, and its value.
struct Line(
    u8,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    fn(&Info<'_>) -> Value,
);

/// How `show info` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Typed,
    Json,
}

fn number(value: u64) -> Value {
    Value::Number(value)
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// HAProxy's form: `0d 0h14m27s`.
fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    format!(
        "{days}d {hours}h{:02}m{:02}s",
        seconds / 60 % 60,
        seconds % 60
    )
}

#[rustfmt::skip]
const LINES: &[Line] = &[
    Line(0, "Name", "POS", "str", "Name of the product", |_| text("tidegate")),
    Line(1, "Version", "POS", "str", "Its version", |_| text(VERSION)),
    Line(2, "Release_date", "POS", "str", "When that version was made", |_| text(RELEASE_DATE)),
    Line(3, "Nbthread", "CGS", "u32", "Worker threads", |info| { let p = info.process; number(p.workers as u64) }),
    Line(4, "Nbproc", "CGS", "u32", "Worker processes: always 1", |_| number(1)),
    Line(5, "Process_num", "KGP", "u32", "Number of this worker process: always 1", |_| number(1)),
    Line(6, "Pid", "SGP", "u32", "Process id", |info| { let p = info.process; number(p.pid.into()) }),
    Line(7, "Uptime", "MDP", "str", "Time since start", |info| { let p = info.process; Value::Text(uptime(p.uptime)) }),
    Line(8, "Uptime_sec", "MDP", "u32", "Seconds since start", |info| { let p = info.process; number(p.uptime.as_secs()) }),
    Line(9, "Memmax_MB", "CLP", "u32", "Limit of memory, MB; 0: none", |_| number(0)),
    Line(10, "PoolAlloc_MB", "MGP", "u32", "Memory in pools, MB: there are none", |_| number(0)),
    Line(11, "PoolUsed_MB", "MGP", "u32", "Memory used in pools, MB: there are none", |_| number(0)),
    Line(12, "PoolFailed", "MCP", "u32", "Failed allocations", |_| number(0)),
    Line(13, "Ulimit-n", "CLP", "u32", "Descriptors the process may hold", |info| { let p = info.process; number(p.descriptors) }),
    Line(14, "Maxsock", "CLP", "u32", "Sockets the process may hold", |info| { let p = info.process; number(p.descriptors) }),
    Line(15, "Maxconn", "CLP", "u32", "Client connections at once", |info| { let p = info.process; number(p.maxconn) }),
    Line(16, "Hard_maxconn", "CLP", "u32", "The most that Maxconn can be", |info| { let p = info.process; number(p.maxconn) }),
    Line(17, "CurrConns", "MGP", "u32", "Client connections now", |info| { let p = info.process; number(p.connections) }),
    Line(18, "CumConns", "MCP", "u32", "Client connections since start", |info| { let p = info.process; number(p.connections_total) }),
    Line(19, "CumReq", "MCP", "u32", "Requests since start", |info| { let p = info.process; number(p.requests_total) }),
    Line(20, "MaxSslConns", "MMP", "u32", "TLS connections at once; 0: no limit", |info| { let p = info.process; number(p.limits.tls_connections) }),
    Line(21, "CurrSslConns", "MGP", "u32", "TLS connections now", |info| { let p = info.process; number(p.tls_connections) }),
    Line(22, "CumSslConns", "MCP", "u32", "TLS connections since start", |info| { let p = info.process; number(p.tls_handshakes_total) }),
    Line(23, "Maxpipes", "CLP", "u32", "Pipes for splicing: none are used", |_| number(0)),
    Line(24, "PipesUsed", "MGP", "u32", "Pipes in use", |_| number(0)),
    Line(25, "PipesFree", "MGP", "u32", "Spare pipes", |_| number(0)),
    Line(26, "ConnRate", "MRP", "u32", "Client connections in the last second", |info| { let p = info.process; number(p.connection_rate) }),
    Line(27, "ConnRateLimit", "CLP", "u32", "maxconnrate; 0: none", |info| { let p = info.process; number(p.limits.connection_rate) }),
    Line(28, "MaxConnRate", "MMP", "u32", "The most client connections in a second", |info| { let p = info.process; number(p.connection_rate_max) }),
    Line(29, "SessRate", "MRP", "u32", "Sessions in the last second", |info| { let p = info.process; number(p.connection_rate) }),
    Line(30, "SessRateLimit", "CLP", "u32", "maxsessrate; 0: none", |info| { let p = info.process; number(p.limits.session_rate) }),
    Line(31, "MaxSessRate", "MRP", "u32", "The most sessions in a second", |info| { let p = info.process; number(p.connection_rate_max) }),
    Line(32, "SslRate", "MRP", "u32", "TLS connections in the last second", |_| number(0)),
    Line(33, "SslRateLimit", "CLP", "u32", "maxsslrate; 0: none", |info| { let p = info.process; number(p.limits.tls_rate) }),
    Line(34, "MaxSslRate", "MMP", "u32", "The most TLS connections in a second", |_| number(0)),
    Line(35, "SslFrontendKeyRate", "MGP", "u32", "TLS keys for clients in the last second", |_| number(0)),
    Line(36, "SslFrontendMaxKeyRate", "MMP", "u32", "The most TLS keys for clients in a second", |_| number(0)),
    Line(37, "SslFrontendSessionReuse_pct", "MGP", "u32", "Clients that resumed TLS, percent", |info| number(info.tls_reused)),
    Line(38, "SslBackendKeyRate", "MRP", "u32", "TLS keys for servers in the last second", |_| number(0)),
    Line(39, "SslBackendMaxKeyRate", "MMP", "u32", "The most TLS keys for servers in a second", |_| number(0)),
    Line(40, "SslCacheLookups", "MCP", "u32", "Look-ups of TLS sessions", |_| number(0)),
    Line(41, "SslCacheMisses", "MCP", "u32", "Look-ups that found none", |_| number(0)),
    Line(42, "CompressBpsIn", "MRP", "u32", "Bytes to compress in the last second", |_| number(0)),
    Line(43, "CompressBpsOut", "MRP", "u32", "Compressed bytes in the last second", |_| number(0)),
    Line(44, "CompressBpsRateLim", "CLP", "u32", "maxcomprate; 0: none", |_| number(0)),
    Line(47, "Tasks", "MGP", "u32", "Tasks: about one a connection", |info| { let p = info.process; number(p.connections) }),
    Line(48, "Run_queue", "MGP", "u32", "Tasks about to run", |_| number(0)),
    Line(49, "Idle_pct", "MaP", "u32", "Idle time of the last second, percent", |_| number(100)),
    Line(50, "node", "COS", "str", "Name of the node", |info| { let p = info.process; text(&p.node) }),
    Line(52, "Stopping", "MGP", "u32", "1 while it is stopping", |info| { let p = info.process; number(p.stopping.into()) }),
    Line(53, "Jobs", "MGP", "u32", "Client connections and listeners", |info| { let p = info.process; number(p.connections + info.listeners) }),
    Line(54, "Unstoppable Jobs", "MGP", "u32", "Jobs that hold up the end", |_| number(0)),
    Line(55, "Listeners", "MGP", "u32", "Listening sockets by configuration", |info| number(info.listeners)),
    Line(56, "ActivePeers", "MGP", "u32", "Peers in service", |_| number(0)),
    Line(57, "ConnectedPeers", "MGP", "u32", "Peers that are connected", |_| number(0)),
    Line(58, "DroppedLogs", "MGP", "u32", "Log lines that were lost", |info| { let p = info.process; number(p.log_lines_lost) }),
    Line(59, "BusyPolling", "MGP", "u32", "1 with busy polling", |_| number(0)),
    Line(60, "FailedResolutions", "MGP", "u32", "Names that did not resolve", |_| number(0)),
    Line(61, "TotalBytesOut", "MGP", "u64", "Bytes sent to clients since start", |info| number(info.bytes_out)),
    Line(62, "TotalSplicedBytesOut", "MGP", "u64", "Those sent through pipes", |_| number(0)),
    Line(63, "BytesOutRate", "MRP", "u64", "Bytes sent in the last second", |_| number(0)),
    Line(64, "DebugCommandsIssued", "MGP", "u32", "Debug commands since start", |_| number(0)),
    Line(65, "CumRecvLogs", "MCP", "u32", "Log messages received", |_| number(0)),
    Line(66, "Build info", "POS", "str", "How it was built", |_| text(VERSION)),
    Line(67, "Memmax_bytes", "CLP", "u32", "Limit of memory, bytes; 0: none", |_| number(0)),
    Line(68, "PoolAlloc_bytes", "MGP", "u64", "Memory in pools, bytes: there are none", |_| number(0)),
    Line(69, "PoolUsed_bytes", "MGP", "u64", "Memory used in pools, bytes: there are none", |_| number(0)),
    Line(70, "Start_time_sec", "MDP", "u32", "When it started, seconds since 1970", |info| { let p = info.process; number(p.started.as_secs()) }),
    Line(71, "Tainted", "SGP", "str", "What experimental was used", |_| text("0")),
    Line(72, "TotalWarnings", "MCP", "u32", "Warnings since start", |_| number(0)),
    Line(73, "MaxconnReached", "MCP", "u32", "Times that Maxconn was reached", |_| number(0)),
    Line(74, "BootTime_ms", "MDP", "u32", "How long the start took, milliseconds", |_| number(0)),
    Line(75, "Niced_tasks", "MGP", "u32", "Tasks with another priority", |_| number(0)),
    Line(76, "CurrStreams", "MGP", "u64", "Streams now", |info| { let p = info.process; number(p.connections) }),
    Line(77, "CumStreams", "MGP", "u64", "Streams since start", |info| { let p = info.process; number(p.requests_total) }),
    Line(78, "BlockedTrafficWarnings", "MGP", "u32", "Warnings about blocked traffic", |_| number(0)),
    Line(79, "PatternsAdded", "MGP", "u64", "Entries added to ACLs and maps", |_| number(0)),
    Line(80, "PatternsFreed", "MGP", "u64", "Entries removed from them", |_| number(0)),
    Line(81, "NbThreadGroups", "CGS", "u32", "Groups of threads: always 1", |_| number(1)),
];

/// All lines.
pub(super) fn write(snapshot: &Snapshot, form: Form, described: bool) -> String {
    let frontends = || snapshot.frontends.iter();
    let handshakes: u64 = frontends().map(|it| it.traffic.tls_sessions).sum();
    let resumed: u64 = frontends().map(|it| it.traffic.tls_resumed).sum();
    let info = Info {
        process: &snapshot.process,
        listeners: frontends().map(|it| it.binds.len() as u64).sum(),
        bytes_out: frontends().map(|it| it.traffic.bytes_out).sum(),
        // Since start, where HAProxy's is of the last second.
        tls_reused: resumed * 100 / handshakes.max(1),
    };
    let mut out = String::new();
    if form == Form::Json {
        out.push('[');
    }
    for (at, line) in LINES.iter().enumerate() {
        if form == Form::Json && at > 0 {
            out.push(',');
        }
        line.write(&info, form, described, &mut out);
    }
    if form == Form::Json {
        out.push_str("]\n");
    }
    out
}

impl Line {
    fn write(&self, info: &Info<'_>, form: Form, described: bool, out: &mut String) {
        let Self(position, name, tags, kind, what, value) = self;
        let value = value(info);
        // Writing to a String cannot fail.
        let _ = match form {
            Form::Plain => write!(out, "{name}: "),
            Form::Typed => write!(out, "{position}.{name}.1:{tags}:{kind}:"),
            Form::Json => {
                let [origin, nature, scope] = engine::export::tag_words(tags);
                write!(
                    out,
                    "{{\"field\":{{\"pos\":{position},\"name\":\"{name}\"}},\"processNum\":1,\
                     \"tags\":{{\"origin\":\"{origin}\",\"nature\":\"{nature}\",\"scope\":\"{scope}\"}},\
                     \"value\":{{\"type\":\"{kind}\",\"value\":"
                )
            }
        };
        match (value, form) {
            (Value::Text(text), Form::Json) => json_text(out, &text),
            (Value::Text(text), _) => out.push_str(&text),
            (Value::Number(number), _) => {
                let _ = write!(out, "{number}");
            }
        }
        match form {
            Form::Json => out.push_str("}}"),
            _ if described => {
                let _ = writeln!(out, ":\"{what}\"");
            }
            _ => out.push('\n'),
        }
    }
}
