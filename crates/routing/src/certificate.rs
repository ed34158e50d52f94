//! What samples read out of a certificate (manual 7.3.4), spelled as OpenSSL spells it.

use config::expr::{CertificatePart, NamePart};
use sha1::{Digest as _, Sha1};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Name};

use crate::value::Value;

/// A part of a certificate in DER; `None` where it has no such part.
pub(crate) fn part<'a>(der: &'a [u8], part: &CertificatePart) -> Option<Value<'a>> {
    match part {
        CertificatePart::Der => return Some(Value::Bin(der.into())),
        CertificatePart::Sha1 => return Some(Value::Bin(Sha1::digest(der).to_vec().into())),
        _ => {}
    }
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(match part {
        CertificatePart::Der | CertificatePart::Sha1 => return None,
        CertificatePart::Serial => {
            // A leading zero only says that the number is not negative.
            let serial = certificate.raw_serial();
            let zeros = serial.iter().take_while(|byte| **byte == 0).count();
            Value::Bin(
                serial[zeros.min(serial.len().saturating_sub(1))..]
                    .to_vec()
                    .into(),
            )
        }
        CertificatePart::NotBefore => time(certificate.validity().not_before)?,
        CertificatePart::NotAfter => time(certificate.validity().not_after)?,
        CertificatePart::Subject(part) => name(certificate.subject(), part)?,
        CertificatePart::Issuer(part) => name(certificate.issuer(), part)?,
        CertificatePart::Version => Value::Int(i64::from(certificate.version().0) + 1),
        CertificatePart::KeyAlgorithm => spelled(
            KEYS,
            &certificate.public_key().algorithm.algorithm.to_id_string(),
        ),
        CertificatePart::SignatureAlgorithm => spelled(
            SIGNATURES,
            &certificate.signature_algorithm.algorithm.to_id_string(),
        ),
        CertificatePart::Policies(wanted) => policies(&certificate, wanted.as_deref())?,
        CertificatePart::AlternativeNames => alternative_names(&certificate)?,
    })
}

/// One entry of a name in DER, or all of it.
pub(crate) fn name_of(der: &[u8], part: &NamePart) -> Option<Value<'static>> {
    let (_, parsed) = X509Name::from_der(der).ok()?;
    name(&parsed, part)
}

/// Numbers, parted by commas; the one that is wanted alone, if it is among them.
fn policies(certificate: &X509Certificate<'_>, wanted: Option<&str>) -> Option<Value<'static>> {
    let all = certificate.extensions().iter();
    let policies = all.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CertificatePolicies(policies) => Some(policies),
        _ => None,
    });
    let numbers = policies.flatten().map(|it| it.policy_id.to_id_string());
    let wanted = |number: &String| wanted.is_none_or(|wanted| wanted == number);
    let numbers: Vec<String> = numbers.filter(wanted).collect();
    (!numbers.is_empty()).then(|| Value::made(numbers.join(", ").into_bytes()))
}

/// As OpenSSL writes them, parted by commas. Nothing where a name has a comma or an odd byte in it: it
/// could pass for two.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<Value<'static>> {
    let extension = certificate.subject_alternative_name().ok()??;
    let names = extension.value.general_names.iter();
    let written = names.map(|name| {
        let (kind, text) = match name {
            GeneralName::DNSName(host) => ("DNS", (*host).to_owned()),
            GeneralName::RFC822Name(mail) => ("email", (*mail).to_owned()),
            GeneralName::URI(uri) => ("URI", (*uri).to_owned()),
            GeneralName::IPAddress(bytes) => ("IP Address", address(bytes)?),
            GeneralName::RegisteredID(oid) => ("Registered ID", oid.to_id_string()),
            _ => return None,
        };
        let is_odd = |byte: u8| byte == b',' || !(byte.is_ascii_graphic() || byte == b' ');
        (!text.bytes().any(is_odd)).then(|| format!("{kind}:{text}"))
    });
    let written: Option<Vec<String>> = written.collect();
    Some(Value::made(written?.join(", ").into_bytes()))
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        16 => {
            // OpenSSL writes all groups, without leading zeros.
            let address = std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            let groups = address.segments().map(|group| format!("{group:X}"));
            Some(groups.join(":"))
        }
        _ => None,
    }
}

/// `YYMMDDhhmmssZ`; HAProxy has no way to write other centuries.
fn time(time: ASN1Time) -> Option<Value<'static>> {
    let at = jiff::Timestamp::from_second(time.timestamp()).ok()?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let text = at.strftime("%y%m%d%H%M%SZ").to_string();
    let years = 1950..2100;
    years
        .contains(&at.year())
        .then(|| Value::made(text.into_bytes()))
}

const KEYS: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.1", "rsaEncryption"),
    ("1.2.840.10045.2.1", "id-ecPublicKey"),
    ("1.3.101.112", "ED25519"),
    ("1.3.101.113", "ED448"),
];

const SIGNATURES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.5", "RSA-SHA1"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS"),
    ("1.2.840.113549.1.1.11", "RSA-SHA256"),
    ("1.2.840.113549.1.1.12", "RSA-SHA384"),
    ("1.2.840.113549.1.1.13", "RSA-SHA512"),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
    ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
    ("1.3.101.112", "ED25519"),
    ("1.3.101.113", "ED448"),
];

/// Short names of the parts of a name.
const ENTRIES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

fn known(names: &[(&str, &'static str)], oid: &str) -> Option<&'static str> {
    let found = names.iter().find(|(known, _)| *known == oid);
    found.map(|(_, name)| *name)
}

/// What a part of a name is called: `CN`; by number where it has no short name.
pub(crate) fn short_name(oid: String) -> String {
    known(ENTRIES, &oid).map_or(oid, str::to_owned)
}

/// What OpenSSL calls an algorithm of signatures in full.
pub(crate) fn signature_name(oid: &str) -> String {
    match known(SIGNATURES, oid) {
        None => oid.to_owned(),
        Some(short) => match short.strip_prefix("RSA-SHA") {
            Some(bits) => format!("sha{bits}WithRSAEncryption"),
            None => short.to_owned(),
        },
    }
}

fn spelled(names: &[(&str, &'static str)], oid: &str) -> Value<'static> {
    match known(names, oid) {
        Some(name) => Value::text(name.as_bytes()),
        None => Value::made(oid.as_bytes().to_vec()),
    }
}

/// One entry of a name, or all of it; nothing where a NUL hides what follows it.
fn name(name: &X509Name<'_>, part: &NamePart) -> Option<Value<'static>> {
    let mut entries: Vec<(String, &[u8])> = Vec::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        let entry = known(ENTRIES, &oid).map_or(oid, str::to_owned);
        entries.push((entry, attribute.as_slice()));
    }
    let hides = |value: &[u8]| value.contains(&0);
    if !part.entry.is_empty() {
        let mut same = entries
            .iter()
            .filter(|(entry, _)| entry.eq_ignore_ascii_case(&part.entry));
        let index = usize::try_from(part.occurrence.unsigned_abs())
            .ok()?
            .checked_sub(1)?;
        let (_, value) = match part.occurrence {
            1.. => same.nth(index)?,
            _ => same.rev().nth(index)?,
        };
        return (!hides(value)).then(|| Value::made(value.to_vec()));
    }
    if entries.is_empty() || entries.iter().any(|(_, value)| hides(value)) {
        return None;
    }
    let mut text = Vec::new();
    if part.rfc2253 {
        for (entry, value) in entries.iter().rev() {
            if !text.is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(entry.as_bytes());
            text.push(b'=');
            escape(value, &mut text);
        }
    } else {
        for (entry, value) in &entries {
            text.push(b'/');
            text.extend_from_slice(entry.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value);
        }
    }
    Some(Value::made(text))
}

/// RFC 2253 section 2.4.
fn escape(value: &[u8], text: &mut Vec<u8>) {
    for (index, byte) in value.iter().enumerate() {
        let at_edge = index == 0 || index + 1 == value.len();
        let special = b",+\"\\<>;".contains(byte);
        if special || (*byte == b' ' && at_edge) || (*byte == b'#' && index == 0) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by OpenSSL 3: serial 0x80ff01, subject as below, valid in 2026, signed with ECDSA.
    const CLIENT: &str = include_str!("../tests/certificate.txt");

    fn der() -> Vec<u8> {
        let digits: Vec<u8> = CLIENT.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("digits")
        };
        digits.chunks(2).map(byte).collect()
    }

    fn dn(entry: &str, occurrence: i32, rfc2253: bool) -> CertificatePart {
        CertificatePart::Subject(NamePart {
            entry: entry.into(),
            occurrence,
            rfc2253,
        })
    }

    /// What HAProxy 2.6 shows of the same certificate.
    #[test]
    fn parts_are_spelled_as_haproxy_spells_them() {
        let der = der();
        for (wanted, expected) in [
            (
                dn("", 1, false),
                "/C=DE/O=Org, Inc/OU=a/OU=b/CN=client one/emailAddress=x@y.z",
            ),
            (
                dn("", 0, true),
                "emailAddress=x@y.z,CN=client one,OU=b,OU=a,O=Org\\, Inc,C=DE",
            ),
            (dn("CN", 1, false), "client one"),
            (dn("cn", 1, false), "client one"),
            (dn("eMailAddress", 1, false), "x@y.z"),
            (dn("OU", 2, false), "b"),
            (dn("OU", -2, false), "a"),
            (
                CertificatePart::Issuer(NamePart::default()),
                "/C=FR/O=Tide Gate/CN=test ca",
            ),
            (CertificatePart::NotBefore, "261122114857Z"),
            (CertificatePart::NotAfter, "261212114857Z"),
            (CertificatePart::Version, "3"),
            (CertificatePart::KeyAlgorithm, "id-ecPublicKey"),
            (CertificatePart::SignatureAlgorithm, "ecdsa-with-SHA256"),
        ] {
            let value = part(&der, &wanted).map(|it| it.to_text().into_owned());
            let text = value.map(|it| String::from_utf8(it).expect("ASCII"));
            assert_eq!(text.as_deref(), Some(expected), "{wanted:?}");
        }
        for missing in [dn("XX", 1, false), dn("OU", 3, false), dn("OU", 0, false)] {
            assert_eq!(part(&der, &missing), None);
        }
        let bytes = |wanted| part(&der, &wanted).map(|it| it.into_bytes().into_owned());
        assert_eq!(bytes(CertificatePart::Serial), Some(vec![0x80, 0xff, 1]));
        let sha1 = bytes(CertificatePart::Sha1).expect("a hash");
        assert_eq!(sha1[..3], [0x79, 0x7d, 0xad]);
        assert_eq!(bytes(CertificatePart::Der), Some(der.clone()));
        assert_eq!(part(b"garbage", &CertificatePart::Version), None);
    }
}
