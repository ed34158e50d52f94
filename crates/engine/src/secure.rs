//! From an accepted socket to a client: PROXY header, then TLS.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use routing::sample::{ConnectionError, ConnectionFacts};
use rustix::net::RecvFlags;
use wire::h1::Parsed;
use wire::proxy_protocol::{self, Proxied};

use config::model::TcpAction;

use crate::admit;
use crate::client::Client;
use crate::counters::Count;
use crate::serve::Accepted;
use crate::session::Session;
use crate::site::FrontendState;
use crate::stream::{Carrier, Stream};
use crate::tcp_facts;
use crate::timing::within;
use crate::worker::Worker;

/// How long PROXY header and TLS handshake may take together, where `timeout client-hs` does not say
/// and `timeout client` is not shorter: a handshake is a few round trips, and a stalled one must not hold a place for the
/// minutes that `timeout client` allows.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Bytes looked at for a PROXY header: the longest that is understood, with its fixed part.
const PROXY_HEADER_MAX: usize = proxy_protocol::V2_LEN_MAX + 16;

/// Makes a client of a socket. `None`: it left, or did not do as the `bind` line asks, which is
/// logged, and counts neither as a session nor as a request, as in HAProxy; or a rule refused it.
pub(crate) async fn secure(
    accepted: Accepted,
    frontend: &Arc<FrontendState>,
    worker: &Rc<Worker>,
) -> Option<Client> {
    let Accepted {
        carrier,
        peer,
        mut facts,
        bind,
        mut room,
        expects_proxy,
        at,
    } = accepted;
    let timeouts = &frontend.conf().proxy.timeouts;
    let client_limit = timeouts.client.unwrap_or(HANDSHAKE_MAX);
    let limit = timeouts
        .client_hs
        .unwrap_or(client_limit.min(HANDSHAKE_MAX));
    let accept_proxy = expects_proxy || frontend.conf().binds[bind].accept_proxy;
    let shakes = frontend.tls[bind].is_some() || accept_proxy;
    if frontend.conf().asked.tcp {
        tcp_facts::keep(&facts, &carrier);
    }
    let (shaken, took) = match shakes {
        true => {
            // Boxed: it takes kilobytes, which the connection's task would keep as long as it lives.
            let shaking = handshake(carrier, bind, accept_proxy, frontend, &mut facts);
            let shaken = Box::pin(within(Some(limit), shaking)).await;
            (shaken, at.elapsed())
        }
        false => (Ok(Ok(Stream::from(carrier))), Duration::ZERO),
    };
    let expired = match frontend.tls[bind] {
        Some(_) => ConnectionError::HandshakeTimeout,
        None => ConnectionError::ProxyHeaderTimeout,
    };
    match shaken.unwrap_or(Err(expired)) {
        Ok(stream) => {
            if let Some(action) = admit::session(&facts, frontend, &room, worker) {
                if matches!(action, TcpAction::SilentDrop) {
                    stream.forget();
                }
                return None;
            }
            if let Some(tls) = &facts.tls {
                room.secured();
                if tls.resumed {
                    room.count(Count::ResumedHandshakes);
                }
            }
            facts.settle();
            let connection = room.into_connection(facts, took, peer);
            Some(Client::new(stream, connection))
        }
        Err(error) => {
            if frontend.tls[bind].is_some() {
                room.count(Count::FailedHandshakes);
            }
            facts.error = error;
            let unfit = room.into_unfit_connection(facts, took, peer);
            Session::log_unfit(&unfit, bind, at);
            None
        }
    }
}

async fn handshake(
    carrier: Carrier,
    bind: usize,
    accept_proxy: bool,
    frontend: &FrontendState,
    facts: &mut ConnectionFacts,
) -> Result<Stream, ConnectionError> {
    if accept_proxy {
        let keeps = frontend.conf().asked.proxy_extensions;
        if let Proxied::Addresses { src, dst } = proxy_header(&carrier, keeps, facts).await? {
            facts.src = Some(src);
            facts.dst = Some(dst);
        }
        facts.received_proxy = true;
    }
    let Some(tls) = &frontend.tls[bind] else {
        return Ok(Stream::from(carrier));
    };
    let keeps_chain = frontend.conf().asked.chains;
    let (stream, tls_facts) = tls.accept(carrier, keeps_chain).await?;
    facts.tls = Some(tls_facts);
    Ok(stream)
}

/// Reads a PROXY header and not a byte more: it is looked at in the kernel's buffer until it is
/// whole, and only then taken out. What follows may be a TLS handshake. Extensions are kept if asked for.
async fn proxy_header(
    carrier: &Carrier,
    keeps: bool,
    facts: &mut ConnectionFacts,
) -> Result<Proxied, ConnectionError> {
    loop {
        let mut bytes = [0u8; PROXY_HEADER_MAX];
        let looking = poll_fn(|cx| {
            carrier.poll_take(cx, |socket| {
                let (count, _) = rustix::net::recv(socket, &mut bytes, RecvFlags::PEEK)?;
                Ok(count)
            })
        });
        let count = looking
            .await
            .map_err(|_| ConnectionError::ProxyHeaderEmpty)?;
        match proxy_protocol::parse(&bytes[..count]) {
            Ok(Parsed::Complete { head, consumed }) => {
                take(carrier, &mut bytes[..consumed]).ok_or(ConnectionError::ProxyHeaderEmpty)?;
                let extensions = proxy_protocol::extensions(&bytes[..consumed]);
                if keeps && !extensions.is_empty() {
                    facts.rare.get_mut().get_or_insert_default().kept.extensions =
                        extensions.into();
                }
                return Ok(head);
            }
            Err(_) => return Err(ConnectionError::ProxyHeaderUnknown),
            Ok(Parsed::Partial) if count == 0 => return Err(ConnectionError::ProxyHeaderEmpty),
            // What is there may be told of twice: that it has become no more says nothing.
            Ok(Parsed::Partial) if carrier.seen() => {
                return Err(ConnectionError::ProxyHeaderTruncated);
            }
            Ok(Parsed::Partial) => {}
        }
    }
}

/// Takes bytes that were seen before; they are there.
fn take(carrier: &Carrier, bytes: &mut [u8]) -> Option<()> {
    let wanted = bytes.len();
    let (count, _) = rustix::net::recv(carrier, bytes, RecvFlags::empty()).ok()?;
    (count == wanted).then_some(())
}
