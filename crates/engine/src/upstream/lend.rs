//! Idle connections that another worker has (manual 3.2, "tune.idle-pool.shared"): asked for where one's own has
//! none, so that which worker a client came to decides nothing about its requests.
//!
//! A worker's connections wait with its own reactor, so that the other one is asked by message and gives the bare
//! socket away. Those with TLS stay where their state is.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::pool::Alike;
use crate::server::ServerState;
use crate::spread::Loose;
use crate::stream::Stream;
use crate::timing::within;
use crate::worker::{Message, Worker};

/// A worker that takes longer than this to look is busy enough: a new connection costs less.
const PATIENCE: Duration = Duration::from_millis(5);

/// What is asked for, of all other workers at once: the first that has one answers.
#[derive(Debug)]
pub(crate) struct Wish {
    alike: Alike,
    /// See [`super::pool::IdlePool::take`].
    proven: bool,
    answer: Mutex<Option<oneshot::Sender<Lent>>>,
}

/// A connection that belongs to nobody.
#[derive(Debug)]
struct Lent {
    socket: Loose,
    uses: u32,
}

/// A usable connection of that kind from another worker, and how many requests it has carried.
pub(crate) async fn borrow(
    alike: &Alike,
    proven: bool,
    server: &ServerState,
    worker: &Worker,
) -> Option<(Stream, u32)> {
    let shared = &worker.shared;
    let is_shared = shared.site.load().config.global.tune.idle_pool_shared;
    let may_be_there = server.tls().is_none() && server.idle.load(Relaxed) > 0;
    if shared.workers < 2 || !is_shared || !may_be_there {
        return None;
    }
    let (sender, answer) = oneshot::channel();
    let wish = Message::Lend(Arc::new(Wish {
        alike: alike.clone(),
        proven,
        answer: Mutex::new(Some(sender)),
    }));
    shared.tell_other_workers(worker.index, &wish);
    // It is gone when all have looked and none had any.
    drop(wish);
    let lent = within(Some(PATIENCE), answer).await.ok()?.ok()?;
    let stream = Stream::from(lent.socket.join().ok()?);
    Some((stream, lent.uses))
}

impl Worker {
    /// Gives a connection away, where there is one and nobody else has.
    pub(crate) fn lend(&self, wish: &Wish) {
        let mut answer = wish.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = answer.take_if(|sender| !sender.is_closed()) else {
            return;
        };
        let found = self.idle.take(&wish.alike, wish.proven, Instant::now());
        let loose = found.and_then(|(stream, uses)| match stream {
            Stream::Plain(carrier) => Some((Loose::leave(carrier).ok()?, uses)),
            Stream::Tls(_) => None,
        });
        match loose {
            // Who has stopped waiting needs none: it ends.
            Some((socket, uses)) => drop(sender.send(Lent { socket, uses })),
            None => *answer = Some(sender),
        }
    }
}
