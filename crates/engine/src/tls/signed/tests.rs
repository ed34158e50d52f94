use std::sync::Arc;
use std::time::Duration;

use config::model::TlsChoice;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::tls::ciphers;
use crate::tls::revocation::Lists;

// Made by OpenSSL 3 without extensions: an authority, a certificate of version 1 with the serial number
// 7, good from 2020 to 2088, and lists of version 1 without it and with it.
const CA: &[u8] = include_bytes!("ca.pem");
const LEAF: &[u8] = include_bytes!("leaf.pem");
const EMPTY: &[u8] = include_bytes!("empty.crl");
const REVOKED: &[u8] = include_bytes!("revoked.crl");

fn year(year: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600))
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    ciphers::provider(&TlsChoice::default()).signature_verification_algorithms
}

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).expect("a certificate")
}

fn roots(pem: &[CertificateDer<'static>]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(pem.iter().cloned());
    Arc::new(roots)
}

fn other_authority() -> CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::OrganizationName, "tidegate");
    name.push(rcgen::DnType::CommonName, "old authority");
    params.distinguished_name = name;
    let key = rcgen::KeyPair::generate().expect("a key");
    params
        .self_signed(&key)
        .expect("a certificate")
        .der()
        .clone()
}

#[test]
fn a_certificate_of_version_1_is_good_directly_below_a_trusted_one_and_in_its_time() {
    let (leaf, authority) = (certificate(LEAF), certificate(CA));
    assert!(is_version_one(&leaf));
    assert!(!is_version_one(&authority));
    let check = |roots: &RootCertStore, at, expected: Result<(), CertificateError>| {
        let verified = verify_version_one(&leaf, roots, &algorithms(), at);
        assert_eq!(verified, expected);
    };
    let ours = roots(&[authority]);
    check(&ours, year(2026), Ok(()));
    check(&ours, year(2019), Err(CertificateError::NotValidYet));
    check(&ours, year(2090), Err(CertificateError::Expired));
    let nobody = RootCertStore::empty();
    check(&nobody, year(2026), Err(CertificateError::UnknownIssuer));
    // Of the same name, with another key.
    let impostor = roots(&[other_authority()]);
    check(&impostor, year(2026), Err(CertificateError::BadSignature));
}

#[test]
fn lists_of_version_1_speak_only_where_their_issuer_is_trusted() {
    let leaf = certificate(LEAF);
    let lists = |pem: &[u8], authority: CertificateDer<'static>| {
        let list = CertificateRevocationListDer::from_pem_slice(pem).expect("a list");
        Lists::new(&[list], roots(&[authority]), &algorithms())
    };
    let ours = || certificate(CA);
    let check = |pem: &[u8], at, expected: Option<CertificateError>| {
        let lists = lists(pem, ours()).expect("signed by ours");
        assert!(lists.has_old());
        let said = lists.verify(&leaf, &[], at).err();
        assert_eq!(said, expected.map(Error::InvalidCertificate));
    };
    check(EMPTY, year(2027), None);
    check(REVOKED, year(2027), Some(CertificateError::Revoked));
    check(
        EMPTY,
        year(2095),
        Some(CertificateError::ExpiredRevocationList),
    );
    let refused = lists(EMPTY, other_authority()).expect_err("not signed by that one");
    assert!(refused.contains("is of version 1"), "{refused}");
}

/// Both ends of a handshake in memory, with the old certificate on either side.
#[test]
fn handshakes_with_a_certificate_of_version_1_are_verified() {
    #[derive(Debug)]
    struct Any(WebPkiSupportedAlgorithms);
    impl rustls::client::danger::ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &rustls_pki_types::ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let version = ProtocolVersion::TLSv1_2;
            let checked = verify_handshake(version, message, certificate, signature, &self.0);
            // One bit of difference is no signature.
            let mut other = message.to_vec();
            other[0] ^= 1;
            verify_handshake(version, &other, certificate, signature, &self.0)
                .expect_err("of another message");
            checked
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let version = ProtocolVersion::TLSv1_3;
            let checked = verify_handshake(version, message, certificate, signature, &self.0);
            let mut other = message.to_vec();
            other[0] ^= 1;
            verify_handshake(version, &other, certificate, signature, &self.0)
                .expect_err("of another message");
            checked
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_schemes()
        }
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(ciphers::provider(&TlsChoice::default()));
        let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(LEAF).expect("a key");
        let key = provider.key_provider.load_private_key(key).expect("a key");
        let chain = vec![certificate(LEAF)];
        let shown = rustls::sign::CertifiedKey::new(chain, key);
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
        let verifier = Any(algorithms());
        assert!(!verifier.supported_verify_schemes().is_empty());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let name = rustls_pki_types::ServerName::try_from("a.example").expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).expect("a client");
        let mut server = rustls::ServerConnection::new(Arc::new(server)).expect("a server");
        let mut bytes = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            bytes.clear();
            client.write_tls(&mut bytes).expect("memory");
            server.read_tls(&mut bytes.as_slice()).expect("memory");
            server.process_new_packets().expect("well said");
            bytes.clear();
            server.write_tls(&mut bytes).expect("memory");
            client.read_tls(&mut bytes.as_slice()).expect("memory");
            client
                .process_new_packets()
                .expect("the signature is genuine");
        }
    }
}
