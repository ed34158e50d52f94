//! `hash-type consistent`: every server has as many points on a ring as its weight says, and a hash
//! leads to the nearest one (manual 4.2). A server that comes or goes moves its own associations only.
//!
//! Where points lie depends on the server's id (or address, `hash-key`) and on nothing else, as in
//! HAProxy: 16 for each unit of weight, the n-th at the avalanche hash of 4096·id + n. A server has 4096
//! of them at most.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::hash::avalanche;
use super::{Member, ServerKey};

type Point = (u32, ServerKey);

/// Points that are looked at for one session, at most: 3,000 servers have up to twelve million, and all
/// who want a server wait for the one who looks. In so many of them a session finds hundreds of different servers.
const WALK_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Ring {
    points: BTreeSet<Point>,
    members: BTreeMap<ServerKey, Member>,
    /// Who had the last turn, for sessions without a key.
    last: Option<Point>,
}

impl Ring {
    pub(super) fn insert(&mut self, member: &Member) {
        self.members.insert(member.key, *member);
        for number in 0..member.weight {
            self.points.insert(point(member, number));
        }
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        let Some(member) = self.members.remove(&key) else {
            return;
        };
        for number in 0..member.weight {
            self.points.remove(&point(&member, number));
        }
    }

    /// Another weight adds points or takes the last ones away.
    pub(super) fn update(&mut self, member: &Member) {
        let Some(before) = self.members.insert(member.key, *member) else {
            return;
        };
        if before.point != member.point {
            self.members.insert(member.key, before);
            self.remove(member.key);
            self.insert(member);
            return;
        }
        for number in before.weight..member.weight {
            self.points.insert(point(member, number));
        }
        for number in member.weight..before.weight {
            self.points.remove(&point(member, number));
        }
    }

    /// The server of the next point.
    pub(super) fn pick(&mut self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        let from = self.last.map_or(Unbounded, Excluded);
        let behind = self.points.range((from, Unbounded));
        let all_round = behind.chain(&self.points);
        let point = self.walk(all_round.copied(), may)?;
        self.last = Some(point);
        Some(point.1)
    }

    /// The server of the point nearest to a hash, of two as near the one before it; where that is out
    /// of question, the next one along the ring.
    pub(super) fn find(&self, hash: u32, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        let here = (hash, ServerKey(0));
        let next = self.points.range(here..).next();
        let next = *next.or_else(|| self.points.first())?;
        let previous = self.points.range(..here).next_back();
        let previous = *previous.or_else(|| self.points.last())?;
        let nearest = match hash.wrapping_sub(previous.0) <= next.0.wrapping_sub(hash) {
            true => previous,
            false => next,
        };
        if may(nearest.1) {
            return Some(nearest.1);
        }
        let all_round = self.points.range(nearest..).chain(&self.points);
        let (_, key) = self.walk(all_round.copied(), may)?;
        Some(key)
    }

    /// The first point whose server may be had. Each server is asked once; those that the first
    /// [`WALK_MAX`] points do not name are asked in file order, from the last one named on.
    fn walk(
        &self,
        mut points: impl Iterator<Item = Point>,
        may: &dyn Fn(ServerKey) -> bool,
    ) -> Option<Point> {
        let mut asked = HashSet::new();
        let mut last = (0, ServerKey(0));
        for _ in 0..WALK_MAX {
            if asked.len() == self.members.len() {
                return None;
            }
            last = points.next()?;
            if asked.insert(last.1) && may(last.1) {
                return Some(last);
            }
        }
        let behind = self.members.range((Excluded(last.1), Unbounded));
        let before = self.members.range(..last.1);
        let mut others = behind.chain(before).map(|(key, _)| *key);
        let found = others.find(|key| !asked.contains(key) && may(*key))?;
        Some((last.0, found))
    }
}

fn point(member: &Member, number: u16) -> Point {
    let at = avalanche(member.point.wrapping_add(u32::from(number)));
    (at, member.key)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::balance::ring_point;

    fn ring(weights: impl Iterator<Item = u16>) -> Ring {
        let mut ring = Ring::default();
        for (key, weight) in (0..).zip(weights) {
            ring.insert(&Member {
                key: ServerKey(key),
                id: key + 1,
                point: ring_point(key + 1),
                nominal: weight,
                weight: weight * 16,
                sessions: 0,
            });
        }
        ring
    }

    #[test]
    fn a_session_walked_all_points_of_servers_that_were_full() {
        let ring = ring((0..300).map(|_| 256));
        let (points, asked) = (Cell::new(0), Cell::new(0));
        let counted = || {
            ring.points
                .iter()
                .copied()
                .inspect(|_| points.set(points.get() + 1))
        };
        let none = |_: ServerKey| {
            asked.set(asked.get() + 1);
            false
        };
        assert_eq!(ring.walk(counted(), &none), None);
        assert!(points.get() <= WALK_MAX, "{}", points.get());
        assert_eq!(asked.get(), 300);
        // Three points tell of both servers of a small ring.
        let small = super::tests::ring([1, 1].into_iter());
        asked.set(0);
        assert_eq!(small.find(7, &none), None);
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn the_only_server_with_room_is_found_however_few_points_it_has() {
        let mut ring = ring((0..300).map(|key| if key == 150 { 1 } else { 256 }));
        let only = |key: ServerKey| key == ServerKey(150);
        for hash in (0..1000).map(super::avalanche) {
            assert_eq!(ring.find(hash, &only), Some(ServerKey(150)));
        }
        assert_eq!(ring.pick(&only), Some(ServerKey(150)));
        assert_eq!(ring.pick(&only), Some(ServerKey(150)));
    }
}
