//! Whether a client is still there while nothing is expected of it.

use std::future::pending;

use crate::buffer::{Buffer, BufferPool};
use crate::io;

/// Ends when the client has closed its side or its connection broke. What it sends in the meantime is
/// kept for later, up to one buffer: beyond that its closing is not seen.
pub(crate) async fn left(client: &io::Shared<'_>, buffer: &mut Buffer, pool: &BufferPool) {
    loop {
        if buffer.is_full(pool) {
            pending::<()>().await;
        }
        match io::fill(client, buffer, pool).await {
            Ok(1..) => {}
            _ => return,
        }
    }
}
