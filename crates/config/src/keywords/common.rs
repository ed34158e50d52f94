//! Actions that several rule sets have in common, and where each is allowed (manual 4.3, the matrix).
//!
//! A row is all it takes to give an action to a rule set: its parser, and carrying it out, are shared.

use super::{Scope, Status, capture, stick};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::expr::{self, Stage, Timeout, VarName, VarScope};
use crate::lexer::Word;
use crate::model::{
    Action, AddressPart, Amount, ListChange, ListEntry, Mark, NewTimeout, Priority, SetVar,
    VarSource,
};
use crate::registry::Known;
use crate::source::Span;
use crate::values::{Unit, choice, duration, number};

/// Rule sets, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sets(u8);

/// One rule set: its bit, its name, and what its expressions may look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleSet {
    bit: u8,
    pub(crate) stage: Stage,
    /// Whether nothing but the connection is known.
    is_early: bool,
}

const fn set(bit: u8, stage: Stage) -> RuleSet {
    RuleSet {
        bit: 1 << bit,
        stage,
        is_early: matches!(stage, Stage::Connection),
    }
}

pub(crate) const TCP_CONNECTION: RuleSet = set(0, Stage::Connection);
pub(crate) const TCP_SESSION: RuleSet = set(1, Stage::Connection);
pub(crate) const TCP_REQUEST: RuleSet = set(2, Stage::Request);
pub(crate) const TCP_RESPONSE: RuleSet = set(3, Stage::Response);
pub(crate) const HTTP_REQUEST: RuleSet = set(4, Stage::Request);
pub(crate) const HTTP_RESPONSE: RuleSet = set(5, Stage::Response);
pub(crate) const HTTP_AFTER: RuleSet = set(6, Stage::Response);

/// Steps of checks, which have variables and no session.
pub(crate) const CHECK: RuleSet = set(7, Stage::Response);

impl Sets {
    const fn of(sets: &[RuleSet]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < sets.len() {
            bits |= sets[at].bit;
            at += 1;
        }
        Self(bits)
    }

    pub(crate) const fn contains(self, set: RuleSet) -> bool {
        self.0 & set.bit != 0
    }
}

/// Reads what stands behind the action's name; the word it was written as may have arguments in
/// parentheses.
pub(crate) type Parse = fn(&Word, RuleSet, &mut Args<'_>, &Scope<'_>) -> Result<Action, Diagnostic>;

/// One action.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Where it is allowed.
    pub(crate) sets: Sets,
    pub(crate) status: Status<Parse>,
}

const fn row(name: &'static str, sets: Sets, parse: Parse) -> Row {
    Row {
        name,
        sets,
        status: Status::Implemented(parse),
    }
}

const EVERYWHERE: Sets = Sets::of(&[
    TCP_CONNECTION,
    TCP_SESSION,
    TCP_REQUEST,
    TCP_RESPONSE,
    HTTP_REQUEST,
    HTTP_RESPONSE,
    HTTP_AFTER,
]);

/// All of them, and checks.
const WITH_CHECKS: Sets = Sets(EVERYWHERE.0 | CHECK.bit);

/// Those that see what was sent.
const CONTENTS: Sets = Sets::of(&[
    TCP_REQUEST,
    TCP_RESPONSE,
    HTTP_REQUEST,
    HTTP_RESPONSE,
    HTTP_AFTER,
]);

/// Those that come before a response goes to the client.
const BEFORE_THE_END: Sets = Sets::of(&[
    TCP_CONNECTION,
    TCP_SESSION,
    TCP_REQUEST,
    HTTP_REQUEST,
    HTTP_RESPONSE,
]);

/// Those that understand a message as HTTP and may end it.
const HTTP: Sets = Sets::of(&[HTTP_REQUEST, HTTP_RESPONSE]);

/// Those that understand a message as HTTP.
const ALL_HTTP: Sets = Sets::of(&[HTTP_REQUEST, HTTP_RESPONSE, HTTP_AFTER]);

/// Those that see the client's connection before a response is there.
const REQUESTS: Sets = Sets::of(&[TCP_CONNECTION, TCP_SESSION, TCP_REQUEST, HTTP_REQUEST]);

/// Those that see a message, and come before it has gone on.
const MARKED: Sets = Sets::of(&[TCP_REQUEST, TCP_RESPONSE, HTTP_REQUEST, HTTP_RESPONSE]);

/// Those over what a client sends.
const REQUEST_CONTENTS: Sets = Sets::of(&[TCP_REQUEST, HTTP_REQUEST]);

pub(crate) const ACTIONS: &[Row] = &[
    row("set-dst", REQUESTS, |_, set, args, scope| {
        address(AddressPart::Destination, set, args, scope)
    }),
    row("set-dst-port", REQUESTS, |_, set, args, scope| {
        address(AddressPart::DestinationPort, set, args, scope)
    }),
    row("set-src", REQUESTS, |_, set, args, scope| {
        address(AddressPart::Source, set, args, scope)
    }),
    row("set-src-port", REQUESTS, |_, set, args, scope| {
        address(AddressPart::SourcePort, set, args, scope)
    }),
    row("set-timeout", HTTP, timeout),
    row("set-retries", REQUEST_CONTENTS, retries),
    row("set-bc-mark", REQUEST_CONTENTS, |_, set, args, scope| {
        mark(Mark::Server, set, args, scope)
    }),
    row("set-bc-tos", REQUEST_CONTENTS, |_, set, args, scope| {
        mark(Mark::ServerTos, set, args, scope)
    }),
    row("set-fc-mark", MARKED, |_, set, args, scope| {
        mark(Mark::Client, set, args, scope)
    }),
    row("set-fc-tos", MARKED, |_, set, args, scope| {
        mark(Mark::ClientTos, set, args, scope)
    }),
    // The older names.
    row("set-mark", MARKED, |_, set, args, scope| {
        mark(Mark::Client, set, args, scope)
    }),
    row("set-tos", MARKED, |_, set, args, scope| {
        mark(Mark::ClientTos, set, args, scope)
    }),
    row(
        "set-priority-class",
        REQUEST_CONTENTS,
        |_, set, args, scope| priority(Priority::Class, set, args, scope),
    ),
    row(
        "set-priority-offset",
        REQUEST_CONTENTS,
        |_, set, args, scope| priority(Priority::Offset, set, args, scope),
    ),
    row("set-nice", CONTENTS, |_, _, args, _| {
        let word = args.required("a number from -1024 to 1024")?;
        match word.text.parse::<i32>() {
            // Every session gets its turn all the same.
            Ok(-1024..=1024) => Ok(Action::Nothing),
            _ => Err(Diagnostic::alert(
                word.span,
                format!("'set-nice' does not accept '{}'", word.text),
            )
            .label("expected a number from -1024 to 1024")),
        }
    }),
    row("sc-add-gpc", EVERYWHERE, change_counter),
    row("sc-inc-gpc", EVERYWHERE, change_counter),
    row("sc-inc-gpc0", EVERYWHERE, change_counter),
    row("sc-inc-gpc1", EVERYWHERE, change_counter),
    row("sc-set-gpt", EVERYWHERE, change_counter),
    row("sc-set-gpt0", EVERYWHERE, change_counter),
    row("add-acl", HTTP, |word, set, args, scope| {
        change_list(word, set, args, scope, Change::Add)
    }),
    row("del-acl", ALL_HTTP, |word, set, args, scope| {
        change_list(word, set, args, scope, Change::Delete)
    }),
    row("del-map", ALL_HTTP, |word, set, args, scope| {
        change_list(word, set, args, scope, Change::DeleteFromMap)
    }),
    row("set-map", ALL_HTTP, |word, set, args, scope| {
        change_list(word, set, args, scope, Change::SetInMap)
    }),
    row("set-log-level", CONTENTS, |_, _, args, _| {
        capture::log_level(args).map(Action::SetLogLevel)
    }),
    row("set-var", WITH_CHECKS, set_var),
    row("set-var-fmt", WITH_CHECKS, set_var_format),
    // And so on, as far as `tune.stick-counters` goes: see `find`.
    row("track-sc0", BEFORE_THE_END, track),
    row("track-sc1", BEFORE_THE_END, track),
    row("track-sc2", BEFORE_THE_END, track),
    row("unset-var", WITH_CHECKS, |word, set, _, scope| {
        let (name, when) = in_parentheses(word)?;
        if let Some((text, span)) = when.first() {
            let message = format!("'{}' takes a name alone, not '{text}'", word.text);
            return Err(Diagnostic::alert(*span, message));
        }
        variable(name, word.span, set, scope).map(Action::UnsetVar)
    }),
];

/// The row of an action of that name in a rule set.
pub(crate) fn find(base: &str, set: RuleSet) -> Option<&'static Row> {
    let further = base.strip_prefix("track-sc").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    let name = if further { "track-sc0" } else { base };
    ACTIONS
        .iter()
        .find(|row| row.name == name && row.sets.contains(set))
}

/// The names of all of them in a rule set, for suggestions.
pub(crate) fn names(set: RuleSet) -> impl Iterator<Item = &'static str> {
    let rows = ACTIONS.iter().filter(move |row| row.sets.contains(set));
    rows.map(|row| row.name)
}

/// Reads the action of a row, or says why it is none yet.
pub(crate) fn read(
    row: &Row,
    word: &Word,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    match &row.status {
        Status::Implemented(parse) => {
            args.keyword = row.name;
            parse(word, set, args, scope)
        }
        status => Err(super::verdict(row.name, status, word.span)
            .unwrap_or_else(|| Diagnostic::alert(word.span, "not implemented yet"))),
    }
}

/// `track-sc0 EXPR [table NAME]`.
fn track(
    word: &Word,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    let track = stick::track(word, args, scope, set.stage)?;
    Ok(Action::Track(Box::new(track)))
}

/// `sc-inc-gpc(INDEX,COUNTER)` and its like.
fn change_counter(
    word: &Word,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    let change = stick::counter_change(word, args, scope, set.stage)?;
    Ok(Action::ChangeCounter(Box::new(change)))
}

/// `set-var(NAME[,COND]…) EXPR`.
fn set_var(
    word: &Word,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    let (name, when) = in_parentheses(word)?;
    let name = variable(name, word.span, set, scope)?;
    let when = expr::conditions_of_set(when.into_iter())?;
    let sample = args.required("a sample such as src or req.hdr(name)")?;
    let sample = expr::sample::parse(sample, &scope.expressions(set.stage))?;
    Ok(Action::SetVar(Box::new(SetVar {
        name,
        when,
        value: VarSource::Sample(sample),
    })))
}

/// `set-var-fmt(NAME[,COND]…) FORMAT`.
fn set_var_format(
    word: &Word,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    let (name, when) = in_parentheses(word)?;
    let name = variable(name, word.span, set, scope)?;
    let when = expr::conditions_of_set(when.into_iter())?;
    let text = args.required_text("a format")?;
    let format = expr::format::parse(text, &scope.expressions(set.stage))?;
    Ok(Action::SetVar(Box::new(SetVar {
        name,
        when,
        value: VarSource::Format(format),
    })))
}

fn address(
    part: AddressPart,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    let word = args.required("a sample such as req.hdr(x-forwarded-for)")?;
    let sample = expr::sample::parse(word, &scope.expressions(set.stage))?;
    Ok(Action::SetAddress(part, Box::new(sample)))
}

/// `set-timeout WHICH TIME|EXPR`.
fn timeout(
    _: &Word,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    const WHICH: &[(&str, Timeout)] = &[
        ("client", Timeout::Client),
        ("connect", Timeout::Connect),
        ("queue", Timeout::Queue),
        ("server", Timeout::Server),
        ("tarpit", Timeout::Tarpit),
        ("tunnel", Timeout::Tunnel),
    ];
    let word = args.required("the name of a timeout")?;
    let which = choice(word, args.keyword, WHICH)?;
    let word = args.required("a time, or a sample in milliseconds")?;
    let to = match word.text.starts_with(|c: char| c.is_ascii_digit()) {
        true => {
            let time = duration(word, args.keyword, Unit::Milliseconds)?;
            if time.is_zero() {
                return Err(Diagnostic::alert(
                    word.span,
                    "a timeout of 0 ends everything at once",
                ));
            }
            NewTimeout::Fixed(time)
        }
        false => {
            let sample = expr::sample::parse(word, &scope.expressions(set.stage))?;
            NewTimeout::Sample(Box::new(sample))
        }
    };
    Ok(Action::SetTimeout(which, to))
}

/// Most retries that one request may be given (manual 4.4, "set-retries").
const RETRIES_MAX: u64 = 100;

/// `set-retries N|EXPR`.
fn retries(
    _: &Word,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    let word = args.required("a number up to 100, or a sample")?;
    if word.text.starts_with(|c: char| c.is_ascii_digit()) {
        let count = number(word, args.keyword, 0..=RETRIES_MAX)? as u32;
        return Ok(Action::SetRetries(Amount::Number(count)));
    }
    let sample = expr::sample::parse(word, &scope.expressions(set.stage))?;
    Ok(Action::SetRetries(Amount::Sample(Box::new(sample))))
}

/// A number, in hexadecimal with 0x, or a sample.
fn mark(
    mark: Mark,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    let word = args.required("a number, or a sample")?;
    if !word.text.starts_with(|c: char| c.is_ascii_digit()) {
        let sample = expr::sample::parse(word, &scope.expressions(set.stage))?;
        return Ok(Action::SetMark(mark, Amount::Sample(Box::new(sample))));
    }
    let text = word.text.as_str();
    let number = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match number.filter(|number| *number <= mark.max()) {
        Some(number) => Ok(Action::SetMark(mark, Amount::Number(number))),
        None => Err(Diagnostic::alert(
            word.span,
            format!("'{}' does not accept '{text}'", args.keyword),
        )
        .label(format!("expected a number up to {}", mark.max()))),
    }
}

fn priority(
    priority: Priority,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Action, Diagnostic> {
    let word = args.required("a sample such as int(1)")?;
    let sample = expr::sample::parse(word, &scope.expressions(set.stage))?;
    Ok(Action::SetPriority(priority, Box::new(sample)))
}

/// What is done to a pattern file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Delete,
    DeleteFromMap,
    SetInMap,
}

/// `ACTION(FILE) KEY [VALUE]`.
fn change_list(
    word: &Word,
    set: RuleSet,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    change: Change,
) -> Result<Action, Diagnostic> {
    let name = word
        .text
        .split_once('(')
        .and_then(|(_, it)| it.strip_suffix(')'));
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        let message = format!("'{}' needs the name of a file in parentheses", word.text);
        return Err(Diagnostic::alert(word.span, message));
    };
    let is_map = matches!(change, Change::DeleteFromMap | Change::SetInMap);
    let context = scope.expressions(set.stage);
    let mut lists = scope.lists.borrow_mut();
    let list = lists.open(name, is_map, scope.environment, word.span)?;
    drop(lists);
    list.note_use(args.keyword, word.span);
    let mut format = |what| {
        let text = args.required(what)?;
        expr::format::parse(text, &context)
    };
    let key = format("a key")?;
    let to = match change {
        Change::Add => Some(ListEntry::Key),
        Change::SetInMap => Some(ListEntry::Value(format("a value")?)),
        Change::Delete | Change::DeleteFromMap => None,
    };
    Ok(Action::ChangeList(Box::new(ListChange { list, key, to })))
}

/// `set-var NAME EXPR` and `set-var-fmt NAME FORMAT` of `global` (manual 3.1).
pub(crate) fn of_process(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    is_format: bool,
) -> Result<SetVar, Diagnostic> {
    let word = args.required("the name of a variable of the process")?;
    let name = VarName::parse(&word.text, word.span)?;
    if name.scope != VarScope::Proc {
        return Err(Diagnostic::alert(
            word.span,
            format!("'{}' is no variable of the process", word.text),
        )
        .label("expected a name that begins with 'proc.'"));
    }
    let expressions = scope.expressions(Stage::Connection);
    let value = match is_format {
        true => {
            let text = args.required_text("a format")?;
            VarSource::Format(expr::format::parse(text, &expressions)?)
        }
        false => {
            let sample = args.required("a sample such as int(1) or str(text)")?;
            VarSource::Sample(expr::sample::parse(sample, &expressions)?)
        }
    };
    Ok(SetVar {
        name,
        when: Vec::new(),
        value,
    })
}

/// A name that this rule set may set: before a request there is none to keep anything for.
fn variable(
    name: &str,
    span: Span,
    set: RuleSet,
    scope: &Scope<'_>,
) -> Result<VarName, Diagnostic> {
    let name = VarName::parse(name, span)?;
    let of_check = set.bit == CHECK.bit;
    let nobodys = match name.scope {
        VarScope::Check if of_check => None,
        VarScope::Txn | VarScope::Req | VarScope::Res if of_check => Some("a check has no request"),
        VarScope::Proc | VarScope::Sess => None,
        VarScope::Check => Some("it belongs to health checks"),
        _ if set.is_early => {
            Some("there is no request yet: only 'proc.' and 'sess.' live that long")
        }
        _ => None,
    };
    if let Some(why) = nobodys {
        let message = "variables of this scope are never set by these rules";
        scope.report(Diagnostic::warning(span, message).label(why));
    }
    Ok(name)
}

/// The first thing in parentheses, and what follows it.
type Inner<'a> = (&'a str, Vec<(&'a str, Span)>);

/// What stands in the parentheses of `action(name,more,…)`.
pub(crate) fn in_parentheses(word: &Word) -> Result<Inner<'_>, Diagnostic> {
    let inner = word.text.split_once('(').and_then(|(_, rest)| {
        let inner = rest.strip_suffix(')')?;
        (!inner.is_empty()).then_some(inner)
    });
    let Some(inner) = inner else {
        let message = format!("'{}' needs a name in parentheses", word.text);
        let base = word.text.split('(').next().unwrap_or_default();
        return Err(
            Diagnostic::alert(word.span, message).label(format!("expected '{base}(scope.name)'"))
        );
    };
    let mut parts = inner.split(',').map(str::trim);
    let name = parts.next().unwrap_or_default();
    Ok((name, parts.map(|part| (part, word.span)).collect()))
}

/// The shared actions of one rule set, for the reference.
pub(crate) fn known(rules: &str, set: RuleSet) -> impl Iterator<Item = Known> {
    let of_set = ACTIONS.iter().filter(move |row| row.sets.contains(set));
    of_set.map(move |row| Known::new(rules, row.name, &row.status))
}
