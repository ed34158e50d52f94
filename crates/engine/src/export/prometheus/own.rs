//! The metrics HAProxy's exporter has not: lifecycle, discovery, tunnels, latency.

use super::families::{counter, gauge};
use super::{Family, Kind, Samples, Source, Value};
use crate::snapshot::{DiscoveryStatus, DrainStats, HaproxyStatus, ServerStats, Snapshot};

/// All of them.
pub(super) const OWN: &[Family] = &[
    gauge(
        "tidegate_build_info",
        "Always 1; the version is in the label.",
        Source::Labelled(|snapshot, samples| {
            samples.add(&[("version", snapshot.process.version)], 1_u64);
        }),
    ),
    gauge(
        "tidegate_lifecycle_state",
        "Which state of its lifecycle the balancer is in.",
        Source::Labelled(lifecycle),
    ),
    gauge(
        "tidegate_worker_connections",
        "Connections of clients that a worker thread has now.",
        Source::Labelled(|snapshot, samples| {
            for (worker, connections) in snapshot.process.worker_connections.iter().enumerate() {
                samples.add(&[("worker", &worker.to_string())], *connections);
            }
        }),
    ),
    gauge(
        "tidegate_old_process_connections",
        "Connections that are left in the process that this one took over from; missing when it is gone.",
        Source::Process(|snapshot| {
            snapshot
                .process
                .predecessor
                .as_ref()
                .map(|it| it.connections)
                .into()
        }),
    ),
    gauge(
        "tidegate_waiting",
        "Things the control loop waits for.",
        Source::Process(|snapshot| (snapshot.control.waiting.len() as u64).into()),
    ),
    gauge(
        "tidegate_discovery_age_seconds",
        "Age of the last good node list; missing until one has come.",
        Source::Process(|snapshot| discovery(snapshot, |it| it.age.into())),
    ),
    gauge(
        "tidegate_discovery_nodes",
        "Nodes in the list in force.",
        Source::Process(|snapshot| discovery(snapshot, |it| it.nodes.into())),
    ),
    gauge(
        "tidegate_discovery_from_state_file",
        "1 while the list in force is the one kept from before the start.",
        Source::Process(|snapshot| discovery(snapshot, |it| it.from_state_file.into())),
    ),
    counter(
        "tidegate_discovery_fetches_total",
        "Fetches of the node list.",
        Source::Process(|snapshot| discovery(snapshot, |it| it.fetches_total.into())),
    ),
    counter(
        "tidegate_discovery_failures_total",
        "Fetches of the node list that failed, by cause.",
        Source::Labelled(discovery_failures),
    ),
    counter(
        "tidegate_discovery_skipped_entries_total",
        "Entries of node lists left out because they were invalid.",
        Source::Process(|snapshot| discovery(snapshot, |it| it.entries_skipped_total.into())),
    ),
    counter(
        "tidegate_discovery_changes_total",
        "Servers added, drained or removed because the node list changed.",
        Source::Process(|snapshot| discovery(snapshot, |it| it.changes_total.into())),
    ),
    gauge(
        "tidegate_discovery_apply_seconds",
        "Time the last list that changed something took until it was in force.",
        Source::Process(|snapshot| discovery(snapshot, |it| it.apply_time.into())),
    ),
    gauge(
        "tidegate_discovery_last_change",
        "1 for where the last change of the fleet came from.",
        Source::Labelled(last_change),
    ),
    counter(
        "tidegate_discovery_news_total",
        "Lists and changes that came, by where from and what became of them.",
        Source::Labelled(|snapshot, samples| {
            let discovery = snapshot.control.discovery.iter();
            for (source, result, count) in discovery.flat_map(|it| &it.news_total) {
                samples.add(&[("source", source), ("result", result)], *count);
            }
        }),
    ),
    counter(
        "tidegate_discovery_pushes_refused_total",
        "Pushes of nodes that were not let in, by cause.",
        Source::Labelled(|snapshot, samples| {
            let discovery = snapshot.control.discovery.iter();
            for (cause, count) in discovery.flat_map(|it| &it.pushes_refused_total) {
                samples.add(&[("cause", cause)], *count);
            }
        }),
    ),
    gauge(
        "tidegate_discovery_stream_open",
        "1 while the service's event stream is open; missing where it is not asked for.",
        Source::Process(|snapshot| {
            discovery(snapshot, |it| it.stream.map(|stream| stream.open).into())
        }),
    ),
    counter(
        "tidegate_discovery_stream_broken_total",
        "Times the service's event stream broke.",
        Source::Process(|snapshot| {
            discovery(snapshot, |it| {
                it.stream.map(|stream| stream.broken_total).into()
            })
        }),
    ),
    counter(
        "tidegate_discovery_state_file_failures_total",
        "Times the state file could not be written.",
        Source::Process(|snapshot| discovery(snapshot, |it| it.state_file_failures_total.into())),
    ),
    gauge(
        "tidegate_haproxy_reachable",
        "1 while the HAProxy that is kept in step answers.",
        Source::Process(|snapshot| haproxy(snapshot, |it| it.reachable.into())),
    ),
    counter(
        "tidegate_haproxy_failures_total",
        "Questions to that HAProxy that were not answered.",
        Source::Process(|snapshot| haproxy(snapshot, |it| it.failures_total.into())),
    ),
    counter(
        "tidegate_haproxy_file_writes_total",
        "Times its configuration file was rewritten.",
        Source::Process(|snapshot| haproxy(snapshot, |it| it.file_writes_total.into())),
    ),
    counter(
        "tidegate_haproxy_file_failures_total",
        "Times its configuration file could not be read or rewritten.",
        Source::Process(|snapshot| haproxy(snapshot, |it| it.file_failures_total.into())),
    ),
    counter(
        "tidegate_haproxy_reloads_total",
        "Reloads of that HAProxy because nothing else could bring a node in.",
        Source::Process(|snapshot| haproxy(snapshot, |it| it.reloads_total.into())),
    ),
    counter(
        "tidegate_haproxy_reload_failures_total",
        "Reloads of that HAProxy that failed.",
        Source::Process(|snapshot| haproxy(snapshot, |it| it.reload_failures_total.into())),
    ),
    counter(
        "tidegate_reloads_total",
        "Reloads of the configuration that were carried out.",
        Source::Process(|snapshot| snapshot.process.reloads_total.into()),
    ),
    counter(
        "tidegate_reload_failures_total",
        "Reloads of the configuration that failed, after which everything is as before.",
        Source::Process(|snapshot| snapshot.process.reload_failures_total.into()),
    ),
    counter(
        "tidegate_log_lines_lost_total",
        "Log lines lost because a target was slow.",
        Source::Process(|snapshot| snapshot.process.log_lines_lost.into()),
    ),
    gauge(
        "tidegate_process_current_tunnels",
        "Tunnels (WebSockets) open now.",
        Source::Process(|snapshot| snapshot.process.tunnels.into()),
    ),
    counter(
        "tidegate_process_tunnels_total",
        "Tunnels (WebSockets) since the start.",
        Source::Process(|snapshot| snapshot.process.tunnels_total.into()),
    ),
    gauge(
        "tidegate_frontend_current_tunnels",
        "Tunnels (WebSockets) open now.",
        Source::Frontend(|it| it.traffic.tunnels.into()),
    ),
    counter(
        "tidegate_frontend_tunnels_total",
        "Tunnels (WebSockets) since the start.",
        Source::Frontend(|it| it.traffic.tunnels_total.into()),
    ),
    gauge(
        "tidegate_backend_current_tunnels",
        "Tunnels (WebSockets) open now.",
        Source::Backend(|it| it.traffic.tunnels.into()),
    ),
    counter(
        "tidegate_backend_tunnels_total",
        "Tunnels (WebSockets) since the start.",
        Source::Backend(|it| it.traffic.tunnels_total.into()),
    ),
    gauge(
        "tidegate_server_current_tunnels",
        "Tunnels (WebSockets) open now.",
        Source::Server(|it| it.traffic.tunnels.into()),
    ),
    counter(
        "tidegate_server_tunnels_total",
        "Tunnels (WebSockets) since the start.",
        Source::Server(|it| it.traffic.tunnels_total.into()),
    ),
    gauge(
        "tidegate_server_drain_sessions_left",
        "Sessions left on a server that is being emptied, or has been.",
        Source::Server(|it| drain(it, |_| it.traffic.sessions.into())),
    ),
    gauge(
        "tidegate_server_drain_sessions_closed",
        "Sessions of such a server that were told to end.",
        Source::Server(|it| drain(it, |drain| drain.closed.into())),
    ),
    gauge(
        "tidegate_server_drain_seconds_left",
        "Time until the last of them is told to end; missing where they end by themselves.",
        Source::Server(|it| drain(it, |drain| drain.left().map_or(Value::None, Value::Seconds))),
    ),
    Family {
        name: "tidegate_backend_response_time_seconds",
        kind: Kind::Histogram,
        help: "Time from the request to the head of the response.",
        source: Source::Labelled(latency),
    },
];

fn lifecycle(snapshot: &Snapshot, samples: &mut Samples) {
    for state in snapshot.control.lifecycle_states {
        samples.add(&[("state", state)], *state == snapshot.control.lifecycle);
    }
}

fn discovery(snapshot: &Snapshot, value: fn(&DiscoveryStatus) -> Value) -> Value {
    snapshot
        .control
        .discovery
        .as_ref()
        .map_or(Value::None, value)
}

fn drain(server: &ServerStats, value: impl Fn(&DrainStats) -> Value) -> Value {
    server.drain.as_ref().map_or(Value::None, value)
}

fn haproxy(snapshot: &Snapshot, value: fn(&HaproxyStatus) -> Value) -> Value {
    let status = snapshot.control.haproxy.as_ref();
    status.map_or(Value::None, value)
}

/// Every source, so that a rule can wait for one of them.
fn last_change(snapshot: &Snapshot, samples: &mut Samples) {
    let Some(discovery) = &snapshot.control.discovery else {
        return;
    };
    let last = discovery.last_change.map(|last| last.source);
    for source in ["poll", "push", "stream", "command"] {
        samples.add(&[("source", source)], last == Some(source));
    }
}

fn discovery_failures(snapshot: &Snapshot, samples: &mut Samples) {
    let discovery = snapshot.control.discovery.iter();
    for (cause, count) in discovery.flat_map(|it| &it.failures_total) {
        samples.add(&[("cause", cause)], *count);
    }
}

fn latency(snapshot: &Snapshot, samples: &mut Samples) {
    for backend in &snapshot.backends {
        samples.add_histogram(&[("proxy", &backend.name)], &backend.traffic.latency);
    }
}
