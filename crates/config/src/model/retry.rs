//! `retry-on` (manual 4.2): which failures a request is sent again for.

/// Statuses that `retry-on` knows.
pub const RETRIED_STATUSES: [u16; 12] =
    [401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504];

/// Which failures a request is sent again for, at most `retries` times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// `conn-failure`: there was no connection, the request has not been sent.
    pub no_connection: bool,
    /// `empty-response`: the server ended the connection instead of answering.
    pub empty: bool,
    /// `junk-response`: what it answered is no HTTP.
    pub junk: bool,
    /// `response-timeout`: it did not answer within `timeout server`.
    pub timeout: bool,
    /// Statuses, of [`RETRIED_STATUSES`].
    pub statuses: Vec<u16>,
}

impl RetryOn {
    /// `retry-on none`.
    pub const NONE: Self = Self {
        no_connection: false,
        empty: false,
        junk: false,
        timeout: false,
        statuses: Vec::new(),
    };

    /// Whether requests may be sent twice, so that they must be kept meanwhile.
    pub fn repeats(&self) -> bool {
        self.empty || self.junk || self.timeout || !self.statuses.is_empty()
    }
}

impl Default for RetryOn {
    /// `conn-failure` alone.
    fn default() -> Self {
        Self {
            no_connection: true,
            ..Self::NONE
        }
    }
}
