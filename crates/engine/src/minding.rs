//! Who looks after which server: one task each, on the manager thread, which checks it and keeps its address.
//!
//! A reload has all of them begin anew, since each knows how its server was configured. A check under way
//! ends first: else reloads that follow each other closely would keep a slow check from ever coming to a
//! result. When the next check is due is known to the server, and does not change.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use routing::balance::ServerKey;
use tokio::task::{AbortHandle, JoinSet};

use crate::dns::counts::AllCounts;
use crate::dns::names::Names;
use crate::manager;
use crate::server::ServerState;
use crate::shared::Shared;
use crate::site::{BackendKey, BackendState};

/// The tasks, by server.
pub(crate) struct Minding {
    tasks: HashMap<(BackendKey, ServerKey), Task>,
    names: Rc<Names>,
    /// How often all began anew.
    epoch: u32,
    /// Whether some of them are not of this epoch yet.
    is_late: bool,
}

struct Task {
    server: Arc<ServerState>,
    epoch: u32,
    handle: AbortHandle,
}

impl Minding {
    /// None yet; what nameservers answer is counted there.
    pub(crate) fn new(counts: Arc<AllCounts>) -> Self {
        Self {
            tasks: HashMap::new(),
            names: Rc::new(Names::new(counts)),
            epoch: 0,
            is_late: false,
        }
    }

    /// Looks after a server that has come.
    pub(crate) fn begin(
        &mut self,
        shared: &Arc<Shared>,
        backend: Arc<BackendState>,
        server: Arc<ServerState>,
        all: &mut JoinSet<()>,
    ) {
        let key = (backend.key, server.key);
        let names = self.names.clone();
        let minding = manager::mind(shared.clone(), names, backend, server.clone());
        let task = Task {
            server,
            epoch: self.epoch,
            handle: all.spawn_local(minding),
        };
        if let Some(before) = self.tasks.insert(key, task) {
            before.handle.abort();
        }
    }

    /// Looks after all servers as they are configured now.
    pub(crate) fn begin_anew(&mut self, shared: &Arc<Shared>, all: &mut JoinSet<()>) {
        self.epoch = self.epoch.wrapping_add(1);
        self.catch_up(shared, all);
    }

    /// To be called once in a while: those whose check was under way follow, and who has ended is forgotten.
    pub(crate) fn tick(&mut self, shared: &Arc<Shared>, all: &mut JoinSet<()>) {
        if self.is_late {
            self.catch_up(shared, all);
        }
        self.tasks.retain(|_, task| !task.handle.is_finished());
    }

    fn catch_up(&mut self, shared: &Arc<Shared>, all: &mut JoinSet<()>) {
        self.is_late = false;
        let site = shared.site.load_full();
        for backend in &site.backends {
            for server in backend.servers() {
                let known = self.tasks.get(&(backend.key, server.key));
                let known = known.filter(|task| !task.handle.is_finished());
                if known.is_some_and(|task| task.epoch == self.epoch) {
                    continue;
                }
                if known.is_some_and(|task| task.server.checking.load(Relaxed)) {
                    self.is_late = true;
                    continue;
                }
                self.begin(shared, backend.clone(), server, all);
            }
        }
    }
}
