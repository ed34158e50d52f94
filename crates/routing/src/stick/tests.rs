//! DataType a table promises: by cases, and beside a model that is a plain list.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::rates::{Millis, Period};

fn counter(what: DataType) -> Stored {
    Stored {
        what,
        elements: 1,
        period: None,
    }
}

fn rate(what: DataType, millis: u64) -> Stored {
    Stored {
        period: Period::new(Duration::from_millis(millis)),
        ..counter(what)
    }
}

fn array(what: DataType, elements: u8) -> Stored {
    Stored {
        elements,
        ..counter(what)
    }
}

fn settings(key: KeyType, size: u32) -> Settings {
    Settings {
        name: "clients".into(),
        bytes_factor: 1,
        server_key: Default::default(),
        span: Default::default(),
        key,
        size,
        expire: Some(Duration::from_secs(60)),
        nopurge: false,
        store: vec![
            counter(DataType::HttpReqCnt),
            rate(DataType::ConnRate, 10_000),
        ],
    }
}

/// A table of one shard.
struct Single {
    table: Table,
    shard: Shard,
}

impl Single {
    fn new(settings: &Settings) -> Single {
        let table = Table::new(settings, 7).unwrap();
        let mut shards = table.shards();
        assert_eq!(shards.len(), 1);
        Single {
            shard: shards.remove(0),
            table,
        }
    }

    fn field(&self, what: DataType) -> Field {
        self.table.field(what, 0).unwrap()
    }

    /// One request of this client; what is counted by now.
    fn request(&mut self, client: &str, now: u64) -> Option<u64> {
        let (field, now) = (self.field(DataType::HttpReqCnt), Millis(now));
        let key = self.table.key(Sample::Bytes(client.as_bytes())).unwrap();
        self.shard.refresh(&key, now)?.add(field, 1, now);
        Some(self.shard.find(&key, now)?.get(field, now))
    }

    fn requests(&self, client: &str, now: u64) -> Option<u64> {
        let key = self.table.key(Sample::Bytes(client.as_bytes())).unwrap();
        let entry = self.shard.find(&key, Millis(now))?;
        Some(entry.get(self.field(DataType::HttpReqCnt), Millis(now)))
    }

    fn track(&mut self, client: &str, now: u64) -> Option<Reference> {
        let key = self.table.key(Sample::Bytes(client.as_bytes())).unwrap();
        self.shard.track(&key, Millis(now))
    }

    fn remove(&mut self, client: &str, now: u64) -> Removal {
        let key = self.table.key(Sample::Bytes(client.as_bytes())).unwrap();
        self.shard.remove(&key, Millis(now))
    }

    fn clients(&self, now: u64) -> Vec<String> {
        let shown = self
            .shard
            .entries(0, Millis(now))
            .map(|entry| match entry.key() {
                KeyShown::Bytes(text) => String::from_utf8(text).unwrap(),
                other => panic!("{other:?} in a table of strings"),
            });
        let mut clients: Vec<String> = shown.collect();
        clients.sort();
        clients
    }
}

fn clients(size: u32) -> Single {
    Single::new(&settings(KeyType::String(16), size))
}

#[test]
fn an_entry_lives_on_from_when_it_was_last_refreshed() {
    let mut table = clients(10);
    assert_eq!(table.request("a", 0), Some(1));
    assert_eq!(table.request("a", 59_999), Some(2));
    assert_eq!(table.requests("a", 119_998), Some(2));
    // Looking has not refreshed it.
    assert_eq!(table.requests("a", 119_999), None);
    // It begins anew, with nothing of what was.
    assert_eq!(table.request("a", 120_000), Some(1));
    assert_eq!(table.shard.used(), 1);
}

#[test]
fn a_full_table_forgets_what_would_expire_first() {
    let mut table = clients(3);
    for (client, now) in [("a", 0), ("b", 1), ("c", 2), ("a", 3), ("d", 4)] {
        table.request(client, now);
    }
    assert_eq!(table.clients(4), ["a", "c", "d"]);
    assert_eq!(table.shard.used(), 3);
}

#[test]
fn nopurge_takes_nothing_new_until_something_expires() {
    let mut table = Single::new(&Settings {
        nopurge: true,
        ..settings(KeyType::String(16), 2)
    });
    table.request("a", 0);
    table.request("b", 10_000);
    assert_eq!(table.request("c", 59_999), None);
    assert_eq!(table.request("b", 59_999), Some(2));
    assert_eq!(table.request("c", 60_000), Some(1));
    assert_eq!(table.clients(60_000), ["b", "c"]);
}

#[test]
fn without_expire_entries_stay_until_there_is_no_room() {
    let mut table = Single::new(&Settings {
        expire: None,
        ..settings(KeyType::String(16), 1)
    });
    table.request("a", 0);
    assert_eq!(table.requests("a", u64::MAX), Some(1));
    assert_eq!(table.shard.next_expiry(), None);
    table.request("b", 1);
    assert_eq!(table.clients(1), ["b"]);
}

#[test]
fn what_is_tracked_neither_expires_nor_makes_room_nor_can_be_cleared() {
    let mut table = clients(2);
    let tunnel = table.track("a", 0).unwrap();
    let field = table.field(DataType::HttpReqCnt);
    table.shard.tracked_mut(&tunnel).add(field, 5, Millis(0));
    for now in 1..100 {
        assert_eq!(table.request(&format!("other-{now}"), now), Some(1));
    }
    let hours = 9 * 3_600_000;
    assert_eq!(table.requests("a", hours), Some(5));
    assert_eq!(table.remove("a", hours), Removal::InUse);
    assert_eq!(
        table.shard.clear(&[], Millis(hours)),
        0,
        "the other one has expired"
    );
    assert_eq!(table.clients(hours), ["a"]);
    // Its time begins when it is let go.
    table.shard.release(tunnel, Millis(hours));
    assert_eq!(table.requests("a", hours + 59_999), Some(5));
    assert_eq!(table.requests("a", hours + 60_000), None);
}

#[test]
fn an_entry_is_let_go_by_the_last_who_tracks_it() {
    let mut table = clients(1);
    let (first, second) = (table.track("a", 0).unwrap(), table.track("a", 1).unwrap());
    assert_eq!(table.shard.tracked(&first).uses(), 2);
    table.shard.release(first, Millis(2));
    assert_eq!(table.request("b", 3), None, "there is no room beside it");
    table.shard.release(second, Millis(3));
    assert_eq!(table.request("b", 4), Some(1));
    assert_eq!(table.clients(4), ["b"]);
}

#[test]
fn entries_are_removed_cleared_by_filters_and_expired_in_steps() {
    let mut table = clients(100);
    for n in 0..10u64 {
        for _ in 0..=n {
            table.request(&format!("client-{n}"), n);
        }
    }
    assert_eq!(table.remove("client-4", 10), Removal::Removed);
    assert_eq!(table.remove("client-4", 10), Removal::Absent);
    let filter = |operator, value| Filter {
        field: table.field(DataType::HttpReqCnt),
        operator,
        value,
    };
    let many = [filter(Operator::Greater, 6), filter(Operator::NotEqual, 9)];
    let none = [filter(Operator::Less, 1)];
    assert_eq!(table.shard.clear(&many, Millis(10)), 3);
    assert_eq!(table.shard.clear(&none, Millis(10)), 0);
    assert_eq!(
        table.clients(10),
        [
            "client-0", "client-1", "client-2", "client-3", "client-5", "client-8"
        ]
    );
    assert_eq!(table.shard.next_expiry(), Some(Millis(60_000)));
    assert_eq!(table.shard.expire(Millis(60_002), 2), 2);
    assert_eq!(table.shard.used(), 4);
    assert_eq!(table.shard.expire(Millis(70_000), 100), 4);
    assert_eq!((table.shard.used(), table.shard.next_expiry()), (0, None));
}

#[test]
fn walking_through_in_pages_meets_every_entry_once() {
    let mut table = clients(1000);
    for n in 0..1000u64 {
        table.request(&format!("{n}"), n);
    }
    let (mut from, mut seen) = (0, Vec::new());
    loop {
        let page: Vec<usize> = table
            .shard
            .entries(from, Millis(1000))
            .take(7)
            .map(|entry| entry.position())
            .collect();
        let Some(last) = page.last() else { break };
        from = last + 1;
        seen.extend(page);
        // Meanwhile somebody else comes, who has been there.
        table.request(&format!("{}", from % 1000), 1000);
    }
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_clock_that_goes_backwards_shortens_no_life() {
    let mut table = clients(10);
    table.request("a", 100_000);
    table.request("b", 50_000);
    assert_eq!(table.shard.next_expiry(), Some(Millis(160_000)));
    assert_eq!(table.clients(159_999), ["a", "b"]);
}

/// A sample as a key of this type, as it is shown; `None`: it is none.
#[track_caller]
fn check_key(kind: KeyType, sample: Sample<'_>, shown: Option<KeyShown>) {
    let mut table = Single::new(&settings(kind, 10));
    let key = table.table.key(sample);
    let is = key.map(|key| {
        table.shard.refresh(&key, Millis(0)).unwrap();
        table.shard.find(&key, Millis(0)).unwrap().key()
    });
    assert_eq!(is, shown);
}

#[test]
fn samples_become_keys_of_the_tables_type() {
    let ip = |text: &str| Sample::Ip(text.parse::<IpAddr>().unwrap());
    let v4 = |text: &str| Some(KeyShown::Ip(text.parse().unwrap()));
    let v6 = |text: &str| Some(KeyShown::Ipv6(text.parse().unwrap()));
    let bytes = |text: &[u8]| Some(KeyShown::Bytes(text.to_vec()));
    check_key(KeyType::Ip, ip("192.0.2.1"), v4("192.0.2.1"));
    check_key(KeyType::Ip, ip("::ffff:192.0.2.1"), v4("192.0.2.1"));
    check_key(KeyType::Ip, ip("2001:db8::1"), None);
    check_key(KeyType::Ip, Sample::Integer(5), None);
    check_key(KeyType::Ipv6, ip("192.0.2.1"), v6("::ffff:192.0.2.1"));
    check_key(KeyType::Ipv6, ip("2001:db8::1"), v6("2001:db8::1"));
    check_key(
        KeyType::Integer,
        Sample::Integer(5),
        Some(KeyShown::Integer(5)),
    );
    check_key(
        KeyType::Integer,
        Sample::Integer((1 << 32) + 5),
        Some(KeyShown::Integer(5)),
    );
    check_key(KeyType::String(4), Sample::Bytes(b"abcdef"), bytes(b"abcd"));
    check_key(KeyType::String(4), Sample::Bytes(b"a\0"), bytes(b"a\0"));
    check_key(KeyType::String(4), Sample::Bytes(b""), bytes(b""));
    check_key(
        KeyType::String(100),
        Sample::Bytes(b"123456789"),
        bytes(b"123456789"),
    );
    check_key(KeyType::Binary(4), Sample::Bytes(b"ab"), bytes(b"ab\0\0"));
    check_key(KeyType::Binary(4), Sample::Bytes(b"abcdef"), bytes(b"abcd"));
}

#[test]
fn keys_that_differ_only_in_what_is_cut_or_filled_are_one() {
    for (kind, one, other, same) in [
        (KeyType::String(4), "abcdef", "abcdxy", true),
        (KeyType::String(8), "ab", "ab\0", false),
        (KeyType::Binary(8), "ab", "ab\0", true),
        (KeyType::Binary(2), "ab", "abc", true),
    ] {
        let mut table = Single::new(&settings(kind, 10));
        for text in [one, other] {
            let key = table.table.key(Sample::Bytes(text.as_bytes())).unwrap();
            table.shard.refresh(&key, Millis(0)).unwrap();
        }
        assert_eq!(table.shard.used() == 1, same, "{kind:?} {one:?} {other:?}");
    }
}

#[test]
fn every_data_type_is_kept_by_itself() {
    let singles = DataType::NAMED.map(|(_, what)| what);
    let legacy = [
        DataType::Gpc0,
        DataType::Gpc1,
        DataType::Gpc0Rate,
        DataType::Gpc1Rate,
        DataType::Gpt0,
    ];
    let store: Vec<Stored> = singles
        .into_iter()
        .filter(|what| !legacy.contains(what))
        .map(|what| Stored {
            what,
            elements: if what.is_array() { 3 } else { 1 },
            period: what
                .is_rate()
                .then(|| Period::new(Duration::from_secs(10)).unwrap()),
        })
        .collect();
    let mut table = Single::new(&Settings {
        store: store.clone(),
        ..settings(KeyType::Integer, 10)
    });
    let fields: Vec<Field> = store
        .iter()
        .flat_map(|one| (0..usize::from(one.elements)).map(|index| (one.what, index)))
        .map(|(what, index)| table.table.field(what, index).unwrap())
        .collect();
    let key = table.table.key(Sample::Integer(1)).unwrap();
    let now = Millis(5);
    let mut entry = table.shard.refresh(&key, now).unwrap();
    for (value, field) in (1..).zip(&fields) {
        entry.set(*field, 10, now);
        entry.add(*field, value, now);
    }
    let entry = table.shard.find(&key, now).unwrap();
    let kept: Vec<u64> = fields.iter().map(|field| entry.get(*field, now)).collect();
    assert_eq!(kept, (11..11 + fields.len() as u64).collect::<Vec<_>>());
    for (legacy, array, index) in [
        (DataType::Gpc1, DataType::Gpc, 1),
        (DataType::Gpt0, DataType::Gpt, 0),
        (DataType::Gpc1Rate, DataType::GpcRate, 1),
    ] {
        assert_eq!(
            table.table.field(legacy, 0),
            table.table.field(array, index)
        );
    }
    assert_eq!(table.table.field(DataType::Gpc, 3), None);
    assert_eq!(table.table.field(DataType::ConnCnt, 1), None);
}

#[test]
fn counters_of_32_bits_begin_again_and_never_fall_below_nothing() {
    let mut table = Single::new(&Settings {
        store: vec![
            counter(DataType::Gpc0),
            counter(DataType::BytesInCnt),
            counter(DataType::ConnCur),
        ],
        ..settings(KeyType::Integer, 10)
    });
    let key = table.table.key(Sample::Integer(1)).unwrap();
    let now = Millis(0);
    let [gpc0, bytes, open] =
        [DataType::Gpc0, DataType::BytesInCnt, DataType::ConnCur].map(|what| table.field(what));
    let mut entry = table.shard.refresh(&key, now).unwrap();
    for field in [gpc0, bytes, open] {
        entry.set(field, u64::from(u32::MAX), now);
        entry.add(field, 1, now);
    }
    entry.subtract(open, 1);
    let entry = table.shard.find(&key, now).unwrap();
    assert_eq!(
        [gpc0, bytes, open].map(|field| entry.get(field, now)),
        [0, 1 << 32, 0]
    );
}

#[test]
fn data_that_exclude_each_other_are_refused() {
    use LayoutError as E;
    for (store, error, said) in [
        (
            vec![array(DataType::Gpc, 2), counter(DataType::Gpc0)],
            E::Excludes(DataType::Gpc, DataType::Gpc0),
            "'gpc0' cannot be stored beside 'gpc', whose elements it is",
        ),
        (
            vec![counter(DataType::Gpt0), array(DataType::Gpt, 2)],
            E::Excludes(DataType::Gpt, DataType::Gpt0),
            "'gpt0' cannot be stored beside 'gpt', whose elements it is",
        ),
        (
            vec![counter(DataType::ConnCnt), counter(DataType::ConnCnt)],
            E::Twice(DataType::ConnCnt),
            "'conn_cnt' is stored already",
        ),
        (
            vec![counter(DataType::ConnRate)],
            E::Period(DataType::ConnRate),
            "'conn_rate' needs a period",
        ),
        (
            vec![rate(DataType::ConnCnt, 5)],
            E::Period(DataType::ConnCnt),
            "'conn_cnt' has no period",
        ),
        (
            vec![array(DataType::Gpc, 0)],
            E::Elements(DataType::Gpc),
            "'gpc' has 1 to 100 elements",
        ),
        (
            vec![array(DataType::Gpc, 101)],
            E::Elements(DataType::Gpc),
            "'gpc' has 1 to 100 elements",
        ),
        (
            vec![array(DataType::ConnCnt, 2)],
            E::Elements(DataType::ConnCnt),
            "'conn_cnt' is one and no array",
        ),
    ] {
        let refused = Table::new(
            &Settings {
                store,
                ..settings(KeyType::Ip, 1)
            },
            0,
        );
        assert_eq!(refused.unwrap_err(), error);
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn a_large_table_has_shards_that_hold_its_size_together() {
    for (size, count) in [
        (0, 1),
        (1, 1),
        (8191, 1),
        (8192, 2),
        (100_001, 24),
        (1 << 20, SHARDS_MAX),
    ] {
        let table = Table::new(&settings(KeyType::Integer, size), 3).unwrap();
        assert_eq!(table.shards().len(), count);
        assert_eq!(
            table.shards().iter().map(Shard::size).sum::<usize>(),
            size as usize
        );
    }
    let table = Table::new(&settings(KeyType::Integer, 100_001), 3).unwrap();
    let mut shards = table.shards();
    for n in 0..200_000 {
        let key = table.key(Sample::Integer(n)).unwrap();
        shards[key.shard()].refresh(&key, Millis(0)).unwrap();
    }
    assert_eq!(shards.iter().map(Shard::used).sum::<usize>(), 100_001);
}

/// DataType somebody does to a table.
#[derive(Debug, Clone)]
enum Deed {
    Request(u8),
    Track(u8),
    Release(usize),
    Remove(u8),
    ClearAbove(u64),
    Expire(usize),
}

fn deed() -> impl Strategy<Value = (u64, Deed)> {
    let client = 0u8..12;
    let deed = prop_oneof![
        6 => client.clone().prop_map(Deed::Request),
        2 => client.clone().prop_map(Deed::Track),
        2 => (0usize..8).prop_map(Deed::Release),
        1 => client.prop_map(Deed::Remove),
        1 => (0u64..4).prop_map(Deed::ClearAbove),
        1 => (0usize..4).prop_map(Deed::Expire),
    ];
    (0u64..40, deed)
}

/// The same as a plain list, ordered by when entries expire.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Modelled>,
    size: usize,
    nopurge: bool,
}

#[derive(Debug, Clone)]
struct Modelled {
    client: u8,
    requests: u64,
    uses: usize,
    expires: u64,
}

const LIFE: u64 = 100;

impl Model {
    fn is_expired(entry: &Modelled, now: u64) -> bool {
        entry.uses == 0 && entry.expires <= now
    }

    /// Moves the entry to the end, makes it if it must.
    fn refresh(&mut self, client: u8, now: u64) -> Option<&mut Modelled> {
        let at = self.entries.iter().position(|entry| entry.client == client);
        let mut entry = match at {
            Some(at) if Self::is_expired(&self.entries[at], now) => {
                self.entries.remove(at);
                Modelled {
                    client,
                    requests: 0,
                    uses: 0,
                    expires: 0,
                }
            }
            Some(at) => self.entries.remove(at),
            None => {
                self.entries.retain(|entry| !Self::is_expired(entry, now));
                if self.entries.len() >= self.size {
                    let oldest = self.entries.iter().position(|entry| entry.uses == 0);
                    self.entries.remove(oldest.filter(|_| !self.nopurge)?);
                }
                Modelled {
                    client,
                    requests: 0,
                    uses: 0,
                    expires: 0,
                }
            }
        };
        entry.expires = now + LIFE;
        self.entries.push(entry);
        self.entries.last_mut()
    }

    fn there(&self, now: u64) -> Vec<(String, u64, u32)> {
        let there = self
            .entries
            .iter()
            .filter(|entry| !Self::is_expired(entry, now));
        let mut there: Vec<_> = there
            .map(|entry| (entry.client.to_string(), entry.requests, entry.uses as u32))
            .collect();
        there.sort();
        there
    }
}

proptest! {
    #[test]
    fn a_shard_does_what_a_list_would(
        deeds in proptest::collection::vec(deed(), 1..200),
        size in 1u32..8,
        nopurge: bool,
    ) {
        let mut table = Single::new(&Settings {
            nopurge,
            expire: Some(Duration::from_millis(LIFE)),
            ..settings(KeyType::String(4), size)
        });
        let mut model = Model { size: size as usize, nopurge, ..Model::default() };
        let field = table.field(DataType::HttpReqCnt);
        let (mut now, mut held) = (0, Vec::new());
        for (pause, deed) in deeds {
            now += pause;
            match deed {
                Deed::Request(client) => {
                    let done = table.request(&client.to_string(), now);
                    let modelled = model.refresh(client, now).map(|entry| {
                        entry.requests += 1;
                        entry.requests
                    });
                    prop_assert_eq!(done, modelled);
                }
                Deed::Track(client) => {
                    let reference = table.track(&client.to_string(), now);
                    let modelled = model.refresh(client, now);
                    prop_assert_eq!(reference.is_some(), modelled.is_some());
                    if let (Some(reference), Some(entry)) = (reference, modelled) {
                        entry.uses += 1;
                        held.push((client, reference));
                    }
                }
                Deed::Release(which) if which < held.len() => {
                    let (client, reference) = held.swap_remove(which);
                    table.shard.release(reference, Millis(now));
                    let at = model.entries.iter().position(|entry| entry.client == client).unwrap();
                    let mut entry = model.entries.remove(at);
                    entry.uses -= 1;
                    entry.expires = now + LIFE;
                    model.entries.push(entry);
                }
                Deed::Release(_) => {}
                Deed::Remove(client) => {
                    let removal = table.remove(&client.to_string(), now);
                    let at = model.entries.iter().position(|entry| entry.client == client);
                    let modelled = match at {
                        Some(at) if model.entries[at].uses > 0 => Removal::InUse,
                        Some(at) if Model::is_expired(&model.entries.remove(at), now) => Removal::Absent,
                        Some(_) => Removal::Removed,
                        None => Removal::Absent,
                    };
                    prop_assert_eq!(removal, modelled);
                }
                Deed::ClearAbove(value) => {
                    let filter = Filter { field, operator: Operator::Greater, value };
                    table.shard.clear(&[filter], Millis(now));
                    model.entries.retain(|entry| entry.uses > 0 || entry.requests <= value);
                }
                Deed::Expire(count) => {
                    table.shard.expire(Millis(now), count);
                }
            }
            let there = table.shard.entries(0, Millis(now)).map(|entry| match entry.key() {
                KeyShown::Bytes(text) => (String::from_utf8(text).unwrap(), entry.get(field, Millis(now)), entry.uses()),
                other => panic!("{other:?} in a table of strings"),
            });
            let mut there: Vec<_> = there.collect();
            there.sort();
            prop_assert_eq!(there, model.there(now));
            prop_assert!(table.shard.used() <= size as usize);
        }
    }
}
