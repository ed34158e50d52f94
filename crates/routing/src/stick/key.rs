//! Keys of a table: what a sample becomes, and which shard it belongs to.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::model::KeyType;

/// What a key is made of, and what of one is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample<'s> {
    /// An address.
    Ip(IpAddr),
    /// A number, of which the low 32 bits count.
    Integer(i64),
    /// Text or bytes.
    Bytes(&'s [u8]),
}

/// A key of one table.
#[derive(Debug, Clone, Copy)]
pub struct Key<'s> {
    hash: u64,
    shard: usize,
    bytes: Bytes<'s>,
}

#[derive(Debug, Clone, Copy)]
enum Bytes<'s> {
    Short([u8; 16], usize),
    Lent(&'s [u8]),
}

impl<'s> Key<'s> {
    pub(super) fn new(
        kind: KeyType,
        sample: Sample<'s>,
        seed: u64,
        shard_count: usize,
    ) -> Option<Key<'s>> {
        let bytes = match (kind, sample) {
            (KeyType::Ip, Sample::Ip(address)) => short(&v4(address)?.octets()),
            (KeyType::Ipv6, Sample::Ip(address)) => short(&v6(address).octets()),
            // As the manual has it: 32 bits.
            (KeyType::Integer, Sample::Integer(number)) => short(&(number as u32).to_be_bytes()),
            (KeyType::String(len), Sample::Bytes(text)) => Bytes::Lent(cut(text, len)),
            // Zeros at the end say nothing, since all blocks are filled up with them.
            (KeyType::Binary(len), Sample::Bytes(block)) => {
                let block = cut(block, len);
                let end = block.iter().rposition(|byte| *byte != 0);
                Bytes::Lent(&block[..end.map_or(0, |at| at + 1)])
            }
            _ => return None,
        };
        let mut key = Key {
            hash: 0,
            shard: 0,
            bytes,
        };
        key.hash = hash(words(key.bytes()), key.bytes().len(), seed);
        // The high bits: the low ones choose a place within the shard.
        key.shard = ((key.hash >> 32) as usize * shard_count) >> 32;
        Some(key)
    }

    /// The place of its shard in [`Table::shards`](super::Table::shards).
    pub fn shard(&self) -> usize {
        self.shard
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Short(bytes, len) => &bytes[..*len],
            Bytes::Lent(bytes) => bytes,
        }
    }
}

fn short(bytes: &[u8]) -> Bytes<'static> {
    let mut whole = [0; 16];
    whole[..bytes.len()].copy_from_slice(bytes);
    Bytes::Short(whole, bytes.len())
}

fn cut(bytes: &[u8], len: u16) -> &[u8] {
    &bytes[..bytes.len().min(usize::from(len))]
}

/// An IPv6 address is a key of IPv4 only where it stands for one.
fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// A key as it is kept: eight bytes a word, filled up with zeros.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks(8).map(|bytes| {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(whole)
    })
}

/// SipHash, with the seed before the key: who does not know it cannot choose keys that fall together.
pub(super) fn hash(words: impl Iterator<Item = u64>, len: usize, seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    words.for_each(|word| hasher.write_u64(word));
    hasher.write_usize(len);
    hasher.finish()
}
