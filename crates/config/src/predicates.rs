//! The expressions of `.if` and of `-cc` (manual 2.4): integers, predicates, `!`, `&&`, `||`,
//! parentheses.

use crate::Surroundings;
use crate::environment::COMPATIBLE_VERSION;
use crate::nearest::did_you_mean;

/// What `feature(NAME)` knows to be there; `-vv` lists them.
///
/// `PCRE2` and `LINUX_SPLICE` are here because configurations ask for them before they use what
/// this program has as well (Perl-like regular expressions, `option splice-auto`).
pub const FEATURES: &[&str] = &[
    "ACCEPT4",
    "EPOLL",
    "GETADDRINFO",
    "LINUX_SPLICE",
    "OPENSSL",
    "OPENSSL_AWSLC",
    "PCRE2",
    "POLL",
    "PROMEX",
    "TFO",
    "THREAD",
    "TIDEGATE",
];

/// What `enabled(NAME)` says yes to.
const ENABLED: &[&str] = &[
    "EPOLL",
    "FAST-FORWARD",
    "GETADDRINFO",
    "REUSEPORT",
    "SPLICE",
];
/// What `enabled(NAME)` knows and says no to.
const NOT_ENABLED: &[&str] = &["POLL", "KQUEUE", "EVPORTS", "SERVER-SSL-VERIFY-NONE"];

const PREDICATES: &[&str] = &[
    "awslc_api_atleast",
    "awslc_api_before",
    "defined",
    "enabled",
    "feature",
    "fips_mode",
    "openssl_version_atleast",
    "openssl_version_before",
    "ssllib_name_startswith",
    "streq",
    "strneq",
    "strstr",
    "version_atleast",
    "version_before",
];

/// The TLS library, as `ssllib_name_startswith` sees it: rustls's provider is aws-lc.
const TLS_LIBRARY: &str = "AWS-LC";
/// AWS-LC's API number and the OpenSSL version it says it is compatible with.
const AWSLC_API: &str = "35";
const OPENSSL_VERSION: &str = "1.1.1";

/// Deepest nesting of parentheses and `!`: the evaluator is recursive, and the text is foreign.
const DEPTH_MAX: usize = 64;

/// Evaluates a condition as `.if` and `-cc` do. An empty one is false. Fails, saying why, on text
/// that is no condition.
///
/// The words are expected as the lexer leaves them, joined by single spaces.
pub(crate) fn evaluate(text: &str, surroundings: &dyn Surroundings) -> Result<bool, String> {
    let mut reader = Reader {
        text,
        position: 0,
        depth: 0,
        surroundings,
    };
    reader.skip_spaces();
    if reader.rest().is_empty() {
        return Ok(false);
    }
    let value = reader.any()?;
    reader.skip_spaces();
    if reader.rest().is_empty() {
        Ok(value)
    } else {
        Err(format!(
            "unexpected '{}' after a condition; expected && or ||",
            reader.rest()
        ))
    }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
    surroundings: &'a dyn Surroundings,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    /// `a || b`. Both sides are read even when one decides: what cannot be read is an error.
    fn any(&mut self) -> Result<bool, String> {
        let mut value = self.all()?;
        while self.take("||") {
            value |= self.all()?;
        }
        Ok(value)
    }

    /// `a && b`.
    fn all(&mut self) -> Result<bool, String> {
        let mut value = self.one()?;
        while self.take("&&") {
            value &= self.one()?;
        }
        Ok(value)
    }

    fn one(&mut self) -> Result<bool, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels of nesting"));
        }
        let value = if self.take("!") {
            !self.one()?
        } else if self.take("(") {
            let value = self.any()?;
            if !self.take(")") {
                return Err("unmatched parenthesis".to_owned());
            }
            value
        } else {
            self.leaf()?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn leaf(&mut self) -> Result<bool, String> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(rest.len());
        let name = &rest[..end];
        self.position += end;
        if let Ok(number) = name.parse::<i64>() {
            return Ok(number != 0);
        }
        if name.is_empty() {
            return Err(match rest.is_empty() {
                true => "expected a condition at the end".to_owned(),
                false => format!("expected a condition at '{rest}'"),
            });
        }
        if !PREDICATES.contains(&name) {
            let hint = did_you_mean(name, PREDICATES.iter().copied())
                .unwrap_or_else(|| known("predicates", PREDICATES));
            return Err(format!("unknown predicate '{name}'; {hint}"));
        }
        let arguments = self.arguments(name)?;
        call(name, &arguments, self.surroundings)
    }

    /// `(a,b)`, with a second level of quotes and escapes; none at all is an empty list.
    fn arguments(&mut self, name: &str) -> Result<Vec<String>, String> {
        if !self.rest().starts_with('(') {
            return Ok(Vec::new());
        }
        let mut arguments = vec![String::new()];
        let mut quote = None;
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            let last = arguments.len() - 1;
            match (c, quote) {
                _ if escaped => {
                    arguments[last].push(c);
                    escaped = false;
                }
                ('\\', None | Some('"')) => escaped = true,
                ('"' | '\'', None) => quote = Some(c),
                _ if quote == Some(c) => quote = None,
                (',', None) => arguments.push(String::new()),
                (')', None) => {
                    self.position += at + 1;
                    return Ok(arguments);
                }
                _ => arguments[last].push(c),
            }
        }
        Err(format!("missing ')' after the arguments of '{name}'"))
    }
}

fn known(what: &str, names: &[&str]) -> String {
    format!("the {what} are {}", names.join(", "))
}

fn call(name: &str, arguments: &[String], around: &dyn Surroundings) -> Result<bool, String> {
    let expected = match name {
        "fips_mode" => 0,
        "streq" | "strneq" | "strstr" => 2,
        _ => 1,
    };
    let given = match arguments {
        [only] if only.is_empty() && expected == 0 => 0,
        arguments => arguments.len(),
    };
    if given != expected {
        return Err(format!(
            "predicate '{name}' takes {expected} argument{}, not {given}",
            if expected == 1 { "" } else { "s" }
        ));
    }
    let first = arguments.first().map_or("", String::as_str);
    let second = arguments.get(1).map_or("", String::as_str);
    Ok(match name {
        "defined" => around.variable(first).is_some(),
        "feature" => FEATURES.contains(&first),
        "enabled" if ENABLED.contains(&first) => true,
        "enabled" if NOT_ENABLED.contains(&first) => false,
        "enabled" => return Err(format!("unknown option '{first}' of 'enabled'")),
        "streq" => first == second,
        "strneq" => first != second,
        "strstr" => first.contains(second),
        "ssllib_name_startswith" => TLS_LIBRARY.starts_with(first),
        "version_atleast" => version(COMPATIBLE_VERSION)? >= version(first)?,
        "version_before" => version(COMPATIBLE_VERSION)? < version(first)?,
        "openssl_version_atleast" => version(OPENSSL_VERSION)? >= version(first)?,
        "openssl_version_before" => version(OPENSSL_VERSION)? < version(first)?,
        "awslc_api_atleast" => version(AWSLC_API)? >= version(first)?,
        "awslc_api_before" => version(AWSLC_API)? < version(first)?,
        _ => false,
    })
}

/// `2.8`, `3.4-dev2`, `v2.8-dev8`, `1024`: missing numbers are zero, a `-devN` is before its
/// release.
fn version(text: &str) -> Result<[u32; 5], String> {
    let invalid = || format!("'{text}' is not a version such as 2.8 or 3.4-dev2");
    let numbers = text.strip_prefix('v').unwrap_or(text);
    let (numbers, development) = match numbers.split_once('-') {
        None => (numbers, u32::MAX),
        Some((numbers, suffix)) => match suffix.strip_prefix("dev") {
            Some(number) => {
                let digits = number.split(['-', '+']).next().unwrap_or_default();
                (numbers, digits.parse().map_err(|_| invalid())?)
            }
            None => (numbers, u32::MAX),
        },
    };
    let mut parts = [0; 5];
    parts[4] = development;
    for (index, number) in numbers.split('.').enumerate() {
        let part = parts[..4].get_mut(index).ok_or_else(invalid)?;
        *part = number.parse().map_err(|_| invalid())?;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::evaluate;
    use crate::Surroundings;

    struct Home;

    impl Surroundings for Home {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "HOME").then(|| "/root".to_owned())
        }
        fn read(&self, _: &str) -> Result<String, String> {
            Err("nothing to read".to_owned())
        }
    }

    /// `expected` is "true", "false" or the beginning of the error.
    fn check(text: &str, expected: &str) {
        let found = match evaluate(text, &Home) {
            Ok(value) => value.to_string(),
            Err(error) => error,
        };
        assert!(found.starts_with(expected), "{text}: {found}");
    }

    #[test]
    fn conditions_are_evaluated_as_documented() {
        check("", "false");
        check("0", "false");
        check("-1", "true");
        check("!0", "true");
        check("!!5", "true");
        check("0 || 1 && 1", "true");
        check("0 && 1 || 0", "false");
        check("(1 || 0) && !(0)", "true");
        check("feature(TIDEGATE) && feature(OPENSSL)", "true");
        check("feature(LUA)", "false");
        check("defined(HOME)", "true");
        check("defined( HOME )", "false");
        check("streq(a,a)", "true");
        check("streq(a, a)", "false");
        check("streq('a,b',\"a,b\")", "true");
        check("streq(,)", "true");
        check("strneq(a,b)", "true");
        check("strstr(haystack,stack)", "true");
        check("version_atleast(2.6)", "true");
        check("version_atleast(v3.3-dev8)", "true");
        check("version_atleast(1024)", "false");
        check("version_before(2.4-dev19)", "false");
        check("enabled(SPLICE)", "true");
        check("fips_mode()", "false");
        check("ssllib_name_startswith(OpenSSL)", "false");
        check("awslc_api_atleast(35)", "true");
    }

    #[test]
    fn what_is_no_condition_is_an_error() {
        check("1 2", "unexpected '2'");
        check("foo(1)", "unknown predicate 'foo'");
        check(
            "featur(X)",
            "unknown predicate 'featur'; did you mean 'feature'?",
        );
        check("streq(a)", "predicate 'streq' takes 2 arguments, not 1");
        check("(1", "unmatched parenthesis");
        check("1 &&", "expected a condition at the end");
        check("feature(X", "missing ')'");
        check("enabled(FOO)", "unknown option 'FOO'");
        check("version_atleast(x)", "'x' is not a version");
        check(&"!".repeat(10_000), "more than 64 levels");
    }
}
