//! Stick tables (manual 11.1), `stick` rules (4.2), and what rules do to counters (4.4: `track-sc0`,
//! `sc-inc-gpc` and their like).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::proxy::condition;
use super::{BACK_ONLY, PROXIES, ProxyKeyword, Scope, implemented};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::Draft;
use crate::expr::{self, COUNTERS_MAX, Kind, Sample, Stage, TableRef, TableUse};
use crate::lexer::Word;
use crate::model::{
    Amount, CounterChange, DataType, ELEMENTS_MAX, GeneralSlot, KeyType, LEN_DEFAULT, Mode, Period,
    ServerKeyKind, StatusSet, StickRule, StickRules, StickTable, Stored, TableId, Track,
    check_stored,
};
use crate::nearest::{did_you_mean, did_you_mean_among_many};
use crate::values::{Unit, choice, duration, limit, next_duration, number, size};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("stick match", BACK_ONLY, |draft, args, scope| {
        let rule = stick(draft, args, scope, Stage::Request)?;
        draft.stick.rules.matches.push(rule);
        Ok(())
    }),
    implemented("stick on", BACK_ONLY, |draft, args, scope| {
        let rule = stick(draft, args, scope, Stage::Request)?;
        draft.stick.rules.matches.push(rule.clone());
        draft.stick.rules.store_request.push(rule);
        Ok(())
    }),
    implemented("stick store-request", BACK_ONLY, |draft, args, scope| {
        let rule = stick(draft, args, scope, Stage::Request)?;
        draft.stick.rules.store_request.push(rule);
        Ok(())
    }),
    implemented("stick store-response", BACK_ONLY, |draft, args, scope| {
        let rule = stick(draft, args, scope, Stage::Response)?;
        draft.stick.rules.store_response.push(rule);
        Ok(())
    }),
    implemented("stick-table", PROXIES, table),
];

/// What a section says of stick tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct StickDraft {
    pub(crate) table: Option<StickTable>,
    pub(crate) rules: StickRules,
    /// Where its rules mean its own table.
    pub(crate) own_uses: Vec<TableUse>,
    /// How many of them it has from its `defaults`.
    inherited: usize,
}

impl StickDraft {
    /// What is handed down: rules, and with them the need for a table.
    pub(crate) fn inherited(&self) -> Self {
        Self {
            inherited: self.own_uses.len(),
            own_uses: self.own_uses.clone(),
            ..Self::default()
        }
    }
}

/// Numbers the tables of all sections, tells expressions and rules which ones they mean, and has entries keep
/// what `stick` rules need.
pub(crate) fn resolve(
    drafts: &[Draft],
    uses: &[TableUse],
    report: &mut Vec<Diagnostic>,
) -> Vec<StickTable> {
    let declared = drafts.iter().filter_map(|draft| draft.stick.table.clone());
    let mut tables: Vec<StickTable> = declared.collect();
    let number = |index: usize| TableId(u16::try_from(index).unwrap_or(u16::MAX));
    let ids: BTreeMap<Arc<str>, usize> = tables
        .iter()
        .enumerate()
        .map(|(index, table)| (table.name.clone(), index))
        .collect();
    let mut sticks = Vec::new();
    for used in uses {
        let name = used.name.as_deref().unwrap_or_default();
        let Some(index) = ids.get(name).copied() else {
            let alert =
                Diagnostic::alert(used.span, format!("unable to find stick-table '{name}'"))
                    .label("no section of this name has a 'stick-table' line");
            let names = ids.keys().map(|name| &**name);
            let hint = did_you_mean_among_many(name, names, report);
            report.push(match hint {
                Some(hint) => alert.help(hint),
                None => alert,
            });
            continue;
        };
        used.table.settle(number(index));
        report.extend(check_key(used, &tables[index]));
        sticks.extend(used.sticks.then_some(index));
    }
    for draft in drafts {
        let own = &draft.stick;
        for (position, used) in own.own_uses.iter().enumerate() {
            let index = own.table.as_ref().and_then(|own| ids.get(&own.name));
            let Some(index) = index.copied() else {
                report.push(
                    Diagnostic::alert(
                        used.span,
                        format!(
                            "no stick-table in {}, and none is named here",
                            draft.title()
                        ),
                    )
                    .help(
                        "add a 'stick-table' line to the section, or name the table of another one",
                    ),
                );
                continue;
            };
            if position >= own.inherited {
                used.table.settle(number(index));
            }
            report.extend(check_key(used, &tables[index]));
            sticks.extend(used.sticks.then_some(index));
        }
    }
    for draft in drafts.iter().filter(|draft| draft.proxy.mode == Mode::Tcp) {
        let first = draft.stick.rules.store_response.first();
        if let Some(rule) = first.filter(|_| draft.proxy.tcp.response.is_empty()) {
            report.push(
                Diagnostic::alert(
                    rule.span,
                    "'stick store-response' in mode tcp has nothing to look at: no response is read",
                )
                .help("add 'tcp-response inspect-delay 5s' and a 'tcp-response content accept' rule"),
            );
        }
    }
    for index in sticks {
        keep_servers(&mut tables[index]);
    }
    tables
}

/// Entries that stick keep a server, by its number and by its name.
fn keep_servers(table: &mut StickTable) {
    for what in [DataType::ServerId, DataType::ServerKey] {
        if !table.store.iter().any(|stored| stored.what == what) {
            table.store.push(Stored {
                what,
                elements: 1,
                period: None,
            });
        }
    }
}

/// Whether keys can be made of what is at hand.
fn check_key(used: &TableUse, table: &StickTable) -> Option<Diagnostic> {
    let wanted = match table.key {
        KeyType::Ip | KeyType::Ipv6 => Kind::Addr,
        KeyType::Integer => Kind::Int,
        KeyType::String(_) => Kind::Str,
        KeyType::Binary(_) => Kind::Bin,
    };
    let given = used.key?;
    (!expr::castable(given, wanted)).then(|| {
        Diagnostic::alert(
            used.span,
            format!(
                "no key of type {} can be made of this: table '{}' cannot be used",
                table.key.name(),
                table.name
            ),
        )
    })
}

/// `EXPR [table NAME] [if …]`.
fn stick(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<StickRule, Diagnostic> {
    let span = args.place();
    let (key, table) = keyed(args, scope, stage, true)?;
    let condition = condition(draft, args, scope, stage)?;
    Ok(StickRule {
        key,
        table,
        condition,
        span,
    })
}

/// `EXPR [table NAME]`.
fn keyed(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
    sticks: bool,
) -> Result<(Sample, TableRef), Diagnostic> {
    let word = args.required("a sample such as src")?;
    let key = expr::sample::parse(word, &scope.expressions(stage))?;
    let table = TableRef::default();
    let mut used = TableUse {
        table: table.clone(),
        name: None,
        span: word.span,
        key: Some(key.kind),
        sticks,
    };
    if args.take("table") {
        let word = args.required("the name of a table")?;
        used.name = Some(word.text.as_str().into());
        used.span = word.span;
    }
    scope.tables.borrow_mut().push(used);
    Ok((key, table))
}

/// `stick-table type T size N …`.
fn table(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let span = args.place();
    if let Some(before) = &draft.stick.table {
        return Err(Diagnostic::alert(
            span,
            format!(
                "stick-table name '{}' conflicts with table declared in {} at line {}",
                before.name,
                draft.title(),
                before.span.line
            ),
        )
        .help("a section has one table: make another 'backend' for this one, and name it by 'table NAME'"));
    }
    let mut table = StickTable {
        name: draft.proxy.name.clone(),
        key: KeyType::Ip,
        size: 0,
        expire: None,
        nopurge: false,
        store: Vec::new(),
        bytes_factor: 1,
        server_key: ServerKeyKind::default(),
        span,
    };
    let mut has_type = false;
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "type" => {
                table.key = key_type(args)?;
                has_type = true;
            }
            "size" => {
                let word = args.required("how many entries it may have, such as 100k")?;
                table.size = size(word, "stick-table size", 1..=SIZE_MAX)? as u32;
            }
            "expire" => table.expire = limit(next_duration(args, Unit::Milliseconds)?),
            "nopurge" => table.nopurge = true,
            "store" => store(&mut table.store, args)?,
            "brates-factor" => {
                let word = args.required("a number from 1 to 1024")?;
                table.bytes_factor = number(word, "brates-factor", 1..=1024)? as u16;
            }
            "srvkey" => {
                let keys = [
                    ("name", ServerKeyKind::Name),
                    ("addr", ServerKeyKind::Address),
                ];
                table.server_key = choice(args.required("name or addr")?, "srvkey", &keys)?;
            }
            "peers" => {
                let name = args.required("the name of a peers section")?;
                scope.report(
                    Diagnostic::advice(
                        name.span,
                        format!("the stick-table of '{}' is this process's alone", table.name),
                    )
                    .label("no entries are exchanged with peers")
                    .help("limits count what came to this machine: divide them by the number of machines"),
                );
            }
            "recv-only" => scope.report(Diagnostic::notice(
                word.span,
                "'recv-only' has no effect: nothing is received from peers",
            )),
            "write-to" => {
                args.required("the name of a table")?;
                scope.report(Diagnostic::notice(
                    word.span,
                    "'write-to' has no effect: nothing is received from peers",
                ));
            }
            other => {
                let hint = did_you_mean(other, WORDS);
                let alert =
                    Diagnostic::alert(word.span, format!("'stick-table' does not know '{other}'"));
                return Err(alert.help(
                    hint.unwrap_or_else(|| format!("it knows {}", crate::values::list(&WORDS))),
                ));
            }
        }
    }
    if !has_type || table.size == 0 {
        let missing = if has_type { "size" } else { "type" };
        return Err(Diagnostic::alert(
            args.missing_place(),
            format!("stick-table: missing '{missing}'"),
        )
        .help("write 'stick-table type ip size 100k expire 10m store …'"));
    }
    draft.stick.table = Some(table);
    Ok(())
}

const WORDS: [&str; 10] = [
    "type",
    "size",
    "expire",
    "nopurge",
    "store",
    "brates-factor",
    "srvkey",
    "peers",
    "recv-only",
    "write-to",
];

/// Entries of a table, at most: links between them have 32 bits.
const SIZE_MAX: u64 = (1 << 32) - 2;

fn key_type(args: &mut Args<'_>) -> Result<KeyType, Diagnostic> {
    let word = args.required("ip, ipv6, integer, string or binary")?;
    let Some(mut key) = KeyType::named(&word.text) else {
        let alert = Diagnostic::alert(
            word.span,
            format!("stick-table: unknown type '{}'", word.text),
        )
        .label("expected ip, ipv4, ipv6, integer, string or binary");
        let hint = did_you_mean(
            &word.text,
            ["ip", "ipv4", "ipv6", "integer", "string", "binary"],
        );
        return Err(match hint {
            Some(hint) => alert.help(hint),
            None => alert,
        });
    };
    if let KeyType::String(len) | KeyType::Binary(len) = &mut key {
        *len = match args.take("len") {
            true => {
                let word = args.required("a length in bytes")?;
                number(word, "stick-table len", 1..=LEN_MAX)? as u16
            }
            false => LEN_DEFAULT,
        };
    }
    Ok(key)
}

/// Length of keys, at most: what `tune.bufsize` allows a head.
const LEN_MAX: u64 = 16 * 1024;

/// `TYPE[(ARGUMENTS)][,TYPE…]`.
fn store(stored: &mut Vec<Stored>, args: &mut Args<'_>) -> Result<(), Diagnostic> {
    let word = args.required("what is to be stored, such as conn_rate(10s)")?;
    let text = word.text.as_str();
    let mut from = 0;
    while from < text.len() {
        let rest = &text[from..];
        let mut depth = 0i32;
        let end = rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth <= 0
        });
        let end = end.unwrap_or(rest.len());
        let one = data(&rest[..end], word)?;
        check_stored(&one, stored)
            .map_err(|wrong| Diagnostic::alert(word.span, format!("stick-table: {wrong}")))?;
        stored.push(one);
        from += end + 1;
    }
    Ok(())
}

fn data(text: &str, word: &Word) -> Result<Stored, Diagnostic> {
    let wrong = |message: String| Diagnostic::alert(word.span, format!("stick-table: {message}"));
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => {
            let arguments = rest.strip_suffix(')');
            let unclosed = || wrong(format!("the arguments of '{name}' are not closed"));
            (name, arguments.ok_or_else(unclosed)?)
        }
        None => (text, ""),
    };
    let names = DataType::NAMED.iter();
    let Some((_, what)) = names.clone().find(|(known, _)| *known == name) else {
        let alert = wrong(format!("unknown data type '{name}'"));
        let hint = did_you_mean(name, names.map(|(name, _)| *name));
        return Err(match hint {
            Some(hint) => alert.help(hint),
            None => alert,
        });
    };
    let mut arguments = arguments
        .split(',')
        .map(str::trim)
        .filter(|it| !it.is_empty());
    let of_word = |text: &str| Word {
        text: text.to_owned(),
        ..word.clone()
    };
    let mut stored = Stored {
        what: *what,
        elements: 1,
        period: None,
    };
    if what.is_array() {
        let count = arguments.next();
        let count =
            count.ok_or_else(|| wrong(format!("'{name}' needs the number of its elements")))?;
        stored.elements = number(&of_word(count), name, 1..=ELEMENTS_MAX.into())? as u8;
    }
    if what.is_rate() {
        let period = arguments.next();
        let period =
            period.ok_or_else(|| wrong(format!("'{name}' needs a period, such as 10s")))?;
        let length = duration(&of_word(period), name, Unit::Milliseconds)?;
        let period = Period::new(length);
        stored.period = Some(period.ok_or_else(|| {
            wrong(format!("'{name}' cannot be counted over such a period"))
                .label("expected 1 ms to 49 days")
        })?);
    }
    match arguments.next() {
        Some(more) => Err(wrong(format!("'{name}' does not expect '{more}'"))),
        None => Ok(stored),
    }
}

/// The number behind `track-sc`, and its arguments: `EXPR [table NAME]`.
pub(crate) fn track(
    name: &Word,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<Track, Diagnostic> {
    let number = name.text.strip_prefix("track-sc").unwrap_or_default();
    let counter = number
        .parse()
        .ok()
        .filter(|it| *it < scope.bases.stick_counters());
    let Some(counter) = counter else {
        return Err(Diagnostic::alert(
            name.span,
            format!("'{}' is not a counter that can be tracked", name.text),
        )
        .label(format!(
            "expected track-sc0 to track-sc{}",
            scope.bases.stick_counters().saturating_sub(1)
        ))
        .help("'tune.stick-counters' in 'global' makes more of them"));
    };
    let (key, table) = keyed(args, scope, stage, false)?;
    Ok(Track {
        counter,
        key,
        table,
    })
}

/// `sc-inc-gpc(IDX,CTR)`, `sc-inc-gpc0(CTR)`, `sc-add-gpc(IDX,CTR) N`, `sc-set-gpt(IDX,CTR) N`,
/// `sc-set-gpt0(CTR) N`: a number, or a sample.
pub(crate) fn counter_change(
    word: &Word,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    stage: Stage,
) -> Result<CounterChange, Diagnostic> {
    let wrong = |message: String| Diagnostic::alert(word.span, message);
    let (name, numbers) = word.text.split_once('(').unwrap_or((&word.text, ""));
    let numbers = numbers.strip_suffix(')').unwrap_or(numbers);
    let numbers: Result<Vec<u8>, _> = numbers
        .split(',')
        .map(|it| it.trim().parse::<u8>())
        .collect();
    let numbers = numbers.map_err(|_| {
        wrong(format!("'{name}' needs its numbers in parentheses")).label(
            match name.ends_with('0') || name.ends_with('1') {
                true => format!("expected {name}(COUNTER)"),
                false => format!("expected {name}(INDEX,COUNTER)"),
            },
        )
    })?;
    let of_index = |index: u8| match index < ELEMENTS_MAX {
        true => Ok(index),
        false => Err(wrong(format!("there is no index {index}")).label("expected 0 to 99")),
    };
    let (slot, counter) = match (name, &*numbers) {
        ("sc-inc-gpc" | "sc-add-gpc", [index, counter]) => {
            (GeneralSlot::Counter(of_index(*index)?), *counter)
        }
        ("sc-set-gpt", [index, counter]) => (GeneralSlot::Tag(of_index(*index)?), *counter),
        ("sc-inc-gpc0", [counter]) => (GeneralSlot::Counter0, *counter),
        ("sc-inc-gpc1", [counter]) => (GeneralSlot::Counter1, *counter),
        ("sc-set-gpt0", [counter]) => (GeneralSlot::Tag0, *counter),
        _ => return Err(wrong(format!("'{name}' has other arguments"))),
    };
    if counter >= scope.bases.stick_counters().min(COUNTERS_MAX) {
        return Err(wrong(format!("there is no counter {counter}"))
            .help("'tune.stick-counters' in 'global' makes more of them"));
    }
    let by = match name.starts_with("sc-inc") {
        true => Amount::Number(1),
        false => amount(args, scope, stage)?,
    };
    Ok(CounterChange { counter, slot, by })
}

fn amount(args: &mut Args<'_>, scope: &Scope<'_>, stage: Stage) -> Result<Amount, Diagnostic> {
    let word = args.required("a number or a sample")?;
    if word.text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = number(word, args.keyword, 0..=u32::MAX.into())?;
        return Ok(Amount::Number(number as u32));
    }
    let sample = expr::sample::parse(word, &scope.expressions(stage))?;
    if !expr::castable(sample.kind, Kind::Int) {
        return Err(Diagnostic::alert(
            word.span,
            format!("'{}' is not a number", sample.text),
        ));
    }
    Ok(Amount::Sample(Box::new(sample)))
}

/// `[+|-]RANGE[,RANGE…] …`: those codes, more, or less of them (manual 3.1, "http-err-codes").
pub(crate) fn statuses(set: &mut StatusSet, args: &mut Args<'_>) -> Result<(), Diagnostic> {
    let mut next = Some(args.required("status codes such as 400-499")?);
    while let Some(word) = next {
        let (sign, ranges) = match word.text.as_bytes() {
            [sign @ (b'+' | b'-'), ..] => (Some(*sign), &word.text[1..]),
            _ => (None, word.text.as_str()),
        };
        if sign.is_none() {
            set.change(100..=599, false);
        }
        for range in ranges.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let status = |text: &str| {
                text.parse::<u16>()
                    .ok()
                    .filter(|it| (100..=599).contains(it))
            };
            let range = status(first)
                .zip(status(last))
                .filter(|(first, last)| first <= last);
            let Some((first, last)) = range else {
                let message = format!("'{}' does not accept '{}'", args.keyword, word.text);
                return Err(Diagnostic::alert(word.span, message)
                    .label("expected codes from 100 to 599, such as 400-499, +404 or -429,431"));
            };
            set.change(first..=last, sign != Some(b'-'));
        }
        next = args.next();
    }
    Ok(())
}
