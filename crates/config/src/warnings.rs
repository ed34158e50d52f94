//! What works but is probably not meant: HAProxy's own warnings, and those about WebSockets.

use std::collections::BTreeSet;

use crate::Surroundings;
use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, FormatDraft};
use crate::environment::Environment;
use crate::expr::Condition;
use crate::keywords::check_draft::CheckKind;
use crate::keywords::{rules, tcp_rules};
use crate::model::{Backend, BackendId, Config, Frontend, Mode, Proxy, UseBackend};
use crate::resolve::targets;
use crate::source::Span;

/// Takes back what a mode or section cannot use, saying so.
pub(crate) fn settle(draft: &mut Draft, report: &mut Vec<Diagnostic>) {
    if let Some(span) = draft.back.checks.place()
        && draft.back.checks.kind != Some(CheckKind::Http)
        && draft.is_back()
        && own(draft, span)
    {
        let message = format!(
            "{} uses 'http-check' rules without 'option httpchk', so they are ignored",
            draft.title()
        );
        report.push(Diagnostic::warning(span, message).help("add 'option httpchk'"));
    }
    let log_ignored = draft.log.targets.is_empty() && draft.is_front();
    if let Some(span) = draft.log.format_span
        && log_ignored
        && own(draft, span)
        && !matches!(draft.log.format, FormatDraft::Default)
    {
        report.push(
            Diagnostic::warning(
                span,
                format!(
                    "log format ignored for {} since it has no log address",
                    draft.title()
                ),
            )
            .help("add 'log global', or a 'log' line of its own"),
        );
    }
    if draft.is_back()
        && let Some(problem) = tcp_rules::not_yet(draft)
    {
        report.push(problem);
    }
    // A TCP frontend whose rules make it HTTP keeps what it says of HTTP.
    if draft.proxy.mode == Mode::Http || draft.proxy.tcp.switches_to_http() {
        return;
    }
    warn_of_http(draft, report);
    draft.stats.page = None;
    draft.proxy.http_request.clear();
    draft.proxy.http_response.clear();
    draft.proxy.http_after_response.clear();
    draft.redirects.clear();
    draft.proxy.forwardfor = None;
}

/// What a proxy in TCP mode says of HTTP is ignored.
fn warn_of_http(draft: &mut Draft, report: &mut Vec<Diagnostic>) {
    let http_only = std::mem::take(&mut draft.http_only);
    for (keyword, span) in http_only {
        if own(draft, span) && tells(keyword) {
            report.push(
                Diagnostic::warning(
                    span,
                    match keyword {
                        "http-request" | "http-response" | "http-after-response" | "redirect" => {
                            format!(
                                "'{keyword}' rules ignored for {} as they require HTTP mode",
                                draft.title()
                            )
                        }
                        _ => format!(
                            "'{keyword}' ignored for {} as it requires HTTP mode",
                            draft.title()
                        ),
                    },
                )
                .help("write 'mode http' if this is HTTP"),
            );
        }
    }
    if let Some(span) = draft.stats.span
        && own(draft, span)
        && draft.stats.page.is_some()
    {
        report.push(
            Diagnostic::warning(
                span,
                format!(
                    "'stats' statement ignored for {} as it requires HTTP mode",
                    draft.title()
                ),
            )
            .help("write 'mode http' if this is HTTP"),
        );
    }
}

/// Connection modes in tcp mode are ignored without a word, as in HAProxy.
fn tells(keyword: &str) -> bool {
    !matches!(
        keyword,
        "option httpclose" | "option http-server-close" | "option http-keep-alive"
    )
}

/// Whether the place lies in the section itself, not in one it inherits from: one warning in
/// `defaults` would be repeated for each heir.
fn own(draft: &Draft, span: Span) -> bool {
    span.source == draft.proxy.span.source && span.line > draft.proxy.span.line
}

/// Looks at the whole.
pub(crate) fn look(config: &Config, environment: &Environment<'_>, report: &mut Vec<Diagnostic>) {
    let discovered = discovered_backend(config, environment);
    let mut told = BTreeSet::new();
    for frontend in config.frontends.iter().filter(|it| !it.proxy.disabled) {
        frontend_timeouts(frontend, report);
        no_binds(frontend, report);
        leads_nowhere(frontend, report);
        websockets(config, frontend, &mut told, report);
        raw_in_http(&frontend.proxy, &frontend.use_backend, report);
    }
    let mut led_to = vec![false; config.backends.len()];
    let mut without_client = BTreeSet::new();
    for frontend in config.frontends.iter().filter(|it| !it.proxy.disabled) {
        targets(frontend).for_each(|id| led_to[id.0] = true);
        if frontend.proxy.timeouts.client.is_none() {
            without_client.insert(frontend.proxy.span);
        }
    }
    for (index, (backend, led_to)) in config.backends.iter().zip(led_to).enumerate() {
        if backend.proxy.disabled {
            continue;
        }
        if !backend.listen {
            raw_in_http(&backend.proxy, &[], report);
        }
        let filled = discovered == Some(BackendId(index));
        // A `listen` without 'timeout client' has been told of already.
        if !without_client.contains(&backend.proxy.span) {
            backend_timeouts(backend, filled, report);
        }
        if led_to && backend.servers.is_empty() && !filled {
            no_servers(backend, report);
        }
    }
}

/// The backend the fleet fills, when discovery is on at all.
fn discovered_backend(config: &Config, environment: &Environment<'_>) -> Option<BackendId> {
    let section = config.discovery.as_ref();
    let on = config.registry.is_some()
        || section.is_some_and(|section| section.url.is_some())
        || environment
            .variable("WS_UPDATES_URL")
            .is_some_and(|url| !url.is_empty());
    on.then(|| config.fleet_backend().ok()).flatten()
}

const TIMEOUT_HELP: &str = "set 'timeout client', 'timeout connect' and 'timeout server' in 'defaults', or sockets of \
     clients that are gone stay for ever";

fn frontend_timeouts(frontend: &Frontend, report: &mut Vec<Diagnostic>) {
    if frontend.proxy.timeouts.client.is_none() && !frontend.binds.is_empty() {
        report.push(
            Diagnostic::warning(
                frontend.proxy.span,
                format!("missing timeouts for frontend '{}'", frontend.proxy.name),
            )
            .label("no 'timeout client' is in force here")
            .help(TIMEOUT_HELP),
        );
    }
}

fn backend_timeouts(backend: &Backend, filled: bool, report: &mut Vec<Diagnostic>) {
    let timeouts = &backend.proxy.timeouts;
    let mut missing = Vec::new();
    if timeouts.connect.is_none() {
        missing.push("'timeout connect'");
    }
    if timeouts.server.is_none() {
        missing.push("'timeout server'");
    }
    if missing.is_empty() || (backend.servers.is_empty() && !filled) {
        return;
    }
    report.push(
        Diagnostic::warning(
            backend.proxy.span,
            format!("missing timeouts for backend '{}'", backend.proxy.name),
        )
        .label(format!("no {} is in force here", missing.join(" and no ")))
        .help(TIMEOUT_HELP),
    );
}

fn no_binds(frontend: &Frontend, report: &mut Vec<Diagnostic>) {
    if frontend.binds.is_empty() && !frontend.listen {
        report.push(
            Diagnostic::warning(
                frontend.proxy.span,
                format!(
                    "frontend '{}' has no 'bind': nothing reaches it",
                    frontend.proxy.name
                ),
            )
            .help("add a line such as 'bind *:8080'"),
        );
    }
}

/// A frontend without a backend answers every request with 503, unless a rule or the page answers.
fn leads_nowhere(frontend: &Frontend, report: &mut Vec<Diagnostic>) {
    if frontend.listen || targets(frontend).next().is_some() || answers(&frontend.proxy) {
        return;
    }
    report.push(
        Diagnostic::advice(
            frontend.proxy.span,
            format!("frontend '{}' leads to no backend", frontend.proxy.name),
        )
        .label("every request would be answered with 503")
        .help("add 'default_backend NAME'"),
    );
}

fn no_servers(backend: &Backend, report: &mut Vec<Diagnostic>) {
    if answers(&backend.proxy) {
        return;
    }
    // Only a notice: HAProxy says nothing, and `-dW` makes warnings fatal.
    report.push(
        Diagnostic::notice(
            backend.proxy.span,
            format!("backend '{}' has no server", backend.proxy.name),
        )
        .label("every request sent here is answered with 503")
        .help("add a line such as 'server node1 127.0.0.1:8081 check'"),
    );
}

/// Whether the section itself may answer requests.
fn answers(proxy: &Proxy) -> bool {
    proxy.stats.is_some()
        || proxy
            .http_request
            .iter()
            .any(|rule| rules::is_final(&rule.action))
}

/// What looks at bytes as they came finds none where they are understood as HTTP.
fn raw_in_http(proxy: &Proxy, use_backend: &[UseBackend], report: &mut Vec<Diagnostic>) {
    if proxy.mode != Mode::Http {
        return;
    }
    let tcp = proxy.tcp.request.iter().chain(&proxy.tcp.response);
    let conditions = tcp
        .map(|rule| (&rule.condition, rule.span))
        .chain(use_backend.iter().map(|rule| (&rule.condition, proxy.span)))
        .chain(proxy.http_request.iter().map(|it| (&it.condition, it.span)));
    for (condition, span) in conditions {
        if condition.as_ref().is_some_and(Condition::looks_at_bytes) {
            report.push(
                Diagnostic::warning(
                    span,
                    format!(
                        "Proxy '{}': L6 sample fetches ignored on HTTP proxies",
                        proxy.name
                    ),
                )
                .label("in mode http no bytes are looked at as they came"),
            );
        }
    }
}

/// A rule about upgrades that leads to a backend without `timeout tunnel`: idle sockets would be
/// cut after `timeout client` or `timeout server`.
fn websockets(
    config: &Config,
    frontend: &Frontend,
    told: &mut BTreeSet<BackendId>,
    report: &mut Vec<Diagnostic>,
) {
    for rule in &frontend.use_backend {
        let Some(id) = rule.target.known() else {
            continue;
        };
        let Some(backend) = config.backends.get(id.0) else {
            continue;
        };
        let upgrades = rule
            .condition
            .as_ref()
            .is_some_and(Condition::is_about_upgrades);
        if !upgrades || backend.proxy.timeouts.tunnel.is_some() {
            continue;
        }
        let cut = shortest(frontend, backend);
        let Some(cut) = cut else { continue };
        if !told.insert(id) {
            continue;
        }
        report.push(
            Diagnostic::advice(
                backend.proxy.span,
                format!(
                    "WebSockets go to backend '{}', which has no 'timeout tunnel': idle ones will be cut after {}",
                    backend.proxy.name,
                    human(cut)
                ),
            )
            .help("add 'timeout tunnel 1h' to the backend or to 'defaults'"),
        );
    }
}

fn shortest(frontend: &Frontend, backend: &Backend) -> Option<std::time::Duration> {
    let both = [
        frontend.proxy.timeouts.client,
        backend.proxy.timeouts.server,
    ];
    both.into_iter().flatten().min()
}

fn human(duration: std::time::Duration) -> String {
    match duration.as_millis() {
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}
