//! Sections `resolvers`, and how a server's name becomes an address (manual 5.2, 5.3).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// Section `resolvers` (manual 5.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolvers {
    /// Its name.
    pub name: Arc<str>,
    /// Who is asked, all at once.
    pub nameservers: Vec<Nameserver>,
    /// `accepted_payload_size`: the longest answer by UDP, bytes. Default 512.
    pub payload_len_max: u16,
    /// `resolve_retries`: rounds of questions before it counts as failed. Default 3.
    pub rounds: u32,
    /// `timeout resolve`: from one resolution to the next. Default 1 s.
    pub interval: Duration,
    /// `timeout retry`: how long a round waits for a valid answer. Default 1 s.
    pub patience: Duration,
    /// `hold …`.
    pub hold: Hold,
}

/// `nameserver`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nameserver {
    /// Its name, unique in its section.
    pub name: Arc<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// `tcp@`: asked by TCP alone.
    pub tcp: bool,
}

/// `hold`: how long the last valid answer counts on after a failure of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// The name does not exist. Default 30 s.
    pub nx: Duration,
    /// The nameserver refused. Default 30 s.
    pub refused: Duration,
    /// Nobody answered. Default 30 s.
    pub timeout: Duration,
    /// Anything else that is not valid. Default 30 s.
    pub other: Duration,
    /// An address that is in the answers no more. Default 0.
    pub obsolete: Duration,
}

const HOLD_DEFAULT: Duration = Duration::from_secs(30);

impl Default for Hold {
    fn default() -> Self {
        Self {
            nx: HOLD_DEFAULT,
            refused: HOLD_DEFAULT,
            timeout: HOLD_DEFAULT,
            other: HOLD_DEFAULT,
            obsolete: Duration::ZERO,
        }
    }
}

/// How a server's name becomes an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lookup {
    /// `init-addr`, in order; empty: `last,libc`.
    pub init: Vec<InitAddress>,
    /// `resolvers`; `None`: the system resolves it.
    pub resolvers: Option<Arc<Resolvers>>,
    /// `resolve-prefer ipv4`; else IPv6.
    pub prefers_v4: bool,
    /// `resolve-net`: addresses of these networks come first.
    pub nets: Vec<IpNet>,
    /// `resolve-opts allow-dup-ip`: it may have the address of another server of that name.
    pub shares_address: bool,
    /// `resolve-opts ignore-weight`: weights of SRV records mean nothing.
    pub ignores_weight: bool,
}

/// Where a server's first address comes from (`init-addr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitAddress {
    /// `last`: from the state file.
    Last,
    /// `libc`: the system resolves it.
    System,
    /// `none`: it has none yet.
    None,
    /// This one.
    Ip(IpAddr),
}
