//! The list as events (WHATWG HTML, 9.2 "Server-sent events"): the whole list at once, and again whenever it
//! has changed; a comment when nothing does, so that both ends know the other one is there.
//!
//! An event is the list and not what changed in it: whoever was away for a while, or is slow, has missed
//! nothing. Its id says which version it is; `Last-Event-ID` needs no answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::table::Table;

/// Streams at once: balancers, and people who look. Each holds one of the registry's connections.
const STREAMS_MAX: usize = 64;

/// The longest silence. Clients and what stands between give up after a minute at the soonest.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long a reader may take nothing.
const SLOW_MAX: Duration = Duration::from_secs(30);

/// Changes that come that close together are one event.
const GATHERED: Duration = Duration::from_millis(5);

/// Where streams are opened.
pub(super) struct Streams {
    table: Arc<Table>,
    places: Arc<Semaphore>,
}

impl Streams {
    pub(super) fn new(table: Arc<Table>) -> Self {
        Self {
            table,
            places: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// A new stream; `None`: there are [`STREAMS_MAX`].
    pub(super) fn open(&self) -> Option<Events> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        // One event that waits to be written; what changes meanwhile is in the next one.
        let (sender, events) = mpsc::channel(1);
        tokio::spawn(tell(Arc::clone(&self.table), sender, place));
        Some(Events(events))
    }
}

/// A body without end.
pub(super) struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(cx);
        next.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

/// Tells the list until the reader has left, or takes nothing for too long.
async fn tell(table: Arc<Table>, sender: mpsc::Sender<Bytes>, _place: OwnedSemaphorePermit) {
    let mut version = table.version();
    version.mark_changed();
    loop {
        let changed = tokio::select! {
            () = sender.closed() => return,
            changed = version.changed() => Some(changed),
            () = sleep(SILENCE_MAX) => None,
        };
        let text = match changed {
            Some(Ok(())) => {
                sleep(GATHERED).await;
                let version = *version.borrow_and_update();
                event(version, &table.list())
            }
            Some(Err(_)) => return,
            None => {
                table.expire();
                Bytes::from_static(b":\n\n")
            }
        };
        if !matches!(timeout(SLOW_MAX, sender.send(text)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn event(version: u64, list: &[u8]) -> Bytes {
    // JSON has no end of line that is not escaped, as it is written here.
    let list = String::from_utf8_lossy(list);
    Bytes::from(format!("event: nodes\nid: {version}\ndata: {list}\n\n"))
}
