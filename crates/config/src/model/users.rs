//! Users and their groups: section `userlist` (manual 12.2).

use std::sync::Arc;

use super::Secret;

/// Section `userlist`.
#[derive(Debug, Clone)]
pub struct Userlist {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Users, each name once.
    pub users: Vec<User>,
}

/// `user`.
#[derive(Debug, Clone)]
pub struct User {
    /// Name.
    pub name: Arc<str>,
    /// What is compared with what is given.
    pub password: Password,
    /// Groups, by `groups` of the user or `users` of the group.
    pub groups: Vec<Arc<str>>,
}

/// What a password is compared with.
#[derive(Debug, Clone)]
pub enum Password {
    /// None was written: nobody can be this user.
    None,
    /// `insecure-password`.
    Plain(Secret),
    /// `password`: a hash as crypt(3) writes it.
    Hash(Scheme, Secret),
}

/// How a password was hashed, by its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `$1$`, 1000 rounds of MD5.
    Md5,
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt,
    /// `$5$`.
    Sha256,
    /// `$6$`.
    Sha512,
    /// `$y$`, what Debian's `mkpasswd` makes.
    Yescrypt,
}
