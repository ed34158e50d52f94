//! The servers of a backend over a reload: those that are configured as before are the same ones; those
//! that are configured another way keep their sessions, counters and states; those that are gone from the
//! file finish what they have. Servers that were added while running stay.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use routing::health::Admin;

use super::{Reloaded, essence};
use crate::command::{DrainOrder, Drained};
use crate::generation;
use crate::handle::Handle;
use crate::manager;
use crate::server::ServerState;
use crate::site::BackendState;
use crate::tls::NodeTls;
use crate::worker::Message;

/// A backend that is configured another way.
pub(super) struct Change<'a> {
    /// As it was; `None`: it was gone from the file, and some of its sessions are not.
    pub(super) before: Option<&'a BackendState>,
    /// As it is.
    pub(super) now: &'a Arc<BackendState>,
    /// How many threads count.
    pub(super) writers: usize,
    /// Time since start.
    pub(super) at: Duration,
}

/// What is to be done about servers once the site is in force.
pub(super) struct Taken {
    backend: Arc<BackendState>,
    /// Those that are wanted another way from now on.
    wanted: Vec<(Arc<ServerState>, Admin)>,
    /// Those that connections are made to another way.
    changed: Vec<Arc<ServerState>>,
    /// Those that are gone from the file.
    gone: Vec<Arc<ServerState>>,
}

impl Change<'_> {
    /// Has the backend's life go on with the servers of the file. `tls`: of these, in their order.
    pub(super) fn take_over(&self, tls: Vec<NodeTls>, reloaded: &mut Reloaded) -> Taken {
        let mut taken = Taken {
            backend: self.now.clone(),
            wanted: Vec::new(),
            changed: Vec::new(),
            gone: Vec::new(),
        };
        let (conf, name) = (self.now.conf(), self.now.name());
        let same = |look: &dyn Fn(&BackendState) -> String| {
            self.before
                .is_some_and(|before| look(before) == look(self.now))
        };
        let same_checks = same(&|it| essence(&it.conf().checks));
        if self.before.is_none() {
            // Nobody has looked after them since.
            for server in self.now.servers() {
                server.removed.store(false, Relaxed);
            }
        }
        for (server, tls) in conf.servers.iter().zip(tls) {
            let known = self.now.pool().server(&server.name).cloned();
            let Some(known) = known else {
                generation::add_of_file(self.now, server, tls, self.writers, self.at);
                reloaded
                    .changes
                    .push(format!("server {name}/{} is new", server.name));
                continue;
            };
            let checked_otherwise = !same_checks && server.checks.is_none();
            let is_same = !known.dynamic && essence(&known.conf) == essence(server);
            let state = match is_same && !checked_otherwise {
                true => known.clone(),
                false => {
                    let id = match server.id {
                        own if own == known.conf.id || own.is_none() => known.id,
                        own => self.now.pool().ids.of_file(own),
                    };
                    let state = Arc::new(known.succeed(server.clone(), id, tls, self.at));
                    self.now.pool().replace(&state);
                    taken.changed.push(state.clone());
                    if !is_same {
                        let line = format!("server {name}/{} has changed", server.name);
                        reloaded.changes.push(line);
                    }
                    state
                }
            };
            if let Some(admin) = state.relist() {
                state.stop_draining();
                reloaded
                    .changes
                    .push(format!("server {name}/{} is back", server.name));
                taken.wanted.push((state.clone(), admin));
            }
            if known.conf.disabled != server.disabled {
                let wanted = if server.disabled {
                    Admin::Maint
                } else {
                    Admin::Ready
                };
                taken.wanted.push((state, wanted));
            }
        }
        for server in self.now.servers() {
            let mut of_file = conf.servers.iter();
            let stays = server.dynamic && self.before.is_some();
            if stays || of_file.any(|it| it.name == server.conf.name) || server.is_unlisted() {
                continue;
            }
            server.unlist();
            taken.gone.push(server.clone());
            let line = format!("server {name}/{} is gone and drains", server.conf.name);
            reloaded.changes.push(line);
        }
        let published = |it: &BackendState| it.conf().unpublished;
        if self
            .before
            .is_some_and(|before| published(before) != conf.unpublished)
        {
            self.now.publish(!conf.unpublished);
        }
        let mut pool = self.now.pool();
        if !same(&|it| essence(&it.conf().balancing)) {
            pool.rebalance(conf);
        }
        // The cookie's key may be another one.
        let servers: Vec<_> = pool.servers().cloned().collect();
        for server in servers {
            self.now.note_cookie_value(&mut pool, &server);
        }
        if !same(&|it| essence(&it.conf().proxy)) && self.before.is_some() {
            reloaded.changes.push(format!("backend {name} has changed"));
        }
        taken
    }
}

impl Taken {
    /// What follows from it, now that the site is in force.
    pub(super) fn follow(self, handle: &Handle) {
        let (shared, backend) = (handle.shared(), &self.backend);
        let runtime = &shared.site.load().config.runtime;
        for server in &self.gone {
            // Nobody has said that its sessions are to be ended: that is `drain server`.
            let order = DrainOrder {
                over: None,
                then: Drained::Removed,
                ..DrainOrder::of(runtime)
            };
            let name = &server.conf.name;
            if handle.begin_drain(backend.name(), name, order).is_err() {
                // Another one, added while running, follows it: it stays, and takes nothing new.
                manager::set_admin(shared, backend, server, Admin::Drain);
            }
        }
        for (server, admin) in &self.wanted {
            manager::set_admin(shared, backend, server, *admin);
        }
        for server in &self.changed {
            shared.tell_workers(&Message::DropIdle {
                backend: backend.key,
                servers: [server.key].into(),
            });
            backend.refresh(server);
        }
    }
}

/// A backend that is gone from the file: nobody looks after its servers any more. Its sessions go on.
pub(super) fn retire(backend: &BackendState) {
    for server in backend.servers() {
        server.removed.store(true, Relaxed);
        server.wake_all();
    }
}
