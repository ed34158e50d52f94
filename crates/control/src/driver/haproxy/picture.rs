//! HAProxy's statistics as a [`Snapshot`], for the page and the metrics that show our own engine's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::model::{Mode, ServerAddress};
use engine::command::Admin;
use engine::export::check_code;
use engine::snapshot::{
    BackendStats, ControlStatus, FrontendStats, ListenerStats, Process, ProcessLimits, ServerStats,
    Snapshot, Traffic,
};

use super::table::{Info, Row, Table};
use super::words::is_ours;

/// The question whose answer [`picture`] reads.
pub(crate) const QUESTION: &str = "show info;show servers state;show stat";

/// `balance` algorithms by name (manual 4.2), for a value that lives as long as the program.
const ALGORITHMS: [&str; 12] = [
    "first",
    "hash",
    "hdr",
    "leastconn",
    "log-hash",
    "random",
    "rdp-cookie",
    "roundrobin",
    "source",
    "static-rr",
    "uri",
    "url_param",
];

/// Types of rows (management.txt 9.1, column `type`).
const FRONTEND: u64 = 0;
const BACKEND: u64 = 1;
const SERVER: u64 = 2;
const LISTENER: u64 = 3;

/// Reads the answer to [`QUESTION`].
pub(crate) fn picture(answer: &str, control: ControlStatus) -> Result<Snapshot, &'static str> {
    let (info, rest) = Info::read(answer)?;
    let (states, rest) = Table::server_states(rest)?;
    let stats = Table::stat(rest)?;
    let places: HashMap<(&str, &str), Row<'_>> = states
        .rows()
        .map(|row| ((row.text("be_name"), row.text("srv_name")), row))
        .collect();
    let mut snapshot = empty(control);
    snapshot.process = process(&info);
    for row in stats.rows() {
        match row.number("type") {
            FRONTEND => snapshot.frontends.push(frontend(&row)),
            LISTENER => {
                let of = snapshot
                    .frontends
                    .iter_mut()
                    .find(|it| *it.name == *row.text("pxname"));
                of.into_iter()
                    .for_each(|it| it.listeners.push(listener(&row)));
            }
            SERVER => {
                // Servers stand before their backend.
                let backend = open_backend(&mut snapshot.backends, &row);
                let place = places.get(&(row.text("pxname"), row.text("svname")));
                backend.servers.push(server(&row, place));
            }
            BACKEND => {
                let servers =
                    std::mem::take(&mut open_backend(&mut snapshot.backends, &row).servers);
                let filled = backend(&row, servers);
                *open_backend(&mut snapshot.backends, &row) = filled;
            }
            _ => {}
        }
    }
    let fronts = snapshot
        .frontends
        .iter()
        .map(|it| it.traffic.requests_total);
    snapshot.process.requests_total = snapshot.process.requests_total.max(fronts.sum());
    Ok(snapshot)
}

/// One without any proxy: HAProxy has said nothing.
pub(crate) fn empty(control: ControlStatus) -> Snapshot {
    Snapshot {
        process: process(&Info::default()),
        control,
        frontends: Vec::new(),
        backends: Vec::new(),
        stick_tables: Vec::new(),
    }
}

fn process(info: &Info) -> Process {
    let number = |name| info.number(name);
    let uptime = Duration::from_secs(number("Uptime_sec"));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let description = match info.text("Version") {
        "" => "HAProxy does not answer".to_owned(),
        version => format!("HAProxy {version}, kept in step by tidegate"),
    };
    Process {
        version: env!("CARGO_PKG_VERSION"),
        pid: u32::try_from(number("Pid")).unwrap_or(0),
        node: info.text("node").into(),
        description: Some(description.into()),
        uptime,
        started: now.saturating_sub(uptime),
        workers: usize::try_from(number("Nbthread")).unwrap_or(0),
        connections: number("CurrConns"),
        connections_total: number("CumConns"),
        connection_rate: number("ConnRate"),
        connection_rate_max: number("MaxConnRate"),
        maxconn: number("Maxconn"),
        descriptors: number("Maxsock"),
        limits: ProcessLimits {
            connection_rate: number("ConnRateLimit"),
            session_rate: number("SessRateLimit"),
            tls_rate: number("SslRateLimit"),
            tls_connections: number("MaxSslConns"),
        },
        requests_total: number("CumReq"),
        tls_connections: number("CurrSslConns"),
        tls_handshakes_total: number("CumSslConns"),
        log_lines_lost: number("DroppedLogs"),
        stopping: number("Stopping") > 0,
        // What only we count. HAProxy does not tell a WebSocket from a request.
        ..Process::default()
    }
}

fn seconds(row: &Row<'_>, column: &str) -> Duration {
    Duration::from_secs(row.number(column))
}

fn milliseconds(row: &Row<'_>, column: &str) -> Duration {
    Duration::from_millis(row.number(column))
}

fn mode(row: &Row<'_>) -> Mode {
    match row.text("mode") {
        "http" => Mode::Http,
        _ => Mode::Tcp,
    }
}

fn id(row: &Row<'_>, column: &str) -> u32 {
    u32::try_from(row.number(column)).unwrap_or(0)
}

fn traffic(row: &Row<'_>) -> Traffic {
    let number = |column| row.number(column);
    Traffic {
        sessions: number("scur"),
        sessions_max: number("smax"),
        sessions_total: number("stot"),
        bytes_in: number("bin"),
        bytes_out: number("bout"),
        denied_requests: number("dreq"),
        denied_responses: number("dresp"),
        request_errors: number("ereq"),
        connect_errors: number("econ"),
        response_errors: number("eresp"),
        retries: number("wretr"),
        redispatches: number("wredis"),
        rate: number("rate"),
        rate_max: number("rate_max"),
        connections_total: number("conn_tot"),
        connection_rate: number("conn_rate"),
        connection_rate_max: number("conn_rate_max"),
        denied_connections: number("dcon"),
        denied_sessions: number("dses"),
        request_rate: number("req_rate"),
        request_rate_max: number("req_rate_max"),
        requests_total: number("req_tot"),
        responses: [
            number("hrsp_1xx"),
            number("hrsp_2xx"),
            number("hrsp_3xx"),
            number("hrsp_4xx"),
            number("hrsp_5xx"),
            number("hrsp_other"),
        ],
        client_aborts: number("cli_abrt"),
        internal_errors: number("eint"),
        failed_rewrites: number("wrew"),
        server_aborts: number("srv_abrt"),
        connects_total: number("connect"),
        reuses_total: number("reuse"),
        queued: number("qcur"),
        queued_max: number("qmax"),
        queue_time: milliseconds(row, "qtime"),
        connect_time: milliseconds(row, "ctime"),
        response_time: milliseconds(row, "rtime"),
        total_time: milliseconds(row, "ttime"),
        queue_time_max: milliseconds(row, "qtime_max"),
        connect_time_max: milliseconds(row, "ctime_max"),
        response_time_max: milliseconds(row, "rtime_max"),
        total_time_max: milliseconds(row, "ttime_max"),
        loadbalanced_total: number("lbtot"),
        intercepted_total: number("intercepted"),
        tls_sessions: number("ssl_sess"),
        tls_resumed: number("ssl_reused_sess"),
        tls_failures: number("ssl_failed_handshake"),
        ..Traffic::default()
    }
}

fn frontend(row: &Row<'_>) -> FrontendStats {
    FrontendStats {
        name: row.text("pxname").into(),
        mode: mode(row),
        binds: Vec::new(),
        listeners: Vec::new(),
        open: row.text("status") != "STOP",
        sessions_limit: row.number("slim"),
        session_rate_limit: row.number("rate_lim"),
        traffic: traffic(row),
        id: id(row, "iid"),
    }
}

fn listener(row: &Row<'_>) -> ListenerStats {
    ListenerStats {
        name: row.text("svname").into(),
        address: row.text("addr").into(),
        open: row.text("status") != "STOP",
        sessions_limit: row.number("slim"),
        traffic: traffic(row),
        id: id(row, "sid"),
    }
}

/// The backend a row is about: the last one, or a new one.
fn open_backend<'a>(backends: &'a mut Vec<BackendStats>, row: &Row<'_>) -> &'a mut BackendStats {
    let is_last = backends
        .last()
        .is_some_and(|it| *it.name == *row.text("pxname"));
    if !is_last {
        backends.push(backend(row, Vec::new()));
    }
    let last = backends.len() - 1;
    &mut backends[last]
}

fn backend(row: &Row<'_>, servers: Vec<ServerStats>) -> BackendStats {
    let algorithm = ALGORITHMS.iter().find(|it| **it == row.text("algo"));
    BackendStats {
        name: row.text("pxname").into(),
        mode: mode(row),
        balance: algorithm.copied().unwrap_or_default(),
        cookie: optional_text(row, "cookie"),
        up: row.text("status").starts_with("UP"),
        weight: row.number("weight"),
        weight_set: row.number("uweight"),
        active: row.number("act"),
        backup: row.number("bck"),
        last_change: seconds(row, "lastchg"),
        downs_total: row.number("chkdown"),
        downtime: seconds(row, "downtime"),
        last_session: row.optional("lastsess").map(Duration::from_secs),
        sessions_limit: row.number("slim"),
        traffic: traffic(row),
        servers,
        id: id(row, "iid"),
    }
}

fn optional_text(row: &Row<'_>, column: &str) -> Option<Arc<str>> {
    Some(row.text(column))
        .filter(|text| !text.is_empty())
        .map(Arc::from)
}

/// `state`: its row of `show servers state`, which has its place and the weight it began with.
fn server(row: &Row<'_>, state: Option<&Row<'_>>) -> ServerStats {
    let status = row.text("status");
    let checked = status != "no check" && !row.text("check_rise").is_empty()
        || !row.text("check_status").is_empty();
    let code = row.text("check_status");
    ServerStats {
        name: row.text("svname").into(),
        address: state.map_or(ServerAddress::Name("".into(), 0), place),
        status: status.to_owned(),
        usable: (status.starts_with("UP") || status == "no check") && row.number("weight") > 0,
        admin: match status {
            it if it.starts_with("MAINT") => Admin::Maint,
            it if it.starts_with("DRAIN") => Admin::Drain,
            _ => Admin::Ready,
        },
        checked,
        weight: row.number("weight"),
        weight_set: row.number("uweight"),
        weight_initial: state.map_or(0, |state| state.number("srv_iweight")),
        throttle: row.optional("throttle"),
        cookie: optional_text(row, "cookie"),
        backup: row.number("bck") == 1,
        sessions_limit: row.optional("slim"),
        queue_limit: row.optional("qlimit"),
        check_status: check_code(code.trim_start_matches("* ")),
        checking: code.starts_with('*'),
        check_code: row
            .optional("check_code")
            .and_then(|it| u16::try_from(it).ok()),
        check_duration: row.optional("check_duration").map(Duration::from_millis),
        check_message: row.text("last_chk").to_owned(),
        check_rise: id(row, "check_rise"),
        check_fall: id(row, "check_fall"),
        check_health: id(row, "check_health"),
        check_failures_total: row.number("chkfail"),
        observed_failures_total: row.optional("hanafail"),
        tracked: optional_text(row, "tracked").map(|it| it.as_ref().to_owned()),
        downs_total: row.number("chkdown"),
        last_change: seconds(row, "lastchg"),
        downtime: seconds(row, "downtime"),
        last_session: row.optional("lastsess").map(Duration::from_secs),
        // HAProxy's drain has no end and no pace to tell of.
        drain: None,
        dynamic: is_ours(row.number("sid")),
        idle_limit: row.optional("src_ilim"),
        idle_connections: row.number("idle_conn_cur"),
        traffic: traffic(row),
        id: id(row, "sid"),
    }
}

/// Where a server is.
fn place(state: &Row<'_>) -> ServerAddress {
    let port = u16::try_from(state.number("srv_port")).unwrap_or(0);
    match state.text("srv_addr").parse() {
        Ok(ip) => ServerAddress::Inet(SocketAddr::new(ip, port)),
        Err(_) => ServerAddress::Name(state.text("srv_fqdn").into(), port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "Name: HAProxy\nVersion: 2.6.12\nUptime_sec: 9\nPid: 7\nMaxconn: 100\nCurrConns: 3\n\n\
        1\n# be_id be_name srv_id srv_name srv_addr srv_iweight srv_fqdn srv_port\n\
        3 b 1 n1 10.0.0.5 5 - 81\n3 b 2 n2 - 1 host 82\n\n\
        # pxname,svname,scur,slim,status,weight,act,bck,sid,iid,type,check_status,check_code,last_chk,mode,\n\
        f,FRONTEND,3,9,OPEN,,,,0,2,0,,,,http,\n\
        b,n1,2,,UP 1/2,5,1,0,1000000001,3,2,* L7OK,200,\"<script>,\"\"\",http,\n\
        b,n2,0,,MAINT,1,1,0,2,3,2,X,,,http,\n\
        b,BACKEND,2,9,UP,5,1,0,0,3,1,,,,http,\n\
        l,FRONTEND,0,9,STOP,,,,0,4,0,,,,tcp,\nl,BACKEND,0,9,DOWN,0,0,0,0,4,1,,,,tcp,\n\n";

    #[test]
    fn everything_is_where_the_page_looks_for_it() {
        let snapshot = picture(ANSWER, ControlStatus::default()).unwrap();
        assert_eq!((snapshot.process.pid, snapshot.process.connections), (7, 3));
        let names: Vec<&str> = snapshot.frontends.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["f", "l"]);
        assert!(snapshot.frontends[0].open && !snapshot.frontends[1].open);
        let [b, l] = snapshot.backends.as_slice() else {
            panic!("{:?}", snapshot.backends);
        };
        assert!(b.up && !l.up && l.servers.is_empty() && l.mode == Mode::Tcp);
        let [n1, n2] = b.servers.as_slice() else {
            panic!("{:?}", b.servers);
        };
        assert_eq!(
            n1.address,
            ServerAddress::Inet("10.0.0.5:81".parse().unwrap())
        );
        assert_eq!(
            (n1.check_status, n1.check_code, n1.checking),
            ("L7OK", Some(200), true)
        );
        assert_eq!(
            (n1.check_message.as_str(), n1.weight_initial),
            ("<script>,\"", 5)
        );
        assert!(n1.usable && n1.dynamic && !n2.usable && !n2.dynamic);
        assert_eq!(n2.address, ServerAddress::Name("host".into(), 82));
        assert_eq!((n2.admin, n2.check_status), (Admin::Maint, ""));
    }

    #[test]
    fn a_part_of_an_answer_is_no_picture() {
        for end in 0..ANSWER.len() {
            assert!(
                picture(&ANSWER[..end], ControlStatus::default()).is_err(),
                "{end}"
            );
        }
    }
}
