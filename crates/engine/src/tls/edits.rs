//! Changes of TLS files by hand: checked first, then taken over by all who use them, or by nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::files::Watched;
use super::{certificates, given, ocsp, reload, trust};
use crate::shared::Shared;

/// What a TLS file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A certificate with its key.
    Certificate,
    /// Certificates of CAs.
    Authorities,
    /// Revocation lists.
    Revocations,
}

/// A file as it is now.
pub(crate) fn read(file: &Path) -> Option<Vec<u8>> {
    Watched::default().read_if_there(file).ok().flatten()
}

/// The certificates of a file that was given by hand, in DER.
pub(crate) fn chain(file: &Path) -> Option<Vec<Vec<u8>>> {
    let given = given::get(file)?;
    Some(pem_parts(&given.bytes, false))
}

pub use super::certificates::Staple;

/// See [`crate::Handle::staple`].
pub(crate) fn staple(shared: &Shared, file: &Path, chain: &[Vec<u8>]) -> Option<Staple> {
    certificates::staple_of(file, chain, &shared.site.load().common.tls)
}

/// See [`crate::Handle::is_response_about`].
pub(crate) fn is_response_about(response: &[u8], id: &[u8]) -> Result<bool, String> {
    ocsp::is_about(response, id)
}

/// The certificates of a PEM text, or its revocation lists, in DER.
pub fn pem_parts(pem: &[u8], revocations: bool) -> Vec<Vec<u8>> {
    match revocations {
        true => CertificateRevocationListDer::pem_slice_iter(pem)
            .filter_map(|it| Some(it.ok()?.to_vec()))
            .collect(),
        false => CertificateDer::pem_slice_iter(pem)
            .filter_map(|it| Some(it.ok()?.to_vec()))
            .collect(),
    }
}

/// Whether a PEM text has a private key in it.
pub fn has_key(pem: &[u8]) -> bool {
    PrivateKeyDer::from_pem_slice(pem).is_ok()
}

/// Whether a file was given by hand.
pub(crate) fn is_given(file: &Path) -> bool {
    given::get(file).is_some()
}

/// See [`crate::Handle::give_tls_files`].
pub(crate) fn give(
    shared: &Shared,
    files: Vec<(PathBuf, Option<Vec<u8>>)>,
    checked: Option<(FileKind, &Path)>,
) -> Result<(), String> {
    // What others have changed on disk meanwhile has its own words, and is not blamed on these files.
    reload::look_now(shared);
    let mut before = Vec::new();
    let mut outcome = Ok(());
    for (path, bytes) in files {
        match given::put(&path, bytes.map(Arc::from)) {
            Ok(old) => before.push((path, old)),
            Err(why) => {
                outcome = Err(why);
                break;
            }
        }
    }
    if let Some((kind, path)) = checked
        && outcome.is_ok()
    {
        outcome = check(shared, kind, path);
    }
    let is_given = outcome.is_ok();
    if is_given {
        let troubles = reload::try_now(shared);
        if !troubles.is_empty() {
            outcome = Err(troubles.join("; "));
        }
    }
    if outcome.is_err() {
        for (path, old) in before.into_iter().rev() {
            // There was room for it before.
            let _ = given::put(&path, old);
        }
        if is_given {
            // Who could use it goes back to what all can use.
            reload::try_now(shared);
        }
    }
    outcome
}

/// Whether a file can be used as what it is.
fn check(shared: &Shared, kind: FileKind, path: &Path) -> Result<(), String> {
    let mut watched = Watched::default();
    match kind {
        FileKind::Certificate => {
            let site = shared.site.load();
            let tls = &site.common.tls;
            certificates::load(path, tls, &mut watched, &mut Vec::new()).map(drop)
        }
        FileKind::Authorities => trust::roots(path, &mut watched).map(drop),
        FileKind::Revocations => trust::crls(path, &mut watched).map(drop),
    }
}
