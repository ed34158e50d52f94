//! Our own sections, `discovery`, `registry` and `runtime`. People put them between `.if feature(TIDEGATE)`
//! and `.endif`, which HAProxy skips.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Keyword, Scope, implemented};
use crate::address::{self, Address, Transport};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Named;
use crate::model::{Discovery, Runtime};
use crate::source::Span;
use crate::values::{Unit, next_duration, next_number};

/// Section `discovery` under way.
#[derive(Debug, Default)]
pub(crate) struct DiscoveryDraft {
    pub(crate) discovery: Discovery,
    pub(crate) backend: Option<Named>,
}

/// Section `registry` under way.
#[derive(Debug, Default)]
pub(crate) struct RegistryDraft {
    pub(crate) span: Span,
    pub(crate) bind: Option<SocketAddr>,
    pub(crate) expire: Option<Duration>,
}

pub(crate) type OwnParse<T> = fn(&mut T, &mut Args<'_>, &Scope<'_>) -> Result<(), Diagnostic>;

/// Bounds of `max-nodes`.
const NODES: std::ops::RangeInclusive<u64> = 1..=crate::model::NODES_MAX as u64;
/// Shortest `silence`: below it, a stream is dropped that only waits for its next packet.
const SILENCE_MIN: Duration = Duration::from_millis(100);
/// Shortest `interval`: a service asked more often than this is being attacked.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(crate) const DISCOVERY: &[Keyword<OwnParse<DiscoveryDraft>, ()>] = &[
    implemented("url", (), url),
    implemented("interval", (), |draft, args, _| {
        let place = args.peek().map_or(args.missing_place(), |word| word.span);
        let interval = next_duration(args, Unit::Seconds)?;
        args.end()?;
        if interval < INTERVAL_MIN {
            return Err(Diagnostic::alert(place, "'interval' is shorter than 100ms")
                .label("a bare number is seconds"));
        }
        draft.discovery.interval = Some(interval);
        Ok(())
    }),
    // Not `backend`: that word opens a section wherever it stands (manual 2.1).
    implemented("fill-backend", (), |draft, args, _| {
        let word = args.required("the name of a backend")?;
        args.end()?;
        draft.backend = Some(Named {
            name: word.text.as_str().into(),
            span: word.span,
        });
        Ok(())
    }),
    implemented("rewrite-localhost", (), |draft, args, _| {
        let word = args.required("a host name, in which {id} is the node's id")?;
        args.end()?;
        draft.discovery.rewrite_localhost = Some(word.text.as_str().into());
        Ok(())
    }),
    implemented("state-file", (), |draft, args, _| {
        let word = args.required("the path of a file")?;
        args.end()?;
        draft.discovery.state_file = Some(word.text.as_str().into());
        Ok(())
    }),
    implemented("max-nodes", (), |draft, args, _| {
        draft.discovery.nodes_max = Some(next_number(args, NODES)?);
        args.end()
    }),
    implemented("drain", (), |draft, args, _| {
        draft.discovery.drain = Some(next_duration(args, Unit::Seconds)?);
        args.end()
    }),
    implemented("stream", (), stream),
];

pub(crate) const REGISTRY: &[Keyword<OwnParse<RegistryDraft>, ()>] = &[
    implemented("bind", (), registry_bind),
    implemented("expire", (), |draft, args, _| {
        draft.expire = Some(next_duration(args, Unit::Seconds)?);
        args.end()
    }),
];

/// Shortest `tables-interval`: all tables are read and written each time.
const TABLES_INTERVAL_MIN: Duration = Duration::from_secs(1);

pub(crate) const RUNTIME: &[Keyword<OwnParse<Runtime>, ()>] = &[
    implemented("drain-period", (), |draft, args, _| {
        draft.drain_period = next_duration(args, Unit::Seconds)?;
        args.end()
    }),
    implemented("drain-code", (), |draft, args, _| {
        let place = args.peek().map_or(args.missing_place(), |word| word.span);
        let code: u16 = next_number(args, 0..=u64::from(u16::MAX))?;
        let code = Some(code).filter(|code| may_close_with(*code));
        let message = "'drain-code' expects a status that a Close frame may have";
        draft.drain_code = code.ok_or_else(|| {
            Diagnostic::alert(place, message)
                .label("1000 to 1014 without 1004 to 1006, or 3000 to 4999")
        })?;
        args.end()
    }),
    implemented("journal", (), |draft, args, _| {
        let word = args.required("the path of a file")?;
        args.end()?;
        draft.journal = Some(word.text.as_str().into());
        Ok(())
    }),
    implemented("tables-file", (), |draft, args, _| {
        let word = args.required("the path of a file")?;
        args.end()?;
        draft.tables_file = Some(word.text.as_str().into());
        Ok(())
    }),
    implemented("tables-interval", (), |draft, args, _| {
        let place = args.peek().map_or(args.missing_place(), |word| word.span);
        let interval = next_duration(args, Unit::Seconds)?;
        args.end()?;
        if interval < TABLES_INTERVAL_MIN {
            let alert = Diagnostic::alert(place, "'tables-interval' is shorter than 1s");
            return Err(alert.label("a bare number is seconds"));
        }
        draft.tables_interval = interval;
        Ok(())
    }),
];

/// Whether an endpoint may send a Close frame with this status (RFC 6455 section 7.4): some stand for what no
/// frame says.
pub fn may_close_with(code: u16) -> bool {
    match code {
        1000..=1014 => ![1004, 1005, 1006].contains(&code),
        3000..=4999 => true,
        _ => false,
    }
}

fn url(draft: &mut DiscoveryDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("a URL such as http://updates:8090")?;
    args.end()?;
    let lower = word.text.to_ascii_lowercase();
    let rest = lower
        .strip_prefix("http://")
        .or_else(|| lower.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    if host.is_none_or(str::is_empty) || word.text.contains(|c: char| c <= ' ') {
        return Err(Diagnostic::alert(
            word.span,
            "'url' expects an address that starts with http:// or https://",
        ));
    }
    draft.discovery.url = Some(word.text.as_str().into());
    Ok(())
}

/// `on [silence TIME]` or `off`.
fn stream(
    draft: &mut DiscoveryDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("on or off")?;
    let on = match word.text.as_str() {
        "on" => true,
        "off" => false,
        other => {
            let message = format!("'stream' is on or off, not '{other}'");
            return Err(Diagnostic::alert(word.span, message));
        }
    };
    draft.discovery.stream = on;
    if on && args.take("silence") {
        let place = args.peek().map_or(args.missing_place(), |word| word.span);
        let silence = next_duration(args, Unit::Seconds)?;
        if silence < SILENCE_MIN {
            return Err(Diagnostic::alert(place, "'silence' is shorter than 100ms")
                .label("a bare number is seconds"));
        }
        draft.discovery.stream_silence = Some(silence);
    }
    args.end()
}

fn registry_bind(
    draft: &mut RegistryDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("an address such as 127.0.0.1:8090")?;
    args.end()?;
    let text = address::expand(&word.text, scope.environment);
    let bad = || {
        Diagnostic::alert(word.span, format!("'bind' does not accept '{text}' here"))
            .label("expected one IP address and port")
    };
    match address::parse(&text, word, "bind", Transport::Stream)? {
        Address::Inet {
            host,
            port: address::Port::One(port @ 1..),
        } => {
            let ip = host.listening().ok_or_else(bad)?;
            draft.bind = Some(SocketAddr::new(ip, port));
            Ok(())
        }
        _ => Err(bad()),
    }
}
