//! The floor: one thread, one epoll, bytes from one socket to the other. No requests, no counters,
//! no time-outs; what a proxy costs beyond this is what it does.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// One read of one socket.
const READ_LEN: usize = 64 * 1024;

const LISTENER: Token = Token(usize::MAX);

/// A socket, the one its bytes go to, and what came from that one and is not yet written to it: one
/// read at most, because nothing is read from there meanwhile.
struct Side {
    stream: TcpStream,
    other: usize,
    pending: Vec<u8>,
}

/// All sockets, and those that may have more to read than one turn takes: edges come once.
#[derive(Default)]
struct Loop {
    sides: HashMap<usize, Side>,
    next: usize,
    unfinished: VecDeque<usize>,
}

/// Copies between `listen` and `target` until it is killed.
pub(crate) fn run(listen: SocketAddr, target: SocketAddr) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; READ_LEN];
    let mut all = Loop::default();
    loop {
        let wait = (!all.unfinished.is_empty()).then_some(Duration::ZERO);
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                all.accept(&poll, &listener, target)?;
                continue;
            }
            let id = event.token().0;
            if event.is_writable() {
                all.flush(id);
            }
            if event.is_readable() {
                all.copy(id, &mut scratch);
            }
        }
        for _ in 0..all.unfinished.len() {
            if let Some(id) = all.unfinished.pop_front() {
                all.copy(id, &mut scratch);
            }
        }
    }
}

impl Loop {
    fn accept(&mut self, poll: &Poll, listener: &TcpListener, target: SocketAddr) -> Result<()> {
        while let Ok((client, _)) = listener.accept() {
            let Ok(node) = TcpStream::connect(target) else {
                continue;
            };
            let next = self.next;
            for (stream, id, other) in [(client, next, next + 1), (node, next + 1, next)] {
                stream.set_nodelay(true)?;
                let mut side = Side {
                    stream,
                    other,
                    pending: Vec::new(),
                };
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry()
                    .register(&mut side.stream, Token(id), both)?;
                self.sides.insert(id, side);
            }
            self.next += 2;
        }
        Ok(())
    }

    fn end(&mut self, id: usize) {
        if let Some(side) = self.sides.remove(&id) {
            self.sides.remove(&side.other);
        }
    }

    /// Moves what one read takes from `id`.
    fn copy(&mut self, id: usize, scratch: &mut [u8]) {
        let Some(other) = self.sides.get(&id).map(|side| side.other) else {
            return;
        };
        // It is read on when that has been written.
        if self
            .sides
            .get(&other)
            .is_some_and(|to| !to.pending.is_empty())
        {
            return;
        }
        let count = match self
            .sides
            .get_mut(&id)
            .map(|side| side.stream.read(scratch))
        {
            Some(Ok(count)) if count > 0 => count,
            Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => return,
            _ => return self.end(id),
        };
        let Some(to) = self.sides.get_mut(&other) else {
            return self.end(id);
        };
        let written = match to.stream.write(&scratch[..count]) {
            Ok(written) => written,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                0
            }
            Err(_) => return self.end(id),
        };
        to.pending.extend_from_slice(&scratch[written..count]);
        // A read that did not fill the buffer has drained the socket.
        if count == scratch.len() && written == count {
            self.unfinished.push_back(id);
        }
    }

    /// Writes what waits for `id`; then its other side may be read again.
    fn flush(&mut self, id: usize) {
        let Some(side) = self.sides.get_mut(&id) else {
            return;
        };
        if side.pending.is_empty() {
            return;
        }
        while !side.pending.is_empty() {
            match side.stream.write(&side.pending) {
                Ok(count) => drop(side.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.end(id),
            }
        }
        side.pending = Vec::new();
        self.unfinished.push_back(side.other);
    }
}
