//! Fetches about certificates (manual 7.3.4): `ssl_c_…` of the client's, `ssl_f_…` of ours.

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Fetch};

/// What a fetch looks at of TLS, beyond what was agreed on with the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFetch {
    /// `ssl_c_used`: whether the session has a client's certificate.
    Used,
    /// `ssl_fc_has_crt`: whether it was shown in this very handshake.
    HasCertificate,
    /// `ssl_c_verify`: 0, or what was wrong and let pass.
    Verify,
    /// `ssl_c_ca_err_depth`.
    CaErrorDepth,
    /// `ssl_fc_alg_keysize`, `ssl_fc_use_keysize`: bits of the cipher's key.
    KeySize,
    /// `ssl_bc`: whether the connection to the server is TLS.
    Server,
    /// `ssl_bc_protocol`.
    ServerProtocol,
    /// `ssl_bc_cipher`.
    ServerCipher,
    /// `ssl_bc_is_resumed`.
    ServerResumed,
    /// `ssl_bc_alg_keysize`, `ssl_bc_use_keysize`.
    ServerKeySize,
    /// `ssl_fc_curve`.
    Curve,
    /// `ssl_bc_curve`.
    ServerCurve,
    /// `ssl_bc_alpn`.
    ServerAlpn,
    /// `ssl_c_chain_der`, `ssl_s_chain_der`: certificates one after the other, in DER.
    Chain(Whose),
    /// `ssl_c_r_dn`: whom of the `ca-file` the client's certificate leads up to.
    Root(NamePart),
    /// A part of a certificate.
    Certificate(Whose, CertificatePart),
}

/// Whose certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The client's.
    Client,
    /// The one we have shown.
    Ours,
    /// The server's.
    Servers,
}

/// Part of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificatePart {
    /// All of it, in DER.
    Der,
    /// The serial number, as bytes.
    Serial,
    /// Its fingerprint, as bytes.
    Sha1,
    /// `YYMMDDhhmmssZ`.
    NotBefore,
    /// `YYMMDDhhmmssZ`.
    NotAfter,
    /// Whom it is made out to.
    Subject(NamePart),
    /// Who has signed it.
    Issuer(NamePart),
    /// Its version: 3.
    Version,
    /// The kind of its key.
    KeyAlgorithm,
    /// How it is signed.
    SignatureAlgorithm,
    /// The policies it was made out under, by number; this one alone where one is named.
    Policies(Option<Arc<str>>),
    /// Its subject's other names: hosts, addresses …
    AlternativeNames,
}

/// Part of a distinguished name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamePart {
    /// `CN`, `OU` …; empty: the whole name.
    pub entry: Arc<str>,
    /// Which one of them: 1 is the first, -1 the last.
    pub occurrence: i32,
    /// `rfc2253`: the whole name as LDAP writes it.
    pub rfc2253: bool,
}

pub(super) const fn plain(whose: Whose, part: CertificatePart) -> Fetch {
    Fetch::Tls(TlsFetch::Certificate(whose, part))
}

pub(super) fn client_subject(args: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    name_part(args).map(|part| plain(Whose::Client, CertificatePart::Subject(part)))
}

pub(super) fn client_issuer(args: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    name_part(args).map(|part| plain(Whose::Client, CertificatePart::Issuer(part)))
}

pub(super) fn our_subject(args: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    name_part(args).map(|part| plain(Whose::Ours, CertificatePart::Subject(part)))
}

pub(super) fn our_issuer(args: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    name_part(args).map(|part| plain(Whose::Ours, CertificatePart::Issuer(part)))
}

pub(super) fn server_subject(args: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    name_part(args).map(|part| plain(Whose::Servers, CertificatePart::Subject(part)))
}

pub(super) fn server_issuer(args: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    name_part(args).map(|part| plain(Whose::Servers, CertificatePart::Issuer(part)))
}

/// `([<entry>[,<occ>[,<format>]]])`.
pub(super) fn name_part(arguments: &mut Arguments) -> Result<NamePart, Diagnostic> {
    let entry = arguments.optional().map_or("", |(entry, _)| entry).into();
    let span = arguments.span();
    let occurrence = arguments.optional_int("an occurrence")?;
    let occurrence = i32::try_from(occurrence.unwrap_or(1))
        .map_err(|_| Diagnostic::alert(span, "this occurrence is too far"))?;
    let rfc2253 = match arguments.optional() {
        None | Some(("", _)) => false,
        Some(("rfc2253", _)) => true,
        Some((text, span)) => {
            let problem = Diagnostic::alert(span, format!("'{text}' is no format of names"));
            return Err(problem.label("expected 'rfc2253'"));
        }
    };
    Ok(NamePart {
        entry,
        occurrence,
        rfc2253,
    })
}
