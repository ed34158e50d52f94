//! Persistence by cookie (manual 4.2, "cookie", "force-persist", "ignore-persist").

use std::sync::Arc;
use std::time::Duration;

use crate::expr::Condition;

/// `cookie NAME …`: which server a client comes back to is kept in a cookie of its browser.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cookie {
    /// Name of the cookie, letters in any case, compared exactly.
    pub name: Arc<str>,
    /// Who makes it.
    pub mode: CookieMode,
    /// `indirect`: clients that have the right one get none, and with `insert` nodes see none.
    pub indirect: bool,
    /// `nocache`: a response that caches could keep is marked when a cookie is put into it.
    pub nocache: bool,
    /// `postonly`: put only into responses to POST.
    pub postonly: bool,
    /// `preserve`: one that the node sets itself stays.
    pub preserve: bool,
    /// `maxidle`: unused for longer, it counts no more.
    pub maxidle: Option<Duration>,
    /// `maxlife`: older, it counts no more.
    pub maxlife: Option<Duration>,
    /// `domain`, `httponly`, `secure` and `attr` as they follow `path=/`: "; HttpOnly; Secure".
    pub attributes: Arc<str>,
    /// `dynamic`: servers without a value of their own get one made of their address.
    pub dynamic: bool,
}

/// Who makes the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CookieMode {
    /// Neither word was given: cookies are looked at and left as they are.
    #[default]
    Passive,
    /// `rewrite`: the node sets one, its value becomes the server's.
    Rewrite,
    /// `insert`: we do.
    Insert,
    /// `prefix`: the node sets one, the server's value and `~` go before its own.
    Prefix,
}

/// `force-persist` or `ignore-persist` with its condition.
#[derive(Debug, Clone)]
pub struct PersistRule {
    /// `force-persist`: also to a server that is down; else no cookie is looked at.
    pub force: bool,
    /// When.
    pub condition: Condition,
}
