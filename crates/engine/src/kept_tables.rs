//! Stick tables across restarts (our own `tables-file`): all entries are written once in a while and when the
//! process begins to stop, and are read when it starts.
//!
//! ```text
//! tidegate-tables 1 1764187200000              when, milliseconds since 1970
//! table http ip
//! 59000 192.0.2.1 gpc0=3 http_req_rate=12      milliseconds left ("-": it was in use), key, data
//! end 1 9F86D081…                              entries, SHA-256 of all above
//! ```
//! Strict: a file that is damaged in any place is not used at all, and a warning says so; nothing about it
//! keeps the program from starting. What has expired meanwhile, and tables that are declared otherwise by now,
//! are left out. Rates are kept as they are at that moment; who is connected (`conn_cur`) is not.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use config::model::{DataType, KeyType, Runtime};
use routing::hex;
use routing::rates::Millis;
use routing::stick::{Entry, Field, KeyShown, Sample};

use crate::clock;
use crate::kept_file::KeptFile;
use crate::log::Level;
use crate::shared::Shared;
use crate::stick::{StickTable, StickTables};
use crate::sticking;

/// The layout of the file.
const TITLE: &str = "tidegate-tables 1";

/// Longest file, bytes: about half a million entries; what does not fit is left out, and said.
const LEN_MAX: u64 = 64 << 20;

/// Entries that are copied before the lock of their shard is given back.
const ENTRIES_A_STEP: usize = 64;

/// The file, and what is known of it.
pub(crate) struct KeptTables {
    file: KeptFile,
    /// How often it is written.
    pub(crate) interval: Duration,
    /// What it had at the start, until it is in force.
    found: Option<Vec<u8>>,
    state: Mutex<State>,
}

/// One write at a time.
#[derive(Default)]
struct State {
    /// It was written for the last time: it is a successor's from now on.
    last: bool,
    /// The last write failed, which was said.
    failed: bool,
}

impl KeptTables {
    /// Opens it and reads what is there, while it is in reach. The sentence tells what is wrong; then nothing
    /// is kept, or nothing was.
    pub(crate) fn open(settings: &Runtime) -> (Option<Self>, Option<String>) {
        let Some(path) = &settings.tables_file else {
            return (None, None);
        };
        let wrong = |why: &str| {
            Some(format!(
                "tables-file '{}' cannot be used: {why}",
                path.display()
            ))
        };
        let file = match KeptFile::open(path) {
            Ok(file) => file,
            Err(error) => return (None, wrong(&error.to_string())),
        };
        let (found, problem) = match file.read(LEN_MAX) {
            Ok(found) => (found, None),
            Err(why) => (None, wrong(&why)),
        };
        let kept = Self {
            file,
            interval: settings.tables_interval,
            found,
            state: Mutex::default(),
        };
        (Some(kept), problem)
    }

    /// Gives the tables what was kept of them. The sentence tells why nothing, or not all, can be used.
    pub(crate) fn restore(&mut self, tables: &StickTables) -> Option<String> {
        let found = self.found.take()?;
        let path = self.file.path().display();
        match restore(tables, &found, clock::wall()) {
            Ok(left_out) if left_out.is_empty() => None,
            Ok(left_out) => {
                let names = left_out.join(", ");
                Some(format!(
                    "tables-file '{path}' has tables that are declared otherwise now: {names}"
                ))
            }
            Err(why) => Some(format!(
                "tables-file '{path}' cannot be used, all tables are empty: {why}"
            )),
        }
    }

    /// Writes it. After the `last` time it is left alone.
    pub(crate) fn save(&self, shared: &Shared, last: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last {
            return;
        }
        state.last = last;
        let names = server_names(shared, &shared.site.load().stick);
        let mut left_out = 0;
        let saved = self.file.replace(|file| {
            left_out = write(&shared.site.load().stick, &names, clock::wall(), file)?;
            Ok(())
        });
        let path = self.file.path().display();
        let trouble = match saved {
            Err(error) => Some(format!("tables-file '{path}' cannot be written: {error}")),
            Ok(()) if left_out > 0 => Some(format!(
                "tables-file '{path}' has {LEN_MAX} bytes, which is all it may have: {left_out} entries \
                 are not in it"
            )),
            Ok(()) => None,
        };
        let failed = trouble.is_some();
        // Once, and again after it went well.
        if let Some(trouble) = trouble.filter(|_| !state.failed) {
            shared.say(Level::Warning, &trouble);
        }
        state.failed = failed;
    }
}

/// Gives tables that are declared another way from now on the entries that they had, as far as they fit:
/// whether that was possible. Who is tracked meanwhile goes on being counted where they were.
pub(crate) fn carry(shared: &Shared, before: &StickTables, now: &StickTables) -> bool {
    let names = server_names(shared, before);
    let at = clock::wall();
    let mut text = Vec::new();
    let written = write(before, &names, at, &mut text);
    let whole = written.is_ok_and(|left_out| left_out == 0);
    let left_out = restore(now, &text, at);
    whole && left_out.is_ok_and(|tables| tables.is_empty())
}

/// What numbers in `server_key` stand for.
fn server_names(shared: &Shared, tables: &StickTables) -> Vec<BTreeMap<u64, String>> {
    let site = shared.site.load();
    let servers: Vec<_> = site.backends.iter().flat_map(|it| it.servers()).collect();
    let names = tables.all().iter().map(|table| {
        if table.table.field(DataType::ServerKey, 0).is_none() {
            return BTreeMap::new();
        }
        let name = |server: &Arc<crate::server::ServerState>| {
            let name = sticking::server_name(table, server);
            (sticking::server_key(table, server), name)
        };
        servers.iter().map(name).collect()
    });
    names.collect()
}

/// All data that is kept of a table: what it is called, where it is.
fn fields(table: &StickTable) -> Vec<(String, DataType, Field)> {
    let mut fields = Vec::new();
    for stored in table.table.stored() {
        if stored.what == DataType::ConnCur {
            continue;
        }
        for index in 0..usize::from(stored.elements) {
            let name = match stored.elements {
                1 => stored.what.name().to_owned(),
                _ => format!("{}[{index}]", stored.what.name()),
            };
            let field = table.table.field(stored.what, index);
            fields.extend(field.map(|field| (name, stored.what, field)));
        }
    }
    fields
}

/// Writes all entries; how many were left out.
fn write(
    tables: &StickTables,
    names: &[BTreeMap<u64, String>],
    now: Duration,
    file: &mut dyn Write,
) -> io::Result<usize> {
    let mut out = Summed {
        sum: Context::new(&SHA256),
        length: 0,
        file,
    };
    writeln!(out, "{TITLE} {}", now.as_millis())?;
    let (mut count, mut left_out) = (0_u64, 0);
    let no_names = BTreeMap::new();
    for (at, table) in tables.all().iter().enumerate() {
        writeln!(
            out,
            "table {} {}",
            table.name,
            table.table.key_type().name()
        )?;
        let (fields, names) = (fields(table), names.get(at).unwrap_or(&no_names));
        let mut text = String::new();
        for shard in 0..table.shard_count() {
            let mut from = 0;
            loop {
                text.clear();
                let seen = {
                    let now = table.now();
                    let shard = table.shard(shard);
                    let mut seen = 0;
                    for entry in shard.entries(from, now).take(ENTRIES_A_STEP) {
                        line(&entry, &fields, names, now, &mut text);
                        from = entry.position() + 1;
                        seen += 1;
                    }
                    seen
                };
                // The last line must fit, too.
                if out.length + text.len() as u64 + 1024 > LEN_MAX {
                    left_out += seen;
                } else {
                    out.write_all(text.as_bytes())?;
                    count += seen as u64;
                }
                if seen < ENTRIES_A_STEP {
                    break;
                }
            }
        }
    }
    let sum = hex::upper(out.sum.finish().as_ref());
    writeln!(out.file, "end {count} {sum}")?;
    Ok(left_out)
}

fn line(
    entry: &Entry<'_>,
    fields: &[(String, DataType, Field)],
    names: &BTreeMap<u64, String>,
    now: Millis,
    text: &mut String,
) {
    let left = entry.expires().map(|at| at.since(now).as_millis());
    *text += &left.map_or("-".to_owned(), |left| left.to_string());
    text.push(' ');
    *text += &match entry.key() {
        KeyShown::Ip(address) => address.to_string(),
        KeyShown::Ipv6(address) => address.to_string(),
        KeyShown::Integer(number) => number.to_string(),
        KeyShown::Bytes(bytes) => format!("={}", hex::upper(&bytes)),
    };
    for (name, what, field) in fields {
        let value = entry.get(*field, now);
        let shown = match what {
            // A number of this process.
            DataType::ServerKey => names.get(&value).map(|name| hex::upper(name.as_bytes())),
            _ => Some(value.to_string()).filter(|_| value != 0),
        };
        if let Some(shown) = shown {
            *text += &format!(" {name}={shown}");
        }
    }
    text.push('\n');
}

/// Counts and sums what passes.
struct Summed<'a> {
    sum: Context,
    length: u64,
    file: &'a mut dyn Write,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.sum.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Fills the tables; the names of those that are declared otherwise by now.
fn restore(tables: &StickTables, found: &[u8], now: Duration) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(found).map_err(|_| "it is damaged".to_owned())?;
    let body = checked(text)?;
    let (title, rest) = body.split_once('\n').unwrap_or((body, ""));
    let written = title
        .strip_prefix(TITLE)
        .and_then(|rest| rest.trim().parse().ok());
    let written = written.ok_or("it is of another version")?;
    // A clock that was set back makes nobody older.
    let passed = now.saturating_sub(Duration::from_millis(written));
    let mut left_out = Vec::new();
    let mut table: Option<Filling<'_>> = None;
    for line in rest.lines() {
        match line.strip_prefix("table ") {
            Some(declared) => {
                fill(table.take());
                table = Filling::begin(tables, declared);
                if table.is_none() {
                    left_out.push(declared.to_owned());
                }
            }
            None => {
                if let Some(table) = &mut table {
                    table.take(line, passed);
                }
            }
        }
    }
    fill(table);
    Ok(left_out)
}

/// What stands above the last line, which must fit to it.
fn checked(text: &str) -> Result<&str, String> {
    let damaged = || "it is damaged".to_owned();
    let whole = text.strip_suffix('\n').ok_or_else(damaged)?;
    let at = whole.rfind('\n').ok_or_else(damaged)?;
    let (body, end) = (&text[..=at], &whole[at + 1..]);
    let mut words = end.split(' ');
    let (count, sum) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some("end"), Some(count), Some(sum), None) => (count, sum),
        _ => return Err(damaged()),
    };
    let is_entry = |line: &&str| !line.starts_with("table ");
    let entries = body.lines().skip(1).filter(is_entry).count();
    if count != entries.to_string() {
        return Err(damaged());
    }
    let mut context = Context::new(&SHA256);
    context.update(body.as_bytes());
    match hex::upper(context.finish().as_ref()) == sum {
        true => Ok(body),
        false => Err(damaged()),
    }
}

/// A table that is being filled.
struct Filling<'a> {
    table: &'a StickTable,
    fields: Vec<(String, DataType, Field)>,
    lines: Vec<Line>,
}

struct Line {
    left: Option<Duration>,
    key: KeyShown,
    data: Vec<(Field, u64)>,
}

impl<'a> Filling<'a> {
    fn begin(tables: &'a StickTables, declared: &str) -> Option<Self> {
        let (name, kind) = declared.split_once(' ')?;
        let table = tables.all().iter().find(|it| *it.name == *name)?;
        let same = table.table.key_type().name() == kind;
        same.then(|| Self {
            table,
            fields: fields(table),
            lines: Vec::new(),
        })
    }

    /// Takes a line, unless its entry has expired.
    fn take(&mut self, line: &str, passed: Duration) -> Option<()> {
        let mut words = line.split(' ');
        let left = match words.next()? {
            "-" => None,
            left => Some(Duration::from_millis(left.parse().ok()?).checked_sub(passed)?),
        };
        if left == Some(Duration::ZERO) {
            return None;
        }
        let key = key(self.table.table.key_type(), words.next()?)?;
        let mut data = Vec::new();
        for word in words {
            let (name, value) = word.split_once('=')?;
            // Data that is not stored any more is not missed.
            let known = self.fields.iter().find(|(known, ..)| known == name);
            if let Some((_, what, field)) = known {
                let value = match what {
                    DataType::ServerKey => {
                        sticking::number_of(std::str::from_utf8(&bytes(value)?).ok()?)
                    }
                    _ => value.parse().ok()?,
                };
                data.push((*field, value));
            }
        }
        self.lines.push(Line { left, key, data });
        Some(())
    }
}

/// Makes the entries, in the order in which they expire.
fn fill(filling: Option<Filling<'_>>) {
    let Some(mut filling) = filling else { return };
    let table = filling.table;
    filling
        .lines
        .sort_by_key(|line| line.left.unwrap_or(Duration::MAX));
    let now = table.now();
    for line in &filling.lines {
        let sample = match &line.key {
            KeyShown::Ip(address) => Sample::Ip(IpAddr::V4(*address)),
            KeyShown::Ipv6(address) => Sample::Ip(IpAddr::V6(*address)),
            KeyShown::Integer(number) => Sample::Integer((*number).into()),
            KeyShown::Bytes(bytes) => Sample::Bytes(bytes),
        };
        let Some(key) = table.table.key(sample) else {
            continue;
        };
        let mut shard = table.shard(key.shard());
        if let Some(mut entry) = shard.restore(&key, line.left, now) {
            for (field, value) in &line.data {
                entry.set(*field, *value, now);
            }
        }
    }
}

fn key(kind: KeyType, text: &str) -> Option<KeyShown> {
    Some(match kind {
        KeyType::Ip => KeyShown::Ip(text.parse().ok()?),
        KeyType::Ipv6 => KeyShown::Ipv6(text.parse().ok()?),
        KeyType::Integer => KeyShown::Integer(text.parse().ok()?),
        KeyType::String(_) | KeyType::Binary(_) => KeyShown::Bytes(bytes(text.strip_prefix('=')?)?),
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::model::{Config, StickTable as Declared, Stored};

    fn stored(what: DataType, elements: u8) -> Stored {
        Stored {
            what,
            elements,
            period: None,
        }
    }

    fn tables(declared: &[(&str, KeyType)]) -> StickTables {
        let declared = declared.iter().map(|(name, key)| Declared {
            name: (*name).into(),
            key: *key,
            size: 100,
            expire: Some(Duration::from_secs(60)),
            store: vec![
                stored(DataType::Gpc0, 1),
                stored(DataType::ConnCur, 1),
                stored(DataType::Gpt, 2),
            ],
            nopurge: false,
            bytes_factor: 1,
            server_key: Default::default(),
            span: Default::default(),
        });
        let mut config = Config::default();
        config.stick_tables.extend(declared);
        StickTables::new(&config, crate::clock::Clock::new())
    }

    fn written(tables: &StickTables, now: Duration) -> String {
        let mut file = Vec::new();
        write(tables, &[], now, &mut file).expect("room");
        String::from_utf8(file).expect("text")
    }

    const NOW: Duration = Duration::from_secs(1_000_000);

    fn some() -> (StickTables, String) {
        let all = tables(&[("a", KeyType::Ip), ("b", KeyType::String(20))]);
        let text = "tidegate-tables 1 1000000000\ntable a ip\n30000 192.0.2.1 gpc0=3 conn_cur=5 gpt[1]=7\n\
                    5000 192.0.2.2 gone=1\n- 192.0.2.3\ntable b string\n10000 =612062 gpc0=1\n";
        let mut sum = Context::new(&SHA256);
        sum.update(text.as_bytes());
        let text = format!("{text}end 4 {}\n", hex::upper(sum.finish().as_ref()));
        (all, text)
    }

    fn keys(tables: &StickTables) -> Vec<String> {
        let text = written(tables, NOW);
        let entries = text.lines().filter(|line| {
            !["tidegate", "table", "end"]
                .iter()
                .any(|it| line.starts_with(it))
        });
        let mut keys: Vec<String> = entries
            .map(|line| line.split_once(' ').expect("words").1.to_owned())
            .collect();
        keys.sort();
        keys
    }

    #[test]
    fn what_was_written_is_read_and_what_has_expired_is_not() {
        let (all, text) = some();
        assert_eq!(restore(&all, text.as_bytes(), NOW), Ok(vec![]));
        let expected = [
            "192.0.2.1 gpc0=3 gpt[1]=7",
            "192.0.2.2",
            "192.0.2.3",
            "=612062 gpc0=1",
        ];
        assert_eq!(keys(&all), expected);
        let again = written(&all, NOW);
        let (other, _) = some();
        assert_eq!(restore(&other, again.as_bytes(), NOW), Ok(vec![]));
        assert_eq!(keys(&other), expected);
        let (later, _) = some();
        let passed = NOW + Duration::from_secs(10);
        assert_eq!(restore(&later, text.as_bytes(), passed), Ok(vec![]));
        assert_eq!(keys(&later), ["192.0.2.1 gpc0=3 gpt[1]=7", "192.0.2.3"]);
    }

    #[test]
    fn tables_that_are_declared_otherwise_are_left_out() {
        let (_, text) = some();
        let other = tables(&[("a", KeyType::Integer), ("b", KeyType::String(2))]);
        assert_eq!(
            restore(&other, text.as_bytes(), NOW),
            Ok(vec!["a ip".to_owned()])
        );
        assert_eq!(keys(&other), ["=6120 gpc0=1"]);
    }

    #[test]
    fn a_file_that_is_damaged_anywhere_is_not_used() {
        let (all, text) = some();
        for cut in 0..text.len() {
            assert!(
                restore(&all, &text.as_bytes()[..cut], NOW).is_err(),
                "{cut}"
            );
            let mut changed = text.clone().into_bytes();
            changed[cut] ^= 1;
            assert!(restore(&all, &changed, NOW).is_err(), "{cut}");
        }
        let other = "another 9\n";
        let mut sum = Context::new(&SHA256);
        sum.update(other.as_bytes());
        let other = format!("{other}end 0 {}\n", hex::upper(sum.finish().as_ref()));
        let why = Err("it is of another version".to_owned());
        assert_eq!(restore(&all, other.as_bytes(), NOW), why);
        assert_eq!(keys(&all), Vec::<String>::new());
    }
}
