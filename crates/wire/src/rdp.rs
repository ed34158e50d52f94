//! The cookie in the first bytes of a Remote Desktop client: `Cookie: mstshash=NAME`
//! ([MS-RDPBCGR] 2.2.1.1), behind the fixed part of a connection request.

use crate::tls_hello::Seen;

/// TPKT header and the fixed part of the X.224 connection request.
const FIXED: usize = 11;

/// What a cookie begins with; case does not count.
const BEGINS: &[u8] = b"cookie:";

/// Longest cookie that is waited for, bytes with its line end: user names are far shorter.
const COOKIE_LEN_MAX: usize = 512;

/// A cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie<'a> {
    /// Its name, as written.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// Looks for a cookie in what a client sent. Like HAProxy, it takes the fixed part on trust.
pub fn cookie(bytes: &[u8]) -> Seen<Cookie<'_>> {
    let Some(text) = bytes.get(FIXED..) else {
        return Seen::NotYet;
    };
    let common = text.len().min(BEGINS.len());
    if !text[..common].eq_ignore_ascii_case(&BEGINS[..common]) {
        return Seen::Not;
    }
    let text = &text[common..];
    let text = &text[..text.len().min(COOKIE_LEN_MAX)];
    let Some(end) = memchr::memmem::find(text, b"\r\n") else {
        return match text.len() == COOKIE_LEN_MAX {
            true => Seen::Not,
            false => Seen::NotYet,
        };
    };
    let pair = text[..end].trim_ascii_start();
    match memchr::memchr(b'=', pair) {
        Some(at) => Seen::Is(Cookie {
            name: &pair[..at],
            value: &pair[at + 1..],
        }),
        None => Seen::Not,
    }
}
