//! Whether a client is still there while nothing is expected of it.

use std::future::pending;

use crate::buffer::{Buffer, BufferPool};
use crate::io;

/// How a client left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It closed its direction; it may still listen.
    Closed,
    /// The connection broke.
    Broken,
}

/// Ends when the client has closed its side or its connection broke. What it sends in the meantime is
/// kept for later, up to one buffer: beyond that its leaving is not seen.
pub(crate) async fn left(client: &io::Shared<'_>, buffer: &mut Buffer, pool: &BufferPool) -> Left {
    loop {
        if buffer.is_full(pool) {
            return pending().await;
        }
        match io::fill(client, buffer, pool).await {
            Ok(0) => return Left::Closed,
            Ok(_) => {}
            Err(_) => return Left::Broken,
        }
    }
}
