//! Heads of requests and responses: what routing may look at.
//!
//! Not how they are written on the wire: HTTP/1 is in [`crate::h1`], and HTTP/2 will fill the same
//! types. The words are those of RFC 9110.

use std::borrow::Cow;
use std::fmt;

pub use crate::fields::Fields;
pub use crate::method::{METHOD_LEN_MAX, Method};
use crate::syntax;

/// The version of HTTP/1 that the sender of a message speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: no persistent connection unless asked for, no chunks.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// As it stands in a message, e.g. `HTTP/1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// The head of a request: everything before its body.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// What is asked for.
    pub method: Method,
    target: Box<[u8]>,
    /// What the client speaks; what is sent on is always HTTP/1.1.
    pub version: Version,
    /// The header fields.
    pub fields: Fields,
}

impl RequestHead {
    /// A request of our own (health checks): HTTP/1.1, no fields yet. None if `target` is neither a
    /// path, nor `*` for OPTIONS, nor an absolute http or https URI.
    pub fn new(method: Method, target: &[u8]) -> Option<RequestHead> {
        let mut head = RequestHead::parsed(method, b"/", Version::Http11, Fields::new());
        head.set_target(target).then_some(head)
    }

    /// What a parser has found and checked.
    pub(crate) fn parsed(
        method: Method,
        target: &[u8],
        version: Version,
        fields: Fields,
    ) -> RequestHead {
        let target = with_path(&method, target);
        RequestHead {
            method,
            target,
            version,
            fields,
        }
    }

    /// The whole target as received, save that an absolute URI without a path has got its `/`.
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// Replaces the target. A text that cannot be one (white space, control characters, bytes above
    /// 126, `#`, no leading slash) changes nothing, and the answer is `false`; so it is for CONNECT.
    pub fn set_target(&mut self, target: &[u8]) -> bool {
        let form = match target {
            _ if self.method.is_connect() => false,
            [b'/', ..] => true,
            b"*" => self.method == Method::OPTIONS,
            _ => has_web_scheme(target),
        };
        if form && syntax::is_target(target) {
            self.target = with_path(&self.method, target);
        }
        form && syntax::is_target(target)
    }

    /// Replaces the path and keeps the query, and the scheme and authority of an absolute target; one
    /// that has no path (`*`) is replaced. Answers as [`RequestHead::set_target`].
    pub fn set_path(&mut self, path: &[u8]) -> bool {
        // What has a question mark would begin a query.
        if memchr::memchr(b'?', path).is_some() {
            return self.set_path_and_query(path);
        }
        match self.query() {
            Some(query) => {
                let whole = [path, b"?", query].concat();
                self.set_path_and_query(&whole)
            }
            None => self.set_path_and_query(path),
        }
    }

    /// Replaces path and query.
    pub fn set_path_and_query(&mut self, text: &[u8]) -> bool {
        if text.first() != Some(&b'/') {
            return false;
        }
        match split_absolute(&self.target) {
            Some((_, rest)) if !self.method.is_connect() => {
                let before = &self.target[..self.target.len() - rest.len()];
                let whole = [before, text].concat();
                self.set_target(&whole)
            }
            _ => self.set_target(text),
        }
    }

    /// Replaces what follows the question mark. One is added where there is none and the new query is
    /// not empty; one that is there stays.
    pub fn set_query(&mut self, query: &[u8]) -> bool {
        let query = query.strip_prefix(b"?").unwrap_or(query);
        let whole = match (self.query(), query) {
            (None, b"") => return true,
            _ => [self.path(), b"?", query].concat(),
        };
        self.set_path_and_query(&whole)
    }

    /// Replaces the whole target. The authority of an absolute one is the Host from then on.
    pub fn set_uri(&mut self, target: &[u8]) -> bool {
        if !self.set_target(target) {
            return false;
        }
        if let Some((authority, _)) = split_absolute(&self.target) {
            self.fields.set("host", authority);
        }
        true
    }

    /// The path, without the query: of an absolute URI its path part, of CONNECT nothing, of
    /// `OPTIONS *` the asterisk.
    pub fn path(&self) -> &[u8] {
        let whole = self.path_and_query();
        &whole[..question_mark(whole).unwrap_or(whole.len())]
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&[u8]> {
        let whole = self.path_and_query();
        question_mark(whole).map(|at| &whole[at + 1..])
    }

    /// Path and query as they stand in the target.
    pub fn path_and_query(&self) -> &[u8] {
        if self.method.is_connect() {
            return b"";
        }
        let whole = match split_absolute(&self.target) {
            Some((_, rest)) => rest,
            None => &self.target,
        };
        match whole {
            // An absolute URI without any path is a question about the server itself
            // (RFC 9112 §3.2.4).
            b"" | b"*" if self.method == Method::OPTIONS => b"*",
            b"" | b"*" => b"/",
            whole => whole,
        }
    }

    /// Host and port the request is for: the authority of an absolute URI or of CONNECT, else the
    /// Host field. The parser has seen to it that they agree and that there is only one.
    pub fn host(&self) -> Option<&[u8]> {
        if self.method.is_connect() {
            return Some(&self.target);
        }
        match split_absolute(&self.target) {
            Some((authority, _)) => Some(authority),
            None => self.fields.get("host"),
        }
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, version) = (self.target.escape_ascii(), self.version.as_str());
        write!(f, "{} {target} {version} {:?}", self.method, self.fields)
    }
}

/// The head of a response: everything before its body.
#[derive(Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// What the server speaks.
    pub version: Version,
    /// 100..=599 when parsed.
    pub status: u16,
    /// The header fields.
    pub fields: Fields,
    reason: Cow<'static, [u8]>,
}

impl ResponseHead {
    /// A response of our own: HTTP/1.1, the usual reason phrase, no fields yet.
    pub fn new(status: u16) -> ResponseHead {
        let reason = Cow::Borrowed(phrase(status).as_bytes());
        ResponseHead {
            version: Version::Http11,
            status,
            fields: Fields::new(),
            reason,
        }
    }

    /// What a parser has found and checked.
    pub(crate) fn parsed(
        version: Version,
        status: u16,
        reason: &[u8],
        fields: Fields,
    ) -> ResponseHead {
        let usual = phrase(status).as_bytes();
        let reason = if reason == usual {
            Cow::Borrowed(usual)
        } else {
            Cow::Owned(reason.to_vec())
        };
        ResponseHead {
            version,
            status,
            fields,
            reason,
        }
    }

    /// The reason phrase; may be empty.
    pub fn reason(&self) -> &[u8] {
        &self.reason
    }

    /// Another status, with this reason phrase or the usual one. Control characters in the phrase
    /// become spaces.
    pub fn set_status(&mut self, status: u16, reason: Option<&[u8]>) {
        let clean = |&byte: &u8| {
            if syntax::is_value_byte(byte) {
                byte
            } else {
                b' '
            }
        };
        self.status = status;
        self.reason = match reason {
            Some(reason) => Cow::Owned(reason.iter().map(clean).collect()),
            None => Cow::Borrowed(phrase(status).as_bytes()),
        };
    }

    /// Whether another response to the same request follows this one (RFC 9110 §15.2): any 1xx but
    /// 101, after which no HTTP follows at all.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, reason) = (self.version.as_str(), self.reason.escape_ascii());
        write!(f, "{version} {} {reason} {:?}", self.status, self.fields)
    }
}

fn question_mark(text: &[u8]) -> Option<usize> {
    memchr::memchr(b'?', text)
}

/// Whether `target` begins as an absolute URI of a kind that we serve.
pub(crate) fn has_web_scheme(target: &[u8]) -> bool {
    web_scheme(target).is_some()
}

/// The length of `http://` or `https://` and the port it stands for. Other schemes have no meaning
/// here, and a gateway that guesses one is open to cross-protocol attacks.
pub(crate) fn web_scheme(target: &[u8]) -> Option<(usize, u16)> {
    [("http://", 80), ("https://", 443)]
        .into_iter()
        .find_map(|(scheme, port)| {
            let start = target.get(..scheme.len())?;
            start
                .eq_ignore_ascii_case(scheme.as_bytes())
                .then_some((scheme.len(), port))
        })
}

/// Authority, and path with query, of an absolute URI.
pub(crate) fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    if target.first() == Some(&b'/') {
        return None;
    }
    let rest = &target[web_scheme(target)?.0..];
    let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// An empty path of an absolute URI means `/` (RFC 9110 §4.2.3), except for OPTIONS.
fn with_path(method: &Method, target: &[u8]) -> Box<[u8]> {
    match split_absolute(target) {
        Some((_, rest)) if rest.first() != Some(&b'/') => {
            let before = &target[..target.len() - rest.len()];
            let about_server = *method == Method::OPTIONS && rest.is_empty();
            let slash: &[u8] = if about_server { b"" } else { b"/" };
            [before, slash, rest].concat().into()
        }
        _ => target.into(),
    }
}

/// The reason phrase of a status: no program may look at it (RFC 9112 §4), people do, so it is what
/// HAProxy writes, which is RFC 2616's.
fn phrase(status: u16) -> &'static str {
    match PHRASES.binary_search_by_key(&status, |(known, _)| *known) {
        Ok(at) => PHRASES[at].1,
        Err(_) => match status {
            200..300 => "Success",
            300..400 => "Redirection",
            400..500 => "Client Error",
            500..600 => "Server Error",
            _ => "",
        },
    }
}

const PHRASES: &[(u16, &str)] = &[
    (100, "Continue"),
    (101, "Switching Protocols"),
    (103, "Early Hints"),
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-Authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (207, "Multi-Status"),
    (210, "Content Different"),
    (226, "IM Used"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Found"),
    (303, "See Other"),
    (304, "Not Modified"),
    (305, "Use Proxy"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (310, "Too many Redirects"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Time-out"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Requested range unsatisfiable"),
    (417, "Expectation failed"),
    (418, "I'm a teapot"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Content"),
    (423, "Locked"),
    (424, "Method failure"),
    (425, "Too Early"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (449, "Retry With"),
    (450, "Blocked by Windows Parental Controls"),
    (451, "Unavailable For Legal Reasons"),
    (456, "Unrecoverable Error"),
    (499, "client has closed connection"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Time-out"),
    (505, "HTTP Version not supported"),
    (506, "Variant also negotiate"),
    (507, "Insufficient storage"),
    (508, "Loop detected"),
    (509, "Bandwidth Limit Exceeded"),
    (510, "Not extended"),
    (511, "Network authentication required"),
    (520, "Web server is returning an unknown error"),
];
