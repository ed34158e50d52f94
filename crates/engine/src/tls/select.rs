//! Which certificate a client is shown: by the name it asks for, then by the kind of key it can deal
//! with (manual 5.1, "crt", "crt-list", "strict-sni").

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use config::model::TlsChoice;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureAlgorithm, SignatureScheme};

use super::certificates::Certificate;
use super::{ciphers, handshake};

/// A certificate under the names it answers to.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// What is shown.
    pub(super) key: Arc<CertifiedKey>,
    /// What it is.
    pub(super) certificate: Arc<Certificate>,
    /// Which settings its connections get, by position.
    pub(super) context: usize,
    /// What those offer.
    pub(super) choice: TlsChoice,
    /// Names its wildcards do not match.
    pub(super) denied: Vec<String>,
}

/// What a client says of itself, as far as it matters here.
pub(super) struct Asked<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) schemes: &'a [SignatureScheme],
    pub(super) suites: &'a [CipherSuite],
}

impl<'a> Asked<'a> {
    pub(super) fn of(hello: &'a ClientHello<'_>) -> Self {
        Self {
            name: hello.server_name(),
            schemes: hello.signature_schemes(),
            suites: hello.cipher_suites(),
        }
    }
}

/// All certificates of a `bind`, by name.
#[derive(Debug, Default, Clone)]
pub(super) struct Index {
    entries: Vec<Entry>,
    exact: HashMap<String, Vec<usize>>,
    /// By what stands behind `*.`.
    wild: HashMap<String, Vec<usize>>,
    /// For clients that name no host, or an unknown one.
    defaults: Vec<usize>,
    /// `strict-sni`: there is no default.
    strict: bool,
}

impl Index {
    pub(super) fn new(strict: bool) -> Self {
        Self {
            strict,
            ..Self::default()
        }
    }

    /// Adds a certificate under these names, in lower case; `*` makes it a default, and so does being
    /// the first.
    pub(super) fn add<'a>(&mut self, entry: Entry, names: impl IntoIterator<Item = &'a str>) {
        let position = self.entries.len();
        if position == 0 {
            self.defaults.push(position);
        }
        for name in names {
            let places = match (name, name.strip_prefix("*.")) {
                ("*", _) => &mut self.defaults,
                (_, Some(domain)) => self.wild.entry(domain.to_owned()).or_default(),
                (name, None) => self.exact.entry(name.to_owned()).or_default(),
            };
            if !places.contains(&position) {
                places.push(position);
            }
        }
        self.entries.push(entry);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All names with whose they are: exact ones, wildcards, the default.
    pub(super) fn names(&self) -> Vec<(String, &Entry)> {
        let mut names = Vec::new();
        let mut add = |name: &str, places: &[usize]| {
            let entries = places.iter().filter_map(|at| self.entries.get(*at));
            names.extend(entries.map(|entry| (name.to_owned(), entry)));
        };
        let mut sorted: Vec<_> = self.exact.iter().collect();
        sorted.sort();
        for (name, places) in sorted {
            add(name, places);
        }
        if !self.strict {
            add("*", &self.defaults);
        }
        let mut sorted: Vec<_> = self.wild.iter().collect();
        sorted.sort();
        for (domain, places) in sorted {
            add(&format!("*.{domain}"), places);
        }
        names
    }

    /// What is known of all of them.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same without staples that have run out; `None`: there are none.
    pub(super) fn without_overtaken(&self, now: SystemTime) -> Option<Self> {
        let is_overtaken = |entry: &Entry| entry.certificate.is_overtaken(now);
        if !self.entries.iter().any(is_overtaken) {
            return None;
        }
        let mut new = self.clone();
        for entry in new.entries.iter_mut().filter(|entry| is_overtaken(entry)) {
            entry.certificate = Arc::new(entry.certificate.unstapled());
            entry.key = entry.certificate.certified(entry.choice.sigalgs.as_deref());
        }
        Some(new)
    }

    /// The certificate for a client; `None` ends the handshake.
    pub(super) fn pick(&self, asked: &Asked<'_>) -> Option<&Entry> {
        let name = asked.name.map(|name| {
            let name = name.strip_suffix('.').unwrap_or(name);
            name.to_ascii_lowercase()
        });
        if let Some(name) = name.as_deref() {
            let exact: Vec<&Entry> = self.at(self.exact.get(name)).collect();
            if let Some(found) = best(&exact, asked) {
                return Some(found);
            }
            let domain = name.split_once('.').map(|(_, domain)| domain);
            let wild = domain.and_then(|domain| self.wild.get(domain));
            let denied = |entry: &&Entry| entry.denied.iter().any(|denied| denied == name);
            let wild: Vec<&Entry> = self.at(wild).filter(|entry| !denied(entry)).collect();
            // Where the client can deal with none of them, the handshake says so.
            let any = || exact.first().or(wild.first()).copied();
            if let Some(found) = best(&wild, asked).or_else(any) {
                return Some(found);
            }
        }
        if self.strict {
            return None;
        }
        let defaults: Vec<&Entry> = self.at(Some(&self.defaults)).collect();
        best(&defaults, asked).or(defaults.first().copied())
    }

    fn at(&self, places: Option<&Vec<usize>>) -> impl Iterator<Item = &Entry> {
        let places = places.map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| self.entries.get(*place))
    }
}

/// Of several the first whose key the client can deal with, ECDSA before others, as in HAProxy.
fn best<'a>(entries: &[&'a Entry], asked: &Asked<'_>) -> Option<&'a Entry> {
    let usable = || entries.iter().filter(|entry| entry.suits(asked)).copied();
    let modern = |entry: &&Entry| entry.certificate.algorithm() != SignatureAlgorithm::RSA;
    usable().find(modern).or_else(|| usable().next())
}

impl Entry {
    fn suits(&self, asked: &Asked<'_>) -> bool {
        let algorithm = self.certificate.algorithm();
        self.key.key.choose_scheme(asked.schemes).is_some()
            && ciphers::can_sign(&self.choice, algorithm, asked.suites)
    }
}

impl ResolvesServerCert for Index {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Chosen when the greeting was read, for its settings: the key must be of the same entry.
        handshake::picked().or_else(|| self.pick(&Asked::of(&hello)).map(|entry| entry.key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use config::model::GlobalTls;
    use std::path::Path;

    use super::*;
    use crate::tls::certificates::{Store, tests::write};
    use crate::tls::files::Watched;

    fn entry(path: &Path, denied: &[&str]) -> Entry {
        let tls = GlobalTls::default();
        let certificate = Store::default()
            .get(path, &tls, &mut Watched::default(), &mut Vec::new())
            .expect("a pair");
        Entry {
            key: certificate.certified(None),
            certificate,
            context: 0,
            choice: TlsChoice::default(),
            denied: denied.iter().map(ToString::to_string).collect(),
        }
    }

    /// Certificates in order, each with its names, and whose answers to a name.
    fn check(
        lines: &[(&str, &[&str], &[&str])],
        cases: &[(Option<&str>, Option<&str>, Option<&str>)],
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let [mut open, mut strict] = [false, true].map(Index::new);
        for (file, names, denied) in lines {
            let path = write(folder.path(), file, &[file]);
            open.add(entry(&path, denied), names.iter().copied());
            strict.add(entry(&path, denied), names.iter().copied());
        }
        for (name, expected, expected_strict) in cases {
            let asked = Asked {
                name: *name,
                schemes: &[SignatureScheme::ECDSA_NISTP256_SHA256],
                suites: &[CipherSuite::TLS13_AES_128_GCM_SHA256],
            };
            let found = |index: &Index| Some(index.pick(&asked)?.certificate.names[0].clone());
            assert_eq!(found(&open).as_deref(), *expected, "{name:?}");
            assert_eq!(
                found(&strict).as_deref(),
                *expected_strict,
                "{name:?} strict"
            );
        }
    }

    #[test]
    fn names_find_their_certificate_exact_first_then_wildcard_then_the_default() {
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        check(
            &[
                ("a", &["first.example"], &[]),
                ("b", &["*.example.org"], &[]),
                ("c", &["x.example.org", "first.example"], &[]),
            ],
            &[
                (None, a, None),
                (Some("FIRST.example."), a, a),
                (Some("x.example.org"), c, c),
                (Some("y.example.org"), b, b),
                (Some("z.y.example.org"), a, None),
                (Some("nobody"), a, None),
                (Some(""), a, None),
            ],
        );
    }

    #[test]
    fn a_wildcard_leaves_out_what_its_line_denies() {
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        check(
            &[
                ("a", &["a"], &[]),
                ("b", &["*.d.example"], &["secure.d.example"]),
                ("c", &["*.d.example", "*"], &[]),
            ],
            &[
                (Some("www.d.example"), b, b),
                (Some("secure.d.example"), c, c),
                (Some("other"), a, None),
            ],
        );
    }
}
