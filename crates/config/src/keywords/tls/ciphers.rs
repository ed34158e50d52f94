//! `ciphers` and `ciphersuites`: OpenSSL's cipher list language (ciphers(1)) over the suites there
//! are. What it names and we do not have is told, because a list is written for its effect.

use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::keywords::Scope;
use crate::lexer::Word;
use crate::model::Suite;

/// `ciphers LIST`, of TLS 1.2.
pub(crate) fn ciphers(args: &mut Args<'_>, scope: &Scope<'_>) -> Result<Vec<Suite>, Diagnostic> {
    let word = args.required("a list of ciphers such as ECDHE-RSA-AES128-GCM-SHA256")?;
    let (suites, missing) = select(&word.text);
    tell_missing(&missing, "suites", word, args.keyword, scope);
    // Without one of these it is no list of ciphers; with TLS 1.2 switched off it may be empty here.
    let means_something = |name: &String| name.contains(['-', '+']) || name.contains("SHA");
    if suites.is_empty() && !missing.iter().any(means_something) {
        return Err(none_left(word, args.keyword).help(known_ciphers()));
    }
    Ok(suites)
}

/// What could be written instead.
pub(super) fn known_ciphers() -> String {
    let known = Suite::TLS12.map(Suite::name).join(", ");
    format!("the suites of TLS 1.2 here are {known}")
}

/// `ciphersuites LIST`, of TLS 1.3.
pub(crate) fn ciphersuites(
    args: &mut Args<'_>,
    scope: &Scope<'_>,
) -> Result<Vec<Suite>, Diagnostic> {
    let word = args.required("a list of cipher suites such as TLS_AES_128_GCM_SHA256")?;
    let mut suites = Vec::new();
    let mut missing = Vec::new();
    for name in word.text.split([':', ',']).filter(|name| !name.is_empty()) {
        match Suite::TLS13.into_iter().find(|suite| suite.name() == name) {
            Some(suite) if suites.contains(&suite) => {}
            Some(suite) => suites.push(suite),
            None => missing.push(name.to_owned()),
        }
    }
    tell_missing(&missing, "suites", word, args.keyword, scope);
    match suites.is_empty() {
        true => {
            let known = Suite::TLS13.map(Suite::name).join(", ");
            let known = format!("the suites of TLS 1.3 here are {known}");
            Err(none_left(word, args.keyword).help(known))
        }
        false => Ok(suites),
    }
}

pub(super) fn none_left(word: &Word, keyword: &str) -> Diagnostic {
    Diagnostic::alert(
        word.span,
        format!("'{keyword}' : nothing is left of this list"),
    )
    .label("none of it is offered here")
}

/// Most names shown of those that are not offered: the lists in use are long.
const SHOWN_MAX: usize = 6;

/// Says what of a list is not offered.
pub(super) fn tell_missing(
    missing: &[String],
    what: &str,
    word: &Word,
    keyword: &str,
    scope: &Scope<'_>,
) {
    if missing.is_empty() {
        return;
    }
    let mut shown = missing[..missing.len().min(SHOWN_MAX)].join(", ");
    if missing.len() > SHOWN_MAX {
        shown.push_str(&format!(" and {} more", missing.len() - SHOWN_MAX));
    }
    let message = format!("'{keyword}' : these {what} are not offered here: {shown}");
    let told = Diagnostic::notice(word.span, message).label("the others are, in this order");
    scope.report(told);
}

/// The suites a list means, in its order, and what it names that is not here.
fn select(list: &str) -> (Vec<Suite>, Vec<String>) {
    let mut active: Vec<Suite> = Vec::new();
    let mut killed: Vec<Suite> = Vec::new();
    let mut missing = Vec::new();
    let items = list.split([':', ',', ' ', ';']);
    for item in items.filter(|item| !item.is_empty()) {
        if let Some(command) = item.strip_prefix('@') {
            command_of(command, &mut active);
            continue;
        }
        let (sign, name) = match item.as_bytes()[0] {
            sign @ (b'!' | b'-' | b'+') => (sign, &item[1..]),
            _ => (b' ', item),
        };
        let meant: Vec<Suite> = Suite::TLS12
            .into_iter()
            .filter(|suite| name.split('+').all(|part| is_a(*suite, part)))
            .collect();
        match sign {
            b'!' => {
                active.retain(|suite| !meant.contains(suite));
                killed.extend(meant);
            }
            b'-' => active.retain(|suite| !meant.contains(suite)),
            b'+' => {
                let (last, first) = active.iter().partition(|suite| meant.contains(suite));
                active = first;
                active.extend::<Vec<Suite>>(last);
            }
            _ => {
                // A suite of TLS 1.3 in this list has no effect in OpenSSL either.
                if meant.is_empty() && !name.starts_with("TLS_") {
                    missing.push(name.to_owned());
                }
                for suite in meant {
                    if !active.contains(&suite) && !killed.contains(&suite) {
                        active.push(suite);
                    }
                }
            }
        }
    }
    (active, missing)
}

/// `@STRENGTH` and `@SECLEVEL=N`.
fn command_of(command: &str, active: &mut Vec<Suite>) {
    /// From this level on 128 bits are too few (SSL_CTX_set_security_level(3)).
    const LEVEL_OF_192_BITS: u32 = 4;
    let bits = |suite: &Suite| if is_a(*suite, "AES128") { 128 } else { 256 };
    if command == "STRENGTH" {
        active.sort_by_key(|suite| std::cmp::Reverse(bits(suite)));
    } else if let Some(level) = command.strip_prefix("SECLEVEL=")
        && level
            .parse()
            .is_ok_and(|level: u32| level >= LEVEL_OF_192_BITS)
    {
        active.retain(|suite| bits(suite) > 128);
    }
}

/// Whether a word of the language means this suite, which is one of TLS 1.2.
fn is_a(suite: Suite, word: &str) -> bool {
    let name = suite.name();
    let has = |part: &str| name.contains(part);
    match word {
        "ALL"
        | "DEFAULT"
        | "COMPLEMENTOFDEFAULT"
        | "HIGH"
        | "ECDHE"
        | "EECDH"
        | "kECDHE"
        | "kEECDH"
        | "ECDH"
        | "kECDH"
        | "TLSv1.2" => word != "COMPLEMENTOFDEFAULT",
        "ECDSA" | "aECDSA" => has("ECDSA"),
        "RSA" => false, // as key exchange
        "aRSA" => has("-RSA-"),
        "AES" | "AESGCM" => has("AES"),
        "AES128" => has("AES128"),
        "AES256" => has("AES256"),
        "CHACHA20" => has("CHACHA20"),
        "SHA256" | "SHA384" => false, // as a MAC: these suites have none
        "SUITEB128" | "SUITEB128ONLY" | "SUITEB192" => {
            has("ECDSA") && (has("AES256") || word == "SUITEB128") && has("AES")
        }
        word => iana(suite) == word || name == word,
    }
}

/// The registry's spelling, which OpenSSL takes too.
fn iana(suite: Suite) -> &'static str {
    match suite {
        Suite::EcdheEcdsaAes256GcmSha384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Suite::EcdheEcdsaAes128GcmSha256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Suite::EcdheEcdsaChacha20Poly1305 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Suite::EcdheRsaAes256GcmSha384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Suite::EcdheRsaAes128GcmSha256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Suite::EcdheRsaChacha20Poly1305 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        tls13 => tls13.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, expected: &[&str], missing: &[&str]) {
        let (suites, not_here) = select(list);
        let names: Vec<&str> = suites.into_iter().map(Suite::name).collect();
        assert_eq!(names, expected, "{list}");
        assert_eq!(not_here, missing, "{list}");
    }

    #[test]
    fn a_list_means_the_suites_it_names_in_its_order() {
        const RSA128: &str = "ECDHE-RSA-AES128-GCM-SHA256";
        const RSA256: &str = "ECDHE-RSA-AES256-GCM-SHA384";
        const ECDSA128: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
        const ECDSA256: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";
        check(&format!("{RSA128}:{ECDSA256}"), &[RSA128, ECDSA256], &[]);
        check(
            "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:AES128-SHA",
            &[RSA128],
            &["DHE-RSA-AES128-GCM-SHA256", "AES128-SHA"],
        );
        check("ECDHE+AESGCM:!AES256", &[ECDSA128, RSA128], &[]);
        check(
            "AESGCM:-aRSA:aRSA+AES256",
            &[ECDSA256, ECDSA128, RSA256],
            &[],
        );
        check("AESGCM+aRSA:+AES256", &[RSA128, RSA256], &[]);
        check("AESGCM+aRSA:@SECLEVEL=4", &[RSA256], &[]);
        check(
            &format!("{RSA128}:{RSA256}:@STRENGTH"),
            &[RSA256, RSA128],
            &[],
        );
        check("TLS_AES_128_GCM_SHA256:aECDSA+AES128", &[ECDSA128], &[]);
        check("!aRSA:ALL:!CHACHA20", &[ECDSA256, ECDSA128], &[]);
        check("NOSUCH", &[], &["NOSUCH"]);
        check("", &[], &[]);
    }
}
