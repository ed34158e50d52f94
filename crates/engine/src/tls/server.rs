//! TLS towards clients: one configuration per `bind`, one handshake per connection.

use std::io;
use std::sync::Arc;

use config::model::BindTls;
use routing::sample::TlsFacts;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::certificates::Certificates;
use crate::stream::{Carrier, Stream, Tls};

/// What a `bind … ssl` does with a connection.
pub(crate) struct ServerTlsConfig {
    config: Arc<ServerConfig>,
}

impl ServerTlsConfig {
    /// Loads certificates and fixes versions; the error is a sentence for the `bind` line.
    pub(crate) fn load(bind: &BindTls) -> Result<Self, String> {
        let certificates = Certificates::load(&bind.crt, bind.strict_sni)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&super::versions(bind.versions))
            .map_err(|e| format!("TLS versions: {e}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        // Resumption is by ticket alone: a store shared by all connections would be one lock for
        // every handshake. One ticket is what a client that reconnects needs.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = usize::from(!bind.no_tickets);
        if !bind.no_tickets {
            config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()
                .map_err(|e| format!("no key for session tickets: {e}"))?;
        }
        // Only HTTP/1.1 is served; a client that offers nothing gets it as well.
        if bind.alpn.iter().any(|protocol| &**protocol == "http/1.1") {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Shakes hands. The caller sets the time limit.
    pub(crate) async fn accept(&self, carrier: Carrier) -> io::Result<(Stream, TlsFacts)> {
        let tls = TlsAcceptor::from(self.config.clone())
            .accept(carrier)
            .await?;
        let (_, connection) = tls.get_ref();
        let facts = super::facts(connection, connection.server_name());
        Ok((Stream::Tls(Box::new(Tls::Server(tls))), facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_given_unless_no_tls_tickets_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.pem");
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a pair");
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        std::fs::write(&path, pem).expect("a writable folder");
        for no_tickets in [false, true] {
            let bind = BindTls {
                crt: vec![path.clone()],
                no_tickets,
                ..BindTls::default()
            };
            let config = ServerTlsConfig::load(&bind)
                .expect("one certificate")
                .config;
            assert_eq!(config.send_tls13_tickets, usize::from(!no_tickets));
            assert_eq!(config.ticketer.enabled(), !no_tickets);
        }
    }
}
