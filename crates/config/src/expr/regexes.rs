//! Regular expressions as HAProxy's users write them (PCRE), compiled by an engine that answers in
//! linear time and therefore knows neither look-around nor back-references.

use regex::bytes::{Regex, RegexBuilder};

use crate::diagnostics::Diagnostic;
use crate::source::Span;

/// Compiles an expression. Bytes are matched, not characters; a class that names characters beyond
/// ASCII makes it match UTF-8.
pub(crate) fn compile(text: &str, ignore_case: bool, span: Span) -> Result<Regex, Diagnostic> {
    let build = |unicode| {
        RegexBuilder::new(text)
            .case_insensitive(ignore_case)
            .unicode(unicode)
            .build()
    };
    build(false)
        .or_else(|error| build(true).map_err(|_| error))
        .map_err(|error| explain(text, &error, span))
}

fn explain(text: &str, error: &regex::Error, span: Span) -> Diagnostic {
    let problem = Diagnostic::alert(span, format!("'{text}' cannot be used as a regex"));
    let unsupported = ["(?=", "(?!", "(?<=", "(?<!", "(?>"];
    if unsupported.iter().any(|sign| text.contains(sign)) {
        return problem
            .label("look-around is not supported")
            .help("write two tests instead: '{ path -m reg A } !{ path -m reg B }'");
    }
    let has_back_reference = |w: &[u8]| w[0] == b'\\' && (b'1'..=b'9').contains(&w[1]);
    if text.as_bytes().windows(2).any(has_back_reference) {
        return problem.label("back-references are not supported");
    }
    let reason = error.to_string();
    let reason = reason.lines().last().unwrap_or_default();
    problem.label(reason.trim_start_matches("error: ").to_owned())
}
