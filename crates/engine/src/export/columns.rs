//! The statistics as a table (management.txt 9.1): the columns of HAProxy 2.6 in its order, because
//! exporters and scripts count them. A column that HAProxy leaves empty in a row is empty here. CSV,
//! JSON and the typed text are written from it.

use std::borrow::Cow;
use std::time::Duration;

use config::model::{MappedHost, MappedPort, Mode, ServerAddress};
use routing::health::CheckCode;

use super::row::Row;
use crate::command::Admin;
use crate::snapshot::ServerStats;

use Kind::{S32, Str, U32, U64};

/// What a cell holds.
#[derive(Default)]
pub(super) enum Cell<'a> {
    #[default]
    Empty,
    Number(u64),
    /// HAProxy's "never".
    MinusOne,
    Text(Cow<'a, str>),
}

/// The type of a column's values (management.txt 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    S32,
    U32,
    U64,
    Str,
}

/// A column: its name, the kinds of rows that fill it, its type, what it is (origin, nature and scope,
/// management.txt 9.2; behind a bar where backends differ), its value.
///
/// The kinds are F, L, S and B as in the manual; small letters are filled by `stats show-legends` only.
pub(super) struct Column {
    pub(super) name: &'static str,
    kinds: &'static str,
    pub(super) kind: Kind,
    tags: &'static str,
    cell: for<'a> fn(&Row<'a>) -> Cell<'a>,
}

const fn column(
    name: &'static str,
    kinds: &'static str,
    kind: Kind,
    tags: &'static str,
    cell: for<'a> fn(&Row<'a>) -> Cell<'a>,
) -> Column {
    Column {
        name,
        kinds,
        kind,
        tags,
        cell,
    }
}

/// A column we have no value for in any row.
const fn unused(name: &'static str, kind: Kind, tags: &'static str) -> Column {
    column(name, "", kind, tags, |_| Cell::Empty)
}

impl Column {
    /// Whether it parts the promised columns from those of modules, and has no values.
    pub(super) fn is_border(&self) -> bool {
        self.name == "-"
    }

    /// Its value in a row.
    pub(super) fn cell<'a>(&self, row: &Row<'a>, legends: bool) -> Cell<'a> {
        match row.fills(self.kinds, legends) {
            true => (self.cell)(row),
            false => Cell::Empty,
        }
    }

    /// Origin, nature and scope in a row.
    pub(super) fn tags(&self, row: &Row<'_>) -> &'static str {
        match (self.tags.split_once('|'), row) {
            (Some((_, of_backends)), Row::Backend(_)) => of_backends,
            (Some((others, _)), _) => others,
            (None, _) => self.tags,
        }
    }
}

pub(super) const COLUMNS: &[Column] = &[
    column("pxname", "FLSB", Str, "KNS", |row| text(row.proxy_name())),
    column("svname", "FLSB", Str, "KNS", |row| text(row.service_name())),
    column("qcur", "SB", U32, "MGP", |row| number(row.traffic().queued)),
    column("qmax", "SB", U32, "MMP", |row| {
        number(row.traffic().queued_max)
    }),
    column("scur", "FLSB", U32, "MGP", |row| {
        number(row.traffic().sessions)
    }),
    column("smax", "FLSB", U32, "MMP", |row| {
        number(row.traffic().sessions_max)
    }),
    column("slim", "FLSB", U32, "CLP", |row| {
        optional(row.sessions_limit())
    }),
    column("stot", "FLSB", U64, "MCP", |row| {
        number(row.traffic().sessions_total)
    }),
    column("bin", "FLSB", U64, "MCP", |row| {
        number(row.traffic().bytes_in)
    }),
    column("bout", "FLSB", U64, "MCP", |row| {
        number(row.traffic().bytes_out)
    }),
    column("dreq", "FLB", U64, "MCP", |row| {
        number(row.traffic().denied_requests)
    }),
    column("dresp", "FLSB", U64, "MCP", |row| {
        number(row.traffic().denied_responses)
    }),
    column("ereq", "FL", U64, "MCP", |row| {
        number(row.traffic().request_errors)
    }),
    column("econ", "SB", U64, "MCP", |row| {
        number(row.traffic().connect_errors)
    }),
    column("eresp", "SB", U64, "MCP", |row| {
        number(row.traffic().response_errors)
    }),
    column("wretr", "SB", U64, "MCP", |row| {
        number(row.traffic().retries)
    }),
    column("wredis", "SB", U64, "MCP", |row| {
        number(row.traffic().redispatches)
    }),
    column("status", "FLSB", Str, "SGP", |row| text(row.status())),
    column("weight", "SB", U32, "MaP", |row| {
        row.of_backend_or_server(|it| number(it.weight), |it| number(it.weight))
    }),
    column("act", "SB", U32, "SGP|MGP", |row| {
        row.of_backend_or_server(|it| number(it.active), |it| number(u64::from(!it.backup)))
    }),
    column("bck", "SB", U32, "SGP|MGP", |row| {
        row.of_backend_or_server(|it| number(it.backup), |it| number(u64::from(it.backup)))
    }),
    column("chkfail", "S", U64, "MCP", |row| {
        row.of_checked(|it| number(it.check_failures_total))
    }),
    column("chkdown", "SB", U64, "MCP", |row| match row {
        Row::Backend(it) => number(it.downs_total),
        _ => row.of_checked(|it| number(it.downs_total)),
    }),
    column("lastchg", "SB", U32, "MAP", |row| {
        row.of_backend_or_server(|it| seconds(it.last_change), |it| seconds(it.last_change))
    }),
    column("downtime", "SB", U32, "MCP", |row| match row {
        // What cannot be down has no time of it.
        Row::Backend(it) if it.servers.is_empty() => Cell::Empty,
        Row::Backend(it) => seconds(it.downtime),
        _ => row.of_checked(|it| seconds(it.downtime)),
    }),
    column("qlimit", "S", U32, "CGS", |row| {
        row.of_server(|it| optional(it.queue_limit))
    }),
    // There is one process; HAProxy counts from 1.
    column("pid", "FLSB", U32, "KGP", |_| number(1)),
    column("iid", "FLSB", U32, "KGS", |row| number(row.proxy_id())),
    column("sid", "FLSB", U32, "KGS", |row| number(row.service_id())),
    column("throttle", "S", U32, "MaP", |row| {
        row.of_server(|it| optional(it.throttle))
    }),
    column("lbtot", "SB", U64, "MCP", |row| {
        number(row.traffic().loadbalanced_total)
    }),
    column("tracked", "S", Str, "CNS", |row| {
        row.of_server(|it| it.tracked.as_deref().map_or(Cell::Empty, text))
    }),
    column("type", "FLSB", U32, "CGS", |row| number(row.kind_number())),
    column("rate", "FSB", U32, "MRP|MGP", |row| {
        number(row.traffic().rate)
    }),
    column("rate_lim", "F", U32, "CLP", |row| match row {
        Row::Frontend(it) => number(it.session_rate_limit),
        _ => Cell::Empty,
    }),
    column("rate_max", "FSB", U32, "MMP|MGP", |row| {
        number(row.traffic().rate_max)
    }),
    column("check_status", "S", Str, "MOP", |row| {
        row.of_running_checks(|it| match it.checking {
            // As the manual has it: what is known, while more is being asked.
            true => Cell::Text(format!("* {}", last_code(it)).into()),
            false => text(last_code(it)),
        })
    }),
    column("check_code", "S", U32, "MOP", |row| {
        row.of_running_checks(|it| optional(it.check_code.map(u64::from)))
    }),
    column("check_duration", "S", U64, "MDP", |row| {
        row.of_running_checks(|it| it.check_duration.map_or(Cell::Empty, milliseconds))
    }),
    column("hrsp_1xx", "FSB", U64, "MCP", |row| {
        row.if_http(row.traffic().responses[0])
    }),
    column("hrsp_2xx", "FSB", U64, "MCP", |row| {
        row.if_http(row.traffic().responses[1])
    }),
    column("hrsp_3xx", "FSB", U64, "MCP", |row| {
        row.if_http(row.traffic().responses[2])
    }),
    column("hrsp_4xx", "FSB", U64, "MCP", |row| {
        row.if_http(row.traffic().responses[3])
    }),
    column("hrsp_5xx", "FSB", U64, "MCP", |row| {
        row.if_http(row.traffic().responses[4])
    }),
    column("hrsp_other", "FSB", U64, "MCP", |row| {
        row.if_http(row.traffic().responses[5])
    }),
    column("hanafail", "S", U64, "MCP", |row| {
        row.of_server(|it| optional(it.observed_failures_total))
    }),
    column("req_rate", "F", U32, "MRP", |row| {
        number(row.traffic().request_rate)
    }),
    column("req_rate_max", "F", U32, "MMP", |row| {
        number(row.traffic().request_rate_max)
    }),
    column("req_tot", "FSB", U64, "MCP", |row| match row {
        Row::Frontend(it) => number(it.traffic.requests_total),
        _ => row.if_http(row.traffic().requests_total),
    }),
    column("cli_abrt", "SB", U64, "MCP", |row| {
        number(row.traffic().client_aborts)
    }),
    column("srv_abrt", "SB", U64, "MCP", |row| {
        number(row.traffic().server_aborts)
    }),
    // Nothing is compressed here.
    column("comp_in", "FB", U64, "MCP", |_| number(0)),
    column("comp_out", "FB", U64, "MCP", |_| number(0)),
    column("comp_byp", "FB", U64, "MCP", |_| number(0)),
    column("comp_rsp", "FB", U64, "MCP", |_| number(0)),
    column("lastsess", "SB", S32, "MAP", |row| {
        let last = row.of_backend_or_server(|it| it.last_session, |it| it.last_session);
        last.map_or(Cell::MinusOne, seconds)
    }),
    column("last_chk", "S", Str, "MOP", |row| {
        row.of_running_checks(|it| text(&it.check_message))
    }),
    unused("last_agt", Str, "MOP"),
    column("qtime", "SB", U32, "MaP", |row| {
        milliseconds(row.traffic().queue_time)
    }),
    column("ctime", "SB", U32, "MaP", |row| {
        milliseconds(row.traffic().connect_time)
    }),
    column("rtime", "SB", U32, "MaP", |row| {
        milliseconds(row.traffic().response_time)
    }),
    column("ttime", "SB", U32, "MaP", |row| {
        milliseconds(row.traffic().total_time)
    }),
    unused("agent_status", Str, "MOP"),
    unused("agent_code", U32, "MOP"),
    unused("agent_duration", U64, "MDP"),
    column("check_desc", "S", Str, "MOP", |row| {
        row.of_running_checks(|it| text(CheckCode::describe(last_code(it))))
    }),
    unused("agent_desc", Str, "MOP"),
    column("check_rise", "S", U32, "CGS", |row| {
        row.of_running_checks(|it| number(it.check_rise.into()))
    }),
    column("check_fall", "S", U32, "CGS", |row| {
        row.of_running_checks(|it| number(it.check_fall.into()))
    }),
    column("check_health", "S", U32, "CGS", |row| {
        row.of_running_checks(|it| number(it.check_health.into()))
    }),
    unused("agent_rise", U32, "CGS"),
    unused("agent_fall", U32, "CGS"),
    unused("agent_health", U32, "CGS"),
    // `stats show-legends` only.
    column("addr", "ls", Str, "CGS", |row| match row {
        Row::Server(_, it) => Cell::Text(address(&it.address).into()),
        Row::Listener(_, it) => text(&it.address),
        _ => Cell::Empty,
    }),
    column("cookie", "sb", Str, "CNS", |row| {
        let cookie = row.of_backend_or_server(|it| it.cookie.as_deref(), |it| it.cookie.as_deref());
        cookie.map_or(Cell::Empty, text)
    }),
    column("mode", "FLSB", Str, "CGS", |row| {
        text(mode_name(row.mode()))
    }),
    column("algo", "b", Str, "CGS", |row| match row {
        Row::Backend(it) => text(it.balance),
        _ => Cell::Empty,
    }),
    column("conn_rate", "F", U32, "MRP", |row| {
        number(row.traffic().connection_rate)
    }),
    column("conn_rate_max", "F", U32, "MMP", |row| {
        number(row.traffic().connection_rate_max)
    }),
    column("conn_tot", "F", U64, "MCP", |row| {
        number(row.traffic().connections_total)
    }),
    column("intercepted", "F", U64, "MCP", |row| {
        row.if_http(row.traffic().intercepted_total)
    }),
    column("dcon", "FL", U64, "MCP", |row| {
        number(row.traffic().denied_connections)
    }),
    column("dses", "FL", U64, "MCP", |row| {
        number(row.traffic().denied_sessions)
    }),
    column("wrew", "FLSB", U64, "MCP", |row| {
        number(row.traffic().failed_rewrites)
    }),
    column("connect", "SB", U64, "MCP", |row| {
        number(row.traffic().connects_total)
    }),
    column("reuse", "SB", U64, "MCP", |row| {
        number(row.traffic().reuses_total)
    }),
    column("cache_lookups", "FB", U64, "MCP", |row| row.if_http(0)),
    column("cache_hits", "FB", U64, "MCP", |row| row.if_http(0)),
    column("srv_icur", "S", U32, "MGP", |row| {
        row.of_server(|it| number(it.idle_connections))
    }),
    column("src_ilim", "S", U32, "CLP", |row| {
        row.of_server(|it| optional(it.idle_limit))
    }),
    column("qtime_max", "SB", U32, "MMP", |row| {
        milliseconds(row.traffic().queue_time_max)
    }),
    column("ctime_max", "SB", U32, "MMP", |row| {
        milliseconds(row.traffic().connect_time_max)
    }),
    column("rtime_max", "SB", U32, "MMP", |row| {
        milliseconds(row.traffic().response_time_max)
    }),
    column("ttime_max", "SB", U32, "MMP", |row| {
        milliseconds(row.traffic().total_time_max)
    }),
    column("eint", "FLSB", U64, "MCP", |row| {
        number(row.traffic().internal_errors)
    }),
    column("idle_conn_cur", "S", U32, "MGP", |row| {
        row.of_server(|it| number(it.idle_connections))
    }),
    column("safe_conn_cur", "S", U32, "MGP", |_| number(0)),
    column("used_conn_cur", "S", U32, "MGP", |row| {
        number(row.traffic().sessions)
    }),
    column("need_conn_est", "S", U32, "MGP", |row| {
        row.of_server(|it| number(needed_connections(it)))
    }),
    column("uweight", "SB", U32, "MaP", |row| {
        row.of_backend_or_server(|it| number(it.weight_set), |it| number(it.weight_set))
    }),
    column("agg_server_status", "B", U32, "MGP", |_| number(0)),
    column("agg_server_check_status", "B", U32, "MGP", |_| number(0)),
    column("agg_check_status", "B", U32, "MGP", |_| number(0)),
    // From here on the manual promises nothing. HAProxy has statistics of its modules there.
    column("-", "FLSB", Str, "", |_| text("-")),
    column("ssl_sess", "FLSB", U64, "MCP", |row| {
        number(row.traffic().tls_sessions)
    }),
    column("ssl_reused_sess", "FLSB", U64, "MCP", |row| {
        number(row.traffic().tls_resumed)
    }),
    column("ssl_failed_handshake", "FLSB", U64, "MCP", |row| {
        number(row.traffic().tls_failures)
    }),
    column("h2_headers_rcvd", "FB", U64, "MCP", |_| number(0)),
    column("h2_data_rcvd", "FB", U64, "MCP", |_| number(0)),
    column("h2_settings_rcvd", "FB", U64, "MCP", |_| number(0)),
    column("h2_rst_stream_rcvd", "FB", U64, "MCP", |_| number(0)),
    column("h2_goaway_rcvd", "FB", U64, "MCP", |_| number(0)),
    column("h2_detected_conn_protocol_errors", "FB", U64, "MCP", |_| {
        number(0)
    }),
    column("h2_detected_strm_protocol_errors", "FB", U64, "MCP", |_| {
        number(0)
    }),
    column("h2_rst_stream_resp", "FB", U64, "MCP", |_| number(0)),
    column("h2_goaway_resp", "FB", U64, "MCP", |_| number(0)),
    column("h2_open_connections", "FB", U64, "MGP", |_| number(0)),
    column("h2_backend_open_streams", "FB", U64, "MGP", |_| number(0)),
    column("h2_total_connections", "FB", U64, "MCP", |_| number(0)),
    column("h2_backend_total_streams", "FB", U64, "MCP", |_| number(0)),
    column("h1_open_connections", "FB", U64, "MGP", |row| {
        row.of_h1(Row::open_connections)
    }),
    unused("h1_open_streams", U64, "MGP"),
    column("h1_total_connections", "FB", U64, "MCP", |row| {
        row.of_h1(|row| match row {
            Row::Backend(it) => it.traffic.connects_total,
            row => row.traffic().sessions_total,
        })
    }),
    column("h1_total_streams", "FB", U64, "MCP", |row| {
        row.of_h1(|row| row.traffic().requests_total)
    }),
    column("h1_bytes_in", "FB", U64, "MCP", |row| {
        row.of_h1(|row| row.traffic().bytes_in)
    }),
    column("h1_bytes_out", "FB", U64, "MCP", |row| {
        row.of_h1(|row| row.traffic().bytes_out)
    }),
    column("h1_spliced_bytes_in", "FB", U64, "MCP", |_| number(0)),
    column("h1_spliced_bytes_out", "FB", U64, "MCP", |_| number(0)),
];

/// HAProxy's estimate never falls below one for a server in service to which it has ever spoken.
pub(super) fn needed_connections(server: &ServerStats) -> u64 {
    let seen = server.checked || server.traffic.sessions_total > 0;
    match server.admin {
        Admin::Maint => 0,
        _ if !seen => 0,
        _ => server.traffic.sessions.max(1),
    }
}

pub(super) fn number<'a>(value: u64) -> Cell<'a> {
    Cell::Number(value)
}

fn optional<'a>(value: Option<u64>) -> Cell<'a> {
    value.map_or(Cell::Empty, Cell::Number)
}

fn text(value: &str) -> Cell<'_> {
    Cell::Text(Cow::Borrowed(value))
}

fn seconds<'a>(value: Duration) -> Cell<'a> {
    Cell::Number(value.as_secs())
}

fn milliseconds<'a>(value: Duration) -> Cell<'a> {
    Cell::Number(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
}

/// The code of the last check; `INI` before the first.
fn last_code(server: &ServerStats) -> &'static str {
    if server.check_status.is_empty() {
        CheckCode::Initializing.short()
    } else {
        server.check_status
    }
}

pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcp => "tcp",
        Mode::Http => "http",
    }
}

/// An address of which a part is what the client connected to.
fn mapped(host: &MappedHost, port: MappedPort) -> String {
    let host = match host {
        MappedHost::Client => "*".to_owned(),
        MappedHost::Ip(ip) => ip.to_string(),
        MappedHost::Name(name) => name.to_string(),
    };
    match port {
        MappedPort::Client(0) => host,
        MappedPort::Client(offset) => format!("{host}:{offset:+}"),
        MappedPort::Fixed(port) => format!("{host}:{port}"),
    }
}

pub(super) fn address(address: &ServerAddress) -> String {
    match address {
        ServerAddress::Inet(address) => address.to_string(),
        ServerAddress::Mapped(host, port) => mapped(host, *port),
        ServerAddress::Name(name, port) => format!("{name}:{port}"),
        ServerAddress::Unix(path) => format!("unix@{}", path.display()),
        ServerAddress::Abstract(name) => name.to_string(),
    }
}
