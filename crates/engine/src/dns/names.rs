//! Names that are kept resolved, each once for all servers that have it, as long as one has it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use config::model::Resolvers;
use routing::balance::ServerKey;
use tokio::sync::{Notify, Semaphore, watch};

use super::ask::{Answer, ask};
use super::counts::{AllCounts, Answered};
use super::{Failure, Found, Kind, Service};
use crate::site::BackendKey;

/// Questions under way at once: each has a socket for every nameserver.
const QUESTIONS_MAX: usize = 64;

/// Which server.
pub(crate) type Taker = (BackendKey, ServerKey);

/// All names that are kept resolved. On one thread.
pub(crate) struct Names {
    counts: Arc<AllCounts>,
    running: RefCell<HashMap<Key, Weak<Resolution>>>,
    places: Rc<Semaphore>,
}

/// Sections are told apart by where they are: a resolution keeps its own alive.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    section: usize,
    name: Arc<str>,
    kinds: [Kind; 2],
}

/// A name that is kept resolved.
pub(crate) struct Resolution {
    news: watch::Sender<News>,
    hurry: Rc<Notify>,
    /// Which services are whose.
    pub(crate) taken: RefCell<HashMap<Taker, Service>>,
}

/// What is known of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// What it has.
    pub(crate) found: Vec<Found>,
    /// Why it has nothing, where that is known; `None` without anything: not asked yet.
    pub(crate) failure: Option<Failure>,
    /// The section and the nameserver it is known from.
    pub(crate) by: Arc<str>,
}

impl News {
    /// Its addresses.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let found = self.found.iter().filter_map(|found| match found {
            Found::Address(ip) => Some(*ip),
            Found::Service(_) => None,
        });
        found.collect()
    }

    /// Its services.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.found.iter().filter_map(|found| match found {
            Found::Service(service) => Some(service),
            Found::Address(_) => None,
        })
    }
}

impl Names {
    /// None yet; what nameservers answer is counted there.
    pub(crate) fn new(counts: Arc<AllCounts>) -> Self {
        Self {
            counts,
            running: RefCell::default(),
            places: Rc::new(Semaphore::new(QUESTIONS_MAX)),
        }
    }

    /// Keeps the addresses of a name, or its services where it begins with an underscore.
    pub(crate) fn keep(
        &self,
        section: &Arc<Resolvers>,
        name: &Arc<str>,
        prefers_v4: bool,
    ) -> Rc<Resolution> {
        let kinds = match (name.starts_with('_'), prefers_v4) {
            (true, _) => [Kind::Srv, Kind::Srv],
            (false, true) => [Kind::A, Kind::Aaaa],
            (false, false) => [Kind::Aaaa, Kind::A],
        };
        let key = Key {
            section: Arc::as_ptr(section) as usize,
            name: name.clone(),
            kinds,
        };
        let mut running = self.running.borrow_mut();
        if let Some(known) = running.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        running.retain(|_, known| known.strong_count() > 0);
        let new = Rc::new(Resolution {
            news: watch::Sender::default(),
            hurry: Rc::default(),
            taken: RefCell::default(),
        });
        running.insert(key, Rc::downgrade(&new));
        let keeping = Keeping {
            section: section.clone(),
            name: name.clone(),
            kinds,
            resolution: Rc::downgrade(&new),
            hurry: new.hurry.clone(),
            places: self.places.clone(),
            counts: self.counts.clone(),
            seen: Vec::new(),
            last_valid: None,
        };
        tokio::task::spawn_local(keeping.run());
        new
    }
}

impl Resolution {
    /// To be told of changes.
    pub(crate) fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Has it asked again at once.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Has all servers look again.
    pub(crate) fn tell(&self) {
        self.news.send_modify(|_| {});
    }

    /// Gives back the service that a server had, for the others.
    pub(crate) fn give_back(&self, taker: Taker) {
        if self.taken.borrow_mut().remove(&taker).is_some() {
            self.tell();
        }
    }
}

/// The task behind a [`Resolution`]. Ends when nobody has that any more.
struct Keeping {
    section: Arc<Resolvers>,
    name: Arc<str>,
    kinds: [Kind; 2],
    resolution: Weak<Resolution>,
    hurry: Rc<Notify>,
    places: Rc<Semaphore>,
    counts: Arc<AllCounts>,
    /// What was found, and when it was last in an answer.
    seen: Vec<(Found, Instant)>,
    last_valid: Option<Instant>,
}

impl Keeping {
    async fn run(mut self) {
        loop {
            let answered = self.resolve().await;
            let Some(resolution) = self.resolution.upgrade() else {
                return;
            };
            if let Some(news) = self.judge(answered, Instant::now()) {
                resolution.news.send_if_modified(|known| {
                    let changed = known.found != news.found || known.failure != news.failure;
                    if changed {
                        self.note_update(&news);
                        *known = news;
                    }
                    changed
                });
            }
            drop(resolution);
            tokio::select! {
                () = tokio::time::sleep(self.section.interval) => {}
                () = self.hurry.notified() => tokio::time::sleep(self.section.patience).await,
            }
        }
    }

    /// Somebody's answer has changed what is known.
    fn note_update(&self, news: &News) {
        if let Some((_, nameserver)) = news.by.split_once('/') {
            let counts = self.counts.of(&self.section.name, &nameserver.into());
            counts.add(Answered::Update);
        }
    }

    /// Asks for one kind, then for the other, and all of it again as often as `resolve_retries` says
    /// (manual 5.3.2). Who does not answer is asked the same again.
    async fn resolve(&self) -> Result<Answer, Failure> {
        let mut last = Failure::Timeout;
        for round in 0..self.section.rounds {
            if round > 0 && last != Failure::Timeout {
                tokio::time::sleep(self.section.patience).await;
            }
            let kinds = match self.kinds {
                [one, other] if one == other => &self.kinds[..1],
                _ => &self.kinds[..],
            };
            for kind in kinds {
                if self.resolution.strong_count() == 0 {
                    return Err(last);
                }
                // It is never closed.
                let _place = self.places.acquire().await;
                match ask(&self.section, &self.name, *kind, &self.counts).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => last = failure,
                }
                if last == Failure::Timeout {
                    break;
                }
            }
        }
        Err(last)
    }

    /// What is known now. `None`: what was known before (`hold`).
    fn judge(&mut self, answered: Result<Answer, Failure>, now: Instant) -> Option<News> {
        let hold = self.section.hold;
        match answered {
            Ok(Answer { found, by }) => {
                self.last_valid = Some(now);
                let is_same = |one: &Found, other: &Found| match (one, other) {
                    (Found::Service(one), Found::Service(other)) => one.is_at(other),
                    (one, other) => one == other,
                };
                // What is new takes the place of what was the same, so that the order stays.
                let mut left = found;
                for (known, at) in &mut self.seen {
                    if let Some(same) = left.iter().position(|new| is_same(new, known)) {
                        (*known, *at) = (left.remove(same), now);
                    }
                }
                let fresh = |at: &Instant| *at == now || now - *at < hold.obsolete;
                self.seen.retain(|(_, at)| fresh(at));
                self.seen.extend(left.into_iter().map(|new| (new, now)));
                Some(News {
                    found: self.seen.iter().map(|(found, _)| found.clone()).collect(),
                    failure: None,
                    by: format!("{}/{by}", self.section.name).into(),
                })
            }
            Err(failure) => {
                let hold = match failure {
                    Failure::Nx => hold.nx,
                    Failure::Refused => hold.refused,
                    Failure::Timeout => hold.timeout,
                    Failure::Other => hold.other,
                };
                if self.last_valid.is_some_and(|at| now - at < hold) {
                    return None;
                }
                self.seen.clear();
                Some(News {
                    failure: Some(failure),
                    ..News::default()
                })
            }
        }
    }
}
