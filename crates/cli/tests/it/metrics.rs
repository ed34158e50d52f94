//! The metrics: the names, labels and values of HAProxy's exporter, and what of them is asked for.

use testkit::Client;
use testkit::stats::Metrics;
use testkit::wait::{or_seen, wait_until};

use crate::support::{DEFAULTS, Lab, SOON, is_haproxy};

const CONFIG: &str = "
frontend fe
    bind 127.0.0.1:<port:http> name front
    option socket-stats
    http-request deny if { path /denied }
    default_backend be
backend be
    option httpchk
    server n1 <n1> check inter 200ms weight 7 maxconn 50
    server off <n1> disabled
frontend metrics
    bind 127.0.0.1:<port:metrics>
    http-request use-service prometheus-exporter if { path /metrics }
";

async fn lab() -> Lab {
    let lab = Lab::start(&format!("{DEFAULTS}{CONFIG}")).await;
    let labels = ["proxy=\"be\"", "server=\"n1\"", "state=\"L7OK\""];
    wait_until("a check to pass", SOON, async || {
        let metrics = lab.balancer.metrics("metrics").await;
        let seen = metrics.sum("haproxy_server_check_status", &labels);
        or_seen(seen == Some(1.0), format!("{seen:?}"))
    })
    .await;
    lab
}

#[tokio::test]
async fn what_haproxy_counts_is_counted_by_its_names() {
    let lab = lab().await;
    let mut client = Client::plain(lab.balancer.address("http")).await;
    for path in ["/1", "/2", "/denied", "/3"] {
        // HAProxy closes behind a refusal.
        if client.get(path).await.is_err() || path == "/denied" {
            client = Client::plain(lab.balancer.address("http")).await;
        }
    }
    let metrics = lab.balancer.metrics("metrics").await;
    for (name, labels, value) in [
        ("haproxy_process_nbthread", "", 2.0),
        ("haproxy_process_max_connections", "", 4000.0),
        ("haproxy_frontend_http_requests_total", "proxy=fe", 4.0),
        ("haproxy_frontend_requests_denied_total", "proxy=fe", 1.0),
        (
            "haproxy_frontend_http_responses_total",
            "proxy=fe code=2xx",
            3.0,
        ),
        (
            "haproxy_frontend_http_responses_total",
            "proxy=fe code=4xx",
            1.0,
        ),
        ("haproxy_frontend_status", "proxy=fe state=UP", 1.0),
        ("haproxy_frontend_denied_connections_total", "proxy=fe", 0.0),
        ("haproxy_frontend_internal_errors_total", "proxy=fe", 0.0),
        (
            "haproxy_listener_sessions_total",
            "proxy=fe listener=front",
            2.0,
        ),
        (
            "haproxy_listener_requests_denied_total",
            "proxy=fe listener=front",
            1.0,
        ),
        (
            "haproxy_listener_status",
            "proxy=fe listener=front state=OPEN",
            1.0,
        ),
        ("haproxy_backend_http_requests_total", "proxy=be", 3.0),
        ("haproxy_backend_active_servers", "proxy=be", 1.0),
        (
            "haproxy_backend_agg_server_status",
            "proxy=be state=MAINT",
            1.0,
        ),
        (
            "haproxy_backend_agg_check_status",
            "proxy=be state=L7OK",
            1.0,
        ),
        ("haproxy_backend_http_cache_hits_total", "proxy=be", 0.0),
        (
            "haproxy_server_http_responses_total",
            "proxy=be server=n1 code=2xx",
            3.0,
        ),
        (
            "haproxy_server_loadbalanced_total",
            "proxy=be server=n1",
            3.0,
        ),
        ("haproxy_server_weight", "proxy=be server=n1", 7.0),
        ("haproxy_server_limit_sessions", "proxy=be server=n1", 50.0),
        (
            "haproxy_server_status",
            "proxy=be server=off state=MAINT",
            1.0,
        ),
        ("haproxy_server_check_code", "proxy=be server=n1", 200.0),
        (
            "haproxy_server_last_session_seconds",
            "proxy=be server=off",
            -1.0,
        ),
        (
            "haproxy_server_need_connections_current",
            "proxy=be server=n1",
            1.0,
        ),
    ] {
        let labels: Vec<String> = labels
            .split_whitespace()
            .filter_map(|label| label.split_once('='))
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(metrics.sum(name, &labels), Some(value), "{name} {labels:?}");
    }
    if !is_haproxy() {
        assert_eq!(
            metrics.sum("tidegate_server_current_tunnels", &[]),
            Some(0.0)
        );
    }
}

#[tokio::test]
async fn what_is_asked_for_is_sent_and_nothing_else() {
    let lab = lab().await;
    let get = async |query: &str| {
        let path = format!("/metrics{query}");
        let response = testkit::http::get(lab.balancer.address("metrics"), &path).await;
        response.unwrap()
    };
    for (query, there, absent) in [
        ("?scope=global", "haproxy_process_nbthread", "proxy="),
        (
            "?scope=frontend",
            "haproxy_frontend_status",
            "haproxy_process_",
        ),
        (
            "?scope=server&scope=backend",
            "haproxy_backend_status",
            "haproxy_frontend_",
        ),
        (
            "?scope=listener",
            "haproxy_listener_status",
            "haproxy_server_",
        ),
        ("?scope=*", "haproxy_server_status", "# ABSENT"),
        ("?scope=server&no-maint", "server=\"n1\"", "server=\"off\""),
        ("?extra-counters", "haproxy_server_status", "# ABSENT"),
        ("", "haproxy_process_nbthread", "# ABSENT"),
    ] {
        let response = get(query).await;
        assert_eq!(response.status, 200, "{query}");
        let kind = response.head.get("content-type");
        assert_eq!(kind, Some("text/plain; version=0.0.4"), "{query}");
        let text = response.text();
        assert!(text.contains(there) && !text.contains(absent), "{query}");
        Metrics::parse(&text);
    }
    assert_eq!(get("?scope=nonsense").await.status, 400);
    assert_eq!(get("?scope=").await.text(), "");
    if is_haproxy() {
        return; // Names can be chosen since 3.0.
    }
    let text = get("?metrics=haproxy_server_weight").await.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        lines[2],
        "haproxy_server_weight{proxy=\"be\",server=\"n1\"} 7"
    );
}
