//! A connection's places below the limits that hold for it: `maxconn` of process, frontend and
//! address, and `maxsslconn`. They belong to no worker: whoever serves the connection holds them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shared::Shared;
use crate::site::FrontendState;

/// Places below limits, until dropped.
pub(crate) struct Places {
    _process: OwnedSemaphorePermit,
    _frontend: OwnedSemaphorePermit,
    /// Places below limits that few configurations have.
    _rare: Option<Box<Rare>>,
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
            _process: of_process,
            _frontend: of_frontend,
            _rare: rare,
        })
    }
}

/// A place where there is a limit at all.
async fn below(limit: Option<&Arc<Semaphore>>) -> Option<Option<OwnedSemaphorePermit>> {
    match limit {
        Some(limit) => Some(Some(limit.clone().acquire_owned().await.ok()?)),
        None => Some(None),
    }
}
