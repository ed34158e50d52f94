//! Whom we believe: `ca-file`, `ca-verify-file` and `crl-file`, of files, folders and the system.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::files::Watched;

/// Trusted roots, read once per file: a server added later, after a `chroot` say, finds them here.
#[derive(Default)]
pub(crate) struct RootCache(Mutex<HashMap<Option<PathBuf>, Known>>);

struct Known {
    watched: Watched,
    roots: Arc<RootCertStore>,
}

impl RootCache {
    /// The roots of `ca-file`; the error is a sentence.
    pub(crate) fn roots(&self, ca_file: Option<&Path>) -> Result<Arc<RootCertStore>, String> {
        let file = ca_file.filter(|file| file.as_os_str() != SYSTEM);
        let mut known = self.known();
        if let Some(known) = known.get(&file.map(Path::to_owned)) {
            return Ok(known.roots.clone());
        }
        let mut watched = Watched::default();
        let roots = Arc::new(roots(file.unwrap_or(Path::new(SYSTEM)), &mut watched)?);
        let entry = Known {
            watched,
            roots: roots.clone(),
        };
        known.insert(file.map(Path::to_owned), entry);
        Ok(roots)
    }

    /// Reads what has changed on disk. What cannot be read stays as it was and is told.
    pub(super) fn refresh(&self, told: &mut Vec<String>) {
        for (file, known) in self.known().iter_mut() {
            let Some(file) = file.as_ref().filter(|_| known.watched.has_changed()) else {
                continue;
            };
            let mut watched = Watched::default();
            match roots(file, &mut watched) {
                Ok(new) => known.roots = Arc::new(new),
                Err(why) => told.push(format!("{why}; the old ones stay")),
            }
            known.watched = watched;
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Option<PathBuf>, Known>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The system's roots, as a `ca-file`.
pub(super) const SYSTEM: &str = "@system-ca";

/// What a folder of CAs is looked through for (manual 5.1, "ca-file").
const EXTENSIONS: [&str; 4] = ["pem", "crt", "cer", "crl"];

/// The certificates of a CA file or folder (manual 5.1, 5.2, "ca-file").
pub(super) fn roots(path: &Path, watched: &mut Watched) -> Result<RootCertStore, String> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    if path.as_os_str() == SYSTEM {
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() {
            return Err("the system has no trusted certificates (Debian: install \
                        ca-certificates), so `verify required` cannot succeed: give `ca-file`"
                .into());
        }
        return Ok(roots);
    }
    for file in parts(path, watched)? {
        let shown = file.display();
        let pem = watched
            .read(&file)
            .map_err(|why| format!("CA file: {why}"))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate =
                certificate.map_err(|e| format!("cannot read the CA file '{shown}': {e}"))?;
            roots
                .add(certificate)
                .map_err(|e| format!("CA file '{shown}': {e}"))?;
        }
    }
    if roots.is_empty() {
        return Err(format!("the CA file '{shown}' has no certificate in it"));
    }
    Ok(roots)
}

/// The revocation lists of a file or folder.
pub(super) fn crls(
    path: &Path,
    watched: &mut Watched,
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let mut crls = Vec::new();
    for file in parts(path, watched)? {
        let pem = watched
            .read(&file)
            .map_err(|why| format!("CRL file: {why}"))?;
        for crl in CertificateRevocationListDer::pem_slice_iter(&pem) {
            crls.push(
                crl.map_err(|e| format!("cannot read the CRL file '{}': {e}", file.display()))?,
            );
        }
    }
    match crls.is_empty() {
        true => Err(format!(
            "the CRL file '{}' has no list in it",
            path.display()
        )),
        false => Ok(crls),
    }
}

/// The file itself, or the files of a folder that can be meant.
fn parts(path: &Path, watched: &mut Watched) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = watched.folder(path)?;
    files.retain(|file| {
        let extension = file.extension().and_then(|it| it.to_str());
        extension.is_some_and(|it| EXTENSIONS.contains(&it))
    });
    Ok(files)
}
