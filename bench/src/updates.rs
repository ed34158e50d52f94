//! A WSUpdates service that lists what it is told to, and says when a changed list was first handed out.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::node::{self, Node};

/// The key, which nobody checks here.
pub(crate) const API_KEY: &str = "bench-key";

/// A running service.
pub(crate) struct Updates {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    nodes: Vec<SocketAddr>,
    shared: Rc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Drop for Updates {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Default)]
struct Shared {
    body: RefCell<String>,
    handed_out: Cell<Option<Instant>>,
}

impl Updates {
    /// Starts a service that may list the addresses of `node`, and lists none yet.
    pub(crate) async fn start(node: &Node) -> Result<Self> {
        let listener = TcpListener::bind(node::LISTEN).await?;
        let mut updates = Self {
            address: listener.local_addr()?,
            nodes: node.addresses.clone(),
            shared: Rc::default(),
            listening: None,
        };
        updates.list(0..0);
        let shared = updates.shared.clone();
        updates.listening = Some(tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                // A balancer that goes away in the middle is no concern of the service.
                tokio::task::spawn_local(async move {
                    let _ = serve(stream, &shared).await;
                });
            }
        }));
        Ok(updates)
    }

    /// Lists these nodes from now on.
    pub(crate) fn list(&self, which: impl IntoIterator<Item = usize>) {
        let entries = which.into_iter().map(|number| {
            json!({"id": format!("node{number}"), "url": format!("http://{}", self.nodes[number]),
                   "status": "active", "last_seen": "2026-01-01 00:00:00"})
        });
        let list: Vec<_> = entries.collect();
        *self.shared.body.borrow_mut() = serde_json::Value::Array(list).to_string();
        self.shared.handed_out.set(None);
    }

    /// When the list was first handed out; `None`: not yet.
    pub(crate) fn handed_out(&self) -> Option<Instant> {
        self.shared.handed_out.get()
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    let mut buffer = Vec::new();
    while node::read_head(&mut stream, &mut buffer).await?.is_some() {
        let response = {
            let body = shared.body.borrow();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        if shared.handed_out.get().is_none() {
            shared.handed_out.set(Some(Instant::now()));
        }
        stream.write_all(response.as_bytes()).await?;
    }
    Ok(())
}
