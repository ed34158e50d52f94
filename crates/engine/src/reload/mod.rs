//! Another configuration in force, in place: what it has in common with the one before lives on.
//!
//! Everything that can fail comes first, beside the running one: TLS files are loaded
//! ([`Handle::prepare_reload`]), new addresses are opened. From there on nothing fails: servers are taken
//! over one by one ([`backends`]), the new [`Site`] is swapped in, addresses are posted anew
//! ([`addresses`]), and only then are those closed that nobody wants any more. Sessions under way finish on
//! the [`Generation`] they began on; its counters, gauges and servers are the same ones.

mod addresses;
mod backends;
mod essence;
mod settings;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use config::diagnostics::Diagnostic;
use config::model::{Backend, Config};

use crate::followers;
use crate::generation;
use crate::handle::Handle;
use crate::kept_tables;
use crate::listen::posting::Postings;
use crate::log;
use crate::manager::{self, Order};
use crate::prepare::{Prepared, maxconn};
use crate::shared::{Origins, Shared};
use crate::site::{
    BackendLife, BackendState, FrontendLife, FrontendParts, FrontendState, Generation, Site,
    Wording, configured_limit,
};
use crate::snapshot::Event;
use crate::worker::Message;
use backends::Taken;
use essence::essence;
pub(crate) use settings::AtStart;

/// What reloads need to know of what was before.
pub(crate) struct Reloads {
    /// Addresses that are listened on.
    pub(crate) postings: Postings,
    /// Frontends that are gone from the file, as long as they have sessions.
    frontends: Vec<(Arc<str>, Weak<FrontendLife>)>,
    /// The same of backends.
    backends: Vec<(Arc<str>, Weak<BackendLife>)>,
    /// All that sessions may still be on.
    generations: Vec<Weak<Generation>>,
}

impl Reloads {
    /// At the start.
    pub(crate) fn new(site: &Site, postings: Postings) -> Self {
        Self {
            postings,
            frontends: Vec::new(),
            backends: Vec::new(),
            generations: vec![Arc::downgrade(&site.generation)],
        }
    }

    /// Forgets what has ended.
    fn prune(&mut self) {
        self.frontends.retain(|(_, life)| life.strong_count() > 0);
        self.backends.retain(|(_, life)| life.strong_count() > 0);
        self.generations.retain(|it| it.strong_count() > 0);
        self.postings.closing.retain(|it| it.strong_count() > 0);
    }
}

/// What a reload has done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// What is another way now: one line each, for the log.
    pub changes: Vec<String>,
    /// What is not as the file has it, and will be at the next start; sentences.
    pub notes: Vec<String>,
    /// Earlier configurations that sessions are on which began under them.
    pub earlier: usize,
}

impl Handle {
    /// Loads what another configuration needs from disk, beside the one in force. Nothing changes.
    pub fn prepare_reload(&self, mut config: Config) -> Result<Prepared, Vec<Diagnostic>> {
        let shared = self.shared();
        let site = shared.site.load_full();
        let notes = settings::keep_what_stays(&mut config, &site.config, shared);
        let mut prepared = Prepared::load(Arc::new(config), Some(&site))?;
        prepared.notes = notes;
        Ok(prepared)
    }

    /// Puts it in force. Where that fails everything is as before; the sentences say why.
    pub fn reload(&self, prepared: Prepared) -> Result<Reloaded, Vec<String>> {
        let shared = self.shared();
        let mut reloads = lock(shared);
        if shared.stopping.load(Relaxed) {
            return Err(vec!["the process is about to end".into()]);
        }
        reloads.prune();
        let mut config = prepared.config;
        number_logs(shared, &reloads, Arc::make_mut(&mut config))?;
        let opened = addresses::open(&reloads.postings, &config, shared.workers)?;
        let before = shared.site.load_full();
        let making = Making {
            shared,
            same_places: places(&before.config) == places(&config),
            before,
            maxconn: maxconn(&config, shared.descriptors).min(shared.maxconn_max),
            writers: Shared::writers(shared.workers),
            config,
        };
        let mut reloaded = Reloaded {
            changes: Vec::new(),
            notes: prepared.notes,
            earlier: 0,
        };
        reloaded.changes.extend(opened.told());
        let (backends, taken) = making.backends(prepared.server_tls, &mut reloads, &mut reloaded);
        let now = shared.clock;
        let (stick, anew) = making.before.stick.succeed(&making.config, now);
        for name in anew {
            let before = making.before.stick.only(&name);
            let how = match kept_tables::carry(shared, &before, &stick.only(&name)) {
                true => "keeps its entries",
                false => "has not kept all of its entries",
            };
            let line = format!("stick table {name} is declared another way and {how}");
            reloaded.changes.push(line);
        }
        for list in making
            .before
            .config
            .lists
            .iter()
            .filter(|it| it.is_edited())
        {
            let name = &list.name;
            let line =
                format!("list {name} is as its file: entries changed while running are gone");
            reloaded.changes.push(line);
        }
        let generation = Arc::new(Generation {
            has_followers: generation::has_followers(&making.config).into(),
            backends,
            stick,
            common: prepared.common,
            shelf: prepared.shelf,
            node: generation::node(&making.config),
            config: making.config.clone(),
        });
        if making.before.has_followers.load(Relaxed) {
            generation.has_followers.store(true, Relaxed);
        }
        reloads.generations.push(Arc::downgrade(&generation));
        let frontends = making.frontends(
            &generation,
            prepared.bind_tls,
            &opened,
            &mut reloads,
            &mut reloaded,
        );
        let site = Site {
            generation,
            frontends,
        };
        shared.site.store(Arc::new(site));
        // Without this one and the one that was in force until now.
        reloaded.earlier = reloads.generations.len().saturating_sub(2);
        let is_outdated = opened.post(&mut reloads.postings, shared);
        self.follow(&making, taken, &mut reloaded);
        if is_outdated {
            shared.tell_workers(&Message::Outdated);
        }
        shared.tell_workers(&Message::Renew);
        Ok(reloaded)
    }

    /// Counts what came of a reload.
    pub fn count_reload(&self, success: bool) {
        let shared = self.shared();
        let count = match success {
            true => &shared.reloads_done,
            false => &shared.reloads_failed,
        };
        count.fetch_add(1, Relaxed);
    }

    /// How many were carried out so far, and how many failed.
    pub fn reloads(&self) -> (u64, u64) {
        let shared = self.shared();
        let count = |it: &std::sync::atomic::AtomicU64| it.load(Relaxed);
        (count(&shared.reloads_done), count(&shared.reloads_failed))
    }

    /// What follows from the site that is in force now.
    fn follow(&self, making: &Making<'_>, taken: Vec<Taken>, reloaded: &mut Reloaded) {
        let shared = self.shared();
        let site = shared.site.load_full();
        let origins = Origins::of_config(&site.config, &shared.tag);
        shared.origins.store(Arc::new(origins));
        settings::apply(self, &making.before.config, &site.config, reloaded);
        for taken in taken {
            taken.follow(self);
        }
        followers::settle_all(shared);
        for backend in &site.backends {
            manager::note_capacity(shared, backend);
        }
        self.mind(Order::MindAnew);
        shared.report(Event::Reloaded);
    }
}

/// One reload after the other. Whoever holds it opens sockets, starts threads for logs, and copies stick tables that are
/// declared another way; it waits for no client and no server.
fn lock(shared: &Shared) -> MutexGuard<'_, Reloads> {
    shared
        .reloads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Gives log targets the numbers that the logger knows them by.
fn number_logs(shared: &Shared, reloads: &Reloads, config: &mut Config) -> Result<(), Vec<String>> {
    let mut used = BTreeSet::new();
    for generation in reloads.generations.iter().filter_map(Weak::upgrade) {
        used.extend(log::targets(&generation.config).map(|target| target.number));
    }
    let adopted = shared.logger.adopt(config, &used, &shared.resolver);
    adopted.map_err(|error| vec![format!("cannot start a thread for logs: {error}")])
}

/// A site in the making.
struct Making<'a> {
    shared: &'a Shared,
    before: Arc<Site>,
    config: Arc<Config>,
    maxconn: u64,
    writers: usize,
    /// Whether positions of backends and tables stand for the same ones as before.
    same_places: bool,
}

/// What a backend says to its sessions; its servers have their own.
fn words(conf: &Backend) -> String {
    essence(&Backend {
        servers: Vec::new(),
        ..conf.clone()
    })
}

/// What positions in a configuration stand for.
fn places(config: &Config) -> Vec<&str> {
    let backends = config.backends.iter().map(|it| &*it.proxy.name);
    let tables = config.stick_tables.iter().map(|it| &*it.name);
    let users = config.userlists.iter().map(|it| &*it.name);
    backends
        .chain([""])
        .chain(tables)
        .chain([""])
        .chain(users)
        .collect()
}

impl Making<'_> {
    fn now(&self) -> std::time::Duration {
        self.shared.clock.since_start()
    }

    /// The backends, with the servers of those that were there before.
    fn backends(
        &self,
        tls: Vec<Vec<crate::tls::NodeTls>>,
        reloads: &mut Reloads,
        reloaded: &mut Reloaded,
    ) -> (Vec<Arc<BackendState>>, Vec<Taken>) {
        let [_, ids] = generation::numeric_ids(&self.config);
        let (mut backends, mut taken) = (Vec::new(), Vec::new());
        for (index, tls) in tls.into_iter().enumerate() {
            let conf = &self.config.backends[index];
            let name = &conf.proxy.name;
            let before = self.before.backends.iter().find(|it| it.name() == name);
            let retired = reloads.backends.iter().find(|(it, _)| it == name);
            let retired = retired.and_then(|(_, life)| life.upgrade());
            let life = before.map(|it| it.life.clone()).or(retired);
            if before.is_none() {
                reloaded.changes.push(format!("backend {name} is new"));
            }
            let Some(life) = life else {
                let (maxconn, writers) = (self.maxconn, self.writers);
                let (config, id, now) = (&self.config, ids[index], self.now());
                let state = generation::backend(config, index, id, maxconn, writers, tls, now);
                backends.push(state);
                continue;
            };
            let limit = generation::fullconn(&self.config, index, self.maxconn);
            let is_same = |it: &&Arc<BackendState>| words(it.conf()) == words(conf);
            let same = before.filter(|_| self.same_places).filter(is_same);
            let wording = same.map_or_else(Wording::fresh, |it| it.wording);
            let parts = (life, wording);
            let state = BackendState::new(&self.config, index, ids[index], limit, parts);
            let state = Arc::new(state);
            let change = backends::Change {
                before: before.map(|it| &**it),
                now: &state,
                writers: self.writers,
                at: self.now(),
            };
            taken.push(change.take_over(tls, reloaded));
            backends.push(state);
        }
        reloads
            .backends
            .retain(|(name, _)| !backends.iter().any(|it| it.name() == name));
        for gone in &self.before.backends {
            if !backends.iter().any(|it| it.name() == gone.name()) {
                backends::retire(gone);
                let life = Arc::downgrade(&gone.life);
                reloads.backends.push((gone.name().clone(), life));
                reloaded
                    .changes
                    .push(format!("backend {} is gone", gone.name()));
            }
        }
        (backends, taken)
    }

    fn frontends(
        &self,
        generation: &Arc<Generation>,
        tls: Vec<Vec<Option<Arc<crate::tls::ServerTlsConfig>>>>,
        opened: &addresses::Opened,
        reloads: &mut Reloads,
        reloaded: &mut Reloaded,
    ) -> Vec<Arc<FrontendState>> {
        let [ids, _] = generation::numeric_ids(&self.config);
        let mut frontends: Vec<Arc<FrontendState>> = Vec::new();
        for (index, tls) in tls.into_iter().enumerate() {
            let conf = &self.config.frontends[index];
            let name = &conf.proxy.name;
            let before = self.before.frontends.iter().find(|it| it.name() == name);
            let limit = configured_limit(conf, self.maxconn);
            let retired = reloads.frontends.iter().find(|(it, _)| it == name);
            let retired = retired.and_then(|(_, life)| life.upgrade());
            let life = before.map(|it| it.life.clone()).or(retired);
            let life = life.unwrap_or_else(|| Arc::new(FrontendLife::new(self.writers, limit)));
            let changed = before.is_none_or(|it| essence(it.conf()) != essence(conf));
            let same = before.filter(|_| self.same_places && !changed);
            let parts = FrontendParts {
                wording: same.map_or_else(Wording::fresh, |it| it.wording),
                index,
                id: ids[index],
                postings: opened.keys(index),
                tls,
                life,
            };
            let before_state = before.map(|it| &**it);
            let state = FrontendState::new(generation, parts, self.writers, before_state);
            let owed = state.configure_limit(limit);
            settings::take_back(self.shared, &state.room, owed);
            let change = match before {
                None => Some("is new"),
                Some(_) => changed.then_some("has changed"),
            };
            let change = change.map(|what| format!("frontend {name} {what}"));
            reloaded.changes.extend(change);
            frontends.push(Arc::new(state));
        }
        reloads
            .frontends
            .retain(|(name, _)| !frontends.iter().any(|it| it.name() == name));
        for gone in &self.before.frontends {
            if !frontends.iter().any(|it| it.name() == gone.name()) {
                gone.open.store(false, Relaxed);
                let life = Arc::downgrade(&gone.life);
                reloads.frontends.push((gone.name().clone(), life));
                reloaded
                    .changes
                    .push(format!("frontend {} is gone", gone.name()));
            }
        }
        frontends
    }
}
