//! Metrics of HAProxy's exporter for what tidegate has not: dashboards ask for them, and what does not
//! exist has a count, a limit or a rate of 0. What would be untrue so is left out.

use super::families::{counter, gauge};
use super::{Family, Source};

pub(super) const PROCESS: &[Family] = &[
    counter(
        "haproxy_process_ssl_cache_lookups_total",
        "Look-ups in a TLS session cache: there are tickets instead.",
        Source::Process(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_process_ssl_cache_misses_total",
        "Look-ups in a TLS session cache that found nothing.",
        Source::Process(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_process_http_comp_bytes_in_total",
        "Bytes that were to be compressed: nothing is.",
        Source::Process(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_process_http_comp_bytes_out_total",
        "Bytes that came of compression.",
        Source::Process(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_process_limit_http_comp",
        "Limit of compression, bytes in a second.",
        Source::Process(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_process_max_memory_bytes",
        "Limit of memory: none.",
        Source::Process(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_process_max_pipes",
        "Pipes at most: none are used.",
        Source::Process(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_process_pipes_used_total",
        "Pipes in use.",
        Source::Process(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_process_pipes_free_total",
        "Pipes not in use.",
        Source::Process(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_process_spliced_bytes_out_total",
        "Bytes that went through pipes.",
        Source::Process(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_process_recv_logs_total",
        "Log lines received from others.",
        Source::Process(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_process_unstoppable_jobs",
        "Jobs that a soft stop does not wait for.",
        Source::Process(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_process_active_peers",
        "Peers that are connected and in step.",
        Source::Process(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_process_connected_peers",
        "Peers that are connected.",
        Source::Process(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_process_busy_polling_enabled",
        "Whether workers wait without sleeping.",
        Source::Process(|_| 0_u64.into()),
    ),
];

pub(super) const FRONTENDS: &[Family] = &[
    counter(
        "haproxy_frontend_http_cache_lookups_total",
        "Look-ups in a cache: there is none.",
        Source::Frontend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_frontend_http_cache_hits_total",
        "Answers from a cache.",
        Source::Frontend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_frontend_http_comp_bytes_in_total",
        "Bytes that were to be compressed: nothing is.",
        Source::Frontend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_frontend_http_comp_bytes_out_total",
        "Bytes that came of compression.",
        Source::Frontend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_frontend_http_comp_bytes_bypassed_total",
        "Bytes that passed compression by.",
        Source::Frontend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_frontend_http_comp_responses_total",
        "Responses that were compressed.",
        Source::Frontend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_frontend_failed_header_rewriting_total",
        "Headers that could not be rewritten.",
        Source::Frontend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_frontend_internal_errors_total",
        "Errors of the balancer itself.",
        Source::Frontend(|_| 0_u64.into()),
    ),
];

pub(super) const BACKENDS: &[Family] = &[
    counter(
        "haproxy_backend_http_cache_lookups_total",
        "Look-ups in a cache: there is none.",
        Source::Backend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_backend_http_cache_hits_total",
        "Answers from a cache.",
        Source::Backend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_backend_http_comp_bytes_in_total",
        "Bytes that were to be compressed: nothing is.",
        Source::Backend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_backend_http_comp_bytes_out_total",
        "Bytes that came of compression.",
        Source::Backend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_backend_http_comp_bytes_bypassed_total",
        "Bytes that passed compression by.",
        Source::Backend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_backend_http_comp_responses_total",
        "Responses that were compressed.",
        Source::Backend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_backend_failed_header_rewriting_total",
        "Headers that could not be rewritten.",
        Source::Backend(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_backend_internal_errors_total",
        "Errors of the balancer itself.",
        Source::Backend(|_| 0_u64.into()),
    ),
];

pub(super) const SERVERS: &[Family] = &[
    counter(
        "haproxy_server_failed_header_rewriting_total",
        "Headers that could not be rewritten.",
        Source::Server(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_server_internal_errors_total",
        "Errors of the balancer itself.",
        Source::Server(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_server_safe_idle_connections_current",
        "Idle connections that any request may be given: none are.",
        Source::Server(|_| 0_u64.into()),
    ),
];
