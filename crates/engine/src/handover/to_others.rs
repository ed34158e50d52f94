//! What an engine does with its listening sockets when another process asks for them.

use super::{ListeningSocket, OldProcess};
use crate::handle::Handle;

impl Handle {
    /// The sockets that clients come to, to be given to another process. When this one stops softly, it leaves
    /// them so that no client is lost.
    pub fn listening_sockets(&self) -> Vec<ListeningSocket> {
        self.shared().listening.some()
    }

    /// Waits until this process takes no clients any more; `given`: and has left its sockets to another one.
    pub async fn wait_left(&self, given: bool) {
        self.shared().listening.wait_left(given).await;
    }

    /// The process that this one took over from, as long as it still has something.
    pub fn old_process(&self) -> Option<OldProcess> {
        self.shared().predecessor.get()
    }

    /// Stops listening for a moment, for another process to take the addresses (`SIGTTOU`, management.txt 4).
    pub fn pause_listening(&self) {
        self.shared().listening.pause();
    }

    /// Listens again (`SIGTTIN`). How many sockets could not.
    pub fn resume_listening(&self) -> usize {
        self.shared().listening.resume()
    }
}
