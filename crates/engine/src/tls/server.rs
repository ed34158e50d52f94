//! TLS towards clients: what a `bind … ssl` does with a connection. Its certificates and the like are
//! exchanged as a whole when files change; connections under way keep what they have.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use config::crt_list;
use config::model::{BindTls, CertificateSource, ClientVerify, GlobalTls, Mode, TlsPolicy};
use routing::sample::{ConnectionError, TlsFacts};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureAlgorithm};

use super::certificates::{BUNDLE, Store};
use super::client_auth::{ClientAuth, OPEN};
use super::files::Watched;
use super::select::{Asked, Entry, Index};
use super::sessions::{Scoped, SessionCache};
use super::stream::{Greeting, TlsStream};
use super::tickets::{TicketKeys, Ticketer};
use super::{ciphers, failure, handshake};
use crate::stream::{Carrier, Stream};

/// What all `bind` lines share.
pub(crate) struct Common {
    /// `global`.
    pub(crate) tls: GlobalTls,
    /// Certificates by file.
    pub(crate) store: Store,
    /// Sessions for who has no tickets.
    pub(crate) sessions: Arc<SessionCache>,
    ocsp_updates: OcspUpdates,
}

/// What lines say of `ocsp-update`, by the file of the certificate: there is one response for each, and it
/// is either updated or not.
#[derive(Default)]
struct OcspUpdates(Mutex<HashMap<PathBuf, bool>>);

impl OcspUpdates {
    /// Fails where two lines say different things about one certificate.
    fn agree(&self, wanted: &[Wanted], default: bool) -> Result<(), String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in wanted {
            let own = one.ocsp_update.unwrap_or(default);
            let before = *known.entry(one.file.clone()).or_insert(own);
            if before != own {
                let word = |on: bool| if on { "on" } else { "off" };
                return Err(format!(
                    "'{}' is named with a different parameter 'ocsp-update' elsewhere: {} there, {} here",
                    one.file.display(),
                    word(before),
                    word(own)
                ));
            }
        }
        Ok(())
    }
}

impl Common {
    /// The same for another configuration: sessions can be resumed over it.
    pub(crate) fn succeed(&self, tls: &GlobalTls) -> Self {
        let same = tls.cachesize == self.tls.cachesize && tls.lifetime == self.tls.lifetime;
        match same {
            true => Self {
                tls: tls.clone(),
                store: Store::default(),
                sessions: self.sessions.clone(),
                ocsp_updates: OcspUpdates::default(),
            },
            false => Self::new(tls),
        }
    }

    /// Nothing read yet.
    pub(crate) fn new(tls: &GlobalTls) -> Self {
        Self {
            tls: tls.clone(),
            store: Store::default(),
            sessions: Arc::new(SessionCache::new(tls.cachesize, tls.lifetime)),
            ocsp_updates: OcspUpdates::default(),
        }
    }
}

/// What a `bind … ssl` does with a connection.
pub(crate) struct ServerTlsConfig {
    bind: BindTls,
    mode: Mode,
    keys: Arc<TicketKeys>,
    current: ArcSwap<Served>,
    watched: Mutex<Watched>,
}

/// All that files decide.
struct Served {
    index: Arc<Index>,
    /// Settings, that of the `bind` line first.
    contexts: Vec<Context>,
}

/// The settings of a certificate's connections.
struct Context {
    with_alpn: Arc<ServerConfig>,
    /// For clients that offer no protocol of ours: they are served as if they had offered none.
    without_alpn: Arc<ServerConfig>,
    auth: Option<Arc<ClientAuth>>,
}

impl Context {
    fn config(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let ours = &self.with_alpn.alpn_protocols;
        let mut offered = hello.alpn().into_iter().flatten();
        match offered.any(|name| ours.iter().any(|our| our == name)) {
            true => self.with_alpn.clone(),
            false => self.without_alpn.clone(),
        }
    }
}

/// What a client gets by its greeting.
struct Chosen {
    config: Arc<ServerConfig>,
    auth: Option<Arc<ClientAuth>>,
    certificate: Option<Arc<Vec<u8>>>,
    key: Option<Arc<CertifiedKey>>,
    sni: Option<String>,
}

impl ServerTlsConfig {
    /// Loads all that the line names; what else there is to say goes to `told`. The error is a
    /// sentence for the `bind` line.
    /// `before`: what was at this address until now, whose tickets stay good.
    pub(crate) fn load(
        bind: &BindTls,
        mode: Mode,
        common: &Common,
        before: Option<&Self>,
        told: &mut Vec<String>,
    ) -> Result<Self, String> {
        let mut watched = Watched::default();
        let lifetime = common.tls.lifetime;
        let own = |it: &&Self| it.keys.are_own_for(lifetime) && bind.ticket_keys.is_none();
        let keys = match before.filter(own) {
            Some(before) => before.keys.clone(),
            None => {
                let file = bind.ticket_keys.as_deref();
                Arc::new(TicketKeys::load(file, lifetime, &mut watched)?)
            }
        };
        let mut loading = Loading {
            bind,
            mode,
            common,
            keys: &keys,
            watched: &mut watched,
            told,
            at_start: true,
        };
        let served = loading.served()?;
        Ok(Self {
            bind: bind.clone(),
            mode,
            keys,
            current: ArcSwap::from_pointee(served),
            watched: Mutex::new(watched),
        })
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether a file has changed.
    pub(super) fn has_changed(&self) -> bool {
        self.watched().has_changed()
    }

    /// Whether none of its files can be seen any more.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.watched().is_out_of_reach()
    }

    /// Files of certificates in use.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let current = self.current.load();
        let entries = current.index.entries().iter();
        entries
            .map(|entry| entry.certificate.path.clone())
            .collect()
    }

    /// Calls `each` for every name that certificates answer to: the name, what it does not match, the
    /// kind of key, the file and the certificate.
    pub(crate) fn each_name(
        &self,
        mut each: impl FnMut(&str, &[String], &'static str, &Path, &Arc<Vec<u8>>),
    ) {
        let current = self.current.load();
        for (name, entry) in current.index.names() {
            let certificate = &entry.certificate;
            let kind = match certificate.algorithm() {
                SignatureAlgorithm::RSA => "rsa",
                SignatureAlgorithm::ECDSA => "ecdsa",
                _ => "-",
            };
            each(
                &name,
                &entry.denied,
                kind,
                &certificate.path,
                &certificate.der,
            );
        }
    }

    /// Makes a new ticket key when that is due.
    pub(super) fn rotate(&self) {
        self.keys.rotate(SystemTime::now());
    }

    /// Takes off staples that have run out where files cannot be read again.
    pub(super) fn drop_overtaken(&self, now: SystemTime) {
        let current = self.current.load();
        let Some(index) = current.index.without_overtaken(now) else {
            return;
        };
        let index = Arc::new(index);
        let with_index = |config: &Arc<ServerConfig>| {
            let mut config = ServerConfig::clone(config);
            config.cert_resolver = index.clone();
            Arc::new(config)
        };
        let contexts = current.contexts.iter().map(|context| Context {
            with_alpn: with_index(&context.with_alpn),
            without_alpn: with_index(&context.without_alpn),
            auth: context.auth.clone(),
        });
        let contexts = contexts.collect();
        self.current.store(Arc::new(Served { index, contexts }));
    }

    /// Reads everything again. What cannot be used stays as it was and is told.
    pub(super) fn reload(&self, common: &Common, told: &mut Vec<String>) {
        let known = self.watched().renewed();
        let mut watched = Watched::default();
        if let Some(file) = &self.bind.ticket_keys
            && let Err(why) = self.keys.reload(file, &mut watched)
        {
            told.push(why);
        }
        let mut loading = Loading {
            bind: &self.bind,
            mode: self.mode,
            common,
            keys: &self.keys,
            watched: &mut watched,
            told,
            at_start: false,
        };
        match loading.served() {
            Ok(served) => self.current.store(Arc::new(served)),
            Err(why) => {
                told.push(format!("{why}; what was in use stays"));
                // It may have ended before it came to them, and they are in use all the same.
                watched.extend(&known);
            }
        }
        *self.watched() = watched;
    }

    /// Shakes hands. The caller sets the time limit.
    pub(crate) async fn accept(
        &self,
        mut carrier: Carrier,
        keeps_chain: bool,
    ) -> Result<(Stream, TlsFacts), ConnectionError> {
        let mut greeting = Greeting::default();
        // The greeting taken apart is kilobytes, and is not kept while the handshake waits.
        let chosen = poll_fn(|cx| {
            let read = ready!(greeting.poll_read(cx, &mut carrier));
            Poll::Ready(match read {
                Ok(accepted) => self.choose(&accepted.client_hello()),
                Err(error) => Err(failure::of(&error, 0)),
            })
        });
        let chosen = chosen.await?;
        let shaking = TlsStream::accept(carrier, chosen.config, greeting.bytes);
        let shaken = handshake::noting(chosen.key, shaking).await;
        let (tls, mut passed) = shaken.map_err(|(error, depth)| failure::of(&error, depth))?;
        let (sni, auth, certificate) = (chosen.sni, chosen.auth, chosen.certificate);
        let connection = tls.state();
        let mut facts = super::facts(connection, sni.as_deref());
        facts.certificate = certificate;
        if let Some(mut shown) = super::client_certificate(connection) {
            // Nobody has looked at the certificate of an earlier session.
            if let Some(auth) = auth.as_ref().filter(|_| facts.resumed) {
                let chain = connection.peer_certificates().unwrap_or_default();
                let again = auth.passed_again(chain);
                passed = again.ok_or(ConnectionError::ClientCertificate)?;
            }
            shown.error = passed.own;
            (shown.ca_error, shown.ca_depth) = (passed.ca, passed.ca_depth);
            let chain = connection.peer_certificates().filter(|_| keeps_chain);
            if let Some((leaf, above)) = chain.and_then(<[_]>::split_first) {
                shown.chain = super::in_one(above).into();
                let root = auth.filter(|_| passed == handshake::Passed::default());
                let root = root.and_then(|auth| auth.root_of(leaf, above));
                shown.root = root.unwrap_or_default();
            }
            facts.client = Some(Box::new(shown));
        }
        Ok((Stream::Tls(tls), facts))
    }

    /// Which settings and which certificate a client gets.
    fn choose(&self, hello: &ClientHello<'_>) -> Result<Chosen, ConnectionError> {
        let served = self.current.load();
        let entry = served.index.pick(&Asked::of(hello));
        let position = entry.map_or(0, |entry| entry.context);
        let context = served.contexts.get(position).or(served.contexts.first());
        let context = context.ok_or(ConnectionError::Handshake)?;
        Ok(Chosen {
            config: context.config(hello),
            auth: context.auth.clone(),
            certificate: entry.map(|entry| entry.certificate.der.clone()),
            key: entry.map(|entry| entry.key.clone()),
            sni: hello.server_name().map(str::to_owned),
        })
    }
}

/// Reading what a `bind` line names.
struct Loading<'a> {
    bind: &'a BindTls,
    mode: Mode,
    common: &'a Common,
    keys: &'a Arc<TicketKeys>,
    watched: &'a mut Watched,
    told: &'a mut Vec<String>,
    /// Later a file that cannot be used is left out instead of everything refused.
    at_start: bool,
}

/// A certificate to be loaded.
struct Wanted {
    file: PathBuf,
    policy: Option<Arc<TlsPolicy>>,
    filters: Vec<crt_list::Filter>,
    is_default: bool,
    /// `ocsp-update` of its line.
    ocsp_update: Option<bool>,
}

impl Loading<'_> {
    fn served(&mut self) -> Result<Served, String> {
        let wanted = self.wanted()?;
        if self.at_start {
            self.common
                .ocsp_updates
                .agree(&wanted, self.common.tls.ocsp_update)?;
        }
        let mut policies = vec![self.bind.policy.clone()];
        let mut positions = HashMap::from([(self.bind.policy.clone(), 0)]);
        let mut index = Index::new(self.bind.strict_sni);
        for one in wanted {
            let policy = one.policy.as_deref().unwrap_or(&self.bind.policy);
            // Looked up, not compared with all: a list may have 200,000 lines.
            let context = positions.get(policy).copied().unwrap_or_else(|| {
                positions.insert(policy.clone(), policies.len());
                policies.push(policy.clone());
                policies.len() - 1
            });
            let (store, tls) = (&self.common.store, &self.common.tls);
            let certificate = match store.get(&one.file, tls, self.watched, self.told) {
                Ok(certificate) => certificate,
                Err(why) if self.at_start => return Err(why),
                Err(why) => {
                    self.told.push(format!("{why}; it is left out"));
                    continue;
                }
            };
            let choice = &policies[context].choice;
            let denied = one.filters.iter().filter(|filter| filter.negated);
            let entry = Entry {
                key: certificate.certified(choice.sigalgs.as_deref()),
                certificate: certificate.clone(),
                context,
                choice: choice.clone(),
                denied: denied.map(|filter| filter.name.clone()).collect(),
            };
            let filters = one.filters.iter().filter(|filter| !filter.negated);
            let mut names: Vec<&str> = filters.map(|filter| filter.name.as_str()).collect();
            if one.filters.is_empty() {
                names.extend(certificate.names.iter().map(String::as_str));
            }
            if one.is_default {
                names.push("*");
            }
            index.add(entry, names);
        }
        if index.is_empty() && !self.bind.strict_sni {
            let folder = self
                .bind
                .certificates
                .iter()
                .find_map(|source| match source {
                    CertificateSource::Crt(path) if path.is_dir() => Some(path.display()),
                    _ => None,
                });
            return Err(match folder {
                Some(folder) => format!("the folder '{folder}' has no certificate in it"),
                None => "no certificate: give `crt FILE` with certificate and key".into(),
            });
        }
        let index = Arc::new(index);
        let contexts = policies.iter().map(|policy| self.context(policy, &index));
        let contexts = contexts.collect::<Result<_, _>>()?;
        Ok(Served { index, contexts })
    }

    /// All certificates of the line, in order.
    fn wanted(&mut self) -> Result<Vec<Wanted>, String> {
        let mut wanted = Vec::new();
        for source in &self.bind.certificates {
            match source {
                CertificateSource::Crt(path) => {
                    let files = self.files(path)?;
                    wanted.extend(files.into_iter().map(Wanted::plain));
                }
                CertificateSource::Default(path) => {
                    let files = self.files(path)?.into_iter().map(Wanted::plain);
                    wanted.extend(files.map(|one| Wanted {
                        is_default: true,
                        ..one
                    }));
                }
                CertificateSource::List(path) => self.list(path, &mut wanted)?,
            }
        }
        Ok(wanted)
    }

    fn list(&mut self, path: &Path, wanted: &mut Vec<Wanted>) -> Result<(), String> {
        let shown = path.display();
        let text = self.watched.read(path)?;
        let text = String::from_utf8(text).map_err(|_| format!("'{shown}' is not text"))?;
        let list = crt_list::parse(&text, self.bind)
            .map_err(|wrong| format!("crt-list '{shown}', {}", wrong.join("; ")))?;
        // Said once, at start: thousands of lines tend to say the same.
        let mut said = HashSet::new();
        for notice in list.notices.iter().filter(|_| self.at_start) {
            let text = notice
                .split_once(": ")
                .map_or(notice.as_str(), |(_, text)| text);
            if said.insert(text) {
                self.told.push(format!("crt-list '{shown}', {notice}"));
            }
        }
        for entry in list.entries {
            for file in self.bundle(&entry.crt) {
                wanted.push(Wanted {
                    file,
                    policy: entry.policy.clone(),
                    filters: entry.filters.clone(),
                    is_default: false,
                    ocsp_update: entry.ocsp_update,
                });
            }
        }
        Ok(())
    }

    /// The files a `crt` stands for: itself, those of a folder in alphabetical order, or a bundle.
    fn files(&mut self, path: &Path) -> Result<Vec<PathBuf>, String> {
        const NOT_CERTIFICATES: [&str; 4] = ["key", "issuer", "ocsp", "sctl"];
        if !path.is_dir() {
            return Ok(self.bundle(path));
        }
        let mut files = self.watched.folder(path)?;
        files.retain(|file| {
            let extension = file.extension().and_then(|it| it.to_str()).unwrap_or("");
            !NOT_CERTIFICATES.contains(&extension)
        });
        Ok(files)
    }

    /// `FILE`, or where there is none `FILE.rsa` and `FILE.ecdsa` as far as they are there.
    fn bundle(&mut self, path: &Path) -> Vec<PathBuf> {
        self.watched.note(path);
        if self.common.tls.extra_files.bundle && !super::files::exists(path) {
            let parts = BUNDLE.map(|kind| super::files::beside(path, kind, false));
            parts.iter().for_each(|part| self.watched.note(part));
            let there: Vec<PathBuf> = parts
                .into_iter()
                .filter(|part| super::files::exists(part))
                .collect();
            if !there.is_empty() {
                return there;
            }
        }
        vec![path.to_owned()]
    }

    fn context(&mut self, policy: &TlsPolicy, index: &Arc<Index>) -> Result<Context, String> {
        if self.at_start && policy.verify == ClientVerify::None {
            self.look_at_unused(policy)?;
        }
        let provider = Arc::new(ciphers::provider(&policy.choice));
        let auth = ClientAuth::load(policy, self.bind, &provider, self.watched)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&ciphers::versions(policy.choice.versions))
            .map_err(|e| format!("TLS versions: {e}"))?;
        let builder = match &auth {
            Some(auth) => builder.with_client_cert_verifier(auth.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(index.clone());
        config.ignore_client_order = !policy.prefer_client_ciphers;
        let scope = auth.as_ref().map_or(OPEN, |auth| auth.scope());
        self.resumption(&mut config, scope);
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = protocols(policy, self.mode);
        Ok(Context {
            with_alpn: Arc::new(config),
            without_alpn,
            auth,
        })
    }

    /// CA and CRL files that are named though clients are not asked must be there all the same.
    fn look_at_unused(&self, policy: &TlsPolicy) -> Result<(), String> {
        let mut unwatched = Watched::default();
        for file in [&policy.ca_file, &policy.ca_verify_file]
            .into_iter()
            .flatten()
        {
            super::trust::roots(file, &mut unwatched)?;
        }
        match &policy.crl_file {
            Some(file) => super::trust::crls(file, &mut unwatched).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Tickets, or with `no-tls-tickets` the cache. With tickets nothing is kept here: the cache
    /// would be one lock for every handshake. One ticket is what a client that reconnects needs.
    fn resumption(&self, config: &mut ServerConfig, scope: super::tickets::Scope) {
        let alive = self.common.tls.lifetime > Duration::ZERO;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if !alive {
            return;
        }
        config.send_tls13_tickets = 1;
        if self.bind.no_tickets {
            config.session_storage = Arc::new(Scoped {
                cache: self.common.sessions.clone(),
                scope,
            });
        } else {
            config.ticketer = Arc::new(Ticketer {
                keys: self.keys.clone(),
                scope,
            });
        }
    }
}

impl Wanted {
    fn plain(file: PathBuf) -> Self {
        Self {
            file,
            policy: None,
            filters: Vec::new(),
            is_default: false,
            ocsp_update: None,
        }
    }
}

/// What is offered of `alpn`: with HTTP what is served, else everything, for the node to deal with.
fn protocols(policy: &TlsPolicy, mode: Mode) -> Vec<Vec<u8>> {
    let served = |name: &str| mode == Mode::Tcp || ["http/1.1", "http/1.0"].contains(&name);
    let offered = policy.alpn.iter().filter(|name| served(name));
    offered.map(|name| name.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certificates::tests::write;

    fn load(bind: &BindTls, mode: Mode) -> Result<Arc<Served>, String> {
        let common = Common::new(&GlobalTls::default());
        let tls = ServerTlsConfig::load(bind, mode, &common, None, &mut Vec::new())?;
        Ok(tls.current.load_full())
    }

    #[test]
    fn tickets_are_given_unless_no_tls_tickets_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = write(folder.path(), "a.pem", &["a.example"]);
        for no_tickets in [false, true] {
            let bind = BindTls {
                certificates: vec![CertificateSource::Crt(path.clone())],
                no_tickets,
                ..BindTls::default()
            };
            let served = load(&bind, Mode::Http).expect("one certificate");
            let config = &served.contexts[0].with_alpn;
            assert_eq!(config.ticketer.enabled(), !no_tickets);
            assert_eq!(config.session_storage.can_cache(), no_tickets);
        }
    }

    #[test]
    fn what_many_lines_of_a_list_say_is_told_once_and_not_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(folder.path(), "a.pem", &["a.example"]);
        let list = folder.path().join("list");
        let line = format!("{} [alpn h2,http/1.1]\n", file.display());
        std::fs::write(&list, line.repeat(50)).expect("writable");
        let bind = BindTls {
            certificates: vec![CertificateSource::List(list)],
            ..BindTls::default()
        };
        let common = Common::new(&GlobalTls::default());
        let mut told = Vec::new();
        let tls =
            ServerTlsConfig::load(&bind, Mode::Http, &common, None, &mut told).expect("a list");
        assert_eq!(told.len(), 1, "{told:?}");
        told.clear();
        tls.reload(&common, &mut told);
        assert_eq!(told, [""; 0]);
        assert_eq!(
            tls.current.load().contexts.len(),
            2,
            "equal settings are shared"
        );
    }

    #[test]
    fn http_offers_what_is_served_and_tcp_what_is_written() {
        let policy = TlsPolicy {
            alpn: vec!["h2".into(), "http/1.1".into()],
            ..TlsPolicy::default()
        };
        assert_eq!(protocols(&policy, Mode::Http), [b"http/1.1"]);
        assert_eq!(protocols(&policy, Mode::Tcp), [&b"h2"[..], b"http/1.1"]);
    }

    #[test]
    fn folders_bundles_and_lists_give_their_certificates_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("d")).expect("a folder");
        for (file, name) in [
            ("d/b.pem", "b"),
            ("d/a.pem", "a"),
            ("d/.hidden", "h"),
            ("bundle.pem.ecdsa", "bundle"),
            ("listed.pem", "listed"),
        ] {
            write(folder.path(), file, &[name]);
        }
        std::fs::write(at("d/a.pem.ocsp"), "").expect("writable");
        std::fs::write(at("list"), "listed.pem [alpn http/1.1] *.x !y.x\n").expect("writable");
        let bind = BindTls {
            certificates: vec![
                CertificateSource::Crt(at("d")),
                CertificateSource::Crt(at("bundle.pem")),
                CertificateSource::List(at("list")),
            ],
            crt_base: Some(folder.path().to_owned()),
            ..BindTls::default()
        };
        let served = load(&bind, Mode::Http).expect("certificates");
        let entries = served.index.entries().iter();
        let found: Vec<_> = entries
            .map(|entry| (entry.certificate.names[0].as_str(), entry.context))
            .collect();
        assert_eq!(found, [("a", 0), ("b", 0), ("bundle", 0), ("listed", 1)]);
        let none = BindTls {
            certificates: vec![CertificateSource::Crt(at("no-such"))],
            ..BindTls::default()
        };
        let error = load(&none, Mode::Http).err().expect("no such file");
        assert!(error.contains("no-such"), "{error}");
    }
}
