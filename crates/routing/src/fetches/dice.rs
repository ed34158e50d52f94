//! Samples that are drawn (manual 7.3.2, "rand", "uuid").

use std::time::Duration;

/// The finishing steps of splitmix64: near salts give far numbers.
pub(crate) fn mix(random: u64, salt: u64) -> u64 {
    let mut bits = random.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A UUID of version 4, or of version 7, which begins with the time (RFC 9562 §5.4, §5.7). It is no
/// secret: who has seen some may guess others.
pub(crate) fn uuid(by_time: bool, salt: u32, random: u64, now: Duration) -> String {
    let salt = u64::from(salt) << 1;
    let (high, low) = (mix(random, salt), mix(random, salt | 1));
    let (high, version) = match by_time {
        true => {
            let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            (millis << 16 | high & 0xffff, 7)
        }
        false => (high, 4),
    };
    let high = high & !0xf000 | version << 12;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_tell_their_version_and_time() {
        let now = Duration::from_millis(0x0190_1234_5678);
        let four = uuid(false, 7, 42, now);
        let seven = uuid(true, 7, 42, now);
        assert_eq!((four.len(), &four[14..15]), (36, "4"));
        assert_eq!((&seven[..13], &seven[14..15]), ("01901234-5678", "7"));
        for text in [four, seven] {
            assert!("89ab".contains(&text[19..20]), "{text}");
        }
        assert_ne!(uuid(false, 7, 42, now), uuid(false, 8, 42, now));
    }
}
