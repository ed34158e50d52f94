//! Whatever a configuration says, it is read to its end, gives a model exactly when there is no
//! alert, and its messages can be drawn without control characters.
#![no_main]

use config::diagnostics::{Severity, Style};
use config::source::Source;
use libfuzzer_sys::fuzz_target;

/// No variables, no files, no accounts.
struct Empty;

impl config::Surroundings for Empty {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
    fn read(&self, _path: &str) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

fuzz_target!(|text: &str| {
    let sources = [Source::new("fuzzed", text)];
    let outcome = config::load(&sources, &Empty);
    let mut severities = outcome.diagnostics.iter().map(|it| it.severity);
    let refused = severities.any(|severity| severity == Severity::Alert);
    assert_eq!(outcome.config.is_none(), refused);
    let style = Style {
        notices: true,
        ..Style::default()
    };
    let drawn = config::diagnostics::render(&outcome.diagnostics, &sources, style);
    assert!(drawn.chars().all(|c| c == '\n' || !c.is_control()));
});
