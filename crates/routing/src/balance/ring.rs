//! `hash-type consistent`: every server has as many points on a ring as its weight says, and a hash
//! leads to the nearest one (manual 4.2). A server that comes or goes moves its own associations only.
//!
//! Where points lie depends on the server's id (or address, `hash-key`) and on nothing else, as in
//! HAProxy: 16 for each unit of weight, the n-th at the avalanche hash of 4096·id + n. A server has 4096
//! of them at most.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::hash::avalanche;
use super::{Member, ServerKey};

type Point = (u32, ServerKey);

#[derive(Debug, Default)]
pub(super) struct Ring {
    points: BTreeSet<Point>,
    members: HashMap<ServerKey, Member>,
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
        let point = *distinct(all_round).find(|(_, key)| may(*key))?;
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
        let mut servers = distinct(all_round).map(|(_, key)| *key);
        servers.find(|key| may(*key))
    }
}

fn point(member: &Member, number: u16) -> Point {
    let at = avalanche(member.point.wrapping_add(u32::from(number)));
    (at, member.key)
}

/// Leaves out points of a server right behind another one of it.
fn distinct<'a>(points: impl Iterator<Item = &'a Point>) -> impl Iterator<Item = &'a Point> {
    let mut before = None;
    points.filter(move |(_, key)| before.replace(*key) != Some(*key))
}
