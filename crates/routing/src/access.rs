//! Who may see the stats page: Basic authentication (RFC 7617).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::model::{ErrorPages, Secret};
use wire::head::Fields;

use crate::pages::{self, Answer};

/// Longest credentials that are looked at, bytes of base64.
const CREDENTIALS_LEN_MAX: usize = 1024;

/// User and password of a request, if it carries well-formed ones.
pub fn basic_auth(fields: &Fields) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = fields.get("authorization")?;
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > CREDENTIALS_LEN_MAX {
        return None;
    }
    let mut user = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = memchr::memchr(b':', &user)?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

/// Whether a request carries one of the known users with its password. No known user: everybody is
/// allowed. How long it takes tells nothing about how much was right.
pub fn allowed(fields: &Fields, known: &[(Arc<str>, Secret)]) -> bool {
    if known.is_empty() {
        return true;
    }
    let Some((user, password)) = basic_auth(fields) else {
        return false;
    };
    known.iter().fold(false, |allowed, (name, secret)| {
        let right_user = same(&user, name.as_bytes());
        let right_password = same(&password, secret.0.as_bytes());
        allowed | (right_user & right_password)
    })
}

/// The answer that asks for a user and password; `proxies` may have a page for it.
pub fn challenge(realm: &str, proxies: &[&ErrorPages]) -> Answer {
    let mut answer = pages::error(401, proxies);
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let value = format!("Basic realm=\"{realm}\"");
    answer.fields.append("www-authenticate", value.as_bytes());
    answer
}

/// Whether two texts are equal, in a time that depends on the given one's length alone.
fn same(given: &[u8], known: &[u8]) -> bool {
    let padded = known.iter().copied().chain(std::iter::repeat(0));
    let different = given
        .iter()
        .zip(padded)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(different) == 0 && given.len() == known.len()
}
