use std::future::poll_fn;

use rustls::{ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::reactor::alongside;

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a pair");
    let key = made.signing_key.serialize_der().try_into().expect("a key");
    let certificate = made.cert.der().clone();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("they belong together");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Ours of a pair.
fn carrier(ours: UnixStream) -> Carrier {
    Carrier::new(ours.into_std().expect("it is open")).expect("a reactor")
}

fn name() -> ServerName<'static> {
    ServerName::try_from("a.test").expect("a name")
}

async fn read(stream: &mut TlsStream, length: usize) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while got.len() < length {
        let count = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await;
        match count.expect("a whole stream") {
            0 => break,
            count => got.extend_from_slice(&buffer[..count]),
        }
    }
    got
}

async fn write(stream: &mut TlsStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, bytes))
            .await
            .expect("a peer");
        bytes = &bytes[count..];
        poll_fn(|cx| stream.poll_flush(cx)).await.expect("a peer");
    }
}

/// Longer than all buffers, and different everywhere.
fn long() -> Vec<u8> {
    (0..1_000_000u32).flat_map(u32::to_be_bytes).collect()
}

#[tokio::test]
async fn as_server_it_talks_to_a_client_and_keeps_nothing() {
    let test = async {
        let (server, client) = configs();
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let accepting = TlsStream::accept(carrier(ours), server, Vec::new());
        let connecting = TlsConnector::from(client).connect(name(), theirs);
        let (ours, theirs) = tokio::join!(accepting, connecting);
        let (mut ours, mut theirs) = (ours.expect("a handshake"), theirs.expect("a handshake"));
        let sent = long();
        let echo = async {
            let got = read(&mut ours, sent.len()).await;
            write(&mut ours, &got).await;
        };
        let (mut receiving, mut sending) = tokio::io::split(&mut theirs);
        let there = async {
            sending.write_all(&sent).await.expect("a peer");
            sending.flush().await.expect("a peer");
        };
        let back = async {
            let mut got = vec![0; sent.len()];
            receiving.read_exact(&mut got).await.expect("all of it");
            got
        };
        let ((), (), got) = tokio::join!(echo, there, back);
        assert!(got == sent, "what came back is not what was sent");
        let kept = [&ours.incomplete, &ours.plain, &ours.encrypted];
        assert!(kept.iter().all(|buffer| buffer.capacity() == 0));
    };
    alongside(test).await.expect("a queue of events");
}

#[tokio::test]
async fn as_client_it_talks_to_a_server_and_tells_an_end_from_a_cut() {
    let test = async {
        let (server, client) = configs();
        for orderly in [true, false] {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            let connecting = TlsStream::connect(carrier(ours), client.clone(), name());
            let accepting = TlsAcceptor::from(server.clone()).accept(theirs);
            let (ours, theirs) = tokio::join!(connecting, accepting);
            let (mut ours, mut theirs) = (ours.expect("a handshake"), theirs.expect("a handshake"));
            write(&mut ours, b"hello").await;
            let mut got = [0; 5];
            theirs.read_exact(&mut got).await.expect("all of it");
            theirs.write_all(b"good bye").await.expect("a peer");
            theirs.flush().await.expect("a peer");
            if orderly {
                theirs.shutdown().await.expect("a peer");
            }
            drop(theirs);
            assert_eq!(read(&mut ours, 8).await, b"good bye");
            let end = poll_fn(|cx| ours.poll_read(cx, &mut [0; 8])).await;
            let end = end.map_err(|error| error.kind());
            let expected = if orderly {
                Ok(0)
            } else {
                Err(io::ErrorKind::UnexpectedEof)
            };
            assert_eq!(end, expected);
        }
    };
    alongside(test).await.expect("a queue of events");
}

#[tokio::test]
async fn records_in_single_bytes_are_put_together() {
    let test = async {
        let (server, client) = configs();
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let accepting = async {
            let carrier = carrier(ours);
            let mut ours = TlsStream::accept(carrier, server, Vec::new())
                .await
                .expect("a handshake");
            read(&mut ours, 5).await
        };
        let drip = async {
            let mut tls = ClientConnection::new(client, name()).expect("a client");
            let (mut receiving, mut sending) = theirs.into_split();
            std::io::Write::write_all(&mut tls.writer(), b"hello").expect("room");
            loop {
                let mut out = Vec::new();
                while tls.wants_write() {
                    tls.write_tls(&mut out).expect("a vector");
                }
                for byte in out {
                    sending.write_all(&[byte]).await.expect("a peer");
                    tokio::task::yield_now().await;
                }
                if !tls.is_handshaking() {
                    break sending;
                }
                let mut bytes = vec![0; 4096];
                let count = receiving.read(&mut bytes).await.expect("a peer");
                let mut bytes = &bytes[..count];
                while !bytes.is_empty() {
                    tls.read_tls(&mut bytes).expect("a slice");
                    tls.process_new_packets().expect("good records");
                }
            }
        };
        let (got, _open) = tokio::join!(accepting, drip);
        assert_eq!(got, b"hello");
    };
    alongside(test).await.expect("a queue of events");
}

#[tokio::test]
async fn garbage_is_refused_with_an_alert() {
    let test = async {
        let (server, _) = configs();
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .await
            .expect("a peer");
        let accepted = TlsStream::accept(carrier(ours), server, Vec::new()).await;
        let error = accepted.err().expect("a failure");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut alert = Vec::new();
        theirs.read_to_end(&mut alert).await.expect("an end");
        assert_eq!(alert.first(), Some(&21));
    };
    alongside(test).await.expect("a queue of events");
}

/// Real handshakes with bytes changed, cut out and put in: an error, and never a panic.
#[tokio::test]
async fn broken_handshakes_are_errors() {
    let test = async {
        let (server, client) = configs();
        let mut recorded = Vec::new();
        let mut tls = ClientConnection::new(client, name()).expect("a client");
        tls.write_tls(&mut recorded).expect("a vector");
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..500 {
            let mut bytes = recorded.clone();
            for _ in 0..dice.usize(1..4) {
                let at = dice.usize(..bytes.len());
                match dice.u8(..3) {
                    0 => bytes[at] = dice.u8(..),
                    1 => drop(bytes.drain(at..(at + dice.usize(..40)).min(bytes.len()))),
                    _ => bytes.insert(at, dice.u8(20..24)),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            // What follows a hello that passes is no handshake.
            bytes.extend_from_slice(&[22, 3, 3, 0, 4, 20, 0, 0, 0, 23, 3, 3, 0, 1, 0]);
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            theirs.write_all(&bytes).await.expect("a peer");
            theirs.shutdown().await.expect("a peer");
            let mut carrier = carrier(ours);
            let mut greeting = Greeting::default();
            let read = poll_fn(|cx| greeting.poll_read(cx, &mut carrier)).await;
            let hello = greeting.bytes;
            if read.is_ok() {
                let accepted = TlsStream::accept(carrier, server.clone(), hello).await;
                assert!(accepted.is_err());
            }
        }
    };
    alongside(test).await.expect("a queue of events");
}
