//! What is known of a client's TLS connection, and what samples make of it (manual 7.3.4).

use std::sync::Arc;

use config::expr::{TlsFetch, Whose};
use config::model::{Group, Suite};

use crate::certificate;
use crate::value::Value;

/// What is known of a TLS connection. It lives as long as the connection and is kept small.
#[derive(Debug, Clone, Default)]
pub struct TlsFacts {
    /// Whether it is TLS 1.2; else it is TLS 1.3.
    pub is_tls12: bool,
    /// The suite that was agreed on.
    pub suite: Option<Suite>,
    /// The group that keys were agreed on in.
    pub group: Option<Group>,
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
        version(self.is_tls12)
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
    /// The certificates above it that it has sent, one after the other, in DER; where it is asked for.
    pub chain: Box<[u8]>,
    /// The name, in DER, of the one of the `ca-file` that it leads up to; where it is asked for, and
    /// nothing was wrong.
    pub root: Box<[u8]>,
}

/// What is known of TLS towards a server.
#[derive(Debug, Clone, Default)]
pub struct ServerTlsFacts {
    /// Whether it is TLS 1.2; else it is TLS 1.3.
    pub is_tls12: bool,
    /// The suite that was agreed on.
    pub suite: Option<Suite>,
    /// The group that keys were agreed on in.
    pub group: Option<Group>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificate it has shown, in DER.
    pub certificate: Option<Arc<Vec<u8>>>,
    /// What few ask for; only where it is asked for.
    pub more: Option<Box<MoreServerFacts>>,
}

/// What few ask for of TLS towards a server.
#[derive(Debug, Clone, Default)]
pub struct MoreServerFacts {
    /// All certificates it has sent, one after the other, in DER.
    pub chain: Vec<u8>,
    /// The protocol that was agreed on.
    pub alpn: Option<Box<str>>,
}

fn version(is_tls12: bool) -> &'static str {
    match is_tls12 {
        true => "TLSv1.2",
        false => "TLSv1.3",
    }
}

/// Bits of the cipher's key.
fn key_size(suite: Option<Suite>) -> Value<'static> {
    let name = suite.map_or("", Suite::name);
    let short = name.contains("AES_128") || name.contains("AES128");
    Value::Int(if short { 128 } else { 256 })
}

/// What a fetch sees.
pub(crate) fn value<'a>(
    fetch: &TlsFetch,
    tls: Option<&'a TlsFacts>,
    server: Option<&'a ServerTlsFacts>,
) -> Option<Value<'a>> {
    let text = |text: &'static str| Value::text(text.as_bytes());
    let client = tls.and_then(|tls| tls.client.as_deref());
    match fetch {
        TlsFetch::Used => Some(Value::Bool(client.is_some())),
        TlsFetch::HasCertificate => {
            let shown = tls.is_some_and(|tls| !tls.resumed) && client.is_some();
            Some(Value::Bool(shown))
        }
        TlsFetch::Verify => {
            tls?;
            // OpenSSL goes on past a missing issuer, to a signature that nobody can verify.
            const NO_ISSUER: u8 = 20;
            const NOT_VERIFIED: u8 = 21;
            let wrong = client.map_or(0, |it| match it.error {
                0 => it.ca_error,
                NO_ISSUER => NOT_VERIFIED,
                own => own,
            });
            Some(Value::Int(wrong.into()))
        }
        TlsFetch::CaErrorDepth => {
            tls?;
            Some(Value::Int(client.map_or(0, |it| it.ca_depth.into())))
        }
        TlsFetch::KeySize => Some(key_size(tls?.suite)),
        TlsFetch::Server => Some(Value::Bool(server.is_some())),
        TlsFetch::ServerProtocol => Some(text(version(server?.is_tls12))),
        TlsFetch::ServerCipher => Some(text(server?.suite.map_or("", Suite::name))),
        TlsFetch::ServerResumed => Some(Value::Bool(server.is_some_and(|it| it.resumed))),
        TlsFetch::ServerKeySize => Some(key_size(server?.suite)),
        TlsFetch::Curve => Some(text(tls?.group?.name())),
        TlsFetch::ServerCurve => Some(text(server?.group?.name())),
        TlsFetch::ServerAlpn => {
            let alpn = server?.more.as_deref()?.alpn.as_deref()?;
            Some(Value::text(alpn.as_bytes()))
        }
        TlsFetch::Chain(whose) => {
            let chain = match whose {
                Whose::Client => client?.chain.as_ref(),
                Whose::Servers => server?.more.as_deref()?.chain.as_slice(),
                // Nobody has to be told what is in our own files.
                Whose::Ours => return None,
            };
            (!chain.is_empty()).then(|| Value::Bin(chain.into()))
        }
        TlsFetch::Root(part) => certificate::name_of(&client?.root, part),
        TlsFetch::Certificate(Whose::Client, part) => certificate::part(&client?.der, part),
        TlsFetch::Certificate(Whose::Ours, part) => {
            certificate::part(tls?.certificate.as_deref()?, part)
        }
        TlsFetch::Certificate(Whose::Servers, part) => {
            certificate::part(server?.certificate.as_deref()?, part)
        }
    }
}
