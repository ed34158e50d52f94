//! `log` lines of `global` and of proxies, and what log lines look like (manual 3.1, 4.2, 8).

use std::sync::Arc;

use super::{ALL, BACK, FRONT, ProxyKeyword, Scope, implemented, invertible, refused};
use crate::address::{self, Address, Host, Port, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, FormatDraft, LogEntry};
use crate::expr::{self, Format, Stage};
use crate::lexer::Word;
use crate::model::{LogLineFormat, LogSample, LogSink, LogTarget};
use crate::values::{choice, number};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    invertible("log", ALL, log),
    implemented("log-format", FRONT, log_format),
    implemented("log-tag", ALL, log_tag),
    implemented("error-log-format", FRONT, error_log_format),
    implemented("log-format-sd", FRONT, log_format_sd),
    invertible("option dontlog-normal", FRONT, |draft, args, _| {
        switch(args, &mut draft.log.dontlog_normal)
    }),
    invertible("option dontlognull", FRONT, |draft, args, _| {
        switch(args, &mut draft.log.dontlognull)
    }),
    invertible("option log-health-checks", BACK, |draft, args, _| {
        switch(args, &mut draft.log.health_checks)
    }),
    invertible("option log-separate-errors", FRONT, |draft, args, _| {
        switch(args, &mut draft.log.separate_errors)
    }),
    invertible("option logasap", FRONT, |draft, args, _| {
        switch(args, &mut draft.log.asap)
    }),
    implemented("option httplog", FRONT, httplog),
    implemented("option httpslog", FRONT, httpslog),
    implemented("option tcplog", FRONT, tcplog),
    refused(
        "log-steps",
        FRONT,
        "a session has one line, written at its end",
        "remove it; 'option logasap' writes the line when the response begins",
    ),
];

/// `len`: HAProxy's default and bounds, bytes.
const LENGTH_DEFAULT: usize = 1024;
const LENGTHS: std::ops::RangeInclusive<u64> = 80..=65_535;
/// Prefixes of targets that are streams.
const STREAMS: &[&str] = &["tcp@", "tcp4@", "tcp6@", "uxst@", "stream+"];
/// Port of syslog over UDP.
const SYSLOG_PORT: u16 = 514;

const FORMATS: &[(&str, LogLineFormat)] = &[
    ("iso", LogLineFormat::Iso),
    ("local", LogLineFormat::Local),
    ("priority", LogLineFormat::Priority),
    ("raw", LogLineFormat::Raw),
    ("rfc3164", LogLineFormat::Rfc3164),
    ("rfc5424", LogLineFormat::Rfc5424),
    ("short", LogLineFormat::Short),
    ("timed", LogLineFormat::Timed),
];

/// Numbers of a sample: as many as a 32-bit counter tells apart.
const SAMPLE_MAX: u32 = i32::MAX as u32;

pub(crate) const FACILITIES: &[(&str, u8)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("auth2", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("cron2", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

pub(crate) const LEVELS: &[(&str, u8)] = &[
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("err", 3),
    ("warning", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

fn log(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    if args.negated() || args.restores_default() {
        args.end()?;
        draft.log.targets.clear();
        return Ok(());
    }
    if args.take("global") {
        args.end()?;
        draft.log.targets.push(LogEntry::Global);
        return Ok(());
    }
    let target = target(args, scope)?;
    draft.log.targets.push(LogEntry::Target(target));
    Ok(())
}

/// `ADDRESS [len N] [format F] [sample RANGES:SIZE] FACILITY [LEVEL [MINLEVEL]]`.
pub(crate) fn target(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<LogTarget, Diagnostic> {
    let word = args.required("an address and a facility")?;
    if word.is("global") {
        return Err(Diagnostic::alert(
            word.span,
            "'log global' cannot be used in the global section",
        ));
    }
    let sink = sink(word, scope)?;
    let mut length_max = LENGTH_DEFAULT;
    let mut format = LogLineFormat::Default;
    let mut sampled = None;
    loop {
        if args.take("len") {
            let word = args.required("a length in bytes after 'len'")?;
            length_max = number(word, "log … len", LENGTHS)? as usize;
        } else if args.take("format") {
            let word = args.required("a format after 'format'")?;
            format = choice(word, "log … format", FORMATS)?;
        } else if args.take("sample") {
            let word = args.required("ranges and a size, such as 1-2:5, after 'sample'")?;
            sampled = Some(sample(word)?);
        } else if let Some(word) = args.peek().filter(|word| word.is("profile")) {
            return Err(Diagnostic::alert(
                word.span,
                format!("'log … {}' is not implemented yet", word.text),
            ));
        } else {
            break;
        }
    }
    let facility = choice(
        args.required("a facility such as local0")?,
        "log",
        FACILITIES,
    )?;
    let level = optional_level(args)?.unwrap_or(7);
    let level_min = optional_level(args)?.unwrap_or(0);
    args.end()?;
    Ok(LogTarget {
        // Given when all of them are known; see `resolve`.
        number: 0,
        sink,
        length_max,
        format,
        facility,
        level,
        level_min,
        sample: sampled,
    })
}

fn optional_level(args: &mut Args<'_>) -> Result<Option<u8>, Diagnostic> {
    match args.next() {
        Some(word) => choice(word, "log", LEVELS).map(Some),
        None => Ok(None),
    }
}

/// `1,3-5:8`: of each eight lines the first, and the third to the fifth.
fn sample(word: &Word) -> Result<LogSample, Diagnostic> {
    let wrong = |message: String, expected: &str| {
        Diagnostic::alert(word.span, message).label(format!("expected {expected}"))
    };
    let number = |text: &str| text.parse().ok().filter(|n| (1..=SAMPLE_MAX).contains(n));
    let Some((ranges, size_text)) = word.text.rsplit_once(':') else {
        let message = format!("'log … sample {}' has no size", word.text);
        return Err(wrong(message, "ranges and a size, such as 1-2:5"));
    };
    let mut known: Vec<(u32, u32)> = Vec::new();
    for range in ranges.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low <= high => known.push((low, high)),
            _ => {
                let message = format!("'log … sample' does not accept the range '{range}'");
                return Err(wrong(
                    message,
                    "a number from 1, or two of them such as 2-4",
                ));
            }
        }
    }
    known.sort_unstable();
    if known.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
        return Err(wrong(
            format!("the ranges of 'log … sample {}' overlap", word.text),
            "each number once",
        ));
    }
    let high = known.last().map_or(0, |(_, high)| *high);
    let size = number(size_text).filter(|size| *size >= high);
    let size = size.ok_or_else(|| {
        let message = format!("'log … sample' does not accept the size '{size_text}'");
        wrong(
            message,
            &format!("a number from {high}, the end of the last range"),
        )
    })?;
    Ok(LogSample {
        ranges: known.into(),
        size,
    })
}

fn sink(word: &Word, scope: &Scope<'_>) -> Result<LogSink, Diagnostic> {
    let not_yet = |what: &str| {
        Diagnostic::alert(
            word.span,
            format!("logging to {what} is not implemented yet"),
        )
        .help("log to stdout, stderr, a UDP address or the path of a datagram socket")
    };
    match word.text.as_str() {
        "stdout" => return Ok(LogSink::Stdout),
        "stderr" => return Ok(LogSink::Stderr),
        text if text.starts_with("ring@") => return Err(not_yet("a ring")),
        text if text.starts_with("backend@") => return Err(not_yet("a backend")),
        text if STREAMS.iter().any(|prefix| text.starts_with(prefix)) => {
            return Err(not_yet("a stream (TCP)"));
        }
        _ => {}
    }
    let text = address::expand(&word.text, scope.environment);
    match address::parse(&text, word, "log", Transport::Datagram)? {
        Address::Unix(path) => Ok(LogSink::Unix(path)),
        Address::Fd(1) => Ok(LogSink::Stdout),
        Address::Fd(2) => Ok(LogSink::Stderr),
        Address::Fd(number) => Ok(LogSink::Fd(number)),
        Address::Abstract(name) => Ok(LogSink::Abstract(name)),
        Address::Inet {
            host: Host::Name(name),
            port: port @ (Port::None | Port::One(_)),
        } => {
            let port = match port {
                Port::One(port) if port > 0 => port,
                _ => SYSLOG_PORT,
            };
            Ok(LogSink::Name(name, port))
        }
        Address::Inet { host, port } => {
            let address = address::with_port(&host, port, SYSLOG_PORT);
            address.map(LogSink::Udp).ok_or_else(|| {
                Diagnostic::alert(word.span, format!("'log' : invalid port in '{text}'"))
            })
        }
    }
}

/// The one format of a line.
pub(crate) fn only_format(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<Arc<Format>, Diagnostic> {
    let word = args.required("one format; quote it when it has spaces")?;
    args.end().map_err(|problem| {
        problem.help("put the whole format between quotes, or write \"\\ \" for each space")
    })?;
    expr::format::parse_line(word, &scope.expressions(stage)).map(Arc::new)
}

fn log_format(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    draft.log.format = FormatDraft::Custom(only_format(args, scope, Stage::Log)?);
    draft.log.format_span = Some(args.place());
    Ok(())
}

fn log_format_sd(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.log.structured = Some(only_format(args, scope, Stage::Log)?);
    Ok(())
}

fn error_log_format(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.log.error_format = Some(only_format(args, scope, Stage::Log)?);
    Ok(())
}

/// An option that is on or off.
fn switch(args: &Args<'_>, option: &mut bool) -> Result<(), Diagnostic> {
    args.end()?;
    *option = !args.negated() && !args.restores_default();
    Ok(())
}

/// `option httplog [clf]`.
fn httplog(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    named_format(draft, args, FormatDraft::Httplog, FormatDraft::HttplogClf)
}

/// `option tcplog [clf]`.
fn tcplog(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    named_format(draft, args, FormatDraft::Tcplog, FormatDraft::TcplogClf)
}

fn named_format(
    draft: &mut Draft,
    args: &mut Args<'_>,
    plain: FormatDraft,
    clf: FormatDraft,
) -> Result<(), Diagnostic> {
    draft.log.format = match args.next() {
        None => plain,
        Some(word) if word.is("clf") => clf,
        Some(word) => {
            let message = format!("'{}' does not know '{}'", args.keyword, word.text);
            return Err(Diagnostic::alert(word.span, message).label("expected 'clf' or nothing"));
        }
    };
    args.end()?;
    draft.log.format_span = Some(args.place());
    Ok(())
}

fn httpslog(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    args.end()?;
    draft.log.format = FormatDraft::Httpslog;
    draft.log.format_span = Some(args.place());
    Ok(())
}

fn log_tag(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let tag = args.required("a tag")?;
    args.ignore_rest(scope);
    draft.log.tag = Some(tag.text.as_str().into());
    Ok(())
}
