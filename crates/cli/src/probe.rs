//! `tidegate probe URL`: does it answer? For the health check of a container that holds no other
//! program.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longer than anything healthy takes; container engines give up after 30 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// `HTTP/1.1 200` is all that is read of the answer.
const STATUS_LINE_LEN: usize = 12;

/// Exit code 0 if the URL answers with a status below 400.
pub(crate) fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let [url] = arguments.as_slice() else {
        eprintln!("usage: tidegate probe http://HOST[:PORT][/PATH]");
        return ExitCode::FAILURE;
    };
    match probe(&url.to_string_lossy()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate probe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn probe(url: &str) -> Result<()> {
    let rest = url.strip_prefix("http://").with_context(|| {
        format!("'{url}' does not begin with http://; usage: tidegate probe URL")
    })?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    if rest.contains(|byte: char| byte.is_control() || byte == ' ') {
        bail!("'{}' is no URL", url.escape_debug());
    }
    let has_port = authority
        .rsplit(']')
        .next()
        .is_some_and(|end| end.contains(':'));
    let address = if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut stream = connect(&address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: tidegate-probe\r\nConnection: close\r\n\r\n"
    )
    .with_context(|| format!("send to {address}"))?;
    let mut line = [0; STATUS_LINE_LEN];
    stream
        .read_exact(&mut line)
        .with_context(|| format!("read the answer of {address}"))?;
    match &line {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'0' | b'1',
            b' ',
            b'2' | b'3',
            ..,
        ] => Ok(()),
        other => bail!("{url} answered \"{}\"", other.escape_ascii()),
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let found = address
        .to_socket_addrs()
        .with_context(|| format!("resolve {address}"))?;
    let mut failure = anyhow::anyhow!("{address} has no address");
    for address in found {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                failure = anyhow::Error::new(error).context(format!("connect to {address}"))
            }
        }
    }
    Err(failure)
}
