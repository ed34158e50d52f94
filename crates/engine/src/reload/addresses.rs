//! Addresses over a reload: those that both configurations have stay open, new ones are opened before
//! anything else changes, and those that nobody wants any more are closed last.

use std::sync::{Arc, Mutex};

use config::model::{BindAddress, Config};

use crate::listen::open::There;
use crate::listen::posting::{Post, Posting, PostingKey, Postings};
use crate::listen::{self, Listener};
use crate::shared::Shared;
use crate::worker::Message;

/// The addresses of a configuration, open.
pub(super) struct Opened {
    /// By position of frontend and `bind`.
    frontends: Vec<Vec<Arc<Posting>>>,
    /// Those that were not open before, with their sockets.
    fresh: Vec<(Arc<Posting>, Vec<Listener>)>,
    /// Those that nobody wants any more.
    unwanted: Vec<Arc<Posting>>,
    /// What of those that stay cannot be had.
    kept_otherwise: Vec<String>,
}

/// Opens what is not open. Where one cannot be, none is.
pub(super) fn open(
    postings: &Postings,
    config: &Config,
    workers: usize,
) -> Result<Opened, Vec<String>> {
    let mut unwanted: Vec<Arc<Posting>> = postings.held.clone();
    let mut opened = Opened {
        frontends: Vec::new(),
        fresh: Vec::new(),
        unwanted: Vec::new(),
        kept_otherwise: Vec::new(),
    };
    let mut problems = Vec::new();
    for conf in &config.frontends {
        let binds = if conf.proxy.disabled {
            &[]
        } else {
            &*conf.binds
        };
        let mut own = Vec::new();
        for bind in binds {
            let is_it = |it: &Arc<Posting>| it.is_at(bind) && !it.is_shut();
            if let Some(at) = unwanted.iter().position(is_it) {
                let kept = unwanted.remove(at);
                if kept.differs(bind) {
                    opened.kept_otherwise.push(format!(
                        "options of the socket at {} take effect at the next start",
                        bind.text
                    ));
                }
                own.push(kept);
                continue;
            }
            let posting = Arc::new(Posting::new(PostingKey::fresh(), bind));
            let ours = postings.are_at(&bind.address);
            let sockets = match bind.address {
                BindAddress::Fd(_) => Err(format!(
                    "cannot listen on {}: a descriptor is handed over at the start alone",
                    bind.text
                )),
                _ => {
                    let there = There::without_predecessor(ours);
                    listen::open(conf, bind, &posting, workers, &there)
                }
            };
            match sockets {
                Ok(sockets) => {
                    opened.fresh.push((posting.clone(), sockets));
                    own.push(posting);
                }
                Err(why) => problems.push(format!("frontend {}: {why}", conf.proxy.name)),
            }
        }
        opened.frontends.push(own);
    }
    opened.unwanted = unwanted;
    match problems.is_empty() {
        true => Ok(opened),
        false => Err(problems),
    }
}

impl Opened {
    /// Which postings the `bind`s of a frontend are.
    pub(super) fn keys(&self, frontend: usize) -> Vec<PostingKey> {
        self.frontends[frontend].iter().map(|it| it.key).collect()
    }

    /// What changes, for the log.
    pub(super) fn told(&self) -> Vec<String> {
        let fresh = self.fresh.iter();
        let fresh = fresh.map(|(it, _)| format!("listening on {}", it.text()));
        let closed = self.unwanted.iter();
        let closed = closed.map(|it| format!("not listening on {} any more", it.text()));
        let kept = self.kept_otherwise.iter().cloned();
        fresh.chain(closed).chain(kept).collect()
    }

    /// Has the sockets accept for the frontends of the site in force, and closes the others. Whether there
    /// are any.
    pub(super) fn post(self, postings: &mut Postings, shared: &Shared) -> bool {
        let site = shared.site.load_full();
        for (frontend, own) in site.frontends.iter().zip(&self.frontends) {
            if !own.is_empty() {
                // A reload opens again what an operator has closed.
                frontend.reopen();
            }
            for (bind, posting) in own.iter().enumerate() {
                let frontend = frontend.clone();
                posting.set(Post { frontend, bind });
            }
        }
        let mut parcels: Vec<Vec<Listener>> = (0..shared.workers).map(|_| Vec::new()).collect();
        for (_, sockets) in self.fresh {
            for (parcel, socket) in parcels.iter_mut().zip(sockets) {
                parcel.push(socket);
            }
        }
        if parcels.iter().any(|it| !it.is_empty()) {
            for (worker, parcel) in parcels.into_iter().enumerate() {
                let parcel = Arc::new(Mutex::new(Some(parcel)));
                shared.tell_worker(worker, Message::Listen(parcel));
            }
        }
        for posting in &self.unwanted {
            posting.close();
            postings.closing.push(Arc::downgrade(posting));
        }
        postings.held = self.frontends.into_iter().flatten().collect();
        !self.unwanted.is_empty()
    }
}
