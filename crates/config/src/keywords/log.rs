//! `log` lines of `global` and of proxies, and what log lines look like (manual 3.1, 4.2, 8).

use std::sync::Arc;

use super::{ALL, FRONT, ProxyKeyword, Scope, implemented, invertible, not_yet};
use crate::address::{self, Address, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, FormatDraft, LogEntry};
use crate::expr::{self, Stage};
use crate::lexer::Word;
use crate::model::{LogLineFormat, LogSink, LogTarget};
use crate::values::{choice, number};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    invertible("log", ALL, log),
    implemented("log-format", FRONT, log_format),
    implemented("log-tag", ALL, log_tag),
    not_yet("error-log-format", FRONT),
    not_yet("log-format-sd", FRONT),
    not_yet("log-steps", FRONT),
];

/// `len`: HAProxy's default and bounds, bytes.
const LENGTH_DEFAULT: usize = 1024;
const LENGTHS: std::ops::RangeInclusive<u64> = 80..=65_535;
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

const FACILITIES: &[(&str, u8)] = &[
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

const LEVELS: &[(&str, u8)] = &[
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

/// `ADDRESS [len N] [format F] FACILITY [LEVEL [MINLEVEL]]`.
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
    let mut format = LogLineFormat::Rfc3164;
    loop {
        if args.take("len") {
            let word = args.required("a length in bytes after 'len'")?;
            length_max = number(word, "log … len", LENGTHS)? as usize;
        } else if args.take("format") {
            let word = args.required("a format after 'format'")?;
            format = choice(word, "log … format", FORMATS)?;
        } else if let Some(word) = args
            .peek()
            .filter(|word| word.is("sample") || word.is("profile"))
        {
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
        sink,
        length_max,
        format,
        facility,
        level,
        level_min,
    })
}

fn optional_level(args: &mut Args<'_>) -> Result<Option<u8>, Diagnostic> {
    match args.next() {
        Some(word) => choice(word, "log", LEVELS).map(Some),
        None => Ok(None),
    }
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
        _ => {}
    }
    let text = address::expand(&word.text, scope.environment);
    match address::parse(&text, word, "log", Transport::Datagram)? {
        Address::Unix(path) => Ok(LogSink::Unix(path)),
        Address::Fd(1) => Ok(LogSink::Stdout),
        Address::Fd(2) => Ok(LogSink::Stderr),
        Address::Fd(_) => Err(not_yet("a descriptor other than fd@1 and fd@2")),
        Address::Abstract(_) => Err(not_yet("an abstract socket")),
        Address::Inet { host, port } => {
            let address = address::with_port(&host, port, SYSLOG_PORT);
            address.map(LogSink::Udp).ok_or_else(|| match host {
                address::Host::Name(name) => Diagnostic::alert(
                    word.span,
                    format!("'log' : invalid address: '{name}' in '{text}'"),
                )
                .label("host names are not resolved here: write an IP address"),
                _ => Diagnostic::alert(word.span, format!("'log' : invalid port in '{text}'")),
            })
        }
    }
}

fn log_format(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("one format; quote it when it has spaces")?;
    args.end().map_err(|problem| {
        problem.help("put the whole format between quotes, or write \"\\ \" for each space")
    })?;
    let format = expr::format::parse(word, &scope.expressions(Stage::Log))?;
    draft.log.format = FormatDraft::Custom(Arc::new(format));
    draft.log.format_span = Some(args.place());
    Ok(())
}

fn log_tag(draft: &mut Draft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let tag = args.required("a tag")?;
    args.end()?;
    draft.log.tag = Some(tag.text.as_str().into());
    Ok(())
}
