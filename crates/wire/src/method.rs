//! Request methods.

use std::fmt;

use crate::syntax;

/// A request method: any token (RFC 9110 §9.1), case-sensitive.
#[derive(Clone, PartialEq, Eq)]
pub struct Method(Name);

#[derive(Clone, PartialEq, Eq)]
enum Name {
    Known(&'static str),
    Other(Box<[u8]>),
}

/// The longest method accepted, in bytes. The longest registered one, UPDATEREDIRECTREF, has 17.
pub const METHOD_LEN_MAX: usize = 32;

/// Method, whether it is safe, whether it is idempotent (RFC 9110 §9.2).
const KNOWN: [(&str, bool, bool); 9] = [
    ("GET", true, true),
    ("POST", false, false),
    ("HEAD", true, true),
    ("PUT", false, true),
    ("DELETE", false, true),
    ("OPTIONS", true, true),
    ("PATCH", false, false),
    ("CONNECT", false, false),
    ("TRACE", true, true),
];

impl Method {
    /// GET.
    pub const GET: Method = Method(Name::Known("GET"));
    /// POST.
    pub const POST: Method = Method(Name::Known("POST"));
    /// HEAD.
    pub const HEAD: Method = Method(Name::Known("HEAD"));
    /// PUT.
    pub const PUT: Method = Method(Name::Known("PUT"));
    /// DELETE.
    pub const DELETE: Method = Method(Name::Known("DELETE"));
    /// OPTIONS.
    pub const OPTIONS: Method = Method(Name::Known("OPTIONS"));
    /// PATCH.
    pub const PATCH: Method = Method(Name::Known("PATCH"));
    /// CONNECT.
    pub const CONNECT: Method = Method(Name::Known("CONNECT"));
    /// TRACE.
    pub const TRACE: Method = Method(Name::Known("TRACE"));

    /// The method of this name; none if it is not a token or longer than [`METHOD_LEN_MAX`].
    pub fn new(name: &[u8]) -> Option<Method> {
        if let Some((known, ..)) = KNOWN.iter().find(|(known, ..)| known.as_bytes() == name) {
            return Some(Method(Name::Known(known)));
        }
        (name.len() <= METHOD_LEN_MAX && syntax::is_token(name))
            .then(|| Method(Name::Other(name.into())))
    }

    /// Its name as sent.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Name::Known(name) => name.as_bytes(),
            Name::Other(name) => name,
        }
    }

    /// Whether it is HEAD: the response has no body whatever its head says.
    pub fn is_head(&self) -> bool {
        *self == Method::HEAD
    }

    /// Whether it is CONNECT.
    pub fn is_connect(&self) -> bool {
        *self == Method::CONNECT
    }

    /// Whether it asks for no change of state (RFC 9110 §9.2.1). Unknown methods are not safe.
    pub fn is_safe(&self) -> bool {
        self.known().is_some_and(|(_, safe, _)| *safe)
    }

    /// Whether doing it twice is as good as once (RFC 9110 §9.2.2). Unknown methods are not.
    pub fn is_idempotent(&self) -> bool {
        self.known().is_some_and(|(_, _, idempotent)| *idempotent)
    }

    fn known(&self) -> Option<&'static (&'static str, bool, bool)> {
        KNOWN
            .iter()
            .find(|(known, ..)| known.as_bytes() == self.as_bytes())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
