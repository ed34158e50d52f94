//! Certificates from disk: `crt FILE|DIR`, and which one answers to a server name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Certificates of one `bind`, by the names they carry.
#[derive(Debug)]
pub(super) struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    /// The first one given: for clients that name no host, or an unknown one (manual 5.1, "crt").
    default: Arc<CertifiedKey>,
    /// `strict-sni`: an unknown name ends the handshake.
    strict: bool,
}

impl Certificates {
    /// Loads every certificate of the `crt` arguments; the error names the file.
    pub(super) fn load(paths: &[PathBuf], strict: bool) -> Result<Self, String> {
        let mut by_name = HashMap::new();
        let mut default = None;
        for file in files(paths)? {
            let (key, names) = load(&file)?;
            let key = Arc::new(key);
            default.get_or_insert_with(|| key.clone());
            for name in names {
                by_name.entry(name).or_insert_with(|| key.clone());
            }
        }
        let default = default.ok_or("no certificate: give `crt FILE` with certificate and key")?;
        Ok(Self {
            by_name,
            default,
            strict,
        })
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let known = name.and_then(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let wildcard = || {
                name.split_once('.')
                    .map(|(_, domain)| format!("*.{domain}"))
            };
            let exact = self.by_name.get(&name);
            exact.or_else(|| wildcard().and_then(|wildcard| self.by_name.get(&wildcard)))
        });
        match known {
            Some(key) => Some(key.clone()),
            None if self.strict => None,
            None => Some(self.default.clone()),
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// The files behind the `crt` arguments; a folder stands for its files in alphabetical order,
/// dot files, keys and the like aside (manual 5.1, "crt").
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    const NOT_CERTIFICATES: [&str; 4] = ["key", "issuer", "ocsp", "sctl"];
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path)
            .map_err(|e| format!("cannot read the folder '{}': {e}", path.display()))?;
        let mut inside: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|file| file.is_file() && !is_hidden(file))
            .filter(|file| {
                let extension = file.extension().and_then(|e| e.to_str()).unwrap_or("");
                !NOT_CERTIFICATES.contains(&extension)
            })
            .collect();
        inside.sort();
        if inside.is_empty() {
            return Err(format!(
                "the folder '{}' has no certificate in it",
                path.display()
            ));
        }
        files.extend(inside);
    }
    Ok(files)
}

fn is_hidden(file: &Path) -> bool {
    file.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// One PEM file with certificate, chain and key (the key may be in `FILE.key`), and its names.
fn load(file: &Path) -> Result<(CertifiedKey, Vec<String>), String> {
    let shown = file.display();
    let pem = std::fs::read(file).map_err(|e| format!("cannot read '{shown}': {e}"))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("'{shown}' is not a PEM file: {e}"))?;
    let first = chain
        .first()
        .ok_or(format!("'{shown}' has no certificate in it"))?;
    let names = names(first).map_err(|e| format!("'{shown}': {e}"))?;
    let key = private_key(file, &pem)?;
    let signing =
        any_supported_type(&key).map_err(|e| format!("'{shown}': the key cannot be used: {e}"))?;
    let certified = CertifiedKey::new(chain, signing);
    certified
        .keys_match()
        .map_err(|_| format!("'{shown}': the key does not belong to the certificate"))?;
    Ok((certified, names))
}

fn private_key(file: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if let Ok(key) = PrivateKeyDer::from_pem_slice(pem) {
        return Ok(key);
    }
    let mut beside = file.as_os_str().to_owned();
    beside.push(".key");
    let beside = PathBuf::from(beside);
    PrivateKeyDer::from_pem_file(&beside).map_err(|e| {
        format!(
            "no private key in '{}' nor in '{}': {e}",
            file.display(),
            beside.display()
        )
    })
}

/// The host names of a certificate, in lower case: its alternative names, else its common name.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
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
    if names.is_empty() {
        let common = parsed.subject().iter_common_name();
        names.extend(
            common
                .filter_map(|name| name.as_str().ok())
                .map(str::to_ascii_lowercase),
        );
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, file: &str, names: &[&str]) -> PathBuf {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let path = folder.join(file);
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        std::fs::write(&path, pem).expect("a writable folder");
        path
    }

    /// Which file's certificate answers, by asking for the names one after the other.
    #[test]
    fn names_find_their_certificate_exact_first_then_wildcard_then_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let a = write(folder.path(), "a.pem", &["first.example"]);
        let b = write(folder.path(), "b.pem", &["*.example.org"]);
        let c = write(folder.path(), "c.pem", &["x.example.org"]);
        let certificates = Certificates::load(&[a, b, c], false).expect("three certificates");
        let strict = Certificates::load(&[folder.path().into()], true).expect("the same three");
        let name = |certificates: &Certificates, asked: Option<&str>| {
            let key = certificates.find(asked)?;
            Some(names(&key.cert[0]).expect("names").remove(0))
        };
        for (asked, expected, expected_strict) in [
            (None, Some("first.example"), None),
            (
                Some("FIRST.example."),
                Some("first.example"),
                Some("first.example"),
            ),
            (
                Some("x.example.org"),
                Some("x.example.org"),
                Some("x.example.org"),
            ),
            (
                Some("y.example.org"),
                Some("*.example.org"),
                Some("*.example.org"),
            ),
            (Some("z.y.example.org"), Some("first.example"), None),
            (Some("nobody"), Some("first.example"), None),
        ] {
            assert_eq!(name(&certificates, asked).as_deref(), expected, "{asked:?}");
            assert_eq!(
                name(&strict, asked).as_deref(),
                expected_strict,
                "{asked:?} strict"
            );
        }
    }

    #[test]
    fn a_key_that_belongs_to_another_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let pem = |path: &Path| std::fs::read_to_string(path).expect("just written");
        let (one, two) = (
            write(folder.path(), "1", &["a"]),
            write(folder.path(), "2", &["b"]),
        );
        let one = pem(&one)
            .split("-----BEGIN PRIVATE")
            .next()
            .expect("a certificate")
            .to_string();
        let two = pem(&two);
        let key = &two[two.find("-----BEGIN PRIVATE").expect("a key")..];
        let mixed = folder.path().join("mixed.pem");
        std::fs::write(&mixed, one + key).expect("a writable folder");
        let error = Certificates::load(&[mixed], false).expect_err("a wrong key");
        assert!(
            error.contains("mixed.pem") && error.contains("does not belong"),
            "{error}"
        );
    }
}
