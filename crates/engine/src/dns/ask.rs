//! One question, to all nameservers of a section at once: the first valid answer counts.
//!
//! Whoever wants to slip an answer in must guess a random id and a random port, and send from the
//! nameserver's address: the socket is new for each question and connected to it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use config::model::{Nameserver, Resolvers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::counts::{AllCounts, Answered, Counts};
use super::message::{self, Found, Reply};
use super::{Failure, Kind};

/// Datagrams that are no answer to our question, taken from one nameserver before it counts as lying.
const STRAYS_MAX: usize = 16;

/// A valid answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// What the name has.
    pub(super) found: Vec<Found>,
    /// The name of the nameserver.
    pub(super) by: Arc<str>,
}

/// Asks once. Takes as long as `timeout retry` at most.
pub(super) async fn ask(
    section: &Arc<Resolvers>,
    name: &Arc<str>,
    kind: Kind,
    counts: &AllCounts,
) -> Result<Answer, Failure> {
    let mut asking = JoinSet::new();
    let mut silent: Vec<_> = Vec::new();
    for at in 0..section.nameservers.len() {
        let (section, name) = (section.clone(), name.clone());
        let counts = counts.of(&section.name, &section.nameservers[at].name);
        silent.push(counts.clone());
        asking.spawn_local(async move {
            let nameserver = &section.nameservers[at];
            let limit = usize::from(section.payload_len_max);
            let reply = ask_one(nameserver, &name, kind, limit, &counts).await;
            counts.add(match &reply {
                Err(_) => Answered::Unsent,
                Ok(Reply::Valid(_)) => Answered::Valid,
                Ok(Reply::Failed(Failure::Nx)) => Answered::Nx,
                Ok(Reply::Failed(Failure::Refused)) => Answered::Refused,
                Ok(Reply::Failed(_)) => Answered::Other,
                Ok(Reply::Truncated | Reply::Stray) => Answered::Invalid,
            });
            (at, reply, nameserver.name.clone())
        });
    }
    let mut answering = Vec::new();
    let first_valid = async {
        let mut last = Failure::Other;
        while let Some(answered) = asking.join_next().await {
            if let Ok((at, ..)) = &answered {
                answering.push(*at);
            }
            match answered {
                Ok((_, Ok(Reply::Valid(found)), by)) => return Ok(Answer { found, by }),
                Ok((_, Ok(Reply::Failed(failure)), _)) => last = failure,
                // Nobody there, an answer that cannot be had, or a fault of ours.
                _ => {}
            }
        }
        Err(last)
    };
    let answered = timeout(section.patience, first_valid).await;
    answered.unwrap_or_else(|_| {
        let late = silent.iter().enumerate();
        for (_, counts) in late.filter(|(at, _)| !answering.contains(at)) {
            counts.add(Answered::Timeout);
        }
        Err(Failure::Timeout)
    })
}

async fn ask_one(
    nameserver: &Nameserver,
    name: &str,
    kind: Kind,
    payload: usize,
    counts: &Counts,
) -> io::Result<Reply> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("no random bytes"))?;
    let announced = u16::try_from(payload).unwrap_or(u16::MAX);
    let question = message::question(name, kind, u16::from_be_bytes(id), announced)
        .ok_or(io::ErrorKind::InvalidInput)?;
    counts.add(Answered::Sent);
    if !nameserver.tcp {
        match by_udp(nameserver.address, &question, kind, payload).await? {
            // The rest is to be had by TCP (RFC 7766 section 5).
            Reply::Truncated => counts.add(Answered::Truncated),
            reply => return Ok(reply),
        }
    }
    by_tcp(nameserver.address, &question, kind).await
}

async fn by_udp(
    address: SocketAddr,
    question: &[u8],
    kind: Kind,
    payload: usize,
) -> io::Result<Reply> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; payload];
    for _ in 0..STRAYS_MAX {
        let length = socket.recv(&mut buffer).await?;
        match message::read(question, kind, &buffer[..length]) {
            Reply::Stray => {}
            reply => return Ok(reply),
        }
    }
    Ok(Reply::Failed(Failure::Other))
}

async fn by_tcp(address: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), question].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    Ok(match message::read(question, kind, &buffer) {
        Reply::Stray | Reply::Truncated => Reply::Failed(Failure::Other),
        reply => reply,
    })
}
