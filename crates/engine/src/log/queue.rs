//! A bounded batch of framed lines, filled by everybody and emptied by one writer thread.
//!
//! Lines lie one behind the other in one buffer: queueing one copies its bytes and allocates
//! nothing once the buffer has grown. The writer swaps the whole batch for an empty one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Bytes waiting for the writer, at most: seconds of a busy balancer's lines.
const BYTES_MAX: usize = 4 << 20;

/// Lines waiting for the writer, at most.
const LINES_MAX: usize = 16_384;

/// A buffer that grew beyond this is given back after use.
const BYTES_KEPT: usize = 256 << 10;

/// One line of a batch.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// Which sink, by position.
    pub(super) sink: u16,
    /// Where it ends in the buffer; it begins where the one before it ends.
    pub(super) end: usize,
}

/// Lines for the writer.
#[derive(Default)]
pub(super) struct Batch {
    /// All bytes.
    pub(super) bytes: Vec<u8>,
    /// Where they are cut.
    pub(super) lines: Vec<Line>,
    /// Who wants to know when all this is written.
    pub(super) flushes: Vec<SyncSender<()>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.flushes.is_empty()
    }

    /// Makes it ready to be filled again.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
        self.flushes.clear();
        self.bytes.shrink_to(BYTES_KEPT);
    }
}

#[derive(Default)]
struct Inner {
    batch: Batch,
    /// The writer sleeps and is to be woken.
    idle: bool,
    closed: bool,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    lost: AtomicU64,
}

impl Queue {
    /// A lock whose holder only copies.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a line for `sink`, which `write` appends to the bytes; a full queue loses it.
    pub(super) fn push(&self, sink: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner();
        let Batch { bytes, lines, .. } = &mut inner.batch;
        if bytes.len() >= BYTES_MAX || lines.len() >= LINES_MAX {
            drop(inner);
            self.lose(1);
            return;
        }
        write(bytes);
        lines.push(Line {
            sink,
            end: bytes.len(),
        });
        self.wake(inner);
    }

    /// Asks to be told on `done` when everything before is written.
    pub(super) fn flush(&self, done: SyncSender<()>) {
        let mut inner = self.inner();
        inner.batch.flushes.push(done);
        self.wake(inner);
    }

    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        let idle = std::mem::take(&mut inner.idle);
        drop(inner);
        if idle {
            self.filled.notify_one();
        }
    }

    /// No more lines will come.
    pub(super) fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        self.wake(inner);
    }

    /// Waits for lines and takes them all, leaving `empty` to be filled; `false` after the last.
    pub(super) fn take(&self, empty: &mut Batch) -> bool {
        let mut inner = self.inner();
        while inner.batch.is_empty() {
            if inner.closed {
                return false;
            }
            inner.idle = true;
            inner = self
                .filled
                .wait(inner)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        std::mem::swap(&mut inner.batch, empty);
        true
    }

    /// Counts lines that reached nobody.
    pub(super) fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Relaxed);
    }

    /// How many did.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_lines_and_counts_them() {
        let queue = Queue::default();
        for _ in 0..LINES_MAX + 3 {
            queue.push(0, |bytes| bytes.push(b'x'));
        }
        assert_eq!(queue.lost(), 3);
        let mut batch = Batch::default();
        assert!(queue.take(&mut batch));
        assert_eq!(batch.lines.len(), LINES_MAX);
        queue.push(1, |bytes| bytes.extend_from_slice(b"again"));
        batch.clear();
        assert!(queue.take(&mut batch));
        assert_eq!(batch.bytes, b"again");
        batch.clear();
        queue.close();
        assert!(!queue.take(&mut batch));
    }
}
