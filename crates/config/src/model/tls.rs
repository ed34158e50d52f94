//! TLS of `bind` and `server` lines (manual 5.1, 5.2): what rustls can honour of what HAProxy
//! offers, in rustls's terms but without its types.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Which TLS versions are allowed. 1.2 and 1.3 exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TlsVersions {
    /// TLS 1.2 is offered.
    pub tls12: bool,
    /// TLS 1.3 is offered.
    pub tls13: bool,
}

impl Default for TlsVersions {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
        }
    }
}

/// The cipher suites there are: those of TLS 1.3, and of TLS 1.2 those with ECDHE and an AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the registry's")]
pub enum Suite {
    Tls13Aes256GcmSha384,
    Tls13Aes128GcmSha256,
    Tls13Chacha20Poly1305Sha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheEcdsaAes128GcmSha256,
    EcdheEcdsaChacha20Poly1305,
    EcdheRsaAes256GcmSha384,
    EcdheRsaAes128GcmSha256,
    EcdheRsaChacha20Poly1305,
}

impl Suite {
    /// Those of TLS 1.3.
    pub const TLS13: [Self; 3] = [
        Self::Tls13Aes256GcmSha384,
        Self::Tls13Aes128GcmSha256,
        Self::Tls13Chacha20Poly1305Sha256,
    ];
    /// Those of TLS 1.2.
    pub const TLS12: [Self; 6] = [
        Self::EcdheEcdsaAes256GcmSha384,
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheEcdsaChacha20Poly1305,
        Self::EcdheRsaAes256GcmSha384,
        Self::EcdheRsaAes128GcmSha256,
        Self::EcdheRsaChacha20Poly1305,
    ];

    /// OpenSSL's spelling, which HAProxy's configurations and logs use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls13Aes256GcmSha384 => "TLS_AES_256_GCM_SHA384",
            Self::Tls13Aes128GcmSha256 => "TLS_AES_128_GCM_SHA256",
            Self::Tls13Chacha20Poly1305Sha256 => "TLS_CHACHA20_POLY1305_SHA256",
            Self::EcdheEcdsaAes256GcmSha384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
            Self::EcdheEcdsaAes128GcmSha256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
            Self::EcdheEcdsaChacha20Poly1305 => "ECDHE-ECDSA-CHACHA20-POLY1305",
            Self::EcdheRsaAes256GcmSha384 => "ECDHE-RSA-AES256-GCM-SHA384",
            Self::EcdheRsaAes128GcmSha256 => "ECDHE-RSA-AES128-GCM-SHA256",
            Self::EcdheRsaChacha20Poly1305 => "ECDHE-RSA-CHACHA20-POLY1305",
        }
    }
}

/// The key exchange groups there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the registry's")]
pub enum Group {
    X25519,
    P256,
    P384,
    X25519MlKem768,
    P256MlKem768,
    MlKem768,
    MlKem1024,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::X25519,
        Self::P256,
        Self::P384,
        Self::X25519MlKem768,
        Self::P256MlKem768,
        Self::MlKem768,
        Self::MlKem1024,
    ];

    /// OpenSSL's spelling, as HAProxy's samples show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X25519 => "X25519",
            Self::P256 => "prime256v1",
            Self::P384 => "secp384r1",
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::P256MlKem768 => "SecP256r1MLKEM768",
            Self::MlKem768 => "MLKEM768",
            Self::MlKem1024 => "MLKEM1024",
        }
    }
}

/// What is offered, in order of preference. `None` is the TLS library's choice; no list is empty
/// whose version of TLS is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsChoice {
    /// `ssl-min-ver`, `ssl-max-ver`, `no-tlsv12` …, merged with the global defaults.
    pub versions: TlsVersions,
    /// `ciphers`: suites of TLS 1.2.
    pub ciphers: Option<Vec<Suite>>,
    /// `ciphersuites`: suites of TLS 1.3.
    pub ciphersuites: Option<Vec<Suite>>,
    /// `curves`.
    pub curves: Option<Vec<Group>>,
    /// `sigalgs`: signature schemes by their numbers (RFC 8446 section 4.2.3).
    pub sigalgs: Option<Vec<u16>>,
    /// `client-sigalgs`: the same for certificates of clients.
    pub client_sigalgs: Option<Vec<u16>>,
}

/// `verify` of a `bind`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ClientVerify {
    /// Clients are not asked for a certificate.
    #[default]
    None,
    /// They are asked; one that is shown must be good.
    Optional,
    /// They must show a good one.
    Required,
}

/// What one certificate's connections get: the settings of the `bind` line, where a line of a
/// `crt-list` does not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsPolicy {
    /// Versions, suites, groups, signatures.
    pub choice: TlsChoice,
    /// `alpn`, in order of preference; only `http/1.1` is served.
    pub alpn: Vec<Arc<str>>,
    /// `verify`.
    pub verify: ClientVerify,
    /// `ca-file`, a file or a folder, with `ca-base` applied; `@system-ca` for the system's roots.
    pub ca_file: Option<PathBuf>,
    /// `ca-verify-file`: more of them, whose names clients are not told.
    pub ca_verify_file: Option<PathBuf>,
    /// `crl-file`.
    pub crl_file: Option<PathBuf>,
    /// `no-ca-names`: clients are not told which CAs are trusted.
    pub no_ca_names: bool,
    /// `prefer-client-ciphers`.
    pub prefer_client_ciphers: bool,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// `crt FILE|DIR`, with `crt-base` applied.
    Crt(PathBuf),
    /// `default-crt FILE`: also for clients without a known name.
    Default(PathBuf),
    /// `crt-list FILE`.
    List(PathBuf),
}

/// Errors of verification that do not end the handshake, by OpenSSL's numbers (1 to 127).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IgnoredErrors(u128);

impl IgnoredErrors {
    /// `all`.
    pub const ALL: Self = Self(u128::MAX);

    /// Adds one.
    pub fn insert(&mut self, code: u8) {
        self.0 |= 1u128.checked_shl(code.into()).unwrap_or(0);
    }

    /// Whether this one is ignored.
    pub fn contains(self, code: u8) -> bool {
        self.0 & 1u128.checked_shl(code.into()).unwrap_or(0) != 0
    }

    /// Whether none is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// TLS of a `bind` line.
#[derive(Debug, Clone, Default)]
pub struct BindTls {
    /// `crt`, `default-crt` and `crt-list`, in order; the first certificate is the default one.
    pub certificates: Vec<CertificateSource>,
    /// What connections get.
    pub policy: TlsPolicy,
    /// `strict-sni`: no handshake without a matching certificate.
    pub strict_sni: bool,
    /// `no-tls-tickets`: sessions are not resumed by tickets but from the cache.
    pub no_tickets: bool,
    /// `tls-ticket-keys`.
    pub ticket_keys: Option<PathBuf>,
    /// `crt-ignore-err`: of the client's own certificate.
    pub crt_ignore_err: IgnoredErrors,
    /// `ca-ignore-err`: of those above it.
    pub ca_ignore_err: IgnoredErrors,
    /// `crt-base`, for the names in a `crt-list`.
    pub crt_base: Option<PathBuf>,
    /// `ca-base`, likewise.
    pub ca_base: Option<PathBuf>,
}

impl BindTls {
    /// Whether a `crt` or `default-crt` names this certificate.
    pub fn names_certificate(&self, name: &Path) -> bool {
        self.certificates.iter().any(|source| match source {
            CertificateSource::Crt(path) | CertificateSource::Default(path) => path == name,
            CertificateSource::List(_) => false,
        })
    }
}

/// A certificate that a `crt-store` has loaded: files that are not named lie beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredCertificate {
    /// The certificate, with its chain and perhaps its key.
    pub crt: PathBuf,
    /// `key`.
    pub key: Option<PathBuf>,
    /// `ocsp`.
    pub ocsp: Option<PathBuf>,
    /// `issuer`.
    pub issuer: Option<PathBuf>,
    /// `sctl`.
    pub sctl: Option<PathBuf>,
}

/// `ssl-load-extra-files`, `ssl-load-extra-del-ext`: which files beside a certificate are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtraFiles {
    /// `FILE.rsa` and `FILE.ecdsa` where there is no `FILE`.
    pub bundle: bool,
    /// `FILE.sctl`.
    pub sctl: bool,
    /// `FILE.ocsp`.
    pub ocsp: bool,
    /// `FILE.issuer`.
    pub issuer: bool,
    /// `FILE.key`.
    pub key: bool,
    /// The extension `.crt` is taken off before one is put on.
    pub del_ext: bool,
}

impl Default for ExtraFiles {
    fn default() -> Self {
        Self {
            bundle: true,
            sctl: true,
            ocsp: true,
            issuer: true,
            key: true,
            del_ext: false,
        }
    }
}

/// TLS of the whole process (manual 3.1, 3.2).
#[derive(Debug, Clone)]
pub struct GlobalTls {
    /// Files beside certificates.
    pub extra_files: ExtraFiles,
    /// `crt-store`: what `crt` parameters call a certificate, and where its files are.
    pub stored: BTreeMap<PathBuf, StoredCertificate>,
    /// `ocsp-update.mode on`.
    pub ocsp_update: bool,
    /// `issuers-chain-path`: a folder of chains for certificates that come without.
    pub issuers_chain_path: Option<PathBuf>,
    /// `tune.ssl.lifetime`: how long a session can be resumed. Default 300 s.
    pub lifetime: Duration,
    /// `tune.ssl.cachesize`: sessions kept for clients that do not keep them. Default 20000.
    pub cachesize: usize,
}

impl Default for GlobalTls {
    fn default() -> Self {
        Self {
            extra_files: ExtraFiles::default(),
            stored: BTreeMap::new(),
            ocsp_update: false,
            issuers_chain_path: None,
            lifetime: Duration::from_secs(300),
            cachesize: 20_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_errors_are_those_that_were_named() {
        let mut ignored = IgnoredErrors::default();
        assert!(ignored.is_empty());
        ignored.insert(10);
        ignored.insert(94);
        let held: Vec<u8> = (0..=255).filter(|code| ignored.contains(*code)).collect();
        assert_eq!(held, [10, 94]);
        assert!(IgnoredErrors::ALL.contains(1) && IgnoredErrors::ALL.contains(94));
    }
}
