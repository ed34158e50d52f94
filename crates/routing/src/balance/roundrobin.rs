//! `balance roundrobin`: each server in turn, as often as its weight says, spread as evenly as can be
//! (manual 4.2), in the order in which HAProxy gives turns.
//!
//! Time is counted in turns, and in rounds of as many turns as there is weight. A server of weight w
//! comes back after total/w turns; what the division leaves is carried on to its next turns. Servers
//! whose turn lies in this round wait in order of it; those that are through with the round wait for
//! the next one, the heaviest first. At each turn the first of those that are due is served, else the
//! next that has not been seen in this round, else whoever comes next. The order follows from watching
//! HAProxy 2.6 with many sets of weights; a server that comes or goes leaves the others where they
//! are.

use std::collections::BTreeSet;

use super::by_server::ByServer;
use super::{Member, ServerKey};

#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// Turns given so far.
    now: u64,
    /// The turn at which this round ends.
    round_end: u64,
    weight_total: u64,
    /// `weight_total` when distances were last fitted to it, see [`RoundRobin::fit`].
    weight_fitted: u64,
    turns: ByServer<Turn>,
    /// Not yet seen in this round.
    fresh: BTreeSet<Place>,
    /// Those that were, and have another turn in it.
    due: BTreeSet<Place>,
    /// Those that are through with it.
    next: BTreeSet<Place>,
    /// Numbers places as they are given out: equals are served in that order.
    issued: u64,
}

/// Where a server waits: sorted by turn (in `due` alone), then by how heavy it is and what it has
/// left over, then by how long it has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    turn: u64,
    rank: i64,
    number: u64,
    key: ServerKey,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    weight: u64,
    /// When it comes; `None` before the first.
    at: Option<u64>,
    /// What the division by the weight has left, below the weight.
    left_over: u64,
    place: Place,
}

impl RoundRobin {
    pub(super) fn insert(&mut self, member: &Member) {
        let weight = u64::from(member.weight);
        self.weight_total += weight;
        let mut turn = Turn {
            weight,
            at: None,
            left_over: 0,
            place: Place {
                turn: 0,
                rank: 0,
                number: 0,
                key: member.key,
            },
        };
        if self.now == 0 {
            self.round_end = self.weight_total;
        } else {
            // Who joins a farm at work waits as long as if it had just been served: no burst.
            turn.at = Some(self.now + self.weight_total / weight);
        }
        self.enqueue(turn);
        self.fit();
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        if let Some(turn) = self.dequeue(key) {
            self.weight_total -= turn.weight;
            self.fit();
        }
    }

    /// A turn to come is moved by the new weight.
    pub(super) fn update(&mut self, member: &Member) {
        let weight = u64::from(member.weight);
        let changed = self.turns.get(&member.key);
        if changed.is_none_or(|turn| turn.weight == weight) {
            return;
        }
        let Some(mut turn) = self.dequeue(member.key) else {
            return;
        };
        self.weight_total = self.weight_total - turn.weight + weight;
        if self.now == 0 {
            self.round_end = self.weight_total;
        }
        let ahead = turn.at.map(|at| at.saturating_sub(self.now));
        turn.at = ahead.map(|ahead| self.now + ahead * turn.weight / weight);
        turn.weight = weight;
        turn.left_over = 0;
        self.enqueue(turn);
        self.fit();
    }

    /// Turns to come lie as far apart as the weights wanted it when they were given out. When those
    /// have become half or twice as much since, all are moved together or apart: so a farm that
    /// shrinks does not leave a newcomer alone for long, and the work is O(1) for each change.
    fn fit(&mut self) {
        let (was, is) = (self.weight_fitted, self.weight_total);
        if is == 0 || self.now == 0 || (was / 2 < is && is / 2 < was) {
            if self.now == 0 {
                self.weight_fitted = is;
            }
            return;
        }
        self.weight_fitted = is;
        self.round_end = self.now + is;
        (self.due, self.fresh, self.next) = Default::default();
        let mut turns: Vec<Turn> = self.turns.drain().map(|(_, turn)| turn).collect();
        turns.sort_unstable_by_key(|turn| turn.place);
        for mut turn in turns {
            if let Some(at) = &mut turn.at {
                *at = self.now + at.saturating_sub(self.now) * is / if was == 0 { is } else { was };
            }
            self.enqueue(turn);
        }
    }

    pub(super) fn pick(&mut self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        self.end_round();
        let late = Place {
            turn: self.now + 1,
            rank: i64::MIN,
            number: 0,
            key: ServerKey(0),
        };
        let mut by_preference = self
            .due
            .range(..late)
            .chain(&self.fresh)
            .chain(self.due.range(late..))
            .chain(&self.next);
        let mut passed_over = false;
        let key = by_preference
            .find(|place| {
                let chosen = may(place.key);
                passed_over |= !chosen;
                chosen
            })?
            .key;
        let mut turn = self.dequeue(key)?;
        // Served before its turn because others have no room: theirs are over.
        if let Some(at) = turn.at.filter(|at| passed_over && *at > self.now) {
            self.now = at;
        }
        let step = self.weight_total / turn.weight;
        turn.left_over += self.weight_total % turn.weight;
        let carried = turn.left_over / turn.weight;
        turn.left_over %= turn.weight;
        // A server that had no room for a while does not get all it missed, but one turn.
        let at = turn
            .at
            .unwrap_or(self.now)
            .max(self.now.saturating_sub(step));
        turn.at = Some(at + step + carried);
        self.now += 1;
        self.enqueue(turn);
        Some(key)
    }

    /// When a round is over, or nobody has a turn in it, the next one begins.
    fn end_round(&mut self) {
        let nobody = self.due.is_empty() && self.fresh.is_empty();
        if self.now < self.round_end && !nobody {
            return;
        }
        if nobody {
            self.fresh = std::mem::take(&mut self.next);
        } else {
            self.fresh.append(&mut self.next);
        }
        self.now = self.now.max(self.round_end);
        self.round_end = self.now + self.weight_total;
    }

    fn enqueue(&mut self, mut turn: Turn) {
        self.issued += 1;
        let weight = i64::try_from(turn.weight).unwrap_or(i64::MAX);
        let left_over = i64::try_from(turn.left_over).unwrap_or(i64::MAX);
        turn.place.number = self.issued;
        let queue = match turn.at {
            Some(at) if at < self.round_end => {
                (turn.place.turn, turn.place.rank) = (at, left_over - weight);
                &mut self.due
            }
            seen => {
                (turn.place.turn, turn.place.rank) = (0, -weight);
                match seen {
                    Some(_) => &mut self.next,
                    None => &mut self.fresh,
                }
            }
        };
        queue.insert(turn.place);
        self.turns.insert(turn.place.key, turn);
    }

    fn dequeue(&mut self, key: ServerKey) -> Option<Turn> {
        let turn = self.turns.remove(&key)?;
        let mut queues = [&mut self.due, &mut self.fresh, &mut self.next].into_iter();
        let found = queues.any(|queue| queue.remove(&turn.place));
        debug_assert!(found, "a server waits in one of the three");
        Some(turn)
    }
}
