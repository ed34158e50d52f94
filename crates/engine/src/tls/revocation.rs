//! Revocation lists by issuer. rustls looks at those of version 2, and says that one speaks against a
//! chain, not against which certificate: then these are only looked up. Lists of version 1 it does not
//! read, nor does it verify certificates of version 1 ([`super::signed`]): there these decide.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Version};

use super::chain::{self, Link, without_zeros};
use super::client_auth::{CRL_EXPIRED, CRL_MISSING, REVOKED};
use super::signed;

/// The lists of a `crl-file`, and who may sign them.
#[derive(Debug)]
pub(super) struct Lists {
    by_issuer: HashMap<Vec<u8>, List>,
    roots: Arc<RootCertStore>,
    /// Whether some are of version 1: rustls is given none of them then.
    has_old: bool,
}

/// What an issuer has taken back.
#[derive(Debug)]
struct List {
    /// The last second it is in force.
    until: u64,
    serials: HashSet<Vec<u8>>,
    /// A trusted certificate has signed it, and it says nothing that would have to be understood.
    decides: bool,
}

impl Lists {
    /// Of an issuer with several the first counts, as in rustls. One of version 1 whose issuer is not
    /// trusted itself does not decide: who needs it is refused. Fails where the issuer's key says that it
    /// is not its own.
    pub(super) fn new(
        crls: &[CertificateRevocationListDer<'_>],
        roots: Arc<RootCertStore>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<Self, String> {
        let mut by_issuer = HashMap::new();
        let mut has_old = false;
        for der in crls {
            // rustls refuses those of version 2 that cannot be understood.
            let (_, crl) = CertificateRevocationList::from_der(der)
                .map_err(|e| format!("a revocation list cannot be read: {e}"))?;
            let issuer = crl.issuer().as_raw();
            let is_signed = signed::is_list_signed(der, issuer, &roots, algorithms);
            let is_old = crl
                .version()
                .is_none_or(|version| version == X509Version::V1);
            if is_old && !is_signed && signed::has_anchor(&roots, issuer) {
                return Err(format!(
                    "the revocation list of '{}' is of version 1, and the one of that name in the \
                     CA file has not signed it",
                    crl.issuer()
                ));
            }
            has_old |= is_old;
            let until = crl.next_update().map_or(u64::MAX, |it| {
                u64::try_from(it.timestamp()).unwrap_or_default()
            });
            let revoked = crl.iter_revoked_certificates();
            let serials = revoked.map(|it| without_zeros(it.raw_serial()).to_vec());
            let is_plain = !crl.extensions().iter().any(|it| it.critical);
            by_issuer.entry(issuer.to_vec()).or_insert_with(|| List {
                until,
                serials: serials.collect(),
                decides: is_signed && is_plain,
            });
        }
        Ok(Self {
            by_issuer,
            roots,
            has_old,
        })
    }

    /// Whether rustls cannot read them.
    pub(super) fn has_old(&self) -> bool {
        self.has_old
    }

    /// OpenSSL's numbers for what the lists say against a certificate.
    pub(super) fn against(
        &self,
        link: &Link<'_>,
        now: UnixTime,
    ) -> impl Iterator<Item = u8> + use<> {
        Self::said(self.by_issuer.get(link.issuer), link, now)
    }

    fn said(
        found: Option<&List>,
        link: &Link<'_>,
        now: UnixTime,
    ) -> impl Iterator<Item = u8> + use<> {
        let missing = found.is_none().then_some(CRL_MISSING);
        let expired = found
            .filter(|list| list.until < now.as_secs())
            .map(|_| CRL_EXPIRED);
        let revoked = found
            .filter(|list| list.serials.contains(link.serial))
            .map(|_| REVOKED);
        [missing, expired, revoked].into_iter().flatten()
    }

    /// Whether none of the certificates that can be on the way up was taken back; where rustls has not
    /// looked. What is trusted itself nobody above can take back.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let links = chain::links(leaf, above);
        let links = links
            .iter()
            .filter(|link| !signed::is_anchor(&self.roots, link.subject, link.key_info));
        for link in links {
            let found = self.by_issuer.get(link.issuer);
            let mut said = Self::said(found.filter(|list| list.decides), link, now);
            if let Some(code) = said.next() {
                return Err(Error::InvalidCertificate(match code {
                    REVOKED => CertificateError::Revoked,
                    CRL_EXPIRED => CertificateError::ExpiredRevocationList,
                    _ => CertificateError::UnknownRevocationStatus,
                }));
            }
        }
        Ok(())
    }
}
