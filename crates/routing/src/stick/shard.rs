//! One part of a table's entries: found by key, kept in the order in which they expire.
//!
//! All entries of a table live equally long, so whoever was refreshed last expires last: the order is a list,
//! and everything here but walking through the entries takes the same time however many there are.

use std::time::Duration;

use super::Table;
use super::entry::{Entry, EntryMut, Filter};
use super::key::{self, Key};
use super::slab::{Place, Slab};
use crate::rates::Millis;
use config::model::KeyType;

/// Words before the key: the links of the list; the link of the chain and how many track the entry; when it
/// expires and how long its key is.
const LIST: usize = 0;
const CHAIN: usize = 1;
const LIFE: usize = 2;
const KEY: usize = 3;

/// DataType [`LIFE`] says of a place that is nobody's.
const FREE: u64 = u64::MAX;

/// When an entry expires that does not: times have 48 bits, nine thousand years.
const NEVER: u64 = (1 << 48) - 2;

/// Chains of a shard, at most: more would be more memory than 4 MiB before there is any entry. Beyond a million
/// entries a shard, chains get longer.
const CHAINS_MAX: usize = 1 << 20;

/// Expired entries that one new entry takes away, at most: two, so that they become fewer.
const EXPIRED_BY_NEW: usize = 2;

/// A part of a table, for the caller to put a lock around.
#[derive(Debug)]
pub struct Shard {
    kind: KeyType,
    slab: Slab,
    /// Where the words of the data begin in an entry.
    data: usize,
    /// The first of each chain of entries, whose keys' hashes end alike.
    chains: Vec<u32>,
    /// The ends of the list of those that can expire.
    first: Option<Place>,
    last: Option<Place>,
    used: usize,
    size: usize,
    expire: Option<Duration>,
    nopurge: bool,
    seed: u64,
    /// The latest time it was told, so that the list stays in order whatever the clock does.
    latest: Millis,
}

/// An entry that is tracked, and stays until this is given to [`Shard::release`]: dropping it makes the entry
/// stay for ever.
#[derive(Debug)]
#[must_use = "an entry that is never released stays for ever"]
pub struct Reference {
    place: Place,
}

/// DataType became of an entry that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It was not there.
    Absent,
    /// It is tracked, and stays.
    InUse,
}

impl Shard {
    pub(super) fn new(table: &Table, size: usize) -> Shard {
        let key_words = table.key.len_max().div_ceil(8);
        let data = KEY + key_words;
        Shard {
            kind: table.key,
            slab: Slab::new(data + table.layout.words()),
            data,
            chains: vec![0; size.next_power_of_two().min(CHAINS_MAX)],
            first: None,
            last: None,
            used: 0,
            size,
            expire: table.expire,
            nopurge: table.nopurge,
            seed: table.seed,
            latest: Millis::default(),
        }
    }

    /// Entries there are, expired ones that nobody has come across included.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Entries it may have.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Looks a key up and leaves its entry as it is (`table_*` converters).
    pub fn find(&self, key: &Key<'_>, now: Millis) -> Option<Entry<'_>> {
        let place = self.place_of(key)?;
        let entry = self.entry(place);
        (!entry.is_expired(now)).then_some(entry)
    }

    /// The entry of a key, which begins anew to live; made if it was not there. `None`: there is no room, since
    /// all others are tracked, or may not be purged.
    pub fn refresh(&mut self, key: &Key<'_>, now: Millis) -> Option<EntryMut<'_>> {
        let place = self.refreshed(key, now)?;
        Some(self.entry_mut(place))
    }

    /// The entry of a key as it was kept elsewhere, with the time that it had left (`None`: all of it). Entries
    /// must come in the order in which they expire.
    pub fn restore(
        &mut self,
        key: &Key<'_>,
        left: Option<Duration>,
        now: Millis,
    ) -> Option<EntryMut<'_>> {
        let place = self.refreshed(key, now)?;
        if let (Some(left), Some(expire)) = (left, self.expire)
            && self.uses(place) == 0
        {
            let words = self.slab.get_mut(place);
            words[LIFE] = now.after(left.min(expire)).0.min(NEVER) << 16 | key_len(words) as u64;
        }
        Some(self.entry_mut(place))
    }

    /// The same, and the entry stays until it is released.
    pub fn track(&mut self, key: &Key<'_>, now: Millis) -> Option<Reference> {
        let place = self.refreshed(key, now)?;
        if self.uses(place) == 0 {
            self.unlink(place);
        }
        let (chain, uses) = halves(self.slab.get(place)[CHAIN]);
        self.slab.get_mut(place)[CHAIN] = joined(chain, uses.saturating_add(1));
        Some(Reference { place })
    }

    /// An entry that is tracked. The reference must be one of this shard.
    pub fn tracked(&self, reference: &Reference) -> Entry<'_> {
        self.entry(reference.place)
    }

    /// An entry that is tracked, to be changed.
    pub fn tracked_mut(&mut self, reference: &Reference) -> EntryMut<'_> {
        self.entry_mut(reference.place)
    }

    /// Ends the tracking. After the last one the entry begins anew to live.
    pub fn release(&mut self, reference: Reference, now: Millis) {
        let place = reference.place;
        let (chain, uses) = halves(self.slab.get(place)[CHAIN]);
        let uses = uses.saturating_sub(1);
        self.slab.get_mut(place)[CHAIN] = joined(chain, uses);
        if uses == 0 {
            self.set_expiry(place, now);
            self.link_last(place);
        }
    }

    /// Takes an entry away unless it is tracked.
    pub fn remove(&mut self, key: &Key<'_>, now: Millis) -> Removal {
        let Some(place) = self.place_of(key) else {
            return Removal::Absent;
        };
        if self.uses(place) > 0 {
            return Removal::InUse;
        }
        let was_there = !self.entry(place).is_expired(now);
        self.forget(place);
        if was_there {
            Removal::Removed
        } else {
            Removal::Absent
        }
    }

    /// Takes away all entries that are not tracked and that all filters match; tells how many.
    pub fn clear(&mut self, filters: &[Filter], now: Millis) -> usize {
        let mut cleared = 0;
        for place in self.slab.places(0) {
            if self.is_free(place) || self.uses(place) > 0 {
                continue;
            }
            let entry = self.entry(place);
            if entry.matches(filters, now) {
                cleared += usize::from(!entry.is_expired(now));
                self.forget(place);
            }
        }
        self.slab.shrink();
        cleared
    }

    /// Takes away entries that have expired, at most so many, and tells how many: to be called now and then,
    /// for a while, so that nobody waits long for the lock.
    pub fn expire(&mut self, now: Millis, count_max: usize) -> usize {
        let mut count = 0;
        while count < count_max
            && let Some(place) = self.first
            && self.entry(place).is_expired(now)
        {
            self.forget(place);
            count += 1;
        }
        self.slab.shrink();
        count
    }

    /// When the next entry expires.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.entry(self.first?).expires
    }

    /// All entries from a position on, in no order; each has its [`Entry::position`]. Who goes on from the
    /// position after the last one it got, having let go of the lock meanwhile, gets no entry twice and none
    /// that was there throughout not at all.
    pub fn entries(&self, from: usize, now: Millis) -> impl Iterator<Item = Entry<'_>> {
        let taken = self.slab.places(from).filter(|place| !self.is_free(*place));
        let entries = taken.map(|place| self.entry(place));
        entries.filter(move |entry| !entry.is_expired(now))
    }
}

/// Finding, making and forgetting.
impl Shard {
    fn place_of(&self, key: &Key<'_>) -> Option<Place> {
        let mut next = Place::from_link(self.chains[self.chain_of(key.hash())]);
        while let Some(place) = next {
            let words = self.slab.get(place);
            if has_key(words, key.bytes()) {
                return Some(place);
            }
            next = Place::from_link(halves(words[CHAIN]).0);
        }
        None
    }

    fn refreshed(&mut self, key: &Key<'_>, now: Millis) -> Option<Place> {
        let place = match self.place_of(key) {
            Some(place) => {
                if self.uses(place) > 0 {
                    return Some(place);
                }
                if self.entry(place).is_expired(now) {
                    let data = self.data;
                    self.slab.get_mut(place)[data..].fill(0);
                }
                self.unlink(place);
                place
            }
            None => self.made(key, now)?,
        };
        self.set_expiry(place, now);
        self.link_last(place);
        Some(place)
    }

    /// A new entry, in no list yet.
    fn made(&mut self, key: &Key<'_>, now: Millis) -> Option<Place> {
        for _ in 0..EXPIRED_BY_NEW {
            let full = self.used >= self.size;
            let Some(place) = self.first else { break };
            if !(self.entry(place).is_expired(now) || full && !self.nopurge) {
                break;
            }
            self.forget(place);
        }
        if self.used >= self.size {
            return None;
        }
        let place = self.slab.take();
        let chain = self.chain_of(key.hash());
        let words = self.slab.get_mut(place);
        words[CHAIN] = joined(self.chains[chain], 0);
        words[LIFE] = key.bytes().len() as u64;
        for (word, of_key) in words[KEY..].iter_mut().zip(key::words(key.bytes())) {
            *word = of_key;
        }
        self.chains[chain] = Place::to_link(Some(place));
        self.used += 1;
        Some(place)
    }

    /// An entry that is not tracked goes.
    fn forget(&mut self, place: Place) {
        self.unlink(place);
        let words = self.slab.get(place);
        let len = key_len(words);
        let of_key = words[KEY..].iter().copied().take(len.div_ceil(8));
        let chain = self.chain_of(key::hash(of_key, len, self.seed));
        let after = halves(words[CHAIN]).0;
        let gone = Place::to_link(Some(place));
        let mut link = self.chains[chain];
        if link == gone {
            self.chains[chain] = after;
        }
        while link != gone
            && let Some(other) = Place::from_link(link)
        {
            let (next, uses) = halves(self.slab.get(other)[CHAIN]);
            if next == gone {
                self.slab.get_mut(other)[CHAIN] = joined(after, uses);
            }
            link = next;
        }
        self.slab.get_mut(place)[LIFE] = FREE;
        self.slab.give_back(place);
        self.used -= 1;
    }

    fn chain_of(&self, hash: u64) -> usize {
        // There are a power of two of them.
        hash as usize & (self.chains.len() - 1)
    }

    fn uses(&self, place: Place) -> u32 {
        halves(self.slab.get(place)[CHAIN]).1
    }

    fn is_free(&self, place: Place) -> bool {
        self.slab.get(place)[LIFE] == FREE
    }

    fn set_expiry(&mut self, place: Place, now: Millis) {
        self.latest = self.latest.max(now);
        let expires = self
            .expire
            .map_or(NEVER, |expire| self.latest.after(expire).0.min(NEVER));
        let words = self.slab.get_mut(place);
        words[LIFE] = expires << 16 | key_len(words) as u64;
    }

    fn link_last(&mut self, place: Place) {
        self.slab.get_mut(place)[LIST] = joined(Place::to_link(self.last), 0);
        match self.last.replace(place) {
            Some(before) => self.set_next(before, Some(place)),
            None => self.first = Some(place),
        }
    }

    fn unlink(&mut self, place: Place) {
        let (before, after) = halves(self.slab.get(place)[LIST]);
        let (before, after) = (Place::from_link(before), Place::from_link(after));
        match before {
            Some(before) => self.set_next(before, after),
            None => self.first = after,
        }
        match after {
            Some(after) => {
                let word = &mut self.slab.get_mut(after)[LIST];
                *word = joined(Place::to_link(before), halves(*word).1);
            }
            None => self.last = before,
        }
    }

    fn set_next(&mut self, place: Place, next: Option<Place>) {
        let word = &mut self.slab.get_mut(place)[LIST];
        *word = joined(halves(*word).0, Place::to_link(next));
    }

    fn entry(&self, place: Place) -> Entry<'_> {
        let (head, data) = self.slab.get(place).split_at(self.data);
        let len = key_len(head);
        Entry {
            position: place.index(),
            kind: self.kind,
            key: &head[KEY..],
            key_len: len,
            uses: halves(head[CHAIN]).1,
            expires: Some(head[LIFE] >> 16).filter(|at| *at != NEVER).map(Millis),
            data,
        }
    }

    fn entry_mut(&mut self, place: Place) -> EntryMut<'_> {
        EntryMut::new(&mut self.slab.get_mut(place)[self.data..])
    }
}

fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

fn joined(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn key_len(words: &[u64]) -> usize {
    (words[LIFE] & 0xffff) as usize
}

fn has_key(words: &[u64], bytes: &[u8]) -> bool {
    key_len(words) == bytes.len() && key::words(bytes).zip(&words[KEY..]).all(|(a, b)| a == *b)
}
