//! `curves`, `ecdhe`, `sigalgs` and `client-sigalgs`: OpenSSL's names for what is agreed on in a
//! handshake, over what there is here.

use super::ciphers::{none_left, tell_missing};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::keywords::Scope;
use crate::model::Group;

/// Names of groups; `None` is not offered here.
const GROUPS: &[(&str, Option<Group>)] = &[
    ("X25519", Some(Group::X25519)),
    ("P-256", Some(Group::P256)),
    ("prime256v1", Some(Group::P256)),
    ("secp256r1", Some(Group::P256)),
    ("P-384", Some(Group::P384)),
    ("secp384r1", Some(Group::P384)),
    ("X25519MLKEM768", Some(Group::X25519MlKem768)),
    ("SecP256r1MLKEM768", Some(Group::P256MlKem768)),
    ("MLKEM768", Some(Group::MlKem768)),
    ("MLKEM1024", Some(Group::MlKem1024)),
    ("MLKEM512", None),
    ("SecP384r1MLKEM1024", None),
    ("P-521", None),
    ("secp521r1", None),
    ("X448", None),
    ("P-192", None),
    ("prime192v1", None),
    ("P-224", None),
    ("secp224r1", None),
    ("secp256k1", None),
    ("brainpoolP256r1", None),
    ("brainpoolP384r1", None),
    ("brainpoolP512r1", None),
    ("ffdhe2048", None),
    ("ffdhe3072", None),
    ("ffdhe4096", None),
    ("ffdhe6144", None),
    ("ffdhe8192", None),
];

/// `curves LIST`, or the one name of `ecdhe`.
pub(crate) fn curves(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Vec<Group>, Diagnostic> {
    let word = args.required("a list of curves such as X25519:P-256")?;
    let mut groups = Vec::new();
    let mut missing = Vec::new();
    // OpenSSL 3.5 marks groups: '?' may be unknown, '*' gets a key share, '/' parts tuples.
    let names = word.text.split([':', '/']);
    for item in names.filter(|item| !item.is_empty()) {
        let name = item.trim_start_matches(['?', '*']);
        let known = GROUPS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match known {
            Some((_, Some(group))) if groups.contains(group) => {}
            Some((_, Some(group))) => groups.push(*group),
            Some((_, None)) => missing.push(name.to_owned()),
            None if item.contains('?') => missing.push(name.to_owned()),
            None => {
                let message = format!("'{}' : unknown curve '{name}'", args.keyword);
                return Err(Diagnostic::alert(word.span, message)
                    .help("here there are X25519, P-256, P-384 and X25519MLKEM768"));
            }
        }
    }
    tell_missing(&missing, "groups", word, args.keyword, scope);
    match groups.is_empty() {
        true => Err(none_left(word, args.keyword)),
        false => Ok(groups),
    }
}

/// Signature schemes by OpenSSL's names and the registry's numbers; 0 is not offered here.
const SCHEMES: &[(&str, u16)] = &[
    ("ecdsa_secp256r1_sha256", 0x0403),
    ("ECDSA+SHA256", 0x0403),
    ("ecdsa_secp384r1_sha384", 0x0503),
    ("ECDSA+SHA384", 0x0503),
    ("ecdsa_secp521r1_sha512", 0x0603),
    ("ECDSA+SHA512", 0x0603),
    ("ed25519", 0x0807),
    ("rsa_pss_rsae_sha256", 0x0804),
    ("RSA-PSS+SHA256", 0x0804),
    ("PSS+SHA256", 0x0804),
    ("rsa_pss_rsae_sha384", 0x0805),
    ("RSA-PSS+SHA384", 0x0805),
    ("PSS+SHA384", 0x0805),
    ("rsa_pss_rsae_sha512", 0x0806),
    ("RSA-PSS+SHA512", 0x0806),
    ("PSS+SHA512", 0x0806),
    ("rsa_pkcs1_sha256", 0x0401),
    ("RSA+SHA256", 0x0401),
    ("rsa_pkcs1_sha384", 0x0501),
    ("RSA+SHA384", 0x0501),
    ("rsa_pkcs1_sha512", 0x0601),
    ("RSA+SHA512", 0x0601),
    ("ed448", 0),
    ("rsa_pss_pss_sha256", 0),
    ("rsa_pss_pss_sha384", 0),
    ("rsa_pss_pss_sha512", 0),
    ("rsa_pkcs1_sha1", 0),
    ("RSA+SHA1", 0),
    ("RSA+SHA224", 0),
    ("ecdsa_sha1", 0),
    ("ECDSA+SHA1", 0),
    ("ECDSA+SHA224", 0),
    ("DSA+SHA1", 0),
    ("DSA+SHA224", 0),
    ("DSA+SHA256", 0),
    ("DSA+SHA384", 0),
    ("DSA+SHA512", 0),
];

/// `sigalgs LIST`, `client-sigalgs LIST`.
pub(crate) fn sigalgs(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Vec<u16>, Diagnostic> {
    let word = args.required("a list of signature algorithms such as ECDSA+SHA256")?;
    let mut schemes = Vec::new();
    let mut missing = Vec::new();
    for item in word.text.split(':').filter(|item| !item.is_empty()) {
        let name = item.trim_start_matches('?');
        let known = SCHEMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match known {
            Some((_, 0)) => missing.push(name.to_owned()),
            Some((_, scheme)) if schemes.contains(scheme) => {}
            Some((_, scheme)) => schemes.push(*scheme),
            None if item.starts_with('?') => missing.push(name.to_owned()),
            None => {
                let message = format!("'{}' : unknown signature algorithm '{name}'", args.keyword);
                return Err(Diagnostic::alert(word.span, message)
                    .label("expected names such as ECDSA+SHA256 or rsa_pss_rsae_sha256"));
            }
        }
    }
    tell_missing(&missing, "signature algorithms", word, args.keyword, scope);
    match schemes.is_empty() {
        true => Err(none_left(word, args.keyword)),
        false => Ok(schemes),
    }
}
