//! Hashes and digests (manual 7.3.1).

use aws_lc_rs::digest;
use config::expr::{DigestAlgorithm, Hash};
use md5::{Digest as _, Md5};

use crate::balance::{avalanche, crc32, djb2, sdbm, wt6};
use crate::value::Value;

/// What a hash makes of bytes.
pub(super) fn hash(hash: Hash, bytes: &[u8]) -> Value<'static> {
    let short = |mixed: bool, hash: u32| {
        let hash = if mixed { avalanche(hash) } else { hash };
        Value::Int(hash.into())
    };
    match hash {
        Hash::Crc32(mixed) => short(mixed, crc32(bytes)),
        Hash::Crc32c(mixed) => short(mixed, crc32c(bytes)),
        Hash::Djb2(mixed) => short(mixed, djb2(bytes)),
        Hash::Sdbm(mixed) => short(mixed, sdbm(bytes)),
        Hash::Wt6(mixed) => short(mixed, wt6(bytes)),
        Hash::Xxh32(seed) => Value::Int(twox_hash::XxHash32::oneshot(seed, bytes).into()),
        Hash::Xxh64(seed) => Value::Int(twox_hash::XxHash64::oneshot(seed, bytes) as i64),
        Hash::Xxh3(seed) => {
            Value::Int(twox_hash::XxHash3_64::oneshot_with_seed(seed, bytes) as i64)
        }
        Hash::Digest(algorithm) => Value::Bin(digest_of(algorithm, &[bytes]).into()),
    }
}

/// The digest of some parts, one behind the other.
pub(super) fn digest_of(algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Vec<u8> {
    let Some((algorithm, _)) = known(algorithm) else {
        let mut md5 = Md5::new();
        parts.iter().for_each(|part| md5.update(part));
        return md5.finalize().to_vec();
    };
    let mut context = digest::Context::new(algorithm);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

/// The algorithm and the bytes it takes at a time; `None`: MD5, which takes 64.
fn known(algorithm: DigestAlgorithm) -> Option<(&'static digest::Algorithm, usize)> {
    Some(match algorithm {
        DigestAlgorithm::Md5 => return None,
        DigestAlgorithm::Sha1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, 64),
        DigestAlgorithm::Sha224 => (&digest::SHA224, 64),
        DigestAlgorithm::Sha256 => (&digest::SHA256, 64),
        DigestAlgorithm::Sha384 => (&digest::SHA384, 128),
        DigestAlgorithm::Sha512 => (&digest::SHA512, 128),
        DigestAlgorithm::Sha512_256 => (&digest::SHA512_256, 128),
        DigestAlgorithm::Sha3_256 => (&digest::SHA3_256, 136),
        DigestAlgorithm::Sha3_384 => (&digest::SHA3_384, 104),
        DigestAlgorithm::Sha3_512 => (&digest::SHA3_512, 72),
    })
}

/// A message authentication code (RFC 2104), over any digest.
pub(super) fn hmac(algorithm: DigestAlgorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    let block_len = known(algorithm).map_or(64, |(_, len)| len);
    let mut block = match key.len() > block_len {
        true => digest_of(algorithm, &[key]),
        false => key.to_vec(),
    };
    block.resize(block_len, 0);
    let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let inner = digest_of(algorithm, &[&padded(0x36), message]);
    digest_of(algorithm, &[&padded(0x5c), &inner])
}

/// CRC-32C (RFC 4960, appendix B).
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = match value & 1 {
                    1 => (value >> 1) ^ 0x82f6_3b78,
                    _ => value >> 1,
                };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_2202_and_4231() {
        let check = |algorithm, key: &[u8], message: &str, expected: &str| {
            let code = hmac(algorithm, key, message.as_bytes());
            let hex: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{algorithm:?} {message}");
        };
        let question = "what do ya want for nothing?";
        check(
            DigestAlgorithm::Md5,
            b"Jefe",
            question,
            "750c783e6ab0b503eaa86e310a5db738",
        );
        check(
            DigestAlgorithm::Sha1,
            b"Jefe",
            question,
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        );
        check(
            DigestAlgorithm::Sha256,
            &[0xaa; 131],
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        );
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
