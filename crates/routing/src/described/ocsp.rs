//! OCSP responses in words, as `openssl ocsp -text` writes them (management.txt 9.3, "show ssl
//! ocsp-response"; RFC 6960 section 4.2.1). Pure: DER in, lines out.

use std::fmt::Write as _;

use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer, X509Name};

use super::{hex, short_name};

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;
const EXPLICIT_1: u8 = 0xa1;
const EXPLICIT_2: u8 = 0xa2;

/// What a response calls a certificate (a CertID).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateId {
    /// `sha1`, or the number of another algorithm.
    pub algorithm: String,
    /// Of the issuer's name, in hexadecimal digits.
    pub name_hash: String,
    /// Of its key.
    pub key_hash: String,
    /// The certificate's serial number.
    pub serial: String,
}

/// Takes a CertID in DER apart.
pub fn certificate_id(der: &[u8]) -> Option<CertificateId> {
    let mut outer = der;
    let mut id = next(&mut outer, SEQUENCE)?;
    let mut algorithm = next(&mut id, SEQUENCE)?;
    let oid = Any::from_der(algorithm).ok().and_then(|(rest, oid)| {
        algorithm = rest;
        Some(oid.as_oid().ok()?.to_id_string())
    })?;
    let name_hash = hex::upper(next(&mut id, OCTETS)?);
    let key_hash = hex::upper(next(&mut id, OCTETS)?);
    let serial = next(&mut id, INTEGER)?;
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    Some(CertificateId {
        algorithm: match oid.as_str() {
            "1.3.14.3.2.26" => "sha1".to_owned(),
            "2.16.840.1.101.3.4.2.1" => "sha256".to_owned(),
            _ => oid,
        },
        name_hash,
        key_hash,
        serial: hex::upper(&serial[zeros.min(serial.len().saturating_sub(1))..]),
    })
}

/// A response, line by line; `None` where it is none.
pub fn response(der: &[u8]) -> Option<String> {
    let mut outer = der;
    let mut whole = next(&mut outer, SEQUENCE)?;
    let status = next(&mut whole, 0x0a)?;
    let mut out = String::from("OCSP Response Data:\n");
    let word = match status {
        [0] => "successful (0x0)",
        [1] => "malformedrequest (0x1)",
        [2] => "internalerror (0x2)",
        [3] => "trylater (0x3)",
        [5] => "sigrequired (0x5)",
        [6] => "unauthorized (0x6)",
        _ => "unknown",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "    OCSP Response Status: {word}");
    if status != [0] {
        return Some(out);
    }
    out.push_str("    Response Type: Basic OCSP Response\n");
    let mut bytes = next(&mut whole, EXPLICIT_0)?;
    let mut bytes = next(&mut bytes, SEQUENCE)?;
    next(&mut bytes, 0x06)?;
    let mut basic = next(&mut bytes, OCTETS)?;
    let mut basic = next(&mut basic, SEQUENCE)?;
    let mut data = next(&mut basic, SEQUENCE)?;
    let version = next(&mut data, EXPLICIT_0).map_or(0, |it| it.last().copied().unwrap_or(0));
    let _ = writeln!(out, "    Version: {} (0x{version:x})", version + 1);
    let _ = writeln!(out, "    Responder Id: {}", responder(&mut data)?);
    let _ = writeln!(out, "    Produced At: {}", time(next(&mut data, 0x18)?)?);
    out.push_str("    Responses:\n");
    let mut answers = next(&mut data, SEQUENCE)?;
    while !answers.is_empty() {
        one(next(&mut answers, SEQUENCE)?, &mut out)?;
    }
    Some(out)
}

fn one(mut answer: &[u8], out: &mut String) -> Option<()> {
    let about = answer;
    let rest = Any::from_der(answer).ok()?.0;
    let id = certificate_id(&about[..about.len() - rest.len()])?;
    answer = rest;
    let _ = write!(
        out,
        "    Certificate ID:\n      Hash Algorithm: {}\n      Issuer Name Hash: {}\n      \
         Issuer Key Hash: {}\n      Serial Number: {}\n",
        id.algorithm, id.name_hash, id.key_hash, id.serial
    );
    let (status, mut details) = any(&mut answer)?;
    match status {
        0x80 => out.push_str("    Cert Status: good\n"),
        EXPLICIT_1 => {
            out.push_str("    Cert Status: revoked\n");
            let at = next(&mut details, 0x18).and_then(time);
            if let Some(at) = at {
                let _ = writeln!(out, "    Revocation Time: {at}");
            }
        }
        _ => out.push_str("    Cert Status: unknown\n"),
    }
    let _ = writeln!(out, "    This Update: {}", time(next(&mut answer, 0x18)?)?);
    if let Some(mut until) = next(&mut answer, EXPLICIT_0) {
        let _ = writeln!(out, "    Next Update: {}", time(next(&mut until, 0x18)?)?);
    }
    out.push('\n');
    Some(())
}

/// By name, or by the hash of its key.
fn responder(data: &mut &[u8]) -> Option<String> {
    match any(data)? {
        (EXPLICIT_1, name) => {
            let (_, name) = X509Name::from_der(name).ok()?;
            let parts = name.iter_attributes().map(|attribute| {
                let value = String::from_utf8_lossy(attribute.as_slice());
                let value = value.replace(char::is_control, "?");
                let kind = short_name(attribute.attr_type().to_id_string());
                format!("{kind} = {value}")
            });
            Some(parts.collect::<Vec<_>>().join(", "))
        }
        (EXPLICIT_2, mut key) => Some(hex::upper(next(&mut key, OCTETS)?)),
        _ => None,
    }
}

/// `20210610085504Z` as `Jun 10 08:55:04 2021 GMT`.
fn time(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    Some(at.strftime("%b %e %H:%M:%S %Y GMT").to_string())
}

/// The next value and its tag.
fn any<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let tag = *rest.first()?;
    let (behind, value) = Any::from_der(rest).ok()?;
    *rest = behind;
    Some((tag, value.data))
}

/// The next value, if it has this tag.
fn next<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    match rest.first() {
        Some(first) if *first == tag => any(rest).map(|(_, value)| value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(digits: &str) -> Vec<u8> {
        let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("digits")
        };
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn responses_read_as_openssl_writes_them() {
        for (der, expected) in [
            (include_str!("../../../engine/tests/ocsp/good.txt"), "good"),
            (
                include_str!("../../../engine/tests/ocsp/revoked.txt"),
                "revoked",
            ),
        ] {
            let der = bytes(der);
            let text = response(&der).expect("a response");
            assert!(text.contains("OCSP Response Status: successful (0x0)\n"));
            assert!(
                text.contains(&format!("    Cert Status: {expected}\n")),
                "{text}"
            );
            assert!(text.contains("      Hash Algorithm: sha1\n"), "{text}");
            // Cut anywhere, it is none.
            for length in 0..der.len() {
                assert_eq!(response(&der[..length]), None, "{length}");
            }
        }
        let refused = response(&[0x30, 3, 0x0a, 1, 6]).expect("a response");
        assert!(refused.contains("unauthorized (0x6)"), "{refused}");
    }
}
