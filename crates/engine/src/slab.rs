//! Numbered places, of which the lowest free one is taken first, so that the list gets short again when
//! most who stood there are gone: a worker's sockets, and its tunnels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A list is given back in part once it is this many times longer than what stands in it.
const SLACK: usize = 4;

/// And not below this length: it is soon needed again.
const KEPT: usize = 1024;

/// Who stands at a place: a place is taken again by others, this name is not (until 2³² tunnels later).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    place: u32,
    generation: u32,
}

impl Token {
    /// One number for it.
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.place)
    }

    /// The other way round.
    pub(crate) fn unpack(number: u64) -> Self {
        // Both are halves of what was packed.
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self {
            place: half(number),
            generation: half(number >> 32),
        }
    }

    /// Which of those that have stood there.
    pub(crate) fn generation(self) -> u32 {
        self.generation
    }

    /// Its place.
    pub(crate) fn place(self) -> u32 {
        self.place
    }
}

/// One place. What stands there is small, or has an allocation of its own, so that a free place is small.
struct Place<T> {
    generation: u32,
    taken: Option<T>,
}

/// All places.
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    /// Free ones, the lowest first, and some that are no more.
    free: BinaryHeap<Reverse<u32>>,
    generation: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: BinaryHeap::new(),
            generation: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Bytes of a place.
    #[cfg(test)]
    pub(crate) const PLACE_LEN: usize = size_of::<Place<T>>();

    /// Takes a place. Their number is bounded by that of open sockets, far below 2³².
    pub(crate) fn insert(&mut self, value: T) -> Token {
        self.generation = self.generation.wrapping_add(1);
        let place = Place {
            generation: self.generation,
            taken: Some(value),
        };
        let free = self.free.pop().map_or(u32::MAX, |Reverse(free)| free);
        let index = match self.places.get_mut(free as usize) {
            Some(at) => {
                *at = place;
                free
            }
            None => {
                // The lowest was behind the end, and so were all others.
                self.free.clear();
                self.places.push(place);
                u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
            }
        };
        Token {
            place: index,
            generation: self.generation,
        }
    }

    /// Who is called so, if it still stands there.
    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let place = self.places.get_mut(token.place as usize)?;
        place
            .taken
            .as_mut()
            .filter(|_| place.generation == token.generation)
    }

    /// Takes it out.
    pub(crate) fn remove(&mut self, token: Token) -> Option<T> {
        let place = self.places.get_mut(token.place as usize)?;
        if place.generation != token.generation {
            return None;
        }
        let value = place.taken.take()?;
        self.free.push(Reverse(token.place));
        self.shorten();
        Some(value)
    }

    /// Takes out who stands at a place.
    pub(crate) fn take_at(&mut self, place: u32) -> Option<T> {
        let (token, _) = self.at(place)?;
        self.remove(token)
    }

    fn shorten(&mut self) {
        while self.places.last().is_some_and(|it| it.taken.is_none()) {
            self.places.pop();
        }
        if self.places.capacity() > KEPT.max(self.places.len() * SLACK) {
            self.places.shrink_to(KEPT.max(self.places.len() * 2));
            let end = self.places.len();
            self.free.retain(|Reverse(free)| (*free as usize) < end);
            self.free.shrink_to(KEPT);
        }
    }

    /// How many places there are, free ones included.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// Who stands at a place.
    pub(crate) fn at(&self, place: u32) -> Option<(Token, &T)> {
        let at = self.places.get(place as usize)?;
        let token = Token {
            place,
            generation: at.generation,
        };
        Some((token, at.taken.as_ref()?))
    }

    /// The same, to be changed.
    pub(crate) fn at_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.taken.as_mut()
    }

    /// All of them, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let places = self.places.iter_mut().zip(0u32..);
        places.filter_map(|(at, place)| {
            let token = Token {
                place,
                generation: at.generation,
            };
            Some((token, at.taken.as_mut()?))
        })
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        let places = self.places.iter().zip(0u32..);
        places.filter_map(|(at, place)| {
            let token = Token {
                place,
                generation: at.generation,
            };
            Some((token, at.taken.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nobody_elses_and_survives_packing() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        assert_eq!(Token::unpack(first.pack()), first);
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(second.place(), first.place());
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
        assert_eq!(slab.at(0), Some((second, &'b')));
    }

    #[test]
    fn the_lowest_place_is_taken_first_and_the_list_gets_short_again() {
        let mut slab = Slab::default();
        let tokens: Vec<Token> = (0..100_000u32).map(|it| slab.insert(it)).collect();
        for token in &tokens[10..] {
            slab.remove(*token);
        }
        assert_eq!(slab.iter().count(), 10);
        assert!(slab.places.capacity() <= KEPT && slab.free.capacity() <= KEPT);
        slab.remove(tokens[7]);
        slab.remove(tokens[3]);
        let place = |slab: &mut Slab<u32>| slab.insert(0).place();
        assert_eq!([3, 7, 10, 11], [(); 4].map(|()| place(&mut slab)));
        assert_eq!(slab.iter().count(), 12);
    }
}
