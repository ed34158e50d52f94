//! What rules and samples ask of entries and do to them (manual 7.3.3, 4.4).

use std::time::Duration;

use config::expr::{TableAsk, TableRef};
use config::model::{Amount, CounterChange, DataType, GeneralSlot, TableId, Track};

use super::{Entry, EntryMut, Key, KeyShown, Sample, Table};
use crate::rates::Millis;
use crate::sample::{self, Facts};
use crate::value::Value;
use config::model::KeyType;

/// What a decision sees of the stick tables, and does to them. Tables are shared between all sessions: each
/// call finds them as they are then.
pub trait Tables {
    /// What is asked of the entry that a counter tracks, or of the one of the same key in another table.
    /// `None`: it tracks none, or that is not kept there.
    fn ask_tracked(
        &self,
        counter: u8,
        elsewhere: Option<&TableRef>,
        ask: TableAsk,
    ) -> Option<Value<'static>>;

    /// What is asked of the entry of a key. Outer `None`: no key of this table can be made of it; inner: there
    /// is no entry.
    #[allow(clippy::type_complexity, reason = "two ways of there being nothing")]
    fn ask_key(
        &self,
        table: &TableRef,
        key: &Value<'_>,
        ask: TableAsk,
    ) -> Option<Option<Value<'static>>>;

    /// `track-sc0` and its like.
    fn track(&self, counter: u8, table: &TableRef, key: &Value<'_>, status: Option<u16>);

    /// `sc-inc-gpc` and its like.
    fn change(&self, counter: u8, slot: GeneralSlot, by: u32);

    /// How many entries a table has, and how many it has room for.
    fn count(&self, _: &TableRef) -> Option<(usize, usize)> {
        None
    }

    /// Whether the counter tracks anything already.
    fn is_tracking(&self, counter: u8) -> bool;
}

/// No tables at all.
#[derive(Debug, Clone, Copy)]
pub struct NoTables;

impl Tables for NoTables {
    fn ask_tracked(&self, _: u8, _: Option<&TableRef>, _: TableAsk) -> Option<Value<'static>> {
        None
    }

    fn ask_key(&self, _: &TableRef, _: &Value<'_>, _: TableAsk) -> Option<Option<Value<'static>>> {
        None
    }

    fn track(&self, _: u8, _: &TableRef, _: &Value<'_>, _: Option<u16>) {}

    fn change(&self, _: u8, _: GeneralSlot, _: u32) {}

    fn is_tracking(&self, _: u8) -> bool {
        false
    }
}

/// Carries out a `track-sc` rule. What tracks already goes on doing so.
pub fn track(rule: &Track, facts: &Facts<'_>) {
    let tables = facts.memory.tables();
    if tables.is_tracking(rule.counter) {
        return;
    }
    if let Some(key) = sample::eval(&rule.key, facts) {
        let status = facts.response.map(|head| head.status);
        tables.track(rule.counter, &rule.table, &key, status);
    }
}

/// Carries out `sc-inc-gpc` and its like. One that comes to no number does nothing.
pub fn change(rule: &CounterChange, facts: &Facts<'_>) {
    let by = match &rule.by {
        Amount::Number(number) => Some(*number),
        Amount::Sample(sample) => {
            let value = sample::eval(sample, facts).and_then(|value| value.to_int());
            value.and_then(|number| u32::try_from(number).ok())
        }
    };
    if let Some(by) = by {
        facts.memory.tables().change(rule.counter, rule.slot, by);
    }
}

/// Where time is needed: what is left of a table's `expire`, and since when.
fn idle(table: &Table, left: Option<Duration>) -> Option<i64> {
    let idle = table.expire?.saturating_sub(left?);
    i64::try_from(idle.as_millis()).ok()
}

impl Table {
    /// What an entry tells; `None`: that is not kept.
    pub fn tell(&self, entry: &Entry<'_>, ask: TableAsk, now: Millis) -> Option<Value<'static>> {
        let data = |what, index: u8| {
            let field = self.field(what, index.into())?;
            let value = entry.get(field, now);
            Some(match what {
                DataType::BytesInRate | DataType::BytesOutRate => value * self.bytes_factor,
                _ => value,
            })
        };
        let number = |value: u64| Some(Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
        let left = || match entry.uses() {
            0 => entry.expires().map(|at| at.since(now)),
            _ => self.expire,
        };
        match ask {
            TableAsk::Data(what, index) => number(data(what, index)?),
            TableAsk::Kilobytes(what) => number(data(what, 0)? >> 10),
            TableAsk::Tracked => Some(Value::Bool(true)),
            TableAsk::Present => Some(Value::Bool(true)),
            TableAsk::Trackers => number(entry.uses().into()),
            TableAsk::Key => Some(match entry.key() {
                KeyShown::Ip(address) => Value::Addr(address.into()),
                KeyShown::Ipv6(address) => Value::Addr(address.into()),
                KeyShown::Integer(number) => Value::Int(number.into()),
                KeyShown::Bytes(bytes) if matches!(self.key, KeyType::Binary(_)) => {
                    Value::Bin(bytes.into())
                }
                KeyShown::Bytes(bytes) => Value::made(bytes),
            }),
            TableAsk::Expires => number(u64::try_from(left()?.as_millis()).ok()?),
            TableAsk::Idle => Some(Value::Int(idle(self, left())?)),
            TableAsk::Increase(..) | TableAsk::Clear(..) | TableAsk::CountConnection => None,
        }
    }

    /// What an entry tells that is not there: nothing happened yet.
    pub fn tell_of_nothing(&self, ask: TableAsk) -> Option<Value<'static>> {
        match ask {
            TableAsk::Present | TableAsk::Tracked => Some(Value::Bool(false)),
            TableAsk::Key | TableAsk::Expires | TableAsk::Idle => None,
            _ => Some(Value::Int(0)),
        }
    }

    /// What an entry tells while it is changed by the question.
    pub fn turn(
        &self,
        entry: &mut EntryMut<'_>,
        ask: TableAsk,
        now: Millis,
    ) -> Option<Value<'static>> {
        let number = |value: u64| Some(Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
        let add = |entry: &mut EntryMut<'_>, what, index: u8| {
            let field = self.field(what, index.into())?;
            entry.add(field, 1, now);
            Some(entry.get(field, now))
        };
        match ask {
            TableAsk::Increase(count, rate, index) => {
                let rate = add(entry, rate, index);
                number(add(entry, count, index).or(rate)?)
            }
            TableAsk::Clear(count, index) => {
                let field = self.field(count, index.into())?;
                let before = entry.get(field, now);
                entry.set(field, 0, now);
                number(before)
            }
            TableAsk::CountConnection => number(add(entry, DataType::ConnCnt, 0)?),
            _ => None,
        }
    }

    /// What a rule does to a counter or tag. Nothing happens where it is not kept.
    pub fn change(&self, entry: &mut EntryMut<'_>, slot: GeneralSlot, by: u32, now: Millis) {
        let (count, rate, index) = match slot {
            GeneralSlot::Counter(index) => (DataType::Gpc, DataType::GpcRate, index),
            GeneralSlot::Counter0 => (DataType::Gpc0, DataType::Gpc0Rate, 0),
            GeneralSlot::Counter1 => (DataType::Gpc1, DataType::Gpc1Rate, 0),
            GeneralSlot::Tag(index) => return self.tag(entry, DataType::Gpt, index, by, now),
            GeneralSlot::Tag0 => return self.tag(entry, DataType::Gpt0, 0, by, now),
        };
        for what in [count, rate] {
            if let Some(field) = self.field(what, index.into()) {
                entry.add(field, by.into(), now);
            }
        }
    }

    fn tag(&self, entry: &mut EntryMut<'_>, what: DataType, index: u8, value: u32, now: Millis) {
        if let Some(field) = self.field(what, index.into()) {
            entry.set(field, value.into(), now);
        }
    }

    /// Counts a rate, a count, and both where both are kept.
    pub fn count(&self, entry: &mut EntryMut<'_>, counted: Counted, count: u64, now: Millis) {
        let [total, rate] = self.counted[counted as usize];
        if let Some(field) = total {
            entry.add(field, count, now);
        }
        if let Some(field) = rate {
            // A part of a block counts as one (manual 11.1, "brates-factor").
            let count = match counted {
                Counted::BytesIn | Counted::BytesOut => count.div_ceil(self.bytes_factor),
                _ => count,
            };
            entry.add(field, count, now);
        }
    }

    /// Whether anything of this is kept.
    pub fn counts(&self, counted: Counted) -> bool {
        self.counted[counted as usize].iter().any(Option::is_some)
    }

    /// A connection more, or less, that tracks the entry.
    pub fn connected(&self, entry: &mut EntryMut<'_>, more: bool, now: Millis) {
        let Some(open) = self.field(DataType::ConnCur, 0) else {
            return;
        };
        match more {
            true => entry.add(open, 1, now),
            false => entry.subtract(open, 1),
        }
    }

    /// Does something with the key that a value is in this table, cast to its type as samples are (manual
    /// 7.1); `None` where there is no such cast.
    pub fn with_key<R>(&self, value: &Value<'_>, then: impl FnOnce(&Key<'_>) -> R) -> Option<R> {
        let key = |sample: Sample<'_>| self.key(sample).as_ref().map(then);
        match self.key {
            KeyType::Ip | KeyType::Ipv6 => key(Sample::Ip(value.to_addr()?)),
            KeyType::Integer => key(Sample::Integer(value.to_int()?)),
            KeyType::String(_) => key(Sample::Bytes(&value.to_text())),
            KeyType::Binary(_) => match value {
                Value::Addr(std::net::IpAddr::V4(address)) => key(Sample::Bytes(&address.octets())),
                Value::Addr(std::net::IpAddr::V6(address)) => key(Sample::Bytes(&address.octets())),
                Value::Int(number) => key(Sample::Bytes(&number.to_be_bytes())),
                Value::Bin(bytes) => key(Sample::Bytes(bytes)),
                other => key(Sample::Bytes(&other.to_text())),
            },
        }
    }
}

/// What is counted by itself of whoever is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are the manual's, which says what each is"
)]
pub enum Counted {
    Connections,
    Sessions,
    Requests,
    Errors,
    Failures,
    BytesIn,
    BytesOut,
}

impl Counted {
    /// All of them, with what is kept of each: how many, and how many lately.
    pub(super) const ALL: [(DataType, DataType); 7] = [
        (DataType::ConnCnt, DataType::ConnRate),
        (DataType::SessCnt, DataType::SessRate),
        (DataType::HttpReqCnt, DataType::HttpReqRate),
        (DataType::HttpErrCnt, DataType::HttpErrRate),
        (DataType::HttpFailCnt, DataType::HttpFailRate),
        (DataType::BytesInCnt, DataType::BytesInRate),
        (DataType::BytesOutCnt, DataType::BytesOutRate),
    ];
}

/// Which table is meant where a rule of a `defaults` section means that of whoever inherits it.
pub fn meant(table: &TableRef, own: impl FnOnce() -> Option<TableId>) -> Option<TableId> {
    table.id().or_else(own)
}

#[cfg(test)]
mod tests {
    use config::model::{DataType as D, Period, StickTable, Stored};
    use std::time::Duration;

    use super::*;

    fn table(store: &[D]) -> Table {
        let period = Period::new(Duration::from_secs(10));
        let stored = |what: &D| Stored {
            what: *what,
            elements: if what.is_array() { 2 } else { 1 },
            period: period.filter(|_| what.is_rate()),
        };
        let declared = StickTable {
            name: "t".into(),
            key: KeyType::Ip,
            size: 10,
            expire: Some(Duration::from_secs(60)),
            nopurge: false,
            store: store.iter().map(stored).collect(),
            bytes_factor: 1000,
            server_key: Default::default(),
            span: Default::default(),
        };
        Table::new(&declared, 7).unwrap()
    }

    /// What is told when these are asked one after the other, a second apart, of one entry.
    #[track_caller]
    fn check(store: &[D], asks: &[(TableAsk, Option<i64>)]) {
        let table = table(store);
        let mut shards = table.shards();
        let address = Value::Addr(std::net::IpAddr::from([192, 0, 2, 1]));
        let mut now = Millis(0);
        for (ask, expected) in asks {
            let told = table.with_key(&address, |key| {
                let shard = &mut shards[key.shard()];
                match ask.changes() {
                    true => table.turn(&mut shard.refresh(key, now)?, *ask, now),
                    false => match shard.find(key, now) {
                        Some(entry) => table.tell(&entry, *ask, now),
                        None => table.tell_of_nothing(*ask),
                    },
                }
            });
            let told = told.flatten().and_then(|value| value.to_int());
            assert_eq!(told, *expected, "{ask:?}");
            now = Millis(now.0 + 1000);
        }
    }

    #[test]
    fn what_is_not_there_has_done_nothing_and_asking_changes_what_says_so() {
        let increase = TableAsk::Increase(D::Gpc0, D::Gpc0Rate, 0);
        check(
            &[D::Gpc0, D::Gpc0Rate],
            &[
                (TableAsk::Present, Some(0)),
                (TableAsk::Data(D::Gpc0, 0), Some(0)),
                (TableAsk::Expires, None),
                (TableAsk::Trackers, Some(0)),
                (increase, Some(1)),
                (increase, Some(2)),
                (TableAsk::Present, Some(1)),
                (TableAsk::Data(D::Gpc0Rate, 0), Some(2)),
                (TableAsk::Expires, Some(57_000)),
                (TableAsk::Idle, Some(4000)),
                (TableAsk::Clear(D::Gpc0, 0), Some(2)),
                (TableAsk::Data(D::Gpc0, 0), Some(0)),
                (TableAsk::Data(D::ConnCnt, 0), None),
                (TableAsk::CountConnection, None),
            ],
        );
        // A rate alone is counted, and told.
        check(&[D::Gpc0Rate], &[(increase, Some(1)), (increase, Some(2))]);
        check(&[D::ConnCnt], &[(TableAsk::CountConnection, Some(1))]);
    }

    #[test]
    fn the_first_two_of_an_array_have_names_of_their_own() {
        check(
            &[D::Gpc, D::GpcRate],
            &[
                (TableAsk::Increase(D::Gpc1, D::Gpc1Rate, 0), Some(1)),
                (TableAsk::Increase(D::Gpc, D::GpcRate, 1), Some(2)),
                (TableAsk::Data(D::Gpc, 1), Some(2)),
                (TableAsk::Data(D::Gpc1Rate, 0), Some(2)),
                (TableAsk::Increase(D::Gpc, D::GpcRate, 2), None),
            ],
        );
    }

    #[test]
    fn bytes_are_counted_one_by_one_and_their_rate_in_blocks() {
        let table = table(&[D::BytesInCnt, D::BytesInRate]);
        let address = Value::Addr(std::net::IpAddr::from([192, 0, 2, 1]));
        let mut shards = table.shards();
        let (count, rate, kilobytes) = table
            .with_key(&address, |key| {
                let shard = &mut shards[key.shard()];
                let mut entry = shard.refresh(key, Millis(0)).unwrap();
                table.count(&mut entry, Counted::BytesIn, 2500, Millis(0));
                let entry = shard.find(key, Millis(0)).unwrap();
                let tell = |ask| table.tell(&entry, ask, Millis(0)).unwrap().to_int();
                (
                    tell(TableAsk::Data(D::BytesInCnt, 0)),
                    tell(TableAsk::Data(D::BytesInRate, 0)),
                    tell(TableAsk::Kilobytes(D::BytesInCnt)),
                )
            })
            .unwrap();
        assert_eq!((count, rate, kilobytes), (Some(2500), Some(3000), Some(2)));
    }
}
