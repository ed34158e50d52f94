//! TLS towards nodes: `server … ssl verify ca-file sni`, and for their checks.

use std::io;
use std::path::Path;
use std::sync::Arc;

use config::model::ServerTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::stream::{Carrier, Stream, Tls};

/// How to speak TLS to one server.
#[derive(Clone)]
pub(crate) struct ClientTls {
    config: Arc<ClientConfig>,
    verifyhost: Option<Arc<str>>,
}

impl ClientTls {
    /// Loads the roots; the error is a sentence for the `server` line.
    pub(crate) fn load(server: &ServerTls) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS versions: {e}"))?;
        let mut config = if server.verify {
            let roots = roots(server.ca_file.as_deref())?;
            builder.with_root_certificates(roots).with_no_client_auth()
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(VerifyNone(provider)))
                .with_no_client_auth()
        };
        config.alpn_protocols = server.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config.enable_sni = true;
        Ok(Self {
            config: Arc::new(config),
            verifyhost: server.verifyhost.clone(),
        })
    }

    /// Shakes hands, naming `sni` where there is one. The caller sets the time limit.
    ///
    /// rustls checks the certificate against the name it sends. Where `verifyhost` differs from
    /// the name sent it wins for both, since a node that is asked for one name and checked against
    /// another cannot be expressed; without any name the address itself must be certified.
    pub(crate) async fn connect(
        &self,
        carrier: Carrier,
        sni: Option<&str>,
        address: std::net::IpAddr,
    ) -> io::Result<Stream> {
        let name = self.verifyhost.as_deref().or(sni);
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{name:?} is no host name"),
                )
            })?,
            None => ServerName::IpAddress(address.into()),
        };
        let tls = TlsConnector::from(self.config.clone())
            .connect(name, carrier)
            .await?;
        Ok(Stream::Tls(Box::new(Tls::Client(tls))))
    }
}

/// The roots of `ca-file`; the system's without one or for `@system-ca` (manual 5.2, "ca-file").
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) if file.as_os_str() != "@system-ca" => {
            let shown = file.display();
            let wrong = |e| format!("cannot read the CA file '{shown}': {e}");
            for certificate in CertificateDer::pem_file_iter(file).map_err(wrong)? {
                let certificate = certificate.map_err(wrong)?;
                roots
                    .add(certificate)
                    .map_err(|e| format!("CA file '{shown}': {e}"))?;
            }
            if roots.is_empty() {
                return Err(format!("the CA file '{shown}' has no certificate in it"));
            }
        }
        _ => {
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
            if roots.is_empty() {
                return Err("the system has no trusted certificates (Debian: install \
                            ca-certificates), so `verify required` cannot succeed: give `ca-file`"
                    .into());
            }
        }
    }
    Ok(roots)
}

/// `verify none`: any certificate will do, but the handshake itself must be genuine.
#[derive(Debug)]
struct VerifyNone(Arc<CryptoProvider>);

impl ServerCertVerifier for VerifyNone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
