//! Maps with servers for keys.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::ServerKey;

/// Every choice of a server looks into such maps, and changes them. The keys are our own numbers, counted up:
/// nobody can choose them so that they fall together, and a hash against that would cost more than the rest.
pub(super) type ByServer<V> = HashMap<ServerKey, V, BuildHasherDefault<KeyHasher>>;

/// Spreads numbers of ours: positions and keys, counted up, or what was spread by a secret already. Not for what
/// peers may choose.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio, which leaves no pattern; a table looks at the highest bits and
        // at the lowest.
        let spread = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
