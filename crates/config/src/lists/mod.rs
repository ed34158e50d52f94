//! Pattern files of ACLs and maps: what they hold, shared by all who name the same file, and changed while
//! running by rules and by the Runtime API (manual 2.7, 7.1 "-f", 7.3.1 "map"; management.txt 9.3, "add map").
//!
//! A [`List`] has the entries of one file, in order. Who looks something up does so in an [`Index`] of it,
//! which there is one of for each way of matching; a change goes to the list and to all its indexes.

mod index;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::diagnostics::Diagnostic;
use crate::source::Span;

pub use index::{Hit, Index, Matching, Probe};

/// Most entries of one list that rules and the Runtime API may make of it: what clients send can fill it.
pub const ENTRIES_MAX: usize = 1 << 20;

/// One file, or one that is only a name (`virt@`).
pub struct List {
    /// Its number, by which the Runtime API knows it as well (`#0`).
    pub id: usize,
    /// Its name: the path, without `file@` or `opt@`.
    pub name: Arc<str>,
    /// Whether entries have values: of a map.
    pub has_values: bool,
    /// Bytes of the file when it was read with the configuration.
    pub file_len: u64,
    uses: Mutex<Vec<(&'static str, Span)>>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By number, in order.
    entries: BTreeMap<u64, Entry>,
    /// Numbers of those that are in force, by key.
    keys: HashMap<Arc<str>, Vec<u64>>,
    next: u64,
    /// The version in force, and the last one that was prepared.
    current: u32,
    prepared: u32,
    /// Whether they are other ones than those of the file.
    edited: bool,
    indexes: Vec<Arc<Index>>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: Arc<str>,
    value: Option<Arc<str>>,
    version: u32,
}

/// An entry as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its number.
    pub number: u64,
    /// What is compared with.
    pub key: Arc<str>,
    /// What it stands for, in a map.
    pub value: Option<Arc<str>>,
}

/// Why an entry was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// There are [`ENTRIES_MAX`] already.
    Full,
    /// It cannot be compared with; why.
    Unfit(String),
    /// There is no such version to add it to.
    NoVersion,
}

impl std::fmt::Debug for List {
    /// Without its entries: there may be millions.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("List");
        shown.field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a list stays as it is though its file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unchanged {
    /// A rule or an operator has changed it.
    ByHand,
    /// There is an entry that cannot be compared with; why.
    Unfit(String),
}

impl List {
    /// A list of what a file says.
    pub fn new(id: usize, name: Arc<str>, has_values: bool, text: &str) -> Self {
        let mut state = State::default();
        for (key, value) in read(text, has_values) {
            state.insert(key.into(), value.map(Into::into), 0);
        }
        Self {
            id,
            name,
            has_values,
            file_len: text.len() as u64,
            uses: Mutex::default(),
            state: RwLock::new(state),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change entries.
    fn edit(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        let mut state = self.write();
        state.edited = true;
        state
    }

    /// Whether entries have been changed since the file was read, by hand or by rules.
    pub fn is_edited(&self) -> bool {
        self.read().edited
    }

    /// Whether there is a file behind it.
    pub fn is_of_file(&self) -> bool {
        !self.name.starts_with("virt@")
    }

    /// Takes what its file says now in the place of what it said, at once and as a whole: how many entries that
    /// are.
    pub fn read_anew(&self, text: &str) -> Result<usize, Unchanged> {
        let mut state = self.write();
        if state.edited {
            return Err(Unchanged::ByHand);
        }
        for (key, _) in read(text, self.has_values) {
            for index in &state.indexes {
                let fits = index.fits(key, Span::default());
                fits.map_err(|why| Unchanged::Unfit(why.message))?;
            }
        }
        state.entries.clear();
        let version = state.current;
        for (key, value) in read(text, self.has_values) {
            state.insert(key.into(), value.map(Into::into), version);
        }
        state.index_anew();
        Ok(state.entries.len())
    }

    /// Notes by what it is used and where, for who lists lists.
    pub fn note_use(&self, what: &'static str, place: Span) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.push((what, place));
    }

    /// By what it is used, and where.
    pub fn uses(&self) -> Vec<(&'static str, Span)> {
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.clone()
    }

    /// The index of it for a way of matching, made now if there is none. Fails with the first entry that
    /// cannot be compared so.
    pub fn index(
        &self,
        matching: Matching,
        ignore_case: bool,
        span: Span,
    ) -> Result<Arc<Index>, Diagnostic> {
        let mut state = self.write();
        let alike = |it: &&Arc<Index>| it.matching == matching && it.ignore_case == ignore_case;
        if let Some(known) = state.indexes.iter().find(alike) {
            return Ok(known.clone());
        }
        let index = Arc::new(Index::new(matching, ignore_case));
        for (number, entry) in state.in_force() {
            index.add(number, &entry.key, entry.value.as_ref(), span)?;
        }
        state.indexes.push(index.clone());
        Ok(index)
    }

    /// Adds an entry behind the others.
    pub fn add(&self, key: &str, value: Option<&str>) -> Result<(), Rejected> {
        let mut state = self.edit();
        let version = state.current;
        state.add(key, value, version)
    }

    /// Adds an entry to a version that was prepared.
    pub fn add_to(&self, version: u32, key: &str, value: Option<&str>) -> Result<(), Rejected> {
        let mut state = self.edit();
        if !state.has_version(version) {
            return Err(Rejected::NoVersion);
        }
        state.add(key, value, version)
    }

    /// Gives what is there another value, or adds it: no key is there twice by this.
    pub fn put(&self, key: &str, value: Option<&str>) -> Result<(), Rejected> {
        let mut state = self.edit();
        match state.numbers(key).is_empty() {
            true => {
                let version = state.current;
                state.add(key, value, version)
            }
            false => {
                state.change(key, value);
                Ok(())
            }
        }
    }

    /// Gives all entries of that key another value; tells how many there are.
    pub fn set(&self, key: &str, value: &str) -> usize {
        self.edit().change(key, Some(value))
    }

    /// The same for one entry by its number.
    pub fn set_number(&self, number: u64, value: &str) -> bool {
        self.edit().change_number(number, Some(value))
    }

    /// Removes all entries of that key; tells how many there were.
    pub fn delete(&self, key: &str) -> usize {
        let mut state = self.edit();
        let numbers = state.numbers(key);
        numbers.iter().for_each(|number| state.remove(*number));
        numbers.len()
    }

    /// Removes one entry by its number.
    pub fn delete_number(&self, number: u64) -> bool {
        let mut state = self.edit();
        let known = state.entries.contains_key(&number);
        state.remove(number);
        known
    }

    /// Removes all entries of a version, or of the one in force. `false`: there is no such version.
    pub fn clear(&self, version: Option<u32>) -> bool {
        let mut state = self.edit();
        let version = version.unwrap_or(state.current);
        if !state.has_version(version) {
            return false;
        }
        state.keep(|entry| entry.version != version);
        true
    }

    /// A new version, empty, which nobody looks into before it is committed.
    pub fn prepare(&self) -> u32 {
        let mut state = self.edit();
        state.prepared = state.prepared.wrapping_add(1);
        state.prepared
    }

    /// Puts a prepared version into force, at once and as a whole; those before it go.
    pub fn commit(&self, version: u32) -> bool {
        let mut state = self.edit();
        if !state.has_version(version) {
            return false;
        }
        state.entries.retain(|_, entry| entry.version >= version);
        state.current = version;
        state.index_anew();
        true
    }

    /// The version in force, and the last one prepared.
    pub fn versions(&self) -> (u32, u32) {
        let state = self.read();
        (state.current, state.prepared)
    }

    /// The entries of a version, or of the one in force, in order.
    pub fn entries(&self, version: Option<u32>) -> Vec<Shown> {
        let state = self.read();
        let version = version.unwrap_or(state.current);
        let entries = state.entries.iter();
        let entries = entries.filter(|(_, entry)| entry.version == version);
        entries
            .map(|(number, entry)| Shown {
                number: *number,
                key: entry.key.clone(),
                value: entry.value.clone(),
            })
            .collect()
    }

    /// How many entries are in force.
    pub fn len(&self) -> usize {
        self.read().keys.values().map(Vec::len).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its indexes, for who wants to know what matches.
    pub fn indexes(&self) -> Vec<Arc<Index>> {
        self.read().indexes.clone()
    }
}

impl State {
    fn has_version(&self, version: u32) -> bool {
        (self.current..=self.prepared.max(self.current)).contains(&version)
    }

    fn in_force(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let entries = self.entries.iter();
        let current = self.current;
        entries
            .filter(move |(_, entry)| entry.version == current)
            .map(|(number, entry)| (*number, entry))
    }

    fn numbers(&self, key: &str) -> Vec<u64> {
        self.keys.get(key).cloned().unwrap_or_default()
    }

    fn insert(&mut self, key: Arc<str>, value: Option<Arc<str>>, version: u32) -> u64 {
        let number = self.next;
        self.next += 1;
        if version == self.current {
            self.keys.entry(key.clone()).or_default().push(number);
        }
        let entry = Entry {
            key,
            value,
            version,
        };
        self.entries.insert(number, entry);
        number
    }

    fn add(&mut self, key: &str, value: Option<&str>, version: u32) -> Result<(), Rejected> {
        if self.entries.len() >= ENTRIES_MAX {
            return Err(Rejected::Full);
        }
        for index in &self.indexes {
            let fits = index.fits(key, Span::default());
            fits.map_err(|why| Rejected::Unfit(why.message))?;
        }
        let (key, value): (Arc<str>, Option<Arc<str>>) = (key.into(), value.map(Into::into));
        let number = self.insert(key.clone(), value.clone(), version);
        if version == self.current {
            for index in &self.indexes {
                // It was found to fit a moment ago.
                let _ = index.add(number, &key, value.as_ref(), Span::default());
            }
        }
        Ok(())
    }

    fn change(&mut self, key: &str, value: Option<&str>) -> usize {
        let numbers = self.numbers(key);
        for number in &numbers {
            self.change_number(*number, value);
        }
        numbers.len()
    }

    fn change_number(&mut self, number: u64, value: Option<&str>) -> bool {
        let Some(entry) = self.entries.get_mut(&number) else {
            return false;
        };
        if entry.value.as_deref() == value {
            return true;
        }
        entry.value = value.map(Into::into);
        if entry.version == self.current {
            for index in &self.indexes {
                index.change(number, &entry.key, entry.value.as_ref());
            }
        }
        true
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else {
            return;
        };
        if entry.version != self.current {
            return;
        }
        if let Some(numbers) = self.keys.get_mut(&entry.key) {
            numbers.retain(|known| *known != number);
            if numbers.is_empty() {
                self.keys.remove(&entry.key);
            }
        }
        for index in &self.indexes {
            index.remove(number, &entry.key);
        }
    }

    fn keep(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.entries.retain(|_, entry| keep(entry));
        self.index_anew();
    }

    fn index_anew(&mut self) {
        self.keys.clear();
        let current = self.current;
        for (number, entry) in &self.entries {
            if entry.version == current {
                let numbers = self.keys.entry(entry.key.clone()).or_default();
                numbers.push(*number);
            }
        }
        for index in &self.indexes {
            let entries = self.in_force();
            index.replace(entries.map(|(number, it)| (number, &it.key, it.value.as_ref())));
        }
    }
}

/// The lines of a file: a key each, and behind white space the value in a map. Empty ones and those that
/// begin with a sharp are none.
fn read(text: &str, has_values: bool) -> impl Iterator<Item = (&str, Option<&str>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| line.trim_start_matches([' ', '\t']));
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(move |line| {
        if !has_values {
            return (line, None);
        }
        let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        (key, Some(value.trim_matches([' ', '\t'])))
    })
}

/// The lists of a configuration while it is read.
#[derive(Debug, Clone, Default)]
pub struct Lists(Vec<Arc<List>>);

impl Lists {
    /// All of them.
    pub fn into_vec(self) -> Vec<Arc<List>> {
        self.0
    }

    /// The list of a name as it is written (`file@`, `opt@`, `virt@`), read now if nobody named it before.
    pub fn open(
        &mut self,
        written: &str,
        has_values: bool,
        surroundings: &dyn crate::Surroundings,
        span: Span,
    ) -> Result<Arc<List>, Diagnostic> {
        let optional = written.strip_prefix("opt@");
        let name = optional.or_else(|| written.strip_prefix("file@"));
        let name = name.unwrap_or(written);
        if let Some(known) = self.0.iter().find(|list| *list.name == *name) {
            if known.has_values == has_values {
                return Ok(known.clone());
            }
            let (one, other) = match has_values {
                true => ("a list of patterns", "a map"),
                false => ("a map", "a list of patterns"),
            };
            return Err(Diagnostic::alert(
                span,
                format!("'{name}' is used as {one} elsewhere and as {other} here"),
            )
            .help("give each a file of its own; an ACL may look at the keys of a map with '-M'"));
        }
        let text = match surroundings.read(name) {
            _ if name.starts_with("virt@") => String::new(),
            Ok(text) => text,
            Err(_) if optional.is_some() => String::new(),
            Err(reason) => {
                let message = format!("pattern file '{name}' cannot be read");
                return Err(Diagnostic::alert(span, message).label(reason));
            }
        };
        let list = Arc::new(List::new(self.0.len(), name.into(), has_values, &text));
        self.0.push(list.clone());
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(has_values: bool, text: &str) -> List {
        List::new(0, "f".into(), has_values, text)
    }

    /// What a text finds: the value, or the key where there is none.
    fn find(list: &List, matching: Matching, text: &str) -> Option<String> {
        let index = list
            .index(matching, false, Span::default())
            .expect("an index");
        let probe = match matching {
            Matching::Ip => Probe::Addr(text.parse().expect("an address")),
            Matching::Int => Probe::Int(text.parse().expect("a number")),
            _ => Probe::Text(text.as_bytes()),
        };
        index.find(probe, |hit| hit.value.unwrap_or(hit.key).to_string())
    }

    #[test]
    fn the_first_of_the_finest_matches_is_found() {
        let check = |matching, text: &str, probe: &str, expected: Option<&str>| {
            let found = find(&list(true, text), matching, probe);
            assert_eq!(found.as_deref(), expected, "{matching:?} {text:?} {probe}");
        };
        use Matching as M;
        check(M::Equal, "a 1\na 2\nb\t 3 4 \n", "a", Some("1"));
        check(M::Equal, "# a 1\n\n  b\t 3 4 \n", "b", Some("3 4"));
        check(M::Equal, "a 1", "aa", None);
        check(M::Prefix, "/a 1\n/a/b 2\n/ 0", "/a/bc", Some("2"));
        check(M::Prefix, "/a 1\n/a/b 2\n/ 0", "/x", Some("0"));
        check(M::Suffix, ".b 1\n.a.b 2", "x.a.b", Some("1"));
        check(M::Contains, "q 1\nb 2", "abc", Some("2"));
        check(M::Domain, "a.b 1\nb 2", "x.a.b", Some("1"));
        check(M::Regex, "^a 1\nb$ 2", "ab", Some("1"));
        check(M::Int, "5 a\n1:9 b", "5", Some("a"));
        check(M::Int, "5 a\n1:9 b", "6", Some("b"));
        let nets = "10.0.0.0/8 a\n10.1.0.0/16 b\n10.1.2.3 c\n::/0 d";
        check(M::Ip, nets, "10.1.2.3", Some("c"));
        check(M::Ip, nets, "10.1.9.9", Some("b"));
        check(M::Ip, nets, "10.9.9.9", Some("a"));
        check(M::Ip, nets, "fd00::1", Some("d"));
    }

    #[test]
    fn changes_reach_every_index_at_once() {
        let list = list(true, "a 1\nb 2\n");
        for matching in [Matching::Equal, Matching::Prefix, Matching::Suffix] {
            assert_eq!(find(&list, matching, "a").as_deref(), Some("1"));
        }
        list.add("c", Some("3")).expect("there is room");
        assert_eq!(list.set("a", "9"), 1);
        assert_eq!(list.delete("b"), 1);
        list.put("c", Some("4")).expect("it is there");
        for matching in [Matching::Equal, Matching::Prefix, Matching::Suffix] {
            assert_eq!(find(&list, matching, "a").as_deref(), Some("9"));
            assert_eq!(find(&list, matching, "b"), None);
            assert_eq!(find(&list, matching, "c").as_deref(), Some("4"));
        }
        let numbers: Vec<u64> = list.entries(None).iter().map(|it| it.number).collect();
        assert!(list.set_number(numbers[0], "x"));
        assert!(list.delete_number(numbers[1]));
        assert!(!list.delete_number(numbers[1]));
        assert_eq!(find(&list, Matching::Equal, "a").as_deref(), Some("x"));
        assert_eq!(list.len(), 1);
        assert!(list.clear(None));
        assert_eq!(find(&list, Matching::Prefix, "a"), None);
        assert!(list.is_empty());
    }

    #[test]
    fn a_version_comes_into_force_as_a_whole() {
        let list = list(false, "a\nb\n");
        assert_eq!(find(&list, Matching::Equal, "a").as_deref(), Some("a"));
        let version = list.prepare();
        list.add_to(version, "c", None).expect("a version");
        assert_eq!(
            list.add_to(version + 1, "d", None),
            Err(Rejected::NoVersion)
        );
        assert_eq!(find(&list, Matching::Equal, "c"), None);
        assert!(list.commit(version));
        assert_eq!(find(&list, Matching::Equal, "c").as_deref(), Some("c"));
        assert_eq!(find(&list, Matching::Equal, "a"), None);
        assert!(!list.commit(version + 1));
        assert_eq!(list.versions(), (version, version));
    }

    #[test]
    fn what_cannot_be_compared_is_not_taken() {
        let nets = list(false, "10.0.0.0/8\n");
        nets.index(Matching::Ip, false, Span::default())
            .expect("networks");
        assert!(matches!(
            nets.add("nonsense", None),
            Err(Rejected::Unfit(_))
        ));
        assert_eq!(nets.len(), 1);
        let words = list(false, "nonsense\n");
        assert!(words.index(Matching::Ip, false, Span::default()).is_err());
    }

    #[test]
    fn one_file_is_one_list_however_it_is_written() {
        struct Files;
        impl crate::Surroundings for Files {
            fn variable(&self, _: &str) -> Option<String> {
                None
            }

            fn read(&self, name: &str) -> Result<String, String> {
                match name {
                    "there" => Ok("a\n".to_owned()),
                    _ => Err("it is not there".to_owned()),
                }
            }
        }
        let mut lists = Lists::default();
        let mut open = |name, values| lists.open(name, values, &Files, Span::default());
        let one = open("there", false).expect("a file");
        assert!(Arc::ptr_eq(
            &one,
            &open("file@there", false).expect("the same")
        ));
        assert!(Arc::ptr_eq(
            &one,
            &open("opt@there", false).expect("the same")
        ));
        assert!(open("there", true).is_err());
        assert!(open("away", false).is_err());
        assert!(open("opt@away", false).expect("optional").is_empty());
        assert_eq!(&*open("virt@x", true).expect("virtual").name, "virt@x");
    }
}
