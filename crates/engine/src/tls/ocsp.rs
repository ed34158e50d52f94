//! OCSP responses to staple (RFC 6960 section 4.2, manual 5.1 "crt"): whether one is good, about our
//! certificate, and in force. Its signature is the client's to check.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How far ahead the responder's clock may be, as OpenSSL's callers allow.
const SKEW: Duration = Duration::from_secs(300);

/// When a response stops being valid; `None`: it does not say.
pub(super) type ValidUntil = Option<SystemTime>;

/// Whether a response must go: clients go by their own clocks, so nothing is added to it.
pub(super) fn has_expired(until: ValidUntil, now: SystemTime) -> bool {
    until.is_some_and(|until| until < now)
}

/// Checks a response for the certificate and its issuer. The error says why it is not stapled.
pub(super) fn check(
    response: &[u8],
    certificate: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<ValidUntil, String> {
    let unreadable = || "it is no OCSP response".to_owned();
    let single = single(response)?;
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
    let (_, issuer) = X509Certificate::from_der(issuer).map_err(|_| unreadable())?;
    if !single.is_about(&certificate, &issuer) {
        return Err("it is about another certificate".into());
    }
    match single.status {
        GOOD => {}
        REVOKED => return Err("it says that the certificate is revoked".into()),
        _ => return Err("its responder does not know the certificate".into()),
    }
    if single.this_update > now + SKEW {
        return Err("it is not valid yet".into());
    }
    if has_expired(single.next_update, now) {
        return Err("it has expired".into());
    }
    Ok(single.next_update)
}

/// What responses call a certificate: a CertID with hashes by SHA-1, as responders and OpenSSL make it
/// (RFC 6960 section 4.1.1), in DER.
pub(super) fn id(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (_, issuer) = X509Certificate::from_der(issuer).ok()?;
    let hash = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec();
    // Names and keys are hashed; a number has twenty bytes at most (RFC 5280 section 4.1.2.2).
    let value = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len())
            .ok()
            .filter(|length| *length < 0x80)?;
        Some([&[tag, length], content].concat())
    };
    const NULL: &[u8] = &[0x05, 0];
    let algorithm = [value(OID, SHA1_OID)?, NULL.to_vec()].concat();
    let parts = [
        value(SEQUENCE, &algorithm)?,
        value(OCTETS, &hash(issuer.subject().as_raw()))?,
        value(OCTETS, &hash(&issuer.public_key().subject_public_key.data))?,
        value(INTEGER, certificate.raw_serial())?,
    ];
    value(SEQUENCE, &parts.concat())
}

/// Whether a response is about what a CertID calls so.
pub(super) fn is_about(response: &[u8], id: &[u8]) -> Result<bool, String> {
    let about = single(response)?;
    let read = || {
        let mut own = Der(id).enter(SEQUENCE)?;
        let hash = own.enter(SEQUENCE)?.next(OID)?;
        let (name, key) = (own.next(OCTETS)?, own.next(OCTETS)?);
        Some((hash, name, key, own.next(INTEGER)?))
    };
    let theirs = (
        about.hash,
        about.issuer_name_hash,
        about.issuer_key_hash,
        about.serial,
    );
    Ok(read() == Some(theirs))
}

// Tags of DER (X.690).
const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const OID: u8 = 0x06;
const TIME: u8 = 0x18;
const EXPLICIT_0: u8 = 0xa0;
// CertStatus, by its tag.
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
const SHA1_OID: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// The one answer in a response.
struct Single<'a> {
    hash: &'a [u8],
    issuer_name_hash: &'a [u8],
    issuer_key_hash: &'a [u8],
    serial: &'a [u8],
    status: u8,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

impl Single<'_> {
    fn is_about(&self, certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
        let algorithm = match self.hash {
            SHA1_OID => &SHA1_FOR_LEGACY_USE_ONLY,
            SHA256_OID => &SHA256,
            _ => return false,
        };
        let name = digest(algorithm, issuer.subject().as_raw());
        let key = digest(algorithm, &issuer.public_key().subject_public_key.data);
        let trimmed = |serial: &[u8]| {
            let zeros = serial.iter().take_while(|byte| **byte == 0).count();
            serial[zeros..].to_vec()
        };
        name.as_ref() == self.issuer_name_hash
            && key.as_ref() == self.issuer_key_hash
            && trimmed(certificate.raw_serial()) == trimmed(self.serial)
    }
}

/// Takes a response apart down to its one answer.
fn single(response: &[u8]) -> Result<Single<'_>, String> {
    const NOT_ONE: &str = "it is no OCSP response";
    let read = || -> Option<Result<Single<'_>, String>> {
        let mut outer = Der(response).enter(SEQUENCE)?;
        match outer.next(ENUMERATED)? {
            [0] => {}
            [status] => return Some(Err(format!("it says that there is none (status {status})"))),
            _ => return None,
        }
        let mut bytes = Der(outer.next(EXPLICIT_0)?).enter(SEQUENCE)?;
        if bytes.next(OID)? != BASIC {
            return None;
        }
        let mut data = Der(bytes.next(OCTETS)?).enter(SEQUENCE)?.enter(SEQUENCE)?;
        data.skip(EXPLICIT_0); // version
        data.any()?; // responder
        data.next(TIME)?; // produced at
        let mut answers = data.enter(SEQUENCE)?;
        let mut answer = answers.enter(SEQUENCE)?;
        if !answers.0.is_empty() {
            return Some(Err("it has more than one answer".into()));
        }
        let mut about = answer.enter(SEQUENCE)?;
        let hash = about.enter(SEQUENCE)?.next(OID)?;
        let issuer_name_hash = about.next(OCTETS)?;
        let issuer_key_hash = about.next(OCTETS)?;
        let serial = about.next(INTEGER)?;
        let (status, _) = answer.any()?;
        let this_update = time(answer.next(TIME)?)?;
        let next_update = match answer.skip(EXPLICIT_0) {
            Some(inner) => Some(time(Der(inner).next(TIME)?)?),
            None => None,
        };
        Some(Ok(Single {
            hash,
            issuer_name_hash,
            issuer_key_hash,
            serial,
            status,
            this_update,
            next_update,
        }))
    };
    read().unwrap_or_else(|| Err(NOT_ONE.into()))
}

/// `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5.2).
fn time(text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if text.len() != 14 {
        return None;
    }
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    Some(
        at.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .into(),
    )
}

/// The rest of a run of DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value, whatever its tag.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            /// Lengths of more bytes would not fit the file.
            const LENGTH_BYTES_MAX: usize = 4;
            let count = usize::from(first & 0x7f);
            if count == 0 || count > LENGTH_BYTES_MAX || rest.len() < count {
                return None;
            }
            let (bytes, after) = rest.split_at(count);
            length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            rest = after;
        }
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value, which must have this tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        match self.any()? {
            (found, value) if found == tag => Some(value),
            _ => {
                self.0 = before;
                None
            }
        }
    }

    fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.next(tag).map(Der)
    }

    /// The next value if it has this tag.
    fn skip(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next(tag)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            short @ 0..=127 => out.push(short as u8),
            long => out.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        out.extend_from_slice(content);
        out
    }

    /// A response as a responder would make it, with a signature that is none.
    pub(crate) fn response(
        certificate: &CertificateDer<'_>,
        issuer: &CertificateDer<'_>,
        status: u8,
        until: &str,
    ) -> Vec<u8> {
        let (_, certificate) = X509Certificate::from_der(certificate).expect("a certificate");
        let (_, issuer) = X509Certificate::from_der(issuer).expect("a certificate");
        let name = digest(&SHA1_FOR_LEGACY_USE_ONLY, issuer.subject().as_raw());
        let key = issuer
            .public_key()
            .subject_public_key
            .data
            .as_ref()
            .to_vec();
        let key = digest(&SHA1_FOR_LEGACY_USE_ONLY, &key);
        let about = [
            der(SEQUENCE, &der(OID, SHA1_OID)),
            der(OCTETS, name.as_ref()),
            der(OCTETS, key.as_ref()),
            der(INTEGER, certificate.raw_serial()),
        ];
        let answer = [
            der(SEQUENCE, &about.concat()),
            der(status, &[]),
            der(TIME, b"20200101000000Z"),
            der(EXPLICIT_0, &der(TIME, until.as_bytes())),
        ];
        let data = [
            der(0xa2, &der(OCTETS, &[1; 20])),
            der(TIME, b"20200101000000Z"),
            der(SEQUENCE, &der(SEQUENCE, &answer.concat())),
        ];
        let basic = [
            der(SEQUENCE, &data.concat()),
            der(SEQUENCE, &der(OID, SHA256_OID)),
            der(0x03, &[0, 1, 2, 3]),
        ];
        let bytes = [
            der(OID, BASIC),
            der(OCTETS, &der(SEQUENCE, &basic.concat())),
        ];
        let outer = [
            der(ENUMERATED, &[0]),
            der(EXPLICIT_0, &der(SEQUENCE, &bytes.concat())),
        ];
        der(SEQUENCE, &outer.concat())
    }

    fn certificate(name: &str) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a pair");
        made.cert.der().clone()
    }

    #[test]
    fn only_a_good_answer_about_this_certificate_that_is_in_force_is_stapled() {
        let ours = certificate("a");
        let other = certificate("b");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let judge = |response: &[u8]| check(response, &ours, &ours, now);
        let good = response(&ours, &ours, GOOD, "20990101000000Z");
        let until = judge(&good)
            .expect("a good one")
            .expect("it says until when");
        assert!(until > now);
        for (response, expected) in [
            (
                response(&ours, &ours, REVOKED, "20990101000000Z"),
                "revoked",
            ),
            (
                response(&ours, &ours, 0x82, "20990101000000Z"),
                "does not know",
            ),
            (response(&ours, &ours, GOOD, "20210101000000Z"), "expired"),
            (response(&other, &other, GOOD, "20990101000000Z"), "another"),
            (vec![0x30, 3, 0x0a, 1, 6], "status 6"),
            (b"-----BEGIN".to_vec(), "no OCSP response"),
        ] {
            let error = judge(&response).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        // Cut anywhere, it is none.
        for length in 0..good.len() {
            assert!(judge(&good[..length]).is_err(), "{length}");
        }
    }

    fn bytes(digits: &str) -> Vec<u8> {
        let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("digits")
        };
        digits.chunks(2).map(byte).collect()
    }

    /// Made by `openssl ocsp` on 2026-11-22, good for three days.
    #[test]
    fn what_openssl_makes_is_understood() {
        let [certificate, issuer, good, revoked] = [
            include_str!("../../tests/ocsp/certificate.txt"),
            include_str!("../../tests/ocsp/issuer.txt"),
            include_str!("../../tests/ocsp/good.txt"),
            include_str!("../../tests/ocsp/revoked.txt"),
        ]
        .map(bytes);
        let (certificate, issuer) = (certificate.into(), issuer.into());
        let day = |day: u64| {
            let since_1970 = Duration::from_secs(86_400 * (20_779 + day));
            SystemTime::UNIX_EPOCH + since_1970
        };
        let judge = |response: &[u8], at| check(response, &certificate, &issuer, at);
        assert_eq!(judge(&good, day(1)).map(|until| until.is_some()), Ok(true));
        assert_eq!(judge(&good, day(5)), Err("it has expired".into()));
        assert_eq!(judge(&good, day(0)), Err("it is not valid yet".into()));
        assert!(judge(&revoked, day(1)).is_err_and(|why| why.contains("revoked")));
    }
}
