//! Many datagrams in one system call.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};

/// Datagrams in one call, at most: what a call costs by itself is spread thinly enough by then.
pub(super) const AT_A_TIME: usize = 64;

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
    /// Sends the first [`AT_A_TIME`] of `datagrams`, or as many as go before one that does not: how many
    /// that were. Fails where the very first one did.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: &[&[u8]],
    ) -> io::Result<usize> {
        let mut slices = [[IoSlice::new(&[])]; AT_A_TIME];
        for (slice, datagram) in slices.iter_mut().zip(datagrams) {
            *slice = [IoSlice::new(datagram)];
        }
        let used = datagrams.len().min(AT_A_TIME);
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        // The socket is connected: nobody is named.
        let nobody = [None; AT_A_TIME];
        let fd = socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut self.headers, &slices[..used], nobody, [], flags)?;
        Ok(sent.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        while let Ok(count) = datagrams.send(here.as_fd(), &lines[sent..]) {
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
}
