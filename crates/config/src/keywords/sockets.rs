//! Parameters of `bind` lines about the socket itself (manual 5.1), and `unix-bind` (manual 3.1).

use std::time::Duration;

use super::Scope;
use super::bind::{BindDraft, ID_MAX, mode_bits, no_account};
use crate::Surroundings as _;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::lexer::Word;
use crate::model::{Bind, BindAddress, CliLevel, SeverityOutput, StatsSocketSettings};
use crate::values::{Unit, choice, next_duration, next_number};

/// Defaults of Unix sockets that `bind` lines name: `unix-bind`.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnixBind {
    /// Stands before each path.
    pub(crate) prefix: Option<String>,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// `unix-bind [prefix P] [mode M] [user U] [uid N] [group G] [gid N]`.
pub(crate) fn unix_bind(
    unix: &mut UnixBind,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "prefix" => unix.prefix = Some(args.required("a prefix of paths")?.text.clone()),
            "mode" => unix.mode = Some(mode_bits(args)?),
            "uid" => unix.uid = Some(next_number(args, 0..=ID_MAX)?),
            "gid" => unix.gid = Some(next_number(args, 0..=ID_MAX)?),
            "user" => {
                let name = args.required("the name of a user")?;
                let id = scope.environment.user_id(&name.text);
                unix.uid = Some(id.ok_or_else(|| no_account(name, "user"))?);
            }
            "group" => {
                let name = args.required("the name of a group")?;
                let id = scope.environment.group_id(&name.text);
                unix.gid = Some(id.ok_or_else(|| no_account(name, "group"))?);
            }
            other => {
                return Err(Diagnostic::alert(
                    word.span,
                    format!("'unix-bind' does not know '{other}'"),
                )
                .label("expected prefix, mode, user, uid, group or gid"));
            }
        }
    }
    Ok(())
}

/// What `unix-bind` says of a path, where the line itself says nothing.
pub(crate) fn with_unix_defaults(bind: &mut Bind, unix: &UnixBind) {
    let BindAddress::Unix(path) = &mut bind.address else {
        return;
    };
    if let Some(prefix) = &unix.prefix {
        // Put before the text as it is, as HAProxy does: "/run/x" and "y.sock" make "/run/xy.sock".
        let mut whole = std::ffi::OsString::from(prefix);
        whole.push(&path);
        *path = whole.into();
    }
    bind.unix_mode = bind.unix_mode.or(unix.mode);
    bind.unix_uid = bind.unix_uid.or(unix.uid);
    bind.unix_gid = bind.unix_gid.or(unix.gid);
}

pub(crate) fn id(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    draft.bind.id = Some(next_number(args, 1..=i32::MAX as u64)?);
    Ok(())
}

/// How friendly its connections are to others: there is no order of precedence among them here.
pub(crate) fn nice(
    _: &mut BindDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a number from -1024 to 1024")?;
    integer(word, "nice", -1024, 1024)?;
    no_effect(args, "all connections of a worker have their turn", scope);
    Ok(())
}

/// Says that a parameter that was read changes nothing.
fn no_effect(args: &Args<'_>, why: &str, scope: &Scope<'_>) {
    let place = args.last().map_or(args.place(), |word| word.span);
    let message = format!(
        "'bind … {}' is accepted and has no effect: {why}",
        args.keyword
    );
    scope.report(Diagnostic::notice(place, message));
}

pub(crate) fn mss(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a number of bytes")?;
    let bytes = integer(word, "mss", -65_535, 65_535)?;
    if bytes == 0 {
        return Err(Diagnostic::alert(word.span, "'mss' does not accept '0'")
            .label("expected 1 to 65535, or less than 0 to reduce what the client says"));
    }
    draft.bind.socket.mss = Some(bytes);
    Ok(())
}

fn integer(word: &Word, keyword: &str, from: i32, to: i32) -> Result<i32, Diagnostic> {
    let number = word.text.parse::<i32>().ok();
    number
        .filter(|number| (from..=to).contains(number))
        .ok_or_else(|| {
            let message = format!("'{keyword}' does not accept '{}'", word.text);
            Diagnostic::alert(word.span, message)
                .label(format!("expected a whole number from {from} to {to}"))
        })
}

pub(crate) fn user_timeout(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let delay = next_duration(args, Unit::Milliseconds)?;
    draft.bind.socket.user_timeout = Some(delay).filter(|delay| *delay > Duration::ZERO);
    Ok(())
}

pub(crate) fn congestion(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("the name of an algorithm such as cubic")?;
    draft.bind.socket.congestion = Some(word.text.as_str().into());
    Ok(())
}

/// `thread [GROUP/]SET[,…]` and `process …`: which workers accept. All do.
pub(crate) fn threads(
    _: &mut BindDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a set of threads such as 1-4")?;
    match word.text.split(',').all(is_thread_set) {
        true => {
            no_effect(args, "all workers accept", scope);
            Ok(())
        }
        false => Err(Diagnostic::alert(
            word.span,
            format!("'{}' does not accept '{}'", args.keyword, word.text),
        )
        .label("expected all, odd, even, a number or a range such as 1-4")),
    }
}

fn is_thread_set(text: &str) -> bool {
    /// HAProxy's words of bits: what is beyond names no thread.
    const THREADS_MAX: u16 = 1_024;
    let number = |text: &str| {
        let number = text.parse::<u16>().ok();
        number.filter(|number| (1..=THREADS_MAX).contains(number))
    };
    let is_set = |text: &str| match text.split_once('-') {
        _ if matches!(text, "all" | "odd" | "even") => true,
        None => number(text).is_some(),
        Some((first, "")) => number(first).is_some(),
        Some((first, last)) => number(first).zip(number(last)).is_some(),
    };
    match text.split_once('/') {
        Some((group, set)) => is_set(group) && is_set(set),
        None => is_set(text),
    }
}

pub(crate) fn shards(
    _: &mut BindDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a number, by-thread or by-group")?;
    if !(word.is("by-thread") || word.is("by-group")) {
        integer(word, "shards", 1, 1_024)?;
    }
    no_effect(args, "each worker has a socket of its own", scope);
    Ok(())
}

/// Parameters that only mean something to a stats socket: their value is checked all the same.
pub(crate) fn severity_output(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let choices = [
        ("none", SeverityOutput::None),
        ("number", SeverityOutput::Number),
        ("string", SeverityOutput::String),
    ];
    set(draft, args, scope, &choices, |it, value| {
        it.severity = value
    })
}

pub(crate) fn level(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let choices = [
        ("user", CliLevel::User),
        ("operator", CliLevel::Operator),
        ("admin", CliLevel::Admin),
    ];
    set(draft, args, scope, &choices, |it, value| it.level = value)
}

pub(crate) fn expose_fd(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let choices = [("listeners", true)];
    set(draft, args, scope, &choices, |it, value| {
        it.expose_listeners = value;
    })
}

fn set<T: Copy>(
    draft: &mut BindDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    choices: &[(&str, T)],
    set: fn(&mut StatsSocketSettings, T),
) -> Result<(), Diagnostic> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let word = args.required(&crate::values::list(&names))?;
    let value = choice(word, args.keyword, choices)?;
    match &mut draft.stats_socket {
        Some(settings) => set(settings, value),
        None => no_effect(args, "it speaks of the stats socket", scope),
    }
    Ok(())
}
