//! Certificates of clients: `verify optional|required` with `ca-file`, `ca-verify-file`, `crl-file`,
//! and what of it `crt-ignore-err` and `ca-ignore-err` let pass (manual 5.1).
//!
//! Errors have OpenSSL's numbers, as HAProxy's samples `ssl_c_verify` and `ssl_c_err` show them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use config::model::{BindTls, ClientVerify, IgnoredErrors, TlsPolicy};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ProtocolVersion,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain::Link;
use super::files::Watched;
use super::handshake::Passed;
use super::revocation::Lists;
use super::tickets::Scope;
use super::{chain, ciphers, handshake, signed, trust};

const UNSPECIFIED: u8 = 1;
pub(super) const CRL_MISSING: u8 = 3;
const BAD_SIGNATURE: u8 = 7;
const NOT_YET_VALID: u8 = 9;
const EXPIRED: u8 = 10;
pub(super) const CRL_EXPIRED: u8 = 12;
const SELF_SIGNED: u8 = 18;
const SELF_SIGNED_IN_CHAIN: u8 = 19;
const NO_ISSUER: u8 = 20;
pub(super) const REVOKED: u8 = 23;
const INVALID_PURPOSE: u8 = 26;
const REJECTED: u8 = 28;

/// What is wrong with a chain: how far above the client's own certificate, and OpenSSL's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    depth: u8,
    code: u8,
}

fn of_leaf(code: u8) -> Fault {
    Fault { depth: 0, code }
}

/// Who may come in.
#[derive(Debug)]
pub(super) struct ClientAuth {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Without revocation lists, to see what else is wrong where "revoked" is ignored.
    plain: Arc<dyn ClientCertVerifier>,
    /// To tell what they say against whom, and for what rustls does not look at.
    lists: Option<Lists>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    schemes: Option<Vec<SignatureScheme>>,
    crt_ignore: IgnoredErrors,
    ca_ignore: IgnoredErrors,
    scope: Scope,
}

/// The scope of places that ask for no certificate.
pub(super) const OPEN: Scope = [0; 32];

impl ClientAuth {
    /// Loads what the policy names; `None` where clients are not asked.
    pub(super) fn load(
        policy: &TlsPolicy,
        bind: &BindTls,
        provider: &Arc<CryptoProvider>,
        watched: &mut Watched,
    ) -> Result<Option<Arc<Self>>, String> {
        if policy.verify == ClientVerify::None {
            return Ok(None);
        }
        let read = |path: &Option<std::path::PathBuf>, watched: &mut Watched| {
            let read = |path: &Path| trust::roots(path, watched);
            path.as_deref().map(read).transpose()
        };
        let named = read(&policy.ca_file, watched)?;
        let unnamed = read(&policy.ca_verify_file, watched)?;
        let names = named.as_ref().filter(|_| !policy.no_ca_names);
        let names = names.map(RootCertStore::subjects).unwrap_or_default();
        let mut roots = named.unwrap_or_else(RootCertStore::empty);
        roots.extend(unnamed.into_iter().flat_map(|more| more.roots));
        let crl = |path: &Path| trust::crls(path, watched);
        let crls = policy.crl_file.as_deref().map(crl).transpose()?;
        let crls = crls.unwrap_or_default();
        let scope = scope(policy, bind, &roots, &crls);
        let optional = policy.verify == ClientVerify::Optional;
        let roots = Arc::new(roots);
        let algorithms = provider.signature_verification_algorithms;
        let lists = match crls.is_empty() {
            true => None,
            false => Some(Lists::new(&crls, roots.clone(), &algorithms)?),
        };
        let for_rustls = match lists.as_ref().is_some_and(Lists::has_old) {
            true => Vec::new(),
            false => crls,
        };
        let make = Making {
            roots: roots.clone(),
            names,
            provider,
            optional,
        };
        Ok(Some(Arc::new(Self {
            lists,
            roots,
            algorithms,
            verifier: make.verifier(for_rustls)?,
            plain: make.verifier(Vec::new())?,
            schemes: policy
                .choice
                .client_sigalgs
                .as_deref()
                .map(ciphers::schemes),
            crt_ignore: bind.crt_ignore_err,
            ca_ignore: bind.ca_ignore_err,
            scope,
        })))
    }

    /// What its sessions were admitted by.
    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether a client whose certificate is wrong may have come in.
    pub(super) fn is_lenient(&self) -> bool {
        !self.crt_ignore.is_empty() || !self.ca_ignore.is_empty()
    }

    fn ignores(&self, fault: Fault) -> bool {
        let ignored = match fault.depth {
            0 => self.crt_ignore,
            _ => self.ca_ignore,
        };
        ignored.contains(fault.code)
    }

    /// Whether a chain leads to a root; with `revoked`, and nobody has taken anything of it back.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
        revoked: bool,
    ) -> Result<(), Error> {
        let is_old = signed::is_version_one(leaf);
        let lists = self.lists.as_ref().filter(|_| revoked);
        let by_us = lists.filter(|lists| is_old || lists.has_old());
        if is_old {
            signed::verify_version_one(leaf, &self.roots, &self.algorithms, now)
                .map_err(Error::InvalidCertificate)?;
        } else {
            let verifier = match revoked && by_us.is_none() {
                true => &self.verifier,
                false => &self.plain,
            };
            verifier.verify_client_cert(leaf, above, now)?;
        }
        by_us.map_or(Ok(()), |lists| lists.verify(leaf, above, now))
    }

    /// All that is wrong with a chain, as far as it can be told, when verifying it has failed with
    /// `error`. Whatever the peer has sent it is verified twice more at the most: at a time at which
    /// all of it was in force, and without revocation lists. Only the last step can say that nobody
    /// we know has signed it.
    fn faults(
        &self,
        error: &Error,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Vec<Fault> {
        let links = chain::links(leaf, above);
        let mut faults = out_of_time(&links, now);
        let stepped = common_time(&links, now);
        let at = stepped.unwrap_or(now);
        let mut last = Some(error.clone());
        if stepped.is_some() {
            last = self.verify(leaf, above, at, true).err();
        }
        let mut by_list = self.against(&links, now);
        let listed = last.as_ref().map(|error| fault(error, leaf, above));
        if let Some(listed) = listed
            && [REVOKED, CRL_MISSING, CRL_EXPIRED].contains(&listed.code)
        {
            last = self.verify(leaf, above, at, false).err();
            if by_list.is_empty() {
                // rustls says so, and we cannot tell of which: it may be any.
                let any = links.iter().map(|link| link.depth);
                by_list.extend(any.map(|depth| Fault {
                    depth,
                    code: listed.code,
                }));
            }
        }
        if let Some(error) = &last {
            let fault = fault(error, leaf, above);
            let no_issuer = [NO_ISSUER, SELF_SIGNED, SELF_SIGNED_IN_CHAIN].contains(&fault.code);
            if !faults.contains(&fault) {
                faults.push(fault);
            }
            if no_issuer && self.lists.is_some() && by_list.is_empty() {
                // Who has no issuer has no revocation list either.
                by_list.push(of_leaf(CRL_MISSING));
            }
            if !no_issuer {
                // Whether anybody we trust has signed it is not known: to pass, that must be ignored
                // too.
                faults.push(of_leaf(UNSPECIFIED));
            }
        }
        faults.extend(by_list);
        faults
    }

    /// What revocation lists say now, whatever time the rest was looked at.
    fn against(&self, links: &[Link<'_>], now: UnixTime) -> Vec<Fault> {
        let Some(lists) = &self.lists else {
            return Vec::new();
        };
        // A root that was sent along is trusted or not; nobody above it can take it back.
        let links = links
            .iter()
            .filter(|link| link.depth == 0 || !link.is_self_issued);
        links
            .flat_map(|link| {
                let depth = link.depth;
                let codes = lists.against(link, now);
                codes.map(move |code| Fault { depth, code })
            })
            .collect()
    }

    /// What is let pass of a chain that is not in order; the error refuses it.
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Passed, Error> {
        let above = &chain::bounded(above)?;
        let verified = self.verify(leaf, above, now, true);
        let Err(error) = verified else {
            let links = chain::links(leaf, above);
            // It is in order without those that are not in force.
            let used = links.iter().filter(|link| link.has_expired(now).is_none());
            let until = used.map(|link| link.until).min();
            handshake::note_good_until(until.unwrap_or(handshake::FOR_EVER));
            return Ok(Passed::default());
        };
        if self.is_lenient() {
            let faults = self.faults(&error, leaf, above, now);
            if !faults.is_empty() && faults.iter().all(|fault| self.ignores(*fault)) {
                return Ok(passed(&faults));
            }
        }
        let first = fault(&error, leaf, above);
        let is_other = |fault: &Fault| ![EXPIRED, NOT_YET_VALID].contains(&fault.code);
        let out_of_time = out_of_time(&chain::links(leaf, above), now);
        let guilty = Some(first)
            .filter(is_other)
            .or(out_of_time.first().copied());
        handshake::note_depth(guilty.unwrap_or(first).depth);
        Err(error)
    }

    /// The name, in DER, of the trusted certificate that a good chain leads up to.
    pub(super) fn root_of(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
    ) -> Option<Box<[u8]>> {
        let links = chain::links(leaf, above);
        let mut issuer = links.first()?.issuer;
        // Each turn is one further up.
        for _ in 0..=links.len() {
            if signed::has_anchor(&self.roots, issuer) {
                return Some(issuer.into());
            }
            issuer = links.iter().find(|link| link.subject == issuer)?.issuer;
        }
        None
    }

    /// What is let pass today of the certificate that a session was begun with; `None`: it no longer
    /// lets anybody in. For sessions of places that are lenient: nothing limits those.
    pub(super) fn passed_again(&self, chain: &[CertificateDer<'_>]) -> Option<Passed> {
        match chain.split_first() {
            Some((leaf, above)) if self.is_lenient() => {
                self.judge(leaf, above, UnixTime::now()).ok()
            }
            _ => Some(Passed::default()),
        }
    }
}

/// The first of the leaf, and of those above it.
fn passed(faults: &[Fault]) -> Passed {
    let first = |own: bool| faults.iter().find(|it| (it.depth == 0) == own);
    let (own, ca) = (first(true), first(false));
    Passed {
        own: own.map_or(0, |it| it.code),
        ca: ca.map_or(0, |it| it.code),
        ca_depth: ca.map_or(0, |it| it.depth),
    }
}

/// Whatever is not in force now, wherever it stands.
fn out_of_time(links: &[Link<'_>], now: UnixTime) -> Vec<Fault> {
    let faults = links.iter().filter_map(|link| {
        let code = match link.has_expired(now)? {
            true => EXPIRED,
            false => NOT_YET_VALID,
        };
        Some(Fault {
            depth: link.depth,
            code,
        })
    });
    faults.collect()
}

/// The time nearest to now at which all of it was in force; `None` where it is now, or never was.
fn common_time(links: &[Link<'_>], now: UnixTime) -> Option<UnixTime> {
    let from = links.iter().map(|link| link.from).max()?;
    let until = links.iter().map(|link| link.until).min()?;
    let seconds = now.as_secs().min(until).max(from);
    let is_other = seconds != now.as_secs() && seconds <= until;
    is_other.then(|| UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

struct Making<'a> {
    roots: Arc<RootCertStore>,
    names: Vec<DistinguishedName>,
    provider: &'a Arc<CryptoProvider>,
    optional: bool,
}

impl Making<'_> {
    fn verifier(
        &self,
        crls: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), self.provider.clone())
                .clear_root_hint_subjects()
                .add_root_hint_subjects(self.names.iter().cloned());
        if !crls.is_empty() {
            builder = builder.with_crls(crls).enforce_revocation_expiration();
        }
        if self.optional {
            builder = builder.allow_unauthenticated();
        }
        builder
            .build()
            .map_err(|e| format!("verification of clients: {e}"))
    }
}

/// All that decides who may come in, as one number.
fn scope(
    policy: &TlsPolicy,
    bind: &BindTls,
    roots: &RootCertStore,
    crls: &[CertificateRevocationListDer<'_>],
) -> Scope {
    let mut digest = Context::new(&SHA256);
    let ignored = format!(
        "{:?}{:?}{:?}",
        policy.verify, bind.crt_ignore_err, bind.ca_ignore_err
    );
    digest.update(ignored.as_bytes());
    let mut part = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    for root in &roots.roots {
        part(&root.subject);
        part(&root.subject_public_key_info);
    }
    for crl in crls {
        part(crl);
    }
    let mut scope = OPEN;
    scope.copy_from_slice(digest.finish().as_ref());
    scope
}

/// OpenSSL's number for an error, and where in the chain it is, if that can be told from it
/// alone.
fn fault(error: &Error, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Fault {
    use CertificateError as E;
    match error {
        Error::InvalidCertificate(error) => match error {
            E::Expired | E::ExpiredContext { .. } => of_leaf(EXPIRED),
            E::NotValidYet | E::NotValidYetContext { .. } => of_leaf(NOT_YET_VALID),
            E::UnknownIssuer => no_issuer(leaf, above),
            E::Revoked => of_leaf(REVOKED),
            E::UnknownRevocationStatus => of_leaf(CRL_MISSING),
            E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
                of_leaf(CRL_EXPIRED)
            }
            E::BadSignature => of_leaf(BAD_SIGNATURE),
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => of_leaf(INVALID_PURPOSE),
            // Self-signed ones are mostly their own CA as well, which is met first.
            _ if above.is_empty() && is_self_signed(leaf) => of_leaf(SELF_SIGNED),
            _ => of_leaf(REJECTED),
        },
        _ => of_leaf(REJECTED),
    }
}

/// Where the way up ends.
fn no_issuer(leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Fault {
    match above.last() {
        None if is_self_signed(leaf) => Fault {
            depth: 0,
            code: SELF_SIGNED,
        },
        None => Fault {
            depth: 0,
            code: NO_ISSUER,
        },
        Some(top) => Fault {
            depth: u8::try_from(above.len()).unwrap_or(u8::MAX),
            code: match is_self_signed(top) {
                true => SELF_SIGNED_IN_CHAIN,
                false => NO_ISSUER,
            },
        },
    }
}

fn is_self_signed(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, it)| it.subject().as_raw() == it.issuer().as_raw())
}

impl ClientCertVerifier for ClientAuth {
    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let passed = self.judge(end_entity, intermediates, now)?;
        handshake::note_passed(passed);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let version = ProtocolVersion::TLSv1_2;
        signed::verify_handshake(version, message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let version = ProtocolVersion::TLSv1_3;
        signed::verify_handshake(version, message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut supported = self.verifier.supported_verify_schemes();
        if let Some(schemes) = &self.schemes {
            let known = std::mem::take(&mut supported);
            supported = schemes
                .iter()
                .copied()
                .filter(|it| known.contains(it))
                .collect();
        }
        supported
    }
}

#[cfg(test)]
mod tests;
