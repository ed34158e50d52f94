//! TLS towards nodes: `server … ssl verify ca-file sni`, and for their checks.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use config::model::ServerTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::stream::{Carrier, Stream, Tls};

/// How to speak TLS to one server.
#[derive(Clone)]
pub(crate) struct ClientTls {
    config: Arc<ClientConfig>,
}

/// Trusted roots, read once per file: a server added later, after a `chroot` say, finds them here.
#[derive(Default)]
pub(crate) struct RootCache(Mutex<HashMap<Option<PathBuf>, Arc<RootCertStore>>>);

impl RootCache {
    /// The roots of `ca-file`; the error is a sentence.
    pub(crate) fn roots(&self, ca_file: Option<&Path>) -> Result<Arc<RootCertStore>, String> {
        let file = ca_file.filter(|file| file.as_os_str() != "@system-ca");
        let mut known = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(roots) = known.get(&file.map(Path::to_owned)) {
            return Ok(roots.clone());
        }
        let roots = Arc::new(load_roots(file)?);
        known.insert(file.map(Path::to_owned), roots.clone());
        Ok(roots)
    }
}

impl ClientTls {
    /// Makes ready what `server … ssl` says; the error is a sentence for the `server` line.
    pub(crate) fn load(server: &ServerTls, cache: &RootCache) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = server
            .verify
            .then(|| cache.roots(server.ca_file.as_deref()))
            .transpose()?;
        let verifyhost = server.verifyhost.as_deref().map(host_name).transpose()?;
        let verifier = Verifier {
            provider: provider.clone(),
            roots,
            verifyhost,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&super::versions(server.versions))
            .map_err(|e| format!("TLS versions: {e}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = server.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Shakes hands, naming `sni` where there is one. The caller sets the time limit.
    pub(crate) async fn connect(
        &self,
        carrier: Carrier,
        sni: Option<&str>,
        address: std::net::IpAddr,
    ) -> io::Result<Stream> {
        // An address is never sent as a name: that is how rustls is told to send none.
        let name = match sni {
            Some(name) => {
                host_name(name).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?
            }
            None => ServerName::IpAddress(address.into()),
        };
        let tls = TlsConnector::from(self.config.clone())
            .connect(name, carrier)
            .await?;
        Ok(Stream::Tls(Box::new(Tls::Client(tls))))
    }
}

fn host_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("'{name}' is no host name"))
}

/// The certificates of a CA file; the system's without one (manual 5.2, "ca-file").
fn load_roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
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
        None => {
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

/// What a node's certificate must be (manual 5.2): with `verify required` signed by a trusted root
/// and, if a name is known, made out to it: the name sent, else `verifyhost`. With `verify none`
/// any certificate will do, but the handshake itself must be genuine.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None`: `verify none`.
    roots: Option<Arc<RootCertStore>>,
    verifyhost: Option<ServerName<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let parsed = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
            match (name, &self.verifyhost) {
                (ServerName::DnsName(_), _) => verify_server_name(&parsed, name)?,
                (_, Some(expected)) => verify_server_name(&parsed, expected)?,
                (_, None) => {}
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
