//! What `global` says of TLS (manual 3.1, 3.2): defaults for `bind` and `server` lines, files beside
//! certificates, sessions.

use std::time::Duration;

use super::{VERSION_FLAGS, ciphers, flag, groups, maximum, minimum};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::keywords::global::{Entry, GlobalDraft};
use crate::keywords::{Scope, implemented, refused};
use crate::lexer::Word;
use crate::model::ExtraFiles;
use crate::nearest::did_you_mean;
use crate::values::{Unit, choice, next_duration, next_number};

const PROVIDERS: &str = "TLS is rustls on aws-lc, which loads no modules";
const PROVIDERS_INSTEAD: &str = "remove it";

pub(crate) const KEYWORDS: &[Entry] = &[
    implemented("issuers-chain-path", (), |draft, args, _| {
        let word = args.required("a folder")?;
        draft.global.tls.issuers_chain_path = Some(word.text.as_str().into());
        args.end()
    }),
    implemented("ssl-default-bind-ciphers", (), |draft, args, scope| {
        draft.bases.bind_tls.policy.choice.ciphers = Some(ciphers::ciphers(args, scope)?);
        args.end()
    }),
    implemented("ssl-default-bind-ciphersuites", (), |draft, args, scope| {
        let suites = ciphers::ciphersuites(args, scope)?;
        draft.bases.bind_tls.policy.choice.ciphersuites = Some(suites);
        args.end()
    }),
    implemented(
        "ssl-default-bind-client-sigalgs",
        (),
        |draft, args, scope| {
            let schemes = groups::sigalgs(args, scope)?;
            draft.bases.bind_tls.policy.choice.client_sigalgs = Some(schemes);
            args.end()
        },
    ),
    implemented("ssl-default-bind-curves", (), |draft, args, scope| {
        draft.bases.bind_tls.policy.choice.curves = Some(groups::curves(args, scope)?);
        args.end()
    }),
    implemented("ssl-default-bind-options", (), bind_options),
    implemented("ssl-default-bind-sigalgs", (), |draft, args, scope| {
        draft.bases.bind_tls.policy.choice.sigalgs = Some(groups::sigalgs(args, scope)?);
        args.end()
    }),
    implemented("ssl-default-server-ciphers", (), |draft, args, scope| {
        draft.bases.server_tls_mut().choice.ciphers = Some(ciphers::ciphers(args, scope)?);
        args.end()
    }),
    implemented(
        "ssl-default-server-ciphersuites",
        (),
        |draft, args, scope| {
            draft.bases.server_tls_mut().choice.ciphersuites =
                Some(ciphers::ciphersuites(args, scope)?);
            args.end()
        },
    ),
    implemented(
        "ssl-default-server-client-sigalgs",
        (),
        |draft, args, scope| {
            draft.bases.server_tls_mut().choice.client_sigalgs =
                Some(groups::sigalgs(args, scope)?);
            args.end()
        },
    ),
    implemented("ssl-default-server-curves", (), |draft, args, scope| {
        draft.bases.server_tls_mut().choice.curves = Some(groups::curves(args, scope)?);
        args.end()
    }),
    implemented("ssl-default-server-options", (), server_options),
    implemented("ssl-default-server-sigalgs", (), |draft, args, scope| {
        draft.bases.server_tls_mut().choice.sigalgs = Some(groups::sigalgs(args, scope)?);
        args.end()
    }),
    implemented("ssl-load-extra-del-ext", (), |draft, args, _| {
        draft.global.tls.extra_files.del_ext = true;
        args.end()
    }),
    implemented("ssl-load-extra-files", (), extra_files),
    implemented("ssl-security-level", (), security_level),
    implemented("ssl-server-verify", (), |draft, args, _| {
        let word = args.required("none or required")?;
        let choices = [("none", true), ("required", false)];
        draft.bases.server_tls_mut().verify_none = choice(word, args.keyword, &choices)?;
        args.end()
    }),
    implemented("tune.ssl.cachesize", (), |draft, args, _| {
        draft.global.tls.cachesize = next_number(args, 0..=i32::MAX as u64)?;
        args.end()
    }),
    implemented("tune.ssl.lifetime", (), |draft, args, _| {
        let lifetime = next_duration(args, Unit::Seconds)?;
        // Sessions live for whole seconds.
        draft.global.tls.lifetime = Duration::from_secs(lifetime.as_secs());
        args.end()
    }),
    refused("ssl-engine", (), PROVIDERS, PROVIDERS_INSTEAD),
    refused("ssl-propquery", (), PROVIDERS, PROVIDERS_INSTEAD),
    refused("ssl-provider", (), PROVIDERS, PROVIDERS_INSTEAD),
    refused("ssl-provider-path", (), PROVIDERS, PROVIDERS_INSTEAD),
];

/// Words of `ssl-default-bind-options` beside versions.
const BIND_OPTIONS: &[&str] = &[
    "ssl-min-ver",
    "ssl-max-ver",
    "no-tls-tickets",
    "tls-tickets",
    "strict-sni",
    "no-strict-sni",
    "prefer-client-ciphers",
    "no-ca-names",
    "allow-0rtt",
];

fn bind_options(
    draft: &mut GlobalDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if args.peek().is_none() {
        args.required("options such as ssl-min-ver TLSv1.2")?;
    }
    let tls = &mut draft.bases.bind_tls;
    while let Some(word) = args.next() {
        let versions = &mut tls.policy.choice.versions;
        match word.text.as_str() {
            "ssl-min-ver" => minimum(versions, args)?,
            "ssl-max-ver" => maximum(versions, args)?,
            "no-tls-tickets" => tls.no_tickets = true,
            "tls-tickets" => tls.no_tickets = false,
            "strict-sni" => tls.strict_sni = true,
            "no-strict-sni" => tls.strict_sni = false,
            "prefer-client-ciphers" => tls.policy.prefer_client_ciphers = true,
            "no-ca-names" => tls.policy.no_ca_names = true,
            "allow-0rtt" => scope.report(Diagnostic::notice(
                word.span,
                "'allow-0rtt' is accepted and has no effect: early data is not taken",
            )),
            text if VERSION_FLAGS.contains(&text) => flag(versions, word)?,
            _ => return Err(unknown_option(word, args.keyword, BIND_OPTIONS)),
        }
    }
    Ok(())
}

fn server_options(
    draft: &mut GlobalDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    if args.peek().is_none() {
        args.required("options such as ssl-min-ver TLSv1.2")?;
    }
    while let Some(word) = args.next() {
        let versions = &mut draft.bases.server_tls_mut().choice.versions;
        match word.text.as_str() {
            "ssl-min-ver" => minimum(versions, args)?,
            "ssl-max-ver" => maximum(versions, args)?,
            "no-tls-tickets" => draft.bases.server_tls_mut().no_tickets = true,
            "tls-tickets" => draft.bases.server_tls_mut().no_tickets = false,
            text if VERSION_FLAGS.contains(&text) => flag(versions, word)?,
            _ => return Err(unknown_option(word, args.keyword, &BIND_OPTIONS[..4])),
        }
    }
    Ok(())
}

fn unknown_option(word: &Word, keyword: &str, known: &[&'static str]) -> Diagnostic {
    let text = word.text.as_str();
    let all = known.iter().chain(VERSION_FLAGS).copied();
    let alert = Diagnostic::alert(word.span, format!("'{keyword}' does not know '{text}'"));
    match did_you_mean(text, all) {
        Some(hint) => alert.help(hint),
        None => alert,
    }
}

fn extra_files(
    draft: &mut GlobalDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let del_ext = draft.global.tls.extra_files.del_ext;
    let mut files = ExtraFiles {
        bundle: false,
        sctl: false,
        ocsp: false,
        issuer: false,
        key: false,
        del_ext,
    };
    if args.peek().is_none() {
        args.required("none, all, bundle, sctl, ocsp, issuer or key")?;
    }
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "none" => {}
            "all" => {
                files = ExtraFiles {
                    del_ext,
                    ..ExtraFiles::default()
                }
            }
            "bundle" => files.bundle = true,
            "sctl" => files.sctl = true,
            "ocsp" => files.ocsp = true,
            "issuer" => files.issuer = true,
            "key" => files.key = true,
            text => {
                let message = format!("'{}' does not know '{text}'", args.keyword);
                return Err(Diagnostic::alert(word.span, message)
                    .label("expected none, all, bundle, sctl, ocsp, issuer or key"));
            }
        }
    }
    draft.global.tls.extra_files = files;
    Ok(())
}

/// OpenSSL's levels up to 2 ask for no more than what is offered here anyway.
fn security_level(
    _: &mut GlobalDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    const OFFERED: u8 = 2;
    let place = args.peek().map_or(args.missing_place(), |word| word.span);
    let level: u8 = next_number(args, 0..=5)?;
    if level > OFFERED {
        let message = format!("'ssl-security-level {level}' cannot be enforced");
        return Err(Diagnostic::alert(place, message)
            .label("suites and curves here are those of level 2")
            .help("name the stronger ones with 'ssl-default-bind-ciphers', 'ciphersuites' and 'curves'"));
    }
    scope.report(Diagnostic::notice(
        place,
        "'ssl-security-level' is accepted and has no effect: nothing below level 2 is offered",
    ));
    args.end()
}
