//! Parameters of `bind` lines that a line of a `crt-list` may have too (manual 5.1, "crt-list"),
//! one entry each, and what such a line takes.

use crate::args::Args;
use crate::ast::{Line, Modifier};
use crate::diagnostics::Diagnostic;
use crate::keywords::bind::{BindDraft, Parse, based};
use crate::keywords::crt_store::OCSP_FROM_FILES;
use crate::keywords::params::{self, Parameter, accepted, implemented, not_yet, refused};
use crate::keywords::{Scope, tls};
use crate::lexer::Word;
use crate::values::choice;

type Entry = Parameter<Parse>;

pub(crate) const ALPN: Entry = implemented("alpn", |draft, args, scope| {
    let told = "HTTP/2 is not served yet: 'h2' is not offered";
    draft.tls.policy.alpn = tls::alpn(args, scope, told, "clients fall back to http/1.1")?;
    Ok(())
});
pub(crate) const NO_ALPN: Entry = implemented("no-alpn", |draft, _, _| {
    draft.tls.policy.alpn.clear();
    Ok(())
});
pub(crate) const CA_FILE: Entry = implemented("ca-file", |draft, args, scope| {
    draft.tls.policy.ca_file = Some(ca_path(args, scope)?);
    Ok(())
});
pub(crate) const CA_VERIFY_FILE: Entry = implemented("ca-verify-file", |draft, args, scope| {
    draft.tls.policy.ca_verify_file = Some(ca_path(args, scope)?);
    Ok(())
});
pub(crate) const CRL_FILE: Entry = implemented("crl-file", |draft, args, scope| {
    draft.tls.policy.crl_file = Some(ca_path(args, scope)?);
    Ok(())
});
pub(crate) const CIPHERS: Entry = implemented("ciphers", |draft, args, scope| {
    draft.tls.policy.choice.ciphers = Some(tls::ciphers::ciphers(args, scope)?);
    Ok(())
});
pub(crate) const CIPHERSUITES: Entry = implemented("ciphersuites", |draft, args, scope| {
    draft.tls.policy.choice.ciphersuites = Some(tls::ciphers::ciphersuites(args, scope)?);
    Ok(())
});
pub(crate) const CURVES: Entry = implemented("curves", |draft, args, scope| {
    draft.tls.policy.choice.curves = Some(tls::groups::curves(args, scope)?);
    Ok(())
});
/// It is looked past where `curves` is given (manual 5.1, "curves").
pub(crate) const ECDHE: Entry = implemented("ecdhe", |draft, args, scope| {
    let only = tls::groups::curves(args, scope)?;
    draft.tls.policy.choice.curves.get_or_insert(only);
    Ok(())
});
pub(crate) const SIGALGS: Entry = implemented("sigalgs", |draft, args, scope| {
    draft.tls.policy.choice.sigalgs = Some(tls::groups::sigalgs(args, scope)?);
    Ok(())
});
pub(crate) const CLIENT_SIGALGS: Entry = implemented("client-sigalgs", |draft, args, scope| {
    draft.tls.policy.choice.client_sigalgs = Some(tls::groups::sigalgs(args, scope)?);
    Ok(())
});
pub(crate) const NO_CA_NAMES: Entry = implemented("no-ca-names", |draft, _, _| {
    draft.tls.policy.no_ca_names = true;
    Ok(())
});
pub(crate) const SSL_MAX_VER: Entry = implemented("ssl-max-ver", |draft, args, _| {
    tls::maximum(&mut draft.tls.policy.choice.versions, args)
});
pub(crate) const SSL_MIN_VER: Entry = implemented("ssl-min-ver", |draft, args, _| {
    tls::minimum(&mut draft.tls.policy.choice.versions, args)
});
pub(crate) const VERIFY: Entry = implemented("verify", |draft, args, _| {
    draft.tls.policy.verify = tls::verify::client(args)?;
    Ok(())
});

fn ca_path(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<std::path::PathBuf, Diagnostic> {
    let word = args.required("the path of a PEM file")?;
    Ok(based(&word.text, scope.bases.ca.as_ref()))
}

/// Between the brackets of a line of a `crt-list`.
const OF_A_LIST: &[Entry] = &[
    ALPN,
    NO_ALPN,
    CA_FILE,
    CA_VERIFY_FILE,
    CRL_FILE,
    CIPHERS,
    CIPHERSUITES,
    CURVES,
    ECDHE,
    SIGALGS,
    CLIENT_SIGALGS,
    NO_CA_NAMES,
    SSL_MAX_VER,
    SSL_MIN_VER,
    VERIFY,
    accepted("allow-0rtt", 0, "early data is not taken"),
    refused("npn", 1, tls::NPN, tls::NPN_INSTEAD),
    not_yet("crt", 1),
    not_yet("issuer", 1),
    not_yet("key", 1),
    not_yet("ocsp", 1),
    implemented("ocsp-update", |draft, args, scope| {
        let word = args.required("on or off")?;
        let on = choice(word, "ocsp-update", &[("on", true), ("off", false)])?;
        draft.ocsp_update = Some(on);
        if on {
            scope.report(Diagnostic::notice(
                word.span,
                format!("'ocsp-update' is accepted and has no effect: {OCSP_FROM_FILES}"),
            ));
        }
        Ok(())
    }),
    not_yet("sctl", 1),
];

/// Reads them into `draft`; `false`: something of it is wrong and was reported.
pub(crate) fn of_a_list(draft: &mut BindDraft, words: &[Word], scope: &Scope<'_>) -> bool {
    let line = Line {
        span: words
            .first()
            .map_or_else(Default::default, |word| word.span),
        words: words.to_vec(),
        modifier: Modifier::None,
    };
    let mut args = Args::new(&line, "crt-list", 0);
    params::read(OF_A_LIST, "crt-list", draft, &mut args, scope)
}
