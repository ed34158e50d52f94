//! The environment: which variables there are, and what their values mean.
//!
//! Reads no environment itself: a look-up is passed in. The value of `API_KEY` is in no message.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use hyper::header::HeaderValue;

use crate::discovery::shown;
use crate::discovery::wsupdates::BaseUrl;
use crate::setup::SetupError;

const WS_UPDATES_URL: &str = "WS_UPDATES_URL";
const API_KEY: &str = "API_KEY";
const UPDATE_INTERVAL: &str = "UPDATE_INTERVAL";

/// Shortest time between fetches: below it, a fetch would not be over when the next begins.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Longest time between fetches; more is a typing error.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);

/// Longest API key, bytes: it has to fit in a header line of any server.
const KEY_LEN_MAX: usize = 4096;

/// Accepted forms of `UPDATE_INTERVAL`, for messages.
const INTERVAL_FORMS: &str = "a number of seconds, or a number with ms, s, m, h or d (\"30\", \
     \"500ms\", \"30s\", \"2m\"), from 100ms to 1d";

/// Accepted forms of `WS_UPDATES_URL`, for messages.
const URL_FORMS: &str = "http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]";

/// Accepted forms of `API_KEY`, for messages.
const KEY_FORMS: &str =
    "1 to 4096 printable ASCII characters, not beginning or ending with a space";

/// What the environment says of discovery. Wrong values are kept as errors until
/// [`Control::new`](crate::Control::new) reports all of them at once.
#[derive(Debug)]
pub struct Environment {
    pub(crate) url: Variable<BaseUrl>,
    pub(crate) key: Variable<ApiKey>,
    pub(crate) interval: Variable<Duration>,
}

/// A variable: not set, set, or set to something wrong.
pub(crate) type Variable<T> = Result<Option<T>, SetupError>;

impl Environment {
    /// Reads the variables through `look_up`, usually [`std::env::var_os`]. A variable that is set
    /// to nothing counts as not set: that is how compose files leave one out.
    pub fn read(look_up: impl Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &str| look_up(name).filter(|value| !value.is_empty());
        Self {
            url: read(WS_UPDATES_URL, value, URL_FORMS, BaseUrl::parse),
            key: read(API_KEY, value, KEY_FORMS, ApiKey::parse),
            interval: read(UPDATE_INTERVAL, value, INTERVAL_FORMS, parse_interval),
        }
    }
}

fn read<T>(
    name: &'static str,
    look_up: impl Fn(&str) -> Option<OsString>,
    forms: &'static str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Variable<T> {
    let Some(value) = look_up(name) else {
        return Ok(None);
    };
    let parsed = match value.to_str() {
        Some(text) => parse(text),
        None => Err("it is not UTF-8"),
    };
    parsed.map(Some).map_err(|why| SetupError::Variable {
        name,
        value: (name != API_KEY).then(|| printable(&value.to_string_lossy())),
        why,
        forms,
    })
}

/// A value for a message: escaped and cut, and without what may be a password or a key in a URL.
fn printable(value: &str) -> String {
    let (open, place) = match value.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            // An `@` in a query: what is behind it belongs to the query.
            let place = if before.contains(['?', '#']) {
                "?"
            } else {
                after
            };
            (format!("{scheme}://***@"), place)
        }
        None => (String::new(), value),
    };
    match place.split_once(['?', '#']) {
        Some((place, _)) => format!("{}?***", shown(&format!("{open}{place}"))),
        None => shown(&format!("{open}{place}")),
    }
}

/// Reads a time between fetches: a bare number is seconds, other units as in haproxy.cfg.
pub(crate) fn parse_interval(text: &str) -> Result<Duration, &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "it does not begin with a number")?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => return Err("its unit is none of ms, s, m, h and d"),
    };
    check_interval(Duration::from_millis(milliseconds.unwrap_or(u64::MAX)))
}

/// Whether a time between fetches is within bounds.
pub(crate) fn check_interval(interval: Duration) -> Result<Duration, &'static str> {
    match interval {
        interval if interval < INTERVAL_MIN => Err("it is shorter than 100ms"),
        interval if interval > INTERVAL_MAX => Err("it is longer than 1d"),
        interval => Ok(interval),
    }
}

/// The key that opens a WSUpdates service, ours or another's. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(HeaderValue);

impl ApiKey {
    /// Takes a key that can be sent in a header; else says what is wrong with it, without the key.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > KEY_LEN_MAX {
            return Err("it is empty or longer than 4096 bytes");
        }
        if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err("it has a character that no header may carry (a line end, perhaps)");
        }
        if text.starts_with(' ') || text.ends_with(' ') {
            return Err("it begins or ends with a space, which servers strip");
        }
        let mut value = HeaderValue::from_str(text).map_err(|_| "no header may carry it")?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// As a header value that hyper does not show either.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Whether a client sent this key. Takes the same time wherever the first difference is.
    pub(crate) fn matches(&self, sent: &[u8]) -> bool {
        let key = self.0.as_bytes();
        let differences = key.iter().zip(sent).map(|(left, right)| left ^ right);
        let differences = differences.fold(0, |all, one| std::hint::black_box(all | one));
        key.len() == sent.len() && differences == 0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &'static str, value: &'static str) -> Environment {
        Environment::read(|asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn intervals() {
        #[track_caller]
        fn check(value: &'static str, expected: &str) {
            let got = match environment(UPDATE_INTERVAL, value).interval {
                Ok(interval) => format!("{interval:?}"),
                Err(error) => error.to_string(),
            };
            let expected = expected.replace("FORMS", INTERVAL_FORMS);
            assert_eq!(got, expected);
        }
        check("", "None");
        check("30", "Some(30s)");
        check("30s", "Some(30s)");
        check("500ms", "Some(500ms)");
        check("2m", "Some(120s)");
        check("1d", "Some(86400s)");
        let wrong = |value, why| format!("UPDATE_INTERVAL is \"{value}\": {why}; write FORMS");
        for (value, why) in [
            ("0", "it is shorter than 100ms"),
            ("99ms", "it is shorter than 100ms"),
            ("2d", "it is longer than 1d"),
            ("99999999999999999", "it is longer than 1d"),
            ("99999999999999999999", "it does not begin with a number"),
            ("soon", "it does not begin with a number"),
            ("-1", "it does not begin with a number"),
            ("1.5", "its unit is none of ms, s, m, h and d"),
            ("30 s", "its unit is none of ms, s, m, h and d"),
            ("30x", "its unit is none of ms, s, m, h and d"),
        ] {
            check(value, &wrong(value, why));
        }
    }

    #[test]
    fn urls() {
        #[track_caller]
        fn check(value: &'static str, expected: &str) {
            let got = match environment(WS_UPDATES_URL, value).url {
                Ok(url) => url.map(|url| url.to_string()).unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected.replace("FORMS", URL_FORMS));
        }
        check("", "");
        check(
            "http://wsupdates_nodejs:8000",
            "http://wsupdates_nodejs:8000",
        );
        check("https://n.example.com/api/", "https://n.example.com/api");
        check("http://[fd00::1]:80", "http://[fd00::1]");
        check("HTTP://127.0.0.1:8000/", "http://127.0.0.1:8000");
        let wrong = |value, why| format!("WS_UPDATES_URL is \"{value}\": {why}; write FORMS");
        for (value, why) in [
            ("ftp://x", "it begins with neither http:// nor https://"),
            (
                "wsupdates:80",
                "it begins with neither http:// nor https://",
            ),
            ("http://", "the url names no host"),
            ("http://x:0", "the port is not a number from 1 to 65535"),
        ] {
            check(value, &wrong(value, why));
        }
        let query = "it has a query or fragment";
        check("http://x/?key=1", &wrong("http://x/?***", query));
        let password = "the url carries a user name or password";
        check("http://u:p@x", &wrong("http://***@x", password));
        assert_eq!(printable("http://x/?key=s"), "http://x/?***");
        assert_eq!(printable("http://u:p@x/?key=s"), "http://***@x/?***");
        assert_eq!(printable("http://x/?key=s@t"), "http://***@?***");
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        for bad in ["secret\n", " secret", "secret ", "s\u{e9}cret", "sec\0ret"] {
            let environment = environment(API_KEY, bad);
            let shown = format!("{environment:?} {}", environment.key.as_ref().unwrap_err());
            assert!(
                shown.contains("API_KEY") && !shown.contains("cret"),
                "{shown}"
            );
        }
        let environment = environment(API_KEY, "a secret");
        assert!(!format!("{environment:?}").contains("secret"));
        let key = environment.key.unwrap().unwrap();
        assert!(!format!("{key:?} {:?}", key.header()).contains("secret"));
        assert!(key.matches(b"a secret"));
        for wrong in [&b""[..], b"a", b"a secreT", b"a secret "] {
            assert!(!key.matches(wrong));
        }
    }

    #[test]
    fn values_that_are_not_text_are_errors() {
        use std::os::unix::ffi::OsStringExt;
        let environment = Environment::read(|_| Some(OsString::from_vec(vec![b'x', 0xff])));
        assert!(
            environment
                .url
                .unwrap_err()
                .to_string()
                .contains("it is not UTF-8")
        );
        assert!(
            environment
                .key
                .unwrap_err()
                .to_string()
                .contains("it is not UTF-8")
        );
    }
}
