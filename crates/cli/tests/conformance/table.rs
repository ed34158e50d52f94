//! The table of cases: `conformance/cases/*.cases`, read into groups.
//!
//! The format is described in `conformance/README.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::script::{Script, Step};

/// What a group's cases are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Steps of clients, through running programs.
    Traffic,
    /// Configurations, given to `-c`.
    Verdicts,
}

/// Cases that share a configuration, and two running programs.
#[derive(Debug)]
pub(crate) struct Group {
    /// `FILE/GROUP`.
    pub(crate) id: String,
    /// See [`Kind`].
    pub(crate) kind: Kind,
    /// What stands before the first case.
    pub(crate) config: String,
    /// Lines with `@`.
    pub(crate) settings: Settings,
    /// Its cases, in order.
    pub(crate) cases: Vec<Case>,
}

/// How a group is run.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Without the common beginning of configurations.
    pub(crate) bare: bool,
    /// Which connection of a node a request came by is compared too.
    pub(crate) connections: bool,
    /// What nodes answer when a case does not say: of all nodes, or of the named one.
    pub(crate) answers: Vec<(Option<String>, Script)>,
    /// Nodes that do not listen when the programs start.
    pub(crate) stopped: Vec<String>,
    /// Files in the folder of the program: name and content.
    pub(crate) files: Vec<(String, String)>,
}

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    /// `FILE/GROUP/NAME`.
    pub(crate) id: String,
    /// What is done, for [`Kind::Traffic`].
    pub(crate) steps: Vec<Step>,
    /// Its lines as they stand, for [`Kind::Verdicts`].
    pub(crate) text: String,
}

impl Group {
    /// The ids of its cases.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.cases.iter().map(|case| case.id.clone()).collect()
    }

    /// Keeps what the filter names. Earlier cases of a group may matter to later ones, which is why
    /// a filter that names a group keeps all of it.
    pub(crate) fn keep_only(&mut self, filter: &str) {
        if !self.id.contains(filter) {
            self.cases.retain(|case| case.id.contains(filter));
        }
    }
}

/// The folder of the table.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance")
}

/// Reads every file.
pub(crate) fn load() -> Vec<Group> {
    let folder = folder().join("cases");
    let listing = std::fs::read_dir(&folder);
    let listing = listing.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "cases"));
    paths.sort();
    let mut groups = Vec::new();
    for path in paths {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        match parse(&file, &text) {
            Ok(parsed) => groups.extend(parsed),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    groups
}

/// Panics on two cases of one name: an exception would not know which it is for.
pub(crate) fn assert_ids_are_unique(groups: &[Group]) {
    let mut seen = BTreeSet::new();
    for id in groups.iter().flat_map(Group::ids) {
        assert!(seen.insert(id.clone()), "two cases are called {id:?}");
    }
}

fn parse(file: &str, text: &str) -> Result<Vec<Group>, String> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = |error: String| format!("line {}: {error}", index + 1);
        if line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("=== ") {
            groups.push(open_group(file, title.trim()));
            continue;
        }
        if line.trim().is_empty() && groups.is_empty() {
            continue;
        }
        let group = groups.last_mut();
        let group = group.ok_or_else(|| at("text before the first '===' line".into()))?;
        add_line(group, line).map_err(at)?;
    }
    Ok(groups)
}

fn open_group(file: &str, title: &str) -> Group {
    let (kind, name) = match title.strip_prefix("verdicts: ") {
        Some(name) => (Kind::Verdicts, name),
        None => (Kind::Traffic, title),
    };
    Group {
        id: format!("{file}/{name}"),
        kind,
        config: String::new(),
        settings: Settings::default(),
        cases: Vec::new(),
    }
}

fn add_line(group: &mut Group, line: &str) -> Result<(), String> {
    if let Some(name) = line.strip_prefix("--- ") {
        open_case(group, name.trim());
        return Ok(());
    }
    if let Some(step) = line.strip_prefix("* ") {
        open_case(group, step.trim());
        return add_step(group, step);
    }
    if group.cases.is_empty() {
        return match line.strip_prefix('@') {
            Some(setting) => add_setting(&mut group.settings, setting),
            None => {
                group.config.push_str(line);
                group.config.push('\n');
                Ok(())
            }
        };
    }
    add_step(group, line)
}

fn open_case(group: &mut Group, name: &str) {
    group.cases.push(Case {
        id: format!("{}/{name}", group.id),
        steps: Vec::new(),
        text: String::new(),
    });
}

fn add_step(group: &mut Group, line: &str) -> Result<(), String> {
    let Some(case) = group.cases.last_mut() else {
        return Err("a step before the first case".into());
    };
    if group.kind == Kind::Verdicts {
        case.text.push_str(line);
        case.text.push('\n');
    } else if !line.trim().is_empty() {
        case.steps.push(Step::parse(line.trim())?);
    }
    Ok(())
}

fn add_setting(settings: &mut Settings, line: &str) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "bare" => settings.bare = true,
        "connections" => settings.connections = true,
        "stopped" => settings.stopped.push(rest.trim().to_owned()),
        "node" => settings.answers.push(crate::script::answer(rest)?),
        "file" => {
            let (name, content) = rest.split_once(' ').ok_or("@file NAME CONTENT")?;
            let content = crate::script::plain(content)?;
            let content = String::from_utf8_lossy(&content).into_owned();
            settings.files.push((name.to_owned(), content));
        }
        other => return Err(format!("unknown setting @{other}")),
    }
    Ok(())
}
