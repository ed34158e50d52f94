//! A connection's places below the limits that hold for it: `maxconn` of process, frontend and
//! address, and `maxsslconn`. They belong to no worker: whoever serves the connection holds them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shared::Shared;
use crate::site::FrontendState;

/// Places below limits, until dropped.
pub(crate) struct Places {
    process: OwnedSemaphorePermit,
    frontend: OwnedSemaphorePermit,
    /// Places below limits that few configurations have.
    rare: Option<Box<Rare>>,
}

/// A place on an address with a `maxconn` of its own, and one below `maxsslconn`.
struct Rare {
    _bind: Option<OwnedSemaphorePermit>,
    _tls: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// Waits for all of them. While there is none, this one client waits for its first byte and the
    /// next ones in the kernel's backlog, as with HAProxy. `None` when the engine stops.
    pub(crate) async fn find(
        shared: &Shared,
        frontend: &FrontendState,
        bind: usize,
    ) -> Option<Self> {
        let of_bind = below(frontend.bind_rooms[bind].as_ref()).await?;
        let of_frontend = frontend.room.clone().acquire_owned().await.ok()?;
        let of_process = shared.room.clone().acquire_owned().await.ok()?;
        let of_tls = match frontend.tls[bind] {
            Some(_) => below(shared.tls_room.as_ref()).await?,
            None => None,
        };
        let rare = (of_bind.is_some() || of_tls.is_some()).then(|| {
            Box::new(Rare {
                _bind: of_bind,
                _tls: of_tls,
            })
        });
        Some(Self {
            process: of_process,
            frontend: of_frontend,
            rare,
        })
    }
}

impl Places {
    /// The same without waiting; `None`: one of them is taken.
    pub(crate) fn find_now(shared: &Shared, frontend: &FrontendState, bind: usize) -> Option<Self> {
        let of_bind = match frontend.bind_rooms.get(bind)? {
            Some(room) => Some(room.clone().try_acquire_owned().ok()?),
            None => None,
        };
        Some(Self {
            frontend: frontend.room.clone().try_acquire_owned().ok()?,
            process: shared.room.clone().try_acquire_owned().ok()?,
            rare: of_bind.is_some().then(|| {
                Box::new(Rare {
                    _bind: of_bind,
                    _tls: None,
                })
            }),
        })
    }
}

/// The same of a connection at rest: no more than a pointer, since the common limits are found
/// elsewhere. It must be given back by hand; tests find who forgets it.
#[derive(Default)]
pub(crate) struct Owed(Option<Box<Rare>>);

impl Places {
    /// To be given back later.
    pub(crate) fn owe(self) -> Owed {
        self.process.forget();
        self.frontend.forget();
        Owed(self.rare)
    }
}

impl Owed {
    /// Gives back what was taken below the limits of this process and of this frontend.
    pub(crate) fn give_back(mut self, shared: &Shared, frontend: &FrontendState) {
        shared.room.add_permits(1);
        frontend.room.add_permits(1);
        drop(self.0.take());
        // Nothing is left of it.
        std::mem::forget(self);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        // Whoever unwinds has another fault to tell of.
        debug_assert!(std::thread::panicking(), "places were not given back");
    }
}

/// A place where there is a limit at all.
async fn below(limit: Option<&Arc<Semaphore>>) -> Option<Option<OwnedSemaphorePermit>> {
    match limit {
        Some(limit) => Some(Some(limit.clone().acquire_owned().await.ok()?)),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_owes_is_as_small_as_before_and_is_caught_when_it_forgets() {
        assert_eq!(size_of::<Owed>(), size_of::<usize>());
        let forgets = || drop(Owed::default());
        assert_eq!(
            crate::panics::guarded(forgets).is_none(),
            cfg!(debug_assertions)
        );
    }
}
