//! The threads that write. Sockets are opened on first use, and once more where writing failed.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::model::LogSink;
use rustix::io::Errno;
use smallvec::{SmallVec, smallvec};

use super::datagrams::{AT_A_TIME, Datagrams};
use super::queue::{Batch, Queue};
use crate::inherited;
use crate::resolver::Resolver;

/// `PIPE_BUF`: what is written to a pipe at once up to this length is not mixed with what others
/// write there (pipe(7)).
const AT_ONCE: usize = 4096;

/// Pause after a batch. Waking this thread for each of thousands of lines a second would cost more than
/// the lines; a line that comes alone after some quiet is still written at once.
const NAP: Duration = Duration::from_millis(2);

/// Pause before a name that did not resolve is asked for again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);

/// Whether writing there, or finding out where it is, may hold up the thread.
pub(super) fn may_block(sink: &LogSink) -> bool {
    match sink {
        LogSink::Stdout | LogSink::Stderr | LogSink::Fd(_) | LogSink::Name(..) => true,
        LogSink::Udp(_) | LogSink::Unix(_) | LogSink::Abstract(_) => false,
    }
}

/// Starts the thread that empties `queue`; it ends when that is closed.
pub(super) fn start(queue: Arc<Queue>, sinks: Vec<LogSink>, resolver: Resolver) -> io::Result<()> {
    let sinks = sinks.into_iter().map(|to| Sink::new(to, &resolver));
    let mut sinks: Vec<Sink> = sinks.collect();
    let thread = std::thread::Builder::new().name("log".into());
    thread.spawn(move || {
        let mut batch = Batch::default();
        let mut datagrams = Datagrams::default();
        while queue.take(&mut batch) {
            write(&batch, &mut sinks, &mut datagrams, &queue);
            for done in &batch.flushes {
                // Whoever asked may have stopped waiting.
                let _ = done.try_send(());
            }
            if batch.flushes.is_empty() {
                std::thread::sleep(NAP);
            }
            batch.clear();
        }
    })?;
    Ok(())
}

/// Writes lines in their order; neighbours to the same sink go together.
fn write(batch: &Batch, sinks: &mut [Sink], datagrams: &mut Datagrams, queue: &Queue) {
    let (mut start, mut at) = (0, 0);
    while let Some(first) = batch.lines.get(at) {
        let Some(sink) = sinks.get_mut(usize::from(first.sink)) else {
            return;
        };
        let (mut end, mut count, is_stream) = (first.end, 1, sink.is_stream());
        let mut lines: SmallVec<[&[u8]; AT_A_TIME]> = smallvec![&batch.bytes[start..end]];
        while let Some(line) = batch.lines.get(at + count)
            && line.sink == first.sink
            && match is_stream {
                true => line.end - start <= AT_ONCE,
                false => count < AT_A_TIME,
            }
        {
            if !is_stream {
                lines.push(&batch.bytes[end..line.end]);
            }
            end = line.end;
            count += 1;
        }
        let lost = match is_stream {
            true if sink.write(&batch.bytes[start..end]).is_ok() => 0,
            true => count,
            false => sink.send(&lines, datagrams),
        };
        if lost > 0 {
            queue.lose(lost as u64);
        }
        (start, at) = (end, at + count);
    }
}

/// Where lines go, open or not.
struct Sink {
    to: LogSink,
    open: Option<Open>,
    resolver: Resolver,
    /// Not before this moment a name is asked for again.
    ask_again: Option<Instant>,
    /// Datagrams longer than that are not sent as one with others of their length.
    alike_max: usize,
}

enum Open {
    Stdout,
    Stderr,
    File(File),
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Sink {
    fn new(to: LogSink, resolver: &Resolver) -> Self {
        // A descriptor is made ours before anybody could close it.
        let open = match &to {
            LogSink::Fd(number) => inherited::duplicate(*number).ok(),
            _ => None,
        };
        let to_udp = matches!(to, LogSink::Udp(_) | LogSink::Name(..));
        Self {
            to,
            open: open.map(|fd| Open::File(fd.into())),
            resolver: resolver.clone(),
            ask_again: None,
            alike_max: match to_udp {
                true => usize::MAX,
                false => 0,
            },
        }
    }

    fn is_stream(&self) -> bool {
        matches!(self.to, LogSink::Stdout | LogSink::Stderr | LogSink::Fd(_))
    }

    /// Writes; what fails on an open socket is tried once more on a new one: a syslog server that was
    /// started anew has another socket, and UDP tells of a line lost earlier.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            match open.write(bytes) {
                Err(error) if is_of_the_socket(&error) && !self.is_stream() => {
                    self.open = None;
                }
                done => return done,
            }
        }
        let mut open = self.open()?;
        let done = open.write(bytes);
        if done.is_ok() {
            self.open = Some(open);
        }
        done
    }

    /// Sends datagrams; how many were lost. What stops them is tried by itself, as [`Sink::write`] does.
    fn send(&mut self, mut lines: &[&[u8]], datagrams: &mut Datagrams) -> usize {
        let mut lost = 0;
        while let [first, others @ ..] = lines {
            let socket = self.open.as_ref().and_then(Open::datagram_socket);
            let sent = match socket {
                Some(socket) if !others.is_empty() => {
                    datagrams.send(socket, lines, &mut self.alike_max)
                }
                _ => Ok(0),
            };
            if sent.as_ref().is_err_and(is_of_the_socket) {
                // The system tells of it once: who writes there again would believe it works.
                self.open = None;
            }
            let sent = sent.unwrap_or(0);
            lines = match sent {
                0 => {
                    lost += usize::from(self.write(first).is_err());
                    others
                }
                sent => lines.get(sent..).unwrap_or_default(),
            };
        }
        lost
    }

    /// Opens it. Datagram sockets never block: a target that does not keep up loses lines.
    fn open(&mut self) -> io::Result<Open> {
        match &self.to {
            LogSink::Stdout => Ok(Open::Stdout),
            LogSink::Stderr => Ok(Open::Stderr),
            LogSink::Fd(_) => Err(io::ErrorKind::NotFound.into()),
            LogSink::Unix(path) => {
                let unix = UnixDatagram::unbound()?;
                unix.connect(path)?;
                unix.set_nonblocking(true)?;
                Ok(Open::Unix(unix))
            }
            LogSink::Abstract(name) => {
                let unix = UnixDatagram::unbound()?;
                let address =
                    std::os::unix::net::SocketAddr::from_abstract_name(name.name.as_bytes())?;
                unix.connect_addr(&address)?;
                unix.set_nonblocking(true)?;
                Ok(Open::Unix(unix))
            }
            LogSink::Udp(address) => udp(*address),
            LogSink::Name(name, port) => {
                let now = Instant::now();
                if self.ask_again.is_some_and(|again| now < again) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                self.ask_again = Some(now + RESOLVE_AGAIN);
                udp(look_up(&self.resolver, name, *port)?)
            }
        }
    }
}

/// Whether an open socket is of no more use, and not merely full or the line too long for it.
fn is_of_the_socket(error: &io::Error) -> bool {
    let of_the_line = [Errno::AGAIN, Errno::NOBUFS, Errno::MSGSIZE];
    Errno::from_io_error(error).is_none_or(|error| !of_the_line.contains(&error))
}

fn udp(address: SocketAddr) -> io::Result<Open> {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let udp = UdpSocket::bind(any)?;
    udp.connect(address)?;
    udp.set_nonblocking(true)?;
    Ok(Open::Udp(udp))
}

fn look_up(resolver: &Resolver, name: &str, port: u16) -> io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build()?;
    let found = runtime.block_on(resolver.look_up(name, port));
    let addresses = found.map_err(io::Error::other)?;
    let first = addresses.first().copied();
    first.ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Open {
    fn datagram_socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Stdout | Self::Stderr | Self::File(_) => None,
            Self::Udp(udp) => Some(udp.as_fd()),
            Self::Unix(unix) => Some(unix.as_fd()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File(file) => file.write_all(bytes),
            Self::Udp(udp) => udp.send(bytes).map(drop),
            Self::Unix(unix) => unix.send(bytes).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_go_together_find_a_name_where_it_has_moved_to() {
        let here = UdpSocket::bind("127.0.0.1:0").expect("a port");
        here.set_nonblocking(true).expect("a socket of ours");
        let port = here.local_addr().expect("it is bound").port();
        let left = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let before = left.local_addr().expect("it is bound");
        let resolver = Resolver::start().expect("a thread");
        let to = LogSink::Name("127.0.0.1".into(), port);
        let mut sink = Sink::new(to, &resolver);
        sink.open = Some(udp(before).expect("a socket"));
        let mut datagrams = Datagrams::default();
        let lines: [&[u8]; 3] = [b"one", b"two", b"three"];
        assert_eq!(sink.send(&lines, &mut datagrams), 0);
        assert!(here.recv(&mut [0; 16]).is_err());
        drop(left);
        // The system tells of what nobody takes when the next ones are sent.
        let arrives = |_| {
            assert_eq!(sink.send(&lines, &mut datagrams), 0);
            here.recv(&mut [0; 16]).is_ok()
        };
        assert!((0..1000).any(arrives));
    }

    #[test]
    fn lines_to_a_name_that_is_not_asked_for_yet_are_counted_as_lost() {
        let resolver = Resolver::start().expect("a thread");
        let mut sink = Sink::new(LogSink::Name("127.0.0.1".into(), 9), &resolver);
        sink.ask_again = Some(Instant::now() + Duration::from_secs(3600));
        let lines: [&[u8]; 3] = [b"one", b"two", b"three"];
        assert_eq!(sink.send(&lines, &mut Datagrams::default()), 3);
    }
}
