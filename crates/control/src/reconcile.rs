//! The circle: observe, plan, apply; woken by change and by time.
//!
//! It decides nothing itself. What a list means is decided in `discovery`, what of it is believed
//! in `admit`, what to do in `plan`, when to ask again in `schedule`, what to call it in `lifecycle`.
//! What it believes of the backend is what it observed last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::Level;
use engine::command::Admin;
use engine::snapshot::{ControlStatus, DiscoveryStatus, Event};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::admit::{Admitted, Held, Known, admit};
use crate::discovery::source::{Fetch, Source};
use crate::discovery::wsupdates::FetchError;
use crate::discovery::{Fleet, listing::Listing};
use crate::driver::{Driver, DriverError, Observation};
use crate::hearing::{Ear, Hearing};
use crate::lifecycle::{Input, Lifecycle, STATES};
use crate::news::{Message, Outcome, Refusal};
use crate::node::Stage;
use crate::plan::{Intent, Plan, Seen, Step, plan};
use crate::report::{Outlet, Report, WAITING_MAX};
use crate::schedule::Schedule;
use crate::state_file::StateFile;
use crate::{ReloadNews, renew};

pub(crate) mod news;

/// How often the backend is looked at while something may happen that no event tells of: sessions
/// of a draining server end, an operator acts.
const LOOK: Duration = Duration::from_secs(1);

/// The same while first results of checks are awaited.
const LOOK_AT_CHECKS: Duration = Duration::from_millis(100);

/// The same when nothing can happen any more: everything routes and there is no discovery.
const LOOK_IDLE: Duration = Duration::from_secs(3600);

/// How long a configuration that was refused is shown as `Error`, where no fetch of a list comes sooner.
const RETRY_ALONE: Duration = Duration::from_secs(10);

/// Most plans carried out before the loop listens again: bounds what a driver that never gets
/// anywhere can cost.
const TURNS_MAX: usize = 1000;

/// Discovery, as far as the loop needs it.
pub(crate) struct Discovery {
    pub(crate) source: Source,
    pub(crate) schedule: Schedule,
    pub(crate) intent: Intent,
    pub(crate) nodes_max: usize,
    pub(crate) state_file: Option<Arc<StateFile>>,
    /// The fleet of the state file, in force until a list comes.
    pub(crate) restored: Fleet,
    /// News that come beside the list.
    pub(crate) ear: Ear,
}

/// The loop.
pub(crate) struct Reconciler<D, O> {
    driver: D,
    outlet: O,
    discovery: Option<Discovery>,
    started: Instant,
    lifecycle: Lifecycle,
    fleet: Fleet,
    held: Option<Held>,
    /// What the state file has, as far as we know; `None`: something else.
    saved: Option<Fleet>,
    save_failed: bool,
    stages: BTreeMap<Arc<str>, Stage>,
    observation: Observation,
    waiting: Vec<String>,
    /// Servers whose last sessions were told to end, which was said.
    shut_down: BTreeSet<Arc<str>>,
    /// Servers that were drained because their nodes left, until they are ready again.
    drained: BTreeSet<Arc<str>>,
    /// Whether the fleet is what was found, for want of any list.
    adopted: bool,
    fetch_wanted: bool,
    stopping: bool,
    /// Whether the configuration is being read again.
    reloading: bool,
    hearing: Hearing,
    memory: news::Memory,
    report: Report,
}

/// What woke the loop.
enum Woken {
    Event(Result<Event, RecvError>),
    Fetched(Result<Listing, FetchError>),
    Saved(Fleet, Result<(), String>),
    Reload(ReloadNews),
    Message(Message),
    Hint,
    Time,
}

/// The state file being written, and what with.
type Saving = (Fleet, JoinHandle<std::io::Result<()>>);

impl<D: Driver, O: Outlet> Reconciler<D, O> {
    /// A loop that has not begun; `lifecycle` comes from [`Lifecycle::begin`].
    pub(crate) fn new(
        driver: D,
        outlet: O,
        discovery: Option<Discovery>,
        lifecycle: Lifecycle,
        (hearing, report): (Hearing, Report),
    ) -> Self {
        let fleet = discovery
            .as_ref()
            .map(|discovery| discovery.restored.clone());
        let fleet = fleet.unwrap_or_default();
        Self {
            driver,
            outlet,
            discovery,
            started: Instant::now(),
            lifecycle,
            saved: Some(fleet.clone()),
            save_failed: false,
            fleet,
            held: None,
            stages: BTreeMap::new(),
            observation: Observation::default(),
            waiting: Vec::new(),
            shut_down: BTreeSet::new(),
            drained: BTreeSet::new(),
            adopted: false,
            fetch_wanted: false,
            stopping: false,
            reloading: false,
            hearing,
            memory: news::Memory::default(),
            report,
        }
    }

    /// Turns until the engine is gone or begins to stop. What then leaves is not the fleet's doing,
    /// and the state file is a successor's.
    pub(crate) async fn run(
        mut self,
        mut events: broadcast::Receiver<Event>,
        mut reloads: mpsc::UnboundedReceiver<ReloadNews>,
        mut messages: mpsc::Receiver<Message>,
        seed: u64,
    ) {
        let mut fetch: Option<Fetch> = None;
        let mut saving: Option<Saving> = None;
        // When news came that changed the fleet, until they are worked towards.
        let mut news_came: Option<Instant> = None;
        self.input(Input::ConfigLoaded);
        loop {
            let changes = self.report.changes();
            self.turn().await;
            let took = news_came.take().map(|came| came.elapsed());
            if let Some(took) = took.filter(|_| self.report.changes() > changes) {
                self.report.applied(took);
            }
            self.memory.answer(took);
            self.begin_fetch(&mut fetch);
            self.begin_save(&mut saving);
            self.publish();
            let wake = self.started + self.next_look(fetch.is_some());
            let source = self.discovery.as_ref().map(|discovery| &discovery.source);
            let woken = tokio::select! {
                biased;
                fetched = under_way(&mut fetch) => Woken::Fetched(fetched),
                (fleet, saved) = saved(&mut saving) => Woken::Saved(fleet, saved),
                Some(news) = reloads.recv() => Woken::Reload(news),
                event = events.recv() => Woken::Event(event),
                Some(message) = messages.recv() => Woken::Message(message),
                () = hint(source) => Woken::Hint,
                () = tokio::time::sleep_until(wake) => Woken::Time,
            };
            match woken {
                Woken::Event(Err(RecvError::Closed)) => return,
                Woken::Event(event) => {
                    self.on_event(event.ok());
                    self.on_more_events(&mut events);
                }
                Woken::Fetched(fetched) => {
                    let came = Instant::now();
                    news_came = self.on_fetched(fetched).then_some(came);
                }
                Woken::Message(message) => {
                    let came = match &message {
                        Message::News(news) => news.came,
                        _ => Instant::now(),
                    };
                    news_came = self.on_message(message).then_some(came);
                }
                Woken::Saved(fleet, result) => self.on_saved(fleet, result),
                Woken::Reload(news) => {
                    if self.on_reload(news, seed) {
                        // It would be another service's answer.
                        fetch = None;
                        self.memory.fetch_is_lost();
                    }
                }
                Woken::Hint => self.hurry(),
                Woken::Time => self.retry_alone(),
            }
            if self.stopping {
                return;
            }
        }
    }

    /// Time since the loop began: the clock of everything pure.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Tells the lifecycle what happened and does what it asks for.
    fn input(&mut self, input: Input) {
        let now = self.now();
        let (lifecycle, actions) = self.lifecycle.clone().step(input, now);
        self.lifecycle = lifecycle;
        for (level, line) in actions.log {
            self.outlet.log(level, &line);
        }
        if actions.load_config {
            // The configuration cannot have become wrong since it was checked at the start.
            self.input(Input::ConfigLoaded);
        }
        if actions.fetch && self.discovery.is_none() {
            self.input(Input::NodesFetched);
        } else if actions.fetch {
            self.fetch_wanted = true;
        }
    }

    /// Observes, plans and applies until there is nothing to do now.
    async fn turn(&mut self) {
        for _ in 0..TURNS_MAX {
            self.driver.expect(&self.fleet);
            match self.driver.observe().await {
                Ok(observation) => {
                    self.report.unobserved(None, &self.outlet);
                    self.follow(observation);
                }
                Err(error) => {
                    self.waiting = vec![error.to_string()];
                    self.report
                        .unobserved(Some(error.to_string()), &self.outlet);
                    return;
                }
            }
            let plan = self.plan();
            self.waiting = plan.waiting;
            if !self.apply(plan.steps).await {
                break;
            }
        }
        if !self.reloading {
            self.input(Input::ChangesApplied);
        }
        if self.observation.unchecked == 0 {
            self.input(Input::ServersChecked);
        }
        if self.observation.routed {
            self.input(Input::Routed);
        }
        self.input(Input::Tick);
    }

    fn plan(&self) -> Plan {
        match &self.discovery {
            // Towards what is there nothing has to be done, and whom somebody drains is not in it.
            Some(_) if self.adopted => Plan::default(),
            Some(discovery) => {
                let observed = &self.observation.backend;
                plan(&discovery.intent, &self.fleet, observed, self.now())
            }
            None => Plan::default(),
        }
    }

    /// Takes over what was observed, and follows each node through its life.
    fn follow(&mut self, mut observation: Observation) {
        let now = self.now();
        let servers = &mut observation.backend.servers;
        let ours = servers.iter().filter(|seen| seen.node.is_some());
        let ours: BTreeMap<&str, &Seen> = ours.map(|seen| (&*seen.name, seen)).collect();
        for (name, stage) in &mut self.stages {
            let seen = ours.get(&**name).copied();
            let next = stage.step(seen, now);
            if next.name() != stage.name() {
                let (from, to) = (stage.name(), next.name());
                let sessions = match seen.map_or(0, |seen| seen.sessions) {
                    0 => String::new(),
                    sessions => format!(" ({sessions} sessions)"),
                };
                let line = format!("Node {name}: {from} -> {to}{sessions}");
                self.outlet.log(Level::Notice, &line);
            }
            *stage = next;
        }
        self.stages.retain(|_, stage| *stage != Stage::Gone);
        let drains = |stage: &Stage| stage.draining_since().is_some();
        let stages = &self.stages;
        self.shut_down
            .retain(|name| stages.get(name).is_some_and(drains));
        let drained = |name: &Arc<str>| {
            let seen = ours.get(&**name);
            seen.is_some_and(|seen| seen.admin != Admin::Ready)
        };
        self.drained.retain(drained);
        for seen in servers.iter_mut().filter(|seen| seen.node.is_some()) {
            seen.drain_is_ours |= self.drained.contains(&seen.name);
            let begin = || Stage::begin(now);
            let stage = self
                .stages
                .entry(Arc::clone(&seen.name))
                .or_insert_with(begin);
            *stage = stage.step(Some(seen), now);
            seen.joining_since = stage.joining_since();
            seen.draining_since = stage.draining_since();
        }
        self.observation = observation;
        self.adopt();
    }

    /// Takes over what only the driver knows: servers that are not for nodes, and, as long as there is
    /// no list, the nodes it found servers of. They were there before us: no news is not bad news.
    fn adopt(&mut self) {
        let Some(discovery) = &mut self.discovery else {
            return;
        };
        if let Some(configured) = self.observation.configured.take() {
            discovery.intent.configured = configured;
        }
        if self.fleet.is_empty() {
            let servers = self.observation.backend.servers.iter();
            // Who drains was on its way out.
            let stays = servers.filter(|seen| seen.admin != Admin::Drain);
            let nodes = stays.filter_map(|seen| seen.node.clone()).collect();
            self.fleet = Fleet::settle(nodes, &Fleet::default(), discovery.nodes_max).0;
            self.adopted = !self.fleet.is_empty();
        }
    }

    /// Applies steps; whether it is worth looking again at once.
    async fn apply(&mut self, steps: Vec<Step>) -> bool {
        let mut progress = false;
        let mut refused = BTreeSet::new();
        for step in steps {
            let applied = self.driver.apply(&step).await;
            if let (Ok(()), Step::Drain(name)) = (&applied, &step) {
                self.drained.insert(Arc::clone(name));
            }
            match applied {
                // Told again each second until they have ended; said and counted once.
                Ok(()) if matches!(&step, Step::Shutdown(name) if !self.shut_down.insert(Arc::clone(name))) =>
                    {}
                Ok(()) => {
                    self.report.changed();
                    self.outlet.log(Level::Notice, &format!("Fleet: {step}"));
                    // Sessions that were told to end take a moment to do so.
                    progress |= !matches!(step, Step::Shutdown(_));
                }
                // A session slipped in between looking and acting: the next turn sees it.
                Err(DriverError::Busy(_)) => {}
                // The other steps would wait as long, one after the other.
                Err(error @ DriverError::Unreachable(_)) => {
                    self.waiting.push(format!("cannot {step}: {error}"));
                    self.report
                        .unobserved(Some(error.to_string()), &self.outlet);
                    return false;
                }
                Err(error) => {
                    self.waiting.push(format!("cannot {step}: {error}"));
                    refused.insert(format!("{step}: {error}"));
                }
            }
        }
        self.driver.settle().await;
        if self.discovery.is_some() {
            self.report.refused(refused, &self.outlet);
        }
        progress
    }

    /// Begins a fetch when one is due or wanted, and none is under way.
    fn begin_fetch(&mut self, fetch: &mut Option<Fetch>) {
        let now = self.now();
        if self.memory.is_fetch_asked_for() {
            self.hurry();
        }
        let due = match &self.discovery {
            Some(discovery) => discovery.schedule.next() <= now,
            None => return,
        };
        if fetch.is_some() || !(due || self.fetch_wanted) {
            return;
        }
        if self.lifecycle.is_error() {
            self.input(Input::Retry);
        }
        self.fetch_wanted = false;
        self.memory.fetch_begins();
        if let Some(discovery) = &mut self.discovery {
            discovery.schedule.begun(now);
            *fetch = Some(discovery.source.fetch());
        }
    }

    /// Whether it changed the fleet in force.
    fn on_fetched(&mut self, fetched: Result<Listing, FetchError>) -> bool {
        let now = self.now();
        let Some(discovery) = &mut self.discovery else {
            return false;
        };
        if fetched.is_ok() && self.memory.is_overtaken() {
            self.report.overtaken();
            discovery.schedule.again(now);
            return false;
        }
        let settled = fetched.map(|listing| listing.settle(&self.fleet, discovery.nodes_max));
        let result = settled.and_then(|settled| {
            let (skipped, count) = (settled.skipped.clone(), settled.skipped_count);
            self.report.skipped(settled.skipped, count, &self.outlet);
            // An empty list is no news, unless there is nothing it could empty.
            match settled.fleet.is_empty() && !self.fleet.is_empty() {
                true => Err(FetchError::Empty),
                false => Ok((settled.fleet, skipped, count)),
            }
        });
        let result = match result {
            Ok((listed, skipped, skipped_count)) => {
                discovery.schedule.succeeded(now);
                let confirm_after = discovery.schedule.confirm_after();
                discovery.ear.begin_stream();
                self.report.fetched(now);
                Ok(Outcome {
                    skipped,
                    skipped_count,
                    ..self.on_listed(listed, confirm_after)
                })
            }
            Err(error) => {
                discovery.schedule.failed(now);
                self.report.failed(&error);
                self.input(Input::FetchFailed(error.line()));
                Err(Refusal::new(502, error.line()))
            }
        };
        let origin = self.memory.fetch_origin();
        self.report.news(origin, result.as_ref().ok(), now);
        self.memory.fetched(&result);
        result.is_ok_and(|outcome| outcome.is_change())
    }

    /// A good list: believes what can be believed and works towards it.
    fn on_listed(&mut self, listed: Fleet, confirm_after: Duration) -> Outcome {
        let now = self.now();
        let recent = self.memory.recent(now, confirm_after);
        let known = Known {
            in_force: &self.fleet,
            recent: &recent,
            observed: &self.observation.backend,
            held: self.held.as_ref(),
            now,
            confirm_after,
        };
        let admitted = admit(&known, listed);
        // A write that failed is tried again with the next good list, not in a circle.
        if std::mem::take(&mut self.save_failed) {
            self.saved = None;
        }
        let outcome = self.take_over(admitted);
        self.input(Input::NodesFetched);
        if let Some(difference) = outcome.difference() {
            self.input(Input::ListChanged(difference));
        }
        outcome
    }

    /// From now on this is the fleet.
    fn take_over(&mut self, admitted: Admitted) -> Outcome {
        let held = admitted.held.as_ref().map(ToString::to_string);
        let held_before = self.held.as_ref().map(ToString::to_string);
        if let Some(line) = held.as_ref().filter(|_| held != held_before) {
            let line = format!("Node list: {line}");
            self.outlet.log(Level::Warning, &line);
        }
        let now = self.now();
        let outcome = Outcome::between(&self.fleet, &admitted.fleet);
        self.memory.follow(&self.fleet, &admitted.fleet, now);
        self.held = admitted.held;
        self.fleet = admitted.fleet;
        self.adopted = false;
        Outcome { held, ..outcome }
    }

    /// Without discovery there is no fetch to retry with.
    fn retry_alone(&mut self) {
        if self.discovery.is_none() && self.lifecycle.is_error() {
            self.input(Input::Retry);
        }
    }

    /// A reload begins, or has ended. Whether the list comes from somewhere else from now on.
    fn on_reload(&mut self, news: ReloadNews, seed: u64) -> bool {
        self.reloading = matches!(news, ReloadNews::Begun);
        match news {
            ReloadNews::Begun => self.input(Input::ReloadBegun),
            ReloadNews::Refused(why) => self.input(Input::ReloadRefused(why)),
            ReloadNews::Applied(setup, changes) => {
                self.input(Input::ReloadApplied(changes));
                for note in &setup.notes {
                    self.outlet.log(Level::Warning, note);
                }
                let renewed = renew::discovery(self.discovery.take(), *setup, &self.hearing, seed);
                for line in &renewed.told {
                    self.outlet.log(Level::Notice, line);
                }
                let backend = renewed.discovery.as_ref();
                let backend = backend.map(|it| Arc::clone(&it.intent.backend));
                self.driver.aim(backend);
                self.discovery = renewed.discovery;
                if renewed.is_elsewhere {
                    // The nodes that are known stay in force until the first list comes.
                    self.held = None;
                    self.saved = None;
                    self.fetch_wanted = self.discovery.is_some();
                }
                return renewed.is_elsewhere;
            }
        }
        false
    }

    /// Something calls for a fresh list.
    fn hurry(&mut self) {
        let now = self.now();
        if let Some(discovery) = &mut self.discovery {
            discovery.schedule.hurry(now);
        }
    }

    fn on_event(&mut self, event: Option<Event>) {
        let ours = self
            .discovery
            .as_ref()
            .map(|discovery| &discovery.intent.backend);
        match event {
            Some(Event::ServerDown { backend, .. }) if Some(&backend) == ours => self.hurry(),
            Some(Event::Stopping) => self.stopping = true,
            // Everything else, lost events included, is seen by looking, which comes next.
            _ => {}
        }
    }

    /// Takes the events that wait, so that a burst of them costs one look.
    fn on_more_events(&mut self, events: &mut broadcast::Receiver<Event>) {
        loop {
            match events.try_recv() {
                Ok(event) => self.on_event(Some(event)),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Begins to write the state file when the fleet is another one than it has. A fleet that no
    /// list has confirmed since the start is not written.
    fn begin_save(&mut self, saving: &mut Option<Saving>) {
        let file = self
            .discovery
            .as_ref()
            .and_then(|discovery| discovery.state_file.as_ref());
        let (Some(file), None) = (file, &saving) else {
            return;
        };
        if self.saved.as_ref() == Some(&self.fleet) || self.report.age(self.now()).is_none() {
            return;
        }
        self.saved = Some(self.fleet.clone());
        let (file, fleet) = (Arc::clone(file), self.fleet.clone());
        let written = fleet.clone();
        *saving = Some((
            fleet,
            tokio::task::spawn_blocking(move || file.save(&written)),
        ));
    }

    fn on_saved(&mut self, fleet: Fleet, result: Result<(), String>) {
        let path = self
            .discovery
            .as_ref()
            .and_then(|discovery| discovery.state_file.as_ref());
        let path = path
            .map(|file| file.path().display().to_string())
            .unwrap_or_default();
        let trouble = result.err().map(|why| {
            let nodes = fleet.len();
            format!("{path} cannot be written, the list of {nodes} nodes is not kept: {why}")
        });
        self.save_failed = trouble.is_some();
        self.report.state_file(trouble, &self.outlet);
    }

    /// When to look again at the latest.
    fn next_look(&self, fetching: bool) -> Duration {
        let now = self.now();
        let look = match &self.discovery {
            _ if self.lifecycle.waits_for_checks() => LOOK_AT_CHECKS,
            None if self.lifecycle.is_error() => RETRY_ALONE,
            None if self.lifecycle.is_routing() => LOOK_IDLE,
            _ => LOOK,
        };
        match &self.discovery {
            Some(discovery) if !fetching => (now + look).min(discovery.schedule.next()),
            _ => now + look,
        }
    }

    fn publish(&self) {
        let now = self.now();
        let discovery = self.discovery.as_ref().map(|discovery| {
            let backend = Arc::clone(&discovery.intent.backend);
            let nodes = self.fleet.len() as u64;
            let (name, ear) = (discovery.source.name(), &discovery.ear);
            DiscoveryStatus {
                stream: ear.stream_status(),
                pushes_refused_total: ear.pushes_refused(),
                ..self.report.status(name, backend, nodes, now)
            }
        });
        self.outlet.show(ControlStatus {
            lifecycle: self.lifecycle.name(),
            lifecycle_states: STATES,
            waiting: self.waiting_lines(now),
            discovery,
            haproxy: None,
        });
    }

    /// Why nothing is done, most important first, bounded.
    fn waiting_lines(&self, now: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        if let (Some(trouble), Some(discovery)) = (self.lifecycle.trouble(), &self.discovery) {
            lines.push(trouble.to_owned());
            let retry = discovery.schedule.next().saturating_sub(now).as_secs();
            let nodes = self.fleet.len();
            lines.push(match self.report.age(now) {
                Some(age) => {
                    let age = age.as_secs();
                    format!("the list of {nodes} nodes from {age} s ago stays in force; next fetch in {retry} s")
                }
                None if self.report.from_state_file => {
                    format!("the list of {nodes} nodes from the state file is in force; next fetch in {retry} s")
                }
                None => format!("no list has come yet; next fetch in {retry} s"),
            });
        }
        lines.extend(self.held.as_ref().map(ToString::to_string));
        if self.lifecycle.waits_for_checks() {
            let unchecked = self.observation.unchecked;
            lines.push(format!("{unchecked} servers have had no check yet"));
        }
        lines.extend(self.waiting.iter().cloned());
        let more = lines.len().saturating_sub(WAITING_MAX);
        if more > 0 {
            lines.truncate(WAITING_MAX);
            lines.push(format!("… and {more} more"));
        }
        lines
    }
}

/// The result of the fetch under way; never, when there is none.
async fn under_way(fetch: &mut Option<Fetch>) -> Result<Listing, FetchError> {
    match fetch {
        Some(under_way) => {
            let fetched = under_way.await;
            *fetch = None;
            fetched
        }
        None => std::future::pending().await,
    }
}

/// The result of the write under way; never, when there is none.
async fn saved(saving: &mut Option<Saving>) -> (Fleet, Result<(), String>) {
    let result = match saving {
        Some((_, task)) => task.await,
        None => return std::future::pending().await,
    };
    let fleet = saving.take().map(|(fleet, _)| fleet).unwrap_or_default();
    let result = result.map_err(std::io::Error::other).flatten();
    (fleet, result.map_err(|error| error.to_string()))
}

/// A sign that another fetch is worth while; never, without discovery.
async fn hint(source: Option<&Source>) {
    match source {
        Some(source) => source.changed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
