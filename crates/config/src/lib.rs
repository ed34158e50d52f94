//! `haproxy.cfg` text to a checked [`model::Config`] and diagnostics.
//!
//! Knows no sockets, no clock and no files: texts come in as [`source::Source`], everything the
//! configuration may look at (environment, other files) comes in through [`Surroundings`].
//! The language is that of HAProxy's `configuration.txt`; sections are cited as "manual 2.2".

mod address;
mod advice;
mod args;
mod ast;
mod check;
pub mod crt_list;
pub mod diagnostics;
mod draft;
mod dynamic;
mod environment;
mod error_page;
pub mod expr;
mod fleet;
mod formats;
mod keywords;
pub mod lexer;
pub mod lists;
mod mask;
pub mod model;
mod nearest;
pub mod node_address;
pub mod outline;
mod parser;
mod predicates;
mod preprocess;
mod raw;
mod references;
pub mod registry;
mod resolve;
pub mod source;
mod tracking;
mod values;
mod warnings;

pub use dynamic::{default_servers, dynamic_server, process_variable};
pub use environment::{COMPATIBLE_VERSION, SECRETS};
pub use fleet::FLEET_BACKEND_DEFAULT;
pub use keywords::own::may_close_with;
pub use keywords::tls::verify::error_name as verification_error;
pub use predicates::FEATURES;
pub use values::parse_duration;

use diagnostics::{Diagnostic, Severity};
use environment::Environment;
use model::Config;
use source::Source;

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Outcome {
    /// The model; `None` exactly when there is an alert.
    pub config: Option<Config>,
    /// Everything there is to say, in file order, each thing once.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks a configuration of one or more texts, in order. Never fails half-way: all
/// problems are told at once.
pub fn load(sources: &[Source], surroundings: &dyn Surroundings) -> Outcome {
    let environment = Environment::new(surroundings);
    let mut diagnostics = Vec::new();
    let sections = parser::parse(sources, &environment, &mut diagnostics);
    let mut config = check::check(&sections, &environment, &mut diagnostics);
    config.global.sources = sources.iter().map(|it| it.name.clone()).collect();
    diagnostics::put_in_order(&mut diagnostics);
    let usable = diagnostics
        .iter()
        .all(|diagnostic| diagnostic.severity < Severity::Alert);
    Outcome {
        config: usable.then_some(config),
        diagnostics,
    }
}

/// Evaluates a condition of `.if`, for `-cc`. `$NAME` between double quotes is put in first.
/// Fails, saying why, when it cannot be read.
pub fn evaluate_condition(text: &str, surroundings: &dyn Surroundings) -> Result<bool, String> {
    let environment = Environment::new(surroundings);
    let words = lexer::split(text, source::Span::default(), &environment)
        .map_err(|problem| problem.message)?;
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    predicates::evaluate(&texts.join(" "), &environment)
}

/// What a configuration may ask of the world around it. The caller decides what it may see.
pub trait Surroundings {
    /// The value of an environment variable (manual 2.3), or `None` when it is not set.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file named in the configuration (`acl … -f`), or why it cannot be read.
    fn read(&self, path: &str) -> Result<String, String>;
    /// The same for files that need not be text (`errorfile`).
    fn read_bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        self.read(path).map(String::into_bytes)
    }
    /// The number of a user account; `None` when there is none of that name, as here unless said
    /// otherwise.
    fn user_id(&self, _name: &str) -> Option<u32> {
        None
    }
    /// Whether this descriptor is an open socket (`bind fd@N`), or why it is not; it is, unless said
    /// otherwise.
    fn socket(&self, _descriptor: i32) -> Result<(), String> {
        Ok(())
    }
    /// The number of a group, likewise.
    fn group_id(&self, _name: &str) -> Option<u32> {
        None
    }
}
