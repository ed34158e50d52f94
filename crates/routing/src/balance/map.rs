//! `hash-type map-based` and `balance static-rr`: a map of all servers, each as often as its weight
//! says (manual 4.2). A hash leads to a position; `static-rr` goes from one to the next.
//!
//! The map is as long as the total weight and is made anew, when first needed, after any change. Its
//! layout is HAProxy's, so that a farm of both programs agrees: position by position each server earns
//! its weight, and the first in file order of those that are most behind gets the position.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::{Member, ServerKey};

#[derive(Debug, Default)]
pub(super) struct Map {
    members: BTreeMap<ServerKey, u16>,
    /// Weights of all servers, usable or not: their common divisor shortens the map.
    declared: BTreeMap<ServerKey, u16>,
    map: Option<Vec<ServerKey>>,
    /// The position whose turn it is.
    turn: usize,
}

impl Map {
    pub(super) fn insert(&mut self, member: &Member) {
        self.members.insert(member.key, member.nominal);
        self.map = None;
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        self.members.remove(&key);
        self.map = None;
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
        self.map = None;
    }

    fn map(&mut self) -> &[ServerKey] {
        let Self {
            members,
            declared,
            map,
            ..
        } = self;
        map.get_or_insert_with(|| make_map(members, declared))
    }

    /// The server whose turn it is.
    pub(super) fn pick(&mut self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        let turn = self.turn;
        let map = self.map();
        let (before, behind) = map.split_at(turn.min(map.len()));
        let mut round = behind.iter().chain(before).enumerate();
        let (steps, key) = round.find(|(_, key)| may(**key))?;
        let (key, length) = (*key, map.len());
        self.turn = (turn.min(length) + steps) % length + 1;
        Some(key)
    }

    /// The server that a hash leads to; where that is out of question, the next one in file order.
    pub(super) fn find(&mut self, hash: u32, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        let map = self.map();
        let at = (hash as usize).checked_rem(map.len())?;
        let chosen = map[at];
        if may(chosen) {
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
