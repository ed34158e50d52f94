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

use config::model::TcpAction;

use crate::admit;
use crate::client::Client;
use crate::clock;
use crate::counters::Count;
use crate::log::Level;
use crate::serve::Accepted;
use crate::site::FrontendState;
use crate::stream::{Carrier, Stream};
use crate::timing::within;
use crate::worker::Worker;

/// How long PROXY header and TLS handshake may take together, where `timeout client` is not
/// shorter: a handshake is a few round trips, and a stalled one must not hold a place for the
/// minutes that `timeout client` allows.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Bytes looked at for a PROXY header: the longest that is understood, with its fixed part.
const PROXY_HEADER_MAX: usize = proxy_protocol::V2_LEN_MAX + 16;

/// Why there is no client: HAProxy's words for its log (manual 8.2.5).
enum Unfit {
    /// It left before it said anything.
    Silent,
    /// The PROXY header was not one.
    ProxyHeader,
    /// The TLS handshake failed.
    Handshake,
    /// It took too long.
    Expired,
    /// A rule has refused it, and counted it.
    Denied,
}

/// Makes a client of a socket. `None`: it left, or did not do as the `bind` line asks; that is
/// counted as a request error of the frontend and logged.
pub(crate) async fn secure(
    accepted: Accepted,
    frontend: &Arc<FrontendState>,
    worker: &Rc<Worker>,
) -> Option<Client> {
    let (peer, bind) = (accepted.peer, accepted.bind);
    let client_limit = frontend.conf().proxy.timeouts.client;
    let limit = client_limit.map_or(HANDSHAKE_MAX, |limit| limit.min(HANDSHAKE_MAX));
    let secured = within(Some(limit), handshake(accepted, frontend, worker)).await;
    match secured.unwrap_or(Err(Unfit::Expired)) {
        Ok(client) => Some(client),
        Err(Unfit::Denied) => None,
        Err(unfit) => {
            frontend.counters.add(worker.index, Count::RequestErrors, 1);
            log(&unfit, peer, bind, frontend, worker);
            None
        }
    }
}

fn log(
    unfit: &Unfit,
    peer: Option<SocketAddr>,
    bind: usize,
    frontend: &FrontendState,
    worker: &Worker,
) {
    let logging = &frontend.conf().proxy.log;
    let words = match unfit {
        Unfit::Silent if logging.dontlognull => return,
        Unfit::Silent => "Connection closed during handshake",
        Unfit::ProxyHeader => "Received something which does not look like a PROXY protocol header",
        Unfit::Handshake => "SSL handshake failure",
        Unfit::Expired => "Timeout during handshake",
        Unfit::Denied => return,
    };
    let now = clock::wall();
    let mut line = match peer {
        Some(peer) => format!("{}:{} [", peer.ip(), peer.port()).into_bytes(),
        None => b"unix:0 [".to_vec(),
    };
    routing::dates::log_millis(now, &mut line);
    let bind_name = frontend.conf().binds[bind].name.clone();
    let bind_name = bind_name.unwrap_or_else(|| (bind + 1).to_string().into());
    line.extend_from_slice(format!("] {}/{bind_name}: {words}", frontend.name()).as_bytes());
    let origin = worker.shared.origin_for(logging);
    worker
        .shared
        .logger
        .send(&logging.targets, &origin, Level::Info, now, &line);
}

async fn handshake(
    accepted: Accepted,
    frontend: &Arc<FrontendState>,
    worker: &Worker,
) -> Result<Client, Unfit> {
    let Accepted {
        carrier,
        peer,
        bind,
        mut room,
        expects_proxy,
        at,
    } = accepted;
    let accept_proxy = expects_proxy || frontend.conf().binds[bind].accept_proxy;
    let mut facts = ConnectionFacts {
        src: peer,
        dst: carrier.local_address(),
        tls: None,
    };
    if accept_proxy && let Proxied::Addresses { src, dst } = proxy_header(&carrier).await? {
        facts.src = Some(src);
        facts.dst = Some(dst);
    }
    let stream = match &frontend.tls[bind] {
        None => Stream::from(carrier),
        Some(tls) => {
            let (stream, tls_facts) = tls.accept(carrier).await.map_err(|error| {
                // Nothing but an end: a probe, or a browser that changed its mind.
                let silent = error.kind() == std::io::ErrorKind::UnexpectedEof;
                if silent {
                    Unfit::Silent
                } else {
                    Unfit::Handshake
                }
            })?;
            facts.tls = Some(tls_facts);
            room.secured();
            stream
        }
    };
    if let Some(action) = admit::session(&facts, frontend, worker) {
        if *action == TcpAction::SilentDrop {
            stream.forget();
        }
        return Err(Unfit::Denied);
    }
    let shook = facts.tls.is_some() || accept_proxy;
    let handshake = if shook { at.elapsed() } else { Duration::ZERO };
    Ok(Client::new(
        stream,
        room.into_connection(facts, handshake, peer),
    ))
}

/// Reads a PROXY header and not a byte more: it is looked at in the kernel's buffer until it is
/// whole, and only then taken out. What follows may be a TLS handshake.
async fn proxy_header(carrier: &Carrier) -> Result<Proxied, Unfit> {
    loop {
        let ready = match carrier {
            Carrier::Tcp(tcp) => tcp.ready(Interest::READABLE).await,
            Carrier::Unix(unix) => unix.ready(Interest::READABLE).await,
        };
        let mut bytes = [0u8; PROXY_HEADER_MAX];
        let Some(count) = peek(carrier, &mut bytes).map_err(|_| Unfit::Silent)? else {
            continue;
        };
        match proxy_protocol::parse(&bytes[..count]) {
            Ok(Parsed::Complete { head, consumed }) => {
                take(carrier, &mut bytes[..consumed]).ok_or(Unfit::Silent)?;
                return Ok(head);
            }
            Err(_) => return Err(Unfit::ProxyHeader),
            Ok(Parsed::Partial) if count == 0 => return Err(Unfit::Silent),
            Ok(Parsed::Partial) if ready.is_ok_and(|ready| ready.is_read_closed()) => {
                return Err(Unfit::ProxyHeader);
            }
            // Readiness may be reported twice for the same bytes: that none is new says nothing.
            Ok(Parsed::Partial) => wait_for_more(carrier),
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
