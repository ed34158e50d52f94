//! `balance roundrobin`: each server in turn, as often as its weight says, spread as evenly as can be
//! (manual 4.2).
//!
//! The schedule is WF2Q+ (Bennett and Zhang, 1997). Time is counted in rounds: in one round a server
//! of weight w gets w turns, so each turn of it lasts 1/w of a round. A turn may not be taken before
//! it starts; among the turns that have started the one that ends first is served. A server is
//! therefore never more than one turn ahead or behind, equal weights give file order, and a heavy
//! server's turns lie between those of the light ones instead of in a row. Since a turn's length
//! depends on its own server alone, the others keep their positions whoever comes or goes.

use std::collections::{BTreeSet, HashMap};

use super::{Member, ServerKey};

/// A moment or a length, in 2^-40 rounds: 128 bits do not overflow in the life of a machine.
type Rounds = u128;

const ROUND: Rounds = 1 << 40;

#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    now: Rounds,
    weight_total: u64,
    turns: HashMap<ServerKey, Turn>,
    /// Servers whose turn has started, by its end.
    started: BTreeSet<(Rounds, u64, ServerKey)>,
    /// Servers whose turn is yet to start, by its start.
    waiting: BTreeSet<(Rounds, u64, ServerKey)>,
    /// Numbers turns as they are given out: equals are served in that order.
    issued: u64,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    start: Rounds,
    number: u64,
    weight: u16,
    started: bool,
}

impl Turn {
    fn length(&self) -> Rounds {
        ROUND / Rounds::from(self.weight)
    }

    fn end(&self) -> Rounds {
        self.start + self.length()
    }
}

impl RoundRobin {
    pub(super) fn insert(&mut self, member: &Member) {
        self.weight_total += u64::from(member.weight);
        self.enqueue(member.key, member.weight, self.now);
    }

    pub(super) fn remove(&mut self, key: ServerKey) {
        if let Some(turn) = self.dequeue(key) {
            self.weight_total -= u64::from(turn.weight);
        }
    }

    /// A turn that waits is moved by the new length; one that has started keeps its start.
    pub(super) fn update(&mut self, member: &Member) {
        let Some(turn) = self.turns.get(&member.key).copied() else {
            return;
        };
        if turn.weight == member.weight {
            return;
        }
        self.remove(member.key);
        self.weight_total += u64::from(member.weight);
        let ahead = turn.start.saturating_sub(self.now);
        let moved = ahead * Rounds::from(turn.weight) / Rounds::from(member.weight);
        let start = if ahead == 0 {
            turn.start
        } else {
            self.now + moved
        };
        self.enqueue(member.key, member.weight, start);
    }

    pub(super) fn pick(&mut self, may: &dyn Fn(ServerKey) -> bool) -> Option<ServerKey> {
        self.start_due();
        let mut by_preference = self.started.iter().chain(&self.waiting);
        let (_, _, key) = *by_preference.find(|(_, _, key)| may(*key))?;
        let turn = self.dequeue(key)?;
        // Taken before its start because all others have no room: time has come that far.
        self.now = self.now.max(turn.start);
        // A server that had no room for a while does not get all it missed, but one turn.
        let next = if turn.end() + turn.length() > self.now {
            turn.end()
        } else {
            self.now
        };
        self.enqueue(key, turn.weight, next);
        self.now += ROUND / Rounds::from(self.weight_total);
        Some(key)
    }

    /// Moves the turns whose start has come; if no turn has started, time jumps to the next start.
    fn start_due(&mut self) {
        if self.started.is_empty()
            && let Some((start, _, _)) = self.waiting.first()
        {
            self.now = self.now.max(*start);
        }
        while let Some((start, number, key)) = self.waiting.first().copied()
            && start <= self.now
        {
            self.waiting.pop_first();
            if let Some(turn) = self.turns.get_mut(&key) {
                turn.started = true;
                self.started.insert((turn.end(), number, key));
            }
        }
    }

    fn enqueue(&mut self, key: ServerKey, weight: u16, start: Rounds) {
        self.issued += 1;
        let turn = Turn {
            start,
            number: self.issued,
            weight,
            started: false,
        };
        self.waiting.insert((start, turn.number, key));
        self.turns.insert(key, turn);
    }

    fn dequeue(&mut self, key: ServerKey) -> Option<Turn> {
        let turn = self.turns.remove(&key)?;
        if turn.started {
            self.started.remove(&(turn.end(), turn.number, key));
        } else {
            self.waiting.remove(&(turn.start, turn.number, key));
        }
        Some(turn)
    }
}
