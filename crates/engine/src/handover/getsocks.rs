//! How HAProxy passes listening sockets on (`-x`, `expose-fd listeners`). The manual names the option and not the
//! format, which is what 2.6 and 3.5 are seen to say to each other:
//!
//! - the new process sends the line `_getsocks` to the stats socket;
//! - the old one answers with the number of sockets to come, four bytes in this machine's order;
//! - then come messages of at most 252 descriptors. Their bytes describe each: length and name of its network
//!   namespace, length and name of its interface (a byte each length), four bytes of options that are zero;
//! - the new one answers each message with four bytes: how many sockets it had before. The old one waits for
//!   that, and closes. After the last message 2.6 does not.
//!
//! The addresses are the sockets' own. A Unix socket has the name it was bound by, which is its path, the
//! process id and `.tmp`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::inheritance::Inherited;
use super::listening::ListeningSocket;
use super::passing::{self, DESCRIPTORS_MAX};

/// What asks for them.
const ASK: &[u8] = b"_getsocks\n";

/// How long all of it may take: the other process is at work, or about to be, and this is some messages.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sockets that are taken at most: each holds a descriptor of ours from the beginning.
const SOCKETS_MAX: u32 = 16 * 1024;

/// Bytes of a description behind its two names.
const OPTIONS_LEN: usize = 4;

/// Asks the process at the other end for its listening sockets.
pub(super) fn ask(stream: &UnixStream) -> io::Result<Vec<Inherited>> {
    let deadline = Instant::now() + PATIENCE;
    let socket = stream.as_fd();
    passing::send(socket, ASK, &[], deadline)?;
    let mut count = [0; 4];
    let mut stray = Vec::new();
    passing::receive_all(socket, &mut count, &mut stray, deadline)?;
    let count = u32::from_ne_bytes(count);
    // Whoever does not know the word says so in words, which are a large number.
    if count > SOCKETS_MAX || !stray.is_empty() {
        return Err(io::Error::other(
            "it does not pass its listeners on here: does its stats socket say 'expose-fd listeners'?",
        ));
    }
    let mut taken = Vec::new();
    while taken.len() < count as usize {
        let mut descriptors = Vec::new();
        // The longest description of each: both names as long as a byte can say.
        let mut described = vec![0; DESCRIPTORS_MAX * (2 * 256 + OPTIONS_LEN)];
        let length = passing::receive(socket, &mut described, &mut descriptors, deadline)?;
        let before = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        described.truncate(length);
        taken.extend(read(&described, descriptors)?);
        // Whoever closes after its last message needs no answer to that.
        let _ = passing::send(socket, &before.to_ne_bytes(), &[], deadline);
    }
    Ok(taken)
}

/// One message.
fn read(described: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<Vec<Inherited>> {
    let mut rest = described;
    let name = |rest: &mut &[u8]| {
        let (length, behind) = rest.split_first()?;
        let (name, behind) = behind.split_at_checked(usize::from(*length))?;
        *rest = behind;
        Some(name.to_vec())
    };
    let mut taken = Vec::new();
    for descriptor in descriptors {
        let namespace = name(&mut rest).ok_or_else(garbled)?;
        let interface = name(&mut rest).ok_or_else(garbled)?;
        rest = rest.get(OPTIONS_LEN..).ok_or_else(garbled)?;
        taken.push(Inherited::new(descriptor, interface, namespace.is_empty()));
    }
    match rest.is_empty() && !taken.is_empty() {
        true => Ok(taken),
        false => Err(garbled()),
    }
}

fn garbled() -> io::Error {
    io::Error::other("the list of listening sockets is not as HAProxy writes it")
}

/// Passes these sockets on to whoever has asked on `socket`, which was read up to the end of the line.
pub fn give(socket: BorrowedFd<'_>, sockets: &[ListeningSocket]) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let count = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
    passing::send(socket, &count.to_ne_bytes(), &[], deadline)?;
    for batch in sockets.chunks(DESCRIPTORS_MAX) {
        let mut described = Vec::new();
        for socket in batch {
            let interface = socket.interface().unwrap_or_default().as_bytes();
            let length = u8::try_from(interface.len()).unwrap_or(0);
            described.extend([0, length]);
            described.extend(&interface[..usize::from(length)]);
            described.extend([0; OPTIONS_LEN]);
        }
        let descriptors: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
        passing::send(socket, &described, &descriptors, deadline)?;
        // How many it has is its affair; that it answers says that it took these.
        passing::receive_all(socket, &mut [0; 4], &mut Vec::new(), deadline)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(count: usize) -> Vec<OwnedFd> {
        let nothing = || {
            std::fs::File::open("/dev/null")
                .expect("it is there")
                .into()
        };
        (0..count).map(|_| nothing()).collect()
    }

    fn check(described: &[u8], count: usize, expected: Option<&[&str]>) {
        let read = read(described, descriptors(count)).ok();
        let read = read.map(|all| all.iter().map(Inherited::interface).collect::<Vec<_>>());
        let expected = expected.map(|all| {
            let interface =
                |name: &&str| Some(name.as_bytes().to_vec()).filter(|it| !it.is_empty());
            all.iter().map(interface).collect::<Vec<_>>()
        });
        assert_eq!(read, expected, "{described:?}");
    }

    #[test]
    fn a_message_describes_each_socket_or_is_none() {
        check(b"\0\0\0\0\0\0", 1, Some(&[""]));
        check(b"\0\0\0\0\0\0\0\x02lo\0\0\0\0", 2, Some(&["", "lo"]));
        check(b"\0\0\0\0\0\0\0\x02lo\0\0\0", 2, None);
        check(b"\0\0\0\0\0\0", 2, None);
        check(b"\0\0\0\0\0\0\0", 1, None);
        check(b"\xff\0\0\0\0\0", 1, None);
        check(b"", 0, None);
    }
}
