//! The metrics HAProxy's exporter has too: name, type, help, where the value comes from. A new one is
//! one entry here; ours are in [`super::own`].

use std::time::Duration;

use config::model::Mode;
use routing::health::CheckCode;

use super::super::columns::needed_connections;
use super::super::{Condition, condition};
use super::{Family, Kind, Samples, Source, Value, server_labels};
use crate::snapshot::{BackendStats, ServerStats, Snapshot, Traffic};

pub(super) const fn gauge(name: &'static str, help: &'static str, source: Source) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        help,
        source,
    }
}

pub(super) const fn counter(name: &'static str, help: &'static str, source: Source) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        help,
        source,
    }
}

pub(super) fn all() -> impl Iterator<Item = &'static Family> {
    [
        PROCESS,
        super::absent::PROCESS,
        FRONTENDS,
        super::absent::FRONTENDS,
        super::listeners::LISTENERS,
        BACKENDS,
        super::absent::BACKENDS,
        SERVERS,
        super::absent::SERVERS,
        STICK_TABLES,
        super::own::OWN,
    ]
    .into_iter()
    .flatten()
}

const STICK_TABLES: &[Family] = &[
    gauge(
        "haproxy_sticktable_size",
        "Entries a stick table may have.",
        Source::Labelled(|snapshot, samples| {
            for table in &snapshot.stick_tables {
                samples.add(&[("name", &*table.name), ("type", table.kind)], table.size);
            }
        }),
    ),
    gauge(
        "haproxy_sticktable_used",
        "Entries it has.",
        Source::Labelled(|snapshot, samples| {
            for table in &snapshot.stick_tables {
                samples.add(&[("name", &*table.name), ("type", table.kind)], table.used);
            }
        }),
    ),
];

const PROCESS: &[Family] = &[
    gauge(
        "haproxy_process_build_info",
        "Always 1; the version is in the label.",
        Source::Labelled(|snapshot, samples| {
            samples.add(&[("version", snapshot.process.version)], 1_u64);
        }),
    ),
    gauge(
        "haproxy_process_nbthread",
        "Worker threads.",
        Source::Process(|snapshot| (snapshot.process.workers as u64).into()),
    ),
    gauge(
        "haproxy_process_nbproc",
        "Worker processes: always 1.",
        Source::Process(|_| (1_u64).into()),
    ),
    gauge(
        "haproxy_process_relative_process_id",
        "Number of this worker process: always 1.",
        Source::Process(|_| (1_u64).into()),
    ),
    gauge(
        "haproxy_process_uptime_seconds",
        "Seconds since the start.",
        Source::Process(|snapshot| (snapshot.process.uptime.as_secs()).into()),
    ),
    gauge(
        "haproxy_process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        Source::Process(|snapshot| (snapshot.process.started.as_secs()).into()),
    ),
    gauge(
        "haproxy_process_max_connections",
        "Most connections the process takes at once.",
        Source::Process(|snapshot| (snapshot.process.maxconn).into()),
    ),
    gauge(
        "haproxy_process_max_ssl_connections",
        "Most TLS connections of clients at once; 0: no limit of their own.",
        Source::Process(|snapshot| (snapshot.process.limits.tls_connections).into()),
    ),
    gauge(
        "haproxy_process_limit_connection_rate",
        "Limit of connections in a second; 0: none.",
        Source::Process(|snapshot| (snapshot.process.limits.connection_rate).into()),
    ),
    gauge(
        "haproxy_process_limit_session_rate",
        "Limit of sessions in a second; 0: none.",
        Source::Process(|snapshot| (snapshot.process.limits.session_rate).into()),
    ),
    gauge(
        "haproxy_process_limit_ssl_rate",
        "Limit of TLS connections in a second; 0: none.",
        Source::Process(|snapshot| (snapshot.process.limits.tls_rate).into()),
    ),
    gauge(
        "haproxy_process_hard_max_connections",
        "Most connections its descriptors allow.",
        Source::Process(|snapshot| (snapshot.process.maxconn).into()),
    ),
    gauge(
        "haproxy_process_current_connections",
        "Connections open now.",
        Source::Process(|snapshot| (snapshot.process.connections).into()),
    ),
    counter(
        "haproxy_process_connections_total",
        "Connections since the start.",
        Source::Process(|snapshot| (snapshot.process.connections_total).into()),
    ),
    counter(
        "haproxy_process_requests_total",
        "Requests since the start.",
        Source::Process(|snapshot| (snapshot.process.requests_total).into()),
    ),
    gauge(
        "haproxy_process_current_ssl_connections",
        "TLS connections open now.",
        Source::Process(|snapshot| (snapshot.process.tls_connections).into()),
    ),
    counter(
        "haproxy_process_ssl_connections_total",
        "TLS handshakes since the start.",
        Source::Process(|snapshot| (snapshot.process.tls_handshakes_total).into()),
    ),
    gauge(
        "haproxy_process_current_connection_rate",
        "Connections in the last second.",
        Source::Process(|snapshot| (snapshot.process.connection_rate).into()),
    ),
    gauge(
        "haproxy_process_max_connection_rate",
        "Most connections in one second since the start.",
        Source::Process(|snapshot| (snapshot.process.connection_rate_max).into()),
    ),
    gauge(
        "haproxy_process_current_session_rate",
        "Sessions in the last second.",
        Source::Process(|snapshot| (of_frontends(snapshot, |it| it.rate)).into()),
    ),
    gauge(
        "haproxy_process_max_session_rate",
        "Most sessions in one second since the start.",
        Source::Process(|snapshot| (snapshot.process.connection_rate_max).into()),
    ),
    gauge(
        "haproxy_process_jobs",
        "Connections and listeners.",
        Source::Process(|snapshot| (snapshot.process.connections + listeners(snapshot)).into()),
    ),
    counter(
        "haproxy_process_bytes_out_total",
        "Bytes sent to clients since the start.",
        Source::Process(|snapshot| (of_frontends(snapshot, |it| it.bytes_out)).into()),
    ),
    gauge(
        "haproxy_process_listeners",
        "Addresses listened on.",
        Source::Process(|snapshot| (listeners(snapshot)).into()),
    ),
    gauge(
        "haproxy_process_stopping",
        "1 while the process is stopping.",
        Source::Process(|snapshot| (snapshot.process.stopping).into()),
    ),
    counter(
        "haproxy_process_dropped_logs_total",
        "Log lines lost since the start because a target was slow.",
        Source::Process(|snapshot| (snapshot.process.log_lines_lost).into()),
    ),
];

const FRONTENDS: &[Family] = &[
    gauge(
        "haproxy_frontend_current_sessions",
        "Sessions now.",
        Source::Frontend(|it| it.traffic.sessions.into()),
    ),
    gauge(
        "haproxy_frontend_max_sessions",
        "Most sessions at once.",
        Source::Frontend(|it| it.traffic.sessions_max.into()),
    ),
    gauge(
        "haproxy_frontend_limit_sessions",
        "Limit of sessions: maxconn, or fullconn of a backend.",
        Source::Frontend(|it| it.sessions_limit.into()),
    ),
    counter(
        "haproxy_frontend_sessions_total",
        "Sessions since the start.",
        Source::Frontend(|it| it.traffic.sessions_total.into()),
    ),
    counter(
        "haproxy_frontend_bytes_in_total",
        "Bytes received from clients.",
        Source::Frontend(|it| it.traffic.bytes_in.into()),
    ),
    counter(
        "haproxy_frontend_bytes_out_total",
        "Bytes sent to clients.",
        Source::Frontend(|it| it.traffic.bytes_out.into()),
    ),
    counter(
        "haproxy_frontend_requests_denied_total",
        "Requests a rule denied.",
        Source::Frontend(|it| it.traffic.denied_requests.into()),
    ),
    counter(
        "haproxy_frontend_responses_denied_total",
        "Responses a rule denied.",
        Source::Frontend(|it| it.traffic.denied_responses.into()),
    ),
    counter(
        "haproxy_frontend_request_errors_total",
        "Requests that were invalid or not finished in time.",
        Source::Frontend(|it| it.traffic.request_errors.into()),
    ),
    gauge(
        "haproxy_frontend_max_session_rate",
        "Most sessions in one second.",
        Source::Frontend(|it| it.traffic.rate_max.into()),
    ),
    gauge(
        "haproxy_frontend_http_requests_rate_max",
        "Most requests in one second.",
        Source::Frontend(|it| it.traffic.request_rate_max.into()),
    ),
    gauge(
        "haproxy_frontend_connections_rate_max",
        "Most connections in one second.",
        Source::Frontend(|it| it.traffic.connection_rate_max.into()),
    ),
    counter(
        "haproxy_frontend_connections_total",
        "Connections since the start.",
        Source::Frontend(|it| it.traffic.connections_total.into()),
    ),
    gauge(
        "haproxy_frontend_limit_session_rate",
        "Limit of sessions in a second; 0: none.",
        Source::Frontend(|it| it.session_rate_limit.into()),
    ),
    counter(
        "haproxy_frontend_denied_connections_total",
        "Connections a rule refused.",
        Source::Frontend(|it| it.traffic.denied_connections.into()),
    ),
    counter(
        "haproxy_frontend_denied_sessions_total",
        "Sessions a rule refused.",
        Source::Frontend(|it| it.traffic.denied_sessions.into()),
    ),
    counter(
        "haproxy_frontend_intercepted_requests_total",
        "Requests answered without a server: page, metrics, redirects.",
        Source::Frontend(|it| it.traffic.intercepted_total.into()),
    ),
    gauge(
        "haproxy_frontend_status",
        "Which of two states it is in.",
        Source::Labelled(frontend_status),
    ),
    counter(
        "haproxy_frontend_http_responses_total",
        "Responses by class of status.",
        Source::Labelled(frontend_responses),
    ),
    counter(
        "haproxy_frontend_http_requests_total",
        "Requests since the start.",
        Source::Frontend(|it| if_http(it.mode, it.traffic.requests_total)),
    ),
];

const BACKENDS: &[Family] = &[
    gauge(
        "haproxy_backend_current_queue",
        "Requests that wait for a server.",
        Source::Backend(|it| it.traffic.queued.into()),
    ),
    gauge(
        "haproxy_backend_max_queue",
        "Most requests that waited at once.",
        Source::Backend(|it| it.traffic.queued_max.into()),
    ),
    gauge(
        "haproxy_backend_current_sessions",
        "Sessions now.",
        Source::Backend(|it| it.traffic.sessions.into()),
    ),
    gauge(
        "haproxy_backend_max_sessions",
        "Most sessions at once.",
        Source::Backend(|it| it.traffic.sessions_max.into()),
    ),
    gauge(
        "haproxy_backend_limit_sessions",
        "Limit of sessions: maxconn, or fullconn of a backend.",
        Source::Backend(|it| it.sessions_limit.into()),
    ),
    counter(
        "haproxy_backend_sessions_total",
        "Sessions since the start.",
        Source::Backend(|it| it.traffic.sessions_total.into()),
    ),
    counter(
        "haproxy_backend_bytes_in_total",
        "Bytes received from clients.",
        Source::Backend(|it| it.traffic.bytes_in.into()),
    ),
    counter(
        "haproxy_backend_bytes_out_total",
        "Bytes sent to clients.",
        Source::Backend(|it| it.traffic.bytes_out.into()),
    ),
    counter(
        "haproxy_backend_requests_denied_total",
        "Requests a rule denied.",
        Source::Backend(|it| it.traffic.denied_requests.into()),
    ),
    counter(
        "haproxy_backend_responses_denied_total",
        "Responses a rule denied.",
        Source::Backend(|it| it.traffic.denied_responses.into()),
    ),
    counter(
        "haproxy_backend_connection_errors_total",
        "Connections to servers that failed.",
        Source::Backend(|it| it.traffic.connect_errors.into()),
    ),
    counter(
        "haproxy_backend_response_errors_total",
        "Responses that were invalid, broken off or late.",
        Source::Backend(|it| it.traffic.response_errors.into()),
    ),
    counter(
        "haproxy_backend_retry_warnings_total",
        "Connects tried again.",
        Source::Backend(|it| it.traffic.retries.into()),
    ),
    counter(
        "haproxy_backend_redispatch_warnings_total",
        "Requests sent to another server after a failed connect.",
        Source::Backend(|it| it.traffic.redispatches.into()),
    ),
    counter(
        "haproxy_backend_client_aborts_total",
        "Transfers the client broke off.",
        Source::Backend(|it| it.traffic.client_aborts.into()),
    ),
    counter(
        "haproxy_backend_server_aborts_total",
        "Transfers the server broke off.",
        Source::Backend(|it| it.traffic.server_aborts.into()),
    ),
    counter(
        "haproxy_backend_loadbalanced_total",
        "Times a server was chosen by balancing.",
        Source::Backend(|it| it.traffic.loadbalanced_total.into()),
    ),
    gauge(
        "haproxy_backend_max_session_rate",
        "Most sessions in one second.",
        Source::Backend(|it| it.traffic.rate_max.into()),
    ),
    counter(
        "haproxy_backend_connection_attempts_total",
        "Connects to servers.",
        Source::Backend(|it| it.traffic.connects_total.into()),
    ),
    counter(
        "haproxy_backend_connection_reuses_total",
        "Requests that took a connection of the pool.",
        Source::Backend(|it| it.traffic.reuses_total.into()),
    ),
    gauge(
        "haproxy_backend_queue_time_average_seconds",
        "Time in the queue, averaged over the last 1024 requests.",
        Source::Backend(|it| it.traffic.queue_time.into()),
    ),
    gauge(
        "haproxy_backend_connect_time_average_seconds",
        "Time to connect, averaged over the last 1024 requests.",
        Source::Backend(|it| it.traffic.connect_time.into()),
    ),
    gauge(
        "haproxy_backend_response_time_average_seconds",
        "Time to the response, averaged over the last 1024 requests.",
        Source::Backend(|it| it.traffic.response_time.into()),
    ),
    gauge(
        "haproxy_backend_total_time_average_seconds",
        "Whole time, averaged over the last 1024 requests.",
        Source::Backend(|it| it.traffic.total_time.into()),
    ),
    gauge(
        "haproxy_backend_max_queue_time_seconds",
        "Longest time in the queue.",
        Source::Backend(|it| it.traffic.queue_time_max.into()),
    ),
    gauge(
        "haproxy_backend_max_connect_time_seconds",
        "Longest time to connect.",
        Source::Backend(|it| it.traffic.connect_time_max.into()),
    ),
    gauge(
        "haproxy_backend_max_response_time_seconds",
        "Longest time to the response.",
        Source::Backend(|it| it.traffic.response_time_max.into()),
    ),
    gauge(
        "haproxy_backend_max_total_time_seconds",
        "Longest whole time.",
        Source::Backend(|it| it.traffic.total_time_max.into()),
    ),
    gauge(
        "haproxy_backend_status",
        "Which of two states it is in.",
        Source::Labelled(backend_status),
    ),
    gauge(
        "haproxy_backend_weight",
        "Weight of its usable servers.",
        Source::Backend(|it| it.weight.into()),
    ),
    gauge(
        "haproxy_backend_uweight",
        "Weight of its usable servers as set.",
        Source::Backend(|it| it.weight.into()),
    ),
    gauge(
        "haproxy_backend_active_servers",
        "Usable active servers.",
        Source::Backend(|it| it.active.into()),
    ),
    gauge(
        "haproxy_backend_backup_servers",
        "Usable backup servers.",
        Source::Backend(|it| it.backup.into()),
    ),
    counter(
        "haproxy_backend_check_up_down_total",
        "Times it went down.",
        Source::Backend(|it| it.downs_total.into()),
    ),
    gauge(
        "haproxy_backend_check_last_change_seconds",
        "Seconds since it went up or down.",
        Source::Backend(|it| it.last_change.as_secs().into()),
    ),
    counter(
        "haproxy_backend_downtime_seconds_total",
        "Seconds spent down.",
        Source::Backend(|it| it.downtime.as_secs().into()),
    ),
    gauge(
        "haproxy_backend_last_session_seconds",
        "Seconds since the last session.",
        Source::Backend(|it| last_session(it.last_session)),
    ),
    counter(
        "haproxy_backend_http_responses_total",
        "Responses by class of status.",
        Source::Labelled(backend_responses),
    ),
    counter(
        "haproxy_backend_http_requests_total",
        "Requests since the start.",
        Source::Backend(|it| if_http(it.mode, it.traffic.requests_total)),
    ),
    gauge(
        "haproxy_backend_agg_server_status",
        "How many of its servers are in each state.",
        Source::Labelled(servers_by_state),
    ),
    gauge(
        "haproxy_backend_agg_server_check_status",
        "How many of its servers are in each state; the old name of agg_server_status.",
        Source::Labelled(servers_by_state),
    ),
    gauge(
        "haproxy_backend_agg_check_status",
        "How many of its servers' last checks ended each way.",
        Source::Labelled(servers_by_check),
    ),
];

const SERVERS: &[Family] = &[
    gauge(
        "haproxy_server_current_queue",
        "Requests that wait for a server.",
        Source::Server(|it| it.traffic.queued.into()),
    ),
    gauge(
        "haproxy_server_max_queue",
        "Most requests that waited at once.",
        Source::Server(|it| it.traffic.queued_max.into()),
    ),
    gauge(
        "haproxy_server_current_sessions",
        "Sessions now.",
        Source::Server(|it| it.traffic.sessions.into()),
    ),
    gauge(
        "haproxy_server_max_sessions",
        "Most sessions at once.",
        Source::Server(|it| it.traffic.sessions_max.into()),
    ),
    gauge(
        "haproxy_server_limit_sessions",
        "Limit of sessions: maxconn, or fullconn of a backend.",
        Source::Server(|it| it.sessions_limit.into()),
    ),
    counter(
        "haproxy_server_sessions_total",
        "Sessions since the start.",
        Source::Server(|it| it.traffic.sessions_total.into()),
    ),
    counter(
        "haproxy_server_bytes_in_total",
        "Bytes received from clients.",
        Source::Server(|it| it.traffic.bytes_in.into()),
    ),
    counter(
        "haproxy_server_bytes_out_total",
        "Bytes sent to clients.",
        Source::Server(|it| it.traffic.bytes_out.into()),
    ),
    counter(
        "haproxy_server_responses_denied_total",
        "Responses a rule denied.",
        Source::Server(|it| it.traffic.denied_responses.into()),
    ),
    counter(
        "haproxy_server_connection_errors_total",
        "Connections to servers that failed.",
        Source::Server(|it| it.traffic.connect_errors.into()),
    ),
    counter(
        "haproxy_server_response_errors_total",
        "Responses that were invalid, broken off or late.",
        Source::Server(|it| it.traffic.response_errors.into()),
    ),
    counter(
        "haproxy_server_retry_warnings_total",
        "Connects tried again.",
        Source::Server(|it| it.traffic.retries.into()),
    ),
    counter(
        "haproxy_server_redispatch_warnings_total",
        "Requests sent to another server after a failed connect.",
        Source::Server(|it| it.traffic.redispatches.into()),
    ),
    counter(
        "haproxy_server_client_aborts_total",
        "Transfers the client broke off.",
        Source::Server(|it| it.traffic.client_aborts.into()),
    ),
    counter(
        "haproxy_server_server_aborts_total",
        "Transfers the server broke off.",
        Source::Server(|it| it.traffic.server_aborts.into()),
    ),
    counter(
        "haproxy_server_loadbalanced_total",
        "Times a server was chosen by balancing.",
        Source::Server(|it| it.traffic.loadbalanced_total.into()),
    ),
    gauge(
        "haproxy_server_max_session_rate",
        "Most sessions in one second.",
        Source::Server(|it| it.traffic.rate_max.into()),
    ),
    counter(
        "haproxy_server_connection_attempts_total",
        "Connects to servers.",
        Source::Server(|it| it.traffic.connects_total.into()),
    ),
    counter(
        "haproxy_server_connection_reuses_total",
        "Requests that took a connection of the pool.",
        Source::Server(|it| it.traffic.reuses_total.into()),
    ),
    gauge(
        "haproxy_server_queue_time_average_seconds",
        "Time in the queue, averaged over the last 1024 requests.",
        Source::Server(|it| it.traffic.queue_time.into()),
    ),
    gauge(
        "haproxy_server_connect_time_average_seconds",
        "Time to connect, averaged over the last 1024 requests.",
        Source::Server(|it| it.traffic.connect_time.into()),
    ),
    gauge(
        "haproxy_server_response_time_average_seconds",
        "Time to the response, averaged over the last 1024 requests.",
        Source::Server(|it| it.traffic.response_time.into()),
    ),
    gauge(
        "haproxy_server_total_time_average_seconds",
        "Whole time, averaged over the last 1024 requests.",
        Source::Server(|it| it.traffic.total_time.into()),
    ),
    gauge(
        "haproxy_server_max_queue_time_seconds",
        "Longest time in the queue.",
        Source::Server(|it| it.traffic.queue_time_max.into()),
    ),
    gauge(
        "haproxy_server_max_connect_time_seconds",
        "Longest time to connect.",
        Source::Server(|it| it.traffic.connect_time_max.into()),
    ),
    gauge(
        "haproxy_server_max_response_time_seconds",
        "Longest time to the response.",
        Source::Server(|it| it.traffic.response_time_max.into()),
    ),
    gauge(
        "haproxy_server_max_total_time_seconds",
        "Longest whole time.",
        Source::Server(|it| it.traffic.total_time_max.into()),
    ),
    gauge(
        "haproxy_server_status",
        "Which of the states it is in.",
        Source::EachServer(server_status),
    ),
    gauge(
        "haproxy_server_weight",
        "Weight.",
        Source::Server(|it| it.weight.into()),
    ),
    gauge(
        "haproxy_server_uweight",
        "Weight as set.",
        Source::Server(|it| it.weight_set.into()),
    ),
    counter(
        "haproxy_server_check_failures_total",
        "Checks that failed while it was up.",
        Source::Server(|it| it.checked.then_some(it.check_failures_total).into()),
    ),
    counter(
        "haproxy_server_check_up_down_total",
        "Times it went down.",
        Source::Server(|it| it.checked.then_some(it.downs_total).into()),
    ),
    gauge(
        "haproxy_server_check_last_change_seconds",
        "Seconds since its state changed.",
        Source::Server(|it| it.last_change.as_secs().into()),
    ),
    counter(
        "haproxy_server_downtime_seconds_total",
        "Seconds spent down.",
        Source::Server(|it| it.checked.then_some(it.downtime.as_secs()).into()),
    ),
    gauge(
        "haproxy_server_queue_limit",
        "Most requests that may wait for it.",
        Source::Server(|it| it.queue_limit.into()),
    ),
    gauge(
        "haproxy_server_check_status",
        "How its last check ended.",
        Source::EachServer(check_status),
    ),
    gauge(
        "haproxy_server_check_code",
        "Status code of its last check.",
        Source::Server(|it| {
            let runs = it.checked && it.check_duration.is_some();
            runs.then_some(it.check_code.map_or(0, u64::from)).into()
        }),
    ),
    gauge(
        "haproxy_server_check_duration_seconds",
        "How long its last check took.",
        Source::Server(|it| it.check_duration.into()),
    ),
    gauge(
        "haproxy_server_last_session_seconds",
        "Seconds since the last session.",
        Source::Server(|it| last_session(it.last_session)),
    ),
    counter(
        "haproxy_server_http_responses_total",
        "Responses by class of status.",
        Source::EachServer(server_responses),
    ),
    gauge(
        "haproxy_server_idle_connections_current",
        "Idle connections in the pool.",
        Source::Server(|it| it.idle_connections.into()),
    ),
    gauge(
        "haproxy_server_used_connections_current",
        "Connections in use.",
        Source::Server(|it| it.traffic.sessions.into()),
    ),
    gauge(
        "haproxy_server_unsafe_idle_connections_current",
        "Idle connections that are given to requests which may be sent again.",
        Source::Server(|it| it.idle_connections.into()),
    ),
    gauge(
        "haproxy_server_idle_connections_limit",
        "Most idle connections that are kept.",
        Source::Server(|it| it.idle_limit.into()),
    ),
    gauge(
        "haproxy_server_need_connections_current",
        "Connections that are needed, about.",
        Source::Server(|it| needed_connections(it).into()),
    ),
    gauge(
        "haproxy_server_current_throttle",
        "Percent of its weight that is in force while it starts slowly.",
        Source::Server(|it| it.throttle.into()),
    ),
];
fn of_frontends(snapshot: &Snapshot, value: fn(&Traffic) -> u64) -> u64 {
    let values = snapshot.frontends.iter().map(|it| value(&it.traffic));
    values.fold(0, u64::saturating_add)
}

fn listeners(snapshot: &Snapshot) -> u64 {
    let open = snapshot.frontends.iter().filter(|it| it.open);
    open.map(|it| it.binds.len() as u64).sum()
}

fn last_session(ago: Option<Duration>) -> Value {
    ago.map_or(Value::MinusOne, |ago| ago.as_secs().into())
}

fn if_http(mode: Mode, value: u64) -> Value {
    (mode == Mode::Http).then_some(value).into()
}

fn frontend_status(snapshot: &Snapshot, samples: &mut Samples) {
    for frontend in &snapshot.frontends {
        up_or_down(&frontend.name, frontend.open, samples);
    }
}

fn backend_status(snapshot: &Snapshot, samples: &mut Samples) {
    for backend in &snapshot.backends {
        up_or_down(&backend.name, backend.up, samples);
    }
}

fn up_or_down(proxy: &str, up: bool, samples: &mut Samples) {
    samples.add(&[("proxy", proxy), ("state", "DOWN")], !up);
    samples.add(&[("proxy", proxy), ("state", "UP")], up);
}

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

fn frontend_responses(snapshot: &Snapshot, samples: &mut Samples) {
    for it in &snapshot.frontends {
        responses(&[("proxy", &it.name)], it.mode, &it.traffic, samples);
    }
}

fn backend_responses(snapshot: &Snapshot, samples: &mut Samples) {
    for it in &snapshot.backends {
        responses(&[("proxy", &it.name)], it.mode, &it.traffic, samples);
    }
}

fn server_responses(backend: &BackendStats, server: &ServerStats, samples: &mut Samples) {
    let labels = server_labels(backend, server);
    responses(&labels, backend.mode, &server.traffic, samples);
}

fn responses(labels: &[super::Label<'_>], mode: Mode, traffic: &Traffic, samples: &mut Samples) {
    for (class, count) in CLASSES.into_iter().zip(traffic.responses) {
        let labels: Vec<_> = labels.iter().copied().chain([("code", class)]).collect();
        samples.add(&labels, if_http(mode, count));
    }
}

/// HAProxy's five states, in its order.
const STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

fn state(server: &ServerStats) -> &'static str {
    match condition(server) {
        Condition::Down | Condition::GoingUp => "DOWN",
        Condition::Up | Condition::GoingDown | Condition::NoCheck => "UP",
        Condition::Maint => "MAINT",
        Condition::Drain => "DRAIN",
        Condition::NoLoad => "NOLB",
    }
}

fn server_status(backend: &BackendStats, server: &ServerStats, samples: &mut Samples) {
    let [proxy, name] = server_labels(backend, server);
    let now = state(server);
    for state in STATES {
        samples.add(&[proxy, name, ("state", state)], state == now);
    }
}

fn servers_by_state(snapshot: &Snapshot, samples: &mut Samples) {
    for backend in &snapshot.backends {
        for wanted in STATES {
            let count = count(backend, |server| state(server) == wanted);
            samples.add(&[("proxy", &backend.name), ("state", wanted)], count);
        }
    }
}

/// Codes of checks that have ended.
fn check_codes() -> impl Iterator<Item = &'static str> {
    let ended = CheckCode::all().filter(|code| *code != CheckCode::Initializing);
    ended.map(CheckCode::short)
}

fn check_status(backend: &BackendStats, server: &ServerStats, samples: &mut Samples) {
    if !server.checked {
        return;
    }
    let [proxy, name] = server_labels(backend, server);
    for code in check_codes() {
        samples.add(&[proxy, name, ("state", code)], server.check_status == code);
    }
}

fn servers_by_check(snapshot: &Snapshot, samples: &mut Samples) {
    for backend in &snapshot.backends {
        for code in check_codes() {
            let count = count(backend, |server| server.check_status == code);
            samples.add(&[("proxy", &backend.name), ("state", code)], count);
        }
    }
}

fn count(backend: &BackendStats, wanted: impl Fn(&ServerStats) -> bool) -> u64 {
    backend.servers.iter().filter(|it| wanted(it)).count() as u64
}
