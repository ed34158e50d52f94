//! Commands on pattern files (management.txt 9.3): `show|get|add|set|del|clear|prepare|commit map|acl`.

use std::fmt::Write as _;
use std::sync::Arc;

use config::lists::{Index, List, Matching, Probe, Rejected, Shown};
use engine::export::Report;

use super::answer::{Answer, Call};
use super::journal;
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    shows(
        "show map",
        "[@ver] [map]",
        "report available maps or dump a map's contents",
        |call| show(call, Kind::Map).into(),
    ),
    shows(
        "show acl",
        "[@<ver>] <acl>]",
        "report available acls or dump an acl's contents",
        |call| show(call, Kind::Acl).into(),
    ),
    shows(
        "get map",
        "<map> <value>",
        "report the keys and values matching a value in a map",
        |call| get(call, Kind::Map).into(),
    ),
    shows(
        "get acl",
        "<acl> <value>",
        "report the patterns matching a value in an ACL",
        |call| get(call, Kind::Acl).into(),
    ),
    changes(
        "add map",
        "[@<ver>] <map> <key> <val>",
        "add a map entry (payload supported instead of key/val)",
        |call| add(call, Kind::Map).into(),
    )
    .kept(journal::map_entry)
    .operator(),
    changes(
        "add acl",
        "[@<ver>] <acl> <pattern>",
        "add an acl entry",
        |call| add(call, Kind::Acl).into(),
    )
    .kept(journal::acl_entry)
    .operator(),
    changes(
        "set map",
        "<map> [<key>|#<ref>] <value>",
        "modify a map entry",
        |call| set(call).into(),
    )
    .kept(journal::map_entry)
    .operator(),
    changes(
        "del map",
        "<map> [<key>|#<ref>]",
        "delete map entries matching the given key",
        |call| delete(call, Kind::Map).into(),
    )
    .kept(journal::map_entry)
    .operator(),
    changes(
        "del acl",
        "<acl> [<key>|#<ref>]",
        "delete acl entries matching <key>",
        |call| delete(call, Kind::Acl).into(),
    )
    .kept(journal::acl_entry)
    .operator(),
    changes(
        "clear map",
        "[@<ver>] <map>",
        "clear the contents of this map",
        |call| clear(call, Kind::Map).into(),
    )
    .kept(journal::map_cleared)
    .operator(),
    changes(
        "clear acl",
        "[@<ver>] <acl>",
        "clear the contents of this acl",
        |call| clear(call, Kind::Acl).into(),
    )
    .kept(journal::acl_cleared)
    .operator(),
    changes(
        "prepare map",
        "<map>",
        "prepare a new version for atomic map replacement",
        |call| prepare(call, Kind::Map).into(),
    )
    .operator(),
    changes(
        "prepare acl",
        "<acl>",
        "prepare a new version for atomic ACL replacement",
        |call| prepare(call, Kind::Acl).into(),
    )
    .operator(),
    changes(
        "commit map",
        "@<ver> <map>",
        "commit a map at this version",
        |call| commit(call, Kind::Map).into(),
    )
    .operator(),
    changes(
        "commit acl",
        "@<ver> <acl>",
        "commit a ACL at this version",
        |call| commit(call, Kind::Acl).into(),
    )
    .operator(),
];

/// Which of both a command is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Map,
    Acl,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Acl => "ACL",
        }
    }

    fn unknown(self) -> Answer {
        let word = self.word();
        Answer::error(format!(
            "Unknown {word} identifier. Please use #<id> or <file>."
        ))
    }

    fn has(self, list: &List) -> bool {
        list.has_values == (self == Self::Map)
    }
}

/// The list that a word names, by its name or as `#N`.
fn find(call: &Call<'_>, kind: Kind, name: &str) -> Result<Arc<List>, Answer> {
    let number = name
        .strip_prefix('#')
        .and_then(|it| it.parse::<usize>().ok());
    let mut lists = call.config.lists.iter();
    let found = lists.find(|list| match number {
        Some(number) => list.id == number,
        None => *list.name == *name,
    });
    let found = found.filter(|list| kind.has(list));
    found.cloned().ok_or_else(|| kind.unknown())
}

/// `[@VERSION]` and the words behind it.
fn version(args: &[String]) -> Result<(Option<u32>, &[String]), Answer> {
    match args.split_first() {
        Some((first, rest)) if first.starts_with('@') => match first[1..].parse() {
            Ok(version) => Ok((Some(version), rest)),
            Err(_) => Err(Answer::error("Invalid version number.")),
        },
        _ => Ok((None, args)),
    }
}

fn show(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Answer> {
    let (version, args) = version(call.args)?;
    let Some(name) = args.first() else {
        return Ok(Answer::Text(all(call, kind)));
    };
    let list = find(call, kind, name)?;
    Ok(Answer::Report(Box::new(Entries {
        entries: list.entries(version).into_iter(),
    })))
}

fn all(call: &Call<'_>, kind: Kind) -> String {
    let mut text = String::from("# id (file) description\n");
    for list in call.config.lists.iter().filter(|list| kind.has(list)) {
        let uses = list.uses().into_iter().map(|(what, place)| {
            let file = call.config.file_of(place);
            format!("{what} at file '{file}' line {}", place.line)
        });
        let uses = uses.collect::<Vec<_>>().join(", by ");
        let (current, prepared) = list.versions();
        let (id, name, count) = (list.id, &list.name, list.len());
        let written = writeln!(
            text,
            "{id} ({name}) pattern loaded from file '{name}' used by {uses}. \
             curr_ver={current} next_ver={prepared} entry_cnt={count}"
        );
        debug_assert!(written.is_ok(), "a String takes all that is written");
    }
    text
}

/// Entries that are told piece by piece.
struct Entries {
    entries: std::vec::IntoIter<Shown>,
}

impl Report for Entries {
    fn step(&mut self, out: &mut String) -> bool {
        let Some(entry) = self.entries.next() else {
            return false;
        };
        let value = entry.value.as_deref();
        let gap = if value.is_some() { " " } else { "" };
        let (number, key, value) = (entry.number, entry.key, value.unwrap_or_default());
        let written = writeln!(out, "{number:#x} {key}{gap}{value}");
        debug_assert!(written.is_ok(), "a String takes all that is written");
        true
    }
}

fn get(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Answer> {
    let [name, text] = call.args else {
        return Err(Answer::error(match kind {
            Kind::Map => "Missing map identifier and/or key.",
            Kind::Acl => "Missing ACL identifier and/or key.",
        }));
    };
    let list = find(call, kind, name)?;
    let lines = list.indexes();
    let lines = lines.iter().map(|index| looked_up(index, kind, text));
    Ok(Answer::Text(lines.collect()))
}

/// What one index has for a value, as a line.
fn looked_up(index: &Index, kind: Kind, text: &str) -> String {
    let matching = index.matching();
    let case = match index.ignores_case() {
        true => "insensitive",
        false => "sensitive",
    };
    let (word, what) = match kind {
        Kind::Map => ("found", "key"),
        Kind::Acl => ("match", "pattern"),
    };
    let probe = match matching {
        Matching::Ip => text.parse().ok().map(Probe::Addr),
        Matching::Int | Matching::Version => text.parse().ok().map(Probe::Int),
        Matching::Length => i64::try_from(text.len()).ok().map(Probe::Int),
        _ => Some(Probe::Text(text.as_bytes())),
    };
    let is_tree = match matching {
        Matching::Equal | Matching::Ip => true,
        Matching::Prefix => !index.ignores_case(),
        _ => false,
    };
    let place = if is_tree { "tree" } else { "list" };
    let found = probe.and_then(|probe| {
        index.find(probe, |hit| {
            let mut told = format!("{word}=yes, idx={place}, {what}=\"{}\"", hit.key);
            if let Some(value) = hit.value {
                told.push_str(&format!(", value=\"{value}\", type=\"str\""));
            }
            told
        })
    });
    let told = found.unwrap_or_else(|| format!("{word}=no"));
    format!("type={}, case={case}, {told}\n", matching.name())
}

fn rejected(why: Rejected) -> Answer {
    Answer::error(match why {
        Rejected::Full => "The list is full.".to_owned(),
        Rejected::Unfit(why) => format!("{why}."),
        Rejected::NoVersion => {
            "Version number in the future, please use 'prepare map' before.".to_owned()
        }
    })
}

fn add(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Answer> {
    let usage = || {
        Answer::error(match kind {
            Kind::Map => {
                "'add map' expects three parameters (map identifier, key and value) or one parameter (map identifier) and a payload"
            }
            Kind::Acl => "'add acl' expects two parameters: ACL identifier and pattern.",
        })
    };
    let (version, args) = version(call.args)?;
    let (name, rest) = args.split_first().ok_or_else(usage)?;
    let put = |list: &List, key: &str, value: Option<&str>| {
        match version {
            Some(version) => list.add_to(version, key, value),
            None => list.add(key, value),
        }
        .map_err(rejected)
    };
    match (kind, rest, call.payload) {
        (Kind::Map, [key, value], None) => put(&*find(call, kind, name)?, key, Some(value))?,
        (Kind::Acl, [key], None) => put(&*find(call, kind, name)?, key, None)?,
        (_, [], Some(payload)) => {
            let list = find(call, kind, name)?;
            for line in payload.lines().filter(|line| !line.is_empty()) {
                let (key, value) = match kind {
                    Kind::Acl => (line, None),
                    Kind::Map => {
                        let (key, value) = line
                            .split_once([' ', '\t'])
                            .ok_or_else(|| Answer::error("Missing value for key in payload."))?;
                        (key, Some(value.trim_matches([' ', '\t'])))
                    }
                };
                put(&list, key, value)?;
            }
        }
        _ => return Err(usage()),
    }
    Ok(Answer::Done)
}

/// The number in `#0x12`.
fn place(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("#0x")?, 16).ok()
}

fn set(call: &mut Call<'_>) -> Result<Answer, Answer> {
    let [name, key, value] = call.args else {
        let usage = "'set map' expects three parameters: map identifier, key and value.";
        return Err(Answer::error(usage));
    };
    let list = find(call, Kind::Map, name)?;
    match place(key) {
        Some(number) if list.set_number(number, value) => Ok(Answer::Done),
        Some(_) => Err(Answer::error("key or pattern not found.")),
        None if list.set(key, value) > 0 => Ok(Answer::Done),
        None => Err(Answer::error("entry not found.")),
    }
}

fn delete(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Answer> {
    let [name, key] = call.args else {
        let word = kind.word();
        let usage = format!("This command expects two parameters: {word} identifier and key.");
        return Err(Answer::error(usage));
    };
    let list = find(call, kind, name)?;
    let gone = match place(key) {
        Some(number) => list.delete_number(number),
        None => list.delete(key) > 0,
    };
    match gone {
        true => Ok(Answer::Done),
        false => Err(Answer::error("Key not found.")),
    }
}

fn clear(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Answer> {
    let (version, args) = version(call.args)?;
    let Some(name) = args.first() else {
        let word = kind.word();
        return Err(Answer::error(format!("Missing {word} identifier.")));
    };
    // As in HAProxy, clearing a version that is not there is no error.
    find(call, kind, name)?.clear(version);
    Ok(Answer::Done)
}

fn prepare(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Answer> {
    let list = find(call, kind, call.arg(0))?;
    let version = list.prepare();
    Ok(Answer::info(format!("New version created: {version}")))
}

fn commit(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Answer> {
    let (version, args) = version(call.args)?;
    let Some(version) = version else {
        return Err(Answer::error("Missing version number."));
    };
    let name = args.first().map_or("", String::as_str);
    match find(call, kind, name)?.commit(version) {
        true => Ok(Answer::Done),
        false => Err(Answer::error("Version number out of range.")),
    }
}
