//! Reading and writing of the HTTP stages.
//!
//! Request body and response cross at the same time on the same two streams, within one task. So a
//! stream is shared by reference and borrowed for one poll at a time; never across an await.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use crate::buffer::{Buffer, BufferPool};
use crate::stream::Stream;

/// A stream that two directions of one task use.
pub(crate) type Shared<'a> = RefCell<&'a mut Stream>;

/// Reads more into `buffer`. `Ok(0)`: the end of the stream.
pub(crate) async fn fill(
    stream: &Shared<'_>,
    buffer: &mut Buffer,
    pool: &BufferPool,
) -> io::Result<usize> {
    poll_fn(|cx| buffer.poll_fill(&mut stream.borrow_mut(), pool, cx)).await
}

/// Writes all of `bytes`, and what TLS holds back.
pub(crate) async fn write_all(stream: &Shared<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    poll_fn(|cx| poll_write_all(&mut stream.borrow_mut(), bytes, &mut sent, cx)).await
}

/// The same as a poll function, which is to be told how much was `sent` before.
pub(crate) fn poll_write_all(
    stream: &mut Stream,
    bytes: &[u8],
    sent: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while *sent < bytes.len() {
        match ready!(stream.poll_write(cx, &bytes[*sent..])) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => *sent += count,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    stream.poll_flush(cx)
}

/// Says that nothing more will be written.
pub(crate) async fn shutdown(stream: &mut Stream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_shutdown(cx)).await
}
