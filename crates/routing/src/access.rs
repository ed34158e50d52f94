//! Who may see the stats page: Basic authentication (RFC 7617).

use std::sync::Arc;

use config::model::Secret;
use wire::head::Fields;

use crate::auth;
use crate::pages::Answer;

/// Whether a request carries one of the known users with its password. No known user: everybody is
/// allowed. How long it takes tells nothing about how much was right.
pub fn allowed(fields: &Fields, known: &[(Arc<str>, Secret)]) -> bool {
    if known.is_empty() {
        return true;
    }
    let Some((user, password)) = auth::basic(fields) else {
        return false;
    };
    known.iter().fold(false, |allowed, (name, secret)| {
        let right_user = auth::same(&user, name.as_bytes());
        let right_password = auth::same(&password, secret.0.as_bytes());
        allowed | (right_user & right_password)
    })
}

/// Makes `answer`, a page for 401, ask for a user and password.
pub fn challenge(realm: &str, mut answer: Answer) -> Answer {
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let value = format!("Basic realm=\"{realm}\"");
    answer.fields.append("www-authenticate", value.as_bytes());
    answer
}
