//! Certificates and revocation lists in words, as the Runtime API shows them (management.txt 9.3,
//! "show ssl cert"). Pure: DER in, lines out.

pub mod ocsp;

use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};
use x509_parser::prelude::{
    ASN1Time, CertificateRevocationList, FromDer, GeneralName, X509Certificate, X509Name,
};
use x509_parser::public_key::PublicKey;

use crate::certificate::short_name;
use crate::hex;

/// A certificate and its chain: from `Serial` to the last `Chain Issuer`.
pub fn certificate(chain: &[Vec<u8>]) -> String {
    let mut out = String::new();
    if let Some(first) = chain.first() {
        one(first, &mut out);
    }
    out + &self::chain(chain.get(1..).unwrap_or_default())
}

/// The certificates above one.
pub fn chain(chain: &[Vec<u8>]) -> String {
    let mut out = String::new();
    for der in chain {
        if let Ok((_, it)) = X509Certificate::from_der(der) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "Chain Subject: {}", slashed(it.subject()));
            let _ = writeln!(out, "Chain Issuer: {}", slashed(it.issuer()));
        }
    }
    out
}

/// When a certificate begins and ends.
pub fn validity(der: &[u8]) -> Option<(String, String)> {
    let (_, it) = X509Certificate::from_der(der).ok()?;
    let validity = it.validity();
    Some((time(validity.not_before), time(validity.not_after)))
}

fn one(der: &[u8], out: &mut String) {
    let Ok((_, it)) = X509Certificate::from_der(der) else {
        return;
    };
    let serial = it.raw_serial();
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    let serial = hex::upper(&serial[zeros.min(serial.len().saturating_sub(1))..]);
    let names = it.subject_alternative_name().ok().flatten();
    let names: Vec<String> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
            GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
            GeneralName::URI(uri) => Some(format!("URI:{uri}")),
            _ => None,
        })
        .collect();
    let algorithm = match it.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA{}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC{}", point.key_size()),
        _ => "unknown".to_owned(),
    };
    let _ = write!(
        out,
        "Serial: {serial}\nnotBefore: {}\nnotAfter: {}\nSubject Alternative Name: {}\n\
         Algorithm: {algorithm}\nSHA1 FingerPrint: {}\nSubject: {}\nIssuer: {}\n",
        time(it.validity().not_before),
        time(it.validity().not_after),
        names.join(", "),
        hex::upper(&Sha1::digest(der)),
        slashed(it.subject()),
        slashed(it.issuer()),
    );
}

/// A revocation list.
pub fn revocations(der: &[u8]) -> String {
    let mut out = String::new();
    let Ok((_, it)) = CertificateRevocationList::from_der(der) else {
        return out;
    };
    let version = it.version().map_or(1, |version| version.0 + 1);
    let _ = write!(
        out,
        "Version {version}\nSignature Algorithm: {}\nIssuer: {}\nLast Update: {}\n",
        crate::certificate::signature_name(&it.signature_algorithm.algorithm.to_id_string()),
        slashed(it.issuer()),
        time(it.last_update()),
    );
    if let Some(next) = it.next_update() {
        let _ = writeln!(out, "Next Update: {}", time(next));
    }
    let mut revoked = it.iter_revoked_certificates().peekable();
    if revoked.peek().is_none() {
        out.push_str("No Revoked Certificates.\n");
        return out;
    }
    out.push_str("Revoked Certificates:\n");
    for one in revoked {
        let serial = one.raw_serial();
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let _ = write!(
            out,
            "    Serial Number: {}\n        Revocation Date: {}\n",
            hex::upper(&serial[zeros.min(serial.len().saturating_sub(1))..]),
            time(one.revocation_date),
        );
    }
    out
}

/// `Sep 20 16:26:00 2023 GMT`, as OpenSSL writes it.
fn time(time: ASN1Time) -> String {
    let at = jiff::Timestamp::from_second(time.timestamp()).unwrap_or_default();
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    at.strftime("%b %e %H:%M:%S %Y GMT").to_string()
}

/// `/C=FR/O=Example/CN=name`; what would end the line is replaced.
fn slashed(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for attribute in name.iter_attributes() {
        let value = String::from_utf8_lossy(attribute.as_slice());
        let value = value.replace(char::is_control, "?");
        let _ = write!(
            out,
            "/{}={value}",
            short_name(attribute.attr_type().to_id_string())
        );
    }
    out
}
