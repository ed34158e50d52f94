//! Snapshots for the tests of this folder.

use std::sync::Arc;
use std::time::Duration;

use config::model::{Mode, ServerAddress};

use crate::command::Admin;
use crate::snapshot::{
    BackendStats, ControlStatus, DiscoveryStatus, FrontendStats, Histogram, LastChange, Process,
    ProcessLimits, ServerStats, Snapshot, StreamStatus, Traffic,
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) fn process() -> Process {
    Process {
        version: "0.1.0",
        pid: 4242,
        node: "edge-1".into(),
        description: None,
        uptime: secs(273_906),
        started: secs(1_790_000_000),
        workers: 4,
        worker_connections: vec![0; 4],
        connections: 12_411,
        connections_total: 1_904_332,
        connection_rate: 31,
        connection_rate_max: 2_210,
        maxconn: 100_000,
        descriptors: 20_000,
        limits: ProcessLimits::default(),
        requests_total: 5_882_113,
        tls_connections: 11_020,
        tls_handshakes_total: 1_501_020,
        tunnels: 12_202,
        tunnels_total: 1_802_331,
        log_lines_lost: 0,
        reloads_total: 3,
        reload_failures_total: 1,
        predecessor: None,
        stopping: false,
    }
}

pub(super) fn frontend(name: &str, id: u32, mode: Mode) -> FrontendStats {
    FrontendStats {
        name: name.into(),
        mode,
        binds: vec!["127.0.0.1:8080".into()],
        listeners: Vec::new(),
        open: true,
        sessions_limit: 500,
        session_rate_limit: 0,
        traffic: Traffic::default(),
        id,
    }
}

pub(super) fn backend(name: &str, id: u32, servers: Vec<ServerStats>) -> BackendStats {
    BackendStats {
        name: name.into(),
        mode: Mode::Http,
        balance: "roundrobin",
        cookie: None,
        up: true,
        weight_set: servers.iter().map(|server| server.weight_set).sum(),
        weight: servers.iter().map(|server| server.weight).sum(),
        active: servers.iter().filter(|it| it.usable && !it.backup).count() as u64,
        backup: servers.iter().filter(|it| it.usable && it.backup).count() as u64,
        last_change: secs(3),
        downs_total: 0,
        downtime: Duration::ZERO,
        last_session: None,
        sessions_limit: 50,
        traffic: Traffic::default(),
        servers,
        id,
    }
}

pub(super) fn server(name: &str, id: u32, status: &str) -> ServerStats {
    let admin = match status {
        "MAINT" => Admin::Maint,
        "DRAIN" => Admin::Drain,
        _ => Admin::Ready,
    };
    let checked = status != "no check";
    let runs = checked && admin != Admin::Maint;
    let passed = runs && !status.starts_with("DOWN");
    ServerStats {
        name: name.into(),
        address: ServerAddress::Inet(([127, 0, 0, 1], 21_100 + id as u16).into()),
        status: status.into(),
        usable: status.starts_with("UP") || !checked,
        admin,
        checked,
        weight: 1,
        weight_set: 1,
        weight_initial: 1,
        throttle: None,
        idle_limit: None,
        cookie: None,
        backup: false,
        sessions_limit: None,
        queue_limit: None,
        check_status: match (runs, passed) {
            (true, true) => "L7OK",
            (true, false) => "L4CON",
            _ => "",
        },
        checking: false,
        check_code: passed.then_some(200),
        check_duration: runs.then_some(millis(u64::from(passed))),
        check_message: if runs && !passed {
            "Connection refused".into()
        } else {
            String::new()
        },
        check_rise: 2,
        check_fall: 3,
        check_health: if passed { 4 } else { 0 },
        check_failures_total: 0,
        observed_failures_total: None,
        tracked: None,
        downs_total: 0,
        last_change: secs(3),
        downtime: Duration::ZERO,
        last_session: None,
        dynamic: false,
        idle_connections: 0,
        drain: None,
        traffic: Traffic::default(),
        id,
    }
}

/// Requests that were served, as HAProxy counted them when its rows were recorded.
fn served(requests: u64, connect: u64) -> Traffic {
    Traffic {
        sessions_max: 1,
        sessions_total: requests,
        bytes_in: requests * 83 + u64::from(requests == 1),
        bytes_out: requests * 125,
        rate: requests,
        rate_max: requests,
        requests_total: requests,
        responses: [0, requests, 0, 0, 0, 0],
        connects_total: requests,
        loadbalanced_total: requests,
        connect_time: millis(connect),
        response_time: millis(1),
        total_time: millis(1 + connect),
        connect_time_max: millis(connect),
        response_time_max: millis(1),
        total_time_max: millis(1 + connect),
        ..Traffic::default()
    }
}

/// What a HAProxy showed when it had served a few requests.
pub(super) fn small() -> Snapshot {
    let mut fe = frontend("fe", 2, Mode::Http);
    fe.traffic = Traffic {
        sessions: 1,
        sessions_max: 1,
        sessions_total: 9,
        bytes_in: 668,
        bytes_out: 1067,
        denied_requests: 1,
        rate: 9,
        rate_max: 9,
        request_rate: 9,
        request_rate_max: 9,
        requests_total: 9,
        responses: [0, 7, 0, 1, 0, 0],
        intercepted_total: 1,
        connections_total: 9,
        connection_rate: 9,
        connection_rate_max: 9,
        ..Traffic::default()
    };
    let mut tcpfe = frontend("tcpfe", 3, Mode::Tcp);
    tcpfe.sessions_limit = 9983;
    let s2 = ServerStats {
        weight: 10,
        weight_set: 10,
        weight_initial: 10,
        sessions_limit: Some(100),
        queue_limit: Some(7),
        last_session: Some(Duration::ZERO),
        idle_connections: 1,
        traffic: served(6, 1),
        ..server("s2", 2, "UP")
    };
    let bk = ServerStats {
        backup: true,
        ..server("bk", 3, "UP")
    };
    let mut be = backend("be", 4, vec![server("s1", 1, "UP"), s2, bk]);
    be.weight = 11;
    be.weight_set = 11;
    be.last_session = Some(Duration::ZERO);
    be.traffic = served(6, 1);
    let nochk = ServerStats {
        last_session: Some(Duration::ZERO),
        idle_connections: 1,
        traffic: served(1, 0),
        ..server("nochk", 1, "no check")
    };
    let dis = ServerStats {
        downtime: secs(3),
        ..server("dis", 2, "MAINT")
    };
    let mut b2 = backend("b2", 5, vec![nochk, dis]);
    b2.weight = 1;
    b2.weight_set = 1;
    b2.last_session = Some(Duration::ZERO);
    b2.traffic = served(1, 0);
    let t1 = ServerStats {
        check_status: "L4OK",
        check_code: None,
        check_duration: Some(Duration::ZERO),
        ..server("t1", 1, "UP")
    };
    let mut tcpbe = backend("tcpbe", 6, vec![t1]);
    tcpbe.mode = Mode::Tcp;
    tcpbe.sessions_limit = 999;
    Snapshot {
        process: process(),
        control: ControlStatus::default(),
        frontends: vec![fe, tcpfe],
        backends: vec![be, b2, tcpbe],
        stick_tables: Vec::new(),
    }
}

/// Names and texts as an attacker would choose them.
pub(super) fn hostile() -> Snapshot {
    const XSS: &str = "<script>alert('x')</script>\"&,\n{}\\";
    let mut snapshot = fleet();
    let name: Arc<str> = XSS.into();
    snapshot.process.node = name.clone();
    snapshot.process.description = Some(name.clone());
    for frontend in &mut snapshot.frontends {
        frontend.name = name.clone();
        frontend.binds = vec![name.clone()];
    }
    for backend in &mut snapshot.backends {
        backend.name = name.clone();
        for server in &mut backend.servers {
            server.name = name.clone();
            server.address = ServerAddress::Name(name.clone(), 1);
            if !server.check_message.is_empty() {
                server.check_message = XSS.into();
            }
        }
    }
    snapshot.control.waiting = vec![XSS.into()];
    if let Some(discovery) = &mut snapshot.control.discovery {
        discovery.url = XSS.into();
        discovery.backend = name;
        discovery.last_error = Some(XSS.into());
    }
    snapshot
}

pub(super) const LIFECYCLE: &[&str] = &[
    "Starting",
    "LoadingConfig",
    "FetchingNodes",
    "HealthChecks",
    "Ready",
    "Routing",
    "Reloading",
    "Error",
];

/// A busy balancer: the reference configuration with a fleet of nodes in every state.
pub(super) fn fleet() -> Snapshot {
    let mut http_in = frontend("http-in", 2, Mode::Http);
    http_in.binds = vec!["*:8080".into(), "*:8443 ssl".into()];
    http_in.sessions_limit = 100_000;
    http_in.traffic = busy(12_411, 1_904_332);
    http_in.traffic.denied_requests = 1_204;
    http_in.traffic.request_errors = 318;
    let mut metrics = frontend("metrics", 5, Mode::Http);
    metrics.binds = vec!["127.0.0.1:9100".into()];
    metrics.traffic = Traffic {
        sessions_max: 2,
        sessions_total: 18_261,
        bytes_in: 2_811_000,
        bytes_out: 912_000_000,
        requests_total: 18_261,
        ..Traffic::default()
    };
    let mut api = backend("http_backend", 4, vec![node("api1", 1, "no check", 0)]);
    api.traffic = Traffic {
        sessions: 9,
        sessions_max: 88,
        sessions_total: 402_118,
        bytes_in: 88_100_200,
        bytes_out: 7_120_330_118,
        rate: 14,
        rate_max: 310,
        requests_total: 402_118,
        ..Traffic::default()
    };
    api.servers[0].traffic = api.traffic.clone();
    let mut own = backend("metrics", 5, Vec::new());
    own.up = false;
    own.last_change = secs(273_906);
    Snapshot {
        process: process(),
        control: control(),
        frontends: vec![http_in, metrics],
        backends: vec![ws_backend(), api, own],
        stick_tables: Vec::new(),
    }
}

fn ws_backend() -> BackendStats {
    let states = [
        "UP", "UP", "UP 2/3", "DRAIN", "DOWN", "DOWN 1/2", "MAINT", "UP",
    ];
    let nodes = states.iter().enumerate();
    let mut servers: Vec<ServerStats> = nodes
        .map(|(index, status)| {
            let id = index as u32 + 1;
            let alive = status.starts_with("UP") || *status == "DRAIN";
            let tunnels = if alive { 3_000 - 211 * index as u64 } else { 0 };
            node(&format!("node-{id}"), id, status, tunnels)
        })
        .collect();
    servers[7].name = "standby".into();
    servers[7].backup = true;
    servers[7].dynamic = false;
    servers[7].traffic = Traffic::default();
    let mut backend = backend("ws_backend", 3, servers);
    backend.balance = "leastconn";
    backend.sessions_limit = 10_000;
    backend.last_change = secs(273_902);
    backend.traffic = busy(12_202, 1_802_331);
    backend.traffic.queued_max = 12;
    backend.traffic.connect_errors = 77;
    backend.traffic.retries = 31;
    backend.traffic.redispatches = 9;
    backend
}

fn node(name: &str, id: u32, status: &str, tunnels: u64) -> ServerStats {
    let mut server = server(name, id, status);
    server.address = ServerAddress::Inet(([10, 0, 0, 10 + id as u8], 8081).into());
    server.dynamic = true;
    server.traffic = busy(tunnels, tunnels * 148);
    server.last_session = (tunnels > 0).then_some(Duration::ZERO);
    server.last_change = secs(60 * 7_u64.pow(id.min(6)));
    if status.starts_with("DOWN") {
        server.check_failures_total = 14;
        server.downs_total = 2;
        server.downtime = secs(522);
        server.last_change = secs(41);
        server.traffic.server_aborts = 2_870;
    }
    if status == "DOWN 1/2" {
        server.check_status = "L7OK";
        server.check_code = Some(200);
        server.check_message = String::new();
        server.check_health = 1;
    }
    if status == "UP 2/3" {
        server.check_status = "L7TOUT";
        server.check_code = None;
        server.check_duration = Some(millis(2000));
        server.check_health = 3;
    }
    server
}

fn busy(sessions: u64, total: u64) -> Traffic {
    Traffic {
        sessions,
        sessions_max: sessions + sessions / 3,
        sessions_total: total,
        bytes_in: total * 1_871,
        bytes_out: total * 48_112,
        rate: sessions / 400,
        rate_max: sessions / 6,
        request_rate: sessions / 390,
        request_rate_max: sessions / 5,
        requests_total: total,
        responses: [
            total - total / 50,
            total / 60,
            total / 900,
            total / 700,
            total / 9_000,
            0,
        ],
        tunnels: sessions,
        tunnels_total: total,
        connects_total: total,
        loadbalanced_total: total,
        client_aborts: total / 4_000,
        failed_rewrites: 0,
        internal_errors: 0,
        connect_time: millis(total.min(1)),
        response_time: millis(total.min(4)),
        total_time: secs(total.min(1_204)),
        response_time_max: millis(total.min(811)),
        latency: Histogram {
            buckets: vec![
                (Some(millis(1)), total / 10),
                (Some(millis(5)), total / 2),
                (Some(millis(25)), total - total / 50),
                (Some(millis(100)), total - total / 500),
                (Some(secs(1)), total),
                (None, total),
            ],
            sum: millis(total * 4),
        },
        ..Traffic::default()
    }
}

fn control() -> ControlStatus {
    ControlStatus {
        lifecycle: "Routing",
        lifecycle_states: LIFECYCLE,
        waiting: vec!["node-4: drain has 2367 tunnels left".into()],
        discovery: Some(DiscoveryStatus {
            url: "http://wsupdates.example:3000".into(),
            backend: "ws_backend".into(),
            nodes: 7,
            age: Some(secs(12)),
            fetches_total: 9_131,
            failures_total: vec![("timeout", 3), ("status", 1)],
            entries_skipped_total: 2,
            changes_total: 48,
            apply_time: Some(Duration::from_micros(1_250)),
            last_change: Some(LastChange {
                source: "push",
                age: secs(95),
            }),
            news_total: vec![("poll", "changed", 40), ("push", "refused", 3)],
            stream: Some(StreamStatus {
                state: "open",
                open: true,
                broken_total: 1,
            }),
            pushes_refused_total: vec![("key", 2)],
            last_error: Some("GET /nodes: no answer within 5s".into()),
            ..DiscoveryStatus::default()
        }),
        haproxy: None,
    }
}
