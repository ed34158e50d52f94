//! Section `crt-store` (manual 12.7): certificates whose files do not lie beside each other, and names
//! for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::bind::based;
use super::own::OwnParse;
use super::params::{
    self, Parameter, ParameterParse, accepted, implemented, not_in_force, refused,
};
use super::{Keyword, Scope};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::model::StoredCertificate;
use crate::source::Span;

/// A section under way.
#[derive(Debug, Default)]
pub(crate) struct CrtStoreDraft {
    /// Empty for the one without a name.
    name: String,
    crt_base: Option<PathBuf>,
    key_base: Option<PathBuf>,
    /// What `crt` parameters call each certificate, and where it was loaded.
    pub(crate) certificates: BTreeMap<PathBuf, (StoredCertificate, Span)>,
}

impl CrtStoreDraft {
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

pub(crate) const KEYWORDS: &[Keyword<OwnParse<CrtStoreDraft>, ()>] = &[
    super::implemented("crt-base", (), |draft, args, _| {
        draft.crt_base = Some(args.required("a folder")?.text.as_str().into());
        args.end()
    }),
    super::implemented("key-base", (), |draft, args, _| {
        draft.key_base = Some(args.required("a folder")?.text.as_str().into());
        args.end()
    }),
    super::implemented("load", (), load),
];

/// A `load` line under way.
#[derive(Debug, Default)]
pub(crate) struct LoadDraft {
    crt: Option<String>,
    alias: Option<String>,
    key: Option<String>,
    ocsp: Option<String>,
    issuer: Option<String>,
    sctl: Option<String>,
}

/// How responses about certificates come to be stapled.
pub(crate) const OCSP_FROM_FILES: &str =
    "responses are stapled from their files alone: let a timer fetch them";
const ACME: &str = "certificates are not made or ordered here";
const ACME_INSTEAD: &str = "let an ACME client write the file, and send SIGHUP: it is read again";

pub(crate) const PARAMETERS: &[Parameter<ParameterParse<LoadDraft>>] = &[
    implemented("crt", |draft, args, _| file(&mut draft.crt, args)),
    implemented("alias", |draft, args, _| {
        draft.alias = Some(args.required("a name")?.text.clone());
        Ok(())
    }),
    implemented("key", |draft, args, _| file(&mut draft.key, args)),
    implemented("ocsp", |draft, args, _| file(&mut draft.ocsp, args)),
    implemented("issuer", |draft, args, _| file(&mut draft.issuer, args)),
    implemented("sctl", |draft, args, _| file(&mut draft.sctl, args)),
    accepted("jwt", 1, "'jwt_verify_cert' finds every certificate"),
    not_in_force("ocsp-update", 1, OCSP_FROM_FILES),
    refused("acme", 1, ACME, ACME_INSTEAD),
    refused("bits", 1, ACME, ACME_INSTEAD),
    refused("curves", 1, ACME, ACME_INSTEAD),
    refused("domains", 1, ACME, ACME_INSTEAD),
    refused("generate-dummy", 1, ACME, ACME_INSTEAD),
    refused("ips", 1, ACME, ACME_INSTEAD),
    refused("keytype", 1, ACME, ACME_INSTEAD),
];

fn file(field: &mut Option<String>, args: &mut Args<'_>) -> Result<(), Diagnostic> {
    *field = Some(args.required("the path of a file")?.text.clone());
    Ok(())
}

/// `load crt FILE [parameters]`.
fn load(
    draft: &mut CrtStoreDraft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let place = args.place();
    let mut line = LoadDraft::default();
    if !params::read(PARAMETERS, "load", &mut line, args, scope) {
        return Ok(());
    }
    let Some(crt) = line.crt else {
        let alert = Diagnostic::alert(place, "'load' expects 'crt' and the path of a certificate");
        return Err(alert.help("write 'load crt FILE key FILE'"));
    };
    let crt_base = draft.crt_base.as_ref().or(scope.bases.crt.as_ref());
    let key_base = draft.key_base.as_ref().or(scope.bases.key.as_ref());
    let at = |path: Option<String>| path.map(|path| based(&path, crt_base));
    let stored = StoredCertificate {
        crt: based(&crt, crt_base),
        key: line.key.map(|path| based(&path, key_base)),
        ocsp: at(line.ocsp),
        issuer: at(line.issuer),
        sctl: at(line.sctl),
    };
    let separator = if crt.starts_with('/') { "" } else { "/" };
    let mut names = vec![format!("@{}{separator}{crt}", draft.name).into()];
    if draft.name.is_empty() {
        names.push(stored.crt.clone());
    }
    names.extend(
        line.alias
            .map(|alias| format!("@{}/{alias}", draft.name).into()),
    );
    for name in names {
        if let Some((_, before)) = draft.certificates.get(&name) {
            let message = format!(
                "'{}' is loaded on line {} already",
                name.display(),
                before.line
            );
            return Err(Diagnostic::alert(place, message));
        }
        draft.certificates.insert(name, (stored.clone(), place));
    }
    Ok(())
}

/// A certificate named by its store must have been loaded before.
pub(super) fn find(path: PathBuf, place: Span, scope: &Scope<'_>) -> Result<PathBuf, Diagnostic> {
    let name = path.to_string_lossy();
    if !name.starts_with('@') || scope.bases.stored.contains_key(&path) {
        return Ok(path);
    }
    let alert = Diagnostic::alert(place, format!("no 'crt-store' has loaded '{name}'"));
    let names = scope.bases.stored.keys().filter_map(|name| name.to_str());
    Err(match crate::nearest::did_you_mean(&name, names) {
        Some(hint) => alert.help(hint),
        None => alert.help("a 'crt-store' section that loads it must come before it is used"),
    })
}
