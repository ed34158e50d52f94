//! TLS towards the discovery service: the system's roots, nothing to configure.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// A connector that trusts what the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` count too).
/// To be made before `chroot`. Fails when there is not one usable root.
pub(crate) fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found.errors.first().map(ToString::to_string);
        return Err(why.unwrap_or_else(|| "no trusted root certificate was found".to_owned()));
    }
    trusting(roots)
}

/// A connector that trusts these roots.
pub(crate) fn trusting(roots: RootCertStore) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = versions.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
