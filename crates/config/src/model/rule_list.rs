//! Rules in order, and an index of which of them can hold at all.
//!
//! A thousand rules such as `use_backend X if { hdr(host) x.example }` ask the same question a thousand
//! times. The index asks it once: of each rule it knows texts one of which a sample must have for its
//! condition to hold. It only ever rules out: a rule that remains is judged as if there were no index,
//! and one that is passed over could not have held, nor done anything on the way to that.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use super::{RequestRule, UseBackend};
use crate::expr::{AclEntry, Condition, Converter, Fetch, Patterns, Sample, Term, TextMethod};

/// Rules that one sample is asked for are not worth a table if there are fewer than these.
const TABLE_RULES_MIN: usize = 8;

/// Different samples that have tables, at most: each is asked for once a request.
const TABLES_MAX: usize = 8;

/// Texts of one term that are put into a table, at most. Larger sets are hashed already, and many rules
/// may name one of a hundred thousand.
const TEXTS_MAX: usize = 64;

/// A rule that may have a condition.
pub trait Conditional {
    /// When it is carried out; `None`: always.
    fn condition(&self) -> Option<&Condition>;
}

impl Conditional for RequestRule {
    fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }
}

impl Conditional for UseBackend {
    fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }
}

/// Rules in the order they are judged in.
#[derive(Clone)]
pub struct RuleList<R> {
    rules: Vec<R>,
    /// Made when first asked for.
    index: OnceLock<RuleIndex>,
}

impl<R: std::fmt::Debug> std::fmt::Debug for RuleList<R> {
    /// The rules alone: what was found out about them says nothing more.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.rules).finish()
    }
}

impl<R> Default for RuleList<R> {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl<R> From<Vec<R>> for RuleList<R> {
    fn from(rules: Vec<R>) -> Self {
        Self {
            rules,
            index: OnceLock::new(),
        }
    }
}

impl<R> FromIterator<R> for RuleList<R> {
    fn from_iter<I: IntoIterator<Item = R>>(rules: I) -> Self {
        Self::from(Vec::from_iter(rules))
    }
}

impl<R> Deref for RuleList<R> {
    type Target = Vec<R>;

    fn deref(&self) -> &Vec<R> {
        &self.rules
    }
}

impl<R> DerefMut for RuleList<R> {
    fn deref_mut(&mut self) -> &mut Vec<R> {
        self.index = OnceLock::new();
        &mut self.rules
    }
}

impl<'a, R> IntoIterator for &'a RuleList<R> {
    type Item = &'a R;
    type IntoIter = std::slice::Iter<'a, R>;

    fn into_iter(self) -> Self::IntoIter {
        self.rules.iter()
    }
}

impl<R: Conditional> RuleList<R> {
    /// Which of them can hold.
    pub fn index(&self) -> &RuleIndex {
        self.index
            .get_or_init(|| RuleIndex::new(self.rules.iter().map(R::condition)))
    }
}

/// Which rules of a list can hold, by the texts that samples have.
#[derive(Debug, Clone, Default)]
pub struct RuleIndex {
    /// For each position the first one from there on whose rule is in no table; the length: none is.
    next_open: Box<[usize]>,
    tables: Vec<RuleTable>,
    /// Positions of the rules that a text of a table leads to.
    lists: Vec<Vec<usize>>,
}

/// Rules that can hold only if a sample has a text they name.
#[derive(Debug, Clone)]
pub struct RuleTable {
    sample: Sample,
    equal: Texts,
    prefixes: Texts,
    suffixes: Texts,
}

/// Which list of rules a text leads to, in lower case: what differs in case alone is told apart by the rule.
#[derive(Debug, Clone, Default)]
struct Texts {
    /// The texts are the configuration's own, so nobody chooses those that fall together, and without a seed
    /// of its own a process looks them up in as many steps as any other one.
    lists: HashMap<Box<[u8]>, usize, BuildHasherDefault<DefaultHasher>>,
    lengths: BTreeSet<usize>,
}

impl Texts {
    fn add(&mut self, text: &[u8], position: usize, lists: &mut Vec<Vec<usize>>) {
        self.lengths.insert(text.len());
        let key = text.to_ascii_lowercase().into_boxed_slice();
        let list = *self.lists.entry(key).or_insert_with(|| {
            lists.push(Vec::new());
            lists.len() - 1
        });
        lists[list].push(position);
    }

    fn at(&self, text: &[u8], found: &mut BTreeSet<usize>) {
        found.extend(self.lists.get(text));
    }
}

impl RuleTable {
    /// What is looked at.
    pub fn sample(&self) -> &Sample {
        &self.sample
    }

    /// Adds the lists of rules that can hold when a value of the sample is this text. The client chooses
    /// how many values there are, and one of them may be in every rule, so the rules themselves are not
    /// looked at here: see [`RuleIndex::rules`].
    pub fn find(&self, text: &[u8], found: &mut BTreeSet<usize>) {
        let folded;
        let text = match text.iter().any(u8::is_ascii_uppercase) {
            true => {
                folded = text.to_ascii_lowercase();
                &folded
            }
            false => text,
        };
        self.equal.at(text, found);
        for length in self.prefixes.lengths.range(..=text.len()) {
            self.prefixes.at(&text[..*length], found);
        }
        for length in self.suffixes.lengths.range(..=text.len()) {
            self.suffixes.at(&text[text.len() - length..], found);
        }
    }

    fn add(&mut self, term: &Term, position: usize, lists: &mut Vec<Vec<usize>>) {
        for entry in &term.acl.entries {
            let (texts, patterns) = match &entry.patterns {
                Patterns::Equal(set) => (&mut self.equal, set.texts()),
                Patterns::Text { method, texts, .. } => match method {
                    TextMethod::Prefix => (&mut self.prefixes, &**texts),
                    _ => (&mut self.suffixes, &**texts),
                },
                _ => continue,
            };
            for text in patterns {
                texts.add(text.as_bytes(), position, lists);
            }
        }
    }
}

impl RuleIndex {
    /// What to look at.
    pub fn tables(&self) -> &[RuleTable] {
        &self.tables
    }

    /// The first position from this one on whose rule is in no table and must be judged.
    pub fn next_open(&self, position: usize) -> Option<usize> {
        let next = self.next_open.get(position).copied()?;
        (next < self.next_open.len()).then_some(next)
    }

    /// Whether tables find the same ones however this header of the request changes.
    pub fn is_blind_to(&self, header: &str) -> bool {
        self.tables
            .iter()
            .all(|table| !reads_header(&table.sample, header))
    }

    /// Positions of the rules in lists that tables found, each once.
    pub fn rules(&self, lists: &BTreeSet<usize>) -> BTreeSet<usize> {
        // Collecting nothing costs something, and most requests are in no list.
        if lists.is_empty() {
            return BTreeSet::new();
        }
        let lists = lists.iter().filter_map(|list| self.lists.get(*list));
        lists.flatten().copied().collect()
    }

    fn new<'a>(conditions: impl Iterator<Item = Option<&'a Condition>>) -> Self {
        let conditions: Vec<_> = conditions.collect();
        let keys = Keys::of(&conditions);
        let mut tables: Vec<RuleTable> = keys.worthwhile().map(table).collect();
        let mut lists = Vec::new();
        let mut is_open = vec![true; conditions.len()];
        for (position, condition) in conditions.iter().enumerate() {
            let Some(gates) = condition.and_then(|it| keys.gates(it)) else {
                continue;
            };
            is_open[position] = false;
            for (key, term) in gates {
                let known = tables.iter_mut().find(|table| is_same(&table.sample, key));
                if let Some(table) = known {
                    table.add(term, position, &mut lists);
                }
            }
        }
        let mut next = is_open.len();
        let mut next_open: Vec<usize> = Vec::with_capacity(is_open.len());
        for (position, open) in is_open.iter().enumerate().rev() {
            if *open {
                next = position;
            }
            next_open.push(next);
        }
        next_open.reverse();
        Self {
            next_open: next_open.into(),
            tables,
            lists,
        }
    }
}

fn table(sample: &Sample) -> RuleTable {
    RuleTable {
        sample: sample.clone(),
        equal: Texts::default(),
        prefixes: Texts::default(),
        suffixes: Texts::default(),
    }
}

/// Samples that rules depend on: by how many rules, and how many texts tell these apart.
struct Keys<'a> {
    keys: Vec<Key<'a>>,
}

struct Key<'a> {
    sample: &'a Sample,
    rules: usize,
    texts: BTreeSet<&'a str>,
}

impl<'a> Keys<'a> {
    fn of(conditions: &[Option<&'a Condition>]) -> Self {
        let mut keys: Vec<Key<'a>> = Vec::new();
        for condition in conditions.iter().flatten() {
            for term in condition.any_of.iter().flatten() {
                let Some(sample) = gate(term) else { continue };
                let known = keys.iter().position(|key| is_same(key.sample, sample));
                let at = known.unwrap_or(keys.len());
                if at == TABLES_MAX {
                    continue;
                }
                if at == keys.len() {
                    keys.push(Key {
                        sample,
                        rules: 0,
                        texts: BTreeSet::new(),
                    });
                }
                let key = &mut keys[at];
                key.rules += 1;
                let entries = &term.acl.entries;
                key.texts
                    .extend(entries.iter().filter_map(texts).flatten().map(|it| &**it));
            }
        }
        Self { keys }
    }

    fn worthwhile(&self) -> impl Iterator<Item = &'a Sample> {
        let keys = self.keys.iter().filter(|key| key.is_worthwhile());
        keys.map(|key| key.sample)
    }

    /// For each alternative of a condition the term that rules it out most often, and what that looks
    /// at; `None`: one of them has none, or judging it does more than look.
    fn gates<'c>(&self, condition: &'c Condition) -> Option<Vec<(&'a Sample, &'c Term)>> {
        if condition.unless || does_more(condition) {
            return None;
        }
        let best = |all_of: &'c Vec<Term>| {
            let candidates = all_of.iter().filter_map(|term| {
                let sample = gate(term)?;
                let key = self.keys.iter().find(|key| is_same(key.sample, sample))?;
                key.is_worthwhile().then_some((key, term))
            });
            let best = candidates.max_by_key(|(key, _)| key.texts.len());
            best.map(|(key, term)| (key.sample, term))
        };
        condition.any_of.iter().map(best).collect()
    }
}

impl Key<'_> {
    fn is_worthwhile(&self) -> bool {
        self.rules >= TABLE_RULES_MIN && self.texts.len() >= TABLE_RULES_MIN
    }
}

/// The sample that must have one of the texts of a term for it to hold, where that is all there is to it.
fn gate(term: &Term) -> Option<&Sample> {
    let entries = &term.acl.entries;
    let sample = &entries.first()?.sample;
    let alike = entries
        .iter()
        .all(|entry| texts(entry).is_some() && is_same(&entry.sample, sample));
    let count: usize = entries.iter().filter_map(texts).map(<[_]>::len).sum();
    let may = !term.negated && alike && count <= TEXTS_MAX && is_plain(sample);
    may.then_some(sample)
}

/// The texts an entry compares with, where that says which values can match.
fn texts(entry: &AclEntry) -> Option<&[std::sync::Arc<str>]> {
    match &entry.patterns {
        Patterns::Equal(set) => Some(set.texts()),
        Patterns::Text {
            method: TextMethod::Prefix | TextMethod::Suffix,
            texts,
            ..
        } => Some(texts),
        _ => None,
    }
}

/// Whether looking at it twice tells the same, and does nothing.
fn is_plain(sample: &Sample) -> bool {
    let is_read = matches!(
        sample.fetch,
        Fetch::Path
            | Fetch::PathQ
            | Fetch::Url
            | Fetch::Base
            | Fetch::BaseQ
            | Fetch::Hdr(_)
            | Fetch::Fhdr(_)
            | Fetch::Cook(_)
            | Fetch::UrlParam(_)
            | Fetch::SslFcSni
            | Fetch::Content(_)
    );
    is_read && matches!(*sample.converters, [] | [Converter::Lower])
}

/// Whether a plain sample is another one when this header of the request changes. What is not known to
/// look elsewhere counts as one that does.
fn reads_header(sample: &Sample, header: &str) -> bool {
    match &sample.fetch {
        Fetch::Path
        | Fetch::PathQ
        | Fetch::Url
        | Fetch::UrlParam(_)
        | Fetch::SslFcSni
        | Fetch::Content(_) => false,
        Fetch::Base | Fetch::BaseQ => header.eq_ignore_ascii_case("host"),
        Fetch::Cook(_) => header.eq_ignore_ascii_case("cookie"),
        Fetch::Hdr(named) | Fetch::Fhdr(named) => {
            named.name.is_empty() || named.name.eq_ignore_ascii_case(header)
        }
        _ => true,
    }
}

/// Of two plain samples, whether they are the same.
fn is_same(one: &Sample, other: &Sample) -> bool {
    one.fetch == other.fetch && one.converters.len() == other.converters.len()
}

/// Whether judging a condition may ask for a proof of who the client is, set a variable, or
/// count something.
fn does_more(condition: &Condition) -> bool {
    let terms = condition.any_of.iter().flatten();
    let mut entries = terms.flat_map(|term| &term.acl.entries);
    entries.any(|entry| {
        let fetch = &entry.sample.fetch;
        let mut converters = entry.sample.converters.iter();
        matches!(fetch, Fetch::HttpAuth(_) | Fetch::HttpAuthGroup(_))
            || matches!(fetch, Fetch::Table(fetch) if fetch.ask.changes())
            || converters.any(|it| match it {
                Converter::SetVar(..) | Converter::UnsetVar(_) => true,
                Converter::Table(lookup) => lookup.ask.changes(),
                _ => false,
            })
    })
}
