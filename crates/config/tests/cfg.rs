//! Every file in `tests/cfg/` is a configuration that says of itself what is told about it:
//!
//! - `#~ ALERT text` at the end of a line: an alert about this line whose message contains the text
//!   (likewise `WARNING`, `ADVICE` and `NOTICE`; several on a line follow each other);
//! - `#~^ ALERT text` on a line of its own: the same about the line above;
//! - `#~? ALERT text`: about the whole configuration;
//! - `#~env NAME=value`: an environment variable;
//! - `#~file PATH text`: a file that can be read.
//!
//! Everything that is told must be expected, and everything expected must be told. A file with an
//! alert must give no model, any other must give one.

use std::collections::BTreeMap;
use std::path::Path;

use config::diagnostics::{Diagnostic, Severity, Style};
use config::source::Source;

/// The surroundings a case describes.
#[derive(Default)]
struct Described {
    variables: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

impl config::Surroundings for Described {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
    fn read(&self, path: &str) -> Result<String, String> {
        let file = self.files.get(path).cloned();
        file.ok_or_else(|| "no such file".to_owned())
    }
    fn socket(&self, descriptor: i32) -> Result<(), String> {
        match descriptor {
            77 => Err("it is not open".into()),
            _ => Ok(()),
        }
    }
    fn user_id(&self, name: &str) -> Option<u32> {
        ["haproxy", "www-data"].contains(&name).then_some(33)
    }
    fn group_id(&self, name: &str) -> Option<u32> {
        self.user_id(name)
    }
}

/// What a case expects to be told.
#[derive(Debug)]
struct Expected {
    line: Option<u32>,
    severity: Severity,
    text: String,
}

impl Expected {
    fn is_met_by(&self, diagnostic: &Diagnostic) -> bool {
        self.line == diagnostic.span.map(|span| span.line)
            && self.severity == diagnostic.severity
            && diagnostic.message.contains(&self.text)
    }
}

fn expectations(text: &str) -> (Vec<Expected>, Described) {
    let mut expected = Vec::new();
    let mut described = Described::default();
    let mut above = 0;
    for (index, line) in text.lines().enumerate() {
        let number = index as u32 + 1;
        let trimmed = line.trim_start();
        if let Some(variable) = trimmed.strip_prefix("#~env ") {
            let (name, value) = variable.split_once('=').expect("NAME=value");
            described.variables.insert(name.into(), value.into());
        } else if let Some(file) = trimmed.strip_prefix("#~file ") {
            let (path, text) = file.split_once(' ').expect("PATH text");
            let text = text.replace("\\n", "\n");
            described.files.insert(path.into(), text);
        } else if let Some(rest) = trimmed.strip_prefix("#~^ ") {
            expected.push(one(Some(above), rest));
        } else if let Some(rest) = trimmed.strip_prefix("#~? ") {
            expected.push(one(None, rest));
        } else {
            above = number;
            let parts = line.split("#~ ").skip(1);
            expected.extend(parts.map(|part| one(Some(number), part)));
        }
    }
    (expected, described)
}

fn one(line: Option<u32>, text: &str) -> Expected {
    let (level, text) = text.trim().split_once(' ').expect("LEVEL text");
    let levels = [
        ("ALERT", Severity::Alert),
        ("WARNING", Severity::Warning),
        ("ADVICE", Severity::Advice),
        ("NOTICE", Severity::Notice),
    ];
    let known = levels.into_iter().find(|(name, _)| *name == level);
    let (_, severity) = known.expect("ALERT, WARNING, ADVICE or NOTICE");
    Expected {
        line,
        severity,
        text: text.trim().to_owned(),
    }
}

fn is_about_slow_heads(diagnostic: &Diagnostic) -> bool {
    diagnostic.message.contains("has no 'timeout http-request'")
}

/// What is wrong with one case, as text; empty when nothing is.
fn check(name: &str, text: &str) -> String {
    let (mut expected, described) = expectations(text);
    let sources = [Source::new(name, text)];
    let outcome = config::load(&sources, &described);
    let mut unexpected = Vec::new();
    for diagnostic in &outcome.diagnostics {
        match expected.iter().position(|it| it.is_met_by(diagnostic)) {
            Some(at) => drop(expected.remove(at)),
            // Said of nearly every case: only one case is about it.
            None if is_about_slow_heads(diagnostic) => {}
            None => unexpected.push(diagnostic.clone()),
        }
    }
    let style = Style {
        notices: true,
        ..Style::default()
    };
    let mut problems = config::diagnostics::render(&unexpected, &sources, style);
    for missing in expected {
        problems.push_str(&format!("{name}: was not told: {missing:?}\n"));
    }
    let alerts = outcome
        .diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Alert);
    if outcome.config.is_some() == alerts {
        problems.push_str(&format!("{name}: a model exactly when there is no alert\n"));
    }
    problems
}

#[test]
fn each_configuration_is_told_what_it_expects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cfg");
    let mut cases = 0;
    let mut problems = String::new();
    for entry in std::fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a case is text");
        let name = path.file_name().expect("a name").to_string_lossy();
        problems.push_str(&check(&name, &text));
        cases += 1;
    }
    assert!(problems.is_empty(), "\n{problems}");
    assert!(cases > 20, "only {cases} cases were found");
}

/// The drawing itself, letter by letter: programs read its first lines, people the rest.
#[test]
fn diagnostics_are_drawn_like_this() {
    let text = "\
global
    demon
defaults
    timeout client 99999999d
    stats auth admin
frontend web
    stats auth admin:geheim extra
    bind *:80\tssl crt
";
    let sources = [Source::new("haproxy.cfg", text)];
    let outcome = config::load(&sources, &Described::default());
    let style = Style {
        pid: 42,
        ..Style::default()
    };
    let drawn = config::diagnostics::render(&outcome.diagnostics, &sources, style);
    let expected = include_str!("drawn.txt");
    assert_eq!(drawn, expected, "\n{drawn}");
    assert!(!drawn.contains("geheim"));
}

/// Of a secret whose quotes were forgotten nothing is shown, neither quoted nor in the line.
#[test]
fn secrets_of_wrong_lines_are_not_shown() {
    let lines = [
        "global\n setenv API_KEY my geheim",
        "global\n presetenv API_KEY my geheim",
        "global\n setenv API_KEY=geheim",
        "global\n setnev API_KEY geheim",
        "frontend f\n setenv API_KEY my geheim",
    ];
    for text in lines {
        let sources = [Source::new("x", text)];
        let outcome = config::load(&sources, &Described::default());
        let drawn = config::diagnostics::render(&outcome.diagnostics, &sources, Style::default());
        assert!(drawn.contains("[ALERT]"), "{text}");
        assert!(!drawn.contains("geheim"), "{drawn}");
    }
}

/// A file with more problems than anybody reads is not drawn to the end, and nothing is lost.
#[test]
fn many_problems_are_counted() {
    let text = format!("global\n{}", "  demon\n".repeat(1_000));
    let sources = [Source::new("x", text.as_str())];
    let outcome = config::load(&sources, &Described::default());
    assert_eq!(outcome.diagnostics.len(), 1_000);
    let drawn = config::diagnostics::render(&outcome.diagnostics, &sources, Style::default());
    let headers = drawn.lines().filter(|line| line.starts_with("[ALERT]"));
    assert_eq!(headers.count(), config::diagnostics::SHOWN_MAX + 1);
    assert!(drawn.ends_with("[ALERT]    (0) : config : 900 more problems are not shown\n"));
}

/// Control characters of a hostile file do not reach the terminal.
#[test]
fn what_is_drawn_holds_no_escape_sequences() {
    let text = "global\n  \x1b[31mfoo \x07\nfrontend \u{9b}x\n";
    let sources = [Source::new("a\x1bb", text)];
    let outcome = config::load(&sources, &Described::default());
    let drawn = config::diagnostics::render(&outcome.diagnostics, &sources, Style::default());
    let control = |c: &char| c.is_control() && *c != '\n';
    assert_eq!(drawn.chars().find(control), None, "{drawn:?}");
}
