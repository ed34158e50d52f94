//! Persistence by cookie: `cookie`, `dynamic-cookie-key`, `option persist`, `force-persist` and
//! `ignore-persist` (manual 4.2), `server … cookie` (5.2).

use std::sync::Arc;
use std::time::Duration;

use super::proxy::condition;
use super::{BACK, BACK_ONLY, ProxyKeyword, Scope, implemented, invertible};
use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::draft::{Draft, ServerDraft};
use crate::expr::Stage;
use crate::lexer::Word;
use crate::model::{Backend, Cookie, CookieMode, Mode, PersistRule, Secret};
use crate::source::Span;
use crate::values::{header_text, limit};

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    implemented("cookie", BACK, cookie),
    implemented("dynamic-cookie-key", BACK, |draft, args, _| {
        let word = args.required("a secret key")?;
        draft.back.persistence.key = Some(Secret(word.text.as_str().into()));
        args.rest();
        Ok(())
    }),
    implemented("force-persist", BACK_ONLY, |draft, args, scope| {
        rule(draft, args, scope, true)
    }),
    implemented("ignore-persist", BACK_ONLY, |draft, args, scope| {
        rule(draft, args, scope, false)
    }),
    implemented("persist", BACK, rdp_cookie),
    invertible("option persist", BACK, |draft, args, _| {
        args.end()?;
        draft.back.persistence.persist = !args.negated() && !args.restores_default();
        Ok(())
    }),
];

/// What terminal servers call theirs (manual 4.2, "persist rdp-cookie").
const RDP_COOKIE_DEFAULT: &str = "msts";

/// What a section says of persistence.
#[derive(Debug, Clone, Default)]
pub(crate) struct PersistenceDraft {
    cookie: Option<Cookie>,
    key: Option<Secret>,
    persist: bool,
    /// The cookie of `persist rdp-cookie`.
    rdp_cookie: Option<(Arc<str>, Span)>,
    rules: Vec<PersistRule>,
}

impl PersistenceDraft {
    /// Where `persist rdp-cookie` is of no use.
    pub(crate) fn notice(&self, mode: Mode) -> Option<Diagnostic> {
        let (_, place) = self.rdp_cookie.as_ref()?;
        (mode == Mode::Http).then(|| {
            let message = "'persist rdp-cookie' has no effect in 'mode http'";
            Diagnostic::notice(*place, message).help("write 'mode tcp', or use 'cookie'")
        })
    }

    /// Enters it into the backend. In `mode tcp` there are no cookies; that was told already.
    pub(crate) fn settle(&self, backend: &mut Backend) {
        let http = backend.proxy.mode == Mode::Http;
        backend.cookie = self.cookie.clone().filter(|_| http);
        backend.dynamic_cookie_key = self.key.clone();
        backend.persist = self.persist;
        let rdp_cookie = self.rdp_cookie.as_ref().filter(|_| !http);
        backend.persist_rdp_cookie = rdp_cookie.map(|(name, _)| name.clone());
        backend.persist_rules = self.rules.clone();
    }
}

/// Words that say who makes the cookie: at most one of them.
const MODES: [(&str, CookieMode); 3] = [
    ("rewrite", CookieMode::Rewrite),
    ("insert", CookieMode::Insert),
    ("prefix", CookieMode::Prefix),
];

const WORDS: [&str; 14] = [
    "rewrite", "insert", "prefix", "indirect", "nocache", "postonly", "preserve", "httponly",
    "secure", "domain", "maxidle", "maxlife", "dynamic", "attr",
];

/// `persist rdp-cookie[(NAME)]`.
fn rdp_cookie(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let word = args.required("rdp-cookie or rdp-cookie(NAME)")?;
    let name = match word.text.strip_prefix("rdp-cookie") {
        Some("") => Some(RDP_COOKIE_DEFAULT),
        Some(argument) => argument
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
            .filter(|name| !name.is_empty()),
        None => None,
    };
    let Some(name) = name else {
        let message = format!("'persist' does not accept '{}'", word.text);
        return Err(
            Diagnostic::alert(word.span, message).label("expected rdp-cookie or rdp-cookie(NAME)")
        );
    };
    draft.back.persistence.rdp_cookie = Some((name.into(), args.place()));
    args.ignore_rest(scope);
    Ok(())
}

/// `cookie NAME [words]`.
fn cookie(draft: &mut Draft, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
    let place = args.place();
    let name = args.required("the name of a cookie")?;
    let mut cookie = Cookie {
        name: cookie_text(name, "the name of a cookie", b"=;, \t")?,
        ..Cookie::default()
    };
    let mut attributes = Attributes::default();
    while let Some(word) = args.next() {
        if let Some((_, mode)) = MODES.iter().find(|(name, _)| word.is(name)) {
            if cookie.mode != CookieMode::Passive && cookie.mode != *mode {
                return Err(Diagnostic::alert(
                    word.span,
                    "cookie 'rewrite', 'insert' and 'prefix' modes are incompatible",
                )
                .label("another one was given before"));
            }
            cookie.mode = *mode;
            continue;
        }
        match word.text.as_str() {
            "indirect" => cookie.indirect = true,
            "nocache" => cookie.nocache = true,
            "postonly" => cookie.postonly = true,
            "preserve" => cookie.preserve = true,
            "dynamic" => cookie.dynamic = true,
            "httponly" => attributes.httponly = true,
            "secure" => attributes.secure = true,
            "maxidle" => cookie.maxidle = limit(seconds(args, "maxidle")?),
            "maxlife" => cookie.maxlife = limit(seconds(args, "maxlife")?),
            "domain" => attributes.domain(args, scope)?,
            "attr" => attributes.other(args)?,
            other => {
                let alert =
                    Diagnostic::alert(word.span, format!("'cookie' does not know '{other}'"))
                        .label(format!("expected {}", crate::values::list(&WORDS)));
                return Err(match crate::nearest::did_you_mean(other, WORDS) {
                    Some(hint) => alert.help(hint),
                    None => alert,
                });
            }
        }
    }
    contradictions(&cookie, name)?;
    cookie.attributes = attributes.text();
    draft.back.persistence.cookie = Some(cookie);
    draft.http_only.insert(args.keyword, place);
    Ok(())
}

fn contradictions(cookie: &Cookie, name: &Word) -> Result<(), Diagnostic> {
    let wrong = |message: &str, help: &str| Err(Diagnostic::alert(name.span, message).help(help));
    if cookie.mode == CookieMode::Rewrite && cookie.indirect {
        return wrong(
            "cookie 'rewrite' and 'indirect' modes are incompatible",
            "write 'insert indirect', or leave 'indirect' out",
        );
    }
    if cookie.preserve && cookie.mode != CookieMode::Insert && !cookie.indirect {
        return wrong(
            "cookie 'preserve' requires at least 'insert' or 'indirect'",
            "without them nothing takes the node's cookie away: leave 'preserve' out",
        );
    }
    Ok(())
}

/// What follows `path=/` in a cookie of ours, in HAProxy's order.
#[derive(Default)]
struct Attributes {
    domains: String,
    httponly: bool,
    secure: bool,
    others: String,
}

impl Attributes {
    fn domain(&mut self, args: &mut Args<'_>, scope: &Scope<'_>) -> Result<(), Diagnostic> {
        let word = args.required("a domain after 'domain'")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if let Some(c) = word.text.chars().find(|c| !allowed(*c)) {
            return Err(Diagnostic::alert(
                word.span,
                format!(
                    "character '{c}' is not permitted in domain name '{}'",
                    word.text
                ),
            ));
        }
        if !word.text.get(1..).is_some_and(|rest| rest.contains('.')) {
            scope.report(Diagnostic::warning(
                word.span,
                format!(
                    "domain '{}' contains no embedded dot, this configuration may not work properly",
                    word.text
                ),
            ));
        }
        self.domains.push_str("; domain=");
        self.domains.push_str(&word.text);
        Ok(())
    }

    fn other(&mut self, args: &mut Args<'_>) -> Result<(), Diagnostic> {
        let word = args.required("a text such as SameSite=Lax after 'attr'")?;
        let text = cookie_text(word, "an attribute", b";")?;
        self.others.push_str("; ");
        self.others.push_str(&text);
        Ok(())
    }

    fn text(&self) -> Arc<str> {
        let mut text = self.domains.clone();
        if self.httponly {
            text.push_str("; HttpOnly");
        }
        if self.secure {
            text.push_str("; Secure");
        }
        text.push_str(&self.others);
        text.into()
    }
}

/// A text that becomes part of a cookie.
fn cookie_text(word: &Word, what: &str, forbidden: &[u8]) -> Result<Arc<str>, Diagnostic> {
    let text = header_text(word)?;
    match text.bytes().find(|byte| forbidden.contains(byte)) {
        None => Ok(text),
        Some(byte) => Err(Diagnostic::alert(
            word.span,
            format!("character '{}' is not permitted in {what}", byte as char),
        )),
    }
}

/// A number of seconds, or a time with a unit, rounded up; 0 is no limit. HAProxy counts these in seconds, so they may
/// be far longer than its timers.
fn seconds(args: &mut Args<'_>, keyword: &'static str) -> Result<Duration, Diagnostic> {
    const SECONDS_MAX: u64 = i32::MAX as u64;
    let word = args.required("a time in seconds, such as 1800 or 30m")?;
    let digits = word.text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (number, unit) = word.text.split_at(word.text.len() - digits.len());
    let microseconds: Option<u64> = match unit {
        "us" => Some(1),
        "ms" => Some(1_000),
        "" | "s" => Some(1_000_000),
        "m" => Some(60_000_000),
        "h" => Some(3_600_000_000),
        "d" => Some(86_400_000_000),
        _ => None,
    };
    let (Some(unit), Ok(number)) = (microseconds, number.parse::<u128>()) else {
        return Err(Diagnostic::alert(
            word.span,
            format!("'{keyword}' does not accept '{}'", word.text),
        )
        .label("expected seconds, or a time with a unit: 1800, 30m, 8h, 7d"));
    };
    let seconds = number.saturating_mul(u128::from(unit)).div_ceil(1_000_000);
    match u64::try_from(seconds) {
        Ok(seconds) if seconds <= SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err(Diagnostic::alert(
            word.span,
            format!("timer overflow in argument '{}' to '{keyword}'", word.text),
        )
        .label("at most 2147483647 seconds (about 68 years)")),
    }
}

fn rule(
    draft: &mut Draft,
    args: &mut Args<'_>,
    scope: &Scope<'_>,
    force: bool,
) -> Result<(), Diagnostic> {
    let told = format!(
        "'{}' requires either 'if' or 'unless' followed by a condition",
        args.keyword
    );
    if !args.at_condition() {
        let place = args.peek().map_or(args.missing_place(), |word| word.span);
        return Err(Diagnostic::alert(place, told));
    }
    if let Some(condition) = condition(draft, args, scope, Stage::Request)? {
        draft
            .back
            .persistence
            .rules
            .push(PersistRule { force, condition });
    }
    Ok(())
}

/// `server … cookie VALUE`.
pub(crate) fn value(
    draft: &mut ServerDraft,
    args: &mut Args<'_>,
    _: &Scope<'_>,
) -> Result<(), Diagnostic> {
    let word = args.required("a value")?;
    // Anything else would come back as another cookie, or as no cookie at all.
    draft.server.cookie = Some(cookie_text(word, "the value of a cookie", b";,")?);
    Ok(())
}
