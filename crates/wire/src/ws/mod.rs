//! WebSocket (RFC 6455): the opening handshake as a proxy must judge it, and frame headers.
//!
//! A tunnel is opened only for a request that is a valid handshake in every part and a response that
//! answers just this one. Whoever opens it on less gives the client a pipe to the node that no rule
//! looks into (upgrade smuggling).

pub mod frame;

mod edge;
mod handshake;

pub use edge::FrameEdge;
pub use handshake::{ClientKey, Upgrade, UpgradeError, check_switching, upgrade_request};
