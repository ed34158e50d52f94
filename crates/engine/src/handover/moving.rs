//! What the threads that hand tunnels over ask of workers.

use std::fmt;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::drain::pacing;
use crate::slab::Token;
use crate::tunnels::{Adopted, Offered};
use crate::worker::Worker;

/// Tunnels of one batch, at most: two descriptors each, of which 252 go with a message; and so few stand still for
/// a moment only.
pub(super) const TUNNELS_PER_BATCH: usize = 64;

/// What WebSockets are told that end because another process has our place: "Service Restart", come again (RFC 6455
/// section 7.4.2, IANA's registry).
const RESTARTS: u16 = 1012;

/// What a worker offers, and from which place on to ask it again.
pub(crate) type Offers = (Vec<Offered>, Option<u32>);

/// See the module's text.
#[derive(Debug, Clone)]
pub(crate) enum Moving {
    /// Offer some tunnels, from a place on.
    Offer {
        /// The place.
        from: u32,
        /// Where they go. If nobody takes them there, they stay.
        reply: Sender<Offers>,
    },
    /// What became of them.
    Settle {
        /// The other process has these.
        gone: Arc<[Token]>,
        /// These stay.
        stay: Arc<[Token]>,
    },
    /// Go on with tunnels of another process.
    Adopt(Parcel),
    /// Have all tunnels take their leave, evenly over this time.
    Part(Duration),
}

/// Tunnels on their way to a worker; whoever takes them has them.
#[derive(Clone)]
pub(crate) struct Parcel(Arc<Mutex<Vec<Adopted>>>);

impl Parcel {
    /// With these in it.
    pub(super) fn new(tunnels: Vec<Adopted>) -> Self {
        Self(Arc::new(Mutex::new(tunnels)))
    }

    fn take(&self) -> Vec<Adopted> {
        // A lock whose holder never panics.
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parcel")
    }
}

impl Moving {
    /// Does it on this worker.
    pub(crate) fn carry_out(self, worker: &Rc<Worker>) {
        let tunnels = &worker.tunnels;
        match self {
            Self::Offer { from, reply } => {
                let offers = tunnels.offer(from, TUNNELS_PER_BATCH);
                if let Err(refused) = reply.send(offers) {
                    let (offered, _) = refused.0;
                    let stay: Vec<Token> = offered.iter().map(|it| it.token).collect();
                    tunnels.settle(&[], &stay, worker);
                }
            }
            Self::Settle { gone, stay } => tunnels.settle(&gone, &stay, worker),
            Self::Part(over) => {
                tokio::task::spawn_local(pacing::run_all(worker.clone(), over, RESTARTS));
            }
            Self::Adopt(parcel) => {
                for tunnel in parcel.take() {
                    tunnels.adopt(tunnel, worker);
                }
            }
        }
    }
}
