//! Which TLS versions are used: `ssl-min-ver`, `no-tlsv12`, `force-tlsv13` … on `bind`, `server` and
//! in `ssl-default-…-options` (manual 3.1, 5.1, 5.2). Versions below 1.2 do not exist here, so what
//! forbids them changes nothing and what demands them is refused.

pub(crate) mod ciphers;
pub(crate) mod global;
pub(crate) mod groups;
pub(crate) mod policy;
pub(crate) mod verify;

use super::Scope;
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::lexer::Word;
use crate::model::{TlsChoice, TlsVersions};
use crate::values::choice;

/// Why `npn` is refused.
pub(crate) const NPN: &str = "NPN was replaced by ALPN, and no client speaks it any more";
/// What to write for it.
pub(crate) const NPN_INSTEAD: &str = "write 'alpn' instead";

/// Words without a value that speak of versions.
pub(crate) const VERSION_FLAGS: &[&str] = &[
    "no-sslv3",
    "no-tlsv10",
    "no-tlsv11",
    "no-tlsv12",
    "no-tlsv13",
    "force-sslv3",
    "force-tlsv10",
    "force-tlsv11",
    "force-tlsv12",
    "force-tlsv13",
];

const VERSIONS: &[(&str, u8)] = &[
    ("SSLv3", 0),
    ("TLSv1.0", 10),
    ("TLSv1.1", 11),
    ("TLSv1.2", 12),
    ("TLSv1.3", 13),
];

/// `ssl-min-ver VERSION`; replaces what was said of a minimum before.
pub(crate) fn minimum(versions: &mut TlsVersions, args: &mut Args<'_>) -> Result<(), Diagnostic> {
    let word = args.required("a version such as TLSv1.2")?;
    versions.tls12 = choice(word, args.keyword, VERSIONS)? <= 12;
    Ok(())
}

/// `ssl-max-ver VERSION`.
pub(crate) fn maximum(versions: &mut TlsVersions, args: &mut Args<'_>) -> Result<(), Diagnostic> {
    let word = args.required("a version such as TLSv1.3")?;
    let version = choice(word, args.keyword, VERSIONS)?;
    if version < 12 {
        return Err(too_old(word));
    }
    versions.tls13 = version >= 13;
    Ok(())
}

/// One of [`VERSION_FLAGS`].
pub(crate) fn flag(versions: &mut TlsVersions, word: &Word) -> Result<(), Diagnostic> {
    match word.text.as_str() {
        "no-tlsv12" => versions.tls12 = false,
        "no-tlsv13" => versions.tls13 = false,
        "force-tlsv12" => {
            versions.tls12 = true;
            versions.tls13 = false;
        }
        "force-tlsv13" => {
            versions.tls12 = false;
            versions.tls13 = true;
        }
        "force-sslv3" | "force-tlsv10" | "force-tlsv11" => return Err(too_old(word)),
        _ => {}
    }
    Ok(())
}

fn too_old(word: &Word) -> Diagnostic {
    Diagnostic::alert(
        word.span,
        format!(
            "'{}' is refused: TLS below 1.2 is broken and not offered",
            word.text
        ),
    )
    .help("use TLSv1.2 or TLSv1.3")
}

/// Checks that a version is left, and suites for it.
pub(crate) fn any_left(
    choice: &TlsChoice,
    place: crate::source::Span,
    what: &str,
) -> Result<(), Diagnostic> {
    let TlsVersions { tls12, tls13 } = choice.versions;
    if !tls12 && !tls13 {
        let message = format!("'{what}' : all TLS versions are disabled");
        return Err(Diagnostic::alert(place, message)
            .help("TLS 1.2 and 1.3 are the versions there are: allow one of them"));
    }
    if tls12 && choice.ciphers.as_ref().is_some_and(Vec::is_empty) {
        let message =
            format!("'{what}' : 'ciphers' leaves no suite of TLS 1.2 that is offered here");
        let instead = "or switch TLS 1.2 off with 'ssl-min-ver TLSv1.3'";
        return Err(Diagnostic::alert(place, message)
            .help(format!("{}; {instead}", ciphers::known_ciphers())));
    }
    Ok(())
}

/// `alpn LIST`. HTTP/2 in it is not an error: `told` and `instead` say what becomes of it.
pub(crate) fn alpn(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    told: &str,
    instead: &str,
) -> Result<Vec<std::sync::Arc<str>>, Diagnostic> {
    let names = protocols(args)?;
    if let Some(word) = args.last()
        && names.iter().any(|name| &**name == "h2")
    {
        scope.report(Diagnostic::notice(word.span, told).label(instead));
    }
    Ok(names)
}

/// `h2,http/1.1` as a list.
fn protocols(args: &mut Args<'_>) -> Result<Vec<std::sync::Arc<str>>, Diagnostic> {
    /// A protocol's name has one length byte (RFC 7301 §3.1).
    const NAME_LEN_MAX: usize = 255;
    let word = args.required("a list of protocols such as http/1.1")?;
    word.text
        .split(',')
        .map(|name| match (1..=NAME_LEN_MAX).contains(&name.len()) {
            true => Ok(name.into()),
            false => Err(Diagnostic::alert(
                word.span,
                format!("'{}' does not accept '{}'", args.keyword, word.text),
            )
            .label("names have 1 to 255 bytes")),
        })
        .collect()
}
