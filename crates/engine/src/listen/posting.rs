//! Where the connections of an address go. Its sockets stay open over reloads; which `bind` of which
//! frontend they stand for may be another one after each.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use config::model::{Bind, BindAddress};
use tokio::sync::Notify;

use crate::site::FrontendState;

/// Which posting, for as long as the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PostingKey(u32);

static LAST: AtomicU32 = AtomicU32::new(0);

impl PostingKey {
    /// One that no other posting has.
    pub(crate) fn fresh() -> Self {
        Self(LAST.fetch_add(1, Relaxed))
    }
}

/// A `bind` of a frontend.
pub(crate) struct Post {
    /// The frontend.
    pub(crate) frontend: Arc<FrontendState>,
    /// The position of the `bind`.
    pub(crate) bind: usize,
}

/// Whether two `bind`s are one place to clients. The interface is a part of it where there is a port: it decides
/// whom the kernel lets in, and one port of two interfaces may be two frontends'.
pub(crate) fn same_place(one: &Bind, other: &Bind) -> bool {
    let is_inet = matches!(one.address, BindAddress::Inet(_));
    one.address == other.address && (!is_inet || one.interface == other.interface)
}

/// Whom the sockets of an address accept for.
pub(crate) struct Posting {
    /// Which one.
    pub(crate) key: PostingKey,
    /// As it was opened: what cannot be changed of an open socket.
    opened: Bind,
    /// `None`: nobody any more; the sockets are closed when nobody waits there.
    current: ArcSwapOption<Post>,
    /// Told of each change.
    changed: Notify,
}

impl Posting {
    /// Nobody is there yet.
    pub(crate) fn new(key: PostingKey, bind: &Bind) -> Self {
        Self {
            key,
            opened: Bind {
                tls: None,
                ..bind.clone()
            },
            current: ArcSwapOption::empty(),
            changed: Notify::new(),
        }
    }

    /// Its connections are this one's from now on.
    pub(crate) fn set(&self, post: Post) {
        self.current.store(Some(Arc::new(post)));
        self.changed.notify_waiters();
    }

    /// No connections are taken any more, but those that wait already.
    pub(crate) fn close(&self) {
        self.current.store(None);
        self.changed.notify_waiters();
    }

    /// Whose its connections are; `None`: nobody's any more.
    pub(crate) fn post(&self) -> Option<Arc<Post>> {
        self.current.load_full()
    }

    /// Whether that is still so.
    pub(crate) fn is_held_by(&self, post: &Arc<Post>) -> bool {
        let current = self.current.load();
        current.as_ref().is_some_and(|it| Arc::ptr_eq(it, post))
    }

    /// Waits for the next change.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Whether a `bind` of another configuration means this address, see [`same_place`].
    pub(crate) fn is_at(&self, bind: &Bind) -> bool {
        same_place(&self.opened, bind)
    }

    /// Whether an operator has had its frontend close it.
    pub(crate) fn is_shut(&self) -> bool {
        let current = self.current.load();
        current.as_ref().is_some_and(|it| it.frontend.is_shut())
    }

    /// What of a `bind` at this address cannot be had without opening it anew.
    pub(crate) fn differs(&self, bind: &Bind) -> bool {
        let opened = &self.opened;
        opened.socket != bind.socket
            || opened.v6only != bind.v6only
            || opened.backlog != bind.backlog
            || (opened.unix_mode, opened.unix_uid, opened.unix_gid)
                != (bind.unix_mode, bind.unix_uid, bind.unix_gid)
    }

    /// The address as it was written when it was opened.
    pub(crate) fn text(&self) -> &str {
        &self.opened.text
    }
}

impl std::fmt::Debug for Posting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Posting").field(&self.opened.text).finish()
    }
}

/// All addresses that are listened on.
#[derive(Default)]
pub(crate) struct Postings {
    /// Somebody's.
    pub(crate) held: Vec<Arc<Posting>>,
    /// Nobody's any more, as long as a socket of theirs is open.
    pub(crate) closing: Vec<Weak<Posting>>,
}

impl Postings {
    /// Whether we listen on a part of that address ourselves: its port, at any address.
    pub(crate) fn are_at(&self, address: &BindAddress) -> bool {
        let closing = self.closing.iter().filter_map(Weak::upgrade);
        let mut all = self.held.iter().cloned().chain(closing);
        all.any(|posting| match (&posting.opened.address, address) {
            (BindAddress::Inet(ours), BindAddress::Inet(theirs)) => ours.port() == theirs.port(),
            (ours, theirs) => ours == theirs,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn the_interface_is_a_part_of_the_place() {
        let at = |address: BindAddress, interface: Option<&str>| Bind {
            interface: interface.map(Into::into),
            ..Bind::at(address)
        };
        let port = |port: u16| BindAddress::Inet(SocketAddr::from(([0, 0, 0, 0], port)));
        let unix = || BindAddress::Unix("/run/s".into());
        let check = |one: Bind, other: Bind, same: bool| {
            let posting = Posting::new(PostingKey::fresh(), &one);
            assert_eq!(posting.is_at(&other), same, "{one:?} {other:?}");
        };
        let (public, admin) = (Some("eth0"), Some("eth1"));
        check(at(port(80), public), at(port(80), public), true);
        check(at(port(80), public), at(port(80), admin), false);
        check(at(port(80), None), at(port(80), admin), false);
        check(at(port(80), public), at(port(81), public), false);
        // Nothing of it can be had there.
        check(at(unix(), None), at(unix(), admin), true);
    }
}
