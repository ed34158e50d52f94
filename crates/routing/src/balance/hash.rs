//! The hash functions of `hash-type` (manual 4.2). They are well known, and computed here from their
//! public descriptions; that they give HAProxy's very values was seen by asking its converters of the
//! same names (`tests/haproxy/hashes.tsv`).

use config::model::{HashFunction, Hashing};

use crate::value::leading_int;

/// The hash of a key as `hash-type` wants it.
pub(super) fn hash(hashing: &Hashing, key: &[u8]) -> u32 {
    let hash = match hashing.function {
        HashFunction::Sdbm => sdbm(key),
        HashFunction::Djb2 => djb2(key),
        HashFunction::Wt6 => wt6(key),
        HashFunction::Crc32 => crc32(key),
        HashFunction::None => leading_int(key) as u32,
    };
    finish(hashing, hash)
}

/// A hash that was made without a function (of an address), mixed where `avalanche` is asked for.
pub(super) fn finish(hashing: &Hashing, hash: u32) -> u32 {
    match hashing.avalanche {
        true => avalanche(hash),
        false => hash,
    }
}

/// sdbm's: h ← c + h·65599.
pub fn sdbm(key: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| u32::from(*byte).wrapping_add(hash.wrapping_mul(65_599));
    key.iter().fold(0, step)
}

/// Bernstein's: h ← c + h·33, from 5381.
pub fn djb2(key: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| u32::from(*byte).wrapping_add(hash.wrapping_mul(33));
    key.iter().fold(5381, step)
}

/// HAProxy's own: two words take in each byte, then change places, rotated by as much as they
/// themselves say.
pub fn wt6(key: &[u8]) -> u32 {
    let (mut first, mut second) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut first_turn, mut second_turn) = (18, 6);
    for byte in key {
        let byte = u32::from(*byte);
        let mixed = !(first ^ byte);
        let added = !second.wrapping_add(byte);
        first = added.rotate_left(second_turn);
        second = mixed.rotate_left(first_turn);
        let says = ((first >> 16) ^ second) & 0xffff;
        (second_turn, first_turn) = (says & 31, says >> 11);
    }
    first ^ second
}

/// Ethernet's: the reflected polynomial 0xedb88320.
pub fn crc32(key: &[u8]) -> u32 {
    !key.iter().fold(!0, |sum: u32, byte| {
        CRC32[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8)
    })
}

const CRC32: [u32; 256] = crc32_table();

const fn crc32_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

/// Bob Jenkins's full avalanche (burtleburtle.net/bob/hash/integer.html); HAProxy spreads the two
/// lowest bits of it over the two highest once more.
pub fn avalanche(hash: u32) -> u32 {
    let mut a = hash;
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(0xc000_0001)
}
