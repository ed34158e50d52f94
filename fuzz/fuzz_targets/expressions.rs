//! Whatever stands where an expression is expected (an ACL, a sample, a log format, a condition of `.if`),
//! the configuration is read to its end.
#![no_main]

use config::source::Source;
use libfuzzer_sys::fuzz_target;

/// No variables, and every file is empty.
struct Empty;

impl config::Surroundings for Empty {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
    fn read(&self, _path: &str) -> Result<String, String> {
        Ok(String::new())
    }
}

fuzz_target!(|text: &str| {
    if text.contains(['\n', '\r', '\0']) {
        return;
    }
    let file = format!(
        "backend b\n mode http\n acl a {text}\n http-request set-header x {text}\n \
         http-request deny if {text}\n http-request set-var(txn.x) {text}\n http-response set-header y %[{text}]\n \
         stick on {text}\n balance hash {text}\n"
    );
    let _ = config::load(&[Source::new("fuzzed", file)], &Empty);
    let _ = config::evaluate_condition(text, &Empty);
});
