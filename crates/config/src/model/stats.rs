//! The statistics page (manual 4.2, "stats …").

use std::sync::Arc;
use std::time::Duration;

use super::{RequestRule, RuleList};
use crate::expr::Condition;

/// `stats …` (manual 4.2).
#[derive(Debug, Clone)]
pub struct StatsPage {
    /// `stats uri`. Default `/haproxy?stats`.
    pub uri: Arc<str>,
    /// `stats realm`. Default "HAProxy Statistics".
    pub realm: Arc<str>,
    /// `stats auth user:password`, any of them.
    pub auth: Vec<(Arc<str>, Secret)>,
    /// `stats http-request allow|deny|auth`: who sees the page. The first that holds decides.
    pub http_request: RuleList<RequestRule>,
    /// `stats admin`: when servers may be changed from the page; any of them is enough.
    pub admin: Vec<Condition>,
    /// `stats scope`: names of the proxies that are shown; empty: all. `.` has become a name.
    pub scope: Vec<Arc<str>>,
    /// `stats show-modules`.
    pub show_modules: bool,
    /// `stats refresh`.
    pub refresh: Option<Duration>,
    /// `stats hide-version`.
    pub hide_version: bool,
    /// `stats show-legends`.
    pub show_legends: bool,
    /// `stats show-desc [text]`.
    pub description: Option<Arc<str>>,
    /// `stats show-node [name]`: `Some` shows it.
    pub node: Option<Arc<str>>,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Arc<str>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}
