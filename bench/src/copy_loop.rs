//! The floor: one thread, one epoll, bytes from one socket to the other. No requests, no counters,
//! no time-outs; what a proxy costs beyond this is what it does.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// One read of one socket.
const READ_LEN: usize = 64 * 1024;

const LISTENER: Token = Token(usize::MAX);

/// A socket, the one its bytes go to, and what that one has not taken yet.
struct Side {
    stream: TcpStream,
    other: usize,
    pending: Vec<u8>,
}

/// Copies between `listen` and `target` until it is killed.
pub(crate) fn run(listen: SocketAddr, target: SocketAddr) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut sides: HashMap<usize, Side> = HashMap::new();
    let mut next = 0;
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; READ_LEN];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    let Ok(node) = TcpStream::connect(target) else {
                        continue;
                    };
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
                        sides.insert(id, side);
                    }
                    next += 2;
                }
                continue;
            }
            let id = event.token().0;
            let mut over = false;
            if event.is_writable() {
                over |= flush(&mut sides, id).is_err();
            }
            if event.is_readable() {
                over |= !copy(&mut sides, id, &mut scratch);
            }
            if over && let Some(side) = sides.remove(&id) {
                sides.remove(&side.other);
            }
        }
    }
}

/// Moves what can be read from `id`; `false` when it has ended.
fn copy(sides: &mut HashMap<usize, Side>, id: usize, scratch: &mut [u8]) -> bool {
    loop {
        let Some(side) = sides.get_mut(&id) else {
            return true;
        };
        let other = side.other;
        let count = match side.stream.read(scratch) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        let Some(to) = sides.get_mut(&other) else {
            return false;
        };
        let written = match to.pending.is_empty() {
            true => match to.stream.write(&scratch[..count]) {
                Ok(written) => written,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    0
                }
                Err(_) => return false,
            },
            false => 0,
        };
        to.pending.extend_from_slice(&scratch[written..count]);
        // A read that did not fill the buffer has drained the socket.
        if count < scratch.len() {
            return true;
        }
    }
}

fn flush(sides: &mut HashMap<usize, Side>, id: usize) -> std::io::Result<()> {
    let Some(side) = sides.get_mut(&id) else {
        return Ok(());
    };
    while !side.pending.is_empty() {
        match side.stream.write(&side.pending) {
            Ok(count) => drop(side.pending.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
