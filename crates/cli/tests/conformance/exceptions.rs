//! `conformance/exceptions.toml`: which cases differ on purpose, in which parts, and why.
//!
//! A small part of TOML is read here, as the file is written: tables `[[exception]]` with `reason`,
//! a string, and `parts` and `cases`, lists of strings.

use std::collections::BTreeMap;

use crate::table;

/// The exceptions, by case and part: the reason.
pub(crate) struct Exceptions {
    reasons: BTreeMap<(String, String), String>,
}

#[derive(Default)]
struct Entry {
    reason: String,
    parts: Vec<String>,
    cases: Vec<String>,
}

impl Exceptions {
    /// Reads the file. Panics on what it does not understand.
    pub(crate) fn load() -> Self {
        let path = table::folder().join("exceptions.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        match parse(&text) {
            Ok(reasons) => Self { reasons },
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// Whether that part of that case may differ.
    pub(crate) fn allows(&self, case: &str, part: &str) -> bool {
        let key = (case.to_owned(), part.to_owned());
        self.reasons.contains_key(&key)
    }

    /// All: case and part.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let keys = self.reasons.keys();
        keys.map(|(case, part)| (case.as_str(), part.as_str()))
    }
}

fn parse(text: &str) -> Result<BTreeMap<(String, String), String>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut open_list: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let at = |what: &str| format!("line {}: {what}: {line}", index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[exception]]" {
            entries.push(Entry::default());
            continue;
        }
        let entry = entries.last_mut().ok_or_else(|| at("before any entry"))?;
        let (key, value) = match open_list.take() {
            Some(key) => (key, line),
            None => {
                let (key, value) = line.split_once('=').ok_or_else(|| at("no key"))?;
                (key.trim().to_owned(), value.trim())
            }
        };
        let strings = strings(value).map_err(|error| at(&error))?;
        match key.as_str() {
            "reason" => entry.reason = strings.concat(),
            "parts" => entry.parts.extend(strings),
            "cases" => entry.cases.extend(strings),
            _ => return Err(at("unknown key")),
        }
        let is_list = key != "reason";
        if is_list && !value.ends_with(']') {
            open_list = Some(key);
        }
    }
    flatten(entries)
}

fn flatten(entries: Vec<Entry>) -> Result<BTreeMap<(String, String), String>, String> {
    let mut reasons = BTreeMap::new();
    for entry in entries {
        if entry.reason.is_empty() || entry.parts.is_empty() || entry.cases.is_empty() {
            return Err(format!(
                "an entry without reason, parts or cases: {:?}",
                entry.cases
            ));
        }
        for case in &entry.cases {
            for part in &entry.parts {
                let key = (case.clone(), part.clone());
                if reasons.insert(key, entry.reason.clone()).is_some() {
                    return Err(format!("{case:?} {part:?} stands there twice"));
                }
            }
        }
    }
    Ok(reasons)
}

/// The strings in a line; `\"` and `\\` are known.
fn strings(text: &str) -> Result<Vec<String>, String> {
    let mut strings = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                let mut string = String::new();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => string.extend(chars.next()),
                        Some(other) => string.push(other),
                        None => return Err("a string without its end".into()),
                    }
                }
                strings.push(string);
            }
            '[' | ']' | ',' | ' ' => {}
            '#' => break,
            other => return Err(format!("{other:?} between strings")),
        }
    }
    Ok(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_over_several_lines() {
        let text = "# why\n[[exception]]\nreason = \"because\"\nparts = [\"client\", \"log\"]\n\
                    cases = [\n  \"a/b/\\\"c\\\"\",\n  \"a/b/d\",\n]\n";
        let reasons = parse(text).unwrap();
        assert_eq!(reasons.len(), 4);
        let key = ("a/b/\"c\"".to_owned(), "log".to_owned());
        assert_eq!(reasons[&key], "because");
    }
}
