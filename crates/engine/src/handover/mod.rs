//! One process takes over from another: listening sockets first, then open tunnels.
//!
//! A new process that is started with `-x SOCKET` asks the old one for its listening sockets. Of one like this one it
//! gets all of them ([`predecessor`], [`successor`], by the words of [`channel`]), and its plain tunnels as soon as it
//! serves clients itself: two sockets and a [`state`] each. Of HAProxy, and HAProxy of us, it gets sockets alone
//! ([`getsocks`]). They wait in an [`Inheritance`] until the configuration asks for them; what nobody asks for is
//! closed. The old one knows which sockets it has ([`Listening`]) and leaves them in a way that loses no client.

mod channel;
mod codec;
mod getsocks;
mod inheritance;
mod listening;
mod moving;
mod passing;
mod predecessor;
pub(crate) mod state;
mod successor;
mod to_others;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use channel::{GREETING, VERSION};
pub use getsocks::give;
pub use inheritance::Inheritance;
pub use listening::ListeningSocket;
pub(crate) use listening::{Exposed, LEAVING, Leaders, Listening, Role};
pub(crate) use moving::Moving;
pub use predecessor::NoNodes;
pub use successor::Leaving;

/// The process before this one, as long as it still has something.
#[derive(Debug, Clone)]
pub struct OldProcess {
    /// Its process id.
    pub pid: u32,
    /// The version of its program.
    pub release: Arc<str>,
    /// How long it had run when this one began.
    pub uptime_then: Duration,
    /// When that was.
    pub since: Instant,
    /// Connections of clients that it still has.
    pub connections: u64,
    /// Tunnels among them.
    pub tunnels: u64,
}

/// What is known of it.
#[derive(Default)]
pub(crate) struct PredecessorSeen(Mutex<Option<OldProcess>>);

impl PredecessorSeen {
    /// It is so now; `None`: it has ended.
    pub(crate) fn set(&self, it: Option<OldProcess>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = it;
    }

    /// What was last said of it.
    pub(crate) fn get(&self) -> Option<OldProcess> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Whether these bytes are a message between two processes of ours, or the state of a tunnel: read as foreign input
/// is. For those who try it with any bytes.
pub fn is_handover(bytes: &[u8]) -> bool {
    channel::is_message(bytes) || state::TunnelState::read(bytes).is_ok()
}
