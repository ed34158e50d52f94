//! `hash-type map-based` and `balance static-rr`: a map of all servers, each as often as its weight
//! says (manual 4.2). A hash leads to a position; `static-rr` goes from one to the next.
//!
//! The map is as long as the total weight and is made anew, when first needed, after any change. While
//! many changes are made at once it is held as it was, and made once when they are over, by whoever made
//! them and while others go on using the old one ([`Draft`]). Its layout is HAProxy's, so that a farm of
//! both programs agrees: position by position each server earns its weight, and the first in file order of
//! those that are most behind gets the position.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::{Member, ServerKey};

#[derive(Debug, Default)]
pub(super) struct Map {
    members: BTreeMap<ServerKey, u16>,
    /// Weights of all servers, usable or not: their common divisor shortens the map.
    declared: BTreeMap<ServerKey, u16>,
    map: Vec<ServerKey>,
    /// Changes so far, and how many of them the map knows.
    changes: u64,
    known: u64,
    /// How many are there of whom more changes are coming at once.
    holders: usize,
    /// The position whose turn it is.
    turn: usize,
    /// How many maps were made.
    #[cfg(test)]
    pub(super) made: usize,
}

/// A map to be made, without whatever guards the one in use.
#[derive(Debug)]
pub(super) struct Draft {
    members: BTreeMap<ServerKey, u16>,
    declared: BTreeMap<ServerKey, u16>,
    changes: u64,
}

/// One that was made.
#[derive(Debug)]
pub(super) struct Made {
    map: Vec<ServerKey>,
    changes: u64,
}

impl Draft {
    pub(super) fn make(self) -> Made {
        Made {
            map: make_map(&self.members, &self.declared),
            changes: self.changes,
        }
    }
}

impl Map {
    pub(super) fn insert(&mut self, member: &Member) {
        self.members.insert(member.key, member.nominal);
        self.changes += 1;
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        self.members.remove(&key);
        self.changes += 1;
    }

    pub(super) fn update(&mut self, member: &Member) {
        if self.members.get(&member.key) != Some(&member.nominal) {
            self.insert(member);
        }
    }

    /// Notes the weight of any server of the backend; 0 forgets it.
    pub(super) fn declare(&mut self, key: ServerKey, weight: u16) {
        if weight == 0 {
            self.declared.remove(&key);
        } else {
            self.declared.insert(key, weight);
        }
        self.changes += 1;
    }

    /// More changes are coming at once: until then the map stays as it is, less who has left.
    pub(super) fn hold(&mut self) {
        self.holders += 1;
    }

    /// The map that should be there, if it is another one.
    pub(super) fn draft(&self) -> Option<Draft> {
        (self.known != self.changes).then(|| Draft {
            members: self.members.clone(),
            declared: self.declared.clone(),
            changes: self.changes,
        })
    }

    /// The changes are over. A map that was made meanwhile is taken unless there were more of them.
    pub(super) fn release(&mut self, made: Option<Made>) {
        self.holders = self.holders.saturating_sub(1);
        if let Some(made) = made.filter(|made| made.changes == self.changes) {
            self.install(made);
        }
    }

    fn make(&mut self) {
        let map = make_map(&self.members, &self.declared);
        let changes = self.changes;
        self.install(Made { map, changes });
    }

    fn install(&mut self, made: Made) {
        (self.map, self.known) = (made.map, made.changes);
        #[cfg(test)]
        {
            self.made += 1;
        }
    }

    /// Makes the map that should be there. A held one does, as long as it names anybody.
    fn refresh(&mut self) {
        let does = self.holders > 0 && !self.map.is_empty();
        if self.known != self.changes && !does {
            self.make();
        }
    }

    /// A held map names some who have left.
    fn is_member(&self, key: ServerKey) -> bool {
        self.known == self.changes || self.members.contains_key(&key)
    }

    /// The server whose turn it is.
    pub(super) fn pick(&mut self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        self.refresh();
        self.find_turn(may).or_else(|| {
            // Nobody of the held one may be had, or has not left: a newcomer, perhaps.
            (self.known != self.changes).then(|| self.make())?;
            self.find_turn(may)
        })
    }

    fn find_turn(&mut self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        let (turn, map) = (self.turn, &self.map);
        let (before, behind) = map.split_at(turn.min(map.len()));
        let mut round = behind.iter().chain(before).enumerate();
        let is_here = |key: &ServerKey| self.is_member(*key) && may(*key);
        let (steps, key) = round.find(|(_, key)| is_here(key))?;
        let (key, length) = (*key, map.len());
        self.turn = (turn.min(length) + steps) % length + 1;
        Some(key)
    }

    /// The server that a hash leads to; where that is out of question, the next one in file order.
    pub(super) fn find(&mut self, hash: u32, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        self.refresh();
        let at = (hash as usize).checked_rem(self.map.len())?;
        let chosen = self.map[at];
        if self.is_member(chosen) && may(chosen) {
            return Some(chosen);
        }
        let behind = self.members.range((Excluded(chosen), Unbounded));
        let before = self.members.range(..chosen);
        let mut others = behind.chain(before).map(|(key, _)| *key);
        others.find(|key| may(*key))
    }
}

/// After k positions a server of weight w should have had k·w/total of them; its credit is how many
/// whole ones it has yet to get, and it grows at known positions only. So servers are kept in sets by
/// credit instead of being compared at every position, and a map costs O(total · log n).
fn make_map(
    members: &BTreeMap<ServerKey, u16>,
    declared: &BTreeMap<ServerKey, u16>,
) -> Vec<ServerKey> {
    let divisor = declared
        .values()
        .fold(0, |acc, weight| gcd(acc, *weight))
        .max(1);
    let weights: Vec<(ServerKey, usize)> = members
        .iter()
        .map(|(key, weight)| (*key, usize::from((weight / divisor).max(1))))
        .collect();
    let total: usize = weights.iter().map(|(_, weight)| weight).sum();
    let growth = Growth::of(&weights, total);
    let mut credit = vec![0_isize; weights.len()];
    let mut by_credit: BTreeMap<isize, BTreeSet<usize>> = BTreeMap::new();
    by_credit.insert(0, (0..weights.len()).collect());
    let mut map = Vec::with_capacity(total);
    for position in 1..=total {
        for index in growth.at(position) {
            change_credit(&mut by_credit, &mut credit[*index], *index, 1);
        }
        let Some(best) = by_credit
            .last_key_value()
            .and_then(|(_, set)| set.first().copied())
        else {
            break;
        };
        map.push(weights[best].0);
        change_credit(&mut by_credit, &mut credit[best], best, -1);
    }
    map
}

/// Whose credit grows at which position: as many entries as the map is long, sorted by position, in one
/// vector. A list a position would be some hundred thousand lists.
struct Growth {
    /// Where the entries of each position begin.
    starts: Vec<usize>,
    /// Servers, by their place in the list of weights.
    servers: Vec<usize>,
}

impl Growth {
    fn of(weights: &[(ServerKey, usize)], total: usize) -> Self {
        let growths = || {
            let each = weights.iter().enumerate();
            each.flat_map(|(index, (_, weight))| {
                (1..=*weight).map(move |turn| (index, (turn * total).div_ceil(*weight)))
            })
        };
        let mut starts = vec![0; total + 2];
        for (_, position) in growths() {
            starts[position + 1] += 1;
        }
        for position in 1..starts.len() {
            starts[position] += starts[position - 1];
        }
        let mut servers = vec![0; total];
        let mut next = starts.clone();
        for (index, position) in growths() {
            servers[next[position]] = index;
            next[position] += 1;
        }
        Self { starts, servers }
    }

    fn at(&self, position: usize) -> &[usize] {
        &self.servers[self.starts[position]..self.starts[position + 1]]
    }
}

fn change_credit(
    by_credit: &mut BTreeMap<isize, BTreeSet<usize>>,
    credit: &mut isize,
    index: usize,
    by: isize,
) {
    if let Some(set) = by_credit.get_mut(credit) {
        set.remove(&index);
        if set.is_empty() {
            by_credit.remove(credit);
        }
    }
    *credit += by;
    by_credit.entry(*credit).or_default().insert(index);
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}
