//! `balance source`: the same client address gets the same server as long as the servers stay the
//! same; HAProxy's default `hash-type map-based` (manual 4.2).
//!
//! The map is as long as the total weight and is made anew, when first needed, after any change. Its
//! layout is HAProxy's, so that a farm of both programs agrees: position by position each server earns
//! its weight, and the first in file order of those that are most behind gets the position.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Member, ServerKey};

/// What `balance source` hashes an address to: the exclusive or of its 32-bit words.
pub fn source_hash(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => u32::from_be_bytes(v4.octets()),
        IpAddr::V6(v6) => {
            let bits = u128::from_be_bytes(v6.octets());
            let words = [96, 64, 32, 0].map(|shift| (bits >> shift) as u32);
            words.iter().fold(0, |hash, word| hash ^ word)
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Source {
    members: BTreeMap<ServerKey, u16>,
    /// Weights of all servers, usable or not: their common divisor shortens the map.
    declared: BTreeMap<ServerKey, u16>,
    map: Option<Vec<ServerKey>>,
}

impl Source {
    pub(super) fn insert(&mut self, member: &Member) {
        self.members.insert(member.key, member.weight);
        self.map = None;
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        self.members.remove(&key);
        self.map = None;
    }

    pub(super) fn update(&mut self, member: &Member) {
        if self.members.get(&member.key) != Some(&member.weight) {
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

    pub(super) fn pick(&mut self, hash: u32, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        let Self {
            members,
            declared,
            map,
        } = self;
        let map = map.get_or_insert_with(|| make_map(members, declared));
        if map.is_empty() {
            return None;
        }
        let at = hash as usize % map.len();
        let chosen = map[at];
        if may(chosen) {
            return Some(chosen);
        }
        // Where its own server is out of question a client goes to the next one behind it.
        let behind = members.range((
            std::ops::Bound::Excluded(chosen),
            std::ops::Bound::Unbounded,
        ));
        let before = members.range(..chosen);
        behind
            .chain(before)
            .map(|(key, _)| *key)
            .find(|key| may(*key))
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
    let mut grows_at: Vec<Vec<usize>> = vec![Vec::new(); total + 1];
    for (index, (_, weight)) in weights.iter().enumerate() {
        for position in 1..=*weight {
            grows_at[(position * total).div_ceil(*weight)].push(index);
        }
    }
    let mut credit = vec![0_isize; weights.len()];
    let mut by_credit: BTreeMap<isize, BTreeSet<usize>> = BTreeMap::new();
    by_credit.insert(0, (0..weights.len()).collect());
    let mut map = Vec::with_capacity(total);
    for growing in grows_at.iter().skip(1) {
        for index in growing {
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
