//! Asking the nameservers of `resolvers` sections (manual 5.3), on the manager thread.
//!
//! [`message`] makes questions and reads answers; [`ask`] gets one question answered, or says why not;
//! [`names`] keeps a name resolved for all servers that have it. What servers do with it is in
//! [`addresses`](crate::addresses).

mod ask;
pub(crate) mod counts;
mod message;
pub(crate) mod names;

use message::Found;
pub(crate) use message::Service;

/// What is asked of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services: hosts and ports.
    Srv,
}

/// Why a name has no valid answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It does not exist.
    Nx,
    /// The nameserver refused.
    Refused,
    /// Nobody answered.
    Timeout,
    /// Anything else.
    Other,
}

impl Failure {
    /// As HAProxy's log lines say it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Nx => "DNS NX status",
            Self::Refused => "DNS refused status",
            Self::Timeout => "DNS timeout status",
            Self::Other => "unspecified DNS error",
        }
    }
}
