//! Revocation lists by issuer, to tell which certificate of a chain they speak against: rustls says
//! that one does and not which. It has checked their signatures; here they are only looked up.

use std::collections::{HashMap, HashSet};

use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::chain::{Link, without_zeros};
use super::client_auth::{CRL_EXPIRED, CRL_MISSING, REVOKED};

/// The lists of a `crl-file`.
#[derive(Debug, Default)]
pub(super) struct Lists(HashMap<Vec<u8>, List>);

/// What an issuer has taken back.
#[derive(Debug)]
struct List {
    /// The last second it is in force.
    until: u64,
    serials: HashSet<Vec<u8>>,
}

impl Lists {
    /// Of an issuer with several the first counts, as in rustls.
    pub(super) fn new(crls: &[CertificateRevocationListDer<'_>]) -> Self {
        let mut lists = HashMap::new();
        for der in crls {
            // rustls refuses those that cannot be understood.
            let Ok((_, crl)) = CertificateRevocationList::from_der(der) else {
                continue;
            };
            let until = crl.next_update().map_or(u64::MAX, |it| {
                u64::try_from(it.timestamp()).unwrap_or_default()
            });
            let revoked = crl.iter_revoked_certificates();
            let serials = revoked.map(|it| without_zeros(it.raw_serial()).to_vec());
            lists
                .entry(crl.issuer().as_raw().to_vec())
                .or_insert_with(|| List {
                    until,
                    serials: serials.collect(),
                });
        }
        Self(lists)
    }

    /// OpenSSL's numbers for what the lists say against a certificate.
    pub(super) fn against(
        &self,
        link: &Link<'_>,
        now: UnixTime,
    ) -> impl Iterator<Item = u8> + use<> {
        let found = self.0.get(link.issuer);
        let missing = found.is_none().then_some(CRL_MISSING);
        let expired = found
            .filter(|list| list.until < now.as_secs())
            .map(|_| CRL_EXPIRED);
        let revoked = found
            .filter(|list| list.serials.contains(link.serial))
            .map(|_| REVOKED);
        [missing, expired, revoked].into_iter().flatten()
    }
}
