//! `verify` of a `bind`, `crt-ignore-err` and `ca-ignore-err`.

use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::model::{ClientVerify, IgnoredErrors};
use crate::values::choice;

/// `verify none|optional|required`.
pub(crate) fn client(args: &mut Args<'_>) -> Result<ClientVerify, Diagnostic> {
    let word = args.required("none, optional or required")?;
    let choices = [
        ("none", ClientVerify::None),
        ("optional", ClientVerify::Optional),
        ("required", ClientVerify::Required),
    ];
    choice(word, args.keyword, &choices)
}

/// OpenSSL's names of verification errors (X509_STORE_CTX_get_error(3)) that can come up here.
const ERRORS: &[(&str, u8)] = &[
    ("X509_V_ERR_UNSPECIFIED", 1),
    ("X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT", 2),
    ("X509_V_ERR_UNABLE_TO_GET_CRL", 3),
    ("X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE", 4),
    ("X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE", 5),
    ("X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY", 6),
    ("X509_V_ERR_CERT_SIGNATURE_FAILURE", 7),
    ("X509_V_ERR_CRL_SIGNATURE_FAILURE", 8),
    ("X509_V_ERR_CERT_NOT_YET_VALID", 9),
    ("X509_V_ERR_CERT_HAS_EXPIRED", 10),
    ("X509_V_ERR_CRL_NOT_YET_VALID", 11),
    ("X509_V_ERR_CRL_HAS_EXPIRED", 12),
    ("X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD", 13),
    ("X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD", 14),
    ("X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD", 15),
    ("X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD", 16),
    ("X509_V_ERR_OUT_OF_MEM", 17),
    ("X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT", 18),
    ("X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN", 19),
    ("X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY", 20),
    ("X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE", 21),
    ("X509_V_ERR_CERT_CHAIN_TOO_LONG", 22),
    ("X509_V_ERR_CERT_REVOKED", 23),
    ("X509_V_ERR_INVALID_CA", 24),
    ("X509_V_ERR_PATH_LENGTH_EXCEEDED", 25),
    ("X509_V_ERR_INVALID_PURPOSE", 26),
    ("X509_V_ERR_CERT_UNTRUSTED", 27),
    ("X509_V_ERR_CERT_REJECTED", 28),
    ("X509_V_ERR_SUBJECT_ISSUER_MISMATCH", 29),
    ("X509_V_ERR_AKID_SKID_MISMATCH", 30),
    ("X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION", 34),
    ("X509_V_ERR_PERMITTED_VIOLATION", 47),
    ("X509_V_ERR_HOSTNAME_MISMATCH", 62),
    ("X509_V_ERR_EE_KEY_TOO_SMALL", 66),
    ("X509_V_ERR_CA_KEY_TOO_SMALL", 67),
    ("X509_V_ERR_CA_MD_TOO_WEAK", 68),
];

/// What OpenSSL calls a verification error by its number; `None`: it has no name here.
pub fn error_name(number: i64) -> Option<&'static str> {
    if number == 0 {
        return Some("X509_V_OK");
    }
    let row = ERRORS.iter().find(|(_, known)| i64::from(*known) == number);
    row.map(|(name, _)| *name)
}

/// The largest number OpenSSL 3 has.
const CODE_MAX: u8 = 94;

/// `crt-ignore-err LIST`, `ca-ignore-err LIST`.
pub(crate) fn ignored(args: &mut Args<'_>) -> Result<IgnoredErrors, Diagnostic> {
    let word = args.required("all, or a list of errors such as X509_V_ERR_CERT_HAS_EXPIRED")?;
    if word.is("all") {
        return Ok(IgnoredErrors::ALL);
    }
    let mut ignored = IgnoredErrors::default();
    for item in word.text.split(',') {
        let named = ERRORS.iter().find(|(name, _)| *name == item);
        let code = named.map(|(_, code)| *code).or_else(|| item.parse().ok());
        match code.filter(|code| (1..=CODE_MAX).contains(code)) {
            Some(code) => ignored.insert(code),
            None => {
                let message = format!("'{}' does not know the error '{item}'", args.keyword);
                return Err(Diagnostic::alert(word.span, message).label(format!(
                    "expected all, numbers from 1 to {CODE_MAX} or OpenSSL's names X509_V_ERR_…"
                )));
            }
        }
    }
    Ok(ignored)
}
