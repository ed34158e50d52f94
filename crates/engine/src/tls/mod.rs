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
mod signed;
mod stream;
mod tickets;
mod trust;

pub(crate) use client::{ClientTls, NodeTls, Shelf};
pub(crate) use server::{Common, ServerTlsConfig};
pub(crate) use stream::TlsStream;
use trust::RootCache;

use config::model::Group;
use routing::sample::{ClientCertificate, MoreServerFacts, ServerTlsFacts, TlsFacts};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use rustls_pki_types::CertificateDer;

/// What rules and logs may know of a client's TLS connection.
fn facts(state: &CommonState, sni: Option<&str>) -> TlsFacts {
    TlsFacts {
        is_tls12: state.protocol_version() == Some(ProtocolVersion::TLSv1_2),
        suite: state
            .negotiated_cipher_suite()
            .and_then(|suite| ciphers::known(suite.suite())),
        group: group(state),
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
        group: group(state),
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        ..ServerTlsFacts::default()
    }
}

fn group(state: &CommonState) -> Option<Group> {
    let group = state.negotiated_key_exchange_group()?;
    ciphers::known_group(group.name())
}

/// What few ask for of a server's TLS.
pub(crate) fn more_server_facts(state: &CommonState) -> MoreServerFacts {
    MoreServerFacts {
        chain: in_one(state.peer_certificates().unwrap_or_default()),
        alpn: state
            .alpn_protocol()
            .map(|alpn| String::from_utf8_lossy(alpn).into()),
    }
}

/// Certificates one after the other.
fn in_one(chain: &[CertificateDer<'_>]) -> Vec<u8> {
    chain.iter().flat_map(|der| der.iter().copied()).collect()
}

/// The certificate the client has shown.
fn client_certificate(state: &CommonState) -> Option<ClientCertificate> {
    let leaf = state.peer_certificates()?.first()?;
    Some(ClientCertificate {
        der: leaf.as_ref().into(),
        ..ClientCertificate::default()
    })
}
