//! Metrics of listeners, where `option socket-stats` has them counted.

use super::super::row::listener_status;
use super::families::{counter, gauge};
use super::{Family, Samples, Source};
use crate::snapshot::{FrontendStats, ListenerStats};

pub(super) const LISTENERS: &[Family] = &[
    gauge(
        "haproxy_listener_current_sessions",
        "Connections open now.",
        Source::Listener(|it| it.traffic.sessions.into()),
    ),
    gauge(
        "haproxy_listener_max_sessions",
        "Most connections at once.",
        Source::Listener(|it| it.traffic.sessions_max.into()),
    ),
    gauge(
        "haproxy_listener_limit_sessions",
        "Limit of connections; 0: none of its own.",
        Source::Listener(|it| it.sessions_limit.into()),
    ),
    counter(
        "haproxy_listener_sessions_total",
        "Connections since the start.",
        Source::Listener(|it| it.traffic.sessions_total.into()),
    ),
    counter(
        "haproxy_listener_bytes_in_total",
        "Bytes received from clients.",
        Source::Listener(|it| it.traffic.bytes_in.into()),
    ),
    counter(
        "haproxy_listener_bytes_out_total",
        "Bytes sent to clients.",
        Source::Listener(|it| it.traffic.bytes_out.into()),
    ),
    counter(
        "haproxy_listener_requests_denied_total",
        "Requests a rule denied.",
        Source::Listener(|it| it.traffic.denied_requests.into()),
    ),
    counter(
        "haproxy_listener_responses_denied_total",
        "Responses a rule denied.",
        Source::Listener(|it| it.traffic.denied_responses.into()),
    ),
    counter(
        "haproxy_listener_denied_connections_total",
        "Connections a rule refused.",
        Source::Listener(|it| it.traffic.denied_connections.into()),
    ),
    counter(
        "haproxy_listener_denied_sessions_total",
        "Sessions a rule refused.",
        Source::Listener(|it| it.traffic.denied_sessions.into()),
    ),
    counter(
        "haproxy_listener_request_errors_total",
        "Requests that were invalid or not finished in time.",
        Source::Listener(|it| it.traffic.request_errors.into()),
    ),
    counter(
        "haproxy_listener_failed_header_rewriting_total",
        "Headers that could not be rewritten.",
        Source::Listener(|_| 0_u64.into()),
    ),
    counter(
        "haproxy_listener_internal_errors_total",
        "Errors of the balancer itself.",
        Source::Listener(|_| 0_u64.into()),
    ),
    gauge(
        "haproxy_listener_status",
        "Which of the states it is in.",
        Source::EachListener(status),
    ),
];

/// HAProxy's three states of listeners that are there.
const STATES: [(&str, &str); 3] = [("WAITING", "STOP"), ("OPEN", "OPEN"), ("FULL", "FULL")];

fn status(frontend: &FrontendStats, listener: &ListenerStats, samples: &mut Samples) {
    let now = listener_status(listener);
    for (state, word) in STATES {
        let labels = [
            ("proxy", &*frontend.name),
            ("listener", &*listener.name),
            ("state", state),
        ];
        samples.add(&labels, now == word);
    }
}
