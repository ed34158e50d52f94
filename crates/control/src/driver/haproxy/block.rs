//! The marked block of `haproxy.cfg`: text in, text out. Pure.
//!
//! ```text
//! backend ws_backend
//!     default-server check inter 2s
//!     # BEGIN tidegate: servers of nodes, written by `tidegate updater`; changes here are lost
//!     server node1 10.0.0.5:8081 id 1753658644
//!     # END tidegate
//! ```
//! Everything outside of it stays as it is, byte for byte. Without a block, one is put at the end of the
//! backend's section.

use std::sync::Arc;

use config::Surroundings;
use config::outline::{Outlined, outline};
use config::source::Source;

use super::words::{for_file, is_name};

const BEGIN: &str = "# BEGIN tidegate";
const END: &str = "# END tidegate";
const BEGIN_REST: &str = ": servers of nodes, written by `tidegate updater`; changes here are lost";

/// Most places of one `server-template`: more are a typing error.
const SLOTS_MAX: u64 = 20_000;

/// What of HAProxy's configuration concerns us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Which of the texts has the backend.
    pub(super) source: usize,
    /// Words of `default-server` that hold in the backend.
    pub(super) default_server: Vec<String>,
    /// Names that its `server-template` lines make.
    pub(super) slots: Vec<Arc<str>>,
    /// The lines of the block; `None`: there is no block yet.
    pub(super) lines: Option<Vec<String>>,
    /// Where the block's lines are, or where a block goes: bytes of the text.
    place: std::ops::Range<usize>,
    indent: String,
}

/// Looks for the backend. Fails with a line for the operator.
pub(super) fn read(
    sources: &[Source],
    backend: &str,
    surroundings: &dyn Surroundings,
) -> Result<Reading, String> {
    let sections = outline(sources, surroundings);
    let is_it = |section: &Outlined| {
        ["backend", "listen"].contains(&section.keyword)
            && section
                .arguments
                .first()
                .is_some_and(|name| name == backend)
    };
    let found: Vec<usize> = (0..sections.len())
        .filter(|at| is_it(&sections[*at]))
        .collect();
    let at = match found.as_slice() {
        [at] => *at,
        [] => return Err(format!("it has no section \"backend {backend}\"")),
        _ => return Err(format!("it has several sections \"backend {backend}\"")),
    };
    let section = &sections[at];
    let source = usize::from(section.place.source.0);
    let text = &*sources[source].text;
    let next = sections[at + 1..]
        .iter()
        .find(|it| it.place.source == section.place.source);
    let end = next.map_or(text.len(), |next| {
        line_start(text, next.place.start as usize)
    });
    let mut reading = Reading {
        source,
        default_server: default_server(&sections, at),
        slots: slots(section)?,
        ..Reading::default()
    };
    let start = section.place.start as usize;
    match marked(text, start..end)? {
        Some((place, indent)) => {
            let lines = text[place.clone()].lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty());
            reading.lines = Some(lines.map(str::to_owned).collect());
            (reading.place, reading.indent) = (place, indent);
        }
        None => {
            let at = end_of(text, section, start);
            reading.place = at..at;
            let last = section.lines.last();
            reading.indent = last.map_or("    ".to_owned(), |line| {
                let start = line.place.start as usize;
                text[line_start(text, start)..start].to_owned()
            });
        }
    }
    Ok(reading)
}

/// The text with these lines in the block.
pub(super) fn rewrite(text: &str, reading: &Reading, lines: &[String]) -> String {
    let indent = &reading.indent;
    let mut block: String = lines
        .iter()
        .map(|line| format!("{indent}{line}\n"))
        .collect();
    if reading.lines.is_none() {
        block = format!("{indent}{BEGIN}{BEGIN_REST}\n{block}{indent}{END}\n");
        // The section may be all there is of a file that does not end its last line.
        if !text[..reading.place.start].ends_with('\n') {
            block.insert(0, '\n');
        }
    }
    let (before, after) = (&text[..reading.place.start], &text[reading.place.end..]);
    format!("{before}{block}{after}")
}

/// Name and address of a line that [`rewrite`] wrote; `None`: it is another line.
pub(super) fn server_of(line: &str) -> Option<(&str, std::net::SocketAddr)> {
    let mut words = line.split_ascii_whitespace();
    match (words.next()?, words.next()?, words.next()?) {
        ("server", name, address) if is_name(name) => Some((name, address.parse().ok()?)),
        _ => None,
    }
}

/// A keyword of section `discovery` or `registry` of ours, with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    section: &'static str,
    words: Vec<String>,
}

/// What our own sections say, wherever they stand.
pub(crate) fn settings(sources: &[Source], surroundings: &dyn Surroundings) -> Vec<Setting> {
    let sections = outline(sources, surroundings);
    let ours = sections
        .into_iter()
        .filter(|it| SECTIONS.contains(&it.keyword));
    let settings = ours.flat_map(|section| {
        let lines = section.lines.into_iter();
        lines.map(move |line| Setting {
            section: section.keyword,
            words: line.words,
        })
    });
    settings.collect()
}

/// The backend that they name.
pub(crate) fn fill_backend(settings: &[Setting]) -> Option<String> {
    let mut settings = settings.iter().filter(|it| it.words.len() == 2);
    let found = settings.find(|it| it.words[0] == "fill-backend");
    found.map(|it| it.words[1].clone())
}

/// A configuration of ours with nothing but that backend and those settings; those given by hand count.
pub(crate) fn configuration(
    backend: &str,
    settings: &[Setting],
    by_hand: &[(&'static str, String)],
) -> String {
    let mut text = format!("backend {}\n mode http\n", for_file(backend));
    for section in SECTIONS {
        let is_replaced = |it: &&Setting| {
            let keyword = it.words.first().map_or("", |word| word);
            keyword == "fill-backend" || by_hand.iter().any(|(name, _)| *name == keyword)
        };
        let of_file = settings
            .iter()
            .filter(|it| it.section == section && !is_replaced(it));
        let mut lines: Vec<String> = of_file
            .map(|it| {
                it.words
                    .iter()
                    .map(|word| for_file(word))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        if section == "discovery" {
            lines.push(format!("fill-backend {}", for_file(backend)));
            let by_hand = by_hand.iter();
            lines.extend(by_hand.map(|(name, value)| format!("{name} {}", for_file(value))));
        }
        if !lines.is_empty() {
            text += &format!("{section}\n {}\n", lines.join("\n "));
        }
    }
    text
}

/// Our own sections.
const SECTIONS: [&str; 2] = ["discovery", "registry"];

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// Words of the `default-server` lines of the section and of the `defaults` it stands on (manual 4.1).
fn default_server(sections: &[Outlined], at: usize) -> Vec<String> {
    let section = &sections[at];
    let named = section.arguments.windows(2).find(|it| it[0] == "from");
    let mut defaults = sections[..at]
        .iter()
        .rev()
        .filter(|it| it.keyword == "defaults");
    let defaults = defaults.find(|it| named.is_none_or(|from| it.arguments.first() == from.get(1)));
    let lines = defaults
        .into_iter()
        .chain([section])
        .flat_map(|it| &it.lines);
    let lines = lines.filter(|line| line.words.first().is_some_and(|it| it == "default-server"));
    lines.flat_map(|line| line.words[1..].to_vec()).collect()
}

/// `server-template PREFIX NUM|LOW-HIGH FQDN …` (manual 4.2).
fn slots(section: &Outlined) -> Result<Vec<Arc<str>>, String> {
    let mut slots = Vec::new();
    for line in &section.lines {
        let [keyword, prefix, range, ..] = line.words.as_slice() else {
            continue;
        };
        // Those with `resolvers` are filled by DNS.
        if keyword != "server-template" || line.words.iter().any(|word| word == "resolvers") {
            continue;
        }
        let (low, high) = range.split_once('-').unwrap_or(("1", range));
        match (low.parse::<u64>(), high.parse::<u64>()) {
            (Ok(low), Ok(high)) if high.saturating_sub(low) < SLOTS_MAX && is_name(prefix) => {
                slots.extend((low..=high).map(|number| Arc::from(format!("{prefix}{number}"))));
            }
            _ => {
                return Err(format!(
                    "server-template {prefix} {range} is not understood"
                ));
            }
        }
    }
    Ok(slots)
}

/// Where the lines between the markers are, and how far the first marker is indented.
fn marked(
    text: &str,
    within: std::ops::Range<usize>,
) -> Result<Option<(std::ops::Range<usize>, String)>, String> {
    let (mut begin, mut found) = (None, None);
    let mut at = line_start(text, within.start);
    for line in text[at..within.end].split_inclusive('\n') {
        let (start, words) = (at, line.trim());
        at += line.len();
        if words.starts_with(BEGIN) {
            if begin.is_some() || found.is_some() {
                return Err(format!("it has a second \"{BEGIN}\" in that section"));
            }
            let indent = &line[..line.len() - line.trim_start().len()];
            begin = Some((at, indent.to_owned()));
        } else if words.starts_with(END) {
            match begin.take() {
                Some((first, indent)) => found = Some((first..start, indent)),
                None => return Err(format!("it has an \"{END}\" before any \"{BEGIN}\"")),
            }
        }
    }
    match begin {
        Some(_) => Err(format!(
            "it has a \"{BEGIN}\" without \"{END}\" in that section"
        )),
        None => Ok(found),
    }
}

/// Behind the last line of the section that stands as deep between `.if` and `.endif` as its first.
fn end_of(text: &str, section: &Outlined, start: usize) -> usize {
    let last = section
        .lines
        .last()
        .map_or(start, |line| line.place.start as usize);
    let mut depth = 0_i32;
    let mut at = line_start(text, start);
    let mut end = at;
    for line in text[at..].split_inclusive('\n') {
        if at > last && depth == 0 {
            break;
        }
        at += line.len();
        match line.split_ascii_whitespace().next() {
            Some(".if") => depth += 1,
            Some(".endif") => depth -= 1,
            _ => {}
        }
        // Inside a condition a block would come and go with it.
        match depth {
            0 => end = at,
            1.. => {}
            _ => break,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Surroundings for Nothing {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn read(&self, _path: &str) -> Result<String, String> {
            Err(String::new())
        }
    }

    fn reading(text: &str) -> Result<Reading, String> {
        read(&[Source::new("f", text)], "b", &Nothing)
    }

    /// Rewrites with `server x`, and again: the second time nothing else may have changed.
    #[track_caller]
    fn check(before: &str, after: &str) {
        let lines = ["server x 1.2.3.4:5 id 9".to_owned()];
        let once = rewrite(before, &reading(before).unwrap(), &lines);
        let after = after.replace("BEGIN\n", &format!("{BEGIN}{BEGIN_REST}\n"));
        let after = after.replace("END\n", &format!("{END}\n"));
        let after = after.replace("SERVER\n", "server x 1.2.3.4:5 id 9\n");
        assert_eq!(once, after);
        let again = reading(&once).unwrap();
        assert_eq!(again.lines.as_deref(), Some(&lines[..]));
        assert_eq!(rewrite(&once, &again, &lines), once);
        assert_eq!(rewrite(&once, &again, &[]).matches("server x").count(), 0);
    }

    #[test]
    fn the_block_is_rewritten_and_nothing_else() {
        check(
            "global\nbackend b\n  server a 1.1.1.1:1\n\n# about c\nbackend c\n  server a 2.2.2.2:2\n",
            "global\nbackend b\n  server a 1.1.1.1:1\n  BEGIN\n  SERVER\n  END\n\n# about c\nbackend c\n  \
             server a 2.2.2.2:2\n",
        );
        check("backend b", "backend b\n    BEGIN\n    SERVER\n    END\n");
        check(
            "listen b # x\n\tmode http",
            "listen b # x\n\tmode http\n\tBEGIN\n\tSERVER\n\tEND\n",
        );
        check(
            "backend b\n # BEGIN tidegate: mine\n server old 1.1.1.1:1\n # free\n # END tidegate\n option x\n",
            "backend b\n # BEGIN tidegate: mine\n SERVER\n # END tidegate\n option x\n",
        );
        check(
            "backend b\n  a\n.if feature(TIDEGATE)\n  c\n.endif\n  d\n.if feature(TIDEGATE)\ndiscovery\n.endif\n",
            "backend b\n  a\n.if feature(TIDEGATE)\n  c\n.endif\n  d\n  BEGIN\n  SERVER\n  END\n\
             .if feature(TIDEGATE)\ndiscovery\n.endif\n",
        );
        check(
            "backend b\n  a\n.if feature(TIDEGATE)\n  c\n.endif\nbackend c\n",
            "backend b\n  a\n.if feature(TIDEGATE)\n  c\n.endif\n  BEGIN\n  SERVER\n  END\nbackend c\n",
        );
    }

    #[test]
    fn what_cannot_be_understood_is_left_alone() {
        #[track_caller]
        fn check(text: &str, why: &str) {
            let refused = reading(text).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        check("backend c\n", "no section \"backend b\"");
        check("backend b\nbackend b\n", "several sections");
        check("backend b\n# END tidegate\n", "before any");
        check("backend b\n# BEGIN tidegate\n", "without");
        check(
            "backend b\n# BEGIN tidegate\nbackend c\n# END tidegate\n",
            "without",
        );
        let twice = "# BEGIN tidegate\n# END tidegate\n";
        check(&format!("backend b\n{twice}{twice}"), "a second");
        check(
            "backend b\n server-template s 99999999 x:1\n",
            "not understood",
        );
    }

    #[test]
    fn defaults_and_slots_are_found() {
        let text = "defaults\n default-server inter 1s\ndefaults d\n default-server inter 2s\n\
                    backend b from d\n default-server weight 7\n server-template s 2 x:1\n\
                    server-template t- 8-9 x:1\ndefaults\n default-server inter 3s\nbackend c\n";
        let found = reading(text).unwrap();
        assert_eq!(found.default_server.join(" "), "inter 2s weight 7");
        let slots: Vec<&str> = found.slots.iter().map(|it| &**it).collect();
        assert_eq!(slots, ["s1", "s2", "t-8", "t-9"]);
        let plain = reading("defaults\n default-server inter 1s\ndefaults d\nbackend b\n").unwrap();
        assert_eq!(
            plain.default_server.len(),
            0,
            "the last section of defaults counts"
        );
    }

    #[test]
    fn our_own_sections_are_taken_out() {
        let text = "backend b\n.if feature(TIDEGATE)\ndiscovery\n drain 30s\n fill-backend b\n \
                    state-file 'a b'\n.endif\n";
        let settings = settings(&[Source::new("f", text)], &Nothing);
        assert_eq!(fill_backend(&settings).as_deref(), Some("b"));
        assert_eq!(
            configuration("it's", &settings, &[("drain", "1m".to_owned())]),
            "backend 'it'\\''s'\n mode http\ndiscovery\n state-file 'a b'\n \
             fill-backend 'it'\\''s'\n drain 1m\n"
        );
    }

    #[test]
    fn lines_of_the_block_are_read_back() {
        let line = "server n1 [::1]:80 id 7 check";
        assert_eq!(server_of(line), Some(("n1", "[::1]:80".parse().unwrap())));
        for other in [
            "# server n1 1.1.1.1:1",
            "server n1 name:80",
            "server a/b 1.1.1.1:1",
            "",
        ] {
            assert_eq!(server_of(other), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_is_too_odd(text in r"((backend b|listen b|defaults|\.if true|\.endif| server a 1\.1\.1\.1:1|# BEGIN tidegate|# END tidegate|é\t'|x)[ ]?\n){0,12}(x|é)?") {
            if let Ok(found) = reading(&text) {
                let lines = ["server x 1.2.3.4:5 id 9".to_owned()];
                let once = rewrite(&text, &found, &lines);
                proptest::prop_assert!(once.contains("server x"));
            }
        }
    }
}
