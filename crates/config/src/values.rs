//! Single values: times, sizes, numbers, names (manual 2.5 and 2.6).

use std::sync::Arc;
use std::time::Duration;

use crate::args::Args;
use crate::diagnostics::Diagnostic;
use crate::lexer::Word;
use crate::nearest::did_you_mean;

/// HAProxy's timers count milliseconds in 31 bits.
const TIMER_MS_MAX: u128 = 2_147_483_647;

/// The unit a time has when none is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Seconds,
}

/// A time, rounded up to whole milliseconds as HAProxy's timers are.
pub(crate) fn duration(word: &Word, keyword: &str, unit: Unit) -> Result<Duration, Diagnostic> {
    let text = word.text.as_str();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, suffix) = text.split_at(digits);
    if number.is_empty() {
        return Err(not_a_time(word, keyword, text, unit));
    }
    let microseconds: u128 = match (suffix, unit) {
        ("us", _) => 1,
        ("ms", _) | ("", Unit::Milliseconds) => 1_000,
        ("s", _) | ("", Unit::Seconds) => 1_000_000,
        ("m", _) => 60_000_000,
        ("h", _) => 3_600_000_000,
        ("d", _) => 86_400_000_000,
        _ => return Err(not_a_time(word, keyword, suffix, unit)),
    };
    let total = number
        .parse::<u64>()
        .ok()
        .and_then(|number| u128::from(number).checked_mul(microseconds))
        .map(|total| total.div_ceil(1_000))
        .filter(|total| *total <= TIMER_MS_MAX);
    match total {
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds as u64)),
        None => Err(Diagnostic::alert(
            word.span,
            format!(
                "timer overflow in argument '{text}' to '{keyword}' (maximum value is 2147483647 ms or ~24.8 days)"
            ),
        )),
    }
}

fn not_a_time(word: &Word, keyword: &str, rest: &str, unit: Unit) -> Diagnostic {
    let message = match rest.chars().next() {
        Some(c) => format!("unexpected character '{c}' in '{keyword}'"),
        None => format!("'{keyword}' expects a time"),
    };
    let bare = match unit {
        Unit::Milliseconds => "milliseconds",
        Unit::Seconds => "seconds",
    };
    Diagnostic::alert(word.span, message)
        .label(format!(
            "expected a whole number of {bare}, or one with a unit"
        ))
        .help("the units are us, ms, s, m, h and d: 500ms, 30s, 1h")
}

/// A time as people write it, such as `10s`; `unit` is meant where none is written. `None`: it is none.
pub fn parse_duration(text: &str, unit: Duration) -> Option<Duration> {
    let unit = match unit < Duration::from_secs(1) {
        true => Unit::Milliseconds,
        false => Unit::Seconds,
    };
    let word = Word::bare(text);
    duration(&word, "", unit).ok()
}

/// The next word as a time.
pub(crate) fn next_duration(args: &mut Args<'_>, unit: Unit) -> Result<Duration, Diagnostic> {
    let word = args.required("a time")?;
    duration(word, args.keyword, unit)
}

/// A time where zero means that there is no limit.
pub(crate) fn limit(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

/// A whole number in `range`.
pub(crate) fn number(
    word: &Word,
    keyword: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, Diagnostic> {
    let parsed = match word.text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => word.text.parse::<u64>().ok(),
        false => None,
    };
    parsed
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            let expected = match *to {
                u64::MAX => format!("expected a whole number from {from} on"),
                to => format!("expected a whole number from {from} to {to}"),
            };
            Diagnostic::alert(
                word.span,
                format!("'{keyword}' does not accept '{}'", word.text),
            )
            .label(expected)
        })
}

/// The next word as a whole number in `range`, of any unsigned type that holds the range.
pub(crate) fn next_number<T: TryFrom<u64>>(
    args: &mut Args<'_>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<T, Diagnostic> {
    let word = args.required("a whole number")?;
    let value = number(word, args.keyword, range)?;
    T::try_from(value)
        .map_err(|_| Diagnostic::alert(word.span, format!("'{}' is too large", word.text)))
}

/// A size in bytes with an optional `k`, `m` or `g`.
pub(crate) fn size(
    word: &Word,
    keyword: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, Diagnostic> {
    let text = word.text.as_str();
    let shift = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(shift > 0)];
    let value = match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse::<u64>().ok(),
        false => None,
    };
    value
        .and_then(|value| value.checked_mul(1 << shift))
        .filter(|value| range.contains(value))
        .ok_or_else(|| {
            Diagnostic::alert(word.span, format!("'{keyword}' does not accept '{text}'")).label(
                format!(
                    "expected bytes from {} to {}, such as 16384 or 16k",
                    range.start(),
                    range.end()
                ),
            )
        })
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(
    word: &Word,
    keyword: &str,
    choices: &[(&str, T)],
) -> Result<T, Diagnostic> {
    let found = choices.iter().find(|(name, _)| word.is(name));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let alert = Diagnostic::alert(
            word.span,
            format!("'{keyword}' does not know '{}'", word.text),
        )
        .label(format!("expected {}", list(&names)));
        match did_you_mean(&word.text, names.iter().copied()) {
            Some(hint) => alert.help(hint),
            None => alert,
        }
    })
}

/// "a, b or c".
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// The name of a header: an RFC 9110 token, in lower case.
pub(crate) fn header_name(word: &Word) -> Result<Arc<str>, Diagnostic> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if word.text.is_empty() || !word.text.bytes().all(token) {
        return Err(
            Diagnostic::alert(word.span, format!("'{}' is not a header name", word.text))
                .label("letters, digits and -_.!#$%&'*+^`|~ are allowed"),
        );
    }
    Ok(word.text.to_ascii_lowercase().into())
}

/// A text that goes into a header or a request line as it is: no control characters.
pub(crate) fn header_text(word: &Word) -> Result<Arc<str>, Diagnostic> {
    let control = |c: char| c.is_ascii_control() && c != '\t';
    if word.text.contains(control) {
        return Err(Diagnostic::alert(
            word.span,
            "a header or request line must not contain control characters",
        ));
    }
    Ok(word.text.as_str().into())
}

/// Whether a name may name a section or server: letters, digits and `-_.:` (manual 4).
pub(crate) fn name(word: &Word, what: &str) -> Result<Arc<str>, Diagnostic> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match word.text.chars().find(|c| !allowed(*c)) {
        None => Ok(word.text.as_str().into()),
        Some(c) => Err(Diagnostic::alert(
            word.span,
            format!(
                "character '{c}' is not permitted in {what} name '{}'",
                word.text
            ),
        )
        .label("letters, digits and -_.: are allowed")),
    }
}

/// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`.
pub(crate) fn network(word: &Word) -> Result<ipnet::IpNet, Diagnostic> {
    let (address, mask) = match word.text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (word.text.as_str(), None),
    };
    let parsed = address
        .parse::<std::net::IpAddr>()
        .ok()
        .and_then(|ip| match (ip, mask) {
            (ip, None) => Some(ipnet::IpNet::from(ip)),
            (std::net::IpAddr::V4(ip), Some(mask)) if mask.contains('.') => {
                ipnet::Ipv4Net::with_netmask(ip, mask.parse().ok()?)
                    .ok()
                    .map(ipnet::IpNet::from)
            }
            (ip, Some(mask)) => ipnet::IpNet::new(ip, mask.parse().ok()?).ok(),
        });
    parsed.map(|network| network.trunc()).ok_or_else(|| {
        Diagnostic::alert(
            word.span,
            format!("'{}' is neither an address nor a network", word.text),
        )
        .label("expected 10.0.0.1, 10.0.0.0/8 or fd00::/8")
    })
}
