//! Byte buffers that exist only while they hold something.
//!
//! A connection that waits owns no memory: its buffer is taken from the worker's pool when bytes
//! arrive and given back as soon as they are used up.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};

use crate::stream::Stream;

/// Buffers kept for the next user, at most; the rest is freed. Enough for a burst of requests on
/// one worker, small enough (1 MiB with the default size) to keep at rest.
const SPARE_MAX: usize = 64;

/// A worker's spare buffers, all of one size.
pub(crate) struct BufferPool {
    size: usize,
    spare: RefCell<Vec<Box<[u8]>>>,
}

impl BufferPool {
    /// An empty pool of buffers of `size` bytes (`tune.bufsize`).
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            spare: RefCell::new(Vec::new()),
        }
    }

    fn take(&self) -> Box<[u8]> {
        self.spare
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| vec![0; self.size].into_boxed_slice())
    }

    fn give(&self, buffer: Box<[u8]>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(buffer);
        }
    }
}

/// Bytes that arrived and were not used yet. Holds no memory while empty.
#[derive(Default)]
pub(crate) struct Buffer {
    memory: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What is in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory
            .as_ref()
            .map_or(&[], |memory| &memory[self.start..self.end])
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `count` bytes; the memory goes back to the pool with the last one.
    pub(crate) fn consume(&mut self, count: usize, pool: &BufferPool) {
        self.start = (self.start + count).min(self.end);
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
            if let Some(memory) = self.memory.take() {
                pool.give(memory);
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self, pool: &BufferPool) {
        self.consume(self.end - self.start, pool);
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self, pool: &BufferPool) -> Vec<u8> {
        let bytes = self.bytes().to_vec();
        self.clear(pool);
        bytes
    }

    /// Reads more from `stream` behind what is there. `Ok(0)` is the end of the stream, or a full
    /// buffer: the caller checks [`Buffer::is_full`] first.
    pub(crate) fn poll_fill(
        &mut self,
        stream: &mut Stream,
        pool: &BufferPool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut memory = self.memory.take().unwrap_or_else(|| pool.take());
        if self.start > 0 && self.end == memory.len() {
            memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let result = stream.poll_read(cx, &mut memory[self.end..]);
        if let Poll::Ready(Ok(count)) = result {
            self.end += count;
        }
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
            pool.give(memory);
        } else {
            self.memory = Some(memory);
        }
        result
    }

    /// A buffer with these bytes in it.
    #[cfg(test)]
    pub(crate) fn holding(bytes: &[u8], pool: &BufferPool) -> Self {
        let mut memory = pool.take();
        memory[..bytes.len()].copy_from_slice(bytes);
        Self {
            memory: Some(memory),
            start: 0,
            end: bytes.len(),
        }
    }

    /// Whether no more fits.
    pub(crate) fn is_full(&self, pool: &BufferPool) -> bool {
        self.end - self.start == pool.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::alongside;
    use crate::stream::Carrier;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn memory_is_held_only_while_bytes_are() {
        let filled = alongside(fill_and_empty()).await;
        filled.expect("a queue of events");
    }

    async fn fill_and_empty() {
        let pool = BufferPool::new(16);
        let (here, mut there) = UnixStream::pair().expect("a pair");
        let here = here.into_std().expect("it is open");
        let mut stream = Stream::from(Carrier::new(here).expect("a reactor"));
        let mut buffer = Buffer::default();

        let waiting = std::future::poll_fn(|cx| {
            Poll::Ready(buffer.poll_fill(&mut stream, &pool, cx).is_pending())
        });
        assert!(waiting.await);
        assert!(buffer.memory.is_none());

        there
            .write_all(b"0123456789")
            .await
            .expect("room in the socket");
        std::future::poll_fn(|cx| buffer.poll_fill(&mut stream, &pool, cx))
            .await
            .expect("bytes");
        assert_eq!(buffer.bytes(), b"0123456789");
        buffer.consume(8, &pool);
        assert_eq!(buffer.bytes(), b"89");

        there
            .write_all(b"abcdefghijklmnopqrst")
            .await
            .expect("room in the socket");
        while !buffer.is_full(&pool) {
            std::future::poll_fn(|cx| buffer.poll_fill(&mut stream, &pool, cx))
                .await
                .expect("more");
        }
        assert_eq!(buffer.bytes(), b"89abcdefghijklmn");
        buffer.clear(&pool);
        assert!(buffer.is_empty() && buffer.memory.is_none());
    }
}
