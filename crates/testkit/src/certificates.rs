//! A certificate authority made on the spot, and the TLS settings that trust it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// An authority: signs server certificates, and knows how to trust them.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, with a fresh key.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "testkit authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Its own certificate, PEM: for `ca-file`.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key for `names` (host names or addresses) in one PEM text, as `crt` wants it.
    pub fn server_pem(&self, names: &[&str]) -> String {
        self.pem_of(&Leaf::server(names))
    }

    /// The same for anything.
    pub fn pem_of(&self, leaf: &Leaf) -> String {
        let key = match leaf.rsa {
            true => KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(),
            false => KeyPair::generate().unwrap(),
        };
        let mut params = CertificateParams::new(leaf.names.clone()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, leaf.common_name.as_str());
        params.serial_number = leaf.serial.map(SerialNumber::from);
        if leaf.client {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        if leaf.expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        format!("{}{}", certificate.pem(), key.serialize_pem())
    }

    /// A list that takes back the certificates with these serial numbers, PEM: for `crl-file`.
    pub fn revocation_list(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// Writes [`Self::server_pem`] to a file and returns its path.
    pub fn write_server_pem(&self, folder: &Path, file: &str, names: &[&str]) -> PathBuf {
        let path = folder.join(file);
        std::fs::write(&path, self.server_pem(names)).unwrap();
        path
    }

    /// Settings of a client that trusts this authority alone.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.client_config_for(rustls::DEFAULT_VERSIONS)
    }

    /// The same with these versions of TLS alone.
    pub fn client_config_for(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let config = ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// Settings of a client that trusts this authority alone and shows that certificate.
    pub fn client_config_showing(&self, pem: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let (certificate, key) = pair(pem);
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        Arc::new(config)
    }

    /// Settings of a server with a certificate for `names` that asks clients for one of this
    /// authority.
    pub fn demanding_server_config(&self, names: &[&str]) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        let (certificate, key) = pair(&self.server_pem(names));
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Arc::new(config)
    }

    /// Settings of a server with that certificate.
    pub fn server_config_showing(&self, pem: &str) -> Arc<ServerConfig> {
        let (certificate, key) = pair(pem);
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Arc::new(config)
    }

    /// Settings of a server with a certificate for `names`.
    pub fn server_config(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_config_showing(&self.server_pem(names))
    }
}

fn pair(pem: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    (certificate, key)
}

/// A certificate to be signed.
#[derive(Debug, Clone, Default)]
pub struct Leaf {
    /// Host names and addresses.
    pub names: Vec<String>,
    /// Common name.
    pub common_name: String,
    /// Serial number; drawn unless given.
    pub serial: Option<u64>,
    /// Whether it is for clients.
    pub client: bool,
    /// Whether its time is over.
    pub expired: bool,
    /// Whether its key is RSA; ECDSA otherwise.
    pub rsa: bool,
}

impl Leaf {
    /// For a server of these names.
    pub fn server(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(ToString::to_string).collect(),
            common_name: names[0].to_owned(),
            ..Self::default()
        }
    }

    /// For a client of that common name.
    pub fn client(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            client: true,
            ..Self::default()
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
