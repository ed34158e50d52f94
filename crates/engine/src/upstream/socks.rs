//! Asking a SOCKS4 proxy for a way to a server (manual 5.2, "socks4"; the protocol is Ying-Da Lee's
//! "SOCKS: A protocol for TCP proxy across firewalls").

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stream::Carrier;

const VERSION: u8 = 4;
const CONNECT: u8 = 1;
const GRANTED: u8 = 0x5a;

/// Who we say that we are, as HAProxy does: some proxies let in by it.
const USER: &[u8] = b"HAProxy\0";

/// Bytes of an answer.
const ANSWER_LEN: usize = 8;

/// Has the proxy at the other end connect to `server`; what follows is for it. The caller sets the time
/// limit.
pub(super) async fn ask(carrier: &mut Carrier, server: SocketAddr) -> io::Result<()> {
    let ip = match server.ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().ok_or_else(|| {
            io::Error::new(ErrorKind::Unsupported, "SOCKS4 knows no IPv6 addresses")
        })?,
    };
    let mut wanted = vec![VERSION, CONNECT];
    wanted.extend(server.port().to_be_bytes());
    wanted.extend(ip.octets());
    wanted.extend(USER);
    carrier.write_all(&wanted).await?;
    let mut answer = [0; ANSWER_LEN];
    carrier.read_exact(&mut answer).await?;
    match answer {
        [0, GRANTED, ..] => Ok(()),
        [0, code, ..] => Err(io::Error::new(
            ErrorKind::ConnectionRefused,
            format!("the SOCKS proxy refuses (code {code})"),
        )),
        _ => Err(io::Error::new(
            ErrorKind::InvalidData,
            "what answers is no SOCKS4 proxy",
        )),
    }
}
