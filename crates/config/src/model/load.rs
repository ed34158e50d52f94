//! How much of the load a server takes, and how its connections are used again (manual 5.2, 4.2
//! "http-reuse").

use std::time::Duration;

/// `http-reuse`: which requests may go out on a connection that another client's request has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpReuse {
    /// None: a client's requests share a connection among themselves alone.
    Never,
    /// All but the first of a client's connection.
    #[default]
    Safe,
    /// These, and first ones on connections that have served more than one request.
    Aggressive,
    /// All.
    Always,
}

/// What is kept of a server's connections between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// `pool-max-conn`.
    pub idle_max: IdleMax,
    /// `pool-purge-delay`: how long a connection may be idle. Default 5 s; 0 keeps none.
    pub purge_delay: Duration,
    /// `max-reuse`: how often a connection is used again; `None`: any number of times.
    pub reuse_max: Option<u32>,
}

/// `pool-max-conn`: how many idle connections to a server are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdleMax {
    /// Nothing was said: the engine has a bound of its own.
    #[default]
    Default,
    /// -1: as many as the process may keep.
    Unlimited,
    /// So many; 0 keeps none.
    Count(u32),
}

impl Default for Pooling {
    fn default() -> Self {
        Self {
            idle_max: IdleMax::Default,
            purge_delay: Duration::from_secs(5),
            reuse_max: None,
        }
    }
}

/// `hash-key`: what decides where a server's points on the ring of `hash-type consistent` lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RingKey {
    /// Its id.
    #[default]
    Id,
    /// All 32 bits of its id, not scaled.
    Id32,
    /// Its address.
    Addr,
    /// Its address and port.
    AddrPort,
    /// Its `guid`.
    Guid,
}
