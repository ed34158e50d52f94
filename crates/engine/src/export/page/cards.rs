//! The upper part of the page: who we are, how it goes at a glance, lifecycle and discovery.

use super::html::Html;
use super::numbers::{Grouped, age, bytes, percent, short};
use super::{Look, Snapshot};
use crate::export::{Condition, condition};
use crate::snapshot::{ControlStatus, DiscoveryStatus, HaproxyStatus, Traffic};

/// States that are not on the way from start to routing.
const ASIDE: [&str; 2] = ["Reloading", "Error"];

/// Servers by what one wants to know first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerCount {
    pub(super) all: u64,
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) aside: u64,
}

pub(super) fn count_of_servers(snapshot: &Snapshot) -> ServerCount {
    let mut count = ServerCount::default();
    for server in snapshot.backends.iter().flat_map(|it| &it.servers) {
        count.all += 1;
        match condition(server) {
            Condition::Up | Condition::GoingDown | Condition::NoCheck => count.up += 1,
            Condition::Down | Condition::GoingUp => count.down += 1,
            Condition::Maint | Condition::Drain | Condition::NoLoad => count.aside += 1,
        }
    }
    count
}

/// Name, description and the line about the process.
pub(super) fn header(html: &mut Html, snapshot: &Snapshot, look: &Look) {
    let process = &snapshot.process;
    html.raw("<header>\n<div class=\"brand\">\n<h1>tidegate");
    if let Some(node) = &look.node {
        html.raw(" <span class=\"node\">").text(node).raw("</span>");
    }
    html.raw("</h1>\n");
    if let Some(description) = &look.description {
        html.raw("<p class=\"description\">")
            .text(description)
            .raw("</p>\n");
    }
    html.raw("</div>\n<dl class=\"process\">\n");
    if !look.hide_version {
        fact(html, "Version", process.version);
    }
    fact(html, "Process", process.pid);
    fact(html, "Uptime", age(process.uptime));
    fact(html, "Workers", process.workers);
    if process.reloads_total + process.reload_failures_total > 0 {
        fact(html, "Reloads", Grouped(process.reloads_total));
    }
    if process.reload_failures_total > 0 {
        fact(
            html,
            "Reloads that failed",
            Grouped(process.reload_failures_total),
        );
    }
    if process.log_lines_lost > 0 {
        fact(html, "Log lines lost", Grouped(process.log_lines_lost));
    }
    html.raw("</dl>\n");
    if process.stopping {
        html.raw("<p class=\"stopping\" role=\"status\">Stopping: no new connections, ");
        html.text(Grouped(process.connections))
            .raw(" still open</p>\n");
    }
    html.raw("</header>\n");
}

fn fact(html: &mut Html, name: &'static str, value: impl std::fmt::Display) {
    html.raw("<div><dt>")
        .raw(name)
        .raw("</dt><dd>")
        .text(value)
        .raw("</dd></div>\n");
}

/// What one wants to know first, in big figures.
pub(super) fn tiles(html: &mut Html, snapshot: &Snapshot) {
    let process = &snapshot.process;
    let servers = count_of_servers(snapshot);
    let sum = |value: fn(&Traffic) -> u64| {
        let values = snapshot.frontends.iter().map(|it| value(&it.traffic));
        values.fold(0, u64::saturating_add)
    };
    html.raw("<section aria-label=\"Overview\" class=\"tiles\">\n");
    tile(
        html,
        "Tunnels",
        &Grouped(process.tunnels).to_string(),
        &format!("{} since start", short(process.tunnels_total)),
    );
    let share = percent(process.connections, process.maxconn);
    tile(
        html,
        "Connections",
        &Grouped(process.connections).to_string(),
        &format!(
            "{share}% of {}, {}/s",
            short(process.maxconn),
            short(process.connection_rate)
        ),
    );
    tile(
        html,
        "Requests",
        &format!("{}/s", Grouped(sum(|it| it.request_rate))),
        &format!("{} since start", short(process.requests_total)),
    );
    tile(
        html,
        "Bytes",
        &bytes(sum(|it| it.bytes_out)),
        &format!("out, {} in", bytes(sum(|it| it.bytes_in))),
    );
    tile(
        html,
        "TLS",
        &Grouped(process.tls_connections).to_string(),
        &format!("{} handshakes", short(process.tls_handshakes_total)),
    );
    let mut second = format!("{} down", Grouped(servers.down));
    if servers.aside > 0 {
        second += &format!(", {} set aside", Grouped(servers.aside));
    }
    let name = if servers.down > 0 {
        "Servers up \u{26a0}"
    } else {
        "Servers up"
    };
    tile(
        html,
        name,
        &format!("{} of {}", servers.up, servers.all),
        &second,
    );
    html.raw("</section>\n");
}

fn tile(html: &mut Html, name: &'static str, value: &str, second: &str) {
    html.raw("<div class=\"tile\"><h2>")
        .raw(name)
        .raw("</h2><p class=\"figure\">");
    html.text(value)
        .raw("</p><p class=\"second\">")
        .text(second)
        .raw("</p></div>\n");
}

/// Lifecycle, discovery and what is waited for. Nothing where no control loop runs.
pub(super) fn control(html: &mut Html, control: &ControlStatus) {
    if control.lifecycle_states.is_empty() && control.discovery.is_none() {
        return;
    }
    html.raw("<section class=\"control\" aria-label=\"Control\">\n");
    lifecycle(html, control);
    if let Some(discovery) = &control.discovery {
        self::discovery(html, discovery);
    }
    if let Some(haproxy) = &control.haproxy {
        self::haproxy(html, haproxy);
    }
    html.raw("</section>\n");
}

fn lifecycle(html: &mut Html, control: &ControlStatus) {
    if control.lifecycle_states.is_empty() {
        return;
    }
    html.raw("<div class=\"card lifecycle\">\n<h2>Lifecycle</h2>\n<ol class=\"steps\">\n");
    let states = control.lifecycle_states.iter().copied();
    let (aside, way): (Vec<&str>, Vec<&str>) = states.partition(|state| ASIDE.contains(state));
    let now = way.iter().position(|state| *state == control.lifecycle);
    // Who reloads was ready before; an error may have come at any step.
    let passed = match now {
        Some(now) => now,
        None if control.lifecycle == "Reloading" => way.len(),
        None => 0,
    };
    for (index, state) in way.into_iter().enumerate() {
        let class = if Some(index) == now {
            "now"
        } else if index < passed {
            "done"
        } else {
            "ahead"
        };
        step(html, state, class);
    }
    html.raw("</ol>\n<ul class=\"aside\">\n");
    for state in aside {
        let class = match (state == control.lifecycle, state) {
            (true, "Error") => "now bad",
            (true, _) => "now",
            (false, _) => "ahead",
        };
        step(html, state, class);
    }
    html.raw("</ul>\n");
    if !control.waiting.is_empty() {
        html.raw("<h3>Waiting for</h3>\n<ul class=\"waiting\">\n");
        for reason in &control.waiting {
            html.raw("<li>").text(reason).raw("</li>\n");
        }
        html.raw("</ul>\n");
    }
    html.raw("</div>\n");
}

fn step(html: &mut Html, state: &str, class: &'static str) {
    html.raw("<li class=\"").raw(class).raw("\"");
    if class.starts_with("now") {
        html.raw(" aria-current=\"step\"");
    }
    html.raw("><span class=\"dot\" aria-hidden=\"true\"></span>")
        .text(words(state));
    html.raw("</li>\n");
}

/// `FetchingNodes` is read as "Fetching nodes".
fn words(state: &str) -> String {
    let mut words = String::new();
    for c in state.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
            words.extend(c.to_lowercase());
        } else {
            words.push(c);
        }
    }
    words
}

fn haproxy(html: &mut Html, haproxy: &HaproxyStatus) {
    html.raw("<div class=\"card haproxy\">\n<h2>HAProxy");
    if !haproxy.reachable {
        html.raw(" <span class=\"badge warn\">does not answer</span>");
    }
    html.raw("</h2>\n<p class=\"url\">").text(&haproxy.socket);
    html.raw("</p>\n<dl class=\"facts\">\n");
    fact(html, "Without an answer", Grouped(haproxy.failures_total));
    fact(html, "File rewritten", Grouped(haproxy.file_writes_total));
    fact(
        html,
        "File not rewritten",
        Grouped(haproxy.file_failures_total),
    );
    fact(html, "Reloads", Grouped(haproxy.reloads_total));
    fact(
        html,
        "Reloads failed",
        Grouped(haproxy.reload_failures_total),
    );
    html.raw("</dl>\n");
    let troubles = [
        &haproxy.trouble,
        &haproxy.file_trouble,
        &haproxy.reload_trouble,
    ];
    for trouble in troubles.into_iter().flatten() {
        html.raw("<p class=\"error\">").text(trouble).raw("</p>\n");
    }
    html.raw("</div>\n");
}

fn discovery(html: &mut Html, discovery: &DiscoveryStatus) {
    html.raw("<div class=\"card discovery\">\n<h2>Discovery");
    if discovery.from_state_file {
        html.raw(" <span class=\"badge warn\">from the state file</span>");
    }
    html.raw("</h2>\n<p class=\"url\">").text(&discovery.url);
    html.raw(" <span aria-hidden=\"true\">\u{2192}</span> <span class=\"quiet\">fills</span> ");
    html.text(&discovery.backend)
        .raw("</p>\n<dl class=\"facts\">\n");
    fact(html, "Nodes", Grouped(discovery.nodes));
    let last = discovery
        .age
        .map_or_else(|| "none yet".to_string(), |it| age(it) + " ago");
    fact(html, "Last good list", last);
    if let Some(last) = discovery.last_change {
        let took = discovery.apply_time;
        let took = took.map(|took| format!(", in force after {:.1} ms", took.as_secs_f64() * 1e3));
        let took = took.unwrap_or_default();
        fact(
            html,
            "Last change",
            format!("{} ago, by {}{took}", age(last.age), last.source),
        );
    }
    if let Some(stream) = discovery.stream {
        fact(html, "Event stream", stream.state);
    }
    fact(html, "Fetches", Grouped(discovery.fetches_total));
    fact(html, "Changes", Grouped(discovery.changes_total));
    let failures: u64 = discovery
        .failures_total
        .iter()
        .map(|(_, count)| count)
        .sum();
    let causes = discovery
        .failures_total
        .iter()
        .filter(|(_, count)| *count > 0);
    let causes: Vec<String> = causes
        .map(|(cause, count)| format!("{count} {cause}"))
        .collect();
    if causes.is_empty() {
        fact(html, "Failures", failures);
    } else {
        fact(
            html,
            "Failures",
            format!("{} ({})", Grouped(failures), causes.join(", ")),
        );
    }
    fact(
        html,
        "Entries skipped",
        Grouped(discovery.entries_skipped_total),
    );
    if discovery.state_file_failures_total > 0 {
        fact(
            html,
            "State file failures",
            Grouped(discovery.state_file_failures_total),
        );
    }
    html.raw("</dl>\n");
    if let Some(error) = &discovery.last_error {
        html.raw("<p class=\"error\"><strong>Last fetch failed:</strong> ")
            .text(error);
        html.raw("</p>\n");
    }
    html.raw("</div>\n");
}
