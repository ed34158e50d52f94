//! Hides secrets in a line before it is shown.
//!
//! Works on the text as written, not on words: a line with a secret may be one that could not be
//! read. It rather hides too much than too little.

/// What a hidden character is shown as; one byte for one, so that carets stay where they belong.
const HIDDEN: char = '*';

/// Words after which all that follows is hidden.
const HIDE_REST: &[&str] = &[
    "ca-sign-pass",
    "cluster-secret",
    "dynamic-cookie-key",
    "insecure-password",
    "password",
    "presetenv",
    "setenv",
    "tcp-md5sig",
];
/// Header names whose values are secrets.
const SECRET_HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "cookie",
];

/// The line with its secrets hidden; as long as before, in bytes.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut mode = Mode::Show;
    let mut rest = text;
    while !rest.is_empty() {
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        out.push_str(&rest[..blank]);
        rest = &rest[blank..];
        let length = rest.find([' ', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let next = mode.after(word);
        match mode {
            Mode::Show => out.push_str(&without_credentials(word)),
            Mode::AfterColon => match word.split_once(':') {
                Some((user, password)) if !user.starts_with('/') => {
                    out.push_str(user);
                    out.push(':');
                    hide(password, &mut out);
                }
                _ => out.push_str(word),
            },
            Mode::Credentials => match word.split_once(':') {
                Some((user, password)) => {
                    out.push_str(user);
                    out.push(':');
                    hide(password, &mut out);
                }
                None => hide(word, &mut out),
            },
            Mode::Nothing => hide(word, &mut out),
        }
        mode = next;
        rest = after;
    }
    replace_controls(&out)
}

/// Control characters above ASCII steer some terminals; those below are drawn by the renderer.
fn replace_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() && !c.is_ascii() {
            true => out.extend(std::iter::repeat_n('?', c.len_utf8())),
            false => out.push(c),
        }
    }
    out
}

/// What is shown of a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Show,
    /// All but what stands behind a colon.
    AfterColon,
    /// `user:password`: what stands before the colon, if there is one.
    Credentials,
    Nothing,
}

impl Mode {
    /// How the words after this one are shown.
    fn after(self, word: &str) -> Self {
        let plain = word.trim_matches(['"', '\'']).to_ascii_lowercase();
        let is_url = plain.starts_with('/');
        match self {
            Self::Nothing | Self::Credentials => Self::Nothing,
            _ if HIDE_REST.contains(&plain.as_str()) => Self::Nothing,
            _ if near(&plain, "setenv") || near(&plain, "presetenv") => Self::Nothing,
            _ if near(&plain, "password") || near(&plain, "insecure-password") => Self::Nothing,
            _ if SECRET_HEADERS.contains(&plain.as_str()) => Self::Nothing,
            // Near spellings, too: the message about "stats auht" shows this line.
            _ if near(&plain, "auth") => Self::Credentials,
            // A password may hold spaces, so what follows the colon is hidden to the end.
            Self::AfterColon if plain.contains(':') && !is_url => Self::Nothing,
            Self::Show if near(&plain, "stats") => Self::AfterColon,
            mode => mode,
        }
    }
}

fn near(word: &str, keyword: &str) -> bool {
    // What differs in length differs at least by that; and comparing long words takes long.
    word.len().abs_diff(keyword.len()) <= 1 && strsim::damerau_levenshtein(word, keyword) <= 1
}

fn hide(text: &str, out: &mut String) {
    out.extend(std::iter::repeat_n(HIDDEN, text.len()));
}

/// `scheme://user:password@host` without the password.
fn without_credentials(word: &str) -> String {
    let found = word.find("://").and_then(|scheme| {
        let authority = scheme + 3;
        let at = authority + word[authority..].find('@')?;
        let colon = authority + word[authority..at].find(':')?;
        Some((colon + 1, at))
    });
    let Some((from, to)) = found else {
        return word.to_owned();
    };
    let mut out = word[..from].to_owned();
    hide(&word[from..to], &mut out);
    out.push_str(&word[to..]);
    out
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_not() {
        let same = [
            "  bind *:8443 ssl crt /etc/cert.pem",
            "\tstats uri /haproxy?stats:x",
            "    acl is_websocket hdr(Upgrade) -i WebSocket",
            "",
        ];
        for text in same {
            assert_eq!(line(text), text);
        }
        let hidden = [
            ("stats auth admin:geheim", "stats auth admin:******"),
            ("stats auht admin:a b", "stats auht admin:* *"),
            ("stat auth \"admin:a b\"", "stat auth \"admin:* **"),
            ("stats auth geheim", "stats auth ******"),
            ("setenv API_KEY abc", "setenv ******* ***"),
            (
                "http-check send hdr X-API-Key abc",
                "http-check send hdr X-API-Key ***",
            ),
            ("url http://u:pw@host/x", "url http://u:**@host/x"),
            (
                "user joe insecure-password ö",
                "user joe insecure-password **",
            ),
        ];
        for (text, expected) in hidden {
            assert_eq!(line(text), expected);
            assert_eq!(line(text).len(), text.len());
        }
    }
}
