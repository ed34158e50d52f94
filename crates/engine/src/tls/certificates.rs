//! Certificates from disk, with what lies beside them: `crt FILE` and `FILE.key`, `FILE.issuer`,
//! `FILE.ocsp`, `FILE.sctl` (manual 5.1, "crt").

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use config::model::GlobalTls;
use rustls::SignatureAlgorithm;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::files::{Watched, beside};
use super::{ciphers, given, ocsp};

/// A certificate with its chain and key, ready to be shown.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Where it is from.
    pub(super) path: PathBuf,
    certified: Arc<CertifiedKey>,
    /// When the staple must go.
    staple_until: Option<SystemTime>,
    /// The certificate itself, in DER.
    pub(super) der: Arc<Vec<u8>>,
    /// Host names, in lower case.
    pub(super) names: Vec<String>,
    expired: bool,
}

impl Certificate {
    /// What rustls shows, with signatures restricted to `sigalgs`.
    pub(super) fn certified(&self, sigalgs: Option<&[u16]>) -> Arc<CertifiedKey> {
        let Some(sigalgs) = sigalgs else {
            return self.certified.clone();
        };
        let mut certified = CertifiedKey::clone(&self.certified);
        certified.key = ciphers::restricted(certified.key, sigalgs);
        Arc::new(certified)
    }

    /// The same without its staple.
    pub(super) fn unstapled(&self) -> Self {
        let mut certified = CertifiedKey::clone(&self.certified);
        certified.ocsp = None;
        Self {
            path: self.path.clone(),
            certified: Arc::new(certified),
            staple_until: None,
            der: self.der.clone(),
            names: self.names.clone(),
            expired: self.expired,
        }
    }

    /// The kind of its key.
    pub(super) fn algorithm(&self) -> SignatureAlgorithm {
        self.certified.key.algorithm()
    }

    /// Whether it has a response to staple.
    #[cfg(test)]
    pub(super) fn is_stapled(&self) -> bool {
        self.certified.ocsp.is_some()
    }

    /// Whether its staple must go.
    pub(super) fn is_overtaken(&self, now: SystemTime) -> bool {
        ocsp::has_expired(self.staple_until, now)
    }
}

/// Certificates in use by their files, so that a file is read once however many `bind` lines name
/// it, and so that a bad new one leaves the old one in force.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<HashMap<PathBuf, Stored>>);

#[derive(Debug)]
struct Stored {
    watched: Watched,
    certificate: Option<Arc<Certificate>>,
    wrong: Option<String>,
}

impl Store {
    /// The certificate of a file: as known while nothing has changed, else read again. What must be
    /// told goes to `told`: of one that cannot be used while the old one stays, and of what lies
    /// beside it without effect. The error is for one that never could be used.
    pub(super) fn get(
        &self,
        file: &Path,
        tls: &GlobalTls,
        watched: &mut Watched,
        told: &mut Vec<String>,
    ) -> Result<Arc<Certificate>, String> {
        // Held while reading: at start and on the reload thread alone, one after the other.
        let mut known = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = SystemTime::now();
        let old = known.get(file);
        let current = old.filter(|old| {
            let overtaken = old
                .certificate
                .as_ref()
                .is_some_and(|it| it.is_overtaken(now));
            !overtaken && !old.watched.has_changed()
        });
        if let Some(current) = current {
            watched.extend(&current.watched);
            let wrong = || current.wrong.clone().unwrap_or_default();
            return current.certificate.clone().ok_or_else(wrong);
        }
        let mut seen = Watched::default();
        let loaded = load(file, tls, &mut seen, told);
        watched.extend(&seen);
        let before = old.and_then(|old| old.certificate.clone());
        // What stays must not come round again for its staple alone.
        let before = before.map(|before| match before.is_overtaken(now) {
            true => Arc::new(before.unstapled()),
            false => before,
        });
        let (certificate, wrong) = match (loaded, before) {
            // An operator's own is taken as it is.
            (Ok(new), Some(before))
                if new.expired && !before.expired && given::get(file).is_none() =>
            {
                told.push(format!(
                    "'{}': the new certificate has expired; the old one stays",
                    file.display()
                ));
                (Some(before), None)
            }
            (Ok(new), _) => (Some(Arc::new(new)), None),
            (Err(why), Some(before)) => {
                told.push(format!("{why}; the old one stays"));
                (Some(before), None)
            }
            (Err(why), None) => (None, Some(why)),
        };
        let outcome = certificate
            .clone()
            .ok_or_else(|| wrong.clone().unwrap_or_default());
        let stored = Stored {
            watched: seen,
            certificate,
            wrong,
        };
        known.insert(file.to_owned(), stored);
        outcome
    }

    /// All files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let known = self.0.lock();
        let known = known.unwrap_or_else(std::sync::PoisonError::into_inner);
        let usable = known.iter().filter(|(_, it)| it.certificate.is_some());
        usable.map(|(file, _)| file.clone()).collect()
    }

    /// A certificate with its chain, in DER.
    pub(crate) fn chain(&self, file: &Path) -> Option<Vec<Vec<u8>>> {
        let known = self.0.lock();
        let known = known.unwrap_or_else(std::sync::PoisonError::into_inner);
        let certificate = known.get(file)?.certificate.as_ref()?;
        let chain = certificate.certified.cert.iter();
        Some(chain.map(|it| it.to_vec()).collect())
    }

    /// Forgets files that nobody names any more.
    pub(super) fn keep_only(&self, used: impl Fn(&Path) -> bool) {
        let mut known = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known.retain(|file, _| used(file));
    }

    /// Takes off staples that have run out, without a look at the files.
    pub(super) fn drop_overtaken(&self, now: SystemTime) {
        let mut known = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let certificates = known
            .values_mut()
            .filter_map(|stored| stored.certificate.as_mut());
        for certificate in certificates.filter(|it| it.is_overtaken(now)) {
            *certificate = Arc::new(certificate.unstapled());
        }
    }

    /// Whether a staple has run out since it was read.
    pub(super) fn is_overtaken(&self) -> bool {
        let known = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = SystemTime::now();
        known
            .values()
            .filter_map(|stored| stored.certificate.as_ref())
            .any(|certificate| certificate.is_overtaken(now))
    }
}

/// The extensions of a bundle, one a kind of key (manual 3.1, "ssl-load-extra-files").
pub(super) const BUNDLE: [&str; 2] = ["rsa", "ecdsa"];

/// One PEM file with certificate, chain and key.
pub(super) fn load(
    file: &Path,
    tls: &GlobalTls,
    watched: &mut Watched,
    told: &mut Vec<String>,
) -> Result<Certificate, String> {
    let shown = file.display();
    let places = Places::of(file, tls);
    let pem = watched.read(&places.crt)?;
    let mut chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("'{shown}' is not a PEM file: {e}"))?;
    let first = chain
        .first()
        .ok_or(format!("'{shown}' has no certificate in it"))?
        .clone();
    let (names, expired) = names(&first).map_err(|e| format!("'{shown}': {e}"))?;
    let key = private_key(&places, &pem, watched)?;
    let signing =
        any_supported_type(&key).map_err(|e| format!("'{shown}': the key cannot be used: {e}"))?;
    if !belongs(&*signing, &first) {
        return Err(format!(
            "'{shown}': the key does not belong to the certificate"
        ));
    }
    if chain.len() == 1
        && let Some(folder) = &tls.issuers_chain_path
    {
        chain.extend(issuers(&first, folder, watched)?);
    }
    let (staple, staple_until) = staple(&places, &chain, watched, told)?;
    let sctl = places.sctl.as_deref().filter(|sctl| {
        let read = watched.read_if_there(sctl);
        read.is_ok_and(|it| it.is_some())
    });
    if let Some(sctl) = sctl {
        let sctl = sctl.display();
        told.push(format!(
            "'{sctl}' is not sent: lists of certificate timestamps are not supported; use \
             certificates that carry theirs"
        ));
    }
    let mut certified = CertifiedKey::new(chain, signing);
    certified.ocsp = staple;
    if expired {
        told.push(format!("'{shown}': the certificate has expired"));
    }
    Ok(Certificate {
        path: file.to_owned(),
        der: Arc::new(first.to_vec()),
        certified: Arc::new(certified),
        staple_until,
        names,
        expired,
    })
}

/// Where the files of a certificate are: those a `crt-store` names, else those beside it that
/// `ssl-load-extra-files` lets be looked for.
struct Places {
    crt: PathBuf,
    key: Option<PathBuf>,
    /// Whether a key in the certificate's own file does not count.
    key_is_named: bool,
    ocsp: Option<PathBuf>,
    issuer: Option<PathBuf>,
    sctl: Option<PathBuf>,
}

impl Places {
    fn of(file: &Path, tls: &GlobalTls) -> Self {
        let stored = tls.stored.get(file).cloned().unwrap_or_default();
        let crt = match stored.crt.as_os_str().is_empty() {
            true => file.to_owned(),
            false => stored.crt,
        };
        let extra = tls.extra_files;
        let at = |named: Option<PathBuf>, looked_for: bool, extension: &str| {
            named.or_else(|| looked_for.then(|| beside(&crt, extension, extra.del_ext)))
        };
        Self {
            key_is_named: stored.key.is_some(),
            key: at(stored.key, extra.key, "key"),
            ocsp: at(stored.ocsp, extra.ocsp, "ocsp"),
            issuer: at(stored.issuer, extra.issuer, "issuer"),
            sctl: at(stored.sctl, extra.sctl, "sctl"),
            crt,
        }
    }
}

fn private_key(
    places: &Places,
    pem: &[u8],
    watched: &mut Watched,
) -> Result<PrivateKeyDer<'static>, String> {
    let shown = places.crt.display();
    if !places.key_is_named
        && let Ok(key) = PrivateKeyDer::from_pem_slice(pem)
    {
        return Ok(key);
    }
    let Some(file) = &places.key else {
        return Err(format!("no private key in '{shown}'"));
    };
    let found = watched.read_if_there(file)?;
    let key = found.and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).ok());
    key.ok_or_else(|| format!("no private key in '{shown}' nor in '{}'", file.display()))
}

/// Whether the certificate is about this key. rustls has such a test, and no certificates of
/// version 1 in it, which private CAs still make.
fn belongs(key: &dyn SigningKey, certificate: &CertificateDer<'_>) -> bool {
    let (Some(public), Ok((_, certificate))) =
        (key.public_key(), X509Certificate::from_der(certificate))
    else {
        return false;
    };
    certificate.public_key().raw == public.as_ref()
}

/// The chain for a certificate that came alone: that of the file whose first certificate issued it.
fn issuers(
    certificate: &CertificateDer<'_>,
    folder: &Path,
    watched: &mut Watched,
) -> Result<Vec<CertificateDer<'static>>, String> {
    for file in watched.folder(folder)? {
        let pem = watched.read(&file)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        if let Ok(chain) = chain
            && chain
                .first()
                .is_some_and(|issuer| issued(issuer, certificate))
        {
            return Ok(chain);
        }
    }
    Ok(Vec::new())
}

/// Whether one certificate names the other as its issuer.
fn issued(issuer: &CertificateDer<'_>, certificate: &CertificateDer<'_>) -> bool {
    let parsed = (
        X509Certificate::from_der(issuer),
        X509Certificate::from_der(certificate),
    );
    let (Ok((_, issuer)), Ok((_, certificate))) = parsed else {
        return false;
    };
    issuer.subject().as_raw() == certificate.issuer().as_raw()
}

/// The response to staple. One that is no good is left out and told.
fn staple(
    places: &Places,
    chain: &[CertificateDer<'static>],
    watched: &mut Watched,
    told: &mut Vec<String>,
) -> Result<(Option<Vec<u8>>, ocsp::ValidUntil), String> {
    let Some(path) = &places.ocsp else {
        return Ok((None, None));
    };
    let response = watched.read_if_there(path)?.filter(|it| !it.is_empty());
    let (Some(response), Some(first)) = (response, chain.first()) else {
        return Ok((None, None));
    };
    let shown = path.display();
    let Some(issuer) = issuer_of(first, &chain[1..], places, watched)? else {
        return Err(format!(
            "'{shown}' cannot be used: the issuer's certificate is neither in '{}' nor beside it",
            places.crt.display()
        ));
    };
    match ocsp::check(&response, first, &issuer, SystemTime::now()) {
        Ok(until) => Ok((Some(response), until)),
        Err(why) => {
            told.push(format!("'{shown}' is not stapled: {why}"));
            Ok((None, None))
        }
    }
}

/// The certificate of who has signed one: out of its chain, else out of the file beside it.
fn issuer_of(
    certificate: &CertificateDer<'static>,
    above: &[CertificateDer<'static>],
    places: &Places,
    watched: &mut Watched,
) -> Result<Option<CertificateDer<'static>>, String> {
    if let Some(found) = above.iter().find(|it| issued(it, certificate)) {
        return Ok(Some(found.clone()));
    }
    let Some(path) = &places.issuer else {
        return Ok(None);
    };
    let pem = watched.read_if_there(path)?;
    Ok(pem.and_then(|pem| CertificateDer::from_pem_slice(&pem).ok()))
}

/// What may be stapled with a certificate.
#[derive(Debug, Clone)]
pub struct Staple {
    /// Where responses to it lie.
    pub file: PathBuf,
    /// What responses call the certificate: a CertID (RFC 6960 section 4.1.1), in DER.
    pub id: Vec<u8>,
}

/// Where the response for a certificate of that chain is, and what it is about; `None` where nobody
/// looks for one or the issuer is unknown.
pub(super) fn staple_of(file: &Path, chain: &[Vec<u8>], tls: &GlobalTls) -> Option<Staple> {
    let places = Places::of(file, tls);
    let chain: Vec<CertificateDer<'static>> = chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    let (first, above) = chain.split_first()?;
    let issuer = issuer_of(first, above, &places, &mut Watched::default()).ok()??;
    Some(Staple {
        file: places.ocsp?,
        id: ocsp::id(first, &issuer)?,
    })
}

/// The host names of a certificate, in lower case, its common name among them as in HAProxy, and
/// whether it has expired.
fn names(certificate: &CertificateDer<'_>) -> Result<(Vec<String>, bool), String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|e| format!("the certificate cannot be understood: {e}"))?;
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    for name in parsed.subject().iter_common_name() {
        if let Ok(name) = name.as_str().map(str::to_ascii_lowercase)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    let expired = !parsed.validity().is_valid();
    Ok((names, expired))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Writes a pair for these names into one file.
    pub(crate) fn write(folder: &Path, file: &str, names: &[&str]) -> PathBuf {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let path = folder.join(file);
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        std::fs::write(&path, pem).expect("a writable folder");
        path
    }

    fn get(store: &Store, file: &Path, told: &mut Vec<String>) -> Result<Arc<Certificate>, String> {
        store.get(file, &GlobalTls::default(), &mut Watched::default(), told)
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).expect("just written")
    }

    #[test]
    fn a_key_that_belongs_to_another_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = text(&write(folder.path(), "1", &["a"]));
        let two = text(&write(folder.path(), "2", &["b"]));
        let certificate = one.split("-----BEGIN PRIVATE").next().expect("one");
        let key = &two[two.find("-----BEGIN PRIVATE").expect("a key")..];
        let mixed = folder.path().join("mixed.pem");
        std::fs::write(&mixed, format!("{certificate}{key}")).expect("a writable folder");
        let error = get(&Store::default(), &mixed, &mut Vec::new()).expect_err("a wrong key");
        assert!(
            error.contains("mixed.pem") && error.contains("does not belong"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_new_file_leaves_the_old_one_in_force_and_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(folder.path(), "a.pem", &["a"]);
        let store = Store::default();
        let mut told = Vec::new();
        let old = get(&store, &file, &mut told).expect("a pair");
        for bad in ["", "garbage", &text(&file)[..300]] {
            std::fs::write(&file, bad).expect("writable");
            told.clear();
            let kept = get(&store, &file, &mut told).expect("the old one");
            assert!(Arc::ptr_eq(&kept, &old));
            assert!(told.len() == 1 && told[0].contains("stays"), "{told:?}");
            told.clear();
            get(&store, &file, &mut told).expect("the old one");
            assert!(told.is_empty(), "{told:?}");
        }
        write(folder.path(), "a.pem", &["b"]);
        let new = get(&store, &file, &mut told).expect("a new pair");
        assert_eq!(new.names[0], "b");
    }

    #[test]
    fn a_staple_lies_beside_the_certificate_with_its_issuer() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(folder.path(), "a.pem", &["a"]);
        let der = CertificateDer::from_pem_file(&file).expect("a certificate");
        let until = "20990101000000Z";
        let response = ocsp::tests::response(&der, &der, 0x80, until);
        std::fs::write(folder.path().join("a.pem.ocsp"), response).expect("writable");
        let error = get(&Store::default(), &file, &mut Vec::new()).expect_err("no issuer");
        assert!(error.contains("issuer"), "{error}");
        std::fs::copy(&file, folder.path().join("a.pem.issuer")).expect("writable");
        let store = Store::default();
        let mut told = Vec::new();
        assert!(get(&store, &file, &mut told).expect("a pair").is_stapled());
        assert_eq!(told, [""; 0]);
        let revoked = ocsp::tests::response(&der, &der, 0xa1, until);
        std::fs::write(folder.path().join("a.pem.ocsp"), revoked).expect("writable");
        assert!(!get(&store, &file, &mut told).expect("a pair").is_stapled());
        assert!(told[0].contains("not stapled"), "{told:?}");
    }

    /// Within the skew that was granted at reading it had run out and was read again, every two seconds.
    #[test]
    fn a_store_says_where_the_files_of_a_certificate_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a pair");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("one.crt"), pair.cert.pem()).expect("writable");
        std::fs::write(at("other.key"), pair.signing_key.serialize_pem()).expect("writable");
        let stored = config::model::StoredCertificate {
            crt: at("one.crt"),
            key: Some(at("other.key")),
            ..Default::default()
        };
        let name = PathBuf::from("@web/one");
        let tls = GlobalTls {
            stored: [(name.clone(), stored)].into(),
            ..GlobalTls::default()
        };
        let (mut watched, mut told) = (Watched::default(), Vec::new());
        let found = Store::default().get(&name, &tls, &mut watched, &mut told);
        assert_eq!(found.expect("a pair").names[0], "a.test");
        let found = Store::default().get(&at("one.crt"), &tls, &mut watched, &mut told);
        assert!(found.is_err_and(|why| why.contains("no private key")));
    }

    #[test]
    fn a_staple_that_has_just_run_out_is_not_taken_for_one_to_be_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(folder.path(), "a.pem", &["a"]);
        let der = CertificateDer::from_pem_file(&file).expect("a certificate");
        let ended = SystemTime::now() - std::time::Duration::from_secs(60);
        let ended = jiff::Timestamp::try_from(ended).expect("a time");
        let ended = ended.strftime("%Y%m%d%H%M%SZ").to_string();
        let response = ocsp::tests::response(&der, &der, 0x80, &ended);
        std::fs::write(folder.path().join("a.pem.ocsp"), response).expect("writable");
        std::fs::copy(&file, folder.path().join("a.pem.issuer")).expect("writable");
        let (store, mut told) = (Store::default(), Vec::new());
        assert!(!get(&store, &file, &mut told).expect("a pair").is_stapled());
        assert!(told[0].contains("expired"), "{told:?}");
        assert!(!store.is_overtaken());
    }

    #[test]
    fn a_staple_that_has_run_out_goes_without_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(folder.path(), "a.pem", &["a"]);
        let der = CertificateDer::from_pem_file(&file).expect("a certificate");
        let response = ocsp::tests::response(&der, &der, 0x80, "20990101000000Z");
        std::fs::write(folder.path().join("a.pem.ocsp"), response).expect("writable");
        std::fs::copy(&file, folder.path().join("a.pem.issuer")).expect("writable");
        let (store, mut told) = (Store::default(), Vec::new());
        assert!(get(&store, &file, &mut told).expect("a pair").is_stapled());
        // In the year 2100.
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_102_444_800);
        store.drop_overtaken(later);
        assert!(!get(&store, &file, &mut told).expect("a pair").is_stapled());
    }

    /// Private CAs still make certificates of version 1, and HAProxy takes them.
    #[test]
    fn a_certificate_of_version_1_is_shown_like_any_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.pem");
        let pem = include_str!("../../tests/ocsp/version1.pem");
        std::fs::write(&file, pem).expect("writable");
        let found = get(&Store::default(), &file, &mut Vec::new()).expect("a pair");
        assert_eq!(found.names, ["a.example"]);
    }
}
