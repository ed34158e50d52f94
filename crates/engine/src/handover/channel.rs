//! The private words between a process and the one that takes its place, both ours: a greeting as a line of the
//! Runtime API, then messages with a length before them. Nobody but a process of the same user or root gets here, and
//! yet every message is read as foreign input, since the other program may be another version.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::codec::{Garbled, Pass, Reading, Writing};
use super::passing;

/// The version of all messages, tunnels included. A process that speaks another one is given the listeners as HAProxy
/// is, and keeps its tunnels.
pub const VERSION: u64 = 2;

/// The line by which a new process greets the old one on its stats socket.
pub const GREETING: &str = "_handover";

/// What the old one answers. A program that does not know the line says something else.
const ANSWER: &[u8; 8] = b"TIDEGATE";

/// Bytes of a message, at most: a batch of tunnels, of which the last one may be large.
const BODY_MAX: usize = 32 << 20;

/// How long one message may take from its first byte to its last, and a greeting to be answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the two say to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// Old: who it is.
    Welcome(Welcome),
    /// Old: listening sockets, which come with it.
    Listeners {
        /// One each.
        described: Vec<Described>,
        /// Whether no more follow.
        last: bool,
    },
    /// New: it serves clients, and takes what there is.
    Ready {
        /// Its process id.
        pid: u32,
    },
    /// Old: tunnels, whose sockets come with it, the client's first. They stand still.
    Batch {
        /// Which batch.
        number: u64,
        /// What each is.
        states: Vec<Vec<u8>>,
    },
    /// New: which of them it would take. It has touched none.
    Verdict {
        /// Which batch.
        number: u64,
        /// In the order they came.
        taken: Vec<bool>,
    },
    /// Old: those are the new one's from now on, and it has forgotten them.
    Commit {
        /// Which batch.
        number: u64,
    },
    /// Old: it takes no clients any more.
    GoOn,
    /// Old: what it still has.
    Left(Left),
    /// Old: it keeps what it has offered. New: it takes nobody's place, as it knows no nodes.
    Abort,
}

/// Who a process is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Welcome {
    /// See [`VERSION`].
    pub(super) version: u64,
    /// Its process id.
    pub(super) pid: u32,
    /// The version of the program.
    pub(super) release: String,
    /// Milliseconds that it runs.
    pub(super) uptime_ms: u64,
    /// Whether discovery has given it nodes: then nobody who has none may take its place.
    pub(super) has_nodes: bool,
}

/// A listening socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Described {
    /// The name of its interface; empty: none.
    pub(super) interface: Vec<u8>,
    /// 0: alone, 1: the first, 2: another one of those that share an address.
    pub(super) role: u64,
}

/// What a process that leaves still has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Connections of clients.
    pub(crate) connections: u64,
    /// Tunnels among them.
    pub(crate) tunnels: u64,
    /// Tunnels that it has given away.
    pub(crate) moved: u64,
}

/// What came.
pub(super) enum Received {
    /// A message, and descriptors with it.
    Message(Message, Vec<OwnedFd>),
    /// Nothing in that time.
    Nothing,
    /// The other process has closed its end.
    End,
}

/// The numbers of the kinds.
const KINDS: [fn() -> Message; 9] = [
    || Message::Welcome(Welcome::default()),
    || Message::Listeners {
        described: Vec::new(),
        last: false,
    },
    || Message::Ready { pid: 0 },
    || Message::Batch {
        number: 0,
        states: Vec::new(),
    },
    || Message::Verdict {
        number: 0,
        taken: Vec::new(),
    },
    || Message::Commit { number: 0 },
    || Message::GoOn,
    || Message::Left(Left::default()),
    || Message::Abort,
];

impl Message {
    fn kind(&self) -> u64 {
        let same = |kind: &fn() -> Message| {
            std::mem::discriminant(&kind()) == std::mem::discriminant(self)
        };
        KINDS.iter().position(same).unwrap_or(KINDS.len()) as u64
    }

    fn pass<P: Pass>(&mut self, by: &mut P) -> Result<(), Garbled> {
        match self {
            Self::Welcome(it) => {
                by.number(&mut it.version)?;
                by.small(&mut it.pid)?;
                by.text(&mut it.release)?;
                by.number(&mut it.uptime_ms)?;
                by.flag(&mut it.has_nodes)
            }
            Self::Listeners { described, last } => {
                by.list(described, |by, it: &mut Described| {
                    by.bytes(&mut it.interface)?;
                    by.number(&mut it.role)
                })?;
                by.flag(last)
            }
            Self::Batch { number, states } => {
                by.number(number)?;
                by.list(states, |by, state| by.long(state))
            }
            Self::Verdict { number, taken } => {
                by.number(number)?;
                by.list(taken, P::flag)
            }
            Self::Commit { number } => by.number(number),
            Self::Left(it) => {
                by.number(&mut it.connections)?;
                by.number(&mut it.tunnels)?;
                by.number(&mut it.moved)
            }
            Self::Ready { pid } => by.small(pid),
            Self::GoOn | Self::Abort => Ok(()),
        }
    }

    fn write(mut self) -> Result<Vec<u8>, Garbled> {
        let mut writing = Writing::default();
        writing.number(&mut self.kind())?;
        self.pass(&mut writing)?;
        Ok(writing.0)
    }

    fn read(body: &[u8]) -> Result<Self, Garbled> {
        let mut reading = Reading(body);
        let mut kind = 0;
        reading.number(&mut kind)?;
        let kind = usize::try_from(kind).map_err(|_| Garbled)?;
        let mut message = KINDS.get(kind).ok_or(Garbled)?();
        message.pass(&mut reading)?;
        reading.end()?;
        Ok(message)
    }
}

/// Whether it is one, without the length before it.
pub(super) fn is_message(body: &[u8]) -> bool {
    Message::read(body).is_ok()
}

/// A connection between the two.
pub(super) struct Channel(UnixStream);

impl Channel {
    /// Greets the process at the other end of its stats socket.
    pub(super) fn greet(stream: &mut UnixStream) -> io::Result<()> {
        stream.write_all(format!("{GREETING} {VERSION}\n").as_bytes())
    }

    /// Waits for the answer; `None`: it is another program, or one that gives nothing away here.
    pub(super) fn answered(stream: UnixStream) -> io::Result<Option<Self>> {
        let mut answer = [0; ANSWER.len()];
        let deadline = Instant::now() + PATIENCE;
        let read = passing::receive_all(stream.as_fd(), &mut answer, &mut Vec::new(), deadline);
        match read {
            Ok(()) if answer == *ANSWER => Ok(Some(Self(stream))),
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers whoever has greeted.
    pub(super) fn answer(stream: UnixStream) -> io::Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        passing::send(stream.as_fd(), ANSWER, &[], deadline)?;
        Ok(Self(stream))
    }

    /// Sends a message, and descriptors with it.
    pub(super) fn send(&self, message: Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = message.write()?;
        let length = u32::try_from(body.len()).ok();
        let length = length.filter(|length| *length as usize <= BODY_MAX);
        let mut framed = length.ok_or(Garbled)?.to_le_bytes().to_vec();
        framed.extend(body);
        let deadline = Instant::now() + PATIENCE;
        passing::send(self.0.as_fd(), &framed, descriptors, deadline)
    }

    /// From now on nothing can be said here, by neither; what was said before can still be received.
    pub(super) fn close(&self) {
        // Fails only where the other end is gone.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Receives the next message, if one begins in that time.
    pub(super) fn receive(&self, within: Duration) -> io::Result<Received> {
        let socket = self.0.as_fd();
        let mut descriptors = Vec::new();
        let mut length = [0; 4];
        let begun = passing::receive(
            socket,
            &mut length,
            &mut descriptors,
            Instant::now() + within,
        );
        let begun = match begun {
            Ok(0) => return Ok(Received::End),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(Received::Nothing),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(Received::End);
            }
            Err(error) => return Err(error),
        };
        let deadline = Instant::now() + PATIENCE;
        passing::receive_all(socket, &mut length[begun..], &mut descriptors, deadline)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > BODY_MAX {
            return Err(Garbled.into());
        }
        let mut body = vec![0; length];
        passing::receive_all(socket, &mut body, &mut descriptors, deadline)?;
        Ok(Received::Message(Message::read(&body)?, descriptors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let described = Described {
            interface: b"lo".to_vec(),
            role: 2,
        };
        let messages = [
            Message::Welcome(Welcome {
                version: VERSION,
                pid: 7,
                release: "1".into(),
                uptime_ms: 9,
                has_nodes: true,
            }),
            Message::Listeners {
                described: vec![described],
                last: true,
            },
            Message::Ready { pid: 7 },
            Message::Batch {
                number: 3,
                states: vec![vec![1], vec![]],
            },
            Message::Verdict {
                number: 3,
                taken: vec![true, false],
            },
            Message::Commit { number: 3 },
            Message::GoOn,
            Message::Left(Left {
                connections: 1,
                tunnels: 2,
                moved: 3,
            }),
            Message::Abort,
        ];
        for (kind, message) in messages.into_iter().enumerate() {
            let written = message.clone().write().expect("it is small");
            assert_eq!(written[0] as usize, kind);
            assert_eq!(Message::read(&written), Ok(message));
            for length in 0..written.len() {
                assert_eq!(Message::read(&written[..length]), Err(Garbled));
            }
        }
        assert_eq!(Message::read(&[9, 0, 0, 0, 0, 0, 0, 0]), Err(Garbled));
    }

    #[test]
    fn descriptors_come_with_the_message_they_belong_to() {
        let (one, other) = UnixStream::pair().expect("two ends");
        let (one, other) = (Channel(one), Channel(other));
        let sent = std::fs::File::open("/dev/null").expect("it is there");
        let batch = Message::Batch {
            number: 1,
            states: vec![vec![5; 100_000]],
        };
        one.send(Message::Ready { pid: 7 }, &[])
            .expect("there is room");
        one.send(batch.clone(), &[sent.as_fd(), sent.as_fd()])
            .expect("there is room");
        one.send(Message::GoOn, &[]).expect("there is room");
        let next = || match other.receive(PATIENCE).expect("it is whole") {
            Received::Message(message, descriptors) => (message, descriptors.len()),
            Received::Nothing | Received::End => panic!("nothing came"),
        };
        assert_eq!(next(), (Message::Ready { pid: 7 }, 0));
        assert_eq!(next(), (batch, 2));
        assert_eq!(next(), (Message::GoOn, 0));
        assert!(matches!(
            other.receive(Duration::from_millis(1)),
            Ok(Received::Nothing)
        ));
        drop(one);
        assert!(matches!(other.receive(PATIENCE), Ok(Received::End)));
    }
}
