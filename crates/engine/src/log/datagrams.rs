//! Many datagrams in one system call.
//!
//! What a datagram costs is its way through the system, far more than the call. Neighbours of the same length
//! can go that way as one, to be cut apart at its end (`UDP_SEGMENT`, udp(7)): a fifth of the cost. Lines
//! of a busy service often are as long as the one before; others go by themselves, in their order.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, sendmmsg, sendmsg};
use rustix::io::Errno;
use smallvec::SmallVec;

/// Datagrams in one call, at most: what a call costs by itself is spread thinly enough by then.
pub(super) const AT_A_TIME: usize = 64;

/// Fewer of the same length are not worth a call of their own.
const ALIKE_MIN: usize = 3;

/// Bytes that go as one, at most: with its headers that is the longest datagram there is.
const ALIKE_BYTES_MAX: usize = 65_000;

const FLAGS: MsgFlags = MsgFlags::MSG_NOSIGNAL.union(MsgFlags::MSG_DONTWAIT);

/// What the calls need, made once.
pub(super) struct Datagrams {
    headers: MultiHeaders<()>,
}

impl Default for Datagrams {
    fn default() -> Self {
        Self {
            headers: MultiHeaders::preallocate(AT_A_TIME, None),
        }
    }
}

impl Datagrams {
    /// Sends some of `datagrams`, in their order: how many that were. Fails where the very first one did.
    /// Those of the same length go as one up to `alike_max` bytes each; what turns out not to go is not
    /// tried again.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: &[&[u8]],
        alike_max: &mut usize,
    ) -> io::Result<usize> {
        let alike = alike(datagrams, *alike_max);
        if alike >= ALIKE_MIN {
            match send_alike(socket, &datagrams[..alike]) {
                Err(error) if !may_go_alike(&error) => {
                    *alike_max = datagrams[0].len().saturating_sub(1);
                }
                sent => return sent.map(|()| alike),
            }
        }
        self.send_each(socket, &datagrams[..others(datagrams, *alike_max)])
    }

    /// The first [`AT_A_TIME`], each by itself, or as many as go before one that does not.
    fn send_each(&mut self, socket: BorrowedFd<'_>, datagrams: &[&[u8]]) -> io::Result<usize> {
        let mut slices = [[IoSlice::new(&[])]; AT_A_TIME];
        for (slice, datagram) in slices.iter_mut().zip(datagrams) {
            *slice = [IoSlice::new(datagram)];
        }
        let used = datagrams.len().min(AT_A_TIME);
        // The socket is connected: nobody is named.
        let nobody = [None; AT_A_TIME];
        let fd = socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut self.headers, &slices[..used], nobody, [], FLAGS)?;
        Ok(sent.count())
    }
}

/// How many from the beginning are of one length and can go as one; the last of them may be shorter.
fn alike(datagrams: &[&[u8]], len_max: usize) -> usize {
    let len = datagrams.first().map_or(0, |first| first.len());
    if len == 0 || len > len_max {
        return 0;
    }
    let most = AT_A_TIME.min(ALIKE_BYTES_MAX / len);
    let same = datagrams.iter().take(most).take_while(|it| it.len() == len);
    let same = same.count();
    let last = datagrams.get(same).filter(|_| same < most);
    same + usize::from(last.is_some_and(|last| (1..len).contains(&last.len())))
}

/// How many come before some that can go as one; at least one.
fn others(datagrams: &[&[u8]], len_max: usize) -> usize {
    let begins = |at: &usize| {
        let some = datagrams.len().min(at + ALIKE_MIN);
        alike(&datagrams[*at..some], len_max) >= ALIKE_MIN
    };
    let others = (1..datagrams.len()).find(begins);
    others.unwrap_or(datagrams.len())
}

/// All of them as one.
fn send_alike(socket: BorrowedFd<'_>, datagrams: &[&[u8]]) -> io::Result<()> {
    let slices: SmallVec<[IoSlice<'_>; AT_A_TIME]> =
        datagrams.iter().map(|it| IoSlice::new(it)).collect();
    let len = datagrams.first().map_or(0, |first| first.len());
    let len = u16::try_from(len).map_err(|_| Errno::MSGSIZE)?;
    let cut = [ControlMessage::UdpGsoSegments(&len)];
    sendmsg::<()>(socket.as_raw_fd(), &slices, &cut, FLAGS, None)?;
    Ok(())
}

/// Whether an error says nothing against sending as one: the way may take no pieces as long as that
/// (`EINVAL`, `EMSGSIZE`), nothing in pieces (`EIO`), or nobody knows of it.
fn may_go_alike(error: &io::Error) -> bool {
    let against = [
        Errno::INVAL,
        Errno::MSGSIZE,
        Errno::IO,
        Errno::OPNOTSUPP,
        Errno::NOPROTOOPT,
    ];
    !Errno::from_io_error(error).is_some_and(|error| against.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn all_arrive_in_their_order_and_what_does_not_fit_is_told() {
        let (here, there) = UnixDatagram::pair().expect("a pair");
        there.set_nonblocking(true).expect("a socket of ours");
        let texts: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let lines: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let mut datagrams = Datagrams::default();
        let mut sent = 0;
        // Nobody reads meanwhile: a socket like this holds fewer.
        while let Ok(count) = datagrams.send(here.as_fd(), &lines[sent..], &mut 0) {
            sent += count;
        }
        assert!((1..lines.len()).contains(&sent));
        let mut buffer = [0; 16];
        for line in &lines[..sent] {
            let count = there.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..count], *line);
        }
        assert!(there.recv(&mut buffer).is_err());
    }

    #[test]
    fn lines_of_one_length_go_as_one_and_arrive_one_by_one() {
        let there = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let here = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = there.local_addr().expect("it is bound");
        here.connect(address).expect("an address of ours");
        let lens = [3, 3, 3, 2, 2, 9, 1, 5, 5, 5, 5, 7, 7, 1, 1, 1];
        let texts: Vec<Vec<u8>> = (b'a'..)
            .zip(lens)
            .map(|(byte, len)| vec![byte; len])
            .collect();
        let lines: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let mut datagrams = Datagrams::default();
        // What goes as one, here and where nothing longer than three bytes does.
        let all: &[usize] = &[4, 3, 4, 3, 2];
        let short: &[usize] = &[4, 9, 3];
        for (mut alike_max, expected) in [(usize::MAX, all), (3, short), (0, &[16])] {
            let (mut sent, mut calls) = (0, Vec::new());
            while sent < lines.len() {
                let count = datagrams.send(here.as_fd(), &lines[sent..], &mut alike_max);
                let count = count.expect("it takes them");
                calls.push(count);
                sent += count;
            }
            assert_eq!(calls, expected, "{alike_max}");
            let mut buffer = [0; 16];
            for line in &lines {
                let count = there.recv(&mut buffer).expect("a datagram");
                assert_eq!(&buffer[..count], *line);
            }
        }
    }
}
