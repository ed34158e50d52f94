//! Stick tables at work: the locks around their shards, and who tracks what (manual 11.1, 4.4).
//!
//! What entries are is [`routing::stick`]'s. A table lives as long as the process; what a connection or a
//! request tracks is let go of when the value that stands for it goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::expr::{TableAsk, TableRef};
use config::model::{BlamedStatuses, Config, DataType, GeneralSlot, ServerKeyKind, TableId};
use routing::rates::Millis;
use routing::sample::Value;
use routing::stick::{
    self, Counted, EntryMut, Field, Filter, Key, Reference, Removal, Shard, Table,
};
use smallvec::SmallVec;

use crate::clock::Clock;
use crate::tables::value_of;

/// How often expired entries are looked for.
pub(crate) const SWEEP: Duration = Duration::from_millis(500);

/// Expired entries that are taken away before the lock is given back.
const SWEEP_COUNT: usize = 256;

/// All tables of the configuration, by [`TableId`].
pub(crate) struct StickTables {
    tables: Box<[Arc<StickTable>]>,
    /// What answers of nodes are held against whom.
    pub(crate) blamed: BlamedStatuses,
}

/// One table.
pub(crate) struct StickTable {
    /// The name of its proxy.
    pub(crate) name: Arc<str>,
    /// What servers are recognised by.
    pub(crate) server_key: ServerKeyKind,
    /// As declared.
    pub(crate) table: Table,
    declared: config::model::StickTable,
    shards: Box<[Mutex<Shard>]>,
    clock: Clock,
}

impl StickTables {
    /// Empty ones.
    pub(crate) fn new(config: &Config, clock: Clock) -> Self {
        Self::made(config, clock, |_| None)
    }

    /// Those of another configuration: a table that is declared as before is the same one, with its
    /// entries. The others of the same name begin anew: their names.
    pub(crate) fn succeed(&self, config: &Config, clock: Clock) -> (Self, Vec<Arc<str>>) {
        let mut anew = Vec::new();
        let tables = Self::made(config, clock, |declared| {
            let known = self.tables.iter().find(|it| it.name == declared.name)?;
            if known.is_declared(declared) {
                return Some(known.clone());
            }
            anew.push(declared.name.clone());
            None
        });
        (tables, anew)
    }

    fn made(
        config: &Config,
        clock: Clock,
        mut known: impl FnMut(&config::model::StickTable) -> Option<Arc<StickTable>>,
    ) -> Self {
        let tables = config.stick_tables.iter().filter_map(|declared| {
            if let Some(known) = known(declared) {
                return Some(known);
            }
            // What excludes each other was refused where it was read.
            let table = Table::new(declared, fastrand::u64(..)).ok()?;
            Some(Arc::new(StickTable {
                name: declared.name.clone(),
                server_key: declared.server_key,
                shards: table.shards().into_iter().map(Mutex::new).collect(),
                table,
                declared: declared.clone(),
                clock,
            }))
        });
        Self {
            tables: tables.collect(),
            blamed: config.global.blamed_statuses.clone(),
        }
    }

    /// Those of that name alone.
    pub(crate) fn only(&self, name: &str) -> Self {
        let meant = self.tables.iter().filter(|it| *it.name == *name);
        Self {
            tables: meant.cloned().collect(),
            blamed: self.blamed.clone(),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// All of them, in file order.
    pub(crate) fn all(&self) -> &[Arc<StickTable>] {
        &self.tables
    }

    /// The table that is meant; `own`: that of the proxy whose rule it may be.
    pub(crate) fn meant(
        &self,
        table: &TableRef,
        own: impl FnOnce() -> Option<TableId>,
    ) -> Option<&Arc<StickTable>> {
        let TableId(id) = stick::meant(table, own)?;
        self.tables.get(usize::from(id))
    }

    /// Takes away what has expired, of those shards that are this worker's to look after.
    pub(crate) fn sweep(&self, worker: usize, workers: usize) {
        for table in &self.tables {
            let now = table.now();
            for shard in table.shards.iter().skip(worker).step_by(workers.max(1)) {
                while lock(shard).expire(now, SWEEP_COUNT) == SWEEP_COUNT {}
            }
        }
    }
}

/// A lock whose holder never panics: words are read and written within bounds.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StickTable {
    /// Whether it is declared so, wherever that is written.
    fn is_declared(&self, declared: &config::model::StickTable) -> bool {
        let here = config::model::StickTable {
            span: declared.span,
            ..self.declared.clone()
        };
        here == *declared
    }

    /// The table's time.
    pub(crate) fn now(&self) -> Millis {
        Millis(self.clock.millis())
    }

    /// How many shards there are.
    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// One of them.
    pub(crate) fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[index])
    }

    /// Entries there are.
    pub(crate) fn used(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).used()).sum()
    }

    /// What is asked of the entry of a key, which is made if it is changed by that; inner `None`: there is no
    /// entry, or none of its own.
    #[allow(clippy::type_complexity, reason = "as in routing::stick::Tables")]
    pub(crate) fn ask(&self, value: &Value<'_>, ask: TableAsk) -> Option<Option<Value<'static>>> {
        self.table.with_key(value, |key| self.ask_key(key, ask))?
    }

    #[allow(clippy::type_complexity, reason = "as above")]
    fn ask_key(&self, key: &Key<'_>, ask: TableAsk) -> Option<Option<Value<'static>>> {
        let now = self.now();
        let mut shard = self.shard(key.shard());
        if ask.changes() {
            let mut entry = shard.refresh(key, now)?;
            return self.table.turn(&mut entry, ask, now).map(Some);
        }
        match shard.find(key, now) {
            Some(entry) => self.table.tell(&entry, ask, now).map(Some),
            None => Some(self.table.tell_of_nothing(ask)),
        }
    }

    /// The entry of a value, if it is there, begins anew to live.
    pub(crate) fn refresh(&self, value: &Value<'_>) {
        let now = self.now();
        self.table.with_key(value, |key| {
            let mut shard = self.shard(key.shard());
            if shard.find(key, now).is_some() {
                // It is there, so there is room for it.
                let _ = shard.refresh(key, now);
            }
        });
    }

    /// Sets what is kept of the entry of a value, which is made if it is not there.
    pub(crate) fn set(&self, value: &Value<'_>, data: &[(DataType, u64)]) {
        let field = |(what, number): &(DataType, u64)| Some((self.table.field(*what, 0)?, *number));
        let data: SmallVec<[(Field, u64); 2]> = data.iter().filter_map(field).collect();
        self.set_fields(value, &data);
    }

    /// The same of known places; `false`: there was no room.
    pub(crate) fn set_fields(&self, value: &Value<'_>, data: &[(Field, u64)]) -> bool {
        let now = self.now();
        let done = self.table.with_key(value, |key| {
            let mut shard = self.shard(key.shard());
            let mut entry = shard.refresh(key, now)?;
            for (field, number) in data {
                entry.set(*field, *number, now);
            }
            Some(())
        });
        done.flatten().is_some()
    }

    /// Takes the entry of a value away, unless it is tracked.
    pub(crate) fn remove(&self, value: &Value<'_>) -> Option<Removal> {
        let now = self.now();
        self.table
            .with_key(value, |key| self.shard(key.shard()).remove(key, now))
    }

    /// Takes all away that match and are not tracked.
    pub(crate) fn clear(&self, filters: &[Filter]) {
        let now = self.now();
        for shard in &self.shards {
            lock(shard).clear(filters, now);
        }
    }

    /// Tracks the entry of a value from now on. `None`: no key can be made of it, or there is no room.
    pub(crate) fn track(self: &Arc<Self>, value: &Value<'_>) -> Option<Tracked> {
        self.track_counting(value, true)
    }

    /// The same for a connection that was counted already, by the process before this one.
    pub(crate) fn track_again(self: &Arc<Self>, value: &Value<'_>) -> Option<Tracked> {
        self.track_counting(value, false)
    }

    fn track_counting(self: &Arc<Self>, value: &Value<'_>, is_new: bool) -> Option<Tracked> {
        let now = self.now();
        self.table.with_key(value, |key| {
            let mut shard = self.shard(key.shard());
            let reference = shard.track(key, now)?;
            let mut entry = shard.tracked_mut(&reference);
            if is_new {
                self.table.count(&mut entry, Counted::Connections, 1, now);
            }
            self.table.connected(&mut entry, true, now);
            Some(Tracked {
                table: self.clone(),
                shard: key.shard(),
                reference: Some(reference),
            })
        })?
    }
}

/// An entry that is tracked, as long as this lives.
pub(crate) struct Tracked {
    table: Arc<StickTable>,
    shard: usize,
    /// Gone when it has been given back, and not before.
    reference: Option<Reference>,
}

impl Tracked {
    fn with(&self, change: impl FnOnce(&Table, &mut EntryMut<'_>, Millis)) {
        if let Some(reference) = &self.reference {
            let now = self.table.now();
            let mut shard = self.table.shard(self.shard);
            change(&self.table.table, &mut shard.tracked_mut(reference), now);
        }
    }

    /// Counts something of it.
    fn count(&self, what: Counted, count: u64) {
        if self.table.table.counts(what) {
            self.with(|table, entry, now| table.count(entry, what, count, now));
        }
    }

    fn change(&self, slot: GeneralSlot, by: u32) {
        self.with(|table, entry, now| table.change(entry, slot, by, now));
    }

    fn ask(&self, ask: TableAsk) -> Option<Value<'static>> {
        let reference = self.reference.as_ref()?;
        let (table, now) = (&self.table.table, self.table.now());
        let mut shard = self.table.shard(self.shard);
        match ask.changes() {
            true => table.turn(&mut shard.tracked_mut(reference), ask, now),
            false => table.tell(&shard.tracked(reference), ask, now),
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(reference) = self.reference.take() {
            let now = self.table.now();
            let mut shard = self.table.shard(self.shard);
            let table = &self.table.table;
            table.connected(&mut shard.tracked_mut(&reference), false, now);
            shard.release(reference, now);
        }
    }
}

/// What a connection, or a request of it, tracks: by the number of the counter. Nothing is kept for who tracks
/// nothing.
#[derive(Default)]
#[allow(
    clippy::box_collection,
    reason = "nearly nobody tracks anything, and a pointer is all that this may cost them"
)]
pub(crate) struct Tracking(Option<Box<Vec<(u8, Tracked)>>>);

impl Tracking {
    /// Whether nothing is tracked.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn get(&self, counter: u8) -> Option<&Tracked> {
        let mut tracked = self.all();
        tracked
            .find(|(number, _)| *number == counter)
            .map(|(_, it)| it)
    }

    /// What is tracked: counter, table, key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u8, Arc<str>, Value<'static>)> {
        self.all().filter_map(|(counter, tracked)| {
            let reference = tracked.reference.as_ref()?;
            let key = tracked.table.shard(tracked.shard).tracked(reference).key();
            Some((*counter, tracked.table.name.clone(), value_of(&key)))
        })
    }

    fn all(&self) -> impl Iterator<Item = &(u8, Tracked)> {
        self.0.as_deref().into_iter().flatten()
    }

    /// Whether this counter tracks something.
    pub(crate) fn has(&self, counter: u8) -> bool {
        self.get(counter).is_some()
    }

    /// It does from now on.
    pub(crate) fn add(&mut self, counter: u8, tracked: Tracked) {
        self.0.get_or_insert_default().push((counter, tracked));
    }
}

/// What is tracked of a connection and of its request. A number that is the request's is not the connection's
/// meanwhile, as in HAProxy.
#[derive(Clone, Copy)]
pub(crate) struct Both<'a> {
    pub(crate) connection: &'a Tracking,
    pub(crate) request: Option<&'a Tracking>,
}

impl Both<'_> {
    /// What a counter tracks.
    pub(crate) fn get(&self, counter: u8) -> Option<&Tracked> {
        let request = self.request.and_then(|it| it.get(counter));
        request.or_else(|| self.connection.get(counter))
    }

    /// Counts something of all that is tracked.
    pub(crate) fn count(&self, what: Counted, count: u64) {
        let request = self.request.iter().flat_map(|it| it.all());
        let connection = self.connection.all();
        let connection = connection.filter(|(number, _)| {
            let hidden = self.request.is_some_and(|it| it.has(*number));
            !hidden
        });
        for (_, tracked) in request.chain(connection) {
            tracked.count(what, count);
        }
    }

    /// What is asked of the entry a counter tracks, or of the one of its key in another table.
    pub(crate) fn ask(
        &self,
        counter: u8,
        elsewhere: Option<&Arc<StickTable>>,
        ask: TableAsk,
    ) -> Option<Value<'static>> {
        let tracked = self.get(counter)?;
        match elsewhere {
            Some(table) if !Arc::ptr_eq(table, &tracked.table) => {
                // As in HAProxy, asking there makes no entry.
                let ask = if ask.changes() { return None } else { ask };
                table.ask(&tracked.ask(TableAsk::Key)?, ask)?
            }
            _ => tracked.ask(ask),
        }
    }

    /// `sc-inc-gpc` and its like.
    pub(crate) fn change(&self, counter: u8, slot: GeneralSlot, by: u32) {
        if let Some(tracked) = self.get(counter) {
            tracked.change(slot, by);
        }
    }
}

impl Tracked {
    /// It is an HTTP request's, or an answer's with this status.
    pub(crate) fn count_request(&self, status: Option<u16>, blamed: &BlamedStatuses) {
        self.count(Counted::Requests, 1);
        if let Some(status) = status {
            if blamed.errors.contains(status) {
                self.count(Counted::Errors, 1);
            }
            if blamed.failures.contains(status) {
                self.count(Counted::Failures, 1);
            }
        }
    }

    /// What came and went before it was tracked.
    pub(crate) fn count_bytes(&self, received: u64, sent: u64) {
        self.count(Counted::BytesIn, received);
        self.count(Counted::BytesOut, sent);
    }
}
