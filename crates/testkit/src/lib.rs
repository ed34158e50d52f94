//! Building blocks for tests with the real program over real sockets: nodes, a discovery service,
//! clients, certificates, ports, and waiting for a condition.
//!
//! Not for production: everything here panics with a full account when it cannot do its work,
//! because in a test a panic is the report. Nothing here sleeps for luck: every wait has a
//! condition and a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test kit reports, and it names the place"
)]

pub mod balancer;
pub mod certificates;
pub mod discovery;
pub mod http;
pub mod log_sink;
pub mod nameserver;
pub mod node;
pub mod ports;
pub mod process;
pub mod script;
pub mod stats;
pub mod stream;
pub mod swarm;
pub mod wait;
pub mod websocket;

pub use balancer::Balancer;
pub use certificates::{Authority, Leaf};
pub use discovery::Discovery;
pub use http::{Client, Response};
pub use log_sink::LogSink;
pub use nameserver::{Nameserver, Says};
pub use node::{Health, Node, Temper};
pub use ports::Port;
pub use process::Process;
pub use stats::Table;
pub use swarm::Swarm;
pub use wait::{PATIENCE, wait_until};
pub use websocket::WebSocket;
