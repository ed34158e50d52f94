//! What is known of a client's TLS connection, and what samples make of it (manual 7.3.4).

use std::sync::Arc;

use config::expr::{TlsFetch, Whose};
use config::model::Suite;

use crate::certificate;
use crate::value::Value;

/// What is known of a TLS connection. It lives as long as the connection and is kept small.
#[derive(Debug, Clone, Default)]
pub struct TlsFacts {
    /// Whether it is TLS 1.2; else it is TLS 1.3.
    pub is_tls12: bool,
    /// The suite that was agreed on.
    pub suite: Option<Suite>,
    /// The server name the client asked for.
    pub sni: Option<Box<str>>,
    /// The protocol that was agreed on.
    pub alpn: Option<Box<str>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificate we have shown, in DER.
    pub certificate: Option<Arc<Vec<u8>>>,
    /// The certificate the client has shown.
    pub client: Option<Box<ClientCertificate>>,
}

impl TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub fn version(&self) -> &'static str {
        match self.is_tls12 {
            true => "TLSv1.2",
            false => "TLSv1.3",
        }
    }

    /// The cipher by OpenSSL's name, as HAProxy writes it.
    pub fn cipher(&self) -> &'static str {
        self.suite.map_or("", Suite::name)
    }
}

/// The certificate of a client that was asked for one.
#[derive(Debug, Clone, Default)]
pub struct ClientCertificate {
    /// The certificate, in DER.
    pub der: Box<[u8]>,
    /// What of it was wrong and let pass: OpenSSL's number, 0 for nothing.
    pub error: u8,
    /// The same of those above it.
    pub ca_error: u8,
    /// How far above.
    pub ca_depth: u8,
}

/// What a fetch sees.
pub(crate) fn value<'a>(fetch: &TlsFetch, tls: Option<&'a TlsFacts>) -> Option<Value<'a>> {
    let client = tls.and_then(|tls| tls.client.as_deref());
    match fetch {
        TlsFetch::Used => Some(Value::Bool(client.is_some())),
        TlsFetch::HasCertificate => {
            let shown = tls.is_some_and(|tls| !tls.resumed) && client.is_some();
            Some(Value::Bool(shown))
        }
        TlsFetch::Verify => {
            tls?;
            let wrong = client.map_or(0, |it| match it.error {
                0 => it.ca_error,
                own => own,
            });
            Some(Value::Int(wrong.into()))
        }
        TlsFetch::CaErrorDepth => {
            tls?;
            Some(Value::Int(client.map_or(0, |it| it.ca_depth.into())))
        }
        TlsFetch::KeySize => {
            let bits = match tls?.cipher().contains("AES_128") || tls?.cipher().contains("AES128") {
                true => 128,
                false => 256,
            };
            Some(Value::Int(bits))
        }
        TlsFetch::Certificate(Whose::Client, part) => certificate::part(&client?.der, part),
        TlsFetch::Certificate(Whose::Ours, part) => {
            certificate::part(tls?.certificate.as_deref()?, part)
        }
    }
}
