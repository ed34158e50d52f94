//! Names to addresses, by the system's own resolver, on threads of its own.
//!
//! The threads keep the root they were started with, so that names resolve after a later `chroot`
//! to an empty folder: the system's resolver reads its files anew each time. And a look-up that
//! hangs holds up nobody but itself.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::{Semaphore, oneshot};

/// Look-ups under way at once: each is a thread that may hang as long as the system lets it.
const LOOK_UPS_MAX: usize = 16;

/// How long one look-up may take before it counts as failed.
const LIMIT: Duration = Duration::from_secs(5);

/// Names to addresses. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    requests: SyncSender<Request>,
    places: Arc<Semaphore>,
}

struct Request {
    name: String,
    port: u16,
    answer: oneshot::Sender<Result<Vec<SocketAddr>, String>>,
}

impl Resolver {
    /// Starts it, with the root the process has now. Fails when the system gives no thread.
    pub fn start() -> io::Result<Self> {
        let (requests, inbox) = sync_channel(LOOK_UPS_MAX);
        std::thread::Builder::new()
            .name("resolver".into())
            .spawn(move || serve(&inbox))?;
        Ok(Self {
            requests,
            places: Arc::new(Semaphore::new(LOOK_UPS_MAX)),
        })
    }

    /// All addresses of a name, or why there is none. Takes 5 s at most.
    pub async fn look_up(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let looking = async {
            let _place = self
                .places
                .acquire()
                .await
                .map_err(|_| "the resolver has ended")?;
            let (answer, answered) = oneshot::channel();
            let request = Request {
                name: name.to_owned(),
                port,
                answer,
            };
            self.requests
                .try_send(request)
                .map_err(|_| "the resolver does not keep up")?;
            answered
                .await
                .map_err(|_| "the resolver has no thread for it")?
        };
        let found = tokio::time::timeout(LIMIT, looking).await;
        match found.unwrap_or(Err("the resolver does not answer".into())) {
            Ok(addresses) if addresses.is_empty() => Err("it has no address".into()),
            found => found,
        }
    }
}

/// Hands each request to a thread. These threads share the root of this one, which it detaches from
/// the process's before anybody can change that.
fn serve(inbox: &Receiver<Request>) {
    // Where it is forbidden, names resolve as well as the process's root allows.
    let _ = unshare(CloneFlags::CLONE_FS);
    while let Ok(Request { name, port, answer }) = inbox.recv() {
        // Without a thread the answer is dropped, which the asker is told.
        let _ = std::thread::Builder::new()
            .name("look-up".into())
            .spawn(move || {
                let found = (name.as_str(), port).to_socket_addrs();
                let found = found
                    .map(Iterator::collect)
                    .map_err(|error| error.to_string());
                // Whoever asked may have stopped waiting.
                let _ = answer.send(found);
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_literals_resolve_and_nonsense_says_why() {
        let resolver = Resolver::start().expect("a thread");
        let found = resolver.look_up("127.0.0.1", 80).await;
        assert_eq!(found, Ok(vec![([127, 0, 0, 1], 80).into()]));
        let found = resolver
            .look_up("localhost", 81)
            .await
            .expect("every machine has one");
        assert!(
            found
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 81)
        );
        assert!(resolver.look_up("no such name", 1).await.is_err());
    }
}
