//! The statistics as HAProxy's CSV (management.txt 9.1): the columns of 2.6 in its order, because
//! exporters and scripts count them. A column that HAProxy leaves empty in a row is empty here.

use std::borrow::Cow;
use std::time::Duration;

use config::model::{MappedHost, MappedPort, Mode, ServerAddress};
use routing::health::CheckCode;

use super::{Row, frontend_status, rows};
use crate::command::Admin;
use crate::snapshot::{BackendStats, ServerStats, Snapshot, Traffic};

/// What a cell holds.
#[derive(Default)]
enum Cell<'a> {
    #[default]
    Empty,
    Number(u64),
    /// HAProxy's "never".
    MinusOne,
    Text(Cow<'a, str>),
}

/// A column: its name, the kinds of rows that fill it (F, B, S as in the manual), its value.
struct Column {
    name: &'static str,
    kinds: &'static str,
    cell: for<'a> fn(&Row<'a>) -> Cell<'a>,
}

const fn column(
    name: &'static str,
    kinds: &'static str,
    cell: for<'a> fn(&Row<'a>) -> Cell<'a>,
) -> Column {
    Column { name, kinds, cell }
}

/// A column we have no value for in any row.
const fn unused(name: &'static str) -> Column {
    column(name, "", |_| Cell::Empty)
}

const COLUMNS: &[Column] = &[
    column("pxname", "FBS", |row| text(row.proxy_name())),
    column("svname", "FBS", |row| text(row.service_name())),
    column("qcur", "BS", |row| number(row.traffic().queued)),
    column("qmax", "BS", |row| number(row.traffic().queued_max)),
    column("scur", "FBS", |row| number(row.traffic().sessions)),
    column("smax", "FBS", |row| number(row.traffic().sessions_max)),
    column("slim", "FBS", |row| optional(row.sessions_limit())),
    column("stot", "FBS", |row| number(row.traffic().sessions_total)),
    column("bin", "FBS", |row| number(row.traffic().bytes_in)),
    column("bout", "FBS", |row| number(row.traffic().bytes_out)),
    column("dreq", "FB", |row| number(row.traffic().denied_requests)),
    column("dresp", "FBS", |row| number(row.traffic().denied_responses)),
    column("ereq", "F", |row| number(row.traffic().request_errors)),
    column("econ", "BS", |row| number(row.traffic().connect_errors)),
    column("eresp", "BS", |row| number(row.traffic().response_errors)),
    column("wretr", "BS", |row| number(row.traffic().retries)),
    column("wredis", "BS", |row| number(row.traffic().redispatches)),
    column("status", "FBS", |row| text(row.status())),
    column("weight", "BS", |row| {
        row.of_backend_or_server(|it| number(it.weight), |it| number(it.weight))
    }),
    column("act", "BS", |row| {
        row.of_backend_or_server(|it| number(it.active), |it| number(u64::from(!it.backup)))
    }),
    column("bck", "BS", |row| {
        row.of_backend_or_server(|it| number(it.backup), |it| number(u64::from(it.backup)))
    }),
    column("chkfail", "S", |row| {
        row.of_checked(|it| number(it.check_failures_total))
    }),
    column("chkdown", "BS", |row| match row {
        Row::Backend(it) => number(it.downs_total),
        _ => row.of_checked(|it| number(it.downs_total)),
    }),
    column("lastchg", "BS", |row| {
        row.of_backend_or_server(|it| seconds(it.last_change), |it| seconds(it.last_change))
    }),
    column("downtime", "BS", |row| match row {
        Row::Backend(it) => seconds(it.downtime),
        _ => row.of_checked(|it| seconds(it.downtime)),
    }),
    column("qlimit", "S", |row| {
        row.of_server(|it| optional(it.queue_limit))
    }),
    // There is one process; HAProxy counts from 1.
    column("pid", "FBS", |_| number(1)),
    column("iid", "FBS", |row| number(row.proxy_id())),
    column("sid", "FBS", |row| match row {
        Row::Server(_, it) => number(it.id.into()),
        _ => number(0),
    }),
    unused("throttle"),
    column("lbtot", "BS", |row| {
        number(row.traffic().loadbalanced_total)
    }),
    column("tracked", "S", |row| {
        row.of_server(|it| it.tracked.as_deref().map_or(Cell::Empty, text))
    }),
    column("type", "FBS", |row| number(row.kind_number())),
    column("rate", "FBS", |row| number(row.traffic().rate)),
    column("rate_lim", "F", |_| number(0)),
    column("rate_max", "FBS", |row| number(row.traffic().rate_max)),
    column("check_status", "S", |row| {
        row.of_running_checks(|it| text(last_code(it)))
    }),
    column("check_code", "S", |row| {
        row.of_running_checks(|it| optional(it.check_code.map(u64::from)))
    }),
    column("check_duration", "S", |row| {
        row.of_running_checks(|it| it.check_duration.map_or(Cell::Empty, milliseconds))
    }),
    column("hrsp_1xx", "FBS", |row| {
        row.if_http(row.traffic().responses[0])
    }),
    column("hrsp_2xx", "FBS", |row| {
        row.if_http(row.traffic().responses[1])
    }),
    column("hrsp_3xx", "FBS", |row| {
        row.if_http(row.traffic().responses[2])
    }),
    column("hrsp_4xx", "FBS", |row| {
        row.if_http(row.traffic().responses[3])
    }),
    column("hrsp_5xx", "FBS", |row| {
        row.if_http(row.traffic().responses[4])
    }),
    column("hrsp_other", "FBS", |row| {
        row.if_http(row.traffic().responses[5])
    }),
    column("hanafail", "S", |row| {
        row.of_server(|it| optional(it.observed_failures_total))
    }),
    column("req_rate", "F", |row| number(row.traffic().request_rate)),
    column("req_rate_max", "F", |row| {
        number(row.traffic().request_rate_max)
    }),
    column("req_tot", "FBS", |row| match row {
        Row::Frontend(it) => number(it.traffic.requests_total),
        _ => row.if_http(row.traffic().requests_total),
    }),
    column("cli_abrt", "BS", |row| number(row.traffic().client_aborts)),
    column("srv_abrt", "BS", |row| number(row.traffic().server_aborts)),
    // Nothing is compressed here.
    column("comp_in", "FB", |_| number(0)),
    column("comp_out", "FB", |_| number(0)),
    column("comp_byp", "FB", |_| number(0)),
    column("comp_rsp", "FB", |_| number(0)),
    column("lastsess", "BS", |row| {
        let last = row.of_backend_or_server(|it| it.last_session, |it| it.last_session);
        last.map_or(Cell::MinusOne, seconds)
    }),
    column("last_chk", "S", |row| {
        row.of_running_checks(|it| text(&it.check_message))
    }),
    unused("last_agt"),
    column("qtime", "BS", |row| milliseconds(row.traffic().queue_time)),
    column("ctime", "BS", |row| {
        milliseconds(row.traffic().connect_time)
    }),
    column("rtime", "BS", |row| {
        milliseconds(row.traffic().response_time)
    }),
    column("ttime", "BS", |row| milliseconds(row.traffic().total_time)),
    unused("agent_status"),
    unused("agent_code"),
    unused("agent_duration"),
    column("check_desc", "S", |row| {
        row.of_running_checks(|it| text(CheckCode::describe(last_code(it))))
    }),
    unused("agent_desc"),
    column("check_rise", "S", |row| {
        row.of_running_checks(|it| number(it.check_rise.into()))
    }),
    column("check_fall", "S", |row| {
        row.of_running_checks(|it| number(it.check_fall.into()))
    }),
    column("check_health", "S", |row| {
        row.of_running_checks(|it| number(it.check_health.into()))
    }),
    unused("agent_rise"),
    unused("agent_fall"),
    unused("agent_health"),
    // `stats show-legends` only.
    column("addr", "s", |row| {
        row.of_server(|it| Cell::Text(address(&it.address).into()))
    }),
    unused("cookie"),
    column("mode", "FBS", |row| text(mode_name(row.mode()))),
    column("algo", "b", |row| match row {
        Row::Backend(it) => text(it.balance),
        _ => Cell::Empty,
    }),
    // A connection of a frontend is a session of it.
    column("conn_rate", "F", |row| {
        number(row.traffic().connection_rate)
    }),
    column("conn_rate_max", "F", |row| {
        number(row.traffic().connection_rate_max)
    }),
    column("conn_tot", "F", |row| {
        number(row.traffic().connections_total)
    }),
    column("intercepted", "F", |row| {
        row.if_http(row.traffic().intercepted_total)
    }),
    column("dcon", "F", |row| number(row.traffic().denied_connections)),
    column("dses", "F", |row| number(row.traffic().denied_sessions)),
    column("wrew", "FBS", |_| number(0)),
    column("connect", "BS", |row| number(row.traffic().connects_total)),
    column("reuse", "BS", |row| number(row.traffic().reuses_total)),
    column("cache_lookups", "FB", |row| row.if_http(0)),
    column("cache_hits", "FB", |row| row.if_http(0)),
    column("srv_icur", "S", |row| {
        row.of_server(|it| number(it.idle_connections))
    }),
    unused("src_ilim"),
    column("qtime_max", "BS", |row| {
        milliseconds(row.traffic().queue_time_max)
    }),
    column("ctime_max", "BS", |row| {
        milliseconds(row.traffic().connect_time_max)
    }),
    column("rtime_max", "BS", |row| {
        milliseconds(row.traffic().response_time_max)
    }),
    column("ttime_max", "BS", |row| {
        milliseconds(row.traffic().total_time_max)
    }),
    column("eint", "FBS", |_| number(0)),
    column("idle_conn_cur", "S", |row| {
        row.of_server(|it| number(it.idle_connections))
    }),
    column("safe_conn_cur", "S", |_| number(0)),
    column("used_conn_cur", "S", |row| number(row.traffic().sessions)),
    // HAProxy's estimate never falls below one for a server that is in service.
    column("need_conn_est", "S", |row| {
        row.of_server(|it| match it.admin {
            Admin::Maint => number(0),
            _ => number(it.traffic.sessions.max(1)),
        })
    }),
    column("uweight", "BS", |row| {
        row.of_backend_or_server(|it| number(it.weight), |it| number(it.weight))
    }),
    column("agg_server_status", "B", |_| number(0)),
    column("agg_server_check_status", "B", |_| number(0)),
    column("agg_check_status", "B", |_| number(0)),
    // From here on the manual promises nothing. HAProxy has statistics of its modules there.
    column("-", "FBS", |_| text("-")),
    unused("ssl_sess"),
    unused("ssl_reused_sess"),
    unused("ssl_failed_handshake"),
    unused("h2_headers_rcvd"),
    unused("h2_data_rcvd"),
    unused("h2_settings_rcvd"),
    unused("h2_rst_stream_rcvd"),
    unused("h2_goaway_rcvd"),
    unused("h2_detected_conn_protocol_errors"),
    unused("h2_detected_strm_protocol_errors"),
    unused("h2_rst_stream_resp"),
    unused("h2_goaway_resp"),
    unused("h2_open_connections"),
    unused("h2_backend_open_streams"),
    unused("h2_total_connections"),
    unused("h2_backend_total_streams"),
    unused("h1_open_connections"),
    unused("h1_open_streams"),
    unused("h1_total_connections"),
    unused("h1_total_streams"),
    unused("h1_bytes_in"),
    unused("h1_bytes_out"),
    unused("h1_spliced_bytes_in"),
    unused("h1_spliced_bytes_out"),
];

/// Header line and a line for each frontend, server and backend. `legends` (`stats show-legends`)
/// fills the addresses and algorithms, which HAProxy shows to no one else.
pub fn render(snapshot: &Snapshot, legends: bool) -> String {
    let rows = rows(snapshot);
    let mut out = String::with_capacity((rows.len() + 1) * 512);
    out.push_str("# ");
    for column in COLUMNS {
        out.push_str(column.name);
        out.push(',');
    }
    out.push('\n');
    for row in &rows {
        for column in COLUMNS {
            if row.fills(column.kinds, legends) {
                write_cell(&mut out, &(column.cell)(row));
            }
            out.push(',');
        }
        out.push('\n');
    }
    out
}

impl<'a> Row<'a> {
    /// Whether a column of these kinds has a value here; small letters need legends.
    fn fills(&self, kinds: &str, legends: bool) -> bool {
        let (plain, legend) = match self {
            Self::Frontend(_) => ('F', 'f'),
            Self::Server(..) => ('S', 's'),
            Self::Backend(_) => ('B', 'b'),
        };
        kinds.contains(plain) || legends && kinds.contains(legend)
    }

    fn kind_number(&self) -> u64 {
        match self {
            Self::Frontend(_) => 0,
            Self::Backend(_) => 1,
            Self::Server(..) => 2,
        }
    }

    fn traffic(&self) -> &'a Traffic {
        match self {
            Self::Frontend(it) => &it.traffic,
            Self::Server(_, it) => &it.traffic,
            Self::Backend(it) => &it.traffic,
        }
    }

    fn proxy_name(&self) -> &'a str {
        match self {
            Self::Frontend(it) => &it.name,
            Self::Server(it, _) | Self::Backend(it) => &it.name,
        }
    }

    fn service_name(&self) -> &'a str {
        match self {
            Self::Frontend(_) => "FRONTEND",
            Self::Server(_, it) => &it.name,
            Self::Backend(_) => "BACKEND",
        }
    }

    fn proxy_id(&self) -> u64 {
        match self {
            Self::Frontend(it) => it.id.into(),
            Self::Server(it, _) | Self::Backend(it) => it.id.into(),
        }
    }

    fn mode(&self) -> Mode {
        match self {
            Self::Frontend(it) => it.mode,
            Self::Server(it, _) | Self::Backend(it) => it.mode,
        }
    }

    fn status(&self) -> &'a str {
        match self {
            Self::Frontend(it) => frontend_status(it),
            Self::Server(_, it) => &it.status,
            Self::Backend(it) => backend_status(it),
        }
    }

    fn sessions_limit(&self) -> Option<u64> {
        match self {
            Self::Frontend(it) => Some(it.sessions_limit),
            Self::Server(_, it) => it.sessions_limit,
            Self::Backend(it) => Some(it.sessions_limit),
        }
    }

    fn if_http(&self, value: u64) -> Cell<'a> {
        match self.mode() {
            Mode::Http => number(value),
            Mode::Tcp => Cell::Empty,
        }
    }

    fn of_server(&self, cell: fn(&'a ServerStats) -> Cell<'a>) -> Cell<'a> {
        match self {
            Self::Server(_, it) => cell(it),
            _ => Cell::Empty,
        }
    }

    fn of_checked(&self, cell: fn(&'a ServerStats) -> Cell<'a>) -> Cell<'a> {
        match self {
            Self::Server(_, it) if it.checked => cell(it),
            _ => Cell::Empty,
        }
    }

    /// In maintenance there are no checks to tell of.
    fn of_running_checks(&self, cell: fn(&'a ServerStats) -> Cell<'a>) -> Cell<'a> {
        match self {
            Self::Server(_, it) if it.checked && it.admin != Admin::Maint => cell(it),
            _ => Cell::Empty,
        }
    }

    /// For columns that only backends and servers fill: frontends never get here.
    fn of_backend_or_server<T: Default>(
        &self,
        backend: fn(&'a BackendStats) -> T,
        server: fn(&'a ServerStats) -> T,
    ) -> T {
        match self {
            Self::Backend(it) => backend(it),
            Self::Server(_, it) => server(it),
            Self::Frontend(_) => T::default(),
        }
    }
}

fn number<'a>(value: u64) -> Cell<'a> {
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

fn backend_status(backend: &BackendStats) -> &'static str {
    if backend.up { "UP" } else { "DOWN" }
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
        ServerAddress::Abstract(name) => format!("abns@{name}"),
    }
}

/// Quotes where the text is ambiguous (it holds a comma, a quote), doubling quotes inside. Control
/// characters become spaces: a line is a row.
fn write_cell(out: &mut String, cell: &Cell) {
    match cell {
        Cell::Empty => {}
        Cell::MinusOne => out.push_str("-1"),
        Cell::Number(value) => out.push_str(itoa::Buffer::new().format(*value)),
        Cell::Text(text) => {
            let quoted = text.contains([',', '"', '\n', '\r']);
            if quoted {
                out.push('"');
            }
            for c in text.chars() {
                match c {
                    '"' => out.push_str("\"\""),
                    c if c.is_control() => out.push(' '),
                    c => out.push(c),
                }
            }
            if quoted {
                out.push('"');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// What Debian's 2.6.12 prints as its first line.
    const HEADER: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,\
        wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,\
        lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,\
        hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,\
        cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,\
        ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,\
        check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,\
        conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,\
        cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,\
        safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,\
        agg_server_check_status,agg_check_status,-,ssl_sess,ssl_reused_sess,ssl_failed_handshake,\
        h2_headers_rcvd,h2_data_rcvd,h2_settings_rcvd,h2_rst_stream_rcvd,h2_goaway_rcvd,\
        h2_detected_conn_protocol_errors,h2_detected_strm_protocol_errors,h2_rst_stream_resp,\
        h2_goaway_resp,h2_open_connections,h2_backend_open_streams,h2_total_connections,\
        h2_backend_total_streams,h1_open_connections,h1_open_streams,h1_total_connections,\
        h1_total_streams,h1_bytes_in,h1_bytes_out,h1_spliced_bytes_in,h1_spliced_bytes_out,";

    #[test]
    fn the_header_is_haproxys() {
        let csv = render(&sample::small(), false);
        assert_eq!(csv.lines().next(), Some(HEADER));
    }

    /// The rows HAProxy 2.6.12 printed for the same state of things, up to the end of the promised
    /// columns.
    #[test]
    fn rows_are_haproxys() {
        let csv = render(&sample::small(), false);
        let rows: Vec<&str> = csv.lines().skip(1).collect();
        let expected = [
            "fe,FRONTEND,,,1,1,500,9,668,1067,1,0,0,,,,,OPEN,,,,,,,,,1,2,0,,,,0,9,0,9,,,,0,7,0,1,0,0,,9,9,9,,,0,0,0,0,,,,,,,,,,,,,,,,,,,,,http,,9,9,9,1,0,0,0,,,0,0,,,,,,,0,,,,,,,,",
            "tcpfe,FRONTEND,,,0,0,9983,0,0,0,0,0,0,,,,,OPEN,,,,,,,,,1,3,0,,,,0,0,0,0,,,,,,,,,,,0,0,0,,,0,0,0,0,,,,,,,,,,,,,,,,,,,,,tcp,,0,0,0,,0,0,0,,,,,,,,,,,0,,,,,,,,",
            "be,s1,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,0,0,3,0,,1,4,1,,0,,2,0,,0,L7OK,200,1,0,0,0,0,0,0,,,,0,0,0,,,,,-1,,,0,0,0,0,,,,Layer7 check passed,,2,3,4,,,,,,http,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,1,1,,,",
            "be,s2,0,0,0,1,100,6,498,750,,0,,0,0,0,0,UP,10,1,0,0,0,3,0,7,1,4,2,,6,,2,6,,6,L7OK,200,1,0,6,0,0,0,0,,,,6,0,0,,,,,0,,,0,1,1,2,,,,Layer7 check passed,,2,3,4,,,,,,http,,,,,,,,0,6,0,,,1,,0,1,1,2,0,1,0,0,1,10,,,",
            "be,bk,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,0,1,0,0,3,0,,1,4,3,,0,,2,0,,0,L7OK,200,1,0,0,0,0,0,0,,,,0,0,0,,,,,-1,,,0,0,0,0,,,,Layer7 check passed,,2,3,4,,,,,,http,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,1,1,,,",
            "be,BACKEND,0,0,0,1,50,6,498,750,0,0,,0,0,0,0,UP,11,2,1,,0,3,0,,1,4,0,,6,,1,6,,6,,,,0,6,0,0,0,0,,,,6,0,0,0,0,0,0,0,,,0,1,1,2,,,,,,,,,,,,,,http,,,,,,,,0,6,0,0,0,,,0,1,1,2,0,,,,,11,0,0,0",
            "b2,nochk,0,0,0,1,,1,84,125,,0,,0,0,0,0,no check,1,1,0,,,3,,,1,5,1,,1,,2,1,,1,,,,0,1,0,0,0,0,,,,1,0,0,,,,,0,,,0,0,1,1,,,,,,,,,,,,,,http,,,,,,,,0,1,0,,,1,,0,0,1,1,0,1,0,0,1,1,,,",
            "b2,dis,0,0,0,0,,0,0,0,,0,,0,0,0,0,MAINT,1,1,0,0,0,3,3,,1,5,2,,0,,2,0,,0,,,,0,0,0,0,0,0,,,,0,0,0,,,,,-1,,,0,0,0,0,,,,,,,,,,,,,,http,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,0,1,,,",
            "b2,BACKEND,0,0,0,1,50,1,84,125,0,0,,0,0,0,0,UP,1,1,0,,0,3,0,,1,5,0,,1,,1,1,,1,,,,0,1,0,0,0,0,,,,1,0,0,0,0,0,0,0,,,0,0,1,1,,,,,,,,,,,,,,http,,,,,,,,0,1,0,0,0,,,0,0,1,1,0,,,,,1,0,0,0",
            "tcpbe,t1,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,0,0,3,0,,1,6,1,,0,,2,0,,0,L4OK,,0,,,,,,,,,,,0,0,,,,,-1,,,0,0,0,0,,,,Layer4 check passed,,2,3,4,,,,,,tcp,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,1,1,,,",
            "tcpbe,BACKEND,0,0,0,0,999,0,0,0,0,0,,0,0,0,0,UP,1,1,0,,0,3,0,,1,6,0,,0,,1,0,,0,,,,,,,,,,,,,,0,0,0,0,0,0,-1,,,0,0,0,0,,,,,,,,,,,,,,tcp,,,,,,,,0,0,0,,,,,0,0,0,0,0,,,,,1,0,0,0",
        ];
        assert_eq!(rows.len(), expected.len());
        for (row, expected) in rows.iter().zip(expected) {
            let (promised, _) = row.split_once(",-,").unwrap();
            assert_eq!(promised, expected);
        }
    }

    #[test]
    fn legends_show_addresses_and_algorithms() {
        let plain = render(&sample::small(), false);
        assert!(!plain.contains("127.0.0.1:21102") && !plain.contains("roundrobin"));
        let legends = render(&sample::small(), true);
        assert!(
            legends.contains(",127.0.0.1:21102,,http,") && legends.contains(",http,roundrobin,")
        );
    }

    #[test]
    fn hostile_names_stay_in_their_cell() {
        let cases = [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("a\nBACKEND,x", "\"a BACKEND,x\""),
            ("tab\there\u{1b}", "tab here "),
            ("", ""),
        ];
        for (name, expected) in cases {
            let mut out = String::new();
            write_cell(&mut out, &text(name));
            assert_eq!(out, expected);
        }
        let csv = render(&sample::hostile(), true);
        assert_eq!(csv.lines().count(), 1 + rows(&sample::hostile()).len());
    }

    #[test]
    fn proxies_stand_in_the_order_of_their_ids() {
        let snapshot = sample::fleet();
        let csv = render(&snapshot, false);
        let of = |line: &str| line.splitn(3, ',').take(2).collect::<Vec<_>>().join("/");
        let names: Vec<String> = csv.lines().skip(1).map(of).collect();
        assert_eq!(names[0], "http-in/FRONTEND");
        let listen = names
            .iter()
            .position(|name| name == "metrics/FRONTEND")
            .unwrap();
        assert_eq!(names[listen + 1], "metrics/BACKEND");
        assert_eq!(names.last().unwrap(), "metrics/BACKEND");
    }
}
