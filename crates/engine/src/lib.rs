//! Sockets, tasks and timers: the only crate that waits for a peer.
//!
//! Public are only [`Engine`], [`Handle`], [`command`] and [`snapshot`]: nobody outside can reach
//! into the data path.

pub mod command;
mod handle;
pub mod snapshot;

pub use handle::{Handle, Level};
