//! Certificates of clients: `verify optional|required` with `ca-file`, `ca-verify-file`, `crl-file`,
//! and what of it `crt-ignore-err` and `ca-ignore-err` let pass (manual 5.1).
//!
//! Errors have OpenSSL's numbers, as HAProxy's samples `ssl_c_verify` and `ssl_c_err` show them.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use config::model::{BindTls, ClientVerify, IgnoredErrors, TlsPolicy};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::files::Watched;
use super::tickets::Scope;
use super::{ciphers, failure, trust};

const UNSPECIFIED: u8 = 1;
const CRL_MISSING: u8 = 3;
const BAD_SIGNATURE: u8 = 7;
const NOT_YET_VALID: u8 = 9;
const EXPIRED: u8 = 10;
const CRL_EXPIRED: u8 = 12;
const SELF_SIGNED: u8 = 18;
const SELF_SIGNED_IN_CHAIN: u8 = 19;
const NO_ISSUER: u8 = 20;
const REVOKED: u8 = 23;
const INVALID_PURPOSE: u8 = 26;
const REJECTED: u8 = 28;

/// What is wrong with a chain: how far above the client's own certificate, and OpenSSL's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) depth: u8,
    pub(super) code: u8,
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
    has_crls: bool,
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
        let make = Making {
            roots: Arc::new(roots),
            names,
            provider,
            optional,
            ignored: bind.crt_ignore_err,
        };
        Ok(Some(Arc::new(Self {
            has_crls: !crls.is_empty(),
            verifier: make.verifier(crls)?,
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

    /// All that is wrong with a chain as far as it can be told; the first is what OpenSSL would have
    /// met first.
    pub(super) fn faults(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut at = now;
        let mut verifier = &self.verifier;
        let mut all_seen = false;
        // Each turn steps past one fault: a time for each certificate, and revocation.
        for _ in 0..above.len() + 3 {
            let Err(error) = verifier.verify_client_cert(leaf, above, at) else {
                all_seen = true;
                break;
            };
            let fault = fault(&error, leaf, above, at);
            faults.push(fault);
            match fault.code {
                EXPIRED | NOT_YET_VALID => match valid_time(leaf, above, fault, at) {
                    Some(time) => at = time,
                    None => break,
                },
                REVOKED => verifier = &self.plain,
                NO_ISSUER | SELF_SIGNED | SELF_SIGNED_IN_CHAIN => {
                    // Who has no issuer has no revocation list either.
                    if self.has_crls {
                        faults.push(of_leaf(CRL_MISSING));
                    }
                    all_seen = true;
                    break;
                }
                _ => break,
            }
        }
        if !all_seen {
            // Whether anybody we trust has signed it is not known: to pass, that must be ignored too.
            faults.push(of_leaf(UNSPECIFIED));
        }
        // Past an unknown issuer nothing was looked at: what can be seen is the time.
        if let Some(fault) = own_time(leaf, now)
            && !faults.iter().any(|it| it.code == fault.code)
        {
            faults.push(fault);
        }
        faults
    }
}

struct Making<'a> {
    roots: Arc<RootCertStore>,
    names: Vec<DistinguishedName>,
    provider: &'a Arc<CryptoProvider>,
    optional: bool,
    ignored: IgnoredErrors,
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
            builder = builder.with_crls(crls);
            // Lists are checked for all that is not ignored, as OpenSSL does.
            if !self.ignored.contains(CRL_EXPIRED) {
                builder = builder.enforce_revocation_expiration();
            }
            if self.ignored.contains(CRL_MISSING) {
                builder = builder.allow_unknown_revocation_status();
            }
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

/// OpenSSL's number for an error, and where in the chain it is.
fn fault(
    error: &Error,
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    at: UnixTime,
) -> Fault {
    use CertificateError as E;
    let in_time = |code| Fault {
        depth: u8::from(own_time(leaf, at).is_none()),
        code,
    };
    match error {
        Error::InvalidCertificate(error) => match error {
            E::Expired | E::ExpiredContext { .. } => in_time(EXPIRED),
            E::NotValidYet | E::NotValidYetContext { .. } => in_time(NOT_YET_VALID),
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

/// What is wrong with a certificate's time, by itself.
fn own_time(der: &CertificateDer<'_>, at: UnixTime) -> Option<Fault> {
    let (from, until) = validity(der)?;
    let code = match at.as_secs() {
        time if time < from => NOT_YET_VALID,
        time if time > until => EXPIRED,
        _ => return None,
    };
    Some(Fault { depth: 0, code })
}

/// First and last second of a certificate.
fn validity(der: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let from = u64::try_from(validity.not_before.timestamp()).unwrap_or(0);
    let until = u64::try_from(validity.not_after.timestamp()).unwrap_or(0);
    Some((from, until))
}

/// The nearest time at which the certificate that is out of its time was in it.
fn valid_time(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    fault: Fault,
    at: UnixTime,
) -> Option<UnixTime> {
    let all = std::iter::once(leaf).chain(above);
    let guilty = all
        .filter(|der| own_time(der, at).is_some_and(|it| it.code == fault.code))
        .filter_map(validity);
    let seconds = match fault.code {
        EXPIRED => guilty.map(|(_, until)| until).min(),
        _ => guilty.map(|(from, _)| from).max(),
    }?;
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        seconds,
    )))
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
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now);
        let Err(error) = verified else {
            return verified;
        };
        let lenient = self.is_lenient() && {
            let faults = self.faults(end_entity, intermediates, now);
            !faults.is_empty() && faults.iter().all(|fault| self.ignores(*fault))
        };
        if lenient {
            return Ok(ClientCertVerified::assertion());
        }
        failure::note_depth(fault(&error, end_entity, intermediates, now).depth);
        Err(error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
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
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    /// An authority, signed by another one or by itself.
    fn authority(name: &str, above: Option<&Issuer>) -> Issuer {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name_of = rcgen::DnType::CommonName;
        params.distinguished_name.push(name_of, name);
        let key = KeyPair::generate().expect("a key");
        match above {
            None => CertifiedIssuer::self_signed(params, key),
            Some(above) => CertifiedIssuer::signed_by(params, key, above),
        }
        .expect("a certificate")
    }

    fn leaf(signer: Option<&Issuer>, expired: bool) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        if expired {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let made = match signer {
            Some(signer) => params.signed_by(&key, signer),
            None => params.self_signed(&key),
        };
        made.expect("a certificate").der().clone()
    }

    #[test]
    fn all_that_is_wrong_is_found_and_numbered_as_openssl_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_file = folder.path().join("ca.pem");
        let [ours, other] = ["ours", "other"].map(|name| authority(name, None));
        std::fs::write(&ca_file, ours.pem()).expect("writable");
        let policy = TlsPolicy {
            verify: ClientVerify::Required,
            ca_file: Some(ca_file),
            ..TlsPolicy::default()
        };
        let provider = Arc::new(ciphers::provider(&policy.choice));
        let (bind, mut watched) = (BindTls::default(), Watched::default());
        let auth = ClientAuth::load(&policy, &bind, &provider, &mut watched);
        let auth = auth.expect("it loads").expect("clients are asked");
        let middle = authority("middle", Some(&ours));
        let lost = authority("lost", Some(&other));
        let [middle_der, lost_der] = [&middle, &lost].map(|it| it.der().clone());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
        for (leaf, above, expected) in [
            (leaf(Some(&ours), false), vec![], vec![]),
            (leaf(Some(&middle), false), vec![middle_der], vec![]),
            (leaf(Some(&middle), false), vec![], vec![(0, NO_ISSUER)]),
            (leaf(Some(&other), false), vec![], vec![(0, NO_ISSUER)]),
            (
                leaf(Some(&lost), false),
                vec![lost_der],
                vec![(1, NO_ISSUER)],
            ),
            (leaf(None, false), vec![], vec![(0, SELF_SIGNED)]),
            (leaf(Some(&ours), true), vec![], vec![(0, EXPIRED)]),
            (
                leaf(Some(&other), true),
                vec![],
                vec![(0, EXPIRED), (0, NO_ISSUER)],
            ),
        ] {
            let faults = auth.faults(&leaf, &above, now);
            let found: Vec<_> = faults.iter().map(|it| (it.depth, it.code)).collect();
            assert_eq!(found, expected);
            let verified = auth.verify_client_cert(&leaf, &above, now);
            assert_eq!(verified.is_ok(), expected.is_empty());
        }
    }
}
