//! From an accepted socket to a client: PROXY header, then TLS.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use routing::sample::ConnectionFacts;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use wire::h1::Parsed;
use wire::proxy_protocol::{self, Proxied};

use crate::client::Client;
use crate::counters::Count;
use crate::listen::unmapped;
use crate::serve::Accepted;
use crate::site::FrontendState;
use crate::stream::{Carrier, Stream};
use crate::timing::within;
use crate::worker::Worker;

/// How long PROXY header and TLS handshake may take together, where `timeout client` is not
/// shorter: a handshake is a few round trips, and a stalled one must not hold a place for the
/// minutes that `timeout client` allows.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Bytes looked at for a PROXY header: 107 for version 1, 16 and the longest addresses and a
/// handful of TLVs for version 2.
const PROXY_HEADER_MAX: usize = 536;

/// Makes a client of a socket. `None`: it left, or did not do as the `bind` line asks; a failed
/// handshake is counted as a request error of the frontend.
pub(crate) async fn secure(
    accepted: Accepted,
    frontend: &Arc<FrontendState>,
    worker: &Rc<Worker>,
) -> Option<Client> {
    let client_limit = frontend.conf().proxy.timeouts.client;
    let limit = client_limit.map_or(HANDSHAKE_MAX, |limit| limit.min(HANDSHAKE_MAX));
    let secured = within(Some(limit), handshake(accepted, frontend)).await;
    match secured {
        Ok(Some(client)) => Some(client),
        Ok(None) | Err(_) => {
            frontend.counters.add(worker.index, Count::RequestErrors, 1);
            None
        }
    }
}

async fn handshake(accepted: Accepted, frontend: &Arc<FrontendState>) -> Option<Client> {
    let Accepted {
        carrier,
        peer,
        bind,
        mut room,
        at,
    } = accepted;
    let mut facts = ConnectionFacts {
        src: peer,
        dst: local_address(&carrier),
        tls: None,
    };
    if frontend.conf().binds[bind].accept_proxy {
        match proxy_header(&carrier).await? {
            Proxied::Local => {}
            Proxied::Addresses { src, dst } => {
                facts.src = Some(src);
                facts.dst = Some(dst);
            }
        }
    }
    let stream = match &frontend.tls[bind] {
        None => Stream::from(carrier),
        Some(tls) => {
            let (stream, tls_facts) = tls.accept(carrier).await.ok()?;
            facts.tls = Some(tls_facts);
            room.secured();
            stream
        }
    };
    let handshake = if facts.tls.is_some() || frontend.conf().binds[bind].accept_proxy {
        at.elapsed()
    } else {
        Duration::ZERO
    };
    Some(Client::new(
        stream,
        room.into_connection(facts, handshake, peer),
    ))
}

fn local_address(carrier: &Carrier) -> Option<SocketAddr> {
    match carrier {
        Carrier::Tcp(tcp) => {
            let address = tcp.local_addr().ok()?;
            Some(SocketAddr::new(unmapped(address.ip()), address.port()))
        }
        Carrier::Unix(_) => None,
    }
}

/// Reads a PROXY header and not a byte more: it is looked at in the kernel's buffer until it is
/// whole, and only then taken out. What follows may be a TLS handshake.
async fn proxy_header(carrier: &Carrier) -> Option<Proxied> {
    let mut seen = 0;
    loop {
        let ready = match carrier {
            Carrier::Tcp(tcp) => tcp.ready(Interest::READABLE).await,
            Carrier::Unix(unix) => unix.ready(Interest::READABLE).await,
        };
        let mut bytes = [0u8; PROXY_HEADER_MAX];
        let count = peek(carrier, &mut bytes).ok()?;
        let Some(count) = count else { continue };
        match proxy_protocol::parse(&bytes[..count]) {
            Ok(Parsed::Complete { head, consumed }) => {
                take(carrier, &mut bytes[..consumed])?;
                return Some(head);
            }
            // Nothing new although readiness was reported: the client has ended.
            Ok(Parsed::Partial) if count == seen || count == bytes.len() => return None,
            Ok(Parsed::Partial) if ready.as_ref().is_ok_and(|ready| ready.is_read_closed()) => {
                return None;
            }
            Ok(Parsed::Partial) => {
                seen = count;
                wait_for_more(carrier);
            }
            Err(_) => return None,
        }
    }
}

/// Looks at what has arrived; `None`: nothing yet after all.
fn peek(carrier: &Carrier, bytes: &mut [u8]) -> std::io::Result<Option<usize>> {
    match receive(carrier, bytes, RecvFlags::PEEK) {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes bytes that were seen before; they are there.
fn take(carrier: &Carrier, bytes: &mut [u8]) -> Option<()> {
    let wanted = bytes.len();
    let count = receive(carrier, bytes, RecvFlags::empty()).ok()?;
    (count == wanted).then_some(())
}

fn receive(carrier: &Carrier, bytes: &mut [u8], flags: RecvFlags) -> std::io::Result<usize> {
    let call = |fd: std::os::fd::BorrowedFd<'_>| {
        rustix::net::recv(fd, bytes, flags)
            .map(|(count, _)| count)
            .map_err(Into::into)
    };
    match carrier {
        Carrier::Tcp(tcp) => tcp.try_io(Interest::READABLE, || call(tcp.as_fd())),
        Carrier::Unix(unix) => unix.try_io(Interest::READABLE, || call(unix.as_fd())),
    }
}

/// Forgets the readiness, so that the next wait is for bytes that have not been seen.
fn wait_for_more(carrier: &Carrier) {
    let nothing = || Err::<(), _>(std::io::ErrorKind::WouldBlock.into());
    let _ = match carrier {
        Carrier::Tcp(tcp) => tcp.try_io(Interest::READABLE, nothing),
        Carrier::Unix(unix) => unix.try_io(Interest::READABLE, nothing),
    };
}
