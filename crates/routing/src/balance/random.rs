//! `balance random(N)`: N servers are drawn, as likely as their weights, and the one with the fewest
//! sessions for its weight wins (manual 4.2; "the power of two random choices").
//!
//! Draws are with replacement and O(log n): weights stand in a Fenwick tree.

use super::by_server::ByServer;
use super::{Member, ServerKey};

#[derive(Debug)]
pub(super) struct Random {
    draws: u32,
    /// Slots may be free (`None`); their weight is 0 then.
    slots: Vec<Option<Member>>,
    free: Vec<usize>,
    slot_of: ByServer<usize>,
    weights: Fenwick,
}

impl Random {
    pub(super) fn new(draws: u32) -> Self {
        Self {
            draws: draws.max(1),
            slots: Vec::new(),
            free: Vec::new(),
            slot_of: ByServer::default(),
            weights: Fenwick::default(),
        }
    }

    pub(super) fn insert(&mut self, member: &Member) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.weights.grow();
            self.slots.len() - 1
        });
        self.slots[slot] = Some(*member);
        self.slot_of.insert(member.key, slot);
        self.weights.add(slot, i64::from(member.weight));
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        let Some(slot) = self.slot_of.remove(&key) else {
            return;
        };
        if let Some(member) = self.slots[slot].take() {
            self.weights.add(slot, -i64::from(member.weight));
        }
        self.free.push(slot);
    }

    pub(super) fn update(&mut self, member: &Member) {
        let Some(slot) = self.slot_of.get(&member.key).copied() else {
            return;
        };
        let before = self.slots[slot].replace(*member);
        let weight_before = before.map_or(0, |before| i64::from(before.weight));
        self.weights
            .add(slot, i64::from(member.weight) - weight_before);
    }

    pub(super) fn pick(
        &mut self,
        random: u64,
        may: &dyn Fn(ServerKey) -> bool,
    ) -> Option<ServerKey> {
        let total = self.weights.total();
        if total == 0 {
            return None;
        }
        let mut seed = random;
        let mut best: Option<Member> = None;
        let mut slot = 0;
        for _ in 0..self.draws {
            slot = self.weights.find(below(&mut seed, total));
            let Some(drawn) = self.slots[slot].filter(|member| may(member.key)) else {
                continue;
            };
            if best.is_none_or(|best| less_loaded(&drawn, &best)) {
                best = Some(drawn);
            }
        }
        let best = best.or_else(|| self.next_behind(slot, may))?;
        Some(best.key)
    }

    /// All that were drawn have no room: the first behind them that has.
    fn next_behind(&self, slot: usize, may: &dyn Fn(ServerKey) -> bool) -> Option<Member> {
        let (before, behind) = self.slots.split_at(slot);
        let mut members = behind.iter().chain(before).flatten();
        members.find(|member| may(member.key)).copied()
    }
}

fn less_loaded(a: &Member, b: &Member) -> bool {
    let (sessions_a, sessions_b) = (u128::from(a.sessions), u128::from(b.sessions));
    sessions_a * u128::from(b.weight) < sessions_b * u128::from(a.weight)
}

/// A number below `bound` from the next step of splitmix64 (Steele, Lea, Flood 2014); the bias of the
/// multiplication is `bound`/2^64.
fn below(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    ((u128::from(mixed) * u128::from(bound)) >> 64) as u64
}

/// Sums of weights by position, changed and searched in O(log n) (Fenwick 1994).
#[derive(Debug, Default)]
struct Fenwick {
    /// `tree[i - 1]` is the sum of the `i & -i` weights that end at position i, counted from 1.
    tree: Vec<u64>,
    total: u64,
}

impl Fenwick {
    fn total(&self) -> u64 {
        self.total
    }

    /// Adds a position of weight 0 at the end.
    fn grow(&mut self) {
        let at = self.tree.len() + 1;
        let covered = at & at.wrapping_neg();
        let sum = self.sum_to(at - 1) - self.sum_to(at - covered);
        self.tree.push(sum);
    }

    fn sum_to(&self, count: usize) -> u64 {
        let mut at = count;
        let mut sum = 0;
        while at > 0 {
            sum += self.tree[at - 1];
            at &= at - 1;
        }
        sum
    }

    fn add(&mut self, slot: usize, change: i64) {
        self.total = self.total.wrapping_add_signed(change);
        let mut at = slot + 1;
        while at <= self.tree.len() {
            self.tree[at - 1] = self.tree[at - 1].wrapping_add_signed(change);
            at += at & at.wrapping_neg();
        }
    }

    /// The position in which the `target`-th unit of weight lies; `target` is below the total.
    fn find(&self, mut target: u64) -> usize {
        let mut at = 0;
        let mut step = self.tree.len().next_power_of_two();
        while step > 0 {
            let next = at + step;
            if next <= self.tree.len() && self.tree[next - 1] <= target {
                target -= self.tree[next - 1];
                at = next;
            }
            step /= 2;
        }
        at
    }
}
