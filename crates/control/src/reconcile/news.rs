//! News that come beside the fetches: lists and changes that are pushed or streamed, and fetches that an
//! operator asks for. They are believed by the same rules, and lead to the same plan.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reconciler;
use crate::admit::{Known, Unfit, admit_change};
use crate::discovery::change::Change;
use crate::discovery::listing::{Listing, NotAList};
use crate::discovery::source::Source;
use crate::discovery::{Fleet, Node};
use crate::driver::Driver;
use crate::lifecycle::Input;
use crate::news::{Message, News, Origin, Outcome, Refusal, Reply};
use crate::report::Outlet;

/// How many fetches in a row may be overtaken by news: a fetch that was under way when they came may know
/// less than they say. News that never end must not keep fetches from being believed.
const OVERTAKEN_MAX: u32 = 3;

/// Fetches that operators wait for, at most.
const ASKED_MAX: usize = 64;

/// What the loop remembers of news.
#[derive(Default)]
pub(super) struct Memory {
    /// Nodes that news took away or moved, as they were, and when; forgotten when the time to confirm a list is over.
    recent: BTreeMap<Node, Duration>,
    /// Who waits for a fetch that has not begun.
    asked: Vec<Reply>,
    /// Who waits for the one under way.
    fetching_for: Vec<Reply>,
    /// Who is told when the turn is done.
    owed: Vec<(Reply, Result<Outcome, Refusal>)>,
    /// Whether news changed the fleet since the fetch under way began.
    is_fetch_old: bool,
    /// Fetches in a row that were overtaken.
    overtaken: u32,
}

impl Memory {
    /// Whether somebody waits for a fetch that has not begun.
    pub(super) fn is_fetch_asked_for(&self) -> bool {
        !self.asked.is_empty()
    }

    /// A fetch begins: what is asked for from now on is asked for behind it.
    pub(super) fn fetch_begins(&mut self) {
        self.is_fetch_old = false;
        self.fetching_for.append(&mut self.asked);
    }

    /// The fetch under way will bring nothing: whoever waits for it waits for the next one.
    pub(super) fn fetch_is_lost(&mut self) {
        self.asked.append(&mut self.fetching_for);
    }

    /// Whether what a fetch brought is older than news that came meanwhile; then whoever waits for it
    /// waits for the next one.
    pub(super) fn is_overtaken(&mut self) -> bool {
        let overtaken = self.is_fetch_old && self.overtaken < OVERTAKEN_MAX;
        self.overtaken = if overtaken { self.overtaken + 1 } else { 0 };
        if overtaken {
            self.fetch_is_lost();
        }
        overtaken
    }

    /// Who the result of the fetch is for: an operator, or nobody in particular.
    pub(super) fn fetch_origin(&self) -> Origin {
        match self.fetching_for.is_empty() {
            true => Origin::Poll,
            false => Origin::Command,
        }
    }

    /// What came of the fetch, for those who wait for it.
    pub(super) fn fetched(&mut self, result: &Result<Outcome, Refusal>) {
        let replies = self.fetching_for.drain(..);
        self.owed
            .extend(replies.map(|reply| (reply, result.clone())));
    }

    /// Nodes that were taken away or moved within the last `window`.
    pub(super) fn recent(&mut self, now: Duration, window: Duration) -> Vec<Node> {
        self.recent.retain(|_, left| now < *left + window);
        self.recent.keys().cloned().collect()
    }

    /// Remembers who was taken away, or is elsewhere now, which takes a place away all the same.
    pub(super) fn follow(&mut self, before: &Fleet, after: &Fleet, now: Duration) {
        let gone = before.nodes().iter().filter(|node| !after.contains(node));
        self.recent.extend(gone.map(|node| (node.clone(), now)));
    }

    /// Tells those who wait what came of it, now that it is in force.
    pub(super) fn answer(&mut self, took: Option<Duration>) {
        for (reply, result) in self.owed.drain(..) {
            let result = result.map(|outcome| Outcome {
                took: took.unwrap_or_default(),
                ..outcome
            });
            // Whoever has left does not want to know.
            let _ = reply.send(result);
        }
    }
}

impl<D: Driver, O: Outlet> Reconciler<D, O> {
    /// Takes one message; whether it changed the fleet in force.
    pub(super) fn on_message(&mut self, message: Message) -> bool {
        match message {
            Message::News(news) => return self.on_news(news),
            Message::Fetch(reply) if self.discovery.is_none() => {
                let _ = reply.send(Err(off()));
            }
            Message::Fetch(reply) if self.memory.asked.len() < ASKED_MAX => {
                self.memory.asked.push(reply);
            }
            Message::Fetch(reply) => {
                let _ = reply.send(Err(Refusal::new(429, "too many wait for a fetch already")));
            }
            Message::Stream { fetch: true } => self.hurry(),
            Message::Stream { fetch: false } => {}
        }
        false
    }

    fn on_news(&mut self, mut news: News) -> bool {
        let (origin, reply) = (news.origin, news.reply.take());
        let result = match news.text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => self.on_change(&news),
            _ => self.on_pushed_list(&news),
        };
        let now = self.now();
        self.report.news(origin, result.as_ref().ok(), now);
        let is_changed = result.as_ref().is_ok_and(Outcome::is_change);
        self.memory.is_fetch_old |= is_changed;
        if let (Origin::Stream, Err(refusal)) = (origin, &result) {
            // What it wants to tell is in the list.
            self.report.stream_refused(&refusal.why, &self.outlet);
            self.hurry();
        }
        if let Some(reply) = reply {
            self.memory.owed.push((reply, result));
        }
        is_changed
    }

    fn on_pushed_list(&mut self, news: &News) -> Result<Outcome, Refusal> {
        let now = self.now();
        let Some(discovery) = &self.discovery else {
            return Err(off());
        };
        let listing = Listing::parse(&news.text, discovery.ear.rewrite());
        let listing = listing.map_err(|error| Refusal::new(error.status(), error.to_string()))?;
        let settled = listing.settle(&self.fleet, discovery.nodes_max);
        let (skipped, count) = (settled.skipped.clone(), settled.skipped_count);
        self.report.skipped(settled.skipped, count, &self.outlet);
        if settled.fleet.is_empty() && !self.fleet.is_empty() {
            let why = "the list names no usable node, and there are nodes: nothing was changed";
            return Err(Refusal::new(422, why));
        }
        let confirm_after = discovery.schedule.confirm_after();
        self.report.listed(now);
        let outcome = self.on_listed(settled.fleet, confirm_after);
        self.tell_registry(news, &outcome);
        Ok(Outcome {
            skipped,
            skipped_count: count,
            ..outcome
        })
    }

    fn on_change(&mut self, news: &News) -> Result<Outcome, Refusal> {
        let now = self.now();
        let Some(discovery) = &self.discovery else {
            return Err(off());
        };
        let (text, rewrite) = (&news.text, discovery.ear.rewrite());
        let change = Change::parse(text, news.action, rewrite);
        let change = change.map_err(|why| Refusal::new(400, why))?;
        let takes_nothing = matches!(change, Change::Add(_));
        let nodes_max = discovery.nodes_max;
        let confirm_after = discovery.schedule.confirm_after();
        let recent = self.memory.recent(now, confirm_after);
        let known = Known {
            in_force: &self.fleet,
            recent: &recent,
            observed: &self.observation.backend,
            held: self.held.as_ref(),
            now,
            confirm_after,
        };
        let admitted = admit_change(&known, change, nodes_max).map_err(|unfit| {
            let status = match unfit {
                Unfit::Unknown(_) => 404,
                Unfit::Elsewhere(_) | Unfit::Taken(_) | Unfit::Full(_) | Unfit::Last(_) => 409,
            };
            Refusal::new(status, unfit.to_string())
        })?;
        let mut outcome = self.take_over(admitted);
        self.tell_registry(news, &outcome);
        if takes_nothing {
            outcome.held = None;
        }
        if let Some(difference) = outcome.difference() {
            self.input(Input::ListChanged(difference));
        }
        Ok(outcome)
    }

    /// What was pushed stands in our own registry, too: else the next look there would undo it.
    fn tell_registry(&self, news: &News, outcome: &Outcome) {
        let Some(Source::Registry { table, .. }) = self.discovery.as_ref().map(|it| &it.source)
        else {
            return;
        };
        if news.origin != Origin::Push {
            return;
        }
        for node in self.fleet.nodes() {
            let id = node.id.as_str();
            let is_news = |ids: &[String]| ids.iter().any(|news| news == id);
            if is_news(&outcome.joined) || is_news(&outcome.moved) {
                table.take_over(node);
            }
        }
        for id in &outcome.left {
            table.forget(id);
        }
    }
}

fn off() -> Refusal {
    Refusal::new(409, "discovery is off: there is no fleet to change")
}

impl NotAList {
    fn status(&self) -> u16 {
        match self {
            Self::TooMany => 413,
            _ => 400,
        }
    }
}
