//! An entry of a table: its key, its data, and whether filters match it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::layout::{Field, Kind};
use crate::rates::{Millis, Rate};
use config::model::KeyType;

/// An entry, as it is.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'t> {
    pub(super) position: usize,
    pub(super) kind: KeyType,
    pub(super) key: &'t [u64],
    pub(super) key_len: usize,
    pub(super) uses: u32,
    pub(super) expires: Option<Millis>,
    pub(super) data: &'t [u64],
}

/// A key, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyShown {
    /// Of type `ip`.
    Ip(Ipv4Addr),
    /// Of type `ipv6`.
    Ipv6(Ipv6Addr),
    /// Of type `integer`.
    Integer(u32),
    /// Of type `string`, or of type `binary` in its whole length.
    Bytes(Vec<u8>),
}

impl Entry<'_> {
    /// Its number in its shard, where to go on from ([`Shard::entries`](super::Shard::entries)) is one more.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Its key.
    pub fn key(&self) -> KeyShown {
        let mut bytes: Vec<u8> = self
            .key
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        match self.kind {
            KeyType::Ip => KeyShown::Ip(Ipv4Addr::from_bits(self.number())),
            KeyType::Integer => KeyShown::Integer(self.number()),
            KeyType::Ipv6 => {
                let octets = bytes.first_chunk::<16>().copied().unwrap_or_default();
                KeyShown::Ipv6(Ipv6Addr::from(octets))
            }
            KeyType::String(_) => {
                bytes.truncate(self.key_len);
                KeyShown::Bytes(bytes)
            }
            KeyType::Binary(len) => {
                bytes.truncate(usize::from(len));
                KeyShown::Bytes(bytes)
            }
        }
    }

    /// The first four bytes of the key.
    fn number(&self) -> u32 {
        self.key
            .first()
            .map_or(0, |word| (*word as u32).swap_bytes())
    }

    /// How many track it.
    pub fn uses(&self) -> u32 {
        self.uses
    }

    /// When it expires; `None`: never, or not while it is tracked.
    pub fn expires(&self) -> Option<Millis> {
        self.expires.filter(|_| self.uses == 0)
    }

    pub(super) fn is_expired(&self, now: Millis) -> bool {
        self.expires().is_some_and(|at| at <= now)
    }

    /// DataType is kept there, a rate as it is by now.
    pub fn get(&self, field: Field, now: Millis) -> u64 {
        read(self.data, field, now)
    }

    /// Whether all of these do.
    pub fn matches(&self, filters: &[Filter], now: Millis) -> bool {
        filters.iter().all(|filter| {
            let (is, value) = (self.get(filter.field, now), filter.value);
            match filter.operator {
                Operator::Equal => is == value,
                Operator::NotEqual => is != value,
                Operator::Less => is < value,
                Operator::LessOrEqual => is <= value,
                Operator::Greater => is > value,
                Operator::GreaterOrEqual => is >= value,
            }
        })
    }
}

/// The data of an entry, to be changed.
#[derive(Debug)]
pub struct EntryMut<'t> {
    data: &'t mut [u64],
}

impl<'t> EntryMut<'t> {
    pub(super) fn new(data: &'t mut [u64]) -> EntryMut<'t> {
        EntryMut { data }
    }

    /// What is kept there, a rate as it is by now.
    pub fn get(&self, field: Field, now: Millis) -> u64 {
        read(self.data, field, now)
    }

    /// So much more. Counters of 32 bits begin again at 0 behind their largest value, as HAProxy's do; a rate
    /// stays there.
    pub fn add(&mut self, field: Field, count: u64, now: Millis) {
        self.change(
            field,
            |is| is.wrapping_add(count),
            |rate, period| rate.add(u32::try_from(count).unwrap_or(u32::MAX), period, now),
        );
    }

    /// So much less, and not below 0 (`conn_cur`). Does nothing to a rate.
    pub fn subtract(&mut self, field: Field, count: u64) {
        self.change(field, |is| is.saturating_sub(count), |_, _| {});
    }

    /// So much from now on; a rate as if it had just happened.
    pub fn set(&mut self, field: Field, count: u64, now: Millis) {
        self.change(
            field,
            |_| count,
            |rate, _| *rate = Rate::starting_with(u32::try_from(count).unwrap_or(u32::MAX), now),
        );
    }

    fn change(
        &mut self,
        field: Field,
        of_count: impl FnOnce(u64) -> u64,
        of_rate: impl FnOnce(&mut Rate, crate::rates::Period),
    ) {
        let Some(words) = self.data.get_mut(field.words()) else {
            return;
        };
        match (field.kind(), words) {
            (Kind::Count(mask), [count]) => *count = of_count(*count) & mask,
            (Kind::Rate(period), [begun, counts]) => {
                let mut rate = Rate::from_words([*begun, *counts]);
                of_rate(&mut rate, period);
                [*begun, *counts] = rate.to_words();
            }
            _ => {}
        }
    }
}

fn read(data: &[u64], field: Field, now: Millis) -> u64 {
    let Some(words) = data.get(field.words()) else {
        return 0;
    };
    match (field.kind(), words) {
        (Kind::Count(_), [count]) => *count,
        (Kind::Rate(period), [begun, counts]) => {
            u64::from(Rate::from_words([*begun, *counts]).read(period, now))
        }
        _ => 0,
    }
}

/// Filters of one `show table`, at most (management guide, "show table": four by default).
pub const FILTERS_MAX: usize = 4;

/// `data.<type> <operator> <value>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// DataType is compared.
    pub field: Field,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// How a filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `eq`
    Equal,
    /// `ne`
    NotEqual,
    /// `lt`
    Less,
    /// `le`
    LessOrEqual,
    /// `gt`
    Greater,
    /// `ge`
    GreaterOrEqual,
}

impl Operator {
    /// By its name in commands.
    pub fn named(name: &str) -> Option<Operator> {
        Some(match name {
            "eq" => Operator::Equal,
            "ne" => Operator::NotEqual,
            "lt" => Operator::Less,
            "le" => Operator::LessOrEqual,
            "gt" => Operator::Greater,
            "ge" => Operator::GreaterOrEqual,
            _ => return None,
        })
    }
}
