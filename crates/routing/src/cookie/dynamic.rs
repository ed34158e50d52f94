//! `cookie … dynamic`: a server's value made of its address and a key, so that several balancers, or
//! one with a changing fleet, agree on it without being told (manual 4.2, "dynamic-cookie-key").
//!
//! The manual says what goes in but not how; the recipe is what makes the values HAProxy's: XXH64
//! (seed 0) of the key, the address and the port in four bytes, the most significant one first,
//! written in 16 hexadecimal digits.

use std::net::{IpAddr, SocketAddr};

/// The value of the server at `address`.
pub fn dynamic_value(key: &[u8], address: SocketAddr) -> String {
    let mut text = key.to_vec();
    match address.ip() {
        IpAddr::V4(ip) => text.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => text.extend_from_slice(&ip.octets()),
    }
    text.extend_from_slice(&u32::from(address.port()).to_be_bytes());
    format!("{:016x}", xxh64(&text))
}

const PRIMES: [u64; 5] = [
    0x9E37_79B1_85EB_CA87,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
];

/// xxHash, 64 bits, seed 0 (its specification, version 0.1.1).
fn xxh64(text: &[u8]) -> u64 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let round = |sum: u64, lane: u64| {
        sum.wrapping_add(lane.wrapping_mul(p2))
            .rotate_left(31)
            .wrapping_mul(p1)
    };
    let (stripes, rest) = text.as_chunks::<32>();
    let mut hash = p5;
    if !stripes.is_empty() {
        let mut sums = [p1.wrapping_add(p2), p2, 0, 0u64.wrapping_sub(p1)];
        for stripe in stripes {
            for (sum, lane) in sums.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *sum = round(*sum, u64::from_le_bytes(*lane));
            }
        }
        let turns = [1, 7, 12, 18];
        let turned = sums.iter().zip(turns).map(|(sum, by)| sum.rotate_left(by));
        hash = turned.fold(0, u64::wrapping_add);
        for sum in sums {
            hash = (hash ^ round(0, sum)).wrapping_mul(p1).wrapping_add(p4);
        }
    }
    hash = hash.wrapping_add(text.len() as u64);
    let (lanes, rest) = rest.as_chunks::<8>();
    for lane in lanes {
        hash = (hash ^ round(0, u64::from_le_bytes(*lane)))
            .rotate_left(27)
            .wrapping_mul(p1)
            .wrapping_add(p4);
    }
    let (half, bytes) = rest.as_chunks::<4>();
    for half in half {
        hash = (hash ^ u64::from(u32::from_le_bytes(*half)).wrapping_mul(p1))
            .rotate_left(23)
            .wrapping_mul(p2)
            .wrapping_add(p3);
    }
    for byte in bytes {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5))
            .rotate_left(11)
            .wrapping_mul(p1);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(p2);
    hash = (hash ^ hash >> 29).wrapping_mul(p3);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_xxh64() {
        // Known answers of the reference implementation.
        assert_eq!(xxh64(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc"), 0x44BC_2CF5_AD77_0999);
        let long = b"Nobody inspects the spammish repetition";
        assert_eq!(xxh64(long), 0xFBCE_A83C_8A37_8BF1);
    }

    #[test]
    fn values_are_those_of_haproxy() {
        // Seen in the answers of HAProxy 2.6.
        let value = |key: &str, port| dynamic_value(key.as_bytes(), ([127, 0, 0, 1], port).into());
        assert_eq!(value("secret", 0xc4e3), "f385690e5a690158");
        assert_eq!(value("k", 0xa573), "5110c3a260897463");
    }
}
