//! How a change of a server is told in the log, as HAProxy words it: scripts and its own test-suite
//! read these lines.

use super::{Change, CheckCode, CheckResult, Health, Verdict, What};

/// How important a line is, by syslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// 0: a backend serves nobody.
    Emergency,
    /// 1: a server that took sessions is gone.
    Alert,
    /// 5: everything else.
    Notice,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How important.
    pub severity: Severity,
    /// The text, without an end of line.
    pub text: String,
}

/// The server the line is about.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Name of its backend.
    pub backend: &'a str,
    /// Its name.
    pub server: &'a str,
    /// Whether it is a backup.
    pub backup: bool,
    /// The server whose change it follows, as `backend/server`.
    pub via: Option<&'a str>,
}

/// How things stand after the change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Active servers that take sessions.
    pub active: usize,
    /// Backup servers that take sessions.
    pub backup: usize,
    /// Sessions the server has.
    pub sessions: u64,
    /// Sessions that were taken from its queue.
    pub requeued: u64,
    /// Sessions that wait in the backend.
    pub queued: u64,
}

/// What the log says of a change: one line, two if the server goes on draining. `cause` is the result
/// that made it; changes by the operator have none.
pub fn change_lines(
    who: &Who,
    change: &Change,
    cause: Option<&CheckResult>,
    standing: &Standing,
) -> Vec<Line> {
    let name = server_name(who);
    let reason = match (who.via, cause) {
        (Some(via), _) => format!(" via {via}"),
        (None, Some(cause)) => reason(cause),
        (None, None) if change.forced => ", changed from Web interface".into(),
        (None, None) => String::new(),
    };
    let via = who.via.map_or(String::new(), |via| format!(" via {via}"));
    let forced = if who.via.is_some() { "" } else { "forced " };
    let up_or_down = if change.up { "UP" } else { "DOWN" };
    let mode = if change.draining { "DRAIN" } else { "READY" };
    let counts = counts(change.up, standing);
    let text = match change.what {
        What::Up => format!("{name} is UP{reason}. {counts}"),
        What::Down => format!("{name} is DOWN{reason}. {counts}"),
        What::Stopping => format!("{name} is stopping{reason}. {counts}"),
        What::MaintEntered { was_up: true } => {
            format!("{name} is going DOWN for maintenance{via}. {counts}")
        }
        What::MaintEntered { was_up: false } => {
            format!("{name} was DOWN and now enters maintenance.")
        }
        What::MaintLeft => {
            format!("{name} is {up_or_down}/{mode} (leaving {forced}maintenance).")
        }
        What::DrainEntered => format!("{name} enters drain state{via}. {counts}"),
        What::DrainLeft => format!("{name} is {up_or_down} (leaving forced drain)."),
    };
    let mut lines = vec![Line {
        severity: severity(change),
        text,
    }];
    if change.draining && change.what != What::DrainEntered {
        lines.push(Line {
            severity: Severity::Notice,
            text: format!("{name} remains in forced drain mode."),
        });
    }
    lines
}

/// What the log says when a server's name has no address any more. `accepted`: it took sessions.
pub fn address_lost_line(who: &Who, accepted: bool, cause: &str, standing: &Standing) -> Line {
    let name = server_name(who);
    match accepted {
        true => Line {
            severity: Severity::Alert,
            text: format!(
                "{name} is going DOWN for maintenance ({cause}). {}",
                counts(false, standing)
            ),
        },
        false => Line {
            severity: Severity::Notice,
            text: format!("{name} was DOWN and now enters maintenance ({cause})."),
        },
    }
}

/// What the log says when it has one again.
pub fn address_found_line(who: &Who, name: &str) -> Line {
    Line {
        severity: Severity::Notice,
        text: format!(
            "{} ('{name}') is UP/READY (resolves again).",
            server_name(who)
        ),
    }
}

/// What the log says when the last server of a backend has gone. `listen`: it is half of a `listen`.
pub fn no_server_line(backend: &str, listen: bool) -> Line {
    let kind = if listen { "proxy" } else { "backend" };
    Line {
        severity: Severity::Emergency,
        text: format!("{kind} {backend} has no server available!"),
    }
}

/// Whether `option log-health-checks` tells of this result: when it is another one than the last, and
/// while it moves the counter. `before` is the state before it.
pub fn tells_check(before: &Health, result: &CheckResult) -> bool {
    let news = before.last_result().map(|last| last.code) != Some(result.code);
    let top = before.rise() + before.fall() - 1;
    news || match result.code.verdict() {
        Verdict::Passed | Verdict::Conditional => before.counter() < top,
        Verdict::Failed => before.counter() > 0,
        Verdict::Unknown => false,
    }
}

/// What `option log-health-checks` says of an agent's answer; `health` is the state after it. One answer
/// decides, so there is one to count.
pub fn agent_line(who: &Who, result: &CheckResult, health: &Health) -> Line {
    let backup = if who.backup { "backup " } else { "" };
    let end = match result.code.verdict() {
        Verdict::Passed | Verdict::Conditional => "succeeded",
        Verdict::Failed | Verdict::Unknown => "failed",
    };
    let status = match health.agent_is_down() {
        true => "0/1 DOWN",
        false => "1/1 UP",
    };
    Line {
        severity: Severity::Notice,
        text: format!(
            "Agent check for {backup}server {}/{} {end}{}, status: {status}.",
            who.backend,
            who.server,
            reason(result),
        ),
    }
}

/// What `option log-health-checks` says of a single check; `health` is the state after it.
pub fn check_line(who: &Who, result: &CheckResult, health: &Health) -> Line {
    let backup = if who.backup { "backup " } else { "" };
    let end = match result.code.verdict() {
        Verdict::Passed => "succeeded",
        Verdict::Conditional => "conditionally succeeded",
        Verdict::Failed | Verdict::Unknown => "failed",
    };
    let (counter, rise, fall) = (health.counter(), health.rise(), health.fall());
    let status = if counter >= rise {
        format!("{}/{fall} UP", counter - rise + 1)
    } else {
        format!("{counter}/{rise} DOWN")
    };
    Line {
        severity: Severity::Notice,
        text: format!(
            "Health check for {backup}server {}/{} {end}{}, status: {status}.",
            who.backend,
            who.server,
            reason(result),
        ),
    }
}

fn server_name(who: &Who) -> String {
    let kind = if who.backup {
        "Backup Server"
    } else {
        "Server"
    };
    format!("{kind} {}/{}", who.backend, who.server)
}

/// Losing a server that took sessions is worth an alert; the rest is news.
fn severity(change: &Change) -> Severity {
    if !change.up && change.accepted_before {
        Severity::Alert
    } else {
        Severity::Notice
    }
}

fn reason(result: &CheckResult) -> String {
    let mut text = format!(", reason: {}", result.code.description());
    if let Some(status) = result.status {
        text += &format!(", code: {status}");
    }
    if !result.info.is_empty() {
        text += &format!(", info: \"{}\"", printable(&result.info));
    }
    match result.code {
        // Nothing was asked, so nothing took any time.
        CheckCode::Observed => text,
        _ => text + &format!(", check duration: {}ms", result.duration.as_millis()),
    }
}

/// A node's own words go into a line of text: no control character may break it.
fn printable(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(harmless).collect()
}

fn counts(up: bool, standing: &Standing) -> String {
    let Standing {
        active,
        backup,
        sessions,
        requeued,
        queued,
    } = standing;
    let on_backup = if *active == 0 && *backup > 0 {
        " Running on backup."
    } else {
        ""
    };
    if up {
        format!(
            "{active} active and {backup} backup servers online.{on_backup} \
             {requeued} sessions requeued, {queued} total in queue."
        )
    } else {
        format!(
            "{active} active and {backup} backup servers left.{on_backup} \
             {sessions} sessions active, {requeued} requeued, {queued} remaining in queue."
        )
    }
}
