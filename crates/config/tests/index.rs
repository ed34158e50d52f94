//! Nothing that HAProxy knows is unknown here: each keyword of the manual's index has an entry in the
//! registry.

use std::collections::BTreeSet;

/// Whether there is an entry of that name, or entries of it and a second word, or one of its first word
/// that stands for all of them.
fn is_known(known: &BTreeSet<(String, String)>, family: &str, name: &str) -> bool {
    // A line of a list of certificates takes what a `bind` line takes.
    let family = if family == "crt-list" { "bind" } else { family };
    let mut names = known.iter().filter(|(of, _)| of == family);
    let longer = format!("{name} ");
    names.any(|(_, other)| {
        let first = other.strip_suffix('*').unwrap_or(other);
        other == name
            || other.starts_with(&longer)
            || (other != first && name.starts_with(first))
            || name
                .strip_prefix(first)
                .is_some_and(|rest| rest.starts_with(' '))
    })
}

#[test]
fn every_keyword_of_the_manuals_index_is_known() {
    let known: BTreeSet<(String, String)> = config::registry::known()
        .into_iter()
        .map(|it| (it.family, it.name))
        .collect();
    let mut family = "";
    let mut unknown = Vec::new();
    for line in include_str!("index.txt").lines() {
        if let Some(name) = line.strip_prefix('[') {
            family = name.trim_end_matches(']');
        } else if !line.is_empty() && !line.starts_with('#') && !is_known(&known, family, line) {
            unknown.push(format!("{family}: {line}"));
        }
    }
    assert!(unknown.is_empty(), "unknown:\n{}", unknown.join("\n"));
}
