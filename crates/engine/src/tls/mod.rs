//! TLS towards clients and towards nodes: rustls with aws-lc-rs, and nothing of rustls outside
//! this module but the finished streams.

mod certificates;
mod client;
mod server;

pub(crate) use client::{ClientTls, RootCache};
pub(crate) use server::ServerTlsConfig;

use config::model::TlsVersions;
use routing::sample::TlsFacts;
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion, SupportedProtocolVersion};

/// What rules and logs may know of a client's TLS connection.
fn facts(state: &CommonState, sni: Option<&str>) -> TlsFacts {
    TlsFacts {
        version: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: state
            .negotiated_cipher_suite()
            .map_or("", |suite| cipher_name(suite.suite())),
        sni: sni.map(Into::into),
        alpn: state
            .alpn_protocol()
            .map(|alpn| String::from_utf8_lossy(alpn).into()),
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        error: 0,
    }
}

/// OpenSSL's spelling, which logs and rules of HAProxy use.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}

/// The versions allowed, the newest first.
fn versions(versions: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    let tls12 = versions.tls12.then_some(&rustls::version::TLS12);
    let tls13 = versions.tls13.then_some(&rustls::version::TLS13);
    tls13.into_iter().chain(tls12).collect()
}
