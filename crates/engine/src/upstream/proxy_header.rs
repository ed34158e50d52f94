//! The PROXY header in front of a connection to a server (manual 5.2, "send-proxy").

use std::net::SocketAddr;
use std::sync::Arc;

use config::expr::{Flags, Variable};
use config::model::{ProxyVersion, SendProxy, Server};
use routing::format::{self, Variables};
use routing::sample::TlsFacts;
use wire::head::RequestHead;
use wire::proxy_header::{Header, Ssl, write_v1, write_v2};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::session::Session;

/// Bytes of a unique id at most, by the protocol: a longer one is left out.
const UNIQUE_ID_LEN_MAX: usize = 128;

/// What stands in front of the connection of `session` to its server; `None`: nothing. What the
/// certificates say stays in `certificates`.
pub(crate) fn of_session(
    session: &Session,
    head: Option<&RequestHead>,
    server: &Server,
    certificates: &mut Option<Box<Certificates>>,
) -> Option<Arc<[u8]>> {
    let send = &server.outgoing.send_proxy;
    let version = send.version()?;
    let facts = &session.connection().facts;
    let addresses = facts.source().zip(facts.destination());
    let mut out = Vec::with_capacity(128);
    match version {
        ProxyVersion::V1 => write_v1(addresses, &mut out),
        ProxyVersion::V2 => {
            let tls = facts.tls.as_ref();
            let unique_id = send.unique_id.then(|| unique_id(session));
            let others = others(session, head, server);
            let named = send.cert_cn || send.cert_key || send.cert_sig;
            let certificates = tls
                .filter(|_| named)
                .map(|tls| &**certificates.get_or_insert_with(|| Box::new(Certificates::new(tls))));
            let header = Header {
                addresses,
                alpn: tls.and_then(|tls| tls.alpn.as_deref()).map(str::as_bytes),
                crc32c: send.crc32c,
                authority: tls
                    .filter(|_| send.authority)
                    .and_then(|tls| tls.sni.as_deref())
                    .map(str::as_bytes),
                unique_id: unique_id
                    .as_deref()
                    .filter(|id| id.len() <= UNIQUE_ID_LEN_MAX),
                ssl: send
                    .ssl
                    .then(|| tls.map(|tls| ssl(send, tls, certificates))),
                others: &others,
            };
            write_v2(&header, &mut out);
        }
    }
    Some(out.into())
}

/// `set-proxy-v2-tlv-fmt`.
fn others(session: &Session, head: Option<&RequestHead>, server: &Server) -> Vec<(u8, Vec<u8>)> {
    if server.proxy_values.is_empty() {
        return Vec::new();
    }
    let facts = session.facts(head, None);
    let written = server.proxy_values.iter().map(|own| {
        let mut value = Vec::new();
        format::render(&own.value, &facts, session, &mut value);
        (own.kind, value)
    });
    written.collect()
}

fn unique_id(session: &Session) -> Vec<u8> {
    let mut id = Vec::new();
    session.write(Variable::ID, Flags::default(), &mut id);
    id
}

/// What the certificates of both sides say of themselves.
pub(crate) struct Certificates {
    common_name: Option<Vec<u8>>,
    key: Option<String>,
    signature: Option<&'static str>,
}

impl Certificates {
    fn new(tls: &TlsFacts) -> Self {
        let client = tls.client.as_ref();
        let own = tls.certificate.as_ref();
        let own = own.and_then(|der| X509Certificate::from_der(der).ok());
        let own = own.as_ref().map(|(_, certificate)| certificate);
        Self {
            common_name: client.and_then(|client| common_name(&client.der)),
            key: own.and_then(key),
            signature: own.and_then(signature),
        }
    }
}

fn ssl<'a>(send: &SendProxy, tls: &'a TlsFacts, certificates: Option<&'a Certificates>) -> Ssl<'a> {
    let asked = |wanted: bool| certificates.filter(|_| wanted);
    Ssl {
        version: tls.version(),
        cipher: send.ssl_cipher.then(|| tls.cipher()),
        certificate: tls.client.is_some(),
        common_name: asked(send.cert_cn).and_then(|it| it.common_name.as_deref()),
        key: asked(send.cert_key).and_then(|it| it.key.as_deref()),
        signature: asked(send.cert_sig).and_then(|it| it.signature),
    }
}

fn common_name(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    Some(name.as_str().ok()?.as_bytes().to_vec())
}

/// `RSA2048`, `EC256`.
fn key(certificate: &X509Certificate<'_>) -> Option<String> {
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(rsa) => Some(format!("RSA{}", rsa.key_size())),
        PublicKey::EC(point) => Some(format!("EC{}", point.key_size())),
        _ => None,
    }
}

/// OpenSSL's short names of signature algorithms.
fn signature(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    Some(match oid.as_str() {
        "1.2.840.113549.1.1.5" => "RSA-SHA1",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.113549.1.1.11" => "RSA-SHA256",
        "1.2.840.113549.1.1.12" => "RSA-SHA384",
        "1.2.840.113549.1.1.13" => "RSA-SHA512",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "ED25519",
        _ => return None,
    })
}

/// What stands in front of a check: it is our own connection. A line names its real ends.
pub(crate) fn of_check(send: &SendProxy, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut out = Vec::new();
    match send.version() {
        Some(ProxyVersion::V2) => {
            let header = Header {
                crc32c: send.crc32c,
                ssl: send.ssl.then_some(None),
                ..Header::default()
            };
            write_v2(&header, &mut out);
        }
        _ => write_v1(ends, &mut out),
    }
    out
}
