//! The certificates a peer sends above its own: how many of them are looked at, which can matter, and
//! when they are in force.
//!
//! Whoever verifies tries every way up, and the peer chooses how many ways there are. So what it sends
//! is cut down first (CVE-2018-16875 and its like): the work of a handshake is ours to bound.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates above the peer's own: public chains have one or two, private ones seldom four.
pub(super) const ABOVE_MAX: usize = 10;

/// Of one subject: an authority and its cross-signed twin.
const SUBJECT_MAX: usize = 2;

/// A peer that sends more than [`ABOVE_MAX`].
#[derive(Debug)]
struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "more than {ABOVE_MAX} certificates above the peer's own")
    }
}

impl std::error::Error for TooLong {}

/// What is worth verifying of what a peer has sent: each once, few of one subject, in its order.
pub(super) fn bounded<'a>(
    above: &'a [CertificateDer<'a>],
) -> Result<Vec<CertificateDer<'a>>, Error> {
    if above.len() > ABOVE_MAX {
        let why = CertificateError::Other(OtherError(Arc::new(TooLong)));
        return Err(Error::InvalidCertificate(why));
    }
    let mut kept: Vec<(&[u8], &CertificateDer<'_>)> = Vec::new();
    for der in above {
        // One that cannot be understood leads nowhere.
        let Some(subject) = subject(der) else {
            continue;
        };
        let same = kept.iter().filter(|(other, _)| *other == subject);
        if same.clone().count() < SUBJECT_MAX && !same.clone().any(|(_, it)| *it == der) {
            kept.push((subject, der));
        }
    }
    let lent = |(_, der): (_, &'a CertificateDer<'a>)| CertificateDer::from(der.as_ref());
    Ok(kept.into_iter().map(lent).collect())
}

fn subject<'a>(der: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.tbs_certificate.subject.as_raw())
}

/// A certificate that can be on the way up from a leaf, taken apart.
pub(super) struct Link<'a> {
    /// 0 for the leaf.
    pub(super) depth: u8,
    pub(super) subject: &'a [u8],
    /// Its SubjectPublicKeyInfo.
    pub(super) key_info: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) is_self_issued: bool,
    /// First and last second.
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Link<'_> {
    /// Whether it is out of its time: `Some(true)` when that is over.
    pub(super) fn has_expired(&self, at: UnixTime) -> Option<bool> {
        match at.as_secs() {
            time if time < self.from => Some(false),
            time if time > self.until => Some(true),
            _ => None,
        }
    }
}

/// The leaf and all above it that can be on a way up from it, by their names. Every way a verifier can
/// take goes through these alone.
pub(super) fn links<'a>(
    leaf: &'a CertificateDer<'_>,
    above: &'a [CertificateDer<'_>],
) -> Vec<Link<'a>> {
    let parsed = std::iter::once(leaf).chain(above).zip(0..=u8::MAX);
    let mut rest: Vec<(&[u8], Link<'a>)> = parsed
        .filter_map(|(der, depth)| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            let tbs = certificate.tbs_certificate;
            let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
            let (subject, issuer) = (tbs.subject.as_raw(), tbs.issuer.as_raw());
            let link = Link {
                depth,
                subject,
                key_info: tbs.subject_pki.raw,
                issuer,
                serial: without_zeros(tbs.raw_serial()),
                is_self_issued: subject == issuer,
                from: seconds(tbs.validity.not_before.timestamp()),
                until: seconds(tbs.validity.not_after.timestamp()),
            };
            Some((subject, link))
        })
        .collect();
    let mut links: Vec<Link<'a>> = Vec::new();
    // Each turn takes at least one, or is the last.
    loop {
        let joins = |(subject, link): &(&[u8], Link<'a>)| {
            link.depth == 0 || links.iter().any(|below| below.issuer == *subject)
        };
        let (joined, left): (Vec<_>, Vec<_>) = rest.into_iter().partition(joins);
        if joined.is_empty() {
            return links;
        }
        links.extend(joined.into_iter().map(|(_, link)| link));
        rest = left;
    }
}

/// A number's bytes in DER, without those that only keep it positive.
pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
