//! The body of a request that a page of ours answers.

use std::cell::RefCell;

use crate::body_read::BodyRead;
use crate::client::{Client, Request};
use crate::io;
use crate::timing::within;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoBody {
    /// The client does not take what it waits for (`Expect: 100-continue`).
    Gone,
    /// It is longer than allowed, is cut off, or took too long.
    Unread,
}

/// Reads it, `most` bytes at most; tells a client that waits for it to send it.
pub(super) async fn read(
    client: &mut Client,
    request: &mut Request,
    most: usize,
) -> Result<Vec<u8>, NoBody> {
    if request.waits {
        let limit = client.connection.frontend.conf().proxy.timeouts.client;
        let stream = RefCell::new(&mut client.stream);
        let telling = io::write_all(&stream, b"HTTP/1.1 100 Continue\r\n\r\n");
        if !matches!(within(limit, telling).await, Ok(Ok(()))) {
            // What it sends now is a body or not: nobody knows.
            request.body_read = BodyRead::Part;
            return Err(NoBody::Gone);
        }
    }
    client.read_body(request, most).await.ok_or(NoBody::Unread)
}
