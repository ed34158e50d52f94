//! Hashes and digests (manual 7.3.1).

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter};
use crate::nearest::did_you_mean;

use super::Build::With;
use super::{Row, row};
use crate::expr::Kind::{Bin, Int};

/// What is made of bytes that cannot be turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// 32 bits, mixed once more where the argument is 1.
    Crc32(bool),
    /// `crc32c`.
    Crc32c(bool),
    /// `djb2`.
    Djb2(bool),
    /// `sdbm`.
    Sdbm(bool),
    /// `wt6`.
    Wt6(bool),
    /// `xxh32(seed)`.
    Xxh32(u32),
    /// `xxh64(seed)`.
    Xxh64(u64),
    /// `xxh3(seed)`.
    Xxh3(u64),
    /// `sha1`, `sha2(bits)`, `digest(name)`.
    Digest(DigestAlgorithm),
}

/// What `digest` and `hmac` know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is called as it is known everywhere")]
pub enum DigestAlgorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_256,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

/// OpenSSL's names.
const DIGESTS: [(&str, DigestAlgorithm); 10] = [
    ("md5", DigestAlgorithm::Md5),
    ("sha1", DigestAlgorithm::Sha1),
    ("sha224", DigestAlgorithm::Sha224),
    ("sha256", DigestAlgorithm::Sha256),
    ("sha384", DigestAlgorithm::Sha384),
    ("sha512", DigestAlgorithm::Sha512),
    ("sha512-256", DigestAlgorithm::Sha512_256),
    ("sha3-256", DigestAlgorithm::Sha3_256),
    ("sha3-384", DigestAlgorithm::Sha3_384),
    ("sha3-512", DigestAlgorithm::Sha3_512),
];

pub(super) static ROWS: &[Row] = &[
    row(
        "crc32",
        Bin,
        Int,
        With(|arguments, _| mixed(arguments, Hash::Crc32)),
    ),
    row(
        "crc32c",
        Bin,
        Int,
        With(|arguments, _| mixed(arguments, Hash::Crc32c)),
    ),
    row(
        "djb2",
        Bin,
        Int,
        With(|arguments, _| mixed(arguments, Hash::Djb2)),
    ),
    row(
        "sdbm",
        Bin,
        Int,
        With(|arguments, _| mixed(arguments, Hash::Sdbm)),
    ),
    row(
        "wt6",
        Bin,
        Int,
        With(|arguments, _| mixed(arguments, Hash::Wt6)),
    ),
    row(
        "xxh32",
        Bin,
        Int,
        With(|arguments, _| Ok(Converter::Hash(Hash::Xxh32(seed(arguments)? as u32)))),
    ),
    row(
        "xxh64",
        Bin,
        Int,
        With(|arguments, _| Ok(Converter::Hash(Hash::Xxh64(seed(arguments)? as u64)))),
    ),
    row(
        "xxh3",
        Bin,
        Int,
        With(|arguments, _| Ok(Converter::Hash(Hash::Xxh3(seed(arguments)? as u64)))),
    ),
    row(
        "sha1",
        Bin,
        Bin,
        super::Build::Plain(Converter::Hash(Hash::Digest(DigestAlgorithm::Sha1))),
    ),
    row("sha2", Bin, Bin, With(sha2)),
    row("digest", Bin, Bin, With(digest)),
];

fn mixed(arguments: &mut Arguments, hash: fn(bool) -> Hash) -> Result<Converter, Diagnostic> {
    let mixed = arguments.optional_int("0 or 1")?;
    Ok(Converter::Hash(hash(mixed == Some(1))))
}

fn seed(arguments: &mut Arguments) -> Result<i64, Diagnostic> {
    Ok(arguments.optional_int("a seed")?.unwrap_or(0))
}

fn sha2(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let span = arguments.span();
    let algorithm = match arguments.optional_int("a number of bits")? {
        None | Some(256) => DigestAlgorithm::Sha256,
        Some(224) => DigestAlgorithm::Sha224,
        Some(384) => DigestAlgorithm::Sha384,
        Some(512) => DigestAlgorithm::Sha512,
        Some(bits) => {
            return Err(
                Diagnostic::alert(span, format!("there is no SHA-2 of {bits} bits"))
                    .label("expected 224, 256, 384 or 512"),
            );
        }
    };
    Ok(Converter::Hash(Hash::Digest(algorithm)))
}

fn digest(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    algorithm(arguments).map(|algorithm| Converter::Hash(Hash::Digest(algorithm)))
}

/// The name of a digest.
pub(super) fn algorithm(arguments: &mut Arguments) -> Result<DigestAlgorithm, Diagnostic> {
    let (text, span) = arguments.text("the name of a digest")?;
    let name = text.to_ascii_lowercase();
    let name = match name.as_str() {
        "sha-1" => "sha1",
        "sha2-224" | "sha-224" => "sha224",
        "sha2-256" | "sha-256" => "sha256",
        "sha2-384" | "sha-384" => "sha384",
        "sha2-512" | "sha-512" => "sha512",
        name => name,
    };
    let known = DIGESTS.iter().find(|(known, _)| *known == name);
    known.map(|(_, algorithm)| *algorithm).ok_or_else(|| {
        let names = DIGESTS.map(|(name, _)| name);
        let alert = Diagnostic::alert(span, format!("'{text}' is no digest known here"))
            .label(format!("expected one of {}", names.join(", ")));
        match did_you_mean(name, names) {
            Some(help) => alert.help(help),
            None => alert,
        }
    })
}
