//! Stick tables with 100,000 entries.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use config::expr::TableAsk;
use routing::rates::{Millis, Period};
use routing::sample::Value;
use routing::stick::{
    Counted, DataType, Field, Filter, KeyType, Operator, Sample, Settings, Shard, Stored, Table,
};

use crate::{HotPath, Step, path};

const ENTRIES: u32 = 100_000;

pub(crate) const PATHS: &[HotPath] = &[
    path("table-find-rate", 1000, || {
        on(KeyType::Ip, |scene, client| {
            let key = scene.table.key(address(client)).expect("an address");
            let entry = scene.shards[key.shard()].find(&key, scene.now);
            black_box(entry.map(|entry| entry.get(scene.rate, scene.now)));
        })
    }),
    path("table-count-request", 1000, || {
        on(KeyType::Ip, |scene, client| count(scene, address(client)))
    }),
    path("table-count-request-string-32", 1000, || {
        on(KeyType::String(32), |scene, client| {
            let text = format!("user-{client:010}-of-tenant-0001");
            count(scene, Sample::Bytes(text.as_bytes()));
        })
    }),
    path("table-new-entry-evicts", 1000, || {
        on(KeyType::Ip, |scene, client| {
            scene.fresh += 1;
            black_box(client);
            let newcomer = ENTRIES + scene.fresh;
            count(scene, address(newcomer));
        })
    }),
    path("table-track-and-release", 1000, || {
        on(KeyType::Ip, |scene, client| {
            let key = scene.table.key(address(client)).expect("an address");
            let open = scene.open;
            let shard = &mut scene.shards[key.shard()];
            let reference = shard.track(&key, scene.now).expect("there is room");
            shard.tracked_mut(&reference).add(open, 1, scene.now);
            shard.tracked_mut(&reference).subtract(open, 1);
            shard.release(reference, scene.now);
        })
    }),
    path("table-tracked-request", 1000, tracked_request),
    path("table-walk-100000-filtered", 1, || {
        on(KeyType::Ip, |scene, _| {
            let filter = [Filter {
                field: scene.rate,
                operator: Operator::Greater,
                value: 1_000_000,
            }];
            let found: usize = scene
                .shards
                .iter()
                .flat_map(|shard| shard.entries(0, scene.now))
                .filter(|entry| entry.matches(&filter, scene.now))
                .count();
            assert_eq!(found, 0);
        })
    }),
];

/// A full table, and what somebody does to it as one client after the other.
struct Scene {
    table: Table,
    shards: Vec<Shard>,
    open: Field,
    requests: Field,
    rate: Field,
    now: Millis,
    fresh: u32,
}

fn address(client: u32) -> Sample<'static> {
    Sample::Ip(Ipv4Addr::from_bits(0x0a00_0000 + client).into())
}

/// DataType `track-sc` does at a request: its counter and its rate.
fn count(scene: &mut Scene, client: Sample<'_>) {
    let key = scene.table.key(client).expect("it is of the table's type");
    let now = scene.now;
    let mut entry = scene.shards[key.shard()]
        .refresh(&key, now)
        .expect("there is room");
    entry.add(scene.requests, 1, now);
    entry.add(scene.rate, 1, now);
}

/// A table of that key for `ENTRIES` clients.
fn table(key: KeyType, store: &[DataType]) -> Table {
    let stored = |what: DataType| Stored {
        what,
        elements: 1,
        period: what
            .is_rate()
            .then(|| Period::new(Duration::from_secs(10)).expect("not nothing")),
    };
    let settings = Settings {
        name: "clients".into(),
        bytes_factor: 1,
        server_key: Default::default(),
        span: Default::default(),
        key,
        size: ENTRIES,
        expire: Some(Duration::from_secs(1800)),
        nopurge: false,
        store: store.iter().copied().map(stored).collect(),
    };
    Table::new(&settings, 7).expect("they go together")
}

fn on(key: KeyType, deed: fn(&mut Scene, u32)) -> Step {
    use DataType::{ConnCur, Gpc0, HttpReqCnt, HttpReqRate};
    let table = table(key, &[ConnCur, HttpReqCnt, HttpReqRate, Gpc0]);
    let field = |what| table.field(what, 0).expect("it is stored");
    let mut scene = Scene {
        open: field(DataType::ConnCur),
        requests: field(DataType::HttpReqCnt),
        rate: field(DataType::HttpReqRate),
        shards: table.shards(),
        table,
        now: Millis(1_000_000),
        fresh: 0,
    };
    for client in 0..ENTRIES {
        match key {
            KeyType::Ip => count(&mut scene, address(client)),
            _ => {
                let text = format!("user-{client:010}-of-tenant-0001");
                count(&mut scene, Sample::Bytes(text.as_bytes()));
            }
        }
    }
    let mut turn = 0u32;
    Box::new(move || {
        turn = turn.wrapping_add(7919);
        scene.now.0 += 3;
        deed(&mut scene, turn % ENTRIES);
    })
}

/// A request whose client is tracked: three rates of what it does, and a rule asks for one of them.
fn tracked_request() -> Step {
    use DataType::{ConnRate, HttpErrRate, HttpReqRate};
    let table = table(KeyType::Ip, &[ConnRate, HttpReqRate, HttpErrRate]);
    let mut shards = table.shards();
    let mut now = Millis(1_000_000);
    let mut request = move |client: u32| {
        now.0 += 3;
        let client = Value::Addr(Ipv4Addr::from_bits(0x0a00_0000 + client).into());
        let rate = table.with_key(&client, |key| {
            let shard = &mut shards[key.shard()];
            let reference = shard.track(key, now).expect("there is room");
            let mut entry = shard.tracked_mut(&reference);
            for what in [Counted::Connections, Counted::Requests, Counted::Errors] {
                table.count(&mut entry, what, 1, now);
            }
            let entry = shard.find(key, now).expect("it is tracked");
            let rate = table.tell(&entry, TableAsk::Data(HttpReqRate, 0), now);
            shard.release(reference, now);
            rate
        });
        black_box(rate).expect("an address");
    };
    (0..ENTRIES).for_each(&mut request);
    let mut turn = 0u32;
    Box::new(move || {
        turn = turn.wrapping_add(7919);
        request(turn % ENTRIES);
    })
}
