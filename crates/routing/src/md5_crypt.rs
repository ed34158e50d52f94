//! `$1$` hashes of crypt(3): 1000 rounds of MD5, as FreeBSD's Poul-Henning Kamp described them in
//! 1994. Old, and still in many configurations.

use md5::{Digest, Md5};

const ROUNDS: usize = 1000;

/// Longest salt, bytes.
const SALT_MAX: usize = 8;

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether `hash` is that of `given`.
pub(crate) fn check(given: &[u8], hash: &str) -> bool {
    let parts = hash
        .strip_prefix("$1$")
        .and_then(|rest| rest.split_once('$'));
    let Some((salt, digest)) = parts else {
        return false;
    };
    let salt = salt.as_bytes();
    let salt = &salt[..salt.len().min(SALT_MAX)];
    crate::auth::same(&encode(&digest_of(given, salt)), digest.as_bytes())
}

fn digest_of(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut first = Md5::new()
        .chain_update(password)
        .chain_update(b"$1$")
        .chain_update(salt);
    for chunk in password.chunks(16) {
        first.update(&inner[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        match bits & 1 {
            1 => first.update([0]),
            _ => first.update(&password[..1]),
        }
        bits >>= 1;
    }
    let mut digest: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest } else { password });
        digest = next.finalize().into();
    }
    digest
}

/// Base 64 of its own kind: the bytes in an odd order, the lowest bits first.
fn encode(digest: &[u8; 16]) -> Vec<u8> {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = Vec::with_capacity(22);
    let mut put = |mut bits: u32, letters: usize| {
        for _ in 0..letters {
            text.push(ALPHABET[(bits & 63) as usize]);
            bits >>= 6;
        }
    };
    for order in ORDER {
        let [a, b, c] = order.map(|at| u32::from(digest[at]));
        put(a << 16 | b << 8 | c, 4);
    }
    put(u32::from(digest[11]), 2);
    text
}
