//! How a proxy treats requests and clients, beside rules and time-outs (manual 4.2).

use std::sync::Arc;
use std::time::Duration;

use super::{ForwardFor, ForwardedHeader};
use crate::expr::Condition;

/// Options of `mode http`.
#[derive(Debug, Clone, Default)]
pub struct Conduct {
    /// `option originalto`: the same as `forwardfor` for the address that the client connected to.
    pub originalto: Option<ForwardFor>,
    /// `option accept-unsafe-violations-in-http-request`, as far as it makes no second meaning.
    pub lenient_requests: bool,
    /// `client-min-rate`: how slowly a client may send a body, or take one.
    pub client_min_rate: Option<MinRate>,
    /// `option forwarded`, of backends.
    pub forwarded: Option<Box<ForwardedHeader>>,
    /// `option http-ignore-probes`: connections that end without a word are nothing to speak of.
    pub ignore_probes: bool,
    /// `option abortonclose`: a request whose client has closed is given up as long as there is no
    /// answer.
    pub abort_on_close: bool,
    /// `option http-buffer-request`: the body is waited for before any rule looks at the request.
    pub buffer_request: bool,
    /// `option http-pretend-keepalive`: servers are not told that a connection ends.
    pub pretend_keepalive: bool,
    /// `http-send-name-header`: the header, in lower case, that tells a server its name.
    pub send_name_header: Option<Arc<str>>,
    /// `monitor-uri`: the path, or the whole target where it does not begin with a slash, that is
    /// answered at once.
    pub monitor_uri: Option<Arc<str>>,
    /// `monitor fail`: when one of these holds, the answer is 503.
    pub monitor_fail: Vec<Condition>,
}

/// How slowly bytes may move while somebody waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes a second, at least 1.
    pub rate: u64,
    /// So long any pace will do.
    pub grace: Duration,
}

impl MinRate {
    /// How long a peer may take for so many bytes.
    pub fn allowed(self, bytes: u64) -> Duration {
        let needed = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        needed.max(self.grace)
    }
}
