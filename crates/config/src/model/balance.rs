//! Which server gets a session: `balance`, `hash-type` and what belongs to them (manual 4.2).

use std::sync::Arc;

use crate::expr::Sample;

/// All a backend says about choosing servers.
#[derive(Debug, Clone, Default)]
pub struct Balancing {
    /// `balance`.
    pub algorithm: Balance,
    /// `hash-type` and its like; of use to hashing algorithms alone.
    pub hashing: Hashing,
    /// `option allbackups`: all backups share the load, not only the first.
    pub allbackups: bool,
    /// `option prefer-last-server`: the next request of a connection goes where the last one went.
    pub prefer_last_server: bool,
    /// `max-keep-alive-queue`: not where more than so many wait.
    pub keep_alive_queue_max: Option<u32>,
}

impl Balancing {
    /// Whether weights count as they are at the moment (`slowstart`): not in algorithms that go by a
    /// map.
    pub fn is_dynamic(&self) -> bool {
        match &self.algorithm {
            Balance::StaticRr => false,
            Balance::Hash(_) => self.hashing.consistent,
            _ => true,
        }
    }
}

/// `balance`.
#[derive(Debug, Clone, Default)]
pub enum Balance {
    /// `roundrobin`: weighted, dynamic.
    #[default]
    RoundRobin,
    /// `static-rr`: weighted, by a map made once.
    StaticRr,
    /// `leastconn`.
    LeastConn,
    /// `random(N)`: the best of N draws.
    Random(u32),
    /// `first`: fill one server after the other.
    First,
    /// `source`, `uri`, …: the server that the hash of this leads to.
    Hash(HashKey),
}

impl Balance {
    /// As stats show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::StaticRr => "static-rr",
            Self::LeastConn => "leastconn",
            Self::Random(_) => "random",
            Self::First => "first",
            Self::Hash(HashKey::Source) => "source",
            Self::Hash(HashKey::Uri(_)) => "uri",
            Self::Hash(HashKey::UrlParam { .. }) => "url_param",
            Self::Hash(HashKey::Header { .. }) => "hdr",
            Self::Hash(HashKey::RdpCookie(_)) => "rdp-cookie",
            Self::Hash(HashKey::Sample(_)) => "hash",
        }
    }
}

/// What of a session is hashed.
#[derive(Debug, Clone)]
pub enum HashKey {
    /// `source`: the client's address.
    Source,
    /// `uri`: the target.
    Uri(UriKey),
    /// `url_param NAME [check_post]`: a parameter of the query.
    UrlParam {
        /// Which.
        name: Arc<str>,
        /// Of the body, too, where a POST has it there.
        in_body: bool,
    },
    /// `hdr(NAME) [use_domain_only]`.
    Header {
        /// In lower case.
        name: Arc<str>,
        /// Of a host name, the word before the last dot alone.
        domain_only: bool,
    },
    /// `rdp-cookie(NAME)`, by the fetch of that name.
    RdpCookie(Arc<Sample>),
    /// `hash EXPR`.
    Sample(Arc<Sample>),
}

/// How much of the target `balance uri` looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UriKey {
    /// `len`: bytes at most.
    pub len_max: Option<usize>,
    /// `depth`: slashes at most.
    pub depth_max: Option<usize>,
    /// `whole`: the query too.
    pub whole: bool,
    /// `path-only`: not the scheme and authority of an absolute target.
    pub path_only: bool,
}

/// `hash-type`, `hash-balance-factor`, `hash-preserve-affinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hashing {
    /// `consistent`; else `map-based`.
    pub consistent: bool,
    /// The function.
    pub function: HashFunction,
    /// `avalanche`: the hash is mixed once more.
    pub avalanche: bool,
    /// `hash-balance-factor`, percent of the average load; above 100. Of use with `consistent` alone.
    pub balance_factor: Option<u32>,
    /// `hash-preserve-affinity`.
    pub affinity: Affinity,
}

/// The functions of `hash-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// `sdbm`.
    #[default]
    Sdbm,
    /// `djb2`.
    Djb2,
    /// `wt6`.
    Wt6,
    /// `crc32`.
    Crc32,
    /// `none`: the key is the hash, a decimal number.
    None,
}

/// `hash-preserve-affinity`: when the server a hash leads to is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Affinity {
    /// Never: sessions wait for it.
    #[default]
    Always,
    /// When it is at its `maxconn`.
    Maxconn,
    /// When its queue is at its `maxqueue`.
    Maxqueue,
}
