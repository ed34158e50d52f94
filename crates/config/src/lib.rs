//! `haproxy.cfg` text to a checked [`model::Config`] and diagnostics.
//!
//! Knows no sockets, no clock and no files: texts come in as [`source::Source`], everything the
//! configuration may look at (environment, other files) comes in through [`Surroundings`].
//! The language is that of HAProxy's `configuration.txt`; sections are cited as "manual 2.2".

pub mod diagnostics;
pub mod expr;
pub mod lexer;
pub mod model;
pub mod source;

/// What a configuration may ask of the world around it. The caller decides what it may see.
pub trait Surroundings {
    /// The value of an environment variable (manual 2.3), or `None` when it is not set.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file named in the configuration (`acl … -f`), or why it cannot be read.
    fn read(&self, path: &str) -> Result<String, String>;
}
