//! Stick tables as operators see and change them: `show|set|clear table` (management guide 9.3). Texts are
//! HAProxy's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use config::model::{DataType, KeyType};
use routing::rates::Millis;
use routing::sample::Value;
use routing::stick::{Entry, KeyShown, Removal};
pub use routing::stick::{Field, Filter, Operator};

use crate::export::Report;
use crate::handle::Handle;
use crate::stick::StickTable;
use crate::sticking;

/// A table of the running process.
pub struct TableView {
    table: Arc<StickTable>,
    handle: Handle,
}

/// Which entries are meant.
pub enum Selected {
    /// Those that all of these match: all, if there are none.
    Matching(Vec<Filter>),
    /// That of a key.
    Key(Value<'static>),
    /// The one at this place, as `show table` wrote it.
    At(u64),
}

/// Why something of a table cannot be had, in HAProxy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRefused {
    /// No such data type.
    UnknownData,
    /// It is not stored.
    NotStored,
    /// No such element of an array.
    OutOfRange,
    /// It is tracked.
    InUse,
}

impl TableRefused {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::UnknownData => "Unknown data type",
            Self::NotStored => "Data type not stored in this table",
            Self::OutOfRange => "index out of range in this data array",
            Self::InUse => "Entry currently in use, cannot remove",
        }
    }
}

/// Data in the order they are shown.
const ORDER: [DataType; 27] = [
    DataType::ServerId,
    DataType::Gpt0,
    DataType::Gpc0,
    DataType::Gpc0Rate,
    DataType::ConnCnt,
    DataType::ConnRate,
    DataType::ConnCur,
    DataType::SessCnt,
    DataType::SessRate,
    DataType::HttpReqCnt,
    DataType::HttpReqRate,
    DataType::HttpErrCnt,
    DataType::HttpErrRate,
    DataType::BytesInCnt,
    DataType::BytesInRate,
    DataType::BytesOutCnt,
    DataType::BytesOutRate,
    DataType::Gpc1,
    DataType::Gpc1Rate,
    DataType::ServerKey,
    DataType::HttpFailCnt,
    DataType::HttpFailRate,
    DataType::Gpt,
    DataType::Gpc,
    DataType::GpcRate,
    DataType::GlitchCnt,
    DataType::GlitchRate,
];

impl Handle {
    /// All stick tables, the last one declared first, as HAProxy lists them.
    pub fn tables(&self) -> Vec<TableView> {
        let site = self.shared().site.load();
        let tables = site.stick.all().iter().rev();
        let view = |table: &Arc<StickTable>| TableView {
            table: table.clone(),
            handle: self.clone(),
        };
        tables.map(view).collect()
    }
}

impl TableView {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.table.name
    }

    /// Its line in lists, and above its entries.
    pub fn title(&self) -> String {
        let StickTable { name, table, .. } = &*self.table;
        let (kind, size) = (table.key_type().name(), table.size());
        let used = self.table.used();
        format!("# table: {name}, type: {kind}, size:{size}, used:{used}\n")
    }

    /// What `data.NAME` or `data.NAME[INDEX]` is.
    pub fn field(&self, name: &str) -> Result<Field, TableRefused> {
        let (name, index) = match name.split_once('[') {
            Some((name, rest)) => {
                let index = rest.strip_suffix(']').and_then(|index| index.parse().ok());
                (name, index.ok_or(TableRefused::OutOfRange)?)
            }
            None => (name, 0),
        };
        let mut known = DataType::NAMED.iter();
        let (_, what) = known
            .find(|(known, _)| *known == name)
            .ok_or(TableRefused::UnknownData)?;
        let table = &self.table.table;
        table.field(*what, index).ok_or_else(|| {
            let stored = table.field(*what, 0).is_some();
            if stored {
                TableRefused::OutOfRange
            } else {
                TableRefused::NotStored
            }
        })
    }

    /// A key as it is typed; `None`: it is none of this table's type.
    pub fn key(&self, text: &str) -> Option<Value<'static>> {
        match self.table.table.key_type() {
            KeyType::Ip | KeyType::Ipv6 => text.parse().ok().map(Value::Addr),
            KeyType::Integer => text.parse().ok().map(Value::Int),
            KeyType::String(_) | KeyType::Binary(_) => Some(Value::made(text.as_bytes().to_vec())),
        }
    }

    /// Whether entries can be made from outside.
    pub fn takes_keys(&self) -> bool {
        !matches!(self.table.table.key_type(), KeyType::Binary(_))
    }

    /// Sets data of the entry of a key, which is made if it is not there; tells whether there was room.
    pub fn set(&self, key: &Value<'_>, data: &[(Field, u64)]) -> bool {
        self.table.set_fields(key, data)
    }

    /// Sets data of the entry at a place; `false`: there is none.
    pub fn set_at(&self, place: u64, data: &[(Field, u64)]) -> bool {
        match self.key_at(place) {
            Some(key) => self.set(&key, data),
            None => false,
        }
    }

    /// Takes entries away. `false`: there is nothing at that place.
    pub fn clear(&self, selected: &Selected) -> Result<bool, TableRefused> {
        let key = match selected {
            Selected::Matching(filters) => {
                self.table.clear(filters);
                return Ok(true);
            }
            Selected::Key(key) => Some(key.clone()),
            Selected::At(place) => self.key_at(*place),
        };
        let Some(key) = key else { return Ok(false) };
        match self.table.remove(&key) {
            Some(Removal::InUse) => Err(TableRefused::InUse),
            _ => Ok(true),
        }
    }

    fn key_at(&self, place: u64) -> Option<Value<'static>> {
        let (shard, position) = split(place);
        (shard < self.table.shard_count()).then_some(())?;
        let now = self.table.now();
        let shard = self.table.shard(shard);
        let entry = shard.entries(position, now).next()?;
        (entry.position() == position).then(|| value_of(&entry.key()))
    }

    /// The entries, with the table's line above them. `None`: the one that is meant is not there.
    pub fn show(self, selected: &Selected) -> Option<Box<dyn Report>> {
        let names = self.server_names();
        let mut text = self.title();
        let now = self.table.now();
        let key = match selected {
            Selected::Matching(filters) => {
                return Some(Box::new(Dump {
                    text: Some(text),
                    filters: filters.clone(),
                    view: self,
                    names,
                    shard: 0,
                    from: 0,
                }));
            }
            Selected::Key(key) => Some(key.clone()),
            Selected::At(place) => self.key_at(*place),
        };
        let found = self.table.table.with_key(&key?, |key| {
            let shard = self.table.shard(key.shard());
            let entry = shard.find(key, now)?;
            self.line(&entry, key.shard(), now, &names, &mut text);
            Some(())
        });
        found??;
        Some(Box::new(Once(Some(text))))
    }

    fn line(
        &self,
        entry: &Entry<'_>,
        shard: usize,
        now: Millis,
        names: &BTreeMap<u64, String>,
        out: &mut String,
    ) {
        let table = &self.table.table;
        let left = match entry.uses() {
            0 => entry.expires().map(|at| at.since(now)),
            _ => table.expire(),
        };
        let left = left.unwrap_or_default().as_millis();
        let place = joined(shard, entry.position());
        let (key, uses) = (shown(&entry.key(), table.key_type()), entry.uses());
        // Writing to a text cannot fail, here and below.
        let _ = write!(out, "{place:#x}: key={key} use={uses} exp={left} shard=0");
        for what in ORDER {
            let Some(stored) = table.stored().iter().find(|it| it.what == what) else {
                continue;
            };
            for index in 0..usize::from(stored.elements) {
                let Some(field) = table.field(what, index) else {
                    continue;
                };
                let value = entry.get(field, now);
                let _ = match what {
                    DataType::Gpt => write!(out, " gpt{index}="),
                    DataType::Gpc => write!(out, " gpc{index}="),
                    DataType::GpcRate => write!(out, " gpc{index}_rate"),
                    _ if stored.period.is_some() => write!(out, " {}", what.name()),
                    _ => write!(out, " {}=", what.name()),
                };
                if let Some(period) = stored.period {
                    let _ = write!(out, "({})=", period.millis());
                }
                let _ = match what {
                    DataType::ServerKey => {
                        write!(out, "{}", names.get(&value).map_or("-", String::as_str))
                    }
                    _ => write!(out, "{value}"),
                };
            }
        }
        out.push('\n');
    }

    /// What the numbers in `server_key` stand for: servers there are.
    fn server_names(&self) -> BTreeMap<u64, String> {
        if self.table.table.field(DataType::ServerKey, 0).is_none() {
            return BTreeMap::new();
        }
        let site = self.handle.shared().site.load();
        let servers = site.backends.iter().flat_map(|backend| backend.servers());
        let named = |server: Arc<crate::server::ServerState>| {
            let name = sticking::server_name(&self.table, &server);
            (sticking::server_key(&self.table, &server), name)
        };
        servers.map(named).collect()
    }
}

/// A place, as a number that looks like the pointer HAProxy shows: never 0.
fn joined(shard: usize, position: usize) -> u64 {
    (shard as u64 + 1) << 36 | (position as u64) << 4
}

fn split(place: u64) -> (usize, usize) {
    let shard = (place >> 36).wrapping_sub(1);
    (
        usize::try_from(shard).unwrap_or(usize::MAX),
        (place >> 4 & u64::from(u32::MAX)) as usize,
    )
}

pub(crate) fn value_of(key: &KeyShown) -> Value<'static> {
    match key {
        KeyShown::Ip(address) => Value::Addr((*address).into()),
        KeyShown::Ipv6(address) => Value::Addr((*address).into()),
        KeyShown::Integer(number) => Value::Int((*number).into()),
        KeyShown::Bytes(bytes) => Value::Bin(bytes.clone().into()),
    }
}

fn shown(key: &KeyShown, kind: KeyType) -> String {
    match key {
        KeyShown::Ip(address) => address.to_string(),
        KeyShown::Ipv6(address) => address.to_string(),
        KeyShown::Integer(number) => number.to_string(),
        KeyShown::Bytes(bytes) if matches!(kind, KeyType::Binary(_)) => routing::hex::upper(bytes),
        KeyShown::Bytes(bytes) => escaped(bytes),
    }
}

/// A text that stays one word on one line, whatever a client has put into it.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            0x1b => text.push_str("\\e"),
            b' ' | b'\\' | b'=' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            0x21..=0x7e => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\x{other:02x}");
            }
        }
    }
    text
}

/// A text that is there.
struct Once(Option<String>);

impl Report for Once {
    fn step(&mut self, out: &mut String) -> bool {
        if let Some(text) = self.0.take() {
            out.push_str(&text);
        }
        false
    }
}

/// Entries that are written before the lock of their shard is given back.
const ENTRIES_A_STEP: usize = 64;

/// All entries, some at a time, so that nobody waits for the reader.
struct Dump {
    text: Option<String>,
    view: TableView,
    filters: Vec<Filter>,
    names: BTreeMap<u64, String>,
    shard: usize,
    from: usize,
}

impl Report for Dump {
    fn step(&mut self, out: &mut String) -> bool {
        if let Some(text) = self.text.take() {
            out.push_str(&text);
        }
        let table = &self.view.table;
        if self.shard >= table.shard_count() {
            return false;
        }
        let now = table.now();
        let shard = table.shard(self.shard);
        let mut seen = 0;
        for entry in shard.entries(self.from, now).take(ENTRIES_A_STEP) {
            seen += 1;
            self.from = entry.position() + 1;
            if entry.matches(&self.filters, now) {
                self.view.line(&entry, self.shard, now, &self.names, out);
            }
        }
        if seen < ENTRIES_A_STEP {
            self.shard += 1;
            self.from = 0;
        }
        true
    }
}
