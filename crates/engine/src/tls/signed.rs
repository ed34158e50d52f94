//! Signatures that rustls does not look at by itself: of certificates and revocation lists of version 1
//! (RFC 5280 section 4.1.2.1 and 5.1.2.1), which OpenSSL makes where nobody asks for extensions
//! (`openssl x509 -req`, `openssl ca -gencrl`), and handshakes with such certificates.
//!
//! A certificate of version 1 says nothing of what it is for, so it is never an authority here: it is
//! good only directly below a certificate of the `ca-file`.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, ProtocolVersion, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::prelude::X509Certificate;

/// sha1WithRSAEncryption, as an AlgorithmIdentifier without its head (RFC 3279 section 2.2.1).
const SHA1_WITH_RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00,
];

/// Something signed: a certificate or a revocation list (RFC 5280 section 4.1 and 5.1).
struct Signed<'a> {
    message: &'a [u8],
    /// An AlgorithmIdentifier without its head.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let (_, whole) = Any::from_der(der).ok()?;
        let (rest, _) = Any::from_der(whole.data).ok()?;
        let message = &whole.data[..whole.data.len() - rest.len()];
        let (rest, algorithm) = Any::from_der(rest).ok()?;
        let (_, bits) = Any::from_der(rest).ok()?;
        Some(Self {
            message,
            algorithm: algorithm.data,
            signature: whole_bytes(bits.data)?,
        })
    }
}

/// A public key.
struct Key<'a> {
    /// An AlgorithmIdentifier without its head.
    algorithm: &'a [u8],
    bits: &'a [u8],
}

impl<'a> Key<'a> {
    /// What is within a SubjectPublicKeyInfo.
    fn read(content: &'a [u8]) -> Option<Self> {
        let (rest, algorithm) = Any::from_der(content).ok()?;
        let (_, bits) = Any::from_der(rest).ok()?;
        Some(Self {
            algorithm: algorithm.data,
            bits: whole_bytes(bits.data)?,
        })
    }

    fn of_certificate(certificate: &X509Certificate<'a>) -> Option<Self> {
        let (_, info) = Any::from_der(certificate.tbs_certificate.subject_pki.raw).ok()?;
        Self::read(info.data)
    }

    fn has_signed(&self, it: &Signed<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        algorithms.all.iter().any(|known| {
            known.signature_alg_id().as_ref() == it.algorithm
                && known.public_key_alg_id().as_ref() == self.algorithm
                && known
                    .verify_signature(self.bits, it.message, it.signature)
                    .is_ok()
        })
    }
}

/// The bytes of a BIT STRING that has no odd bits.
fn whole_bytes(bits: &[u8]) -> Option<&[u8]> {
    bits.split_first()
        .filter(|(unused, _)| **unused == 0)
        .map(|(_, bytes)| bytes)
}

/// What is within a name or another SEQUENCE, as trust anchors are kept.
fn content(der: &[u8]) -> Option<&[u8]> {
    Any::from_der(der).ok().map(|(_, any)| any.data)
}

/// The anchors of that name; `name` is in DER.
fn named<'a>(
    roots: &'a RootCertStore,
    name: &[u8],
) -> impl Iterator<Item = &'a TrustAnchor<'static>> {
    let name = content(name).map(<[u8]>::to_vec);
    let same = move |anchor: &&TrustAnchor<'_>| Some(anchor.subject.as_ref()) == name.as_deref();
    roots.roots.iter().filter(same)
}

/// Whether there is an anchor of that name, in DER.
pub(super) fn has_anchor(roots: &RootCertStore, name: &[u8]) -> bool {
    named(roots, name).next().is_some()
}

/// Whether a certificate is one of the anchors: of their name, and with their key.
pub(super) fn is_anchor(roots: &RootCertStore, subject: &[u8], key_info: &[u8]) -> bool {
    let key = content(key_info);
    named(roots, subject).any(|anchor| Some(anchor.subject_public_key_info.as_ref()) == key)
}

/// Whether a certificate is of version 1: the first thing in it is its number.
pub(super) fn is_version_one(certificate: &CertificateDer<'_>) -> bool {
    const EXPLICIT_VERSION: u8 = 0xa0;
    let body = content(certificate).and_then(content);
    body.is_some_and(|body| body.first().is_some_and(|byte| *byte != EXPLICIT_VERSION))
}

/// Whether an anchor has signed a certificate of version 1 that is in force.
pub(super) fn verify_version_one(
    leaf: &CertificateDer<'_>,
    roots: &RootCertStore,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<(), CertificateError> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let signed = Signed::read(leaf).ok_or(CertificateError::BadEncoding)?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let validity = &parsed.tbs_certificate.validity;
    if now.as_secs() < seconds(validity.not_before.timestamp()) {
        return Err(CertificateError::NotValidYet);
    }
    if now.as_secs() > seconds(validity.not_after.timestamp()) {
        return Err(CertificateError::Expired);
    }
    let mut problem = CertificateError::UnknownIssuer;
    for anchor in named(roots, parsed.tbs_certificate.issuer.as_raw()) {
        let key = Key::read(&anchor.subject_public_key_info);
        // What names it may sign for is not looked at here.
        let may = anchor.name_constraints.is_none();
        if may && key.is_some_and(|key| key.has_signed(&signed, algorithms)) {
            return Ok(());
        }
        problem = CertificateError::BadSignature;
    }
    Err(problem)
}

/// Whether an anchor of its issuer's name has signed a revocation list.
///
/// SHA-1 will do here, as `openssl ca` took it for years: to pass off another list one would have to
/// find a second text for the hash of this one, which nobody can.
pub(super) fn is_list_signed(
    der: &[u8],
    issuer: &[u8],
    roots: &RootCertStore,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let Some(signed) = Signed::read(der) else {
        return false;
    };
    let by = |key: Key<'_>| match signed.algorithm == SHA1_WITH_RSA {
        true => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key.bits)
            .verify(signed.message, signed.signature)
            .is_ok(),
        false => key.has_signed(&signed, algorithms),
    };
    named(roots, issuer).any(|it| Key::read(&it.subject_public_key_info).is_some_and(by))
}

/// Whether the peer has the key of its certificate, of whatever version that is.
pub(super) fn verify_handshake(
    version: ProtocolVersion,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let is_tls13 = version == ProtocolVersion::TLSv1_3;
    if !is_version_one(certificate) {
        return match is_tls13 {
            true => verify_tls13_signature(message, certificate, signature, algorithms),
            false => verify_tls12_signature(message, certificate, signature, algorithms),
        };
    }
    let unread = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| unread())?;
    if is_tls13 {
        let key = SubjectPublicKeyInfoDer::from(parsed.tbs_certificate.subject_pki.raw);
        return verify_tls13_signature_with_raw_key(message, &key, signature, algorithms);
    }
    let key = Key::of_certificate(&parsed).ok_or_else(unread)?;
    let offered = |(scheme, _): &&(SignatureScheme, _)| *scheme == signature.scheme;
    let Some((_, possible)) = algorithms.mapping.iter().find(offered) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let good = possible.iter().any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key.algorithm
            && algorithm
                .verify_signature(key.bits, message, signature.signature())
                .is_ok()
    });
    match good {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
    }
}

#[cfg(test)]
mod tests;
