//! The embedded node registry: the HTTP contract of WSUpdates (`contracts.md`, "Registration"), for
//! where there is no such service. Nodes announce themselves here, and discovery reads the list.
//!
//! ```text
//!   GET  /nodes                  the list                        200, 401
//!   POST /nodes                  {id, url}                       200 {id, url}, 400 {errors: […]}
//!   POST /nodes/:id/heartbeat                                    200 {"status":"ok"}, 404
//!   POST /announce               {id, url, status}               200 {"success":true}, 400
//!   GET  /health                 no key                          200 {"status":"healthy", …}
//! ```
//! One request a connection: nodes come by twice a minute. Clients are foreign: connections, heads,
//! bodies, time and the number of nodes are bounded.

mod answer;
pub(crate) mod table;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::environment::ApiKey;
use table::Table;

/// Connections at once; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 256;

/// A whole connection, from accept to the last byte of the answer.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// Reading a request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest request head, bytes; hyper takes no less than 8 kB.
const HEAD_MAX: usize = 16 << 10;

/// Pause after a failed accept: without descriptors, trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
        let listener = TcpListener::bind(address)?;
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
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let shared = Arc::new(Shared {
            key: self.key,
            table: self.table,
        });
        let mut connections = JoinSet::new();
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                // Finished connections are let go of while waiting for the next one.
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, _)) = stream else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let shared = Arc::clone(&shared);
            connections.spawn(async move {
                let _place = place;
                serve(stream, shared).await;
            });
        }
    }
}

/// What all connections look at.
struct Shared {
    key: ApiKey,
    table: Arc<Table>,
}

/// One connection, one request. What goes wrong on it is the client's to notice.
async fn serve(stream: tokio::net::TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(shared.answer(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_MAX)
        .keep_alive(false);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let _ = timeout(CONNECTION_TIME_MAX, connection).await;
}

#[cfg(test)]
mod tests;
