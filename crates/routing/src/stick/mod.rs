//! Stick tables (manual 11.1): what is remembered of clients, by a key.
//!
//! Pure: no sockets, no locks, no clock. A [`Table`] is what its declaration says, the same for everyone. Its
//! entries are in [`Shard`]s, plain structures that the engine puts one lock around each, so that workers with
//! different keys rarely meet: [`Table::key`] makes a key of a sample and says which shard it belongs to.
//!
//! ```text
//! declaration ─ Settings → Table ─┬─ key(sample) → Key ──────┐
//!                                 └─ field(what) → Field ──┐ │
//!                       Shard (behind its lock) ←──────────┴─┴─ find, refresh, track, remove, entries
//! ```
//!
//! An entry is a run of 64-bit words in a slab, as many as the `store`d data need; nothing is allocated for one
//! entry by itself. An entry that is tracked (an open WebSocket's, say) neither expires nor makes room for
//! another one, and its time begins when it is let go: in HAProxy, it can expire under a long tunnel.

mod ask;
mod entry;
mod key;
mod layout;
mod shard;
mod slab;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use ask::{Counted, NoTables, Tables, change, meant, track};
pub use config::model::{
    DataType, ELEMENTS_MAX, KeyType, LEN_DEFAULT, LayoutError, StickTable as Settings, Stored,
};
pub use entry::{Entry, EntryMut, FILTERS_MAX, Filter, KeyShown, Operator};
pub use key::{Key, Sample};
pub use layout::Field;
pub use shard::{Reference, Removal, Shard};

use layout::Layout;

/// Shards of a table, at most: more than workers, so that two of them rarely want the same one, and few
/// enough to walk through all for `show table`.
pub const SHARDS_MAX: usize = 64;

/// Entries a shard has, at least, where there is more than one: `size` is kept by each shard for its part, and
/// few entries would fall unevenly.
const SHARD_SIZE_MIN: usize = 4096;

/// A table as declared. Its shards are made and kept by the caller.
#[derive(Debug)]
pub struct Table {
    key: KeyType,
    size: usize,
    expire: Option<Duration>,
    nopurge: bool,
    layout: Layout,
    seed: u64,
    shard_count: usize,
    /// Where what is counted by itself is kept, by [`Counted`].
    counted: [[Option<Field>; 2]; Counted::ALL.len()],
    bytes_factor: u64,
}

impl Table {
    /// A table. `seed` is any random number that clients do not know: which keys fall together must not be for
    /// them to choose. Fails where the stored data exclude each other.
    pub fn new(settings: &Settings, seed: u64) -> Result<Table, LayoutError> {
        let size = settings.size as usize;
        let shard_count = (size / SHARD_SIZE_MIN).clamp(1, SHARDS_MAX);
        let layout = Layout::new(&settings.store)?;
        Ok(Table {
            counted: Counted::ALL
                .map(|(count, rate)| [layout.field(count, 0), layout.field(rate, 0)]),
            bytes_factor: settings.bytes_factor.max(1).into(),
            key: settings.key,
            size,
            expire: settings.expire,
            nopurge: settings.nopurge,
            layout,
            seed,
            shard_count,
        })
    }

    /// Its shards, all empty, in the order that [`Key::shard`] counts them.
    pub fn shards(&self) -> Vec<Shard> {
        let (each, further) = (self.size / self.shard_count, self.size % self.shard_count);
        (0..self.shard_count)
            .map(|index| Shard::new(self, each + usize::from(index < further)))
            .collect()
    }

    /// The key that a sample is in this table; `None` where it is none of its type.
    pub fn key<'s>(&self, sample: Sample<'s>) -> Option<Key<'s>> {
        Key::new(self.key, sample, self.seed, self.shard_count)
    }

    /// Where something is kept; `None`: it is not stored. `index` counts the elements of `gpc`, `gpt` and
    /// `gpc_rate`, and is 0 for all else.
    pub fn field(&self, what: DataType, index: usize) -> Option<Field> {
        self.layout.field(what, index)
    }

    /// DataType is stored, in the order of the declaration.
    pub fn stored(&self) -> &[Stored] {
        self.layout.stored()
    }

    /// The type of its keys.
    pub fn key_type(&self) -> KeyType {
        self.key
    }

    /// How long an entry is kept.
    pub fn expire(&self) -> Option<Duration> {
        self.expire
    }

    /// Entries, at most.
    pub fn size(&self) -> usize {
        self.size
    }
}
