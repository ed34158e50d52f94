//! Tunnels of a real engine, where the order of events does not matter.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use config::Surroundings;
use config::source::Source;

use crate::command::Command;
use crate::{Engine, Prepared, Presence, Resolver};

/// What makes a tunnel panic in this crate's own tests.
const FAULT: &[u8] = b"a fault, please";

/// Panics where these bytes ask for it.
pub(super) fn meet_a_fault(moved: &[u8]) {
    assert!(!moved.starts_with(FAULT), "a test has asked for it");
}

struct Nothing;

impl Surroundings for Nothing {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn read(&self, path: &str) -> Result<String, String> {
        Err(format!("{path} is not to be read"))
    }
}

/// One worker that passes everything on to a server.
fn engine(at: &Path, server: &TcpListener) -> Engine {
    let server = server.local_addr().expect("it listens");
    let text = format!(
        "global\n  nbthread 1\n\
         defaults\n  mode tcp\n  timeout client 1m\n  timeout connect 1m\n  timeout server 1m\n\
         listen f\n  bind {}\n  server s {server}\n",
        at.display()
    );
    let outcome = config::load(&[Source::new("test", text)], &Nothing);
    let config = outcome.config.expect("a configuration");
    let presence = Presence {
        tag: "test".into(),
        to_stderr: false,
        resolver: Resolver::start().expect("a thread"),
        descriptors: 1000,
        inheritance: Default::default(),
    };
    let prepared = Prepared::new(Arc::new(config)).expect("no files");
    let bound = prepared.bind(presence).expect("a free name");
    bound.run().expect("threads")
}

/// Both ends of a new tunnel.
fn tunnel(at: &Path, server: &TcpListener) -> (UnixStream, TcpStream) {
    let client = UnixStream::connect(at).expect("it listens");
    (client, server.accept().expect("it connects").0)
}

#[test]
fn a_panic_costs_one_tunnel_and_no_other() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("socket");
    let engine = engine(&at, &server);
    let (mut hit, mut behind) = tunnel(&at, &server);
    let (mut other, mut behind_other) = tunnel(&at, &server);
    let mut bytes = [0; 64];
    hit.write_all(b"hello").expect("open");
    assert_eq!(behind.read(&mut bytes).expect("open"), 5);
    hit.write_all(FAULT).expect("open");
    // Both its ends are told.
    while behind.read(&mut bytes).is_ok_and(|count| count > 0) {}
    assert!(!hit.read(&mut bytes).is_ok_and(|count| count > 0));
    for _ in 0..3 {
        other.write_all(b"still here").expect("open");
        behind_other.read_exact(&mut bytes[..10]).expect("open");
        assert_eq!(&bytes[..10], b"still here");
    }
    // New ones open as before, and what the lost one held was given back.
    drop(tunnel(&at, &server));
    let snapshot = engine.handle().snapshot();
    let traffic = &snapshot.frontends[0].traffic;
    assert_eq!(traffic.internal_errors, 1);
    let handle = engine.handle();
    handle.apply(Command::HardStop).expect("it always can");
    engine.wait_stopped().expect("an orderly end");
}
