//! A new connection to a server.

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use config::model::Outgoing;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::AsyncWriteExt;

use super::{socks, source};
use crate::clock;
use crate::server::Target;
use crate::stream::{Carrier, Stream};
use crate::timing::within;
use crate::tls::ClientTls;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// It took longer than `timeout connect`.
    Expired,
    /// It was refused or unreachable.
    Failed(io::Error),
    /// The connection was there, and time ran out in the TLS handshake.
    HandshakeExpired,
    /// The connection was there, and the TLS handshake failed.
    HandshakeFailed(io::Error),
}

/// Writes what goes first, given both ends of a connection where they have addresses.
pub(crate) type HeaderOf<'a> = &'a dyn Fn(Option<(SocketAddr, SocketAddr)>) -> Vec<u8>;

/// How a connection is to be made.
pub(crate) struct Dial<'a> {
    /// Where to.
    pub(crate) target: &'a Target,
    /// Through which SOCKS proxy.
    pub(crate) socks4: Option<SocketAddr>,
    /// From where, and with what options.
    pub(crate) outgoing: &'a Outgoing,
    /// The next port of a range to come from.
    pub(crate) next_port: &'a AtomicU32,
    /// Whether we are certain to send something at once.
    pub(crate) speak_first: bool,
    /// What goes first.
    pub(crate) header: Option<HeaderOf<'a>>,
    /// TLS, and the name asked for.
    pub(crate) tls: Option<&'a ClientTls>,
    /// See `tls`.
    pub(crate) sni: Option<&'a str>,
}

/// Connects within `limit`, TLS handshake included.
pub(crate) async fn connect(
    dial: &Dial<'_>,
    limit: Option<Duration>,
) -> Result<Stream, ConnectError> {
    let started = clock::now();
    let carrier = match within(limit, carrier_at_leisure(dial)).await {
        Ok(connected) => connected.map_err(ConnectError::Failed)?,
        Err(_) => return Err(ConnectError::Expired),
    };
    let Some(tls) = dial.tls else {
        return Ok(Stream::from(carrier));
    };
    let left =
        limit.map(|limit| limit.saturating_sub(clock::now().saturating_duration_since(started)));
    match within(left, tls.connect(carrier, dial.sni)).await {
        Ok(shaken) => shaken.map_err(ConnectError::HandshakeFailed),
        Err(_) => Err(ConnectError::HandshakeExpired),
    }
}

async fn carrier_at_leisure(dial: &Dial<'_>) -> io::Result<Carrier> {
    let mut carrier = match dial.target {
        Target::Inet(address) => {
            let (outgoing, first) = (dial.outgoing, dial.speak_first);
            let to = dial.socks4.unwrap_or(*address);
            let mut carrier = source::connect(to, outgoing, dial.next_port, first).await?;
            if dial.socks4.is_some() {
                socks::ask(&mut carrier, *address).await?;
            }
            carrier
        }
        Target::Unix(path) => to_unix(path)?,
        // Such names begin with a zero byte; HAProxy's fill the whole address.
        Target::Abstract(name) => to_unix(std::ffi::OsStr::from_bytes(name).as_ref())?,
    };
    if let Some(header) = dial.header {
        // A new socket has room for it.
        carrier.write_all(&header(carrier.ends())).await?;
    }
    Ok(carrier)
}

/// To a Unix socket: it connects at once, or not at all.
fn to_unix(path: &Path) -> io::Result<Carrier> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Carrier::new(socket)
}
