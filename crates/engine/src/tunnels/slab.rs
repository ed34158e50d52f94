//! Where a worker's tunnels stand: numbered places, of which the lowest free one is taken first, so that
//! the list gets short again when most tunnels have closed.

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
    /// One number for it and for one of its two ends.
    pub(crate) fn pack(self, second: bool) -> u64 {
        let place = u64::from(self.place) << 1 | u64::from(second);
        u64::from(self.generation) << 32 | place
    }

    /// The other way round.
    pub(crate) fn unpack(number: u64) -> (Self, bool) {
        let low = number & u64::from(u32::MAX);
        let token = Self {
            // Both are halves of what was packed.
            place: u32::try_from(low >> 1).unwrap_or(u32::MAX),
            generation: u32::try_from(number >> 32).unwrap_or(u32::MAX),
        };
        (token, low & 1 == 1)
    }

    /// Its place.
    pub(crate) fn place(self) -> u32 {
        self.place
    }
}

/// One place. What stands there has an allocation of its own, so that a free place is small.
struct Place<T> {
    generation: u32,
    taken: Option<Box<T>>,
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
    /// Takes a place. Their number is bounded by that of open sockets, far below 2³¹.
    pub(crate) fn insert(&mut self, value: Box<T>) -> Token {
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
            .as_deref_mut()
            .filter(|_| place.generation == token.generation)
    }

    /// Takes it out.
    pub(crate) fn remove(&mut self, token: Token) -> Option<Box<T>> {
        let place = self.places.get_mut(token.place as usize)?;
        if place.generation != token.generation {
            return None;
        }
        let value = place.taken.take()?;
        self.free.push(Reverse(token.place));
        self.shorten();
        Some(value)
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

    /// Who stands at a place.
    pub(crate) fn at(&self, place: u32) -> Option<(Token, &T)> {
        let at = self.places.get(place as usize)?;
        let token = Token {
            place,
            generation: at.generation,
        };
        Some((token, at.taken.as_deref()?))
    }

    /// All of them, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let places = self.places.iter_mut().zip(0u32..);
        places.filter_map(|(at, place)| {
            let token = Token {
                place,
                generation: at.generation,
            };
            Some((token, at.taken.as_deref_mut()?))
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
            Some((token, at.taken.as_deref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nobody_elses_and_survives_packing() {
        let mut slab = Slab::default();
        let first = slab.insert(Box::new('a'));
        assert_eq!(Token::unpack(first.pack(false)), (first, false));
        assert_eq!(Token::unpack(first.pack(true)), (first, true));
        assert_eq!(slab.remove(first).as_deref(), Some(&'a'));
        let second = slab.insert(Box::new('b'));
        assert_eq!(second.place(), first.place());
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
        assert_eq!(slab.at(0), Some((second, &'b')));
    }

    #[test]
    fn the_lowest_place_is_taken_first_and_the_list_gets_short_again() {
        let mut slab = Slab::default();
        let tokens: Vec<Token> = (0..100_000u32)
            .map(|it| slab.insert(Box::new(it)))
            .collect();
        for token in &tokens[10..] {
            slab.remove(*token);
        }
        assert_eq!(slab.iter().count(), 10);
        assert!(slab.places.capacity() <= KEPT && slab.free.capacity() <= KEPT);
        slab.remove(tokens[7]);
        slab.remove(tokens[3]);
        let place = |slab: &mut Slab<u32>| slab.insert(Box::new(0)).place();
        assert_eq!([3, 7, 10, 11], [(); 4].map(|()| place(&mut slab)));
        assert_eq!(slab.iter().count(), 12);
    }
}
