//! TLS towards clients and towards nodes: rustls with aws-lc-rs, and nothing of rustls outside
//! this module but the finished streams.

mod certificates;
mod chain;
mod ciphers;
mod client;
mod client_auth;
pub(crate) mod edits;
mod failure;
mod files;
mod given;
mod handshake;
mod ocsp;
pub(crate) mod reload;
mod revocation;
mod select;
mod server;
mod sessions;
mod stream;
mod tickets;
mod trust;

pub(crate) use client::{ClientTls, NodeTls, Shelf};
pub(crate) use server::{Common, ServerTlsConfig};
pub(crate) use stream::TlsStream;
use trust::RootCache;

use routing::sample::{ClientCertificate, ServerTlsFacts, TlsFacts};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

/// What rules and logs may know of a client's TLS connection.
fn facts(state: &CommonState, sni: Option<&str>) -> TlsFacts {
    TlsFacts {
        is_tls12: state.protocol_version() == Some(ProtocolVersion::TLSv1_2),
        suite: state
            .negotiated_cipher_suite()
            .and_then(|suite| ciphers::known(suite.suite())),
        sni: sni.map(Into::into),
        alpn: state
            .alpn_protocol()
            .map(|alpn| String::from_utf8_lossy(alpn).into()),
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        ..TlsFacts::default()
    }
}

/// What was agreed on with a server.
pub(crate) fn server_facts(state: &CommonState) -> ServerTlsFacts {
    ServerTlsFacts {
        is_tls12: state.protocol_version() == Some(ProtocolVersion::TLSv1_2),
        suite: state
            .negotiated_cipher_suite()
            .and_then(|suite| ciphers::known(suite.suite())),
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        certificate: None,
    }
}

/// The certificate the client has shown.
fn client_certificate(state: &CommonState) -> Option<ClientCertificate> {
    let leaf = state.peer_certificates()?.first()?;
    Some(ClientCertificate {
        der: leaf.as_ref().into(),
        ..ClientCertificate::default()
    })
}
