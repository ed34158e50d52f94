//! Sets of patterns that are looked up often: texts, numbers, addresses. Built once, then read.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

/// Up to so many texts are compared one by one; more are hashed. Comparing a handful is faster
/// than hashing, and keeps short ACLs free of allocations.
const LINEAR_MAX: usize = 8;

/// Texts to be equal to.
#[derive(Debug, Clone, Default)]
pub struct TextSet {
    ignore_case: bool,
    texts: Vec<Arc<str>>,
    index: Option<HashSet<Box<[u8]>>>,
}

impl TextSet {
    /// A set of texts; ASCII case is ignored on request.
    pub fn new(texts: Vec<Arc<str>>, ignore_case: bool) -> Self {
        let index = (texts.len() > LINEAR_MAX).then(|| {
            let key = |text: &Arc<str>| key(text.as_bytes(), ignore_case);
            texts.iter().map(key).collect()
        });
        Self {
            ignore_case,
            texts,
            index,
        }
    }

    /// Whether one of the texts is equal to it.
    pub fn contains(&self, text: &[u8]) -> bool {
        match &self.index {
            Some(index) if self.ignore_case => index.contains(&*text.to_ascii_lowercase()),
            Some(index) => index.contains(text),
            None if self.ignore_case => {
                let equal = |known: &Arc<str>| known.as_bytes().eq_ignore_ascii_case(text);
                self.texts.iter().any(equal)
            }
            None => self.texts.iter().any(|known| known.as_bytes() == text),
        }
    }

    /// The texts as written, in the order they were given.
    pub fn texts(&self) -> &[Arc<str>] {
        &self.texts
    }

    /// Whether ASCII case is ignored.
    pub fn ignores_case(&self) -> bool {
        self.ignore_case
    }
}

fn key(text: &[u8], ignore_case: bool) -> Box<[u8]> {
    if ignore_case {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

/// Inclusive ranges, sorted and disjoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges<T>(Vec<(T, T)>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// The union of inclusive ranges. One that ends before it begins holds nothing.
    pub fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(previous) if first <= previous.1 => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// Whether a value lies in one of the ranges.
    pub fn contains(&self, value: T) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= value);
        after > 0 && value <= self.0[after - 1].1
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[(T, T)] {
        &self.0
    }
}

/// Networks, looked up as the manual's 7.1.6 says: an IPv4 address is also tried in its mapped
/// form against IPv6 networks, an IPv6 address that embeds an IPv4 one against IPv4 networks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl IpSet {
    /// A set of networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self {
            v4: Ranges::new(v4),
            v6: Ranges::new(v6),
        }
    }

    /// Whether the address lies in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                self.v4.contains(address.to_bits())
                    || self.v6.contains(address.to_ipv6_mapped().to_bits())
            }
            IpAddr::V6(address) => {
                let v4 = embedded_v4(address).map(Ipv4Addr::to_bits);
                self.v6.contains(address.to_bits()) || v4.is_some_and(|v4| self.v4.contains(v4))
            }
        }
    }
}

/// The IPv4 address in `2002:V4::/48`, `::V4` or `::ffff:V4` (manual 7.1.6).
pub fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    if bits >> 112 == 0x2002 {
        return Some(Ipv4Addr::from_bits((bits >> 80) as u32));
    }
    matches!(bits >> 32, 0 | 0xffff).then(|| Ipv4Addr::from_bits(bits as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_bounds() {
        let set = Ranges::new(vec![(10, 20), (1, 3), (15, 25), (9, 4)]);
        let held: Vec<i64> = (0..30).filter(|n| set.contains(*n)).collect();
        let expected: Vec<i64> = (1..=3).chain(10..=25).collect();
        assert_eq!(held, expected);
    }

    #[test]
    fn addresses_cross_families() {
        let check = |networks: &[&str], address: &str, expected: bool| {
            let networks = networks.iter().map(|net| net.parse().unwrap());
            let set = IpSet::new(networks);
            assert_eq!(
                set.contains(address.parse().unwrap()),
                expected,
                "{address}"
            );
        };
        check(&["10.0.0.0/8"], "10.255.0.1", true);
        check(&["10.0.0.0/8"], "11.0.0.1", false);
        check(&["10.0.0.0/8"], "::ffff:10.1.2.3", true);
        check(&["10.0.0.0/8"], "::10.1.2.3", true);
        check(&["10.0.0.0/8"], "2002:a01:203::1", true);
        check(&["10.0.0.0/8"], "2001:a01:203::1", false);
        check(&["::ffff:10.0.0.0/104"], "10.1.1.1", true);
        check(&["fd00::/8"], "fdff::1", true);
        check(&["fd00::/8"], "fe00::1", false);
    }

    #[test]
    fn long_lists_are_hashed_and_answer_alike() {
        let texts: Vec<Arc<str>> = (0..100).map(|n| format!("Name{n}").into()).collect();
        let exact = TextSet::new(texts.clone(), false);
        let folded = TextSet::new(texts, true);
        assert!(exact.contains(b"Name42") && !exact.contains(b"name42"));
        assert!(folded.contains(b"nAME42") && !folded.contains(b"name100"));
    }
}
