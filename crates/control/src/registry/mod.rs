//! The embedded node registry: the HTTP contract of WSUpdates (`contracts.md`, "Registration"), for
//! where there is no such service. Nodes announce themselves here, and discovery reads the list.
//!
//! ```text
//!   GET  /nodes                  the list                        200, 401
//!        with Accept: text/event-stream: the list, now and whenever it changes
//!   POST /nodes                  {id, url}                       200 {id, url}, 400 {errors: […]}
//!   POST /nodes/:id/heartbeat                                    200 {"status":"ok"}, 404
//!   POST /announce               {id, url, status}               200 {"success":true}, 400
//!   GET  /health                 no key                          200 {"status":"healthy", …}
//! ```
//! Nodes come by twice a minute and are foreign: what [`crate::http`] does not bound (bodies, streams, the
//! number of nodes) is bounded here.

mod answer;
mod streams;
pub(crate) mod table;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::environment::ApiKey;
use crate::http;
use streams::Streams;
use table::Table;

/// A registry that listens.
#[derive(Debug)]
pub struct Registry {
    listener: TcpListener,
    address: SocketAddr,
    key: ApiKey,
    table: Arc<Table>,
}

impl Registry {
    /// Listens at `address` (port 0: any). A node not heard of for `expire` is not listed. Fails
    /// when the address is taken or not ours. Nothing is answered before [`Registry::run`].
    pub fn bind(address: SocketAddr, key: ApiKey, expire: Duration) -> io::Result<Self> {
        Self::on(TcpListener::bind(address)?, key, expire)
    }

    /// The same on a socket that listens already.
    pub(crate) fn on(listener: TcpListener, key: ApiKey, expire: Duration) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            key,
            table: Arc::new(Table::new(expire)),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What has been announced, for a reader in this process.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table)
    }

    /// Answers until dropped. Must be called in a tokio runtime with I/O and time; returns only
    /// with an error of handing the listener to it.
    pub async fn run(self) -> io::Result<()> {
        let shared = Arc::new(Shared {
            key: self.key,
            streams: Streams::new(Arc::clone(&self.table)),
            table: self.table,
        });
        http::serve(self.listener, move |request| {
            let shared = Arc::clone(&shared);
            async move { shared.answer(request).await }
        })
        .await
    }
}

/// What all connections look at.
struct Shared {
    key: ApiKey,
    table: Arc<Table>,
    streams: Streams,
}

#[cfg(test)]
mod tests;
