//! Looking a value up among the entries of a list: by hash where they are compared as a whole, as a prefix
//! or as a network, else one after the other (manual 7.1, 7.3.1 "map").

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;
use regex::bytes::Regex;

use crate::diagnostics::Diagnostic;
use crate::expr::{TextMethod, embedded_v4, patterns};
use crate::source::Span;

/// How values are compared with entries (manual 7.1, "-m").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// `found`.
    Found,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// Numbers written `3.1`: major times 65536 plus minor. Has no name behind `-m`.
    Version,
    /// `ip`.
    Ip,
    /// `bin`.
    Bin,
    /// `len`.
    Length,
    /// `str`.
    Equal,
    /// `sub`.
    Contains,
    /// `reg`.
    Regex,
    /// `beg`.
    Prefix,
    /// `end`.
    Suffix,
    /// `dir`.
    Directory,
    /// `dom`.
    Domain,
}

impl Matching {
    /// What it is called behind `-m`.
    pub fn name(self) -> &'static str {
        patterns::name_of(self)
    }

    /// The comparison of texts it is, if it looks at them piece by piece.
    pub(crate) fn of_text(self) -> Option<TextMethod> {
        Some(match self {
            Self::Prefix => TextMethod::Prefix,
            Self::Suffix => TextMethod::Suffix,
            Self::Contains => TextMethod::Contains,
            Self::Directory => TextMethod::Directory,
            Self::Domain => TextMethod::Domain,
            _ => return None,
        })
    }
}

/// What is looked up.
#[derive(Debug, Clone, Copy)]
pub enum Probe<'a> {
    /// A text, or bytes.
    Text(&'a [u8]),
    /// A number; also the length of a text.
    Int(i64),
    /// An address.
    Addr(IpAddr),
}

/// What was found.
#[derive(Debug)]
pub struct Hit<'a> {
    /// The entry's key as it was written.
    pub key: &'a Arc<str>,
    /// Its value, in a map.
    pub value: Option<&'a Arc<str>>,
    /// The expression that matched, where keys are expressions.
    pub regex: Option<&'a Regex>,
}

/// The entries of a list, for one way of matching.
pub struct Index {
    pub(super) matching: Matching,
    pub(super) ignore_case: bool,
    table: RwLock<Table>,
}

impl std::fmt::Debug for Index {
    /// Without its entries: there may be millions.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Index");
        shown.field("matching", &self.matching);
        shown.field("ignore_case", &self.ignore_case);
        shown.finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Table {
    /// Whole texts, or prefixes.
    texts: HashMap<Box<[u8]>, Vec<Kept>>,
    /// How many prefixes have a length.
    lengths: BTreeMap<usize, usize>,
    /// By prefix length, of either family.
    v4: BTreeMap<u8, HashMap<u128, Vec<Kept>>>,
    v6: BTreeMap<u8, HashMap<u128, Vec<Kept>>>,
    /// Those that are looked through, by number.
    ordered: BTreeMap<u64, (Pattern, Kept)>,
}

#[derive(Debug, Clone)]
struct Kept {
    number: u64,
    key: Arc<str>,
    value: Option<Arc<str>>,
}

impl Kept {
    fn hit<'a>(&'a self, regex: Option<&'a Regex>) -> Hit<'a> {
        Hit {
            key: &self.key,
            value: self.value.as_ref(),
            regex,
        }
    }
}

/// A key, made ready to be compared with.
#[derive(Debug)]
enum Pattern {
    /// Compared by hash.
    Whole(Box<[u8]>),
    Prefix(Box<[u8]>),
    Network(IpNet),
    /// Looked through.
    Piece(TextMethod, Box<[u8]>),
    Range(i64, i64),
    Regex(Regex),
}

impl Index {
    pub(super) fn new(matching: Matching, ignore_case: bool) -> Self {
        Self {
            matching,
            ignore_case,
            table: RwLock::default(),
        }
    }

    /// How it matches.
    pub fn matching(&self) -> Matching {
        self.matching
    }

    /// Whether case of letters does not count.
    pub fn ignores_case(&self) -> bool {
        self.ignore_case
    }

    fn pattern(&self, key: &str, span: Span) -> Result<Pattern, Diagnostic> {
        let text = || -> Box<[u8]> {
            match self.ignore_case {
                true => key.to_ascii_lowercase().into_bytes().into(),
                false => key.as_bytes().into(),
            }
        };
        Ok(match self.matching {
            // A tree of prefixes knows no case, as in HAProxy.
            Matching::Prefix if !self.ignore_case => Pattern::Prefix(text()),
            Matching::Ip => Pattern::Network(patterns::network(key, span)?),
            Matching::Int | Matching::Length => {
                let (first, last) = patterns::number_range(key, span)?;
                Pattern::Range(first, last)
            }
            Matching::Version => {
                let (first, last) = patterns::version_range(key, span)?;
                Pattern::Range(first, last)
            }
            Matching::Regex => {
                let regex = crate::expr::regex(key, self.ignore_case, span)?;
                Pattern::Regex(regex)
            }
            Matching::Bin => Pattern::Whole(patterns::block(key, span)?.as_ref().into()),
            matching => match matching.of_text() {
                Some(method) => Pattern::Piece(method, text()),
                None => Pattern::Whole(text()),
            },
        })
    }

    /// Whether a key can be compared with.
    pub(super) fn fits(&self, key: &str, span: Span) -> Result<(), Diagnostic> {
        self.pattern(key, span).map(drop)
    }

    pub(super) fn add(
        &self,
        number: u64,
        key: &Arc<str>,
        value: Option<&Arc<str>>,
        span: Span,
    ) -> Result<(), Diagnostic> {
        let pattern = self.pattern(key, span)?;
        let kept = Kept {
            number,
            key: key.clone(),
            value: value.cloned(),
        };
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(pattern, kept);
        Ok(())
    }

    pub(super) fn change(&self, number: u64, key: &Arc<str>, value: Option<&Arc<str>>) {
        let Ok(pattern) = self.pattern(key, Span::default()) else {
            return;
        };
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = table.kept(&pattern, number) {
            kept.value = value.cloned();
        }
    }

    pub(super) fn remove(&self, number: u64, key: &Arc<str>) {
        let Ok(pattern) = self.pattern(key, Span::default()) else {
            return;
        };
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.remove(&pattern, number);
    }

    /// Takes other entries in place of all it has.
    pub(super) fn replace<'a>(
        &self,
        entries: impl Iterator<Item = (u64, &'a Arc<str>, Option<&'a Arc<str>>)>,
    ) {
        let mut made = Table::default();
        for (number, key, value) in entries {
            if let Ok(pattern) = self.pattern(key, Span::default()) {
                let kept = Kept {
                    number,
                    key: key.clone(),
                    value: value.cloned(),
                };
                made.insert(pattern, kept);
            }
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *table, made);
        // Whoever looks something up does not wait until a million entries are freed.
        drop(table);
        drop(before);
    }

    /// Looks a value up: of those that match the finest, of these the first.
    pub fn find<T>(&self, probe: Probe<'_>, then: impl FnOnce(Hit<'_>) -> T) -> Option<T> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        match probe {
            Probe::Text(text) => {
                let folded;
                let upper = self.ignore_case && text.iter().any(u8::is_ascii_uppercase);
                let text = match upper && self.matching != Matching::Regex {
                    true => {
                        folded = text.to_ascii_lowercase();
                        &folded
                    }
                    false => text,
                };
                table.find_text(self.matching, text, then)
            }
            Probe::Int(number) => table.find_ordered(then, |pattern| match pattern {
                Pattern::Range(first, last) => (*first..=*last).contains(&number),
                _ => false,
            }),
            Probe::Addr(address) => table.find_address(address).map(|kept| then(kept.hit(None))),
        }
    }
}

impl Table {
    fn network(&mut self, network: &IpNet) -> &mut HashMap<u128, Vec<Kept>> {
        let families = match network {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        };
        families.entry(network.prefix_len()).or_default()
    }

    fn insert(&mut self, pattern: Pattern, kept: Kept) {
        match pattern {
            Pattern::Whole(text) => self.texts.entry(text).or_default().push(kept),
            Pattern::Prefix(text) => {
                *self.lengths.entry(text.len()).or_default() += 1;
                self.texts.entry(text).or_default().push(kept);
            }
            Pattern::Network(network) => {
                let key = bits(network.network());
                self.network(&network).entry(key).or_default().push(kept);
            }
            other => {
                self.ordered.insert(kept.number, (other, kept));
            }
        }
    }

    fn kept(&mut self, pattern: &Pattern, number: u64) -> Option<&mut Kept> {
        let several = match pattern {
            Pattern::Whole(text) | Pattern::Prefix(text) => self.texts.get_mut(text)?,
            Pattern::Network(network) => {
                let key = bits(network.network());
                self.network(network).get_mut(&key)?
            }
            _ => return self.ordered.get_mut(&number).map(|(_, kept)| kept),
        };
        several.iter_mut().find(|kept| kept.number == number)
    }

    fn remove(&mut self, pattern: &Pattern, number: u64) {
        fn without<K: std::hash::Hash + Eq + Clone>(
            map: &mut HashMap<K, Vec<Kept>>,
            key: &K,
            number: u64,
        ) -> bool {
            let Some(several) = map.get_mut(key) else {
                return false;
            };
            let before = several.len();
            several.retain(|kept| kept.number != number);
            let gone = several.len() < before;
            if several.is_empty() {
                map.remove(key);
            }
            gone
        }
        match pattern {
            Pattern::Whole(text) => {
                without(&mut self.texts, text, number);
            }
            Pattern::Prefix(text) => {
                if without(&mut self.texts, text, number)
                    && let Some(count) = self.lengths.get_mut(&text.len())
                {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&text.len());
                    }
                }
            }
            Pattern::Network(network) => {
                let key = bits(network.network());
                without(self.network(network), &key, number);
            }
            _ => {
                self.ordered.remove(&number);
            }
        }
    }

    fn find_text<T>(
        &self,
        matching: Matching,
        text: &[u8],
        then: impl FnOnce(Hit<'_>) -> T,
    ) -> Option<T> {
        let whole = |text: &[u8]| self.texts.get(text).and_then(|several| several.first());
        match matching {
            Matching::Equal | Matching::Bin => whole(text).map(|kept| then(kept.hit(None))),
            Matching::Prefix if !self.lengths.is_empty() => {
                let mut lengths = self.lengths.range(..=text.len()).rev();
                let found = lengths.find_map(|(length, _)| whole(&text[..*length]));
                found.map(|kept| then(kept.hit(None)))
            }
            _ => self.find_ordered(then, |pattern| match pattern {
                Pattern::Piece(method, piece) => method.holds(text, piece),
                Pattern::Regex(regex) => regex.is_match(text),
                _ => false,
            }),
        }
    }

    fn find_ordered<T>(
        &self,
        then: impl FnOnce(Hit<'_>) -> T,
        matches: impl Fn(&Pattern) -> bool,
    ) -> Option<T> {
        let (pattern, kept) = self
            .ordered
            .values()
            .find(|(pattern, _)| matches(pattern))?;
        let regex = match pattern {
            Pattern::Regex(regex) => Some(regex),
            _ => None,
        };
        Some(then(kept.hit(regex)))
    }

    /// As in HAProxy an IPv4 address is looked for among those of IPv6, too, and the other way round where
    /// it stands for one (manual 7.1.6).
    fn find_address(&self, address: IpAddr) -> Option<&Kept> {
        let in_v4 = |address: std::net::Ipv4Addr| finest(&self.v4, 32, address.to_bits().into());
        match address {
            IpAddr::V4(address) => {
                in_v4(address).or_else(|| finest(&self.v6, 128, address.to_ipv6_mapped().to_bits()))
            }
            IpAddr::V6(address) => finest(&self.v6, 128, address.to_bits())
                .or_else(|| embedded_v4(address).and_then(in_v4)),
        }
    }
}

fn finest(
    networks: &BTreeMap<u8, HashMap<u128, Vec<Kept>>>,
    width: u8,
    address: u128,
) -> Option<&Kept> {
    networks.iter().rev().find_map(|(length, networks)| {
        let free = u32::from(width - length);
        let start = address.checked_shr(free).unwrap_or(0);
        let start = start.checked_shl(free).unwrap_or(0);
        networks.get(&start)?.first()
    })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
