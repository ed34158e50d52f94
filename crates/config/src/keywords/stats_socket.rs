//! `stats socket` and its bounds (manual 3.1): where the Runtime API answers.

use super::bind::{self, BindDraft};
use super::global::{Entry, GlobalDraft};
use super::{Scope, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::model::{CliLevel, StatsSocket};
use crate::values::{Unit, next_duration, next_number, size};

pub(crate) const KEYWORDS: &[Entry] = &[
    implemented("stats socket", (), |draft, args, scope| {
        let sockets = sockets("stats socket", CliLevel::default(), args, scope)?;
        draft.global.runtime_api.sockets.extend(sockets);
        Ok(())
    }),
    // Not HAProxy's: the program writes such a line for its own argument of that name.
    implemented("-S", (), |draft, args, scope| {
        // Whoever starts the program is an admin, where a level is not given (as in HAProxy).
        let mut sockets = sockets("-S", CliLevel::Admin, args, scope)?;
        draft.global.runtime_api.master = sockets.pop();
        Ok(())
    }),
    implemented("stats timeout", (), timeout),
    implemented("stats maxconn", (), |draft, args, _| {
        draft.global.runtime_api.maxconn = next_number(args, 1..=CONNECTIONS_MAX)?;
        args.end()
    }),
    implemented("tune.cli.max-payload-size", (), |draft, args, _| {
        let word = args.required("a number of bytes")?;
        let bytes = size(word, args.keyword, PAYLOAD)?;
        draft.global.runtime_api.payload_max = usize::try_from(bytes).unwrap_or(PAYLOAD_MAX);
        args.end()
    }),
];

/// Connections to the Runtime API at once, at most: each may hold a line, a payload and a piece of an
/// answer.
const CONNECTIONS_MAX: u64 = 10_000;

/// A payload is kept whole until its command has run.
const PAYLOAD: std::ops::RangeInclusive<u64> = 1_024..=PAYLOAD_MAX as u64;
const PAYLOAD_MAX: usize = 64 << 20;

fn timeout(draft: &mut GlobalDraft, args: &mut Args<'_>, _: &Scope<'_>) -> Result<(), Diagnostic> {
    let place = args.place();
    let timeout = next_duration(args, Unit::Milliseconds)?;
    if timeout.is_zero() {
        return Err(Diagnostic::alert(
            place,
            "'stats timeout' expects a positive value",
        ));
    }
    draft.global.runtime_api.timeout = timeout;
    args.end()
}

/// Address and parameters; those of `bind` are all known here. `level`: where none is given.
fn sockets(
    line: &str,
    level: CliLevel,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Vec<StatsSocket>, Diagnostic> {
    let word = args.required("the path of a socket, or an address and a port")?;
    let mut draft = BindDraft::of_stats_socket(word, level);
    let addresses = bind::addresses(word, scope);
    bind::read_parameters(line, &mut draft, args, scope);
    let (bind, settings, ssl) = draft.into_stats_socket();
    if ssl {
        let message = format!("'{line} {}' : 'ssl' is not implemented yet here", word.text);
        return Err(Diagnostic::alert(word.span, message)
            .help("let a 'listen' section with 'bind … ssl' lead to a Unix socket"));
    }
    if bind.accept_proxy {
        let message = format!(
            "'{line} {}' : 'accept-proxy' is not implemented here",
            word.text
        );
        return Err(Diagnostic::alert(word.span, message));
    }
    let socket = |(address, text)| {
        let mut bind = bind.clone();
        bind.address = address;
        bind.text = text;
        super::sockets::with_unix_defaults(&mut bind, &scope.bases.unix);
        StatsSocket { bind, settings }
    };
    Ok(addresses?.into_iter().map(socket).collect())
}
