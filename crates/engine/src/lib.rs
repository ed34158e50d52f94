//! Sockets, tasks and timers: the only crate that waits for a peer.
//!
//! Public are only the three steps to a running engine ([`Prepared`], [`Bound`], [`Engine`]), its
//! [`Handle`], and the values that go through it ([`command`], [`snapshot`]): nobody outside can
//! reach into the data path. Inside, read `serve.rs` first.

mod admit;
mod answers;
mod assign;
mod attempts;
mod body_read;
mod buffer;
mod changes;
mod checks;
mod client;
mod clock;
pub mod command;
mod cookie;
mod cookie_values;
mod counters;
mod end;
mod exchange;
mod exchanges;
pub mod export;
mod figures;
mod followers;
mod forward;
pub mod glance;
mod handle;
mod inherited;
mod inspect;
mod io;
mod listen;
mod listener;
mod log;
mod logins;
mod manager;
mod measure;
mod monitor;
mod observe;
mod offload;
mod page;
mod panics;
mod places;
mod prepare;
mod queue;
mod rdp;
mod redir;
mod relay;
mod resolver;
mod retry;
mod secure;
mod serve;
mod server;
mod server_ids;
mod session;
mod shared;
mod silence;
mod site;
pub mod snapshot;
mod socket;
mod spread;
mod stats;
mod stream;
mod timing;
mod tls;
mod tunnel;
mod tunnels;
mod upstream;
mod variables;
mod warmup;
mod watch;
mod worker;

pub use handle::{Changing, Handle};
pub use log::Level;
pub use prepare::{Bound, Engine, Prepared, Presence};
pub use resolver::Resolver;
