//! The tables: frontends, and for each backend its servers. A column is an entry of a table: title,
//! explanation, what is in the cell. Each cell has one figure and, below it, what belongs to it.

use std::time::Duration;

use config::model::Mode;
use routing::health::CheckCode;

use super::html::Html;
use super::numbers::{Grouped, age, bytes, percent, short, span};
use super::{Look, Snapshot, admin};
use crate::command::Admin;
use crate::export::columns::{address, mode_name};
use crate::export::row::{frontend_status, listener_status};
use crate::export::{Condition, condition};
use crate::snapshot::{BackendStats, FrontendStats, ListenerStats, ServerStats, Traffic};

/// A column of counters, which frontends, servers and backends may share.
struct Column {
    title: &'static str,
    hint: &'static str,
    figure: fn(&Line) -> String,
    second: fn(&Line) -> String,
}

const fn column(
    title: &'static str,
    hint: &'static str,
    figure: fn(&Line) -> String,
    second: fn(&Line) -> String,
) -> Column {
    Column {
        title,
        hint,
        figure,
        second,
    }
}

/// What a line of any table has.
struct Line<'a> {
    traffic: &'a Traffic,
    sessions_limit: Option<u64>,
    queue_limit: Option<u64>,
    http: bool,
}

/// Second lines that would say nothing but 0 are left out: a quiet server has a quiet line.
fn unless_zero(count: u64, what: &str) -> String {
    match count {
        0 => String::new(),
        count => format!("{} {what}", short(count)),
    }
}

fn peak(peak: u64, limit: Option<u64>) -> String {
    match (peak, limit) {
        (0, None) => String::new(),
        (0, Some(limit)) => format!("limit {}", short(limit)),
        (peak, None) => format!("peak {}", short(peak)),
        (peak, Some(limit)) => format!("peak {}, limit {}", short(peak), short(limit)),
    }
}

const TUNNELS: Column = column(
    "Tunnels",
    "WebSockets open now; below: since start",
    |line| Grouped(line.traffic.tunnels).to_string(),
    |line| unless_zero(line.traffic.tunnels_total, "in all"),
);
const SESSIONS: Column = column(
    "Sessions",
    "open now; below: most at once, and the limit",
    |line| Grouped(line.traffic.sessions).to_string(),
    |line| peak(line.traffic.sessions_max, line.sessions_limit),
);
const TOTAL: Column = column(
    "Total",
    "sessions since start; below: requests",
    |line| Grouped(line.traffic.sessions_total).to_string(),
    |line| {
        if line.http {
            unless_zero(line.traffic.requests_total, "requests")
        } else {
            String::new()
        }
    },
);
const RATE: Column = column(
    "Rate",
    "sessions in the last second; below: most in one second",
    |line| format!("{}/s", Grouped(line.traffic.rate)),
    |line| peak(line.traffic.rate_max, None),
);
const REQUEST_RATE: Column = column(
    "Requests",
    "in the last second; below: most in one second",
    |line| format!("{}/s", Grouped(line.traffic.request_rate)),
    |line| peak(line.traffic.request_rate_max, None),
);
const QUEUE: Column = column(
    "Queue",
    "requests waiting now; below: most at once, and the limit",
    |line| Grouped(line.traffic.queued).to_string(),
    |line| peak(line.traffic.queued_max, line.queue_limit),
);
const BYTES: Column = column(
    "Out / in",
    "bytes to clients; below: bytes from clients",
    |line| bytes(line.traffic.bytes_out),
    |line| match line.traffic.bytes_in {
        0 => String::new(),
        count => format!("{} in", bytes(count)),
    },
);
const DENIED: Column = column(
    "Denied",
    "requests a rule denied; below: responses",
    |line| Grouped(line.traffic.denied_requests).to_string(),
    |line| unless_zero(line.traffic.denied_responses, "responses"),
);
const REQUEST_ERRORS: Column = column(
    "Errors",
    "requests that were invalid or late; below: answers 5xx",
    |line| Grouped(line.traffic.request_errors).to_string(),
    |line| {
        if line.http {
            unless_zero(line.traffic.responses[4], "× 5xx")
        } else {
            String::new()
        }
    },
);
const SERVER_ERRORS: Column = column(
    "Errors",
    "failed connects; below: invalid or broken responses",
    |line| Grouped(line.traffic.connect_errors).to_string(),
    |line| unless_zero(line.traffic.response_errors, "responses"),
);
const RETRIES: Column = column(
    "Retries",
    "connects tried again; below: sent to another server",
    |line| Grouped(line.traffic.retries).to_string(),
    |line| unless_zero(line.traffic.redispatches, "moved"),
);
const LATENCY: Column = column(
    "Latency",
    "time to the response, averaged over the last 1024; below: the longest",
    |line| span(line.traffic.response_time),
    |line| match line.traffic.response_time_max {
        Duration::ZERO => String::new(),
        longest => format!("max {}", span(longest)),
    },
);

const TLS: Column = column(
    "TLS",
    "handshakes that succeeded; below: that failed",
    |line| Grouped(line.traffic.tls_sessions).to_string(),
    |line| unless_zero(line.traffic.tls_failures, "failed"),
);

const OF_FRONTENDS: [Column; 9] = [
    TUNNELS,
    SESSIONS,
    TOTAL,
    RATE,
    REQUEST_RATE,
    BYTES,
    DENIED,
    REQUEST_ERRORS,
    TLS,
];
const OF_SERVERS: [Column; 9] = [
    TUNNELS,
    SESSIONS,
    TOTAL,
    RATE,
    QUEUE,
    BYTES,
    SERVER_ERRORS,
    RETRIES,
    LATENCY,
];

pub(super) fn frontends_begin(html: &mut Html, look: &Look) {
    html.raw("<section class=\"card table\">\n<h2>Frontends</h2>\n");
    let columns = of_frontends(look);
    begin_table(html, "Frontends", &["Frontend", "State"], columns, &[]);
    html.raw("<tbody>\n");
}

pub(super) fn frontends_end(html: &mut Html) {
    html.raw("</tbody>\n</table>\n</div>\n</section>\n");
}

/// `stats show-modules` adds the last one.
fn of_frontends(look: &Look) -> &'static [Column] {
    let shown = OF_FRONTENDS.len() - usize::from(!look.show_modules);
    &OF_FRONTENDS[..shown]
}

/// A listener of its own (`option socket-stats`).
pub(super) fn listener_line(html: &mut Html, listener: &ListenerStats, look: &Look) {
    html.raw("<tr class=\"listener\"><th scope=\"row\"><span class=\"name\">")
        .text(&listener.name)
        .raw("</span>");
    if look.show_legends {
        html.raw("<span class=\"second\">")
            .text(&listener.address)
            .raw("</span>");
    }
    html.raw("</th>");
    cell(html, "State", |html| {
        let status = listener_status(listener);
        pill(html, if status == "OPEN" { "up" } else { "down" }, status);
    });
    let line = Line {
        traffic: &listener.traffic,
        sessions_limit: None,
        queue_limit: None,
        http: false,
    };
    counters(html, of_frontends(look), &line, None);
    html.raw("</tr>\n");
}

pub(super) fn frontend_line(html: &mut Html, frontend: &FrontendStats, look: &Look) {
    html.raw("<tr><th scope=\"row\"><span class=\"name\">")
        .text(&frontend.name)
        .raw("</span>");
    html.raw("<span class=\"second\">")
        .raw(mode_name(frontend.mode));
    if look.show_legends {
        for bind in &frontend.binds {
            html.raw(" · ").text(bind);
        }
    }
    html.raw("</span></th>");
    cell(html, "State", |html| {
        let status = frontend_status(frontend);
        let class = if status == "OPEN" { "up" } else { "down" };
        pill(html, class, status);
    });
    let line = Line {
        traffic: &frontend.traffic,
        sessions_limit: Some(frontend.sessions_limit),
        queue_limit: None,
        http: frontend.mode == Mode::Http,
    };
    counters(html, of_frontends(look), &line, None);
    html.raw("</tr>\n");
}

pub(super) fn has_front(snapshot: &Snapshot, backend: &BackendStats) -> bool {
    snapshot
        .frontends
        .iter()
        .any(|frontend| frontend.id == backend.id)
}

const BEFORE: [&str; 3] = ["Server", "State", "Last check"];
const BEHIND: [&str; 2] = ["Weight", "Downs"];

pub(super) fn backend_begin(html: &mut Html, backend: &BackendStats, look: &Look) {
    html.raw("<section class=\"card table\" id=\"")
        .text(&backend.name)
        .raw("\">\n<h2>")
        .text(&backend.name)
        .raw(" ");
    pill(
        html,
        if backend.up { "up" } else { "down" },
        if backend.up { "UP" } else { "DOWN" },
    );
    html.raw(" <span class=\"second\">backend · ")
        .raw(mode_name(backend.mode))
        .raw(" · ");
    html.raw(backend.balance).raw(" · ");
    if let (true, Some(cookie)) = (look.show_legends, &backend.cookie) {
        html.raw("cookie ").text(cookie).raw(" · ");
    }
    html.text(Grouped(backend.active)).raw(" active, ");
    html.text(Grouped(backend.backup)).raw(" backup · ");
    html.raw(if backend.up { "up" } else { "down" })
        .raw(" for ");
    html.text(age(backend.last_change)).raw("</span></h2>\n");
    states(html, backend);
    if admin::changeable(backend, look) {
        admin::form_begin(html, look);
    }
    begin_table(html, &backend.name, &BEFORE, &OF_SERVERS, &BEHIND);
    html.raw("<tbody>\n");
}

pub(super) fn backend_end(html: &mut Html, backend: &BackendStats, look: &Look) {
    html.raw("</tbody>\n<tfoot>\n");
    sum_line(html, backend);
    html.raw("</tfoot>\n</table>\n</div>\n");
    if admin::changeable(backend, look) {
        admin::form_end(html, backend);
    }
    html.raw("</section>\n");
}

/// How many servers are in which state, as a bar; the figures stand beside it.
fn states(html: &mut Html, backend: &BackendStats) {
    const SHOWN: [(&str, &str); 5] = [
        ("up", "up"),
        ("going", "changing"),
        ("drain", "draining"),
        ("maint", "in maintenance"),
        ("down", "down"),
    ];
    if backend.servers.is_empty() {
        html.raw("<p class=\"empty\">No servers yet.</p>\n");
        return;
    }
    let count = |class: &str| {
        let of_class = backend
            .servers
            .iter()
            .filter(|it| bar_class(condition(it)) == class);
        of_class.count()
    };
    let counts: Vec<_> = SHOWN
        .into_iter()
        .map(|(class, name)| (class, name, count(class)))
        .collect();
    html.raw("<div class=\"states\"><div class=\"bar\" aria-hidden=\"true\">");
    for (class, _, count) in counts.iter().filter(|(.., count)| *count > 0) {
        html.raw("<i class=\"")
            .raw(class)
            .raw("\" style=\"flex-grow:")
            .text(count)
            .raw("\"></i>");
    }
    html.raw("</div><p>");
    for (index, (_, name, count)) in counts.iter().filter(|(.., count)| *count > 0).enumerate() {
        html.raw(if index == 0 { "" } else { ", " })
            .text(count)
            .raw(" ")
            .raw(name);
    }
    html.raw("</p></div>\n");
}

fn bar_class(condition: Condition) -> &'static str {
    match condition {
        Condition::Up | Condition::NoCheck => "up",
        Condition::GoingDown | Condition::GoingUp => "going",
        Condition::Drain | Condition::NoLoad => "drain",
        Condition::Maint => "maint",
        Condition::Down => "down",
    }
}

pub(super) fn server_line(
    html: &mut Html,
    backend: &BackendStats,
    server: &ServerStats,
    busiest: u64,
    look: &Look,
) {
    html.raw("<tr><th scope=\"row\">");
    if admin::changeable(backend, look) {
        admin::choice(html, server);
    }
    html.raw("<span class=\"name\">")
        .text(&server.name)
        .raw("</span>");
    if server.backup {
        html.raw(" <span class=\"badge\">backup</span>");
    }
    if server.dynamic {
        html.raw(" <span class=\"badge\">discovered</span>");
    }
    if look.show_legends {
        html.raw("<span class=\"second\">")
            .text(address(&server.address));
        if let Some(cookie) = &server.cookie {
            html.raw(" · cookie ").text(cookie);
        }
        html.raw("</span>");
    }
    html.raw("</th>");
    cell(html, "State", |html| {
        pill(html, state_class(condition(server)), &server.status);
        html.raw("<span class=\"second\">for ")
            .text(age(server.last_change))
            .raw("</span>");
        if let Some(drain) = server.drain.filter(|drain| drain.under_way) {
            html.raw("<span class=\"second\">")
                .text(server.traffic.sessions)
                .raw(" of ")
                .text(drain.sessions_before)
                .raw(" left");
            if let Some(left) = drain.left() {
                html.raw(", closed in ").text(age(left));
            }
            html.raw("</span>");
        }
    });
    cell(html, "Last check", |html| last_check(html, server));
    let line = Line {
        traffic: &server.traffic,
        sessions_limit: server.sessions_limit,
        queue_limit: server.queue_limit,
        http: backend.mode == Mode::Http,
    };
    counters(html, &OF_SERVERS, &line, Some(busiest));
    number_cell(html, "Weight", &server.weight.to_string(), None, "");
    downs(html, server.downs_total, server.downtime);
    html.raw("</tr>\n");
}

fn last_check(html: &mut Html, server: &ServerStats) {
    if !server.checked {
        html.raw("<span class=\"second\">not checked</span>");
        return;
    }
    if server.admin == Admin::Maint {
        html.raw("<span class=\"second\">paused</span>");
        return;
    }
    if server.check_status.is_empty() {
        html.raw("<span class=\"second\">none yet</span>");
        return;
    }
    html.text(server.check_status);
    if let Some(code) = server.check_code {
        html.raw("/").text(code);
    }
    if let Some(duration) = server.check_duration {
        html.raw(" <span class=\"quiet\">in ")
            .text(span(duration))
            .raw("</span>");
    }
    let passed = server.check_status.ends_with("OK");
    let message = match server.check_message.as_str() {
        "" if !passed => CheckCode::describe(server.check_status),
        message => message,
    };
    if !message.is_empty() {
        html.raw("<span class=\"second message\">")
            .text(message)
            .raw("</span>");
    }
    if server.check_failures_total > 0 {
        html.raw("<span class=\"second\">")
            .text(short(server.check_failures_total));
        html.raw(" failed while up</span>");
    }
}

/// The backend's own line, below its servers.
fn sum_line(html: &mut Html, backend: &BackendStats) {
    html.raw("<tr><th scope=\"row\"><span class=\"name\">Backend</span></th>");
    cell(html, "State", |_| {});
    cell(html, "Last check", |_| {});
    let line = Line {
        traffic: &backend.traffic,
        sessions_limit: None,
        queue_limit: None,
        http: backend.mode == Mode::Http,
    };
    counters(html, &OF_SERVERS, &line, None);
    number_cell(html, "Weight", &backend.weight.to_string(), None, "");
    downs(html, backend.downs_total, backend.downtime);
    html.raw("</tr>\n");
}

fn downs(html: &mut Html, total: u64, downtime: Duration) {
    let second = if downtime.is_zero() {
        String::new()
    } else {
        format!("for {}", age(downtime))
    };
    number_cell(html, "Downs", &Grouped(total).to_string(), None, &second);
}

fn state_class(condition: Condition) -> &'static str {
    match condition {
        Condition::Up => "up",
        Condition::GoingDown => "going-down",
        Condition::Down => "down",
        Condition::GoingUp => "going-up",
        Condition::Maint => "maint",
        Condition::Drain | Condition::NoLoad => "drain",
        Condition::NoCheck => "unchecked",
    }
}

/// A state: a sign and a word in a colour, so that the colour alone never says it.
fn pill(html: &mut Html, class: &'static str, text: &str) {
    let sign = match class {
        "up" | "unchecked" => "\u{25cf}",
        "going-down" => "\u{25bc}",
        "going-up" => "\u{25b2}",
        "down" => "\u{2715}",
        "drain" => "\u{25d1}",
        _ => "\u{25a0}",
    };
    html.raw("<span class=\"pill ")
        .raw(class)
        .raw("\"><span aria-hidden=\"true\">");
    html.raw(sign).raw("</span> ").text(text).raw("</span>");
}

fn begin_table(
    html: &mut Html,
    caption: &str,
    before: &[&'static str],
    columns: &[Column],
    behind: &[&'static str],
) {
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"")
        .text(caption);
    html.raw("\">\n<table>\n<thead><tr>");
    for title in before {
        html.raw("<th scope=\"col\">").raw(title).raw("</th>");
    }
    for column in columns {
        html.raw("<th scope=\"col\" class=\"number\" title=\"")
            .raw(column.hint)
            .raw("\">");
        html.raw(column.title).raw("</th>");
    }
    for title in behind {
        html.raw("<th scope=\"col\" class=\"number\">")
            .raw(title)
            .raw("</th>");
    }
    html.raw("</tr></thead>\n");
}

/// `busiest`: where a bar shows the share of the busiest server's sessions.
fn counters(html: &mut Html, columns: &[Column], line: &Line, busiest: Option<u64>) {
    for column in columns {
        let share = busiest.filter(|_| column.title == SESSIONS.title);
        let share = share.map(|busiest| percent(line.traffic.sessions, busiest));
        let (figure, second) = ((column.figure)(line), (column.second)(line));
        number_cell(html, column.title, &figure, share, &second);
    }
}

/// A figure, a bar of so many percent, and what belongs to it.
fn number_cell(
    html: &mut Html,
    label: &'static str,
    figure: &str,
    share: Option<u64>,
    second: &str,
) {
    let zero = ["0", "0/s", "0 B"].contains(&figure);
    html.raw("<td class=\"number")
        .raw(if zero { " zero" } else { "" });
    html.raw("\" data-label=\"")
        .raw(label)
        .raw("\">")
        .text(figure);
    if let Some(share) = share {
        html.raw("<span class=\"meter\" aria-hidden=\"true\"><i style=\"width:")
            .text(share);
        html.raw("%\"></i></span>");
    }
    if !second.is_empty() {
        html.raw("<span class=\"second\">")
            .text(second)
            .raw("</span>");
    }
    html.raw("</td>");
}

fn cell(html: &mut Html, label: &'static str, content: impl FnOnce(&mut Html)) {
    html.raw("<td data-label=\"").raw(label).raw("\">");
    content(html);
    html.raw("</td>");
}
