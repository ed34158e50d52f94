//! Users of a `userlist` (manual 12.2): what a client says of itself, and whether it is true.
//!
//! Checking a hash takes long on purpose, so it is not done while rules run: the engine proves the
//! credentials of a request beforehand ([`candidate`], [`Candidate::check`]) and rules look at what
//! was [`Proven`].

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::model::{Password, Scheme, Userlist};
use wire::head::Fields;

/// Longest credentials that are looked at, bytes of base64.
const CREDENTIALS_LEN_MAX: usize = 1024;

/// What a field of credentials begins with (RFC 9110 section 11.4).
fn scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', value)?;
    let (scheme, rest) = value.split_at(end);
    Some((scheme, rest.trim_ascii_start()))
}

/// User and password of a request (RFC 7617), if it carries well-formed ones.
pub fn basic(fields: &Fields) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = scheme(fields.get("authorization")?)?;
    if !scheme.eq_ignore_ascii_case(b"basic") || encoded.len() > CREDENTIALS_LEN_MAX {
        return None;
    }
    let mut user = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = memchr::memchr(b':', &user)?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

/// The token of a request (RFC 6750), in the field of that name.
pub fn bearer<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    let (scheme, token) = scheme(fields.get(name)?)?;
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

/// `http_auth_type`: how a client says who it is, where we know how to read it.
pub fn kind(fields: &Fields) -> Option<&'static str> {
    match basic(fields) {
        Some(_) => Some("Basic"),
        None => bearer(fields, "authorization").map(|_| "Bearer"),
    }
}

/// A user that a client says it is, not yet proven.
pub struct Candidate {
    list: Arc<Userlist>,
    user: usize,
    password: Vec<u8>,
}

/// The user of this list that a request says it comes from, if there is one.
pub fn candidate(list: &Arc<Userlist>, credentials: &(Vec<u8>, Vec<u8>)) -> Option<Candidate> {
    let (name, password) = credentials;
    let user = list
        .users
        .iter()
        .position(|user| user.name.as_bytes() == name)?;
    Some(Candidate {
        list: list.clone(),
        user,
        password: password.clone(),
    })
}

impl Candidate {
    /// Whether a check takes long.
    pub fn is_slow(&self) -> bool {
        matches!(self.known(), Password::Hash(..))
    }

    /// What is unlike for two candidates that differ in anything a check depends on.
    pub fn parts(&self) -> [&[u8]; 4] {
        let known: &[u8] = match self.known() {
            Password::None => b"",
            Password::Plain(text) | Password::Hash(_, text) => text.0.as_bytes(),
        };
        let name = &self.list.users[self.user].name;
        [
            self.list.name.as_bytes(),
            name.as_bytes(),
            known,
            &self.password,
        ]
    }

    /// Whether the password is right. [`Candidate::is_slow`] says whether this takes long.
    pub fn check(&self) -> bool {
        let given = &self.password;
        match self.known() {
            Password::None => false,
            Password::Plain(text) => same(given, text.0.as_bytes()),
            Password::Hash(scheme, hash) => check_hash(*scheme, given, &hash.0),
        }
    }

    /// To be called when the check, or one like it before, has succeeded.
    pub fn into_proven(self) -> Proven {
        Proven {
            list: self.list,
            user: self.user,
        }
    }

    fn known(&self) -> &Password {
        &self.list.users[self.user].password
    }
}

/// A client is this user of this list.
#[derive(Debug, Clone)]
pub struct Proven {
    list: Arc<Userlist>,
    user: usize,
}

/// What was proven of a request.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    /// The credentials it was proven by: a rule may have put others in their place since.
    pub given: Box<[u8]>,
    /// As which user of which lists.
    pub proven: Vec<Proven>,
}

impl Logins {
    /// Whether it was proven for this list.
    pub fn has(&self, list: &str) -> bool {
        self.proven.iter().any(|it| *it.list.name == *list)
    }

    /// The groups of the client as a user of this list; `None`: it is none, or gave nothing to prove.
    pub(crate) fn groups(&self, list: &str, fields: &Fields) -> Option<&[Arc<str>]> {
        let proven = self.proven.iter().find(|it| *it.list.name == *list)?;
        let unchanged = fields.get("authorization") == Some(&self.given);
        unchanged.then(|| &*proven.list.users[proven.user].groups)
    }
}

fn check_hash(scheme: Scheme, given: &[u8], hash: &str) -> bool {
    use sha_crypt::PasswordVerifier as _;
    match scheme {
        Scheme::Md5 => crate::md5_crypt::check(given, hash),
        // A NUL ends a password for crypt(3), and bcrypt's crate refuses it.
        Scheme::Bcrypt => bcrypt::verify(given, hash).unwrap_or(false),
        Scheme::Sha256 | Scheme::Sha512 => {
            sha_crypt::PasswordHashRef::new(hash).is_ok_and(|hash| {
                sha_crypt::ShaCrypt::default()
                    .verify_password(given, hash)
                    .is_ok()
            })
        }
        Scheme::Yescrypt => yescrypt::PasswordHashRef::new(hash).is_ok_and(|hash| {
            yescrypt::Yescrypt::default()
                .verify_password(given, hash)
                .is_ok()
        }),
    }
}

/// Whether two texts are equal, in a time that depends on the given one's length alone.
pub(crate) fn same(given: &[u8], known: &[u8]) -> bool {
    let padded = known.iter().copied().chain(std::iter::repeat(0));
    let different = given
        .iter()
        .zip(padded)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(different) == 0 && given.len() == known.len()
}

#[cfg(test)]
mod tests {
    use config::model::{Secret, User};

    use super::*;

    fn check(password: Password, given: &str, expected: bool) {
        let said = format!("{password:?}");
        let list = Arc::new(Userlist {
            name: "L".into(),
            users: vec![User {
                name: "joe".into(),
                password,
                groups: vec!["g".into()],
            }],
        });
        let credentials = (b"joe".to_vec(), given.as_bytes().to_vec());
        let candidate = candidate(&list, &credentials).expect("joe is in the list");
        assert_eq!(candidate.check(), expected, "{said} {given}");
        let nobody = (b"jo".to_vec(), given.as_bytes().to_vec());
        assert!(super::candidate(&list, &nobody).is_none());
    }

    /// Hashes as glibc's crypt(3) made them of "secret".
    #[test]
    fn passwords_are_those_of_crypt() {
        let hashes = [
            (Scheme::Md5, "$1$saltsalt$9xy1btjgzLYfb7hivXtC//"),
            (
                Scheme::Bcrypt,
                "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
            ),
            (
                Scheme::Sha256,
                "$5$rounds=1000$abc$Mz4DiYKTnNKbZLo/mIp3d8Y4aQBhv3uhSwxLDy55/Y8",
            ),
            (
                Scheme::Sha512,
                "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
            ),
            (
                Scheme::Yescrypt,
                "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
            ),
        ];
        for (scheme, hash) in hashes {
            let password = || Password::Hash(scheme, Secret(hash.into()));
            check(password(), "secret", true);
            check(password(), "Secret", false);
            check(password(), "", false);
        }
        let plain = || Password::Plain(Secret("secret".into()));
        check(plain(), "secret", true);
        check(plain(), "secret\0", false);
        check(plain(), "secre", false);
        check(Password::None, "", false);
    }

    #[test]
    fn credentials_are_read_as_haproxy_reads_them() {
        let of = |value: &str| {
            let mut fields = Fields::new();
            fields.append("authorization", value.as_bytes());
            let basic = basic(&fields).map(|(user, password)| [user, password].concat());
            let bearer = bearer(&fields, "authorization").map(<[u8]>::to_vec);
            (basic, bearer, kind(&fields))
        };
        let joe = Some(b"joejoe".to_vec());
        assert_eq!(of("Basic am9lOmpvZQ=="), (joe.clone(), None, Some("Basic")));
        assert_eq!(of("basic   am9lOmpvZQ=="), (joe, None, Some("Basic")));
        let token = Some(b"tok".to_vec());
        assert_eq!(of("bearer tok"), (None, token, Some("Bearer")));
        for nothing in ["Basic am9lOmpvZQ", "Basic am9l", "Foo x", "Basic", ""] {
            assert_eq!(of(nothing), (None, None, None), "{nothing}");
        }
    }
}
