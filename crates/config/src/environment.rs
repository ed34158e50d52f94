//! The environment as the configuration has changed it (`setenv` and friends, manual 3.1), and the
//! variables that exist only while a configuration is read (manual 2.3).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use crate::Surroundings;
use crate::model::Secret;

/// Variables whose values are nobody's to read: no command shows them, and no rule puts them anywhere.
pub const SECRETS: &[&str] = &["API_KEY"];

/// HAProxy's language level we speak: `version_atleast(…)` compares with it, `HAPROXY_BRANCH`
/// shows its first two numbers.
pub const COMPATIBLE_VERSION: &str = "3.5-dev5";
/// The branch of [`COMPATIBLE_VERSION`].
const COMPATIBLE_BRANCH: &str = "3.5";

/// What `setenv`, `presetenv`, `unsetenv` and `resetenv` have made of the environment.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// What was set (`Some`) or unset (`None`).
    changed: BTreeMap<String, Option<Secret>>,
    /// After `resetenv`: only these still come from outside.
    kept: Option<BTreeSet<String>>,
}

impl Variables {
    /// The value of a variable for the program itself. `outside` is the environment the program was
    /// started with; it is not asked for what was set, unset or not kept.
    pub fn get(&self, name: &str, outside: impl FnOnce() -> Option<OsString>) -> Option<OsString> {
        match self.changed.get(name) {
            Some(value) => value.as_ref().map(|value| (&*value.0).into()),
            None if self.passes(name) => outside(),
            None => None,
        }
    }

    /// Whether a variable that was not changed comes from outside.
    fn passes(&self, name: &str) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.contains(name))
    }

    fn change(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(|value| Secret(value.into()));
        self.changed.insert(name.to_owned(), value);
    }

    fn reset(&mut self, names: BTreeSet<String>) {
        self.changed.retain(|name, _| names.contains(name));
        self.kept = Some(match self.kept.take() {
            Some(kept) => kept.intersection(&names).cloned().collect(),
            None => names,
        });
    }
}

/// The surroundings, seen through the configuration's own changes.
pub(crate) struct Environment<'a> {
    outside: &'a dyn Surroundings,
    inside: RefCell<Inside>,
}

#[derive(Default)]
struct Inside {
    variables: Variables,
    file: String,
    line: u32,
    section: String,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(outside: &'a dyn Surroundings) -> Self {
        Self {
            outside,
            inside: RefCell::default(),
        }
    }

    /// Says where the lines that follow stand, for `.FILE`, `.LINE` and `.SECTION`.
    pub(crate) fn stand_at(&self, file: &str, line: u32, section: &str) {
        let mut inside = self.inside.borrow_mut();
        if inside.file != file {
            inside.file = file.to_owned();
        }
        if inside.section != section {
            inside.section = section.to_owned();
        }
        inside.line = line;
    }

    /// `setenv`.
    pub(crate) fn set(&self, name: &str, value: &str) {
        let mut inside = self.inside.borrow_mut();
        inside.variables.change(name, Some(value));
    }

    /// `presetenv`: only when it is not set yet.
    pub(crate) fn preset(&self, name: &str, value: &str) {
        if self.variable(name).is_none() {
            self.set(name, value);
        }
    }

    /// `unsetenv`.
    pub(crate) fn unset(&self, name: &str) {
        let mut inside = self.inside.borrow_mut();
        inside.variables.change(name, None);
    }

    /// `resetenv`: forgets all but the given ones.
    pub(crate) fn reset(&self, names: BTreeSet<String>) {
        self.inside.borrow_mut().variables.reset(names);
    }

    /// All changes so far, for the program itself.
    pub(crate) fn variables(&self) -> Variables {
        self.inside.borrow().variables.clone()
    }

    fn pseudo(&self, name: &str) -> Option<String> {
        let inside = self.inside.borrow();
        match name {
            ".FILE" => Some(inside.file.clone()),
            ".LINE" => Some(inside.line.to_string()),
            ".SECTION" => Some(inside.section.clone()),
            _ => None,
        }
    }
}

impl Surroundings for Environment<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        if name.starts_with('.') {
            return self.pseudo(name);
        }
        let variables = &self.inside.borrow().variables;
        if let Some(value) = variables.changed.get(name) {
            return value.as_ref().map(|value| value.0.to_string());
        }
        if let Some(value) = own_variable(name) {
            return Some(value.to_owned());
        }
        match variables.passes(name) {
            true => self.outside.variable(name),
            false => None,
        }
    }

    fn read(&self, path: &str) -> Result<String, String> {
        self.outside.read(path)
    }

    fn read_bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        self.outside.read_bytes(path)
    }

    fn socket(&self, descriptor: i32) -> Result<(), String> {
        self.outside.socket(descriptor)
    }

    fn user_id(&self, name: &str) -> Option<u32> {
        self.outside.user_id(name)
    }

    fn group_id(&self, name: &str) -> Option<u32> {
        self.outside.group_id(name)
    }
}

/// Variables HAProxy defines itself (manual 2.3).
fn own_variable(name: &str) -> Option<&'static str> {
    match name {
        "HAPROXY_BRANCH" => Some(COMPATIBLE_BRANCH),
        "HAPROXY_STARTUP_VERSION" => Some(COMPATIBLE_VERSION),
        "HAPROXY_HTTP_LOG_FMT" => Some(crate::expr::format::HTTPLOG),
        "HAPROXY_HTTP_CLF_LOG_FMT" => Some(crate::expr::format::HTTPLOG_CLF),
        "HAPROXY_HTTPS_LOG_FMT" => Some(crate::expr::format::HTTPSLOG),
        "HAPROXY_TCP_LOG_FMT" => Some(crate::expr::format::TCPLOG),
        "HAPROXY_TCP_CLF_LOG_FMT" => Some(crate::expr::format::TCPLOG_CLF),
        _ => None,
    }
}
