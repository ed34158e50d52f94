//! Taking a [`Snapshot`] of a running engine: reading counters, judging nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use routing::balance::SCALE;

use config::model::IdleMax;

use crate::counters::{Average, Count, Counters, Gauge, Rate};
use crate::followers;
use crate::server::{ServerState, admin_shown};
use crate::shared::Shared;
use crate::site::{BackendState, FrontendState, ListenerState, Site};
use crate::snapshot::{
    BackendStats, ControlStatus, FrontendStats, ListenerStats, Process, ProcessLimits, ServerStats,
    Snapshot, StickTableStats, Traffic,
};
use crate::stick::StickTable;

/// Everything at this moment.
pub(crate) fn snapshot(shared: &Shared) -> Snapshot {
    let site = shared.site.load();
    let now = shared.clock.since_start();
    let control = control(shared);
    let fleet = control.discovery.as_ref().map(|it| it.backend.clone());
    let backends = site.backends.iter().map(|it| {
        // A backend that may never have a server cannot be down.
        let filled = fleet.as_ref().is_some_and(|name| name == it.name());
        backend(it, !filled && it.never_had_servers(), &site, now)
    });
    Snapshot {
        process: process(shared, now),
        frontends: site.frontends.iter().map(|f| frontend(f)).collect(),
        backends: backends.collect(),
        stick_tables: stick_tables(&site),
        control,
    }
}

/// What the control loop said of itself, and whom we still wait for.
fn control(shared: &Shared) -> ControlStatus {
    let mut control = shared.control().clone();
    if let Some(old) = shared.predecessor.get() {
        control.waiting.push(format!(
            "process {}, whose place this one took: {} connections left, {} of them tunnels",
            old.pid, old.connections, old.tunnels
        ));
    }
    control
}

fn stick_tables(site: &Site) -> Vec<StickTableStats> {
    let of = |table: &Arc<StickTable>| StickTableStats {
        name: table.name.clone(),
        kind: table.table.key_type().name(),
        size: table.table.size() as u64,
        used: table.used() as u64,
    };
    site.stick.all().iter().map(of).collect()
}

fn limits(shared: &Shared, global: &config::model::Global) -> ProcessLimits {
    let paces = &shared.paces;
    ProcessLimits {
        connection_rate: paces.connections.limit(),
        session_rate: paces.sessions.limit(),
        tls_rate: paces.tls.limit(),
        tls_connections: global.maxsslconn.map_or(0, u64::from),
    }
}

fn process(shared: &Shared, now: Duration) -> Process {
    let site = shared.site.load();
    let requests = site
        .frontends
        .iter()
        .map(|f| f.counters.sum(Count::Requests))
        .sum();
    Process {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        node: site.node.clone(),
        description: site.config.global.description.clone(),
        uptime: now,
        started: shared.started,
        workers: shared.workers,
        worker_connections: shared.spread.all_connections(),
        connections: shared.connections.now(),
        connections_total: shared.counters.sum(Count::Sessions),
        connection_rate: shared.connection_rate.last(),
        connection_rate_max: shared.connection_rate.max(),
        maxconn: shared.maxconn.load(Relaxed),
        descriptors: shared.descriptors,
        limits: limits(shared, &site.config.global),
        requests_total: requests,
        tls_connections: shared.tls_connections.now(),
        tls_handshakes_total: shared.counters.sum(Count::Handshakes),
        tunnels: shared.tunnels.now(),
        tunnels_total: shared.counters.sum(Count::Tunnels),
        log_lines_lost: shared.logger.lost(),
        reloads_total: shared.reloads_done.load(Relaxed),
        reload_failures_total: shared.reloads_failed.load(Relaxed),
        predecessor: shared.predecessor.get(),
        stopping: shared.stopping.load(Relaxed),
    }
}

fn frontend(state: &FrontendState) -> FrontendStats {
    let conf = state.conf();
    let mut traffic = traffic(&state.counters, &state.sessions, &state.tunnels);
    set_rate(&mut traffic, &state.session_rate);
    traffic.connection_rate = state.connection_rate.last();
    traffic.connection_rate_max = state.connection_rate.max();
    traffic.request_rate = state.request_rate.last();
    traffic.request_rate_max = state.request_rate.max();
    FrontendStats {
        name: state.name().clone(),
        mode: conf.proxy.mode,
        binds: conf.binds.iter().map(|bind| bind.text.clone()).collect(),
        listeners: state
            .listeners
            .iter()
            .filter(|_| conf.socket_stats)
            .map(|it| listener(state, it))
            .collect(),
        open: state.open.load(Relaxed),
        sessions_limit: state.sessions_limit(),
        session_rate_limit: conf.session_rate_max.map_or(0, u64::from),
        traffic,
        id: state.id,
    }
}

/// The weights, as they were set, of the servers that share the load.
fn weight_set(servers: &[ServerStats]) -> u64 {
    let of = |backup: bool| {
        let usable = servers.iter().filter(|it| it.usable && it.backup == backup);
        usable.map(|it| it.weight_set).sum::<u64>()
    };
    match of(false) {
        0 => of(true),
        active => active,
    }
}

fn listener(frontend: &FrontendState, state: &ListenerState) -> ListenerStats {
    ListenerStats {
        name: state.name.clone(),
        address: state.address.clone(),
        open: frontend.open.load(Relaxed),
        sessions_limit: state.sessions_limit,
        traffic: traffic(&state.counters, &state.sessions, &Gauge::default()),
        id: state.id,
    }
}

fn backend(state: &BackendState, serverless: bool, site: &Site, now: Duration) -> BackendStats {
    let conf = state.conf();
    let (left, weight) = state.capacity();
    let history = *state.history();
    let since_change = now.saturating_sub(history.last_change);
    let mut traffic = traffic(&state.counters, &state.sessions, &state.tunnels);
    set_rate(&mut traffic, &state.session_rate);
    traffic.latency = state.counters.latency();
    traffic.queued = state.queued.now();
    traffic.queued_max = state.queued.max();
    let servers: Vec<ServerStats> = state
        .servers()
        .iter()
        .map(|s| server(s, site, conf.balancing.is_dynamic(), now))
        .collect();
    BackendStats {
        name: state.name().clone(),
        mode: conf.proxy.mode,
        balance: conf.balancing.algorithm.name(),
        cookie: conf.cookie.as_ref().map(|cookie| cookie.name.clone()),
        up: history.up || serverless,
        weight,
        weight_set: weight_set(&servers),
        active: left.active as u64,
        backup: left.backup as u64,
        last_change: since_change,
        downs_total: if serverless { 0 } else { history.downs },
        downtime: history.downtime
            + if history.up || serverless {
                Duration::ZERO
            } else {
                since_change
            },
        sessions_limit: state.fullconn,
        last_session: servers.iter().filter_map(|s| s.last_session).min(),
        traffic,
        servers,
        id: state.id,
    }
}

pub(crate) fn server(state: &ServerState, site: &Site, ramps: bool, now: Duration) -> ServerStats {
    let ramp = if ramps { state.warmth.ramp() } else { SCALE };
    let health = state.health().clone();
    let last = health.last_result();
    let last_session = state.last_session.load(Relaxed);
    let mut traffic = traffic(&state.counters, &state.sessions, &state.tunnels);
    set_rate(&mut traffic, &state.session_rate);
    traffic.queued = state.queued.now();
    traffic.queued_max = state.queued.max();
    let unresolved = !state.is_resolved();
    ServerStats {
        name: state.conf.name.clone(),
        address: state.address().into_owned(),
        status: if unresolved {
            "DOWN".into()
        } else {
            followers::status_text(site, state, &health)
        },
        usable: state.accepts_new(),
        admin: admin_shown(health.admin()),
        checked: health.is_checked(),
        weight: state.weight_at(ramp),
        weight_set: state.weight.load(Relaxed),
        weight_initial: state.conf.weight.value().into(),
        idle_limit: match state.conf.pooling.idle_max {
            IdleMax::Count(most) => Some(most.into()),
            IdleMax::Default | IdleMax::Unlimited => None,
        },
        throttle: state.warmth.throttle(),
        cookie: state.conf.cookie.clone(),
        backup: state.conf.backup,
        sessions_limit: state.maxconn().map(u64::from),
        queue_limit: state.conf.maxqueue.map(u64::from),
        check_status: last.map_or("", |result| result.code.short()),
        checking: state.checking.load(Relaxed),
        check_code: last.and_then(|result| result.status),
        check_duration: last.map(|result| result.duration),
        check_message: match last {
            Some(result) => result.info.clone(),
            None if unresolved => "its name does not resolve yet".into(),
            None => String::new(),
        },
        check_rise: health.rise(),
        check_fall: health.fall(),
        check_health: health.counter(),
        check_failures_total: health.failures_total(),
        observed_failures_total: state.conf.observe.layer.map(|_| health.observed_total()),
        tracked: followers::leader_name(site, state),
        downs_total: health.downs_total(),
        last_change: health.since_change(now),
        downtime: health.downtime(now),
        last_session: (last_session > 0)
            .then(|| now.saturating_sub(Duration::from_secs(last_session - 1))),
        dynamic: state.dynamic,
        idle_connections: state.idle.load(Relaxed),
        drain: state.drain_stats(now),
        traffic,
        id: state.id,
    }
}

fn set_rate(traffic: &mut Traffic, rate: &Rate) {
    traffic.rate = rate.last();
    traffic.rate_max = rate.max();
}

fn traffic(counters: &Counters, sessions: &Gauge, tunnels: &Gauge) -> Traffic {
    let sum = |what| counters.sum(what);
    let longest = |what| counters.longest(what);
    Traffic {
        sessions: sessions.now(),
        sessions_max: sessions.max(),
        sessions_total: sum(Count::Sessions),
        bytes_in: sum(Count::BytesIn),
        bytes_out: sum(Count::BytesOut),
        connections_total: sum(Count::Connections),
        denied_connections: sum(Count::DeniedConnections),
        denied_sessions: sum(Count::DeniedSessions),
        denied_requests: sum(Count::DeniedRequests),
        denied_responses: sum(Count::DeniedResponses),
        request_errors: sum(Count::RequestErrors),
        connect_errors: sum(Count::ConnectErrors),
        response_errors: sum(Count::ResponseErrors),
        retries: sum(Count::Retries),
        redispatches: sum(Count::Redispatches),
        requests_total: sum(Count::Requests),
        responses: [
            sum(Count::Responses1xx),
            sum(Count::Responses2xx),
            sum(Count::Responses3xx),
            sum(Count::Responses4xx),
            sum(Count::Responses5xx),
            sum(Count::ResponsesOther),
        ],
        client_aborts: sum(Count::ClientAborts),
        failed_rewrites: sum(Count::FailedRewrites),
        internal_errors: sum(Count::InternalErrors),
        server_aborts: sum(Count::ServerAborts),
        tunnels: tunnels.now(),
        tunnels_total: sum(Count::Tunnels),
        connects_total: sum(Count::Connects),
        reuses_total: sum(Count::Reuses),
        loadbalanced_total: sum(Count::Balanced),
        intercepted_total: sum(Count::Intercepted),
        tls_sessions: sum(Count::Handshakes),
        tls_resumed: sum(Count::ResumedHandshakes),
        tls_failures: sum(Count::FailedHandshakes),
        queue_time: counters.average(Average::Queue),
        connect_time: counters.average(Average::Connect),
        response_time: counters.average(Average::Response),
        total_time: counters.average(Average::Total),
        queue_time_max: longest(Average::Queue),
        connect_time_max: longest(Average::Connect),
        response_time_max: longest(Average::Response),
        total_time_max: longest(Average::Total),
        ..Traffic::default()
    }
}
