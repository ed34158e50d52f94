//! What is offered in a handshake: versions, suites, groups and signatures, from `config`'s words to
//! rustls's.

use std::sync::Arc;

use config::model::{Group, Suite, TlsChoice, TlsVersions};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::sign::{Signer, SigningKey};
use rustls::{
    CipherSuite, NamedGroup, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};

/// The versions allowed, the newest first.
pub(super) fn versions(versions: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    let tls12 = versions.tls12.then_some(&rustls::version::TLS12);
    let tls13 = versions.tls13.then_some(&rustls::version::TLS13);
    tls13.into_iter().chain(tls12).collect()
}

/// Suites of TLS 1.3 where the configuration names none. AES-128 is first, as large sites have it: the
/// key schedule runs on the suite's hash, and processors have instructions for SHA-256, not for SHA-384.
/// With AES-256 first, which is OpenSSL's order, a handshake costs a quarter more.
const TLS13: [Suite; 3] = [
    Suite::Tls13Aes128GcmSha256,
    Suite::Tls13Aes256GcmSha384,
    Suite::Tls13Chacha20Poly1305Sha256,
];

/// The same of TLS 1.2.
const TLS12: [Suite; 6] = [
    Suite::EcdheEcdsaAes128GcmSha256,
    Suite::EcdheEcdsaAes256GcmSha384,
    Suite::EcdheEcdsaChacha20Poly1305,
    Suite::EcdheRsaAes128GcmSha256,
    Suite::EcdheRsaAes256GcmSha384,
    Suite::EcdheRsaChacha20Poly1305,
];

/// Suites of TLS 1.3 and of TLS 1.2, in the order they are preferred.
fn suites(choice: &TlsChoice) -> (&[Suite], &[Suite]) {
    (
        choice.ciphersuites.as_deref().unwrap_or(&TLS13),
        choice.ciphers.as_deref().unwrap_or(&TLS12),
    )
}

/// The library with these suites and groups alone, in this order.
pub(super) fn provider(choice: &TlsChoice) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let (tls13, tls12) = suites(choice);
    // Suites of a version that is off would still be told to servers, which choose a certificate by them.
    let tls13 = tls13.iter().filter(|_| choice.versions.tls13);
    let tls12 = tls12.iter().filter(|_| choice.versions.tls12);
    provider.cipher_suites = tls13.chain(tls12).copied().map(suite).collect();
    if let Some(curves) = &choice.curves {
        provider.kx_groups = curves.iter().copied().map(group).collect();
    }
    provider
}

fn suite(suite: Suite) -> SupportedCipherSuite {
    match suite {
        Suite::Tls13Aes256GcmSha384 => cipher_suite::TLS13_AES_256_GCM_SHA384,
        Suite::Tls13Aes128GcmSha256 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Suite::Tls13Chacha20Poly1305Sha256 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        Suite::EcdheEcdsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Suite::EcdheEcdsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Suite::EcdheEcdsaChacha20Poly1305 => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        Suite::EcdheRsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Suite::EcdheRsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Suite::EcdheRsaChacha20Poly1305 => {
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
    }
}

fn group(group: Group) -> &'static dyn SupportedKxGroup {
    match group {
        Group::X25519 => kx_group::X25519,
        Group::P256 => kx_group::SECP256R1,
        Group::P384 => kx_group::SECP384R1,
        Group::X25519MlKem768 => kx_group::X25519MLKEM768,
        Group::P256MlKem768 => kx_group::SECP256R1MLKEM768,
        Group::MlKem768 => kx_group::MLKEM768,
        Group::MlKem1024 => kx_group::MLKEM1024,
    }
}

/// `config`'s word for a group that was agreed on.
pub(super) fn known_group(negotiated: NamedGroup) -> Option<Group> {
    Group::ALL
        .into_iter()
        .find(|it| group(*it).name() == negotiated)
}

/// `config`'s word for a suite that was agreed on.
pub(super) fn known(negotiated: CipherSuite) -> Option<Suite> {
    let mut all = TLS13.into_iter().chain(TLS12);
    all.find(|it| suite(*it).suite() == negotiated)
}

/// Whether a suite of TLS 1.2 with this kind of key is among those the client offers, or any of TLS
/// 1.3: there the key is free.
pub(super) fn can_sign(
    choice: &TlsChoice,
    algorithm: SignatureAlgorithm,
    offered: &[CipherSuite],
) -> bool {
    let (tls13, tls12) = suites(choice);
    let versions = choice.versions;
    let common = |suites: &[Suite], of_key: bool| {
        suites.iter().map(|it| suite(*it)).any(|suite| {
            offered.contains(&suite.suite())
                && (!of_key || suite.usable_for_signature_algorithm(algorithm))
        })
    };
    (versions.tls13 && common(tls13, false)) || (versions.tls12 && common(tls12, true))
}

/// Schemes by the registry's numbers.
pub(super) fn schemes(numbers: &[u16]) -> Vec<SignatureScheme> {
    numbers.iter().copied().map(SignatureScheme::from).collect()
}

/// A key that signs only as `sigalgs` allows, in its order.
#[derive(Debug)]
struct Restricted {
    key: Arc<dyn SigningKey>,
    schemes: Vec<SignatureScheme>,
}

/// The key, restricted.
pub(super) fn restricted(key: Arc<dyn SigningKey>, sigalgs: &[u16]) -> Arc<dyn SigningKey> {
    Arc::new(Restricted {
        key,
        schemes: schemes(sigalgs),
    })
}

impl SigningKey for Restricted {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let common = self.schemes.iter().filter(|it| offered.contains(it));
        let mut signers = common.map(|scheme| self.key.choose_scheme(&[*scheme]));
        signers.find_map(|signer| signer)
    }

    fn public_key(&self) -> Option<rustls_pki_types::SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_every_suite_is_there_and_what_is_cheap_comes_first() {
        let sorted = |suites: &[Suite]| {
            let mut names: Vec<_> = suites.iter().map(|suite| suite.name()).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(&TLS13), sorted(&Suite::TLS13));
        assert_eq!(sorted(&TLS12), sorted(&Suite::TLS12));
        let provider = provider(&TlsChoice::default());
        let first = provider.cipher_suites.first().map(|suite| suite.suite());
        assert_eq!(first, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert_eq!(provider.cipher_suites.len(), TLS13.len() + TLS12.len());
    }

    #[test]
    fn what_is_offered_is_what_was_chosen_in_that_order() {
        let choice = TlsChoice {
            ciphers: Some(vec![Suite::EcdheRsaAes128GcmSha256]),
            ciphersuites: Some(vec![Suite::Tls13Chacha20Poly1305Sha256]),
            curves: Some(vec![Group::P384, Group::X25519]),
            ..TlsChoice::default()
        };
        let provider = provider(&choice);
        let suites = provider
            .cipher_suites
            .iter()
            .filter_map(|it| known(it.suite()));
        let expected = [
            "TLS_CHACHA20_POLY1305_SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
        ];
        assert_eq!(suites.map(Suite::name).collect::<Vec<_>>(), expected);
        let groups: Vec<_> = provider.kx_groups.iter().map(|it| it.name()).collect();
        let expected = [rustls::NamedGroup::secp384r1, rustls::NamedGroup::X25519];
        assert_eq!(groups, expected);
        let ecdsa = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
        let rsa = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        assert!(can_sign(&choice, SignatureAlgorithm::RSA, &[ecdsa, rsa]));
        assert!(!can_sign(&choice, SignatureAlgorithm::ECDSA, &[ecdsa, rsa]));
        let tls13 = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        assert!(can_sign(&choice, SignatureAlgorithm::ECDSA, &[tls13]));
    }
}
