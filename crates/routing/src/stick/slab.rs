//! Entries side by side: runs of words, in blocks that never move.
//!
//! A table grows by blocks, so that growing never copies what is there while others wait for the lock.

/// Entries of a block.
const BLOCK: usize = 256;

/// Where an entry is. Stays the same as long as the entry is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// As it is kept in a word: 0 is nobody's.
    pub(super) fn to_link(place: Option<Place>) -> u32 {
        place.map_or(0, |Place(index)| index + 1)
    }

    pub(super) fn from_link(link: u32) -> Option<Place> {
        link.checked_sub(1).map(Place)
    }

    /// Its number, in the order of [`Slab::places`].
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
pub(super) struct Slab {
    blocks: Vec<Box<[u64]>>,
    /// Words of an entry.
    words: usize,
    /// Places that were ever given out.
    len: u32,
    free: Vec<Place>,
}

impl Slab {
    pub(super) fn new(words: usize) -> Slab {
        Slab {
            blocks: Vec::new(),
            words,
            len: 0,
            free: Vec::new(),
        }
    }

    /// A place, with nothing but zeros in it.
    pub(super) fn take(&mut self) -> Place {
        if let Some(place) = self.free.pop() {
            self.get_mut(place).fill(0);
            return place;
        }
        if self.len as usize == self.blocks.len() * BLOCK {
            self.blocks
                .push(vec![0; self.words * BLOCK].into_boxed_slice());
        }
        self.len += 1;
        Place(self.len - 1)
    }

    pub(super) fn give_back(&mut self, place: Place) {
        self.free.push(place);
    }

    /// Gives the memory back when every place was given back.
    pub(super) fn shrink(&mut self) {
        if self.free.len() == self.len as usize {
            *self = Slab::new(self.words);
        }
    }

    pub(super) fn get(&self, Place(index): Place) -> &[u64] {
        let (block, at) = (index as usize / BLOCK, index as usize % BLOCK * self.words);
        &self.blocks[block][at..at + self.words]
    }

    pub(super) fn get_mut(&mut self, Place(index): Place) -> &mut [u64] {
        let (block, at) = (index as usize / BLOCK, index as usize % BLOCK * self.words);
        &mut self.blocks[block][at..at + self.words]
    }

    /// All places that were ever given out, from the one with this number on.
    pub(super) fn places(&self, from: usize) -> impl Iterator<Item = Place> + use<> {
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        (from..self.len).map(Place)
    }
}
