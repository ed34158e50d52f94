//! Maps with servers for keys.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::ServerKey;

/// Every choice of a server looks into such maps, and changes them. The keys are our own numbers, counted up:
/// nobody can choose them so that they fall together, and a hash against that would cost more than the rest.
pub(super) type ByServer<V> = HashMap<ServerKey, V, BuildHasherDefault<KeyHasher>>;

/// Spreads the high bits; the low ones of numbers that are counted up differ as they are.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // 2^64 divided by the golden ratio, which leaves no pattern.
        self.0 = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
