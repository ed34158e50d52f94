//! TLS towards nodes: `server … ssl verify ca-file crl-file crt sni`, and for their checks.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use config::model::sequence::Sequence;
use config::model::{Check, GlobalTls, Server, ServerTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    Resumption, Tls12Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor,
    verify_server_name,
};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificates::Store;
use super::files::Watched;
use super::revocation::Lists;
use super::stream::TlsStream;
use super::{RootCache, chain, ciphers, signed, trust};
use crate::stream::{Carrier, Stream};

/// Names per server whose sessions are kept for resumption: a server has few, and a request that
/// chooses the name must not fill memory.
const SESSIONS_MAX: usize = 32;

/// How to speak TLS to one server. Its clones are exchanged together.
#[derive(Clone)]
pub(crate) struct ClientTls(Arc<Inner>);

struct Inner {
    settings: ServerTls,
    config: ArcSwap<ClientConfig>,
    /// How often the files were read since the first time.
    reading: AtomicU64,
    seen: Mutex<Seen>,
}

/// What it was made of.
struct Seen {
    watched: Watched,
    roots: Option<Arc<RootCertStore>>,
}

/// What servers need beside their own lines.
pub(crate) struct Shelf {
    /// Trusted roots by file.
    pub(crate) roots: RootCache,
    /// Certificates we show.
    pub(crate) store: Store,
    /// `global`.
    pub(crate) tls: GlobalTls,
}

impl Shelf {
    /// Nothing read yet.
    pub(crate) fn new(tls: &GlobalTls) -> Self {
        Self {
            roots: RootCache::default(),
            store: Store::default(),
            tls: tls.clone(),
        }
    }
}

/// TLS towards one server.
#[derive(Clone, Default)]
pub(crate) struct NodeTls {
    /// Of requests and tunnels, with `ssl`.
    pub(crate) traffic: Option<ClientTls>,
    /// Of checks.
    pub(crate) checks: Option<ClientTls>,
}

impl NodeTls {
    /// Makes ready what a server says; the error is a sentence for its line.
    pub(crate) fn load(server: &Server, steps: &Sequence, shelf: &Shelf) -> Result<Self, String> {
        let load = |tls| ClientTls::load(tls, shelf);
        // What is switched on later is read now, while files are in reach.
        let switchable = Some(&server.tls_parameters).filter(|_| server.tls_switchable);
        let traffic = server.tls.as_ref().or(switchable).map(load).transpose()?;
        let wanted = |check: &&Check| check.tls || steps.wants_tls();
        let checks = match server.check.as_ref().filter(wanted) {
            None => None,
            Some(check) => {
                let own = server.tls.as_ref().unwrap_or(&server.tls_parameters);
                // `alpn` is not for checks (manual 5.2, "check").
                let alpn = steps.alpn().unwrap_or(&check.alpn);
                // A name that is written down for checks is looked for in the certificate.
                let counts = own.sni_is_auto && (check.sni.is_some() || steps.names_servers());
                match &traffic {
                    Some(traffic) if own.alpn == *alpn && !counts => Some(traffic.clone()),
                    _ => {
                        let mut own = own.clone();
                        own.sni_is_auto &= !counts;
                        own.alpn = alpn.to_vec();
                        Some(ClientTls::load(&own, shelf)?)
                    }
                }
            }
        };
        Ok(Self { traffic, checks })
    }
}

impl ClientTls {
    /// Makes ready what `server … ssl` says; the error is a sentence for the `server` line.
    pub(crate) fn load(server: &ServerTls, shelf: &Shelf) -> Result<Self, String> {
        let (config, seen) = make(server, shelf, &mut Vec::new())?;
        Ok(Self(Arc::new(Inner {
            settings: server.clone(),
            config: ArcSwap::from_pointee(config),
            reading: AtomicU64::new(0),
            seen: Mutex::new(seen),
        })))
    }

    /// Reads everything again if a file has changed. What cannot be used stays and is told.
    pub(super) fn reload(&self, shelf: &Shelf, told: &mut Vec<String>) -> bool {
        let settings = &self.0.settings;
        let roots = || shelf.roots.roots(settings.ca_file.as_deref()).ok();
        {
            let seen = self.seen();
            let same_roots = match (&seen.roots, settings.verify.then(roots).flatten()) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, &new),
                _ => true,
            };
            if same_roots && !seen.watched.has_changed() {
                return false;
            }
        }
        // What it looks at if this goes wrong: all that it did, for one of them must change.
        let renewed = self.seen().watched.renewed();
        match make(settings, shelf, told) {
            Ok((config, seen)) => {
                self.0.config.store(Arc::new(config));
                self.0.reading.fetch_add(1, Relaxed);
                *self.seen() = seen;
                true
            }
            Err(why) => {
                told.push(format!("{why}; what was in use stays"));
                // Told once: the next change is one from here.
                let roots = settings.verify.then(roots).flatten();
                let mut seen = self.seen();
                seen.watched = renewed;
                seen.roots = roots.or(seen.roots.take());
                false
            }
        }
    }

    /// Which reading of the files is in use: a connection made by another one trusts what is not
    /// trusted any more, and shows what was replaced.
    pub(crate) fn reading(&self) -> u64 {
        self.0.reading.load(Relaxed)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Shakes hands, naming `sni` where there is one. The caller sets the time limit.
    pub(crate) async fn connect(&self, carrier: Carrier, sni: Option<&str>) -> io::Result<Stream> {
        let name = match sni.map(name_of) {
            Some(Ok(name)) => name,
            // `sni req.hdr(host)` with what is no name: nothing to send, and nothing to verify by.
            Some(Err(why)) if self.0.settings.verify && !self.0.settings.sni_is_auto => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            Some(Err(_)) | None => nameless(),
        };
        let tls = TlsStream::connect(carrier, self.0.config.load_full(), name).await?;
        Ok(Stream::Tls(tls))
    }
}

fn make(
    server: &ServerTls,
    shelf: &Shelf,
    told: &mut Vec<String>,
) -> Result<(ClientConfig, Seen), String> {
    let choice = &server.choice;
    let provider = Arc::new(ciphers::provider(choice));
    let mut watched = Watched::default();
    // A file that is named must be there, believed or not, as in HAProxy.
    let roots = (server.verify || server.ca_file.is_some())
        .then(|| shelf.roots.roots(server.ca_file.as_deref()))
        .transpose()?
        .filter(|_| server.verify);
    let verifyhost = server.verifyhost.as_deref().map(host_name).transpose()?;
    let crl = |path: &std::path::PathBuf| trust::crls(path, &mut watched);
    let crls = server.crl_file.as_ref().map(crl).transpose()?;
    let algorithms = &provider.signature_verification_algorithms;
    let (revocation, lists) = match (&roots, crls) {
        (Some(roots), Some(crls)) => {
            let lists = Lists::new(&crls, roots.clone(), algorithms)?;
            let build = || {
                WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
                    .with_crls(crls)
                    .enforce_revocation_expiration()
                    .build()
                    .map_err(|e| format!("CRL file: {e}"))
            };
            let revocation = (!lists.has_old()).then(build).transpose()?;
            (revocation, Some(lists))
        }
        _ => (None, None),
    };
    let verifier = Verifier {
        provider: provider.clone(),
        roots: roots.clone(),
        revocation,
        lists,
        verifyhost,
        names_count: !server.sni_is_auto,
        schemes: choice.sigalgs.as_deref().map(ciphers::schemes),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&ciphers::versions(choice.versions))
        .map_err(|e| format!("TLS versions: {e}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &server.crt {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let certificate = shelf.store.get(file, &shelf.tls, &mut watched, told)?;
            let key = certificate.certified(choice.client_sigalgs.as_deref());
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    };
    config.alpn_protocols = server.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.resumption = match server.reuse {
        false => Resumption::disabled(),
        true => {
            Resumption::in_memory_sessions(SESSIONS_MAX).tls12_resumption(match server.tickets {
                true => Tls12Resumption::SessionIdOrTickets,
                false => Tls12Resumption::SessionIdOnly,
            })
        }
    };
    Ok((config, Seen { watched, roots }))
}

/// A name to send; a port behind it, as in a Host header, is none of it.
fn name_of(sni: &str) -> Result<ServerName<'static>, String> {
    let host = match sni.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => sni,
    };
    host_name(host).or_else(|_| host_name(sni))
}

/// A name of a node, or its address; never [`nameless`].
fn host_name(name: &str) -> Result<ServerName<'static>, String> {
    let known = ServerName::try_from(name.to_owned()).ok();
    let named = known.filter(|known| *known != nameless());
    named.ok_or_else(|| format!("'{name}' is no host name"))
}

/// That no name was given. rustls wants one; an address is never sent, and this one is nobody's.
fn nameless() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

/// What a node's certificate must be (manual 5.2): with `verify required` signed by a trusted root
/// and, if a name is known, made out to it: the name sent, else `verifyhost`. With `verify none`
/// any certificate will do, but the handshake itself must be genuine.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None`: `verify none`.
    roots: Option<Arc<RootCertStore>>,
    /// With `crl-file`: it looks at the way up and at revocation.
    revocation: Option<Arc<WebPkiServerVerifier>>,
    /// With `crl-file`: for what rustls does not look at.
    lists: Option<Lists>,
    verifyhost: Option<ServerName<'static>>,
    /// Whether the name that is sent must be the certificate's.
    names_count: bool,
    schemes: Option<Vec<SignatureScheme>>,
}

impl Verifier {
    /// Whether a trusted root has signed it, and nobody has taken it back.
    fn verify_chain(
        &self,
        roots: &RootCertStore,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let is_old = signed::is_version_one(certificate);
        let Some(revocation) = self.revocation.as_ref().filter(|_| !is_old) else {
            match is_old {
                true => signed::verify_version_one(certificate, roots, algorithms, now)
                    .map_err(rustls::Error::InvalidCertificate)?,
                false => verify_server_cert_signed_by_trust_anchor(
                    &ParsedCertificate::try_from(certificate)?,
                    roots,
                    intermediates,
                    now,
                    algorithms.all,
                )?,
            }
            let look = |lists: &Lists| lists.verify(certificate, intermediates, now);
            return self.lists.as_ref().map_or(Ok(()), look);
        };
        // The name comes last there, and is looked at here: that it does not fit says that all
        // before did.
        match revocation.verify_server_cert(certificate, intermediates, &nameless(), &[], now) {
            Ok(_)
            | Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let intermediates = &chain::bounded(intermediates)?;
            self.verify_chain(roots, certificate, intermediates, now)?;
            // One of version 1 has no names a client may be sure of, and is refused where one is asked for.
            let look = |name| verify_server_name(&ParsedCertificate::try_from(certificate)?, name);
            match (name, &self.verifyhost) {
                (name, _) if self.names_count && *name != nameless() => look(name)?,
                (_, Some(expected)) => look(expected)?,
                (_, None) => {}
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let version = ProtocolVersion::TLSv1_2;
        signed::verify_handshake(version, message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let version = ProtocolVersion::TLSv1_3;
        signed::verify_handshake(version, message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let all = self
            .provider
            .signature_verification_algorithms
            .supported_schemes();
        match &self.schemes {
            None => all,
            Some(schemes) => schemes
                .iter()
                .copied()
                .filter(|it| all.contains(it))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use config::model::TlsChoice;

    use super::*;
    use crate::tls::certificates::tests::write;

    /// A revocation list of anybody.
    fn crl() -> String {
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2010, 1, 1),
            next_update: rcgen::date_time_ymd(2090, 1, 1),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut of = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        of.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::CertifiedIssuer::self_signed(of, key).expect("an issuer");
        let made = params.signed_by(&issuer).expect("a list");
        made.pem().expect("a list")
    }

    #[test]
    fn what_is_repaired_after_an_error_is_taken_over_whatever_was_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let crt = write(folder.path(), "a.crt", &["a"]);
        let pem = std::fs::read_to_string(&crt).expect("just written");
        let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").expect("a key"));
        let beside = folder.path().join("a.crt.key");
        let put = |path: &std::path::Path, text: &str| {
            let new = folder.path().join("new");
            std::fs::write(&new, text).expect("writable");
            std::fs::rename(&new, path).expect("the same folder");
        };
        put(&crt, certificate);
        put(&beside, key);
        let ca_file = folder.path().join("ca.pem");
        put(&ca_file, certificate);
        let crl_file = folder.path().join("crl.pem");
        put(&crl_file, &crl());
        let settings = ServerTls {
            verify: true,
            ca_file: Some(ca_file.clone()),
            crl_file: Some(crl_file.clone()),
            crt: Some(crt),
            ..ServerTls::default()
        };
        let shelf = Shelf::new(&GlobalTls::default());
        let tls = ClientTls::load(&settings, &shelf).expect("good files");
        let look = || {
            let mut told = Vec::new();
            shelf.roots.refresh(&mut told);
            (tls.reload(&shelf, &mut told), told.len())
        };
        assert_eq!(look(), (false, 0));
        put(&crl_file, "half");
        put(&ca_file, certificate);
        assert_eq!(look(), (false, 1), "told once");
        assert_eq!(look(), (false, 0));
        // The key beside the certificate is looked at though the list was wrong.
        put(&beside, key);
        assert_eq!(look(), (false, 1));
        put(&crl_file, &crl());
        assert_eq!(look(), (true, 0));
    }

    #[test]
    fn a_node_that_sends_a_hostile_chain_is_refused_before_it_is_looked_at() {
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).expect("a pair");
        let der = made.cert.der().clone();
        let verifier = Verifier {
            provider: Arc::new(ciphers::provider(&TlsChoice::default())),
            roots: Some(Arc::new(RootCertStore::empty())),
            revocation: None,
            lists: None,
            verifyhost: None,
            names_count: true,
            schemes: None,
        };
        for (count, expected) in [(chain::ABOVE_MAX, false), (chain::ABOVE_MAX + 1, true)] {
            let above = vec![der.clone(); count];
            let now = UnixTime::now();
            let verified = verifier.verify_server_cert(&der, &above, &nameless(), &[], now);
            let error = verified.expect_err("nobody is trusted").to_string();
            assert_eq!(error.contains("TooLong"), expected, "{error}");
        }
    }

    #[test]
    fn a_name_to_send_has_no_port() {
        for (sni, expected) in [
            ("a.example", Some("a.example")),
            ("a.example:8443", Some("a.example")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("::1", Some("::1")),
            ("", None),
            ("not a name", None),
        ] {
            let name = name_of(sni).ok().map(|name| name.to_str().into_owned());
            assert_eq!(name.as_deref(), expected, "{sni}");
        }
    }
}
