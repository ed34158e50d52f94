//! What is kept of changes by the Runtime API, so that they hold after a restart (our own `journal`). Pure:
//! words in, entries and lines out; who reads, writes and carries out is `journal_commands`.
//!
//! ```text
//! tidegate-journal 1
//! 5c21a0de 1764187200 unix set server be/s1 weight 20      sum, seconds since 1970, who, the command
//! ```
//! The file grows at its end; what a later change has made void is in it until it is written anew. A last line
//! that is cut or damaged was never said to be done, and is left out; so is any other damaged one, with a
//! warning.

use super::line;

/// The first line of the file.
pub(super) const TITLE: &str = "tidegate-journal 1\n";

/// Longest file, bytes: the most entries with lines as long as a usual `add server`.
pub(super) const FILE_LEN_MAX: u64 = 8 << 20;

/// Most entries that hold: as many as a fleet has servers, with a few changes each. Further changes are made,
/// and not kept, which is said.
pub(super) const ENTRIES_MAX: usize = 10_000;

/// What a command changes: which thing, what of it, and what becomes of earlier changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    about: String,
    what: String,
    effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The last word on this of the thing.
    Sets,
    /// The thing is new: nothing said before is about it.
    Begins,
    /// The thing is gone, and with it all that was said of it.
    Ends,
}

/// What the words behind a command's own change; `None`: nothing that is kept.
pub(super) type Changed = fn(&[String]) -> Option<Change>;

impl Change {
    fn new(about: String, what: &str, effect: Effect) -> Option<Self> {
        let what = what.to_owned();
        Some(Self {
            about,
            what,
            effect,
        })
    }

    fn of_server(args: &[String], what: &str, effect: Effect) -> Option<Self> {
        Self::new(format!("server {}", args.first()?), what, effect)
    }
}

pub(super) fn server_added(args: &[String]) -> Option<Change> {
    Change::of_server(args, "itself", Effect::Begins)
}

pub(super) fn server_deleted(args: &[String]) -> Option<Change> {
    Change::of_server(args, "itself", Effect::Ends)
}

pub(super) fn server_state(args: &[String]) -> Option<Change> {
    Change::of_server(args, "state", Effect::Sets)
}

pub(super) fn server_weight(args: &[String]) -> Option<Change> {
    Change::of_server(args, "weight", Effect::Sets)
}

pub(super) fn server_maxconn(args: &[String]) -> Option<Change> {
    Change::of_server(args, "maxconn", Effect::Sets)
}

pub(super) fn server_checks(args: &[String]) -> Option<Change> {
    Change::of_server(args, "checks", Effect::Sets)
}

pub(super) fn server_agent(args: &[String]) -> Option<Change> {
    Change::of_server(args, "agent checks", Effect::Sets)
}

/// `set server`: what checks find out by themselves is not kept, nor is a name, under which nobody finds it.
pub(super) fn server_set(args: &[String]) -> Option<Change> {
    match args.get(1)?.as_str() {
        "health" | "agent" | "name" => None,
        what => Change::of_server(args, what, Effect::Sets),
    }
}

pub(super) fn frontend_state(args: &[String]) -> Option<Change> {
    Change::new(format!("frontend {}", args.first()?), "state", Effect::Sets)
}

pub(super) fn frontend_maxconn(args: &[String]) -> Option<Change> {
    Change::new(
        format!("frontend {}", args.first()?),
        "maxconn",
        Effect::Sets,
    )
}

pub(super) fn process_maxconn(_: &[String]) -> Option<Change> {
    Change::new("process".to_owned(), "maxconn", Effect::Sets)
}

pub(super) fn process_rate(args: &[String]) -> Option<Change> {
    let what = format!("rate-limit {}", args.first()?);
    Change::new("process".to_owned(), &what, Effect::Sets)
}

pub(super) fn variable(args: &[String]) -> Option<Change> {
    Change::new(format!("variable {}", args.first()?), "value", Effect::Sets)
}

pub(super) fn map_entry(args: &[String]) -> Option<Change> {
    entry("map", args)
}

pub(super) fn acl_entry(args: &[String]) -> Option<Change> {
    entry("acl", args)
}

/// An entry of a list, by its key: not one of a version that is prepared, nor by a number of this process.
fn entry(kind: &str, args: &[String]) -> Option<Change> {
    let [list, key, ..] = args else { return None };
    let passing = list.starts_with('@') || key.starts_with("#0x");
    (!passing).then(|| Change::new(format!("{kind} {list}"), key, Effect::Sets))?
}

pub(super) fn map_cleared(args: &[String]) -> Option<Change> {
    cleared("map", args)
}

pub(super) fn acl_cleared(args: &[String]) -> Option<Change> {
    cleared("acl", args)
}

fn cleared(kind: &str, args: &[String]) -> Option<Change> {
    let list = args.first().filter(|list| !list.starts_with('@'))?;
    Change::new(format!("{kind} {list}"), "", Effect::Begins)
}

/// A change that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Seconds since 1970.
    pub(super) at: u64,
    /// Who made it; one word.
    pub(super) by: String,
    pub(super) words: Vec<String>,
    pub(super) change: Change,
    /// Why it is not in force.
    pub(super) aside: Option<String>,
}

impl Entry {
    /// Its line of the file; `None`: it cannot be written as one.
    pub(super) fn line(&self) -> Option<String> {
        let command = written(&self.words)?;
        let text = format!("{} {} {command}", self.at, self.by);
        Some(format!("{:08x} {text}\n", sum(text.as_bytes())))
    }
}

/// A command as it is typed; `None`: it is none that can be.
pub(super) fn written(words: &[String]) -> Option<String> {
    let odd = |word: &String| word.is_empty() || word.contains(['\n', '\r', '\0']);
    let payload = words.last()?.starts_with("<<");
    if payload || words.iter().any(odd) {
        return None;
    }
    let escaped = words.iter().map(|word| {
        let mut text = String::with_capacity(word.len());
        for character in word.chars() {
            if matches!(character, ' ' | '\t' | ';' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text
    });
    Some(escaped.collect::<Vec<_>>().join(" "))
}

/// All that hold, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) all: Vec<Entry>,
}

impl Entries {
    /// One more; `false`: there is no room for it.
    pub(super) fn put(&mut self, entry: Entry) -> bool {
        let Change {
            about,
            what,
            effect,
        } = &entry.change;
        let is_about = |it: &Entry| it.change.about == *about;
        let mut needed = true;
        match effect {
            Effect::Sets => self
                .all
                .retain(|it| !(is_about(it) && it.change.what == *what)),
            Effect::Begins => self.all.retain(|it| !is_about(it)),
            Effect::Ends => {
                // What a command has added needs no word that it is gone.
                let began = |it: &Entry| is_about(it) && it.change.effect == Effect::Begins;
                needed = !self.all.iter().any(began);
                self.all.retain(|it| !is_about(it));
            }
        }
        if needed && self.all.len() >= ENTRIES_MAX {
            return false;
        }
        if needed {
            self.all.push(entry);
        }
        true
    }

    /// Reads a file; how many lines of it are damaged.
    pub(super) fn read(
        &mut self,
        text: &[u8],
        changed: impl Fn(&[String]) -> Option<Change>,
    ) -> Result<usize, String> {
        let text = text.strip_prefix(TITLE.as_bytes());
        let text = text.ok_or("it is no journal of this version")?;
        let mut damaged = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match entry_of(line, &changed) {
                Some(entry) => {
                    self.put(entry);
                }
                None => damaged += 1,
            }
        }
        Ok(damaged)
    }

    /// The whole file.
    pub(super) fn text(&self) -> String {
        let lines = self.all.iter().filter_map(Entry::line);
        std::iter::once(TITLE.to_owned()).chain(lines).collect()
    }
}

fn entry_of(bytes: &[u8], changed: impl Fn(&[String]) -> Option<Change>) -> Option<Entry> {
    let whole = std::str::from_utf8(bytes.strip_suffix(b"\n")?).ok()?;
    let (expected, text) = whole.split_once(' ')?;
    if expected != format!("{:08x}", sum(text.as_bytes())) {
        return None;
    }
    let mut parts = text.splitn(3, ' ');
    let at = parts.next()?.parse().ok()?;
    let by = parts.next()?.to_owned();
    let words = line::parse(parts.next()?.as_bytes())
        .commands
        .into_iter()
        .next()?;
    let change = changed(&words)?;
    Some(Entry {
        at,
        by,
        words,
        change,
        aside: None,
    })
}

/// FNV-1a: enough to see that a line is as it was written.
fn sum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

#[cfg(test)]
mod tests {
    use super::super::table::change_of;
    use super::*;

    fn words(command: &str) -> Vec<String> {
        line::parse(command.as_bytes()).commands.remove(0)
    }

    fn entries(commands: &[&str]) -> Entries {
        let mut entries = Entries::default();
        for command in commands {
            let words = words(command);
            if let Some(change) = change_of(&words) {
                entries.put(Entry {
                    at: 7,
                    by: "unix".to_owned(),
                    words,
                    change,
                    aside: None,
                });
            }
        }
        entries
    }

    #[test]
    fn the_last_word_on_each_thing_is_kept() {
        #[track_caller]
        fn check(commands: &[&str], expected: &[&str]) {
            let entries = entries(commands);
            let shown: Vec<_> = entries
                .all
                .iter()
                .filter_map(|it| written(&it.words))
                .collect();
            assert_eq!(shown, expected, "{commands:?}");
            let mut read = Entries::default();
            assert_eq!(read.read(entries.text().as_bytes(), change_of), Ok(0));
            assert_eq!(read.all, entries.all);
        }
        check(
            &[
                "set server b/s weight 3",
                "set server b/t weight 4",
                "set weight b/s 5",
            ],
            &["set server b/t weight 4", "set weight b/s 5"],
        );
        check(
            &[
                "disable server b/s",
                "set server b/s state drain",
                "enable server b/s",
            ],
            &["enable server b/s"],
        );
        check(
            &["drain server b/s over 1m", "undrain server b/s"],
            &["undrain server b/s"],
        );
        check(
            &[
                "add server b/s 127.0.0.1:1",
                "set weight b/s 5",
                "del server b/s",
            ],
            &[],
        );
        check(&["set weight b/s 5", "del server b/s"], &["del server b/s"]);
        check(
            &["del server b/s", "add server b/s 127.0.0.1:1 check"],
            &["add server b/s 127.0.0.1:1 check"],
        );
        check(
            &[
                "add map m a 1",
                "set map m a 2",
                "del map m b",
                "add acl l a\\ b\\;\\\\d",
            ],
            &["set map m a 2", "del map m b", "add acl l a\\ b\\;\\\\d"],
        );
        check(
            &["add map m a 1", "clear map m", "add map m b 2"],
            &["clear map m", "add map m b 2"],
        );
        check(
            &[
                "set server b/s health down",
                "add map @3 m a 1",
                "show info",
                "clear counters",
            ],
            &[],
        );
        check(
            &[
                "set maxconn global 5",
                "set maxconn frontend f 6",
                "set rate-limit sessions global 9",
            ],
            &[
                "set maxconn global 5",
                "set maxconn frontend f 6",
                "set rate-limit sessions global 9",
            ],
        );
    }

    #[test]
    fn damaged_lines_are_left_out_and_no_others() {
        let whole = entries(&["set weight b/s 5", "set weight b/t 6", "disable server b/s"]).text();
        for cut in TITLE.len()..whole.len() {
            let mut read = Entries::default();
            let damaged = read.read(&whole.as_bytes()[..cut], change_of).unwrap();
            let lines = whole[TITLE.len()..cut].matches('\n').count();
            let partial = usize::from(!whole[..cut].ends_with('\n'));
            assert_eq!((read.all.len(), damaged), (lines, partial), "{cut}");
            let mut changed = whole.clone().into_bytes();
            changed[cut] ^= 2;
            let mut read = Entries::default();
            let _ = read.read(&changed, change_of).unwrap();
            assert!((1..3).contains(&read.all.len()), "{cut}");
        }
        assert!(Entries::default().read(b"", change_of).is_err());
    }

    #[test]
    fn their_number_is_bounded() {
        let mut entries = Entries::default();
        let mut put = |number: usize| {
            let words = words(&format!("set weight b/s{number} 5"));
            let change = change_of(&words).unwrap();
            entries.put(Entry {
                at: 7,
                by: "unix".to_owned(),
                words,
                change,
                aside: None,
            })
        };
        assert!((0..ENTRIES_MAX).all(&mut put));
        assert!(!put(ENTRIES_MAX));
        assert!(put(3), "one that takes another one's place");
    }
}
