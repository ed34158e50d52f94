//! Sockets, tasks and timers: the only crate that waits for a peer.
//!
//! Public are only [`Engine`], [`Handle`], [`command`], [`snapshot`] and [`export`], which turns a
//! snapshot into text: nobody outside can reach into the data path.

pub mod command;
pub mod export;
mod handle;
pub mod snapshot;

pub use handle::{Handle, Level};
