//! A new connection to a server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, UnixStream};

use crate::server::Target;
use crate::stream::{Carrier, Stream};
use crate::timing::within;
use crate::tls::ClientTls;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// It took longer than `timeout connect`.
    Expired,
    /// It was refused, unreachable, or TLS failed.
    Failed(io::Error),
}

/// Connects within `limit`, TLS handshake included.
pub(crate) async fn connect(
    target: &Target,
    tls: Option<&ClientTls>,
    sni: Option<&str>,
    limit: Option<Duration>,
) -> Result<Stream, ConnectError> {
    let connecting = async {
        let (carrier, ip) = match target {
            Target::Inet(address) => (Carrier::Tcp(tcp(*address).await?), address.ip()),
            Target::Unix(path) => {
                let unix = UnixStream::connect(path).await?;
                (Carrier::Unix(unix), std::net::Ipv4Addr::LOCALHOST.into())
            }
        };
        match tls {
            Some(tls) => tls.connect(carrier, sni, ip).await,
            None => Ok(Stream::from(carrier)),
        }
    };
    match within(limit, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(ConnectError::Failed(error)),
        Err(_) => Err(ConnectError::Expired),
    }
}

async fn tcp(address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
