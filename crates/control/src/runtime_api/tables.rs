//! Commands on stick tables (management.txt 9.3): `show|set|clear table`.

use config::model::CliLevel;
use engine::tables::{Field, Filter, Operator, Selected, TableView};

use super::answer::{Answer, Call};
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    shows(
        "show table",
        "<table> [<filter>]*",
        "report table usage stats or dump this table's contents",
        |call| show(call).into(),
    ),
    changes(
        "set table",
        "<table> key <k> [data.* <v>]*",
        "update or create a table entry's data",
        |call| set(call).into(),
    )
    .operator(),
    changes(
        "clear table",
        "<table> [<filter>]*",
        "remove an entry from a table (filter: data/key)",
        |call| clear(call).into(),
    )
    .operator(),
];

const SET_USAGE: &str = "Required arguments: <table> key <key> [data.<store_data_type> <value>]* or <table> ptr <ptr> [data.<store_data_type> <value>]*";
const CLEAR_USAGE: &str = "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key> or <table> ptr <ptr>";
const FILTER_USAGE: &str = "Optional argument only supports \"data.<store_data_type>\" <operator> <value> or key <key> or ptr <ptr>";
const NOT_THERE: &str = "No entry can be found matching ptr.";

fn table(call: &Call<'_>) -> Result<TableView, Answer> {
    let mut tables = call.handle.tables().into_iter();
    let found = tables.find(|table| table.name() == call.arg(0));
    found.ok_or_else(|| Answer::error("No such table"))
}

fn show(call: &mut Call<'_>) -> Result<Answer, Answer> {
    if call.args.is_empty() {
        let tables = call.handle.tables();
        return Ok(Answer::Text(tables.iter().map(TableView::title).collect()));
    }
    if call.session.level < CliLevel::Operator {
        return Err(Answer::error("Permission denied"));
    }
    let table = table(call)?;
    let selected = selected(&table, &call.args[1..])?;
    let is_place = matches!(selected, Selected::At(_));
    match table.show(&selected) {
        Some(report) => Ok(Answer::Report(report)),
        None if is_place => Err(Answer::error(NOT_THERE)),
        None => Ok(Answer::Done),
    }
}

fn clear(call: &mut Call<'_>) -> Result<Answer, Answer> {
    if call.args.is_empty() {
        return Err(Answer::error(CLEAR_USAGE));
    }
    let table = table(call)?;
    let selected = selected(&table, &call.args[1..])?;
    match table.clear(&selected) {
        Ok(true) => Ok(Answer::Done),
        Ok(false) => Err(Answer::error(NOT_THERE)),
        Err(refused) => Err(Answer::error(refused.words())),
    }
}

fn set(call: &mut Call<'_>) -> Result<Answer, Answer> {
    let args = call.args;
    let (Some(_), Some(how)) = (args.first(), args.get(1)) else {
        return Err(Answer::error(SET_USAGE));
    };
    let table = table(call)?;
    if how.starts_with("data.") {
        let text = "content-based lookup is only supported with the \"show\" and \"clear\" actions";
        return Err(Answer::error(text));
    }
    let selected = one(&table, &args[1..])?.ok_or_else(|| Answer::error(SET_USAGE))?;
    if !table.takes_keys() {
        return Err(Answer::error(
            "Inserting keys into tables of type other than ip, ipv6, string and integer is not supported",
        ));
    }
    let data = data(&table, args.get(3..).unwrap_or_default())?;
    match &selected {
        Selected::At(place) if !table.set_at(*place, &data) => Err(Answer::error(NOT_THERE)),
        Selected::Key(key) if !table.set(key, &data) => {
            Err(Answer::error("Unable to allocate a new entry"))
        }
        _ => Ok(Answer::Done),
    }
}

/// `data.TYPE VALUE …`.
fn data(table: &TableView, words: &[String]) -> Result<Vec<(Field, u64)>, Answer> {
    let mut data = Vec::new();
    for pair in words.chunks(2) {
        let Some(name) = pair[0].strip_prefix("data.") else {
            return Err(Answer::error(
                "\"data.<type>\" followed by a value expected",
            ));
        };
        let field = field(table, name)?;
        let value = pair.get(1).and_then(|value| value.parse().ok());
        let value = value.ok_or_else(|| Answer::error("Require a valid integer value to store"))?;
        data.push((field, value));
    }
    Ok(data)
}

fn field(table: &TableView, name: &str) -> Result<Field, Answer> {
    table
        .field(name)
        .map_err(|refused| Answer::error(refused.words()))
}

/// `key K`, `ptr P`; `None`: neither.
fn one(table: &TableView, words: &[String]) -> Result<Option<Selected>, Answer> {
    let value = words
        .get(1)
        .map(String::as_str)
        .filter(|word| !word.is_empty());
    match words.first().map(String::as_str) {
        Some("key") => {
            let text = value.ok_or_else(|| Answer::error("Key value expected"))?;
            let key = table.key(text);
            let key = key.ok_or_else(|| Answer::error("Invalid key"))?;
            Ok(Some(Selected::Key(key)))
        }
        Some("ptr") => {
            let digits = value.and_then(|text| text.strip_prefix("0x"));
            let place = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let expected = || Answer::error("Pointer expected (0xffff notation)");
            Ok(Some(Selected::At(place.ok_or_else(expected)?)))
        }
        _ => Ok(None),
    }
}

/// Filters of one command, at most (management.txt, "show table").
const FILTERS_MAX: usize = 4;

fn selected(table: &TableView, words: &[String]) -> Result<Selected, Answer> {
    if let Some(one) = one(table, words)? {
        return Ok(one);
    }
    let mut filters = Vec::new();
    for (position, triple) in words.chunks(3).enumerate() {
        let wrong = |text: &str| Answer::error(format!("Filter entry #{}: {text}", position + 1));
        let Some(name) = triple[0].strip_prefix("data.") else {
            return Err(Answer::error(FILTER_USAGE));
        };
        if position == FILTERS_MAX {
            return Err(Answer::error(format!(
                "Detected extra data in filter, {}th word of input, after '{}'",
                position * 3 + 4,
                words[position * 3 - 1]
            )));
        }
        let field = table
            .field(name)
            .map_err(|refused| wrong(refused.words()))?;
        let operator = triple.get(1).and_then(|word| Operator::named(word));
        let operator = operator.ok_or_else(|| {
            wrong("Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"")
        })?;
        let value = triple.get(2).and_then(|word| word.parse().ok());
        let value =
            value.ok_or_else(|| wrong("Require a valid integer value to compare against"))?;
        filters.push(Filter {
            field,
            operator,
            value,
        });
    }
    Ok(Selected::Matching(filters))
}
