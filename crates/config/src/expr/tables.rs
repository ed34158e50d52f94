//! Fetches and converters on stick tables (manual 7.3.1 and 7.3.3): `sc0_conn_cnt`, `src_get_gpc0(table)`,
//! `table_http_req_rate(table)` and their like, one row a quantity.

use std::sync::{Arc, LazyLock, OnceLock};

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter, Fetch, Kind};
use crate::model::{DataType, ELEMENTS_MAX, TableId};
use crate::source::Span;

/// A stick table that an expression or a rule names. Which one it is gets known once all sections are read;
/// it stays unknown where rules of a `defaults` section mean the table of whoever inherits them.
#[derive(Debug, Clone, Default)]
pub struct TableRef(Arc<OnceLock<TableId>>);

impl TableRef {
    /// Which one; `None`: that of the proxy whose rule it is.
    pub fn id(&self) -> Option<TableId> {
        self.0.get().copied()
    }

    pub(crate) fn settle(&self, id: TableId) {
        // Each is settled once, where all sections have been read.
        let _ = self.0.set(id);
    }
}

impl PartialEq for TableRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.id().is_some() && self.id() == other.id()
    }
}

impl Eq for TableRef {}

/// A place where a table is named, for the check once all sections are read.
#[derive(Debug, Clone)]
pub struct TableUse {
    /// What is to be settled.
    pub table: TableRef,
    /// Its name; `None`: the table of the proxy itself.
    pub name: Option<Arc<str>>,
    /// Where.
    pub span: Span,
    /// What keys are made of, where that is known.
    pub key: Option<Kind>,
    /// Whether entries keep a server there (`stick`).
    pub sticks: bool,
}

/// A fetch on a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFetch {
    /// Whose entry.
    pub of: EntryOf,
    /// In which table; `None`: where the counter tracks it.
    pub table: Option<TableRef>,
    /// What of it.
    pub ask: TableAsk,
}

/// Whose entry a fetch looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOf {
    /// That of what this counter tracks: `sc0_`, `sc_…(0)`.
    Counter(u8),
    /// That of the client's address: `src_`.
    Source,
}

/// A converter on a table: the sample is the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLookup {
    /// In which table.
    pub table: TableRef,
    /// What of the entry.
    pub ask: TableAsk,
    /// What it is where there is no entry; `None`: 0, but for times, which have no value then.
    pub otherwise: Option<i64>,
}

/// What is asked of an entry, and what is done to it by asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableAsk {
    /// What is kept there; the number counts the elements of arrays.
    Data(DataType, u8),
    /// Bytes, as kilobytes.
    Kilobytes(DataType),
    /// One more, in the counter and in its rate (`inc_gpc0`); the new value.
    Increase(DataType, DataType, u8),
    /// Nothing from now on (`clr_gpc0`); the value before.
    Clear(DataType, u8),
    /// One connection more (`src_updt_conn_cnt`); the new count.
    CountConnection,
    /// Whether it is tracked.
    Tracked,
    /// How many track it.
    Trackers,
    /// Its key.
    Key,
    /// Whether there is one.
    Present,
    /// Milliseconds until it expires.
    Expires,
    /// Milliseconds since it was last refreshed.
    Idle,
}

impl TableAsk {
    /// Whether the entry is another one afterwards: it is made where there is none.
    pub fn changes(self) -> bool {
        matches!(
            self,
            Self::Increase(..) | Self::Clear(..) | Self::CountConnection
        )
    }
}

/// A quantity of an entry: what it is called behind `sc_`, `src_` and `table_`.
struct Quantity {
    name: &'static str,
    /// With an index before all other arguments.
    indexed: bool,
    kind: Kind,
    ask: fn(u8) -> TableAsk,
    /// Whether fetches of the counters, of the source, and converters have it.
    counters: bool,
    source: bool,
    /// The converter's name behind `table_`, where it is another one.
    converter: Option<&'static str>,
}

/// A name that is a fetch or a converter on a table, and what it is asked.
#[derive(Clone, Copy)]
struct Named {
    quantity: &'static Quantity,
    prefix: Prefix,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    /// `sc_`: the counter is an argument.
    AnyCounter,
    /// `sc0_`.
    Counter(u8),
    Source,
    Table,
}

const fn plain(name: &'static str, ask: fn(u8) -> TableAsk) -> Quantity {
    Quantity {
        name,
        indexed: false,
        kind: Kind::Int,
        ask,
        counters: true,
        source: true,
        converter: Some(name),
    }
}

/// Called `get_…` by fetches and not by converters.
const fn got(
    name: &'static str,
    indexed: bool,
    converter: &'static str,
    ask: fn(u8) -> TableAsk,
) -> Quantity {
    Quantity {
        indexed,
        converter: Some(converter),
        ..plain(name, ask)
    }
}

const fn indexed(name: &'static str, ask: fn(u8) -> TableAsk) -> Quantity {
    Quantity {
        indexed: true,
        ..plain(name, ask)
    }
}

const fn of_counters(
    name: &'static str,
    kind: Kind,
    converter: Option<&'static str>,
    ask: fn(u8) -> TableAsk,
) -> Quantity {
    Quantity {
        kind,
        source: false,
        converter,
        ..plain(name, ask)
    }
}

use DataType as D;
use TableAsk::{Clear, Data, Increase, Kilobytes};

static QUANTITIES: &[Quantity] = &[
    plain("bytes_in_rate", |_| Data(D::BytesInRate, 0)),
    plain("bytes_out_rate", |_| Data(D::BytesOutRate, 0)),
    indexed("clr_gpc", |index| Clear(D::Gpc, index)),
    plain("clr_gpc0", |_| Clear(D::Gpc0, 0)),
    plain("clr_gpc1", |_| Clear(D::Gpc1, 0)),
    plain("conn_cnt", |_| Data(D::ConnCnt, 0)),
    plain("conn_cur", |_| Data(D::ConnCur, 0)),
    plain("conn_rate", |_| Data(D::ConnRate, 0)),
    got("get_gpc", true, "gpc", |index| Data(D::Gpc, index)),
    got("get_gpc0", false, "gpc0", |_| Data(D::Gpc0, 0)),
    got("get_gpc1", false, "gpc1", |_| Data(D::Gpc1, 0)),
    got("get_gpt", true, "gpt", |index| Data(D::Gpt, index)),
    got("get_gpt0", false, "gpt0", |_| Data(D::Gpt0, 0)),
    plain("glitch_cnt", |_| Data(D::GlitchCnt, 0)),
    plain("glitch_rate", |_| Data(D::GlitchRate, 0)),
    indexed("gpc_rate", |index| Data(D::GpcRate, index)),
    plain("gpc0_rate", |_| Data(D::Gpc0Rate, 0)),
    plain("gpc1_rate", |_| Data(D::Gpc1Rate, 0)),
    plain("http_err_cnt", |_| Data(D::HttpErrCnt, 0)),
    plain("http_err_rate", |_| Data(D::HttpErrRate, 0)),
    plain("http_fail_cnt", |_| Data(D::HttpFailCnt, 0)),
    plain("http_fail_rate", |_| Data(D::HttpFailRate, 0)),
    plain("http_req_cnt", |_| Data(D::HttpReqCnt, 0)),
    plain("http_req_rate", |_| Data(D::HttpReqRate, 0)),
    indexed("inc_gpc", |index| Increase(D::Gpc, D::GpcRate, index)),
    plain("inc_gpc0", |_| Increase(D::Gpc0, D::Gpc0Rate, 0)),
    plain("inc_gpc1", |_| Increase(D::Gpc1, D::Gpc1Rate, 0)),
    plain("kbytes_in", |_| Kilobytes(D::BytesInCnt)),
    plain("kbytes_out", |_| Kilobytes(D::BytesOutCnt)),
    of_counters("key", Kind::Str, None, |_| TableAsk::Key),
    plain("sess_cnt", |_| Data(D::SessCnt, 0)),
    plain("sess_rate", |_| Data(D::SessRate, 0)),
    of_counters("tracked", Kind::Bool, None, |_| TableAsk::Tracked),
    of_counters("trackers", Kind::Int, Some("trackers"), |_| {
        TableAsk::Trackers
    }),
    Quantity {
        counters: false,
        converter: None,
        ..plain("updt_conn_cnt", |_| TableAsk::CountConnection)
    },
    only_converter("server_id", |_| Data(D::ServerId, 0)),
    only_converter("expire", |_| TableAsk::Expires),
    only_converter("idle", |_| TableAsk::Idle),
];

const fn only_converter(name: &'static str, ask: fn(u8) -> TableAsk) -> Quantity {
    Quantity {
        counters: false,
        source: false,
        ..plain(name, ask)
    }
}

static IN_TABLE: Quantity = Quantity {
    kind: Kind::Bool,
    ..only_converter("in_table", |_| TableAsk::Present)
};

fn named(name: &str) -> Option<Named> {
    if name == "in_table" {
        return Some(Named {
            quantity: &IN_TABLE,
            prefix: Prefix::Table,
        });
    }
    let (prefix, rest) = name.split_once('_')?;
    let prefix = match prefix {
        "sc" => Prefix::AnyCounter,
        "sc0" => Prefix::Counter(0),
        "sc1" => Prefix::Counter(1),
        "sc2" => Prefix::Counter(2),
        "src" => Prefix::Source,
        "table" => Prefix::Table,
        _ => return None,
    };
    let quantity = QUANTITIES.iter().find(|it| match prefix {
        Prefix::AnyCounter | Prefix::Counter(_) => it.counters && it.name == rest,
        Prefix::Source => it.source && it.name == rest,
        Prefix::Table => it.converter == Some(rest),
    })?;
    // As in HAProxy, which takes the index before the counter.
    let has_both = !(quantity.indexed && matches!(prefix, Prefix::Counter(_)));
    has_both.then_some(Named { quantity, prefix })
}

/// The type of a fetch of that name.
pub(super) fn fetch_kind(name: &str) -> Option<Kind> {
    let named = named(name).filter(|it| it.prefix != Prefix::Table)?;
    Some(named.quantity.kind)
}

/// The type of a converter of that name.
pub(super) fn converter_kind(name: &str) -> Option<Kind> {
    let named = named(name).filter(|it| it.prefix == Prefix::Table)?;
    Some(named.quantity.kind)
}

static FETCH_NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let of = |it: &Quantity| {
        let prefixes = ["sc_", "sc0_", "sc1_", "sc2_", "src_"];
        prefixes.map(|prefix| format!("{prefix}{}", it.name))
    };
    let names = QUANTITIES.iter().flat_map(of);
    names.filter(|name| fetch_kind(name).is_some()).collect()
});

static CONVERTER_NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let own = QUANTITIES.iter().filter_map(|it| it.converter);
    let names = own.map(|name| format!("table_{name}"));
    names.chain(["in_table".to_owned()]).collect()
});

/// All names of fetches, for suggestions and references.
pub(super) fn fetch_names() -> impl Iterator<Item = &'static str> {
    FETCH_NAMES.iter().map(String::as_str)
}

/// All names of converters.
pub(super) fn converter_names() -> impl Iterator<Item = &'static str> {
    CONVERTER_NAMES.iter().map(String::as_str)
}

/// A fetch with its arguments: `[<idx>,][<ctr>,][<table>]`.
pub(super) fn fetch(
    name: &str,
    arguments: &mut Arguments,
    context: &Context<'_>,
) -> Result<Fetch, Diagnostic> {
    let Some(Named { quantity, prefix }) = named(name) else {
        let message = format!("unknown fetch '{name}'");
        return Err(Diagnostic::alert(arguments.span(), message));
    };
    let ask = (quantity.ask)(index(quantity, arguments)?);
    let of = match prefix {
        Prefix::AnyCounter => EntryOf::Counter(counter(arguments)?),
        Prefix::Counter(number) => EntryOf::Counter(number),
        Prefix::Source | Prefix::Table => EntryOf::Source,
    };
    let given = arguments
        .optional()
        .map(|(table, span)| (table.to_owned(), span));
    let table = match (of, given) {
        (EntryOf::Counter(_), None) => None,
        (_, given) => Some(table(given, arguments.span(), Some(Kind::Addr), context)),
    };
    Ok(Fetch::Table(TableFetch { of, table, ask }))
}

/// `table_cnt[(<table>)]`, `table_avl[(<table>)]`.
pub(super) fn count(
    free: bool,
    arguments: &mut Arguments,
    context: &Context<'_>,
) -> Result<Fetch, Diagnostic> {
    let given = arguments
        .optional()
        .map(|(table, span)| (table.to_owned(), span));
    let table = table(given, arguments.span(), None, context);
    Ok(Fetch::TableCount(table, free))
}

/// A converter with its arguments: `[<idx>,][<table>[,<default>]]`.
pub(super) fn converter(
    name: &str,
    arguments: &mut Arguments,
    context: &Context<'_>,
) -> Result<Converter, Diagnostic> {
    let Some(Named { quantity, .. }) = named(name) else {
        let message = format!("unknown converter '{name}'");
        return Err(Diagnostic::alert(arguments.span(), message));
    };
    let ask = (quantity.ask)(index(quantity, arguments)?);
    let given = arguments
        .optional()
        .map(|(table, span)| (table.to_owned(), span));
    let otherwise = match ask {
        TableAsk::Expires | TableAsk::Idle => arguments.optional_int("a default value")?,
        _ => None,
    };
    Ok(Converter::Table(TableLookup {
        table: table(given, arguments.span(), None, context),
        ask,
        otherwise,
    }))
}

fn index(quantity: &Quantity, arguments: &mut Arguments) -> Result<u8, Diagnostic> {
    if !quantity.indexed {
        return Ok(0);
    }
    small(arguments, "an index", ELEMENTS_MAX)
}

fn counter(arguments: &mut Arguments) -> Result<u8, Diagnostic> {
    small(arguments, "the number of a counter", COUNTERS_MAX)
}

/// More than these no configuration can have (manual 3.2, "tune.stick-counters").
pub(crate) const COUNTERS_MAX: u8 = 100;

fn small(arguments: &mut Arguments, what: &str, end: u8) -> Result<u8, Diagnostic> {
    let span = arguments.span();
    let number = arguments.int(what)?;
    let small = u8::try_from(number).ok().filter(|number| *number < end);
    small.ok_or_else(|| {
        Diagnostic::alert(span, format!("{number} is not {what}"))
            .label(format!("expected 0 to {}", end - 1))
    })
}

fn table(
    given: Option<(String, Span)>,
    place: Span,
    key: Option<Kind>,
    context: &Context<'_>,
) -> TableRef {
    let table = TableRef::default();
    let given = given.filter(|(name, _)| !name.is_empty());
    let span = given.as_ref().map_or(place, |(_, span)| *span);
    context.tables.borrow_mut().push(TableUse {
        table: table.clone(),
        name: given.map(|(name, _)| name.into()),
        span,
        key,
        sticks: false,
    });
    table
}
